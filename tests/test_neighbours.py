"""batten among others: in processes that were forked, in threads, in notebooks, and beside other libraries.

Each scene is a program of its own, which trains a few steps and prints a digest of the weights: the bits have to
be those of a program that does nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

from batten import _kernels as kernels

TRAIN = """
import asyncio, ctypes, hashlib, multiprocessing, os, threading, warnings
import numpy as np
import batten
from batten import nn, optim

making = threading.Lock()

def train(seed=0):
    random = np.random.default_rng(seed)
    with making:  # the weights' generator is everybody's
        batten.manual_seed(seed)
        layers = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 256, 10)
    model = nn.Sequential(*layers)
    optimizer = optim.Adam(model.parameters())
    for _ in range(3):
        x = batten.tensor(random.standard_normal((32, 3, 16, 16), dtype=np.float32))
        loss = nn.functional.cross_entropy(model(x), batten.tensor(random.integers(0, 10, 32)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(np.ascontiguousarray(value.numpy()))
    return digest.hexdigest()
"""


def scene(folder, code, before=""):
    """What a program prints, word by word."""
    path = folder / "scene.py"
    path.write_text(before + TRAIN + textwrap.dedent(code))
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The digest of a program that only trains."""
    (digest,) = scene(tmp_path_factory.mktemp("alone"), "print(train())")
    return digest


# ---- processes ----

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_libgomp = pytest.mark.skipif(kernels.openmp() != "libgomp", reason="about GNU's OpenMP runtime")


@pytest.mark.parametrize(
    "method", ["spawn", pytest.param("fork", marks=needs_fork), pytest.param("forkserver", marks=needs_fork)]
)
def test_processes_have_their_parents_bits_and_threads(tmp_path, alone, method):
    """The parent has trained before, and goes on; its child has a child, and there is a pool."""
    alone_in_it = method == "fork" and kernels.openmp() != "libgomp"  # threads.c says why
    code = f"""
    def child(results, generations):
        results.put((train(), batten.get_num_threads()))
        if generations > 1:
            start(results, generations - 1)

    def start(results, generations):
        process = context.Process(target=child, args=(results, generations))
        process.start()
        process.join()
        assert process.exitcode == 0

    context = multiprocessing.get_context({method!r})
    if __name__ == "__main__":
        warnings.simplefilter("ignore")  # of forks where there are threads, which is what this is about
        results = context.SimpleQueue()
        print(train())
        start(results, 2)
        for _ in range(2):
            digest, threads = results.get()
            assert threads == (1 if {alone_in_it} else batten.get_num_threads())
            print(digest)
        print(train())
        with context.Pool(2) as pool:
            print(*pool.map(train, [0, 0, 0]))
        print(train())
    """
    assert scene(tmp_path, code) == [alone] * 8


@needs_fork
@needs_libgomp
def test_a_child_does_not_wait_for_the_team_of_another_library(tmp_path, alone):
    """Both share a runtime. The other has used it, and batten has computed nothing yet."""
    code = """
    path = next(line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line)
    libc, gomp = ctypes.CDLL(None), ctypes.CDLL(path)
    parallel = lambda: gomp.GOMP_parallel(libc.getpid, None, 2, 0)
    parallel()
    for _ in range(2):
        child = os.fork()
        if child == 0:
            parallel()
            print(train(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        parallel()
    """
    assert scene(tmp_path, code) == [alone] * 2


@needs_fork
@needs_libgomp
def test_a_child_of_a_team_s_member_has_one_thread(tmp_path, alone):
    """The team is at work, and cannot be sent home."""
    code = """
    path = next(line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line)
    gomp = ctypes.CDLL(path)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def region(_):
        child = os.fork()
        if child == 0:
            print(batten.get_num_threads(), train(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    gomp.GOMP_parallel(region, None, 1, 0)
    print(batten.get_num_threads())
    """
    assert scene(tmp_path, code) == ["1", alone, "2"]


# ---- threads ----


def test_threads_that_train_at_once(tmp_path, alone):
    code = """
    found = []
    threads = [threading.Thread(target=lambda: found.extend([train(), train()])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*found)
    """
    assert scene(tmp_path, code) == [alone] * 8


def test_cells_of_a_notebook(tmp_path, alone):
    """They run within a loop of events that has begun, on the main thread or another."""
    code = """
    CELLS = (
        "digest = train()",
        "x, y = batten.randn(64, 4), batten.randint(0, 2, (64,)); model = nn.Linear(4, 2)",
        "optimizer = optim.SGD(model.parameters(), lr=0.1)",
        "batten.fit(model, [(x, y)], loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=1, progress=False)",
        "print(digest, train())",
    )

    async def run():
        for cell in CELLS:
            exec(compile(cell, "<cell>", "exec"), globals())
            await asyncio.sleep(0)

    asyncio.run(run())
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    thread.join()
    """
    assert scene(tmp_path, code) == [alone] * 4


# ---- other libraries ----

IMPORTS = """
import torch
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
"""
IN_TURN = """
a = np.random.default_rng(0).standard_normal((300, 300))
for _ in range(2):
    assert np.isfinite(np.linalg.svd(a @ a)[1]).all()
    print(train())
    KMeans(4, n_init=1, random_state=0).fit(a)
    print(train())
    HistGradientBoostingClassifier(max_iter=3).fit(a, a[:, 0] > 0)
    x = torch.randn(32, 3, 16, 16, requires_grad=True)
    torch.nn.Conv2d(3, 16, 3)(x).square().mean().backward()
    print(train())
"""
FORK = """
child = os.fork()
if child == 0:
    print(train(), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("batten_is_first", [True, False])
def test_pytorch_scikit_learn_and_numpy_in_turn(tmp_path, alone, batten_is_first):
    """In one process, and then in a child of it."""
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("sklearn")):
        pytest.skip("needs PyTorch and scikit-learn")
    before, after = ("", IMPORTS) if batten_is_first else (IMPORTS, "")
    fork = FORK if hasattr(os, "fork") else "print(train())"
    assert scene(tmp_path, after + IN_TURN + fork, before) == [alone] * 7

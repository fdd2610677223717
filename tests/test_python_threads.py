"""What Python's threads may share, and that none of them can tell that there are others.

Most of it could only fail where they run without the interpreter's lock, and holds everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
from collections import deque

import numpy as np
import pytest

import batten
from batten import _kernels as kernels
from batten import nn, optim
from batten.random import drawing_from

IMAGES = np.random.default_rng(1).standard_normal((64, 3, 12, 12)).astype(np.float32)
CLASSES = np.random.default_rng(2).integers(0, 5, 64)


def at_once(work, count=4):
    """What work(k) returns for each k < count, all called at the same moment, on a thread each."""
    together, results, errors = threading.Barrier(count), [None] * count, []

    def run(k):
        together.wait()
        try:
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
        nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Flatten(), nn.DropConnect(128, 32, activation="relu"), nn.Linear(32, 5),
    )  # fmt: skip


def trained(k):
    """Bytes of a model of k's own, drawn, trained and penalized by k's own numbers."""
    images, classes = batten.tensor(IMAGES), batten.tensor(CLASSES)
    with drawing_from(batten.Generator().manual_seed(k)):
        model = network()
        kind = (optim.SGD, optim.Adam)[k % 2]
        optimizer = kind(model.parameters(), lr=0.01, weight_decay=1e-3)
        penalty = batten.regularization.L1(1e-4)
        for _ in range(6):
            loss = nn.functional.cross_entropy(model(images), classes) + penalty(model)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


@pytest.mark.parametrize("team", [1, 3])
def test_models_trained_at_once_are_those_trained_alone(threads, team):
    threads(team)
    alone = [trained(k) for k in range(4)]
    assert len(set(alone)) == 4
    assert at_once(trained) == alone


@pytest.mark.parametrize("team", [1, 3])
def test_a_frozen_model_may_be_shared(threads, team):
    model, images = network().eval().requires_grad_(False), batten.tensor(IMAGES)

    def seen(k):
        with drawing_from(batten.Generator().manual_seed(k)):  # as DropConnect draws in evaluation, too
            return [model(images[k:]).numpy().tobytes() for _ in range(10)]

    threads(team)
    alone = [seen(k) for k in range(4)]
    assert at_once(seen) == alone


def test_a_generator_may_be_shared():
    """Who gets which draw is a matter of chance; each is drawn once."""
    draws, shared = 500, batten.Generator()

    def rows(k=0):
        return [tuple(batten.rand(3, generator=shared).tolist()) for _ in range(draws)]

    shared.manual_seed(3)
    alone = [row for _ in range(4) for row in rows()]
    shared.manual_seed(3)
    assert sorted(row for found in at_once(rows) for row in found) == sorted(alone)


def test_memory_may_be_let_go_by_another_thread():
    before = batten.memory_stats()["allocated"]
    passed = deque()

    def work(k):
        sizes = np.random.default_rng(k).integers(0, 3000, 2000).tolist()
        for size in sizes:
            passed.append(batten.full((size,), float(size)))
            if len(passed) > 20:
                x = passed.popleft().numpy()
                assert (x == x.size).all()

    at_once(work)
    passed.clear()
    assert batten.memory_stats()["allocated"] == before


def test_lists_that_share_arrays_are_held_apart_by_each_thread_for_itself():
    arrays = [batten.full((5,), float(k)).numpy() for k in range(40)]

    def work(k):
        mine = [batten.zeros(5).numpy() for _ in arrays]
        for _ in range(300):
            kernels.lerp_all(mine, arrays, 1.0)
            with pytest.raises(ValueError, match="apart from all other arrays"):
                kernels.lerp_all([*mine[1:], arrays[k]], arrays, 1.0)
        return [x.tolist() for x in mine]

    assert at_once(work) == [[x.tolist() for x in arrays]] * 4


def test_a_graph_may_be_made_by_several_threads():
    """Operations are numbered over all threads: each is later than those that made its inputs."""
    x = batten.ones(5, requires_grad=True)

    def longer(y, steps):
        for _ in range(steps):
            y = x - (y * 2 - y)
        return y

    for _ in range(10):
        parts = at_once(lambda k: longer(x, 40 * k))
        parts = at_once(lambda k: longer(parts[3 - k], 40))  # noqa: B023
        (found,) = batten.autograd.grad(sum(parts).sum(), x)
        assert found.tolist() == [4.0] * 5


SHARED = """
import threading
import time
import batten
from batten import nn, optim
from batten.optim.lists import gather

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
graph = model(batten.randn(4, 8)).sum()
x, y = batten.randn(32, 8), batten.randint(0, 3, (32,))

def train():
    for step in range(200):
        try:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 10 == 0:
                graph.backward()
        except (RuntimeError, TypeError, ValueError, KeyError, AttributeError):
            pass

w = batten.zeros(3, requires_grad=True)
w.grad = batten.zeros(3)
many = [w] * 200
end = time.monotonic() + 1

def write():
    while time.monotonic() < end:
        w.grad = batten.zeros(3)

def read():
    while time.monotonic() < end:
        gather(many)

for work in ([train] * 4, [read, write] * 2):
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


def test_one_model_trained_by_several_threads_is_no_crash():
    """What it learns is anybody's guess, and some steps may be refused."""
    result = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "alive"), result.stderr


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter always has its lock")
def test_the_interpreter_s_lock_stays_off():
    code = "import sys, batten, batten.training; print(sys._is_gil_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == ("False", "")

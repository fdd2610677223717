"""What it costs batten to share a process: training in turn with NumPy, scikit-learn and PyTorch, over training alone.

    python bench/neighbours.py                      half a minute; the goal is 1.3 at most
    python bench/neighbours.py --rounds 9 --beside torch

Every library has threads of its own, as many as there are processors, and those that have just computed wait for
more by spinning: for a millisecond in GNU's OpenMP, for a tenth of a second in NumPy's OpenBLAS. Meanwhile batten's
threads share the processors with them, or leave them to them, as `batten_dismiss` in ext/threads.c does; and the
caches are full of what others have read. OPENBLAS_THREAD_TIMEOUT=10, or threadpool_limits(1, "blas") around what
NumPy does, ends the spinning at once.

In each turn the others compute, and then batten trains for some steps. There is a process for each measurement,
with the others imported or without them, one after the other, and round after round. A figure is the median of the
rounds' ratios: of all steps, and of the first ones after the others.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from batten.benchmark import cases, worker

TURNS, STEPS = 15, 10
CASES = ("mlp_mnist", "lenet_mnist", "resnet20_cifar")
MOST = 1.3

Work = Callable[[], object]


def numpy() -> Work:
    a = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    return lambda: np.linalg.svd(a[:128] @ a)


def sklearn() -> Work:
    from sklearn.cluster import KMeans

    x = np.random.default_rng(0).standard_normal((2000, 20))
    return lambda: KMeans(8, n_init=1, max_iter=10, random_state=0).fit(x)


def torch() -> Work:
    import torch

    x = torch.randn(32, 3, 32, 32)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10))
    return lambda: model(x).square().mean().backward()


NEIGHBOURS = {"numpy": numpy, "sklearn": sklearn, "torch": torch}


def measure(case: str, beside: list[str]) -> list[list[float]]:
    """Seconds of each step of each turn."""
    others = [NEIGHBOURS[name]() for name in beside]
    step = worker.batten()(next(row for row in cases.CASES if row.name == case))
    found = []
    for _ in range(TURNS):
        for other in others:
            other()
        found.append([seconds(step) for _ in range(STEPS)])
    return found[2:]  # what the first ones make is there from then on


def seconds(work: Work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_a_process(case: str, beside: list[str]) -> tuple[float, float]:
    """Median seconds of all steps, and of the first ones of turns."""
    command = [sys.executable, __file__, "--measure", case, "--beside", *beside]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return median(second for turn in found for second in turn), median(turn[0] for turn in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = [name for name in NEIGHBOURS if importlib.util.find_spec(name)]
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (%(default)s)")
    parser.add_argument("--beside", nargs="*", choices=NEIGHBOURS, default=installed, help="who computes in turn")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, help="what is trained")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.beside)))
        return
    print(f"batten's step in turn with {', '.join(options.beside)}, over its step alone (the goal is {MOST} at most)")
    print(f"{'':16}  {'alone':>9}  {'all steps':>17}  {'first steps':>17}")
    for case in options.only:
        rounds = [(in_a_process(case, []), in_a_process(case, options.beside)) for _ in range(options.rounds)]
        ratios = [[beside[i] / alone[i] for alone, beside in rounds] for i in range(2)]
        cells = [f"{median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in ratios]
        alone = f"{1000 * median(alone[0] for alone, _ in rounds):.2f} ms"
        print(f"{case:16}  {alone:>9}  {cells[0]:>17}  {cells[1]:>17}", flush=True)


if __name__ == "__main__":
    main()

"""Training steps, beside PyTorch's.

    python bench/steps.py [--peers batten torch] [--rounds 9] [--seconds 0.5]

Each framework has a process of its own (two OpenMP runtimes in one process spin
against each other), all are asked in turn, round by round, and what is printed
is the median over the rounds and the median of the ratios within a round: other
work on the machine then hits all alike.  The same code, written as for PyTorch,
runs in every framework.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def mlp_digits(torch: Any) -> Callable[[], None]:
    """64-128-128-10, ReLU, batch 32, SGD with momentum"""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return step(torch, model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), (32, 64))


def mlp_mnist(torch: Any) -> Callable[[], None]:
    """784-512-512-10, BatchNorm1d, ReLU, Dropout, batch 128, Adam"""
    nn = torch.nn
    layers: list[Any] = []
    for inputs in (784, 512):
        layers += [nn.Linear(inputs, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.Linear(512, 10))
    return step(torch, model, torch.optim.Adam(model.parameters(), lr=1e-3), (128, 784))


def step(torch: Any, model: Any, optimizer: Any, shape: tuple[int, int]) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 10, shape[0]))
    loss_function = torch.nn.CrossEntropyLoss()

    def run() -> None:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

    return run


WORKLOADS = {"mlp_digits": mlp_digits, "mlp_mnist": mlp_mnist}


def work(framework: str) -> None:
    """A worker: for each line "WORKLOAD SECONDS" the milliseconds of a step, median of as many as fit."""
    torch = importlib.import_module(framework)
    torch.manual_seed(0)
    steps: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        name, seconds = line.split()
        run = steps.get(name)
        if run is None:
            run = steps[name] = WORKLOADS[name](torch)
            for _ in range(20):
                run()
        times = []
        end = time.perf_counter() + float(seconds)
        while time.perf_counter() < end:
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        print(1e3 * statistics.median(times), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps beside PyTorch's.")
    parser.add_argument(
        "--peers", nargs="+", default=["batten", "torch"], help="modules; the first is held to the rest"
    )
    parser.add_argument("--only", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each workload and framework in a round")
    options = parser.parse_args()

    workers = {
        peer: subprocess.Popen(
            [sys.executable, __file__, "--worker", peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for peer in options.peers
    }

    def ask(peer: str, name: str) -> float:
        stdin, stdout = workers[peer].stdin, workers[peer].stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{name} {options.seconds}\n")
        stdin.flush()
        return float(stdout.readline())

    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; milliseconds a step, median of {options.rounds}"
    )
    for name in options.only:
        rounds = [{peer: ask(peer, name) for peer in options.peers} for _ in range(options.rounds)]
        first = options.peers[0]
        cells = []
        for peer in options.peers:
            cell = f"{peer} {statistics.median(r[peer] for r in rounds):.3f}"
            if peer != first:
                ratios = sorted(r[peer] / r[first] for r in rounds)
                cell += f" ({statistics.median(ratios):.2f}x, {ratios[0]:.2f}-{ratios[-1]:.2f})"
            cells.append(cell)
        print(f"{name:12}{WORKLOADS[name].__doc__}:  ", "   ".join(cells))
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2])
    else:
        main()

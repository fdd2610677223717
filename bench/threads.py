"""Whether small work is kept from the team: how long layers take on all threads, against one.

    python bench/threads.py                         widths 8 to 512, batches 1 to 512
    python bench/threads.py --only linear --threads 4

To wake a team and to wait for it costs a microsecond or more, so kernels stay on one thread where
that would not pay (`batten_team` in ext/threads.c; each kernel says how much work it has).  A table
for each layer, forward and backward, and each optimizer: the time on all threads over that on one,
by width and batch.  A figure much above 1 (the goal is 1.2 at most) is work that should not have been
shared, one near 1 where the work is large is work that should have been, or that memory bounds.

Both are measured in one process, in turns, and a figure is the median of the turns' ratios.  All that
surrounds a kernel is measured with it, Python's microseconds between two kernels, too: that is when
the team waits.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import batten
from batten import cli
from batten.benchmark import cases
from batten.benchmark.report import aligned

WIDTHS = (8, 16, 32, 64, 128, 256, 512)
BATCHES = (1, 2, 8, 32, 128, 512)
TURNS, TURN = 7, 0.001  # how often each has its turn, and its seconds
MOST = 1.2


def linear(torch: Any, rows: int, width: int) -> cases.Run:
    return cases.there_and_back(torch, torch.nn.Linear(width, width), rows, width)


def tanh(torch: Any, rows: int, width: int) -> cases.Run:
    return cases.there_and_back(torch, torch.nn.Tanh(), rows, width)


def sgd(torch: Any, rows: int, width: int) -> cases.Run:
    return cases.sgd(torch, 2, rows * width)


def adam(torch: Any, rows: int, width: int) -> cases.Run:
    return cases.adam(torch, 2, rows * width)


LAYERS: dict[str, Callable[..., cases.Run]] = {
    f.__name__: f
    for f in (
        linear, cases.relu, tanh, cases.dropout, cases.softmax, cases.cross_entropy,
        cases.batch_norm, cases.layer_norm, cases.rms_norm, sgd, adam,
    )
}  # fmt: skip


def main() -> int:
    parser = cli.Parser(
        prog="python bench/threads.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", nargs="+", choices=list(LAYERS), default=list(LAYERS), metavar="LAYER")
    parser.add_argument("--threads", type=cli.whole(2, 1024), metavar="N", default=batten.get_num_threads())
    parser.set_defaults(command=sweep)
    return cli.run(parser)


def sweep(options: argparse.Namespace) -> None:
    if options.threads < 2:
        raise cli.UserError("there is one thread, which leaves nothing to compare; --threads N asks for more")
    found: list[tuple[float, str]] = []
    for name in options.only:
        rows = [[name, *(f"batch {batch}" for batch in BATCHES)]]
        for width in WIDTHS:
            rows.append([f"width {width}"])
            for batch in BATCHES:
                if name == "batch_norm" and batch == 1:  # there is no variance of one
                    rows[-1].append("-")
                    continue
                found.append((ratio(LAYERS[name](batten, batch, width), options.threads), f"{name} {batch}x{width}"))
                rows[-1].append(f"{found[-1][0]:.2f}")
        print(aligned(rows), end="\n\n", flush=True)
    over = [f"{place} {ratio:.2f}" for ratio, place in sorted(found, reverse=True) if ratio > MOST]
    print(f"above {MOST}: {', '.join(over) or 'none'}")


def ratio(run: cases.Run, threads: int) -> float:
    """The time on all threads over that on one."""
    seconds = {1: turn(run, 1), threads: turn(run, threads)}  # what a first run makes is there from now on
    calls = max(1, round(TURN / seconds[1]))
    return median(turn(run, threads, calls) / turn(run, 1, calls) for _ in range(TURNS))


def turn(run: cases.Run, threads: int, calls: int = 3) -> float:
    batten.set_num_threads(threads)
    run()
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - begin) / calls


if __name__ == "__main__":
    sys.exit(main())

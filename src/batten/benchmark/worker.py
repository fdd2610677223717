"""What runs in the process of one framework.

    python worker.py FILE FUNCTION PROCESSORS

FUNCTION in FILE imports the framework, and returns a function that prepares a case: that
gives a function to call, or None where the framework has no such thing.  When that is done
a line goes out.  Then every line that comes in is a request, and is answered by a line, all
in JSON.

It is run as a script and imports nothing of batten's: a peer's process shall hold the peer
and its OpenMP runtime, and nothing else that takes memory or processors.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

resource: Any = None
with suppress(ImportError):  # Windows has none, and says nothing of pages
    import resource

WARM = 0.01  # seconds at a turn's beginning that do not count, as caches fill
SAMPLE = 0.0005  # seconds that a sample takes at least, so that reading the clock costs nothing


def batten() -> Callable[[Any], Callable[[], Any]]:
    """batten as a peer among peers.

    Its `mm` has no `out`.  Here it is the bare kernel, as PyTorch's with `out` is, so that a
    product of matrices is timed without what it costs to get memory for the result.

    Images come to a network as NumPy has them, and it brings them into its own order itself.
    """
    import batten

    class Framework:
        images_lie = batten.contiguous_format
        features_lie = batten.channels_last
        residual = staticmethod(batten.nn.fusion.residual)
        L1BatchNorm2d = partial(batten.nn.LpBatchNorm2d, p=1)
        GaussianNoise = batten.nn.GaussianNoise
        DropConnect = batten.nn.DropConnect
        L1 = batten.regularization.L1
        L2 = batten.regularization.L2

        def __getattr__(self, name: str) -> Any:
            return getattr(batten, name)

        def augment(self, transform: Any, images: Any) -> Any:
            return transform(images)

        def mm(self, a: Any, b: Any, out: Any) -> Any:
            return batten._kernels.gemm(out.array, a.array, b.array)

    framework = Framework()
    return lambda case: case.prepare(framework)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints shall not come between
    file, function, processors = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # not every framework can be told its number of threads
        os.sched_setaffinity(0, {int(p) for p in processors.split(",")})
    sys.path[:0] = [str(Path(file).parent), str(Path(__file__).parent)]
    prepare = getattr(importlib.import_module(Path(file).stem), function)()
    imported = peak_memory()
    runs: dict[Any, Callable[[], Any] | None] = {}
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = answer_to(json.loads(line), prepare, runs)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        if answer:
            answer |= {"memory": peak_memory(), "imported": imported}
        print(json.dumps(answer), file=answers, flush=True)


def answer_to(request: dict[str, Any], prepare: Callable[..., Any], runs: dict[Any, Any]) -> dict[str, Any] | None:
    """One turn of a case, which is prepared when it is asked for the first time."""
    table, row = request["case"]
    if (table, row) not in runs:
        run = runs[table, row] = prepare(getattr(importlib.import_module("cases"), table)[row])
        for _ in range(2 if run else 0):  # what is compiled and what an optimizer keeps is there from now on
            run()
    run = runs[table, row]
    result = run and turn(run, request["seconds"])
    if request["last"]:
        del runs[table, row], run
        gc.collect()
    return result


def turn(run: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """The seconds a call takes, as samples of one call or more, and the pages that are new to a call."""
    best, end = float("inf"), time.perf_counter() + WARM
    while best == float("inf") or time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    calls = max(1, round(SAMPLE / best))
    samples: list[float] = []
    faults, end = page_faults(), time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        samples.append((time.perf_counter() - begin) / calls)
    return {"samples": samples, "faults": (page_faults() - faults) / (calls * len(samples))}


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0


def peak_memory() -> int:
    """The most bytes that this process has held, or 0 where the system does not tell.

    Linux's own count where there is one: getrusage counts in what the process was before it
    became this program, a copy of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        if resource is None:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()

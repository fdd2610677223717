"""Limits, workers and rounds: from cases and peers to a report.

The report is a dict that goes into a JSON file as it is:

    batten, peers      versions; peers: by name, in the order they were asked for
    started, quick, rounds, seconds, threads
    machine            machine.describe()
    limits             arithmetic: operations a second; memory: [{room, read, copy, triad, change}],
                       bytes a second where the arrays take `room` bytes
    stolen             of each calibration spin, the share of time in which it did not run
    cases              [{group, name, flops, bytes, room, images, limit, bound, results}]; limit: seconds, and
                       bound, arithmetic or memory, what it is of; results: by peer {seconds, faults: one
                       each round; memory, imported: the most bytes held, and those before the first case}
    notes              what could not be measured
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from . import machine
from .cases import CASES, LIMITS, ROOMS, Case

__all__ = ["BATTEN", "QUICK", "THOROUGH", "Effort", "Peer", "Suite", "choose"]

WORKER = Path(__file__).resolve().with_name("worker.py")


class Peer(NamedTuple):
    """A framework, or a way to use one: `function` in `file` prepares its cases (worker.py)."""

    package: str
    file: Path
    function: str
    leaves_out: tuple[str, ...] = ()  # groups of cases
    slow: bool = False  # takes long to begin, so a quick run asks for it by name only

    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    def version(self) -> str:
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "unknown"


BATTEN = Peer("batten", WORKER, "batten")


class Effort(NamedTuple):
    """How much is done for a figure."""

    rounds: int
    seconds: float  # of a turn
    budget: float  # seconds after which no second round begins


THOROUGH = Effort(rounds=9, seconds=0.1, budget=math.inf)
QUICK = Effort(rounds=3, seconds=0.01, budget=40)


def choose(words: Sequence[str], quick: bool) -> list[Case]:
    """The cases whose names contain one of the words; without words all, or for `quick` those that are soon done."""
    for word in words:
        if not any(word in case.name for case in CASES):
            kinds = dict.fromkeys(case.function.__name__ for case in CASES)
            raise ValueError(f"no case has {word!r} in its name; there are cases of {', '.join(kinds)}")
    if words:
        return [case for case in CASES if any(word in case.name for word in words)]
    return [case for case in CASES if not quick or soon_done(case)]


def soon_done(case: Case) -> bool:
    """By all peers: with images some take many times as long as with matrices of the same room.  What goes before
    a training step has processes of its own, which take longer to begin than it does."""
    return (
        case.group not in ("augment", "data")
        and case.flops < 3e9
        and case.room < (2e7 if case.group == "images" else 2e8)
    )


class Suite:
    """A run of cases by peers.  Call `measure_limits`, then `measure` for each of `groups`; the rest is in `report`."""

    def __init__(self, cases: list[Case], peers: dict[str, Peer], threads: int, effort: Effort) -> None:
        self.cases, self.peers, self.threads, self.effort = cases, peers, threads, effort
        self.groups = [group for group in dict.fromkeys(case.group for case in cases) if self.takers(group)]
        self.begin = time.monotonic()
        self.report: dict[str, Any] = {
            "batten": BATTEN.version(),
            "peers": {name: peer.version() for name, peer in peers.items()},
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "quick": effort is QUICK,
            "rounds": effort.rounds,
            "seconds": effort.seconds,
            "threads": threads,
            "machine": machine.describe(),
            "limits": {"arithmetic": 0.0, "memory": [{"room": room} for room in ROOMS]},
            "stolen": [],
            "cases": [],
            "notes": [],
        }

    # ---- limits ----

    def measure_limits(self) -> None:
        """The best that each probe has shown."""
        with self.workers({"batten": BATTEN}) as ours:
            worker = ours["batten"]
            self.spin(worker)
            for row, case in enumerate(LIMITS[1:], 1):
                answer = worker.ask("LIMITS", row, self.effort.seconds / 2, last=True)
                memory = self.report["limits"]["memory"][ROOMS.index(case.room)]
                memory[case.name] = case.bytes / min(answer["samples"])

    def spin(self, worker: Worker) -> None:
        """Arithmetic of a known length on all threads: what it takes longer than at best, others have had."""
        samples = worker.ask("LIMITS", 0, 0.1)["samples"]
        limits = self.report["limits"]
        limits["arithmetic"] = max(limits["arithmetic"], LIMITS[0].flops / min(samples))
        self.report["stolen"].append(1 - min(samples) / fmean(samples))

    def limit(self, case: Case) -> tuple[float, str]:
        """Seconds that the case takes at least, and whether those are of its arithmetic or of its traffic."""
        limits = self.report["limits"]
        nearest = next((m for m in limits["memory"] if m["room"] >= case.room), limits["memory"][-1])
        fastest = max(rate for name, rate in nearest.items() if name != "room")
        return max((case.flops / limits["arithmetic"], "arithmetic"), (case.bytes / fastest, "memory"))

    # ---- cases ----

    def measure(self, group: str, progress: Callable[[], None] = lambda: None) -> None:
        """Rounds of a group: in each, every peer in its own process has a turn at every case."""
        cases = {CASES.index(case): case for case in self.cases if case.group == group}
        results: dict[int, dict[str, Any]] = {row: {} for row in cases}
        with self.workers({"batten": BATTEN}) as ours:
            self.spin(ours["batten"])
        with self.workers(self.takers(group)) as workers:
            due = list(itertools.product(cases, workers))
            for number in range(self.effort.rounds):
                if number and time.monotonic() - self.begin > self.effort.budget:
                    break
                for row, name in list(due):
                    answer = None
                    try:
                        answer = workers[name].ask("CASES", row, self.effort.seconds)
                    except WorkerError as error:
                        self.report["notes"].append(f"{name} cannot do {cases[row].name}: {error}")
                    if answer:
                        add(results[row].setdefault(name, {"seconds": [], "faults": []}), answer)
                    else:
                        due.remove((row, name))
                        results[row].pop(name, None)
                    progress()
        for row, case in cases.items():
            shown = {key: value for key, value in case._asdict().items() if key not in ("function", "sizes")}
            limit, bound = self.limit(case)
            self.report["cases"].append({**shown, "limit": limit, "bound": bound, "results": results[row]})

    @contextlib.contextmanager
    def workers(self, peers: dict[str, Peer]) -> Iterator[dict[str, Worker]]:
        """Processes that wait for requests, all at rest; of one that cannot begin it is noted why."""
        with contextlib.ExitStack() as stack:
            started = {name: stack.enter_context(Worker(peer, self.threads)) for name, peer in peers.items()}
            for name, worker in started.items():
                try:
                    worker.answer()
                except WorkerError as error:
                    self.report["notes"].append(f"{name} cannot begin: {error}")
            yield started

    def takers(self, group: str) -> dict[str, Peer]:
        return {name: peer for name, peer in self.peers.items() if group not in peer.leaves_out}

    def turns(self, group: str) -> int:
        return self.effort.rounds * len(self.takers(group)) * sum(case.group == group for case in self.cases)


def add(result: dict[str, Any], answer: dict[str, Any]) -> None:
    """One turn more: the median of its samples."""
    result["seconds"].append(median(answer["samples"]))
    result["faults"].append(answer["faults"])
    result["memory"], result["imported"] = answer["memory"], answer["imported"]


class WorkerError(Exception):
    """One sentence on what a worker could not do."""


class Worker:
    """The process of one framework.  It is stopped but in its turns, so that its threads leave the others alone."""

    def __init__(self, peer: Peer, threads: int) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        processors = ",".join(map(str, machine.processors(threads)))
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(peer.file), peer.function, processors],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **counts},
        )

    def __enter__(self) -> Worker:
        return self

    def ask(self, table: str, row: int, seconds: float, last: bool = False) -> Any:
        """A turn of a case, or None where the framework has none or is no longer there."""
        if self.process.returncode is not None:
            return None
        self.let_run(True)
        with contextlib.suppress(BrokenPipeError):
            print(
                json.dumps({"case": [table, row], "seconds": seconds, "last": last}),
                file=self.process.stdin,
                flush=True,
            )
        return self.answer()

    def answer(self) -> Any:
        """What the process says next; the first time, only that it is ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self.last_words())
        self.let_run(False)
        answer = json.loads(line)
        if answer and "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def let_run(self, yes: bool) -> None:
        """On Windows, where nothing stops a process, they all run."""
        if hasattr(signal, "SIGSTOP"):
            self.process.send_signal(signal.SIGCONT if yes else signal.SIGSTOP)

    def last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"its process ended with code {code}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

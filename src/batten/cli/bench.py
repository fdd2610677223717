"""`batten bench`: this machine's limits, and how near batten comes to them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from .. import _kernels as kernels
from .. import benchmark
from ..benchmark import report
from ..benchmark.picture import draw
from ..benchmark.suite import BATTEN, QUICK, THOROUGH, Peer, Suite, choose
from ..serialization import write
from .options import Parser, UserError, progress_bar, whole

__all__ = ["add_bench", "add_bench_options"]


def add_bench(commands: Any) -> None:
    """The command, among others."""
    parser = commands.add_parser(
        "bench",
        help="measure this machine's limits, and how near batten comes to them",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_bench_options(parser, {})


def add_bench_options(parser: Parser, peers: dict[str, Peer]) -> None:
    """The options of the benchmarks, beside these peers."""
    parser.set_defaults(command=run_bench, available={"batten": BATTEN, **peers}, peers=None)
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="cases whose names contain one of these")
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: less than a minute")
    if peers:
        names = ["batten", *peers]
        parser.add_argument(
            "--peers", nargs="+", choices=names, metavar="NAME",
            help=f"the first is what the rest are held against (default: all that are installed of {', '.join(names)})",
        )  # fmt: skip
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help="threads of every framework")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", metavar="FILE.png", help="draw them there")


def run_bench(options: argparse.Namespace) -> None:
    """Prints each table as soon as it is there, then what else is to be said, and writes the files."""
    for path in filter(None, (options.json, options.plot)):
        check_writable(Path(path))
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        raise UserError("a picture takes matplotlib, which is not installed: pip install 'batten[labs]'")
    try:
        cases = choose(options.only, options.quick)
    except ValueError as error:
        raise UserError(str(error)) from None
    effort = QUICK if options.quick else THOROUGH
    suite = Suite(cases, peers_of(options), options.threads or kernels.get_num_threads(), effort)
    if not suite.groups:
        raise UserError(f"{', '.join(suite.peers)} cannot do {', '.join(case.name for case in cases)}")
    print(report.header(suite.report))
    suite.measure_limits()
    print(f"\n{report.limits(suite.report)}", *notes(suite.report), sep="\n", flush=True)
    for group in suite.groups:
        with progress_bar(suite.turns(group), group, " turns") as bar:
            suite.measure(group, bar.update)
        print(f"\n{report.table(suite.report, group)}", flush=True)
    print("", *notes(suite.report), sep="\n")
    if options.json:
        write_file(options.json, json.dumps(suite.report, indent=1).encode())
    if options.plot:
        write_file(options.plot, draw(suite.report))


def notes(measured: dict[str, Any]) -> list[str]:
    return [f"note: {warning}" for warning in report.warnings(measured)]


def peers_of(options: argparse.Namespace) -> dict[str, Peer]:
    """The peers that are asked for or usual, and installed."""
    usual = [name for name, peer in options.available.items() if not (options.quick and peer.slow)]
    chosen = {name: options.available[name] for name in options.peers or usual}
    there = {name: peer for name, peer in chosen.items() if peer.installed()}
    if not there:
        raise UserError(f"there is nothing to measure; not installed: {', '.join(chosen)}")
    for name, peer in chosen.items():
        if name not in there:
            print(f"{name} is left out, as {peer.package} is not installed")
    return there


def check_writable(path: Path) -> None:
    """Finds out before the work, not after."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror})") from None


def write_file(path: str, content: bytes) -> None:
    try:
        write(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror})") from None
    print(f"wrote {path}")

"""The command line: `batten train`, `batten bench` and `batten info`.

What goes wrong for a reason that the user can do something about is one line on
stderr, and exit code 2; anything else is a bug, and shows its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from . import _kernels as kernels
from . import benchmark, runtimes
from .benchmark import report
from .benchmark.picture import draw
from .benchmark.suite import BATTEN, QUICK, THOROUGH, Peer, Suite, choose
from .fit import interruptible
from .random import Generator
from .serialization import write
from .training import RECIPES, Parts, Score, Settings, Training, arguments_of, read, recipe

__all__ = ["main"]

PACKAGES = ["numpy", "safetensors", "tqdm", "scikit-learn", "matplotlib"]


class UserError(Exception):
    """One sentence for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, and returns its exit code."""
    return run(make_parser(), arguments)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Runs the command that a parser finds, and returns its exit code."""
    options = parser.parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"batten: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("batten: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


# ---- options ----


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"batten: {message} ({self.prog} --help lists what there is)\n")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="batten", description="Deep learning on the CPU.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"batten {version()}")
    parser.set_defaults(command=lambda options: parser.print_help())
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)

    info = commands.add_parser("info", help="show version, processor, threads and memory", allow_abbrev=False)
    info.add_argument(
        "--beside", nargs="+", default=[], metavar="MODULE", help="import these first, and see what they bring with them"
    )
    info.set_defaults(command=show_info)

    bench = commands.add_parser(
        "bench",
        help="measure this machine's limits, and how near batten comes to them",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_bench_options(bench, {})

    train = commands.add_parser(
        "train",
        help="train a model, and report its accuracy on pictures that it has not seen",
        description="Train a model, and report its accuracy on pictures that it has not seen.",
        epilog="unless told otherwise, with the first model of each data set being its usual one:\n"
        + "\n".join(f"  {data}, {model}: {settings}" for (data, model), settings in RECIPES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    train.set_defaults(command=run_training)
    names = [list(dict.fromkeys(column)) for column in zip(*RECIPES, strict=True)]
    train.add_argument("--data", choices=names[0], default="digits", help="the data set (default: digits)")
    train.add_argument(
        "--root", default=".", metavar="DIR", help="where the files of mnist or cifar10 are (default: .)"
    )
    train.add_argument("--model", choices=names[1], help="what learns: see below which fit the data set's pictures")
    train.add_argument("--epochs", type=whole(1), metavar="N", help="how often each picture is learned from")
    train.add_argument("--batch-size", type=whole(2), metavar="N", help="how many pictures make one step")
    train.add_argument("--lr", type=positive, metavar="X", help="Adam's learning rate")
    train.add_argument("--weight-decay", type=from_zero, metavar="X", help="Adam's weight decay")
    train.add_argument(
        "--dropout", type=share, metavar="P", help="the probability to drop a value, if the model drops any"
    )
    train.add_argument("--seed", type=seed, metavar="N", help="the same seed gives the same result (default: 0)")
    train.add_argument("--threads", type=whole(1, 1024), metavar="N", help="threads of the kernels")
    train.add_argument("--out", metavar="DIR", help="the folder for what is written (default: a new one in runs)")
    return parser


def add_bench_options(parser: argparse.ArgumentParser, peers: dict[str, Peer]) -> None:
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


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number, at least `low` and at most `high`."""

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(text) and (high is None or int(text) <= high):
                return int(text)
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")

    return parse


def real(fits: Callable[[float], bool], limits: str) -> Callable[[str], float]:
    """The type of an option that is a number of which `fits` holds."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(float(text)):
                return float(text)
        raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text!r}")

    return parse


positive = real(lambda x: 0 < x < float("inf"), "above 0")
from_zero = real(lambda x: 0 <= x < float("inf"), "of at least 0")
share = real(lambda x: 0 <= x < 1, "from 0 to below 1")


def seed(text: str) -> int:
    try:
        Generator().manual_seed(int(text))
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number from -2^63 to 2^64 - 1, got {text!r}") from None


# ---- batten train ----


def run_training(options: argparse.Namespace) -> None:
    names = Settings.__dataclass_fields__
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    try:
        settings = replace(recipe(options.data, options.model), **given)
    except ValueError as error:
        raise UserError(str(error)) from None
    if options.dropout is not None and "dropout" not in arguments_of(settings.model):
        raise UserError(f"{settings.model} has no dropout; leave out --dropout")
    if options.threads:
        kernels.set_num_threads(options.threads)
    parts = read_parts(options)
    with run_folder(options.out, f"{settings.data}-{settings.model}") as folder, interruptible() as stopped:
        try:
            training = Training(settings, parts)
            describe(training)
            learn(training, stopped)
        except FloatingPointError as error:
            raise UserError(f"{error}; try a smaller --lr") from None
        except MemoryError:
            raise UserError(f"there is not enough memory; try a --batch-size below {settings.batch_size}") from None
        print(f"best validation accuracy {percent(training.best['validation']['accuracy'])}")
        test = training.test()
        try:
            written = training.save(folder, test)
        except OSError as error:
            raise cannot_write(folder, error) from None
        if "curves.png" not in written:
            print("no picture of the curves, as matplotlib is not installed: pip install 'batten[labs]'")
        print(f"{folder}: {', '.join(written)}, with the weights of epoch {training.best['epoch']}")
    print(f"test accuracy {percent(test.accuracy)}")


def read_parts(options: argparse.Namespace) -> Parts:
    """The pictures, and a word on where the test part comes from."""
    try:
        parts, held_out = read(options.data, options.root)
    except FileNotFoundError as error:
        raise UserError(f"{error}; --root DIR says where they are") from None
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from None
    sizes = {name: len(part) for name, part in parts._asdict().items()}
    print(f"{options.data}: {', '.join(f'{size:,} images for {name}' for name, size in sizes.items())}")
    if held_out:
        total = sum(sizes.values())
        print(f"there are no files for the test: {sizes['test']:,} of the {total:,} images are held out for it")
    return parts


def describe(training: Training) -> None:
    count = sum(p.numel() for p in training.model.parameters())
    threads = kernels.get_num_threads()
    print(
        f"{training.settings.model}: {count:,} parameters; "
        f"{kernels.isa()}, {threads} thread{'s' if threads > 1 else ''}",
        flush=True,
    )


def learn(training: Training, stopped: threading.Event) -> None:
    """All epochs, or those until Ctrl-C, with a line for each."""
    epochs = training.settings.epochs
    for number in range(1, epochs + 1):
        label = f"epoch {number:{len(str(epochs))}}/{epochs}"
        record = epoch_with_bar(training, label, stopped)
        train, validation = Score(**record["train"]), Score(**record["validation"])
        print(
            f"{label}  loss {train.loss:.4f}  accuracy {percent(train.accuracy)}"
            f"  validation loss {validation.loss:.4f}  accuracy {percent(validation.accuracy)}"
            f"  {record['images'] / training.seconds[-1]:,.0f} images/s",
            flush=True,
        )
        if stopped.is_set():
            print("stopped by Ctrl-C; the best weights so far are kept")
            return


def epoch_with_bar(training: Training, label: str, stopped: threading.Event) -> dict[str, Any]:
    """One epoch, with a progress bar if there is a terminal to show it."""
    with progress_bar(len(training.parts.train), label, " images") as bar:

        def progress(images: int, score: Score) -> None:
            bar.set_postfix_str(f"loss {score.loss:.4f}, accuracy {percent(score.accuracy)}", refresh=False)
            bar.update(images)

        return training.epoch(stopped.is_set, progress)


def progress_bar(total: int, label: str, unit: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit=unit, unit_scale=True, leave=False, disable=None)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


@contextlib.contextmanager
def run_folder(out: str | None, name: str) -> Iterator[Path]:
    """The folder for a run's files: the given one, or a new one, runs/name-1, runs/name-2, …

    That it can be written is found out before the work, not after; and a folder that was made
    for a run of which nothing came is taken away again.
    """
    folder, made = Path(out or "runs"), False
    try:
        if out:
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder, made = new_folder(folder, name), True
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        yield folder
    finally:
        if made:
            with contextlib.suppress(OSError):  # there is something in it
                folder.rmdir()


def new_folder(parent: Path, name: str) -> Path:
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):  # someone else's run
            (parent / f"{name}-{number}").mkdir(parents=True)
            break
    return parent / f"{name}-{number}"


def cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write into {folder} ({error.strerror}); --out DIR names another folder")


# ---- batten bench ----


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


# ---- batten info ----


def show_info(options: argparse.Namespace) -> None:
    for module in options.beside:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(f"cannot import {module} ({error})") from None
    found_runtimes = runtimes.loaded()
    pool = kernels.memory_stats()
    rows = {
        "batten": version(),
        "instruction set": f"{kernels.isa()} (this processor runs {', '.join(kernels.isas())})",
        "threads": f"{kernels.get_num_threads()} ({bounds()})",
        "OpenMP": kernels.openmp() or "without OpenMP",
        "memory pool": f"{pool['allocated']:,} bytes in use, {pool['peak']:,} at most, {pool['reserved']:,} held; "
        f"{pool['reused']:,} of {pool['requests']:,} blocks reused",
        "Python": platform.python_version(),
        **{package: found(package) or "not installed" for package in PACKAGES},
    }
    for name, value in [*rows.items(), *((runtime.kind.name, runtime.describe()) for runtime in found_runtimes)]:
        print(f"{name:16} {value}")
    for danger in runtimes.dangers(found_runtimes):
        print(f"note: {danger}")


def bounds() -> str:
    """Why there are so many threads, if nobody has asked for another number."""
    found = kernels.processors()
    quota = f"a quota of {found['quota']}" if found["quota"] else "no quota"
    return f"{found['affinity']} processors may be used, {found['cores']} cores, {quota}"


def version() -> str:
    from . import __version__

    return __version__


def found(package: str) -> str | None:
    """The version of a package, if it is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

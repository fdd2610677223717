"""`batten info`: version, processor, threads, memory and packages."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import platform
from typing import Any

from .. import _kernels as kernels
from .. import runtimes
from .options import UserError

__all__ = ["add_info"]

PACKAGES = ["numpy", "safetensors", "tqdm", "scikit-learn", "matplotlib"]


def add_info(commands: Any) -> None:
    """The command, among others."""
    parser = commands.add_parser("info", help="show version, processor, threads and memory", allow_abbrev=False)
    parser.add_argument(
        "--beside", nargs="+", default=[], metavar="MODULE", help="import these first, to see what they bring with them"
    )
    parser.set_defaults(command=show_info)


def show_info(options: argparse.Namespace) -> None:
    for module in options.beside:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(f"cannot import {module} ({error})") from None
    others = runtimes.loaded()
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
    for name, value in [*rows.items(), *((runtime.kind.name, runtime.describe()) for runtime in others)]:
        print(f"{name:16} {value}")
    for danger in runtimes.dangers(others):
        print(f"note: {danger}")


def bounds() -> str:
    """What the number of threads goes by, where nobody has asked for another."""
    found = kernels.processors()
    quota = f"a quota of {found['quota']}" if found["quota"] else "no quota"
    return f"{found['affinity']} processors may be used, {found['cores']} cores, {quota}"


def version() -> str:
    from .. import __version__

    return __version__


def found(package: str) -> str | None:
    """The version of a package, if it is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

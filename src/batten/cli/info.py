"""`batten info`: version, processor, threads, memory and packages."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from typing import Any

from .. import _kernels as kernels

__all__ = ["add_info"]

PACKAGES = ["numpy", "safetensors", "tqdm", "scikit-learn", "matplotlib"]


def add_info(commands: Any) -> None:
    """The command, among others."""
    parser = commands.add_parser("info", help="show version, processor, threads and memory", allow_abbrev=False)
    parser.set_defaults(command=show_info)


def show_info(options: argparse.Namespace) -> None:
    pool = kernels.memory_stats()
    rows = {
        "batten": version(),
        "instruction set": f"{kernels.isa()} (this processor runs {', '.join(kernels.isas())})",
        "threads": str(kernels.get_num_threads()),
        "OpenMP": kernels.openmp() or "without OpenMP",
        "memory pool": f"{pool['allocated']:,} bytes in use, {pool['peak']:,} at most, {pool['reserved']:,} held; "
        f"{pool['reused']:,} of {pool['requests']:,} blocks reused",
        "Python": platform.python_version(),
        **{package: found(package) or "not installed" for package in PACKAGES},
    }
    for name, value in rows.items():
        print(f"{name:16} {value}")


def version() -> str:
    from .. import __version__

    return __version__


def found(package: str) -> str | None:
    """The version of a package, if it is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

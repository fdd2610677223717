"""Which runtimes of OpenMP and BLAS this process has loaded, and which do not go well together.

Every one has threads of its own, and knows nothing of the others': batten's OpenMP, NumPy's OpenBLAS, what PyTorch
or scikit-learn bring. As long as they compute in turn, that costs little. A process has them all as soon as
the packages are imported; `batten info --beside torch sklearn` imports some first, and in a notebook:

>>> from batten import runtimes
>>> for runtime in runtimes.loaded():                           # doctest: +SKIP
...     print(runtime)
libgomp: GOMP_5.1, 2 threads, /usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0
OpenBLAS: 0.3.31, 2 threads, /usr/lib/python3/site-packages/numpy.libs/libscipy_openblas64_-32a4b2a6.so
>>> runtimes.dangers(runtimes.loaded())                         # doctest: +SKIP
[]
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

__all__ = ["Kind", "Runtime", "dangers", "loaded"]


@dataclass(frozen=True)
class Kind:
    """What there is to know of a runtime: how its files begin, their version, and who tells of its threads."""

    name: str
    openmp: bool
    files: str
    version: bytes  # a pattern for what stands in the file
    threads: tuple[str, ...]


OMP = ("omp_get_max_threads",)
KINDS = (
    Kind("libgomp", True, r"libgomp[-.]", rb"GOMP_\d[\d.]*", OMP),
    Kind("libiomp5", True, r"libiomp5[-.]", rb"OMP (?:library )?version: (\d[\d.]*)", OMP),
    Kind("libomp", True, r"libomp\d*[-.]", rb"OMP (?:library )?version: (\d[\d.]*)", OMP),
    Kind(
        "OpenBLAS", False, r"lib(scipy_)?openblas", rb"OpenBLAS (\d[\d.]*)",
        tuple(map("{0[0]}openblas_get_num_threads{0[1]}".format, product(("", "scipy_"), ("", "64_", "_64")))),
    ),
    Kind("MKL", False, r"libmkl_rt[-.]", rb"Math Kernel Library Version (\d[\d.]*)", ("mkl_get_max_threads",)),
    Kind("BLIS", False, r"libblis", rb"BLIS (\d[\d.]*)", ("bli_thread_get_num_threads",)),
)  # fmt: skip


@dataclass(frozen=True)
class Runtime:
    """A runtime that is loaded: its file, what the file says of its version, and how many threads it would use."""

    kind: Kind
    path: Path
    version: str | None
    threads: int | None

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.describe()}"

    def describe(self) -> str:
        """Everything but its name."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else None
        return ", ".join(filter(None, (self.version, threads, str(self.path))))


def loaded(maps: str = "/proc/self/maps") -> list[Runtime]:
    """All that are loaded, those of OpenMP first; on other systems than Linux, which has no such list, none."""
    try:
        lines = Path(maps).read_text().splitlines()
    except OSError:
        return []
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    found = [(kind, Path(path)) for kind in KINDS for path in sorted(paths) if re.match(kind.files, Path(path).name)]
    return [Runtime(kind, path, version(kind, path), threads(kind, path)) for kind, path in found]


def version(kind: Kind, path: Path) -> str | None:
    """The highest that the file names."""
    try:
        found = re.findall(kind.version, path.read_bytes())
    except OSError:
        return None
    return max((text.decode().rstrip(".") for text in found), default=None)


def threads(kind: Kind, path: Path) -> int | None:
    """How many it would use in this thread."""
    try:
        library = ctypes.CDLL(str(path))  # it is loaded already, and this only finds it
    except OSError:
        return None
    return next((getattr(library, name)() for name in kind.threads if hasattr(library, name)), None)


def dangers(runtimes: Iterable[Runtime]) -> list[str]:
    """What may happen where runtimes of OpenMP do not go well together, and what to do, in a few sentences each."""
    openmp = [runtime for runtime in runtimes if runtime.kind.openmp]
    names = list(dict.fromkeys(runtime.kind.name for runtime in openmp))
    found = []
    if len(names) > 1:
        found.append(
            f"{' and '.join(names)} are different runtimes of OpenMP in one process ({files(openmp)}). Where a "
            "parallel loop of one enters one of the other, it may hang or crash, or compute wrong results. Import only "
            "the packages that you need, or take all from one source, such as conda-forge, where they share a runtime."
        )
    for name in names:
        same = [runtime for runtime in openmp if runtime.kind.name == name]
        if len(same) > 1:
            found.append(
                f"{name} is there {count(len(same))} ({files(same)}), each with threads of its own. In turn they "
                "compute well; at the same time they take processors from each other: limit them then, by "
                "OMP_NUM_THREADS or threadpoolctl. Start processes by spawn, as in a fork a package may wait for "
                "threads that it had before."
            )
    return found


def count(n: int) -> str:
    return "twice" if n == 2 else f"{n} times"


def files(runtimes: Sequence[Runtime]) -> str:
    return ", ".join(str(runtime.path) for runtime in runtimes)

"""batten among the libraries whose threads threadpoolctl lists and limits.

    with threadpoolctl.threadpool_limits(1):
        loss = criterion(model(x), y)           # on one thread, as is all that others compute here

threadpoolctl comes with scikit-learn, and knows a library by a controller that is registered with it. batten's is
as soon as both are imported, whichever comes first, and nothing is imported for it. If threadpoolctl comes
later, `Introduction` is asked for it before the others in `sys.meta_path`: it has it found and loaded as without
batten, registers the controller, and is gone.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from . import _kernels as kernels

__all__: list[str] = []

NAME = "threadpoolctl"


def introduce() -> None:
    """Registers batten's controller, now or when threadpoolctl is imported."""
    if kernels.openmp() is None:  # there is one thread, and nothing to limit
        return
    if NAME in sys.modules:
        register(sys.modules[NAME])
    else:
        sys.meta_path.insert(0, Introduction())


def register(threadpoolctl: ModuleType) -> None:
    """Registers the controller, if this version of threadpoolctl takes any but its own."""
    if not hasattr(threadpoolctl, "register"):
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[name-defined]
        """batten's threads: whoever limits those of OpenMP means these, too."""

        user_api = "openmp"
        internal_api = "batten"
        filename_prefixes = ("_kernels.",)
        check_symbols = ("batten_threads", "batten_set_threads")  # other packages have a _kernels as well

        def get_num_threads(self) -> int:
            return kernels.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            kernels.set_num_threads(num_threads)

        def get_version(self) -> str:
            from . import __version__

            return __version__

    threadpoolctl.register(Controller)


class Introduction:
    """A finder of threadpoolctl alone, until it has been imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != NAME:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader, self)  # type: ignore[assignment]
        return spec


class Loader:
    """Another loader, which registers the controller with what it has loaded."""

    def __init__(self, other: Any, finder: Introduction) -> None:
        self.other, self.finder = other, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.other, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.other  # type: ignore[union-attr]
        self.other.exec_module(module)
        if self.finder in sys.meta_path:
            sys.meta_path.remove(self.finder)  # type: ignore[arg-type]
        register(module)

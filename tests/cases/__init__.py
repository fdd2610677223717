"""One row for each kernel: how to call it, and what must come out.

A family's file has a table CASES: kernel name -> function(rng, dtype, size) that
makes a Case.  `size` is "empty" (an axis of length nought), "one" (a single
element), "odd" (lengths that no vector width divides) or "large" (above every
threshold for threads).  test_kernels.py runs all rows on every instruction set,
type and number of threads, and with bad arguments; a kernel without a row fails.
A kernel that takes images of bytes as well has a second row, "NAME bytes".
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZES = ("empty", "one", "odd", "large")


@dataclass
class Case:
    """A call of a wrapper: function(*arguments, **options).

    The first `outputs` arrays of `arguments` are written; `expected` holds what they
    must be, computed in float64 (None: only that threads agree is asked).  `tolerance` is in
    units of the type's rounding error, relative to max(1, |expected|).  `elastic` names
    the arguments whose last axis could as well be longer.
    """

    function: Callable[..., Any]
    arguments: list[Any]
    expected: list[np.ndarray | None]
    outputs: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    elastic: tuple[int, ...] = ()
    tolerance: float = 4

    def run(self) -> list[np.ndarray]:
        """The outputs of a call, on copies of the arguments."""
        arguments = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in self.arguments]
        self.function(*arguments, **self.options)
        return [a for a in arguments if isinstance(a, np.ndarray)][: self.outputs]

    def check(self, dtype: Any) -> None:
        """Compares the outputs of a call with what they must be."""
        for got, expected in zip(self.run(), self.expected, strict=True):
            if expected is None:
                continue
            assert got.shape == expected.shape
            bound = self.tolerance * np.finfo(dtype).eps * np.maximum(1, np.abs(expected))
            with np.errstate(invalid="ignore"):
                close = (np.abs(got - expected) <= bound) | (got == expected) | (np.isnan(got) & np.isnan(expected))
            assert close.all(), f"{(~close).sum()} of {close.size} differ, by up to {np.nanmax(np.abs(got - expected))}"


CASES: dict[str, Callable[..., Case]] = {}
for found in pkgutil.iter_modules(__path__):
    CASES.update(importlib.import_module(f"{__name__}.{found.name}").CASES)

"""Rows for each Operation: how to apply it, and to what, for the check of its gradient.

A family's file has a table ROWS: Operation -> list of Row.  test_operations.py compares
every row's gradient with differences; an Operation without a row fails.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

import batten
from batten.autograd import Operation


class Row:
    """A function of tensors, and its arguments: shapes, filled with numbers from low to high, or arrays as they are."""

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, low: float = -2, high: float = 2, eps: float = 1e-6
    ) -> None:
        self.function, self.arguments, self.low, self.high, self.eps = function, arguments, low, high, eps

    def tensors(self, rng: np.random.Generator) -> list[batten.Tensor]:
        arrays = [rng.uniform(self.low, self.high, a) if isinstance(a, tuple) else a for a in self.arguments]
        return [batten.tensor(a, dtype=batten.float64, requires_grad=True) for a in arrays]


ROWS: dict[type[Operation], list[Row]] = {}
for found in pkgutil.iter_modules(__path__):
    ROWS.update(importlib.import_module(f"{__name__}.{found.name}").ROWS)

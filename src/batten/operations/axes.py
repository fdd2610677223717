"""Which axes a `dim` names, and what is left of a shape without them."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

__all__: list[str] = []


def axis_of(name: str, x: np.ndarray, dim: Any) -> int:
    """One axis, counted from the front.  A tensor without axes has one for this purpose, as in PyTorch."""
    rank = x.ndim or 1
    axis = operator.index(dim)
    if not -rank <= axis < rank:
        raise IndexError(f"{name} expects a dim from {-rank} to {rank - 1}, got {axis}")
    return axis % rank


def axes_of(name: str, x: np.ndarray, dim: Any) -> tuple[int, ...]:
    """Axes counted from the front, in rising order.  None, and an empty tuple, are all of them."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(x.ndim))
    axes = [axis_of(name, x, d) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name} expects each dim once, got {dim}")
    return tuple(sorted(axes)) if x.ndim else ()


def kept_shape(x: np.ndarray, axes: tuple[int, ...]) -> tuple[int, ...]:
    """x's shape with length one along the axes."""
    return tuple([1 if i in axes else n for i, n in enumerate(x.shape)])


def left_shape(x: np.ndarray, axes: tuple[int, ...]) -> tuple[int, ...]:
    """x's shape without the axes."""
    return tuple([n for i, n in enumerate(x.shape) if i not in axes])


def length_of(x: np.ndarray, axes: tuple[int, ...]) -> int:
    """How many elements there are along the axes."""
    return math.prod([x.shape[i] for i in axes])

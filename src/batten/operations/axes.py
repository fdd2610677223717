"""Which axes a `dim` names, and what is left of a shape without them."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

__all__: list[str] = []

F = TypeVar("F", bound=Callable[..., Any])

NUMPY = {"axis": "dim", "keepdims": "keepdim"}


def numpy_names(function: F) -> F:
    """Lets a function be called with NumPy's `axis` and `keepdims`, too, as PyTorch does."""

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        for theirs, ours in NUMPY.items():
            if theirs in kwargs:
                if ours in kwargs:
                    raise TypeError(f"{function.__name__} expects {ours} or {theirs}, got both")
                kwargs[ours] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return renamed  # type: ignore[return-value]


def also_named(name: str) -> Callable[[F], F]:
    """Lets what a function takes as f(x, 2, 3) or f(x, (2, 3)) be given by name, too: f(x, dims=(2, 3))."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            if name in kwargs:
                args = (*args, kwargs.pop(name))
            return function(*args, **kwargs)

        return named  # type: ignore[return-value]

    return decorate


def axis_of(name: str, x: np.ndarray, dim: Any) -> int:
    """One axis, counted from the front.  A tensor without axes has one for this purpose, as in PyTorch."""
    rank = x.ndim or 1
    try:
        axis = operator.index(dim)
    except TypeError:
        raise TypeError(f"{name} expects an integer as dim, got {dim!r}") from None
    if not -rank <= axis < rank:
        raise IndexError(f"{name} expects a dim from {-rank} to {rank - 1}, got {axis}")
    return axis % rank


def new_axis_of(name: str, x: np.ndarray, dim: Any) -> int:
    """Where a new axis goes, counted from the front."""
    return axis_of(name, np.expand_dims(x, 0), dim)


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

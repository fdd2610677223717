"""Families of operations: what those that differ in their kernels only have in common.

A function y = f(x) is two lines beside one of these, its kernel and its gradient's
(`Relu` in elementwise.py).  What a family keeps for the gradient is in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..memory import empty_with_axes
from .promotion import refuse_bools

__all__: list[str] = []


class Unary(Operation):
    """y = f(x; a, b), element by element.

    A subclass names the `kernel` and, if the function is one of integers too, NumPy's.
    One with parameters has slots for them, and `apply` sets them: `apply(x, a=0.01)`.
    """

    __slots__ = ()

    kernel: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]  # dx = dy f'(x), from the array that the family keeps
    numpy: Callable[..., Any]
    a: float = 0.0
    b: float = 0.0

    def compute(self, x: np.ndarray) -> np.ndarray:
        if x.dtype.kind == "f":
            return self.kernel(kernels.empty_like(x), x, self.a, self.b)
        refuse_bools(type(self).__name__.lower(), x)
        return np.asarray(self.numpy(x))


class FromInput(Unary):
    """A function whose gradient is computed from the input."""

    __slots__ = ("x",)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return self.compute(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.gradient(self.room(dy, self.x), dy, self.x, self.a, self.b)


class FromOutput(Unary):
    """A function whose gradient is computed from the result."""

    __slots__ = ("y",)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.y = self.compute(x)
        return self.y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.gradient(self.room(dy, self.y), dy, self.y, self.a, self.b)


class Binary(Operation):
    """z = f(x, y) with broadcasting.

    A subclass names the `kernel` and NumPy's function for integers, and defines the
    gradients `dx(dz)` and `dy(dz)`, each called only where it is wanted; to `keep` x or
    y for them it gives them slots.
    """

    __slots__ = ("shapes",)

    kernel: Callable[..., np.ndarray]
    numpy: Callable[..., Any]
    dx: Callable[..., np.ndarray]
    dy: Callable[..., np.ndarray]

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        self.shapes = x.shape, y.shape
        self.keep(x, y)
        if x.dtype.kind != "f":
            return np.asarray(self.numpy(x, y))
        if x.shape == y.shape or not y.ndim:
            return self.kernel(kernels.empty_like(x), x, y)
        return self.kernel(result_memory(type(self).__name__, x, y), x, y)

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        """Keeps what the gradients need: nothing, unless a subclass says so."""

    def backward(self, dz: np.ndarray) -> tuple[Any, ...]:
        wants_x, wants_y = self.needs_input_grad
        return (
            unbroadcast(self.dx(dz), self.shapes[0]) if wants_x else None,
            unbroadcast(self.dy(dz), self.shapes[1]) if wants_y else None,
        )


def broadcast_shape(name: str, *arrays: np.ndarray) -> tuple[int, ...]:
    """The shape to which arrays are repeated."""
    try:
        return np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        shapes = " and ".join(str(list(a.shape)) for a in arrays)
        raise ValueError(f"{name} expects shapes that broadcast to one, got {shapes}") from None


def result_memory(name: str, *arrays: np.ndarray) -> np.ndarray:
    """Memory for a result of arrays, of the last one's type, which lies as the first does that is not repeated."""
    shape = broadcast_shape(name, *arrays)
    for x in arrays:
        if x.shape == shape:
            return kernels.empty_like(x, arrays[-1].dtype)
    return kernels.empty(shape, arrays[-1].dtype)


def unbroadcast(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand that was repeated to dy's shape: the sum over its repetitions."""
    return dy if dy.shape == shape else kernels.sum(kernels.empty(shape, dy.dtype), dy)


def contiguous(x: np.ndarray) -> np.ndarray:
    """x in C order, itself where it is."""
    return x if x.flags.c_contiguous else copied(x)


def copied(x: np.ndarray) -> np.ndarray:
    """A copy in C order."""
    return copied_to(kernels.empty(x.shape, x.dtype), x)


def copied_to(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """y, with x's elements, which have its type and shape."""
    if x.dtype.kind == "f":
        return kernels.copy(y, x)
    np.copyto(y, x)
    return y


def zeros(shape: tuple[int, ...], dtype: np.dtype, axes: Sequence[int] | None = None) -> np.ndarray:
    """Zeros whose axes lie in memory in an order, or in C order."""
    y = empty_with_axes(axes, shape, dtype)
    y.fill(0)
    return y

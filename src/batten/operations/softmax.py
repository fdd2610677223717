"""Softmax and its logarithm, along any axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation
from .axes import axis_of, length_of, numpy_names
from .families import contiguous
from .promotion import Operand, as_float, as_operand, floats, to_type
from .reduction import Reduction, reduced

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["log_softmax", "logsumexp", "softmax"]


def rows_of(x: np.ndarray, axis: int) -> np.ndarray:
    """x as rows (rows, cols) in C order, with an axis as the columns."""
    if x.ndim == 2 and axis == 1:
        return contiguous(x)
    moved = np.moveaxis(x, axis, -1) if x.ndim else x
    n = moved.shape[-1] if x.ndim else 1
    return contiguous(moved).reshape(math.prod(moved.shape[:-1]), n)


def from_rows(rows: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Rows in their places again: the inverse of `rows_of`."""
    if len(shape) == 2 and axis == 1:
        return rows
    if not shape:
        return rows.reshape(())
    moved = rows.reshape(*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.moveaxis(moved, -1, axis)


class AlongAxis(Operation):
    """A function of the elements along one axis, whose gradient follows from the result."""

    __slots__ = ("axis", "y")

    axis: int
    kernel: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]

    def forward(self, x: np.ndarray) -> np.ndarray:
        rows = rows_of(x, self.axis)
        self.y = from_rows(self.kernel(kernels.empty_like(rows), rows), x.shape, self.axis)
        return self.y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        rows = rows_of(dy, self.axis)
        dx = self.gradient(kernels.empty_like(rows), rows, rows_of(self.y, self.axis))
        return from_rows(dx, dy.shape, self.axis)


class Softmax(AlongAxis):
    __slots__ = ()
    kernel, gradient = kernels.softmax, kernels.softmax_backward


class LogSoftmax(AlongAxis):
    __slots__ = ()
    kernel, gradient = kernels.log_softmax, kernels.log_softmax_backward


class Logsumexp(Reduction):
    """y = log Σ exp(x); dx = dy exp(x - y)."""

    __slots__ = ("x", "y")

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        y, _ = self.allocate(x)
        moved = np.moveaxis(x, self.axes, range(-len(self.axes), 0))
        rows = contiguous(moved).reshape(y.size, length_of(x, self.axes))
        kernels.logsumexp(y.reshape(-1), rows)
        self.y = y
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = kernels.sub(kernels.empty_like(self.x), self.x, self.restored(self.y))
        kernels.exp(dx, dx)
        return kernels.mul(dx, dx, self.restored(dy))


def along_axis(name: str, operation: type[AlongAxis], input: Operand, dim: int, dtype: Any) -> Tensor:
    x = as_operand(input)
    axis = axis_of(name, x.array, dim)
    return operation.apply(floats(name, x if dtype is None else to_type(x, dtypes.as_dtype(dtype))), axis=axis)


@numpy_names
def softmax(input: Operand, dim: int, dtype: Any = None) -> Tensor:
    """exp(input) over its sum along an axis: positive, and adding up to 1.

    >>> import batten
    >>> batten.softmax(batten.tensor([[0.0, 0.0]]), dim=1)
    tensor([[0.5000, 0.5000]])
    """
    return along_axis("softmax", Softmax, input, dim, dtype)


@numpy_names
def log_softmax(input: Operand, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of softmax, exact for small probabilities as well.

    >>> import batten
    >>> batten.log_softmax(batten.tensor([[0.0, 0.0]]), dim=1)
    tensor([[-0.6931, -0.6931]])
    """
    return along_axis("log_softmax", LogSoftmax, input, dim, dtype)


@numpy_names
def logsumexp(input: Operand, dim: Any, keepdim: bool = False) -> Tensor:
    """log Σ exp(input) over the axes `dim`, without overflow.

    >>> import batten
    >>> batten.logsumexp(batten.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    return reduced(Logsumexp, as_float(input), dim, keepdim)

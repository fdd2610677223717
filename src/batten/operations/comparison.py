"""Questions about elements, answered by bools; none has a gradient."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import wrap
from .axes import axes_of, numpy_names
from .families import broadcast_shape
from .promotion import Operand, as_operand, meet

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "all",
    "allclose",
    "any",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "gt",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "lt",
    "ne",
]


def compared(ufunc: np.ufunc, input: Operand, other: Operand) -> Tensor:
    x, y = meet(input, other)
    broadcast_shape(ufunc.__name__, x.array, y.array)
    return wrap(np.asarray(ufunc(x.array, y.array)))


def asked(ufunc: np.ufunc, input: Operand) -> Tensor:
    return wrap(np.asarray(ufunc(as_operand(input).array)))


def eq(input: Operand, other: Operand) -> Tensor:
    """input == other, element by element.

    >>> import batten
    >>> batten.eq(batten.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return compared(np.equal, input, other)


def ne(input: Operand, other: Operand) -> Tensor:
    """input != other, element by element.

    >>> import batten
    >>> batten.ne(batten.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return compared(np.not_equal, input, other)


def lt(input: Operand, other: Operand) -> Tensor:
    """input < other, element by element.

    >>> import batten
    >>> batten.lt(batten.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return compared(np.less, input, other)


def le(input: Operand, other: Operand) -> Tensor:
    """input <= other, element by element.

    >>> import batten
    >>> batten.le(batten.tensor([1, 2]), 2)
    tensor([True, True])
    """
    return compared(np.less_equal, input, other)


def gt(input: Operand, other: Operand) -> Tensor:
    """input > other, element by element.

    >>> import batten
    >>> batten.gt(batten.tensor([1, 2]), 1)
    tensor([False,  True])
    """
    return compared(np.greater, input, other)


def ge(input: Operand, other: Operand) -> Tensor:
    """input >= other, element by element.

    >>> import batten
    >>> batten.ge(batten.tensor([1, 2]), 1)
    tensor([True, True])
    """
    return compared(np.greater_equal, input, other)


def isnan(input: Operand) -> Tensor:
    """Which elements are not a number.

    >>> import batten
    >>> batten.isnan(batten.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return asked(np.isnan, input)


def isinf(input: Operand) -> Tensor:
    """Which elements are infinite.

    >>> import batten
    >>> batten.isinf(batten.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    return asked(np.isinf, input)


def isfinite(input: Operand) -> Tensor:
    """Which elements are neither infinite nor NaN.

    >>> import batten
    >>> batten.isfinite(batten.tensor([1.0, float("nan")]))
    tensor([ True, False])
    """
    return asked(np.isfinite, input)


def logical_and(input: Operand, other: Operand) -> Tensor:
    """Where both are true; numbers are true unless they are zero.

    >>> import batten
    >>> batten.logical_and(batten.tensor([True, True]), batten.tensor([True, False]))
    tensor([ True, False])
    """
    return compared(np.logical_and, input, other)


def logical_or(input: Operand, other: Operand) -> Tensor:
    """Where either is true; numbers are true unless they are zero.

    >>> import batten
    >>> batten.logical_or(batten.tensor([False, True]), batten.tensor([False, False]))
    tensor([False,  True])
    """
    return compared(np.logical_or, input, other)


def logical_not(input: Operand) -> Tensor:
    """Where it is false; numbers are true unless they are zero.

    >>> import batten
    >>> batten.logical_not(batten.tensor([False, True]))
    tensor([ True, False])
    """
    return asked(np.logical_not, input)


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """input & other, of bools or integers.

    >>> import batten
    >>> batten.bitwise_and(batten.tensor([6, 3]), 2)
    tensor([2, 2])
    """
    return compared(np.bitwise_and, input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """input | other, of bools or integers.

    >>> import batten
    >>> batten.bitwise_or(batten.tensor([4, 3]), 2)
    tensor([6, 3])
    """
    return compared(np.bitwise_or, input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """input ^ other, of bools or integers.

    >>> import batten
    >>> batten.bitwise_xor(batten.tensor([True, True]), batten.tensor([True, False]))
    tensor([False,  True])
    """
    return compared(np.bitwise_xor, input, other)


def bitwise_not(input: Operand) -> Tensor:
    """~input, of bools or integers.

    >>> import batten
    >>> batten.bitwise_not(batten.tensor([True, False]))
    tensor([False,  True])
    """
    return asked(np.bitwise_not, input)


@numpy_names
def all(input: Operand, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Are all elements true, along the axes `dim` or altogether?

    >>> import batten
    >>> batten.all(batten.tensor([[True, True], [True, False]]), 1)
    tensor([ True, False])
    """
    return summarized(np.all, input, dim, keepdim)


@numpy_names
def any(input: Operand, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Is any element true, along the axes `dim` or altogether?

    >>> import batten
    >>> batten.any(batten.tensor([[False, False], [True, False]]), 1)
    tensor([False,  True])
    """
    return summarized(np.any, input, dim, keepdim)


def summarized(function: Any, input: Operand, dim: Any, keepdim: bool) -> Tensor:
    """What np.all or np.any says; as in PyTorch, bytes are answered by bytes."""
    x = as_operand(input).array
    answer = function(x, axes_of(function.__name__, x, dim), keepdims=keepdim)
    return wrap(np.asarray(answer, x.dtype if x.dtype == np.uint8 else np.bool_))


def allclose(
    input: Operand, other: Operand, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> builtins.bool:
    """Is |input - other| <= atol + rtol |other| everywhere?

    >>> import batten
    >>> batten.allclose(batten.tensor([1.0, 2.0]), batten.tensor([1.0, 2.00001]))
    True
    """
    x, y = meet(input, other)
    broadcast_shape("allclose", x.array, y.array)
    return bool(np.allclose(x.array, y.array, rtol, atol, equal_nan))


def equal(input: Operand, other: Operand) -> builtins.bool:
    """Have two tensors one shape and the same elements?

    >>> import batten
    >>> batten.equal(batten.tensor([1, 2]), batten.tensor([1, 2]))
    True
    """
    return bool(np.array_equal(as_operand(input).array, as_operand(other).array))

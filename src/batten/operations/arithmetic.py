"""Functions of two numbers, element by element, with broadcasting.

Floats go to the kernels; integers and bools, which carry no gradient, to NumPy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation, wrap
from .elementwise import Square
from .families import Binary, FromInput, broadcast_shape, result_memory, unbroadcast
from .promotion import Operand, as_float, as_operand, fitted, meet, one_number, refuse_bools

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "add",
    "clamp",
    "clip",
    "div",
    "floor_divide",
    "maximum",
    "minimum",
    "mul",
    "pow",
    "remainder",
    "sub",
    "where",
]


# What a bound of clamp may be without being a tensor.
BOUND = (int, float, type(None))


def multiplied(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y, of x's shape."""
    return kernels.mul(kernels.empty_like(x), x, y)


class Add(Binary):
    __slots__ = ()
    kernel, numpy = kernels.add, np.add

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return dz

    dy = dx


class Sub(Binary):
    __slots__ = ()
    kernel, numpy = kernels.sub, np.subtract

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return dz

    def dy(self, dz: np.ndarray) -> np.ndarray:
        return kernels.neg(kernels.empty_like(dz), dz)


class Mul(Binary):
    __slots__ = ("x", "y")
    kernel, numpy = kernels.mul, np.multiply

    x: Any
    y: Any

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        wants_x, wants_y = self.needs_input_grad
        self.x = x if wants_y else None
        self.y = y if wants_x else None

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return multiplied(dz, self.y)

    def dy(self, dz: np.ndarray) -> np.ndarray:
        return multiplied(dz, self.x)


class Div(Binary):
    __slots__ = ("x", "y")
    kernel = kernels.div

    x: Any
    y: Any

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = x if self.needs_input_grad[1] else None
        self.y = y

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return kernels.div(kernels.empty_like(dz), dz, self.y)

    def dy(self, dz: np.ndarray) -> np.ndarray:
        """-dz x / y²"""
        dy = multiplied(dz, self.x)
        kernels.div(dy, dy, self.y)
        kernels.div(dy, dy, self.y)
        return kernels.neg(dy, dy)


class Pow(Binary):
    __slots__ = ("x", "y")
    kernel, numpy = kernels.pow, np.power

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def dx(self, dz: np.ndarray) -> np.ndarray:
        """dz y x^(y - 1), and 0 where y is 0, whatever x is."""
        dx = kernels.pow(kernels.empty_like(dz), self.x, np.asarray(self.y - 1))
        kernels.mul(dx, dx, self.y)
        kernels.mul(dx, dx, dz)
        return np.where(self.y == 0, dx.dtype.type(0), dx)

    def dy(self, dz: np.ndarray) -> np.ndarray:
        """dz x^y log(x), and 0 where x is 0 and y at least that."""
        dy = kernels.pow(kernels.empty_like(dz), self.x, self.y)
        kernels.mul(dy, dy, kernels.log(kernels.empty_like(self.x), self.x))
        kernels.mul(dy, dy, dz)
        return np.where((self.x == 0) & (self.y >= 0), dy.dtype.type(0), dy)


class Extremum(Binary):
    """The gradient goes to the operand that is the result, a half to each where they are equal."""

    __slots__ = ("x", "y")

    loses: np.ufunc

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def part(self, dz: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        zero, half = dz.dtype.type(0), dz.dtype.type(0.5)
        return np.where(self.loses(x, y), zero, np.where(x == y, dz * half, dz))

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return self.part(dz, self.x, self.y)

    def dy(self, dz: np.ndarray) -> np.ndarray:
        return self.part(dz, self.y, self.x)


class Maximum(Extremum):
    __slots__ = ()
    kernel, numpy, loses = kernels.maximum, np.maximum, np.less


class Minimum(Extremum):
    __slots__ = ()
    kernel, numpy, loses = kernels.minimum, np.minimum, np.greater


class Remainder(Binary):
    """z = x - y floor(x / y)"""

    __slots__ = ("x", "y")
    numpy = np.remainder

    x: Any
    y: Any

    @staticmethod
    def kernel(z: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.remainder(x, y, out=z)

    def keep(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = (x, y) if self.needs_input_grad[1] else (None, None)

    def dx(self, dz: np.ndarray) -> np.ndarray:
        return dz

    def dy(self, dz: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return multiplied(dz, np.asarray(-np.floor_divide(self.x, self.y)))


class Clamp(FromInput):
    __slots__ = ("a", "b")
    kernel, gradient = kernels.clamp, kernels.clamp_backward


class Where(Operation):
    """z = x where the condition holds, else y."""

    __slots__ = ("condition", "shapes")

    def forward(self, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        self.condition = condition
        self.shapes = x.shape, y.shape
        z = result_memory("where", condition, x, y)
        np.copyto(z, y)
        np.copyto(z, x, where=condition)
        return z

    def backward(self, dz: np.ndarray) -> tuple[Any, ...]:
        _, wants_x, wants_y = self.needs_input_grad
        zero = dz.dtype.type(0)
        return (
            None,
            unbroadcast(np.where(self.condition, dz, zero), self.shapes[0]) if wants_x else None,
            unbroadcast(np.where(self.condition, zero, dz), self.shapes[1]) if wants_y else None,
        )


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """input + alpha other.

    >>> import batten
    >>> batten.add(batten.tensor([1.0, 2.0]), 10)
    tensor([11., 12.])
    """
    return Add.apply(*scaled("add", input, other, alpha))


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """input - alpha other.

    >>> import batten
    >>> batten.sub(batten.tensor([1.0, 2.0]), batten.tensor([1.0, 1.0]), alpha=2)
    tensor([-1.,  0.])
    """
    x, y = scaled("sub", input, other, alpha)
    refuse_bools("sub", x.array)
    return Sub.apply(x, y)


def scaled(name: str, input: Operand, other: Operand, alpha: float) -> Any:
    """Two operands as tensors of one type, the second times alpha."""
    x, y = meet(input, other)
    if alpha == 1:
        return x, y
    if isinstance(alpha, float) and y.array.dtype.kind != "f":
        raise TypeError(f"{name} of {y.array.dtype} expects an integer as alpha, got {alpha}")
    return x, Mul.apply(y, one_number(name, alpha, y.array.dtype))


def mul(input: Operand, other: Operand) -> Tensor:
    """input × other.

    >>> import batten
    >>> batten.mul(batten.tensor([[1.0], [2.0]]), batten.tensor([1.0, 10.0]))
    tensor([[ 1., 10.],
            [ 2., 20.]])
    """
    x, y = meet(input, other)
    return Mul.apply(x, y)


def div(input: Operand, other: Operand) -> Tensor:
    """input / other; of integers a float.

    >>> import batten
    >>> batten.div(batten.tensor([1, 2]), 4)
    tensor([0.2500, 0.5000])
    """
    x, y = meet(input, other)
    if x.array.dtype.kind != "f":  # each by itself: as integers of one type they may be others
        x, y = as_float(input), as_float(other)
    return Div.apply(x, y)


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """The largest whole number at most input / other; it has no gradient.  ZeroDivisionError for integers over 0.

    >>> import batten
    >>> batten.floor_divide(batten.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    x, y = nonzero_divisor("floor_divide", input, other)
    broadcast_shape("floor_divide", x.array, y.array)
    with np.errstate(all="ignore"):
        return wrap(np.asarray(np.floor_divide(x.array, y.array)))


def remainder(input: Operand, other: Operand) -> Tensor:
    """input - other × floor(input / other), so that it has the sign of other.  ZeroDivisionError for integers over 0.

    >>> import batten
    >>> batten.remainder(batten.tensor([7, -7]), 4)
    tensor([3, 1])
    """
    return Remainder.apply(*nonzero_divisor("remainder", input, other))


def nonzero_divisor(name: str, input: Operand, other: Operand) -> Any:
    """Two operands as tensors of one type; floats can be divided by zero, integers cannot."""
    x, y = meet(input, other)
    refuse_bools(name, x.array)
    if y.array.dtype.kind != "f" and x.array.size and not y.array.all():
        raise ZeroDivisionError(f"{name} of integers by zero")
    return x, y


def pow(input: Operand, exponent: Operand) -> Tensor:
    """input to the power exponent.  ValueError for integers to negative powers.

    >>> import batten
    >>> batten.pow(batten.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    x, y = meet(input, exponent)
    refuse_bools("pow", x.array)
    if x.array.dtype.kind != "f" and (as_operand(exponent).array < 0).any():
        raise ValueError("pow of integers expects exponents of at least 0; use .float() first for others")
    return Square.apply(x) if type(exponent) in (int, float) and exponent == 2 else Pow.apply(x, y)


def maximum(input: Operand, other: Operand) -> Tensor:
    """The larger of each pair; NaN if one is.

    >>> import batten
    >>> batten.maximum(batten.tensor([1.0, 5.0]), 3.0)
    tensor([3., 5.])
    """
    x, y = meet(input, other)
    return Maximum.apply(x, y)


def minimum(input: Operand, other: Operand) -> Tensor:
    """The smaller of each pair; NaN if one is.

    >>> import batten
    >>> batten.minimum(batten.tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """
    x, y = meet(input, other)
    return Minimum.apply(x, y)


def clamp(input: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """min(max(input, min), max), where a bound is a number, a tensor, or None for no bound.

    >>> import batten
    >>> batten.clamp(batten.tensor([-2.0, 0.5, 2.0]), -1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise ValueError("clamp expects a lower bound, an upper bound or both, got None")
    x = as_operand(input)
    if x.array.dtype.kind == "f" and isinstance(min, BOUND) and isinstance(max, BOUND):
        return Clamp.apply(x, a=-math.inf if min is None else min, b=math.inf if max is None else max)
    x, *bounds = fitted("clamp", x, *[bound for bound in (min, max) if bound is not None])
    broadcast_shape("clamp", x.array, *[bound.array for bound in bounds])
    # Where a bound is met exactly, the gradient is the input's; a bound of NaN makes NaN.
    if min is not None:
        low = bounds[0]
        x = where(wrap(np.asarray((x.array < low.array) | np.isnan(low.array))), low, x)
    if max is not None:
        high = bounds[-1]
        x = where(wrap(np.asarray((x.array > high.array) | np.isnan(high.array))), high, x)
    return x


clip = clamp


def where(condition: Operand, input: Operand | None = None, other: Operand | None = None) -> Any:
    """input where the condition holds, else other; with the condition alone, a tuple of the indices where it does.

    >>> import batten
    >>> x = batten.tensor([-1.0, 2.0])
    >>> batten.where(x > 0, x, 0.0)
    tensor([0., 2.])
    >>> batten.where(x > 0)
    (tensor([1]),)
    """
    mask = as_operand(condition)
    if input is None and other is None:
        return tuple([wrap(i) for i in np.nonzero(np.atleast_1d(mask.array))])
    if input is None or other is None:
        raise TypeError("where expects a condition alone, or with both input and other")
    if mask.array.dtype != np.bool_:
        raise TypeError(f"where expects a condition of bool, got {mask.array.dtype}")
    return Where.apply(mask, *fitted("where", input, other))

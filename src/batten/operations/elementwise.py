"""Functions of one number, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _kernels as kernels
from .families import FromInput, FromOutput, Unary, zeros
from .promotion import Operand, as_float, as_operand

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "abs",
    "cos",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "relu",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "square",
    "tanh",
]


class Neg(Unary):
    __slots__ = ()
    kernel, numpy = kernels.neg, np.negative

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.compute(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return kernels.neg(self.room(dy, dy), dy)


class Sign(Unary):
    """A function of steps: its gradient is zero."""

    __slots__ = ()
    kernel, numpy = kernels.sign, np.sign

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.compute(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return zeros(dy.shape, dy.dtype)


class Abs(FromInput):
    __slots__ = ()
    kernel, gradient, numpy = kernels.abs, kernels.abs_backward, np.abs


class Square(FromInput):
    __slots__ = ()
    kernel, gradient, numpy = kernels.square, kernels.square_backward, np.square


class Relu(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.relu, kernels.relu_backward

    @staticmethod
    def numpy(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, x.dtype.type(0))


class Exp(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.exp, kernels.exp_backward


class Expm1(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.expm1, kernels.expm1_backward


class Log(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.log, kernels.log_backward


class Log1p(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.log1p, kernels.log1p_backward


class Sqrt(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.sqrt, kernels.sqrt_backward


class Rsqrt(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.rsqrt, kernels.rsqrt_backward


class Reciprocal(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.reciprocal, kernels.reciprocal_backward


class Sin(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.sin, kernels.sin_backward


class Cos(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.cos, kernels.cos_backward


class Tanh(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.tanh, kernels.tanh_backward


class Sigmoid(FromOutput):
    __slots__ = ()
    kernel, gradient = kernels.sigmoid, kernels.sigmoid_backward


class Erf(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.erf, kernels.erf_backward


def neg(input: Operand) -> Tensor:
    """-input, element by element.

    >>> import batten
    >>> batten.neg(batten.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return Neg.apply(as_operand(input))


def abs(input: Operand) -> Tensor:
    """|input|, element by element.

    >>> import batten
    >>> batten.abs(batten.tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    return Abs.apply(as_operand(input))


def sign(input: Operand) -> Tensor:
    """1 where input > 0, -1 where input < 0, else 0.

    >>> import batten
    >>> batten.sign(batten.tensor([3.0, -2.0, 0.0]))
    tensor([ 1., -1.,  0.])
    """
    return Sign.apply(as_operand(input))


def square(input: Operand) -> Tensor:
    """input², element by element.

    >>> import batten
    >>> batten.square(batten.tensor([1.0, -2.0]))
    tensor([1., 4.])
    """
    return Square.apply(as_operand(input))


def relu(input: Operand) -> Tensor:
    """max(input, 0), element by element.

    >>> import batten
    >>> batten.relu(batten.tensor([1.0, -2.0]))
    tensor([1., 0.])
    """
    return Relu.apply(as_operand(input))


def exp(input: Operand) -> Tensor:
    """e to the power input, element by element.

    >>> import batten
    >>> batten.exp(batten.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return Exp.apply(as_float(input))


def expm1(input: Operand) -> Tensor:
    """exp(input) - 1, exact for small input as well.

    >>> import batten
    >>> batten.expm1(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return Expm1.apply(as_float(input))


def log(input: Operand) -> Tensor:
    """The natural logarithm, element by element.

    >>> import batten
    >>> batten.log(batten.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    return Log.apply(as_float(input))


def log1p(input: Operand) -> Tensor:
    """log(1 + input), exact for small input as well.

    >>> import batten
    >>> batten.log1p(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return Log1p.apply(as_float(input))


def sqrt(input: Operand) -> Tensor:
    """The square root, element by element.

    >>> import batten
    >>> batten.sqrt(batten.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return Sqrt.apply(as_float(input))


def rsqrt(input: Operand) -> Tensor:
    """1 / sqrt(input), element by element.

    >>> import batten
    >>> batten.rsqrt(batten.tensor([4.0, 0.25]))
    tensor([0.5000, 2.0000])
    """
    return Rsqrt.apply(as_float(input))


def reciprocal(input: Operand) -> Tensor:
    """1 / input, element by element.

    >>> import batten
    >>> batten.reciprocal(batten.tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """
    return Reciprocal.apply(as_float(input))


def sin(input: Operand) -> Tensor:
    """The sine, element by element.

    >>> import batten
    >>> batten.sin(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return Sin.apply(as_float(input))


def cos(input: Operand) -> Tensor:
    """The cosine, element by element.

    >>> import batten
    >>> batten.cos(batten.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return Cos.apply(as_float(input))


def tanh(input: Operand) -> Tensor:
    """The hyperbolic tangent, element by element.

    >>> import batten
    >>> batten.tanh(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return Tanh.apply(as_float(input))


def sigmoid(input: Operand) -> Tensor:
    """1 / (1 + exp(-input)), element by element.

    >>> import batten
    >>> batten.sigmoid(batten.tensor([0.0, 1.0]))
    tensor([0.5000, 0.7311])
    """
    return Sigmoid.apply(as_float(input))


def erf(input: Operand) -> Tensor:
    """The error function, 2/√π ∫ exp(-t²) dt from 0 to input.

    >>> import batten
    >>> batten.erf(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return Erf.apply(as_float(input))

"""Layers that are a matrix product, and those that only rearrange.

    y = x Wᵀ + b,     dx = dy W,     dW = dyᵀ x,     db = the sum of dy's rows

x is (*, in_features): its leading axes are one long list of rows, so that each of the
three products is a single gemm, whatever the shape.  The bias is added where gemm
writes its result.

A bilinear layer is a linear one whose weight depends on a second input:

    y_o = x1ᵀ W_o x2 + b_o = Σ_i x1_i T_oi + b_o,     T_oi = Σ_j W_oij x2_j

T, for all o and i, is again a single gemm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..creation import empty
from ..operations import flatten, unflatten
from ..operations.families import contiguous
from ..operations.linalg import rows_of
from ..operations.promotion import Operand, floats
from . import init
from .dropout import Dropout, DropoutOperation, bits_for
from .module import Module
from .parameter import Parameter
from .stateless import stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


class LinearOperation(Operation):
    """y = x Wᵀ + b"""

    __slots__ = ("weight", "x")

    activation: str | None = None
    x: Any
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        wants_x, wants_weight, _ = self.needs_input_grad
        self.x = x if wants_weight else None
        self.weight = weight if wants_x else None
        y = kernels.empty((*x.shape[:-1], len(weight)), x.dtype)
        kernels.gemm(rows_of(y), rows_of(x), weight.T, bias, self.activation)
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        wants_x, wants_weight, wants_bias = self.needs_input_grad
        rows = rows_of(dy)
        dx = dweight = dbias = None
        if wants_x:
            dx = kernels.empty((*dy.shape[:-1], self.weight.shape[1]), dy.dtype)
            kernels.gemm(rows_of(dx), rows, self.weight)
        if wants_weight:
            dweight = kernels.empty((dy.shape[-1], self.x.shape[-1]), dy.dtype)
            kernels.gemm(dweight, rows.T, rows_of(self.x))
        if wants_bias:
            dbias = kernels.sum(kernels.empty(dy.shape[-1:], dy.dtype), rows)
        return dx, dweight, dbias


class LinearActivated(LinearOperation):
    """y = act(z), z = x Wᵀ + b, of an `activation` that gemm knows; its `gradient` is dz = dy act'(z) from y."""

    __slots__ = ("y",)

    gradient: Callable[..., np.ndarray]

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        self.y = super().forward(x, weight, bias)
        return self.y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        return super().backward(self.gradient(self.room(dy, dy), dy, self.y))

    def name(self) -> str:
        return f"{str(self.activation).capitalize()}Backward0"  # the last of the two, as if they were apart


class LinearRelu(LinearActivated):
    __slots__ = ()
    activation, gradient = "relu", kernels.relu_backward


class LinearSigmoid(LinearActivated):
    __slots__ = ()
    activation, gradient = "sigmoid", kernels.sigmoid_backward


class LinearTanh(LinearActivated):
    __slots__ = ()
    activation, gradient = "tanh", kernels.tanh_backward


ACTIVATED: dict[str, type[LinearActivated]] = {"relu": LinearRelu, "sigmoid": LinearSigmoid, "tanh": LinearTanh}


class LinearReluDropout(LinearOperation):
    """y = relu(z) m: dropout behind that, which so keeps two bits an element instead of y."""

    __slots__ = ("draw", "mask", "passed")

    draw: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        z = super().forward(x, weight, bias)
        self.mask, self.passed = bits_for(z.size), bits_for(z.size)
        return kernels.relu_dropout(z, self.mask, self.passed, z, *self.draw)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dy = contiguous(dy)
        dz = kernels.relu_dropout_backward(self.room(dy, dy), dy, self.mask, self.passed, self.draw.scale)
        return super().backward(dz)

    name = DropoutOperation.name


def linear(input: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """input Wᵀ + bias, for input (*, in_features), weight (out_features, in_features) and bias (out_features).

    ValueError if the shapes do not fit, TypeError if the three are not floats of one type.

    >>> import batten
    >>> x, weight = batten.tensor([[1.0, 2.0]]), batten.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> batten.nn.functional.linear(x, weight, batten.tensor([0.5, 0.0]))
    tensor([[3.5000, 6.0000]])
    """
    return LinearOperation.apply(*operands(input, weight, bias))


def operands(input: Operand, weight: Operand, bias: Operand | None, name: str = "Linear") -> tuple[Any, Any, Any]:
    """The three as tensors that fit."""
    x, w = floats(name, input), floats(name, weight)
    b = None if bias is None else floats(name, bias)
    shape, dtype = w.array.shape, x.array.dtype
    if len(shape) != 2:
        raise ValueError(f"{name} expects a weight (out_features, in_features), got {list(shape)}")
    if x.array.shape[-1:] != shape[1:]:
        raise ValueError(f"{name} expects (*, {shape[1]}), got {list(x.array.shape)}")
    if b is not None and b.array.shape != shape[:1]:
        raise ValueError(f"{name} expects a bias [{shape[0]}], got {list(b.array.shape)}")
    if w.array.dtype != dtype:
        raise TypeError(
            f"{name} expects its weight in the input's type, {dtype}, got {w.dtype}; "
            f"use .to(batten.{w.dtype}) on the input first"
        )
    if b is not None and b.array.dtype != dtype:
        raise TypeError(f"{name} expects its bias in the input's type, {dtype}, got {b.dtype}")
    return x, w, b


class Linear(Module):
    """y = x Wᵀ + b for x (*, in_features); y is (*, out_features).

    weight and bias start as U(-1/√in_features, 1/√in_features).

    >>> import batten
    >>> layer = batten.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(batten.ones(5, 3)).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features or math.inf)  # that of init.kaiming_uniform_ with a = √5
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def _activated(self, input: Tensor, activation: str, dropout: Dropout | None = None) -> Tensor:
        """What an activation makes of forward's result; and a dropout, of a relu."""
        given = operands(input, self.weight, self.bias)
        return ACTIVATED[activation].apply(*given) if dropout is None else dropout._apply(LinearReluDropout, *given)

    def _multiply_adds(self, inputs: int, outputs: int) -> int:
        return outputs * self.in_features

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class BilinearOperation(Operation):
    """y_o = Σ_i x1_i T_oi + b_o for each row, T = x2 Wᵀ.

    dx1_i = Σ_o dy_o T_oi, and with dT_oi = dy_o x1_i the rest is as in a linear layer.
    """

    __slots__ = ("products", "weight", "x1", "x2")

    weight: Any
    x1: Any
    x2: Any

    def forward(self, x1: np.ndarray, x2: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        wants_x1, wants_x2, wants_weight, _ = self.needs_input_grad
        out, in1, in2 = weight.shape
        rows, n = rows_of(x1), math.prod(x1.shape[:-1])
        products = kernels.empty((n, out, in1), x1.dtype)
        kernels.gemm(products.reshape(n, out * in1), rows_of(x2), weight.reshape(out * in1, in2).T)
        y = kernels.empty((*x1.shape[:-1], out), x1.dtype)
        kernels.gemm(y.reshape(n, 1, out), rows[:, None], products.mT, bias)
        self.products = products if wants_x1 else None
        self.x1 = x1 if wants_x2 or wants_weight else None
        self.x2 = x2
        self.weight = weight
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        wants_x1, wants_x2, wants_weight, wants_bias = self.needs_input_grad
        out, in1, in2 = self.weight.shape
        rows, n = rows_of(dy), math.prod(dy.shape[:-1])
        dx1 = dx2 = dweight = dbias = None
        if wants_x1:
            dx1 = kernels.empty((*dy.shape[:-1], in1), dy.dtype)
            kernels.gemm(dx1.reshape(n, 1, in1), rows[:, None], self.products)
        if wants_x2 or wants_weight:
            dproducts = kernels.empty((n, out, in1), dy.dtype)
            kernels.mul(dproducts, rows[:, :, None], rows_of(self.x1)[:, None])
            dproducts = dproducts.reshape(n, out * in1)
        if wants_x2:
            dx2 = kernels.empty((*dy.shape[:-1], in2), dy.dtype)
            kernels.gemm(rows_of(dx2), dproducts, self.weight.reshape(out * in1, in2))
        if wants_weight:
            dweight = kernels.empty((out, in1, in2), dy.dtype)
            kernels.gemm(dweight.reshape(out * in1, in2), dproducts.T, rows_of(self.x2))
        if wants_bias:
            dbias = kernels.sum(kernels.empty((out,), dy.dtype), rows)
        return dx1, dx2, dweight, dbias


def bilinear(input1: Operand, input2: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """input1ᵀ W_o input2 + bias_o for every o, (*, out), for input1 (*, in1) and input2 (*, in2); W is weight.

    weight is (out, in1, in2), bias (out).
    ValueError if the shapes do not fit, TypeError if all are not floats of one type.

    >>> import batten
    >>> x1, x2 = batten.tensor([[1.0, 2.0]]), batten.tensor([[3.0]])
    >>> batten.nn.functional.bilinear(x1, x2, batten.tensor([[[1.0], [1.0]], [[0.0], [10.0]]]))
    tensor([[ 9., 60.]])
    """
    x1, x2, w = floats("Bilinear", input1), floats("Bilinear", input2), floats("Bilinear", weight)
    b = None if bias is None else floats("Bilinear", bias)
    if w.array.ndim != 3:
        raise ValueError(f"Bilinear expects a weight (out, in1, in2), got {list(w.array.shape)}")
    out, in1, in2 = w.array.shape
    shape1, shape2 = x1.array.shape, x2.array.shape
    if shape1[-1:] != (in1,) or shape2[-1:] != (in2,) or shape1[:-1] != shape2[:-1]:
        raise ValueError(f"Bilinear expects (*, {in1}) and (*, {in2}), got {list(shape1)} and {list(shape2)}")
    if b is not None and b.array.shape != (out,):
        raise ValueError(f"Bilinear expects a bias [{out}], got {list(b.array.shape)}")
    for name, operand in (("second input", x2), ("weight", w), ("bias", b)):
        if operand is not None and operand.array.dtype != x1.array.dtype:
            raise TypeError(f"Bilinear expects its {name} in the input's type, {x1.dtype}, got {operand.dtype}")
    return BilinearOperation.apply(x1, x2, w, b)


class Bilinear(Module):
    """y_o = x1ᵀ W_o x2 + b_o for x1 (*, in1_features) and x2 (*, in2_features); y is (*, out_features).

    weight and bias start as U(-1/√in1_features, 1/√in1_features).

    >>> import batten
    >>> layer = batten.nn.Bilinear(3, 4, 2)
    >>> layer
    Bilinear(in1_features=3, in2_features=4, out_features=2, bias=True)
    >>> layer(batten.ones(5, 3), batten.ones(5, 4)).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not in1_features > 0:
            raise ValueError(f"Bilinear expects in1_features > 0, got {in1_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def _multiply_adds(self, inputs: int, outputs: int) -> int:
        return outputs * self.in1_features * (self.in2_features + 1)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


Flatten = stateless("Flatten", flatten, start_dim=1, end_dim=-1)


class Identity(Module):
    """What it is given; the arguments of the constructor are for the module whose place it takes.

    >>> import batten
    >>> batten.nn.Identity(54, unused=True)(batten.tensor([1, 2]))
    tensor([1, 2])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Unflatten(Module):
    """One axis as several; one length may be -1, and is worked out.

    >>> import batten
    >>> batten.nn.Unflatten(1, (3, -1))(batten.ones(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten expects a tuple of ints as unflattened_size, got {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

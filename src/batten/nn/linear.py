"""Layers that are a matrix product, and those that only rearrange.

    y = x Wᵀ + b,     dx = dy W,     dW = dyᵀ x,     db = the sum of dy's rows

x is (*, in_features): its leading axes are one long list of rows, so that each of the
three products is a single gemm, whatever the shape.  The bias is added where gemm
writes its result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..creation import empty
from ..operations import flatten, unflatten
from ..operations.linalg import rows_of
from ..operations.promotion import Operand, floats
from . import init
from .module import Module
from .parameter import Parameter
from .stateless import stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Flatten", "Identity", "Linear", "Unflatten"]


class LinearOperation(Operation):
    """y = x Wᵀ + b"""

    __slots__ = ("weight", "x")

    x: Any
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        wants_x, wants_weight, _ = self.needs_input_grad
        self.x = x if wants_weight else None
        self.weight = weight if wants_x else None
        y = kernels.empty((*x.shape[:-1], len(weight)), x.dtype)
        kernels.gemm(rows_of(y), rows_of(x), weight.T, bias)
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


def linear(input: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """input Wᵀ + bias, for input (*, in_features), weight (out_features, in_features) and bias (out_features).

    ValueError if the shapes do not fit, TypeError if the three are not floats of one type.

    >>> import batten
    >>> x, weight = batten.tensor([[1.0, 2.0]]), batten.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> batten.nn.functional.linear(x, weight, batten.tensor([0.5, 0.0]))
    tensor([[3.5000, 6.0000]])
    """
    x, w = floats("Linear", input), floats("Linear", weight)
    b = None if bias is None else floats("Linear", bias)
    if w.array.ndim != 2:
        raise ValueError(f"Linear expects a weight (out_features, in_features), got {list(w.array.shape)}")
    if x.array.shape[-1:] != w.array.shape[1:]:
        raise ValueError(f"Linear expects (*, {w.array.shape[1]}), got {list(x.array.shape)}")
    if b is not None and b.array.shape != w.array.shape[:1]:
        raise ValueError(f"Linear expects a bias [{w.array.shape[0]}], got {list(b.array.shape)}")
    for name, parameter in (("weight", w), ("bias", b)):
        if parameter is not None and parameter.array.dtype != x.array.dtype:
            raise TypeError(f"Linear expects its {name} in the input's type, {x.dtype}, got {parameter.dtype}")
    return LinearOperation.apply(x, w, b)


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
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # bound: gain √(3 / in) with gain² = 2 / (1 + 5)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features or math.inf)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


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

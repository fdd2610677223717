"""Layers that are a matrix product, and those that only rearrange.

    y = x Wᵀ + b,     dx = dy W,     dW = dyᵀ x,     db = the sum of dy's rows

x is (*, in_features): its leading axes are one long list of rows, so that each of the
three products is a single gemm, whatever the shape.  The bias is added where gemm
writes its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..operations.linalg import rows_of
from ..operations.promotion import Operand, floats

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["linear"]


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

"""Layer normalization (Ba, Kiros & Hinton 2016), and by the root mean square (Zhang & Sennrich 2019).

    y = gamma (x - mean) / sqrt(var + eps) + beta
    y = gamma x / sqrt(mean of x^2 + eps)

for each example by itself, over its last axes, with a gamma and a beta for each element of
these.  To the kernels they are the rows of a matrix.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation
from ..operations.families import contiguous
from ..operations.promotion import Operand, floats
from .normalization import Normalization, operand, vector

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNormOperation(Operation):
    """Normalization of each row by its own statistics, which are kept in double."""

    __slots__ = ("eps", "mean", "rstd", "shape", "weight", "x")

    eps: float
    shape: tuple[int, ...]  # of the axes that are a row
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        self.x = rows = rows_of(x, self.shape)
        self.weight = vector(weight)
        self.mean, self.rstd = [kernels.empty(rows.shape[:1], dtypes.float64) for _ in range(2)]
        y = kernels.empty(x.shape, x.dtype)
        kernels.layer_norm(y.reshape(rows.shape), self.mean, self.rstd, rows, self.weight, vector(bias), self.eps)
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        _, wants_weight, wants_bias = self.needs_input_grad
        rows, columns = shaped(contiguous(dy), self.x.shape), self.x.shape[1:]
        dx = self.room(rows, self.x)
        dweight = kernels.empty(columns, dy.dtype) if wants_weight else None
        dbias = kernels.empty(columns, dy.dtype) if wants_bias else None
        kernels.layer_norm_backward(dx, dweight, dbias, rows, self.x, self.mean, self.rstd, self.weight)
        return shaped(dx, dy.shape), shaped(dweight, self.shape), shaped(dbias, self.shape)


class RMSNormOperation(Operation):
    """Division of each row by its root mean square, of which the inverse is kept in double."""

    __slots__ = ("eps", "rstd", "shape", "weight", "x")

    eps: float
    shape: tuple[int, ...]  # of the axes that are a row
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        self.x = rows = rows_of(x, self.shape)
        self.weight = vector(weight)
        self.rstd = kernels.empty(rows.shape[:1], dtypes.float64)
        y = kernels.empty(x.shape, x.dtype)
        kernels.rms_norm(y.reshape(rows.shape), self.rstd, rows, self.weight, self.eps)
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        rows = shaped(contiguous(dy), self.x.shape)
        dx = self.room(rows, self.x)
        dweight = kernels.empty(self.x.shape[1:], dy.dtype) if self.needs_input_grad[1] else None
        kernels.rms_norm_backward(dx, dweight, rows, self.x, self.rstd, self.weight)
        return shaped(dx, dy.shape), shaped(dweight, self.shape)


def rows_of(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A matrix of the elements of x, of which those of the last axes, of this shape, are a row."""
    return contiguous(x).reshape(math.prod(x.shape[: x.ndim - len(shape)]), math.prod(shape))


def shaped(x: Any, shape: tuple[int, ...]) -> Any:
    """x, if there is one, in a shape: itself where it has it, as a view would be copied to become a gradient."""
    return x if x is None or x.shape == shape else x.reshape(shape)


def layer_norm(
    input: Operand,
    normalized_shape: int | Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """weight (input - mean) / sqrt(var + eps) + bias, over the last axes, which have the normalized_shape.

    weight and bias have the normalized_shape, too; mean and var are those of each example.

    ValueError if the shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> batten.nn.functional.layer_norm(batten.tensor([[1.0, 3.0], [10.0, 30.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """
    x, shape = examples("LayerNorm", input, normalized_shape, eps)
    operands = [operand("LayerNorm", *named, x, shape) for named in (("weight", weight), ("bias", bias))]
    return LayerNormOperation.apply(x, *operands, shape=shape, eps=eps)


def rms_norm(
    input: Operand,
    normalized_shape: int | Sequence[int],
    weight: Operand | None = None,
    eps: float | None = None,
) -> Tensor:
    """weight input / sqrt(mean of input^2 + eps), over the last axes, which have the normalized_shape.

    weight has the normalized_shape, too; the mean is that of each example.  An eps of None is the
    smallest step from 1 to another number of the input's type, `finfo(input.dtype).eps`.

    ValueError if the shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> batten.nn.functional.rms_norm(batten.tensor([[1.0, 7.0], [-10.0, -70.0]]), (2,))
    tensor([[ 0.2000,  1.4000],
            [-0.2000, -1.4000]])
    """
    x, shape = examples("RMSNorm", input, normalized_shape, 0.0 if eps is None else eps)
    if eps is None:
        eps = float(np.finfo(x.array.dtype).eps)
    return RMSNormOperation.apply(x, operand("RMSNorm", "weight", weight, x, shape), shape=shape, eps=eps)


def examples(
    layer: str, input: Operand, normalized_shape: int | Sequence[int], eps: float
) -> tuple[Tensor, tuple[int, ...]]:
    """The input, and the shape of its last axes if it is the normalized one."""
    x, shape = floats(layer, input), axes_lengths(normalized_shape)
    own = x.array.shape
    if not shape:
        raise ValueError(f"{layer} expects a normalized_shape of at least one axis, got ()")
    if own[-len(shape) :] != shape:
        raise ValueError(f"{layer} expects (*, {', '.join(map(str, shape))}), got {list(own)}")
    if not eps >= 0:
        raise ValueError(f"{layer} expects eps >= 0, got {eps}")
    return x, shape


def axes_lengths(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The lengths of one axis or several."""
    if isinstance(normalized_shape, Sequence):
        return tuple([operator.index(n) for n in normalized_shape])
    return (operator.index(normalized_shape),)


class LayerNorm(Normalization):
    """Layer normalization over the last axes, which have the normalized_shape, an int or several.

    weight starts as one and bias as zero, for each element of an example; elementwise_affine=False
    leaves out both, bias=False the latter.  There is no difference between training and evaluation.

    >>> import batten
    >>> layer = batten.nn.LayerNorm([2, 3])
    >>> layer
    LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)
    >>> layer(batten.ones(5, 2, 3)).shape
    (5, 2, 3)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = axes_lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._add_parameters(self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Normalization):
    """Division by the root mean square over the last axes, which have the normalized_shape, an int or several.

    As LayerNorm without its mean and its bias, which is as good and takes less time.  weight starts as one for each
    element of an example; elementwise_affine=False leaves it out.  eps=None is the input's type's own,
    `finfo(input.dtype).eps`.  There is no difference between training and evaluation.

    >>> import batten
    >>> layer = batten.nn.RMSNorm([2, 3])
    >>> layer
    RMSNorm((2, 3), eps=None, elementwise_affine=True)
    >>> layer(batten.ones(5, 2, 3)).shape
    (5, 2, 3)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = axes_lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._add_parameters(self.normalized_shape, elementwise_affine, False, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"

"""Local response normalization (Krizhevsky, Sutskever & Hinton 2012): channels inhibit their neighbours.

    y[c] = x[c] (k + alpha / size Σ x[c']²)^-beta,     c - size // 2 <= c' <= c + (size - 1) // 2

pixel by pixel; channels beyond the first and the last count as nought.  The kernels see a matrix whose
rows are the pixels.  For the gradient only x is kept: all else is found again in the same walk.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..operations.promotion import Operand, floats
from .layout import channels_first, channels_last
from .stateless import EMPTY, stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["LocalResponseNorm"]


class LocalResponseNormOperation(Operation):
    __slots__ = ("alpha", "beta", "k", "size", "x")

    size: int
    alpha: float
    beta: float
    k: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = channels_last(x)
        y = kernels.empty_like(self.x)
        kernels.response_norm(by_pixels(y), by_pixels(self.x), self.size, self.alpha, self.beta, self.k)
        return channels_first(y)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = kernels.empty_like(self.x)
        given = by_pixels(channels_last(dy)), by_pixels(self.x)
        kernels.response_norm_backward(by_pixels(dx), *given, self.size, self.alpha, self.beta, self.k)
        return channels_first(dx)


def by_pixels(x: np.ndarray) -> np.ndarray:
    """(N, *, C) as a matrix with a row for each pixel."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def local_response_norm(input: Operand, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha / size × the sum of its squares in a window of channels)^beta, for input (N, C) or (N, C, *).

    The window of a channel has `size` of them and begins size // 2 before it; where there is none, nought is summed.

    ValueError unless input has channels and size is at least 1; TypeError unless input is of floats.

    >>> import batten
    >>> x = batten.tensor([[1.0, 2.0, 3.0]])
    >>> batten.nn.functional.local_response_norm(x, size=2, alpha=2.0, beta=1.0)
    tensor([[0.5000, 0.3333, 0.2143]])
    """
    x, window = floats("LocalResponseNorm", input), operator.index(size)
    if x.array.ndim < 2:
        raise ValueError(f"LocalResponseNorm expects (N, C) or (N, C, *), got {list(x.array.shape)}")
    if window < 1:
        raise ValueError(f"LocalResponseNorm expects a size of at least 1, got {window}")
    return LocalResponseNormOperation.apply(x, size=window, alpha=alpha, beta=beta, k=k)


LocalResponseNorm = stateless(
    "LocalResponseNorm",
    local_response_norm,
    "{size}, alpha={alpha}, beta={beta}, k={k}",
    size=EMPTY,
    alpha=1e-4,
    beta=0.75,
    k=1.0,
)

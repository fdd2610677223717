"""Batch normalization by a deviation of another power (Hoffer et al. 2018, "Norm matters"; Santurkar et al. 2018).

    y = gamma (x - mean) / sqrt(s² + eps) + beta

for each channel by itself, where s is of the n numbers x of the batch:

    p = 1     s = √(π/2) mean |x - mean|
    p = 2     s = √(mean (x - mean)²), so that this is batch normalization
    p = ∞     s = max |x - mean| / e(n),     e(n) = ∫ 1 - erf(t / √2)^n dt, t > 0

e(n) is what the largest of n numbers |x| is on average for standard normal x.  So all three estimate the
standard deviation of what is normally distributed.  Both papers find that networks train about as well by any
of them: it is not a variance of one that helps.

s² stands wherever batch normalization has the variance, also in the running estimate, which follows s² n / (n - 1).
So the buffers mean the same for every p, and evaluation is that of batch normalization.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..operations.promotion import Operand
from .batch_norm import (
    BatchNorm,
    BatchNorm1d,
    BatchNorm2d,
    BatchNormModule,
    BatchNormRelu,
    gradients,
    images,
    normalized,
)
from .normalization import vector

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["LpBatchNorm1d", "LpBatchNorm2d"]


class LpBatchNorm(BatchNorm):
    """Normalization by another deviation of the batch: `factor` times a mean or a maximum.

    Where |x - mean| has no derivative, at the mean, 0 is taken; and where several elements are as far from the mean
    as any, the maximum is the first one's of the greatest, or of the least if these are farther.
    """

    __slots__ = ("factor", "y")

    found = 5
    kernel: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]
    factor_for: Callable[[int], float]

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        rows = self.prepare(x, weight)
        self.factor = self.factor_for(len(rows))
        self.y = self.relu or None  # a mark, as in BatchNormRelu
        y = self.kernel(
            kernels.empty_like(rows),
            self.statistics,
            self.running_mean,
            self.running_var,
            rows,
            self.weight,
            vector(bias),
            self.eps,
            self.momentum,
            self.factor,
            self.relu,
        )
        return images(y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, rows, dx = gradients(self, dy)
        self.gradient(dx, dweight, dbias, rows, self.x, self.statistics, self.weight, self.factor, self.relu)
        return images(dx, dy.shape), dweight, dbias


class L1BatchNorm(LpBatchNorm):
    """p = 1"""

    __slots__ = ()

    kernel, gradient = kernels.l1_batch_norm, kernels.l1_batch_norm_backward

    @staticmethod
    def factor_for(n: int) -> float:
        return math.sqrt(math.pi / 2)


class L1BatchNormRelu(L1BatchNorm):
    __slots__ = ()

    relu = True
    name = BatchNormRelu.name


class LinfBatchNorm(LpBatchNorm):
    """p = ∞"""

    __slots__ = ()

    kernel, gradient = kernels.linf_batch_norm, kernels.linf_batch_norm_backward

    @staticmethod
    def factor_for(n: int) -> float:
        return 1 / largest_of_half_normals(max(n, 1))


class LinfBatchNormRelu(LinfBatchNorm):
    __slots__ = ()

    relu = True
    name = BatchNormRelu.name


# p -> what normalizes in training, without a relu and with one
OPERATIONS: dict[float, tuple[type[BatchNorm], type[BatchNorm]]] = {
    1: (L1BatchNorm, L1BatchNormRelu),
    2: (BatchNorm, BatchNormRelu),
    math.inf: (LinfBatchNorm, LinfBatchNormRelu),
}


@functools.lru_cache
def largest_of_half_normals(n: int) -> float:
    """e(n) = ∫ 1 - erf(t / √2)^n dt: the average of the largest |x| of n standard normal numbers x.

    By Gauss' quadrature in pieces, exact but for rounding.  Beyond 12 the integrand is less than n 10^-32.

    >>> round(largest_of_half_normals(1), 12) == round((2 / math.pi) ** 0.5, 12)
    True
    >>> [round(largest_of_half_normals(10**k), 3) for k in (1, 3, 6)]
    [1.881, 3.435, 4.999]
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    piece = 0.25
    t = (np.arange(0, 12, piece)[:, None] + piece * (nodes + 1) / 2).ravel()
    below = [math.exp(n * math.log1p(-math.erfc(v / math.sqrt(2)))) for v in t.tolist()]
    return float((1 - np.array(below)).reshape(-1, 16).sum(0) @ weights * piece / 2)


def lp_batch_norm(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    p: float = 1,
) -> Tensor:
    """`nn.functional.batch_norm` with the deviation of power p, 1, 2 or infinity, in place of the standard one.

    ValueError for any other p; else batch_norm's errors.

    >>> import batten
    >>> x = batten.tensor([[1.0], [2.0], [6.0]])
    >>> lp_batch_norm(x, None, None, training=True, p=1)  # mean |x - 3| = 2
    tensor([[-0.7979],
            [-0.3989],
            [ 1.1968]])
    """
    kinds = OPERATIONS[power("lp_batch_norm", p)]
    return normalized(input, running_mean, running_var, weight, bias, training, momentum, eps, False, kinds=kinds)


def power(name: str, p: float) -> float:
    if p not in OPERATIONS:
        raise ValueError(f"{name} expects p to be 1, 2 or infinity, got {p}")
    return p


class LpBatchNormModule(BatchNormModule):
    """What both classes are but the shapes that they take."""

    def __init__(
        self,
        num_features: int,
        p: float = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.p = power(type(self).__name__, p)

    def _operations(self) -> tuple[type[BatchNorm], type[BatchNorm]]:
        return OPERATIONS[self.p]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"


class LpBatchNorm1d(LpBatchNormModule):
    """Batch normalization of (N, num_features) or (N, num_features, L) by the deviation of power p: 1, 2 or infinity.

        y = weight (x - mean) / sqrt(s² + eps) + bias

    p=1: s = √(π/2) mean |x - mean|.  p=inf: s = max |x - mean| / e(n), where e(n) is the average of the largest |x| of
    n standard normal x.  p=2: s² is the variance, and the layer is BatchNorm1d, whose arguments are those behind p.  So
    are parameters and buffers: running_var follows s² n / (n - 1), and checkpoints of any p and of BatchNorm1d
    fit into one another.  Evaluation does not depend on p.  After Hoffer et al. 2018 and Santurkar et al. 2018.

    ValueError for any other p; else BatchNorm1d's errors.

    >>> import batten
    >>> x = batten.tensor([[1.0], [2.0], [6.0]])  # the mean is 3, from which they are 2 away on average, and 3 at most
    >>> layer = batten.nn.LpBatchNorm1d(1, p=1, affine=False)
    >>> layer(x)
    tensor([[-0.7979],
            [-0.3989],
            [ 1.1968]])
    >>> layer = batten.nn.LpBatchNorm1d(1, p=float("inf"), affine=False)
    >>> layer(x)
    tensor([[-0.8843],
            [-0.4421],
            [ 1.3264]])
    """

    spatial = BatchNorm1d.spatial


class LpBatchNorm2d(LpBatchNormModule):
    """LpBatchNorm1d of images (N, num_features, H, W): each channel over all pixels of the batch.

    >>> import batten
    >>> batten.nn.LpBatchNorm2d(16, p=1)(batten.ones(2, 16, 3, 4)).shape
    (2, 16, 3, 4)
    """

    spatial = BatchNorm2d.spatial

"""Batch normalization whose results are made noisy again (Santurkar et al. 2018, "How Does Batch Normalization Help
Optimization?", appendix A).

    y = s BatchNorm(x) + m,     m ~ U(mu - r_mu, mu + r_mu),     s ~ N(sigma, r_sigma)     for each example and unit,
                                mu ~ U(-n_mu, n_mu),             sigma ~ U(1, n_sigma)     for each step and unit.

An experiment in a layer: the distribution of what it hands on changes from step to step more than that of
a network without normalization does, and yet it trains as well as BatchNorm.  So that the distribution is kept is not
why BatchNorm helps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import wrap
from ..random import fill_normal, fill_uniform
from .batch_norm import BatchNorm1d, BatchNorm2d, BatchNormModule

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["NoisyBatchNorm1d", "NoisyBatchNorm2d"]


class NoisyBatchNormModule(BatchNormModule):
    """What both classes are but the shapes that they take."""

    def __init__(
        self,
        num_features: int,
        n_mu: float = 0.5,
        n_sigma: float = 1.25,
        r_mu: float = 0.1,
        r_sigma: float = 0.1,
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
        for name, value in {"n_mu": n_mu, "n_sigma": n_sigma, "r_mu": r_mu, "r_sigma": r_sigma}.items():
            least = 1 if name == "n_sigma" else 0
            if not value >= least:
                raise ValueError(f"{type(self).__name__} expects {name} >= {least}, got {value}")
        self.n_mu, self.n_sigma, self.r_mu, self.r_sigma = n_mu, n_sigma, r_mu, r_sigma

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        if not self.training:
            return y
        scale, shift = self._noise(y.array)
        return y * wrap(scale) + wrap(shift)

    def _noise(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """s and m for each example and channel of y, of which all of its pixels have the same."""
        each, unit = (*y.shape[:2], *[1] * (y.ndim - 2)), (y.shape[1], *[1] * (y.ndim - 2))
        mu = fill_uniform(kernels.empty(unit, y.dtype), -self.n_mu, self.n_mu, None)
        sigma = fill_uniform(kernels.empty(unit, y.dtype), 1, self.n_sigma, None)
        m = fill_uniform(kernels.empty(each, y.dtype), -self.r_mu, self.r_mu, None)
        s = fill_normal(kernels.empty(each, y.dtype), 0, self.r_sigma, None)
        return kernels.add(s, s, sigma), kernels.add(m, m, mu)

    def extra_repr(self) -> str:
        noise = f"n_mu={self.n_mu}, n_sigma={self.n_sigma}, r_mu={self.r_mu}, r_sigma={self.r_sigma}"
        return f"{super().extra_repr()}, {noise}"


class NoisyBatchNorm1d(NoisyBatchNormModule):
    """Noisy batch normalization of (N, num_features) or (N, num_features, L), after Santurkar et al. 2018.

        y = s BatchNorm1d(x) + m,     m ~ U(mu - r_mu, mu + r_mu),     s ~ N(sigma, r_sigma),
                                      mu ~ U(-n_mu, n_mu),             sigma ~ U(1, n_sigma)

    In training mu and sigma are drawn for each step and channel, m and s for each example, too; r_sigma is a standard
    deviation.  weight and bias are applied before the noise.  The gradient knows s and m as constants.  In
    evaluation there is no noise.  The random numbers are those of `batten.manual_seed`, the same for any
    number of threads; the arguments behind r_sigma, and the buffers, are BatchNorm1d's.

    ValueError unless n_mu, r_mu and r_sigma are at least 0 and n_sigma is at least 1; else BatchNorm1d's errors.

    >>> import batten
    >>> layer, x = batten.nn.NoisyBatchNorm1d(1), batten.tensor([[1.0], [3.0]])
    >>> layer(x).tolist() != layer(x).tolist()
    True
    >>> layer.eval()(x).tolist() == layer(x).tolist()
    True
    """

    spatial = BatchNorm1d.spatial


class NoisyBatchNorm2d(NoisyBatchNormModule):
    """NoisyBatchNorm1d of images (N, num_features, H, W): all pixels of an example's channel share s and m.

    >>> import batten
    >>> batten.nn.NoisyBatchNorm2d(16)(batten.ones(2, 16, 3, 4)).shape
    (2, 16, 3, 4)
    """

    spatial = BatchNorm2d.spatial

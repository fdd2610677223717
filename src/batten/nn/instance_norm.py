"""Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016).

    y = gamma (x - mean) / sqrt(var + eps) + beta

as in batch normalization, but mean and var are those of one channel of one example, over all of its
pixels.  So it is group normalization with as many groups as channels, and computed as such.

Running statistics, if there are any, follow the averages over the batch of the examples' means and
unbiased variances; in evaluation they take the place of the examples' own.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _kernels as kernels
from .. import dtypes, operations
from ..operations.promotion import Operand, floats
from .batch_norm import inferred, of_channels
from .group_norm import by_groups
from .normalization import TrackingNormalization

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


def instance_norm(
    input: Operand,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight (input - mean) / sqrt(var + eps) + bias, channel by channel of each example of input (N, C, *).

    With use_input_stats, mean and var are those of the example's channel over its pixels, and the running ones
    (C,), if there are any, move towards their averages: running = (1 - momentum) running + momentum × average.
    Without, they are the running ones.

    ValueError if the shapes do not fit, if there is one pixel to take a variance of, or no running statistics
    where they are needed; TypeError unless all are floats of one type.

    >>> import batten
    >>> x = batten.tensor([[[1.0, 3.0], [10.0, 30.0]]])
    >>> batten.nn.functional.instance_norm(x)
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
    return normalized(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps, False)


def normalized(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None,
    bias: Operand | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    relu: bool,
    z: Tensor | None = None,
) -> Tensor:
    """instance_norm, and relu of that if asked for, and of that and z if there is one, of its shape and type."""
    x = floats("instance_norm", input)
    shape = x.array.shape
    if len(shape) < 2:
        raise ValueError(f"instance_norm expects (N, C, *), got {list(shape)}")
    mean, var, w, b = of_channels("instance_norm", x, running_mean, running_var, weight, bias)
    if not eps >= 0:
        raise ValueError(f"instance_norm expects eps >= 0, got {eps}")
    if not use_input_stats:
        if mean is None:
            raise ValueError("instance_norm expects running_mean and running_var unless use_input_stats=True, got None")
        return inferred(x, mean, var, w, b, eps, relu, z)
    pixels = math.prod(shape[2:])
    if pixels == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {list(shape)}: "
            "one pixel is its own mean, so that nothing but the bias would be left of it; take larger images, or "
            "BatchNorm or GroupNorm, or with track_running_stats=True call eval() to use the running statistics"
        )
    statistics = kernels.empty((2, *shape[:2]), dtypes.float64)
    y = by_groups(x, w, b, statistics, eps, relu, z)
    if mean is not None and x.array.size:
        follow(mean, var, statistics, pixels, momentum, eps)
    return y


def follow(mean: Tensor, var: Tensor, statistics: np.ndarray, pixels: int, momentum: float, eps: float) -> None:
    """Moves running statistics towards the averages over a batch, for (2, N, C) means and 1 / sqrt(variance + eps).

    The variances are found again from the latter in double, which leaves 10^-16 of the larger of variance and eps.
    """
    means, rstd = statistics
    with np.errstate(all="ignore"):
        variances = np.maximum(1 / (rstd * rstd) - eps, 0)
        for running, statistic in ((mean, means), (var, variances * (pixels / (pixels - 1)))):
            before = running.array.astype(np.float64)
            running.array[...] = (1 - momentum) * before + momentum * statistic.mean(0)
            running.version[0] += 1


class InstanceNormModule(TrackingNormalization):
    """What all classes of instance normalization are but the shapes that they take.

    By the statistics of each example's channels, in training and in evaluation.  With track_running_stats, the
    running ones follow these in training, running = (1 - momentum) running + momentum × the batch's average, and
    are used instead in evaluation; where momentum is None they stay as they are.
    """

    axes: ClassVar[tuple[str, ...]]  # behind the channels

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._activated(input, None)

    def _activated(self, input: Tensor, activation: str | None, z: Tensor | None = None) -> Tensor:
        """What forward returns, or what an activation makes of that, or of the sum with z."""
        shape, rank = input.shape, len(self.axes) + 1  # of one example
        if len(shape) not in (rank, rank + 1):
            raise ValueError(f"{self._expected()}, got {list(shape)}")
        if shape[-rank] != self.num_features:
            if self.affine or self.running_mean is not None:
                raise ValueError(f"{self._expected()}, got {list(shape)}")
            warnings.warn(
                f"{self._expected()}, got {list(shape)}: it makes no difference, as num_features only matters "
                "with affine=True or track_running_stats=True",
                stacklevel=4,
            )
        if len(shape) == rank:  # no batch
            y = self._normalized(input.unsqueeze(0), False).squeeze(0)
            y = y if z is None else y + z
            return operations.relu(y) if activation == "relu" else y
        return self._normalized(input, activation == "relu", z)

    def _normalized(self, input: Tensor, relu: bool, z: Tensor | None = None) -> Tensor:
        return normalized(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
            relu,
            z,
        )

    def _expected(self) -> str:
        example = ", ".join([str(self.num_features), *self.axes])
        return f"{type(self).__name__} expects (N, {example}) or ({example})"


class InstanceNorm1d(InstanceNormModule):
    """Instance normalization of (N, num_features, L), or of one example (num_features, L), by itself.

    >>> import batten
    >>> batten.nn.InstanceNorm1d(2)(batten.tensor([[1.0, 3.0], [10.0, 30.0]]))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    axes: ClassVar = ("L",)


class InstanceNorm2d(InstanceNormModule):
    """Instance normalization of images (N, num_features, H, W), or of one, (num_features, H, W).

    >>> import batten
    >>> layer = batten.nn.InstanceNorm2d(1, track_running_stats=True)
    >>> layer(batten.tensor([[[[1.0, 3.0]]], [[[2.0, 6.0]]]]))
    tensor([[[[-1.0000,  1.0000]]],
    <BLANKLINE>
    <BLANKLINE>
            [[[-1.0000,  1.0000]]]])
    >>> layer.running_mean, layer.running_var
    (tensor([0.3000]), tensor([1.4000]))
    """

    axes: ClassVar = ("H", "W")


class InstanceNorm3d(InstanceNormModule):
    """Instance normalization of volumes (N, num_features, D, H, W), or of one, (num_features, D, H, W).

    >>> import batten
    >>> batten.nn.InstanceNorm3d(16)(batten.ones(2, 16, 3, 4, 5)).shape
    (2, 16, 3, 4, 5)
    """

    axes: ClassVar = ("D", "H", "W")

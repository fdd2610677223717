"""Group normalization (Wu & He 2018).

    y = gamma (x - mean) / sqrt(var + eps) + beta

as in batch normalization, but mean and var are those of a group of channels of one example,
over all of its pixels.  So examples do not meet, and training and evaluation do not differ.

The kernels see (N, pixels, C), a view where the channels lie last in memory.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation
from ..operations.families import copied
from ..operations.promotion import Operand, floats
from .layout import channels_first, channels_last
from .normalization import Normalization, operand, vector

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["GroupNorm"]


class GroupNormOperation(Operation):
    """Normalization of each group of each example by its own statistics, which take the memory brought for them."""

    __slots__ = ("eps", "statistics", "weight", "x")

    relu = False
    shift: Any = None
    statistics: Any  # (2, N, groups) in double: mean and rstd
    eps: float
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        self.x = images = pixels_of(x)
        self.weight = vector(weight)
        y = kernels.empty_like(images)
        kernels.group_norm(y, *self.statistics, images, self.weight, vector(bias), self.eps, self.relu)
        return images_of(y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, images, dx = gradients(self, dy)
        kept = self.x, *self.statistics, self.weight, self.shift, self.relu
        kernels.group_norm_backward(dx, dweight, dbias, images, *kept)
        return images_of(dx, dy.shape), dweight, dbias


class GroupNormRelu(GroupNormOperation):
    """The relu of that, whose sign is found again from x and the bias.

    `y` is only a mark, for changes of the result to be found.  The bias may change before it is needed, and is copied.
    """

    __slots__ = ("shift", "y")

    relu = True

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        self.y, self.shift = True, None if bias is None else copied(bias)
        return super().forward(x, weight, bias)

    def name(self) -> str:
        return "ReluBackward0"  # the last of the two, as if they were apart


class GroupNormAddRelu(GroupNormOperation):
    """relu(y + z), where the two ways through a residual block meet: z's gradient is what relu lets through."""

    __slots__ = ("y",)

    def forward(  # type: ignore[override]
        self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, z: np.ndarray
    ) -> np.ndarray:
        self.x = images = pixels_of(x)
        self.weight = vector(weight)
        given = images, pixels_of(z), self.weight, vector(bias), self.eps
        self.y = kernels.group_norm_add_relu(kernels.empty_like(images), *self.statistics, *given)
        return images_of(self.y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, images, dz = gradients(self, dy)
        dx = kernels.empty_like(self.x)
        kept = self.y, self.x, *self.statistics, self.weight
        kernels.group_norm_add_relu_backward(dx, dz, dweight, dbias, images, *kept)
        return images_of(dx, dy.shape), dweight, dbias, images_of(dz, dy.shape)

    name = GroupNormRelu.name


def gradients(operation: GroupNormOperation, dy: np.ndarray) -> Any:
    """Memory for dgamma and dbeta, where they are wanted, and dy as the kernels see it, with memory for one like it.

    The kernels write dx even where nobody wants it.
    """
    _, wants_weight, wants_bias = operation.needs_input_grad[:3]
    channels, images = operation.x.shape[2:], pixels_of(dy)
    return (
        kernels.empty(channels, dy.dtype) if wants_weight else None,
        kernels.empty(channels, dy.dtype) if wants_bias else None,
        images,
        operation.room(images, operation.x),
    )


def pixels_of(x: np.ndarray) -> np.ndarray:
    """(N, C, *) as (N, pixels, C) in C order: a view where the channels lie last, else a copy."""
    n, c = x.shape[:2]
    return channels_last(x).reshape(n, x.size // (n * c or 1), c)


def images_of(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """That as a view (N, C, *) again."""
    return channels_first(y.reshape(shape[0], *shape[2:], shape[1]))


def group_norm(
    input: Operand, num_groups: int, weight: Operand | None = None, bias: Operand | None = None, eps: float = 1e-5
) -> Tensor:
    """weight (input - mean) / sqrt(var + eps) + bias, for input (N, C, *) with a weight and a bias for each channel.

    mean and var are those of each of num_groups groups of neighbouring channels, example by example.

    ValueError if the shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> batten.nn.functional.group_norm(batten.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    return normalized(input, num_groups, weight, bias, eps, False)


def normalized(
    input: Operand,
    num_groups: int,
    weight: Operand | None,
    bias: Operand | None,
    eps: float,
    relu: bool,
    z: Tensor | None = None,
) -> Tensor:
    """group_norm, and relu of that if asked for, and of that and z if there is one, of its shape and type."""
    x, groups = floats("GroupNorm", input), operator.index(num_groups)
    shape = x.array.shape
    if len(shape) < 2:
        raise ValueError(f"GroupNorm expects (N, C) or (N, C, *), got {list(shape)}")
    if groups <= 0 or shape[1] % groups:
        raise ValueError(f"GroupNorm expects groups of equally many of {shape[1]} channels, got {groups} groups")
    if x.array.size == groups == shape[1]:
        raise ValueError(f"Expected more than 1 value per group, got input size {list(shape)} and {groups} groups")
    if not eps >= 0:
        raise ValueError(f"GroupNorm expects eps >= 0, got {eps}")
    w, b = (operand("GroupNorm", *named, x, shape[1:2]) for named in (("weight", weight), ("bias", bias)))
    return by_groups(x, w, b, kernels.empty((2, shape[0], groups), dtypes.float64), eps, relu, z)


def by_groups(
    x: Tensor, weight: Any, bias: Any, statistics: np.ndarray, eps: float, relu: bool, z: Tensor | None
) -> Tensor:
    """The same of what has been checked; the statistics (2, N, groups), mean and rstd, are written."""
    kind = GroupNormOperation if not relu else GroupNormRelu if z is None else GroupNormAddRelu
    return kind.apply(x, weight, bias, *([] if z is None else [z]), statistics=statistics, eps=eps)


class GroupNorm(Normalization):
    """Group normalization of (N, num_channels) or (N, num_channels, *), in num_groups groups of as many channels each.

    weight starts as one and bias as zero, for each channel; affine=False leaves out both, bias=False the
    latter.  There is no difference between training and evaluation.

    >>> import batten
    >>> layer = batten.nn.GroupNorm(2, 6)
    >>> layer
    GroupNorm(2, 6, eps=1e-05, affine=True, bias=True)
    >>> layer(batten.ones(5, 6, 8, 8)).shape
    (5, 6, 8, 8)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm expects num_channels to be a multiple of num_groups, got {num_channels} and {num_groups}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._add_parameters((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return self._activated(input, None)

    def _activated(self, input: Tensor, activation: str | None, z: Tensor | None = None) -> Tensor:
        """What forward returns, or what an activation makes of that, or of the sum with z."""
        shape = input.shape
        if len(shape) < 2 or shape[1] != self.num_channels:
            n = self.num_channels
            raise ValueError(f"GroupNorm expects (N, {n}) or (N, {n}, *), got {list(shape)}")
        return normalized(input, self.num_groups, self.weight, self.bias, self.eps, activation == "relu", z)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )

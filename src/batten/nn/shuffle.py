"""Channels that become pixels (Shi et al. 2016), pixels that become channels, and channels in another order.

All three are axes split, exchanged and joined.  They are so where channels lie last, as they do in memory, so that
results and gradients lie as the next layer wants them.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from ..operations import permute, reshape
from ..operations.promotion import Operand, as_operand
from .stateless import EMPTY, stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]


def pixel_shuffle(input: Operand, upscale_factor: int) -> Tensor:
    """(*, C r², H, W) as (*, C, H r, W r) for the upscale_factor r: r² channels are a square of pixels.

    ValueError if r² does not divide the channels.

    >>> import batten
    >>> batten.nn.functional.pixel_shuffle(batten.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    x, r = as_operand(input), positive("PixelShuffle", "upscale_factor", upscale_factor)
    *before, channels, height, width = image("PixelShuffle", x)
    if channels % (r * r):
        raise ValueError(f"PixelShuffle expects channels that {r * r} divides, got {channels} in {list(x.array.shape)}")
    n = len(before)
    x = reshape(axis_last(x, n), (*before, height, width, channels // (r * r), r, r))
    x = permute(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return last_axis_at(reshape(x, (*before, height * r, width * r, channels // (r * r))), n)


def pixel_unshuffle(input: Operand, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) as (*, C r², H, W) for the downscale_factor r: the inverse of `pixel_shuffle`.

    ValueError if r does not divide height and width.

    >>> import batten
    >>> batten.nn.functional.pixel_unshuffle(batten.arange(4).reshape(1, 2, 2), 2).flatten()
    tensor([0, 1, 2, 3])
    """
    x, r = as_operand(input), positive("PixelUnshuffle", "downscale_factor", downscale_factor)
    *before, channels, height, width = image("PixelUnshuffle", x)
    if height % r or width % r:
        raise ValueError(f"PixelUnshuffle expects a height and a width that {r} divides, got {list(x.array.shape)}")
    n = len(before)
    x = reshape(axis_last(x, n), (*before, height // r, r, width // r, r, channels))
    x = permute(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return last_axis_at(reshape(x, (*before, height // r, width // r, channels * r * r)), n)


def channel_shuffle(input: Operand, groups: int) -> Tensor:
    """(N, C, *) with the first channel of each of the groups, then the second of each, and so on (Zhang et al. 2018).

    ValueError if groups does not divide the channels.

    >>> import batten
    >>> batten.nn.functional.channel_shuffle(batten.arange(6).reshape(1, 6, 1), 2).flatten()
    tensor([0, 3, 1, 4, 2, 5])
    """
    x, n = as_operand(input), positive("ChannelShuffle", "groups", groups)
    shape = x.array.shape
    if len(shape) < 3:
        raise ValueError(f"ChannelShuffle expects (N, C, *), got {list(shape)}")
    if shape[1] % n:
        raise ValueError(f"ChannelShuffle expects channels that {n} divides, got {shape[1]} in {list(shape)}")
    x = axis_last(x, 1)
    moved, rank = x.array.shape, len(shape)
    x = reshape(x, (*moved[:-1], n, moved[-1] // n))
    return last_axis_at(reshape(permute(x, (*range(rank - 1), rank, rank - 1)), moved), 1)


def axis_last(x: Tensor, axis: int) -> Tensor:
    """A view with an axis at the end."""
    rank = x.array.ndim
    return permute(x, (*range(axis), *range(axis + 1, rank), axis))


def last_axis_at(x: Tensor, axis: int) -> Tensor:
    """The inverse: a view with the last axis in its place."""
    rank = x.array.ndim
    return permute(x, (*range(axis), rank - 1, *range(axis, rank - 1)))


def positive(name: str, what: str, value: int) -> int:
    number = operator.index(value)
    if number < 1:
        raise ValueError(f"{name} expects a positive {what}, got {number}")
    return number


def image(name: str, x: Tensor) -> tuple[int, ...]:
    """The shape of one image or several."""
    if x.array.ndim < 3:
        raise ValueError(f"{name} expects (*, C, H, W), got {list(x.array.shape)}")
    return x.array.shape


PixelShuffle = stateless("PixelShuffle", pixel_shuffle, upscale_factor=EMPTY)
PixelUnshuffle = stateless("PixelUnshuffle", pixel_unshuffle, downscale_factor=EMPTY)
ChannelShuffle = stateless("ChannelShuffle", channel_shuffle, groups=EMPTY)

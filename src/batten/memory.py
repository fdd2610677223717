"""Orders in which the elements of a tensor lie in memory, under PyTorch's names.

A tensor of images has the shape (N, C, H, W) in any case.  With `channels_last` its elements lie as
those of an array (N, H, W, C) in C order do, with the three colours of a pixel beside each other, and
with `channels_last_3d` those of a volume (N, C, D, H, W) as of an array (N, D, H, W, C).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _kernels as kernels

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format"]


class memory_format(enum.Enum):
    """An order in which a tensor's elements lie in memory.

    >>> import batten
    >>> batten.zeros(2, 3, 4, 5).to(memory_format=batten.channels_last).is_contiguous()
    False
    """

    contiguous_format = enum.auto()
    preserve_format = enum.auto()  # that of the tensor that is copied
    channels_last = enum.auto()
    channels_last_3d = enum.auto()

    def __repr__(self) -> str:
        return f"batten.{self.name}"

    __str__ = __repr__


contiguous_format = memory_format.contiguous_format
preserve_format = memory_format.preserve_format
channels_last = memory_format.channels_last
channels_last_3d = memory_format.channels_last_3d

RANKS = {channels_last: 4, channels_last_3d: 5}


def expect_format(name: str, given: Any) -> None:
    """Refuses what is no order of memory, before a function does half of its work."""
    if not isinstance(given, memory_format):
        raise TypeError(f"{name} expects a memory_format such as batten.channels_last, got {given!r}")


def lies_in(x: np.ndarray, wanted: memory_format) -> bool:
    """Do an array's elements lie in an order, without gaps?"""
    return x.ndim == RANKS[wanted] and channels_lie_last(x) if wanted in RANKS else x.flags.c_contiguous


def channels_lie_last(x: np.ndarray) -> bool:
    """Do the elements of an array (N, C, *) lie like those of (N, *, C) in C order?"""
    return x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


def empty_in(name: str, wanted: memory_format, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An uninitialised array of x's shape whose elements lie in an order."""
    if wanted is preserve_format:
        return kernels.empty_like(x, dtype)
    if wanted is contiguous_format:
        return kernels.empty(x.shape, dtype)
    if x.ndim != RANKS[wanted]:
        raise ValueError(f"{name} expects {RANKS[wanted]} axes for {wanted}, got {list(x.shape)}")
    return empty_with_axes((0, *range(2, x.ndim), 1), x.shape, dtype)


def axes_in_memory(x: np.ndarray) -> Sequence[int] | None:
    """An array's axes in the order in which they lie in memory, the outermost first; None for C order."""
    return None if x.flags.c_contiguous else sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def empty_with_axes(axes: Sequence[int] | None, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose axes lie in memory in an order, that of C for None."""
    if axes is None:
        return kernels.empty(shape, dtype)
    memory = kernels.empty([shape[axis] for axis in axes], dtype)
    return memory.transpose(sorted(range(len(axes)), key=axes.__getitem__))

"""Images lie in memory with their channels last.

A tensor of images has the shape (N, C, *), as in PyTorch.  The kernels see an array (N, *, C) in C
order, because the channels of a pixel are then neighbours, which vectors take at a time.  What they
return is shown as (N, C, *) again; the next layer finds it in the order that it wants, and nothing
is copied.  Only what comes in another order, such as the images themselves, is copied once.
"""

from __future__ import annotations

import math

import numpy as np

from .. import _kernels as kernels
from ..operations.families import contiguous

__all__: list[str] = []


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, *) as (N, *, C) in C order: a view where it lies so, else a copy."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    if x.flags.c_contiguous and not last.flags.c_contiguous and x.itemsize in (1, 4, 8):
        y = kernels.empty(last.shape, x.dtype)
        images, pixels, channels = len(x), math.prod(x.shape[2:]), x.shape[1]
        kernels.interleave(y.reshape(images, pixels, channels), x.reshape(images, channels, pixels))
        return y
    return contiguous(last)


def channels_first(y: np.ndarray) -> np.ndarray:
    """(N, *, C) as a view (N, C, *)."""
    return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))

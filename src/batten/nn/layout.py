"""Images lie in memory with their channels last.

A tensor of images has the shape (N, C, *), as in PyTorch.  The kernels see an array (N, *, C) in C
order, because the channels of a pixel are then neighbours, which vectors take at a time.  What they
return is shown as (N, C, *) again; the next layer finds it in the order that it wants, and nothing
is copied.  Only what comes in another order, such as the images themselves, is copied once.
"""

from __future__ import annotations

import numpy as np

from .. import _kernels as kernels

__all__: list[str] = []


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, *) as (N, *, C) in C order: a view where it lies so, else a copy."""
    y = np.moveaxis(x, 1, -1)
    return y if y.flags.c_contiguous else kernels.copy(kernels.empty(y.shape, y.dtype), y)


def channels_first(y: np.ndarray) -> np.ndarray:
    """(N, *, C) as a view (N, C, *)."""
    return np.moveaxis(y, -1, 1)

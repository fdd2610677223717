"""Transforms one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from .base import Transform
from .colour import Normalize, ToDtype

__all__ = ["Compose"]


class Compose(Transform):
    """Several transforms, one after the other.

    Labels go through those that are transforms; any other function of the list gets the images alone.  A ToFloat right
    before a Normalize is left to it, as it does the same in its own pass, to the bit.

    TypeError unless `transforms` is a sequence of functions, ValueError if it has none.

    >>> import numpy as np
    >>> double = Compose([lambda x: 2 * x])
    >>> double(np.ones((1, 1, 2), np.float32), 7)
    (array([[[2., 2.]]], dtype=float32), 7)
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        if not isinstance(transforms, Sequence) or not all(callable(t) for t in transforms):
            raise TypeError(f"Compose expects a sequence of transforms, got {transforms!r}")
        if not transforms:
            raise ValueError("Compose expects at least one transform, got none")
        self.transforms = transforms

    def __call__(self, x: Any, y: Any = None) -> Any:
        labelled = y is not None
        for transform, next_one in itertools.zip_longest(self.transforms, self.transforms[1:]):
            if is_part_of(next_one, transform, x):
                continue
            if labelled and isinstance(transform, Transform):
                x, y = transform(x, y)
            else:
                x = transform(x)
        return (x, y) if labelled else x

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *[f"      {transform}" for transform in self.transforms], ")"])


def is_part_of(normalize: Any, transform: Any, x: Any) -> bool:
    """Whether Normalize does itself to images x what comes before it: bytes as float32 from 0 to 1."""
    return (
        type(normalize) is Normalize
        and not normalize.inplace
        and isinstance(transform, ToDtype)
        and transform.scale
        and transform.dtype == dtypes.float32
        and getattr(x, "dtype", None) == dtypes.uint8
    )

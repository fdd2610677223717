"""Transforms one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .base import Transform

__all__ = ["Compose"]


class Compose(Transform):
    """Several transforms, one after the other.

    Labels go through those that are transforms; any other function of the list gets the images alone.

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
        for transform in self.transforms:
            if labelled and isinstance(transform, Transform):
                x, y = transform(x, y)
            else:
                x = transform(x)
        return (x, y) if labelled else x

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *[f"      {transform}" for transform in self.transforms], ")"])

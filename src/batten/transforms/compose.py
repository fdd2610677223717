"""Transforms one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from .base import Transform
from .colour import Normalize, ToDtype, shift_and_scale
from .cropping import Cut, Flip

__all__ = ["Compose"]


class Compose(Transform):
    """Several transforms, one after the other.

    Labels go through those that are transforms; any other function of the list gets the images alone.

    Neighbours that can be done in one pass over memory are, with the same bits and the same random numbers: a crop or a
    padding, flips behind it, and behind these, for images of bytes, a ToFloat, a Normalize, or both.

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
        labelled, rest = y is not None, list(self.transforms)
        while rest:
            transform = first_of(rest, x)
            if labelled and isinstance(transform, Transform):
                x, y = transform(x, y)
            else:
                x = transform(x)
        return (x, y) if labelled else x

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *[f"      {transform}" for transform in self.transforms], ")"])


class Fused(Transform):
    """A cut, flips, and what makes floats of bytes unless it is None, in one pass."""

    def __init__(self, cut: Cut, flips: list[Flip], floats: Normalize | ToDtype | None) -> None:
        super().__init__()
        self.cut, self.flips, self.floats = cut, flips, floats

    def _batch(self, x: Any) -> np.ndarray:
        return self.cut._batch(x)

    def transform(self, images: np.ndarray) -> np.ndarray:
        parts = self.cut.parts(images)
        for flip in self.flips:
            parts = parts._replace(turns=parts.turns ^ flip.parts(images).turns)
        if self.floats is None:
            return parts.of(images)
        mean, std = [0.0], [1.0]
        if isinstance(self.floats, Normalize):
            self.floats.check(images)
            mean, std = self.floats.mean, self.floats.std
        return parts.of(images, *shift_and_scale(mean, std, images.shape[1], dtypes.float32))


def first_of(rest: list[Any], x: Any) -> Any:
    """The first transforms of those left as one, for images x; they are left no more."""
    transform = rest.pop(0)
    of_bytes = getattr(x, "dtype", None) == dtypes.uint8
    if is_cut(transform):
        flips = []
        while rest and isinstance(rest[0], Flip) and is_cut(rest[0]):
            flips.append(rest.pop(0))
        floats = first_of(rest, x) if of_bytes and rest and makes_floats(rest[0]) else None
        return Fused(transform, flips, floats) if flips or floats else transform
    if of_bytes and rest and isinstance(transform, ToDtype) and makes_floats(transform) and normalizes(rest[0]):
        return rest.pop(0)  # which does the same in its own pass
    return transform


def is_cut(transform: Any) -> bool:
    return isinstance(transform, Cut) and type(transform).transform is Cut.transform


def normalizes(transform: Any) -> bool:
    return type(transform) is Normalize and not transform.inplace


def makes_floats(transform: Any) -> bool:
    """Whether it makes float32 of bytes, white 1."""
    return normalizes(transform) or (
        isinstance(transform, ToDtype) and transform.scale and transform.dtype == dtypes.float32
    )

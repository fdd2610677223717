"""What all transforms have in common: which images they take, what comes back, and whose random numbers they use."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Variable, is_grad_enabled, wrap
from ..random import Generator, check_generator, next_draw

__all__ = ["Transform"]

IMAGES = "images (C, H, W) or (N, C, H, W) of uint8, float32 or float64"
TYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


class Transform:
    """Images in, images out: a subclass defines `transform(images)`.

    A transform is called with an image (C, H, W) or a batch (N, C, H, W), of uint8, float32 or float64, as a tensor or
    as NumPy's array, and returns the same kind of thing; called with labels as well, it returns both, and the labels
    are as they were.  What `transform` gets is always a batch, as an array (N, C, H, W) which it must not write to, and
    what it returns is one as well, or a tuple of several.  Their memory may have any order; batten's own results have
    their channels last.

    Each image of a batch draws numbers of its own: `uniform(n, columns)` has a row for each of n images, from
    `generator`, or from the default one for None.  Row i is a function of the seed, of how many draws were made before,
    and of i: so the same for any number of threads.  A batch that is cut in two makes two draws, and gets others.

    Transforms are of data, and not recorded on the tape.  TypeError or ValueError for what are no images.

    >>> import batten
    >>> class RandomInvert(batten.transforms.Transform):
    ...     def __init__(self, p=0.5, *, generator=None):
    ...         super().__init__(generator=generator)
    ...         self.p = p
    ...     def transform(self, images):
    ...         inverted = self.uniform(len(images)) < self.p
    ...         return np.where(inverted[:, None, None, None], 255 - images, images)
    >>> invert = RandomInvert(p=1.0)
    >>> invert
    RandomInvert(p=1.0)
    >>> invert(np.array([[[0, 1, 255]]], np.uint8), 7)
    (array([[[255, 254,   0]]], dtype=uint8), 7)
    """

    generator: Generator | None = None

    def __init__(self, *, generator: Generator | None = None) -> None:
        check_generator(type(self).__name__, generator)
        self.generator = generator

    def transform(self, images: np.ndarray) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define transform")

    def transform_labelled(self, images: np.ndarray, labels: Any) -> tuple[Any, Any]:
        """Images and labels, as they were given to the call: for transforms that change both."""
        return self.transform(images), labels

    def __call__(self, x: Any, y: Any = None) -> Any:
        images = self._batch(x)
        if y is None:
            return as_it_came(x, self.transform(images))
        images, y = self.transform_labelled(images, y)
        return as_it_came(x, images), y

    def _batch(self, x: Any) -> np.ndarray:
        return as_batch(type(self).__name__, x)

    def uniform(self, n: int, *columns: int) -> np.ndarray:
        """Numbers in [0, 1) for n images, in float64 (n, *columns): one draw."""
        return kernels.uniform(kernels.empty((n, *columns), np.dtype(np.float64)), 0, 1, *next_draw(self.generator))

    def extra_repr(self) -> str:
        """What the repr shows: the options that are numbers, words, or lists of them."""
        shown = (bool, int, float, str, tuple, list)
        return ", ".join(
            f"{name}={value}"
            for name, value in vars(self).items()
            if not name.startswith("_") and isinstance(value, shown)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def as_batch(name: str, x: Any) -> np.ndarray:
    """One image or several as an array (N, C, H, W)."""
    array = x.array if isinstance(x, Variable) else x
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} expects {IMAGES}, got {type(x).__name__}")
    if array.dtype not in TYPES:
        raise TypeError(f"{name} expects {IMAGES}, got {array.dtype}{list(array.shape)}")
    if array.ndim not in (3, 4):
        raise ValueError(f"{name} expects {IMAGES}, got {array.dtype}{list(array.shape)}")
    if isinstance(x, Variable) and x.tracked and is_grad_enabled():
        raise ValueError(f"{name} expects images that require no gradient, as it has none")
    return array if array.ndim == 4 else array[None]


def between(limits: Any, u: np.ndarray) -> np.ndarray:
    """Numbers of [0, 1) as ones between two limits."""
    return limits[0] + (limits[1] - limits[0]) * u


def as_it_came(x: Any, result: Any) -> Any:
    """Batches (N, C, H, W) as x was given: one image for an image, tensors for a tensor."""
    if isinstance(result, tuple):
        return tuple([as_it_came(x, each) for each in result])
    result = result if x.ndim == 4 else result[0]
    return wrap(result) if isinstance(x, Variable) else result

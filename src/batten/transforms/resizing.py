"""Images of another size, or parts of them brought to one size.

Along each axis a pixel of the result is a weighted sum of pixels of the image.  With n results for `length` pixels,
these are `length / n` pixels apart, and one is

    nearest      the pixel that begins there
    bilinear     of the two beside it, each the more the nearer it is
      antialias  or, where there become fewer, of all that are less than `length / n` away

as in torchvision.  Bytes are rounded after either axis, from exact sums.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..nn.layout import channels_first, channels_last
from ..random import Generator
from .base import Transform
from .checks import a_range, a_size, an_interpolation

__all__ = ["RandomResizedCrop", "Resize"]


def resized(images: np.ndarray, spans: Any, size: Sequence[int], interpolation: str, antialias: Any) -> np.ndarray:
    """Parts of images (N, C, H, W) brought to a size: spans has for each, or once for all, the first row and how many
    there are, and the same of columns."""
    how = "antialias" if antialias and interpolation == "bilinear" else interpolation
    y = kernels.empty((len(images), *map(operator.index, size), images.shape[1]), images.dtype)
    return channels_first(kernels.resize(y, channels_last(images), np.array(spans, np.int64), how))


def check_pixels(name: str, images: np.ndarray) -> None:
    if not images.shape[2] * images.shape[3]:
        raise ValueError(f"{name} expects images with pixels, got {list(images.shape)}")


class Resize(Transform):
    """Images of another size: (h, w); or one number for the shorter side, and what fits for the other.

    With `max_size` the longer side is at most so long, whatever the shorter one; with size=None, it is that long.
    ValueError if an image has no pixels, or would have none.

    >>> import numpy as np
    >>> Resize(2, interpolation="nearest")(np.array([[[1, 2, 3, 4]]], np.uint8))
    array([[[1, 1, 2, 2, 3, 3, 4, 4],
            [1, 1, 2, 2, 3, 3, 4, 4]]], dtype=uint8)
    >>> Resize((1, 2))(np.array([[[0, 8, 16, 24]]], np.uint8))
    array([[[ 6, 18]]], dtype=uint8)
    """

    def __init__(
        self,
        size: int | Sequence[int] | None,
        interpolation: str = "bilinear",
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        least = 1
        self.size: list[int] | None = None
        if size is not None:
            least = a_size("Resize", size)[0] + 1
            self.size = list(size) if isinstance(size, Sequence) else [size]
            if max_size is not None and len(self.size) == 2:
                raise ValueError(f"Resize has no max_size with a height and a width, got {max_size} and {size}")
        if max_size is None and size is None:
            raise ValueError("Resize expects a size, or a max_size, got neither")
        if max_size is not None and operator.index(max_size) < least:
            raise ValueError(f"Resize expects a max_size of at least {least} with size={size}, got {max_size}")
        self.interpolation = an_interpolation("Resize", interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def transform(self, images: np.ndarray) -> np.ndarray:
        check_pixels("Resize", images)
        height, width = images.shape[2:]
        size = self._size_for(height, width)
        if min(size) < 1:
            raise ValueError(f"Resize expects to leave at least one pixel, got {(height, width)} for {self!r}")
        return resized(images, [[0, height, 0, width]], size, self.interpolation, self.antialias)

    def _size_for(self, height: int, width: int) -> Sequence[int]:
        if self.size and len(self.size) == 2:
            return self.size
        short, long = sorted((height, width))
        if self.size:
            short, long = self.size[0], int(self.size[0] * long / short)
        if self.max_size and (not self.size or long > self.max_size):
            short, long = int(self.max_size * short / long), self.max_size
        return (long, short) if width <= height else (short, long)


class RandomResizedCrop(Transform):
    """A part of each image, brought to a size (h, w) or h = w: its area is a random share of the image's, from `scale`,
    and its width through its height is random, too, from `ratio`.

    Up to ten such parts are drawn, of which the first that is in the image is taken, from anywhere in it; else the
    middle of the image, as large as `ratio` allows.

    ValueError if an image has no pixels.

    >>> import numpy as np
    >>> RandomResizedCrop(224)(np.zeros((2, 3, 300, 400), np.uint8)).shape
    (2, 3, 224, 224)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: str = "bilinear",
        antialias: bool | None = True,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        self.size = a_size("RandomResizedCrop", size)
        self.scale = a_range("RandomResizedCrop", "scale", scale)
        self.ratio = a_range("RandomResizedCrop", "ratio", ratio)
        self.interpolation = an_interpolation("RandomResizedCrop", interpolation)
        self.antialias = antialias

    def transform(self, images: np.ndarray) -> np.ndarray:
        check_pixels("RandomResizedCrop", images)
        return resized(images, self.draw(images), self.size, self.interpolation, self.antialias)

    def draw(self, images: np.ndarray) -> np.ndarray:
        """The part of each image (N, 4): the first row and how many there are, and the same of columns."""
        height, width = images.shape[2:]
        numbers = self.uniform(len(images), 22)
        low, high = self.scale
        area = height * width * (low + (high - low) * numbers[:, :10])
        low, high = map(math.log, self.ratio)
        ratio = np.exp(low + (high - low) * numbers[:, 10:20])
        rows, columns = np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))
        fits = (rows > 0) & (rows <= height) & (columns > 0) & (columns <= width)
        first = np.arange(len(images)), fits.argmax(1)
        found = fits[first]
        rows = np.where(found, rows[first], min(height, round(width / min(self.ratio))))
        columns = np.where(found, columns[first], min(width, round(height * max(self.ratio))))
        spans = np.empty((len(images), 4), np.int64)
        for axis, (n, part) in enumerate(((height, rows), (width, columns))):
            spans[:, 2 * axis] = np.where(found, np.floor(numbers[:, 20 + axis] * (n - part + 1)), (n - part) // 2)
            spans[:, 2 * axis + 1] = part
        return spans

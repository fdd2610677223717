"""Images of another size, or parts of them brought to one size.

Along each axis a pixel of the result is a weighted sum of pixels of the image, by a table; every image can have tables
of its own.  With n results for `length` pixels, these are `length / n` pixels apart, and one is

    nearest      the pixel that begins there
    bilinear     of the two beside it, each the more the nearer it is
      antialias  or, where there become fewer, of all that are less than `length / n` away

as in torchvision.  Bytes are rounded after either axis, from whole numbers, and so the same on every processor.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..nn.layout import channels_first, channels_last
from ..nn.upsampling import Table
from ..random import Generator
from .base import Transform
from .checks import a_range, a_size, an_interpolation

__all__ = ["RandomResizedCrop", "Resize"]


def tables(begin: Any, length: Any, n: int, interpolation: str, antialias: bool, dtype: np.dtype) -> Table:
    """The table for n results of each span of an axis, one after the other; spans have a beginning and a length."""
    begin, length = np.reshape(begin, (-1, 1, 1)), np.reshape(length, (-1, 1, 1))
    i = np.arange(n)[:, None]
    if interpolation == "nearest":  # in float32, as there: where two pixels are as near, rounding decides
        apart = length.astype(np.float32) / np.float32(n)
        index = np.minimum((i.astype(np.float32) * apart).astype(np.int64), length - 1)
        weight = np.ones(index.shape)
    elif antialias:
        apart = length / n
        reach, center = np.maximum(apart, 1), (i + 0.5) * apart
        first = np.maximum((center - reach + 0.5).astype(np.int64), 0)
        last = np.minimum((center + reach + 0.5).astype(np.int64), length)
        index = first + np.arange((last - first).max(initial=1))
        weight = np.where(index < last, np.maximum(1 - abs(index + 0.5 - center) / reach, 0), 0)
        weight /= weight.sum(-1, keepdims=True)
    else:
        at = np.clip((i + 0.5) * (length / n) - 0.5, 0, length - 1)
        first = at.astype(np.int64)
        index = np.concatenate([first, np.minimum(first + 1, length - 1)], -1)
        weight = np.concatenate([1 - (at - first), at - first], -1)
    if dtype == np.uint8:
        weight = whole(weight)
    used = weight != 0
    start = np.concatenate([[0], np.cumsum(used.sum(-1))])
    return start, (index + begin)[used], weight[used]


def whole(weight: np.ndarray) -> np.ndarray:
    """Weights (spans, n, terms) of bytes as whole numbers of 2^-22.

    They are rounded to as many bits as PyTorch's have, whose sums are therefore the same: to those that fit into 16
    bits with a sign, for the largest weight of a span.
    """
    largest = weight.max((1, 2), keepdims=True)
    bits = np.minimum(np.ceil(np.log2((2**15 - 0.5) / largest)) - 1, kernels.WEIGHT_BITS).astype(np.int64)
    return (np.floor(weight * 2.0**bits + 0.5) * 2.0 ** (kernels.WEIGHT_BITS - bits)).astype(np.int32)


@functools.lru_cache(maxsize=64)
def whole_axis(length: int, n: int, interpolation: str, antialias: bool, dtype: np.dtype) -> Table:
    """The table for n results of a whole axis."""
    return tables(0, length, n, interpolation, antialias, dtype)


def resized(images: np.ndarray, size: Sequence[int], rows: Table, columns: Table) -> np.ndarray:
    """Images (N, C, H, W) brought to a size by tables of rows and of columns, of each image or of all."""
    x = channels_last(images)
    for axis, table in ((2, columns), (1, rows)):  # in this order, as PyTorch rounds bytes after the first as well
        n = operator.index(size[axis - 1])
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        y = kernels.empty((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype)
        if len(x):
            kernels.interpolate(y.reshape(outer, n, inner), x.reshape(outer, x.shape[axis], inner), *table)
        x = y
    return channels_first(x)


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
        options = self.interpolation, bool(self.antialias), images.dtype
        rows, columns = whole_axis(height, size[0], *options), whole_axis(width, size[1], *options)
        return resized(images, size, rows, columns)

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
        (top, height), (left, width) = self.draw(images)
        options = self.interpolation, bool(self.antialias), images.dtype
        rows, columns = tables(top, height, self.size[0], *options), tables(left, width, self.size[1], *options)
        return resized(images, self.size, rows, columns)

    def draw(self, images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The rows and the columns of each image's part: where they begin, and how many they are."""
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
        spans = []
        for n, part, place in ((height, rows, numbers[:, 20]), (width, columns, numbers[:, 21])):
            begin = np.where(found, np.floor(place * (n - part + 1)), (n - part) // 2)
            spans.append((begin.astype(np.int64), part.astype(np.int64)))
        return spans

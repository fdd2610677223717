"""Images turned, moved, stretched and sheared.

A pixel of the result lies at M⁻¹ of its place in the image, counted from the middle, where

    M = T C R(angle) S(scale) Y(shear y) X(shear x) C⁻¹

shears, stretches and turns about the center, and moves.  Places between pixels are interpolated, and those outside of
the image have the fill, as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..nn.layout import channels_first, channels_last
from ..random import Generator
from .base import Transform, between
from .checks import Fill, a_fill, a_pixel, a_range, an_interpolation, some_angles, some_numbers

__all__ = ["RandomAffine", "RandomRotation"]


def cos(degrees: Any) -> Any:
    """Without an error at right angles, so that these move pixels to where pixels are."""
    exact = np.cos(np.radians(degrees))
    return np.where(np.mod(degrees, 90) == 0, np.rint(exact), exact)


def sin(degrees: Any) -> Any:
    return cos(np.subtract(degrees, 90))


def inverse(center: Sequence[float], angle: Any, translate: Any, scale: Any, shear: Any) -> np.ndarray:
    """M⁻¹ of n images, its first two rows (n, 2, 3); places, and the center, are (x, y) from the image's middle."""
    x_shear, y_shear = np.tan(np.radians(shear[0])), cos(shear[1])
    a, c = cos(angle - shear[1]) / y_shear, sin(angle - shear[1]) / y_shear
    b, d = -(a * x_shear + sin(angle)), cos(angle) - c * x_shear
    turn = np.moveaxis(np.array([[d, -b], [-c, a]]) / scale, -1, 0)
    to = np.reshape(center, (1, 2)) + np.stack(np.broadcast_arrays(*translate, angle)[:2], -1)
    back = np.reshape(center, (1, 2)) - np.einsum("nij,nj->ni", turn, to)
    return np.concatenate([turn, back[..., None]], -1)


def warped(
    images: np.ndarray, matrices: np.ndarray, size: Sequence[int], interpolation: str, name: str, fill: Fill
) -> np.ndarray:
    """Images (N, C, H, W) of a size, whose pixels come from where matrices (N, 2, 3) say."""
    count, channels = images.shape[:2]
    middle, other = ([(n - 1) / 2 for n in reversed(pair)] for pair in (images.shape[2:], size))
    matrices = matrices.copy()
    matrices[..., 2] += middle - matrices[..., :2] @ np.array(other)
    y = kernels.empty((count, *size, channels), images.dtype)
    if interpolation == "nearest":
        kernel, pixel = kernels.affine_nearest, a_pixel(name, fill, images)
    else:
        floats = np.float32 if images.dtype == np.uint8 else None
        kernel, pixel = kernels.affine_bilinear, a_pixel(name, fill, images, floats)
    return channels_first(kernel(y, channels_last(images), matrices.reshape(count, 6), pixel))


def from_middle(center: Sequence[float] | None, images: np.ndarray) -> Sequence[float]:
    """A place (x, y) in pixels, counted from the middle of the image."""
    return (0.0, 0.0) if center is None else [at - n / 2 for at, n in zip(center, images.shape[:1:-1], strict=True)]


class RandomRotation(Transform):
    """Each image turned by an angle of its own, counterclockwise, drawn from `degrees`: (min, max), or -n to n for n.

    It is turned about its middle, or about center=(x, y) in pixels from the top left.  With `expand` results are so
    large that an image has room in them at any of these angles, and it is turned about its middle always.

    >>> import numpy as np
    >>> RandomRotation((90, 90))(np.array([[[1, 2], [3, 4]]], np.uint8))
    array([[[2, 4],
            [1, 3]]], dtype=uint8)
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "nearest",
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Fill = 0,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        self.degrees = some_angles("RandomRotation", "degrees", degrees, 2)
        self.interpolation = an_interpolation("RandomRotation", interpolation)
        self.expand = expand
        self.fill = a_fill("RandomRotation", fill)
        self.center = None if center is None else some_numbers("RandomRotation", "center", center, 2)

    def transform(self, images: np.ndarray) -> np.ndarray:
        angle = between(self.degrees, self.uniform(len(images)))
        center = from_middle(None if self.expand else self.center, images)
        size = room(images.shape[2:], *self.degrees) if self.expand else images.shape[2:]
        matrices = inverse(center, -angle, (0, 0), 1, (0, 0))
        return warped(images, matrices, size, self.interpolation, "RandomRotation", self.fill)


def room(size: Sequence[int], low: float, high: float) -> tuple[int, int]:
    """The height and the width that an image takes at most, turned by angles from low to high."""
    if low == high and low % 90 == 0:
        return (size[0], size[1]) if low % 180 == 0 else (size[1], size[0])
    low, high = min(low, high), max(low, high)
    high = min(high, low + 180)  # after which all is as it was
    lengths = []
    for across, along in (size, size[::-1]):
        # |across cos| + |along sin| grows up to the diagonal, which stands upright at the peak and in its mirror.
        peak = math.degrees(math.atan2(along, across))
        first = 180 * math.floor(low / 180)
        angles = np.clip([first + half + side for half in (0, 180, 360) for side in (-peak, peak)], low, high)
        reach = np.max(across * abs(cos(angles)) + along * abs(sin(angles))) / 2
        # Torchvision's pixels begin where the corners are, but for a ten thousandth.
        lengths.append(
            math.ceil(int((across / 2 + reach) * 1e4) / 1e4) - math.floor(int((across / 2 - reach) * 1e4) / 1e4)
        )
    return lengths[0], lengths[1]


class RandomAffine(Transform):
    """Each image turned, moved, stretched and sheared by numbers of its own.

    The angle is drawn from `degrees`, clockwise: (min, max), or -n to n for n.  It is moved by up to `translate` of its
    width and height to either side, in whole pixels, stretched by a factor from `scale`, and sheared along x by an
    angle from `shear`, and along y if that has four numbers.  All about its middle, or center=(x, y) in pixels.

    >>> import numpy as np
    >>> RandomAffine(0, scale=(0.5, 0.5))(np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
    array([[[ 0,  0,  0,  0],
            [ 0,  0,  2,  0],
            [ 0,  8, 10,  0],
            [ 0,  0,  0,  0]]], dtype=uint8)
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "nearest",
        fill: Fill = 0,
        center: Sequence[float] | None = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        name = "RandomAffine"
        self.degrees = some_angles(name, "degrees", degrees, 2)
        self.translate = None if translate is None else some_numbers(name, "translate", translate, 2)
        if translate is not None and not all(0 <= share <= 1 for share in translate):
            raise ValueError(f"RandomAffine expects translate as shares from 0 to 1, got {translate}")
        self.scale = None if scale is None else a_range(name, "scale", scale)
        self.shear = None if shear is None else some_angles(name, "shear", shear, 2, 4)
        self.interpolation = an_interpolation(name, interpolation)
        self.fill = a_fill(name, fill)
        self.center = None if center is None else some_numbers(name, "center", center, 2)

    def transform(self, images: np.ndarray) -> np.ndarray:
        numbers = self.uniform(len(images), 6).T
        angle = between(self.degrees, numbers[0])
        most = [share * n for share, n in zip(self.translate or (0, 0), images.shape[:1:-1], strict=True)]
        translate = [np.rint(between((-n, n), u)) for n, u in zip(most, numbers[1:3], strict=True)]
        scale = between(self.scale or (1, 1), numbers[3])
        shear = [*(self.shear or (0.0, 0.0)), 0.0, 0.0]
        sheared = [between(shear[:2], numbers[4]), between(shear[2:4], numbers[5])]
        matrices = inverse(from_middle(self.center, images), angle, translate, scale, sheared)
        return warped(images, matrices, images.shape[2:], self.interpolation, "RandomAffine", self.fill)

"""Images cut, padded and flipped: pixels are moved, and stay what they are.

    RandomCrop              a part from anywhere, also from across the borders, with padding
    CenterCrop              the middle
    FiveCrop, TenCrop       the corners and the middle, and these flipped: for a vote at test time
                            (Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks")
    RandomHorizontalFlip    left and right exchanged
    RandomVerticalFlip      top and bottom exchanged
    Pad                     more pixels around

What is beyond an image is `fill`, a number or one for each channel (rounded for images of uint8); or, in the padding
modes "edge", "reflect" and "symmetric", the pixel at the edge, or the image mirrored, without and with its edge.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import _kernels as kernels
from ..nn.layout import channels_first, channels_last
from ..random import Generator
from .base import Transform
from .checks import Fill, a_border, a_fill, a_padding, a_pixel, a_probability, a_size

__all__ = [
    "CenterCrop",
    "FiveCrop",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "TenCrop",
]


class Parts(NamedTuple):
    """Of each image (N, C, H, W) what begins at a corner, its row and column, turned if it is said; or all alike."""

    corners: Any
    size: Sequence[int]
    turns: Any = 0
    fill: np.ndarray | None = None
    border: str = "constant"

    def of(self, images: np.ndarray, *standard: np.ndarray) -> np.ndarray:
        """These of images; of bytes also standardized, with what `kernels.standardize` takes."""
        count, channels = images.shape[:2]
        dtype = standard[0].dtype if standard else images.dtype
        return channels_first(
            (kernels.crop_standardize if standard else kernels.crop)(
                kernels.empty((count, *map(operator.index, self.size), channels), dtype),
                channels_last(images),
                np.ascontiguousarray(np.broadcast_to(np.asarray(self.corners, np.int64), (count, 2))),
                np.ascontiguousarray(np.broadcast_to(np.asarray(self.turns, np.uint8), count)),
                np.zeros(channels, images.dtype) if self.fill is None else self.fill,
                *standard,
                self.border,
            )
        )


class Cut(Transform):
    """A transform that only moves pixels: a subclass says where they come from."""

    def parts(self, images: np.ndarray) -> Parts:
        raise NotImplementedError

    def transform(self, images: np.ndarray) -> np.ndarray:
        return self.parts(images).of(images)


# ---- flips ----


class Flip(Cut):
    turn: ClassVar[int]

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        super().__init__(generator=generator)
        self.p = a_probability(type(self).__name__, p)

    def parts(self, images: np.ndarray) -> Parts:
        turns = np.where(self.uniform(len(images)) < self.p, np.uint8(self.turn), np.uint8(0))
        return Parts(0, images.shape[2:], turns)


class RandomHorizontalFlip(Flip):
    """Each image mirrored, left and right exchanged, with probability p.

    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1.0)(np.array([[[1, 2, 3]]], np.uint8))
    array([[[3, 2, 1]]], dtype=uint8)
    """

    turn = kernels.MIRRORED


class RandomVerticalFlip(Flip):
    """Each image upside down, top and bottom exchanged, with probability p.

    >>> import numpy as np
    >>> RandomVerticalFlip(p=1.0)(np.array([[[1], [2], [3]]], np.uint8))
    array([[[3],
            [2],
            [1]]], dtype=uint8)
    """

    turn = kernels.UPSIDE_DOWN


# ---- padding ----


def check_padding(name: str, images: np.ndarray, widths: Sequence[int], border: str) -> None:
    """Refuses more than an image can be mirrored: `widths` are left, right, top and bottom."""
    height, width = images.shape[2:]
    if border != "constant" and not height * width:
        raise ValueError(f"{name} expects images with pixels in padding mode {border}, got {list(images.shape)}")
    for n, given in ((width, widths[:2]), (height, widths[2:])):
        most = {"reflect": n - 1, "symmetric": n}.get(border)
        if most is not None and max(given) > most:
            raise ValueError(
                f"{name} expects a padding of at most {most} pixels in mode {border}, got {list(widths)} (left, right, "
                f"top, bottom) for images of {(height, width)}"
            )


class Pad(Cut):
    """Images with more pixels around: `padding` on all sides, (left and right, top and bottom), or (left, top, right,
    bottom).  A negative number leaves pixels out.

    ValueError if an image is too small to be mirrored so far, or if nothing would be left.

    >>> import numpy as np
    >>> image = np.array([[[1, 2, 3]]], np.uint8)
    >>> Pad((2, 0))(image)
    array([[[0, 0, 1, 2, 3, 0, 0]]], dtype=uint8)
    >>> Pad((2, 0), padding_mode="reflect")(image)
    array([[[3, 2, 1, 2, 3, 2, 1]]], dtype=uint8)
    """

    def __init__(self, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        self._widths = a_padding("Pad", padding)
        self.padding = padding
        self.fill = a_fill("Pad", fill)
        a_border("Pad", padding_mode, fill)
        self.padding_mode = padding_mode

    def parts(self, images: np.ndarray) -> Parts:
        left, right, top, bottom = self._widths
        check_padding("Pad", images, self._widths, self.padding_mode)
        size = images.shape[2] + top + bottom, images.shape[3] + left + right
        if min(size) < 1:
            raise ValueError(
                f"Pad expects to leave at least one pixel, got padding {self.padding} for {images.shape[2:]}"
            )
        return Parts((-top, -left), size, 0, a_pixel("Pad", self.fill, images), self.padding_mode)


# ---- crops ----


class RandomCrop(Cut):
    """A part of each image, of a size (h, w) or h = w, from anywhere in it, every place as likely as another.

    Before that images get a `padding`, as by `Pad`; and with `pad_if_needed` those that are still smaller than the part
    are padded by what is missing, on both sides.

    ValueError if an image is smaller than the part.

    >>> import numpy as np
    >>> RandomCrop(32, padding=4)
    RandomCrop(size=(32, 32), padding=[4, 4, 4, 4], pad_if_needed=False, fill=0, padding_mode=constant)
    >>> RandomCrop(32, padding=4)(np.zeros((128, 3, 32, 32), np.uint8)).shape
    (128, 3, 32, 32)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        padding_mode: str = "constant",
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        self.size = a_size("RandomCrop", size)
        self.padding = None if padding is None or padding == 0 else a_padding("RandomCrop", padding)
        self.pad_if_needed = pad_if_needed
        self.fill = a_fill("RandomCrop", fill)
        a_border("RandomCrop", padding_mode, fill)
        self.padding_mode = padding_mode

    def parts(self, images: np.ndarray) -> Parts:
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        height, width = images.shape[2] + top + bottom, images.shape[3] + left + right
        if self.pad_if_needed:
            more, wider = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
            left, right, top, bottom = left + wider, right + wider, top + more, bottom + more
            height, width = height + 2 * more, width + 2 * wider
        if height < self.size[0] or width < self.size[1]:
            raise ValueError(
                f"RandomCrop expects images of at least {tuple(self.size)}, got {(height, width)}"
                f"{' with their padding' if self.padding else ''}"
            )
        check_padding("RandomCrop", images, (left, right, top, bottom), self.padding_mode)
        places = np.array([height - self.size[0] + 1, width - self.size[1] + 1])
        corners = (self.uniform(len(images), 2) * places).astype(np.int64) - (top, left)
        return Parts(corners, self.size, 0, a_pixel("RandomCrop", self.fill, images), self.padding_mode)


def middle(images: np.ndarray, size: Sequence[int]) -> list[int]:
    """Where a part begins whose middle is the image's: of two such places, inside the even one, outside the nearer."""
    return [
        round((n - wanted) / 2) if wanted <= n else -((wanted - n) // 2)
        for n, wanted in zip(images.shape[2:], size, strict=True)
    ]


class CenterCrop(Cut):
    """The middle of images, of a size (h, w) or h = w, with 0 beyond their borders.

    >>> import numpy as np
    >>> CenterCrop((1, 2))(np.array([[[1, 2, 3, 4]]], np.uint8))
    array([[[2, 3]]], dtype=uint8)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = a_size("CenterCrop", size)

    def parts(self, images: np.ndarray) -> Parts:
        return Parts(middle(images, self.size), self.size)


def five_corners(name: str, images: np.ndarray, size: Sequence[int]) -> list[list[int]]:
    """Where the four corners and the middle begin."""
    height, width = images.shape[2:]
    down, right = height - size[0], width - size[1]
    if down < 0 or right < 0:
        raise ValueError(f"{name} expects images of at least {tuple(size)}, got {(height, width)}")
    return [[0, 0], [0, right], [down, 0], [down, right], middle(images, size)]


class FiveCrop(Transform):
    """Five parts of a size (h, w) or h = w, as a tuple: the corners of images, from top left to bottom right, and
    their middle.

    ValueError if an image is smaller than a part.

    >>> import numpy as np
    >>> [part.tolist() for part in FiveCrop(1)(np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8))]
    [[[[1]]], [[[3]]], [[[7]]], [[[9]]], [[[5]]]]
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = a_size("FiveCrop", size)

    def transform(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple([Parts(corner, self.size).of(images) for corner in five_corners("FiveCrop", images, self.size)])


class TenCrop(Transform):
    """The parts of FiveCrop, and those of the image mirrored, or upside down with `vertical_flip`: a tuple of ten.

    The mean of a network's predictions for them is AlexNet's.  ValueError if an image is smaller than a part.

    >>> import batten
    >>> parts = TenCrop(224)(batten.zeros(2, 3, 256, 256))
    >>> len(parts), parts[0].shape
    (10, (2, 3, 224, 224))
    """

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__()
        self.size = a_size("TenCrop", size)
        self.vertical_flip = vertical_flip

    def transform(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        corners = five_corners("TenCrop", images, self.size)
        down, right = corners[3]
        if self.vertical_flip:
            turn, others = kernels.UPSIDE_DOWN, [[down - top, left] for top, left in corners]
        else:
            turn, others = kernels.MIRRORED, [[top, right - left] for top, left in corners]
        parts = [(corner, 0) for corner in corners] + [(corner, turn) for corner in others]
        return tuple([Parts(corner, self.size, turned).of(images) for corner, turned in parts])

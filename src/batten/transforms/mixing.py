"""Images made of two, with labels in between; and images that a part is missing of.

MixUp and CutMix pair each image of a batch with the one before it, and the first with the last, so the batch has to be
shuffled; as in torchvision, the batch draws one λ.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Variable, wrap
from ..nn.layout import channels_first, channels_last
from ..random import Generator, next_draw
from .base import Transform, between
from .checks import a_pixel, a_probability, a_range, some_numbers
from .colour import InPlace

__all__ = ["CutMix", "MixUp", "RandomErasing"]


# ---- two images ----


class Mixing(Transform):
    """What MixUp and CutMix share: λ, and labels that are λ of an image's own and 1 - λ of the other's."""

    def __init__(
        self, *, alpha: float = 1.0, num_classes: int | None = None, generator: Generator | None = None
    ) -> None:
        super().__init__(generator=generator)
        if not (alpha > 0 and math.isfinite(alpha)):
            raise ValueError(f"{type(self).__name__} expects an alpha above 0, got {alpha}")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"{type(self).__name__} expects at least one class, got {num_classes}")
        self.alpha, self.num_classes = float(alpha), None if num_classes is None else operator.index(num_classes)

    def transform(self, images: np.ndarray) -> Any:
        raise TypeError(f"{type(self).__name__} mixes labels as well: call it with images and labels")

    def transform_labelled(self, images: np.ndarray, labels: Any) -> tuple[Any, Any]:
        given = labels.array if isinstance(labels, Variable) else np.asarray(labels)
        self._check(images, given)
        u = self.uniform(1, 4)[0]
        mixed, share = self._mix(images, beta(self.alpha, *u[:2]), u[2:])
        targets = self._targets(given, share)
        return mixed, wrap(targets) if isinstance(labels, Variable) else targets

    def _batch(self, x: Any) -> np.ndarray:
        if getattr(x, "ndim", 4) == 3:
            raise ValueError(f"{type(self).__name__} expects a batch (N, C, H, W), got {list(x.shape)}")
        return super()._batch(x)

    def _mix(self, images: np.ndarray, share: float, u: np.ndarray) -> tuple[np.ndarray, float]:
        """Mixed images, and the share of them that is an image's own."""
        raise NotImplementedError

    def _check(self, images: np.ndarray, labels: np.ndarray) -> None:
        name = type(self).__name__
        if labels.ndim not in (1, 2) or len(labels) != len(images):
            raise ValueError(
                f"{name} expects labels ({len(images)},), or a probability of each class ({len(images)}, classes), "
                f"got {list(labels.shape)}"
            )
        if labels.ndim == 2:
            if self.num_classes not in (None, labels.shape[1]):
                raise ValueError(f"{name} expects {self.num_classes} classes, got labels {list(labels.shape)}")
        elif labels.dtype.kind not in "iu":
            raise TypeError(f"{name} expects labels of integers, got {labels.dtype}")
        elif self.num_classes is None:
            raise ValueError(f"{name} needs num_classes for labels that are numbers of classes")
        elif labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"{name} expects labels from 0 to {self.num_classes - 1}, got {labels.min()} to {labels.max()}"
            )

    def _targets(self, labels: np.ndarray, share: float) -> np.ndarray:
        """(N, classes): share of an image's own label, and the rest of the one's before it."""
        if labels.ndim == 1:
            targets = (labels[:, None] == np.arange(self.num_classes or 0)).astype(np.float32)
        else:
            targets = labels if labels.dtype.kind == "f" else labels.astype(np.float32)
        return np.roll(targets, 1, axis=0) * targets.dtype.type(1 - share) + targets * targets.dtype.type(share)


def beta(alpha: float, u: float, v: float) -> float:
    """A number of the distribution Beta(alpha, alpha), from two of [0, 1).

    Of a point of the plane with the radius √(u^(-1/alpha) - 1) and any direction, a coordinate is distributed as
    Student's t with 2 alpha degrees of freedom is, up to a factor (Bailey 1994, "Polar generation of random variates
    with the t-distribution"); and the sine of the angle that has it as its tangent is beta's, from -1 to 1 (Devroye
    1996, "Random variate generation in one line of code").  No draw is refused, so that two numbers do.
    """
    radius = math.sqrt(math.expm1(min(-math.log1p(-u) / alpha, 700.0)))
    return 0.5 + 0.5 * math.sin(math.atan(radius * math.cos(2 * math.pi * v)))


class MixUp(Mixing):
    """λ x + (1 - λ) x' of two images and of their labels (Zhang, Cisse, Dauphin and Lopez-Paz 2018, "mixup").

    λ ~ Beta(alpha, alpha), one for the batch; x' is the image before x, and the last one's for the first.  Labels are
    integers (N,), for which `num_classes` is needed, or probabilities (N, classes); they come back as (N, classes),
    in float32 or the probabilities' own type.  A network between the examples that is as linear as this is has less
    room to overfit, and answers less surely.

    Called with a batch of images of floats, and with labels.  TypeError for bytes, which have no values in between, and
    without labels; ValueError for one image, and for labels that are no classes.  One draw.

    >>> import batten
    >>> images, labels = batten.rand(4, 3, 8, 8), batten.tensor([0, 2, 1, 1])
    >>> images, labels = MixUp(alpha=0.2, num_classes=3)(images, labels)
    >>> labels.shape, bool(np.allclose(labels.array.sum(axis=1), 1))
    ((4, 3), True)
    """

    def _mix(self, images: np.ndarray, share: float, u: np.ndarray) -> tuple[np.ndarray, float]:
        if images.dtype == np.uint8:
            raise TypeError("MixUp expects images of floats, got uint8: put ToFloat or Normalize before it")
        x = channels_last(images)
        return channels_first(kernels.mix(kernels.empty(x.shape, x.dtype), x, share)), share


class CutMix(Mixing):
    """Images with a box of another image in them (Yun et al. 2019, "CutMix").

    A box of √(1 - λ) of the height and width, λ ~ Beta(alpha, alpha), is put around any pixel, and cut off where the
    image ends: one box for the batch, filled from the image before, and for the first from the last.  Labels are mixed
    by what is left, 1 - (area of the box) / (H W), and are given and come back as `MixUp` has it.

    Called with a batch of images of bytes or floats, and with labels.  One draw.

    >>> import batten
    >>> images = np.arange(2, dtype=np.uint8).repeat(3 * 8 * 8).reshape(2, 3, 8, 8)
    >>> mixed, labels = CutMix(num_classes=2)(images, np.array([0, 1]))
    >>> bool(np.allclose(mixed[0].mean(), labels[0, 1]))
    True
    """

    def _mix(self, images: np.ndarray, share: float, u: np.ndarray) -> tuple[np.ndarray, float]:
        x = channels_last(images)
        n, height, width, _ = x.shape
        half = 0.5 * math.sqrt(1 - share)
        middle, reach = (int(u[0] * height), int(u[1] * width)), (int(half * height), int(half * width))
        top, left = (max(m - r, 0) for m, r in zip(middle, reach, strict=True))
        bottom, right = min(middle[0] + reach[0], height), min(middle[1] + reach[1], width)
        boxes = np.tile(np.array([top, left, bottom, right]), (n, 1))
        y = kernels.paste(kernels.empty(x.shape, x.dtype), x, x, boxes, 1)
        return channels_first(y), 1 - (bottom - top) * (right - left) / max(1, height * width)


# ---- a part missing ----

TRIALS = 10  # of a box's size


class RandomErasing(InPlace):
    """Images that a box is erased of, with probability p (Zhong et al. 2017, "Random Erasing"; "Cutout": DeVries and
    Taylor 2017).

    The area of the box is a part of the image's, uniform in `scale`, and the logarithm of its height by its width is
    uniform in that of `ratio`; ten are tried, and nothing is erased where none is smaller than the image.  It is filled
    with `value`: a number, one for each channel, or "random" for numbers of each element's own, N(0, 1) in floats and
    any byte in bytes (where torchvision cuts normal numbers off to bytes).  A network that has to know a thing by
    whatever part of it is left cannot rely on a single one.

    `inplace` erases in the images themselves.  ValueError for a value that bytes cannot hold, or of another number of
    channels.  One draw, and another for "random".

    >>> erased = RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))(np.ones((1, 3, 8, 8), np.float32))
    >>> int(erased.sum())                                       # of 192; a box of 4 by 4 is gone from 3 channels
    144
    """

    value: str | list[float]

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | str | Sequence[float] = 0.0,
        inplace: bool = False,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        least, most = some_numbers("RandomErasing", "scale", scale, 2)
        if not 0 <= least <= most <= 1:
            raise ValueError(f"RandomErasing expects scale as (min, max) within 0 and 1, got {scale}")
        if not isinstance(value, (int, float, Sequence)):
            raise TypeError(f"RandomErasing expects numbers or 'random' as value, got {value!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing expects numbers or 'random' as value, got {value!r}")
        self.p = a_probability("RandomErasing", p)
        self.scale, self.ratio = tuple(scale), tuple(a_range("RandomErasing", "ratio", ratio))
        self.value = value if isinstance(value, str) else [float(v) for v in np.atleast_1d(value)]
        self.inplace = inplace

    def transform(self, images: np.ndarray) -> np.ndarray:
        x = channels_last(images)
        boxes = self._boxes(*x.shape[:3])
        return self._result(kernels.paste(self._room(x), x, self._filling(x), boxes), images)

    def _boxes(self, n: int, height: int, width: int) -> np.ndarray:
        """Top, left, bottom and right for n images (n, 4); all 0 where nothing is erased."""
        u = self.uniform(n, 3 + 2 * TRIALS)
        area = height * width * between(self.scale, u[:, 3 : 3 + TRIALS])
        ratio = np.exp(between(np.log(self.ratio), u[:, 3 + TRIALS :]))
        sizes = np.rint(np.sqrt([area * ratio, area / ratio])).astype(np.int64)
        fits = (sizes[0] < height) & (sizes[1] < width)
        h, w = sizes[:, np.arange(n), fits.argmax(axis=1)]
        top = (u[:, 1] * (height - h + 1)).astype(np.int64)
        left = (u[:, 2] * (width - w + 1)).astype(np.int64)
        erased = (u[:, 0] < self.p) & fits.any(axis=1)
        return np.where(erased[:, None], np.stack([top, left, top + h, left + w], axis=1), 0)

    def _filling(self, x: np.ndarray) -> np.ndarray:
        """What is put into boxes: as much as there are images, or a row for all of them."""
        if isinstance(self.value, list):
            colour = a_pixel("RandomErasing", self.value, channels_first(x), x.dtype, "value")
            return np.tile(colour, x.shape[2]).reshape(1, 1, *x.shape[2:])
        if x.dtype == np.uint8:
            words = kernels.empty((-(-x.size // 8),), np.dtype(np.uint64))
            return kernels.bits(words, *next_draw(self.generator)).view(np.uint8)[: x.size].reshape(x.shape)
        return kernels.normal(kernels.empty(x.shape, x.dtype), 0, 1, *next_draw(self.generator))

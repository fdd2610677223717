"""Colours and values of images: jitter, noise, AlexNet's PCA colours, and the way from bytes to normalized floats.

Images of bytes have values from 0 to 255, those of floats from 0 to 1.  What is done with given factors is what
torchvision's function of the name does; what is drawn, it draws once for a call, and a transform here for each image.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Variable
from ..nn.layout import channels_first, channels_last
from ..random import Generator, next_draw
from .base import Transform, as_batch, as_it_came, between
from .checks import some_channels

__all__ = [
    "ColorJitter",
    "GaussianNoise",
    "Normalize",
    "PCAColor",
    "ToDtype",
    "ToFloat",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
]

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the kernel's numbers
NAMES = ("brightness", "contrast", "saturation", "hue")


# ---- brightness, contrast, saturation, hue ----


def jittered(name: str, images: np.ndarray, steps: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) after the steps (N, n) of each by its factors (N, n)."""
    some_channels(name, images, 1, 3)
    x = pixels(channels_last(images))
    y = kernels.jitter(kernels.empty(x.shape, x.dtype), x, steps, factors)
    return as_images(y, images)


def pixels(x: np.ndarray) -> np.ndarray:
    """(N, H, W, C) as (N, pixels, C)."""
    n, height, width, channels = x.shape
    return x.reshape(n, height * width, channels)


def as_images(y: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Elements in the order of (N, H, W, C) as a view (N, C, H, W), whose shape is that of other images."""
    n, channels, height, width = images.shape
    return channels_first(y.reshape(n, height, width, channels))


def adjusted(name: str, inpt: Any, step: int, factor: float) -> Any:
    images = as_batch(name, inpt)
    shape = len(images), 1
    y = jittered(name, images, np.full(shape, step, np.uint8), np.full(shape, factor, np.float64))
    return as_it_came(inpt, y)


def expect_factor(name: str, factor: float, low: float, high: float) -> float:
    if not (isinstance(factor, (int, float, np.number)) and low <= factor <= high and math.isfinite(factor)):
        raise ValueError(f"{name} expects a factor from {low} to {high}, got {factor!r}")
    return float(factor)


def adjust_brightness(inpt: Any, brightness_factor: float) -> Any:
    """f x: images black for a factor f of 0, as they are for 1, and brighter above it.

    Images (C, H, W) or (N, C, H, W), C one or three, as everywhere in this module; values stay between black and white.
    ValueError for another number of channels, and for a factor below 0.

    >>> adjust_brightness(np.array([[[10, 200]]], np.uint8), 1.5)
    array([[[ 15, 255]]], dtype=uint8)
    """
    factor = expect_factor("adjust_brightness", brightness_factor, 0, math.inf)
    return adjusted("adjust_brightness", inpt, BRIGHTNESS, factor)


def adjust_contrast(inpt: Any, contrast_factor: float) -> Any:
    """f x + (1 - f) mean: images all grey for a factor f of 0, with more contrast above 1.

    The mean is that of an image's grey, 0.2989 r + 0.587 g + 0.114 b.

    >>> adjust_contrast(np.array([[[10, 20]]], np.uint8), 2.0)
    array([[[ 5, 25]]], dtype=uint8)
    """
    factor = expect_factor("adjust_contrast", contrast_factor, 0, math.inf)
    return adjusted("adjust_contrast", inpt, CONTRAST, factor)


def adjust_saturation(inpt: Any, saturation_factor: float) -> Any:
    """f x + (1 - f) grey, of each pixel's grey: images without colours for a factor f of 0, with stronger ones above 1.

    Images of one channel are as they were.

    >>> adjust_saturation(np.array([[[100]], [[0]], [[0]]], np.uint8), 0.0).ravel()
    array([29, 29, 29], dtype=uint8)
    """
    factor = expect_factor("adjust_saturation", saturation_factor, 0, math.inf)
    return adjusted("adjust_saturation", inpt, SATURATION, factor)


def adjust_hue(inpt: Any, hue_factor: float) -> Any:
    """Turns the hue by a part of the circle of colours, from -0.5 to 0.5: by 1/3, red becomes green, and green blue.

    The greatest and the least of a pixel's channels stay what they are.  Images of one channel are as they were.

    >>> adjust_hue(np.array([[[100]], [[0]], [[0]]], np.uint8), 1 / 3).ravel()
    array([  0, 100,   0], dtype=uint8)
    """
    return adjusted("adjust_hue", inpt, HUE, expect_factor("adjust_hue", hue_factor, -0.5, 0.5))


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue, each by a factor of an image's own, and in an order of its own.

    `brightness`, `contrast` and `saturation` are a number a, for factors from max(0, 1 - a) to 1 + a, or the pair of
    these; `hue` is a number up to 0.5, for factors from -hue to hue, or such a pair.  None, or a range that holds
    nothing but the factor that changes nothing, leaves an operation out.  What a factor does is said at
    `adjust_brightness` and its like.

    Images of one channel or three, whose values are from 0 to 255 in bytes and from 0 to 1 in floats.  One draw.

    >>> import batten
    >>> jitter = ColorJitter(brightness=0.2, hue=(-0.1, 0.3))
    >>> jitter
    ColorJitter(brightness=(0.8, 1.2), hue=(-0.1, 0.3))
    >>> jitter(batten.zeros(8, 3, 32, 32, dtype=batten.uint8)).shape
    (8, 3, 32, 32)
    """

    def __init__(
        self,
        brightness: float | Sequence[float] | None = None,
        contrast: float | Sequence[float] | None = None,
        saturation: float | Sequence[float] | None = None,
        hue: float | Sequence[float] | None = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        self.brightness = around("brightness", brightness, 1, (0, math.inf))
        self.contrast = around("contrast", contrast, 1, (0, math.inf))
        self.saturation = around("saturation", saturation, 1, (0, math.inf))
        self.hue = around("hue", hue, 0, (-0.5, 0.5))

    def transform(self, images: np.ndarray) -> np.ndarray:
        u = self.uniform(len(images), 2, len(NAMES))
        ranges = [getattr(self, name) for name in NAMES]
        asked = np.array([step for step, limits in enumerate(ranges) if limits], np.uint8)
        limits = np.array([limits for limits in ranges if limits]).reshape(-1, 2).T
        factors = np.minimum(between(limits, u[:, 0, asked]), limits[1])
        order = np.argsort(u[:, 1, asked], axis=1)
        return jittered("ColorJitter", images, asked[order], np.take_along_axis(factors, order, axis=1))


def around(
    name: str, value: float | Sequence[float] | None, centre: float, limits: tuple[float, float]
) -> tuple[float, float] | None:
    """The range of a factor, or None for that which changes nothing."""
    if value is None:
        return None
    if isinstance(value, numbers.Real):
        value = float(value)
        if not value >= 0:
            raise ValueError(f"ColorJitter expects a {name} of at least 0, got {value}")
        low, high = centre - value, centre + value
        low = max(low, 0.0) if centre else low
    elif isinstance(value, Sequence) and len(value) == 2:
        low, high = map(float, value)
    else:
        raise TypeError(f"ColorJitter expects a number or two as {name}, got {value!r}")
    if not limits[0] <= low <= high <= limits[1] or math.isinf(high):
        raise ValueError(f"ColorJitter expects {name} within {limits} and increasing, got {(low, high)}")
    return None if low == high == centre else (float(low), float(high))


# ---- noise ----


class GaussianNoise(Transform):
    """y = x + mean + sigma z, z ~ N(0, 1) for each element of each image.

    `mean` and `sigma` are parts of the brightest value there is, which is 255 in bytes and 1 in floats.  With `clip`
    values stay between black and white; without it bytes overflow, and floats go beyond.  Noise on bytes loses its
    fraction before it is added.

    Noise on the inputs acts like weight decay (`nn.GaussianNoise` is the layer for that, and has gradients).  One draw.

    >>> import batten
    >>> GaussianNoise(mean=0.1, sigma=0.0)(batten.zeros(1, 1, 2)).tolist()
    [[[0.10000000149011612, 0.10000000149011612]]]
    """

    def __init__(
        self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, *, generator: Generator | None = None
    ) -> None:
        super().__init__(generator=generator)
        if not (math.isfinite(mean) and math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"GaussianNoise expects finite numbers, sigma of at least 0, got {mean} and {sigma}")
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, images: np.ndarray) -> np.ndarray:
        x = channels_last(images)
        y = kernels.empty(x.shape, x.dtype)
        draw = next_draw(self.generator)
        return channels_first(kernels.noisy_image(y, x, self.mean, self.sigma, self.clip, *draw))


class PCAColor(Transform):
    """Adds to the colours of each image what colours vary by (AlexNet: Krizhevsky, Sutskever and Hinton 2012, 4.1).

        y = x + P (a ∘ λ),     a ~ N(0, alphastd²) for each image, of three components

    with the eigenvectors, the columns of P, and eigenvalues λ of the 3 × 3 covariance of red, green and blue over all
    pixels of the training set, which `fit` computes.  An object's identity does not depend on the colour and the
    strength of the light, and this is how these vary in natural images.

    Values are meant as parts of white: those of bytes are divided by 255 for the covariance, and what is added is
    multiplied by it.  Bytes are rounded, and stay between black and white; floats may go beyond.  Images that have been
    normalized need a PCAColor that was fitted on such.  One draw.

    `state_dict` holds `eigenvalues` (3,), the greatest first, and `eigenvectors` (3, 3).

    RuntimeError for images before a fit, ValueError for images of another number of channels.

    >>> images = np.random.default_rng(0).integers(0, 256, (100, 3, 8, 8), np.uint8)
    >>> colour = PCAColor().fit(images)
    >>> colour.eigenvalues.shape, colour(images).shape
    ((3,), (100, 3, 8, 8))
    """

    eigenvalues: np.ndarray | None = None
    eigenvectors: np.ndarray | None = None

    def __init__(self, alphastd: float = 0.1, *, generator: Generator | None = None) -> None:
        super().__init__(generator=generator)
        if not (alphastd >= 0 and math.isfinite(alphastd)):
            raise ValueError(f"PCAColor expects an alphastd of at least 0, got {alphastd}")
        self.alphastd = alphastd

    def fit(self, images: Any) -> PCAColor:
        """Takes eigenvalues and eigenvectors from images (N, 3, H, W), of which it needs a pixel at least."""
        batch = as_batch("PCAColor", images)
        some_channels("PCAColor", batch, 3)
        if not batch.size:
            raise ValueError(f"PCAColor expects at least one pixel to fit to, got {list(batch.shape)}")
        values, vectors = np.linalg.eigh(covariance(batch))
        self.eigenvalues = np.maximum(values[::-1], 0)
        vectors = vectors[:, ::-1]
        # An eigenvector's sign means nothing: its greatest component is made positive.
        self.eigenvectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        if self.eigenvalues is None or self.eigenvectors is None:
            raise RuntimeError("PCAColor has no colours yet: call fit(images) with the training set's")
        some_channels("PCAColor", images, 3)
        x = pixels(channels_last(images))
        a = kernels.empty((len(x), 3), np.dtype(np.float64))
        kernels.normal(a, 0, self.alphastd, *next_draw(self.generator))
        colours = white(images) * np.einsum("nk,ck->nc", a * self.eigenvalues, self.eigenvectors)
        return as_images(kernels.add_colour(kernels.empty(x.shape, x.dtype), x, colours), images)

    def state_dict(self) -> dict[str, np.ndarray | None]:
        """What `fit` found, for `batten.save`; None before it."""
        return {"eigenvalues": self.eigenvalues, "eigenvectors": self.eigenvectors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what a `state_dict` holds; ValueError for anything else, which changes nothing."""
        found = {}
        for name, shape in (("eigenvalues", (3,)), ("eigenvectors", (3, 3))):
            value = state_dict.get(name)
            array = None if value is None else np.array(value, np.float64)
            if array is not None and (array.shape != shape or not np.isfinite(array).all()):
                raise ValueError(f"PCAColor expects {name} {list(shape)} of finite numbers, got {value!r}")
            found[name] = array
        if state_dict.keys() != found.keys() or (found["eigenvalues"] is None) != (found["eigenvectors"] is None):
            raise ValueError(f"PCAColor expects eigenvalues and eigenvectors, got {sorted(state_dict)}")
        self.eigenvalues, self.eigenvectors = found["eigenvalues"], found["eigenvectors"]


def white(images: np.ndarray) -> float:
    """The brightest value."""
    return 255.0 if images.dtype == np.uint8 else 1.0


def covariance(images: np.ndarray) -> np.ndarray:
    """That of the channels (C, C) over all pixels, of parts of white; in float64, by so many images at a time."""
    total, products, count = np.zeros(images.shape[1]), np.zeros((images.shape[1],) * 2), 0
    centre = images[:1].mean(axis=(0, 2, 3), dtype=np.float64)  # so that little is subtracted from much
    step = max(1, 2**20 // max(1, images[0].size))
    for begin in range(0, len(images), step):
        x = images[begin : begin + step].transpose(0, 2, 3, 1).reshape(-1, images.shape[1]) - centre
        total += x.sum(axis=0)
        products += np.einsum("pi,pj->ij", x, x)
        count += len(x)
    mean = total / count
    return (products / count - np.outer(mean, mean)) / white(images) ** 2


# ---- from bytes to floats ----


class InPlace(Transform):
    """A transform that can write its result over the images."""

    inplace: bool

    def __call__(self, x: Any, y: Any = None) -> Any:
        if self.inplace and isinstance(x, Variable):
            x.version[0] += 1
        return super().__call__(x, y)

    def _room(self, x: np.ndarray) -> np.ndarray:
        """Where the result from an array x goes: over x, or beside it."""
        return x if self.inplace else kernels.empty(x.shape, x.dtype)

    def _result(self, y: np.ndarray, images: np.ndarray) -> np.ndarray:
        """(N, H, W, C) as (N, C, H, W), and over the images if they were asked for and do not lie there."""
        made = channels_first(y)
        if not self.inplace:
            return made
        if not np.may_share_memory(made, images):
            images[...] = made
        return images


class Normalize(InPlace):
    """(x - mean) / std, with a mean and a standard deviation for each channel, or one for all.

    Bytes become float32 from 0 to 1 first, as `ToFloat` makes them, in the same pass: mean and std are of such values
    (torchvision takes floats only).  In a `Compose` a ToFloat right before this costs nothing.  `inplace` writes the
    result over the images, which must be floats.

    ValueError for an std of 0, for two lengths, and for images with another number of channels.

    >>> Normalize([0.5], [0.25])(np.array([[[0, 255]]], np.uint8))
    array([[[-2.,  2.]]], dtype=float32)
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        for what, given in (("mean", mean), ("std", std)):
            if isinstance(given, numbers.Real):
                raise TypeError(f"Normalize expects {what} as a sequence of numbers, got {given!r}")
        self.mean, self.std, self.inplace = [float(m) for m in mean], [float(s) for s in std], inplace
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"Normalize expects as many means as deviations, got {self.mean} and {self.std}")
        if not all(self.std):
            raise ValueError(f"Normalize expects deviations other than 0, got {self.std}")

    def check(self, images: np.ndarray) -> None:
        if len(self.mean) > 1:
            some_channels("Normalize", images, len(self.mean))

    def transform(self, images: np.ndarray) -> np.ndarray:
        self.check(images)
        x = channels_last(images)
        if images.dtype == np.uint8:
            if self.inplace:
                raise ValueError("Normalize in place expects images of floats, got uint8")
            return channels_first(standardized(kernels.empty(x.shape, dtypes.float32), x, self.mean, self.std))
        return self._result(standardized(self._room(x), x, self.mean, self.std), images)


def standardized(y: np.ndarray, x: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """y = (x - mean) / std of channels that lie last, x / 255 for x of bytes; mean and std are as many, or one."""
    return kernels.standardize(y, x, *shift_and_scale(mean, std, x.shape[-1], y.dtype))


def shift_and_scale(mean: Sequence[float], std: Sequence[float], channels: int, dtype: np.dtype) -> np.ndarray:
    """What is subtracted, and what is multiplied by; of some pixels at a time, so that there are vectors of them."""
    times = max(1, 16 * max(1, 16 // max(1, channels)) * channels // len(mean))
    return np.tile(np.array([mean, 1 / np.array(std)]), times).astype(dtype)


class ToDtype(Transform):
    """Images of another type: uint8, float32 or float64.

    With `scale` white stays white: bytes are divided by 255, and floats x become ⌊255.999 x⌋, so that the values from 0
    to 1 are as many for each byte, nearly, as in torchvision.  Without it, values are only converted.  What no byte can
    hold becomes the nearest, and NaN 0.

    TypeError for another type.

    >>> import batten
    >>> ToDtype(batten.float32, scale=True)(np.array([[[0, 255]]], np.uint8))
    array([[[0., 1.]]], dtype=float32)
    >>> ToDtype(batten.uint8, scale=True)(np.array([[[0.2, 0.5, 2.0]]]))
    array([[[ 51, 127, 255]]], dtype=uint8)
    """

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        self.dtype, self.scale = dtypes.as_dtype(dtype), scale
        if self.dtype not in (dtypes.uint8, dtypes.float32, dtypes.float64):
            raise TypeError(f"{type(self).__name__} expects uint8, float32 or float64, got {self.dtype}")

    def transform(self, images: np.ndarray) -> np.ndarray:
        if images.dtype == self.dtype:
            return images
        x = channels_last(images)
        y = kernels.empty(x.shape, self.dtype)
        if self.dtype == np.uint8:
            kernels.to_bytes(y, x, 255.999 if self.scale else 1)
        elif self.scale and images.dtype == np.uint8:
            standardized(y, x, [0], [1])
        else:
            np.copyto(y, x, casting="same_kind")
        return channels_first(y)

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, scale={self.scale}"


class ToFloat(ToDtype):
    """Images of bytes as float32 from 0 to 1; `ToDtype(float32, scale=True)`.

    >>> ToFloat()(np.array([[[0, 255]]], np.uint8))
    array([[[0., 1.]]], dtype=float32)
    """

    def __init__(self) -> None:
        super().__init__(dtypes.float32, scale=True)

    def extra_repr(self) -> str:
        return ""

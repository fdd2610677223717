"""Rows of the colours of images, and of images made of two, beside NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case
from .random import CALL, KEY, normal_row

SHAPES = {"empty": (2, 0, 5, 3), "one": (1, 1, 1, 1), "odd": (5, 7, 13, 3), "large": (3, 67, 211, 3)}
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def images(rng, kind, size, shapes=SHAPES):
    """Images (N, H, W, C) of bytes or of floats from 0 to 1."""
    if kind == np.uint8:
        return rng.integers(0, 256, shapes[size], np.uint8)
    return rng.random(shapes[size]).astype(kind)


def in_pixels(x):
    n, height, width, channels = x.shape
    return x.reshape(n, height * width, channels)


def of_bytes(row):
    """The row of a kernel for images of bytes, where the other is for the type that is asked for."""
    return lambda rng, dtype, size: row(rng, dtype, size, np.dtype(np.uint8))


def standardize_row(rng, dtype, size, kind=None):
    x = images(rng, kind or dtype, size)
    shift, scale = rng.random((2, 48)).astype(dtype)
    entry = np.arange(x.size).reshape(x.shape) % 48
    expected = (x / (255 if kind else 1) - shift[entry]) * scale[entry]
    return Case(kernels.standardize, [np.zeros(x.shape, dtype), x, shift, scale], [expected])


def to_bytes_row(rng, dtype, size):
    x = (3 * images(rng, dtype, size) - 1).astype(dtype)
    if x.size:
        x.flat[0] = np.nan
    level = np.nan_to_num(x * dtype.type(255.999))
    return Case(kernels.to_bytes, [np.zeros(x.shape, np.uint8), x, 255.999], [np.clip(level, 0, 255) // 1], tolerance=0)


def add_colour_row(rng, dtype, size, kind=None):
    shapes = {**SHAPES, "one": (1, 1, 1, 3)}
    x = in_pixels(images(rng, kind or dtype, size, shapes))
    colour = rng.standard_normal((len(x), 3)) * (100 if kind else 1)
    expected = x + colour[:, None].astype(np.float32 if kind else dtype)
    if kind:
        expected = np.clip(np.floor(expected + 0.5), 0, 255)
    return Case(kernels.add_colour, [np.zeros_like(x), x, colour], [expected])


# ---- jitter ----


def grey_of(x):
    """(pixels, channels) -> (pixels,), rounded after each step as the kernel does."""
    if x.shape[1] == 1:
        return x[:, 0]
    t = x.dtype.type
    return t(0.2989) * x[:, 0] + t(0.587) * x[:, 1] + t(0.114) * x[:, 2]


def within_circle(h):
    h = np.where(h < 0, h + h.dtype.type(1), h)
    return np.where(h < 1, h, h - h.dtype.type(1))


def turned(x, factor):
    """Pixels (pixels, 3) with their hue turned, by way of hue, saturation and value."""
    t = x.dtype.type
    v, d = x.max(axis=1), x.max(axis=1) - x.min(axis=1)
    s = d / np.where(d > 0, v, t(1))
    r, g, b = (v[:, None] - x).T / np.where(d > 0, d, t(1))
    h = np.select([v == x[:, 0], v == x[:, 1]], [b - g, r + t(2) - b], g + t(4) - r)
    h = t(6) * within_circle(within_circle(h * t(1 / 6) + t(1)) + t(factor))
    sixth = np.floor(h)
    part = s * (h - sixth)
    p, q, rising = (np.clip(y * v, 0, 1) for y in (1 - s, 1 - part, part + (1 - s)))
    table = [[v, rising, p], [q, v, p], [p, v, rising], [p, q, v], [rising, p, v], [v, p, q]]
    return np.stack([np.choose(sixth.astype(int), [row[c] for row in table]) for c in range(3)], axis=1)


def adjusted(x, step, factor, whole):
    """Pixels (pixels, channels) of floats after one step; whole says that they are bytes'."""
    cut = np.floor if whole else lambda y: y
    t, white = x.dtype.type, 255 if whole else 1
    if step in (SATURATION, HUE) and x.shape[1] == 1:
        return x
    if step == HUE:
        return cut(turned(x * t(1 / 255), factor) * t(255.999)) if whole else turned(x, factor)
    rest = t(1 - factor)
    if step == BRIGHTNESS:
        other = t(0)
    elif step == CONTRAST:
        other = rest * t(cut(grey_of(x)).mean(dtype=np.float64)) if x.size else t(0)
    else:
        other = rest * cut(grey_of(x))[:, None]
    return cut(np.clip(x * t(factor) + other, 0, white))


def jittered(x, steps, factors):
    """Images (N, pixels, channels) after all steps, in the arithmetic of the kernel."""
    whole = x.dtype == np.uint8
    y = x.astype(np.float32 if whole else x.dtype)
    for i in range(len(x)):
        for step, factor in zip(steps[i], factors[i], strict=True):
            y[i] = adjusted(y[i], step, factor, whole)
    return y.astype(np.float64)


def jitter_row(rng, dtype, size, kind=None):
    x = in_pixels(images(rng, kind or dtype, size))
    steps = rng.integers(0, 4, (len(x), 5), np.uint8)
    factors = np.where(steps == HUE, rng.random(steps.shape) - 0.5, rng.random(steps.shape) * 2)
    return Case(kernels.jitter, [np.zeros_like(x), x, steps, factors], [jittered(x, steps, factors)])


# ---- noise ----


def noisy_image_row(rng, dtype, size, kind=None):
    z = (normal_row(rng, np.dtype(np.float32) if kind else dtype, size).expected[0] - 0.5) / 2
    x = rng.random(z.shape).astype(dtype) if kind is None else rng.integers(0, 256, z.shape, np.uint8)
    if kind is None:
        return Case(
            kernels.noisy_image,
            [np.zeros_like(x), x, 0.1, 0.3, True, KEY, CALL],
            [np.clip(x + 0.1 + 0.3 * z, 0, 1)],
        )
    noise = np.float32(25.5) + (np.float32(76.5) * z).astype(np.float32)
    # Whether a fraction is cut off to the one side or the other may hang on the last bit of z: such are left out.
    near = np.abs(noise - np.rint(noise)) < 1e-3
    made = np.clip(x + np.trunc(noise), 0, 255)
    row = Case(kernels.noisy_image, [np.zeros_like(x), x, 0.1, 0.3, True, KEY, CALL], [made])
    got = row.run()[0]
    row.expected = [np.where(near & (np.abs(got - made) <= 1), got, made)]
    return row


# ---- images made of two ----


def mix_row(rng, dtype, size):
    x = images(rng, dtype, size)
    share = dtype.type(0.3)
    return Case(kernels.mix, [np.zeros_like(x), x, 0.3], [share * x + dtype.type(0.7) * np.roll(x, 1, axis=0)])


def paste_row(rng, dtype, size, kind=None):
    x, v = images(rng, kind or dtype, size), images(rng, kind or dtype, size)
    n, height, width, _ = x.shape
    boxes = np.sort(rng.integers(0, (height + 1, width + 1), (2, n, 2)), axis=0).transpose(1, 0, 2).reshape(n, 4).copy()
    expected = x.astype(np.float64)
    for i, (top, left, bottom, right) in enumerate(boxes):
        expected[i, top:bottom, left:right] = v[i - 1, top:bottom, left:right]
    return Case(kernels.paste, [np.zeros_like(x), x, v, boxes, 1], [expected], tolerance=0)


CASES = {
    "standardize": standardize_row,
    "standardize bytes": of_bytes(standardize_row),
    "to_bytes": to_bytes_row,
    "add_colour": add_colour_row,
    "add_colour bytes": of_bytes(add_colour_row),
    "jitter": jitter_row,
    "jitter bytes": of_bytes(jitter_row),
    "noisy_image": noisy_image_row,
    "noisy_image bytes": of_bytes(noisy_image_row),
    "mix": mix_row,
    "paste": paste_row,
    "paste bytes": of_bytes(paste_row),
}

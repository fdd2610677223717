"""Rows of convolution, beside sums over the taps in NumPy; test_convolution_kernels.py has all shapes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from batten import _kernels as kernels

from . import Case


@dataclass
class Shape:
    """A convolution: images, pixels, channels, features and so on; one number stands for all axes."""

    batch: int
    pixels: tuple[int, ...]
    channels: int
    features: int
    kernel: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def each(self, value):
        return value if isinstance(value, tuple) else (value,) * len(self.pixels)

    def options(self):
        """stride, padding by (before, behind), dilation and groups."""
        padding = tuple(p if isinstance(p, tuple) else (p, p) for p in self.each(self.padding))
        return self.each(self.stride), padding, self.each(self.dilation), self.groups

    def output(self):
        stride, padding, dilation, _ = self.options()
        axes = zip(self.pixels, self.kernel, stride, padding, dilation, strict=True)
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    def arrays(self, draw):
        """y, x, w and bias."""
        x, w = (self.batch, *self.pixels, self.channels), (self.features, self.channels // self.groups, *self.kernel)
        return [draw(s) for s in ((self.batch, *self.output(), self.features), x, w, (self.features,))]


def taps(shape, x):
    """For each tap its index and, of padded images, the pixels that it meets: a view."""
    stride, padding, dilation, _ = shape.options()
    padded = np.pad(x, [(0, 0), *padding, (0, 0)])
    for tap in itertools.product(*map(range, shape.kernel)):
        steps = zip(tap, dilation, stride, shape.output(), strict=True)
        yield tap, padded, (slice(None), *(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in steps))


def grouped(shape, a):
    """A matrix for each group: (groups, pixels, channels of one)."""
    channels = a.shape[-1]
    rows = a.reshape(math.prod(a.shape[:-1]), shape.groups, channels // shape.groups)
    return rows.swapaxes(0, 1)


def ungrouped(shape, rows, sizes):
    """Groups beside each other again: (*sizes, channels)."""
    return rows.swapaxes(0, 1).reshape(*sizes, rows.shape[-1] * shape.groups)


def weights(shape, w, tap):
    """(groups, features, channels) of a tap."""
    return w[(slice(None), slice(None), *tap)].reshape(shape.groups, shape.features // shape.groups, w.shape[1])


def convolve(shape, x, w, bias=None):
    sizes = shape.batch, *shape.output()
    y = np.zeros((*sizes, shape.features), x.dtype)
    for tap, padded, met in taps(shape, x):
        y += ungrouped(shape, grouped(shape, padded[met]) @ weights(shape, w, tap).mT, sizes)
    return y if bias is None else y + bias


def convolve_backward_data(shape, dy, w):
    """The gradient of x: what each tap took from a pixel goes back there."""
    x = np.zeros((shape.batch, *shape.pixels, shape.channels), dy.dtype)
    total = None
    for tap, padded, met in taps(shape, x):
        total = np.zeros_like(padded) if total is None else total
        total[met] += ungrouped(shape, grouped(shape, dy) @ weights(shape, w, tap), (shape.batch, *shape.output()))
    _, padding, _, _ = shape.options()
    return total[(slice(None), *(slice(b, b + n) for (b, _), n in zip(padding, shape.pixels, strict=True)))]


def convolve_backward_weights(shape, dy, x):
    dw = np.zeros((shape.features, shape.channels // shape.groups, *shape.kernel), x.dtype)
    for tap, padded, met in taps(shape, x):
        part = grouped(shape, dy).mT @ grouped(shape, padded[met])
        dw[(slice(None), slice(None), *tap)] = part.reshape(dw.shape[:2])
    return dw


SHAPES = {
    "empty": Shape(0, (5, 4), 3, 2, (3, 2)),
    "one": Shape(1, (1,), 1, 1, (1,)),
    "odd": Shape(3, (7, 9), 5, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    "large": Shape(5, (17, 16), 19, 35, (3, 3), padding=1),
}


def drawn(rng, dtype, size):
    shape = SHAPES[size]
    return shape, [a.astype(dtype) for a in shape.arrays(lambda s: rng.uniform(-1, 1, s))]


def exact(*arrays):
    return [a.astype(np.float64) for a in arrays]


def bounded(function, *arrays):
    """What must come out, and how far off it may be: 42 roundings of the largest sum of magnitudes behind a number."""
    return function(*exact(*arrays)), 42 * function(*map(abs, exact(*arrays))).max(initial=0)


def conv(rng, dtype, size):
    shape, (y, x, w, bias) = drawn(rng, dtype, size)
    expected, tolerance = bounded(lambda x, w, bias: convolve(shape, x, w, bias), x, w, bias)
    return Case(kernels.conv, [y, x, w, bias, *shape.options()], [expected], tolerance=tolerance)


def conv_backward_data(rng, dtype, size):
    shape, (dy, dx, w, _) = drawn(rng, dtype, size)
    bias = rng.uniform(-1, 1, shape.channels).astype(dtype)
    expected, tolerance = bounded(lambda dy, w, bias: convolve_backward_data(shape, dy, w) + bias, dy, w, bias)
    return Case(kernels.conv_backward_data, [dx, dy, w, bias, *shape.options()], [expected], tolerance=tolerance)


def conv_backward_weights(rng, dtype, size):
    shape, (dy, x, dw, _) = drawn(rng, dtype, size)
    expected, tolerance = bounded(lambda dy, x: convolve_backward_weights(shape, dy, x), dy, x)
    return Case(kernels.conv_backward_weights, [dw, dy, x, *shape.options()], [expected], tolerance=tolerance)


CASES = {
    "conv": conv,
    "conv_backward_data": conv_backward_data,
    "conv_backward_weights": conv_backward_weights,
}

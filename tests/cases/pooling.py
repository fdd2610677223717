"""Rows of pooling, beside NumPy's maxima and means of one window after the other."""

from __future__ import annotations

import itertools

import numpy as np

from batten import _kernels as kernels

from . import Case

# Images (N, *, C), and their windows: kernel, stride, padding and dilation along each axis.
MOVING = {
    "empty": ((0, 1, 3, 4, 5), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
    "one": ((1, 1, 1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    "odd": ((3, 5, 6, 7, 67), (2, 3, 3), (2, 1, 2), (1, 1, 0), (1, 2, 1)),
    "large": ((4, 1, 33, 34, 70), (1, 3, 2), (1, 2, 2), (0, 1, 0), (1, 1, 1)),
}
# And as many windows as are asked for along each axis; these are large, and their taps are not bytes.
ADAPTIVE = {
    "empty": ((0, 1, 3, 4, 5), (1, 2, 2)),
    "one": ((1, 1, 1, 1, 1), (1, 1, 1)),
    "odd": ((2, 2, 40, 45, 19), (2, 3, 2)),
    "large": ((5, 1, 60, 61, 33), (1, 3, 2)),
}


def moving(rng, dtype, size, dilated=True):
    """x, and of each output the inputs that are inside of its window, with their taps."""
    shape, kernel, stride, padding, dilation = MOVING[size]
    if not dilated:
        dilation = (1, 1, 1)
    geometry = zip(shape[1:4], kernel, stride, padding, dilation, strict=True)
    axes = []
    for n, k, s, p, d in geometry:
        outputs = (n + 2 * p - d * (k - 1) - 1) // s + 1
        axes.append([[(t, i) for t in range(k) if 0 <= (i := o * s - p + t * d) < n] for o in range(outputs)])
    windows = (kernel, stride, padding, dilation)
    return rng.standard_normal(shape).astype(dtype), axes, windows


def adapting(rng, dtype, size):
    shape, out = ADAPTIVE[size]
    axes = []
    for n, m in zip(shape[1:4], out, strict=True):
        axes.append([list(enumerate(range(o * n // m, -(-(o + 1) * n // m)))) for o in range(m)])
    uneven = [n % m for n, m in zip(shape[1:4], out, strict=True)]
    kernel = tuple([n // m + (2 if u else 0) for n, m, u in zip(shape[1:4], out, uneven, strict=True)])
    stride = tuple([0 if u else k for k, u in zip(kernel, uneven, strict=True)])
    return rng.standard_normal(shape).astype(dtype), axes, (kernel, stride, (0, 0, 0), (1, 1, 1))


def each_window(axes, kernel):
    """The place of each output, its taps' numbers, and the places of their inputs."""
    for place in itertools.product(*[range(len(axis)) for axis in axes]):
        taps = list(itertools.product(*[axis[o] for axis, o in zip(axes, place, strict=True)]))
        numbers = [np.ravel_multi_index([t for t, _ in tap], kernel) for tap in taps]
        yield place, np.array(numbers), [tuple(i for _, i in tap) for tap in taps]


def taken_by(x, axes, kernel):
    """y, the taps that were taken, and where in their images these are."""
    shape = (len(x), *map(len, axes), x.shape[-1])
    y, positions = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    taken = np.empty(shape, np.uint8 if np.prod(kernel) <= 256 else np.int32)
    for place, numbers, inputs in each_window(axes, kernel):
        at = (slice(None), *place)
        values = np.stack([x[(slice(None), *i)] for i in inputs])
        best = values.argmax(0)
        y[at], taken[at] = values.max(0), numbers[best]
        positions[at] = np.array([np.ravel_multi_index(i, x.shape[1:4]) for i in inputs])[best]
    return y, taken, positions


def given_back(dy, positions, shape):
    """dx: each of dy to where in its image the maximum was."""
    dx = np.zeros((shape[0], int(np.prod(shape[1:4])), shape[4]))
    image, channel = np.arange(shape[0])[:, None, None, None, None], np.arange(shape[4])
    np.add.at(dx, (image, positions, channel), dy)
    return dx.reshape(shape)


def data(rng, dtype, size):
    """In double huge windows, else those that move."""
    return (adapting if dtype == np.float64 else moving)(rng, dtype, size)


def max_pool_row(rng, dtype, size):
    x, axes, windows = data(rng, dtype, size)
    y, taken, _ = taken_by(x, axes, windows[0])
    arguments = [np.zeros_like(y), np.zeros_like(taken), x, *windows]
    return Case(kernels.max_pool, arguments, [y, taken], outputs=2, tolerance=0)


def max_pool_backward_row(rng, dtype, size):
    x, axes, windows = data(rng, dtype, size)
    y, taken, positions = taken_by(x, axes, windows[0])
    dy = rng.standard_normal(y.shape).astype(dtype)
    arguments = [np.zeros_like(x), dy, taken, *windows]
    return Case(kernels.max_pool_backward, arguments, [given_back(dy, positions, x.shape)], tolerance=8)


def max_pool_positions_row(rng, dtype, size):
    x, axes, windows = data(rng, dtype, size)
    _, taken, positions = taken_by(x, axes, windows[0])
    arguments = [np.zeros_like(positions), taken, x.shape[1:4], *windows]
    return Case(kernels.max_pool_positions, arguments, [positions], tolerance=0)


def averages(rng, dtype, size):
    """x, its windows, and whether their padding counts: it does where there is some, in double."""
    if dtype == np.float64:
        return *moving(rng, dtype, size, dilated=False), True
    return *adapting(rng, dtype, size), False


def average_pool_row(rng, dtype, size):
    x, axes, windows, counted = averages(rng, dtype, size)
    y = np.empty((len(x), *map(len, axes), x.shape[-1]))
    for place, _, inputs in each_window(axes, windows[0]):
        values = np.stack([x[(slice(None), *i)] for i in inputs]).astype(np.longdouble)
        y[(slice(None), *place)] = values.sum(0) / (np.prod(windows[0]) if counted else len(inputs))
    return Case(kernels.average_pool, [np.zeros(y.shape, dtype), x, *windows[:3], counted], [y], tolerance=8)


def average_pool_backward_row(rng, dtype, size):
    x, axes, windows, counted = averages(rng, dtype, size)
    dy = rng.standard_normal((len(x), *map(len, axes), x.shape[-1])).astype(dtype)
    dx = np.zeros(x.shape)
    for place, _, inputs in each_window(axes, windows[0]):
        for i in inputs:
            divisor = np.prod(windows[0]) if counted else len(inputs)
            dx[(slice(None), *i)] += dy[(slice(None), *place)].astype(np.float64) / divisor
    return Case(kernels.average_pool_backward, [np.zeros_like(x), dy, *windows[:3], counted], [dx], tolerance=8)


CASES = {
    "max_pool": max_pool_row,
    "max_pool_backward": max_pool_backward_row,
    "max_pool_positions": max_pool_positions_row,
    "average_pool": average_pool_row,
    "average_pool_backward": average_pool_backward_row,
}

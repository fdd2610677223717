"""Pooling's kernels where vectors and channels do not fit, where windows are odd, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases.pooling import each_window, given_back, taken_by
from trials import trials

# One more and one less than the lanes of every type and instruction set, and than a few vectors of them.
CHANNELS = [1, 2, 3, 4, 5, 8, 9, 15, 16, 20, 33, 50, 64, 65, 129]
# Size, kernel, stride, padding and dilation along the last two axes.
WINDOWS = {
    "that tile the image": ((4, 6), (2, 3), (2, 3), (0, 0), (1, 1)),
    "that leave a rest": ((5, 7), (2, 2), (2, 2), (0, 0), (1, 1)),
    "that overlap": ((5, 7), (3, 3), (2, 1), (1, 1), (1, 1)),
    "with gaps between them": ((7, 8), (2, 1), (3, 2), (1, 0), (1, 1)),
    "with gaps in them": ((9, 11), (3, 2), (2, 3), (2, 1), (2, 4)),
    "that see nothing but padding": ((1, 1), (2, 2), (1, 1), (1, 1), (2, 2)),
    "of more taps than bytes": ((18, 19), (17, 18), (6, 5), (8, 9), (1, 1)),
    "of more terms than are added in one go": ((9, 15), (9, 15), (9, 15), (0, 0), (1, 1)),
}
each_windows = pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)


def axes_of(windows):
    """Of each output the inputs that are inside of its window, with their taps, along three axes."""
    axes = [[[(0, 0)]]]
    for n, k, s, p, d in zip(*windows, strict=True):
        outputs = (n + 2 * p - d * (k - 1) - 1) // s + 1
        axes.append([[(t, i) for t in range(k) if 0 <= (i := o * s - p + t * d) < n] for o in range(outputs)])
    return axes


def three(windows):
    """Kernel, stride, padding and dilation of three axes."""
    _, kernel, stride, padding, dilation = windows
    return (1, *kernel), (1, *stride), (0, *padding), (1, *dilation)


def images(rng, windows, channels, dtype, n=2):
    return rng.standard_normal((n, 1, *windows[0], channels)).astype(dtype)


@each_windows
@trials("channels", CHANNELS)
def test_largest_elements(rng, dtype, isa, windows, channels):
    x, axes, given = images(rng, windows, channels, dtype), axes_of(windows), three(windows)
    if not all(all(axis) for axis in axes):
        y = np.zeros((2, *map(len, axes), channels), dtype)
        kernels.max_pool(y, None, x, *given)
        assert (y == -np.inf).all()
        return
    y, taken, positions = taken_by(x, axes, given[0])
    dy = rng.standard_normal(y.shape).astype(dtype)
    got, taps, where = np.zeros_like(y), np.zeros_like(taken), np.zeros_like(positions)
    kernels.max_pool(got, taps, x, *given)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(taps, taken)
    np.testing.assert_array_equal(kernels.max_pool(np.zeros_like(y), None, x, *given), y)
    np.testing.assert_array_equal(kernels.max_pool_positions(where, taps, x.shape[1:4], *given), positions)
    got = kernels.max_pool_backward(np.full_like(x, np.nan), dy, taps, *given)
    np.testing.assert_allclose(got, given_back(dy, positions, x.shape), rtol=0, atol=64 * np.finfo(dtype).eps)


@each_windows
@trials("channels", CHANNELS)
@trials("divisor", [0, 3])
def test_averages(rng, dtype, isa, windows, channels, divisor):
    size, kernel, stride, padding, _ = windows
    windows = (size, kernel, stride, [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)], (1, 1))
    x, axes, given = images(rng, windows, channels, dtype), axes_of(windows), three(windows)[:3]
    y = np.zeros((2, *map(len, axes), channels))
    dy, dx = rng.standard_normal(y.shape).astype(dtype), np.zeros(x.shape)
    for place, _, inputs in each_window(axes, given[0]):
        at = (slice(None), *place)
        for i in inputs:
            y[at] += x[(slice(None), *i)].astype(np.float64) / (divisor or len(inputs))
            dx[(slice(None), *i)] += dy[at].astype(np.float64) / (divisor or len(inputs))
    rounding = {"rtol": 0, "atol": 256 * np.finfo(dtype).eps}
    got = kernels.average_pool(np.full(y.shape, np.nan, dtype), x, *given, False, divisor)
    np.testing.assert_allclose(got, y, **rounding)
    got = kernels.average_pool_backward(np.full_like(x, np.nan), dy, *given, False, divisor)
    np.testing.assert_allclose(got, dx, **rounding)


@pytest.mark.parametrize("shape", [(1, 1, 40, 40, 300), (1, 1, 1, 60000, 5), (1, 1, 300, 200, 1), (700, 1, 4, 4, 33)])
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_single_image_has_the_same_bits_for_any_number_of_threads(rng, dtype, threads, shape, overlapping):
    """Also where it has few pixels, of many channels, or all of them in one row."""
    x = rng.standard_normal(shape).astype(dtype)
    kernel = tuple(min(4, n) for n in shape[1:4])
    stride = tuple(2 if n > 1 and overlapping else n for n in kernel)
    out = [(n - k) // s + 1 for n, k, s in zip(shape[1:4], kernel, stride, strict=True)]
    dy = rng.standard_normal((shape[0], *out, shape[4])).astype(dtype)
    given, results = (kernel, stride, (0, 0, 0)), []
    for n in (1, 2, 3, 8):
        threads(n)
        y, taken = np.zeros_like(dy), np.zeros(dy.shape, np.uint8)
        kernels.max_pool(y, taken, x, *given, (1, 1, 1))
        dx = kernels.max_pool_backward(np.zeros_like(x), dy, taken, *given, (1, 1, 1))
        mean = kernels.average_pool(np.zeros_like(dy), x, *given)
        dmean = kernels.average_pool_backward(np.zeros_like(x), dy, *given)
        everything = (1, *shape[2:4])
        whole = kernels.average_pool(
            np.zeros((shape[0], 1, 1, 1, shape[4]), dtype), x, everything, everything, (0, 0, 0)
        )
        results.append([a.tobytes() for a in (y, taken, dx, mean, dmean, whole)])
    assert all(r == results[0] for r in results)


def test_an_average_of_many_is_accurate(rng, isa):
    """A million terms, each of which would be lost in part if they were added one after the other."""
    x = rng.uniform(0.5, 1, (1, 1, 1000, 1000, 3)).astype(np.float32)
    everything = (1, 1000, 1000)
    y = kernels.average_pool(np.zeros((1, 1, 1, 1, 3), np.float32), x, everything, everything, (0, 0, 0))
    np.testing.assert_allclose(y.ravel(), x.astype(np.float64).mean((0, 1, 2, 3)), rtol=2e-7)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((1, 0, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
        ((1, 2, 2), (1, -1, 2), (0, 0, 0), (1, 1, 1)),
        ((1, 2, 2), (1, 2, 2), (0, -1, 0), (1, 1, 1)),
        ((1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 0, 1)),
        ((1, 2, 2), (1, 9, 2), (0, 0, 0), (1, 1, 1)),  # the second output would begin behind the input
        ((1, 2, 2), (1, 0, 2), (0, 1, 0), (1, 1, 1)),  # adaptive windows have no padding,
        ((1, 2, 2), (1, 0, 2), (0, 0, 0), (1, 2, 1)),  # nor gaps,
        ((1, 3, 2), (1, 0, 2), (0, 0, 0), (1, 1, 1)),  # and may be larger than this
        ((1, 2**31, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
        ((2**16, 2**16, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
        ((2, 2), (2, 2), (0, 0), (1, 1)),
    ],
)
def test_windows_that_do_not_fit_are_refused(kernel, stride, padding, dilation):
    x, y = np.zeros((2, 1, 9, 9, 3)), np.zeros((2, 1, 2, 2, 3))
    with pytest.raises(ValueError, match="expected windows"):
        kernels.max_pool(y, None, x, kernel, stride, padding, dilation)


def test_taps_have_the_type_for_their_number():
    x, y, given = np.zeros((2, 1, 9, 9, 3)), np.zeros((2, 1, 2, 2, 3)), ((1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1))
    with pytest.raises(TypeError, match="expected an aligned array of uint8, got int32"):
        kernels.max_pool(y, np.zeros(y.shape, np.int32), x, *given)
    with pytest.raises(TypeError, match="expected an aligned array of int32, got uint8"):
        kernels.max_pool(y, np.zeros(y.shape, np.uint8), x, (1, 16, 17), (1, 8, 8), *given[2:])


def test_an_output_apart_from_the_input_is_asked_for():
    x, given = np.zeros((2, 1, 2, 2, 3)), ((1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match="expected outputs apart"):
        kernels.max_pool(x, None, x, *given)
    with pytest.raises(ValueError, match="expected outputs apart"):
        kernels.average_pool(x, x, *given[:3])

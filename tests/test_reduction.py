"""Sums over any axes of any layout, and extrema, against NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import batten
from batten import _kernels as kernels


def layouts(x):
    """Arrays of several orders in memory with the same shape."""
    yield x
    for axes in itertools.permutations(range(x.ndim)):
        yield np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
    yield np.repeat(x, 2, axis=-1)[..., ::2]
    yield np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1]
    yield np.broadcast_to(x[:, :1], x.shape)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 70, 3), (2, 1, 1), (3, 0, 2), (0, 2, 3), (130, 2, 67)])
def test_every_choice_of_axes_in_every_layout(shape, dtype, isa, rng):
    for x in layouts(rng.standard_normal(shape).astype(dtype)):
        exact = x.astype(np.float64)
        for axes in itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(4)):
            expected = exact.sum(axes, keepdims=True)
            y = kernels.sum(np.full(expected.shape, 7, dtype), x)
            error = np.abs(y - expected) <= 8 * np.finfo(dtype).eps * np.abs(exact).sum(axes, keepdims=True)
            assert error.all()


@pytest.mark.parametrize("shape, summed", [((3, 0, 2), 2), ((0, 2, 3), 1), ((0, 2, 3), 2), ((3, 0, 2), 0)])
def test_an_empty_output_leaves_its_surroundings_alone(shape, summed, dtype, isa):
    around = np.full(64, 7, dtype)
    kept = tuple(1 if axis == summed else n for axis, n in enumerate(shape))
    kernels.sum(np.ndarray(kept, dtype, around, strides=(0, 0, 0)), np.ones(shape, dtype))
    assert (around == 7).all()


def test_leading_axes_may_be_missing(dtype, rng):
    x = rng.standard_normal((4, 3, 5)).astype(dtype)
    y = kernels.sum(kernels.empty((3, 1), dtype), x, 2.0)
    np.testing.assert_allclose(y, 2 * x.sum((0, 2))[:, None], rtol=1e-5)
    with pytest.raises(ValueError, match="broadcast"):
        kernels.sum(kernels.empty((4, 1), dtype), x)
    with pytest.raises(ValueError, match="broadcast"):
        kernels.sum(kernels.empty((1, 4, 3, 5), dtype), x)


@pytest.mark.parametrize("shape, axes", [((1_000_000,), (0,)), ((1000, 1000), (0, 1)), ((200_000, 3), (0,))])
def test_long_sums_are_accurate_and_the_same_on_any_number_of_threads(shape, axes, isa, rng, threads):
    x = (1e4 + rng.standard_normal(shape)).astype(np.float32)
    expected = x.astype(np.float64).sum(axes, keepdims=True)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(kernels.sum(np.zeros(expected.shape, np.float32), x).tobytes())
    assert len(set(results)) == 1
    np.testing.assert_allclose(np.frombuffer(results[0], np.float32), expected.ravel(), rtol=2e-7)


def test_a_nan_is_the_extremum_and_the_first_of_equals_wins(dtype, isa):
    x = np.array([[[1, 2, np.nan], [3, 2, 0], [3, np.nan, np.nan]]], dtype)
    y, index = np.zeros((1, 3), dtype), np.zeros((1, 3), np.int64)
    np.testing.assert_array_equal(kernels.max(y, index, x), [[3, np.nan, np.nan]])
    np.testing.assert_array_equal(index, [[1, 2, 0]])
    np.testing.assert_array_equal(kernels.min(y, index, x), [[1, np.nan, np.nan]])
    np.testing.assert_array_equal(index, [[0, 2, 0]])
    with pytest.raises(ValueError, match="at least one"):
        kernels.max(y, index, np.zeros((1, 0, 3), dtype))


def test_extrema_of_long_rows(dtype, isa, rng, threads):
    """Among runs of 1024, in the rest behind them, and where the first of equals or a NaN is in either."""
    for n in (1023, 1024, 1025, 5000):
        x = rng.integers(-9, 10, (16, n)).astype(dtype)
        x[1], x[2], x[3] = 0, -np.inf, np.inf
        for row, at in enumerate((0, 1, 1022, n - 1), 4):
            x[row, at], x[row + 4, at], x[row + 8, at:] = 10, -10, np.nan
        for kernel, where in ((kernels.max, np.argmax), (kernels.min, np.argmin)):
            places = where(x, 1)[:, None]
            for count in (1, 3):
                threads(count)
                y, index = np.zeros((16, 1), dtype), np.zeros((16, 1), np.int64)
                np.testing.assert_array_equal(kernel(y, index, x[:, :, None]), np.take_along_axis(x, places, 1))
                np.testing.assert_array_equal(index, places, str((n, kernel)))


def test_softmax_of_extreme_rows(dtype, isa):
    x = np.array([[1e4, 1e4, -1e4], [-np.inf, 0, 0], [-np.inf] * 3, [np.nan, 0, 0]], dtype)
    y = kernels.softmax(np.zeros_like(x), x)
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [0, 0.5, 0.5], [np.nan] * 3, [np.nan] * 3])
    z = kernels.logsumexp(np.zeros(4, dtype), x)
    np.testing.assert_allclose(z, [1e4 + np.log(2), np.log(2), -np.inf, np.nan], rtol=1e-6)


def test_a_class_out_of_range_is_named_before_anything_is_written(dtype):
    x, loss, lse = np.zeros((2, 3), dtype), np.full(2, 7, dtype), np.full(2, 7, dtype)
    for bad in (3, -1):
        with pytest.raises(IndexError, match=f"from 0 to 2, or -100 to ignore, got {bad}"):
            kernels.cross_entropy(loss, lse, x, np.array([0, bad]))
    assert (loss == 7).all()


def test_products_of_vectors(dtype, rng, threads):
    """With the same bits on any number of threads, of vectors that lie anyhow, and rounded but once."""
    many = rng.standard_normal((2, 300_001)).astype(dtype)
    for x, y in ((many[0], many[1]), (many[0, ::-2], many[1, ::2]), (many[0, :0], many[1, :0])):
        results = []
        for count in (1, 2, 3, 8):
            threads(count)
            results.append(batten.dot(batten.from_numpy(x), batten.from_numpy(y)).numpy())
        assert len({z.tobytes() for z in results}) == 1
        assert (results[0].shape, results[0].dtype) == ((), dtype)
        exact = math.fsum(x.astype(np.float64) * y.astype(np.float64))
        np.testing.assert_allclose(results[0], exact, rtol=np.finfo(dtype).eps, atol=1e-10)
    huge = batten.from_numpy(np.full(2, np.finfo(dtype).max, dtype))
    assert (huge @ huge).item() == math.inf

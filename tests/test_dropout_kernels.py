"""Dropout's masks, and its kernels where a result is stored past the caches: of 16 MiB or more, on a boundary."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases.random import bytes_for, kept, packed


@pytest.mark.parametrize("number", [1, 3])
def test_a_large_result_is_that_of_its_mask(number, dtype, isa, threads):
    n = (16 << 20) // dtype.itemsize + 21
    x = np.arange(n, dtype=dtype)
    y, aside = kernels.empty((n,), dtype), kernels.empty((n + 1,), dtype)[1:]
    mask, mask_aside = (kernels.empty(((n + 7) // 8,), np.dtype(np.uint8)) for _ in range(2))
    threads(number)
    kernels.dropout(y, mask, x, 0.25, 2.0, 7, 3)
    kernels.dropout(aside, mask_aside, x, 0.25, 2.0, 7, 3)  # not on a boundary, and so by way of the caches
    dx = kernels.dropout_backward(kernels.empty_like(y), x, mask, 2.0)
    keep = np.unpackbits(mask, count=n, bitorder="little")
    assert np.array_equal(y, x * keep * dtype.type(2))
    assert np.array_equal(dx, y) and np.array_equal(aside, y) and np.array_equal(mask_aside, mask)
    assert abs(keep.mean() - 0.75) < 0.001
    there = kernels.copy(kernels.empty_like(y), x)
    assert np.array_equal(kernels.dropout_backward(there, there, mask, 2.0), y)


@pytest.mark.parametrize("number", [1, 3])
def test_a_large_result_behind_a_relu(number, dtype, isa, threads):
    n = (16 << 20) // dtype.itemsize + 21
    x = np.arange(n, dtype=dtype) - dtype.type(n // 2)
    mask, passed, plain = (bytes_for(n) for _ in range(3))
    threads(number)
    y = kernels.relu_dropout(kernels.empty((n,), dtype), mask, passed, x, 0.25, 2.0, 7, 3)
    bent = np.maximum(x, 0)
    assert np.array_equal(y, kernels.dropout(kernels.empty((n,), dtype), plain, bent, 0.25, 2.0, 7, 3))
    assert np.array_equal(mask, plain) and np.array_equal(passed, packed(x > 0))
    dx = kernels.relu_dropout_backward(kernels.empty((n,), dtype), x, mask, passed, 2.0)
    assert np.array_equal(dx, y)
    there = x.copy()
    assert np.array_equal(kernels.relu_dropout(there, mask, passed, there, 0.25, 2.0, 7, 3), y)


@pytest.mark.parametrize("p", [2**-64, 2**-30, 0.001, 1 / 3, 0.5, 0.75, 1 - 2**-53])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 2047, 2048, 2049, 10_000])
def test_a_mask_is_of_as_many_digits_as_p_has(p, n, isa):
    key, call = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    mask = kernels.dropout_mask(bytes_for(n), n, p, key, call)
    assert np.array_equal(mask, packed(kept(n, p)))


def test_a_mask_of_nothing_and_of_everything(isa):
    for n in (0, 1, 64, 5000):
        assert not kernels.dropout_mask(bytes_for(n) + np.uint8(255), n, 1.0, 1, 1).any()
        assert np.array_equal(kernels.dropout_mask(bytes_for(n), n, 0.0, 1, 1), packed(np.ones(n, bool)))


def test_all_kernels_draw_the_same_mask(rng, dtype, isa):
    x = rng.standard_normal(10_001).astype(dtype)
    masks = [bytes_for(x.size) for _ in range(4)]
    kernels.dropout_mask(masks[0], x.size, 0.3, 5, 6)
    kernels.dropout(np.empty_like(x), masks[1], x, 0.3, 1.0, 5, 6)
    kernels.relu_dropout(np.empty_like(x), masks[2], bytes_for(x.size), x, 0.3, 1.0, 5, 6)
    kernels.alpha_dropout(np.empty_like(x), masks[3], x, 0.3, 1.0, 0.0, 0.0, 5, 6)
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


@pytest.mark.parametrize(
    "shape", [(3, 5, 1), (3, 700, 1), (2, 30, 3), (2, 70, 16), (2, 5, 1023), (2, 5, 1024), (2, 3, 2500)]
)
def test_features_of_any_width(shape, rng, dtype, isa, threads):
    x = rng.standard_normal(shape).astype(dtype)
    keep = rng.integers(0, 2, (shape[0], 1, shape[2]), bool)
    for number in (1, 3):
        threads(number)
        y = kernels.feature_dropout(np.empty_like(x), x, packed(keep), 2.0)
        assert np.array_equal(y, x * (keep * dtype.type(2)))
        z = kernels.feature_alpha_dropout(x.copy(), x, packed(keep), 2.0, 1.0, -3.0)
        assert np.allclose(z, np.where(keep, 2 * x + 1, -3), rtol=1e-6, atol=1e-6)
        there = x.copy()
        assert np.array_equal(kernels.feature_dropout(there, there, packed(keep), 2.0), y)

"""Dropout's kernels where a result is stored past the caches: of 16 MiB or more, on a vector's boundary."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels


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
    kept = np.unpackbits(mask, count=n, bitorder="little")
    assert np.array_equal(y, x * kept * dtype.type(2))
    assert np.array_equal(dx, y) and np.array_equal(aside, y) and np.array_equal(mask_aside, mask)
    assert abs(kept.mean() - 0.75) < 0.001

"""Kernels that go through lists of arrays: their loops, arrays of all sizes in one call, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases import SIZES
from cases.lists import VARIANTS

pytestmark = pytest.mark.kernels

# About as long as lines and blocks, empty ones among them.
LENGTHS = [0, 1, 63, 64, 65, 0, 4095, 4096, 4097, 0, 3, 8191, 9000, *[7] * 700, 20_000, 0, 0]


def test_powers_against_numpy(dtype, isa, rng):
    for case in VARIANTS.values():
        for size in SIZES:
            case(rng, dtype, size).check(dtype)


@pytest.mark.parametrize("p", [2.0, 1.0, np.inf, -np.inf, 0.0, 2.5])
def test_an_array_has_the_same_sum_among_others_and_any_number_of_threads(p, dtype, isa, rng, threads):
    """To the bit where an array begins with a block; else its sum is cut in other places."""
    arrays = [rng.standard_normal(n).astype(dtype) for n in LENGTHS]
    sums = []
    for n in (1, 2, 3, 8):
        threads(n)
        sums.append(kernels.power_sums(np.empty(len(arrays)), arrays, p).tobytes())
    assert all(s == sums[0] for s in sums)
    alone = [kernels.power_sums(np.empty(1), [x], p)[0] for x in arrays]
    np.testing.assert_allclose(np.frombuffer(sums[0]), alone, rtol=100 * np.finfo(dtype).eps)


def test_products_among_others_and_on_any_number_of_threads(dtype, isa, rng, threads):
    x, y = ([rng.standard_normal(n).astype(dtype) for n in LENGTHS] for _ in range(2))
    sums = []
    for n in (1, 2, 3, 8):
        threads(n)
        sums.append(kernels.dot_all(np.empty(len(x)), x, y).tobytes())
    assert all(s == sums[0] for s in sums)
    alone = [kernels.dot_all(np.empty(1), [a], [b])[0] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(np.frombuffer(sums[0]), alone, rtol=1e-12, atol=1e-10)
    assert kernels.dot_all(np.empty(0), [], []).size == 0


def test_nan_and_infinity_stay_in_their_array(dtype, isa):
    for n in (5, 40, 5000):
        for place in (0, n // 2, n - 1):
            for bad in (np.nan, np.inf):
                x = [np.ones(n, dtype) for _ in range(3)]
                x[1][place] = bad
                for p in (1, 2, 3, np.inf):
                    sums = kernels.power_sums(np.empty(3), x, p)
                    np.testing.assert_array_equal(sums[1], bad)
                    np.testing.assert_allclose(sums[::2], 1 if np.isinf(p) else n, rtol=1e-6)
                least = kernels.power_sums(np.empty(3), x, -np.inf)
                np.testing.assert_array_equal(least, [1, bad if np.isnan(bad) else 1, 1])


def test_scaling_touches_every_element_once(dtype, isa, rng, threads):
    arrays = [rng.standard_normal(n).astype(dtype) for n in LENGTHS]
    expected = [x * dtype.type(-1.5) for x in arrays]
    threads(2)
    assert kernels.scale_all(arrays, -1.5) is arrays
    assert [x.tobytes() for x in arrays] == [x.tobytes() for x in expected]


def test_axes_in_any_order_and_no_arrays(dtype):
    x = np.arange(24, dtype=dtype).reshape(2, 3, 4).transpose(2, 0, 1)
    assert kernels.power_sums(np.empty(1), [x], 1)[0] == 276
    kernels.scale_all([x], 2)
    assert x.sum() == 552
    assert kernels.power_sums(np.empty(0), [], 2).size == 0
    assert kernels.scale_all([], 2) == []


def test_bad_lists():
    x = np.ones(4, np.float32)
    sums = np.empty(2)
    for bad, error, message in (
        ([x, None], TypeError, "got None"),
        ([x, [1.0]], TypeError, "list"),
        ([x, x.astype(np.float64)], TypeError, "one type"),
        ([x, x.astype(np.int32)], TypeError, "float32 or float64"),
        ([x, x[::2]], ValueError, "without gaps"),
    ):
        with pytest.raises(error, match=message):
            kernels.power_sums(sums, bad, 2)
        with pytest.raises(error, match=message):
            kernels.scale_all(bad, 2)
    for bad in (np.empty(3), np.empty(2, np.float32), np.empty((1, 2))):
        with pytest.raises(ValueError, match=r"expected float64\[2\] for the sums"):
            kernels.power_sums(bad, [x, x], 2)
    with pytest.raises(ValueError, match="one shape"):
        kernels.dot_all(np.empty(1), [x], [np.ones(5, np.float32)])
    with pytest.raises(ValueError, match=r"expected float64\[1\] for the sums"):
        kernels.dot_all(sums, [x], [x])
    one = np.ones(1)
    with pytest.raises(ValueError, match="overlaps"):
        kernels.dot_all(one, [np.ones(1)], [one])
    twins = np.ones(2)
    with pytest.raises(ValueError, match="overlaps"):
        kernels.power_sums(twins, [twins, twins], 2)
    for overlapping in (lambda: kernels.scale_all([x, x], 2), lambda: kernels.lerp_all([x], [x], 0.5)):
        with pytest.raises(ValueError, match="overlaps"):
            overlapping()
    with pytest.raises(ValueError, match="one shape"):
        kernels.lerp_all([x], [np.ones(5, np.float32)], 0.5)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.scale_all([x], 2)
    kernels.power_sums(sums, [x, x], 2)

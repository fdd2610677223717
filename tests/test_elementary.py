"""Elementary functions over all numbers, in units in the last place, and their special values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batten import _kernels as kernels

WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps / 100


def sigmoid(x):
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def erf(x):
    return np.array([math.erf(v) for v in x])  # within one unit for float64


# name: the exact function, and how many units a result may be off
FUNCTIONS = {
    "exp": (np.exp, 2),
    "expm1": (np.expm1, 3),
    "log": (np.log, 2),
    "log1p": (np.log1p, 2),
    "sigmoid": (sigmoid, 3),
    "tanh": (np.tanh, 3),
    "erf": (erf, 3),
}


def numbers(dtype, rng):
    """Bit patterns from all over the type, and more where the functions bend."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    patterns = rng.integers(0, np.iinfo(unsigned).max, 100_000, dtype=unsigned, endpoint=True).view(dtype)
    ranges = (1e-3, 1, 2, 6, 40, 120, 760)
    return np.concatenate([patterns, *[rng.uniform(-r, r, 20_000).astype(dtype) for r in ranges]])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_units_in_the_last_place(name, dtype, isa, rng):
    function, allowed = FUNCTIONS[name]
    if dtype == np.float64 and not WIDE:
        pytest.skip("no type here is more precise than float64")
    x = numbers(dtype, rng)
    with np.errstate(all="ignore"):
        exact = function(x.astype(np.longdouble if dtype == np.float64 else np.float64))
        expected = exact.astype(dtype)
        got = getattr(kernels, name)(np.empty_like(x), x)
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        units = np.abs(got - exact) / np.spacing(np.abs(expected))
    wrong = ~same & ~(units <= allowed)
    assert not wrong.any(), f"{units[wrong].max()} units at {x[wrong][np.argmax(units[wrong])]!r}"


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(
    "name, expected",
    [
        ("exp", [1, 1, np.inf, 0, np.nan]),
        ("expm1", [0, -0.0, np.inf, -1, np.nan]),
        ("log", [-np.inf, -np.inf, np.inf, np.nan, np.nan]),
        ("log1p", [0, -0.0, np.inf, np.nan, np.nan]),
        ("sigmoid", [0.5, 0.5, 1, 0, np.nan]),
        ("tanh", [0, -0.0, 1, -1, np.nan]),
        ("erf", [0, -0.0, 1, -1, np.nan]),
    ],
)
def test_special_values(name, expected, dtype, isa):
    for repeats in (1, 16):  # both in the vectors and in what is left over
        x = np.repeat(SPECIAL.astype(dtype), repeats)
        got = getattr(kernels, name)(np.empty_like(x), x)
        wanted = np.repeat(np.array(expected, dtype), repeats)
        np.testing.assert_array_equal(got, wanted)
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(wanted[numbers]))


def test_limits_of_exp(dtype, isa):
    """The largest finite result, infinity beyond it, and denormal results down to nought."""
    info = np.finfo(dtype)
    top, bottom = np.log(np.array([info.max, info.smallest_subnormal], np.float64))
    x = np.array([top * (1 - 4 * info.eps), top * (1 + 4 * info.eps), bottom, bottom - 1, info.max, -info.max], dtype)
    y = kernels.exp(np.empty_like(x), x)
    assert np.isfinite(y[0]) and y[0] > info.max / 2
    assert y[1] == np.inf and y[2] == info.smallest_subnormal and y[3] == 0 and y[4] == np.inf and y[5] == 0


def test_vectors_and_left_over_elements_agree(dtype, isa, rng):
    """The same element gives the same bits wherever in an array, and with whatever stride, it lies."""
    x = rng.uniform(-5, 5, 67).astype(dtype)
    wide = np.repeat(x, 3)
    for name in FUNCTIONS:
        kernel = getattr(kernels, name)
        with np.errstate(invalid="ignore"):
            whole = kernel(np.empty_like(x), x)
        single = np.concatenate([kernel(np.empty(1, dtype), x[i : i + 1]) for i in range(67)])
        assert whole.tobytes() == single.tobytes()
        assert whole.tobytes() == kernel(np.empty_like(x), wide[::3]).tobytes()

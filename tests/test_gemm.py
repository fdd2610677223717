"""Products of matrices: how exact they are, what becomes of NaN, infinity and denormals, and what is not read."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from batten import _kernels as kernels
from trials import trials

# m, n, k: read where they lie, packed, of a few rows or columns, several steps of k, and left-overs of every tile.
SHAPES = [
    (1, 1, 1),
    (5, 3, 2),
    (14, 32, 64),
    (13, 31, 65),
    (128, 10, 512),
    (10, 128, 300),
    (33, 65, 2100),
    (150, 170, 190),
    (257, 129, 1030),
    (1, 600, 513),
    (600, 1, 513),
]
FORMS = ["NN", "NT", "TN", "TT"]


def laid(x, form):
    """The same matrix, lying in memory as it is (N) or transposed (T)."""
    return np.ascontiguousarray(x) if form == "N" else np.ascontiguousarray(x.T).T


def product(a, b, form="NN", **options):
    c = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    return kernels.gemm(c, laid(a, form[0]), laid(b, form[1]), **options)


@functools.cache
def hard(kind, m, n, k, name):
    """Operands, their product, and the bound of its error for float arithmetic of a type."""
    rng, dtype = np.random.default_rng(2), np.dtype(name)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    if kind == "large mean":
        a, b = a + 1000, b - 1000
    elif kind == "cancelling":
        a[:, k // 2 : k // 2 * 2] = a[:, : k // 2]
        b[k // 2 : k // 2 * 2] = -b[: k // 2]
    elif kind == "of all sizes":
        a, b = a * 10 ** rng.uniform(-6, 6, a.shape), b * 10 ** rng.uniform(-6, 6, b.shape)
    a, b = a.astype(dtype), b.astype(dtype)
    wide = np.float64 if dtype == np.float32 else np.longdouble
    u = np.finfo(dtype).eps / 2
    bound = k * u / (1 - k * u) * (np.abs(a).astype(wide) @ np.abs(b).astype(wide))
    return a, b, a.astype(wide) @ b.astype(wide), bound


@trials("form", FORMS)
@trials("kind", ["normal", "large mean", "cancelling", "of all sizes"])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_the_error_is_bounded_as_theory_says(m, n, k, kind, form, dtype, isa):
    """|c - a b| <= γ_k |a| |b|,  γ_k = k u / (1 - k u), whatever the order of the terms (Higham 2002, section 3.5)."""
    a, b, exact, bound = hard(kind, m, n, k, dtype.name)
    assert (np.abs(product(a, b, form) - exact) <= bound).all()


@trials("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_nan_and_infinity_propagate_as_in_numpy(m, n, k, special, rng, dtype, isa):
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    a[rng.integers(m), rng.integers(k)] = special
    b[rng.integers(k), rng.integers(n)] = special
    b[rng.integers(k)] = 0  # infinity times nought is NaN
    with np.errstate(invalid="ignore"):
        expected = np.einsum("ik,kj->ij", a, b)
    got = product(a, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(got[np.isinf(expected)], expected[np.isinf(expected)])
    assert np.isfinite(got[np.isfinite(expected)]).all()


@pytest.mark.parametrize("m, n, k", SHAPES)
def test_denormals_are_numbers(m, n, k, rng, dtype, isa):
    """Small terms add up to denormals, and denormals are multiplied, without a rounding to nought."""
    info = np.finfo(dtype)
    a = np.zeros((m, k), dtype)
    b = np.zeros((k, n), dtype)
    a[:, k // 2] = info.smallest_subnormal * 3
    b[k // 2] = 5
    np.testing.assert_array_equal(product(a, b), np.full((m, n), info.smallest_subnormal * 15, dtype))
    a[:, k // 2] = info.tiny
    b[k // 2] = dtype.type(0.25)
    np.testing.assert_array_equal(product(a, b), np.full((m, n), info.tiny / 4, dtype))


@pytest.mark.parametrize("m, n, k", SHAPES)
def test_without_beta_the_output_is_not_read(m, n, k, rng, dtype, isa):
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    assert np.isfinite(product(a, b)).all()  # where there was NaN
    c = np.ones((m, n), dtype)
    np.testing.assert_array_equal(kernels.gemm(c, a * 0, b, alpha=1, beta=0.5), np.full((m, n), 0.5, dtype))


@trials("form", FORMS)
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_a_row_alone_gives_the_same_bits(m, n, k, form, rng, dtype, isa, threads):
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    whole = product(a, b, form)
    for number in (1, 2, 3, 8):
        threads(number)
        assert product(a, b, form).tobytes() == whole.tobytes()
    for i in {0, m // 2, m - 1}:
        assert product(a[i : i + 1], b, form).tobytes() == whole[i : i + 1].tobytes()


# ---- the mean and the variance of a sum of independent terms ----


@trials("form", FORMS)
@pytest.mark.parametrize("m, n, k", [*SHAPES, (3, 4, 0), (3, 0, 4), (0, 3, 4)])
def test_squares_are_the_product_of_squares(m, n, k, form, rng, dtype, isa, threads):
    """Bit for bit those of two products."""
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias = rng.standard_normal(2 * n).astype(dtype)[::2]
    a, b = laid(a, form[0]), laid(b, form[1])
    for number in (1, 2, 3):
        threads(number)
        c, squares = np.full((2, m, n), np.nan, dtype)
        kernels.gemm_squares(c, squares, a, b, bias, 0.3)
        np.testing.assert_array_equal(c, product(a, b, bias=bias, alpha=0.3))
        np.testing.assert_array_equal(squares, product(a * a, b * b))


def test_squares_are_apart_from_the_product(dtype):
    c, squares = np.zeros((2, 3, 3), dtype)
    for other in (c, np.zeros((3, 4), dtype), np.zeros((3, 3), np.float16), np.zeros((3, 6), dtype)[:, ::2]):
        with pytest.raises((TypeError, ValueError), match="expected"):
            kernels.gemm_squares(c, other, c + 1, c + 1)
    with pytest.raises(ValueError, match="apart from the inputs"):
        kernels.gemm_squares(c, squares, squares, c + 1)
    with pytest.raises(ValueError, match="apart from the inputs"):
        kernels.gemm_squares(c, squares, c + 1, c + 1, squares[0])
    stack = np.zeros((2, 3, 3), dtype)
    with pytest.raises(ValueError, match="expected matrices"):
        kernels.gemm_squares(stack, stack + 1, c + 1, c + 1)

"""The penalties' kernels: their loops, arrays of all sizes and layouts in one call, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from test_list_kernels import LENGTHS

from batten import _kernels as kernels
from cases import SIZES
from cases.penalty import VARIANTS, norms_of

pytestmark = pytest.mark.kernels


def test_variants_against_numpy(dtype, isa, rng):
    for case in VARIANTS.values():
        for size in SIZES:
            case(rng, dtype, size).check(dtype)


def test_arrays_of_all_sizes_on_any_number_of_threads(dtype, isa, rng, threads):
    ws = [rng.standard_normal(n).astype(dtype) for n in LENGTHS]
    gs = [rng.standard_normal(n).astype(dtype) for n in LENGTHS]
    add = (np.arange(len(ws)) % 2).astype(np.uint8)
    values, grads = [], []
    for n in (1, 2, 3, 8):
        threads(n)
        values.append(kernels.elastic_penalty(np.empty((), dtype), ws, 0.5, 0.25).tobytes())
        outputs = kernels.elastic_penalty_backward([g.copy() for g in gs], ws, add, 0.5, 0.25)
        grads.append(b"".join(dw.tobytes() for dw in outputs))
    assert len(set(values)) == len(set(grads)) == 1
    whole = np.concatenate(ws).astype(np.float64)
    expected = 0.5 * np.abs(whole).sum() + 0.25 * (whole**2).sum()
    np.testing.assert_allclose(np.frombuffer(values[0], dtype), expected, rtol=10 * np.finfo(dtype).eps)
    for w, g, added, dw in zip(ws, gs, add, outputs, strict=True):
        slope = 0.5 * np.sign(w) + 0.5 * w
        np.testing.assert_allclose(dw, slope + g if added else slope, rtol=1e-5, atol=10 * np.finfo(dtype).eps)


def test_axes_may_lie_in_any_order(dtype, isa, rng):
    """Groups along every axis of every layout are those of a copy in C order."""
    for shape in [(4, 3, 5, 2), (130, 3), (1, 7), (7, 1), (3, 1, 1, 70)]:
        x = rng.standard_normal(shape).astype(dtype)
        for axes in {(0, 2, 3, 1)[: len(shape)] if len(shape) == 4 else (1, 0), tuple(range(len(shape)))[::-1]}:
            w = x.transpose(axes).copy().transpose(np.argsort(axes))
            assert (w == x).all()
            for dim in range(len(shape)):
                norms, y = np.empty(shape[dim]), np.empty((), dtype)
                kernels.group_penalty(y, norms, [w], np.array([2.0]), dim)
                exact = norms_of(x, dim)
                np.testing.assert_allclose(norms, exact.reshape(-1), rtol=10 * np.finfo(dtype).eps)
                np.testing.assert_allclose(y, 2 * exact.sum(), rtol=10 * np.finfo(dtype).eps)
                dw = np.ones_like(w)
                kernels.group_penalty_backward([dw], norms, [w], np.ones(1, np.uint8), np.array([2.0]), dim)
                np.testing.assert_allclose(dw, 1 + 2 * x / exact, rtol=1e-5, atol=10 * np.finfo(dtype).eps)


def test_a_group_of_zeros_has_no_gradient(dtype, isa):
    w = np.zeros((3, 40), dtype)
    w[1] = 2
    for x, dim in ((w, 0), (w.T.copy(), 1)):
        norms, dw = np.empty(3), np.empty_like(x)
        kernels.group_penalty(np.empty((), dtype), norms, [x], np.ones(1), dim)
        kernels.group_penalty_backward([dw], norms, [x], np.zeros(1, np.uint8), np.ones(1), dim)
        expected = (w / norms[1]).T if dim else w / norms[1]
        np.testing.assert_allclose(dw, expected, rtol=1e-6)


def test_what_does_not_count_does_no_harm(dtype, isa):
    """Infinite weights where only sizes count have a slope, and NaN stays where it is."""
    w = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan, 1] * 5, dtype)
    dw = np.zeros_like(w)
    kernels.elastic_penalty_backward([dw], [w], np.zeros(1, np.uint8), 0.5, 0)
    np.testing.assert_array_equal(dw, np.array([0.5, -0.5, 0, 0, np.nan, 0.5] * 5, dtype))
    kernels.elastic_penalty_backward([dw], [w], np.zeros(1, np.uint8), 0, 0.5)
    np.testing.assert_array_equal(dw, w)
    assert kernels.elastic_penalty(np.empty((), dtype), [w[:4]], 0, 0) == 0
    assert kernels.elastic_penalty(np.empty((), dtype), [w[:4]], 0, 1) == np.inf
    assert np.isnan(kernels.elastic_penalty(np.empty((), dtype), [w], 1, 0))


def test_bad_arguments():
    w, y, add = np.ones((2, 3), np.float32), np.empty((), np.float32), np.zeros(1, np.uint8)
    norms, factors = np.empty(2), np.ones(1)
    with pytest.raises(TypeError, match="arrays' type"):
        kernels.elastic_penalty(np.empty(()), [w], 1, 1)
    with pytest.raises(ValueError, match="single number"):
        kernels.elastic_penalty(np.empty(2, np.float32), [w], 1, 1)
    with pytest.raises(ValueError, match="overlaps"):
        kernels.elastic_penalty(w[0, :1], [w], 1, 1)
    with pytest.raises(ValueError, match="overlaps"):
        kernels.elastic_penalty_backward([w], [w], add, 1, 1)
    with pytest.raises(ValueError, match="expected a flag for each of 1 arrays"):
        kernels.elastic_penalty_backward([w.copy()], [w], np.zeros(2, np.uint8), 1, 1)
    for dim in (-1, 2):
        with pytest.raises(ValueError, match="expected an axis of float32"):
            kernels.group_penalty(y, norms, [w], factors, dim)
    with pytest.raises(ValueError, match=r"expected float64\[2\], got float64\[3\]"):
        kernels.group_penalty(y, np.empty(3), [w], factors, 0)
    with pytest.raises(ValueError, match=r"expected float64\[1\], got float64\[2\]"):
        kernels.group_penalty(y, norms, [w], np.ones(2), 0)
    with pytest.raises(ValueError, match="overlaps"):
        kernels.group_penalty(y, norms, [w], norms[:1], 0)
    assert kernels.elastic_penalty(y, [], 1, 1) == 0
    assert kernels.group_penalty(y, np.empty(0), [], np.empty(0), 0) == 0


def test_squares_are_of_any_size(isa):
    """In double: those of very large and very small weights are no infinity and not 0."""
    for size in (1e25, 1e-30):
        w = np.full((3, 40), size, np.float32)
        for x, dim in ((w, 0), (w.T.copy(), 1)):
            norms, y, dw = np.empty(3), np.empty((), np.float32), np.empty_like(x)
            kernels.group_penalty(y, norms, [x], np.ones(1), dim)
            np.testing.assert_allclose(norms, size * 40**0.5, rtol=1e-6)
            np.testing.assert_allclose(y, 3 * size * 40**0.5, rtol=1e-6)
            kernels.group_penalty_backward([dw], norms, [x], np.zeros(1, np.uint8), np.ones(1), dim)
            np.testing.assert_allclose(dw, 40**-0.5, rtol=1e-6)
        squares = kernels.elastic_penalty(np.empty((), np.float32), [w], 0, 1e-20)
        np.testing.assert_allclose(squares, np.float32(120 * size**2 * 1e-20), rtol=1e-6)

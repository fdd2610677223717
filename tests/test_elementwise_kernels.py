"""Elementwise kernels on operands that are strided, repeated, or both, in rows longer and shorter than a chunk."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from batten import _kernels as kernels
from cases import activation, elementwise
from trials import trials

# Rows of several pieces and a part of a chunk, rows of one element, and many axes.
SHAPES = [(3, 5001), (5001, 3), (2, 1, 4099), (7, 3, 2, 5, 11), (1025,), ()]


def reversed_axes(x):
    """The same numbers, the other way round in memory."""
    return x.T.copy().T


def every_other(x):
    return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x


def backward(x):
    return x[..., ::-1].copy()[..., ::-1] if x.ndim else x


def repeated_first(x):
    return x[:1] if x.ndim else x


def repeated_last(x):
    return x[..., :1] if x.ndim else x


def one(x):
    return x.reshape(-1)[:1].reshape(())


LAYOUTS = [np.asarray, reversed_axes, every_other, backward, repeated_first, repeated_last, one]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_two_operands(rng, dtype, isa, shape):
    x, y = [np.asarray(rng.standard_normal(shape), dtype) for _ in range(2)]
    for of_x, of_y, of_z in itertools.product(LAYOUTS, LAYOUTS, LAYOUTS[:4]):
        a, b, z = of_x(x), of_y(y), of_z(np.zeros(shape, dtype))
        kernels.sub(z, a, b)
        np.testing.assert_array_equal(z, np.broadcast_to(a - b, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_four_operands_and_their_sum(rng, dtype, isa, shape):
    x, t, w = [np.asarray(rng.integers(-8, 9, shape), dtype) for _ in range(3)]  # so small that sums are exact
    for of_x, of_t, of_w in itertools.product(LAYOUTS[:5], LAYOUTS[:5], LAYOUTS):
        a, b, c = np.broadcast_to(of_x(x), shape), of_t(t), of_w(w)
        expected = np.broadcast_to(c * (a - b) ** 2, shape)
        np.testing.assert_array_equal(kernels.mse_loss(np.zeros(shape, dtype), a, b, c, None), expected)
        total = kernels.mse_loss_sum(np.zeros((), dtype), a, b, c, None, 0, 0.5)
        np.testing.assert_array_equal(total, (0.5 * expected.sum(dtype=np.float64)).astype(dtype))
    losses = kernels.mse_loss(np.zeros(shape, dtype), x, t)  # without weights
    np.testing.assert_array_equal(losses, (x - t) ** 2)


def test_in_place(rng, dtype, isa):
    for layout in LAYOUTS[:4]:
        x, y = [layout(a) for a in rng.standard_normal((2, 37, 3001)).astype(dtype)]
        expected = x - y
        kernels.sub(x, x, y)
        np.testing.assert_array_equal(x, expected)
        np.testing.assert_array_equal(kernels.neg(x, x), -expected)


def test_a_repeated_operand_that_changes_from_row_to_row(dtype, isa):
    """The buffer that holds it must not be taken for that of the row before."""
    column = np.arange(700, dtype=dtype)[:, None]
    row = np.arange(13, dtype=dtype)
    np.testing.assert_array_equal(kernels.add(np.zeros((700, 13), dtype), column, row), column + row)
    wide = np.zeros((700, 2049), dtype)
    np.testing.assert_array_equal(kernels.mul(wide, column, np.ones(2049, dtype)), column + np.zeros(2049, dtype))


@trials("name", sorted(elementwise.CASES | activation.CASES))
def test_the_bits_of_an_element_do_not_depend_on_its_place(name, rng, dtype, isa):
    """Left-over elements are filled up to a vector; what is cut off before or behind them changes nothing."""
    case = (elementwise.CASES | activation.CASES)[name](rng, dtype, "odd")
    arrays = [a for a in case.arguments if isinstance(a, np.ndarray)]
    scalars = [a for a in case.arguments if not isinstance(a, np.ndarray)]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    flat = [np.broadcast_to(a, shape).flatten() for a in arrays]
    case.function(*flat, *scalars, **case.options)
    for begin, end in [(0, n) for n in (1, 2, 3, 5, 9, 15, 31, 63)] + [(k, flat[0].size) for k in (1, 2, 7, 16, 100)]:
        part = [a[begin:end].copy() for a in flat]
        part[0][...] = 0
        case.function(*part, *scalars, **case.options)
        assert part[0].tobytes() == flat[0][begin:end].tobytes(), (begin, end)

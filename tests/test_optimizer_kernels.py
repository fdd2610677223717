"""The optimizers' kernels: their loops for options, many tensors in one call, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases import SIZES
from cases.optimizer import VARIANTS

pytestmark = pytest.mark.kernels


def test_overlapping_parameters_are_refused_and_nothing_is_written():
    """In the pool's memory and in NumPy's, and where each array has a block, but one shows memory of another's."""
    for make in (np.empty, kernels.empty):
        w, g = (make((10,), np.dtype("float32")) for _ in range(2))
        w.fill(1)
        g.fill(1)
        shown = np.frombuffer(memoryview(w), w.dtype)
        for params, grads in (
            ([w, w], [g, g]),
            ([w[:6], w[4:]], [g[:6], g[4:]]),
            ([w[1:], w], [g[1:], g]),
            ([w], [w]),
            ([w], [w[:]]),
            ([w[1:][1:]], [w[1:][:8]]),
            ([w, shown], [g, g]),
            ([w], [shown]),
        ):
            for _ in range(2):
                with pytest.raises(ValueError, match="overlap"):
                    kernels.sgd(params, grads, None, None, 0.1)
        assert (w == 1).all()
        kernels.sgd([w[:5], w[5:]], [g[:5], g[5:]], None, None, 0.5)
        assert (w == 0.5).all()


def test_lists_must_go_together():
    w = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="expected 1 arrays in each list, got 0"):
        kernels.sgd([w], [], None, None, 0.1)
    with pytest.raises(TypeError, match="one type"):
        kernels.sgd([w, w.astype(np.float64)], [w + 1, w.astype(np.float64) + 1], None, None, 0.1)
    with pytest.raises(ValueError, match="one shape"):
        kernels.sgd([w], [np.ones(4, np.float32)], None, None, 0.1)
    for params, grads in (([None], [w]), ([w], [None]), ([w], [3]), ([[1.0]], [w])):
        with pytest.raises(TypeError):
            kernels.sgd(params, grads, None, None, 0.1)
    kernels.sgd([], [], None, None, 0.1)


def test_gradients_may_be_shared_and_axes_in_any_order():
    g = np.ones((3, 4), np.float32)
    a, b = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    kernels.sgd([a, b], [g, g], None, None, 0.5)
    assert (a == -0.5).all() and (b == -0.5).all()
    kernels.sgd([a.T], [g.T], None, None, 0.5)
    assert (a == -1).all()
    with pytest.raises(ValueError, match="expected a flag for each of 2 parameters, got uint8"):
        kernels.sgd([a, b], [g, g], None, np.zeros(3, np.uint8), 0.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_loops_of_options_against_numpy(variant, dtype, isa, rng):
    for size in SIZES:
        VARIANTS[variant](rng, dtype, size).check(dtype)


# A step of each optimizer, of weights, gradients, two states and a count.
STEPS = (
    lambda w, g, a, b, t: kernels.sgd(w, g, None, None, 0.1),
    lambda w, g, a, b, t: kernels.sgd(w, g, a, None, 0.1, 0.9),
    lambda w, g, a, b, t: kernels.nesterov(w, g, a, 0.1, 0.9),
    lambda w, g, a, b, t: kernels.adam(w, g, a, b, None, t, 0.1, 0.9, 0.99, 1e-8, weight_decay=0.5, decoupled=True),
    lambda w, g, a, b, t: kernels.nadam(w, g, a, b, [np.ones_like(t[0])], t, 0.1, 0.9, 0.99, 1e-8, 4e-3),
    lambda w, g, a, b, t: kernels.radam(w, g, a, b, t, 0.1, 0.9, 0.99, 1e-8),
    lambda w, g, a, b, t: kernels.adamax(w, g, a, b, t, 0.1, 0.9, 0.99, 1e-8),
    lambda w, g, a, b, t: kernels.rmsprop(w, g, a, None, b, t, 0.1, 0.9, 1e-8),
    lambda w, g, a, b, t: kernels.adagrad(w, g, a, t, 0.1, 0, 1e-8),
    lambda w, g, a, b, t: kernels.adadelta(w, g, a, b, t, 1.0, 0.9, 1e-6),
)


def test_together_and_alone_are_the_same(dtype, isa, rng, threads):
    """Tensors about as long as lines and blocks, empty ones among them, on two threads and each by itself."""
    sizes = [0, 1, 63, 64, 65, 0, 4095, 4096, 4097, 0, 3, 8191, 9000, *[7] * 700, 20_000, 0]

    def draw():
        return [rng.standard_normal(n).astype(dtype) for n in sizes]

    params, grads, means, squares = draw(), draw(), draw(), [x * x for x in draw()]
    counts = [np.array(k % 3, np.float32) for k in range(len(sizes))]
    written = [params, means, squares, counts]
    alone = [[x.copy() for x in arrays] for arrays in written]

    def adam(w, m, v, t, g):
        kernels.adam(w, g, m, v, None, t, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8)

    threads(2)
    adam(*written, grads)
    threads(1)
    for *each, g in zip(*alone, grads, strict=True):
        adam(*([x] for x in each), [g])
    for together, by_itself in zip(written, alone, strict=True):
        assert [x.tobytes() for x in together] == [x.tobytes() for x in by_itself]


def test_the_bits_of_an_element_do_not_depend_on_its_place(dtype, isa, rng):
    """Left-over elements are filled up to a vector; what is cut off before or behind them changes nothing."""
    size = 2 * 67

    def steps(part):
        """What three steps of each optimizer make of a part of the numbers."""
        made = []
        for call in STEPS:
            w, a, b = (x[part].copy() for x in (weights, firsts, squares))
            count = np.array(2, np.float32)
            for _ in range(3):
                call([w], [grads[part].copy()], [a], [b], [count])
            made += [w, a, b]
        return np.array(made)

    weights, grads, firsts = (rng.standard_normal(size).astype(dtype) for _ in range(3))
    squares = firsts**2
    whole = steps(slice(0, size))
    for part in [slice(0, n) for n in (1, 2, 3, 5, 15, 17, 31, 67)] + [slice(k, size) for k in (1, 3, 8, 13, 66, 133)]:
        assert steps(part).tobytes() == np.ascontiguousarray(whole[:, part]).tobytes(), part


def test_an_infinite_weight_stays_without_weight_decay(dtype, isa):
    """As in PyTorch: 0 times it is not added to the gradient."""
    for call in STEPS:
        w, count = np.array([-np.inf, 1, np.inf] * 11, dtype), np.zeros((), np.float32)
        states = [np.zeros_like(w) for _ in range(2)]
        call([w], [np.ones_like(w)], [states[0]], [states[1]], [count])
        assert np.isneginf(w[::3]).all() and np.isposinf(w[2::3]).all() and np.isfinite(w[1::3]).all()
        assert np.isfinite(states).all()


def test_a_variance_that_rounding_makes_negative_counts_as_none(dtype, isa, rng):
    """Of equal gradients the mean square is the square of the mean, whose difference PyTorch may find less than 0."""
    g = rng.standard_normal(1000).astype(dtype)
    w, v, m = np.zeros_like(g), g * g * (1 - 4 * np.finfo(dtype).eps), g.copy()
    kernels.rmsprop([w], [g], [v], None, [m], [np.zeros((), np.float32)], 0.01, 0.99, 1e-2)
    np.testing.assert_allclose(w, -g, rtol=1e-3 if dtype == np.float64 else 0.5)
    nan = np.full(3, np.nan, dtype)
    w, v, m = (np.ones(3, dtype) for _ in range(3))
    kernels.rmsprop([w], [nan], [v], None, [m], [np.zeros((), np.float32)], 0.01, 0.99, 1e-2)
    assert np.isnan(w).all()

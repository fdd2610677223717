"""PReLU, whose slopes are learnt, and RReLU, whose slopes are drawn."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import assert_close, assert_like_torch

# The shapes of input and weight.
SHAPES = [
    ((), ()),
    ((), (1,)),
    ((5,), (1,)),
    ((2, 3), ()),
    ((2, 3), (1,)),
    ((2, 3), (3,)),
    ((2, 3, 4), (3,)),
    ((2, 3, 4, 5), (3,)),
    ((67, 35), (35,)),
    ((2, 1), (1,)),
    ((0, 3), (3,)),
    ((2, 3, 0), (3,)),
    ((2, 0), (0,)),
]
each_shape = pytest.mark.parametrize(("shape", "weights"), SHAPES, ids=str)


def operands(rng, shape, weights, dtype):
    x = np.asarray(rng.standard_normal(shape), dtype)
    if x.size > 4:
        x.flat[:3] = 0, -0.0, np.inf  # at nought the slope is that below
    return x, np.asarray(rng.uniform(-1, 1, weights), dtype)


@each_shape
def test_prelu_is_its_definition(rng, dtype, shape, weights):
    x, w = operands(rng, shape, weights, dtype)
    slopes = w.reshape(-1, *[1] * (x.ndim - 2)) if w.size != 1 else w.reshape(())
    y = F.prelu(batten.tensor(x), batten.tensor(w))
    assert y.dtype == dtype
    assert_array_equal(y.numpy(), np.where(x > 0, x, slopes * x))


@each_shape
def test_prelu_is_torchs(rng, dtype, shape, weights):
    torch = pytest.importorskip("torch")
    x, w = operands(rng, shape, weights, dtype)
    # The gradient of the weight is a sum of up to 2345 terms.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {}
    assert_like_torch(F.prelu, torch.nn.functional.prelu, x, w, **tolerance)


def test_prelu_of_another_layout(rng, dtype):
    x, w = operands(rng, (4, 3, 5), (3,), dtype)
    plain = [batten.tensor(a, requires_grad=True) for a in (x, w)]
    F.prelu(*plain).square()[1:].sum().backward()
    memory = batten.tensor(np.ascontiguousarray(x.transpose(0, 2, 1)), requires_grad=True)
    wide = batten.tensor(np.repeat(w, 2), requires_grad=True)
    F.prelu(memory.permute(0, 2, 1), wide[::2]).square()[1:].sum().backward()
    assert_close(memory.grad.permute(0, 2, 1), plain[0].grad)
    assert_close(wide.grad[::2], plain[1].grad)


def test_prelu_has_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x, w = [rng.standard_normal(s).astype(dtype) for s in ((50, 37, 41), 37)]
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaves = [batten.tensor(a, requires_grad=True) for a in (x, w)]
        y = F.prelu(*leaves)
        y.square().sum().backward()
        found.add((y.detach().numpy().tobytes(), *[leaf.grad.numpy().tobytes() for leaf in leaves]))
    assert len(found) == 1


@pytest.mark.parametrize("arguments", [(), (3,), (3, 0.1)], ids=str)
def test_the_module_is_torchs(rng, dtype, arguments):
    torch = pytest.importorskip("torch")
    ours = nn.PReLU(*arguments, dtype=dtype)
    theirs = torch.nn.PReLU(*arguments, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    assert_like_torch(ours, theirs, rng.standard_normal((5, 3, 2)).astype(dtype))
    assert_close(ours.weight.grad, theirs.weight.grad)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert twin.weight.tolist() == ours.weight.tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.PReLU(3)(batten.ones(2, 4)),
            ValueError,
            r"a weight \[1\] or \[4\] for an input \[2, 4\], got \[3\]",
        ),
        (lambda: nn.PReLU(3)(batten.ones(3)), ValueError, r"a weight \[1\] or \[1\] for an input \[3\], got \[3\]"),
        (lambda: F.prelu(batten.ones(2, 3), batten.ones(1, 3)), ValueError, r"got \[1, 3\]"),
        (
            lambda: nn.PReLU()(batten.ones(2).double()),
            TypeError,
            "its weight in the input's type, float64, got float32",
        ),
        (lambda: nn.PReLU()(batten.ones(2).long()), TypeError, "prelu expects floats, got int64"),
        (lambda: F.rrelu(batten.ones(2), 0.5, 0.2), ValueError, "lower <= upper, got 0.5 and 0.2"),
        (lambda: F.rrelu(batten.ones(2), -math.inf, 0.2), ValueError, "got -inf and 0.2"),
        (lambda: F.rrelu(batten.ones(2), 0.1, math.nan, training=True), ValueError, "got 0.1 and nan"),
        (lambda: F.rrelu(batten.ones(2).long(), training=True), TypeError, "rrelu expects floats, got int64"),
        (lambda: F.rrelu(batten.ones(2).long()), TypeError, "expects floats, got int64"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- RReLU ----


def test_slopes_are_drawn_from_their_range(dtype):
    batten.manual_seed(0)
    n = 100_000
    slopes = -F.rrelu(-batten.ones(n, dtype=dtype), 0.2, 0.7, training=True).numpy()
    assert slopes.min() >= 0.2
    assert slopes.max() < 0.7
    assert abs(slopes.mean() - 0.45) < 4 * 0.5 / math.sqrt(12 * n)
    assert abs(slopes.var() / (0.25 / 12) - 1) < 4 * math.sqrt(0.8 / n)
    assert_array_equal(F.rrelu(batten.ones(5, dtype=dtype), training=True).numpy(), np.ones(5))


def test_it_goes_backward_by_the_slopes_it_went_forward_by(rng, dtype):
    for view in (lambda x: x, lambda x: x.T, lambda x: x[:, ::2]):
        x = batten.tensor(rng.standard_normal((7, 9)).astype(dtype), requires_grad=True)
        seen = view(x)
        y = F.rrelu(seen, 0.1, 0.9, training=True)
        dy = rng.standard_normal(y.shape).astype(dtype)
        y.backward(batten.tensor(dy))
        slopes = y.detach().numpy() / seen.detach().numpy()
        assert_allclose(view(x.grad).numpy(), dy * slopes, rtol=1e-5)


def test_evaluation_is_torchs(rng, dtype):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((5, 7)).astype(dtype)
    for arguments in ((), (0.1, 0.3), (0.2, 0.2)):
        ours, theirs = nn.RReLU(*arguments).eval(), torch.nn.RReLU(*arguments).eval()
        assert repr(ours) == repr(theirs)
        assert_like_torch(ours, theirs, x)
    assert repr(nn.RReLU(inplace=True)) == repr(torch.nn.RReLU(inplace=True))
    for lower in (0.2, -0.5):  # a range of one number leaves nothing to chance
        assert_like_torch(
            lambda x, a=lower: F.rrelu(x, a, a, training=True),
            lambda x, a=lower: torch.nn.functional.rrelu(x, a, a, training=True),
            x,
        )


def test_the_same_seed_has_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x = rng.standard_normal((300, 301)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        batten.manual_seed(11)
        leaf = batten.tensor(x, requires_grad=True)
        first, second = F.rrelu(leaf, training=True), nn.RReLU()(leaf)
        (first + second).square().sum().backward()
        found.add((first.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
        assert first.tolist() != second.tolist()
    assert len(found) == 1


def test_in_place(rng):
    x = batten.tensor(rng.standard_normal((5, 7)), requires_grad=True)
    batten.manual_seed(2)
    expected = F.rrelu(x, training=True)
    expected.sum().backward()
    gradient = x.grad.tolist()
    for function in (nn.RReLU(inplace=True), lambda x: F.rrelu_(x, training=True)):
        x.grad = None
        batten.manual_seed(2)
        before = x * 1
        assert function(before) is before
        assert before.tolist() == expected.tolist()
        before.sum().backward()
        assert x.grad.tolist() == gradient
    state = batten.get_rng_state().tolist()
    with pytest.raises(RuntimeError, match="leaf"):
        F.rrelu(x, training=True, inplace=True)
    with pytest.raises(ValueError, match="lower <= upper"):
        F.rrelu(x, 1, 0, training=True)
    assert batten.get_rng_state().tolist() == state
    evaluated = x.detach().clone()
    assert F.rrelu(evaluated, inplace=True) is evaluated
    assert batten.get_rng_state().tolist() == state

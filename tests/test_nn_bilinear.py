"""Bilinear: against its formula, beside PyTorch, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import assert_close, assert_like_torch

# Leading axes, and the three numbers of features.
SHAPES = [
    ((4,), 3, 2, 5),
    ((), 3, 2, 5),
    ((1,), 1, 1, 1),
    ((2, 3), 4, 5, 1),
    ((0,), 3, 2, 5),
    ((2, 0), 3, 2, 5),
    ((33,), 17, 19, 7),
    ((4,), 3, 2, 0),
]


def operands(rng, leading, in1, in2, out, dtype):
    """x1, x2, weight and bias, such that results are about one."""
    shapes = [(*leading, in1), (*leading, in2), (out, in1, in2), (out,)]
    return [np.asarray(rng.standard_normal(s) / math.sqrt(s[-1] or 1), dtype) for s in shapes]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_its_definition(rng, dtype, shape):
    x1, x2, w, b = operands(rng, *shape, dtype)
    expected = np.einsum("...i,oij,...j->...o", *[a.astype(np.float64) for a in (x1, w, x2)])
    assert_close(F.bilinear(*[batten.tensor(a) for a in (x1, x2, w)]), expected.astype(dtype))
    assert_close(F.bilinear(*[batten.tensor(a) for a in (x1, x2, w, b)]), (expected + b).astype(dtype))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_torchs(rng, dtype, shape):
    torch = pytest.importorskip("torch")
    arrays = operands(rng, *shape, dtype)
    assert_like_torch(F.bilinear, torch.nn.functional.bilinear, *arrays)
    assert_like_torch(F.bilinear, torch.nn.functional.bilinear, *arrays[:3])


def test_strided_operands(rng, dtype):
    x1, x2, w, _ = operands(rng, (6,), 3, 4, 5, dtype)
    expected = F.bilinear(*[batten.tensor(a) for a in (x1, x2, w)])
    moved = batten.tensor(np.ascontiguousarray(w.transpose(2, 0, 1))).permute(1, 2, 0)
    y = F.bilinear(batten.tensor(np.ascontiguousarray(x1.T)).T, batten.tensor(np.repeat(x2, 2, axis=1))[:, ::2], moved)
    assert_close(y, expected)


def test_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    arrays = operands(rng, (130,), 33, 41, 9, dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaves = [batten.tensor(a, requires_grad=True) for a in arrays]
        y = F.bilinear(*leaves)
        y.square().sum().backward()
        found.add((y.detach().numpy().tobytes(), *[leaf.grad.numpy().tobytes() for leaf in leaves]))
    assert len(found) == 1


def test_gradients_of_some(rng):
    arrays = operands(rng, (4,), 3, 2, 5, np.float64)
    leaves = [batten.tensor(a, requires_grad=True) for a in arrays]
    F.bilinear(*leaves).square().sum().backward()
    for wanted in range(4):
        some = [batten.tensor(a, requires_grad=i == wanted) for i, a in enumerate(arrays)]
        F.bilinear(*some).square().sum().backward()
        for i, (x, full) in enumerate(zip(some, leaves, strict=True)):
            assert (x.grad is None) == (i != wanted)
            assert x.grad is None or x.grad.tolist() == full.grad.tolist()


@pytest.mark.parametrize("settings", [{}, {"bias": False}], ids=str)
def test_the_module_is_torchs(rng, dtype, settings):
    torch = pytest.importorskip("torch")
    ours = nn.Bilinear(3, 4, 5, **settings, dtype=dtype)
    theirs = torch.nn.Bilinear(3, 4, 5, **settings, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x1, x2, _, _ = operands(rng, (2, 6), 3, 4, 5, dtype)
    assert_like_torch(ours, theirs, x1, x2)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad)


def test_parameters_start_within_their_bound():
    batten.manual_seed(0)
    layer = nn.Bilinear(25, 30, 40)
    for parameter in layer.parameters():
        assert 0.18 < abs(parameter.detach().numpy()).max() <= 0.2
    assert abs(layer.weight.detach().numpy().var() / (0.04 / 3) - 1) < 0.03
    first = layer.weight.tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() != first


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda f: f(batten.ones(2, 3), batten.ones(2, 3)),
            ValueError,
            r"\(\*, 3\) and \(\*, 4\), got \[2, 3\] and \[2, 3\]",
        ),
        (lambda f: f(batten.ones(2, 3), batten.ones(3, 4)), ValueError, r"got \[2, 3\] and \[3, 4\]"),
        (lambda f: f(batten.ones(3), batten.ones(1, 4)), ValueError, r"got \[3\] and \[1, 4\]"),
        (lambda f: f(batten.ones(()), batten.ones(4)), ValueError, r"got \[\] and \[4\]"),
        (lambda f: f(batten.ones(3), batten.ones(4).long()), TypeError, "Bilinear expects floats, got int64"),
        (
            lambda f: f(batten.ones(3), batten.ones(4).double()),
            TypeError,
            "its second input in the input's type, float32",
        ),
        (
            lambda f: f(batten.ones(3).double(), batten.ones(4).double()),
            TypeError,
            "its weight in the input's type, float64",
        ),
        (
            lambda f: F.bilinear(batten.ones(3), batten.ones(4), batten.ones(3, 4)),
            ValueError,
            r"a weight \(out, in1, in2\), got \[3, 4\]",
        ),
        (
            lambda f: F.bilinear(batten.ones(3), batten.ones(4), f.weight, batten.ones(1)),
            ValueError,
            r"a bias \[5\], got \[1\]",
        ),
        (lambda f: nn.Bilinear(0, 2, 3), ValueError, "in1_features > 0, got 0"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.Bilinear(3, 4, 5))

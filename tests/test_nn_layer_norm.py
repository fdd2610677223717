"""Layer normalization: against its formula, beside PyTorch, where float32 is scarce, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import TOLERANCE, assert_close, assert_like_torch

# The input's shape, and how many of its last axes are normalized.
SHAPES = [
    ((5, 3), 1),
    ((3,), 1),
    ((4, 2, 3), 1),
    ((4, 2, 3), 2),
    ((4, 2, 3), 3),
    ((7, 1), 1),
    ((67, 35), 1),
    ((2, 2049), 1),
    ((3, 4099), 1),  # more than are summed in one go
    ((2, 7, 10_000), 2),  # and more than memory is asked for at once
    ((0, 3), 1),
    ((2, 0), 1),
    ((2, 3, 0), 2),
]
each_shape = pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)


def operands(rng, shape, axes, dtype):
    """x, weight and bias."""
    row = shape[len(shape) - axes :]
    return [
        np.asarray(a, dtype)
        for a in (3 * rng.standard_normal(shape) + 2, rng.standard_normal(row), rng.standard_normal(row))
    ]


def normalized(x, axes, eps=1e-5):
    """The definition, in a type in which NumPy's own sums are exact enough."""
    x = x.astype(np.longdouble)
    last = tuple(range(x.ndim - axes, x.ndim))
    return (x - x.mean(last, keepdims=True)) / np.sqrt(x.var(last, keepdims=True) + eps)


@each_shape
@pytest.mark.filterwarnings("ignore:(Mean of empty slice|invalid value|Degrees of freedom)")
def test_it_is_its_definition(rng, dtype, isa, shape, axes):
    x, w, b = operands(rng, shape, axes, dtype)
    y = F.layer_norm(batten.tensor(x), shape[len(shape) - axes :], batten.tensor(w), batten.tensor(b), 0.01)
    assert y.dtype == dtype
    assert_allclose(y.numpy(), normalized(x, axes, 0.01) * w + b, **TOLERANCE[dtype])


@each_shape
@pytest.mark.parametrize("parameters", ["", "w", "b", "wb"])
def test_it_is_torchs(rng, dtype, shape, axes, parameters):
    torch = pytest.importorskip("torch")
    x, w, b = operands(rng, shape, axes, dtype)
    if shape == (7, 1):  # of a single element nothing is left but what was rounded, times 300
        x, w, b = [np.round(a) for a in (x, w, b)]
    row = shape[len(shape) - axes :]

    def call(function):
        return lambda x, *given: function(
            x, row, **dict(zip([{"w": "weight", "b": "bias"}[p] for p in parameters], given, strict=True))
        )

    given = [{"w": w, "b": b}[p] for p in parameters]
    # The gradient of a row of thousands is a difference of sums of as many terms.
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {}
    assert_like_torch(call(F.layer_norm), call(torch.nn.functional.layer_norm), x, *given, **tolerance)


def far_from_nought(rng):
    """Mean 10,000 and deviation 0.1, in float32: its steps are 0.001 there."""
    return (1e4 + 0.1 * rng.standard_normal((30, 1000))).astype(np.float32)


def test_statistics_do_not_cancel(rng, isa):
    x = far_from_nought(rng)
    assert_allclose(F.layer_norm(batten.tensor(x), (1000,)).numpy(), normalized(x, 1), rtol=1e-5, atol=1e-5)
    x[:, 0] = -1e4  # nor does it matter what stands first
    assert_allclose(F.layer_norm(batten.tensor(x), (1000,)).numpy(), normalized(x, 1), rtol=1e-5, atol=1e-5)


def test_gradients_do_not_cancel(rng, isa):
    x, dy = far_from_nought(rng), rng.standard_normal((30, 1000)).astype(np.float32)
    leaf = batten.tensor(x, requires_grad=True)
    weight, bias = batten.ones(1000, requires_grad=True), batten.zeros(1000, requires_grad=True)
    F.layer_norm(leaf, (1000,), weight, bias).backward(batten.tensor(dy))
    xhat, dy = normalized(x, 1), dy.astype(np.longdouble)
    rstd = 1 / np.sqrt(x.astype(np.longdouble).var(1, keepdims=True) + 1e-5)
    dx = rstd * (dy - dy.mean(1, keepdims=True) - xhat * (dy * xhat).mean(1, keepdims=True))
    assert_allclose(leaf.grad.numpy(), dx, rtol=1e-4, atol=1e-4)
    assert_allclose(weight.grad.numpy(), (dy * xhat).sum(0), rtol=1e-4, atol=1e-4)
    assert_allclose(bias.grad.numpy(), dy.sum(0), rtol=1e-5, atol=1e-5)


def test_a_constant_row_becomes_the_bias(dtype):
    x = batten.full((3, 300), 0.1, dtype=dtype)
    bias = batten.tensor(np.arange(300), dtype=dtype)
    assert_array_equal(F.layer_norm(x, (300,), None, bias).numpy(), np.broadcast_to(bias.numpy(), (3, 300)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(rng, dtype, bad):
    x = rng.standard_normal((40, 35)).astype(dtype)
    clean = F.layer_norm(batten.tensor(x), (35,)).numpy()
    x[7, 3] = bad
    spoiled = F.layer_norm(batten.tensor(x), (35,)).numpy()
    others = np.arange(40) != 7
    assert_array_equal(spoiled[others], clean[others])
    assert np.isnan(spoiled[7]).all()


def test_layout_does_not_matter(rng, dtype):
    x, w, b = operands(rng, (6, 4, 5), 2, dtype)
    results = []
    for memory, seen in ((x, (0, 1, 2)), (x.transpose(2, 0, 1), (1, 2, 0))):
        leaf = batten.tensor(np.ascontiguousarray(memory), requires_grad=True)
        weight = batten.tensor(np.repeat(w, 2, axis=1))[:, ::2]
        y = F.layer_norm(leaf.permute(*seen), (4, 5), weight, batten.tensor(b))
        (y * y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.permute(*seen).numpy()))
    for straight, moved in zip(*results, strict=True):
        assert_array_equal(straight, moved)


def test_gradients_of_parameters_only(rng):
    x, w, b = [batten.tensor(a, requires_grad=True) for a in operands(rng, (5, 3), 1, np.float64)]
    F.layer_norm(x, (3,), w, b).square().sum().backward()
    expected = w.grad.tolist(), b.grad.tolist()
    for wanted in ((w, b), (w,), (b,)):
        for parameter in (w, b):
            parameter.grad = None
            parameter.requires_grad_(any(parameter is p for p in wanted))
        F.layer_norm(x.detach(), (3,), w, b).square().sum().backward()
        for parameter, gradient in zip((w, b), expected, strict=True):
            assert (parameter.grad is None) == (not parameter.requires_grad)
            assert parameter.grad is None or parameter.grad.tolist() == gradient


def test_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x, w, b = operands(rng, (300, 301), 1, dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaves = [batten.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = F.layer_norm(leaves[0], (301,), *leaves[1:])
        (y * y).sum().backward()
        found.add((y.detach().numpy().tobytes(), *[leaf.grad.numpy().tobytes() for leaf in leaves]))
    assert len(found) == 1


MODULES = [
    ((3,), {}),
    (((2, 3),), {}),
    (([4, 2, 3],), {"eps": 0.1}),
    ((3, 0.2, True, False), {}),
    ((3,), {"elementwise_affine": False}),
    ((3,), {"elementwise_affine": False, "bias": False}),
]


@pytest.mark.parametrize(("arguments", "settings"), MODULES, ids=str)
def test_modules_are_torchs(rng, dtype, arguments, settings):
    torch = pytest.importorskip("torch")
    ours = nn.LayerNorm(*arguments, **settings, dtype=dtype)
    theirs = torch.nn.LayerNorm(*arguments, **settings, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.copy_(torch.tensor(rng.standard_normal(tuple(q.shape)).astype(dtype)))
            p.data = batten.tensor(q.numpy())
    for mode in (True, False):
        assert_like_torch(ours.train(mode), theirs.train(mode), rng.standard_normal((4, 2, 3)).astype(dtype))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        x = batten.tensor(rng.standard_normal((4, 2, 3)).astype(dtype))
        assert repr(twin) == repr(ours)
        assert twin(x).tolist() == ours(x).tolist()
    ours.reset_parameters()
    assert all((p == (1 if name == "weight" else 0)).all().item() for name, p in ours.named_parameters())


X = batten.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LayerNorm(5)(X), ValueError, r"^LayerNorm expects \(\*, 5\), got \[4, 3\]$"),
        (lambda: nn.LayerNorm((2, 3))(X), ValueError, r"^LayerNorm expects \(\*, 2, 3\), got \[4, 3\]$"),
        (lambda: nn.LayerNorm((1, 4, 3))(X), ValueError, r"\(\*, 1, 4, 3\), got \[4, 3\]"),
        (lambda: nn.LayerNorm(())(X), ValueError, "at least one axis"),
        (lambda: nn.LayerNorm(3)(X.long()), TypeError, "LayerNorm expects floats, got int64"),
        (lambda: nn.LayerNorm(3)(X.double()), TypeError, "weight in the input's type, float64, got float32"),
        (lambda: F.layer_norm(X, (3,), batten.ones(3, 1)), ValueError, r"weight \[3\] for an .*, got \[3, 1\]"),
        (lambda: F.layer_norm(X, (3,), None, batten.ones(2)), ValueError, r"bias \[3\] for an .*, got \[2\]"),
        (lambda: F.layer_norm(X, (3,), eps=-1.0), ValueError, "eps >= 0, got -1"),
        (lambda: F.layer_norm(X, (3,), eps=float("nan")), ValueError, "eps >= 0, got nan"),
        (lambda: nn.LayerNorm(3.5), TypeError, "float"),
        (lambda: nn.LayerNorm((2, "3")), TypeError, "str"),
        (lambda: nn.LayerNorm(-1), ValueError, "-1"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_value_changed_before_backward_is_found():
    layer = nn.LayerNorm(3)
    loss = layer(batten.ones(4, 3, requires_grad=True)).sum()
    with batten.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()

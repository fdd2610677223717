"""Normalization by the root mean square: against its formula, beside PyTorch, and what it refuses."""

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

# The input's shape, and how many of its last axes are normalized.  Of 300 columns few are left over by any
# vector; 4099 are more than are summed in one go, and 70,000 more than memory is asked for at once.
SHAPES = [
    ((5, 3), 1),
    ((3,), 1),
    ((4, 2, 3), 1),
    ((4, 2, 3), 2),
    ((4, 2, 3), 3),
    ((7, 1), 1),
    ((67, 35), 1),
    ((33, 300), 1),
    ((3, 4099), 1),
    ((2, 7, 10_000), 2),
    ((0, 3), 1),
    ((2, 0), 1),
    ((2, 3, 0), 2),
]
each_shape = pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)


def operands(rng, shape, axes, dtype):
    """x and weight."""
    return [
        np.asarray(a, dtype)
        for a in (3 * rng.standard_normal(shape) + 2, rng.standard_normal(shape[len(shape) - axes :]))
    ]


def normalized(x, axes, eps):
    """The definition, in a type in which NumPy's own sums are exact enough."""
    x = x.astype(np.longdouble)
    return x / np.sqrt((x * x).mean(tuple(range(x.ndim - axes, x.ndim)), keepdims=True) + eps)


@each_shape
@pytest.mark.filterwarnings("ignore:(Mean of empty slice|invalid value)")
def test_it_is_its_definition(rng, dtype, isa, shape, axes):
    x, w = operands(rng, shape, axes, dtype)
    y = F.rms_norm(batten.tensor(x), w.shape, batten.tensor(w), 0.01)
    assert y.dtype == dtype
    assert_allclose(y.numpy(), normalized(x, axes, 0.01) * w, **TOLERANCE[dtype])


@each_shape
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("eps", [None, 0.0, 0.5])
def test_it_is_torchs(rng, dtype, shape, axes, weighted, eps):
    torch = pytest.importorskip("torch")
    x, w = operands(rng, shape, axes, dtype)

    def call(function):
        return lambda x, *weight: function(x, w.shape, *weight, eps=eps)

    # What is left of the gradient of one element is what was rounded.
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {}
    given = (w,) if weighted else ()
    assert_like_torch(call(F.rms_norm), call(torch.nn.functional.rms_norm), x, *given, **tolerance)


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9])
def test_by_default_eps_is_that_of_the_type(rng, dtype, small):
    torch = pytest.importorskip("torch")
    x = small * rng.standard_normal((4, 30)).astype(dtype)
    y = F.rms_norm(batten.tensor(x), (30,)).numpy()
    assert_allclose(y, normalized(x, 1, np.finfo(dtype).eps), **TOLERANCE[dtype])
    assert_allclose(y, torch.nn.functional.rms_norm(torch.tensor(x), (30,)), **TOLERANCE[dtype])


def test_long_rows_are_exact(rng, isa):
    """A sum of 200,000 squares, whose roundings in float32 would show if they were added one after the other."""
    x = (100 + rng.standard_normal((2, 200_000))).astype(np.float32)
    assert_allclose(F.rms_norm(batten.tensor(x), (200_000,)).numpy(), normalized(x, 1, 0), rtol=2e-7)


def test_rows_of_nought_stay_so(dtype):
    x = batten.zeros(3, 300, dtype=dtype, requires_grad=True)
    y = F.rms_norm(x, (300,))
    y.sum().backward()
    assert_array_equal(y.detach().numpy(), 0)
    assert_allclose(x.grad.numpy(), np.finfo(dtype).eps ** -0.5, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(rng, dtype, bad):
    x, w = operands(rng, (40, 35), 1, dtype)
    clean = F.rms_norm(batten.tensor(x), (35,), batten.tensor(w)).numpy()
    x[7, 3] = bad
    spoiled = F.rms_norm(batten.tensor(x), (35,), batten.tensor(w)).numpy()
    others = np.arange(40) != 7
    assert_array_equal(spoiled[others], clean[others])
    assert np.isnan(spoiled[7, 3])


def test_layout_does_not_matter(rng, dtype):
    x, w = operands(rng, (6, 4, 5), 2, dtype)
    results = []
    for memory, seen in ((x, (0, 1, 2)), (x.transpose(2, 0, 1), (1, 2, 0))):
        leaf = batten.tensor(np.ascontiguousarray(memory), requires_grad=True)
        weight = batten.tensor(np.repeat(w, 2, axis=1))[:, ::2]
        y = F.rms_norm(leaf.permute(*seen), (4, 5), weight)
        (y * y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.permute(*seen).numpy()))
    for straight, moved in zip(*results, strict=True):
        assert_array_equal(straight, moved)


@pytest.mark.parametrize("of", ["x", "weight"])
def test_gradients_of_one_operand_only(rng, of):
    leaves = dict(zip(("x", "weight"), map(batten.tensor, operands(rng, (5, 3), 1, np.float64)), strict=True))
    grads = []
    for wanted in (["x", "weight"], [of]):
        for name, leaf in leaves.items():
            leaf.grad = None
            leaf.requires_grad_(name in wanted)
        F.rms_norm(leaves["x"], (3,), leaves["weight"]).pow(3).sum().backward()
        assert [name for name, leaf in leaves.items() if leaf.grad is not None] == wanted
        grads.append(leaves[of].grad.tolist())
    assert grads[0] == grads[1]


@pytest.mark.parametrize("shape", [(300, 301), (70, 4100)])
def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads, shape):
    x, w = operands(rng, shape, 1, dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaves = [batten.tensor(a, requires_grad=True) for a in (x, w)]
        y = F.rms_norm(leaves[0], shape[1:], leaves[1])
        (y * y).sum().backward()
        found.add((y.detach().numpy().tobytes(), *[leaf.grad.numpy().tobytes() for leaf in leaves]))
    assert len(found) == 1


def test_what_is_kept_for_backward():
    """The input itself, and a number for each row."""
    x = batten.ones(4, 3, requires_grad=True)
    operation = F.rms_norm(x, (3,)).grad_fn
    kept = [getattr(operation, name) for name in operation.__slots__]
    arrays = [value for value in kept if isinstance(value, np.ndarray)]
    assert sorted(a.shape for a in arrays) == [(4,), (4, 3)]
    assert any(np.shares_memory(a, x.detach().numpy()) for a in arrays)


MODULES = [
    ((3,), {}),
    (((2, 3),), {}),
    (([4, 2, 3],), {"eps": 0.1}),
    ((3, 0.2, True), {}),
    ((3,), {"elementwise_affine": False}),
]


@pytest.mark.parametrize(("arguments", "settings"), MODULES, ids=str)
def test_modules_are_torchs(rng, dtype, tmp_path, arguments, settings):
    torch = pytest.importorskip("torch")
    ours = nn.RMSNorm(*arguments, **settings, dtype=dtype)
    theirs = torch.nn.RMSNorm(*arguments, **settings, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(batten.load(tmp_path / "theirs.safetensors"))
    for mode in (True, False):
        assert_like_torch(ours.train(mode), theirs.train(mode), rng.standard_normal((4, 2, 3)).astype(dtype))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad)
    batten.save(ours.state_dict(), tmp_path / "ours.safetensors")
    theirs.load_state_dict(safetensors.load_file(tmp_path / "ours.safetensors"))
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        x = batten.tensor(rng.standard_normal((4, 2, 3)).astype(dtype))
        assert repr(twin) == repr(ours)
        assert twin(x).tolist() == ours(x).tolist()
    ours.reset_parameters()
    assert all((p == 1).all().item() for p in ours.parameters())


def test_eps_follows_the_type_of_the_input():
    layer, x = nn.RMSNorm(2), batten.tensor([[1e-5, 1e-5]])
    single = layer(x).tolist()
    assert_allclose(layer.double()(x.double()).tolist(), 1, rtol=1e-5)
    assert_allclose(single, 1e-5 / np.sqrt(1e-10 + np.finfo("f4").eps), rtol=1e-5)


X = batten.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.RMSNorm(5)(X), ValueError, r"^RMSNorm expects \(\*, 5\), got \[4, 3\]$"),
        (lambda: nn.RMSNorm((2, 3))(X), ValueError, r"^RMSNorm expects \(\*, 2, 3\), got \[4, 3\]$"),
        (lambda: nn.RMSNorm((1, 4, 3))(X), ValueError, r"\(\*, 1, 4, 3\), got \[4, 3\]"),
        (lambda: nn.RMSNorm(())(X), ValueError, "at least one axis"),
        (lambda: nn.RMSNorm(3)(X.long()), TypeError, "RMSNorm expects floats, got int64"),
        (lambda: nn.RMSNorm(3)(X.double()), TypeError, "weight in the input's type, float64, got float32"),
        (lambda: F.rms_norm(X, (3,), batten.ones(3, 1)), ValueError, r"weight \[3\] for an .*, got \[3, 1\]"),
        (lambda: F.rms_norm(X, (3,), eps=-1.0), ValueError, "RMSNorm expects eps >= 0, got -1"),
        (lambda: F.rms_norm(X, (3,), eps=float("nan")), ValueError, "eps >= 0, got nan"),
        (lambda: nn.RMSNorm(3.5), TypeError, "float"),
        (lambda: nn.RMSNorm((2, "3")), TypeError, "str"),
        (lambda: nn.RMSNorm(-1), ValueError, "-1"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_value_changed_before_backward_is_found():
    layer = nn.RMSNorm(3)
    loss = layer(batten.ones(4, 3, requires_grad=True)).sum()
    with batten.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()

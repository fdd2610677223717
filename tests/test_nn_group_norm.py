"""Group normalization: against its formula, beside PyTorch, where float32 is scarce, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from batten.nn import group_norm
from parity import TOLERANCE, assert_close, assert_like_torch

# Shapes and groups: of one channel, of all, more channels than a tile has, pixels of one row of tiles and of many.
SHAPES = [
    ((4, 6, 5, 7), 3),
    ((4, 6, 5), 6),
    ((4, 6), 2),
    ((2, 1, 3, 3), 1),
    ((1, 6, 2, 2), 1),
    ((2, 6, 2, 3, 2), 2),
    ((3, 67, 9, 4), 1),
    ((2, 96, 3, 5), 8),
    ((2, 1040, 3), 10),
    ((2, 12, 70, 71), 4),
    ((0, 6, 2), 3),
    ((2, 6, 0), 3),  # where PyTorch's gradients of the parameters, which are sums of nothing, are NaN
]
each_shape = pytest.mark.parametrize(("shape", "groups"), SHAPES, ids=str)


def operands(rng, shape, dtype):
    """x, weight and bias."""
    x = (3 * rng.standard_normal(shape) + 2).astype(dtype)
    return [x, *rng.standard_normal((2, shape[1])).astype(dtype)]


def normalized(x, groups, eps=1e-5):
    """The definition, in a type in which NumPy's own sums are exact enough."""
    cut = x.astype(np.longdouble).reshape(len(x), groups, x.size // max(len(x) * groups, 1))
    return ((cut - cut.mean(2, keepdims=True)) / np.sqrt(cut.var(2, keepdims=True) + eps)).reshape(x.shape)


def per_channel(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


@each_shape
@pytest.mark.filterwarnings("ignore:(Mean of empty slice|invalid value|Degrees of freedom)")
def test_it_is_its_definition(rng, dtype, isa, shape, groups):
    x, w, b = operands(rng, shape, dtype)
    y = F.group_norm(batten.tensor(x), groups, batten.tensor(w), batten.tensor(b), 0.01)
    assert y.dtype == dtype
    expected = normalized(x, groups, 0.01) * per_channel(w, x) + per_channel(b, x)
    assert_allclose(y.numpy(), expected, **TOLERANCE[dtype])


@pytest.mark.parametrize(("shape", "groups"), SHAPES[:-1], ids=str)
@pytest.mark.parametrize("parameters", ["", "w", "wb"])  # a bias alone has no gradient in PyTorch
def test_it_is_torchs(rng, dtype, shape, groups, parameters):
    torch = pytest.importorskip("torch")
    x, w, b = operands(rng, shape, dtype)

    def call(function):
        return lambda x, *given: function(
            x, groups, **dict(zip([{"w": "weight", "b": "bias"}[p] for p in parameters], given, strict=True))
        )

    given = [{"w": w, "b": b}[p] for p in parameters]
    # PyTorch's own sums over 10,000 elements are in float32.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {}
    assert_like_torch(call(F.group_norm), call(torch.nn.functional.group_norm), x, *given, **tolerance)


def far_from_nought(rng):
    """Mean 10,000 and deviation 0.1, in float32: its steps are 0.001 there."""
    return (1e4 + 0.1 * rng.standard_normal((3, 6, 40, 50))).astype(np.float32)


def test_statistics_do_not_cancel(rng, isa):
    x = far_from_nought(rng)
    assert_allclose(F.group_norm(batten.tensor(x), 2).numpy(), normalized(x, 2), rtol=1e-5, atol=1e-5)
    x[:, 0] = -1e4  # nor does it matter where a channel lies, and what stands first
    x[:, 3, 0, 0] = 0
    assert_allclose(F.group_norm(batten.tensor(x), 2).numpy(), normalized(x, 2), rtol=1e-5, atol=1e-5)


def test_gradients_do_not_cancel(rng, isa):
    x, dy = far_from_nought(rng), rng.standard_normal((3, 6, 40, 50)).astype(np.float32)
    leaf = batten.tensor(x, requires_grad=True)
    weight, bias = batten.ones(6, requires_grad=True), batten.zeros(6, requires_grad=True)
    F.group_norm(leaf, 2, weight, bias).backward(batten.tensor(dy))
    xhat, dy = normalized(x, 2), dy.astype(np.longdouble)
    cut = 3, 2, 6000
    rstd = 1 / np.sqrt(x.astype(np.longdouble).reshape(cut).var(2, keepdims=True) + 1e-5)
    g, h = dy.reshape(cut), xhat.reshape(cut)
    dx = rstd * (g - g.mean(2, keepdims=True) - h * (g * h).mean(2, keepdims=True))
    assert_allclose(leaf.grad.numpy(), dx.reshape(x.shape), rtol=1e-4, atol=1e-4)
    assert_allclose(weight.grad.numpy(), (dy * xhat).sum((0, 2, 3)), rtol=1e-5, atol=1e-4)
    assert_allclose(bias.grad.numpy(), dy.sum((0, 2, 3)), rtol=1e-5, atol=1e-4)


def test_a_constant_group_becomes_the_bias(dtype):
    x = batten.full((3, 4, 5, 5), 0.1, dtype=dtype)
    bias = np.arange(4, dtype=dtype)
    y = F.group_norm(x, 2, None, batten.tensor(bias))
    assert_array_equal(y.numpy(), np.broadcast_to(bias[:, None, None], y.shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_group(rng, dtype, bad):
    x = rng.standard_normal((4, 6, 9)).astype(dtype)
    clean = F.group_norm(batten.tensor(x), 3).numpy()
    x[1, 2, 5] = bad
    spoiled = F.group_norm(batten.tensor(x), 3).numpy()
    others = np.ones(x.shape, bool)
    others[1, 2:4] = False
    assert_array_equal(spoiled[others], clean[others])
    assert np.isnan(spoiled[~others]).all()


def test_layout_does_not_matter(rng, dtype):
    x, w, b = operands(rng, (4, 6, 5, 7), dtype)
    dy, results = rng.standard_normal(x.shape).astype(dtype), []
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)):
        leaf = batten.from_numpy(np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order)))
        weight = batten.tensor(np.repeat(w, 2), requires_grad=True)
        y = F.group_norm(leaf.requires_grad_(), 3, weight[::2], batten.tensor(b))
        y.backward(batten.tensor(dy))
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
        results.append((y.tolist(), leaf.grad.tolist(), weight.grad.tolist()))
    assert results[0] == results[1] == results[2]


def test_gradients_of_parameters_only(rng):
    x, w, b = [batten.tensor(a, requires_grad=True) for a in operands(rng, (5, 6, 3), np.float64)]
    F.group_norm(x, 2, w, b).square().sum().backward()
    expected = w.grad.tolist(), b.grad.tolist()
    for wanted in ((w, b), (w,), (b,)):
        for parameter in (w, b):
            parameter.grad = None
            parameter.requires_grad_(any(parameter is p for p in wanted))
        F.group_norm(x.detach(), 2, w, b).square().sum().backward()
        for parameter, gradient in zip((w, b), expected, strict=True):
            assert (parameter.grad is None) == (not parameter.requires_grad)
            assert parameter.grad is None or parameter.grad.tolist() == gradient


LARGE = [((70, 32, 9, 9), 8), ((1, 16, 150, 150), 4), ((300, 200), 4), ((2, 1030, 12, 11), 10), ((5, 24, 110, 111), 24)]


@pytest.mark.parametrize(("shape", "groups"), LARGE, ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads, shape, groups, relu):
    x, w, b = operands(rng, (shape[0], int(np.prod(shape[2:])), shape[1]), dtype)
    w, b = operands(rng, shape, dtype)[1:]
    dy, found = rng.standard_normal(x.shape).astype(dtype), set()
    for n in (1, 2, 3, 8):
        threads(n)
        y, dx, statistics = np.empty_like(x), np.empty_like(x), np.empty((2, len(x), groups))
        weights = np.empty((2, len(w)), dtype)
        kernels.group_norm(y, *statistics, x, w, b, 1e-5, relu)
        kernels.group_norm_backward(dx, *weights, dy, x, *statistics, w, b, relu)
        found.add((y.tobytes(), dx.tobytes(), weights.tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize(("shape", "groups"), [((8, 16, 50, 47), 4), ((8, 1030, 7, 9), 1030)], ids=str)
def test_an_image_that_threads_share_is_normalized_as_one_among_others(rng, dtype, isa, threads, shape, groups):
    x, w, b = operands(rng, shape, dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    threads(2)

    def outcome(x, dy):
        leaf = batten.tensor(x, requires_grad=True)
        y = F.group_norm(leaf, groups, batten.tensor(w), batten.tensor(b))
        y.backward(batten.tensor(dy))
        return y.numpy(), leaf.grad.numpy()

    together = outcome(x, dy)
    for i in (0, len(x) - 1):
        for one, among in zip(outcome(x[i : i + 1], dy[i : i + 1]), together, strict=True):
            assert one[0].tobytes() == among[i].tobytes()


@each_shape
def test_with_relu_the_bits_are_those_of_relu_behind_it(rng, dtype, isa, shape, groups):
    x, w, b = operands(rng, shape, dtype)
    w[:1] = b[:1] = 0  # a channel of noughts
    dy, results = rng.standard_normal(shape).astype(dtype), []
    for relu in (True, False):
        leaves = [batten.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = group_norm.normalized(leaves[0], groups, *leaves[1:], 1e-5, relu)
        y = y if relu else F.relu(y)
        y.backward(batten.tensor(dy))
        results.append([a.numpy().tobytes() for a in (y, *[leaf.grad for leaf in leaves])])
    assert results[0] == results[1]


MODULES = [
    ((3, 6), {}),
    ((1, 6, 0.1), {}),
    ((6, 6, 0.2, True), {}),
    ((2, 6), {"affine": False}),
    ((2, 6), {"bias": False}),
]


@pytest.mark.parametrize(("arguments", "settings"), MODULES, ids=str)
def test_modules_are_torchs(rng, dtype, arguments, settings):
    torch = pytest.importorskip("torch")
    ours = nn.GroupNorm(*arguments, **settings, dtype=dtype)
    theirs = torch.nn.GroupNorm(*arguments, **settings, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.copy_(torch.tensor(rng.standard_normal(tuple(q.shape)).astype(dtype)))
            p.data = batten.tensor(q.numpy())
    for mode in (True, False):
        assert_like_torch(ours.train(mode), theirs.train(mode), rng.standard_normal((4, 6, 5, 3)).astype(dtype))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        x = batten.tensor(rng.standard_normal((4, 6, 3)).astype(dtype))
        assert repr(twin) == repr(ours)
        assert twin(x).tolist() == ours(x).tolist()
    ours.reset_parameters()
    assert all((p == (1 if name == "weight" else 0)).all().item() for name, p in ours.named_parameters())


X = batten.ones(4, 6, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.GroupNorm(4, 6), ValueError, "num_channels to be a multiple of num_groups, got 6 and 4"),
        (lambda: nn.GroupNorm(0, 6), ValueError, "got 6 and 0"),
        (lambda: nn.GroupNorm(2, 4)(X), ValueError, r"^GroupNorm expects \(N, 4\) or \(N, 4, \*\), got \[4, 6, 2\]$"),
        (lambda: nn.GroupNorm(2, 6)(batten.ones(6)), ValueError, r"got \[6\]"),
        (lambda: nn.GroupNorm(2, 6)(X.long()), TypeError, "GroupNorm expects floats, got int64"),
        (lambda: nn.GroupNorm(2, 6)(X.double()), TypeError, "weight in the input's type, float64, got float32"),
        (lambda: F.group_norm(X, 4), ValueError, "groups of equally many of 6 channels, got 4 groups"),
        (lambda: F.group_norm(X, 0), ValueError, "got 0 groups"),
        (lambda: F.group_norm(X, 2.0), TypeError, "float"),
        (lambda: F.group_norm(batten.ones(6), 2), ValueError, r"\(N, C\) or \(N, C, \*\), got \[6\]"),
        (lambda: F.group_norm(X, 2, batten.ones(6, 1)), ValueError, r"weight \[6\] for an .*, got \[6, 1\]"),
        (lambda: F.group_norm(X, 2, None, batten.ones(2)), ValueError, r"bias \[6\] for an .*, got \[2\]"),
        (lambda: F.group_norm(X, 2, eps=-1.0), ValueError, "eps >= 0, got -1"),
        (lambda: F.group_norm(batten.ones(1, 6), 6), ValueError, r"more than 1 value per group, got .* \[1, 6\]"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("groups", [0, 4, 7])
def test_the_kernel_refuses_groups_of_different_sizes(groups):
    x, statistics = np.ones((2, 3, 6)), np.empty((2, 2, groups))
    with pytest.raises(ValueError, match=f"equally many of 6 channels, got {groups} groups"):
        kernels.group_norm(np.empty_like(x), *statistics, x, None, None, 1e-5, False)


def test_a_value_changed_before_backward_is_found():
    layer = nn.GroupNorm(2, 6)
    loss = layer(batten.ones(4, 6, requires_grad=True)).sum()
    with batten.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()

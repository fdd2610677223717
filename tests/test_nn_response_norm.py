"""Local response normalization: against its formula, beside PyTorch, in any layout, and what it refuses."""

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
from parity import TOLERANCE, assert_like_torch
from trials import trials

SHAPES = [(2, 7, 3), (3, 64, 5), (2, 5, 4, 3), (1, 1, 2, 2), (2, 67, 3, 3), (1, 9, 2, 3, 2), (2, 600, 3), (5, 2, 9)]
SIZES = [1, 2, 3, 4, 5, 8, 17, 40]


def windows(terms, before, after):
    """Sums over the channels from c - before to c + after."""
    n = terms.shape[1]
    return np.stack([terms[:, max(c - before, 0) : c + after + 1].sum(1) for c in range(n)], 1)


def normalized(x, size, alpha, beta, k):
    """The definition, in a type in which NumPy's own sums are exact enough."""
    x = x.astype(np.longdouble)
    return x * (k + alpha / size * windows(x * x, size // 2, (size - 1) // 2)) ** -np.longdouble(beta)


def gradient(dy, x, size, alpha, beta, k):
    dy, x, beta = dy.astype(np.longdouble), x.astype(np.longdouble), np.longdouble(beta)
    d = k + alpha / size * windows(x * x, size // 2, (size - 1) // 2)
    sums = windows(dy * x * d ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * d**-beta - 2 * alpha * beta / size * x * sums


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@trials("size", SIZES)
@trials("beta", [0.75, 0.3])
def test_it_is_its_definition(rng, dtype, isa, shape, size, beta):
    x, dy = (3 * rng.standard_normal((2, *shape))).astype(dtype)
    leaf = batten.tensor(x, requires_grad=True)
    y = F.local_response_norm(leaf, size, 0.5, beta, 2.0)
    y.backward(batten.tensor(dy))
    assert y.dtype == leaf.grad.dtype == dtype
    assert_allclose(y.detach().numpy(), normalized(x, size, 0.5, beta, 2.0), **TOLERANCE[dtype])
    bound = 40 * np.finfo(dtype).eps * np.abs(dy).max()
    assert_allclose(leaf.grad.numpy(), gradient(dy, x, size, 0.5, beta, 2.0), rtol=0, atol=bound)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "parameters", [(1,), (2,), (5,), (8, 1.0), (5, 2.0, 0.5), (3, 0.1, 0.75, 2), (40, 1.0, 1.0, 0.5)]
)
def test_it_is_torchs(rng, dtype, shape, parameters):
    torch = pytest.importorskip("torch")
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {}
    assert_like_torch(
        lambda x: F.local_response_norm(x, *parameters),
        lambda x: torch.nn.functional.local_response_norm(x, *parameters),
        x,
        **tolerance,
    )


@pytest.mark.parametrize("arguments", [(5,), (2, 0.5), (3, 1e-3, 0.5, 2.0), (4, 1, 1, 1)])
def test_modules_are_torchs(rng, dtype, arguments):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.LocalResponseNorm(*arguments), torch.nn.LocalResponseNorm(*arguments)
    assert repr(ours) == repr(theirs)
    x = rng.standard_normal((2, 7, 3, 3)).astype(dtype)
    assert_like_torch(ours, theirs, x)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_array_equal(twin(batten.tensor(x)).numpy(), ours(batten.tensor(x)).numpy())


def test_the_usual_power_is_as_exact_as_others(rng, dtype, isa):
    """beta = 3/4 is found in a way of its own, for sums from tiny to huge."""
    x = np.geomspace(1e-15, 1e15, 3001).astype(dtype).reshape(1, -1)
    y = F.local_response_norm(batten.tensor(x), 1, 3.0, 0.75, 1e-6).numpy()
    assert_allclose(y, normalized(x, 1, 3.0, 0.75, np.longdouble(1e-6)), rtol=5 * np.finfo(dtype).eps)


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_without_a_constant(rng, dtype, beta):
    """k = 0 leaves sums of any size, and noughts are divided by nought."""
    x = np.array([[1e-18, 3e-3, 1e4]], dtype)
    assert_allclose(F.local_response_norm(batten.tensor(x), 1, 1.0, beta, 0.0).numpy(), x ** (1 - 2 * beta), rtol=1e-5)
    assert np.isnan(F.local_response_norm(batten.zeros(1, 3, dtype=dtype), 3, 1.0, beta, 0.0).numpy()).all()


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_pixel_and_its_windows(rng, dtype, bad, beta):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((6, 20, 2)).astype(dtype)
    clean = F.local_response_norm(batten.tensor(x), 5, 1.0, beta).numpy()
    x[3, 8, 1] = bad
    spoiled = F.local_response_norm(batten.tensor(x), 5, 1.0, beta).numpy()
    reached = np.zeros(x.shape, bool)
    reached[3, 6:11, 1] = True
    assert_array_equal(spoiled[~reached], clean[~reached])
    theirs = torch.nn.functional.local_response_norm(torch.tensor(x), 5, 1.0, beta).numpy()
    assert_array_equal(spoiled[reached], theirs[reached])


def test_layouts(rng, dtype):
    """Channels last go in and come out without a copy; any other layout gives the same numbers."""
    x = rng.standard_normal((2, 4, 5, 7)).astype(dtype)
    results = []
    for memory, seen in ((x, (0, 3, 1, 2)), (x.transpose(0, 3, 1, 2), (0, 1, 2, 3)), (x.T, (3, 0, 2, 1))):
        leaf = batten.tensor(np.ascontiguousarray(memory), requires_grad=True)
        y = F.local_response_norm(leaf.permute(*seen), 3, 1.0)
        assert y.shape == (2, 7, 4, 5)
        assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
        (y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.permute(*seen).numpy()))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    last = batten.tensor(x).permute(0, 3, 1, 2)
    before = kernels.memory_stats()["requests"]
    F.local_response_norm(last, 3)
    assert kernels.memory_stats()["requests"] == before + 1  # the result


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2), (2, 3, 0), (0, 0), (2, 3, 0, 4)])
def test_nothing(shape, dtype):
    x = batten.zeros(*shape, dtype=dtype, requires_grad=True)
    y = F.local_response_norm(x, 5)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape


def test_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x = rng.standard_normal((5, 100, 11, 13)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        y = F.local_response_norm(leaf, 5, 1.0)
        (y * y).sum().backward()
        found.add((y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert len(found) == 1


X = batten.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LocalResponseNorm(5)(batten.ones(3)), ValueError, r"^LocalResponseNorm expects .*, got \[3\]$"),
        (lambda: nn.LocalResponseNorm(0)(X), ValueError, "^LocalResponseNorm expects a size of at least 1, got 0$"),
        (lambda: nn.LocalResponseNorm(5)(X.long()), TypeError, "LocalResponseNorm expects floats, got int64"),
        (lambda: nn.LocalResponseNorm(2.5)(X), TypeError, "float"),
        (lambda: nn.LocalResponseNorm(), TypeError, "LocalResponseNorm"),
        (lambda: kernels.response_norm(X.numpy(), X.numpy(), 5, 1, 1, 1), ValueError, "apart"),
        (lambda: kernels.response_norm(X.numpy().copy(), X.numpy(), 0, 1, 1, 1), ValueError, "at least one"),
        (lambda: kernels.response_norm_backward(X.numpy(), X.numpy(), X.numpy(), 5, 1, 1, 1), ValueError, "apart"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_value_changed_before_backward_is_found():
    x = batten.ones(4, 3, requires_grad=True) * 2
    loss = F.local_response_norm(x, 3).sum()
    with batten.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_squares_that_overflow_are_infinite_sums(beta, isa):
    """As in PyTorch, what is divided by them is nought; and so is its gradient."""
    x = batten.full((2, 9), 3e19, requires_grad=True)
    y = F.local_response_norm(x, 5, 1.0, beta)
    y.backward(batten.full((2, 9), 3e19))
    assert not y.detach().numpy().any()
    assert not x.grad.numpy().any()

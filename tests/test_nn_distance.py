"""normalize and cosine_similarity: beside PyTorch, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import TOLERANCE, assert_close, assert_like_torch


def test_lengths_are_one(rng, dtype):
    x = rng.standard_normal((4, 7, 3)).astype(dtype)
    for p, dim in ((2.0, 1), (1.0, 0), (np.inf, -1), (3.0, (0, 2))):
        y = F.normalize(batten.tensor(x), p, dim).numpy()
        if not isinstance(dim, tuple):
            assert_allclose(np.linalg.norm(y, p, dim), 1, **TOLERANCE[dtype])
        assert_allclose((abs(y) ** p).sum(dim) if p < np.inf else abs(y).max(dim), 1, **TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((4, 7), {}),
        ((4, 7, 3), {"dim": -1}),
        ((4, 7, 3), {"dim": (0, 2)}),
        ((5,), {"dim": 0, "p": 1}),
        ((4, 7), {"p": float("inf")}),
        ((4, 7), {"p": 0.5}),
        ((4, 7), {"p": 3, "eps": 2.0}),
        ((0, 3), {}),
        ((2, 0), {}),
        ((), {"dim": 0}),
    ],
    ids=str,
)
def test_normalize_is_torchs(rng, dtype, shape, settings):
    torch = pytest.importorskip("torch")
    x = np.asarray(rng.standard_normal(shape), dtype)
    assert_like_torch(lambda x: F.normalize(x, **settings), lambda x: torch.nn.functional.normalize(x, **settings), x)
    if len(shape) == 2:
        assert_like_torch(
            lambda x: F.normalize(x.T, **settings), lambda x: torch.nn.functional.normalize(x.T, **settings), x
        )


@pytest.mark.parametrize(
    ("shapes", "settings"),
    [
        (((4, 7), (4, 7)), {}),
        (((4, 7, 3), (4, 7, 3)), {"dim": -1}),
        (((4, 7), (7,)), {}),
        (((4, 1, 3), (7, 3)), {"dim": 2}),
        (((5,), (5,)), {"dim": 0, "eps": 1e-3}),
        (((0, 3), (0, 3)), {}),
        (((), ()), {"dim": 0}),
    ],
    ids=str,
)
def test_cosine_similarity_is_torchs(rng, dtype, shapes, settings):
    torch = pytest.importorskip("torch")
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
    assert_like_torch(
        lambda x, y: F.cosine_similarity(x, y, **settings),
        lambda x, y: torch.nn.functional.cosine_similarity(x, y, **settings),
        *arrays,
    )
    assert_like_torch(nn.CosineSimilarity(**settings), torch.nn.CosineSimilarity(**settings), *arrays)


def test_vectors_shorter_than_eps(rng, dtype):
    """They are divided by eps; PyTorch's result is the same, but its gradient is that of another function."""
    torch = pytest.importorskip("torch")
    x, y = [(0.1 * rng.standard_normal(5)).astype(dtype) for _ in range(2)]
    ours = F.cosine_similarity(batten.tensor(x), batten.tensor(y), 0, 3.0)
    theirs = torch.nn.functional.cosine_similarity(torch.tensor(x), torch.tensor(y), 0, 3.0)
    assert_close(ours, theirs)
    tensors = [batten.tensor(a, dtype=batten.float64, requires_grad=True) for a in (x, y)]
    assert batten.autograd.gradcheck(lambda x, y: F.cosine_similarity(x, y, 0, 3.0), tensors)


def test_vectors_of_no_length(dtype):
    torch = pytest.importorskip("torch")
    x = np.array([[0, 0, 0], [1, 2, 3]], dtype)
    assert_like_torch(F.normalize, torch.nn.functional.normalize, x)
    for other in (x, x[::-1].copy()):
        assert_like_torch(F.cosine_similarity, torch.nn.functional.cosine_similarity, x, other)


def test_the_module_is_written_as_in_torch():
    torch = pytest.importorskip("torch")
    assert repr(nn.CosineSimilarity(0)) == repr(torch.nn.CosineSimilarity(0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.normalize(batten.ones(3)), IndexError, "normalize expects a dim from -1 to 0, got 1"),
        (lambda: F.normalize(batten.ones(2, 3).long()), TypeError, "normalize expects floats, got int64"),
        (lambda: F.cosine_similarity(batten.ones(3), batten.ones(3)), IndexError, "cosine_similarity expects a dim"),
        (lambda: F.cosine_similarity(batten.ones(2, 3), batten.ones(2, 4)), ValueError, r"got \[2, 3\] and \[2, 4\]"),
        (lambda: F.cosine_similarity(batten.ones(2, 3).long(), batten.ones(2, 3)), TypeError, "floats, got int64"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

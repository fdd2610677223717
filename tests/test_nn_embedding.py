"""Embedding and one_hot: against NumPy's indexing, beside PyTorch, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import assert_like_torch

INDICES = [(), (1,), (7,), (4, 3), (2, 0), (2, 1, 5)]


def table(rng, shape, dtype, rows=11, columns=5):
    return rng.standard_normal((rows, columns)).astype(dtype), rng.integers(0, rows, shape)


@pytest.mark.parametrize("shape", INDICES, ids=str)
def test_it_is_indexing(rng, dtype, shape):
    weight, index = table(rng, shape, dtype)
    y = F.embedding(batten.tensor(index), batten.tensor(weight))
    assert y.dtype == dtype
    assert_array_equal(y.numpy(), weight[index])


@pytest.mark.parametrize("shape", INDICES, ids=str)
@pytest.mark.parametrize(
    "settings", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}], ids=str
)
def test_it_is_torchs(rng, dtype, shape, settings):
    torch = pytest.importorskip("torch")
    for rows, columns in ((11, 5), (3, 67), (3, 0)):
        weight, index = table(rng, shape, dtype, rows, columns)
        assert_like_torch(
            lambda w, i=index: F.embedding(batten.tensor(i), w, **settings),
            lambda w, i=index: torch.nn.functional.embedding(torch.tensor(i), w, **settings),
            weight,
        )


def test_many_places_of_one_row_are_summed_exactly(dtype):
    """Each term has 18 binary digits: one after the other in float32, their sum would lose some from 128 on."""
    n = 100_000
    weight = batten.zeros(3, 2, dtype=dtype, requires_grad=True)
    dy = np.full((n, 2), 1 + 2**-17, dtype)
    F.embedding(batten.ones(n, dtype=batten.int64), weight).backward(batten.tensor(dy))
    assert_array_equal(weight.grad.numpy(), np.array([[0, 0], [n * (1 + 2**-17)] * 2, [0, 0]], dtype))


def test_layout_and_type_of_indices_do_not_matter(rng, dtype):
    weight, index = table(rng, (6, 4), dtype)
    expected = weight[index]
    for kind in (batten.uint8, batten.int8, batten.int16, batten.int32, batten.int64):
        assert_array_equal(F.embedding(batten.tensor(index, dtype=kind), batten.tensor(weight)).numpy(), expected)
    strided = batten.tensor(np.repeat(index, 2, axis=1))[:, ::2]
    column_major = batten.tensor(np.ascontiguousarray(weight.T), requires_grad=True)
    y = F.embedding(strided, column_major.T)
    assert_array_equal(y.detach().numpy(), expected)
    dy = batten.tensor(np.ascontiguousarray(rng.standard_normal((5, 6, 4)).astype(dtype))).permute(1, 2, 0)
    y.backward(dy)
    total = np.zeros(weight.shape)
    np.add.at(total, index, dy.numpy())
    np.testing.assert_allclose(column_major.grad.numpy().T, total, rtol=1e-5, atol=1e-5)


def test_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    weight, index = table(rng, (50, 60), dtype, rows=40, columns=37)
    index[:, ::2] = 17
    dy = batten.tensor(rng.standard_normal((50, 60, 37)).astype(dtype))
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(weight, requires_grad=True)
        y = F.embedding(batten.tensor(index), leaf)
        y.backward(dy)
        found.add((y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert len(found) == 1


MODULES = [
    ((10, 3), {}),
    ((10, 3, 4), {}),
    ((10, 3), {"padding_idx": -1}),
    ((10, 3), {"padding_idx": 0, "scale_grad_by_freq": True}),
    ((10, 3), {"norm_type": 1.0}),
    ((0, 3), {}),
    ((3, 0), {}),
]


@pytest.mark.parametrize(("arguments", "settings"), MODULES, ids=str)
def test_modules_are_torchs(rng, dtype, arguments, settings):
    torch = pytest.importorskip("torch")
    ours = nn.Embedding(*arguments, **settings, dtype=dtype)
    theirs = torch.nn.Embedding(*arguments, **settings, dtype=getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({"weight": torch.tensor(ours.weight.detach().numpy())})
    index = rng.integers(0, max(arguments[0], 1), (4, 3)) if arguments[0] else np.zeros((2, 0), np.int64)
    direction = rng.standard_normal((*index.shape, arguments[1])).astype(dtype)
    ours(batten.tensor(index)).backward(batten.tensor(direction))
    theirs(torch.tensor(index)).backward(torch.tensor(direction))
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-6, atol=1e-6)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert twin(batten.tensor(index)).tolist() == ours(batten.tensor(index)).tolist()


def test_weight_starts_as_standard_normal_and_padding_as_zero():
    batten.manual_seed(0)
    layer = nn.Embedding(300, 100, padding_idx=-2)
    assert layer.padding_idx == 298
    assert layer.weight[298].tolist() == [0] * 100
    numbers = np.delete(layer.weight.detach().numpy(), 298, 0)
    assert abs(numbers.mean()) < 4 / numbers.size**0.5
    assert abs(numbers.var() - 1) < 4 * (2 / numbers.size) ** 0.5
    first = layer.weight.tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() != first
    assert layer.weight[298].tolist() == [0] * 100


def test_from_pretrained():
    weight = batten.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(weight, padding_idx=1)
    assert repr(layer) == "Embedding(2, 2, padding_idx=1)"
    assert not layer.weight.requires_grad
    assert layer(batten.tensor([1, 0])).tolist() == [[3, 4], [1, 2]]  # the padding is what it was given as
    weight[1, 0] = 7
    assert layer.weight[1].tolist() == [7, 4]  # the memory is the same
    layer = nn.Embedding.from_pretrained(weight, freeze=False)
    layer(batten.tensor([1, 1])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [2, 2]]
    with pytest.raises(ValueError, match=r"a table \(num_embeddings, embedding_dim\), got \[2\]"):
        nn.Embedding.from_pretrained(batten.ones(2))


def test_padding_is_not_learnt():
    layer = nn.Embedding(4, 2, padding_idx=1)
    with batten.no_grad():
        layer.weight[1] = batten.tensor([5.0, 6.0])
    optimizer = batten.optim.SGD(layer.parameters(), lr=0.1)
    layer(batten.tensor([0, 1, 1, 2])).square().sum().backward()
    optimizer.step()
    assert layer.weight[1].tolist() == [5, 6]
    assert layer.weight.grad[1].tolist() == [0, 0]
    assert layer.weight.grad[3].tolist() == [0, 0]


W = batten.ones(10, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.embedding(batten.tensor([[1, 2], [12, 3]]), W),
            IndexError,
            "^Embedding expected indices from 0 to 9, got 12$",
        ),
        (lambda: F.embedding(batten.tensor([1, -1]), W), IndexError, "from 0 to 9, got -1"),
        (lambda: F.embedding(batten.tensor([0]), W[:0]), IndexError, "from 0 to -1, got 0"),
        (lambda: F.embedding(batten.tensor([1.0]), W), TypeError, "Embedding expects integers, got float32"),
        (lambda: F.embedding(batten.tensor([True]), W), TypeError, "Embedding expects integers, got bool"),
        (lambda: F.embedding(batten.tensor([1]), W.long()), TypeError, "Embedding expects floats, got int64"),
        (lambda: F.embedding(batten.tensor([1]), W[0]), ValueError, r"\(num_embeddings, embedding_dim\), got \[3\]"),
        (lambda: F.embedding(batten.tensor([1]), W, padding_idx=10), ValueError, "from -10 to 9, got 10"),
        (lambda: F.embedding(batten.tensor([1]), W, padding_idx=-11), ValueError, "from -10 to 9, got -11"),
        (lambda: F.embedding(batten.tensor([1]), W, max_norm=1.0), NotImplementedError, "no max_norm, got 1.0"),
        (lambda: F.embedding(batten.tensor([1]), W, sparse=True), NotImplementedError, "no sparse gradient"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0), NotImplementedError, "no max_norm"),
        (lambda: nn.Embedding(3, 2, sparse=True), NotImplementedError, "no sparse gradient"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "from -3 to 2, got 3"),
        (lambda: nn.Embedding(3, 2, _weight=W), ValueError, r"a weight \[3, 2\], got \[10, 3\]"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("place", [0, 255, 256, 999])
def test_a_wrong_index_is_found_wherever_it_is(rng, place):
    index = rng.integers(0, 10, 1000)
    index[place] = 10
    with pytest.raises(IndexError, match=r"got 10$"):
        F.embedding(batten.tensor(index), W)


def test_indices_changed_before_backward_are_found():
    index = batten.tensor([0, 1])
    loss = F.embedding(index, batten.ones(3, 2, requires_grad=True)).sum()
    index[0] = 2
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# ---- one_hot ----


@pytest.mark.parametrize("shape", INDICES, ids=str)
@pytest.mark.parametrize("classes", [-1, 5, 9])
def test_one_hot_is_torchs(rng, shape, classes):
    torch = pytest.importorskip("torch")
    index = rng.integers(0, 5, shape)
    if not index.size and classes == -1:
        return
    ours = F.one_hot(batten.tensor(index), classes)
    theirs = torch.nn.functional.one_hot(torch.tensor(index), classes)
    assert ours.dtype == batten.int64
    assert_array_equal(ours.numpy(), theirs.numpy(), strict=True)


@pytest.mark.parametrize(
    ("index", "classes", "error", "message"),
    [
        ([0, 3], 3, IndexError, "^one_hot expects indices from 0 to 2, got 3$"),
        ([0, -1], -1, IndexError, "from 0 to 0, got -1"),
        ([0, -2], 4, IndexError, "from 0 to 3, got -2"),
        ([0], -2, ValueError, "num_classes >= 0, or -1, got -2"),
        ([0], 0, IndexError, "got 0"),
        ([0.0], 2, TypeError, "one_hot expects integers, got float32"),
        ([True], 2, TypeError, "one_hot expects integers, got bool"),
    ],
)
def test_one_hot_refuses(index, classes, error, message):
    with pytest.raises(error, match=message):
        F.one_hot(batten.tensor(index), classes)


def test_one_hot_of_nothing():
    assert F.one_hot(batten.zeros(2, 0, dtype=batten.int64), 3).shape == (2, 0, 3)
    with pytest.raises(ValueError, match="one_hot of no indices needs num_classes"):
        F.one_hot(batten.zeros(0, dtype=batten.int64))

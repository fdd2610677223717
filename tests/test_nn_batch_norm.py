"""Batch normalization: beside PyTorch, in either layout, where float32 is scarce, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import nn
from parity import assert_close, assert_like_torch

SHAPES = {
    "BatchNorm1d": [(4, 3, 5), (5, 3), (1, 3, 4), (130, 3), (70, 3, 9), (0, 3), (2, 3, 0)],
    "BatchNorm2d": [(4, 3, 5, 7), (1, 3, 2, 2), (2, 3, 1, 3), (70, 3, 8, 9), (0, 3, 2, 2), (2, 3, 0, 4)],
    "BatchNorm3d": [(4, 3, 2, 5, 3), (1, 3, 1, 2, 2), (9, 3, 1, 1, 1), (0, 3, 2, 2, 2), (2, 3, 2, 0, 4)],
}
SETTINGS = [
    {"eps": eps, "momentum": momentum, "affine": affine, "track_running_stats": tracked}
    for eps, momentum, affine, tracked in itertools.product(
        (1e-5, 0.1), (0.1, 0.0, 1.0, None), (True, False), (True, False)
    )
] + [{}, {"bias": False}]
each_kind = pytest.mark.parametrize("name", SHAPES)


def laid_channels_last(x):
    """The same elements as a view of memory in which the channels are last."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@each_kind
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_torchs_over_training_and_evaluation(rng, dtype, name, settings):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(3, dtype=dtype, **settings)
    theirs = getattr(torch.nn, name)(3, dtype=getattr(torch, str(dtype)), **settings)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.data = batten.tensor(rng.standard_normal(3).astype(dtype))
            q.copy_(torch.tensor(p.numpy()))
    # A sum over 5040 numbers, of which the gradient of the weight is one, is of a thousandth of their size.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {}
    for step, shape in enumerate(2 * SHAPES[name]):
        for layer in (ours, theirs):
            layer.train(step % 3 != 2)
            layer.zero_grad()
        x = (2 * rng.standard_normal(shape) + step % 3).astype(dtype)
        assert_like_torch(ours, theirs, x, **tolerance)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(p.grad, q.grad, **tolerance)
        for value, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert_close(value, other)


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_layout_does_not_matter(rng, dtype, name, training):
    x, dy = rng.standard_normal((2, *SHAPES[name][0])).astype(dtype)
    results = []
    for layout in (np.ascontiguousarray, laid_channels_last):
        layer = getattr(nn, name)(3, dtype=dtype).train(training)
        leaf = batten.from_numpy(layout(x)).requires_grad_()
        y = layer(leaf)
        y.backward(batten.from_numpy(layout(dy)))
        assert y.array.strides == laid_channels_last(x).strides
        results.append([a.tolist() for a in (y, leaf.grad, layer.weight.grad, layer.bias.grad, *layer.buffers())])
    assert results[0] == results[1]


def step(layer, x, dy):
    """Result, gradients and buffers."""
    leaf = batten.from_numpy(x).requires_grad_()
    y = layer(leaf)
    y.backward(batten.from_numpy(dy))
    return [a.numpy() for a in (y.detach(), leaf.grad, *[p.grad for p in layer.parameters()], *layer.buffers())]


@each_kind
def test_mean_ten_thousand_and_variance_a_hundredth(rng, isa, name):
    """In float32, whose steps are 0.001 there, as in float64 of the same numbers."""
    shape = (50, *SHAPES[name][0][1:])
    x = (1e4 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    ours = step(getattr(nn, name)(3, momentum=1.0), x, dy)
    exact = step(getattr(nn, name)(3, momentum=1.0, dtype="float64"), x.astype(np.float64), dy.astype(np.float64))
    for got, expected in zip(ours, exact, strict=True):
        assert_allclose(got, expected, rtol=2e-6, atol=1e-5)
    wide = np.moveaxis(x.astype(np.float64), 1, 0).reshape(3, -1)
    assert_allclose(ours[-3], wide.mean(1), rtol=1e-7)
    assert_allclose(ours[-2], wide.var(1, ddof=1), rtol=1e-6)


@each_kind
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_channel(rng, dtype, name, training, bad):
    x, dy = rng.standard_normal((2, *SHAPES[name][0])).astype(dtype)
    results = []
    for value in (0, bad):
        x[:1, 1, :1] = value
        results.append(step(getattr(nn, name)(3, dtype=dtype).train(training), x, dy)[:-1])
    for position, (clean, spoiled) in enumerate(zip(*results, strict=True)):
        axis = 1 if position < 2 else 0
        assert_array_equal(np.delete(spoiled, 1, axis), np.delete(clean, 1, axis))
        if training and position < 3:
            assert np.isnan(np.take(spoiled, 1, axis)).all()


@each_kind
def test_a_batch_of_one_in_evaluation(rng, dtype, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(3, dtype=dtype), getattr(torch.nn, name)(3, dtype=getattr(torch, str(dtype)))
    x = rng.standard_normal(SHAPES[name][0]).astype(dtype)
    ours(batten.tensor(x)), theirs(torch.tensor(x))
    for one in (x[:1], x[(slice(1), slice(None), *[slice(1)] * (x.ndim - 2))]):  # of one pixel, too
        assert_like_torch(ours.eval(), theirs.eval(), one)
    assert ours.num_batches_tracked.item() == 1


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads, name, training):
    x, dy = rng.standard_normal((2, 600, *SHAPES[name][0][1:])).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        found.add(tuple(a.tobytes() for a in step(getattr(nn, name)(3, dtype=dtype).train(training), x, dy)))
    assert len(found) == 1


# A layer's arguments, and the shape of its input.
NORMS = {
    "BatchNorm1d": ((6,), (5, 6)),
    "BatchNorm2d": ((6,), (5, 6, 3, 2)),
    "BatchNorm3d": ((6,), (5, 6, 3, 2, 2)),
    "InstanceNorm1d": ((6, 1e-5, 0.1, True, True), (5, 6, 3)),
    "InstanceNorm2d": ((6, 1e-5, 0.1, True, True), (5, 6, 3, 2)),
    "InstanceNorm3d": ((6, 1e-5, 0.1, True, True), (5, 6, 3, 2, 2)),
    "GroupNorm": ((3, 6), (5, 6, 3, 2)),
    "LayerNorm": (((6, 3),), (5, 6, 3)),
    "RMSNorm": (((6, 3),), (5, 6, 3)),
}


@pytest.mark.parametrize("name", NORMS)
def test_checkpoints_go_from_torch_and_back(rng, tmp_path, name):
    """Of all normalizations that have a state."""
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    arguments, shape = NORMS[name]
    ours, theirs, back = [getattr(library.nn, name)(*arguments) for library in (batten, torch, torch)]
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    theirs(torch.tensor(rng.standard_normal(shape).astype(np.float32)))
    files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(batten.load(tmp_path / "theirs.safetensors"))
    assert_like_torch(ours.eval(), theirs.eval(), rng.standard_normal(shape).astype(np.float32))
    batten.save(ours.state_dict(), tmp_path / "ours.safetensors")
    back.load_state_dict(files.load_file(tmp_path / "ours.safetensors"))
    for key, value in theirs.state_dict().items():
        assert_array_equal(back.state_dict()[key].numpy(), value.numpy())


@each_kind
def test_copies_and_pickles(rng, name):
    layer, x = getattr(nn, name)(3), batten.tensor(rng.standard_normal(SHAPES[name][0]).astype(np.float32))
    layer(x)
    expected = layer.eval()(x).tolist()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert twin(x).tolist() == expected


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("BatchNorm2d", (4, 3), r"^BatchNorm2d expects \(N, 3, H, W\), got \[4, 3\]$"),
        ("BatchNorm2d", (4, 3, 5), r"got \[4, 3, 5\]"),
        ("BatchNorm2d", (4, 5, 5, 3), r"\(N, 3, H, W\), got \[4, 5, 5, 3\]"),
        ("BatchNorm2d", (4, 3, 2, 2, 2), r"\(N, 3, H, W\), got \[4, 3, 2, 2, 2\]"),
        ("BatchNorm3d", (4, 3, 2, 2), r"^BatchNorm3d expects \(N, 3, D, H, W\), got \[4, 3, 2, 2\]$"),
        ("BatchNorm2d", (1, 3, 1, 1), "more than 1 value per channel when training"),
        ("BatchNorm3d", (1, 3, 1, 1, 1), "more than 1 value per channel when training"),
    ],
)
def test_refused(name, shape, message):
    layer = getattr(nn, name)(3)
    with pytest.raises(ValueError, match=message):
        layer(batten.ones(shape))
    with pytest.raises(ValueError, match=message):
        nn.Sequential(layer, nn.ReLU())(batten.ones(shape))
    assert layer.num_batches_tracked.item() == 0 and layer.running_mean.tolist() == [0, 0, 0]

"""Batch normalization of images and volumes: beside PyTorch, in either layout, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import batten
from batten import nn
from parity import assert_close, assert_like_torch

SHAPES = {
    "BatchNorm2d": [(4, 3, 5, 7), (1, 3, 2, 2), (2, 3, 1, 3), (70, 3, 8, 9), (0, 3, 2, 2), (2, 3, 0, 4)],
    "BatchNorm3d": [(4, 3, 2, 5, 3), (1, 3, 1, 2, 2), (9, 3, 1, 1, 1), (0, 3, 2, 2, 2), (2, 3, 2, 0, 4)],
}
SETTINGS = [
    {},
    {"momentum": None},
    {"momentum": 0.4, "eps": 0.1},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False, "momentum": None},
]
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

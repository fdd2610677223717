"""Pixels as channels, channels as pixels, channels in another order: beside PyTorch, and where the results lie."""

from __future__ import annotations

import copy
import pickle

import pytest
from numpy.testing import assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import assert_like_torch

# The function, its number, and a shape that it can have.
CASES = [
    *[("pixel_shuffle", 2, shape) for shape in [(8, 3, 5), (2, 12, 3, 4), (2, 3, 4, 2, 3), (1, 4, 1, 1)]],
    *[("pixel_shuffle", 3, shape) for shape in [(2, 18, 3, 4), (2, 9, 2, 1)]],
    ("pixel_shuffle", 1, (2, 3, 4, 5)),
    *[("pixel_unshuffle", 2, shape) for shape in [(3, 4, 6), (2, 3, 4, 6), (2, 2, 3, 4, 2), (1, 1, 2, 2)]],
    *[("pixel_unshuffle", 3, shape) for shape in [(2, 2, 3, 9), (2, 1, 6, 3)]],
    ("pixel_unshuffle", 1, (2, 3, 4, 5)),
    *[("channel_shuffle", 2, shape) for shape in [(2, 6, 3), (2, 6, 3, 4), (1, 2, 2, 2, 3), (1, 4, 2)]],
    *[("channel_shuffle", groups, (2, 6, 3, 2)) for groups in (1, 3, 6)],
]
each_case = pytest.mark.parametrize(("name", "number", "shape"), CASES, ids=str)


@each_case
def test_it_is_torchs(rng, dtype, name, number, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    assert_like_torch(lambda x: ours(x, number), lambda x: theirs(x, number), x)


@each_case
def test_integers_are_torchs(rng, name, number, shape):
    torch = pytest.importorskip("torch")
    x = rng.integers(0, 99, shape)
    expected = getattr(torch.nn.functional, name)(torch.tensor(x), number)
    assert_array_equal(getattr(F, name)(batten.tensor(x), number).numpy(), expected.numpy())


@pytest.mark.parametrize(("name", "number"), [("pixel_shuffle", 2), ("pixel_unshuffle", 2), ("channel_shuffle", 4)])
def test_results_and_gradients_lie_channels_last(rng, name, number):
    x = batten.tensor(rng.standard_normal((2, 4, 6, 8)), requires_grad=True)
    seen = x.permute(0, 3, 1, 2)
    y = getattr(F, name)(seen, number)
    assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    (y * y).sum().backward()
    assert_array_equal(x.grad.numpy(), 2 * x.detach().numpy())


def test_shuffles_are_undone(rng):
    x = batten.tensor(rng.standard_normal((2, 18, 4, 5)))
    assert_array_equal(F.pixel_unshuffle(F.pixel_shuffle(x, 3), 3).numpy(), x.numpy())
    assert_array_equal(F.channel_shuffle(F.channel_shuffle(x, 3), 6).numpy(), x.numpy())


@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        (F.pixel_shuffle, (0, 9, 2, 2), (0, 1, 6, 6)),
        (F.pixel_shuffle, (2, 9, 0, 2), (2, 1, 0, 6)),
        (F.pixel_unshuffle, (0, 2, 3, 3), (0, 18, 1, 1)),
        (F.pixel_unshuffle, (2, 2, 0, 3), (2, 18, 0, 1)),
        (F.channel_shuffle, (0, 3, 2), (0, 3, 2)),
        (F.channel_shuffle, (2, 0, 2), (2, 0, 2)),
    ],
    ids=str,
)
def test_nothing(function, before, after):
    x = batten.zeros(before, requires_grad=True)
    y = function(x, 3)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == (after, before)


@pytest.mark.parametrize("name", ["PixelShuffle", "PixelUnshuffle", "ChannelShuffle"])
def test_modules_are_torchs(rng, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(2), getattr(torch.nn, name)(2)
    assert repr(ours) == repr(theirs)
    x = rng.standard_normal((2, 8, 4, 6))
    assert_like_torch(ours, theirs, x)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert_array_equal(twin(batten.tensor(x)).numpy(), ours(batten.tensor(x)).numpy())


X = batten.ones(2, 6, 3, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.pixel_shuffle(X, 2), ValueError, r"^PixelShuffle expects channels that 4 divides, got 6 in"),
        (lambda: F.pixel_shuffle(X, 0), ValueError, "a positive upscale_factor, got 0"),
        (lambda: F.pixel_shuffle(X[0, 0], 2), ValueError, r"\(\*, C, H, W\), got \[3, 5\]"),
        (lambda: F.pixel_unshuffle(X, 3), ValueError, r"a height and a width that 3 divides, got \[2, 6, 3, 5\]"),
        (lambda: F.pixel_unshuffle(X, 5), ValueError, "that 5 divides"),
        (lambda: nn.PixelUnshuffle(-1)(X), ValueError, "^PixelUnshuffle expects a positive downscale_factor, got -1"),
        (lambda: F.pixel_unshuffle(X[0, 0], 2), ValueError, r"\(\*, C, H, W\), got \[3, 5\]"),
        (lambda: F.channel_shuffle(X, 4), ValueError, r"channels that 4 divides, got 6 in \[2, 6, 3, 5\]"),
        (lambda: F.channel_shuffle(X, 0), ValueError, "a positive groups, got 0"),
        (lambda: F.channel_shuffle(X[0, 0], 3), ValueError, r"\(N, C, \*\), got \[3, 5\]"),
        (lambda: nn.PixelShuffle(1.5)(X), TypeError, "float"),
        (lambda: nn.ChannelShuffle(), TypeError, "groups"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

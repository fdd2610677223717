"""Interpolation: beside PyTorch in every mode, in any layout, and what is refused."""

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
from parity import assert_close, assert_like_torch

MODES = [
    ("nearest", (1, 2, 3)),
    ("nearest-exact", (1, 2, 3)),
    ("area", (1, 2, 3)),
    ("linear", (1,)),
    ("bilinear", (2,)),
    ("bicubic", (2,)),
    ("trilinear", (3,)),
]
KINDS = [(mode, axes) for mode, several in MODES for axes in several]
SHAPES = [(2, 3, 5, 7, 4), (1, 1, 1, 2, 3), (2, 4, 10, 3, 6)]
# The last ones make gradients of three axes sums of thousands of terms, in which PyTorch's float32 loses digits.
SIZES = [1, 2, 7, 20]
SCALES = [0.5, 0.34, 0.7, 1.0, 1.3, 1.7, 2, 2.5, 3, 7.3]
TOLERANCE = {np.dtype("float32"): {"rtol": 1e-5, "atol": 2e-5}, np.dtype("float64"): {"rtol": 1e-11, "atol": 1e-12}}


def settings_for(mode, shape):
    """What to ask for, but for what PyTorch's own results and gradients disagree on: a scale that is not followed."""
    aligned = [None, False, True] if mode in ("linear", "bilinear", "bicubic", "trilinear") else [None]
    few = slice(-1 if len(shape) == 5 else None)
    to = [{"size": size} for size in (*SIZES[few], shape[2:], tuple(2 * n for n in shape[2:]))]
    for scale in SCALES[few]:
        lengths = [(n, int(scale * n)) for n in shape[2:]]
        if min(length for _, length in lengths) < 1:
            continue
        if not any(length in (n, 2 * n) and scale not in (1, 2) for n, length in lengths):
            to += [{"scale_factor": scale}, {"scale_factor": scale, "recompute_scale_factor": False}]
        to.append({"scale_factor": scale, "recompute_scale_factor": True})
    return [{"mode": mode, "align_corners": a, **t} for a in aligned for t in to]


@pytest.mark.parametrize(("mode", "axes"), KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_torchs(rng, dtype, mode, axes, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape[: 2 + axes]).astype(dtype)
    for settings in settings_for(mode, x.shape):
        assert_like_torch(
            lambda x, s=settings: F.interpolate(x, **s),
            lambda x, s=settings: torch.nn.functional.interpolate(x, **s),
            x,
            **TOLERANCE[dtype],
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [None, False, True])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 1, 2), (1, 1, 23, 16)], ids=str)
def test_antialias_is_torchs(rng, dtype, mode, align_corners, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    for to in [{"size": 1}, {"size": 3}, {"size": (4, 9)}, {"size": 40}, {"size": shape[2:]}, {"scale_factor": 2}]:
        settings = {"mode": mode, "align_corners": align_corners, "antialias": True, **to}
        assert_like_torch(
            lambda x, s=settings: F.interpolate(x, **s),
            lambda x, s=settings: torch.nn.functional.interpolate(x, **s),
            x,
            **TOLERANCE[dtype],
        )


@pytest.mark.parametrize(("mode", "axes"), KINDS)
def test_constants_stay(dtype, mode, axes):
    for size in (1, 3, 8, 50):
        y = F.interpolate(batten.full((2, 3, 8, 9, 5)[: 2 + axes], 0.7, dtype=dtype), size, mode=mode)
        assert_allclose(y.numpy(), 0.7, rtol=16 * np.finfo(dtype).eps)  # cubic weights change sign


@pytest.mark.parametrize(("mode", "axes"), KINDS)
def test_the_gradient_is_the_transpose(rng, mode, axes):
    """<interpolate(x), dy> = <x, gradient>, for scales, too, that PyTorch follows in one direction only."""
    for scale in (0.4, 0.95, 1.1, 2.05, 3.3):
        x = batten.tensor(rng.standard_normal((2, 3, 9, 7, 5)[: 2 + axes]), requires_grad=True)
        y = F.interpolate(x, scale_factor=scale, mode=mode)
        dy = batten.tensor(rng.standard_normal(y.shape))
        y.backward(dy)
        assert_allclose((y.detach() * dy).sum().item(), (x.detach() * x.grad).sum().item(), rtol=1e-12)


def test_layouts(rng, dtype):
    """Channels last go in and come out without a copy; any other layout gives the same numbers."""
    x = rng.standard_normal((2, 4, 5, 7)).astype(dtype)
    results = []
    for memory, seen in ((x, (0, 3, 1, 2)), (x.transpose(0, 3, 1, 2), (0, 1, 2, 3)), (x.T, (3, 0, 2, 1))):
        leaf = batten.tensor(np.ascontiguousarray(memory), requires_grad=True)
        y = F.interpolate(leaf.permute(*seen), (8, 3), mode="bilinear")
        assert y.detach().numpy().transpose(0, 2, 3, 1).flags.c_contiguous
        (y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.permute(*seen).numpy()))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    last = batten.tensor(x).permute(0, 3, 1, 2)
    before = kernels.memory_stats()["requests"]
    F.interpolate(last, scale_factor=2, mode="bilinear")
    assert kernels.memory_stats()["requests"] == before + 2  # one axis after the other


def test_what_changes_nothing_is_a_copy(rng):
    x = batten.tensor(rng.standard_normal((1, 2, 3, 4)))
    y = F.interpolate(x, (3, 4), mode="bicubic")
    assert_array_equal(y.numpy(), x.numpy())
    assert not np.shares_memory(y.numpy(), x.numpy())


def test_what_is_not_finite_stays_where_it_counts():
    x = batten.tensor([[[1.0, np.inf, 1.0, 1.0]]])
    assert F.interpolate(x, 7, mode="linear", align_corners=True).tolist() == [[[1, np.inf, np.inf, np.inf, 1, 1, 1]]]


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_the_same_bits_on_any_number_of_threads(rng, dtype, mode, threads):
    x = rng.standard_normal((3, 17, 31, 29)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        y = F.interpolate(leaf, (50, 61), mode=mode)
        (y * y).sum().backward()
        found.add((y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert len(found) == 1


LAYERS = [
    ("Upsample", {"size": 7}),
    ("Upsample", {"size": (7, 3), "mode": "bilinear", "align_corners": True}),
    ("Upsample", {"scale_factor": 2}),
    ("Upsample", {"scale_factor": (2, 1.5), "mode": "bicubic"}),
    ("Upsample", {"scale_factor": 1.5, "mode": "bilinear", "recompute_scale_factor": True}),
    ("UpsamplingNearest2d", {"scale_factor": 3}),
    ("UpsamplingNearest2d", {"size": (2, 9)}),
    ("UpsamplingBilinear2d", {"scale_factor": 2}),
    ("UpsamplingBilinear2d", {"size": 5}),
]


@pytest.mark.parametrize(("name", "settings"), LAYERS, ids=str)
def test_modules_are_torchs(rng, dtype, name, settings):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
    assert repr(ours) == repr(theirs)
    assert not ours.state_dict()
    x = rng.standard_normal((2, 3, 4, 5)).astype(dtype)
    assert_like_torch(ours, theirs, x, **TOLERANCE[dtype])
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert_close(twin(batten.tensor(x)), ours(batten.tensor(x)))


X = batten.ones(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.interpolate(X, 3, mode="cubic"), ValueError, "one of the modes nearest, .*, got 'cubic'"),
        (lambda: F.interpolate(X, 3, mode="linear"), ValueError, r"1 spatial axes, .*linear, got \[2, 3, 4, 5\]$"),
        (lambda: F.interpolate(X[0, 0], 3), ValueError, r"1 or 2 or 3 spatial axes, .* got \[4, 5\]$"),
        (lambda: F.interpolate(X[:, :, :0], 3), ValueError, r"not empty, .* got \[2, 3, 0, 5\]$"),
        (lambda: F.interpolate(X, 3, align_corners=False), ValueError, "no align_corners in mode nearest, got False"),
        (lambda: F.interpolate(X, 3, antialias=True), ValueError, "bilinear and bicubic only, got 'nearest'"),
        (lambda: F.interpolate(X), ValueError, "either size or scale_factor, got None and None"),
        (lambda: F.interpolate(X, 3, 2.0), ValueError, "either size or scale_factor, got 3 and 2.0"),
        (lambda: F.interpolate(X, 3, recompute_scale_factor=True), ValueError, "recompute with size=3"),
        (lambda: F.interpolate(X, (1, 2, 3)), ValueError, r"one size for each .* \[4, 5\], got \(1, 2, 3\)"),
        (lambda: F.interpolate(X, scale_factor=(2.0,)), ValueError, r"one scale_factor .*, got \(2.0,\)"),
        (lambda: F.interpolate(X, 0), ValueError, r"at least one pixel, got \[0, 0\]"),
        (lambda: F.interpolate(X, scale_factor=0.1), ValueError, r"at least one pixel, got \[0, 0\]"),
        (lambda: F.interpolate(X, 2.5), TypeError, "float"),
        (lambda: F.interpolate(X.long(), 3), TypeError, "interpolate expects floats, got int64"),
        (lambda: nn.Upsample(size=0)(X), ValueError, "^Upsample expects"),
        (lambda: nn.UpsamplingBilinear2d(size=3)(X[0]), ValueError, r"^UpsamplingBilinear2d expects .*2 spatial axes"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_tables_are_checked():
    y, x, weight = np.zeros((1, 2, 3)), np.ones((1, 4, 3)), np.ones(2)
    start, index = np.array([0, 1, 2]), np.array([0, 3])
    kernels.interpolate(y, x, start, index, weight)
    for bad in ([0, 1, 3], [-1, 1, 2]):
        with pytest.raises(IndexError, match="starts from 0 to 2, got"):
            kernels.interpolate(y, x, np.array(bad), index, weight)
    for bad in ([0, 4], [-1, 0]):
        with pytest.raises(IndexError, match="indices from 0 to 3, got"):
            kernels.interpolate(y, x, start, np.array(bad), weight)
    kernels.interpolate(y, x, np.array([2, 1, 0]), index, weight)  # from behind there is nothing
    assert not y.any()

"""Instance normalization: beside PyTorch, in either layout, with its running statistics, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import TOLERANCE, assert_close, assert_like_torch

SHAPES = {
    "InstanceNorm1d": [(4, 3, 5), (1, 3, 2), (70, 3, 41), (2, 3, 0)],
    "InstanceNorm2d": [(4, 3, 5, 7), (1, 3, 1, 2), (2, 3, 70, 71), (2, 3, 0, 4)],
    "InstanceNorm3d": [(4, 3, 2, 5, 3), (1, 3, 1, 2, 2), (9, 3, 1, 3, 1), (2, 3, 2, 0, 4)],
}
SETTINGS = [
    {},
    {"affine": True},
    {"affine": True, "bias": False, "eps": 0.1},
    {"track_running_stats": True},
    {"affine": True, "track_running_stats": True, "momentum": 0.4},
    {"track_running_stats": True, "momentum": None},
]
each_kind = pytest.mark.parametrize("name", SHAPES)


def laid_channels_last(x):
    """The same elements as a view of memory in which the channels are last."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def tolerance_of(dtype):
    """PyTorch's own sums over thousands of elements are in float32."""
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {}


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
    for step, shape in enumerate([*SHAPES[name], *[shape[1:] for shape in SHAPES[name]]]):
        for layer in (ours, theirs):
            layer.train(step % 3 != 2)
            layer.zero_grad()
        x = (2 * rng.standard_normal(shape) + step % 3).astype(dtype)
        assert_like_torch(ours, theirs, x, **tolerance_of(dtype))
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(p.grad, q.grad, **tolerance_of(dtype))
        for value, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert_close(value, other)


@pytest.mark.parametrize("shape", [(4, 3, 5), (3, 3, 2, 2), (2, 3, 1, 2, 1, 3)], ids=str)
@pytest.mark.parametrize("parameters", ["", "w", "b", "wb"])
@pytest.mark.parametrize("own", [True, False])
def test_the_function_is_torchs(rng, dtype, shape, parameters, own):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    given = rng.standard_normal((len(parameters), 3)).astype(dtype)
    mean, var = rng.uniform(0.5, 2, (2, 3)).astype(dtype)
    names = [{"w": "weight", "b": "bias"}[p] for p in parameters]
    running, theirs = (batten.tensor(mean), batten.tensor(var)), (torch.tensor(mean), torch.tensor(var))

    def call(function, statistics):
        settings = {"use_input_stats": own, "momentum": 0.3, "eps": 0.01}
        return lambda x, *v: function(x, *statistics, **dict(zip(names, v, strict=True)), **settings)

    ones, others = call(F.instance_norm, running), call(torch.nn.functional.instance_norm, theirs)
    assert_like_torch(ones, others, x, *given, **tolerance_of(dtype))
    for a, b in zip(running, theirs, strict=True):
        assert_close(a, b)
        assert own == (a.tolist() not in (mean.tolist(), var.tolist()))


def test_it_is_batch_norm_of_one_image(rng, dtype):
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((1, 6, 5, 7), 6, 6))
    layers = nn.InstanceNorm2d(6, affine=True, track_running_stats=True, dtype=dtype), nn.BatchNorm2d(6, dtype=dtype)
    found = []
    for layer in layers:
        layer.weight.data, layer.bias.data = batten.tensor(w), batten.tensor(b)
        y = layer(batten.tensor(x))
        found.append([y.numpy(), layer.running_mean.numpy(), layer.running_var.numpy(), layer.eval()(batten.tensor(x))])
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, **TOLERANCE[dtype])


@pytest.mark.parametrize("deviation", [1e-3, 1e-6, 0])
def test_a_running_variance_far_below_eps(rng, dtype, deviation):
    x = deviation * rng.standard_normal((5, 3, 40))
    x = x.astype(dtype)
    layer = nn.InstanceNorm1d(3, momentum=1.0, track_running_stats=True, dtype=dtype)
    layer(batten.tensor(x))
    expected = x.astype(np.float64).var(2, ddof=1).mean(0)
    assert_allclose(layer.running_var.numpy(), expected, rtol=1e-4 if deviation else 0)


def test_running_statistics_do_not_cancel(rng):
    x = (1e4 + 0.1 * rng.standard_normal((3, 2, 40, 50))).astype(np.float32)
    layer = nn.InstanceNorm2d(2, momentum=1.0, track_running_stats=True)
    layer(batten.tensor(x))
    exact = x.astype(np.float64)
    assert_allclose(layer.running_mean.numpy(), exact.mean((0, 2, 3)), rtol=1e-7)
    assert_allclose(layer.running_var.numpy(), exact.var((2, 3), ddof=1).mean(0), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0), (0, 3, 0)])
def test_nothing_moves_no_statistics(shape, dtype):
    layer = nn.InstanceNorm1d(3, affine=True, track_running_stats=True, dtype=dtype)
    x = batten.zeros(shape, dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == shape
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
    assert layer.weight.grad.tolist() == layer.bias.grad.tolist() == [0, 0, 0]
    assert layer.eval()(x).shape == shape


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_channel(rng, dtype, training, bad):
    x = rng.standard_normal((4, 6, 9)).astype(dtype)

    def outcome():
        layer = nn.InstanceNorm1d(6, track_running_stats=True, dtype=dtype).train(training)
        with warnings.catch_warnings(action="error"):
            y = layer(batten.tensor(x)).numpy()
        return y, layer.running_mean.numpy(), layer.running_var.numpy()

    clean = outcome()
    x[1, 2, 5] = bad
    spoiled = outcome()
    instance = [1, 2] if training else [1, 2, 5]
    for ones, others, at in zip(clean, spoiled, (instance, [2], [2]), strict=True):
        there = np.zeros(ones.shape, bool)
        there[tuple(at)] = True
        assert_array_equal(ones[~there], others[~there])
        assert (not np.isfinite(others[there]).any()) or (not training and there.ndim == 1)


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_layout_does_not_matter(rng, dtype, name, training):
    x, dy = rng.standard_normal((2, *SHAPES[name][0])).astype(dtype)
    results = []
    for layout in (np.ascontiguousarray, laid_channels_last):
        layer = getattr(nn, name)(3, affine=True, track_running_stats=True, dtype=dtype).train(training)
        leaf = batten.from_numpy(layout(x)).requires_grad_()
        y = layer(leaf)
        y.backward(batten.from_numpy(layout(dy)))
        assert y.array.strides == laid_channels_last(x).strides
        results.append([a.tolist() for a in (y, leaf.grad, layer.weight.grad, layer.bias.grad, *layer.buffers())])
    assert results[0] == results[1]


@each_kind
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_one_example_alone_is_a_batch_of_one(rng, dtype, name, settings):
    x, dy = rng.standard_normal((2, *SHAPES[name][0][1:])).astype(dtype)
    found = []
    for batch in (False, True):
        layer = nn.Sequential(getattr(nn, name)(3, dtype=dtype, **settings), nn.ReLU())
        leaf = batten.tensor(x, requires_grad=True)
        y = layer(leaf.unsqueeze(0) if batch else leaf)
        y.backward(batten.tensor(dy[None] if batch else dy))
        y = y[0] if batch else y
        found.append([a.tolist() for a in (y, leaf.grad, *[p.grad for p in layer.parameters()], *layer.buffers())])
    assert found[0] == found[1]


def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads):
    x, dy = rng.standard_normal((2, 9, 32, 30, 31)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        layer, leaf = nn.InstanceNorm2d(32, affine=True, track_running_stats=True, dtype=dtype), batten.tensor(x)
        y = layer(leaf.requires_grad_())
        y.backward(batten.tensor(dy))
        arrays = (y.detach(), leaf.grad, layer.weight.grad, layer.bias.grad, *layer.buffers())
        found.add(b"".join(a.numpy().tobytes() for a in arrays))
    assert len(found) == 1


@each_kind
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_copies_pickles_and_types(rng, name, settings):
    layer = getattr(nn, name)(3, **settings)
    x = batten.tensor(rng.standard_normal(SHAPES[name][0]).astype(np.float32))
    layer(x)
    expected = layer.eval()(x).tolist()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert twin(x).tolist() == expected
    assert layer.double()(x.double()).dtype == batten.float64
    layer.reset_parameters()
    assert all((p == (1 if name == "weight" else 0)).all().item() for name, p in layer.named_parameters())
    assert all(b.tolist() in ([0, 0, 0], [1, 1, 1], 0) for b in layer.buffers())


def test_a_checkpoint_of_torchs(rng, tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    x = rng.standard_normal((4, 3, 5, 7)).astype(np.float32)
    theirs(torch.tensor(x))
    pytest.importorskip("safetensors.torch").save_file(theirs.state_dict(), tmp_path / "norm.safetensors")
    ours = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    ours.load_state_dict(batten.load(tmp_path / "norm.safetensors"))
    assert_close(ours.eval()(batten.tensor(x)).detach(), theirs.eval()(torch.tensor(x)).detach())


def test_running_statistics_are_only_used_where_torch_uses_them(rng):
    x = batten.tensor(rng.standard_normal((4, 3, 5)) + 5)
    layer = nn.InstanceNorm1d(3, track_running_stats=True, dtype=batten.float64).eval()
    layer.track_running_stats = False  # the buffers stay, and are followed again
    layer(x)
    assert (layer.running_mean > 0.4).all().item()
    layer = nn.InstanceNorm1d(3, dtype=batten.float64).eval()
    layer.track_running_stats = True
    with pytest.raises(ValueError, match="running_mean and running_var unless use_input_stats=True, got None"):
        layer(x)


def test_a_value_changed_before_backward_is_found():
    layer = nn.InstanceNorm1d(3, affine=True)
    loss = layer(batten.ones(4, 3, 2, requires_grad=True)).sum()
    with batten.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("shape", [(2, 5, 4), (5, 4)])
def test_another_number_of_channels_only_matters_to_what_is_per_channel(shape):
    with pytest.warns(UserWarning, match=r"InstanceNorm1d expects \(N, 3, L\) or \(3, L\), got .* no difference"):
        assert nn.InstanceNorm1d(3)(batten.ones(shape)).shape == shape
    for settings in ({"affine": True}, {"track_running_stats": True}):
        with pytest.raises(ValueError, match=r"^InstanceNorm1d expects \(N, 3, L\) or \(3, L\), got \[.*5, 4\]$"):
            nn.InstanceNorm1d(3, **settings)(batten.ones(shape))


X, THREE = batten.ones(4, 3, 2), batten.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.InstanceNorm1d(3)(batten.ones(3)), ValueError, r"\(N, 3, L\) or \(3, L\), got \[3\]$"),
        (lambda: nn.InstanceNorm1d(3)(batten.ones(1, 2, 3, 4)), ValueError, r"got \[1, 2, 3, 4\]"),
        (lambda: nn.InstanceNorm2d(3)(batten.ones(3, 2)), ValueError, r"\(N, 3, H, W\) or \(3, H, W\), got \[3, 2\]$"),
        (lambda: nn.InstanceNorm3d(3)(X), ValueError, r"\(N, 3, D, H, W\) or \(3, D, H, W\), got \[4, 3, 2\]$"),
        (lambda: nn.InstanceNorm1d(3)(batten.ones(4, 3, 1)), ValueError, r"more than 1 spatial element .* \[4, 3, 1\]"),
        (lambda: nn.InstanceNorm2d(3).eval()(batten.ones(4, 3, 1, 1)), ValueError, "or BatchNorm or GroupNorm"),
        (lambda: nn.InstanceNorm1d(3)(X.long()), TypeError, "instance_norm expects floats, got int64"),
        (
            lambda: nn.InstanceNorm1d(3, affine=True)(X.double()),
            TypeError,
            "weight in the input's type, float64, got float32",
        ),
        (lambda: F.instance_norm(batten.ones(6)), ValueError, r"\(N, C, \*\), got \[6\]"),
        (lambda: F.instance_norm(batten.ones(6, 3)), ValueError, r"more than 1 spatial element .* \[6, 3\]"),
        (lambda: F.instance_norm(X, THREE), ValueError, "both, or neither"),
        (lambda: F.instance_norm(X, use_input_stats=False), ValueError, "got None"),
        (lambda: F.instance_norm(X, batten.ones(4), THREE), ValueError, r"running_mean \[3\] for an .*, got \[4\]"),
        (
            lambda: F.instance_norm(X, THREE.clone().requires_grad_(), THREE),
            ValueError,
            "instance_norm has no gradient for running_mean",
        ),
        (lambda: F.instance_norm(X, weight=batten.ones(2)), ValueError, r"weight \[3\] for an .*, got \[2\]"),
        (lambda: F.instance_norm(X, bias=batten.ones(2)), ValueError, r"bias \[3\] for an .*, got \[2\]"),
        (lambda: F.instance_norm(X, eps=-1.0), ValueError, "eps >= 0, got -1"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

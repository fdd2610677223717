"""Layers and their functions: against formulas, beside PyTorch, on odd shapes, and what they refuse."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import TOLERANCE, assert_close, assert_like_torch

# ---- activations ----

sigmoid = np.vectorize(lambda x: 1 / (1 + math.exp(-x)))
normal_below = np.vectorize(lambda x: (1 + math.erf(x / math.sqrt(2))) / 2)

# A module's name, its arguments by name, and its definition.
ACTIVATIONS = [
    ("ReLU", {}, lambda x: np.maximum(x, 0)),
    ("ReLU6", {}, lambda x: np.clip(x, 0, 6)),
    ("LeakyReLU", {}, lambda x: np.where(x > 0, x, 0.01 * x)),
    ("LeakyReLU", {"negative_slope": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
    ("Threshold", {"threshold": 0.5, "value": -7.0}, lambda x: np.where(x > 0.5, x, -7)),
    ("Hardtanh", {}, lambda x: np.clip(x, -1, 1)),
    ("Hardtanh", {"min_val": -0.5, "max_val": 3.0}, lambda x: np.clip(x, -0.5, 3)),
    ("ELU", {}, lambda x: np.where(x > 0, x, np.expm1(x))),
    ("ELU", {"alpha": 0.3}, lambda x: np.where(x > 0, x, 0.3 * np.expm1(x))),
    ("CELU", {"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    ("SELU", {}, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    ("GELU", {}, lambda x: x * normal_below(x)),
    (
        "GELU",
        {"approximate": "tanh"},
        lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    ("SiLU", {}, lambda x: x * sigmoid(x)),
    ("Mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("Sigmoid", {}, sigmoid),
    ("LogSigmoid", {}, lambda x: -np.log1p(np.exp(-x))),
    ("Tanh", {}, np.tanh),
    ("Softplus", {}, lambda x: np.log1p(np.exp(x))),
    ("Softplus", {"beta": 3.0, "threshold": 6.0}, lambda x: np.where(x > 2, x, np.log1p(np.exp(3 * x)) / 3)),
    ("Softsign", {}, lambda x: x / (1 + abs(x))),
    ("Hardsigmoid", {}, lambda x: np.clip(x + 3, 0, 6) / 6),
    ("Hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("Hardshrink", {}, lambda x: np.where(abs(x) > 0.5, x, 0)),
    ("Hardshrink", {"lambd": 2.0}, lambda x: np.where(abs(x) > 2, x, 0)),
    ("Softshrink", {}, lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
    ("Softshrink", {"lambd": 2.0}, lambda x: np.sign(x) * np.maximum(abs(x) - 2, 0)),
    ("Tanhshrink", {}, lambda x: x - np.tanh(x)),
]
ALONG_AXES = [
    ("Softmax", {"dim": 1}, lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    ("LogSoftmax", {"dim": -1}, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    ("Softmin", {"dim": 0}, lambda x: np.exp(-x) / np.exp(-x).sum(0, keepdims=True)),
]
named = pytest.mark.parametrize(
    ("name", "arguments", "definition"),
    ACTIVATIONS + ALONG_AXES,
    ids=[f"{name}-{arguments}" for name, arguments, _ in ACTIVATIONS + ALONG_AXES],
)


def function_of(name):
    """The function that a module is made from."""
    return getattr(F, {"LeakyReLU": "leaky_relu", "LogSoftmax": "log_softmax"}.get(name, name.lower()))


IN_PLACE = [
    (name, arguments)
    for name, arguments, _ in ACTIVATIONS
    if "inplace" in inspect.signature(function_of(name)).parameters
]


def grid(dtype):
    """Numbers on both sides of every kink, and the kinks themselves."""
    return np.concatenate([np.arange(-32, 34) / 4, [-30.0, 25.0]]).astype(dtype).reshape(4, 17)


@named
def test_activation_is_its_definition(dtype, name, arguments, definition):
    x = grid(dtype)
    module = getattr(nn, name)(**arguments)
    y = module(batten.tensor(x))
    assert y.dtype == dtype
    assert_allclose(y.numpy(), definition(x.astype(np.float64)), **TOLERANCE[dtype])
    assert_array_equal(function_of(name)(batten.tensor(x), **arguments).numpy(), y.numpy())


@named
def test_activation_is_torchs(dtype, name, arguments, definition):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**arguments), getattr(torch.nn, name)(**arguments)
    assert repr(ours) == repr(theirs)
    assert ours.state_dict() == {}
    # PyTorch takes 1/6 in float32, whatever the type: two roundings of 2^-23.
    tolerance = {"rtol": 2.4e-7} if name == "Hardsigmoid" else {}
    for x in (grid(dtype), np.zeros((0, 3), dtype), np.ones((1, 1), dtype)):
        assert_like_torch(ours, theirs, x, **tolerance)
        assert_like_torch(lambda x: ours(x.T), lambda x: theirs(x.T), x, **tolerance)


@named
def test_nan_goes_through(dtype, name, arguments, definition):
    y = getattr(nn, name)(**arguments)(batten.full((2, 2), math.nan, dtype=dtype))
    assert np.isnan(y.numpy()).all()


@pytest.mark.parametrize(("name", "arguments"), IN_PLACE)
def test_in_place(dtype, name, arguments):
    x = grid(dtype)
    module, changing = getattr(nn, name)(**arguments), getattr(nn, name)(**arguments, inplace=True)
    results = []
    for layer in (module, changing):
        leaf = batten.tensor(x, requires_grad=True)
        before = leaf * 1
        after = layer(before)
        (after * after).sum().backward()
        results.append((after.tolist(), leaf.grad.tolist()))
        assert (after is before) == (layer is changing)
    assert results[0] == results[1]

    leaf = batten.tensor(x, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        changing(leaf)
    assert_array_equal(leaf.numpy(), x)
    with batten.no_grad():
        assert changing(leaf) is leaf
    assert_array_equal(leaf.numpy(), module(batten.tensor(x)).numpy())


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "celu", "selu", "hardtanh"])
def test_functions_with_an_underscore_change_their_argument(name):
    x = batten.tensor(grid("float32"))
    expected = getattr(F, name)(x)
    assert getattr(F, f"{name}_")(x) is x
    assert x.tolist() == expected.tolist()
    assert F.threshold_(x, 0.0, -1.0) is x
    assert x.min() == -1


def test_a_value_kept_elsewhere_is_found_when_it_was_changed_in_place():
    x = batten.ones(3, requires_grad=True) * 1
    y = x * x
    F.silu(x, inplace=True)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize(
    "doors",
    [
        (nn.ReLU(), F.relu, batten.Tensor.relu, batten.relu),
        (nn.Tanh(), F.tanh, batten.Tensor.tanh, batten.tanh),
        (nn.Softmax(0), lambda x: F.softmax(x, 0), lambda x: x.softmax(0)),
    ],
)
def test_all_doors_lead_to_one_operation(doors):
    x = batten.ones(3, requires_grad=True)
    assert len({type(door(x).grad_fn) for door in doors}) == 1


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize(("shape", "axis"), [((), 0), ((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)])
def test_softmax_without_dim_chooses_with_a_warning(rng, name, shape, axis):
    x = batten.tensor(rng.standard_normal(shape))
    with pytest.warns(UserWarning, match=f"{name} without dim takes axis {axis}") as caught:
        y = getattr(F, name)(x)
    assert caught[0].filename == __file__
    assert_array_equal(y.numpy(), getattr(F, name)(x, axis).numpy())


def test_softmax_in_another_type():
    y = F.softmax(batten.tensor([1, 2]), 0, dtype=batten.float64)
    assert y.dtype == batten.float64
    assert y.sum().item() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        *[
            (
                lambda function=function: function(batten.tensor([1, 2])),
                TypeError,
                f"^{function.__name__} expects floats",
            )
            for function in [function_of(name) for name, arguments, _ in ACTIVATIONS if not arguments]
            if function not in (F.relu, F.sigmoid, F.tanh)
        ],
        (lambda: F.softmax(batten.tensor([1, 2]), 0), TypeError, "^softmax expects floats, got int64"),
        (lambda: F.softmax(batten.ones(2, 3), 2), IndexError, "dim from -2 to 1, got 2"),
        (lambda: F.gelu(batten.ones(2), "fast"), ValueError, "'none' or 'tanh', got 'fast'"),
        (lambda: F.celu(batten.ones(2), 0.0), ValueError, "alpha other than 0"),
        (lambda: F.hardtanh(batten.ones(2), 2, 1), ValueError, "min_val <= max_val, got 2 and 1"),
        (lambda: F.hardshrink(batten.ones(2), -1), ValueError, "hardshrink expects lambd >= 0, got -1"),
        (lambda: F.softshrink(batten.ones(2), math.nan), ValueError, "softshrink expects lambd >= 0, got nan"),
        (lambda: nn.Threshold(1), TypeError, "value"),
        (lambda: F.mish("text"), TypeError, "expected a tensor, an array or a number, got str"),
    ],
)
def test_activations_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_integers_where_they_have_a_meaning():
    x = batten.tensor([-1, 2])
    assert F.relu(x).tolist() == [0, 2]
    assert F.relu(x).dtype == batten.int64
    assert F.sigmoid(x).dtype == F.tanh(x).dtype == batten.float32


# ---- Linear ----

LINEAR = [
    ((4, 3), (5, 3)),
    ((3,), (5, 3)),
    ((1, 1), (1, 1)),
    ((2, 4, 3), (5, 3)),
    ((0, 3), (5, 3)),
    ((2, 0, 3), (5, 3)),
    ((4, 0), (5, 0)),
    ((4, 3), (0, 3)),
    ((37, 129), (65, 129)),
]


@pytest.mark.parametrize(("shape", "weights"), LINEAR)
def test_linear_is_its_definition(rng, dtype, shape, weights):
    arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, weights, weights[:1])]
    x, w, b = [a.astype(np.float64) for a in arrays]
    tensors = [batten.tensor(a) for a in arrays]
    # A sum of k products and a bias: each is rounded, and then the sum k times.
    allowed = np.finfo(dtype).eps * (shape[-1] + 1) * (abs(x) @ abs(w).T + abs(b))
    for y, expected in [(F.linear(*tensors), x @ w.T + b), (F.linear(*tensors[:2]), x @ w.T)]:
        assert y.dtype == dtype
        assert y.shape == expected.shape
        assert (abs(y.numpy() - expected) <= allowed).all()


@pytest.mark.parametrize(("shape", "weights"), LINEAR)
def test_linear_is_torchs(rng, dtype, shape, weights):
    torch = pytest.importorskip("torch")
    size = 1 / math.sqrt(max(shape[-1], 1))
    arrays = [np.asarray(size * rng.standard_normal(s), dtype) for s in (shape, weights, weights[:1])]
    assert_like_torch(F.linear, torch.nn.functional.linear, *arrays)
    assert_like_torch(F.linear, torch.nn.functional.linear, *arrays[:2])


def test_linear_of_strided_operands(rng, dtype):
    x, w, b = [rng.standard_normal(s).astype(dtype) for s in ((3, 4, 8), (4, 5), (10,))]

    def strided(x, w, b):
        return F.linear(batten.permute(x, (2, 0, 1))[::2], w.T, b[::2])

    ours = [batten.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = strided(*ours)
    assert_close(y.detach(), (x.transpose(2, 0, 1)[::2].astype(np.float64) @ w + b[::2]).astype(dtype))
    (y * y).sum().backward()
    straight = [
        batten.tensor(a, requires_grad=True) for a in (x.transpose(2, 0, 1)[::2], np.ascontiguousarray(w.T), b[::2])
    ]
    y = F.linear(*straight)
    (y * y).sum().backward()
    assert_close(ours[0].grad.permute(2, 0, 1)[::2], straight[0].grad)
    assert_close(ours[1].grad.T, straight[1].grad)
    assert_close(ours[2].grad[::2], straight[2].grad)


def test_linear_keeps_only_what_gradients_are_wanted_of(rng):
    x, w = batten.ones(2, 3), batten.ones(4, 3, requires_grad=True)
    operation = F.linear(x, w).grad_fn
    assert operation.weight is None
    assert operation.x is not None
    w.requires_grad_(False)
    operation = F.linear(batten.ones(2, 3, requires_grad=True), w, batten.ones(4)).grad_fn
    assert operation.x is None
    assert operation.backward(np.ones((2, 4), np.float32))[1:] == (None, None)


def test_linear_module(dtype):
    batten.manual_seed(0)
    layer = nn.Linear(300, 200, dtype=dtype)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert repr(layer) == "Linear(in_features=300, out_features=200, bias=True)"
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(in_features=3, out_features=2, bias=False)"
    assert list(nn.Linear(3, 2, bias=False).state_dict()) == ["weight"]
    bound = 1 / math.sqrt(300)
    for parameter in layer.parameters():
        n = parameter.numel()
        assert bound * 0.9 < abs(parameter.numpy()).max() <= bound * (1 + 1e-6)
        assert abs(parameter.numpy().mean()) < 4 * bound / math.sqrt(3 * n)
        assert abs(parameter.numpy().var() / (bound**2 / 3) - 1) < 4 * math.sqrt(0.8 / n)
    before = layer.weight.tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() != before


def test_linear_is_the_same_for_the_same_seed():
    layers = []
    for _ in range(2):
        batten.manual_seed(5)
        layers.append(nn.Linear(4, 3))
    assert layers[0].weight.tolist() == layers[1].weight.tolist()
    assert layers[0].bias.tolist() == layers[1].bias.tolist()


def test_linear_without_inputs_or_outputs():
    assert nn.Linear(0, 3).bias.tolist() == [0, 0, 0]
    assert nn.Linear(0, 3)(batten.ones(2, 0)).tolist() == [[0] * 3] * 2
    assert nn.Linear(3, 0)(batten.ones(2, 3)).shape == (2, 0)


def test_linear_refuses():
    layer = nn.Linear(784, 10)
    for x, message in [
        (batten.ones(64, 1, 28, 28), r"^Linear expects \(\*, 784\), got \[64, 1, 28, 28\]$"),
        (batten.ones(()), r"got \[\]"),
        (batten.ones(784, 1), r"got \[784, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer(x)
    with pytest.raises(TypeError, match=r"^Linear expects floats, got int64; use \.float\(\) first$"):
        layer(batten.ones(2, 784, dtype=batten.int64))
    with pytest.raises(TypeError, match=r"float64, got float32; use \.to\(batten\.float32\) on the input first$"):
        layer(batten.ones(2, 784).double())
    with pytest.raises(TypeError, match="Linear expects its bias in the input's type, float32, got float64"):
        F.linear(batten.ones(3), batten.ones(2, 3), batten.ones(2).double())
    with pytest.raises(ValueError, match=r"a weight \(out_features, in_features\), got \[3\]"):
        F.linear(batten.ones(3), batten.ones(3))
    with pytest.raises(ValueError, match=r"a bias \[2\], got \[3\]"):
        F.linear(batten.ones(3), batten.ones(2, 3), batten.ones(3))
    with pytest.raises(ValueError, match="-1"):
        nn.Linear(3, -1)
    with pytest.raises(RuntimeError, match="cuda"):
        nn.Linear(3, 1, device="cuda")


def test_rearranging_layers(rng):
    x = batten.tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Flatten()(batten.ones(0, 3, 4)).shape == (0, 12)
    assert nn.Unflatten(-1, (2, 2))(x).shape == (2, 3, 2, 2)
    assert nn.Unflatten(2, [-1, 2])(x).shape == (2, 3, 2, 2)
    assert nn.Identity(3, what="ever")(x) is x
    y = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 3)))(x)
    assert_array_equal(y.detach().numpy(), x.detach().numpy().reshape(2, 4, 3))
    y.sum().backward()
    assert x.grad.shape == (2, 3, 4)
    with pytest.raises(TypeError, match="a tuple of ints as unflattened_size, got 5"):
        nn.Unflatten(1, 5)
    with pytest.raises(TypeError, match=r"got \(2, 1.5\)"):
        nn.Unflatten(1, (2, 1.5))
    with pytest.raises(ValueError, match=r"got \[5, 2\]"):
        nn.Unflatten(1, (5, 2))(x)
    with pytest.raises(IndexError, match="flatten expects a dim from -1 to 0, got 1"):
        nn.Flatten()(batten.ones(3))


def test_rearranging_layers_are_written_as_in_torch():
    torch = pytest.importorskip("torch")
    for text in [
        "Flatten()",
        "Flatten(0, 1)",
        "Unflatten(1, (2, -1))",
        "Identity(1, a=2)",
        "Dropout()",
        "Dropout(0.3, True)",
    ]:
        assert repr(eval(f"nn.{text}")) == repr(eval(f"torch.nn.{text}", {"torch": torch}))


# ---- BatchNorm1d ----

BATCHES = [(6, 3), (2, 3), (4, 3, 5), (1, 3, 7), (2, 3, 1), (130, 3)]


def normalized(x, mean, var, eps=1e-5):
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)


@pytest.mark.parametrize("shape", BATCHES)
def test_batch_norm_in_training_is_its_definition(rng, dtype, shape):
    layer = nn.BatchNorm1d(3, dtype=dtype)
    x = (3 * rng.standard_normal(shape) + 2).astype(dtype)
    wide = x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    n = x.size // 3
    mean, var = wide.mean(axes), wide.var(axes)
    assert_allclose(layer(batten.tensor(x)).detach().numpy(), normalized(wide, mean, var), **TOLERANCE[dtype])
    assert_allclose(layer.running_mean.numpy(), 0.1 * mean, **TOLERANCE[dtype])
    assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * var * n / (n - 1), **TOLERANCE[dtype])
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
    assert_allclose(
        layer(batten.tensor(x)).detach().numpy(),
        normalized(wide, mean.astype(np.float64), var.astype(np.float64)),
        **TOLERANCE[dtype],
    )
    assert layer.num_batches_tracked.item() == 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("parameters", [0, 1, 2])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 4, 5), (1, 3, 2, 1, 2)])
def test_functional_batch_norm_is_torchs(rng, dtype, shape, parameters, training):
    torch = pytest.importorskip("torch")
    x, w, b, mean, var = [rng.standard_normal(s).astype(dtype) for s in (shape, 3, 3, 3, 3)]
    ours = [batten.tensor(a) for a in (mean, abs(var))]
    theirs = [torch.tensor(a) for a in (mean, abs(var))]
    assert_like_torch(
        lambda x, *p: F.batch_norm(x, *ours, *p, training=training, momentum=0.3),
        lambda x, *p: torch.nn.functional.batch_norm(x, *theirs, *p, training=training, momentum=0.3),
        x,
        *[w, b][:parameters],
    )
    for running, other in zip(ours, theirs, strict=True):
        assert_close(running, other)


def test_batch_norm_of_numbers_far_from_zero(rng):
    """The spread is a ten-thousandth of the mean, and float32 has seven digits: three are left of the spread."""
    x = (1e4 + rng.standard_normal((500, 3))).astype(np.float32)
    wide = x.astype(np.float64)
    y = nn.BatchNorm1d(3)(batten.tensor(x)).detach().numpy()
    assert_allclose(y, normalized(wide, wide.mean(0), wide.var(0)), rtol=1e-3, atol=1e-3)
    layer = nn.BatchNorm1d(3)
    layer(batten.tensor(x))
    assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * wide.var(0, ddof=1), rtol=1e-6)


def test_batch_norm_sees_elements_not_layout(rng):
    x = rng.standard_normal((4, 3, 5))
    straight = batten.tensor(x, requires_grad=True)
    memory = batten.tensor(np.ascontiguousarray(x.transpose(0, 2, 1)), requires_grad=True)
    results = []
    for leaf, seen in ((straight, straight), (memory, memory.permute(0, 2, 1))):
        layer = nn.BatchNorm1d(3, dtype=batten.float64)
        y = layer(seen)
        (y * y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.numpy(), layer.weight.grad.numpy()))
    assert_array_equal(results[0][0], results[1][0])
    assert_array_equal(results[0][1].transpose(0, 2, 1), results[1][1])
    assert_array_equal(results[0][2], results[1][2])


def test_batch_norm_gradients_of_parameters_only(rng):
    x = rng.standard_normal((5, 3))
    layer = nn.BatchNorm1d(3).double()
    layer(batten.tensor(x)).square().sum().backward()
    expected = layer.weight.grad.tolist()
    layer.zero_grad()
    layer.bias.requires_grad_(False)
    layer(batten.tensor(x)).square().sum().backward()
    assert layer.weight.grad.tolist() == expected
    assert layer.bias.grad is None


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_one_value_a_channel_has_no_variance(shape):
    layer = nn.BatchNorm1d(3)
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"Expected more than 1 value per channel when training, got input size \[1, 3"
    ) as e:
        layer(batten.ones(shape))
    assert "drop_last=True" in str(e.value)
    assert "eval()" in str(e.value)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before
    assert layer.eval()(batten.ones(shape)).shape == shape


def test_batch_norm_refuses_and_stays_as_it_was():
    layer = nn.BatchNorm1d(3)
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    for x, error, message in [
        (batten.ones(4, 5), ValueError, r"^BatchNorm1d expects \(N, 3\) or \(N, 3, L\), got \[4, 5\]$"),
        (batten.ones(3), ValueError, r"got \[3\]"),
        (batten.ones(4, 3, 2, 2), ValueError, r"got \[4, 3, 2, 2\]"),
        (batten.ones(4, 3, dtype=batten.int64), TypeError, "batch_norm expects floats, got int64"),
        (batten.ones(4, 3).double(), TypeError, "running_mean in the input's type, float64, got float32"),
    ]:
        with pytest.raises(error, match=message):
            layer(x)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((None, None), {}, ValueError, "unless training=True, got None"),
        ((batten.ones(3), None), {}, ValueError, "both, or neither"),
        ((batten.ones(2), batten.ones(2)), {}, ValueError, r"running_mean \[3\] for an input \[4, 3\], got \[2\]"),
        ((batten.ones(3), batten.ones(3, requires_grad=True)), {}, ValueError, "no gradient for running_var"),
        ((None, None, batten.ones(3, 1)), {"training": True}, ValueError, r"weight \[3\] .* got \[3, 1\]"),
        ((None, None, None, batten.ones(3).double()), {"training": True}, TypeError, "bias in the input's type"),
        ((None, None), {"training": True, "eps": 0}, ValueError, "eps > 0, got 0"),
        ((batten.ones(3), batten.ones(3)), {"eps": -1}, ValueError, "eps > 0, got -1"),
        ((batten.ones(6)[::2], batten.ones(3)), {"training": True}, ValueError, "in C order"),
    ],
)
def test_functional_batch_norm_refuses(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        F.batch_norm(batten.ones(4, 3), *arguments, **settings)
    with pytest.raises(ValueError, match=r"\(N, C\) or \(N, C, \*\), got \[3\]"):
        F.batch_norm(batten.ones(3), None, None, training=True)


def test_running_statistics_that_moved_before_backward_are_found():
    layer = nn.BatchNorm1d(3).eval()
    y = layer(batten.ones(4, 3))
    layer.train()(batten.ones(4, 3))
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_tracking_switched_off_later_uses_the_batch_in_training_only():
    layer = nn.BatchNorm1d(2)
    layer.track_running_stats = False
    x = batten.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert_allclose(layer(x).detach().numpy(), [[-1, -1], [1, 1]], atol=1e-4)
    assert layer.running_mean.tolist() == [0, 0]
    assert_allclose(layer.eval()(x).detach().numpy(), x.numpy(), atol=1e-4)


def test_reset_parameters_forgets_everything(rng):
    layer = nn.BatchNorm1d(3)
    fresh = {key: value.tolist() for key, value in layer.state_dict().items()}
    layer(batten.tensor(rng.standard_normal((5, 3)).astype(np.float32)))
    nn.init.normal_(layer.weight)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} != fresh
    layer.reset_parameters()
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == fresh


# ---- Dropout ----


def test_dropout_zeroes_as_often_as_it_says_and_scales_the_rest(dtype):
    batten.manual_seed(0)
    n = 100_000
    for p in (0.1, 0.5, 0.9):
        y = F.dropout(batten.ones(n, dtype=dtype), p).numpy()
        assert set(np.unique(y)) == {0, dtype.type(1 / (1 - p))}
        assert abs((y == 0).mean() - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_dropout_of_nothing_and_of_everything(rng, dtype):
    x = batten.tensor(rng.standard_normal((5, 7)).astype(dtype), requires_grad=True)
    state = batten.get_rng_state().tolist()
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.7, training=False) is x
    assert nn.Dropout(0.7).eval()(x) is x
    assert batten.get_rng_state().tolist() == state
    y = F.dropout(x, 1.0)
    assert y.tolist() == [[0] * 7] * 5
    y.sum().backward()
    assert x.grad.tolist() == [[0] * 7] * 5
    assert F.dropout(batten.ones(0, 3)).shape == (0, 3)


def test_dropout_goes_backward_where_it_went_forward(rng, dtype):
    for shape, view in itertools.product(
        [(7, 9), (33, 1), (3, 4, 5)], [lambda x: x, lambda x: x.T, lambda x: x[..., ::2]]
    ):
        x = batten.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        y = F.dropout(view(x), 0.4)
        direction = rng.standard_normal(y.shape).astype(dtype)
        kept = (y.detach().numpy() != 0) * dtype.type(1 / 0.6)
        assert_array_equal(y.detach().numpy(), view(x.detach()).numpy() * kept)
        y.backward(batten.tensor(direction))
        assert_array_equal(view(x.grad).numpy(), direction * kept)


def test_dropout_of_the_same_seed_has_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x = rng.standard_normal((500, 301)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        batten.manual_seed(11)
        leaf = batten.tensor(x, requires_grad=True)
        first, second = F.dropout(leaf, 0.3), nn.Dropout(0.3)(leaf)
        (first + second).square().sum().backward()
        found.add((first.numpy().tobytes(), second.numpy().tobytes(), leaf.grad.numpy().tobytes()))
        assert first.numpy().tobytes() != second.numpy().tobytes()
    assert len(found) == 1


def test_dropout_in_place(rng):
    x = batten.tensor(rng.standard_normal((5, 7)), requires_grad=True)
    batten.manual_seed(2)
    expected = F.dropout(x, 0.5)
    batten.manual_seed(2)
    before = x * 1
    assert nn.Dropout(0.5, inplace=True)(before) is before
    assert before.tolist() == expected.tolist()
    before.sum().backward()
    assert x.grad.tolist() == ((expected.detach().numpy() != 0) * 2.0).tolist()
    state = batten.get_rng_state().tolist()
    with pytest.raises(RuntimeError, match="leaf"):
        F.dropout(x, 0.5, inplace=True)
    assert batten.get_rng_state().tolist() == state


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_refuses(p):
    with pytest.raises(ValueError, match=f"^Dropout expects a probability between 0 and 1, got {p}"):
        nn.Dropout(p)
    with pytest.raises(ValueError, match=f"^dropout expects a probability between 0 and 1, got {p}"):
        F.dropout(batten.ones(3), p, training=False)
    with pytest.raises(TypeError, match="dropout expects floats, got int64"):
        F.dropout(batten.tensor([1, 2]))


# ---- together ----


def mlp(dtype):
    batten.manual_seed(4)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.0), nn.Linear(7, 5, bias=False)
    ).to(dtype)


def test_a_model_and_its_state_go_to_torch_and_back(rng, dtype):
    torch = pytest.importorskip("torch")
    ours = mlp(dtype)
    theirs = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(12, 7),
        torch.nn.BatchNorm1d(7),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.0),
        torch.nn.Linear(7, 5, bias=False),
    ).to(getattr(torch, str(dtype)))
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    loss, their_loss = nn.CrossEntropyLoss(label_smoothing=0.1), torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    target = rng.integers(0, 5, 6)
    for _ in range(2):
        x = rng.standard_normal((6, 3, 4)).astype(dtype)
        assert_like_torch(
            lambda x: loss(ours(x), batten.tensor(target)), lambda x: their_loss(theirs(x), torch.tensor(target)), x
        )
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(p.grad, q.grad)
    back = mlp(dtype)
    back.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    for (key, value), (their_key, theirs_) in zip(back.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert key == their_key
        assert_array_equal(value.numpy(), theirs_.numpy())
    assert_like_torch(ours.eval(), theirs.eval(), x)


def test_layers_are_copied_and_pickled(rng, dtype):
    model = mlp(dtype)
    x = batten.tensor(rng.standard_normal((6, 3, 4)).astype(dtype))
    model(x)
    model.eval()
    expected = model(x).tolist()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(twin) == repr(model)
        assert twin(x).tolist() == expected
        assert twin[1].weight is not model[1].weight


# Layers that PyTorch has not.
OWN = {
    *("LpBatchNorm1d", "LpBatchNorm2d", "NoisyBatchNorm1d", "NoisyBatchNorm2d", "RecurrentBatchNorm1d"),
    *("DropConnect", "GaussianNoise", "MultiplicativeGaussianNoise", "UniformNoise"),
}


def test_every_public_layer_is_here_and_in_torch():
    torch = pytest.importorskip("torch")
    for name, function in vars(F).items():
        if not name.startswith("_") and inspect.isfunction(function):
            assert hasattr(torch.nn.functional, name), name
    for name, kind in vars(nn).items():
        if inspect.isclass(kind):
            assert hasattr(torch.nn, name) == (name not in OWN), name

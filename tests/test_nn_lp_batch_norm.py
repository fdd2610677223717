"""Batch normalization by the mean deviation and by the largest: its definition, and what is as ever."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import _kernels as kernels
from batten import nn
from batten.nn import lp_batch_norm
from batten.nn.lp_batch_norm import OPERATIONS, largest_of_half_normals
from batten.optim.swa_utils import update_bn
from parity import TOLERANCE, assert_close, assert_like_torch

INF = math.inf
EPS = 1e-5
each_power = pytest.mark.parametrize("p", [1, 2, INF])
each_deviation = pytest.mark.parametrize("p", [1, INF])
KINDS = {"LpBatchNorm1d": "BatchNorm1d", "LpBatchNorm2d": "BatchNorm2d"}


def factor(p, n):
    return math.sqrt(math.pi / 2) if p == 1 else 1 / largest_of_half_normals(n)


def deviation(x, p):
    """s of the columns of a matrix, by its definition."""
    d = abs(x - x.mean(0))
    return {1: factor(1, len(x)) * d.mean(0), 2: x.std(0), INF: factor(INF, len(x)) * d.max(0)}[p]


def normalized(x, p, eps=EPS):
    return (x - x.mean(0)) / np.sqrt(deviation(x, p) ** 2 + eps)


def kind_for(x):
    return nn.LpBatchNorm2d if x.ndim == 4 else nn.LpBatchNorm1d


def as_matrix(x):
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


# ---- e(n) ----


def test_the_largest_of_one_and_two():
    assert_allclose(largest_of_half_normals(1), math.sqrt(2 / math.pi), rtol=1e-14)
    assert_allclose(largest_of_half_normals(2), 2 / math.sqrt(math.pi), rtol=1e-14)


@pytest.mark.parametrize("n", [1, 3, 10, 1000, 2**17 + 1, 2**40])
def test_the_largest_is_its_integral(n):
    """By Simpson's rule, in steps small enough."""
    t = np.linspace(0, 12, 24_001)
    inside = np.array([-math.expm1(n * math.log(math.erf(v / math.sqrt(2)))) if 0 < v < 6 else 1.0 for v in t])
    tail = t >= 6  # where erf is 1 but for rounding
    inside[tail] = [-math.expm1(n * math.log1p(-math.erfc(v / math.sqrt(2)))) for v in t[tail]]
    weights = np.tile([2, 4], 12_001)[:24_001] / 3 * 12 / 24_000
    weights[[0, -1]] /= 2
    assert_allclose(largest_of_half_normals(n), weights @ inside, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 100])
def test_the_largest_is_an_average(rng, n):
    found = abs(rng.standard_normal((100_000, n))).max(1)
    assert abs(found.mean() - largest_of_half_normals(n)) < 4 * found.std() / math.sqrt(100_000)


@each_power
def test_s_estimates_the_standard_deviation(rng, p):
    """On average over the columns, whose largest elements differ by a tenth."""
    x = (3 * rng.standard_normal((1000, 2000))).astype(np.float32)
    layer = nn.LpBatchNorm1d(2000, p, momentum=1.0)
    layer(batten.tensor(x))
    s = np.sqrt(layer.running_var.numpy() * 999 / 1000)
    assert_allclose(s.mean(), 3, rtol=0.01)


# ---- forward and backward ----

# Widths below a vector, of one strip, between tiles, and of several tiles; heights around that of a tile, which
# is higher where it is narrow, and whose rows are read several at a time.
SHAPES = [
    (2, 1), (2, 5), (3, 4), (63, 31), (64, 64), (65, 100), (130, 513), (257, 1030), (300, 16),
    (513, 48), (1025, 32), (2047, 16), (4099, 10), (10931, 3), (33001, 1),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@each_deviation
def test_any_width_and_height_against_numpy(shape, p, rng, dtype, isa):
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    exact, dy64 = x.astype(np.longdouble), dy.astype(np.longdouble)
    n, d = len(x), exact - exact.mean(0)
    s = deviation(exact, p)
    rstd, a = 1 / np.sqrt(s * s + EPS), (dy64 * d).sum(0)
    if p == 1:
        slope = factor(p, n) / n * (np.sign(d) - np.sign(d).mean(0))
    else:
        # Of two numbers both are as far from the mean; then the greater one is meant.
        far = np.where(d.max(0) >= -d.min(0), d.argmax(0), d.argmin(0)), np.arange(shape[1])
        slope = np.full(shape, -1 / np.longdouble(n))
        slope[far] += 1
        slope *= factor(p, n) * np.sign(d[far])
    leaf, weight = batten.tensor(x, requires_grad=True), batten.ones(shape[1], dtype=dtype, requires_grad=True)
    y = lp_batch_norm.lp_batch_norm(leaf, None, None, weight, training=True, p=p)
    y.backward(batten.tensor(dy))
    for got, expected in (
        (y.detach(), d * rstd),
        (leaf.grad, rstd * (dy64 - dy64.mean(0) - a * rstd * rstd * s * slope)),
        (weight.grad, a * rstd),
    ):
        # In float64 each row may add a rounding to a sum.
        roundings = 8 if dtype == np.float32 else max(n, 8)
        bound = roundings * np.finfo(dtype).eps * max(1, float(abs(expected).max()))
        assert_allclose(got.numpy(), expected.astype(np.float64), rtol=0, atol=bound)


def formula(torch, p, eps):
    """The definition by PyTorch's operations, whose maximum shares its gradient among elements that are equal."""

    def function(x, w=None, b=None):
        axes = [0, *range(2, x.ndim)]
        each = [1, -1] + [1] * (x.ndim - 2)
        d = x - x.mean(axes, keepdim=True)
        far = d.abs().mean(axes, keepdim=True) if p == 1 else d.abs().amax(axes, keepdim=True)
        y = d / (factor(p, x.numel() // x.shape[1]) ** 2 * far * far + eps).sqrt()
        y = y if w is None else y * w.reshape(each)
        return y if b is None else y + b.reshape(each)

    return function


@each_deviation
@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (4, 3, 6), (4, 3, 5, 7), (1, 3, 2, 2), (70, 16, 8, 9)])
@pytest.mark.parametrize("parameters", [0, 1, 2])
def test_it_is_its_formula_in_torch(p, shape, parameters, rng):
    torch = pytest.importorskip("torch")
    x, given = rng.standard_normal(shape), rng.standard_normal((parameters, shape[1]))

    def ours(x, w=None, b=None):
        return lp_batch_norm.lp_batch_norm(x, None, None, w, b, training=True, eps=0.01, p=p)

    assert_like_torch(ours, formula(torch, p, 0.01), x, *given, rtol=1e-10, atol=1e-12)


SETTINGS = [
    {},
    {"momentum": None},
    {"momentum": 0.4, "eps": 0.1},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
]


@each_power
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_training_and_evaluation_in_turn(p, settings, rng, dtype):
    layer = nn.LpBatchNorm2d(3, p, **settings, dtype=dtype)
    eps, momentum = settings.get("eps", EPS), settings.get("momentum", 0.1)
    mean, var = np.zeros(3), np.ones(3)
    for batches, shape in enumerate([(4, 3, 5, 7), (1, 3, 2, 2), (2, 3, 1, 3), (70, 3, 8, 9)], 1):
        x = (2 * rng.standard_normal(shape) + batches).astype(dtype)
        rows = as_matrix(x.astype(np.longdouble))
        y = as_matrix(layer.train()(batten.tensor(x)).detach().numpy())
        assert_allclose(y, normalized(rows, p, eps), **TOLERANCE[dtype])
        part = 1 / batches if momentum is None else momentum
        mean = (1 - part) * mean + part * rows.mean(0)
        var = (1 - part) * var + part * deviation(rows, p) ** 2 * len(rows) / (len(rows) - 1)
        y = as_matrix(layer.eval()(batten.tensor(x)).detach().numpy())
        if layer.track_running_stats:
            assert_allclose(layer.running_mean.numpy(), mean, **TOLERANCE[dtype])
            assert_allclose(layer.running_var.numpy(), var, **TOLERANCE[dtype])
            assert layer.num_batches_tracked.item() == batches
            assert_allclose(y, (rows - mean) / np.sqrt(var + eps), rtol=1e-4, atol=1e-5)
        else:
            assert_allclose(y, normalized(rows, p, eps), **TOLERANCE[dtype])


def step(layer, x, dy):
    """The bits of all that a step gives."""
    leaf = batten.from_numpy(x).requires_grad_()
    y = layer(leaf)
    y.backward(batten.from_numpy(dy))
    return [a.numpy().tobytes() for a in (y, leaf.grad, *[p.grad for p in layer.parameters()], *layer.buffers())]


@pytest.mark.parametrize(("name", "plain"), KINDS.items())
def test_power_two_is_batch_norm(name, plain, rng, dtype):
    shape = (6, 3, 4, 5)[: 2 if name.endswith("1d") else 4]
    layer, norm = getattr(nn, name)(3, 2, dtype=dtype), getattr(nn, plain)(3, dtype=dtype)
    for training in (True, True, False):
        for modules in ((layer, norm), (nn.Sequential(layer, nn.ReLU()), nn.Sequential(norm, nn.ReLU()))):
            x, dy = rng.standard_normal((2, *shape)).astype(dtype)
            layer.zero_grad(), norm.zero_grad()
            assert step(modules[0].train(training), x, dy) == step(modules[1].train(training), x, dy)


@each_power
@pytest.mark.parametrize(("name", "plain"), KINDS.items())
def test_checkpoints_and_evaluation_are_batch_norms(name, plain, p, rng, dtype):
    shape = (6, 3, 4, 5)[: 2 if name.endswith("1d") else 4]
    layer, norm = getattr(nn, name)(3, p, dtype=dtype), getattr(nn, plain)(3, dtype=dtype)
    layer(batten.tensor(rng.standard_normal(shape).astype(dtype)))
    norm.load_state_dict(layer.state_dict())
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    assert step(layer.eval(), x, dy) == step(norm.eval(), x, dy)
    assert layer(batten.tensor(x[:1])).tolist() == norm(batten.tensor(x[:1])).tolist()
    back = getattr(nn, name)(3, p, dtype=dtype)
    back.load_state_dict(norm.state_dict())
    for twin in (back, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        layer.zero_grad(), twin.zero_grad()
        assert step(twin.train(), x, dy) == step(copy.deepcopy(layer).train(), x, dy)


def test_a_torch_checkpoint_of_batch_norm_is_taken(rng, tmp_path):
    torch, save = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch").save_file
    theirs = torch.nn.BatchNorm2d(3)
    theirs(torch.tensor(rng.standard_normal((4, 3, 2, 2)).astype(np.float32)))
    save(theirs.state_dict(), tmp_path / "norm.safetensors")
    layer = nn.LpBatchNorm2d(3, 1)
    layer.load_state_dict(batten.load(tmp_path / "norm.safetensors"))
    x = rng.standard_normal((4, 3, 2, 2)).astype(np.float32)
    assert_close(layer.eval()(batten.tensor(x)).detach(), theirs.eval()(torch.tensor(x)).detach())


@each_power
def test_population_statistics(p, rng):
    batches = [rng.standard_normal((n, 3)) for n in (5, 9)]
    layer = nn.LpBatchNorm1d(3, p, dtype=batten.float64)
    update_bn([batten.tensor(batch) for batch in batches], layer)
    expected = np.mean([deviation(batch, p) ** 2 * len(batch) / (len(batch) - 1) for batch in batches], 0)
    assert_allclose(layer.running_var.numpy(), expected, rtol=1e-12)


# ---- where it is hard ----


def far_from_nought(rng, shape=(1000, 70)):
    """Mean 10,000 and deviation 0.1, in float32: its steps are 0.001 there, and a hundredth of all are at the mean."""
    return (1e4 + 0.1 * rng.standard_normal(shape)).astype(np.float32)


@each_deviation
def test_nothing_cancels(p, rng, isa):
    x = far_from_nought(rng)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    leaf, wide = batten.tensor(x, requires_grad=True), batten.tensor(x, dtype=batten.float64, requires_grad=True)
    layer = nn.LpBatchNorm1d(70, p, momentum=1.0)
    y, exact = layer(leaf), lp_batch_norm.lp_batch_norm(wide, None, None, training=True, p=p)
    y.backward(batten.tensor(dy))
    exact.backward(batten.tensor(dy.astype(np.float64)))
    rows = x.astype(np.longdouble)
    assert_allclose(exact.detach().numpy(), normalized(rows, p), rtol=1e-9, atol=1e-9)
    assert_allclose(y.detach().numpy(), normalized(rows, p), rtol=1e-6, atol=1e-6)
    assert_allclose(leaf.grad.numpy(), wide.grad.numpy(), rtol=1e-6, atol=1e-5)
    assert_allclose(layer.weight.grad.numpy(), (dy * normalized(rows, p)).sum(0), rtol=1e-6, atol=1e-5)
    assert_allclose(layer.running_mean.numpy(), rows.mean(0), rtol=1e-7)
    assert_allclose(layer.running_var.numpy(), deviation(rows, p) ** 2 * 1000 / 999, rtol=1e-6)


@each_power
def test_a_constant_channel_becomes_the_bias(p, dtype):
    layer = nn.LpBatchNorm1d(2, p, dtype=dtype)
    layer.bias.data = batten.tensor(np.array([5, -5], dtype))
    leaf = batten.full((300, 2), 0.1, dtype=dtype).requires_grad_()
    y = layer(leaf)
    assert_array_equal(y.detach().numpy(), np.broadcast_to(np.array([5, -5], dtype), y.shape))
    y.backward(batten.tensor(np.linspace(-1, 1, 600, dtype=dtype).reshape(300, 2)))
    assert np.isfinite(leaf.grad.numpy()).all()
    assert_allclose(layer.running_var.numpy(), 0.9, rtol=1e-6)


@each_power
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(p, bad, rng, dtype, isa):
    x, dy = rng.standard_normal((2, 600, 130)).astype(dtype)
    results = []
    for value in (0, bad):
        x[7, 70] = value
        layer, leaf = nn.LpBatchNorm1d(130, p, dtype=dtype), batten.tensor(x, requires_grad=True)
        y = layer(leaf)
        y.backward(batten.tensor(dy))
        results.append([a.numpy() for a in (y.detach(), leaf.grad, layer.weight.grad, layer.running_var)])
    others = np.arange(130) != 70
    for clean, spoiled in zip(*results, strict=True):
        assert_array_equal(spoiled[..., others], clean[..., others])
    for spoiled in results[1][:3]:
        assert np.isnan(spoiled[..., 70]).all()


@pytest.mark.parametrize("copies", [1, 40])
def test_of_equals_the_first_of_the_greatest_has_the_gradient(copies, rng, dtype, isa):
    """Twice the least is farthest from the mean, 0; twice the greatest; and in the last column both are."""
    x = np.array([[2, -3, -3, 2, 2], [-2, 3, 3, -2, -2], [0, -3, 3, 3, -3]], dtype).T
    x, rows, signs = np.tile(x, copies), np.tile([1, 1, 2], copies), np.tile([-1, 1, 1], copies)
    dy = rng.standard_normal(x.shape).astype(dtype)
    leaf = batten.tensor(x, requires_grad=True)
    y = lp_batch_norm.lp_batch_norm(leaf, None, None, training=True, p=INF)
    y.backward(batten.tensor(dy))
    slope = np.full(x.shape, -1 / 5)
    slope[rows, np.arange(3 * copies)] += 1
    s = 3 * factor(INF, 5)
    rstd = 1 / math.sqrt(s * s + EPS)
    expected = rstd * (dy - dy.mean(0) - (dy * x).sum(0) * rstd**2 * s * factor(INF, 5) * signs * slope)
    assert_allclose(leaf.grad.numpy(), expected, **TOLERANCE[dtype])


@pytest.mark.parametrize("columns", [1, 3, 16, 50, 600])
@pytest.mark.parametrize("where", [[0, 1], [1, 63], [64, 900], [899, 901], [900]])
def test_the_first_of_equals_is_found_anywhere(columns, where, rng, isa, threads):
    x, dy = rng.uniform(-1, 1, (2, 1000, columns)).astype(np.float32)
    x[where] = 2
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        y = lp_batch_norm.lp_batch_norm(leaf, None, None, training=True, p=INF)
        y.backward(batten.tensor(dy))
        found.add(leaf.grad.numpy().tobytes())
    assert len(found) == 1
    plain = dy - dy.mean(0)  # less A rstd^2 s ds / dx, which is one number in all rows but the extreme's
    rest = leaf.grad.numpy() - plain / np.sqrt(deviation(x.astype(np.float64), INF) ** 2 + EPS)
    assert_array_equal(abs(rest - np.median(rest, 0)).argmax(0), np.full(columns, where[0]))


def test_at_the_mean_there_is_no_slope(dtype):
    """As where |x| is differentiated at 0."""
    x = np.array([[1], [2], [3], [2]], dtype)
    leaf = batten.tensor(x, requires_grad=True)
    y = lp_batch_norm.lp_batch_norm(leaf, None, None, training=True, eps=1e-12, p=1)
    y.backward(batten.tensor(np.array([[1], [0], [0], [0]], dtype)))
    s, c = math.sqrt(math.pi / 2) / 2, math.sqrt(math.pi / 2)
    expected = (np.array([[0.75], [-0.25], [-0.25], [-0.25]]) + 1 / s * c / 4 * np.sign(x - 2)) / s
    assert_allclose(leaf.grad.numpy(), expected, rtol=1e-5)


# ---- threads, layouts, what is kept ----


@each_deviation
@pytest.mark.parametrize("shape", [(70, 32, 9, 9), (3000, 40), (600, 700)])
def test_the_same_bits_on_any_number_of_threads(p, shape, rng, dtype, isa, threads):
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        found.add(tuple(step(kind_for(x)(shape[1], p, dtype=dtype), x, dy)))
    assert len(found) == 1


@pytest.mark.parametrize("shape", SHAPES)
@each_deviation
def test_with_relu_the_bits_are_those_of_relu_behind_it(p, shape, rng, dtype, isa):
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    parameters = rng.standard_normal((2, shape[1])).astype(dtype)
    parameters[0, ::3] = parameters[1, ::2] = 0
    x[:, 4::5] = rng.integers(-1, 2, x[:, 4::5].shape)
    results = []
    for relu in (True, False):
        leaves = [batten.tensor(a, requires_grad=True) for a in (x, *parameters)]
        y = nn.batch_norm.normalized(leaves[0], None, None, *leaves[1:], True, 0.1, EPS, relu, kinds=OPERATIONS[p])
        y = y if relu else batten.relu(y)
        y.backward(batten.tensor(dy))
        results.append([a.numpy().tobytes() for a in (y, *[leaf.grad for leaf in leaves])])
    assert results[0] == results[1]


@each_power
def test_layout_does_not_matter(p, rng, dtype):
    x, dy = rng.standard_normal((2, 4, 6, 5, 7)).astype(dtype)
    results = []
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)):
        layer = nn.LpBatchNorm2d(6, p, dtype=dtype)
        results.append(step(layer, np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order)), dy)[2:])
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    results.append(step(nn.LpBatchNorm2d(6, p, dtype=dtype), wide, dy)[2:])
    assert all(result == results[0] for result in results)


@each_deviation
def test_of_the_batch_only_x_is_kept(p, rng):
    x = kernels.empty((70, 8, 9, 16), np.dtype("float32"))
    x[...] = rng.standard_normal(x.shape)
    leaf = batten.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    operation = nn.Sequential(nn.LpBatchNorm2d(16, p), nn.ReLU())(leaf).grad_fn
    kept = [getattr(operation, slot, None) for slot in operation.kind.kept]
    arrays = [a for a in kept if isinstance(a, np.ndarray)]
    assert [np.shares_memory(a, x) for a in arrays if a.size > 5 * 16] == [True]


def test_gradients_of_parameters_only(rng):
    x = batten.tensor(rng.standard_normal((5, 3)))
    for p in (1, INF):
        layer = nn.LpBatchNorm1d(3, p).double()
        layer(x).square().sum().backward()
        expected = layer.weight.grad.tolist()
        layer.zero_grad()
        layer.bias.requires_grad_(False)
        layer(x).square().sum().backward()
        assert layer.weight.grad.tolist() == expected and layer.bias.grad is None


# ---- small batches, and what is refused ----


@each_power
def test_without_channels(p, dtype):
    x = np.empty((5, 0), dtype)
    assert step(nn.LpBatchNorm1d(0, p, dtype=dtype), x, x) == step(nn.BatchNorm1d(0, dtype=dtype), x, x)


@each_power
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 4)])
def test_batches_without_elements(p, shape, dtype):
    layer = nn.LpBatchNorm2d(3, p, dtype=dtype)
    norm = nn.BatchNorm2d(3, dtype=dtype)
    x = np.empty(shape, dtype)
    assert step(layer, x, x) == step(norm, x, x)


@each_power
@pytest.mark.parametrize("name", KINDS)
def test_one_value_a_channel_has_no_deviation(p, name):
    layer, shape = getattr(nn, name)(3, p), (1, 3) if name.endswith("1d") else (1, 3, 1, 1)
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    with pytest.raises(ValueError, match=r"Expected more than 1 value per channel when training, got .* \[1, 3"):
        layer(batten.ones(shape))
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before
    assert layer.eval()(batten.ones(shape)).shape == shape


def test_it_is_written_and_converted():
    layer = nn.LpBatchNorm1d(3, INF, momentum=None)
    assert repr(layer) == (
        "LpBatchNorm1d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True, p=inf)"
    )
    assert layer.double()(batten.ones(2, 3, dtype=batten.float64)).dtype == batten.float64
    assert nn.LpBatchNorm2d(3).p == 1


@pytest.mark.parametrize("p", [0, 1.5, 3, -INF, math.nan])
def test_other_powers_are_refused(p):
    with pytest.raises(ValueError, match=f"^LpBatchNorm2d expects p to be 1, 2 or infinity, got {p}$"):
        nn.LpBatchNorm2d(3, p)
    with pytest.raises(ValueError, match=r"^lp_batch_norm expects p to be 1, 2 or infinity"):
        lp_batch_norm.lp_batch_norm(batten.ones(4, 3), None, None, training=True, p=p)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("LpBatchNorm1d", (4, 5), r"^LpBatchNorm1d expects \(N, 3\) or \(N, 3, L\), got \[4, 5\]$"),
        ("LpBatchNorm2d", (4, 3), r"^LpBatchNorm2d expects \(N, 3, H, W\), got \[4, 3\]$"),
    ],
)
def test_other_shapes_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        getattr(nn, name)(3)(batten.ones(shape))

"""DropConnect: its masks, the layer beside the explicit formula with these very masks, and inference beside simulation.

The statistical tests have fixed seeds.  Their bounds are in standard deviations, SIGMAS of them.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import _kernels as kernels
from batten import nn
from parity import TOLERANCE, assert_close

SIGMAS = 4.5
ACTIVATIONS = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
}
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
# (*, in_features) and out_features: one of each, units of masks and vectors that are not full, no elements
SHAPES = [((5, 7), 3), ((1, 1), 1), ((7,), 3), ((2, 3, 70), 35), ((19, 130), 65), ((0, 4), 3), ((4, 0), 3), ((4, 3), 0)]
each_shape = pytest.mark.parametrize(("shape", "out"), SHAPES, ids=str)


def kept(examples, rows, cols, p, key=1, call=0):
    """The masks of a draw."""
    weight, ones = np.empty((rows, cols), np.float32), np.ones((rows, cols), np.float32)
    return np.array([kernels.drop_connect_weight(weight, ones, n, p, 1, key, call) != 0 for n in range(examples)])


def layer_of(shape, out, rng, dtype="float64", **options):
    """A layer, and an input for it."""
    return nn.DropConnect(shape[-1], out, **options, dtype=dtype), rng.standard_normal(shape).astype(dtype)


def arrays(layer):
    return layer.weight.detach().numpy(), 0 if layer.bias is None else layer.bias.detach().numpy()


# ---- masks ----


@pytest.mark.parametrize("p", [0.5, 0.3, 0.9, 2.0**-10, 1 - 2.0**-10])
def test_weights_are_dropped_with_probability_p(p):
    masks = kept(16, 256, 256, p)
    assert abs((~masks).sum() - p * masks.size) < SIGMAS * math.sqrt(p * (1 - p) * masks.size)
    for axis in range(3):  # of no example, row or column more than of others
        others = tuple({0, 1, 2} - {axis})
        dropped, n = (~masks).sum(others), masks.size / masks.shape[axis]
        assert (abs(dropped - p * n) < SIGMAS * math.sqrt(p * (1 - p) * n) + 1).all()


def test_none_or_all_are_dropped_exactly():
    assert kept(3, 35, 70, 0.0).all()
    assert not kept(3, 35, 70, 1.0).any()
    # p counts down to its last digit: below 2^-40 nothing is dropped but once in a million such masks
    assert kept(16, 256, 256, 2.0**-40).all()
    assert not kept(16, 256, 256, 1 - 2.0**-40).any()


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_masks_are_independent(p):
    """Finds a correlation of 0.0044 between neighbours, rows, columns, units, examples, draws or seeds."""
    masks = kept(16, 256, 256, p)
    z = (masks - (1 - p)) / math.sqrt(p * (1 - p))

    def check(a, b):
        assert abs((a * b).sum()) < SIGMAS * math.sqrt(a.size)

    for lag in (1, 2, 15, 16, 31, 32, 63, 64, 65, 128):
        check(z[:, :, :-lag], z[:, :, lag:])
        check(z[:, :-lag], z[:, lag:])
    for lag in (1, 2, 8):
        check(z[:-lag], z[lag:])
    for other in (kept(16, 256, 256, p, call=1), kept(16, 256, 256, p, call=1 << 32), kept(16, 256, 256, p, key=2)):
        check(z, (other - (1 - p)) / math.sqrt(p * (1 - p)))


def test_patterns_of_neighbours_are_as_frequent_as_they_should_be():
    """Chi-square over the 256 patterns of eight neighbours along rows, and along columns."""
    masks = kept(16, 256, 256, 0.5)
    for bits in (masks, masks.transpose(0, 2, 1)):
        counts = np.bincount(np.packbits(bits.reshape(-1, 8), axis=1).ravel(), minlength=256)
        expected = counts.mean()
        excess = (((counts - expected) ** 2).sum() / expected - 255) / math.sqrt(2 * 255)
        assert abs(excess) < SIGMAS


@pytest.mark.parametrize("p", [0.5, 0.3, 0.7071])
def test_masks_are_the_same_on_every_instruction_set_and_for_both_types(p):
    before, found = kernels.isa(), set()
    try:
        for isa in kernels.isas():
            kernels.set_isa(isa)
            for dtype in ("float32", "float64"):
                ones = np.ones((35, 70), dtype)
                found.add((kernels.drop_connect_weight(np.empty_like(ones), ones, 5, p, 1, 9, 8) != 0).tobytes())
    finally:
        kernels.set_isa(before)
    assert len(found) == 1


def test_a_mask_does_not_depend_on_how_many_there_are():
    few, many = kept(3, 35, 70, 0.3), kept(20, 35, 70, 0.3)
    assert_array_equal(few, many[:3])
    a, b = kept(3, 35, 70, 0.3, call=1), kept(3, 35, 70, 0.3, key=2)
    assert (few != a).any(axis=(1, 2)).all() and (few != b).any(axis=(1, 2)).all()


# ---- training ----


@each_shape
@pytest.mark.parametrize("options", [{}, {"inverted": True}, {"per_batch": True}, {"bias": False}], ids=str)
def test_training_is_the_explicit_formula_with_the_layers_masks(shape, out, options, rng, dtype, isa):
    for p in (0.5, 0.3):
        layer, x = layer_of(shape, out, rng, dtype, p=p, **options)
        weight, bias = arrays(layer)
        leaf = batten.tensor(x, requires_grad=True)
        y = layer(leaf)
        mask = layer.last_mask()
        assert mask.dtype == bool
        assert mask.shape == ((out, shape[-1]) if options.get("per_batch") else (*shape[:-1], out, shape[-1]))
        with batten.no_grad():
            layer(leaf)  # another draw changes nothing for this one's gradient
        dy = rng.standard_normal(y.shape).astype(dtype)
        y.backward(batten.tensor(dy))
        scaled = mask * (1 / (1 - p) if options.get("inverted") else 1.0)
        w = scaled * weight
        assert_close(y.detach(), (np.einsum("...oi,...i->...o", w, x) + bias).astype(dtype), **tolerance(dtype))
        assert_close(leaf.grad, np.einsum("...oi,...o->...i", w, dy).astype(dtype), **tolerance(dtype))
        scaled = np.broadcast_to(scaled, (*shape[:-1], out, shape[-1]))
        n = math.prod(shape[:-1])
        scaled, rows, dy = (
            a.reshape(n, *end) for a, end in ((scaled, scaled.shape[-2:]), (x, shape[-1:]), (dy, [out]))
        )
        dweight = np.einsum("noi,ni,no->oi", scaled, rows, dy).astype(dtype)
        assert_close(layer.weight.grad, dweight, **tolerance(dtype))
        if layer.bias is not None:
            assert_close(layer.bias.grad, dy.sum(0), **tolerance(dtype))


def tolerance(dtype):
    """Of sums of a hundred terms, which may cancel each other."""
    return {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}


@each_activation
def test_the_activation_is_applied_to_z(activation, rng, dtype):
    layer, x = layer_of((9, 20), 6, rng, dtype, activation=activation)
    weight, bias = arrays(layer)
    y = layer(batten.tensor(x)).detach().numpy()
    z = np.einsum("noi,oi,ni->no", layer.last_mask(), weight.astype(np.float64), x) + bias
    assert_allclose(y, ACTIVATIONS[activation](z), **TOLERANCE[dtype])


@each_shape
def test_without_dropping_it_is_linear(shape, out, rng, dtype):
    layer, x = layer_of(shape, out, rng, dtype, p=0)
    linear = nn.Linear(shape[-1], out, dtype=dtype)
    linear.load_state_dict(layer.state_dict())
    results = []
    for module in (layer, linear):
        leaf = batten.tensor(x, requires_grad=True)
        y = module(leaf)
        y.backward(batten.tensor(np.cos(np.arange(y.numel())).reshape(y.shape).astype(dtype)))
        results.append([a.numpy() for a in (y.detach(), leaf.grad, module.weight.grad, module.bias.grad)])
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, **tolerance(dtype))
    for inference in ("sample", "analytic"):
        layer.inference = inference
        assert_array_equal(layer.eval()(batten.tensor(x)).numpy(), linear(batten.tensor(x)).numpy())


@each_shape
def test_when_all_are_dropped_the_bias_is_left(shape, out, rng, dtype):
    for per_batch in (False, True):
        layer, x = layer_of(shape, out, rng, dtype, p=1, per_batch=per_batch, activation="tanh")
        leaf = batten.tensor(x, requires_grad=True)
        y = layer(leaf)
        assert_array_equal(y.detach().numpy(), np.broadcast_to(batten.tanh(layer.bias).detach().numpy(), y.shape))
        y.sum().backward()
        assert not leaf.grad.numpy().any() and not layer.weight.grad.numpy().any()
        assert not layer.last_mask().any()
        assert_array_equal(layer.eval()(batten.tensor(x)).detach().numpy(), y.detach().numpy())


def test_each_example_has_a_mask_of_its_own_or_all_have_one(rng):
    x = np.broadcast_to(rng.standard_normal(40), (50, 40))
    y = nn.DropConnect(40, 30, dtype=batten.float64)(batten.tensor(x)).detach().numpy()
    assert len({row.tobytes() for row in y}) == 50
    one = nn.DropConnect(40, 30, per_batch=True, dtype=batten.float64)
    y = one(batten.tensor(x)).detach().numpy()
    assert_allclose(y, np.broadcast_to(y[:1], y.shape), rtol=1e-12)
    assert (one(batten.tensor(x)).detach().numpy() != y).any()


def test_mean_and_variance_of_z_are_those_of_a_simulation(rng):
    """The layer's z over 100,000 masks of its own, and that of as many of NumPy's."""
    draws, p, weight, x = 100_000, 0.3, rng.standard_normal((3, 5)), rng.standard_normal(5)
    masks = rng.random((draws, 3, 5)) >= p
    for inverted in (False, True):
        layer = nn.DropConnect(5, 3, p, inverted=inverted, dtype=batten.float64)
        layer.load_state_dict({"weight": batten.tensor(weight), "bias": batten.tensor([1.0, 2.0, 3.0])})
        ours = layer(batten.tensor(np.broadcast_to(x, (draws, 5)))).detach().numpy()
        scale = 1 / (1 - p) if inverted else 1
        simulated = scale * (masks * weight @ x) + [1, 2, 3]
        std = np.sqrt(scale**2 * p * (1 - p) * (weight**2 @ x**2))
        exact = (1 - p) * scale * (weight @ x) + [1, 2, 3]
        for z in (ours, simulated):
            assert (abs(z.mean(0) - exact) < SIGMAS * std / math.sqrt(draws)).all()
            fourth = ((z - exact) ** 4).mean(0)
            assert (abs(z.var(0) - std**2) < SIGMAS * np.sqrt((fourth - std**4) / draws)).all()
        assert (abs(ours.mean(0) - simulated.mean(0)) < SIGMAS * std * math.sqrt(2 / draws)).all()
        # and of whole distributions: the largest difference of the two, by Kolmogorov and Smirnov
        for a, b in zip(ours.T, simulated.T, strict=True):
            both = np.sort(np.concatenate([a, b]))
            gap = abs(np.searchsorted(np.sort(a), both + 1e-9) - np.searchsorted(np.sort(b), both + 1e-9)).max() / draws
            assert gap < 2.3 * math.sqrt(2 / draws)


# ---- evaluation ----


def simulated(layer, x, draws, rng):
    """The mean of act(z) over masks of NumPy's, and the standard deviation of one."""
    weight, bias = arrays(layer)
    total = squares = 0
    for _ in range(draws // 1000):
        masks = rng.random((1000, *weight.shape)) >= layer.p
        y = ACTIVATIONS[layer.activation]((masks * weight @ x) / (1 - layer.p if layer.inverted else 1) + bias)
        total, squares = total + y.sum(0), squares + (y**2).sum(0)
    mean = total / draws
    return mean, np.sqrt(squares / draws - mean**2)


@each_activation
@pytest.mark.parametrize("inverted", [False, True])
def test_inference_is_the_mean_over_masks(activation, inverted, rng):
    """z of 200 terms is nearly normal: what is left of the difference is a part of its standard deviation."""
    layer, x = layer_of((200,), 5, rng, p=0.4, activation=activation, samples=10_000, inverted=inverted)
    mean, std = simulated(layer, x, 10_000, rng)
    sampled = layer.eval()(batten.tensor(x)).detach().numpy()
    assert (abs(sampled - mean) < (SIGMAS * math.sqrt(2 / 10_000) + 0.005) * std).all()
    if activation in (None, "relu"):
        layer.inference = "analytic"
        exact = layer(batten.tensor(x)).detach().numpy()
        assert (abs(exact - mean) < (SIGMAS / 100 + 0.005) * std).all()
        assert (abs(exact - sampled) < SIGMAS / 100 * std).all()
    layer.samples, layer.inference = 0, "sample"
    weight, bias = arrays(layer)
    by_mean = ACTIVATIONS[activation]((1 if inverted else 0.6) * weight @ x + bias)
    assert_allclose(layer(batten.tensor(x)).detach().numpy(), by_mean, rtol=1e-12)


@each_activation
def test_samples_are_of_the_two_moments(activation, rng):
    """With the noise of the draws that are counted up: the average of act(mean + std noise)."""
    layer, x = layer_of((4, 9), 6, rng, p=0.4, activation=activation, samples=3)
    weight, bias = arrays(layer)
    batten.manual_seed(5)
    y = layer.eval()(batten.tensor(x)).detach().numpy()
    batten.manual_seed(5)
    noise = np.array([batten.randn(4, 6, dtype=batten.float64).numpy() for _ in range(3)])
    mean, std = 0.6 * x @ weight.T + bias, np.sqrt(0.24 * x**2 @ (weight**2).T)
    assert_allclose(y, ACTIVATIONS[activation](mean + std * noise).mean(0), rtol=1e-12, atol=1e-14)


def test_expected_relu_is_the_integral(dtype):
    """Of (mean + std t) phi(t) over t, from where it is nought, or from -12, to 12, by Gauss' quadrature."""
    means, stds = np.concatenate([np.linspace(-6, 6, 49), [-40, 40]]), np.array([0.01, 0.3, 1, 2.5])
    mean, std = (np.ascontiguousarray(a, dtype) for a in np.meshgrid(means, stds))
    y = kernels.gaussian_relu(np.empty_like(mean), mean, std)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    m, s = mean.astype(np.float64)[..., None], std.astype(np.float64)[..., None]
    low = np.clip(-m / s, -12, 12)
    t = (low + 12) / 2 + (12 - low) / 2 * nodes
    terms = (m + s * t) * np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    expected = terms @ weights * ((12 - low) / 2)[..., 0]
    bound = 4 * np.finfo(dtype).eps + 1e-14  # and the weights' own rounding
    assert (abs(y - expected) <= bound * (np.maximum(mean, 0) + std)).all()
    assert (y >= 0).all()


def test_expected_relu_where_there_is_no_noise(dtype):
    mean = np.array([-2, -0.0, 0, 3, np.nan, np.inf], dtype)
    std = np.zeros_like(mean)
    assert_array_equal(kernels.gaussian_relu(np.empty_like(mean), mean, std), np.maximum(mean, 0))
    one = np.ones_like(mean)
    slope = kernels.gaussian_relu_backward(np.empty_like(mean), one, mean, std)
    assert_array_equal(slope[:4], [0, 0, 0, 1])
    assert_array_equal(kernels.gaussian_relu_std_backward(np.empty_like(mean), one, mean, std)[:4], np.zeros(4))
    y = kernels.gaussian_relu(np.empty_like(mean), one, std * np.nan)
    assert np.isnan(y).all()


@pytest.mark.parametrize("inference", ["sample", "analytic"])
def test_an_input_of_noughts_has_no_noise_and_no_nan(inference, rng):
    """Its variance is 0, and the root of that has no derivative: the bias alone decides."""
    layer = nn.DropConnect(4, 3, activation="relu", inference=inference).eval()
    x = batten.zeros(2, 4, requires_grad=True)
    y = layer(x)
    expected = np.maximum(layer.bias.detach().numpy(), 0)
    assert_allclose(y.detach().numpy(), np.tile(expected, (2, 1)), rtol=1e-5)  # of a hundred samples, all alike
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all() and np.isfinite(layer.weight.grad.numpy()).all()


# ---- the random numbers ----


def test_what_draws_and_what_does_not():
    calls = batten.Generator()

    def drawn(layer, x=None):
        before = calls.calls
        layer(batten.ones(2, 3) if x is None else x)
        return calls.calls - before

    make = lambda **options: nn.DropConnect(3, 2, 0.5, generator=calls, **options)  # noqa: E731
    assert drawn(make()) == 1
    assert drawn(make(per_batch=True)) == 1
    assert drawn(make(samples=7).eval()) == 7
    assert drawn(make(samples=0).eval()) == 0
    assert drawn(make(activation="relu", inference="analytic").eval()) == 0
    state = batten.get_rng_state().tolist()
    assert drawn(make()) == 1
    with pytest.raises(ValueError, match="expects"):
        drawn(make(), batten.ones(2, 4))
    assert calls.calls == 10
    layer = nn.DropConnect(3, 2)
    drawn(layer)
    assert batten.get_rng_state().tolist() != state


def test_training_goes_on_where_it_was_saved(rng, dtype):
    """From the generator's state: the default one's, and one of the layer's own."""
    x = batten.tensor(rng.standard_normal((4, 9)).astype(dtype))
    for own in (None, batten.Generator().manual_seed(3)):
        layer = nn.DropConnect(9, 5, 0.3, generator=own, dtype=dtype)
        layer(x)
        state = (own or batten.default_generator).get_state()
        steps = [(layer(x).tolist(), layer.last_mask().tolist()) for _ in range(3)]
        assert steps[0] != steps[1] != steps[2]
        (own or batten.default_generator).set_state(state)
        assert [(layer(x).tolist(), layer.last_mask().tolist()) for _ in range(3)] == steps


def test_same_bits_for_any_number_of_threads(rng, dtype, isa, threads):
    x, found = rng.standard_normal((40, 130)).astype(dtype), set()
    for number in (1, 2, 3, 8):
        threads(number)
        generator = batten.Generator().manual_seed(2)
        batten.manual_seed(1)
        for options in ({}, {"per_batch": True}, {"activation": "tanh", "samples": 3}, {"inference": "analytic"}):
            layer = nn.DropConnect(130, 150, 0.3, generator=generator, dtype=dtype, **options)
            leaf, bits = batten.tensor(x, requires_grad=True), []
            for training in (True, False):
                y = layer.train(training)(leaf)
                y.square().sum().backward()
                bits += [y.detach(), leaf.grad, layer.weight.grad, layer.bias.grad]
            found.add((str(options), *[a.numpy().tobytes() for a in bits]))
    assert len(found) == 4


def test_a_forked_child_has_the_same_bits(threads):
    """It runs on one thread, where this process has a team."""
    threads(2)
    layer, x = nn.DropConnect(130, 150, 0.3), batten.ones(40, 130)
    state = batten.get_rng_state()
    expected = layer(x).detach().numpy().tobytes() + layer.last_mask().tobytes()
    batten.set_rng_state(state)
    end, begin = os.pipe()
    child = os.fork()
    if child == 0:
        with open(begin, "wb") as out:
            out.write(hashlib.sha256(layer(x).detach().numpy().tobytes() + layer.last_mask().tobytes()).digest())
        os._exit(0)
    os.close(begin)
    with open(end, "rb") as result:
        assert result.read() == hashlib.sha256(expected).digest()
    assert os.waitpid(child, 0)[1] == 0


def test_layers_and_steps_have_masks_of_their_own():
    layers = [nn.DropConnect(30, 20) for _ in range(2)]
    x, masks = batten.ones(3, 30), []
    for _ in range(2):
        for layer in layers:
            layer(x)
            masks.append(layer.last_mask().tobytes())
    assert len(set(masks)) == 4


# ---- arrays as they come ----


@pytest.mark.parametrize("training", [True, False])
def test_layout_does_not_matter(training, rng, dtype):
    layer, x = layer_of((6, 70), 35, rng, dtype, activation="relu", samples=3)
    weight, found = layer.weight.detach().numpy(), set()
    dy = rng.standard_normal((6, 35)).astype(dtype)
    for lay in (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]):
        layer.weight = nn.Parameter(batten.from_numpy(lay(weight)))
        leaf = batten.from_numpy(lay(x)).requires_grad_()
        batten.manual_seed(2)
        y = layer.train(training)(leaf)
        y.backward(batten.from_numpy(lay(dy)))
        found.add(tuple(np.ascontiguousarray(a.numpy()).tobytes() for a in (y.detach(), leaf.grad, layer.weight.grad)))
    assert len(found) == 1


def test_leading_axes_are_rows(rng, dtype):
    layer, x = layer_of((2, 3, 4, 9), 5, rng, dtype, samples=2)
    results = []
    for shape in ((2, 3, 4), (24,)):
        batten.manual_seed(4)
        leaf = batten.tensor(x.reshape(*shape, 9))
        for training in (True, False):
            results.append(layer.train(training)(leaf).detach().numpy().reshape(24, 5))
        results.append(layer.last_mask().reshape(24, 5, 9))
    for a, b in zip(results[:3], results[3:], strict=True):
        assert_array_equal(a, b)


def test_nan_and_infinity(rng, dtype):
    """Of an input they reach all of its own outputs, of a weight those examples only that keep it."""
    layer, x = layer_of((20, 9), 5, rng, dtype)
    x[3, 2] = np.nan
    y = layer(batten.tensor(x)).detach().numpy()
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()
    x[3, 2] = 0
    with batten.no_grad():
        layer.weight[1, 4] = np.inf
    y = layer(batten.tensor(x)).detach().numpy()
    seen = layer.last_mask()[:, 1, 4]
    assert 0 < seen.sum() < 20
    assert_array_equal(np.isfinite(y[:, 1]), ~seen)
    assert np.isfinite(np.delete(y, 1, 1)).all()


def test_no_mask_is_ever_in_memory():
    """A step of 256 examples takes less than the bits of their masks, 8 MiB, would."""
    code = """if True:
        import batten
        layer, x = batten.nn.DropConnect(512, 512), batten.ones(256, 512, requires_grad=True)
        before = batten.memory_stats()["allocated"]
        layer(x).sum().backward()
        print(batten.memory_stats()["peak"] - before)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 << 20


# ---- as a module ----


def test_checkpoints_are_linears(rng):
    torch = pytest.importorskip("torch")
    layer, theirs = nn.DropConnect(5, 3), torch.nn.Linear(5, 3)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    layer.load_state_dict({k: batten.from_numpy(v.detach().numpy()) for k, v in theirs.state_dict().items()})
    x = rng.standard_normal((4, 5)).astype(np.float32)
    layer.samples, layer.p = 0, 0
    assert_close(layer.eval()(batten.tensor(x)).detach(), theirs(torch.tensor(x)).detach().numpy())
    assert list(nn.DropConnect(5, 3, bias=False).state_dict()) == ["weight"]


def test_weights_start_as_linears():
    batten.manual_seed(8)
    layer = nn.DropConnect(5, 3)
    batten.manual_seed(8)
    linear = nn.Linear(5, 3)
    assert layer.weight.tolist() == linear.weight.tolist() and layer.bias.tolist() == linear.bias.tolist()


def test_copies_and_pickles(rng):
    x = batten.tensor(rng.standard_normal((4, 9)))
    layer = nn.DropConnect(9, 5, 0.3, activation="tanh", generator=batten.Generator().manual_seed(3), dtype=x.dtype)
    layer(x)
    twins, mask = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))), layer.last_mask()
    y = layer(x).tolist()
    for twin in twins:  # their generators go on from where the layer's was
        assert repr(twin) == repr(layer)
        assert_array_equal(twin.last_mask(), mask)
        assert twin(x).tolist() == y
    assert layer.float()(x.float()).dtype == batten.float32


def test_it_is_written_with_its_arguments():
    assert repr(nn.DropConnect(4, 3, 0.3, False, "relu", 7, inference="analytic")) == (
        "DropConnect(in_features=4, out_features=3, p=0.3, bias=False, activation='relu', samples=7, inverted=False, "
        "per_batch=False, inference='analytic')"
    )


@pytest.mark.parametrize("type_", [nn.ReLU, nn.Tanh])
def test_sequential_leaves_it_as_it_is(type_, rng):
    """It is a Linear by kind, but none that is computed together with what stands behind."""
    layer, x = layer_of((4, 9), 5, rng)
    batten.manual_seed(1)
    y = nn.Sequential(layer, type_())(batten.tensor(x))
    batten.manual_seed(1)
    assert y.tolist() == type_()(layer(batten.tensor(x))).tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": -0.1}, ValueError, "^DropConnect expects a probability between 0 and 1, got -0.1$"),
        ({"p": math.nan}, ValueError, "expects a probability between 0 and 1, got nan"),
        ({"p": 1, "inverted": True}, ValueError, "divides by 1 - p, and expects p < 1"),
        ({"activation": "gelu"}, ValueError, "expects no activation, relu, sigmoid or tanh, got 'gelu'"),
        ({"samples": -1}, ValueError, "^DropConnect expects samples >= 0, got -1$"),
        ({"samples": 2.5}, TypeError, "integer"),
        ({"generator": 7}, TypeError, "^DropConnect expects a batten.Generator, got int$"),
        ({"inference": "mean"}, ValueError, "expects inference to be 'sample' or 'analytic', got 'mean'"),
        ({"inference": "analytic", "activation": "tanh"}, ValueError, "no closed form for the expectation of tanh"),
    ],
)
def test_arguments_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.DropConnect(3, 2, **arguments)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (lambda: batten.ones(4, 2), ValueError, r"^DropConnect expects \(\*, 3\), got \[4, 2\]$"),
        (lambda: batten.ones(()), ValueError, r"^DropConnect expects \(\*, 3\), got \[\]$"),
        (lambda: batten.tensor([[1, 2, 3]]), TypeError, "^DropConnect expects floats, got int64"),
        (lambda: batten.ones(4, 3).double(), TypeError, "^DropConnect expects its weight in the input's type, float64"),
    ],
)
def test_inputs_that_are_refused_draw_nothing(x, error, message, training):
    layer, state = nn.DropConnect(3, 2).train(training), batten.get_rng_state().tolist()
    with pytest.raises(error, match=message):
        layer(x())
    assert batten.get_rng_state().tolist() == state
    with pytest.raises(RuntimeError, match="DropConnect has no mask before it is called in training"):
        layer.last_mask()


# ---- the kernels beyond what every kernel is asked (test_kernels.py) ----


@pytest.mark.kernels
@pytest.mark.parametrize("p", [0.5, 0.3])
def test_a_gradient_alone_is_that_of_both(p, rng, dtype, isa):
    dy, x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((11, 35), (11, 67), (35, 67)))
    dx, dw = np.full_like(x, np.nan), np.full_like(w, np.nan)
    kernels.drop_connect_backward(dx, dw, dy, x, w, p, 1.5, 7, 3)
    assert kernels.drop_connect_backward(np.full_like(x, np.nan), None, dy, None, w, p, 1.5, 7, 3)[0].tolist() == (
        dx.tolist()
    )
    assert kernels.drop_connect_backward(None, np.full_like(w, np.nan), dy, x, None, p, 1.5, 7, 3)[1].tolist() == (
        dw.tolist()
    )


@pytest.mark.kernels
def test_what_goes_together_backward(rng):
    dy, x, w = np.ones((4, 3)), np.ones((4, 5)), np.ones((3, 5))
    for dx, dw, given_x, given_w in [
        (None, None, None, None),
        (x + 0, None, x, None),
        (x + 0, None, x, w),
        (None, w + 0, x, w),
        (x + 0, w + 0, None, w),
    ]:
        with pytest.raises(ValueError, match="expected dx with w, or dw with x, or all of them"):
            kernels.drop_connect_backward(dx, dw, dy, given_x, given_w, 0.5, 1, 0, 0)
    with pytest.raises(ValueError, match="expected"):
        kernels.drop_connect_backward(np.ones((4, 6)), None, dy, None, w, 0.5, 1, 0, 0)
    with pytest.raises(ValueError, match="expected"):
        kernels.drop_connect_backward(None, np.ones((3, 6)), dy, x, None, 0.5, 1, 0, 0)
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected a probability"):
            kernels.drop_connect(dy + 0, x, w, None, p, 1, 0, 0)
        with pytest.raises(ValueError, match="expected a probability"):
            kernels.drop_connect_weight(w + 0, w, 0, p, 1, 0, 0)

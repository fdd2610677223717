"""Noisy batch normalization: the noise's distribution, and that all else is batch normalization."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import nn
from parity import TOLERANCE, assert_close

KINDS = {"NoisyBatchNorm1d": ("BatchNorm1d", (5, 3)), "NoisyBatchNorm2d": ("BatchNorm2d", (4, 3, 5, 2))}
each_kind = pytest.mark.parametrize("name", KINDS)
NONE = {"n_mu": 0, "n_sigma": 1, "r_mu": 0, "r_sigma": 0}


def noise_of(layer, examples, dtype=np.float32):
    """s and m (examples, channels) of one forward in training, by what it makes of noughts and of ones.

    A layer without noise gives back what has mean 0 and variance 1 - eps, and the first half of each channel is -1.
    """
    x = np.ones((examples, layer.num_features, 2, 1), dtype)
    x[:, :, 0] = -1
    y = layer(batten.tensor(x * math.sqrt(1 - layer.eps), dtype=batten.float64)).detach().numpy()
    return (y[:, :, 1, 0] - y[:, :, 0, 0]) / 2, (y[:, :, 1, 0] + y[:, :, 0, 0]) / 2


def test_moments_of_the_noise():
    """Of what is the same in a step, over the units; and of what differs among examples, within a unit."""
    batten.manual_seed(3)
    layer = nn.NoisyBatchNorm2d(2000, 0.5, 1.25, 0.1, 0.2, eps=1e-9, dtype=batten.float64)
    s, m = noise_of(layer, 1000)
    sigma, mu = s.mean(0), m.mean(0)
    # A mean over 1000 examples is off by r / sqrt(3000) or r_sigma / sqrt(1000), 0.002 and 0.006.
    assert -0.51 < mu.min() < -0.49 and 0.49 < mu.max() < 0.51
    assert abs(mu.mean()) < 4 * 0.5 / math.sqrt(3 * 2000)
    assert_allclose(mu.var(), 1 / 12, rtol=0.05)
    assert 0.96 < sigma.min() < 1.01 and 1.24 < sigma.max() < 1.29
    assert abs(sigma.mean() - 1.125) < 4 * 0.125 / math.sqrt(3 * 2000) + 4 * 0.2 / math.sqrt(2e6)
    assert_allclose(sigma.var(), 0.25**2 / 12 + 0.2**2 / 1000, rtol=0.05)
    assert_allclose((m - mu).var(), 0.2**2 / 12, rtol=0.01)
    assert abs(m - mu).max() < 0.1 + 0.01
    apart = (s - sigma) / 0.2
    assert_allclose(apart.var(), 1, rtol=0.01)
    assert abs((apart**3).mean()) < 0.02
    assert_allclose((apart**4).mean(), 3, rtol=0.02)
    assert abs(np.corrcoef([sigma, mu])[0, 1]) < 4 / math.sqrt(2000)
    assert abs(np.corrcoef([(s - sigma).ravel(), (m - mu).ravel()])[0, 1]) < 4 / math.sqrt(2e6)


def test_every_step_draws_again():
    layer = nn.NoisyBatchNorm2d(50, r_mu=0, r_sigma=0, eps=1e-9, dtype=batten.float64)
    steps = [noise_of(layer, 7) for _ in range(2)]
    for s, m in steps:  # without noise among examples, all of a unit have the same
        assert_allclose(s, s[:1].repeat(7, 0), rtol=1e-8)
        assert_allclose(m, m[:1].repeat(7, 0), rtol=1e-8, atol=1e-8)
    assert (abs(steps[0][0][0] - steps[1][0][0]) > 1e-6).all()
    assert (abs(steps[0][1][0] - steps[1][1][0]) > 1e-6).all()


@each_kind
@pytest.mark.parametrize(
    "settings", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}], ids=str
)
def test_without_noise_and_in_evaluation_it_is_batch_norm(rng, dtype, name, settings):
    plain, shape = KINDS[name]
    quiet = getattr(nn, name)(3, **NONE, **settings, dtype=dtype)
    loud, norm = getattr(nn, name)(3, **settings, dtype=dtype), getattr(nn, plain)(3, **settings, dtype=dtype)
    assert list(loud.state_dict()) == list(norm.state_dict())
    for training in (True, True, False):
        x = rng.standard_normal(shape).astype(dtype)
        results = []
        for layer in (quiet.train(training), norm.train(training), loud.train(training)):
            leaf = batten.tensor(x, requires_grad=True)
            y = layer(leaf)
            y.backward(batten.tensor(2 * x))
            arrays = (y.detach(), leaf.grad, *layer.buffers())
            results.append([a.numpy() for a in arrays])
        for got, expected in zip(results[0], results[1], strict=True):
            assert_close(got, expected)
        for got, expected in zip(results[2][2:], results[1][2:], strict=True):  # the buffers know no noise
            assert_array_equal(got, expected)
        if not training:
            assert_array_equal(results[2][0], results[1][0])
            assert_array_equal(results[2][1], results[1][1])
        assert (results[2][0] != results[1][0]).all() == training


@each_kind
def test_the_gradient_is_s_dy_through_batch_norm(rng, dtype, name):
    plain, shape = KINDS[name]
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    layer, norm = getattr(nn, name)(3, dtype=dtype), getattr(nn, plain)(3, dtype=dtype)
    leaf, other = batten.tensor(x, requires_grad=True), batten.tensor(x, requires_grad=True)
    batten.manual_seed(5)
    y = layer(leaf)
    y.backward(batten.tensor(dy))
    batten.manual_seed(5)
    s, m = layer._noise(x)
    y0 = norm(other)
    assert_allclose(y.detach().numpy(), s * y0.detach().numpy() + m, **TOLERANCE[dtype])
    y0.backward(batten.tensor(s * dy))
    assert_close(leaf.grad, other.grad)
    assert_close(layer.weight.grad, norm.weight.grad)
    assert_close(layer.bias.grad, norm.bias.grad)


@each_kind
def test_the_same_seed_has_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads, name):
    shape = (700, *KINDS[name][1][1:])
    x, found = rng.standard_normal(shape).astype(dtype), set()
    for n in (1, 2, 3, 8):
        threads(n)
        batten.manual_seed(11)
        layer, leaf = getattr(nn, name)(3, dtype=dtype), batten.tensor(x, requires_grad=True)
        y = layer(layer(leaf))
        y.square().sum().backward()
        found.add(tuple(a.numpy().tobytes() for a in (y.detach(), leaf.grad, layer.weight.grad, *layer.buffers())))
    assert len(found) == 1


@each_kind
def test_layout_does_not_matter(rng, dtype, name):
    x = rng.standard_normal(KINDS[name][1]).astype(dtype)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    results = []
    for array in (x, last, np.repeat(x, 2, axis=-1)[..., ::2]):
        batten.manual_seed(2)
        results.append(getattr(nn, name)(3, dtype=dtype)(batten.from_numpy(array)).tolist())
    assert results[0] == results[1] == results[2]


@each_kind
def test_nan_stays_in_its_channel(rng, dtype, name):
    x = rng.standard_normal(KINDS[name][1]).astype(dtype)
    results = []
    for bad in (0, np.nan):
        x[0, 1] = bad
        batten.manual_seed(2)
        results.append(getattr(nn, name)(3, dtype=dtype)(batten.tensor(x)).detach().numpy())
    assert np.isnan(results[1][:, 1]).all()
    assert_array_equal(results[0][:, ::2], results[1][:, ::2])


@each_kind
def test_small_batches_copies_and_pickles(rng, dtype, name):
    shape = KINDS[name][1]
    layer = getattr(nn, name)(3, dtype=dtype)
    assert layer(batten.ones(0, *shape[1:], dtype=dtype)).shape == (0, *shape[1:])
    x = batten.tensor(rng.standard_normal(shape).astype(dtype))
    layer(x)
    expected = layer.eval()(x[:1]).tolist()
    assert len(expected) == 1
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert twin(x[:1]).tolist() == expected
    assert layer.double()(x[:1].double()).dtype == batten.float64


def test_it_is_written_with_its_noise():
    assert repr(nn.NoisyBatchNorm1d(3, r_mu=0)) == (
        "NoisyBatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True, "
        "n_mu=0.5, n_sigma=1.25, r_mu=0, r_sigma=0.1)"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mu": -0.1}, "^NoisyBatchNorm2d expects n_mu >= 0, got -0.1$"),
        ({"n_sigma": 0.9}, "^NoisyBatchNorm2d expects n_sigma >= 1, got 0.9$"),
        ({"r_mu": -1}, "expects r_mu >= 0, got -1"),
        ({"r_sigma": math.nan}, "expects r_sigma >= 0, got nan"),
    ],
)
def test_noise_that_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nn.NoisyBatchNorm2d(3, **settings)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3), r"^NoisyBatchNorm2d expects \(N, 3, H, W\), got \[4, 3\]$"),
        ((1, 3, 1, 1), "more than 1 value per channel when training"),
    ],
)
def test_what_is_refused_draws_nothing(shape, message):
    layer, state = nn.NoisyBatchNorm2d(3), batten.get_rng_state().tolist()
    with pytest.raises(ValueError, match=message):
        layer(batten.ones(shape))
    assert batten.get_rng_state().tolist() == state
    layer.eval()(batten.ones(4, 3, 1, 1))
    assert batten.get_rng_state().tolist() == state

"""Layers of noise: what is added or multiplied, bit by bit; its distribution; and what it does to a loss on average.

The statistical tests have fixed seeds.  Their bounds are in standard deviations of what is measured, and the docstrings
say how small a fault they find.
"""

from __future__ import annotations

import copy
import math
import os
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import _kernels as kernels
from batten import nn

N = 1 << 20
SIGMAS = 4.5
# A layer -> what makes the numbers that it takes, and whether it adds them.
KINDS = {
    "GaussianNoise": (0.3, lambda y, draw: kernels.normal(y, 0, 0.3, *draw), np.add),
    "UniformNoise": (0.7, lambda y, draw: kernels.uniform(y, -0.7, 0.7, *draw), np.add),
    "MultiplicativeGaussianNoise": (0.4, lambda y, draw: kernels.normal(y, 1, 0.4, *draw), np.multiply),
}
each_kind = pytest.mark.parametrize("name", KINDS)


def layer(name, seed=5):
    return getattr(nn, name)(KINDS[name][0], generator=batten.Generator().manual_seed(seed))


def noise(name, shape, dtype, seed=5):
    return KINDS[name][1](np.empty(shape, dtype), batten.Generator().manual_seed(seed).next())


def of(layer, shape, dtype="float64", value=0):
    """What a layer makes of one number, in every place."""
    return layer(batten.full(shape, value, dtype=dtype)).numpy()


@each_kind
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7, 9), (3, 5, 4, 2), (500, 301)], ids=str)
def test_it_is_the_sum_or_product_of_x_and_those_numbers(rng, dtype, isa, name, shape):
    """To the bit, on every instruction set; and the gradient is 1 or the very same factors."""
    x, dy = np.asarray(rng.standard_normal((2, *shape)), dtype)
    made, meet = noise(name, shape, dtype), KINDS[name][2]
    leaf = batten.tensor(x, requires_grad=True)
    y = layer(name)(leaf)
    assert y.dtype == dtype and y.shape == shape
    assert_array_equal(y.detach().numpy(), meet(x, made))
    y.backward(batten.tensor(dy))
    assert_array_equal(leaf.grad.numpy(), dy if meet is np.add else dy * made)


@each_kind
def test_the_same_seed_has_the_same_bits_on_any_number_of_threads(rng, dtype, name, threads):
    x, found = rng.standard_normal((500, 301)).astype(dtype), set()
    for n in (1, 2, 3, 8):
        threads(n)
        batten.manual_seed(11)
        leaf, noisy = batten.tensor(x, requires_grad=True), getattr(nn, name)(0.5)
        first, second = noisy(leaf), noisy(leaf)
        (first * second).sum().backward()
        found.add((first.numpy().tobytes(), second.numpy().tobytes(), leaf.grad.numpy().tobytes()))
        assert (first != second).float().mean() > 0.999
    assert len(found) == 1


@each_kind
def test_elements_count_as_they_lie_in_memory(rng, dtype, name):
    """Images with their channels last have the noise of the array (N, *, C); gaps are none, but a copy."""
    x = rng.standard_normal((4, 5, 6, 3)).astype(dtype)
    expected = layer(name)(batten.tensor(x)).numpy()
    for array in (np.repeat(x, 2, axis=2)[:, :, ::2], x[::-1].copy()[::-1]):
        assert_array_equal(layer(name)(batten.from_numpy(array)).numpy(), expected)
    leaf = batten.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    y = layer(name)(leaf)
    assert_array_equal(y.detach().numpy(), expected.transpose(0, 3, 1, 2))
    dy = np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # comes in another order
    y.backward(batten.from_numpy(dy))
    if KINDS[name][2] is np.multiply:
        dy = dy * noise(name, x.shape, dtype).transpose(0, 3, 1, 2)
    assert_array_equal(leaf.grad.numpy(), dy)


@each_kind
def test_nothing_is_done_and_drawn_in_evaluation_and_without_noise(name):
    x, noisy, none = batten.ones(3, requires_grad=True), layer(name), getattr(nn, name)(0)
    state, own = batten.get_rng_state().tolist(), noisy.generator.get_state().tolist()
    assert noisy.eval()(x) is x
    assert none(x) is x
    assert noisy.eval()(batten.tensor([1, 2])).tolist() == [1, 2]
    assert batten.get_rng_state().tolist() == state and noisy.generator.get_state().tolist() == own
    assert noisy.train()(x) is not x


@each_kind
def test_a_generator_is_a_stream_of_its_own(name):
    """What others draw does not matter; without one, it is the default generator's."""
    x, runs = batten.ones(5), []
    for others in (0, 3):
        noisy, steps = layer(name), []
        for _ in range(2):
            batten.rand(others)
            getattr(nn, name)(0.5)(x)
            steps.append(noisy(x).tolist())
        runs.append(steps)
    assert runs[0] == runs[1] and runs[0][0] != runs[0][1]
    shared = []
    for _ in range(2):
        batten.manual_seed(3)
        shared.append([getattr(nn, name)(0.5)(x).tolist() for _ in range(2)])
    assert shared[0] == shared[1] and shared[0][0] != shared[0][1]


@each_kind
def test_it_goes_on_from_a_generators_state(name):
    """As after a checkpoint; and a fork has the same numbers."""
    noisy, x = layer(name), batten.ones(1000)
    noisy(x)
    state = noisy.generator.get_state()
    expected = noisy(x).numpy().tobytes()
    again = layer(name)
    again.generator.set_state(state)
    assert again(x).numpy().tobytes() == expected
    again.generator.set_state(state)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, again(x).numpy().tobytes())
        os._exit(0)
    assert os.read(read, 4 * x.numel()) == expected
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


@each_kind
def test_nan_stays_where_it_is(name, dtype):
    x = np.ones((4, 3, 5), dtype)
    x[0, 1] = np.nan
    x[1, 2] = np.inf
    y = layer(name)(batten.tensor(x)).numpy()
    assert_array_equal(np.isnan(y), np.isnan(x))
    assert_array_equal(np.isinf(y), np.isinf(x))


@each_kind
def test_it_is_written_copied_and_pickled(name):
    noisy = layer(name)
    what = "bound" if name == "UniformNoise" else "std"
    assert repr(noisy) == f"{name}({what}={KINDS[name][0]})"
    x = batten.ones(6)
    copies = copy.deepcopy(noisy), pickle.loads(pickle.dumps(noisy))
    expected = noisy(x).tolist()
    for twin in copies:
        assert twin(x).tolist() == expected
    assert noisy.to(batten.float64)(x.double()).dtype == batten.float64
    setattr(noisy, what, 0.0)  # noise may be turned down on the way
    assert noisy(x) is x
    assert noisy.state_dict() == {}


@each_kind
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_what_is_no_amount_of_noise(name, bad):
    what = "bound" if name == "UniformNoise" else "std"
    with pytest.raises(ValueError, match=f"^{name} expects a finite {what} >= 0, got {bad}$"):
        getattr(nn, name)(bad)


@each_kind
def test_what_else_is_refused(name):
    with pytest.raises(TypeError, match=f"^{name} expects a batten.Generator, got int$"):
        getattr(nn, name)(0.5, generator=3)
    state = batten.get_rng_state().tolist()
    with pytest.raises(TypeError, match=f"^{name} expects floats, got int64"):
        getattr(nn, name)(0.5)(batten.tensor([1, 2]))
    assert batten.get_rng_state().tolist() == state


# ---- distributions ----


@pytest.mark.parametrize("name, std", [("GaussianNoise", 0.3), ("UniformNoise", 0.7 / math.sqrt(3))])
def test_moments_of_what_is_added(name, std):
    """Finds a mean off by 0.0044 std, a standard deviation off by 0.3 %."""
    noise = of(layer(name), N) / std
    assert abs(noise.mean()) < SIGMAS / math.sqrt(N)
    fourth = {"GaussianNoise": 3, "UniformNoise": 9 / 5}[name]
    assert abs((noise**2).mean() - 1) < SIGMAS * math.sqrt((fourth - 1) / N)
    assert abs((noise**4).mean() - fourth) < 0.05


def test_uniform_noise_is_flat_between_its_bounds():
    """Finds one of 64 bins that is off by 4 %."""
    noise = of(layer("UniformNoise"), N)
    assert noise.min() >= -0.7 and noise.max() < 0.7
    counts, expected = np.histogram(noise, 64, (-0.7, 0.7))[0], N / 64
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 63) < SIGMAS * math.sqrt(2 * 63)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_gaussian_dropout_has_the_moments_of_dropout(p):
    """The factors' mean within 0.0044, their variance within 0.7 %, relative to the standard deviation and variance."""
    std = math.sqrt(p / (1 - p))
    factors = of(nn.MultiplicativeGaussianNoise(std, generator=batten.Generator()), N, value=1)
    dropped = of(nn.Dropout(p), N, value=1)
    for y in (factors, dropped):
        assert abs(y.mean() - 1) < SIGMAS * std / math.sqrt(N)
        assert abs(y.var() / std**2 - 1) < 0.01 / math.sqrt(min(p, 1 - p))
    # a product of numbers of any sign keeps the variance in proportion to their squares
    assert_allclose(of(nn.MultiplicativeGaussianNoise(0.5), N, value=-3).std(), 1.5, rtol=0.005)


@each_kind
def test_rows_channels_layers_and_steps_are_independent(name):
    """Finds a correlation of 0.0044."""
    first, second = layer(name, 1), layer(name, 2)
    steps = [of(each, (1024, 1024), value=1) for each in (first, first, second)]
    pairs = [(steps[0], steps[1]), (steps[0], steps[2])]
    pairs += [(steps[0][lag:], steps[0][:-lag]) for lag in (1, 2, 64)]
    pairs += [(steps[0][:, lag:], steps[0][:, :-lag]) for lag in (1, 16, 64)]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * math.sqrt(a.size) < SIGMAS


# ---- what noise does to a loss ----


def expected_loss(model, x, y, repeats):
    """The mean squared error with noise on the input, and its standard error over the repetitions."""
    errors = (model(x.expand(repeats, *x.shape)) - y).detach().numpy()
    losses = (errors**2).reshape(repeats, -1).mean(1)
    return losses.mean(), losses.std() / math.sqrt(repeats)


def test_noise_on_the_input_of_a_linear_model_is_weight_decay(rng):
    """E (f(x + ε) - y)² = (f(x) - y)² + std²‖w‖² (Bishop 1995).

    What is added, 3.9, is met within 4.5 standard errors, of which one is 0.7 % of it: one that is off by 5 % would be
    found for 99 seeds of 100.
    """
    std, linear = 0.5, nn.Linear(10, 1, dtype=batten.float64)
    x, y = batten.tensor(rng.standard_normal((20, 10))), batten.tensor(rng.standard_normal((20, 1)))
    linear.weight.data = batten.tensor(rng.uniform(-2, 2, (1, 10)))
    noisy = nn.Sequential(nn.GaussianNoise(std, generator=batten.Generator().manual_seed(1)), linear)
    clean = ((linear(x) - y) ** 2).mean().item()
    decay = std**2 * (linear.weight**2).sum().item()
    loss, error = expected_loss(noisy, x, y, 20_000)
    assert error < 0.007 * decay
    assert abs(loss - clean - decay) < SIGMAS * error
    assert noisy.eval()(x).tolist() == linear(x).tolist()


def test_uniform_and_multiplicative_noise_decay_by_their_variances(rng):
    """By bound²/3 ‖w‖², and by std² Σ w_i² times the mean of x_i²: one off by 10 % would be found for 99 of 100."""
    linear = nn.Linear(6, 1, dtype=batten.float64)
    x, y = batten.tensor(rng.standard_normal((20, 6))), batten.tensor(rng.standard_normal((20, 1)))
    clean, squares = ((linear(x) - y) ** 2).mean().item(), linear.weight.detach().numpy()[0] ** 2
    for noise, decay in [
        (nn.UniformNoise(0.9, generator=batten.Generator()), 0.9**2 / 3 * squares.sum()),
        (nn.MultiplicativeGaussianNoise(0.9, generator=batten.Generator()), 0.81 * squares @ (x.numpy() ** 2).mean(0)),
    ]:
        loss, error = expected_loss(nn.Sequential(noise, linear), x, y, 20_000)
        assert error < 0.0145 * decay
        assert abs(loss - clean - decay) < SIGMAS * error

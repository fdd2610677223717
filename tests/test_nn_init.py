"""Initialisation: distributions by their moments, constants, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import batten
from batten.nn import init

N = 20_000

# Name of a gain, its parameter, and the value in PyTorch's table.
GAINS = [
    ("linear", None, 1),
    ("conv2d", None, 1),
    ("conv_transpose3d", None, 1),
    ("sigmoid", None, 1),
    ("tanh", None, 5 / 3),
    ("relu", None, math.sqrt(2)),
    ("leaky_relu", None, math.sqrt(2 / 1.0001)),
    ("leaky_relu", 2, math.sqrt(2 / 5)),
    ("selu", None, 3 / 4),
]

# A call for weights (100, 50, 4) (fan in 200, fan out 400), and the variance it stands for; `uniform` ends at √3 std.
VARIANCES = [
    (lambda w: init.xavier_uniform_(w), 2 / 600, True),
    (lambda w: init.xavier_uniform_(w, gain=3), 9 * 2 / 600, True),
    (lambda w: init.xavier_normal_(w, 0.5), 0.25 * 2 / 600, False),
    (lambda w: init.kaiming_uniform_(w), 2 / 200, True),
    (lambda w: init.kaiming_uniform_(w, a=5**0.5), 1 / 3 / 200, True),
    (lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), 2 / 400, True),
    (lambda w: init.kaiming_normal_(w), 2 / 200, False),
    (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh"), 25 / 9 / 400, False),
    (lambda w: init.normal_(w, std=0.1), 0.01, False),
    (lambda w: init.uniform_(w, -1, 1), 1 / 3, True),
]


def fresh(*shape, dtype=None):
    batten.manual_seed(3)
    return batten.full(shape, math.nan, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize(("name", "param", "gain"), GAINS)
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-15)


def test_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for name in [*init.GAINS, "leaky_relu"]:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(("fill", "variance", "uniform"), VARIANCES)
def test_distributions(dtype, fill, variance, uniform):
    w = fresh(100, 50, 4, dtype=dtype)
    assert fill(w) is w
    assert w.requires_grad
    assert w.is_leaf
    x = w.numpy()
    assert x.dtype == dtype
    kurtosis = 9 / 5 if uniform else 3
    # Four standard errors each; the last is that of a normal distribution, the larger one.
    assert abs(x.mean()) < 4 * math.sqrt(variance / N)
    assert abs(x.var() / variance - 1) < 4 * math.sqrt((kurtosis - 1) / N)
    assert abs((x**4).mean() / variance**2 - kurtosis) < 4 * math.sqrt(96 / N)
    if uniform:
        assert math.sqrt(3 * variance) * (1 - 1e-3) < abs(x).max() <= math.sqrt(3 * variance) * (1 + 1e-6)


@pytest.mark.parametrize(("mean", "std", "a", "b"), [(0, 1, -2, 2), (1, 2, 0, 1.5), (0, 0.02, -2, 2), (3, 1, 3, 9)])
def test_truncated_normal_by_its_moments(dtype, mean, std, a, b):
    x = init.trunc_normal_(fresh(N, dtype=dtype), mean, std, a, b).numpy().astype(np.float64)
    assert a <= x.min()
    assert x.max() <= b
    grid = np.linspace(max(a, mean - 9 * std), min(b, mean + 9 * std), 100_001)
    density = np.exp(-0.5 * ((grid - mean) / std) ** 2)
    density /= density.sum()
    expected_mean = (density * grid).sum()
    expected_var = (density * (grid - expected_mean) ** 2).sum()
    assert abs(x.mean() - expected_mean) < 4 * math.sqrt(expected_var / N)
    assert abs(x.var() / expected_var - 1) < 4 * math.sqrt(2 / N)


def test_erfinv_inverts_erf():
    x = np.linspace(-4, 4, 1001)
    u = np.array([math.erf(v) for v in x])
    # u is rounded, and erf is flat far out: a rounding there is a step of u's divided by the slope.
    np.testing.assert_allclose(init.erfinv(u), x, rtol=1e-15, atol=1e-15 + 2e-16 * np.exp(x * x).max())
    middle = abs(x) < 2
    np.testing.assert_allclose(init.erfinv(u[middle]), x[middle], rtol=1e-14, atol=1e-16)
    assert np.isfinite(init.erfinv(np.array([-1.0, 1.0]))).all()


def test_truncation_far_from_the_mean_warns():
    with pytest.warns(UserWarning, match="more than two standard deviations") as caught:
        x = init.trunc_normal_(fresh(100), 0, 1, 30, 31)
    assert caught[0].filename == __file__
    assert (x.numpy() == 30).all() or (x.numpy() == 31).all()


def test_constants(dtype):
    assert init.constant_(fresh(2, 3, dtype=dtype), 0.25).tolist() == [[0.25] * 3] * 2
    assert init.ones_(fresh(2, dtype=dtype)).tolist() == [1, 1]
    assert init.zeros_(fresh(2, dtype=dtype)).tolist() == [0, 0]
    for shape in [(3, 3), (2, 4), (4, 2), (0, 2)]:
        assert (init.eye_(fresh(*shape, dtype=dtype)).numpy() == np.eye(*shape)).all()


def test_numbers_come_from_the_generator_that_is_named():
    calls = [
        lambda w, g: init.uniform_(w, generator=g),
        lambda w, g: init.normal_(w, generator=g),
        lambda w, g: init.trunc_normal_(w, generator=g),
        lambda w, g: init.xavier_uniform_(w, generator=g),
        lambda w, g: init.xavier_normal_(w, generator=g),
        lambda w, g: init.kaiming_uniform_(w, generator=g),
        lambda w, g: init.kaiming_normal_(w, generator=g),
    ]
    for call in calls:
        before = batten.get_rng_state()
        first, second, other = [
            call(batten.empty(3, 4), batten.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)
        ]
        assert first == second != other
        assert batten.get_rng_state().tolist() == before.tolist()
        batten.manual_seed(1)
        assert call(batten.empty(3, 4), None).tolist() == first


def test_a_change_is_seen_by_what_kept_the_values():
    w = batten.ones(2, 2, requires_grad=True)
    y = (w * w).sum()
    init.normal_(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_without_elements():
    assert init.kaiming_uniform_(batten.empty(3, 0)).shape == (3, 0)
    assert init.kaiming_normal_(batten.empty(0, 3), mode="fan_out").shape == (0, 3)
    assert init.xavier_normal_(batten.empty(0, 0)).shape == (0, 0)
    assert init.trunc_normal_(batten.empty(0)).shape == (0,)


def test_strided_weights_are_filled_in_their_places():
    memory = batten.zeros(6, 8)
    init.ones_(memory[:, ::2])
    assert memory.tolist() == [[1, 0] * 4] * 6
    for fill in (init.kaiming_normal_, init.trunc_normal_):
        straight, memory = batten.empty(4, 6), batten.zeros(6, 8)
        fill(straight, generator=batten.Generator())
        fill(memory.T[::2], generator=batten.Generator())
        assert memory.T[::2].tolist() == straight.tolist()
        assert (memory[:, 1::2] == 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.calculate_gain("swish"), ValueError, "got 'swish'"),
        (lambda: init.calculate_gain("leaky_relu", "steep"), ValueError, "a number as the negative slope, got 'steep'"),
        (lambda: init.kaiming_uniform_(batten.empty(3)), ValueError, r"weights \(out, in, \*\) .* got \[3\]"),
        (lambda: init.xavier_normal_(batten.empty(())), ValueError, r"got \[\]"),
        (lambda: init.kaiming_normal_(batten.empty(3, 3), mode="fan"), ValueError, "'fan_in' or 'fan_out', got 'fan'"),
        (lambda: init.eye_(batten.empty(3)), ValueError, r"eye_ expects a matrix, got \[3\]"),
        (lambda: init.uniform_(batten.empty(3), 1, 0), ValueError, "got 1 and 0"),
        (lambda: init.normal_(batten.empty(3), std=-1), ValueError, "std >= 0, got -1"),
        (lambda: init.trunc_normal_(batten.empty(3), a=1, b=0), ValueError, "a <= b and std > 0, got a=1, b=0"),
        (lambda: init.trunc_normal_(batten.empty(3), std=0), ValueError, "std=0"),
        (lambda: init.normal_(batten.tensor([1, 2])), TypeError, "float32 or float64, got int64"),
        (lambda: init.trunc_normal_(batten.tensor([1, 2])), TypeError, "float32 or float64, got int64"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

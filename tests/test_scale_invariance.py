"""Invariance to scale: that it says what is so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import set_weights, tensor
from numpy.testing import assert_allclose

import batten
from batten import inspect, nn

NORMALIZED = {
    "linear": lambda eps: [nn.Linear(6, 4), nn.BatchNorm1d(4, eps)],
    "convolution": lambda eps: [nn.Conv2d(6, 4, 3, padding=1), nn.BatchNorm2d(4, eps), nn.ReLU()],
    "groups": lambda eps: [nn.Conv2d(6, 4, 3, groups=2, bias=False), nn.BatchNorm2d(4, eps)],
    "transposed": lambda eps: [nn.ConvTranspose2d(6, 4, 2, stride=2), nn.BatchNorm2d(4, eps), nn.Dropout(0.5)],
    "layer norm": lambda eps: [nn.Linear(6, 4, bias=False), nn.LayerNorm(4, eps)],
    "group norm": lambda eps: [nn.Conv1d(6, 4, 3, bias=False), nn.GroupNorm(2, 4, eps)],
}
SHAPES = {"linear": (9, 6), "layer norm": (9, 6), "group norm": (5, 6, 8)}


@pytest.mark.parametrize("name", NORMALIZED)
@pytest.mark.parametrize("a", [0.01, 0.5, 3, np.float32(100)])
def test_normalized_layers_do_not_mind_the_scale_of_their_weights(name, a):
    """Exactly as eps goes to 0, and by a share of eps / variance otherwise."""
    batten.manual_seed(1)
    x = np.random.default_rng(2).standard_normal(SHAPES.get(name, (3, 6, 5, 5)))
    residuals = []
    for eps in (1e-18, 1e-11, 1e-9):
        batten.manual_seed(2)
        layer = nn.Sequential(*NORMALIZED[name](eps)).double()
        residuals.append(inspect.scale_invariance(layer, x, a))
    exact, small, larger = residuals
    assert max(exact) < 1e-8
    for one, other in zip(small, larger, strict=True):
        assert_allclose(other / one, 100, rtol=0.1)


def test_the_residual_of_the_result_is_the_predicted_one():
    """y' / y = sqrt((σ² + ε) / (σ² + ε / a²)), for one unit."""
    x = tensor([[1.0], [2.0], [4.0]])
    linear = set_weights(nn.Linear(1, 1).double(), [[0.5]], 3.0)
    variance = 0.25 * x.numpy().var()
    for eps in (1e-3, 0.1, 1.0):
        for a in (0.25, 2.0):
            found = inspect.scale_invariance((linear, nn.BatchNorm1d(1, eps).double()), x, a).output
            assert_allclose(found, abs(math.sqrt((variance + eps) / (variance + eps / a**2)) - 1), rtol=1e-10)


def test_a_power_of_two_changes_no_bit_where_eps_is_too_small_to_be_seen():
    for kind in (batten.float32, batten.float64):
        layer = nn.Sequential(nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3, eps=1e-300)).to(kind)
        assert inspect.scale_invariance(layer, batten.randn(8, 5, dtype=kind), 4.0) == (0, 0, 0)


def test_what_is_not_normalized_minds():
    x = batten.randn(8, 5, dtype=batten.float64)
    linear = nn.Linear(5, 3, bias=False).double()
    assert_allclose(inspect.scale_invariance(linear, x, 3.0), (2, 2, 2))
    assert_allclose(inspect.scale_invariance([linear, nn.ReLU()], x, 3.0), (2, 2, 2))
    biased = nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)).double()
    assert min(inspect.scale_invariance(biased, x, 3.0)) > 1e-3  # a mean over units does not take their biases away
    evaluated = nn.Sequential(linear, nn.BatchNorm1d(3).double()).eval()
    assert min(inspect.scale_invariance(evaluated, x, 3.0)) > 1


def test_numpy_s_numbers_do_not_change_the_type_of_the_weight():
    layer, x = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), batten.randn(8, 5)
    assert inspect.scale_invariance(layer, x, np.float64(3)) == inspect.scale_invariance(layer, x, 3)


def test_residuals_of_nought():
    x = batten.ones(4, 2)
    still = nn.Sequential(set_weights(nn.Linear(2, 2, bias=False), 0.0), nn.BatchNorm1d(2))
    assert inspect.scale_invariance(still, x, 2.0)[:2] == (0, 0)
    assert inspect.scale_invariance(nn.Linear(2, 2, bias=False), batten.zeros(0, 2), 2.0) == (0, 0, 0)


def test_the_direction_is_always_the_same():
    layer, x = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), batten.randn(8, 5)
    first = inspect.scale_invariance(layer, x, 3.0)
    batten.manual_seed(123)
    assert inspect.scale_invariance(layer, x, 3.0) == first
    frozen = layer.requires_grad_(False)
    assert inspect.scale_invariance(frozen, x, 3.0) == first
    assert not any(p.requires_grad for p in frozen.parameters())


def test_invariance_refuses_what_it_cannot_scale():
    layer, x = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), batten.ones(3, 2)
    for a in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"scale_invariance expects 0 < a < inf, got {a}"):
            inspect.scale_invariance(layer, x, a)
    for modules in (nn.Sequential(), nn.ReLU(), [nn.ReLU(), nn.Linear(2, 2)], [nn.BatchNorm1d(2, affine=False)]):
        with pytest.raises(TypeError, match="modules of which the first has a weight, got Sequential"):
            inspect.scale_invariance(modules, x, 2)
    with pytest.raises(TypeError, match="scale_invariance expects floats, got int64"):
        inspect.scale_invariance(layer, batten.ones(3, 2).long(), 2)

"""Priors: their densities, and that the most probable weights are those that penalties and closed forms say."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import batten
from batten import nn
from batten.nn.functional import cross_entropy, linear, mse_loss
from batten.regularization import L1, L2, MAP, Gaussian, Laplace


def everything(name, parameter):
    return True


def regression(rng, examples=40, features=5):
    x = rng.standard_normal((examples, features))
    return x, x @ rng.standard_normal(features) + 0.3 * rng.standard_normal(examples)


def gradient(objective, w):
    """That of an objective of the weights of a linear model, at w."""
    parameter = batten.tensor(w[None], requires_grad=True)
    objective(parameter).backward()
    return parameter.grad.numpy()[0]


def test_density_by_hand(dtype):
    w = np.array([[0.5, -2.0, 0.0], [1.5, 3.0, -0.25]])
    given = batten.tensor(w, dtype=batten.float64 if dtype == np.float64 else batten.float32)
    rtol = 1e-14 if dtype == np.float64 else 1e-6
    gaussian = sum(math.log(math.exp(-(x**2) / (2 * 0.7**2)) / (0.7 * math.sqrt(2 * math.pi))) for x in w.flat)
    laplace = sum(math.log(math.exp(-abs(x) / 0.7) / 1.4) for x in w.flat)
    for prior, expected in ((Gaussian(0.7), gaussian), (Laplace(0.7), laplace)):
        value = prior.log_prob(given)
        assert value.shape == () and value.numpy().dtype == dtype
        np.testing.assert_allclose(value.item(), expected, rtol=rtol)


def test_density_beside_torch():
    torch = pytest.importorskip("torch")
    batten.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    weights = [model[0].weight, model[2].weight]
    for ours, theirs in (
        (Gaussian(0.3), torch.distributions.Normal(torch.zeros(()).double(), 0.3)),
        (Laplace(0.3), torch.distributions.Laplace(torch.zeros(()).double(), 0.3)),
    ):
        model.zero_grad()
        copies = [torch.tensor(w.detach().numpy(), requires_grad=True) for w in weights]
        expected = sum(theirs.log_prob(w).sum() for w in copies)
        expected.backward()
        value = ours.log_prob(model)
        value.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        for w, c in zip(weights, copies, strict=True):
            np.testing.assert_allclose(w.grad.numpy(), c.grad.numpy(), rtol=1e-12)
        assert model[1].weight.grad is None and model[0].bias.grad is None


def test_penalty_is_the_negative_logarithm_for_each_example():
    """But for a constant, of which the weights know nothing."""
    batten.manual_seed(0)
    for prior in (Gaussian(0.3), Laplace(0.3), Gaussian(0.3, where=everything)):
        differences = [
            prior.penalty(50)(w).item() + prior.log_prob(w).item() / 50
            for w in (batten.zeros(4, 3, dtype=batten.float64), batten.randn(4, 3, dtype=batten.float64))
        ]
        assert differences[0] == pytest.approx(differences[1], rel=1e-12)
        assert prior.penalty(50).where is prior.where


def test_penalties_are_l2_and_l1():
    assert repr(Gaussian(0.5).penalty(100)) == repr(L2(1 / (2 * 100 * 0.25)))
    assert repr(Laplace(0.5).penalty(100)) == repr(L1(1 / (100 * 0.5)))


def test_map_of_a_classifier_is_the_posterior_s_gradient(rng):
    """-(log likelihood + log prior) / n over all examples, and the minimiser of cross entropy + L2 or L1."""
    batten.manual_seed(0)
    model, n = nn.Linear(6, 4).double(), 30
    x, y = batten.tensor(rng.standard_normal((n, 6))), batten.tensor(rng.integers(0, 4, n))
    for prior, penalty in ((Gaussian(0.3), L2(1 / (2 * n * 0.3**2))), (Laplace(0.3), L1(1 / (n * 0.3)))):
        log_likelihood = -cross_entropy(model(x), y, reduction="sum")
        objective = MAP(nn.CrossEntropyLoss(), prior, n)(model(x), y, model)
        assert objective.item() == cross_entropy(model(x), y).item() + penalty(model).item()
        found = []
        for total in (
            -(log_likelihood + prior.log_prob(model)) / n,
            objective,
            cross_entropy(model(x), y) + penalty(model),
        ):
            model.zero_grad()
            total.backward()
            found.append([p.grad.numpy().copy() for p in model.parameters()])
        for posterior, ours, penalised in zip(*found, strict=True):
            np.testing.assert_allclose(ours, posterior, rtol=1e-12, atol=1e-15)
            np.testing.assert_array_equal(ours, penalised)


def test_gaussian_prior_gives_ridge_regression_in_closed_form(rng):
    """With noise s and prior σ, the most probable weights are (XᵀX + s²/σ² I)⁻¹ Xᵀy: L2's with λ = s² / (n σ²)."""
    x, y = regression(rng)
    n, s, std = len(x), 0.4, 0.7
    w = np.linalg.solve(x.T @ x + (s / std) ** 2 * np.eye(5), x.T @ y)
    inputs, targets = batten.tensor(x), batten.tensor(y[:, None])
    objective = MAP(lambda output, target: mse_loss(output, target) / (2 * s**2), Gaussian(std), n)
    at_minimum = gradient(lambda p: objective(linear(inputs, p), targets, p), w)
    np.testing.assert_allclose(at_minimum, 0, atol=1e-12)
    penalty = L2(s**2 / (n * std**2))
    np.testing.assert_allclose(gradient(lambda p: mse_loss(linear(inputs, p), targets) + penalty(p), w), 0, atol=1e-12)
    # So does gradient descent find them, and without the prior it finds others.
    p = batten.zeros(1, 5, dtype=batten.float64, requires_grad=True)
    optimizer = batten.optim.SGD([p], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        objective(linear(inputs, p), targets, p).backward()
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy()[0], w, rtol=1e-9)
    assert np.abs(np.linalg.lstsq(x, y)[0] - w).max() > 1e-3


def test_laplace_prior_gives_soft_thresholds_in_closed_form(rng):
    """Where XᵀX = n I, with z = Xᵀy / n, the most probable weights are sign(z) max(|z| - s² / (n b), 0)."""
    n, s, b = 40, 0.5, 0.02
    x = np.linalg.qr(rng.standard_normal((n, 5)))[0] * math.sqrt(n)
    y = x @ np.array([1.0, -0.5, 0.1, 0.0, -0.2]) + s * rng.standard_normal(n)
    z, threshold = x.T @ y / n, s**2 / (n * b)
    w = np.sign(z) * np.maximum(np.abs(z) - threshold, 0)
    assert 0 < (w == 0).sum() < 5
    inputs, targets = batten.tensor(x), batten.tensor(y[:, None])
    objective = MAP(lambda output, target: mse_loss(output, target) / (2 * s**2), Laplace(b), n)
    slope = gradient(lambda p: objective(linear(inputs, p), targets, p), w)
    np.testing.assert_allclose(slope[w != 0], 0, atol=1e-12)
    assert (np.abs(slope[w == 0]) <= 1 / (n * b)).all()  # where the penalty's own slope is anything up to that
    penalty = L1(2 * s**2 / (n * b))
    scaled = gradient(lambda p: mse_loss(linear(inputs, p), targets) + penalty(p), w)
    np.testing.assert_allclose(scaled, 2 * s**2 * slope, rtol=1e-12, atol=1e-12)

    # Every other point is worse.
    def value(w):
        p = batten.tensor(w[None])
        return objective(linear(inputs, p), targets, p).item()

    assert all(value(w + 0.01 * rng.standard_normal(5)) > value(w) for _ in range(50))


def test_bad_arguments():
    for kind, name in ((Gaussian, "std"), (Laplace, "scale")):
        for bad in (0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=rf"{kind.__name__} expects a finite {name} > 0, got {bad}"):
                kind(bad)
            with pytest.raises(ValueError, match=rf"{kind.__name__} expects a finite n > 0, got {bad}"):
                kind(1.0).penalty(bad)
        with pytest.raises(TypeError, match=rf"{kind.__name__} expects where to be None or a function"):
            kind(1.0, where="weight")
    with pytest.raises(ValueError, match="at least one weight"):
        Gaussian(1.0).log_prob(nn.ReLU())
    with pytest.raises(ValueError, match="MAP expects a finite n > 0, got 0"):
        MAP(nn.MSELoss(), Gaussian(1.0), 0)
    with pytest.raises(ValueError, match=r"MAP expects the mean of a loss over a batch, got .* with reduction='sum'"):
        MAP(nn.CrossEntropyLoss(reduction="sum"), Gaussian(1.0), 10)
    with pytest.raises(TypeError, match=r"MAP expects a prior, such as Gaussian or Laplace, got batten\..*L2"):
        MAP(nn.MSELoss(), L2(0.1), 10)
    with pytest.raises(TypeError, match="MAP expects a function of"):
        MAP("mse", Gaussian(1.0), 10)


def test_copies_and_reprs():
    w = batten.randn(3, 4)
    for prior in (Gaussian(0.5), Laplace(0.5, where=everything)):
        for other in (copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
            assert repr(other) == repr(prior) and other.log_prob(w).item() == prior.log_prob(w).item()
    assert repr(Laplace(0.5, where=everything)) == "Laplace(scale=0.5, where=everything)"
    objective = pickle.loads(pickle.dumps(MAP(nn.CrossEntropyLoss(), Gaussian(std=0.5), n=10)))
    assert repr(objective) == "MAP(CrossEntropyLoss(), Gaussian(std=0.5), n=10)"

"""Covariate shift: that it says what is so."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from networks import IMAGES, convnet, loss_of, nothing_changes, set_weights, tensor
from numpy.testing import assert_allclose

import batten
from batten import inspect, nn, optim
from batten.inspect.table import Table


def test_shift_by_hand():
    """Two linear layers without bias, x (3, 2), and the mean of squares."""
    rng = np.random.default_rng(0)
    x, y, first, second = (rng.standard_normal(shape) for shape in [(3, 2), (3, 1), (4, 2), (1, 4)])
    first_after, second_after = first + 0.1 * rng.standard_normal((4, 2)), second * 1.5
    a, b = (nn.Linear(2, 4, bias=False).double(), nn.Linear(4, 1, bias=False).double())
    set_weights(a, first), set_weights(b, second)
    shift = inspect.CovariateShift(nn.Sequential(a, b))
    with shift.step(lambda: nn.functional.mse_loss(b(a(tensor(x))), tensor(y))):
        set_weights(a, first_after), set_weights(b, second_after)

    def gradient(first, second):
        """dL/dW2 = 2/N Σ (W2 W1 x - y) (W1 x)ᵀ"""
        hidden = x @ first.T
        return 2 / len(x) * (hidden @ second.T - y).T @ hidden

    g, g_after = gradient(first, second), gradient(first_after, second)
    u, u_after = x @ first.T, x @ first_after.T
    row = shift.steps[0][1]
    assert row.layer == "1 Linear" and shift.layers == ["0 Linear", "1 Linear"]
    assert_allclose(row.mean_drift, np.linalg.norm(u_after.mean(0) - u.mean(0)) / np.sqrt(u.var(0).sum()))
    assert_allclose(row.variance_drift, np.linalg.norm(u_after.var(0) - u.var(0)) / np.linalg.norm(u.var(0)))
    assert_allclose(row.gradient_norm, np.linalg.norm(g))
    assert_allclose(row.gradient_shift, np.linalg.norm(g_after - g))
    assert_allclose(row.cosine, (g * g_after).sum() / np.linalg.norm(g) / np.linalg.norm(g_after))
    first_row = shift.steps[0][0]
    assert first_row[1:3] == (0, 0) and first_row[4:] == (0, 1)


def test_gradients_are_those_of_the_mixed_models():
    """Beside models that have the parameters of both sides of the step, with convolutions, norms and dropout."""
    model = convnet()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    loss = loss_of(model)
    loss().backward()
    before = copy.deepcopy(model)
    shift = inspect.CovariateShift(model)
    batten.manual_seed(11)
    with shift.step(loss):
        optimizer.step()
    names = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    assert [name.split()[0] for name in shift.layers] == names
    old, new = before.state_dict(), model.state_dict()

    def gradient(count, name):
        """That of a layer, with the first few layers stepped."""
        mixed = copy.deepcopy(before)
        mixed.load_state_dict({k: (new if k.split(".")[0] in names[:count] else old)[k] for k in old})
        mixed.zero_grad()
        batten.manual_seed(11)
        loss_of(mixed)().backward()
        own = mixed.get_submodule(name).parameters()
        return np.concatenate([p.grad.numpy().ravel() for p in own]).astype(np.float64)

    for number, (name, row) in enumerate(zip(names, shift.steps[0], strict=True)):
        g, shifted = gradient(0, name), gradient(number, name)
        assert_allclose(row.gradient_norm, np.linalg.norm(g), rtol=1e-12)
        assert_allclose(row.gradient_shift, np.linalg.norm(shifted - g), rtol=1e-12)
        assert row.gradient_shift > 0 or number == 0
        assert -1 <= row.cosine <= 1


def test_what_is_before_a_layer_is_what_is_called_before_it():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.unused, self.first = nn.Linear(3, 1), nn.Linear(2, 2), nn.Linear(2, 3)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    shift = inspect.CovariateShift(model)
    with shift.step(lambda: model(batten.ones(4, 2)).square().sum()), batten.no_grad():
        model.first.weight += 1
    last, unused, first = shift.steps[0]
    assert [row.layer for row in (last, unused, first)] == ["last Linear", "unused Linear", "first Linear"]
    assert last.mean_drift == math.inf  # four equal examples have no variance
    assert last.gradient_shift > 0 and first.gradient_shift == 0
    assert all(math.isnan(value) for value in unused[1:])


def test_a_step_of_the_last_layer_shifts_nothing():
    model = convnet()
    shift, loss = inspect.CovariateShift(model), loss_of(model)
    loss().backward()
    with shift.step(loss):
        optim.SGD(model[-1].parameters(), lr=1).step()
    assert not shift.mean_drift.any() and not shift.variance_drift.any() and not shift.gradient_shift.any()
    assert (shift.cosine == 1).all() and (shift.gradient_norm > 0).all()


def test_all_losses_of_a_step_have_the_same_masks_also_if_the_step_draws_numbers_itself():
    model = convnet()
    shift = inspect.CovariateShift(model)
    batten.manual_seed(4)
    with shift.step(loss_of(model)):
        batten.rand(3)
    after = batten.get_rng_state().tolist()
    assert not shift.mean_drift.any() and not shift.gradient_shift.any()
    batten.manual_seed(4)
    batten.rand(3)
    assert batten.get_rng_state().tolist() == after


def test_frozen_layers_drift_but_have_no_gradient():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 2))
    x = batten.randn(5, 3)
    shift = inspect.CovariateShift(model)
    with shift.step(lambda: model(x).square().sum()), batten.no_grad():
        model[0].weight += 1
    assert shift.mean_drift[0, 1] > 0 and math.isnan(shift.gradient_norm[0, 1])
    assert shift.gradient_shift[0, 2] > 0
    model[2].bias.requires_grad_(False)
    with shift.step(lambda: model(x).square().sum()):
        nothing_changes()
    assert math.isclose(shift.gradient_norm[1, 2], np.linalg.norm(weight_gradient(model, x)), rel_tol=1e-5)


def weight_gradient(model, x):
    return batten.autograd.grad(model(x).square().sum(), model[2].weight)[0].numpy()


def test_calls_have_their_features_side_by_side():
    layer = set_weights(nn.Linear(2, 2, bias=False).double(), [[2.0, 0.0], [0.0, 2.0]])
    x = np.array([[1.0, 3.0], [2.0, 7.0]])
    shift = inspect.CovariateShift(layer)
    with shift.step(lambda: layer(layer(tensor(x))).sum()):
        set_weights(layer, [[3.0, 0.0], [0.0, 3.0]])
    (row,) = shift.steps[0]
    means, variances = x.mean(0), x.var(0)
    assert row.layer == "Linear"
    assert_allclose(row.mean_drift, np.linalg.norm(means) / np.sqrt((variances + 4 * variances).sum()))
    sizes = np.linalg.norm([variances, 4 * variances])
    assert_allclose(row.variance_drift, np.linalg.norm((9 - 4) * variances) / sizes)
    assert row.gradient_shift == 0  # nothing is before it


def test_features_are_the_channels_of_images_and_the_last_axis_of_vectors():
    x = np.random.default_rng(1).standard_normal((6, 3, 5))
    for layer, axes in [(nn.Conv1d(3, 2, 1), (0, 2)), (nn.Linear(5, 2), (0, 1)), (nn.LayerNorm(5), (0, 1))]:
        scale = nn.Module()  # a layer before, which doubles
        scale.factor = nn.Parameter(tensor(1.0))
        scale.forward = lambda x, scale=scale: scale.factor * x
        model = nn.Sequential(scale, layer.double())
        shift = inspect.CovariateShift(model)
        with shift.step(lambda model=model: model(tensor(x)).square().sum()), batten.no_grad():
            scale.factor.fill_(2)
        mean, variance = x.mean(axes), x.var(axes)
        assert_allclose(shift.mean_drift[0, 1], np.linalg.norm(mean) / np.sqrt(variance.sum()))
        assert_allclose(shift.variance_drift[0, 1], 3)


def test_parameters_that_are_shared_belong_to_the_first():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    shift = inspect.CovariateShift(model)
    assert shift.layers == ["0 Linear"]
    with shift.step(lambda: model(batten.ones(2, 3)).sum()), batten.no_grad():
        model[0].weight += 1
    assert shift.gradient_shift[0, 0] == 0


def test_a_loss_without_a_gradient_is_refused_before_the_step():
    model, x = nn.Linear(2, 2), batten.ones(3, 2)
    shift = inspect.CovariateShift(model)
    for loss, error in [
        (lambda: model(x), RuntimeError),
        (lambda: model(x).detach().sum(), RuntimeError),
        (lambda: 3.0, TypeError),
    ]:
        with pytest.raises(error), shift.step(loss):
            raise AssertionError("not to be reached")
    assert shift.steps == [] and repr(shift) == "no steps so far"
    assert shift.mean_drift.shape == (0, 1)


def test_a_step_that_fails_is_not_one():
    model = nn.Linear(2, 1)
    shift = inspect.CovariateShift(model)
    with pytest.raises(KeyError), shift.step(lambda: model(batten.ones(3, 2)).sum()):
        with batten.no_grad():
            model.weight.fill_(7)
        raise KeyError
    assert shift.steps == [] and model._forward_hooks is None
    assert model.weight.tolist() == [[7, 7]]


def test_layers_without_a_gradient_from_the_loss_have_one_of_zero():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shift = inspect.CovariateShift(model)

    def loss():
        model(batten.ones(3, 2))
        return model[0](batten.ones(3, 2)).sum()

    with shift.step(loss):
        nothing_changes()
    assert shift.steps[0][1][3:] == (0, 0, 1)


def test_infinite_inputs_are_plainly_so():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    shift = inspect.CovariateShift(model)
    with shift.step(lambda: model(batten.full((3, 2), math.inf)).sum()), batten.no_grad():
        model[0].weight += 1
    assert math.isnan(shift.steps[0][1].mean_drift) and math.isnan(shift.steps[0][1].gradient_shift)


def test_shift_is_the_same_on_any_number_of_threads():
    model, before = convnet(), batten.get_num_threads()
    model.eval()
    found = []
    try:
        for threads in (1, 2, 3):
            batten.set_num_threads(threads)
            twin = copy.deepcopy(model)
            shift, loss = inspect.CovariateShift(twin), loss_of(twin)
            loss().backward()
            with shift.step(loss):
                optim.SGD(twin.parameters(), lr=0.1).step()
            found.append((shift.steps[0], inspect.activation_statistics(twin, IMAGES)))
    finally:
        batten.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_the_table_has_the_means_over_the_steps():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    shift = inspect.CovariateShift(model)
    shift.steps = [
        Table([inspect.LayerShift("0 Linear", 0, 0, 1, 0, 1), inspect.LayerShift("1 Linear", n, 2, 1, 0.5, 0.25)])
        for n in (1, 2)
    ]
    assert shift.mean_drift.tolist() == [[0, 1], [0, 2]]
    assert repr(shift) == (
        "           mean  variance  gradient  gradient\n"
        "layer     drift     drift      norm     shift  cosine\n"
        "0 Linear      0         0         1         0       1\n"
        "1 Linear    1.5         2         1       0.5    0.25"
    )

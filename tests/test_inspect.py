"""What networks are looked at with: that it says what is so, and that nobody can tell it was used."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import inspect, nn, optim
from batten.inspect.table import Table


def tensor(values):
    return batten.tensor(values, dtype=batten.float64)


def set_weights(layer, weight, bias=None):
    with batten.no_grad():
        layer.weight.copy_(tensor(weight))
        if layer.bias is not None:
            layer.bias.copy_(tensor(0.0 if bias is None else bias))
    return layer


def convnet():
    batten.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Conv2d(4, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5, bias=False),
        nn.BatchNorm1d(5), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(5, 3),
    )  # fmt: skip


IMAGES = np.random.default_rng(5).standard_normal((7, 2, 8, 8)).astype(np.float32)
CLASSES = np.random.default_rng(6).integers(0, 3, 7)


def loss_of(model):
    images, classes = batten.tensor(IMAGES), batten.tensor(CLASSES)
    return lambda: nn.functional.cross_entropy(model(images), classes)


# ---- the network is as it was ----


class Restless(nn.Module):
    """Changes all that it can, and may fail at one of its calls."""

    def __init__(self, fails_at=0):
        super().__init__()
        self.weight = nn.Parameter(batten.ones(3))
        self.register_buffer("calls", batten.zeros(1))
        self.register_buffer("last", batten.zeros(2))
        self.fails_at = fails_at
        self.counts = []

    def forward(self, x):
        with batten.no_grad():
            self.weight.mul_(1.5)
            self.calls += 1
            if self.weight.grad is not None:
                self.weight.grad.add_(1)
        self.last = batten.rand(3)
        self.fresh = nn.Parameter(batten.rand(1))
        self.eval()
        self.register_forward_hook(lambda *args: None)
        self.counts.append(1)
        if len(self.counts) == self.fails_at:
            raise KeyError("no")
        return x * self.weight + self.fresh


def bits(x):
    return None if x is None else (id(x), id(x.array), np.array(x).tobytes(), x.version, x.requires_grad, x.grad_fn)


def state(model):
    """All that could have changed."""
    modules = list(model.modules())
    return (
        [(m.training, dict(m._kinds), sorted(vars(m)), m._forward_hooks, id(m._forward_hooks)) for m in modules],
        [copy.deepcopy((name, bits(x), bits(x.grad))) for name, x in model.named_parameters()],
        [copy.deepcopy((name, bits(x))) for name, x in model.named_buffers()],
        batten.get_rng_state().tolist(),
        batten.is_grad_enabled(),
    )


def nothing_changes():
    """The body of a step that steps nothing."""


def shifted(model):
    shift = inspect.CovariateShift(model)
    with shift.step(loss_of(model)):
        nothing_changes()


LOOKS = {
    "CovariateShift": shifted,
    "scale_invariance": lambda model: inspect.scale_invariance(model, batten.tensor(IMAGES), 2.0),
    "activation_statistics": lambda model: inspect.activation_statistics(model, batten.tensor(IMAGES)),
    "symmetric_units": inspect.symmetric_units,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("training", [True, False])
def test_nobody_can_tell(look, training):
    model = convnet().train(training)
    model[1].eval()
    loss_of(model)().backward()
    pending = loss_of(model)()
    before = state(model)
    look(model)
    assert state(model) == before
    pending.backward()  # what was recorded before still goes backward, as no version has moved
    with batten.no_grad():
        look(model)
    model.zero_grad()
    look(model)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("look", list(LOOKS)[:3])
@pytest.mark.parametrize("fails_at", range(1, 5))
def test_nobody_can_tell_of_a_model_that_changes_itself_or_fails(look, fails_at):
    restless = Restless(fails_at)
    model = nn.Sequential(*convnet(), restless)
    with batten.no_grad():
        for p in model.parameters():
            p.grad = batten.ones_like(p)
    before = state(model)
    if fails_at <= {"CovariateShift": 99, "scale_invariance": 2, "activation_statistics": 1}[look]:
        with pytest.raises(KeyError):
            LOOKS[look](model)
    else:
        LOOKS[look](model)
    assert state(model) == before


def test_looking_on_leaves_training_as_it_is():
    """Bit by bit, with dropout, running statistics and the states of an optimizer."""
    ends = []
    for watched in (False, True):
        model = convnet()
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        shift, loss = inspect.CovariateShift(model), loss_of(model)
        for _ in range(3):
            optimizer.zero_grad()
            loss().backward()
            if watched:
                with shift.step(loss):
                    optimizer.step()
                for look in LOOKS.values():
                    look(model)
            else:
                optimizer.step()
        ends.append((list(map(np.array, model.state_dict().values())), batten.get_rng_state().tolist()))
    assert_array_equal(ends[0][1], ends[1][1])
    for one, other in zip(ends[0][0], ends[1][0], strict=True):
        assert one.tobytes() == other.tobytes()


# ---- covariate shift ----


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


# ---- invariance to scale ----

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


# ---- activations ----


def by_name(table):
    rows = {row.layer: row for row in table}
    assert len(rows) == len(table)
    return rows


def test_statistics_by_hand():
    x = np.random.default_rng(3).standard_normal((6, 4))
    w, v, r = (np.random.default_rng(n).standard_normal(shape) for n, shape in [(4, (5, 4)), (5, (2, 5)), (6, (6, 2))])
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    set_weights(model[0], w, [0, 0, -99, 0, 99]), set_weights(model[2], v, [1, 2])
    table = inspect.activation_statistics(model, x, lambda y: (y * tensor(r)).sum())
    hidden = x @ w.T + [0, 0, -99, 0, 99]
    passed = r @ v * (hidden > 0)
    found = [
        ("0 Linear", hidden, 0, None, passed),
        ("1 ReLU", np.maximum(hidden, 0), 0.2, (hidden <= 0).mean(), r @ v),
        ("2 Linear", np.maximum(hidden, 0) @ v.T + [1, 2], 0, None, r),
    ]
    for row, (name, y, dead, saturated, dy) in zip(table, found, strict=True):
        assert row.layer == name
        assert_allclose(row[1:5], (y.mean(), y.var(), (y == 0).mean(), dead))
        assert row.saturated is None if saturated is None else math.isclose(row.saturated, saturated)
        assert_allclose(row[7:10], (dy.mean(), dy.var(), (dy == 0).mean()), atol=1e-15)
        assert row.nonfinite == row.gradient_nonfinite == 0


def test_results_that_are_changed_in_place_are_seen_before():
    rows = []
    for inplace in (False, True):
        batten.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(4, 6), nn.ReLU(inplace), nn.Dropout(0.5, inplace), nn.Linear(6, 3), nn.Softmax(1)
        )
        rows.append(inspect.activation_statistics(model, np.ones((5, 4), np.float32)))
    assert rows[0] == rows[1]
    assert rows[0][0].zero == 0 < rows[0][1].zero


def test_the_input_is_not_changed_in_place():
    x = np.array([[-1.0, 1.0]])
    table = inspect.activation_statistics(nn.Sequential(nn.ReLU(inplace=True)), x)
    assert x.tolist() == [[-1, 1]] and table[0].zero == 0.5
    assert table[0][7:] == (None, None, None, None)  # as nothing requires a gradient
    t = batten.tensor(x, requires_grad=True)
    assert inspect.activation_statistics(nn.ReLU(inplace=True), t)[0].gradient_zero == 0 and t.grad is None


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (nn.Sigmoid(), [-4.6, -4.5, 0, 4.5, 4.6, 99], 3 / 6),
        (nn.Tanh(), [-2.3, -2.2, 0, 2.2, 2.3, 99], 3 / 6),
        (nn.Softsign(), [-49.1, -48.9, 0, 49.1], 2 / 4),
        (nn.Hardsigmoid(), [-3, -2.99, 0, 2.99, 3], 2 / 5),
        (nn.Hardtanh(-0.1, 2), [-1, -0.1, -0.09, 1.99, 2, 3], 4 / 6),
        (nn.ReLU(), [-1, 0, 1e-30, 99], 2 / 4),
        (nn.ReLU6(), [-1, 0, 1, 6, 7], 4 / 5),
        (nn.ELU(2.0), [-4.7, -4.5, 0, 99], 1 / 4),
        (nn.CELU(2.0), [-9.3, -9.1, 0, 99], 1 / 4),
        (nn.SELU(), [-4.7, -4.5, 0, 99], 1 / 4),
        (nn.LeakyReLU(), [-1, 1], None),
        (nn.Identity(), [0, 0], None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_saturation(module, inputs, expected, kind):
    assert inspect.activation_statistics(module, np.array(inputs, kind))[0].saturated == expected


def test_subclasses_saturate_like_their_bases():
    class Mine(nn.Sigmoid):
        pass

    assert inspect.activation_statistics(Mine(), np.array([99.0]))[0].saturated == 1


def test_dead_features_are_channels_or_the_last_axis_of_vectors():
    images = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())
    set_weights(images[0], np.ones((4, 1, 1, 1)), [0, -99, 0, -99])
    x = np.zeros((3, 1, 2, 2))
    x[1, 0, 1, 1] = 1  # a single pixel is enough to live
    assert inspect.activation_statistics(images.double(), x)[1].dead == 0.5
    words = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4), nn.ReLU()).double()
    set_weights(words[1], np.ones((4, 3)), [99, 99, 99, -99])
    table = inspect.activation_statistics(words, np.array([[0, 1, 2], [3, 4, 0]]))
    assert table[2].dead == 0.25 and table[2].zero == 0.25


def test_numbers_that_are_not_finite_are_counted():
    x = np.array([[1.0, math.nan], [math.inf, -math.inf]])
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 1, bias=False)).double()
    first, _ = inspect.activation_statistics(model, x)
    assert first.nonfinite == 3 and math.isnan(first.mean) and math.isnan(first.variance)
    table = inspect.activation_statistics(model, np.ones((2, 2)), lambda y: (y * math.nan).sum())
    assert table[1].gradient_nonfinite == 2 and math.isnan(table[1].gradient_mean)


def test_no_examples_have_no_statistics():
    for row in inspect.activation_statistics(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), np.ones((0, 2), np.float32)):
        assert all(math.isnan(value) for value in row[1:5]) and row.nonfinite == 0
        assert math.isnan(row.gradient_mean)


def test_every_call_and_every_tensor_has_a_row():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.unused, self.both = nn.Linear(2, 2), nn.Linear(9, 9), Both()

        def forward(self, x):
            return self.both(self.layer(nn.functional.relu(self.layer(x))))

    class Both(nn.Module):
        def forward(self, x):
            return {"one": x + 1, "others": [x * 2, x.argmax(1), "a word"]}

    table = inspect.activation_statistics(Twice(), np.ones((3, 2), np.float32))
    assert [row.layer for row in table] == ["layer Linear", "layer Linear", "both Both", "both Both"]
    assert table[3].variance != table[2].variance
    assert all(row.gradient_variance > 0 for row in table)
    only = inspect.activation_statistics(Twice(), np.ones((3, 2), np.float32), lambda y: y["one"].sum())
    assert only[2][7:] == (1, 0, 0, 0) and only[3][7:] == (0, 0, 1, 0)  # on which the loss does not depend


def test_a_loss_of_activations_is_one_number_with_a_gradient():
    model = nn.Linear(2, 2)
    for loss in (lambda y: y, lambda y: y.detach().sum()):
        with pytest.raises(RuntimeError):
            inspect.activation_statistics(model, np.ones((3, 2), np.float32), loss)
    with pytest.raises(TypeError, match="expected a tensor, an array or a number, got list"):
        inspect.activation_statistics(model, [[1.0, 2.0]])


def test_frozen_networks_have_no_gradients():
    model = convnet().requires_grad_(False)
    for loss in (None, lambda y: y.sum()):
        assert all(row.gradient_mean is None for row in inspect.activation_statistics(model, IMAGES, loss))


def test_the_usual_loss_sees_through_softmax_and_is_always_the_same():
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    table = inspect.activation_statistics(model, x)
    assert table[0].gradient_variance > 1e-3 and 0.7 < table[1].gradient_variance < 1.3
    batten.manual_seed(99)
    with batten.no_grad():
        assert inspect.activation_statistics(model, x) == table
    summed = inspect.activation_statistics(model, x, lambda y: y.sum())
    assert summed[0].gradient_variance < 1e-12


def test_statistics_are_of_the_mode_of_the_model():
    model = nn.Sequential(nn.Linear(4, 100), nn.Dropout(0.5))
    x = np.ones((50, 4), np.float32)
    assert 0.4 < inspect.activation_statistics(model, x)[1].zero < 0.6
    assert inspect.activation_statistics(model.eval(), x)[1].zero == 0


def deep(activation, scale, layers=12, width=128):
    """A deep network whose weights are drawn from N(0, scale² / width)."""
    batten.manual_seed(0)
    model = nn.Sequential()
    for _ in range(layers):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, 0, scale / width**0.5)
        nn.init.zeros_(linear.bias)
        model.extend([linear, activation()])
    return model


def test_xavier_s_weights_keep_the_variances():
    """Glorot & Bengio 2010, in layers that do not bend; other weights let them vanish or grow by a factor a layer."""
    x = np.random.default_rng(0).standard_normal((200, 128)).astype(np.float32)
    for scale in (1.0, 0.5, 2.0):
        model = deep(nn.Identity, scale)
        if scale == 1:
            for p in model.parameters():
                if p.ndim == 2:
                    nn.init.xavier_normal_(p)
        table = inspect.activation_statistics(model, x)[1::2]
        assert_allclose(table[-1].variance, scale**24, rtol=0.5)
        assert_allclose(table[0].gradient_variance, scale**22, rtol=0.5)


def test_deep_sigmoids_saturate_and_let_no_gradient_through():
    x = np.random.default_rng(0).standard_normal((200, 128)).astype(np.float32)
    wide = inspect.activation_statistics(deep(nn.Sigmoid, 12.0), x)[1::2]
    assert all(row.saturated > 0.5 for row in wide[1:])
    table = inspect.activation_statistics(deep(nn.Sigmoid, 1.0), x)[1::2]
    assert all(row.saturated < 0.01 for row in table)
    assert table[0].gradient_variance < 1e-9 * table[-1].gradient_variance


# ---- symmetric units ----


def small(activation=nn.Sigmoid, value=None):
    batten.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 3))
    if value is not None:
        for p in model.parameters():
            nn.init.constant_(p, value)
    return model


def train(model, steps, optimizer):
    x, y = batten.randn(20, 3), batten.randint(3, (20,))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def test_units_that_start_from_zero_stay_the_same():
    model = small(value=0.0)
    before = inspect.symmetric_units(model)
    assert [row.same_output for row in before] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3]], [[0, 1, 2]]]
    assert [row.same_gradient for row in before] == [None, None, None]
    train(model, 1, optim.SGD(model.parameters(), lr=0.0))
    assert [row.same_gradient for row in inspect.symmetric_units(model)] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3]], []]
    train(model, 20, optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    after = inspect.symmetric_units(model)
    assert [row.same_output for row in after] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3]], []]
    assert [row.same_gradient for row in after] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3]], []]
    assert model[0].weight.abs().max() > 0  # though they learned


@pytest.mark.parametrize("value", [0.3, -0.1])
def test_units_that_start_from_a_constant_stay_the_same(value):
    model = small(nn.Tanh, value)
    train(model, 10, optim.Adam(model.parameters(), lr=0.1))
    after = inspect.symmetric_units(model)
    assert [row.same_output for row in after] == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3]], []]


def test_random_weights_break_the_symmetry():
    model = small()
    train(model, 1, optim.SGD(model.parameters(), lr=0.1))
    table = inspect.symmetric_units(model)
    assert [(row.layer, row.units, row.same_output, row.same_gradient) for row in table] == [
        ("0 Linear", 5, [], []),
        ("2 Linear", 4, [], []),
        ("4 Linear", 3, [], []),
    ]


def test_dropout_breaks_the_symmetry():
    model = small(value=0.5)
    model.insert(4, nn.Dropout(0.5))
    train(model, 3, optim.SGD(model.parameters(), lr=1.0))
    assert inspect.symmetric_units(model)[1].same_output == []


def test_copies_are_found_whatever_else_there_is():
    layer = nn.Linear(2, 6)
    set_weights(layer, [[1, 2], [0, 0], [1, 2], [-0.0, 0], [1, 2], [math.nan, 1]], [5, 0, 5, -0.0, 6, 0])
    (row,) = inspect.symmetric_units(layer)
    assert row == ("Linear", 6, [[0, 2], [1, 3]], None)
    layer.weight.grad = batten.zeros(6, 2)
    layer.bias.grad = batten.tensor([1.0, 2, 1, 3, 1, 1])
    assert inspect.symmetric_units(layer)[0].same_gradient == [[0, 2]]
    layer.bias.grad = None
    assert inspect.symmetric_units(layer)[0].same_gradient == [[0, 2], [1, 3]]


def test_units_of_several_groups_of_channels_see_different_ones():
    for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
        layer = kind(4, 6, 2, groups=2)
        nn.init.constant_(layer.weight, 1.0), nn.init.zeros_(layer.bias)
        assert inspect.symmetric_units(layer)[0].same_output == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_s_units_are_its_columns(groups):
    layer = nn.ConvTranspose2d(4, 6, 2, groups=groups, bias=False)
    x = batten.randn(2, 4, 3, 3)
    with batten.no_grad():
        last = 6 // groups - 1
        layer.weight[:, last] = layer.weight[:, 0]
    y = layer(x).detach().numpy()
    (row,) = inspect.symmetric_units(layer)
    assert row.same_output == ([[0, 5]] if groups == 1 else [[0, 2], [3, 5]])
    for one, other in row.same_output:
        assert_array_equal(y[:, one], y[:, other])


def test_bilinear_units_and_layers_without_units():
    layer = nn.Bilinear(2, 3, 2)
    assert inspect.symmetric_units(layer)[0].same_output == []
    nn.init.constant_(layer.weight, 1.0), nn.init.zeros_(layer.bias)
    assert inspect.symmetric_units(layer)[0].same_output == [[0, 1]]
    table = inspect.symmetric_units(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))
    assert table == [] and repr(table) == "nothing"


def test_groups_are_written_as_spans():
    assert repr(inspect.symmetric_units(small(value=0.0))) == (
        "                   same      same\n"
        "layer     units  output  gradient\n"
        "0 Linear      5     0-4\n"
        "2 Linear      4     0-3\n"
        "4 Linear      3     0-2"
    )
    layer = nn.Linear(1, 200, bias=False)
    set_weights(layer, np.arange(200)[:, None] % 100)
    text = repr(inspect.symmetric_units(layer))
    assert "0+100 1+101" in text and text.rstrip().endswith("...")

"""Penalties: their values and gradients beside PyTorch's formulas, and how they meet the loss's gradient."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import batten
from batten import nn
from batten.autograd import Operation
from batten.regularization import L1, L2, ElasticNet, GroupLasso, OrthogonalPenalty, penalties

ALL = {
    L1(0.3): lambda w: 0.3 * w.abs().sum(),
    L2(0.3): lambda w: 0.3 * w.square().sum(),
    L2(0.3, half=True): lambda w: 0.15 * w.square().sum(),
    ElasticNet(0.3, 0.2): lambda w: 0.3 * w.abs().sum() + 0.2 * w.square().sum(),
    ElasticNet(0.3, 0.2, half=True): lambda w: 0.3 * w.abs().sum() + 0.1 * w.square().sum(),
    GroupLasso(0.3): lambda w: 0.3 * w.flatten(1).square().sum(1).sqrt().sum(),
    GroupLasso(0.3, dim=1): lambda w: 0.3 * w.transpose(0, 1).flatten(1).square().sum(1).sqrt().sum(),
    GroupLasso(0.3, dim=-1): lambda w: 0.3 * w.flatten(0, -2).square().sum(0).sqrt().sum(),
    GroupLasso(0.3, scaled=True): lambda w: 0.3 * (w[0].numel() ** 0.5) * w.flatten(1).square().sum(1).sqrt().sum(),
    OrthogonalPenalty(0.3): lambda w: 0.3 * excess(w.flatten(1)).square().sum(),
}
each = pytest.mark.parametrize("penalty", ALL, ids=str)


def excess(w):
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    return small - w.new_ones(len(small)).diag()


def everything(name, parameter):
    return True


def network(dtype=batten.float32):
    batten.manual_seed(0)
    layers = (
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.ReLU(),
        nn.Linear(6, 2),
    )
    return nn.Sequential(*layers).to(dtype)


def loss_of(model, dtype=batten.float32):
    batten.manual_seed(1)
    return model(batten.randn(5, 3, 4, 4, dtype=dtype)).square().mean()


def gradients(model):
    return {name: None if p.grad is None else p.grad.numpy().copy() for name, p in model.named_parameters()}


@each
def test_beside_torch_s_formula(penalty, dtype):
    torch = pytest.importorskip("torch")
    model = network(batten.float64 if dtype == np.float64 else batten.float32)
    model[0].weight.data = model[0].weight.data.contiguous()
    value = penalty(model)
    value.backward()
    weights = {name: model.get_parameter(name) for name in ("0.weight", "4.weight", "6.weight")}
    theirs = {name: torch.tensor(w.detach().numpy(), requires_grad=True) for name, w in weights.items()}
    expected = sum(ALL[penalty](w) for w in theirs.values())
    expected.backward()
    rtol = 1e-12 if dtype == np.float64 else 2e-5
    assert value.shape == () and value.numpy().dtype == dtype
    np.testing.assert_allclose(value.item(), expected.item(), rtol=rtol)
    for name, w in theirs.items():
        np.testing.assert_allclose(weights[name].grad.numpy(), w.grad.numpy(), rtol=rtol, atol=rtol)
    assert all((p.grad is None) != (name in weights) for name, p in model.named_parameters())


@each
def test_gradient_is_added_to_the_loss_s(penalty):
    """Whether the penalty comes first or last, alone or twice, it is the sum of both."""
    model = network()
    loss_of(model).backward()
    of_loss = gradients(model)
    model.zero_grad()
    penalty(model).backward()
    of_penalty = gradients(model)
    for order in (
        lambda: loss_of(model) + penalty(model),
        lambda: penalty(model) + loss_of(model),
        lambda: 0.5 * penalty(model) + loss_of(model) + penalty(model) * 0.5,
    ):
        model.zero_grad()
        order().backward()
        for name, dw in gradients(model).items():
            expected = of_loss[name] if of_penalty[name] is None else of_loss[name] + of_penalty[name]
            np.testing.assert_allclose(dw, expected, rtol=1e-5, atol=1e-6)
    # and to gradients that were there before.
    before = gradients(model)
    (loss_of(model) + penalty(model)).backward()
    for name, dw in gradients(model).items():
        np.testing.assert_allclose(dw, 2 * before[name], rtol=1e-5, atol=1e-6)


class Watched(Operation):
    """y = Σw, whose gradient is remembered."""

    __slots__ = ("like", "seen")

    def forward(self, w):
        self.like = w
        return np.array(w.sum())

    def backward(self, dy):
        self.seen.append(np.full(self.like.shape, dy))
        return self.seen[0]


@each
def test_gradient_is_written_where_the_loss_s_is(penalty):
    """No second array: the penalty waits for the loss, though it was recorded later, and adds to what it left."""
    for recorded_last in (True, False):
        w, seen = batten.randn(6, 5, dtype=batten.float64, requires_grad=True), []
        if recorded_last:
            total = Watched.apply(w, seen=seen)
            total = total + penalty(w)
        else:
            total = penalty(w)
            total = total + Watched.apply(w, seen=seen)
        total.backward()
        alone = w.detach().clone().requires_grad_()
        penalty(alone).backward()
        np.testing.assert_allclose(w.grad.numpy(), 1 + alone.grad.numpy(), rtol=1e-12)
        assert len(seen) == 1 and np.shares_memory(w.grad.numpy(), seen[0])


@each
def test_layers_leave_gradients_that_can_be_added_to(penalty, monkeypatch):
    """Whatever the layout of their weights."""
    flags = []

    def prepare(operation, there):
        wanted, grads, add = prepared(operation, there)
        flags.extend(add)
        return wanted, grads, add

    prepared = penalties.PenaltyOperation.prepare
    monkeypatch.setattr(penalties.PenaltyOperation, "prepare", prepare)
    model = network()
    (loss_of(model) + penalty(model)).backward()
    assert flags == [1, 1, 1]


@each
def test_of_results_and_twice(penalty):
    """Of what was computed from leaves, it goes backward before they do; a kept tape is walked again."""
    w = batten.randn(4, 3, dtype=batten.float64, requires_grad=True)
    z = (2 * w).requires_grad_()
    total = penalty(z) + (w * z).sum()
    total.backward(retain_graph=True)
    first = w.grad.numpy().copy()
    total.backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * first)
    alone = (2 * w.detach()).requires_grad_()
    penalty(alone).backward()
    np.testing.assert_allclose(first, 2 * alone.grad.numpy() + 4 * w.detach().numpy(), rtol=1e-12)
    (dw,) = batten.autograd.grad(penalty(w) + w.sum(), [w])
    (dz,) = batten.autograd.grad(penalty(w), [w])
    np.testing.assert_allclose(dw.numpy(), dz.numpy() + 1, rtol=1e-12)


@each
def test_layouts_and_sizes(penalty):
    """Axes in any order, gaps, and no elements: as of a copy in C order."""
    x = np.random.default_rng(0).standard_normal((4, 6, 3, 2))
    for w in (
        x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        x.T.copy().T,
        np.repeat(x, 2, axis=1)[:, ::2],
        x[::-1, :, ::-1],
        x[:, :0],
        x[:0],
    ):
        given = batten.from_numpy(w).requires_grad_()
        plain = batten.tensor(w.copy(order="C"), requires_grad=True)
        a, b = penalty(given), penalty(plain)
        (a + given.sum()).backward()
        (b + plain.sum()).backward()
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-12)
        np.testing.assert_allclose(given.grad.numpy(), plain.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_where_chooses():
    model = network()
    biases = L2(1.0, where=lambda name, p: name.endswith("bias"))
    expected = sum((p.detach().numpy().astype(float) ** 2).sum() for n, p in model.named_parameters() if "bias" in n)
    assert biases(model).item() == pytest.approx(expected)
    assert L2(1.0)(model).item() == pytest.approx(L2(1.0)([model[0].weight, model[4].weight, model[6].weight]).item())
    assert L1(1.0, where=everything)(model.named_parameters()).item() == pytest.approx(
        sum(np.abs(p.detach().numpy()).sum() for p in model.parameters()), rel=1e-6
    )


@each
def test_frozen_parameters_count_but_have_no_gradient(penalty):
    model = network()
    value = penalty(model).item()
    model[4].weight.requires_grad_(False)
    again = penalty(model)
    assert again.item() == value
    (again + loss_of(model)).backward()
    frozen = gradients(model)
    assert frozen["4.weight"] is None
    model[4].weight.requires_grad_()
    model.zero_grad()
    (penalty(model) + loss_of(model)).backward()
    for name, dw in gradients(model).items():
        if name != "4.weight":
            np.testing.assert_array_equal(dw, frozen[name])
    model.requires_grad_(False)
    assert not penalty(model).requires_grad
    with batten.no_grad():
        assert not penalty(network()).requires_grad


@each
def test_shared_parameters_count_once(penalty):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert penalty(model).item() == penalty(model[0].weight).item() == penalty([model[0].weight] * 2).item()


@each
def test_types_side_by_side(penalty):
    """A model may have parameters of both: each gets a gradient of its own type."""
    a, b = batten.randn(3, 4, requires_grad=True), batten.randn(4, 3, dtype=batten.float64, requires_grad=True)
    total = penalty([a, b])
    assert total.dtype == batten.float64
    assert total.item() == pytest.approx(penalty(a).item() + penalty(b).item(), rel=1e-6)
    total.backward()
    assert a.grad.dtype == batten.float32 and b.grad.dtype == batten.float64


@each
def test_nan_goes_through(penalty):
    w = batten.ones(3, 4, requires_grad=True)
    w.data[1, 2] = float("nan")
    value = penalty(w)
    value.backward()
    assert np.isnan(value.item()) and np.isnan(w.grad.numpy()[1, 2])
    if isinstance(penalty, (L1, L2, ElasticNet)):
        assert np.isnan(w.grad.numpy()).sum() == 1


@pytest.mark.parametrize("kind", [L1, L2, GroupLasso, OrthogonalPenalty, lambda x: ElasticNet(x, x)])
def test_nought_is_no_penalty(kind):
    """Whatever the weights, and no gradient comes of it."""
    w = batten.full((2, 3), float("inf"), requires_grad=True)
    value = kind(0)(w)
    assert value.item() == 0 and value.requires_grad
    value.backward()
    assert w.grad is None
    (kind(0)(w) + w.sum()).backward()
    assert (w.grad == 1).all()


@pytest.mark.parametrize(
    "kind, name",
    [
        *((kind, "lambda_") for kind in (L1, L2, GroupLasso, OrthogonalPenalty)),
        (lambda x: ElasticNet(x, 0), "l1"),
        (lambda x: ElasticNet(0, x), "l2"),
    ],
)
def test_strengths_must_be_numbers_from_nought_on(kind, name):
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"expects a finite {name} >= 0, got {bad}"):
            kind(bad)
    with pytest.raises(TypeError):
        kind("much")


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"L1 expects where to be None or a function of \(name, parameter\), got str"):
        L1(0.1, where="weight")
    with pytest.raises(TypeError):
        GroupLasso(0.1, dim=0.5)
    with pytest.raises(ValueError, match="at least one weight"):
        L2(0.1)(nn.ReLU())
    with pytest.raises(TypeError, match="parameters of floats, got 0 of int64"):
        L2(0.1)(batten.zeros(2, 3, dtype=batten.int64))
    with pytest.raises(TypeError, match="expected a module, a tensor, or an iterable"):
        L2(0.1)(3)
    for dim in (2, -3):
        with pytest.raises(ValueError, match=rf"GroupLasso expects parameters with an axis {dim}, got \[2, 3\]"):
            GroupLasso(0.1, dim=dim)(batten.zeros(2, 3))
    with pytest.raises(ValueError, match="OrthogonalPenalty expects parameters with at least one axis"):
        OrthogonalPenalty(0.1, where=everything)(batten.tensor(1.0))
    w = batten.ones(2, 3, requires_grad=True)
    value = L2(0.1)(w)
    with batten.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match=r"needs for its gradient \(ws\) was changed in place"):
        value.backward()


@each
def test_copies_and_names(penalty):
    w = batten.randn(3, 4)
    for other in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
        assert repr(other) == repr(penalty) and other(w).item() == penalty(w).item()


def test_repr():
    assert [repr(p) for p in ALL] == [
        "L1(0.3)",
        "L2(0.3)",
        "L2(0.3, half=True)",
        "ElasticNet(l1=0.3, l2=0.2)",
        "ElasticNet(l1=0.3, l2=0.2, half=True)",
        "GroupLasso(0.3, dim=0)",
        "GroupLasso(0.3, dim=1)",
        "GroupLasso(0.3, dim=-1)",
        "GroupLasso(0.3, dim=0, scaled=True)",
        "OrthogonalPenalty(0.3)",
    ]
    assert repr(L1(0.3, where=everything)) == "L1(0.3, where=everything)"


@each
def test_same_bits_for_any_number_of_threads(penalty, threads):
    batten.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 400), nn.Linear(400, 7), nn.Conv2d(8, 16, 3))
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        model.zero_grad()
        value = penalty(model)
        value.backward()
        results.append(
            value.numpy().tobytes() + b"".join(p.grad.numpy().tobytes() for p in model.parameters() if p.ndim > 1)
        )
    assert all(r == results[0] for r in results)


def test_orthogonal_matrices_have_no_orthogonal_penalty():
    for shape in [(4, 4), (3, 7), (7, 3), (4, 2, 3, 3)]:
        w = nn.init.orthogonal_(batten.empty(*shape, dtype=batten.float64)).requires_grad_()
        value = OrthogonalPenalty(1.0)(w)
        value.backward()
        assert value.item() < 1e-24
        np.testing.assert_allclose(w.grad.numpy(), 0, atol=1e-12)

"""Optimizers as lectures write them: each option beside its formula, worked in float64."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest

import batten
from batten.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Nesterov, RAdam, RMSprop

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[1.0, 2.0, 0.0], [-3.0, 0.5, 0.0], [0.0, 0.1, 1e-3], [2.0, -1.0, 0.0], [-1.0, 1.0, 1e-3]])
RATES = [0.1, 0.1, 0.02, 0.3, 0.05]


def parameter(start=START):
    return batten.tensor(np.array(start), requires_grad=True)


def walk(kind, rates=RATES, start=START, **options):
    """The weights after each step along GRADIENTS, with a learning rate for each."""
    w = parameter(start)
    optimizer = kind([w], **options)
    places = []
    for g, lr in zip(GRADIENTS, rates, strict=True):
        w.grad = batten.tensor(g)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        places.append(w.array.copy())
    return np.array(places)


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def differ(a, b):
    return np.abs(a - b).max() > 1e-3


# ---- momentum ----


def test_the_learning_rate_in_the_momentum():
    """v = γ v + η g;  θ = θ - v"""
    places, theta, v = [], START, 0
    for g, eta in zip(GRADIENTS, RATES, strict=True):
        v = 0.9 * v + eta * g
        theta = theta - v
        places.append(theta)
    assert_same(walk(SGD, momentum=0.9, lr_in_momentum=True), places)
    assert differ(walk(SGD, momentum=0.9), places)


def test_the_learning_rate_in_the_momentum_with_all_else():
    for nesterov, dampening in ((False, 0.25), (True, 0)):
        places, theta, v = [], START, None
        for g, eta in zip(GRADIENTS, RATES, strict=True):
            d = eta * (-g + 0.1 * theta)
            v = d if v is None else 0.9 * v + (1 - dampening) * d
            theta = theta - (d + 0.9 * v if nesterov else v)
            places.append(theta)
        options = {"momentum": 0.9, "dampening": dampening, "weight_decay": 0.1, "nesterov": nesterov, "maximize": True}
        assert_same(walk(SGD, lr_in_momentum=True, **options), places)
        assert differ(walk(SGD, **options), places)


def test_where_the_learning_rate_is_makes_no_difference_while_it_is_constant():
    for options in ({}, {"nesterov": True}, {"dampening": 0.5, "weight_decay": 0.1}):
        outside, inside = (
            walk(SGD, [0.1] * 5, momentum=0.9, lr_in_momentum=where, **options) for where in (False, True)
        )
        assert_same(inside, outside)


# ---- Nesterov ----


def slope(theta):
    """The gradient of Σ θ⁴ / 4 + θ² / 2."""
    return theta**3 + theta


def descend(kind, rates, measured=None, **options):
    """The weights and velocities after each step down that sum; `measured` takes the places where it was looked at."""
    w = parameter()
    optimizer = kind([w], **options)

    def closure():
        optimizer.zero_grad()
        if measured is not None:
            measured.append(w.array.copy())
        loss = (w**4).sum() / 4 + (w**2).sum() / 2
        loss.backward()
        return loss

    places, velocities = [], []
    for lr in rates:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step(closure)
        places.append(w.array.copy())
        velocities.append(optimizer.state[w]["momentum_buffer"].array.copy())
    return np.array(places), np.array(velocities)


def test_nesterov_measures_the_gradient_ahead():
    """v = γ v + η g(θ - γ v);  θ = θ - v"""
    for decay, decoupled, sign in ((0, False, 1), (0.1, False, 1), (0.1, True, 1), (0.1, True, -1)):
        places, velocities, looked, theta, v = [], [], [], START, np.zeros(3)
        for eta in RATES:
            looked.append(theta - 0.9 * v)
            g = sign * slope(looked[-1]) + (0 if decoupled else decay * looked[-1])
            v = 0.9 * v + eta * g
            theta = theta * (1 - eta * decay if decoupled else 1) - v
            places.append(theta)
            velocities.append(v)
        measured: list[np.ndarray] = []
        options = {"weight_decay": decay, "decoupled_weight_decay": decoupled, "maximize": sign < 0}
        found = descend(Nesterov, RATES, measured, **options)
        assert_same(found[0], places)
        assert_same(found[1], velocities)
        assert_same(measured, looked)


def test_nesterov_is_its_reformulation_at_the_point_ahead():
    """With φ = θ - γ v, as long as the learning rate is constant; with the rate in the momentum, whatever it is."""
    for options in ({}, {"weight_decay": 0.1}, {"maximize": True}):
        for rates in ([0.05] * 5, RATES):
            theta, v = descend(Nesterov, rates, momentum=0.8, **options)
            ahead = theta - 0.8 * v
            phi, _ = descend(Nesterov, rates, momentum=0.8, lookahead=False, **options)
            inside, _ = descend(SGD, rates, momentum=0.8, nesterov=True, lr_in_momentum=True, **options)
            assert_same(inside, ahead)
            if rates is RATES:
                assert differ(phi, ahead)
            else:
                assert_same(phi, ahead)
            assert differ(theta, ahead)


def test_nesterov_without_lookahead_is_sgds():
    for options in ({}, {"weight_decay": 0.1, "maximize": True}, {"weight_decay": 0.1, "decoupled_weight_decay": True}):
        mine = walk(Nesterov, lookahead=False, **options)
        assert mine.tobytes() == walk(SGD, momentum=0.9, nesterov=True, **options).tobytes()


def test_nesterov_without_momentum_is_descent():
    assert_same(descend(Nesterov, RATES, momentum=0)[0][0], START - 0.1 * slope(START))


def test_nesterov_looks_ahead_in_those_groups_that_ask_for_it():
    a, b = parameter(), parameter()
    optimizer = Nesterov([{"params": a}, {"params": b, "lookahead": False}], lr=0.1)
    seen = []

    def closure():
        optimizer.zero_grad()
        seen.append((a.array.copy(), b.array.copy()))
        ((a * a).sum() + (b * b).sum()).backward()

    for _ in range(2):
        before = a.array.copy(), b.array.copy()
        optimizer.step(closure)
    assert differ(seen[1][0], before[0]) and (seen[1][1] == before[1]).all()


def momentous(dtype, rng):
    """Parameters under way, of both types and several layouts: one whose memory has gaps, and at the end one frozen."""
    wide = batten.tensor(rng.standard_normal((4, 6)).astype(dtype))
    params = [
        batten.tensor(
            rng.standard_normal(5).astype("float32" if dtype == np.float64 else "float64"), requires_grad=True
        ),
        batten.from_numpy(np.asfortranarray(rng.standard_normal((3, 5)).astype(dtype))).requires_grad_(),
        wide[:, 1:4].detach().requires_grad_(),
        batten.tensor(np.asarray(rng.standard_normal(()), dtype), requires_grad=True),
        batten.tensor(rng.standard_normal((0, 2)).astype(dtype), requires_grad=True),
        batten.tensor(rng.standard_normal(7).astype(dtype), requires_grad=True),
        batten.tensor(rng.standard_normal(2).astype(dtype), requires_grad=True),
    ]
    optimizer = Nesterov(params, lr=0.1)
    optimizer.step(lambda: sum((p * p).sum() for p in params).backward())
    params[-1].requires_grad_(False)
    optimizer.zero_grad()
    return optimizer, params, wide


def everything(optimizer, params, wide):
    buffers = [optimizer.state[p]["momentum_buffer"].array.tobytes() for p in params]
    return [p.array.tobytes() for p in params], buffers, wide.array.tobytes()


def test_if_the_closure_raises_the_parameters_are_back(dtype, rng):
    optimizer, params, wide = momentous(dtype, rng)
    before = everything(optimizer, params, wide)
    arrays = [p.array for p in params]

    def closure():
        places = everything(optimizer, params, wide)
        moved = [a != b for a, b in zip(places[0], before[0], strict=True)]
        assert moved == [True, True, True, True, False, True, False]  # of the last but two there is nothing
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert everything(optimizer, params, wide) == before
    assert all(p.array is a for p, a in zip(params, arrays, strict=True))


def test_parameters_that_the_closure_gives_no_gradient_are_back(dtype, rng):
    optimizer, params, wide = momentous(dtype, rng)
    before = everything(optimizer, params, wide)
    optimizer.step(lambda: sum((p * p).sum() for p in params[:5]).backward())
    after = everything(optimizer, params, wide)
    for k in range(len(params)):
        assert (after[0][k] == before[0][k]) == (after[1][k] == before[1][k]) == (k >= 4)
    whole = wide.array.copy()
    whole[:, 1:4] = np.frombuffer(before[2], dtype).reshape(4, 6)[:, 1:4]
    assert whole.tobytes() == before[2]


def test_if_some_cannot_look_ahead_all_are_back(dtype, rng):
    optimizer, params, wide = momentous(dtype, rng)
    flat = batten.ones(6)
    optimizer.add_param_group({"params": [flat[:4].detach().requires_grad_(), flat[2:].detach().requires_grad_()]})
    before = everything(optimizer, params, wide)
    with pytest.raises(ValueError, match="overlap"):
        optimizer.step(lambda: pytest.fail("the closure was called"))
    assert everything(optimizer, params, wide) == before and (flat.array == 1).all()


def test_nesterov_expects_a_closure():
    w = parameter()
    optimizer = Nesterov([w], lr=0.1)
    w.grad = batten.ones(3, dtype=batten.float64)
    with pytest.raises(TypeError, match="step expects a closure that computes it"):
        optimizer.step()
    assert (w.array == START).all()
    with pytest.raises(ValueError, match="Invalid momentum value: -1"):
        Nesterov([w], lr=0.1, momentum=-1)


def test_nesterovs_closure_is_called_once_with_gradients_on_and_its_loss_returned():
    w = parameter()
    optimizer = Nesterov([w], lr=0.1)
    calls, steps = [], []
    optimizer.register_step_post_hook(lambda *args: steps.append(w.array.copy()))

    def closure():
        calls.append(batten.is_grad_enabled())
        loss = (w * w).sum()
        loss.backward()
        return loss

    with batten.no_grad():
        assert optimizer.step(closure).item() == 5.25
    assert calls == [True] and len(steps) == 1 and (steps[0] == w.array).all()


def test_what_was_recorded_ahead_does_not_go_backward_at_the_weights():
    w = parameter()
    optimizer = Nesterov([w], lr=0.1)
    losses = []

    def closure():
        optimizer.zero_grad()
        losses.append((w * w).sum())
        losses[-1].backward(retain_graph=True)

    for _ in range(2):
        optimizer.step(closure)
    with pytest.raises(RuntimeError, match="changed in place"):
        losses[-1].backward()


# ---- eps in the root ----


def test_adagrad_with_eps_in_the_root():
    """G = G + g²;  θ = θ - η g / √(G + ε)"""
    places, theta, total = [], START, 0
    for g, eta in zip(GRADIENTS, RATES, strict=True):
        total = total + g * g
        theta = theta - eta * g / np.sqrt(total + 0.01)
        places.append(theta)
    assert_same(walk(Adagrad, eps=0.01, eps_in_sqrt=True), places)
    assert differ(walk(Adagrad, eps=0.01), places)


def test_rmsprop_with_eps_in_the_root():
    """E = γ E + (1 - γ) g²;  θ = θ - η g / √(E + ε); centered, E less the square of the mean; and with momentum"""
    for centered in (False, True):
        for momentum in (0, 0.5):
            places, theta, square, mean, b = [], START, 0, 0, 0
            for g, eta in zip(GRADIENTS, RATES, strict=True):
                square, mean = 0.9 * square + 0.1 * g * g, 0.9 * mean + 0.1 * g
                b = momentum * b + g / np.sqrt(square - (mean * mean if centered else 0) + 0.01)
                theta = theta - eta * b
                places.append(theta)
            options = {"alpha": 0.9, "eps": 0.01, "momentum": momentum, "centered": centered}
            assert_same(walk(RMSprop, eps_in_sqrt=True, **options), places)
            assert differ(walk(RMSprop, **options), places)


def adam(eta_t, amsgrad, in_sqrt, correct, decay=0):
    """m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  θ = θ - η m̂ / (√v̂ + ε)"""
    places, theta, m, v, most = [], START, 0, 0, 0
    for t, (g, eta) in enumerate(zip(GRADIENTS, eta_t, strict=True), 1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        most = np.maximum(v, most) if amsgrad else v
        mean, square = (m / (1 - 0.8**t), most / (1 - 0.95**t)) if correct else (m, most)
        root = np.sqrt(square + 0.01) if in_sqrt else np.sqrt(square) + 0.01
        theta = theta * (1 - eta * decay) - eta * mean / root
        places.append(theta)
    return np.array(places)


def test_adam_with_eps_in_the_root_and_without_bias_correction():
    options = {"betas": (0.8, 0.95), "eps": 0.01}
    seen = []
    for amsgrad in (False, True):
        for in_sqrt in (False, True):
            for correct in (False, True):
                given = {**options, "amsgrad": amsgrad, "eps_in_sqrt": in_sqrt, "bias_correction": correct}
                expected = adam(RATES, amsgrad, in_sqrt, correct)
                assert_same(walk(Adam, **given), expected)
                assert_same(walk(AdamW, weight_decay=0.5, **given), adam(RATES, amsgrad, in_sqrt, correct, 0.5))
                seen.append(expected)
    for k, places in enumerate(seen):
        assert all(np.abs(places - other).max() > 1e-6 for other in seen[:k])


# ---- decoupled weight decay ----

ANY = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "nesterov": True, "lr_in_momentum": True}),
    (Nesterov, {"lookahead": False}),
    (Adagrad, {"lr_decay": 0.5}),
    (Adagrad, {"eps": 0.1, "eps_in_sqrt": True}),
    (Adadelta, {}),
    (RMSprop, {}),
    (RMSprop, {"momentum": 0.5}),
    (RMSprop, {"centered": True}),
    (RMSprop, {"momentum": 0.5, "centered": True, "eps": 0.1, "eps_in_sqrt": True}),
    (Adam, {}),
    (Adam, {"amsgrad": True}),
    (NAdam, {}),
    (RAdam, {"betas": (0.9, 0.99)}),
    (Adamax, {}),
]


def test_decoupled_weight_decay_of_any_optimizer():
    """θ = (1 - η λ) θ, then the step that there would be without: what it is does not depend on θ."""
    for kind, options in ANY:
        for maximize in (False, True):
            steps = np.diff(walk(kind, start=0 * START, maximize=maximize, **options), axis=0, prepend=0)
            places, theta = [], START
            for step, eta in zip(steps, RATES, strict=True):
                theta = (1 - eta * 0.5) * theta + step
                places.append(theta)
            decayed = {**options, "maximize": maximize, "weight_decay": 0.5}
            found = walk(kind, decoupled_weight_decay=True, **decayed)
            np.testing.assert_allclose(found, places, rtol=1e-12, err_msg=f"{kind.__name__} {options}")
            coupled = walk(kind, **decayed)
            assert differ(coupled, found) == ((kind, options) != (SGD, {})), f"{kind.__name__} {options}"


def test_decoupled_weight_decay_of_descent_is_its_l2():
    assert_same(*(walk(SGD, weight_decay=0.5, decoupled_weight_decay=decoupled) for decoupled in (False, True)))


# ---- state ----

OPTIONS = {
    SGD: {"momentum": 0.9, "lr_in_momentum": True, "decoupled_weight_decay": True},
    Adagrad: {"eps_in_sqrt": True, "decoupled_weight_decay": True},
    Adadelta: {"decoupled_weight_decay": True},
    RMSprop: {"eps_in_sqrt": True, "decoupled_weight_decay": True},
    Adam: {"eps_in_sqrt": True, "bias_correction": False},
    AdamW: {"eps_in_sqrt": True, "bias_correction": False},
    Adamax: {"decoupled_weight_decay": True},
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_pytorchs_state_keeps_the_options_and_pytorch_takes_ours(kind):
    torch = pytest.importorskip("torch")
    w, x = parameter(), torch.tensor(START, requires_grad=True)
    mine, other = kind([w], **OPTIONS[kind]), getattr(torch.optim, kind.__name__)([x], lr=0.5)
    x.grad = torch.tensor(GRADIENTS[0])
    other.step()
    mine.load_state_dict(other.state_dict())
    group = mine.param_groups[0]
    assert group["lr"] == 0.5
    assert {key: group[key] for key in OPTIONS[kind] if key != "momentum"} == {
        key: value for key, value in OPTIONS[kind].items() if key != "momentum"
    }
    w.grad = batten.tensor(GRADIENTS[1])
    mine.step()
    state = mine.state_dict()
    as_torch = {i: {k: torch.tensor(v.array) for k, v in s.items()} for i, s in state["state"].items()}
    other.load_state_dict({"state": as_torch, "param_groups": state["param_groups"]})
    other.step()
    again = kind([w])
    again.load_state_dict(other.state_dict())
    assert {key: again.param_groups[0][key] for key in group if key != "params"} == {
        key: value for key, value in group.items() if key != "params"
    }


def test_nesterov_goes_on_where_it_was(tmp_path):
    kept = []
    for resume in ("no", "from a file", "as a copy"):
        w = parameter()
        optimizer = Nesterov([w], lr=0.1, weight_decay=0.1)

        def closure(w):
            w.grad = None
            ((w**4).sum()).backward()

        for _ in range(3):
            optimizer.step(partial(closure, w))
        if resume == "as a copy":
            w, optimizer = pickle.loads(pickle.dumps((w, optimizer)))
        if resume == "from a file":
            batten.save(optimizer.state_dict(), tmp_path / "optimizer")
            optimizer = Nesterov([w], lr=5.0, lookahead=False)
            optimizer.load_state_dict(batten.load(tmp_path / "optimizer"))
        for _ in range(3):
            optimizer.step(partial(closure, w))
        kept.append(w.array.tobytes())
    assert kept[0] == kept[1] == kept[2]

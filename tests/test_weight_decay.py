"""Weight decay as a penalty, in the gradient, beside the step and after it: where these are the same, and where not."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import batten
from batten import nn, optim
from batten.regularization import L2, Shrink

DECAY = 0.2

# Each optimizer with a decay in the gradient, and options that make other loops of it.
OPTIMIZERS = {
    optim.SGD: [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ],
    optim.Nesterov: [{"lr": 0.1}],
    optim.Adam: [{"lr": 0.01}, {"lr": 0.01, "amsgrad": True}],
    optim.NAdam: [{"lr": 0.01}],
    optim.RAdam: [{"lr": 0.01}],
    optim.Adamax: [{"lr": 0.01}],
    optim.RMSprop: [{"lr": 0.01}, {"lr": 0.01, "momentum": 0.9, "centered": True}],
    optim.Adagrad: [{"lr": 0.1, "lr_decay": 0.1}],
    optim.Adadelta: [{"lr": 1.0}],
}
ROWS = [(kind, options) for kind, variants in OPTIMIZERS.items() for options in variants]


def test_every_optimizer_with_a_decay_in_the_gradient_is_here():
    kinds = [k for k in vars(optim).values() if inspect.isclass(k) and issubclass(k, optim.Optimizer)]
    decaying = {k for k in kinds if "weight_decay" in inspect.signature(k).parameters}
    assert decaying - {optim.AdamW} == set(OPTIMIZERS)


def everything(name, parameter):
    return True


def trained(make, penalty=None, steps=12, shrink=None):
    """A network after some steps, with its weights and biases in one list."""
    batten.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    x, y = batten.randn(20, 5, dtype=batten.float64), batten.randn(20, 2, dtype=batten.float64)
    optimizer = make(model.parameters())
    if shrink is not None:
        Shrink(shrink).attach(optimizer)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        if penalty is not None:
            loss = loss + penalty(model)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return np.concatenate([p.detach().numpy().reshape(-1) for p in model.parameters()])


def test_decay_in_the_gradient_is_the_penalty():
    """weight_decay=a adds a θ to the gradient, which is that of a/2 ‖θ‖² = L2(a/2) on the same parameters."""
    for kind, options in ROWS:
        decayed = trained(lambda p, kind=kind, options=options: kind(p, weight_decay=DECAY, **options))
        for penalty in (L2(DECAY / 2, where=everything), L2(DECAY, half=True, where=everything)):
            penalised = trained(lambda p, kind=kind, options=options: kind(p, **options), penalty)
            np.testing.assert_allclose(penalised, decayed, rtol=1e-9, atol=1e-12, err_msg=f"{kind.__name__} {options}")
        plain = trained(lambda p, kind=kind, options=options: kind(p, **options))
        assert np.abs(plain - decayed).max() > 1e-4, kind


def test_decay_beside_the_step_is_the_penalty_for_plain_gradient_descent_only():
    """w - lr (g + a w) = (1 - lr a) w - lr g; what is done to the gradient otherwise is done to a w, too."""
    for kind, options in ROWS:
        decoupled = trained(
            lambda p, kind=kind, options=options: kind(p, weight_decay=DECAY, decoupled_weight_decay=True, **options)
        )
        penalised = trained(lambda p, kind=kind, options=options: kind(p, **options), L2(DECAY / 2, where=everything))
        if (kind, options) == ROWS[0]:
            np.testing.assert_allclose(decoupled, penalised, rtol=1e-12)
        else:
            assert np.abs(decoupled - penalised).max() > 1e-4, f"{kind.__name__} {options}"


def test_adam_takes_the_size_of_the_penalty_s_gradient_away():
    """Its first step is lr sign(g + a w), however large a, but beside the step all weights shrink alike."""
    w, g, lr = np.array([3.0, -2.0, 0.5, 4.0]), np.array([0.1, 0.1, 0.1, -10.0]), 0.01

    def stepped(kind, **options):
        p = batten.tensor(w, requires_grad=True)
        optimizer = kind([p], lr=lr, eps=0, weight_decay=DECAY, **options)
        p.grad = batten.tensor(g)
        optimizer.step()
        return p.detach().numpy()

    np.testing.assert_allclose(stepped(optim.Adam), w - lr * np.sign(g + DECAY * w), rtol=1e-14)
    np.testing.assert_allclose(stepped(optim.AdamW), (1 - lr * DECAY) * w - lr * np.sign(g), rtol=1e-14)
    np.testing.assert_array_equal(stepped(optim.Adam, decoupled_weight_decay=True), stepped(optim.AdamW))


@pytest.mark.parametrize("lr", [0.1, 0.5])
def test_shrinking_after_the_step_shrinks_the_step_as_well(lr):
    """(1 - lr a)(w - lr g) is lr² a g from (1 - lr a) w - lr g: decay with another rate and strength."""
    w, g, keep = np.array([3.0, -2.0, 0.5]), np.array([0.1, 7.0, -1.0]), 1 - lr * DECAY

    def stepped(lr, weight_decay, shrink=None):
        p = batten.tensor(w, requires_grad=True)
        optimizer = optim.SGD([p], lr=lr, weight_decay=weight_decay)
        if shrink is not None:
            Shrink(shrink).attach(optimizer)
        p.grad = batten.tensor(g)
        optimizer.step()
        return p.detach().numpy()

    shrunk, decayed = stepped(lr, 0, keep), stepped(lr, DECAY)
    np.testing.assert_allclose(shrunk, keep * (w - lr * g), rtol=1e-14)
    np.testing.assert_allclose(shrunk - decayed, lr**2 * DECAY * g, rtol=1e-12, atol=1e-15)
    # lr' = (1 - lr a) lr and a' = a / (1 - lr a) make decay in the gradient of it.
    np.testing.assert_allclose(stepped(keep * lr, DECAY / keep), shrunk, rtol=1e-14)


def test_shrinking_is_decay_of_another_rate_over_many_steps():
    lr = 0.1
    keep = 1 - lr * DECAY
    shrunk = trained(lambda p: optim.SGD(p, lr=lr), shrink=keep)
    np.testing.assert_allclose(
        shrunk, trained(lambda p: optim.SGD(p, lr=keep * lr, weight_decay=DECAY / keep)), rtol=1e-12
    )
    assert np.abs(shrunk - trained(lambda p: optim.SGD(p, lr=lr, weight_decay=DECAY))).max() > 1e-4


def test_biases_are_decayed_by_optimizers_unless_told_otherwise():
    """An optimizer decays all parameters that it is given; a penalty is of weights, as groups can be made to be."""

    def grouped(params):
        params = list(params)
        weights, biases = [p for p in params if p.ndim > 1], [p for p in params if p.ndim == 1]
        return optim.SGD([{"params": weights, "weight_decay": DECAY}, {"params": biases}], lr=0.1)

    penalised = trained(lambda p: optim.SGD(p, lr=0.1), L2(DECAY / 2))
    np.testing.assert_allclose(trained(grouped), penalised, rtol=1e-12)
    assert np.abs(penalised - trained(lambda p: optim.SGD(p, lr=0.1, weight_decay=DECAY))).max() > 1e-4

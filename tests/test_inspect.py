"""What networks are looked at with: nobody can tell that it was used."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from networks import IMAGES, convnet, loss_of, nothing_changes
from numpy.testing import assert_array_equal

import batten
from batten import inspect, nn, optim


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

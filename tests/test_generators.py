"""The generators of a model's own: with their states kept, a model goes on exactly where it stopped."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

import batten
from batten import nn
from batten.nn.generators import generators_state, load_generators_state
from batten.nn.stochastic import STOCHASTIC


def seeded(seed):
    return batten.Generator().manual_seed(seed)


def layers(**settings):
    """Each kind of layer that draws random numbers, for x (8, 4, 5, 5) or (8, 100)."""
    return [
        nn.Dropout(0.5, **settings),
        nn.Dropout1d(0.5, **settings),
        nn.Dropout2d(0.5, **settings),
        nn.Dropout3d(0.5, **settings),
        nn.AlphaDropout(0.5, **settings),
        nn.FeatureAlphaDropout(0.5, **settings),
        nn.DropConnect(100, 3, 0.5, **settings),
        *[getattr(nn, name)(0.1, **settings) for name in NOISE],
    ]


NOISE = [name for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, STOCHASTIC[-1])]


def drawn(layer):
    x = batten.ones((8, 100)) if isinstance(layer, nn.DropConnect) else batten.ones((8, 4, 5, 5))
    if isinstance(layer, nn.Dropout1d):
        x = x.reshape(8, 20, 5)
    if isinstance(layer, nn.Dropout3d):
        x = x.reshape(8, 4, 1, 5, 5)
    return layer(x).detach().numpy().tobytes()


def test_every_layer_that_draws_is_tried_here():
    assert {type(layer) for layer in layers()} == {
        value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, STOCHASTIC)
    } - set(STOCHASTIC[:1] + STOCHASTIC[2:])


def test_a_layer_goes_on_where_it_stopped(tmp_path):
    for layer in layers(generator=seeded(3)):
        drawn(layer)
        batten.save(generators_state(layer), tmp_path / "file")
        expected = [drawn(layer), drawn(layer)]
        assert expected[0] != expected[1], layer
        load_generators_state(layer, batten.load(tmp_path / "file"))
        assert [drawn(layer), drawn(layer)] == expected, layer


def test_layers_without_their_own_draw_from_the_default_one():
    for layer in layers():
        assert generators_state(layer) == {}
        state = batten.get_rng_state()
        expected = drawn(layer)
        batten.set_rng_state(state)
        assert drawn(layer) == expected, layer


def model():
    shared = seeded(1)
    return nn.Sequential(
        nn.Linear(6, 6),
        nn.Dropout(0.3, generator=shared),
        nn.Sequential(nn.GaussianNoise(0.1, generator=seeded(2)), nn.Dropout(0.3)),
        nn.Dropout(0.3, generator=shared),
    )


def train(net, steps):
    optimizer = batten.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        net(batten.ones((4, 6))).square().mean().backward()
        optimizer.step()
    return net[0].weight.detach().numpy().tobytes()


def test_an_interrupted_training_is_the_unbroken_one(tmp_path):
    batten.manual_seed(0)
    net = model()
    train(net, 3)
    state = {
        "model": net.state_dict(),
        "generators": generators_state(net),
        "default": batten.get_rng_state(),
    }
    batten.save(state, tmp_path / "file")
    expected = train(net, 3)

    batten.manual_seed(5)
    again = model()
    train(again, 1)
    state = batten.load(tmp_path / "file")
    again.load_state_dict(state["model"])
    load_generators_state(again, state["generators"])
    batten.set_rng_state(state["default"])
    assert train(again, 3) == expected

    again.load_state_dict(state["model"])  # the other two alone are not enough
    batten.set_rng_state(state["default"])
    assert train(again, 3) != expected


def test_paths_are_those_of_state_dicts():
    state = generators_state(model())
    assert list(state) == ["1.generator", "2.0.generator", "3.generator"]
    assert all(x.shape == (16,) and x.dtype == batten.uint8 for x in state.values())
    assert state["1.generator"].tolist() == state["3.generator"].tolist() != state["2.0.generator"].tolist()
    assert list(generators_state(nn.Dropout(generator=seeded(1)))) == ["generator"]


def test_a_module_in_two_places_counts_once():
    layer = nn.Dropout(generator=seeded(1))
    assert list(generators_state(nn.Sequential(layer, layer))) == ["0.generator"]


def test_a_model_of_ones_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.noise, self.layer = seeded(4), nn.Dropout(generator=seeded(5))

        def forward(self, x):
            return self.layer(x + batten.randn(*x.shape, generator=self.noise))

    net, x = Net(), batten.ones(3, 4)
    state = generators_state(net)
    assert list(state) == ["noise", "layer.generator"]
    before = net(x)
    load_generators_state(net, state)
    assert net(x).tolist() == before.tolist()
    copy = deepcopy(net)
    assert net(x).tolist() == copy(x).tolist(), "a copy goes on as its original does"


def test_a_state_shows_nothing_of_the_generator():
    net = model()
    state = generators_state(net)
    kept = {path: x.tolist() for path, x in state.items()}
    train(net, 2)
    assert {path: x.tolist() for path, x in state.items()} == kept


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda state: state.pop("1.generator"), ValueError, r"\['1.generator', '2.*of Sequential, got \['2.0.gen"),
        (lambda state: state.update(x=state["1.generator"]), ValueError, r"got \['1.generator', .*, 'x'\]"),
        (lambda state: state.update({"3.generator": np.zeros(15, np.uint8)}), ValueError, "has shape .16., got .15."),
        (lambda state: state.update({"3.generator": np.zeros(16)}), TypeError, "is of uint8, got float64"),
        (lambda state: state.update({"3.generator": None}), TypeError, "is of uint8, got object"),
    ],
)
def test_states_that_do_not_fit_change_nothing(change, error, message):
    net = model()
    other = generators_state(net)
    train(net, 1)
    before = {path: x.tolist() for path, x in generators_state(net).items()}
    change(other)
    with pytest.raises(error, match=message):
        load_generators_state(net, other)
    assert {path: x.tolist() for path, x in generators_state(net).items()} == before

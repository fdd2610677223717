"""Units that are the same: that it says which."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import set_weights
from numpy.testing import assert_array_equal

import batten
from batten import inspect, nn, optim


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

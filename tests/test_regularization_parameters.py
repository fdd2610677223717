"""Which parameters penalties, priors and constraints are of."""

from __future__ import annotations

import pytest

import batten
from batten import nn
from batten.regularization.parameters import chosen


def names(*args, **options):
    return [name for name, _ in chosen(*args, **options)]


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 6), nn.LayerNorm((2, 3)))


def test_weights_are_neither_biases_nor_of_normalizations():
    model = network()
    assert model[4].weight.ndim == 2  # and yet no weight
    assert names(model, weights=True) == ["0.weight", "3.weight"]
    assert names(model) == [name for name, _ in model.named_parameters()]
    assert names(nn.ModuleList([model, nn.Embedding(3, 2)]), weights=True)[-1] == "1.weight"
    # The tensors alone do not say which layer they are of.
    assert names(model.parameters(), weights=True) == ["0", "4", "6", "7"]
    assert names(model.named_parameters(), weights=True) == ["0.weight", "3.weight", "4.weight", "4.bias"]


def test_where_is_asked_about_every_parameter():
    model = network()
    asked = []
    assert names(model, lambda name, p: asked.append((name, p)) or "bias" in name, weights=True) == [
        f"{k}.bias" for k in (0, 1, 3, 4)
    ]
    assert [name for name, _ in asked] == [name for name, _ in model.named_parameters()]
    assert all(p is model.get_parameter(name) for name, p in asked)
    assert names(model, lambda name, p: p.ndim == 4) == ["0.weight"]


def test_a_tensor_or_several():
    w, b = batten.zeros(2, 3), batten.zeros(3)
    assert chosen(w, weights=True) == [("0", w)]
    assert names([b, w]) == ["0", "1"] and names([b, w], weights=True) == ["1"]
    assert names(x for x in [("w", w), b]) == ["w", "1"]
    assert names([("a", w), ("a", b)]) == ["a", "a"]
    assert names((w, b)) == ["0", "1"]
    assert names([w], lambda name, p: name == "0") == ["0"]


def test_a_tensor_met_twice_counts_once():
    w = batten.zeros(2, 3)
    assert names([("a", w), ("b", w)]) == ["a"]
    # where may know it by its second name only
    assert names([("a", w), ("b", w)], lambda name, p: name == "b") == ["b"]
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    assert names(model, weights=True) == ["0.weight"]


def test_bad_arguments():
    w = batten.zeros(2, 3)
    for params in (None, 3, "w", {"w": w}, [w, None], [w.numpy()], [("w", 1)], [(1, w)]):
        with pytest.raises(TypeError, match=r"expected .*tensor"):
            chosen(params)
    with pytest.raises(TypeError, match=r"where to be None or a function of \(name, parameter\), got bool"):
        chosen([w], True)
    counts = batten.zeros(2, 3, dtype=batten.int64)
    with pytest.raises(TypeError, match=r"parameters of floats, got 1 of int64"):
        chosen([w, counts])
    assert names([w, counts], lambda name, p: p is w) == ["0"]
    with pytest.raises(ValueError, match="at least one parameter among 1 parameters"):
        chosen([w], lambda name, p: False)
    with pytest.raises(ValueError, match="at least one parameter among 0 parameters"):
        chosen(nn.ReLU())
    with pytest.raises(ValueError, match=r"at least one weight, .* among 1 parameters; where= chooses others"):
        chosen(batten.zeros(3), weights=True)

"""Statistics of activations: that they say what is so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import IMAGES, convnet, set_weights, tensor
from numpy.testing import assert_allclose

import batten
from batten import inspect, nn


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

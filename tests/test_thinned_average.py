"""The exact average over all masks of dropout, by itself and beside weight scaling."""

from __future__ import annotations

import itertools
import math

import pytest
from numpy.testing import assert_allclose

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from batten.inspect import thinned_average


def examples(rng, *shape):
    return batten.tensor(rng.standard_normal(shape))


def by_hand(model, x, probabilities):
    """Every network in turn: P(m), and the result of the model, which takes a list of masks, one for each p."""
    for kept in itertools.product((0, 1), repeat=len(probabilities)):
        weight = math.prod(1 - p if k else p for k, p in zip(kept, probabilities, strict=True))
        yield weight, model(x, [k / (1 - p) for k, p in zip(kept, probabilities, strict=True)])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_weight_scaling_is_exact_for_a_linear_network(rng, p):
    batten.manual_seed(1)
    model = nn.Sequential(nn.Dropout(p), nn.Linear(4, 5), nn.Dropout(0.3), nn.Linear(5, 3)).double()
    average = thinned_average(model, examples(rng, 6, 4))
    assert_allclose(average.arithmetic.numpy(), average.scaled.numpy(), rtol=1e-10, atol=1e-13)
    assert average.geometric is None


def test_for_one_softmax_layer_it_is_the_geometric_mean(rng):
    """Exactly, and the arithmetic mean is another."""
    batten.manual_seed(2)
    model = nn.Sequential(nn.Dropout(0.4), nn.Linear(10, 4)).double()
    average = thinned_average(model, examples(rng, 6, 10), classifier=True)
    assert_allclose(average.geometric.numpy(), average.scaled.numpy(), rtol=1e-10)
    assert_allclose(average.geometric.sum(1).numpy(), 1, rtol=1e-12)
    assert_allclose(average.arithmetic.sum(1).numpy(), 1, rtol=1e-12)
    assert abs(average.arithmetic - average.scaled).max().item() > 0.001


def test_of_a_deep_network_it_is_the_sum_over_networks(rng):
    batten.manual_seed(3)
    first, second, third = (nn.Linear(a, b, dtype=batten.float64) for a, b in [(2, 3), (3, 4), (4, 3)])
    x, p = examples(rng, 5, 2), [0.3] * 3 + [0.6] * 4

    def thinned(x, masks):
        h = batten.tanh(first(x)) * batten.tensor(masks[:3], dtype=batten.float64)
        return third(batten.relu(second(h)) * batten.tensor(masks[3:], dtype=batten.float64)).detach().numpy()

    networks = list(by_hand(thinned, x, p))
    assert_allclose(sum(weight for weight, _ in networks), 1)
    model = nn.Sequential(first, nn.Tanh(), nn.Dropout(0.3), second, nn.ReLU(), nn.Dropout(0.6), third)
    average = thinned_average(model, x)
    assert_allclose(average.arithmetic.numpy(), sum(weight * y for weight, y in networks), rtol=1e-10)
    assert_allclose(average.scaled.numpy(), model.eval()(x).detach().numpy())
    assert abs(average.arithmetic - average.scaled).max().item() > 0.001
    average = thinned_average(model, x, classifier=True)
    softmax = [(weight, F.softmax(batten.tensor(y), 1).numpy()) for weight, y in networks]
    assert_allclose(average.arithmetic.numpy(), sum(weight * y for weight, y in softmax), rtol=1e-10)
    product = math.prod(y**weight for weight, y in softmax)
    assert_allclose(average.geometric.numpy(), product / product.sum(1, keepdims=True), rtol=1e-10)


def test_sixteen_units_and_seventeen(rng):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 2)).double()
    average = thinned_average(model, examples(rng, 1, 16))
    assert_allclose(average.arithmetic.numpy(), average.scaled.numpy(), rtol=1e-9)
    model[1] = nn.Linear(17, 2).double()
    with pytest.raises(ValueError, match=r"^thinned_average expects at most 16 units that may be dropped, got 17$"):
        thinned_average(model, examples(rng, 1, 17))
    model[0].p = 0.0  # then there is no doubt
    assert thinned_average(model, examples(rng, 1, 17)).arithmetic.shape == (1, 2)
    model[0].p = 1.0
    average = thinned_average(model, examples(rng, 3, 17))
    assert_allclose(average.arithmetic.numpy(), model[1].bias.detach().numpy()[None].repeat(3, 0))


def test_a_layer_that_is_called_twice_has_a_mask_for_each_call(rng):
    """(m x) n = x m n: the product of two independent factors of mean one; its square has the mean of 1 / (1 - p)²."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.4)

        def forward(self, x):
            return self.dropout(self.dropout(x)) ** 2

    x = examples(rng, 3, 5)
    average = thinned_average(Twice(), x)
    assert_allclose(average.arithmetic.numpy(), x.numpy() ** 2 / 0.6**2, rtol=1e-10)
    assert_allclose(average.scaled.numpy(), x.numpy() ** 2)


def test_units_of_images_float32_and_places_between(rng):
    """Convolutions and batch normalization in evaluation; dropout in place; results that keep their type."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.25, inplace=True), nn.Flatten(), nn.Linear(12, 2)
    )
    x = batten.tensor(rng.standard_normal((3, 1, 3, 4)).astype("float32"))
    model(x)
    average = thinned_average(model, x)
    assert average.arithmetic.dtype == average.scaled.dtype == batten.float32
    assert_allclose(average.arithmetic.numpy(), average.scaled.numpy(), rtol=1e-4, atol=1e-6)  # linear behind dropout
    assert thinned_average(model, x[:0]).arithmetic.shape == (0, 2)
    assert thinned_average(model, x.numpy()).arithmetic.tolist() == average.arithmetic.tolist()


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_without_scaling_in_training(rng, p):
    """The standard form: the average has (1 - p) x, and so has evaluation, in place too."""
    model = nn.Sequential(nn.Dropout(p, inplace=True, inverted=False), nn.Linear(6, 3)).double()
    average = thinned_average(model, examples(rng, 4, 6))
    assert_allclose(average.arithmetic.numpy(), average.scaled.numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    "kind, shape", [("Dropout1d", (3, 4, 5)), ("Dropout2d", (3, 4, 5, 2)), ("Dropout3d", (3, 4, 2, 2, 3))]
)
def test_channels_are_units(rng, kind, shape):
    """Of (m x)² the mean is x² / (1 - p), and of products of two elements of a channel as well."""

    class Products(nn.Module):
        def forward(self, x):
            return x * x.flip(-1)

    x = examples(rng, *shape)
    average = thinned_average(nn.Sequential(getattr(nn, kind)(0.4), Products()), x)
    assert_allclose(average.arithmetic.numpy(), x.numpy() * x.numpy()[..., ::-1] / 0.6, rtol=1e-10)


def test_channels_without_a_batch_are_refused(rng):
    with pytest.raises(
        ValueError, match=r"expects Dropout1d\(p=0.5, inplace=False\) to be given a batch, got \[3, 5\]$"
    ):
        thinned_average(nn.Dropout1d(), examples(rng, 3, 5))


def test_nobody_can_tell(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5, inplace=True), nn.Linear(4, 2)).double()
    x = examples(rng, 5, 3)
    model(x).sum().backward()
    model[2].eval()

    def everything():
        tensors = [*model.parameters(), *model.buffers(), *[p.grad for p in model.parameters()]]
        hooks = [None if module._forward_hooks is None else len(module._forward_hooks.after) for module in model]
        return (
            [(t.array.tobytes(), list(t.version)) for t in tensors],
            [module.training for module in model.modules()],
            hooks,
            model[2].inplace,
            batten.get_rng_state().tolist(),
        )

    before, given = everything(), x.tolist()
    average = thinned_average(model, x)
    assert everything() == before and x.tolist() == given and not average.arithmetic.requires_grad


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([nn.Linear(3, 2)], ValueError, r"^thinned_average expects a model that calls Dropout layers"),
        ([nn.Dropout(), nn.DropConnect(3, 2)], ValueError, r"Dropout layers only, got DropConnect\(in_features=3"),
        ([nn.Dropout(), nn.AlphaDropout(0.1)], ValueError, r"Dropout layers only, got AlphaDropout\(p=0.1"),
        (
            [nn.Dropout(), nn.GaussianNoise(0.1)],
            ValueError,
            r"^thinned_average knows the masks of Dropout layers only, got GaussianNoise\(std=0.1\)$",
        ),
        (
            [nn.Dropout(), nn.Flatten(0)],
            ValueError,
            r"^thinned_average expects a result for each of 2 examples, got \[6\]$",
        ),
    ],
)
def test_models_that_are_refused(layers, error, message):
    model = nn.Sequential(*layers)
    with pytest.raises(error, match=message):
        thinned_average(model, batten.ones(2, 3))
    with pytest.raises(TypeError, match=r"^thinned_average expects floats, got int64"):
        thinned_average(nn.Sequential(nn.Dropout()), batten.tensor([[1, 2]]))
    assert all(module.training for module in model.modules())


def test_it_is_what_sampling_tends_to(rng):
    """Within 4.5 standard errors of 20,000 masks drawn by the layers themselves, as one batch of copies of x."""
    model = nn.Sequential(
        nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 4), nn.Tanh(), nn.Dropout(0.5)
    ).double()
    batten.manual_seed(5)
    x = examples(rng, 1, 3)
    y = (model(x.expand(20_000, 3)) ** 2).detach().numpy()
    squared = nn.Sequential(model, Square())
    exact = thinned_average(squared, x).arithmetic.numpy()[0]
    assert (abs(y.mean(0) - exact) < 4.5 * y.std(0) / math.sqrt(20_000)).all()
    assert (exact > 20 * y.std(0) / math.sqrt(20_000)).all()


class Square(nn.Module):
    def forward(self, x):
        return x * x

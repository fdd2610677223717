"""batten.predict: Monte-Carlo averages over masks and noise, and a model that nobody touched."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from batten.inspect import thinned_average
from batten.regularization import WeightNoise

SIGMAS = 4.5


def network(*layers, dtype=batten.float64):
    batten.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), *layers, nn.Linear(6, 3)).to(dtype)


def examples(rng, n=7, dtype="float64"):
    return batten.tensor(rng.standard_normal((n, 4)).astype(dtype))


def entropy(p):
    return -(p * np.log(p)).sum(1)


def sampled(model, x, samples, function=lambda y: y):
    """What predict does, written out: an array (samples, N, *)."""
    state, draws = batten.get_rng_state(), []
    with batten.no_grad():
        for _ in range(samples):
            draws.append(function(model(x)).numpy())
    batten.set_rng_state(state)
    return np.array(draws)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.4),
        nn.Dropout(0.4, inverted=False),
        nn.AlphaDropout(0.2),
        nn.GaussianNoise(0.3),
        nn.UniformNoise(0.3),
        nn.MultiplicativeGaussianNoise(0.3),
        nn.DropConnect(6, 6, 0.3),
    ],
    ids=repr,
)
def test_it_is_mean_and_variance_of_as_many_forwards(rng, dtype, layer):
    model, x = network(layer, dtype=dtype), examples(rng, dtype=dtype)
    found = batten.predict(model, x, samples=20)
    draws = sampled(model.train(), x, 20).astype("float64")
    assert found.mean.dtype == found.variance.dtype == dtype
    assert_allclose(found.mean.numpy(), draws.mean(0), rtol=1e-6 if dtype == "float32" else 1e-12)
    assert_allclose(found.variance.numpy(), draws.var(0), rtol=1e-5 if dtype == "float32" else 1e-10)
    assert found.entropy is None and found.mutual_information is None


def test_a_classifiers_are_of_its_probabilities(rng):
    model, x = network(nn.Dropout(0.4)), examples(rng)
    found = batten.predict(model, x, samples=20, classifier=True)
    p = sampled(model.train(), x, 20, lambda y: F.softmax(y, 1))
    assert_allclose(found.mean.numpy(), p.mean(0), rtol=1e-12)
    assert_allclose(found.variance.numpy(), p.var(0), rtol=1e-10)
    assert_allclose(found.mean.sum(1).numpy(), 1, rtol=1e-12)
    assert_allclose(found.entropy.numpy(), entropy(p.mean(0)), rtol=1e-12)
    each = np.mean([entropy(sample) for sample in p], 0)
    assert_allclose(found.mutual_information.numpy(), entropy(p.mean(0)) - each, rtol=1e-8)
    assert (found.mutual_information > 0).all().item()


def test_it_tends_to_the_exact_average(rng):
    """Within 4.5 standard errors of each mean, at most 0.01; the variance within 10 %."""
    model, x = network(nn.Dropout(0.4)), examples(rng)
    found, exact = batten.predict(model, x, samples=5000), thinned_average(model, x)
    errors = np.sqrt(found.variance.numpy() / 5000)
    assert errors.max() < 0.01
    assert (abs(found.mean - exact.arithmetic).numpy() < SIGMAS * errors).all()
    # of a linear layer on units that are kept or not, independently
    h, w = model[:2](x).detach().numpy(), model[3].weight.detach().numpy()
    assert_allclose(found.variance.numpy(), 0.4 / 0.6 * h**2 @ w.T**2, rtol=0.1)


def test_batch_norm_stays_in_evaluation_and_all_is_as_before(rng):
    model = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5),
        nn.GaussianNoise(0.1, generator=batten.Generator().manual_seed(3)), nn.RReLU(), nn.Linear(6, 2),
    )  # fmt: skip
    x = examples(rng, dtype="float32")
    for _ in range(3):
        model(x).square().sum().backward()
    model[3].eval()

    def everything():
        tensors = [*model.parameters(), *model.buffers(), *[p.grad for p in model.parameters()]]
        return (
            [(id(t), t.array.tobytes(), list(t.version)) for t in tensors],
            [module.training for module in model.modules()],
            batten.get_rng_state().tolist(),
            model[4].generator.get_state().tolist(),
            [set(vars(module)) for module in model.modules()],
        )

    before, pending = everything(), model(x).sum()
    batten.set_rng_state(batten.tensor(before[2], dtype=batten.uint8))
    model[4].generator.set_state(batten.tensor(before[3], dtype=batten.uint8))
    before = everything()
    first, second = batten.predict(model, x, samples=3), batten.predict(model, x, samples=3)
    assert everything() == before
    assert first.mean.tolist() == second.mean.tolist() and not first.mean.requires_grad
    pending.backward()  # what was recorded before can still go back
    one = batten.predict(model, x[:1], samples=500)  # of which batch normalization would complain in training
    assert (one.variance > 0).all().item()
    # without what is random it is evaluation, RReLU too
    model[3].p, model[4].std = 0.0, 0.0
    exact = batten.predict(model, x, samples=3)
    assert_allclose(exact.mean.numpy(), model.eval()(x).detach().numpy(), rtol=1e-6)
    assert (exact.variance == 0).all().item()


def test_a_model_is_as_before_after_an_error(rng):
    model, x = network(nn.Dropout(0.5)), examples(rng)
    model.append(nn.Linear(5, 5))
    with pytest.raises(ValueError, match="Linear expects"):
        batten.predict(model, x)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_are_put_together(rng, batch_size):
    """Each is sampled in turn; with one generator their draws are those of so many forwards."""
    model, x = network(nn.Dropout(0.4)), examples(rng)
    found = batten.predict(model, x, samples=4, batch_size=batch_size)
    state, means = batten.get_rng_state(), []
    for first in range(0, 7, batch_size):
        draws = []
        for _ in range(4):
            draws.append(model(x[first : first + batch_size]).detach().numpy())
        means.append(np.mean(draws, 0))
    batten.set_rng_state(state)
    assert_allclose(found.mean.numpy(), np.concatenate(means), rtol=1e-12)


def test_images_scores_of_pixels_and_no_examples(rng):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(4, 3, 1))
    x = rng.standard_normal((5, 2, 6, 4)).astype("float32")
    found = batten.predict(model, x, samples=8, batch_size=2, classifier=True)
    assert found.mean.shape == found.variance.shape == (5, 3, 6, 4)
    assert found.entropy.shape == found.mutual_information.shape == (5, 6, 4)
    assert found.entropy.min().item() > 0 and found.entropy.max().item() <= math.log(3)
    none = batten.predict(model, x[:0], samples=2, classifier=True)
    assert none.mean.shape == (0, 3, 6, 4) and none.entropy.shape == (0, 6, 4)


def test_entropies_at_the_ends():
    """A sure classifier has none; one that is sure of another class in each sample has all of it from the model."""
    sure = nn.Linear(1, 2, bias=False)
    sure.load_state_dict({"weight": batten.tensor([[1000.0], [-1000.0]])})
    found = batten.predict(sure, batten.ones(1, 1), samples=3, classifier=True)
    assert (
        found.mean.tolist() == [[1, 0]] and found.entropy.tolist() == [0] and found.mutual_information.tolist() == [0]
    )
    torn = nn.Sequential(nn.GaussianNoise(1.0), sure)
    found = batten.predict(torn, batten.zeros(1, 1), samples=1000, classifier=True)
    assert_allclose(found.entropy.item(), math.log(2), rtol=0.01)
    assert_allclose(found.mutual_information.item(), math.log(2), rtol=0.01)


def test_with_noise_on_the_weights_it_averages_over_these(rng):
    model, x = network(), examples(rng)
    assert (batten.predict(model, x, samples=5).variance == 0).all().item()
    with WeightNoise(model, 0.1):
        assert (batten.predict(model, x, samples=5).variance > 0).all().item()


def test_the_same_bits_on_any_number_of_threads(rng, threads):
    model = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Dropout(0.5), nn.Linear(300, 50))
    x, found = batten.tensor(rng.standard_normal((200, 100)).astype("float32")), set()
    for n in (1, 2, 3, 8):
        threads(n)
        found.add(tuple(part.numpy().tobytes() for part in batten.predict(model, x, samples=5, classifier=True)))
    assert len(found) == 1


def test_numpy_goes_in_and_integers_do(rng):
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 2))
    found = batten.predict(model, np.array([[0, 1], [4, 2], [3, 3]]), samples=3)
    assert found.mean.shape == (3, 2)
    assert_array_equal(
        found.mean.numpy(), batten.predict(model, batten.tensor([[0, 1], [4, 2], [3, 3]]), 3).mean.numpy()
    )


class Returning(nn.Module):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, x):
        return self.result


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"samples": 0}, ValueError, r"^predict expects samples >= 1, got 0$"),
        ({"samples": 2.5}, TypeError, r"integer"),
        ({"batch_size": -1}, ValueError, r"^predict expects batch_size >= 1, got -1$"),
        ({"x": 3.0}, ValueError, r"^predict expects \(N, \*\), got a number$"),
        ({"x": "abc"}, TypeError, r"expected a tensor, an array or a number, got str"),
        ({"result": (batten.ones(3), 1)}, TypeError, r"^predict expects a model that returns one tensor of floats"),
        ({"result": batten.tensor([1, 2, 3])}, TypeError, r"one tensor of floats, got int64$"),
        ({"result": batten.ones(4, 2)}, ValueError, r"^predict expects a result for each of 3 examples, got \[4, 2\]$"),
        ({"result": batten.tensor(1.0)}, ValueError, r"for each of 3 examples, got \[\]$"),
        (
            {"result": batten.ones(3), "classifier": True},
            ValueError,
            r"^predict expects scores \(N, classes, \*\) of a classifier, got \[3\]$",
        ),
    ],
)
def test_what_is_refused(arguments, error, message):
    model = Returning(arguments.pop("result", batten.ones(3, 2)))
    with pytest.raises(error, match=message):
        batten.predict(model, arguments.pop("x", batten.ones(3, 4)), **arguments)

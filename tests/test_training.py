"""The training behind the command: which pictures are for what, and which weights are kept."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import batten
from batten import models
from batten.datasets import ImageDataset
from batten.training import RECIPES, SIZES, Parts, Score, Settings, Training, read, recipe, standardization


def prototypes(rng, count, shape=(1, 6, 6)):
    """Pictures of ten kinds that can be told apart."""
    kinds = rng.integers(0, 256, (10, *shape))
    targets = rng.integers(0, 10, count)
    noisy = kinds[targets] + rng.normal(0, 40, (count, *shape))
    return ImageDataset(noisy.clip(0, 255).astype(np.uint8), targets.astype(np.int64), "0123456789")


@pytest.fixture
def parts(rng):
    train, test = prototypes(rng, 240).split(40)
    return Parts(*train.split(40), test)


SETTINGS = Settings("prototypes", hidden=(64,), epochs=3, batch_size=32, lr=0.01)


def run(training):
    return training.epoch(lambda: False, lambda images, score: None)


def test_a_split_is_fixed_complete_and_without_overlap(rng):
    dataset = ImageDataset(np.arange(50).reshape(50, 1, 1, 1).astype(np.uint8), np.arange(50), "ab")
    rest, part = dataset.split(20)
    assert len(part) == 20 and sorted([*rest.targets, *part.targets]) == list(range(50))
    assert (part.data.ravel() == part.targets).all() and (rest.data.ravel() == rest.targets).all()
    batten.manual_seed(7)
    np.testing.assert_array_equal(dataset.split(20)[1].targets, part.targets)
    assert [len(x) for x in dataset.split(0)] == [50, 0] and [len(x) for x in dataset.split(50)] == [0, 50]
    for count in (-1, 51):
        with pytest.raises(ValueError, match=f"split expects a count from 0 to 50, got {count}"):
            dataset.split(count)


def test_standardization_is_of_each_channel(rng):
    pictures = rng.integers(0, 256, (30, 3, 4, 5)).astype(np.uint8)
    pictures[:, 2] = 9
    standardize = standardization(pictures)
    x = standardize(pictures)
    assert x.dtype == batten.float32 and x.shape == (30, 3, 4, 5)
    np.testing.assert_allclose(standardize.mean.ravel(), pictures.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(x.array[:, :2].mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x.array[:, :2].std((0, 2, 3)), 1, atol=1e-5)
    assert not x.array[:, 2].any()


def test_only_the_part_to_learn_from_is_learned_from(parts):
    seen = []
    training = Training(SETTINGS, parts)
    standardize = training.standardize
    training.standardize = lambda pictures: seen.append(pictures) or standardize(pictures)
    training.evaluate = lambda dataset: Score(1.0, 0.5)
    run(training)
    seen = {picture.tobytes() for batch in seen for picture in batch}
    assert len(seen) == len(parts.train) // 32 * 32
    assert seen <= {picture.tobytes() for picture in parts.train.data}
    assert (standardize.mean == standardization(parts.train.data).mean).all()


def test_the_best_epoch_of_validation_is_kept_and_tested_once(parts):
    training = Training(SETTINGS, parts)
    scores = [Score(0.5, 0.8), Score(0.7, 0.9), Score(0.6, 0.9), Score(0.6, 0.9), Score(0.1, 0.85)]
    evaluate, evaluated = training.evaluate, []

    def pretend(dataset):
        evaluated.append(dataset)
        return scores[len(evaluated) - 1]

    training.evaluate = pretend
    weights = []
    for _ in scores:
        run(training)
        weights.append({key: value.array.copy() for key, value in training.model.state_dict().items()})
    assert all(dataset is parts.validation for dataset in evaluated)
    assert training.best["epoch"] == 3

    training.evaluate = lambda dataset: evaluated.append(dataset) or evaluate(dataset)
    test = training.test()
    assert evaluated[-1] is parts.test and len(evaluated) == len(scores) + 1
    for key, value in training.model.state_dict().items():
        np.testing.assert_array_equal(value.array, weights[2][key])
        np.testing.assert_array_equal(training.checkpoint()["model"][key].array, weights[2][key])
    assert training.checkpoint()["optimizer"]["state"][0]["step"].item() == 3 * (len(parts.train) // 32)
    assert training.history(test)["best_epoch"] == 3 and len(training.history(test)["epochs"]) == 5


def test_it_learns(parts):
    training = Training(SETTINGS, parts)
    told = []
    records = [training.epoch(lambda: False, lambda images, score: told.append((images, score))) for _ in range(3)]
    assert records[2]["train"]["loss"] < records[0]["train"]["loss"] / 2
    assert training.test().accuracy > 0.9
    assert [images for images, _ in told] == [32] * (len(told))
    assert told[-1][1] == Score(**records[2]["train"])
    assert [record["epoch"] for record in records] == [1, 2, 3] and len(training.seconds) == 3


def test_it_stops_after_the_batch_in_which_it_is_asked_to(parts):
    training = Training(SETTINGS, parts)
    batches = []
    record = training.epoch(lambda: len(batches) == 2, lambda images, score: batches.append(images))
    assert record["images"] == 64 and training.best["epoch"] == 1


def test_few_pictures_are_one_batch(parts):
    training = Training(dataclasses.replace(SETTINGS, batch_size=10**12), parts)
    assert [len(index) for index in training.batches()] == [len(parts.train)]


def test_a_loss_that_is_no_number_is_refused_and_the_best_weights_stay(parts):
    training = Training(SETTINGS, parts)
    run(training)
    training.optimizer.param_groups[0]["lr"] = math.inf
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 2, at a learning rate"):
        run(training)
    assert training.best["epoch"] == 1 and math.isfinite(training.test().loss)


def test_every_recipe_fits_its_pictures():
    for (data, model), settings in RECIPES.items():
        assert recipe(data, model) is settings
        pictures = ImageDataset(np.zeros((2, *SIZES[data]), np.uint8), np.array([0, 1]), "0123456789")
        training = Training(settings, Parts(pictures, pictures, pictures))
        assert training.architecture["num_classes"] == 10
        assert training.architecture.get("dropout", settings.dropout) == settings.dropout
        assert math.isfinite(training.evaluate(pictures).loss)


def test_the_first_model_is_the_usual_one():
    assert [recipe(data).model for data in SIZES] == ["convnet", "mlp", "mlp"]
    with pytest.raises(ValueError, match=r"lenet5 does not fit the pictures of digits, which are \[1, 8, 8\]; choose"):
        recipe("digits", "lenet5")


@pytest.mark.sweep
def test_the_usual_model_reads_digits():
    pytest.importorskip("sklearn")
    parts, _ = read("digits", ".")
    for seed in range(4):
        training = Training(dataclasses.replace(recipe("digits"), seed=seed), parts)
        for _ in range(training.settings.epochs):
            run(training)
        assert training.test().accuracy >= 0.985


def test_mlp():
    model = models.mlp(12, hidden=(5, 4), num_classes=3, dropout=0.25)
    assert [type(layer).__name__ for layer in model] == [
        *["Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    ]
    assert model(batten.ones(2, 3, 2, 2)).shape == (2, 3)
    plain = models.mlp(12, hidden=[], num_classes=3, dropout=0, norm=None)
    assert [type(layer).__name__ for layer in plain] == ["Flatten", "Linear"]
    bare = models.mlp(12, (5,), 3, 0.0, norm=None)
    assert [type(layer).__name__ for layer in bare] == ["Flatten", "Linear", "ReLU", "Linear"]
    assert bare[1].bias is not None

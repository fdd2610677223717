"""The training behind the command: which pictures are for what, what settings do, and which weights are kept."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import batten
from batten import models, nn, optim, regularization, transforms
from batten.datasets import ImageDataset
from batten.optim import lr_scheduler
from batten.training import (
    AUGMENTATIONS,
    DATASETS,
    OPTIMIZERS,
    PENALTIES,
    RECIPES,
    SCHEDULES,
    SIZES,
    Classifier,
    Parts,
    Settings,
    Training,
    lengthened,
    read,
    settled,
)
from batten.training.pieces import normalization
from trials import trials


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


@pytest.fixture
def new_folder(tmp_path):
    """A function that gives another folder each time."""
    numbers = itertools.count()
    return lambda: tmp_path / str(next(numbers))


SETTINGS = Settings("prototypes", hidden=(64,), epochs=3, batch_size=32, lr=0.01)


def changed(**changes):
    return dataclasses.replace(SETTINGS, **changes)


class Watch(batten.Callback):
    """Keeps what each epoch had."""

    def __init__(self):
        self.weights, self.run = [], None

    def on_epoch_end(self, run):
        self.run = run
        self.weights.append(weights_of(run.model))


def weights_of(model):
    return {key: value.array.copy() for key, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


# ---- the pictures ----


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


def test_normalization_is_of_each_channel(rng):
    pictures = rng.integers(0, 256, (30, 3, 4, 5)).astype(np.uint8)
    pictures[:, 2] = 9
    normalize = normalization(ImageDataset(pictures, np.zeros(30, np.int64), "a"))
    x = normalize(pictures)
    assert x.dtype == np.float32 and x.shape == (30, 3, 4, 5)
    np.testing.assert_allclose(normalize.mean, pictures.mean((0, 2, 3)) / 255)
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x[:, :2].std((0, 2, 3)), 1, atol=1e-5)


def test_each_part_is_for_one_thing_only(parts, new_folder):
    """Only what is learned from is augmented, and nothing is shown the test part."""
    seen = {"train": [], "eval": []}

    class Spy(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            seen["train" if self.training else "eval"] += [row.tobytes() for row in np.ascontiguousarray(x.array)]
            return self.inner(x)

    def rows(part):
        return {row.tobytes() for row in np.ascontiguousarray(training.classifier.normalize(part.data))}

    for augment in ((), ("flip",)):
        seen["train"].clear()
        seen["eval"].clear()
        training = Training(changed(augment=augment, epochs=2), parts)
        assert training.classifier.normalize.mean == normalization(parts.train).mean
        training.classifier.model = Spy(training.classifier.model)
        training.fit(new_folder())
        assert len(seen["train"]) == 2 * (len(parts.train) // 32 * 32)
        assert set(seen["eval"]) == rows(parts.validation)
        assert (set(seen["train"]) <= rows(parts.train)) == (not augment)
        assert not (set(seen["train"]) & (rows(parts.validation) | rows(parts.test)))


def test_few_pictures_are_one_batch(parts):
    training = Training(changed(batch_size=10**12), parts)
    assert [len(y) for _, y in training.train] == [len(parts.train)]


# ---- which weights are kept ----


def test_the_best_epoch_of_validation_is_kept(parts, new_folder):
    training, watch = Training(changed(epochs=12, lr=0.05), parts), Watch()
    history = training.fit(new_folder(), [watch])
    losses = history["validation_loss"]
    assert history.best_epoch == losses.index(min(losses)) + 1 < 12
    assert same(weights_of(training.classifier.model), watch.weights[history.best_epoch - 1])
    assert training.classifier.score(parts.validation).loss == pytest.approx(min(losses), rel=1e-5)
    assert training.classifier.score(parts.test).accuracy > 0.9


def test_it_ends_early(parts, new_folder):
    training = Training(changed(epochs=50, lr=0.05, early_stopping=2), parts)
    history = training.fit(new_folder())
    assert history.ended == "early stopping" and len(history.epochs) == history.best_epoch + 2 < 50


@trials("strategy", ["retrain", "continue"])
def test_validation_pictures_are_learned_from_in_the_end(strategy, parts, new_folder):
    training = Training(changed(epochs=8, lr=0.02, augment=("flip",), reuse_validation=strategy), parts)
    watch = Watch()
    history = training.fit(new_folder(), [watch])
    first = history.epochs[history.reused_after]
    assert history.reused_after == 8 and first["images"] == 200 // 32 * 32
    assert same(weights_of(training.classifier.model), watch.weights[-1])
    if strategy == "retrain":
        assert len(history.epochs) == 8 + history.best_epoch and first["loss"] > history["loss"][1]


def test_a_longer_run(parts, new_folder):
    """A run goes on to more epochs if it would have begun in the same way."""
    folder = new_folder()
    Training(changed(epochs=2), parts).fit(folder)
    state = batten.load(next(folder.glob("step-*")))
    longer = Training(lengthened(changed(epochs=2), 4, state), parts)
    longer.fit(folder, resume=state)
    whole = Training(changed(epochs=4), parts)
    whole.fit(new_folder())
    assert same(weights_of(longer.classifier.model), weights_of(whole.classifier.model))

    assert lengthened(SETTINGS, 3, {**state, "stopped": "early stopping"}) == SETTINGS
    with pytest.raises(ValueError, match="--epochs makes a run longer, and this one has 3, got 2"):
        lengthened(SETTINGS, 2, state)
    with pytest.raises(ValueError, match="the run has ended by early stopping, which more --epochs do not change"):
        lengthened(SETTINGS, 4, {**state, "stopped": "early stopping"})
    with pytest.raises(ValueError, match="is being learned from already, which more --epochs do not change"):
        lengthened(SETTINGS, 4, {**state, "phase": "retrain"})
    for name, schedule in SCHEDULES.items():
        if schedule.laid_out:
            with pytest.raises(ValueError, match=f"the schedule {name} is laid out for 3 epochs, not more"):
                lengthened(changed(scheduler=name), 4, state)
        else:
            assert lengthened(changed(scheduler=name), 4, None).epochs == 4


# ---- what settings do ----


def test_every_optimizer(parts, new_folder):
    kinds = {
        "sgd": optim.SGD, "nesterov": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "nadam": optim.NAdam,
        "radam": optim.RAdam, "adamax": optim.Adamax, "adagrad": optim.Adagrad, "adadelta": optim.Adadelta,
        "rmsprop": optim.RMSprop,
    }  # fmt: skip
    assert kinds.keys() == OPTIMIZERS.keys()
    for name, kind in kinds.items():
        usual = settled("mnist", "mlp", optimizer=name, weight_decay=0.0)
        training = Training(changed(optimizer=name, lr=usual.lr, weight_decay=0.125, epochs=2), parts)
        group = training.optimizer.param_groups[0]
        assert type(training.optimizer) is kind, name
        assert (group["lr"], group["weight_decay"]) == (usual.lr, 0.125)
        assert name not in ("sgd", "nesterov") or (group["momentum"], group["nesterov"]) == (0.9, name == "nesterov")
        history = training.fit(new_folder())
        assert history["loss"][1] < history["loss"][0], name


def test_every_schedule(parts, new_folder):
    steps = 6 * (len(parts.train) // 32)
    lrs = {}
    for name in SCHEDULES:
        training = Training(changed(scheduler=name, epochs=6), parts)
        lrs[name] = [row["lr"] for row in training.fit(new_folder()).steps]
        assert len(lrs[name]) == steps
    starts = {name: [found[epoch * steps // 6] for epoch in range(6)] for name, found in lrs.items()}
    np.testing.assert_allclose(starts["step"], [1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4])
    np.testing.assert_allclose(starts["exponential"], 0.01 * 0.01 ** (np.arange(6) / 6))
    np.testing.assert_allclose(starts["cosine"], 0.005 * (1 + np.cos(np.pi * np.arange(6) / 6)))
    assert max(lrs["onecycle"]) == pytest.approx(0.01) and lrs["onecycle"][-1] < lrs["onecycle"][0] < 0.001
    assert starts["plateau"][0] == 0.01
    plateau = Training(changed(scheduler="plateau"), parts).scheduler
    assert isinstance(plateau, lr_scheduler.ReduceLROnPlateau) and plateau.patience == 2
    for name in SCHEDULES:  # with more pictures to learn from there are more steps
        settings = changed(scheduler=name, epochs=4, reuse_validation="retrain")
        history = Training(settings, parts).fit(new_folder())
        assert len(history.epochs) == 4 + history.best_epoch


def test_every_penalty(parts, new_folder):
    kinds = {
        "l1": regularization.L1, "l2": regularization.L2, "group-lasso": regularization.GroupLasso,
        "orthogonal": regularization.OrthogonalPenalty,
    }  # fmt: skip
    assert kinds.keys() == PENALTIES.keys()
    for name, kind in kinds.items():
        watch = Watch()
        Training(changed(penalties=(f"{name}=0.25", "l2=0.5"), epochs=1), parts).fit(new_folder(), [watch])
        penalty, other = watch.run.penalties
        assert type(penalty) is kind and penalty.lambda_ == 0.25 and other.lambda_ == 0.5
        assert watch.run.history["penalty"][0] > 0


def test_max_norm(parts, new_folder):
    training = Training(changed(max_norm=0.5), parts)
    training.fit(new_folder())
    for name, parameter in training.classifier.model.named_parameters():
        if parameter.ndim == 2 and "weight" in name:
            norms = np.linalg.norm(parameter.array, axis=1)
            assert norms.max() <= 0.5 * (1 + 1e-5) and norms.max() > 0.4


def test_every_augmentation(rng):
    kinds = {
        "crop": transforms.RandomCrop, "flip": transforms.RandomHorizontalFlip, "rotate": transforms.RandomRotation,
        "pca": transforms.PCAColor, "jitter": transforms.ColorJitter, "noise": transforms.GaussianNoise,
        "erase": transforms.RandomErasing,
    }  # fmt: skip
    assert kinds.keys() == AUGMENTATIONS.keys()
    for shape, brightest in (((1, 8, 8), 16), ((1, 28, 28), 255), ((3, 32, 32), 255)):
        pictures = rng.integers(0, brightest + 1, (40, *shape)).astype(np.uint8)
        dataset = ImageDataset(pictures, np.arange(40), "ab", brightest)
        for name, kind in kinds.items():
            if name != "pca" or shape[0] == 3:
                transform = AUGMENTATIONS[name](dataset)
                assert type(transform) is kind
                augmented = transform(pictures)
                assert augmented.shape == pictures.shape and augmented.dtype == np.uint8
                assert (augmented != pictures).any(axis=(1, 2, 3)).sum() > 10, (name, shape)
        parts = Parts(dataset, dataset, dataset)
        names = tuple(name for name in kinds if name != "pca" or shape[0] == 3)
        settings = Settings("x", hidden=(4,), augment=names, batch_size=20)
        (x, _), *_ = Training(settings, parts).train
        assert x.shape == (20, *shape) and x.dtype == batten.float32 and x.isfinite().all()
    assert AUGMENTATIONS["crop"](dataset).padding == [4, 4, 4, 4]


def test_every_recipe_fits_its_pictures():
    for (data, model), settings in RECIPES.items():
        assert settled(data, model) is not None and settled(data, model) == settings
        count = 100 if data == "cifar100" else 10
        pictures = ImageDataset(np.zeros((2, *SIZES[data]), np.uint8), np.array([0, 1]), list(map(str, range(count))))
        training = Training(settings, Parts(pictures, pictures, pictures))
        architecture = training.classifier.architecture
        assert architecture["num_classes"] == count
        for name in ("dropout", "norm", "hidden"):
            assert architecture.get(name, getattr(settings, name)) == getattr(settings, name)
        assert set(settings.augment) <= set(AUGMENTATIONS) and len(training.train) == 1
        if model not in ("vgg13", "vgg16", "resnet32", "resnet56"):  # which are like their smaller ones
            assert math.isfinite(training.classifier.score(pictures).loss)


def test_settings_that_do_not_go_together():
    assert [settled(data).model for data in SIZES] == ["convnet", "mlp", "mlp", "mlp", "mlp", "mlp"]
    assert SIZES.keys() == {data for data, _ in RECIPES} == {"digits", *DATASETS}
    with pytest.raises(ValueError, match=r"lenet5 does not fit the pictures of digits, which are \[1, 8, 8\]; choose"):
        settled("digits", "lenet5")
    with pytest.raises(ValueError, match="resnet20 has no dropout; leave out --dropout"):
        settled("cifar10", "resnet20", dropout=0.5)
    with pytest.raises(ValueError, match="pca changes colours, and the pictures of mnist are grey"):
        settled("mnist", augment=("crop", "pca"))
    with pytest.raises(ValueError, match="the schedule cosine is laid out for 12; choose --reuse-validation retrain"):
        settled("mnist", scheduler="cosine", reuse_validation="continue")
    assert settled("mnist", scheduler="plateau", reuse_validation="continue").scheduler == "plateau"


def test_a_change_of_optimizer_brings_its_learning_rate():
    assert settled("cifar10", "vgg11", optimizer="adam").lr == RECIPES["cifar10", "vgg11"].lr != 1e-3
    assert settled("cifar10", "vgg11", optimizer="sgd").lr == 0.05
    assert settled("cifar10", "vgg11", optimizer="sgd", lr=0.5).lr == 0.5


def test_all_models_and_norms_learn(rng, new_folder):
    """One epoch of each model, and of the smaller ones with each norm that they may have."""
    norms = {"resnet20": ["batch", "group", "layer"], "alexnet": [None], "vgg11": ["batch"]}
    for data, model in RECIPES:
        if data not in ("mnist", "cifar10") or model in ("vgg13", "vgg16", "resnet32", "resnet56"):
            continue
        pictures = prototypes(rng, 8, SIZES[data])
        for norm in norms.get(model, ["batch", "group", "layer", None]):
            settings = settled(data, model, epochs=1, batch_size=4, norm=norm)
            training = Training(settings, Parts(pictures, pictures, pictures))
            before = weights_of(training.classifier.model)
            training.fit(new_folder())
            after = weights_of(training.classifier.model)
            assert not any(np.isnan(x).any() for x in after.values()), (model, norm)
            assert any((after[key] != before[key]).any() for key in before)
            kinds = {type(layer).__name__[:9] for layer in training.classifier.model.modules()}
            assert ("BatchNorm" in kinds) == (norm == "batch"), (model, norm)


# ---- what is kept ----


def test_a_classifier_is_saved_whole(parts, new_folder):
    training = Training(SETTINGS, parts)
    training.fit(new_folder())
    path = new_folder()
    training.classifier.save(path, epoch=2)
    loaded = Classifier.load(path)
    np.testing.assert_array_equal(loaded.logits(parts.test.data), training.classifier.logits(parts.test.data))
    for name in ("architecture", "size", "brightest", "classes", "settings"):
        assert getattr(loaded, name) == getattr(training.classifier, name)
    assert loaded.score(parts.test) == training.classifier.score(parts.test)
    np.testing.assert_allclose(loaded.probabilities(parts.test.data).sum(1), 1, rtol=1e-5)

    saved = batten.load(path)  # by hand, as it is documented
    model = getattr(models, "mlp")(**saved["architecture"])  # noqa: B009
    model.load_state_dict(saved["model"])
    normalize = transforms.Normalize(saved["mean"], saved["std"])
    with batten.no_grad():
        logits = model.eval()(batten.from_numpy(normalize(parts.test.data)))
    np.testing.assert_array_equal(logits.array, loaded.logits(parts.test.data))
    assert saved["epoch"] == 2


def test_files_that_are_no_classifier(parts, new_folder):
    path = new_folder()
    Training(SETTINGS, parts).classifier.save(path)
    saved = batten.load(path)
    others = [
        [1], {}, {**saved, "settings": {"colour": 1}}, {**saved, "architecture": {"depth": 3}}, {**saved, "mean": 3.0},
        {**saved, "model": {}}, {**saved, "settings": {**saved["settings"], "model": "nn"}},
    ]  # fmt: skip
    for other in others:
        batten.save(other, path)
        with pytest.raises(batten.CheckpointError, match="is not a model of batten train"):
            Classifier.load(path)


@pytest.mark.sweep
def test_the_usual_model_reads_digits(new_folder):
    pytest.importorskip("sklearn")
    parts, _ = read("digits", ".")
    for seed in range(4):
        training = Training(settled("digits", seed=seed), parts)
        training.fit(new_folder())
        assert training.classifier.score(parts.test).accuracy >= 0.985

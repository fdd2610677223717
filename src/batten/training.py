"""The main job: a model learns to tell pictures apart, and what it has learned is kept.

The pictures come in three parts.  The model learns from the first; the second, for
validation, chooses the epoch whose weights are kept; the third, for the test, is looked
at once, with these weights, when everything has been chosen.

A run is a function of its settings: the same seed gives the same bits, on any number of
threads.  What depends on the machine, such as how long it took, is kept apart.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import _kernels as kernels
from . import models
from .autograd import no_grad
from .creation import from_numpy
from .datasets import CIFAR10, MNIST, ImageDataset, digits
from .nn import CrossEntropyLoss, Module
from .optim import Adam
from .random import manual_seed, randperm
from .serialization import save, write
from .tensor import Tensor

__all__ = ["RECIPES", "Parts", "Settings", "Training", "arguments_of", "read", "recipe"]

EVALUATED = 250  # pictures at a time where nothing is learned
SIZES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}  # channels, height and width


@dataclass(frozen=True)
class Settings:
    """All that the result of a run depends on."""

    data: str
    model: str = "mlp"
    hidden: tuple[int, ...] = ()  # the sizes of an mlp's hidden layers
    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-5
    dropout: float = 0.0  # where the model has any
    seed: int = 0

    def __str__(self) -> str:
        return (
            (f"layers {'-'.join(map(str, self.hidden))}, " if self.hidden else "")
            + f"epochs {self.epochs}, batch size {self.batch_size}, lr {self.lr:g}, "
            + f"weight decay {self.weight_decay:g}"
            + (f", dropout {self.dropout:g}" if "dropout" in arguments_of(self.model) else "")
        )


def arguments_of(model: str) -> Sequence[str]:
    """The names of what the function that makes a model takes."""
    return list(inspect.signature(getattr(models, model)).parameters)


# What suits each data set and model, unless the command line says otherwise.  A data set's first model is its usual
# one; the models that are not here do not fit its pictures.
RECIPES = {
    (recipe.data, recipe.model): recipe
    for recipe in [
        Settings("digits", "convnet", epochs=40, batch_size=32, weight_decay=1e-3, dropout=0.5),
        Settings("digits", "mlp", hidden=(256, 256), epochs=40, batch_size=32, weight_decay=1e-3, dropout=0.2),
        Settings("mnist", "mlp", hidden=(512, 512), epochs=12, dropout=0.4),
        Settings("mnist", "convnet", epochs=6, dropout=0.5),
        Settings("mnist", "lenet5", epochs=8, batch_size=64),
        Settings("cifar10", "mlp", hidden=(512, 512), dropout=0.3),
        Settings("cifar10", "convnet", epochs=20, dropout=0.3),
        Settings("cifar10", "alexnet", epochs=15, lr=3e-4, dropout=0.5),
        *[
            Settings("cifar10", model, epochs=15, lr=5e-4, weight_decay=1e-4, dropout=0.5)
            for model in ("vgg11", "vgg13", "vgg16")
        ],
        *[Settings("cifar10", f"resnet{depth}", epochs=30, weight_decay=1e-4) for depth in (20, 32, 56)],
    ]
}


def recipe(data: str, model: str | None = None) -> Settings:
    """What suits a data set and a model, or the data set's usual one.  ValueError if its pictures do not fit."""
    fitting = [name for pictures, name in RECIPES if pictures == data]
    if model is not None and model not in fitting:
        size, names = list(SIZES[data]), ", ".join(fitting)
        raise ValueError(f"{model} does not fit the pictures of {data}, which are {size}; choose from {names}")
    return RECIPES[data, model or fitting[0]]


# ---- data ----


class Parts(NamedTuple):
    """A data set in the parts to learn from, to choose by, and to test with."""

    train: ImageDataset
    validation: ImageDataset
    test: ImageDataset


def read(name: str, root: str | os.PathLike[str]) -> tuple[Parts, bool]:
    """A data set in three parts; and whether its test part had to be held out, as there are no files of it.

    A sixth is held out for the test (10,000 of MNIST's 60,000), and a tenth of what is left to learn from for
    validation.  These are the same pictures for every seed.
    """
    test: ImageDataset | None = None
    if name == "digits":
        train = digits()
    else:
        files = {"mnist": MNIST, "cifar10": CIFAR10}[name]
        train = files(root)
        with contextlib.suppress(FileNotFoundError):
            test = files(root, train=False)
    if held_out := test is None:
        train, test = train.split(len(train) // 6)
    train, validation = train.split(len(train) // 10)
    parts = Parts(train, validation, test)
    if not all(map(len, parts)):
        sizes = ", ".join(f"{len(part)} for {name}" for name, part in parts._asdict().items())
        raise ValueError(f"there are too few pictures in {root} to make three parts: {sizes}")
    return parts, held_out


class Standardization(NamedTuple):
    """x = (picture - mean) / std, with the mean and standard deviation of each channel."""

    mean: np.ndarray  # (channels, 1, 1)
    std: np.ndarray

    def __call__(self, pictures: np.ndarray) -> Tensor:
        return from_numpy((pictures - self.mean) / self.std)


def standardization(pictures: np.ndarray) -> Standardization:
    """The statistics of pictures (N, channels, height, width) of bytes, from the exact counts of their values."""
    counts = np.array([np.bincount(pictures[:, c].ravel(), minlength=256) for c in range(pictures.shape[1])])
    values, total = np.arange(256), counts.sum(1)
    mean = counts @ values / total
    std = np.sqrt(counts @ values**2 / total - mean**2)
    std[std == 0] = 1  # a channel of one colour
    return Standardization(*(x.astype(np.float32).reshape(-1, 1, 1) for x in (mean, std)))


# ---- learning ----


class Score(NamedTuple):
    loss: float
    accuracy: float


class Training:
    """A model that learns, the history of its epochs, and a copy of the best of them."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        manual_seed(settings.seed)
        self.settings, self.parts = settings, parts
        self.standardize = standardization(parts.train.data)
        self.architecture = self.arguments()
        self.model: Module = getattr(models, settings.model)(**self.architecture)
        self.optimizer = Adam(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self.criterion = CrossEntropyLoss()
        self.epochs: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.best: dict[str, Any] = {}

    def arguments(self) -> dict[str, Any]:
        """What the model is made with: those of its arguments that are known here."""
        settings, train = self.settings, self.parts.train
        known = {
            "in_features": math.prod(train.data.shape[1:]),
            "in_channels": train.data.shape[1],
            "hidden": settings.hidden,
            "num_classes": len(train.classes),
            "dropout": settings.dropout,
        }
        return {name: known[name] for name in arguments_of(settings.model) if name in known}

    def batches(self) -> Iterator[np.ndarray]:
        """The indices of all pictures to learn from, in random order; what fills no batch waits for another epoch."""
        count, size = len(self.parts.train), self.settings.batch_size
        order = randperm(count).array
        for start in range(0, max(count - size, 0) + 1, size):
            yield order[start : start + size]

    def epoch(self, stopped: Callable[[], bool], progress: Callable[[int, Score], object]) -> dict[str, Any]:
        """Learns from every picture once, or until it is stopped; validates, and keeps the weights if they are best.

        `progress` is told after each batch how many pictures it had, and the mean score so far.
        """
        number = len(self.epochs) + 1
        start, loss, correct, images = time.perf_counter(), 0.0, 0, 0
        self.model.train()
        for index in self.batches():
            pictures, targets = self.parts.train[index]
            logits = self.model(self.standardize(pictures))
            batch_loss = self.criterion(logits, from_numpy(targets))
            self.optimizer.zero_grad()
            batch_loss.backward()
            self.optimizer.step()
            loss += self.finite(batch_loss.item(), number) * len(index)
            correct += hits(logits, targets)
            images += len(index)
            progress(len(index), Score(loss / images, correct / images))
            if stopped():
                break
        self.seconds.append(time.perf_counter() - start)
        validation = self.evaluate(self.parts.validation)
        self.finite(validation.loss, number)
        record = {
            "epoch": number,
            "images": images,
            "train": Score(loss / images, correct / images)._asdict(),
            "validation": validation._asdict(),
        }
        self.epochs.append(record)
        if not self.best or merit(record) > merit(self.best):
            self.best = {
                **record,
                "model": deepcopy(self.model.state_dict()),
                "optimizer": deepcopy(self.optimizer.state_dict()),
            }
        return record

    def finite(self, loss: float, epoch: int) -> float:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} in epoch {epoch}, at a learning rate of {self.settings.lr:g}"
            )
        return loss

    @no_grad()
    def evaluate(self, dataset: ImageDataset) -> Score:
        """The mean loss, and the share of pictures told right."""
        self.model.eval()
        loss, correct = 0.0, 0
        for start in range(0, len(dataset), EVALUATED):
            pictures, targets = dataset[start : start + EVALUATED]
            logits = self.model(self.standardize(pictures))
            loss += self.criterion(logits, from_numpy(targets)).item() * len(targets)
            correct += hits(logits, targets)
        return Score(loss / len(dataset), correct / len(dataset))

    def test(self) -> Score:
        """Goes back to the best weights, and shows them the test part."""
        self.model.load_state_dict(self.best["model"])
        return self.evaluate(self.parts.test)

    # What is written into the run's folder

    def checkpoint(self) -> dict[str, Any]:
        """The best epoch, with all that it takes to use the model again or to go on from there.

        model = getattr(batten.models, checkpoint["settings"]["model"])(**checkpoint["architecture"])
        model.load_state_dict(checkpoint["model"])
        logits = model.eval()((pictures - checkpoint["mean"]) / checkpoint["std"])
        """
        return {
            "model": self.best["model"],
            "optimizer": self.best["optimizer"],
            "epoch": self.best["epoch"],
            "architecture": self.architecture,
            "mean": from_numpy(self.standardize.mean),
            "std": from_numpy(self.standardize.std),
            "classes": self.parts.train.classes,
            "settings": asdict(self.settings),
        }

    def history(self, test: Score) -> dict[str, Any]:
        """How it went.  All but "machine" is the same wherever, and on however many threads, it runs again."""
        return {
            "settings": asdict(self.settings),
            "images": {name: len(part) for name, part in self.parts._asdict().items()},
            "epochs": self.epochs,
            "best_epoch": self.best["epoch"],
            "test": test._asdict(),
            "machine": {
                "instruction_set": kernels.isa(),
                "threads": kernels.get_num_threads(),
                "seconds": self.seconds,
                "images_per_second": [
                    epoch["images"] / seconds for epoch, seconds in zip(self.epochs, self.seconds, strict=True)
                ],
            },
        }

    def save(self, folder: Path, test: Score) -> list[str]:
        """Writes checkpoint, history and curves, and returns the names of the files."""
        save(self.checkpoint(), folder / "checkpoint.safetensors")
        write(folder / "history.json", json.dumps(self.history(test), indent=1, allow_nan=False).encode())
        names = ["checkpoint.safetensors", "history.json"]
        if picture := curves(self.epochs, self.best["epoch"]):
            write(folder / "curves.png", picture)
            names.append("curves.png")
        return names


def hits(logits: Tensor, targets: np.ndarray) -> int:
    return int((logits.array.argmax(1) == targets).sum())


def merit(record: dict[str, Any]) -> tuple[float, float]:
    """What makes an epoch better than another: accuracy, and the loss where that is the same."""
    return record["validation"]["accuracy"], -record["validation"]["loss"]


def curves(epochs: list[dict[str, Any]], best: int) -> bytes | None:
    """Loss and accuracy over the epochs, as a PNG file; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return None
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    numbers = [record["epoch"] for record in epochs]
    for axes, what in zip(figure.subplots(1, 2), Score._fields, strict=True):
        for part in ("train", "validation"):
            axes.plot(numbers, [record[part][what] for record in epochs], marker=".", label=part)
        axes.axvline(best, color="grey", linestyle=":", label="kept")
        axes.set(xlabel="epoch", ylabel=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()

"""What a run depends on, and what suits each data set and model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import models
from .pictures import SIZES
from .pieces import OPTIMIZERS, SCHEDULES

__all__ = ["RECIPES", "Settings", "arguments_of", "settled"]


@dataclass(frozen=True)
class Settings:
    """All that the result of a run depends on."""

    data: str
    model: str = "mlp"
    hidden: tuple[int, ...] = ()  # the sizes of an mlp's hidden layers
    norm: str | None = "batch"  # where the model has any
    dropout: float = 0.0
    augment: tuple[str, ...] = ()
    epochs: int = 20
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-5
    scheduler: str | None = None
    penalties: tuple[str, ...] = ()  # such as l1=1e-05
    max_norm: float | None = None  # of the weights that go into a unit or a filter
    early_stopping: int | None = None  # after so many epochs that were no better
    reuse_validation: str | None = None  # "retrain" or "continue"
    seed: int = 0

    def __str__(self) -> str:
        taken = arguments_of(self.model)
        told = {
            "layers": "-".join(map(str, self.hidden)),
            "norm": self.norm if "norm" in taken else None,
            "dropout": self.dropout if "dropout" in taken else None,
            "augment": ",".join(self.augment),
            "epochs": self.epochs,
            "batch size": self.batch_size,
            self.optimizer: f"lr {self.lr:g}",
            "weight decay": self.weight_decay,
            "scheduler": self.scheduler,
            "penalty": ",".join(self.penalties),
            "max norm": self.max_norm,
            "early stopping": self.early_stopping,
            "reuse validation": self.reuse_validation,
        }
        shown = {name: f"{x:g}" if isinstance(x, float) else x for name, x in told.items() if x not in (None, "")}
        return ", ".join(f"{name} {value}" for name, value in shown.items())


def arguments_of(model: str) -> Sequence[str]:
    """The names of what the function that makes a model takes."""
    return list(inspect.signature(getattr(models, model)).parameters)


GREY = ("mnist", "fashion-mnist", "kmnist")
COLOUR = ("cifar10", "cifar100")

# With normalization, dropout and small shifts: 99.4 % of the digits that it has not seen, after a minute.
LENET = Settings(
    "mnist", "lenet5", dropout=0.5, augment=("crop",), epochs=12, lr=0.01, weight_decay=0.0, scheduler="onecycle"
)

# What suits each data set and model, unless the command line says otherwise.  A data set's first model is its usual
# one; the models that are not here do not fit its pictures.
RECIPES = {
    (recipe.data, recipe.model): recipe
    for recipe in [
        Settings("digits", "convnet", epochs=40, batch_size=32, weight_decay=1e-3, dropout=0.5),
        Settings("digits", "mlp", hidden=(256, 256), epochs=40, batch_size=32, weight_decay=1e-3, dropout=0.2),
        *[Settings(data, "mlp", hidden=(512, 512), epochs=12, dropout=0.4) for data in GREY],
        *[Settings(data, "convnet", epochs=6, dropout=0.5) for data in GREY],
        *[replace(LENET, data=data) for data in GREY],
        *[Settings(data, "mlp", hidden=(512, 512), dropout=0.3, augment=("crop", "flip")) for data in COLOUR],
        *[
            replace(recipe, data=data, augment=("crop", "flip"), scheduler="cosine")
            for data in COLOUR
            for recipe in [
                Settings(data, "convnet", epochs=20, dropout=0.3),
                Settings(data, "alexnet", norm=None, epochs=15, lr=3e-4, dropout=0.5),
                *[
                    Settings(data, model, epochs=15, lr=5e-4, weight_decay=1e-4, dropout=0.5)
                    for model in ("vgg11", "vgg13", "vgg16")
                ],
                *[Settings(data, f"resnet{depth}", epochs=30, weight_decay=1e-4) for depth in (20, 32, 56)],
            ]
        ],
    ]
}


def settled(data: str, model: str | None = None, **changes: Any) -> Settings:
    """What suits a data set and a model, but for changes.

    With another optimizer comes the learning rate that suits that.  ValueError if something does not go together.
    """
    fitting = [name for pictures, name in RECIPES if pictures == data]
    if model is not None and model not in fitting:
        size, names = list(SIZES[data]), ", ".join(fitting)
        raise ValueError(f"{model} does not fit the pictures of {data}, which are {size}; choose from {names}")
    recipe = RECIPES[data, model or fitting[0]]
    if changes.get("optimizer", recipe.optimizer) != recipe.optimizer:
        changes = {"lr": OPTIMIZERS[changes["optimizer"]].lr, **changes}
    settings = replace(recipe, **changes)
    for name in ("norm", "dropout"):
        if name in changes and name not in arguments_of(settings.model):
            raise ValueError(f"{settings.model} has no {name}; leave out --{name}")
    if "pca" in settings.augment and SIZES[data][0] != 3:
        raise ValueError(f"pca changes colours, and the pictures of {data} are grey; leave it out of --augment")
    if settings.reuse_validation == "continue" and settings.scheduler and SCHEDULES[settings.scheduler].laid_out:
        raise ValueError(
            f"--reuse-validation continue goes on for nobody knows how many epochs, and the schedule "
            f"{settings.scheduler} is laid out for {settings.epochs}; choose --reuse-validation retrain, or "
            "--scheduler none or plateau"
        )
    return settings

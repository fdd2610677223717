"""The pieces of a run, made as its settings say, and `fit`, which puts them together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import models
from ..callbacks import Callback, Checkpoint, EarlyStopping
from ..data import ConcatDataset, DataLoader
from ..datasets import ImageDataset
from ..fit import fit
from ..history import History
from ..metrics import accuracy
from ..nn import CrossEntropyLoss
from ..random import manual_seed
from ..regularization import MaxNorm
from ..transforms import Compose, Transform
from .classifier import EVALUATED, Classifier
from .pictures import Parts
from .pieces import AUGMENTATIONS, OPTIMIZERS, PENALTIES, SCHEDULES, normalization
from .settings import Settings, arguments_of

__all__ = ["Training", "lengthened"]


class Training:
    """A classifier that is yet to learn, and all that it takes for that."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        manual_seed(settings.seed)
        self.settings, self.parts = settings, parts
        train = parts.train
        normalize = normalization(train)
        augment = Compose([*[AUGMENTATIONS[name](train) for name in settings.augment], normalize])
        learned = [shown(part, augment) for part in (train, parts.validation)]
        self.train = self.loader(learned[0])
        self.all_data = self.loader(ConcatDataset(learned))  # when the validation part is learned from, too
        self.validation: DataLoader[Any] = DataLoader(shown(parts.validation, normalize), EVALUATED)

        architecture = self.architecture()
        model = getattr(models, settings.model)(**architecture)
        self.classifier = Classifier(
            model, architecture, normalize, train.data.shape[1:], train.brightest, train.classes, settings
        )
        make = OPTIMIZERS[settings.optimizer].make
        self.optimizer = make(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * len(self.all_data if settings.reuse_validation else self.train)
        schedule = SCHEDULES[settings.scheduler] if settings.scheduler else None
        self.scheduler = schedule.make(self.optimizer, settings.epochs, steps) if schedule else None

    def architecture(self) -> dict[str, Any]:
        """What the model is made with: those of its arguments that are known here."""
        settings, train = self.settings, self.parts.train
        known = {
            "in_features": math.prod(train.data.shape[1:]),
            "in_channels": train.data.shape[1],
            "hidden": settings.hidden,
            "num_classes": len(train.classes),
            "dropout": settings.dropout,
            "norm": settings.norm,
        }
        return {name: known[name] for name in arguments_of(settings.model) if name in known}

    def loader(self, pictures: Any) -> DataLoader[Any]:
        """All pictures in random order; what fills no batch waits for another epoch."""
        size = min(self.settings.batch_size, len(pictures))
        return DataLoader(pictures, size, shuffle=True, drop_last=True)

    def fit(
        self, checkpoints: Path, callbacks: Sequence[Callback] = (), resume: dict[str, Any] | None = None
    ) -> History:
        """Learns, from the beginning or from where a checkpoint was made; the model then has the weights to keep."""
        settings = self.settings
        stopping = EarlyStopping(patience=settings.early_stopping or settings.epochs)
        return fit(
            self.classifier.model,
            self.train,
            self.validation,
            loss=CrossEntropyLoss(),
            optimizer=self.optimizer,
            epochs=settings.epochs,
            callbacks=[stopping, *callbacks, Checkpoint(checkpoints)],
            penalties=[PENALTIES[name](float(value)) for name, value in map(pair, settings.penalties)],
            constraints=None if settings.max_norm is None else MaxNorm(settings.max_norm),
            scheduler=self.scheduler,
            metrics={"accuracy": accuracy},
            progress=False,
            reuse_validation=settings.reuse_validation,  # type: ignore[arg-type]
            all_data=self.all_data,
            resume=resume,
        )


def shown(pictures: ImageDataset, transform: Transform) -> ImageDataset:
    """The same pictures, as a transform shows them."""
    pictures = copy(pictures)
    pictures.transform = transform
    return pictures


def pair(penalty: str) -> list[str]:
    return penalty.split("=")


def lengthened(settings: Settings, epochs: int, state: dict[str, Any] | None) -> Settings:
    """The settings of a run that is to have more epochs; `state` is what its last checkpoint holds, if it has one.

    ValueError if a run of that length would not have begun as this one has.
    """
    if epochs < settings.epochs:
        raise ValueError(f"--epochs makes a run longer, and this one has {settings.epochs}, got {epochs}")
    if epochs > settings.epochs:
        if settings.scheduler and SCHEDULES[settings.scheduler].laid_out:
            raise ValueError(f"the schedule {settings.scheduler} is laid out for {settings.epochs} epochs, not more")
        if state is not None and state["phase"] != "train":
            raise ValueError("the validation data is being learned from already, which more --epochs do not change")
        if state is not None and state["stopped"]:
            raise ValueError(f"the run has ended by {state['stopped']}, which more --epochs do not change")
    return replace(settings, epochs=epochs)

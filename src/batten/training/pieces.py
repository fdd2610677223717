"""What the names in settings stand for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import optim, regularization, transforms
from ..datasets import ImageDataset
from ..optim import Optimizer, lr_scheduler
from ..optim.lr_scheduler import LRScheduler
from ..transforms import Transform

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "PENALTIES", "SCHEDULES"]


class Usual(NamedTuple):
    """An optimizer, and the learning rate that suits it where nothing else is known."""

    make: Callable[..., Optimizer]
    lr: float


OPTIMIZERS = {
    "sgd": Usual(partial(optim.SGD, momentum=0.9), 0.05),
    "nesterov": Usual(partial(optim.SGD, momentum=0.9, nesterov=True), 0.05),
    "adam": Usual(optim.Adam, 1e-3),
    "adamw": Usual(optim.AdamW, 1e-3),
    "nadam": Usual(optim.NAdam, 1e-3),
    "radam": Usual(optim.RAdam, 1e-3),
    "adamax": Usual(optim.Adamax, 2e-3),
    "adagrad": Usual(optim.Adagrad, 1e-2),
    "adadelta": Usual(optim.Adadelta, 1.0),
    "rmsprop": Usual(optim.RMSprop, 1e-3),
}


class Schedule(NamedTuple):
    """A schedule, made for (optimizer, epochs, steps), and whether these numbers decide how it goes from the start."""

    make: Callable[[Optimizer, int, int], LRScheduler]
    laid_out: bool = True


def one_cycle(optimizer: Optimizer, epochs: int, steps: int) -> LRScheduler:
    (group,) = optimizer.param_groups
    momentum = bool(group.get("betas") or group.get("momentum"))
    return lr_scheduler.OneCycleLR(optimizer, group["lr"], total_steps=steps, cycle_momentum=momentum)


SCHEDULES = {
    "step": Schedule(lambda optimizer, epochs, _: lr_scheduler.StepLR(optimizer, -(-epochs // 3))),  # three levels
    "exponential": Schedule(lambda optimizer, epochs, _: lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1 / epochs))),
    "cosine": Schedule(lambda optimizer, epochs, _: lr_scheduler.CosineAnnealingLR(optimizer, epochs)),
    "onecycle": Schedule(one_cycle),
    "plateau": Schedule(lambda optimizer, *_: lr_scheduler.ReduceLROnPlateau(optimizer, patience=2), laid_out=False),
}

PENALTIES: dict[str, Callable[[float], Any]] = {
    "l1": regularization.L1,
    "l2": regularization.L2,
    "group-lasso": regularization.GroupLasso,
    "orthogonal": regularization.OrthogonalPenalty,
}


# ---- what is done to pictures ----


def crop(pictures: ImageDataset) -> Transform:
    size = pictures.data.shape[2:]
    return transforms.RandomCrop(size, padding=max(1, min(size) // 8))


def jitter(pictures: ImageDataset) -> Transform:
    return transforms.ColorJitter(0.2, 0.2, 0.2 if pictures.data.shape[1] == 3 else 0)


def noise(pictures: ImageDataset) -> Transform:
    return transforms.GaussianNoise(sigma=0.1 * pictures.brightest / 255)


AUGMENTATIONS: dict[str, Callable[[ImageDataset], Transform]] = {  # made for the pictures to learn from
    "crop": crop,
    "flip": lambda _: transforms.RandomHorizontalFlip(),
    "rotate": lambda _: transforms.RandomRotation(10, "bilinear"),
    "pca": lambda pictures: transforms.PCAColor(0.1).fit(pictures.data),
    "jitter": jitter,
    "noise": noise,
    "erase": lambda _: transforms.RandomErasing(),
}


def normalization(pictures: ImageDataset) -> transforms.Normalize:
    """What gives each channel the mean 0 and the variance 1, from exact counts of the values that pictures have."""
    channels = pictures.data.transpose(1, 0, 2, 3)
    counts = np.array([np.bincount(channel.ravel(), minlength=256) for channel in channels])
    values, total = np.arange(256), counts.sum(1)
    mean = counts @ values / total
    std = np.sqrt(counts @ values**2 / total - mean**2)
    std[std == 0] = 255  # a channel of one colour
    return transforms.Normalize(mean / 255, std / 255)

"""The pictures to learn from, to choose by and to test with."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ..datasets import CIFAR10, CIFAR100, KMNIST, MNIST, FashionMNIST, ImageDataset, digits

__all__ = ["DATASETS", "SIZES", "Parts", "read"]

DATASETS = {  # those that come in files
    "mnist": MNIST,
    "fashion-mnist": FashionMNIST,
    "kmnist": KMNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
}
SIZES = {  # channels, height and width
    "digits": (1, 8, 8),
    **dict.fromkeys(("mnist", "fashion-mnist", "kmnist"), (1, 28, 28)),
    **dict.fromkeys(("cifar10", "cifar100"), (3, 32, 32)),
}


class Parts(NamedTuple):
    """A data set in the parts to learn from, to choose by, and to test with."""

    train: ImageDataset
    validation: ImageDataset
    test: ImageDataset

    def sizes(self) -> dict[str, int]:
        """How many pictures there are in each part."""
        return {name: len(part) for name, part in self._asdict().items()}


def read(name: str, root: str | os.PathLike[str], download: bool = False) -> tuple[Parts, bool]:
    """A data set in three parts; and whether its test part had to be held out, as there are no files of it.

    A sixth is held out for the test (10,000 of MNIST's 60,000), and a tenth of what is left to learn from for
    validation.  These are the same pictures for every seed.
    """
    test: ImageDataset | None = None
    if name == "digits":
        train = digits()
    else:
        train = DATASETS[name](root, download=download)
        with contextlib.suppress(FileNotFoundError):
            test = DATASETS[name](root, train=False)
    if held_out := test is None:
        train, test = train.split(len(train) // 6)
    train, validation = train.split(len(train) // 10)
    parts = Parts(train, validation, test)
    if not all(map(len, parts)):
        sizes = ", ".join(f"{size} for {name}" for name, size in parts.sizes().items())
        raise ValueError(f"there are too few pictures in {root} to make three parts: {sizes}")
    return parts, held_out

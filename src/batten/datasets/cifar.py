"""CIFAR-10 and CIFAR-100: 32 × 32 colour pixels, from the binary version of the batches.

The version for Python is not read: its batches are pickles, and to unpickle a file is to run what it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.layout import channels_first, channels_last
from .download import fetch_members
from .files import check_labels, find, look, read_cifar
from .images import ImageDataset

__all__ = ["CIFAR10", "CIFAR100"]

COARSE = """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
    household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
    large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
    vehicles_1 vehicles_2
"""
FINE = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


class CIFAR10(ImageDataset):
    """50,000 small colour pictures of 10 kinds of things to train with, or 10,000 to test with.

    The binary batches (data_batch_1.bin … data_batch_5.bin, test_batch.bin, plain or .gz) lie in `root` or in its
    `cifar-10-batches-bin`.  Training takes those batches that are there.  With `download`, those that are missing are
    fetched into the latter.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    folders: Sequence[str] = ("", "cifar-10-batches-bin")
    pickled = "cifar-10-batches-py"
    files: Mapping[bool, Sequence[str]] = {  # to train with, and not
        True: [f"data_batch_{i}.bin" for i in range(1, 6)],
        False: ["test_batch.bin"],
    }
    most = 10_000  # pictures in a file
    kinds: Sequence[Sequence[str]] = (  # for each label that a picture has, the last of which is its target
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    archive, md5 = "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
    mirrors: Sequence[str] = (
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        data, labels = self.read(root, train, download)
        super().__init__(data, labels[:, -1], self.kinds[-1], transform=transform, target_transform=target_transform)

    def read(self, root: str | os.PathLike[str], train: bool, download: bool) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of all files that are there, and of each picture its labels."""
        if download:
            self.download(root)
        paths = [path for name in self.files[train] if (path := look(root, self.folders, name))]
        batches = [self.batch(path) for path in paths or [self.first(root, train)]]
        pictures, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return channels_first(pictures), labels

    def batch(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of one file, with their channels last, and their labels."""
        pictures, labels = read_cifar(path, self.most, len(self.kinds))
        for column, classes in zip(labels.T, self.kinds, strict=True):
            check_labels(path, column, classes)
        return channels_last(pictures), labels

    def first(self, root: str | os.PathLike[str], train: bool) -> Path:
        """Where there are no files, the error says what there is instead."""
        try:
            return find(root, self.folders, self.files[train][0])
        except FileNotFoundError as error:
            if not (pickles := Path(root, self.pickled)).is_dir():
                raise
            raise FileNotFoundError(
                f"{error}; {pickles} has pickles, which could run anything and are not read: "
                f"the binary version is {self.mirrors[0]}{self.archive}"
            ) from None

    def download(self, root: str | os.PathLike[str]) -> None:
        """Fetches the files, for training and test, that are not there."""
        names = [name for names in self.files.values() for name in names if not look(root, self.folders, name)]
        if names:
            fetch_members(self.archive, self.md5, self.mirrors, Path(root, self.folders[-1]), names)


class CIFAR100(CIFAR10):
    """50,000 small colour pictures of 100 kinds of things to train with, or 10,000 to test with.

    The 100 `classes` come in 20 groups of five: `coarse_targets` (N,) counts `coarse_classes`.

    The binary batches (train.bin, test.bin, plain or .gz) lie in `root` or in its `cifar-100-binary`.  With `download`,
    those that are missing are fetched into the latter.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    folders = ("", "cifar-100-binary")
    pickled = "cifar-100-python"
    files: Mapping[bool, Sequence[str]] = {True: ["train.bin"], False: ["test.bin"]}
    most = 50_000
    kinds = (COARSE.split(), FINE.split())
    archive, md5 = "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"
    mirrors = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")

    def read(self, root: str | os.PathLike[str], train: bool, download: bool) -> tuple[np.ndarray, np.ndarray]:
        """What there is of CIFAR-10's kind; of the labels, the coarse ones are kept here."""
        data, labels = super().read(root, train, download)
        self.coarse_targets, self.coarse_classes = labels[:, 0].astype(np.int64), list(self.kinds[0])
        return data, labels

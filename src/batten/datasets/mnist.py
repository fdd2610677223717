"""MNIST, and what was made to take its place: 28 × 28 grey pixels, ten classes, in IDX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .download import fetch
from .files import check_labels, find, look, read_idx
from .images import ImageDataset

__all__ = ["KMNIST", "MNIST", "FashionMNIST"]

PICTURES = range(1, 60_001)  # as many as the largest file has


class MNIST(ImageDataset):
    """60,000 handwritten digits of 28 × 28 pixels to train with, or 10,000 to test with.

    The IDX files (train-images-idx3-ubyte and its like, plain or .gz) lie in `root`, in its `mnist` or in its
    `MNIST/raw`.  With `download`, those that are missing are fetched into the last of these.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    folders: Sequence[str] = ("", "mnist", "MNIST/raw")
    kinds: Sequence[str] = "0123456789"
    mirrors: Sequence[str] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    resources: Sequence[tuple[str, str]] = (  # what is gzipped there, and the MD5 sums of that
        ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c"),
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        if download:
            self.download(root)
        part = "train" if train else "t10k"
        images = find(root, self.folders, f"{part}-images-idx3-ubyte")
        labels = find(root, self.folders, f"{part}-labels-idx1-ubyte")
        targets = read_idx(labels, [PICTURES])
        check_labels(labels, targets, self.kinds)
        data = read_idx(images, [[len(targets)], [28], [28]])
        super().__init__(data[:, None], targets, self.kinds, transform=transform, target_transform=target_transform)

    def download(self, root: str | os.PathLike[str]) -> None:
        """Fetches the files, for training and test, that are not there."""
        for name, md5 in self.resources:
            if not look(root, self.folders, name):
                fetch(f"{name}.gz", md5, self.mirrors, Path(root, self.folders[-1]))


class FashionMNIST(MNIST):
    """Articles of clothing from Zalando's shop, as many and as large as MNIST's digits.

    The files have the names of MNIST's, so that they are not looked for in `root` itself but in its
    `fashion-mnist` and its `FashionMNIST/raw`.

    Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", 2017.
    """

    folders = ("fashion-mnist", "FashionMNIST/raw")
    kinds = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    mirrors = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    )
    resources = (
        ("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
    )


class KMNIST(MNIST):
    """Kuzushiji: ten characters of cursive Japanese, as many and as large as MNIST's digits.

    The files have the names of MNIST's, so that they are not looked for in `root` itself but in its
    `kmnist` and its `KMNIST/raw`.

    Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto, Ha, "Deep learning for classical Japanese literature", 2018.
    """

    folders = ("kmnist", "KMNIST/raw")
    kinds = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mirrors = (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/KMNIST/",
    )
    resources = (
        ("train-images-idx3-ubyte", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte", "7320c461ea6c1c855c0b718fb2a4b134"),
    )

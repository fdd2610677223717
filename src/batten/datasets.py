"""Pictures with labels, read from files that are already there.

>>> from batten.datasets import digits
>>> data = digits()                                             # doctest: +SKIP
>>> data.data.shape, data.targets[:3]                           # doctest: +SKIP
((1797, 1, 8, 8), array([0, 1, 2]))
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .random import Generator, randperm

__all__ = ["CIFAR10", "MNIST", "ImageDataset", "digits"]

DEFLATE = 1032  # no deflated byte stands for more bytes than this


class ImageDataset:
    """Pictures `data` (N, channels, height, width) as bytes 0 … `brightest`, and labels `targets` (N,).

    `dataset[i]` is the pair (picture, label); i may also be a slice or an array of indices.

    >>> dataset = ImageDataset(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 0]), ["cat", "dog"])
    >>> len(dataset), dataset.classes[dataset[1][1]]
    (3, 'dog')
    """

    def __init__(self, data: np.ndarray, targets: np.ndarray, classes: Sequence[str], brightest: int = 255) -> None:
        self.data = data
        self.targets = targets
        self.classes = list(classes)
        self.brightest = brightest

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, Any]:
        return self.data[index], self.targets[index]

    def split(self, count: int) -> tuple[ImageDataset, ImageDataset]:
        """Two data sets: `count` pictures, which are drawn at random but always the same, and the rest before them.

        >>> dataset = ImageDataset(np.zeros((10, 1, 2, 2), np.uint8), np.arange(10), "0123456789")
        >>> rest, held_out = dataset.split(3)
        >>> len(rest), len(held_out), sorted([*rest.targets, *held_out.targets]) == list(range(10))
        (7, 3, True)
        """
        if not 0 <= count <= len(self):
            raise ValueError(f"split expects a count from 0 to {len(self)}, got {count}")
        order = randperm(len(self), generator=Generator().manual_seed(0)).array
        rest, drawn = np.sort(order[count:]), np.sort(order[:count])
        return (
            ImageDataset(*self[rest], self.classes, self.brightest),
            ImageDataset(*self[drawn], self.classes, self.brightest),
        )


def digits() -> ImageDataset:
    """The 1,797 handwritten digits, of 8 × 8 pixels, that come with scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        message = "the digits come with scikit-learn, which is not installed: pip install 'batten[labs]'"
        raise ModuleNotFoundError(message) from None
    images, targets = load_digits(return_X_y=True)
    data = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    return ImageDataset(data, targets.astype(np.int64), "0123456789", brightest=16)


class MNIST(ImageDataset):
    """60,000 handwritten digits of 28 × 28 pixels to train with, or 10,000 to test with.

    The IDX files (train-images-idx3-ubyte and its like, plain or .gz) lie in `root`, in its
    `mnist` or in its `MNIST/raw`.
    """

    folders = ("", "mnist", "MNIST/raw")

    def __init__(self, root: str | os.PathLike[str], train: bool = True) -> None:
        part = "train" if train else "t10k"
        images = find(root, self.folders, f"{part}-images-idx3-ubyte")
        labels = find(root, self.folders, f"{part}-labels-idx1-ubyte")
        targets = read_idx(labels, (None,))
        check_labels(targets, labels)
        data = read_idx(images, (len(targets), 28, 28))
        super().__init__(data.reshape(-1, 1, 28, 28), targets.astype(np.int64), "0123456789")


class CIFAR10(ImageDataset):
    """50,000 small colour pictures of 10 kinds of things to train with, or 10,000 to test with.

    The binary batches (data_batch_1.bin … data_batch_5.bin, test_batch.bin, plain or .gz) lie
    in `root` or in its `cifar-10-batches-bin`.  Training takes those batches that are there.
    """

    folders = ("", "cifar-10-batches-bin")
    kinds = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(self, root: str | os.PathLike[str], train: bool = True) -> None:
        names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
        paths = [path for name in names if (path := look(root, self.folders, name))]
        records = np.concatenate([read_cifar(path) for path in paths or [find(root, self.folders, names[0])]])
        super().__init__(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64), self.kinds)


# ---- files ----


def look(root: str | os.PathLike[str], folders: Sequence[str], name: str) -> Path | None:
    """The file of this name, plain or gzipped, in the first folder that has it."""
    candidates = [Path(root, folder, name + suffix) for folder in folders for suffix in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def find(root: str | os.PathLike[str], folders: Sequence[str], name: str) -> Path:
    if path := look(root, folders, name):
        return path
    places = " or ".join(str(Path(root, folder)) for folder in folders)
    raise FileNotFoundError(f"found neither {name} nor {name}.gz in {places}")


@contextmanager
def contents(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file, unzipped as it is read, and how many bytes it can hold at most."""
    size = path.stat().st_size
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as unzipped:
                yield unzipped, size * DEFLATE  # type: ignore[misc]
        else:
            with open(path, "rb") as file:
                yield file, size
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: a damaged gzip file ({error})") from None


def read_idx(path: Path, expected: Sequence[int | None]) -> np.ndarray:
    """The bytes of an IDX file, whose shape must be the expected one; None there is any size.

    The file is a magic number (0, 0, type, number of axes) and the sizes, all big-endian,
    and then the elements in C order.
    """
    rank = len(expected)
    with contents(path) as (file, most):
        header = file.read(4 + 4 * rank)
        if len(header) < 4 + 4 * rank or header[:4] != bytes([0, 0, 8, rank]):
            raise ValueError(
                f"{path}: expected an IDX file of bytes with {rank} axes, which begins with 0000080{rank}, "
                f"got {header[:4].hex() or 'an empty file'}"
            )
        shape = struct.unpack_from(f">{rank}I", header, 4)
        if any(want is not None and size != want for size, want in zip(shape, expected, strict=True)):
            raise ValueError(f"{path}: expected the shape {list(expected)}, got {list(shape)}")
        size = math.prod(shape)
        if size > most:
            raise ValueError(f"{path}: its header promises {size:,} bytes, more than the file can hold")
        body = file.read(size + 1)
    if len(body) != size:
        raise ValueError(
            f"{path}: expected {size:,} bytes after the header, got {'more' if len(body) > size else f'{len(body):,}'}"
        )
    return np.frombuffer(body, np.uint8).reshape(shape).copy()


def read_cifar(path: Path) -> np.ndarray:
    """The records of a batch, at most 10,000: a label and 3 × 32 × 32 bytes each."""
    record, batch = 1 + 3 * 32 * 32, 10_000
    with contents(path) as (file, most):
        body = file.read(min(record * batch, most) + 1)
    if not 0 < len(body) <= record * batch or len(body) % record:
        got = "more" if len(body) > record * batch else f"{len(body):,} bytes"
        raise ValueError(f"{path}: expected 1 to {batch:,} records of {record:,} bytes, got {got}")
    records = np.frombuffer(body, np.uint8).reshape(-1, record)
    check_labels(records[:, 0], path)
    return records


def check_labels(labels: np.ndarray, path: Path) -> None:
    if not labels.size:
        raise ValueError(f"{path}: expected labels, got none")
    if labels.max() > 9:
        raise ValueError(f"{path}: expected labels from 0 to 9, got {labels.max()}")

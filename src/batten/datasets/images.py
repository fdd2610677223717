"""Pictures with labels, all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.dataset import places
from ..nn.layout import channels_first, channels_last
from ..random import Generator, randperm

__all__ = ["ImageDataset", "digits"]


class ImageDataset(Dataset[tuple[Any, Any]]):
    """Pictures `data` (N, C, H, W) as bytes 0 … `brightest`, and labels `targets` (N,) that count `classes`.

    `dataset[i]` is the pair (picture, label); i may also be a slice or an array of indices.  The pictures lie in memory
    with their channels last, so that one is a single row of bytes, and a batch is gathered row by row.

    `transform` is applied to what is taken out, and `target_transform` to its label: to one picture, or at once to all
    those of a slice, an array or a batch.

    >>> dataset = ImageDataset(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 0]), ["cat", "dog"])
    >>> len(dataset), dataset.classes[dataset[1][1]]
    (3, 'dog')
    >>> dataset.transform = lambda pictures: pictures + 0.5
    >>> pictures, labels = dataset[:2]
    >>> pictures.shape, pictures.dtype, labels.tolist()
    ((2, 1, 2, 2), dtype('float64'), [0, 1])
    """

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
        brightest: int = 255,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        data, targets = np.asarray(data), np.asarray(targets)
        if data.dtype != np.uint8 or targets.dtype.kind not in "iu":
            raise TypeError(
                f"ImageDataset expects pictures of uint8 and labels of integers, got {data.dtype} and {targets.dtype}"
            )
        if data.ndim != 4 or targets.shape != data.shape[:1]:
            raise ValueError(
                f"ImageDataset expects pictures (N, C, H, W) and N labels, got {list(data.shape)} "
                f"and {list(targets.shape)}"
            )
        self.data = channels_first(channels_last(data))
        self.targets = targets.astype(np.int64, copy=False)
        self.classes = list(classes)
        self.brightest = brightest
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        pictures, labels = self.gather(index)
        if self.transform is not None:
            pictures = self.transform(pictures)
        if self.target_transform is not None:
            labels = self.target_transform(labels)
        return pictures, labels

    def __getitems__(self, indices: Sequence[int]) -> tuple[Any, Any]:
        """A whole batch, as a DataLoader asks for it."""
        return self[places(type(self).__name__, indices, len(self))]

    def gather(self, index: Any) -> tuple[np.ndarray, Any]:
        """Pictures and labels as they are; the channels still lie last."""
        return np.moveaxis(self.data.transpose(0, 2, 3, 1)[index], -1, -3), self.targets[index]

    def split(self, count: int) -> tuple[ImageDataset, ImageDataset]:
        """Two data sets: `count` pictures, which are drawn at random but always the same, and the rest before them.

        Both transform their pictures as this one does; each may be given a `transform` of its own.

        >>> dataset = ImageDataset(np.zeros((10, 1, 2, 2), np.uint8), np.arange(10), "0123456789")
        >>> rest, held_out = dataset.split(3)
        >>> len(rest), len(held_out), sorted([*rest.targets, *held_out.targets]) == list(range(10))
        (7, 3, True)
        """
        if not 0 <= count <= len(self):
            raise ValueError(f"split expects a count from 0 to {len(self)}, got {count}")
        order = randperm(len(self), generator=Generator().manual_seed(0)).array
        return self.part(np.sort(order[count:])), self.part(np.sort(order[:count]))

    def part(self, index: np.ndarray) -> ImageDataset:
        return ImageDataset(*self.gather(index), self.classes, self.brightest, self.transform, self.target_transform)


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

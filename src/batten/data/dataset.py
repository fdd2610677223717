"""Data sets: what has a length, and a sample for each number.

To gather a batch at once takes a small part of what it takes to fetch its samples and to put them together.  A data set
that can do so has `__getitems__(indices)`, a name of PyTorch's, which returns

    a list           samples, which a loader then collates, as in PyTorch;
    anything else    a batch as it is: an array or a tensor whose first axis counts the samples, or a tuple or dict
                     of such batches.

All data sets here do.  A subclass that defines `__getitem__` anew, and `__getitems__` not, means its samples: they are
fetched one by one.
"""

from __future__ import annotations

import itertools
import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..autograd import Variable, wrap
from ..memory import axes_in_memory, empty_with_axes
from ..operations.promotion import as_operand
from ..random import Generator, randperm

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["ConcatDataset", "Dataset", "Subset", "TensorDataset", "random_split"]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """What a data set is: a subclass defines `__getitem__` and `__len__`, and may define `__getitems__`.

    >>> class Squares(Dataset):
    ...     def __getitem__(self, index):
    ...         return index**2
    ...     def __len__(self):
    ...         return 3
    >>> both = Squares() + Squares()
    >>> [both[i] for i in range(len(both))]
    [0, 1, 4, 0, 1, 4]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


def gathers(dataset: Any) -> bool:
    """Has a data set a `__getitems__` that knows of its `__getitem__`, as it is defined beside it or in a subclass?"""
    for kind in type(dataset).__mro__:
        if "__getitems__" in vars(kind):
            return True
        if "__getitem__" in vars(kind):
            return False
    return False


def fetched(dataset: Any, indices: Sequence[int]) -> Any:
    """The samples of these numbers: a list of them, or a batch as it is."""
    if gathers(dataset):
        return dataset.__getitems__(indices)
    return [dataset[index] for index in indices]


def places(what: str, indices: Sequence[int], length: int) -> np.ndarray:
    """Numbers of samples, of which negative ones count back from the end, as numbers from 0 to length - 1."""
    index = np.asarray(indices)
    if index.size and index.dtype.kind not in "iu":
        raise TypeError(f"{what} expects whole numbers as indices, got {index.dtype}")
    index = index.astype(np.intp, copy=False)
    outside = (index < -length) | (index >= length)
    if outside.any():
        raise IndexError(f"{what} has {length} samples, got the index {index[outside][0]}")
    return np.where(index < 0, index + length, index)


def rows(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x[index] for numbers from 0 to len(x) - 1, with each row lying in memory as those of x do."""
    first = axes_in_memory(x[:1])
    axes = range(x.ndim) if first is None else [0, *[axis for axis in first if axis]]
    y = empty_with_axes(axes, (len(index), *x.shape[1:]), x.dtype)
    source, target = x.transpose(axes), y.transpose(axes)
    if source.flags.c_contiguous:
        np.take(source, index, 0, target, "clip")  # "raise" would go through a copy
    else:
        target[...] = source[index]
    return y


class TensorDataset(Dataset[tuple["Tensor", ...]]):
    """Tensors or arrays of one length: sample i is the tuple of their rows i.

    Their memory is shared, not copied.  A batch has each row in the order of memory that it has in its tensor, so
    that images whose channels lie last stay so.  ValueError unless there are tensors, with axes and of one length.

    >>> import batten
    >>> dataset = TensorDataset(batten.arange(6).reshape(3, 2), batten.tensor([7, 8, 9]))
    >>> dataset[1]
    (tensor([2, 3]), tensor(8))
    """

    def __init__(self, *tensors: Tensor | np.ndarray) -> None:
        self.tensors = tuple([as_operand(x) for x in tensors])
        shapes = [list(x.shape) for x in self.tensors]
        if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"TensorDataset expects tensors of one length, got shapes {shapes}")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([x[index] for x in self.tensors])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        index = places("TensorDataset", indices, len(self))
        return tuple([wrap(rows(x.array, index)) for x in self.tensors])

    def __len__(self) -> int:
        return len(self.tensors[0].array)


class Subset(Dataset[T_co]):
    """Those samples of a data set that have the given numbers, in their order.

    >>> subset = Subset("abcdef", [5, 0, 3])
    >>> [subset[i] for i in range(len(subset))]
    ['f', 'a', 'd']
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        return fetched(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T_co]):
    """Data sets one after the other.

    A batch is gathered at once if all data sets that it meets do so; their samples then have one shape and type.

    >>> joined = ConcatDataset(["abc", "de"])
    >>> [joined[i] for i in (0, 2, 3, -1)], joined.cumulative_sizes
    (['a', 'c', 'd', 'e'], [3, 5])
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset expects at least one data set, got none")
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset has {len(self)} samples, got the index {index}")
        place = index + len(self) if index < 0 else index
        part = bisect_right(self.cumulative_sizes, place)
        return self.datasets[part][place - self.begin(part)]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        index = places("ConcatDataset", indices, len(self))
        part = np.searchsorted(self.cumulative_sizes, index, "right")
        met = np.unique(part).tolist()
        batches = [fetched(self.datasets[p], (index[part == p] - self.begin(p)).tolist()) for p in met]
        if len({isinstance(batch, list) for batch in batches}) > 1:  # some of samples
            return [self[i] for i in index.tolist()]
        return merged(batches, [np.flatnonzero(part == p) for p in met], len(index))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def begin(self, part: int) -> int:
        """The number of a data set's first sample."""
        return self.cumulative_sizes[part - 1] if part else 0


def merged(batches: Sequence[Any], where: Sequence[np.ndarray], count: int) -> Any:
    """One batch, in which the samples of several stand at the places given for each."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if any(type(batch) is not type(first) for batch in batches):
        names = ", ".join(type(batch).__name__ for batch in batches)
        raise TypeError(f"ConcatDataset expects batches of one kind from its data sets, got {names}")
    if isinstance(first, dict):
        return {key: merged([batch[key] for batch in batches], where, count) for key in first}
    if isinstance(first, tuple):
        return tuple([merged(parts, where, count) for parts in zip(*batches, strict=True)])
    if isinstance(first, list):
        samples = dict(zip(np.concatenate(where).tolist(), itertools.chain(*batches), strict=True))
        return [samples[i] for i in range(count)]
    arrays = [as_operand(batch).array for batch in batches]
    kinds = {f"{x.dtype}{list(x.shape[1:])}" for x in arrays}
    if len(kinds) > 1:
        raise ValueError(f"ConcatDataset expects samples alike in all its data sets, got {' and '.join(sorted(kinds))}")
    order = np.argsort(np.concatenate(where), kind="stable")
    y = rows(np.concatenate(arrays), order)
    return wrap(y) if isinstance(first, Variable) else y


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Subsets without overlap, drawn at random, of the given lengths or of fractions that add up to 1.

    Of fractions each subset has ⌊fraction · len(dataset)⌋ samples, and those left over are given to the first
    subsets, one each.  ValueError unless lengths add up to the data set's.

    >>> import batten
    >>> parts = random_split(range(10), [0.75, 0.25], generator=batten.Generator().manual_seed(1))
    >>> [len(part) for part in parts], sorted(x for part in parts for x in part)
    ([8, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    total = len(dataset)
    if any(length < 0 for length in lengths):
        raise ValueError(f"random_split expects lengths of at least 0, got {list(lengths)}")
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        counts = [math.floor(total * fraction) for fraction in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if not count:
                warnings.warn(f"subset {i} of random_split is empty", stacklevel=2)
    else:
        counts = [int(length) for length in lengths]
    if sum(counts) != total:
        raise ValueError(f"random_split expects lengths that add up to {total}, or fractions to 1, got {list(lengths)}")
    order = randperm(total, generator=generator).tolist()
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, itertools.accumulate(counts), strict=True)]

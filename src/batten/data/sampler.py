"""Samplers: orders in which the samples of a data set are passed.

A sampler is gone through once an epoch.  One that draws does so from its generator, or from the default one for None:
in a `DataLoader` that is one of the loader's own, so that the order is a function of its seed and of the epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from ..dtypes import float64
from ..operations.promotion import as_operand
from ..random import Generator, check_generator, rand, randint, randperm

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """What a sampler is: a subclass defines `__iter__`, which gives numbers of samples, and may define `__len__`.

    >>> class Backwards(Sampler):
    ...     def __init__(self, dataset):
    ...         self.dataset = dataset
    ...     def __iter__(self):
    ...         return iter(range(len(self.dataset) - 1, -1, -1))
    ...     def __len__(self):
    ...         return len(self.dataset)
    >>> list(BatchSampler(Backwards("abcde"), 2, drop_last=False))
    [[4, 3], [2, 1], [0]]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")


def positive(name: str, option: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} expects {option} to be an int of at least 1, got {value!r}")
    return value


def boolean(name: str, option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} expects {option} to be True or False, got {value!r}")
    return value


class SequentialSampler(Sampler[int]):
    """All samples in their order.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All samples in random order; or `num_samples`, each of them drawn from all with `replacement`.

    Without replacement none comes again before all have come.  ValueError without samples.

    >>> sorted(RandomSampler("abc"))
    [0, 1, 2]
    >>> len(list(RandomSampler("abc", replacement=True, num_samples=7)))
    7
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        check_generator("RandomSampler", generator)
        self.data_source = data_source
        self.replacement = boolean("RandomSampler", "replacement", replacement)
        self._num_samples = num_samples
        self.generator = generator
        positive("RandomSampler", "num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many are drawn: as many as there are at the time, unless it was said."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        if self.replacement:
            yield from randint(n, (count,), generator=self.generator).tolist()
        else:
            for begin in range(0, count, n):
                yield from randperm(n, generator=self.generator).tolist()[: count - begin]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given numbers in random order.

    >>> sorted(SubsetRandomSampler([7, 3, 5]))
    [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        check_generator("SubsetRandomSampler", generator)
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` numbers, number i with a probability proportional to weights[i].

    Without replacement each is drawn, by their weights, from those that are left.  ValueError unless the weights are a
    list of finite numbers of at least 0, not all of them 0; and without replacement if fewer than num_samples have any.

    >>> list(WeightedRandomSampler([0.0, 3.0, 0.0], 4))
    [1, 1, 1, 1]
    >>> sorted(WeightedRandomSampler([1, 2, 0, 3], 3, replacement=False))
    [0, 1, 3]
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        check_generator("WeightedRandomSampler", generator)
        self.num_samples = positive("WeightedRandomSampler", "num_samples", num_samples)
        self.replacement = boolean("WeightedRandomSampler", "replacement", replacement)
        self.generator = generator
        array = np.asarray(weights, np.float64)
        if array.ndim != 1:
            raise ValueError(f"WeightedRandomSampler expects a list of weights, got the shape {list(array.shape)}")
        if not np.isfinite(array).all() or (array < 0).any() or not array.any():
            raise ValueError("WeightedRandomSampler expects finite weights of at least 0, and one above 0")
        self.weights = as_operand(array)
        there = np.count_nonzero(array)
        if not replacement and num_samples > there:
            raise ValueError(f"WeightedRandomSampler cannot draw {num_samples} from {there} without replacement")

    def __iter__(self) -> Iterator[int]:
        weights = self.weights.array
        if self.replacement:
            ends = np.cumsum(weights / weights.max())
            u = rand(self.num_samples, dtype=float64, generator=self.generator).array
            chosen = np.searchsorted(ends / ends[-1], u, "right")
        else:
            # Of clocks that ring once each, at rates w, the next is number i with probability w_i / Σ w of the rest.
            u = rand(len(weights), dtype=float64, generator=self.generator).array
            with np.errstate(divide="ignore", invalid="ignore"):  # those without a weight have ∞ or NaN, and come last
                log_time = np.log(-np.log1p(-u)) - np.log(weights)
            chosen = np.argsort(log_time, kind="stable")[: self.num_samples]
        return iter(chosen.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """What a sampler gives, in lists of batch_size; the last may be shorter, and is left out with `drop_last`.

    >>> list(BatchSampler(range(7), batch_size=3, drop_last=False))
    [[0, 1, 2], [3, 4, 5], [6]]
    >>> list(BatchSampler(range(7), batch_size=3, drop_last=True))
    [[0, 1, 2], [3, 4, 5]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = positive("BatchSampler", "batch_size", batch_size)
        self.drop_last = boolean("BatchSampler", "drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(itertools.islice(numbers, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # a TypeError says that it has none
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

"""Batches, made by threads while the one before them is learned from.

A kernel lets go of the interpreter's lock, and so do NumPy's copies: a thread makes batches while another trains.
There are no worker processes: nothing is pickled, and nothing is forked.

What a batch holds is a function of the loader's seed, of the epoch and of the batch's number, and of nothing else.  The
order of an epoch, and each of its batches, draws from a generator of its own, whose key is

    philox(counter = (epoch, number), key = seed)

with the number -1 for the order, and so the batches are the same for any number of threads, whoever comes first, and
whatever is drawn elsewhere meanwhile.  A loader that goes on in the middle of an epoch has to draw the order again, but
none of the batches that were passed.
"""

from __future__ import annotations

import itertools
import operator
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from .. import _kernels as kernels
from ..autograd import no_grad
from ..random import RANGE, Generator, check_generator, drawing_from, next_draw
from .collate import default_collate, default_convert
from .dataset import fetched
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)

ORDER = -1  # the number whose generator the order of an epoch draws from; those below are of the threads
DECIDED = ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last")  # when a loader is made


class DataLoader(Generic[T_co]):
    """Goes through a data set once for each loop over it, in batches.

    The order is the data set's, or random with `shuffle`, or that of a `sampler`; a `batch_sampler` gives lists of
    numbers instead of numbers.  `batch_size=None` means samples instead of batches.  With `drop_last` a last batch that
    is shorter is left out.

    Samples become a batch by `collate_fn`, which is `default_collate` if none is given.  A data set that has
    `__getitems__` then gives the whole batch at once (see `batten.data.dataset`); a `collate_fn` of one's own is given
    a list of samples.

    Threads make batches ahead: `num_workers` of them, but one for 0, and `prefetch` batches each (which PyTorch calls
    `prefetch_factor`).  Kernels take no team there, as the team is at work where the batches go.  With `prefetch=0` all
    is done by the thread that asks, when it asks.  `worker_init_fn` is called by each of num_workers threads, with its
    number, before its first batch.  `timeout`, if not 0, is how many seconds a batch is waited for before a
    RuntimeError.  An exception in a data set comes out of the loop with its traceback.  When a loop is left, its
    threads end as soon as they have made the batches that they are at.  `pin_memory` and `persistent_workers` mean
    nothing here.

    **Random numbers.**  Batches are the same for any num_workers and prefetch.  The loader's `seed` is one draw from
    `generator`, or from the default generator, when the loader is made; afterwards it draws from neither.  What a
    sampler, a data set or a transform draws without naming a generator is a function of (seed, epoch, number of the
    batch).  Epochs are counted, one for each loop; `set_epoch` counts from elsewhere.  A transform that has a generator
    of its own, or NumPy's global one, is not part of this: it draws ahead, in the order in which threads come to it.

    **State.**  `state_dict` says where the loader is, in the middle of an epoch too: another one that loads it, made
    from the same data in the same way, gives just the batches that this one is yet to give, first those that are left
    of the loop.  A loop that was left is over, and the next one is of the next epoch.  The state of a sampler's own
    generator is part of it.

    Batches require no gradient.  ValueError or TypeError for options that do not go together, and for what is no data
    set.

    >>> import batten
    >>> from batten.data import DataLoader, TensorDataset
    >>> x = batten.arange(10)
    >>> loader = DataLoader(TensorDataset(x, x**2), batch_size=4, shuffle=True)
    >>> for x, y in loader:
    ...     print(x.shape, bool((y == x**2).all()))
    (4,) True
    (4,) True
    (2,) True
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        *,
        generator: Generator | None = None,
        prefetch: int = 2,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader expects a data set with __getitem__, got {type(dataset).__name__}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader expects shuffle or a sampler, got both")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader expects no batch_size, shuffle, sampler or drop_last beside a batch_sampler")
        if batch_size is None and drop_last:
            raise ValueError("DataLoader expects a batch_size where it is to drop the last batch, got None")
        check_generator("DataLoader", generator)
        if sampler is None:
            sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.num_workers = at_least_zero("num_workers", num_workers)
        self.prefetch = at_least_zero("prefetch", prefetch if prefetch_factor is None else prefetch_factor)
        self.timeout = timeout
        if not timeout >= 0:
            raise ValueError(f"DataLoader expects a timeout of at least 0 seconds, got {timeout}")
        self.worker_init_fn = worker_init_fn
        self.pin_memory = pin_memory
        self.persistent_workers = persistent_workers
        self.generator = generator
        self.seed: int = kernels.bits(np.empty(1, np.uint64), *next_draw(generator)).item()
        self.epoch = self.position = 0  # of the loop that goes on, or of the next; and how many batches it has given
        self._loop: object | None = None  # the latest, while it goes on
        self._before: Any = None  # the state of the sampler's own generator before that loop

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DECIDED and hasattr(self, name):
            raise ValueError(f"a DataLoader's {name} is decided when it is made, and cannot be set afterwards")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self._order)  # type: ignore[arg-type]  # a TypeError says that it has none

    def __iter__(self) -> Iterator[T_co]:
        if self._loop is not None:  # that one goes on, but it is not the latest any more
            self.set_epoch(self.epoch + 1)
        self._loop = loop = object()
        self._before = self._own_state()
        return self._batches(loop, self.seed, self.epoch, self.position)

    def _batches(self, loop: object, seed: int, epoch: int, begin: int) -> Iterator[T_co]:
        order = drawn(self._order, generator_of(seed, epoch, ORDER))
        jobs = itertools.islice(enumerate(order), begin, None)
        make: Callable[..., Any] = partial(self._make, seed, epoch)
        interpreter_ends = sys.is_finalizing  # kept, as names of modules may be gone when it does
        if self.prefetch:
            threads = max(self.num_workers, 1)
            if self.worker_init_fn and self.num_workers:
                make = begun(partial(self._begin, seed, epoch), make)
            batches = ahead(make, jobs, threads, threads * self.prefetch, self.timeout)
        else:
            batches = (make(*job) for job in jobs)  # in which a data set's StopIteration ends nothing
        try:
            for batch in batches:
                if self._loop is loop:
                    self.position += 1
                yield batch
        finally:
            if self._loop is loop and not interpreter_ends():
                self.set_epoch(epoch + 1)

    def _make(self, seed: int, epoch: int, number: int, indices: Any) -> Any:
        """A batch of these numbers of samples, or a sample if there are no batches."""
        with no_grad(), drawing_from(generator_of(seed, epoch, number)):
            if self.batch_sampler is None:
                return self.collate_fn(self.dataset[indices])
            if self.collate_fn is not default_collate:
                return self.collate_fn([self.dataset[index] for index in indices])
            batch = fetched(self.dataset, indices)
            return default_collate(batch) if isinstance(batch, list) else default_convert(batch)

    def _begin(self, seed: int, epoch: int, worker: int) -> None:
        with drawing_from(generator_of(seed, epoch, ORDER - 1 - worker)):
            self.worker_init_fn(worker)  # type: ignore[misc]  # there is one, as it is called

    # ---- state ----

    @property
    def _order(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _own_generator(self) -> Generator | None:
        """The one that the sampler draws from if it does not draw from the default one."""
        generator = getattr(getattr(self._order, "sampler", self._order), "generator", None)
        return generator if isinstance(generator, Generator) else None

    def _own_state(self) -> Any:
        generator = self._own_generator()
        return None if generator is None else generator.get_state()

    def set_epoch(self, epoch: int) -> None:
        """Makes the next loop the one of this epoch, from its first batch on."""
        self.epoch, self.position, self._loop = at_least_zero("epoch", epoch), 0, None

    def state_dict(self) -> dict[str, Any]:
        """Seed, epoch, how many of its batches have been given, and what a sampler's own generator began from.

        >>> loader = DataLoader(range(100), batch_size=10, shuffle=True)
        >>> batches = iter(loader)
        >>> passed, state = [next(batches) for _ in range(7)], loader.state_dict()
        >>> resumed = DataLoader(range(100), batch_size=10, shuffle=True)
        >>> resumed.load_state_dict(state)
        >>> all(a.equal(b) for a, b in zip(batches, resumed, strict=True))
        True
        """
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "batches": self._length(),
            "sampler": self._own_state() if self._loop is None else self._before,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where another loader was; a loop that goes on here has nothing to do with it any more.

        A state of a loader that gives another number of batches is refused with a ValueError, and so is what is no
        state; nothing is changed then.
        """
        expected = self.state_dict()
        if set(state_dict) != set(expected):
            got = ", ".join(map(str, state_dict))
            raise ValueError(f"DataLoader expects a state of {', '.join(expected)}, got {got}")
        seed, batches, sampler = (state_dict[name] for name in ("seed", "batches", "sampler"))
        epoch, position = (at_least_zero(name, state_dict[name]) for name in ("epoch", "position"))
        if not 0 <= operator.index(seed) < RANGE:
            raise ValueError(f"DataLoader expects a seed from 0 to {RANGE - 1}, got {seed}")
        if batches != self._length():
            raise ValueError(f"DataLoader has {self._length()} batches, and the state is of one that has {batches}")
        if batches is not None and position > batches:
            raise ValueError(f"DataLoader has {batches} batches, and the state is behind {position} of them")
        if (sampler is None) != (expected["sampler"] is None):
            raise ValueError("DataLoader and the loader of the state differ in whether the sampler has a generator")
        if sampler is not None:
            self._own_generator().set_state(sampler)  # type: ignore[union-attr]  # it is there, as the two do not differ
        self.set_epoch(epoch)
        self.seed, self.position = seed, position

    def _length(self) -> int | None:
        return len(self) if hasattr(self._order, "__len__") else None


def at_least_zero(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"DataLoader expects {name} to be an int, got {value!r}") from None
    if number < 0:
        raise ValueError(f"DataLoader expects {name} of at least 0, got {number}")
    return number


def generator_of(seed: int, epoch: int, number: int) -> Generator:
    """The generator that one batch of an epoch draws from."""
    counter = np.array([[epoch % RANGE, number % RANGE]], np.uint64).view(np.uint32)
    key = np.array([[seed]], np.uint64).view(np.uint32)
    block = kernels.philox(np.empty((1, 4), np.uint32), counter, key)
    return Generator().manual_seed(block.view(np.uint64)[0, 0].item())


def drawn(items: Iterable[Any], generator: Generator) -> Iterator[Any]:
    """The items, for each of which, but not in between, the default generator is this one."""
    with drawing_from(generator):
        remaining = iter(items)
    while True:
        with drawing_from(generator):
            try:
                item = next(remaining)
            except StopIteration:
                return
        yield item


def begun(begin: Callable[[int], Any], make: Callable[..., Any]) -> Callable[..., Any]:
    """make, before which each thread that comes to it calls `begin` once, with a number of its own."""
    numbers, own = itertools.count(), threading.local()

    def work(*job: Any) -> Any:
        if not hasattr(own, "number"):
            own.number = next(numbers)
            begin(own.number)
        return make(*job)

    return work


def ahead(
    make: Callable[..., Any], jobs: Iterator[Iterable[Any]], threads: int, room: int, timeout: float
) -> Iterator[Any]:
    """make(*job) for each job, in their order, by threads that are up to `room` jobs ahead of whoever asks.

    Nobody waits for the threads when this is left, as that may be by the collector of garbage, on any thread and in the
    middle of anything.  They end with what they are at; the interpreter waits for that before it ends.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # which bring logging with them

    process, interpreter_ends = os.getpid(), sys.is_finalizing
    pool = ThreadPoolExecutor(threads, "batten-loader", kernels.stay_alone)
    waiting: deque[Future[Any]] = deque()
    try:
        while True:
            waiting.extend(pool.submit(make, *job) for job in itertools.islice(jobs, room + 1 - len(waiting)))
            if not waiting:
                return
            yield result_of(waiting.popleft(), timeout)
            if os.getpid() != process:
                raise RuntimeError("this loop's threads are not in a forked process; begin another loop there")
    finally:
        if not interpreter_ends():  # which has waited for the threads by then
            pool.shutdown(wait=False, cancel_futures=True)


def result_of(future: Any, timeout: float) -> Any:
    try:
        return future.result(timeout or None)
    except TimeoutError:
        if future.done():  # then it is the data set's own
            raise
        raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None
    finally:
        del future  # which holds the exception, whose traceback holds this frame

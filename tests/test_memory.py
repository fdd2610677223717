"""The pool: alignment, size classes, reuse, threads and forks."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

import batten
from batten import _kernels as kernels

pytestmark = pytest.mark.kernels


def allocated() -> int:
    return batten.memory_stats()["allocated"]


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 512, 513, 1000, 4097, 100_003, 3 << 20, 40_000_001])
def test_blocks_are_aligned_and_waste_at_most_an_eighth(n):
    before = allocated()
    x = kernels.empty((n,), batten.uint8)
    size = allocated() - before
    assert x.ctypes.data % 64 == 0
    assert size >= n
    assert size - n <= max(n / 8, 64)
    if n >= 2 << 20 and os.name == "posix":
        assert x.ctypes.data % (2 << 20) == 0
    del x
    assert allocated() == before


def test_every_size_gets_a_class_that_holds_it():
    for n in [*range(1, 5000), *(2**k + d for k in range(12, 21) for d in (-1, 0, 1))]:
        before = allocated()
        x = kernels.empty((n,), batten.uint8)
        assert n <= allocated() - before <= max(n * 1.125, n + 64)
        del x


def test_a_freed_block_is_the_next_of_its_size():
    x = kernels.empty((1000,), batten.float32)
    address = x.ctypes.data
    del x
    assert kernels.empty((990,), batten.float32).ctypes.data == address


def test_a_view_keeps_its_block():
    before = allocated()
    x = kernels.empty((100, 100), batten.float32)
    x[...] = 7
    view = x[3:, ::2].T
    show = memoryview(x)
    del x
    assert allocated() > before
    fresh = [kernels.empty((100, 100), batten.float32) for _ in range(4)]
    for y in fresh:
        y[...] = 0
    assert (view == 7).all()
    del view, fresh, y
    assert allocated() > before
    del show
    assert allocated() == before


def test_empty_cache_gives_unused_blocks_back():
    x = kernels.empty((1 << 20,), batten.float32)
    y = kernels.empty((1 << 20,), batten.float32)
    x[...] = 3
    del y
    batten.empty_cache()
    stats = batten.memory_stats()
    assert stats["reserved"] == stats["allocated"]
    assert (x == 3).all()


def test_stats_count_requests_and_reuse():
    before = batten.memory_stats()
    for _ in range(10):
        kernels.empty((12345,), batten.float64)
    after = batten.memory_stats()
    assert after["requests"] - before["requests"] == 10
    assert after["reused"] - before["reused"] >= 9
    assert after["peak"] >= after["allocated"]


def test_sizes_beyond_any_memory_are_refused():
    with pytest.raises(MemoryError):
        kernels.empty((1 << 62, 1 << 62), batten.float32)
    with pytest.raises(MemoryError):
        kernels.empty((1 << 58,), batten.float32)
    with pytest.raises(ValueError, match="at least 0"):
        kernels.empty((3, -1), batten.float32)
    with pytest.raises(TypeError):
        kernels.empty((3,), np.dtype(object))


def test_empty_over_takes_what_is_like():
    x = batten.rand(3, 4, 5).array
    like = np.empty_like(x)
    assert kernels.empty_over(x, like) is x
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (x[:2], x.transpose(0, 2, 1), x.astype(np.float64), np.broadcast_to(x[:1], x.shape), read_only):
        made = kernels.empty_over(other, like)
        assert made.shape == like.shape and made.strides == like.strides and made.dtype == like.dtype
        assert not np.shares_memory(made, x)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_empty_like_keeps_the_order_of_axes(axes):
    x = np.zeros((2, 3, 4, 5), np.float32).transpose(axes)
    assert kernels.empty_like(x).strides == x.strides
    assert kernels.empty_like(x[:, ::2]).strides == np.empty_like(x[:, ::2]).strides
    assert kernels.empty_like(x, batten.float64).strides == tuple(2 * s for s in x.strides)


def test_threads_share_the_pool():
    gc.collect()  # what tests before have left in cycles is not to go in the middle of this one
    before = allocated()
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        held = []
        for i in range(2000):
            x = kernels.empty((int(rng.integers(1, 3000)),), batten.float32)
            x[...] = seed
            held.append(x)
            if len(held) > 20:
                y = held.pop(int(rng.integers(20)))
                if not (y == seed).all():
                    errors.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert allocated() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_after_a_parallel_region(threads):
    threads(4)
    team = kernels.get_num_threads() if kernels.openmp() == "libgomp" else 1
    x = np.ones((1000, 1000), np.float32)
    kernels.add(kernels.empty_like(x), x, x)  # the parent has a team now
    stop = threading.Event()

    def churn():  # the lock is busy while the process forks
        while not stop.is_set():
            kernels.empty((100,), batten.float32)

    other = threading.Thread(target=churn)
    other.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                y = kernels.add(kernels.empty_like(x), x, x)
                os._exit(0 if (y == 2).all() and kernels.get_num_threads() == team else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        other.join()

"""Random numbers: generators, and tensors filled from them.

The numbers are counter-based (Philox): those of a draw are a function of the
generator's seed, of how many draws it has made, and of an element's place.  They
are the same on every machine and for any number of threads.  A generator is
therefore two integers, and a process that never calls `manual_seed` always starts
from the same ones.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels as kernels
from . import dtypes
from .autograd import Variable, is_grad_enabled, wrap
from .creation import check_leaf, leaf, shape_of
from .device import CPU, check_device, device
from .operations.axes import also_named
from .operations.promotion import as_operand

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

DEFAULT_SEED = 67280421310721  # PyTorch's
RANGE = 1 << 64

turn = threading.Lock()  # one draw at a time


def in_child() -> None:
    """A fork may come while another thread holds the lock, and that thread is not in the child."""
    global turn
    turn = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=in_child)


class Generator:
    """A source of random numbers: a seed, and a counter of the draws made so far.

    >>> import batten
    >>> g = batten.Generator().manual_seed(7)
    >>> a = batten.rand(3, generator=g)
    >>> b = batten.rand(3, generator=g.manual_seed(7))
    >>> a.tolist() == b.tolist()
    True
    """

    __slots__ = ("__weakref__", "calls", "key")

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self.key, self.calls = DEFAULT_SEED, 0

    @property
    def device(self) -> device:
        """Where its numbers are made: device(type='cpu')."""
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Starts again from a seed between -2^63 and 2^64 - 1; a negative one counts back from 2^64."""
        seed = operator.index(seed)
        if not -RANGE // 2 <= seed < RANGE:
            raise ValueError(f"manual_seed expects a seed between {-RANGE // 2} and {RANGE - 1}, got {seed}")
        with turn:
            self.key, self.calls = seed % RANGE, 0
        return self

    def seed(self) -> int:
        """Starts again from a seed that the system makes up, and returns it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self.key

    def initial_seed(self) -> int:
        """The seed that the numbers started from."""
        return self.key

    def get_state(self) -> Tensor:
        """Seed and counter as sixteen bytes, little end first."""
        with turn:
            state = [self.key, self.calls]
        return wrap(np.array(state, "<u8").view(np.uint8))

    def set_state(self, new_state: Tensor | np.ndarray) -> None:
        """Goes on from where `get_state` was called."""
        array = new_state.array if isinstance(new_state, Variable) else np.asarray(new_state)
        if array.dtype != np.uint8:
            raise TypeError(f"a generator's state is of uint8, got {array.dtype}")
        if array.shape != (16,):
            raise ValueError(f"a generator's state has shape [16], got {list(array.shape)}")
        with turn:
            self.key, self.calls = np.frombuffer(array.tobytes(), "<u8").tolist()

    def next(self) -> tuple[int, int]:
        """The key and the call of one more draw, as the kernels want them."""
        with turn:
            call, self.calls = self.calls, (self.calls + 1) % RANGE
            return self.key, call


default_generator = Generator()


class Drawing(threading.local):
    """What this thread takes for the default generator."""

    generator = default_generator


drawing = Drawing()


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Within it, a generator is the default one for this thread, and all others go on as they were.

    >>> import batten
    >>> before = batten.get_rng_state()
    >>> with drawing_from(batten.Generator().manual_seed(1)):
    ...     x = batten.rand(3)
    >>> batten.get_rng_state().equal(before)
    True
    """
    before = drawing.generator
    drawing.generator = generator
    try:
        yield
    finally:
        drawing.generator = before


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, and returns it."""
    return drawing.generator.manual_seed(seed)


def seed() -> int:
    """Gives the default generator a seed that the system makes up, and returns it."""
    return drawing.generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return drawing.generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state."""
    return drawing.generator.get_state()


def set_rng_state(new_state: Tensor | np.ndarray) -> None:
    """Puts the default generator into a state from `get_rng_state`.

    >>> import batten
    >>> state = batten.get_rng_state()
    >>> before = batten.randn(5)
    >>> batten.set_rng_state(state)
    >>> before.tolist() == batten.randn(5).tolist()
    True
    """
    drawing.generator.set_state(new_state)


def next_draw(generator: Generator | None) -> tuple[int, int]:
    """The key and the call of a draw from a generator, the default one for None."""
    if generator is None:
        generator = drawing.generator
    elif not isinstance(generator, Generator):
        raise TypeError(f"expected a batten.Generator, got {type(generator).__name__}")
    return generator.next()


def check_generator(layer: str, generator: Generator | None) -> None:
    """Refuses what a layer could not draw from, when it is made rather than when it is called."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"{layer} expects a batten.Generator, got {type(generator).__name__}")


# ---- arrays ----


def fill(
    array: np.ndarray,
    kernel: Callable[..., np.ndarray],
    *parameters: Any,
    generator: Generator | None,
    dtype: Any = None,
) -> np.ndarray:
    """Fills an array of any layout, in the order of its indices, by a kernel that makes another type or its own."""
    dtype = dtype or array.dtype
    direct = array.dtype == dtype and array.flags.c_contiguous
    made = kernel(array if direct else kernels.empty(array.shape, dtype), *parameters, *next_draw(generator))
    if not direct:
        np.copyto(array, made, casting="unsafe")
    return array


def fill_uniform(array: np.ndarray, low: float, high: float, generator: Generator | None) -> np.ndarray:
    expect_floats("uniform numbers", array.dtype)
    if not low <= high or max(-low, high, high - low) > float(np.finfo(array.dtype).max):
        raise ValueError(f"uniform numbers in [from, to) need from <= to within {array.dtype}, got {low} and {high}")
    return fill(array, kernels.uniform, low, high, generator=generator)


def fill_normal(array: np.ndarray, mean: float, std: float, generator: Generator | None) -> np.ndarray:
    expect_floats("normal numbers", array.dtype)
    if not std >= 0:
        raise ValueError(f"normal numbers need std >= 0, got {std}")
    return fill(array, kernels.normal, mean, std, generator=generator)


def fill_integers(array: np.ndarray, low: int, high: int, generator: Generator | None) -> np.ndarray:
    low, high = operator.index(low), operator.index(high)
    least, most = limits(array.dtype)
    if low >= high:
        raise ValueError(f"random integers in [low, high) need low < high, got {low} and {high}")
    if low < least or high - 1 > most:
        raise ValueError(f"{array.dtype} holds integers from {least} to {most}, got [{low}, {high})")
    return fill(array, kernels.integers, low, high, generator=generator, dtype=dtypes.int64)


def fill_bernoulli(array: np.ndarray, p: Any, generator: Generator | None) -> np.ndarray:
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("bernoulli expects probabilities between 0 and 1")
    dtype = array.dtype if array.dtype.kind == "f" else dtypes.float64
    u = fill(kernels.empty(array.shape, dtype), kernels.uniform, 0, 1, generator=generator)
    np.copyto(array, u < p, casting="unsafe")
    return array


def expect_floats(what: str, dtype: np.dtype) -> None:
    if dtype.kind != "f":
        raise TypeError(f"{what} are float32 or float64, got {dtype}")


def limits(dtype: np.dtype) -> tuple[int, int]:
    """The integers that a type holds without gaps.  The kernel stops short of int64's largest."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        return -(2 ** (np.finfo(dtype).nmant + 1)), 2 ** (np.finfo(dtype).nmant + 1)
    return int(np.iinfo(dtype).min), min(int(np.iinfo(dtype).max), 2**63 - 2)


# ---- new tensors ----


def new(size: Sequence[Any], dtype: Any, device: Any, requires_grad: bool) -> np.ndarray:
    """Memory for a leaf; what is wrong with it is said before a number is drawn."""
    dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    check_leaf(dtype, device, requires_grad)
    return kernels.empty(shape_of(size), dtype)


def new_like(input: Tensor, dtype: Any, device: Any, requires_grad: bool) -> np.ndarray:
    array = as_operand(input).array
    dtype = array.dtype if dtype is None else dtypes.as_dtype(dtype)
    check_leaf(dtype, device, requires_grad)
    return kernels.empty_like(array, dtype)


@also_named("size")
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1), in steps of 2^-24 (2^-53 in float64); the shape as numbers or as one tuple.

    >>> import batten
    >>> batten.rand(2, 3).shape
    (2, 3)
    """
    return leaf(fill_uniform(new(size, dtype, device, requires_grad), 0, 1, generator), device, requires_grad)


@also_named("size")
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1; the shape as numbers or as one tuple.

    >>> import batten
    >>> batten.randn((2, 3), dtype=batten.float64).shape
    (2, 3)
    """
    return leaf(fill_normal(new(size, dtype, device, requires_grad), 0, 1, generator), device, requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high), all equally likely: `randint(high, size)` or `randint(low, high, size)`.

    int64 unless another type is asked for.

    >>> import batten
    >>> batten.randint(5, 6, (2, 2)).tolist()
    [[5, 5], [5, 5]]
    """
    if size is None:
        size, high = high, None
    if high is None:
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint expects a tuple as size, got {type(size).__name__}")
    array = new((size,), dtypes.int64 if dtype is None else dtype, device, requires_grad)
    return leaf(fill_integers(array, low, high, generator), device, requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The integers 0 .. n - 1 in random order, all orders equally likely; int64 unless another type is asked for.

    >>> import batten
    >>> sorted(batten.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    dtype = dtypes.as_dtype(dtypes.int64 if dtype is None else dtype)
    check_leaf(dtype, device, requires_grad)
    if n < 0:
        raise ValueError(f"randperm expects n >= 0, got {n}")
    if n - 1 > limits(dtype)[1]:
        raise ValueError(f"{dtype} holds integers up to {limits(dtype)[1]}, got randperm({n})")
    # The order of random keys: two of 64 bits are equal too rarely to matter.
    keys = fill(kernels.empty((operator.index(n),), np.dtype(np.uint64)), kernels.bits, generator=generator)
    return leaf(np.argsort(keys, kind="stable").astype(dtype, copy=False), device, requires_grad)


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`rand` in the shape and type of a tensor."""
    return leaf(fill_uniform(new_like(input, dtype, device, requires_grad), 0, 1, generator), device, requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`randn` in the shape and type of a tensor."""
    return leaf(fill_normal(new_like(input, dtype, device, requires_grad), 0, 1, generator), device, requires_grad)


def randint_like(
    input: Tensor,
    low: int = 0,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`randint` in the shape and type of a tensor: `randint_like(input, high)` or `randint_like(input, low, high)`."""
    if high is None:
        low, high = 0, low
    return leaf(
        fill_integers(new_like(input, dtype, device, requires_grad), low, high, generator), device, requires_grad
    )


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: of one mean and std in a given size, or of each element's own where they are tensors.

    >>> import batten
    >>> batten.normal(10.0, 0.0, size=(2,)).tolist()
    [10.0, 10.0]
    >>> batten.normal(batten.tensor([1.0, 2.0]), 0.0).tolist()
    [1.0, 2.0]
    """
    if isinstance(mean, Variable) or isinstance(std, Variable):
        if size is not None or dtype is not None:
            raise TypeError("normal takes size and dtype from mean and std where these are tensors")
        m, s = (x.array if isinstance(x, Variable) else x for x in (mean, std))
        if not np.all(s >= 0):
            raise ValueError("normal expects std >= 0")
        kind = np.result_type(*[x for x in (m, s) if isinstance(x, np.ndarray)])
        expect_floats("mean and std", kind)
        z = fill_normal(
            new(np.broadcast_shapes(np.shape(m), np.shape(s)), kind, device, requires_grad), 0, 1, generator
        )
        z *= s
        z += m
        return leaf(z, device, requires_grad)
    if size is None:
        raise TypeError("normal expects a size where mean and std are numbers")
    return leaf(fill_normal(new((size,), dtype, device, requires_grad), mean, std, generator), device, requires_grad)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that an element of input is, else 0; in input's type.

    >>> import batten
    >>> batten.bernoulli(batten.tensor([0.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    p = as_operand(input).array
    expect_floats("probabilities", p.dtype)
    return leaf(fill_bernoulli(kernels.empty_like(p), p, generator), None, False)


# ---- methods of Tensor ----


def changing(input: Tensor) -> np.ndarray:
    """The memory of a tensor that is about to be overwritten."""
    if input.requires_grad and is_grad_enabled():
        raise RuntimeError(
            "a tensor that requires a gradient is filled with random numbers in place; do it under batten.no_grad()"
        )
    if not input.array.flags.writeable:
        raise RuntimeError("a tensor whose memory is read-only cannot be changed in place; clone() it first")
    return input.array


def changed(input: Tensor) -> Tensor:
    input.version[0] += 1
    return input


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with uniform numbers in [from, to)."""
    fill_uniform(changing(input), from_, to, generator)
    return changed(input)


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with normal numbers of a mean and a standard deviation."""
    fill_normal(changing(input), mean, std, generator)
    return changed(input)


def bernoulli_(input: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with ones, with probability p each, and zeros."""
    fill_bernoulli(changing(input), p.array if isinstance(p, Variable) else p, generator)
    return changed(input)


def random_(
    input: Tensor, from_: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fills the tensor with integers: `random_(from, to)`, `random_(to)` from 0, or all from 0 that its type holds."""
    if to is None:
        from_, to = 0, from_
    if to is None:
        to = limits(input.array.dtype)[1] + 1
    fill_integers(changing(input), from_ or 0, to, generator)
    return changed(input)

"""Every kernel, on every instruction set, type, size and number of threads."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest

from batten import _kernels as kernels
from cases import CASES, SIZES
from trials import trials

pytestmark = pytest.mark.kernels
each_kernel = pytest.mark.parametrize("name", sorted(CASES))


def test_every_kernel_has_a_row():
    assert set(kernels.names()) == {name.split()[0] for name in CASES}


@each_kernel
@trials("size", SIZES)
def test_against_numpy_with_the_same_bits_for_any_number_of_threads(name, size, dtype, isa, rng, threads):
    """One test, as most rows take longer to be made than to be run."""
    case = CASES[name](rng, dtype, size)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append([y.tobytes() for y in case.run()])
    assert all(r == results[0] for r in results)
    case.check(dtype)


def fenced(array: np.ndarray) -> np.ndarray:
    """A copy that ends where a page begins which nobody may touch."""
    room = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    fence = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + room
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    copy = np.ndarray(array.shape, array.dtype, memory, room - array.nbytes, np.empty_like(array).strides)
    copy[...] = array
    return copy


@each_kernel
@pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
def test_what_lies_behind_arrays_is_not_touched(name, dtype, isa, rng):
    """Else the process ends here, by a signal."""
    for size in ("one", "odd"):
        case = CASES[name](rng, dtype, size)
        case.function(*[fenced(a) if isinstance(a, np.ndarray) else a for a in case.arguments], **case.options)


def spoiled(array: np.ndarray):
    """The array with something wrong: (what, array)."""
    yield "a list", array.tolist()
    yield "None", None
    yield "another type", array.astype(np.complex64)
    yield "half", np.zeros(array.shape, np.float16)
    yield "more axes", np.stack([array, array])
    if array.ndim:
        yield "longer", np.concatenate([array, array], axis=-1)
        yield "fewer axes", array[0]
    else:
        yield "more axes", array.reshape(1, 1)
    if array.itemsize > 1:
        misaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        yield "misaligned", misaligned
        yield "other byte order", array.astype(array.dtype.newbyteorder())


@each_kernel
def test_bad_arguments(name, dtype, rng):
    """A wrapper raises TypeError or ValueError, or gives an optional argument's meaning to None."""
    case = CASES[name](rng, dtype, "odd")
    positions = [i for i, a in enumerate(case.arguments) if isinstance(a, np.ndarray)]
    for position in positions:
        for what, bad in spoiled(case.arguments[position]):
            arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in case.arguments]
            arguments[position] = bad
            try:
                case.function(*arguments, **case.options)
            except (TypeError, ValueError):
                continue
            # What is left may only be a valid call: an optional array, one that broadcasts, or the only one.
            alone = what == "longer" and (len(positions) == 1 or position in case.elastic)
            assert bad is None or alone or what in ("fewer axes", "more axes"), (
                f"argument {position} as {what} was taken"
            )


@each_kernel
def test_read_only_outputs_are_refused(name, dtype, rng):
    case = CASES[name](rng, dtype, "odd")
    positions = [i for i, a in enumerate(case.arguments) if isinstance(a, np.ndarray)][: case.outputs]
    for position in positions:
        arguments = list(case.arguments)
        arguments[position] = arguments[position].copy()
        arguments[position].flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            case.function(*arguments, **case.options)


@each_kernel
def test_strided_inputs_are_taken_right_or_refused(name, dtype, rng):
    """Every other element of a wider array: the same result as of a copy, or a ValueError."""
    case = CASES[name](rng, dtype, "odd")
    right = case.run()
    positions = [i for i, a in enumerate(case.arguments) if isinstance(a, np.ndarray) and a.ndim][case.outputs :]
    for position in positions:
        plain = case.arguments[position]
        wide = np.repeat(plain, 2, axis=-1)
        wide[..., 1::2] = 99
        arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in case.arguments]
        arguments[position] = wide[..., ::2]
        try:
            case.function(*arguments, **case.options)
        except ValueError:
            continue
        got = [a for a in arguments if isinstance(a, np.ndarray)][: case.outputs]
        for y, expected in zip(got, right, strict=True):
            assert y.tobytes() == expected.tobytes()

"""Tensors from data, and tensors of constants."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels as kernels
from . import dtypes
from .autograd import Variable, wrap
from .device import check_device
from .memory import empty_in, expect_format, preserve_format
from .operations.axes import also_named
from .operations.families import copied
from .operations.promotion import as_operand, expect_fit, one_number, to_type

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def leaf(array: np.ndarray, device: Any, requires_grad: bool) -> Tensor:
    """An array as a tensor at the start of a tape."""
    check_leaf(array.dtype, device, requires_grad)
    tensor: Tensor = wrap(array)
    tensor.tracked = requires_grad
    return tensor


def check_leaf(dtype: np.dtype, device: Any, requires_grad: bool) -> None:
    """Refuses another device, and a gradient of what has none."""
    check_device(device)
    if requires_grad and dtype.kind != "f":
        raise RuntimeError(f"only tensors of floats can require gradients, got {dtype}")


def as_array(data: Any, dtype: Any) -> np.ndarray:
    """Data as an array of a type that tensors have: a copy only where it must be one."""
    if isinstance(data, Variable):
        data = data.array
    array = np.asarray(data)
    if dtype is None:
        own = isinstance(first_number(data), (np.ndarray, np.generic, Variable))
        dtype = array.dtype if own or (array.dtype.kind != "f" and array.size) else dtypes.get_default_dtype()
    dtype = dtypes.as_dtype(dtype)
    dtypes.as_dtype(array.dtype)
    if not isinstance(data, (np.ndarray, np.generic)):
        expect_fit("tensor", array, dtype)
    with np.errstate(all="ignore"):
        return array.astype(dtype, copy=False)


def first_number(data: Any) -> Any:
    """The first element of nested lists: arrays and NumPy's numbers keep their type, Python's take the default."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A copy of numbers, nested lists, an array or a tensor.

    Python's floats become the default type, its integers int64; arrays keep theirs.

    >>> import batten
    >>> batten.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> batten.tensor([1.0, 2.5])
    tensor([1.0000, 2.5000])
    """
    array = as_array(data, dtype)
    return leaf(copied(array), device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Data as a tensor: itself if it is one of that type, else sharing an array's memory where that can be.

    >>> import batten, numpy
    >>> a = numpy.zeros(2)
    >>> t = batten.as_tensor(a)
    >>> a[0] = 1
    >>> t
    tensor([1., 0.], dtype=batten.float64)
    """
    check_device(device)
    if isinstance(data, Variable):
        return as_operand(data) if dtype is None else to_type(as_operand(data), dtypes.as_dtype(dtype))
    return wrap(as_array(data, dtype))


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares an array's memory; what is written to one is seen in the other.

    >>> import batten, numpy
    >>> batten.from_numpy(numpy.array([1, 2]))
    tensor([1, 2])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy expects an array, got {type(ndarray).__name__}")
    if not ndarray.dtype.isnative:
        raise ValueError(f"from_numpy expects an array in the machine's byte order, got {ndarray.dtype.str}")
    dtypes.as_dtype(ndarray.dtype)
    return wrap(np.asarray(ndarray))


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares the memory of another library's.

    >>> import batten, numpy
    >>> batten.from_dlpack(numpy.array([1.0, 2.0]))
    tensor([1., 2.], dtype=batten.float64)
    """
    return from_numpy(np.from_dlpack(ext_tensor))


def shape_of(size: Sequence[Any]) -> tuple[int, ...]:
    """The shape given as `f(2, 3)` or as `f((2, 3))`."""
    shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    return tuple([operator.index(n) for n in shape])


def filled(shape: tuple[int, ...], value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    array = kernels.empty(shape, dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype))
    array.fill(value)
    return leaf(array, device, requires_grad)


@also_named("size")
def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in a shape given as numbers or as one tuple.

    >>> import batten
    >>> batten.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return filled(shape_of(size), 0, dtype, device, requires_grad)


@also_named("size")
def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in a shape given as numbers or as one tuple.

    >>> import batten
    >>> batten.ones(3, dtype=batten.int64)
    tensor([1, 1, 1])
    """
    return filled(shape_of(size), 1, dtype, device, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One number in a shape; it decides the type if none is given.

    >>> import batten
    >>> batten.full((2,), 3.5)
    tensor([3.5000, 3.5000])
    """
    dtype = as_array(fill_value, None).dtype if dtype is None else dtypes.as_dtype(dtype)
    value = one_number("full", fill_value, dtype).array
    return filled(shape_of((size,)), value, dtype, device, requires_grad)


@also_named("size")
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Whatever is in memory, in a shape given as numbers or as one tuple.

    >>> import batten
    >>> batten.empty(2, 3).shape
    (2, 3)
    """
    array = kernels.empty(shape_of(size), dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype))
    return leaf(array, device, requires_grad)


def memory_like(name: str, input: Any, dtype: Any, memory_format: Any) -> np.ndarray:
    """Memory for a tensor of the shape, type and order of another one, where nothing else is asked for."""
    expect_format(name, memory_format)
    array = as_operand(input).array
    return empty_in(name, memory_format, array, array.dtype if dtype is None else dtypes.as_dtype(dtype))


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Zeros in the shape and type of a tensor.

    >>> import batten
    >>> batten.zeros_like(batten.tensor([1, 2]))
    tensor([0, 0])
    """
    array = memory_like("zeros_like", input, dtype, memory_format)
    array.fill(0)
    return leaf(array, device, requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Ones in the shape and type of a tensor.

    >>> import batten
    >>> batten.ones_like(batten.tensor([1.5, 2.5]))
    tensor([1., 1.])
    """
    array = memory_like("ones_like", input, dtype, memory_format)
    array.fill(1)
    return leaf(array, device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """One number in the shape and type of a tensor.

    >>> import batten
    >>> batten.full_like(batten.tensor([1.5, 2.5]), 7)
    tensor([7., 7.])
    """
    array = memory_like("full_like", input, dtype, memory_format)
    array.fill(one_number("full_like", fill_value, array.dtype).array)
    return leaf(array, device, requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Whatever is in memory, in the shape and type of a tensor.

    >>> import batten
    >>> batten.empty_like(batten.ones(2, 3)).shape
    (2, 3)
    """
    return leaf(memory_like("empty_like", input, dtype, memory_format), device, requires_grad)


def arange(
    start: float | None = None,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; arange(end) starts at 0.  Integers give int64, else the default type.

    >>> import batten
    >>> batten.arange(5)
    tensor([0, 1, 2, 3, 4])
    >>> batten.arange(0, 1, 0.25)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    start, end = (None, start) if end is None else (start, end)
    if end is None:
        raise TypeError("arange expects an end, got none")
    ends = (0 if start is None else start, end, step)
    first, last, step = [v.array.item() if isinstance(v, Variable) else v for v in ends]
    if not step or not (last - first) / step >= 0 or not math.isfinite((last - first) / step):
        raise ValueError(f"arange expects a step that leads from start to end, got {first}, {last} and {step}")
    whole = all(isinstance(v, (int, np.integer)) for v in (first, last, step))
    if dtype is None:
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    dtype = dtypes.as_dtype(dtype)
    count = -((first - last) // step) if whole else math.ceil((last - first) / step)
    array = kernels.empty((count,), dtype)
    np.copyto(array, np.arange(count) * step + first, casting="unsafe")
    return leaf(array, device, requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """steps numbers from start to end, both included, equally far apart.

    >>> import batten
    >>> batten.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    if steps < 0:
        raise ValueError(f"linspace expects a number of steps of at least 0, got {steps}")
    dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return leaf(np.linspace(start, end, steps).astype(dtype), device, requires_grad)

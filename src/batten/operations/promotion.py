"""What meets in one operation: tensors, arrays and numbers, of several types.

PyTorch's rule: the result's type is decided among the operands of the highest rank
(tensors with axes before those without, and these before Python's and NumPy's
numbers), unless one of lower rank is of a higher category (bool < integer < float).
A number takes the default float type where it decides.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation, Variable, wrap

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["result_type"]

# What stands beside a tensor in an operator.
Operand: TypeAlias = Union["Tensor", np.ndarray, np.integer, np.floating, np.bool_, float]

CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}
NUMBERS = (bool, int, float, np.integer, np.floating, np.bool_)


def as_operand(x: Any) -> Tensor:
    """A tensor from a tensor, an array or a number."""
    if isinstance(x, Variable):
        return x  # type: ignore[return-value]  # every Variable is a Tensor, which this layer does not import
    if isinstance(x, np.ndarray):
        return wrap(np.asarray(x, dtypes.as_dtype(x.dtype)))
    if isinstance(x, NUMBERS):
        return constant(x, number_type(x))
    raise TypeError(f"expected a tensor, an array or a number, got {type(x).__name__}")


def constant(x: Any, dtype: np.dtype) -> Tensor:
    """A number as a tensor without axes; one too large for float32 becomes infinite."""
    if -1e38 < x < 1e38:
        return wrap(np.asarray(x, dtype))
    with np.errstate(all="ignore"):
        return wrap(np.asarray(x, dtype))


def held(name: str, x: Any, dtype: np.dtype) -> Tensor:
    """A number as a tensor of a type; integers must be able to hold it, but for a fraction, which they drop."""
    value = np.asarray(x)
    expect_fit(name, value, dtype)
    return wrap(cast(value, dtype))


def one_number(name: str, x: Operand, dtype: np.dtype) -> Tensor:
    """A number, or a tensor of one, in a type."""
    if isinstance(x, NUMBERS):
        return held(name, x, dtype)
    tensor = as_operand(x)
    if tensor.array.ndim:
        raise ValueError(f"{name} expects one number, got shape {list(tensor.shape)}")
    return to_type(tensor, dtype)


def expect_fit(name: str, values: np.ndarray, dtype: np.dtype) -> None:
    """Refuses what is beyond the range of a type of integers; bytes may count back from 256, as in PyTorch."""
    if dtype.kind not in "iu" or values.dtype.kind == "b" or not values.size:
        return
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if dtype.kind == "u" and values.dtype.kind == "i":
        low = -high
    if not ((values >= low) & (values < high + 1)).all():
        shown = values.item() if values.size == 1 else f"numbers from {values.min()} to {values.max()}"
        raise ValueError(f"{name} cannot put {shown} in a tensor of {dtype}")


def number_type(x: Any) -> np.dtype:
    """The type that a number has by itself."""
    if isinstance(x, (bool, np.bool_)):
        return dtypes.bool
    return dtypes.int64 if isinstance(x, (int, np.integer)) else dtypes.get_default_dtype()


def promote_types(x: np.dtype, y: np.dtype) -> np.dtype:
    """The type for operands of one rank.  NumPy makes float64 of float32 and int64; PyTorch keeps the float."""
    if (x.kind == "f") != (y.kind == "f"):
        return x if x.kind == "f" else y
    return np.promote_types(x, y)


@functools.lru_cache(maxsize=512)
def promoted(operands: tuple[tuple[np.dtype, int], ...]) -> np.dtype:
    """The result's type for operands given as (type, rank)."""
    result = None
    for rank in (2, 1, 0):
        dtypes_of_rank = [dtype for dtype, r in operands if r == rank]
        if dtypes_of_rank:
            best = functools.reduce(promote_types, dtypes_of_rank)
            if result is None or CATEGORY[best.kind] > CATEGORY[result.kind]:
                result = best
    assert result is not None
    return result


def type_and_rank(x: Any) -> tuple[np.dtype, int]:
    if isinstance(x, (Variable, np.ndarray)):
        array = x.array if isinstance(x, Variable) else x
        return array.dtype, 2 if array.ndim else 1
    if not isinstance(x, NUMBERS):
        raise TypeError(f"expected a tensor, an array or a number, got {type(x).__name__}")
    return number_type(x), 0


def result_type(*operands: Operand) -> np.dtype:
    """The type in which some tensors, arrays and numbers meet.

    >>> import batten
    >>> batten.result_type(batten.tensor([1, 2]), 1.5)
    dtype('float32')
    """
    return promoted(tuple([type_and_rank(x) for x in operands]))


class Cast(Operation):
    """The same values in another type."""

    __slots__ = ("before", "dtype")

    before: np.dtype
    dtype: np.dtype

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.before = x.dtype
        return cast(x, self.dtype)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return cast(dy, self.before)


def cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in another type; what a type cannot hold becomes what C makes of it, as in PyTorch."""
    y = kernels.empty_like(x, dtype)
    with np.errstate(all="ignore"):
        np.copyto(y, x, casting="unsafe")
    return y


def to_type(x: Tensor, dtype: np.dtype) -> Tensor:
    """x in a type, x itself where it has it already."""
    return x if x.array.dtype == dtype else Cast.apply(x, dtype=dtype)


def promote(*operands: Operand) -> list[Tensor]:
    """The operands as tensors of the type in which they meet."""
    tensors = [as_operand(x) for x in operands]
    dtype = result_type(*operands)
    return [to_type(x, dtype) for x in tensors]


def fitted(name: str, *operands: Operand) -> list[Tensor]:
    """The operands as tensors of the type in which they meet, which must hold those that are numbers."""
    dtype = result_type(*operands)
    return [held(name, x, dtype) if isinstance(x, NUMBERS) else to_type(as_operand(x), dtype) for x in operands]


def meet(x: Operand, y: Operand) -> Any:
    """Two operands as tensors of one type.  Tensors alike, and a number beside floats, take the short way."""
    if isinstance(x, Variable):
        dtype = x.array.dtype
        if isinstance(y, Variable):
            if y.array.dtype is dtype:
                return x, y
        elif (type(y) is float or type(y) is int) and dtype.kind == "f":
            return x, constant(y, dtype)
    elif (type(x) is float or type(x) is int) and isinstance(y, Variable) and y.array.dtype.kind == "f":
        return constant(x, y.array.dtype), y
    return promote(x, y)


def refuse_bools(name: str, *arrays: np.ndarray) -> None:
    """Bools are not numbers: most arithmetic with them alone is a mistake."""
    if any(x.dtype.kind == "b" for x in arrays):
        raise TypeError(f"{name} expects numbers, got bools; use .int() or .float() first")


def as_float(x: Operand) -> Tensor:
    """x as a tensor of floats: integers become the default type."""
    x = as_operand(x)
    return x if x.array.dtype.kind == "f" else to_type(x, dtypes.get_default_dtype())


def floats(name: str, input: Operand) -> Tensor:
    """The operand of a function that is one of floats only."""
    x: Tensor = input if isinstance(input, Variable) else as_operand(input)
    if x.array.dtype.kind != "f":
        raise TypeError(f"{name} expects floats, got {x.dtype}; use .float() first")
    return x

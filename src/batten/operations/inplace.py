"""Changes in place: `add_` and its like, made from the functions of the same name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import numpy as np

from .. import dtypes
from ..autograd import is_grad_enabled
from .arithmetic import Where
from .families import broadcast_shape, copied_to
from .promotion import CATEGORY, Operand, as_operand, constant, one_number, to_type

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__: list[str] = []

P = ParamSpec("P")


def in_place(function: Callable[Concatenate[Any, P], Any]) -> Callable[Concatenate[Any, P], Any]:
    """The form of a function that puts the result in the place of its first argument.

    >>> import batten
    >>> x = batten.tensor([1.0, 2.0])
    >>> batten.operations.inplace.in_place(batten.square)(x)
    tensor([1., 4.])
    >>> x
    tensor([1., 4.])
    """

    @functools.wraps(function)
    def changed(input: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        refuse_leaf(input)
        return replace(input, function(input, *args, **kwargs))

    changed.__name__ = changed.__qualname__ = f"{function.__name__}_"
    changed.__doc__ = f"`{function.__name__}` in place: the result takes the place of input, which is returned."
    return changed


def copy_(input: Tensor, src: Operand) -> Tensor:
    """Puts the elements of src, repeated and cast as need be, in the place of input's.

    >>> import batten
    >>> batten.zeros(2).copy_(batten.tensor([1, 2]))
    tensor([1., 2.])
    """
    source = as_operand(src)
    refuse_leaf(input)
    if broadcast_shape("copy_", input.array, source.array) != input.array.shape:
        raise ValueError(f"copy_ expects a shape that repeats to {list(input.shape)}, got {list(source.shape)}")
    if is_grad_enabled() and (input.requires_grad or source.requires_grad):
        everywhere = constant(True, dtypes.bool)
        return replace(input, Where.apply(everywhere, to_type(source, input.array.dtype), input))
    return write(input, source.array)


def fill_(input: Tensor, value: Operand) -> Tensor:
    """Puts one number in the place of all elements.

    >>> import batten
    >>> batten.zeros(2).fill_(3)
    tensor([3., 3.])
    """
    return copy_(input, one_number("fill_", value, input.array.dtype))


def zero_(input: Tensor) -> Tensor:
    """Puts zero in the place of all elements.

    >>> import batten
    >>> batten.ones(2).zero_()
    tensor([0., 0.])
    """
    return copy_(input, 0)


def refuse_leaf(x: Tensor) -> None:
    """A leaf's gradient would no longer be that of the values that it shows."""
    if x.requires_grad and x.creator is None and is_grad_enabled():
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def refuse_read_only(x: Tensor) -> None:
    if not x.array.flags.writeable:
        raise RuntimeError(
            "a tensor whose memory is read-only, or shows one element several times, cannot be changed in place; "
            "clone() it first"
        )


def write(x: Tensor, array: np.ndarray) -> Tensor:
    """Puts an array's values in x's memory."""
    refuse_read_only(x)
    alike = array.shape == x.array.shape and array.dtype == x.array.dtype
    if alike and not np.may_share_memory(x.array, array):
        copied_to(x.array, array)
    else:
        with np.errstate(all="ignore"):
            np.copyto(x.array, array, casting="unsafe")
    x.version[0] += 1
    return x


def replace(x: Tensor, result: Tensor) -> Tensor:
    """Puts a result's values in x's memory, and x in the result's place on the tape."""
    if result.array.shape != x.array.shape:
        raise ValueError(f"expected a result of shape {list(x.shape)} to put in place, got {list(result.shape)}")
    if x.tracked and not result.tracked and is_grad_enabled():
        raise RuntimeError("a result that has no gradient cannot take the place of a tensor that has one; detach() it")
    if CATEGORY[result.array.dtype.kind] > CATEGORY[x.array.dtype.kind]:
        raise TypeError(f"result type {result.dtype} can't be cast to the desired output type {x.dtype} in place")
    refuse_read_only(x)
    if result.tracked:
        result = to_type(result, x.array.dtype)
        take_place(x, result)
    return write(x, result.array)


def take_place(x: Tensor, result: Tensor) -> None:
    """Makes the result's creator x's own."""
    if x.creator.kind.view if x.creator is not None else isinstance(x.array.base, np.ndarray):
        raise RuntimeError(
            "a view cannot be changed in place where the change is recorded for a gradient: "
            "write y = x.add(1) or y = x + 1 instead of x.add_(1) or x += 1"
        )
    # Values that are about to be overwritten may be needed for the gradient.
    creator: Any = result.creator
    if creator.kind.watched:
        overwritten = [slot for slot, version, _ in creator.versions if version is x.version]
        for slot in overwritten:
            kept = getattr(creator, slot)
            setattr(creator, slot, None if kept is None else kept.copy())
        creator.versions = [entry for entry in creator.versions if entry[0] not in overwritten]
    # Views of a tensor on the tape are told by their creators that they are stale; those of one off it cannot be.
    # What holds x.version beside x and this call is such a view, or an operation that keeps the value.
    if x.creator is None and sys.getrefcount(x.version) > 2:
        raise RuntimeError(
            "a tensor that others show, or that an operation needs, cannot be changed in place by what is recorded for "
            "a gradient: write y = x + z instead of x += z"
        )
    x.creator, x.index, x.tracked = creator, result.index, True
    x.version[1] += 1

"""Parts of a tensor: by index, by mask, by position.

An index is applied in two steps, as in PyTorch: first what makes a view (numbers,
slices, None and ...), then the tensors of integers and the masks, which copy.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation, Variable, is_grad_enabled
from ..memory import axes_in_memory
from .arithmetic import Where
from .axes import axis_of, numpy_names
from .families import zeros
from .inplace import refuse_read_only
from .promotion import NUMBERS, Operand, as_operand, held, one_number

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["gather", "index_select", "masked_fill", "tril", "triu"]


class Slice(Operation):
    """What numbers, slices, None and ... select: a view."""

    __slots__ = ("axes", "index", "shape")
    view = True

    index: tuple[Any, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape, self.axes = x.shape, axes_in_memory(x)
        return x[self.index]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = zeros(self.shape, dy.dtype, self.axes)
        dx[self.index] = dy
        return dx


class Pick(Operation):
    """What arrays of integers select: a copy; an element that is picked several times gathers all its gradients."""

    __slots__ = ("index", "shape")

    index: tuple[Any, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return np.asarray(x[self.index])

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = zeros(self.shape, dy.dtype)
        np.add.at(dx, self.index, dy)
        return dx


class IndexSelect(Operation):
    __slots__ = ("axis", "index", "shape")

    axis: int

    def forward(self, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        index = np.atleast_1d(index)
        self.index, self.shape = index, x.shape
        shape = (*x.shape[: self.axis], len(index), *x.shape[self.axis + 1 :])
        return np.take(x, index, self.axis, out=kernels.empty(shape, x.dtype), mode="clip")

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, None]:
        dx = zeros(self.shape, dy.dtype)
        place: Any = (slice(None),) * self.axis + (self.index,)
        np.add.at(dx, place, dy)
        return dx, None


class Gather(Operation):
    """y[i][j] = x[index[i][j]][j], and so on for other axes and ranks."""

    __slots__ = ("axis", "index", "shape")

    axis: int

    def forward(self, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        self.index, self.shape = index, x.shape
        return np.asarray(x[self.positions()])

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, None]:
        dx = zeros(self.shape, dy.dtype)
        np.add.at(dx, self.positions(), dy)
        return dx, None

    def positions(self) -> tuple[np.ndarray, ...]:
        """The index along its axis, and each element's own place along the others."""
        places: list[Any] = list(np.indices(self.index.shape, sparse=True))
        places[self.axis] = self.index
        return tuple(places)


class Triangle(Operation):
    """The elements on one side of a diagonal, and zeros on the other."""

    __slots__ = ("diagonal",)

    diagonal: int

    def side(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.side(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.side(dy)


class Tril(Triangle):
    __slots__ = ()

    def side(self, x: np.ndarray) -> np.ndarray:
        return np.tril(x, self.diagonal)


class Triu(Triangle):
    __slots__ = ()

    def side(self, x: np.ndarray) -> np.ndarray:
        return np.triu(x, self.diagonal)


def plain(index: Any) -> Any:
    """One entry of an index, without tensors: a number, slice, None or ..., or an array of integers or bools."""
    if isinstance(index, Variable):
        index = index.array
    elif isinstance(index, (list, tuple, range)):
        index = np.asarray([i.array if isinstance(i, Variable) else i for i in index])
        index = index if index.size else index.astype(np.int64)
    elif isinstance(index, (bool, np.bool_)):
        index = np.asarray(index)
    if isinstance(index, np.ndarray):
        if index.dtype.kind not in "iub" or index.dtype == np.uint8:  # PyTorch takes bytes for bools
            raise IndexError(f"an index has bools, or integers with a sign, got {index.dtype}")
        return int(index) if index.ndim == 0 and index.dtype.kind != "b" else index
    if index is None or index is Ellipsis or isinstance(index, slice):
        return index
    if hasattr(index, "__index__"):
        return operator.index(index)
    raise IndexError(f"an index has numbers, slices, None, ..., lists or tensors, got {type(index).__name__}")


def parsed(index: Any, rank: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """An index as what makes a view, and what picks from that view (nothing: an empty tuple)."""
    entries = [plain(i) for i in index] if isinstance(index, tuple) else [plain(index)]
    taken = [i.ndim if isinstance(i, np.ndarray) and i.dtype == np.bool_ else 1 for i in entries]
    used = sum([n for i, n in zip(entries, taken, strict=True) if i is not None and i is not Ellipsis])
    if used > rank:
        raise IndexError(f"too many indices for a tensor of {rank} axes: {used}")
    if sum([i is Ellipsis for i in entries]) > 1:
        raise IndexError("an index has one ... at most")
    view: list[Any] = []
    pick: list[Any] = []
    for entry, axes in zip(entries, taken, strict=True):
        if isinstance(entry, np.ndarray):
            view += [slice(None)] * axes
            pick.append(entry)
        elif entry is Ellipsis:
            view += [slice(None)] * (rank - used)
            pick += [slice(None)] * (rank - used)
        else:
            view.append(entry)
            if not isinstance(entry, int):
                pick.append(slice(None))
    if not any(isinstance(i, np.ndarray) for i in pick):
        pick = []
    return (*view, Ellipsis), tuple(pick)


def item_at(x: Tensor, index: Any) -> Tensor:
    """x[index]"""
    if (type(index) is int or type(index) is slice) and x.array.ndim:  # the short way for x[i] and x[i:j]
        return Slice.apply(x, index=(index, Ellipsis))
    view, pick = parsed(index, x.array.ndim)
    if not pick:
        return Slice.apply(x, index=view)
    if view != (slice(None),) * (len(view) - 1) + (Ellipsis,):
        x = Slice.apply(x, index=view)
    if x.requires_grad:  # what is kept for the gradient must not change with the tensor that it came from
        pick = tuple([i.copy() if isinstance(i, np.ndarray) else i for i in pick])
    return Pick.apply(x, index=pick)


def put_at(x: Tensor, index: Any, value: Operand) -> None:
    """x[index] = value, where no gradient is asked for."""
    source = held("assignment", value, x.array.dtype) if isinstance(value, NUMBERS) else as_operand(value)
    if is_grad_enabled() and (x.requires_grad or source.requires_grad):
        raise RuntimeError(
            "elements cannot be assigned where the change would have to be recorded for a gradient; "
            "do it under no_grad(), or make a new tensor with where, cat or stack"
        )
    view, pick = parsed(index, x.array.ndim)
    refuse_read_only(x)
    with np.errstate(all="ignore"):
        x.array[view][pick or ...] = source.array.astype(x.array.dtype)
    x.version[0] += 1


def checked_index(name: str, x: np.ndarray, axis: int, index: np.ndarray) -> np.ndarray:
    """Integers from 0 to the length of an axis."""
    n = x.shape[axis] if x.ndim else 1
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} expects an index of integers, got {index.dtype}")
    if index.size and (index.min() < 0 or index.max() >= n):
        raise IndexError(f"{name} expects indices below {n} and not below 0, got {index.min()} to {index.max()}")
    return index


@numpy_names
def index_select(input: Operand, dim: int, index: Operand) -> Tensor:
    """The slices of an axis that a list of integers names, in its order.

    >>> import batten
    >>> batten.index_select(batten.tensor([[1, 2], [3, 4]]), 1, batten.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])
    """
    x = as_operand(input)
    axis = axis_of("index_select", x.array, dim)
    positions = as_operand(index)
    if positions.array.ndim > 1:
        raise IndexError(f"index_select expects an index with one axis, got {list(positions.array.shape)}")
    if not x.array.ndim:
        raise IndexError("index_select expects a tensor with axes, got one without")
    checked_index("index_select", x.array, axis, positions.array)
    return IndexSelect.apply(x, positions, axis=axis)


@numpy_names
def gather(input: Operand, dim: int, index: Operand) -> Tensor:
    """For each place of index the element of input at that place, but at the index along dim.

    out[i][j] = input[index[i][j]][j] for dim=0, input[i][index[i][j]] for dim=1.  Along other
    axes index may be shorter than input.

    >>> import batten
    >>> batten.gather(batten.tensor([[1, 2], [3, 4]]), 1, batten.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    x = as_operand(input)
    axis = axis_of("gather", x.array, dim)
    positions = as_operand(index)
    shape, wanted = x.array.shape, positions.array.shape
    if len(wanted) != len(shape) or any(w > n for i, (w, n) in enumerate(zip(wanted, shape, strict=True)) if i != axis):
        raise ValueError(f"gather expects an index within {list(shape)} but for dim {dim}, got {list(wanted)}")
    checked_index("gather", x.array, axis, positions.array)
    return Gather.apply(x, positions, axis=axis) if shape else x.clone()


def masked_fill(input: Operand, mask: Operand, value: Operand) -> Tensor:
    """value where the mask is true, else input.

    >>> import batten
    >>> batten.masked_fill(batten.tensor([1.0, 2.0]), batten.tensor([True, False]), 9)
    tensor([9., 2.])
    """
    x, chosen = as_operand(input), as_operand(mask)
    if chosen.array.dtype != np.bool_:
        raise TypeError(f"masked_fill expects a mask of bools, got {chosen.dtype}")
    return Where.apply(chosen, one_number("masked_fill", value, x.array.dtype), x)


def triangle(operation: type[Triangle], input: Operand, diagonal: int) -> Tensor:
    x = as_operand(input)
    if x.array.ndim < 2:
        raise ValueError(f"{operation.__name__.lower()} expects at least 2 axes, got {list(x.array.shape)}")
    return operation.apply(x, diagonal=diagonal)


def tril(input: Operand, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal, counted upward from the main one, and zeros above.

    >>> import batten
    >>> batten.tril(batten.ones(2, 3))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    return triangle(Tril, input, diagonal)


def triu(input: Operand, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal, counted upward from the main one, and zeros below.

    >>> import batten
    >>> batten.triu(batten.ones(2, 3))
    tensor([[1., 1., 1.],
            [0., 1., 1.]])
    """
    return triangle(Triu, input, diagonal)

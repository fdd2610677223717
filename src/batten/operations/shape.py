"""The same elements in another shape or order, and several tensors as one.

Most are views: they show the memory of their input.  `reshape` and its like copy
where no strides give the new shape.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Operation, wrap
from ..memory import (
    axes_in_memory,
    channels_lie_last,
    contiguous_format,
    empty_in,
    empty_with_axes,
    expect_format,
    lies_in,
    preserve_format,
)
from .axes import also_named, axes_of, axis_of, new_axis_of, numpy_names
from .families import copied, copied_to, unbroadcast, zeros
from .promotion import Operand, as_operand, promote

if TYPE_CHECKING:
    from ..memory import memory_format
    from ..tensor import Tensor

__all__ = [
    "broadcast_to",
    "cat",
    "chunk",
    "clone",
    "contiguous",
    "detach",
    "expand",
    "flatten",
    "flip",
    "permute",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "view",
]


class Reshape(Operation):
    """The elements in another shape: a view, or a copy where strides forbid one, which goes back the way it came."""

    __slots__ = ("axes", "before", "shape")
    view = True

    shape: tuple[int, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.before = x.shape
        y = x.reshape(self.shape)
        self.axes = axes_in_memory(x)
        if self.axes is not None and np.may_share_memory(y, x):
            self.axes = None
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = dy.reshape(self.before)
        return dx if self.axes is None else copied_to(empty_with_axes(self.axes, dx.shape, dx.dtype), dx)


class Permute(Operation):
    """Axis i of the result is axis order[i] of the input."""

    __slots__ = ("order",)
    view = True

    order: tuple[int, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x.transpose(self.order)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy.transpose(np.argsort(self.order))


class Expand(Operation):
    """Axes of length one, and new ones in front, repeated without a copy."""

    __slots__ = ("before", "shape")
    view = True

    shape: tuple[int, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.before = x.shape
        try:
            return np.broadcast_to(x, self.shape)
        except ValueError:
            raise ValueError(
                f"expand expects a shape that {list(x.shape)} repeats to, got {list(self.shape)}"
            ) from None

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return unbroadcast(dy, self.before)


class Clone(Operation):
    """A copy in an order of memory."""

    __slots__ = ("called", "format")

    format: memory_format
    called: str  # the function, in errors

    def forward(self, x: np.ndarray) -> np.ndarray:
        return copied_to(empty_in(self.called, self.format, x, x.dtype), x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


class Flip(Operation):
    __slots__ = ("axes",)

    axes: tuple[int, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        return copied(np.asarray(np.flip(x, self.axes)))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.asarray(np.flip(dy, self.axes))


class Roll(Operation):
    """Elements move along axes, and come in again at the other end."""

    __slots__ = ("axes", "shifts")

    axes: tuple[int, ...] | None
    shifts: tuple[int, ...]

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.roll(x, self.shifts, self.axes)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.roll(dy, [-shift for shift in self.shifts], self.axes)


class Cat(Operation):
    __slots__ = ("axis", "ends")

    axis: int

    def forward(self, *xs: np.ndarray) -> np.ndarray:
        lengths = [x.shape[self.axis] for x in xs]
        self.ends = np.cumsum(lengths)[:-1]
        shape = list(xs[0].shape)
        shape[self.axis] = sum(lengths)
        out = next((x for x in xs if not x.flags.c_contiguous), xs[0])  # in C order channels may lie last, too
        axes = axes_in_memory(out) if out.ndim > 2 and all(channels_lie_last(x) for x in xs) else None
        return np.concatenate(xs, self.axis, out=empty_with_axes(axes, shape, xs[0].dtype))

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.split(dy, self.ends, self.axis))


class Split(Operation):
    """Pieces of an axis, one after the other."""

    __slots__ = ("axes", "axis", "lengths", "shape")
    view = True

    axis: int
    lengths: Sequence[int]

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        self.shape, self.axes = x.shape, axes_in_memory(x)
        return tuple(np.split(x, np.cumsum(self.lengths)[:-1], self.axis))

    def backward(self, *dys: np.ndarray | None) -> np.ndarray:
        dx = zeros(self.shape, next(dy.dtype for dy in dys if dy is not None), self.axes)
        for part, dy in zip(np.split(dx, np.cumsum(self.lengths)[:-1], self.axis), dys, strict=True):
            if dy is not None:
                np.copyto(part, dy)
        return dx


class Unbind(Operation):
    """The slices of an axis, without it."""

    __slots__ = ("axes", "axis", "shape")
    view = True

    axis: int

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        self.shape, self.axes = x.shape, axes_in_memory(x)
        return slices(x, self.axis)

    def backward(self, *dys: np.ndarray | None) -> np.ndarray:
        dx = zeros(self.shape, next(dy.dtype for dy in dys if dy is not None), self.axes)
        for part, dy in zip(slices(dx, self.axis), dys, strict=True):
            if dy is not None:
                np.copyto(part, dy)
        return dx


def slices(x: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Views of an axis' slices."""
    moved = np.moveaxis(x, axis, 0)
    return tuple([moved[i, ...] for i in range(len(moved))])


def numbers(given: Sequence[Any]) -> tuple[int, ...]:
    """Sizes or axes given as f(2, 3) or as f((2, 3))."""
    values = given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given
    return tuple([operator.index(v) for v in values])


def inferred(name: str, size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with -1 worked out, so that it holds `size` elements."""
    known = math.prod([n for n in shape if n != -1])
    unknown = shape.count(-1)
    if unknown == 1 and known and size % known == 0:
        return tuple([size // known if n == -1 else n for n in shape])
    if unknown or known != size or any(n < 0 for n in shape):
        raise ValueError(f"{name} expects a shape of {size} elements, got {list(shape)}")
    return shape


@also_named("shape")
def reshape(input: Operand, *shape: Any) -> Tensor:
    """The elements in another shape; one length may be -1, and is worked out.

    >>> import batten
    >>> batten.reshape(batten.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    x = as_operand(input)
    return Reshape.apply(x, shape=inferred("reshape", x.array.size, numbers(shape)))


view = reshape


def flatten(input: Operand, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one.

    >>> import batten
    >>> batten.flatten(batten.zeros(2, 3, 4), 1).shape
    (2, 12)
    """
    x = as_operand(input)
    first, last = axis_of("flatten", x.array, start_dim), axis_of("flatten", x.array, end_dim)
    if first > last:
        raise ValueError(f"flatten expects start_dim before end_dim, got {start_dim} and {end_dim}")
    shape = x.array.shape
    return Reshape.apply(x, shape=(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def unflatten(input: Operand, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several; one length may be -1, and is worked out.

    >>> import batten
    >>> batten.unflatten(batten.zeros(2, 12), 1, (3, -1)).shape
    (2, 3, 4)
    """
    x = as_operand(input)
    axis = axis_of("unflatten", x.array, dim)
    shape = x.array.shape
    parts = inferred("unflatten", shape[axis], numbers((sizes,)))
    return Reshape.apply(x, shape=(*shape[:axis], *parts, *shape[axis + 1 :]))


def transpose(input: Operand, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged.

    >>> import batten
    >>> batten.transpose(batten.zeros(2, 3, 4), 0, 2).shape
    (4, 3, 2)
    """
    x = as_operand(input)
    i, j = axis_of("transpose", x.array, dim0), axis_of("transpose", x.array, dim1)
    order = list(range(x.array.ndim))
    if order:
        order[i], order[j] = j, i
    return Permute.apply(x, order=tuple(order))


@also_named("dims")
def permute(input: Operand, *dims: Any) -> Tensor:
    """The axes in another order: axis i of the result is axis dims[i] of the input.

    >>> import batten
    >>> batten.permute(batten.zeros(2, 3, 4), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_operand(input)
    order = tuple([axis_of("permute", x.array, d) for d in numbers(dims)])
    if sorted(order) != list(range(x.array.ndim)):
        raise ValueError(f"permute expects each of {x.array.ndim} dims once, got {list(numbers(dims))}")
    return Permute.apply(x, order=order)


@numpy_names
def squeeze(input: Operand, dim: Any = None) -> Tensor:
    """Without the axes of length one, all of them or those in `dim`.

    >>> import batten
    >>> batten.squeeze(batten.zeros(1, 3, 1)).shape
    (3,)
    """
    x = as_operand(input)
    axes = axes_of("squeeze", x.array, dim)
    return Reshape.apply(x, shape=tuple([n for i, n in enumerate(x.array.shape) if n != 1 or i not in axes]))


@numpy_names
def unsqueeze(input: Operand, dim: int) -> Tensor:
    """With an axis of length one before axis `dim`.

    >>> import batten
    >>> batten.unsqueeze(batten.zeros(3), -1).shape
    (3, 1)
    """
    x = as_operand(input)
    axis = new_axis_of("unsqueeze", x.array, dim)
    return Reshape.apply(x, shape=(*x.array.shape[:axis], 1, *x.array.shape[axis:]))


@also_named("size")
def expand(input: Operand, *size: Any) -> Tensor:
    """Axes of length one repeated, without a copy, to the sizes given; -1 leaves an axis as it is.

    >>> import batten
    >>> batten.expand(batten.tensor([[1], [2]]), 2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    x = as_operand(input)
    shape = numbers(size)
    new = len(shape) - x.array.ndim
    if new >= 0:
        shape = tuple([x.array.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(shape)])
    if new < 0 or min(shape, default=0) < 0:
        raise ValueError(f"expand expects a shape that {list(x.array.shape)} repeats to, got {list(shape)}")
    return Expand.apply(x, shape=shape)


def broadcast_to(input: Operand, size: Sequence[int]) -> Tensor:
    """Repeated, without a copy, to a shape.

    >>> import batten
    >>> batten.broadcast_to(batten.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, size)


def clone(input: Operand, *, memory_format: Any = preserve_format) -> Tensor:
    """A copy, with a gradient that goes back to the input.

    >>> import batten
    >>> batten.clone(batten.tensor([1, 2]))
    tensor([1, 2])
    """
    expect_format("clone", memory_format)
    return Clone.apply(as_operand(input), format=memory_format, called="clone")


def detach(input: Operand) -> Tensor:
    """The same memory off the tape.

    >>> import batten
    >>> batten.detach(batten.ones(2, requires_grad=True)).requires_grad
    False
    """
    x = as_operand(input)
    y: Tensor = wrap(x.array)
    y.version = x.version
    return y


def contiguous(input: Operand, *, memory_format: Any = contiguous_format) -> Tensor:
    """The tensor itself if its elements lie in C order, or in that of a memory format, else a copy whose elements do.

    >>> import batten
    >>> batten.contiguous(batten.zeros(2, 3).T).is_contiguous()
    True
    >>> batten.contiguous(batten.zeros(2, 3, 4, 5), memory_format=batten.channels_last).stride()
    (60, 1, 15, 3)
    """
    return arranged("contiguous", as_operand(input), memory_format)


def arranged(name: str, x: Tensor, format: Any) -> Tensor:
    """x itself if its elements lie in an order, else a copy whose elements do."""
    expect_format(name, format)
    if lies_in(x.array, format):
        return x
    if format is preserve_format:
        raise ValueError(f"{name} expects an order of memory to bring the elements into, got {format}")
    return Clone.apply(x, format=format, called=name)


@also_named("dims")
def flip(input: Operand, *dims: Any) -> Tensor:
    """Axes in reverse.

    >>> import batten
    >>> batten.flip(batten.tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    x = as_operand(input)
    axes = numbers(dims)
    return Flip.apply(x, axes=axes_of("flip", x.array, axes) if axes else ())


def roll(input: Operand, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along axes (or, without dims, in C order) and in again at the other end.

    >>> import batten
    >>> batten.roll(batten.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    x = as_operand(input)
    shifts = numbers((shifts,)) if isinstance(shifts, (tuple, list)) else (shifts,)
    axes = None if dims is None else dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != (1 if axes is None else len(axes)):
        raise ValueError(f"roll expects a shift for each dim, got {len(shifts)} and dims={dims}")
    return Roll.apply(x, shifts=shifts, axes=axes and tuple([axis_of("roll", x.array, d) for d in axes]))


@numpy_names
def cat(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis.

    >>> import batten
    >>> batten.cat([batten.zeros(1, 2), batten.ones(2, 2)])
    tensor([[0., 0.],
            [1., 1.],
            [1., 1.]])
    """
    if not len(tensors):
        raise ValueError("cat expects at least one tensor, got none")
    xs = promote(*tensors)
    # PyTorch lets an empty list of numbers stand for nothing, whatever the other shapes.
    xs = [x for x in xs if x.array.shape != (0,)] or xs[:1]
    if not xs[0].array.ndim:
        raise ValueError("cat expects tensors with axes, got one without; stack makes an axis of them")
    axis = axis_of("cat", xs[0].array, dim)
    rests = {(*x.array.shape[:axis], *x.array.shape[axis + 1 :]) for x in xs}
    if len(rests) > 1 or any(x.array.ndim != xs[0].array.ndim for x in xs):
        shapes = ", ".join(str(list(x.array.shape)) for x in xs)
        raise ValueError(f"cat expects shapes that differ in dim {dim} only, got {shapes}")
    return Cat.apply(*xs, axis=axis)


@numpy_names
def stack(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    >>> import batten
    >>> batten.stack([batten.tensor([1, 2]), batten.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    xs = promote(*tensors) if len(tensors) else []
    shapes = {x.array.shape for x in xs}
    if len(shapes) != 1:
        raise ValueError(f"stack expects tensors of one shape, got {', '.join(str(list(s)) for s in shapes) or 'none'}")
    axis = new_axis_of("stack", xs[0].array, dim)
    return Cat.apply(*[unsqueeze(x, axis) for x in xs], axis=axis)


def split(tensor: Operand, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of an axis: of one length (the last may be shorter), or of the lengths given.

    >>> import batten
    >>> batten.split(batten.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    x = as_operand(tensor)
    axis = axis_of("split", x.array, dim)
    n = x.array.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        lengths = numbers(split_size_or_sections)
        if sum(lengths) != n or min(lengths, default=0) < 0:
            raise ValueError(f"split expects lengths that add up to {n}, got {list(lengths)}")
    else:
        length = operator.index(split_size_or_sections)
        if length < 0 or (not length and n):
            raise ValueError(f"split expects a length of at least 1, got {length}")
        lengths = tuple([min(length, n - start) for start in range(0, n, length or 1)]) or (0,)
    return Split.apply(x, lengths=lengths, axis=axis)


@numpy_names
def chunk(input: Operand, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """An axis in so many pieces of one length, the last perhaps shorter; fewer where it is too short.

    >>> import batten
    >>> batten.chunk(batten.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if chunks < 1:
        raise ValueError(f"chunk expects at least 1 piece, got {chunks}")
    x = as_operand(input)
    n = x.array.shape[axis_of("chunk", x.array, dim)]
    return split(x, -(-n // chunks), dim) if n else split(x, (0,) * chunks, dim)


@numpy_names
def unbind(input: Operand, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of an axis.

    >>> import batten
    >>> batten.unbind(batten.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_operand(input)
    axis = axis_of("unbind", x.array, dim)
    if not x.array.ndim:
        raise IndexError("unbind expects a tensor with an axis, got one without")
    return Unbind.apply(x, axis=axis)

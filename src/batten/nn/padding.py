"""Padding: more elements before and behind those of the last axes, or, by negative numbers, fewer.

    constant    v v|a b c d|v v
    reflect     c b|a b c d|c b
    replicate   a a|a b c d|d d
    circular    c d|a b c d|a b

Along one axis the result has up to three pieces, each a slice of the input: the middle, and what is before
and behind.  Along several it has every combination of them.  Forward copies them, and backward adds them up in
the same order.  The result's axes lie in memory as the input's do.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..operations.families import unbroadcast
from ..operations.promotion import Operand, as_operand
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

# What can be padded with its own elements along so many axes.
IMAGES = {1: "(N, C, L) or (C, L)", 2: "(N, C, H, W) or (C, H, W)", 3: "(N, C, D, H, W) or (C, D, H, W)"}

# Of an axis: a slice of the result, and the one of the input that it is.
Piece = tuple[slice, slice]


class Pad(Operation):
    """A tensor in pieces: of the result, `pieces` has the place and the source, the middle first.

    All else in the result has the `value`, if there is one.
    """

    __slots__ = ("after", "before", "pieces", "value")

    after: tuple[int, ...]
    value: float | None
    pieces: list[tuple[Any, Any]]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.before = x.shape
        y = in_order_of(x, self.after)
        if self.value is not None:
            put(y, np.asarray(self.value, x.dtype))
        for place, source in self.pieces:
            put(y[place], x[source])
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        (place, source), *others = self.pieces
        dx = in_order_of(dy, self.before)
        if dx[source].shape != dx.shape:  # some of x was left out
            dx.fill(0)
        put(dx[source], dy[place])
        for place, source in others:
            part = dx[source]
            kernels.add(part, part, unbroadcast(dy[place], part.shape))
        return dx


def in_order_of(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """An uninitialised array of some shape whose axes lie in memory in the order of x's."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    memory = kernels.empty([shape[axis] for axis in order], x.dtype)
    return memory.transpose(np.argsort(order)) if order else memory


def put(y: np.ndarray, x: np.ndarray) -> None:
    """y = x, which may repeat."""
    if y.dtype.kind == "f":
        kernels.copy(y, x)
    else:
        np.copyto(y, x)


def pieces_of(n: int, before: int, after: int, mode: str) -> Iterator[Piece]:
    """The pieces of an axis of n elements, the middle first."""
    first, last = max(-before, 0), n - max(-after, 0)
    yield slice(max(before, 0), max(before, 0) + last - first), slice(first, last)
    end = n + before + after
    sources = {
        "reflect": (slice(before, 0, -1), slice(n - 2, n - 2 - after if after < n - 1 else None, -1)),
        "replicate": (slice(0, 1), slice(n - 1, n)),
        "circular": (slice(last - before, last), slice(first, first + after)),
    }
    if mode in sources:
        if before > 0:
            yield slice(0, before), sources[mode][0]
        if after > 0:
            yield slice(end - after, end), sources[mode][1]


def check(name: str, shape: tuple[int, ...], axis: int, before: int, after: int, mode: str) -> None:
    """Refuses numbers that do not fit an axis."""
    n = shape[axis]
    left = n - max(-before, 0) - max(-after, 0)
    most = {"reflect": max(n - 1, 0), "circular": max(left, 0)}.get(mode)
    given = f"got ({before}, {after}) for axis {axis} of {list(shape)}"
    if left < 0:
        raise ValueError(f"{name} expects to leave out at most all of an axis, {given}")
    if most is not None and max(before, after) > most:
        raise ValueError(f"{name} expects at most {most} elements on each side in mode {mode}, {given}")
    if mode in ("reflect", "replicate") and (not n or n + before + after < 1):
        raise ValueError(f"{name} expects at least one element before and after in mode {mode}, {given}")


def padded(name: str, input: Operand, widths: Sequence[int], mode: str, value: float | None) -> Tensor:
    """What `pad` returns, with errors that call it by another name."""
    x = as_operand(input)
    shape = x.array.shape
    axes = len(widths) // 2
    if len(widths) % 2 or axes > len(shape):
        raise ValueError(
            f"{name} expects two numbers for each of up to {len(shape)} axes of {list(shape)}, got {list(widths)}"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"{name} expects mode constant, reflect, replicate or circular, got {mode!r}")
    if mode != "constant":
        if axes not in IMAGES:
            raise ValueError(f"{name} expects numbers for one to three axes in mode {mode}, got {list(widths)}")
        if len(shape) not in (axes + 1, axes + 2):
            raise ValueError(
                f"{name} expects {IMAGES[axes]} with {2 * axes} numbers and mode {mode}, got {list(shape)}"
            )
        if value:
            raise ValueError(f"{name} expects a value in mode constant only, got {value} in mode {mode}")
    lengths = list(shape)
    along: list[list[Piece]] = []
    for axis, before, after in zip(range(-1, -axes - 1, -1), widths[::2], widths[1::2], strict=True):
        check(name, shape, axis, before, after, mode)
        lengths[axis] += before + after
        along.insert(0, list(pieces_of(shape[axis], before, after, mode)))
    pieces = [((..., *[p for p, _ in parts]), (..., *[s for _, s in parts])) for parts in itertools.product(*along)]
    filled = mode == "constant" and any(n > 0 for n in widths)
    return Pad.apply(x, after=tuple(lengths), value=(value or 0) if filled else None, pieces=pieces)


def pad(input: Operand, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """input with pad[0] elements before and pad[1] behind those of the last axis, pad[2] and pad[3] the one before, …

    In mode "constant" they are `value` (0), and any number of axes may be padded; in the modes "reflect", "replicate"
    and "circular" they are the input's own, for one to three axes behind those of channels and, if there is one, batch.
    A negative number leaves elements out.

    ValueError if the numbers do not fit the shape.

    >>> import batten
    >>> x = batten.tensor([[1, 2, 3]])
    >>> batten.nn.functional.pad(x, (2, 1))
    tensor([[0, 0, 1, 2, 3, 0]])
    >>> batten.nn.functional.pad(x, (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    return padded("pad", input, [operator.index(n) for n in pad], mode, value)


class Padding(Module):
    """What all layers have in common: the widths, from the last axis on, or one for all sides."""

    axes: ClassVar[int]
    mode: ClassVar[str]
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sides = 2 * self.axes
        given = padding if isinstance(padding, Sequence) else (padding,) * sides
        self.padding = tuple([operator.index(n) for n in given])
        if len(self.padding) != sides:
            raise ValueError(f"{type(self).__name__} expects one number or {sides}, got {list(self.padding)}")

    def forward(self, input: Tensor) -> Tensor:
        return padded(type(self).__name__, input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Padding):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPad):
    """The last axis between constants: padding is their number on each side, or (left, right).

    >>> import batten
    >>> batten.nn.ConstantPad1d((1, 2), 7)(batten.tensor([[1, 2]]))
    tensor([[7, 1, 2, 7, 7]])
    """

    axes = 1


class ConstantPad2d(ConstantPad):
    """The last two axes between constants: padding is their number on each side, or (left, right, top, bottom)."""

    axes = 2


class ConstantPad3d(ConstantPad):
    """The last three axes between constants: padding is their number on each side, or (left, right, top, bottom,
    front, back)."""

    axes = 3


class ZeroPad(Padding):
    mode = "constant"
    value = 0.0


class ZeroPad1d(ZeroPad):
    """The last axis between zeros: padding is their number on each side, or (left, right).

    >>> import batten
    >>> batten.nn.ZeroPad1d(1)(batten.tensor([[1, 2]]))
    tensor([[0, 1, 2, 0]])
    """

    axes = 1


class ZeroPad2d(ZeroPad):
    """The last two axes between zeros: padding is their number on each side, or (left, right, top, bottom)."""

    axes = 2


class ZeroPad3d(ZeroPad):
    """The last three axes between zeros: padding is their number on each side, or (left, right, top, bottom,
    front, back)."""

    axes = 3


class ReflectionPad(Padding):
    mode = "reflect"


class ReflectionPad1d(ReflectionPad):
    """(N, C, L) or (C, L) with the last axis mirrored at its ends: padding is a number of elements, or (left, right).

    >>> import batten
    >>> batten.nn.ReflectionPad1d(2)(batten.tensor([[1, 2, 3]]))
    tensor([[3, 2, 1, 2, 3, 2, 1]])
    """

    axes = 1


class ReflectionPad2d(ReflectionPad):
    """(N, C, H, W) or (C, H, W) mirrored at the edges: padding is a number, or (left, right, top, bottom)."""

    axes = 2


class ReflectionPad3d(ReflectionPad):
    """(N, C, D, H, W) or (C, D, H, W) mirrored at the faces: padding is a number, or (left, right, top, bottom,
    front, back)."""

    axes = 3


class ReplicationPad(Padding):
    mode = "replicate"


class ReplicationPad1d(ReplicationPad):
    """(N, C, L) or (C, L) with its first and last elements repeated: padding is a number, or (left, right).

    >>> import batten
    >>> batten.nn.ReplicationPad1d(2)(batten.tensor([[1, 2, 3]]))
    tensor([[1, 1, 1, 2, 3, 3, 3]])
    """

    axes = 1


class ReplicationPad2d(ReplicationPad):
    """(N, C, H, W) or (C, H, W) with its edges repeated: padding is a number, or (left, right, top, bottom)."""

    axes = 2


class ReplicationPad3d(ReplicationPad):
    """(N, C, D, H, W) or (C, D, H, W) with its faces repeated: padding is a number, or (left, right, top, bottom,
    front, back)."""

    axes = 3


class CircularPad(Padding):
    mode = "circular"


class CircularPad1d(CircularPad):
    """(N, C, L) or (C, L) with what is at the other end of the last axis: padding is a number, or (left, right).

    >>> import batten
    >>> batten.nn.CircularPad1d(2)(batten.tensor([[1, 2, 3]]))
    tensor([[2, 3, 1, 2, 3, 1, 2]])
    """

    axes = 1


class CircularPad2d(CircularPad):
    """(N, C, H, W) or (C, H, W) with what is at the other edge: padding is a number, or (left, right, top, bottom)."""

    axes = 2


class CircularPad3d(CircularPad):
    """(N, C, D, H, W) or (C, D, H, W) with what is at the other face: padding is a number, or (left, right, top,
    bottom, front, back)."""

    axes = 3

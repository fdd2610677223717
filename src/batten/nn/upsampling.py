"""Interpolation: images with more pixels, or fewer.

Along one axis every result is a weighted sum of a few elements,

    y[i] = Σ w x[index],

and along several it is the same of one axis after the other, whatever the mode.  What differs is a table, of which
elements and with which weights; the gradient is the same with the transposed table.  A result that stands at
`position`, counted in the input's elements, is

    nearest      the element that begins there
    area         the mean of the elements that are, in part or whole, in its share of the axis
    linear       of the two elements beside it, each the more the nearer it is
    cubic        of the four elements around it, by the cubic convolution of Keys (1981) with a = -3/4

and where elements would lie outside, those at the edge are taken instead.  Of fewer results than elements, linear and
cubic leave some out; with antialias distances are measured in results, so that all elements count.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..operations.families import copied
from ..operations.promotion import Operand, floats
from .layout import channels_first, channels_last
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

# The terms of all results, one after the other: where each result's begin, and their indices and weights.
Table = tuple[np.ndarray, np.ndarray, np.ndarray]
# The same before those are left out that weigh nothing: indices and weights, with a row for each result.
Terms = tuple[np.ndarray, np.ndarray]


class Interpolation(Operation):
    """The tables, one after the other, each along an axis of (N, *, C); backward the transposed ones, in turn."""

    __slots__ = ("tables",)

    tables: list[tuple[int, Table, Table]]

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = channels_last(x)
        for axis, table, _ in self.tables:
            y = along(axis, y, table)
        return channels_first(y if self.tables else copied(y))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = channels_last(dy)
        for axis, _, transposed in reversed(self.tables):
            dx = along(axis, dx, transposed)
        return channels_first(dx)


def along(axis: int, x: np.ndarray, table: Table) -> np.ndarray:
    """An array's elements along an axis as sums by a table."""
    outer, n, inner = math.prod(x.shape[:axis]), len(table[0]) - 1, math.prod(x.shape[axis + 1 :])
    y = kernels.empty((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype)
    kernels.interpolate(y.reshape(outer, n, inner), x.reshape(outer, x.shape[axis], inner), *table)
    return y


@functools.lru_cache(maxsize=256)
def tables_of(
    terms: Callable[..., Terms], length: int, n: int, scale: float | None, align_corners: bool
) -> tuple[Table, Table] | None:
    """A table for n results of `length` elements, and the transposed one; None if it would change nothing.

    The results are `scale` elements apart, if that is said, and else as fits.
    """
    index, weight = terms(length, n, scale, align_corners)
    results = np.broadcast_to(np.arange(n)[:, None], index.shape)
    used = weight != 0
    results, index, weight = results[used], index[used], weight[used]
    if length == n and np.array_equal(results, index) and (weight == 1).all():
        return None
    order = np.argsort(index, kind="stable")
    return table(results, index, weight, n), table(index[order], results[order], weight[order], length)


def table(results: np.ndarray, index: np.ndarray, weight: np.ndarray, n: int) -> Table:
    """The table of terms that are sorted by their results."""
    return np.searchsorted(results, np.arange(n + 1)), np.ascontiguousarray(index), weight


def spacing(length: int, n: int, scale: float | None, align_corners: bool) -> float:
    """How far results are apart, in elements."""
    if align_corners:
        return (length - 1) / (n - 1) if n > 1 else 0.0
    return scale or length / n


def nearest(length: int, n: int, scale: float | None, align_corners: bool, shift: float) -> Terms:
    """In float32 whatever the type, as in PyTorch: where two elements are equally near, rounding decides."""
    if shift == 0 and n in (length, 2 * length):
        index = np.arange(n) // (n // length)
    else:
        apart = np.float32(scale or np.float32(length) / np.float32(n))
        index = np.floor((np.arange(n, dtype=np.float32) + np.float32(shift)) * apart).astype(np.int64)
    return np.minimum(index, length - 1)[:, None], np.ones((n, 1))


def area(length: int, n: int, scale: float | None, align_corners: bool) -> Terms:
    first, last = np.arange(n) * length // n, -(-np.arange(1, n + 1) * length // n)
    index = first[:, None] + np.arange(max(last - first))
    return index.clip(max=length - 1), (index < last[:, None]) / (last - first)[:, None]


def positions(length: int, n: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """Where results stand: 0 is the middle of the first element."""
    apart = spacing(length, n, scale, align_corners)
    return np.arange(n) * apart if align_corners else (np.arange(n) + 0.5) * apart - 0.5


def linear(length: int, n: int, scale: float | None, align_corners: bool) -> Terms:
    # An axis that keeps its length stays as it is, whatever the scale.
    at = np.arange(n) if n == length else positions(length, n, scale, align_corners).clip(0, length - 1)
    first = at.astype(np.int64)
    return np.stack([first, np.minimum(first + 1, length - 1)], 1), np.stack([1 - (at - first), at - first], 1)


def cubic(length: int, n: int, scale: float | None, align_corners: bool) -> Terms:
    at = positions(length, n, scale, align_corners)
    first = np.minimum(np.floor(at), length - 1)
    part = np.clip(at - first, 0, 1)
    index = first[:, None].astype(np.int64) + np.arange(-1, 3)
    return index.clip(0, length - 1), keys(np.stack([part + 1, part, 1 - part, 2 - part], 1), -0.75)


def smooth(
    length: int, n: int, scale: float | None, align_corners: bool, reach: int, weigh: Callable[[np.ndarray], np.ndarray]
) -> Terms:
    """By the distance in results, or in elements where these are further apart."""
    apart = 1.0 if n == length else spacing(length, n, scale, align_corners)
    unit, center = max(apart, 1.0), apart * (np.arange(n) + 0.5)
    first = (center - reach * unit + 0.5).astype(np.int64).clip(min=0)
    last = (center + reach * unit + 0.5).astype(np.int64).clip(max=length)
    index = first[:, None] + np.arange(max(last - first))
    weight = np.where(index < last[:, None], weigh(abs(index + 0.5 - center[:, None]) / unit), 0)
    return index.clip(max=length - 1), weight / weight.sum(1, keepdims=True)


def keys(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution's weight of an element at a distance."""
    inner, outer = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def triangle(d: np.ndarray) -> np.ndarray:
    """The linear weight of an element at a distance."""
    return np.maximum(1 - d, 0)


# How many spatial axes a mode is for, the terms along each of them, and those with antialias.
MODES: dict[str, tuple[tuple[int, ...], Callable[..., Terms], Callable[..., Terms] | None]] = {
    "nearest": ((1, 2, 3), functools.partial(nearest, shift=0.0), None),
    "nearest-exact": ((1, 2, 3), functools.partial(nearest, shift=0.5), None),
    "area": ((1, 2, 3), area, None),
    "linear": ((1,), linear, None),
    "bilinear": ((2,), linear, functools.partial(smooth, reach=1, weigh=triangle)),
    "trilinear": ((3,), linear, None),
    "bicubic": ((2,), cubic, functools.partial(smooth, reach=2, weigh=functools.partial(keys, a=-0.5))),
}


def interpolate(
    input: Operand,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input (N, C, L), (N, C, H, W) or (N, C, D, H, W) with other spatial lengths: `size`, or a multiple of its own.

    mode is "nearest", "nearest-exact" or "area" for any of them, "linear" for one spatial axis, "bilinear" or "bicubic"
    for two, and "trilinear" for three.  With align_corners the corner pixels' middles stay where they are, without it
    their outer edges.  A scale_factor also says how far results are apart, unless recompute_scale_factor is
    True, which takes what follows from the lengths.

    antialias, of bilinear and bicubic, lets all pixels count where there become fewer.

    ValueError if these do not fit the input, TypeError unless it is of floats.

    >>> import batten
    >>> x = batten.tensor([[[1.0, 2.0]]])
    >>> batten.nn.functional.interpolate(x, scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    >>> batten.nn.functional.interpolate(x, size=5, mode="linear", align_corners=True)
    tensor([[[1.0000, 1.2500, 1.5000, 1.7500, 2.0000]]])
    """
    return resized("interpolate", input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


def resized(
    name: str,
    input: Operand,
    size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool = False,
) -> Tensor:
    """What `interpolate` returns, with errors that call it by another name."""
    x = floats(name, input)
    shape = x.array.shape
    spatial = shape[2:]
    if mode not in MODES:
        raise ValueError(f"{name} expects one of the modes {', '.join(MODES)}, got {mode!r}")
    axes, terms, smooth_terms = MODES[mode]
    if len(spatial) not in axes or not all(spatial):
        raise ValueError(
            f"{name} expects (N, C, *) with {' or '.join(map(str, axes))} spatial axes, which are not empty, "
            f"in mode {mode}, got {list(shape)}"
        )
    if align_corners is not None and terms not in (linear, cubic):
        raise ValueError(f"{name} has no align_corners in mode {mode}, got {align_corners}")
    if antialias:
        if smooth_terms is None:
            raise ValueError(f"{name} has antialias in the modes bilinear and bicubic only, got {mode!r}")
        terms = smooth_terms
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name} expects either size or scale_factor, got {size} and {scale_factor}")
    if size is not None:
        if recompute_scale_factor:
            raise ValueError(f"{name} has no scale_factor to recompute with size={size}")
        lengths = [operator.index(n) for n in each_axis(name, "size", size, spatial)]
        scales = [None] * len(spatial)
    else:
        factors = each_axis(name, "scale_factor", scale_factor, spatial)
        lengths = [int(n * factor) for n, factor in zip(spatial, factors, strict=True)]
        scales = [None if recompute_scale_factor else 1 / factor for factor in factors]
    if min(lengths) < 1:
        raise ValueError(f"{name} expects a result of at least one pixel, got {lengths} from {list(shape)}")
    found = [
        (axis, tables_of(terms, n, length, scale, bool(align_corners)))
        for axis, (n, length, scale) in enumerate(zip(spatial, lengths, scales, strict=True), 1)
    ]
    return Interpolation.apply(x, tables=[(axis, *both) for axis, both in found if both is not None])


def each_axis(name: str, what: str, given: Any, spatial: Sequence[int]) -> list[Any]:
    """One number for each spatial axis."""
    numbers = list(given) if isinstance(given, Sequence) else [given] * len(spatial)
    if len(numbers) != len(spatial):
        raise ValueError(f"{name} expects one {what} for each of the spatial axes {list(spatial)}, got {given}")
    return numbers


class Upsample(Module):
    """(N, C, *) with other spatial lengths, as `interpolate` does: to a size, or by a scale_factor.

    >>> import batten
    >>> layer = batten.nn.Upsample(scale_factor=2, mode="bilinear")
    >>> layer
    Upsample(scale_factor=2.0, mode='bilinear')
    >>> layer(batten.ones(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor: Any = scale_factor
        if isinstance(scale_factor, Sequence):
            self.scale_factor = tuple([float(factor) for factor in scale_factor])
        elif scale_factor is not None:
            self.scale_factor = float(scale_factor)
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return resized(
            type(self).__name__,
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        given = "size" if self.scale_factor is None else "scale_factor"
        return f"{given}={getattr(self, given)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """(N, C, H, W) with another height and width, each pixel the nearest of the input's.

    >>> import batten
    >>> batten.nn.UpsamplingNearest2d(scale_factor=2)(batten.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """(N, C, H, W) with another height and width, by bilinear interpolation with aligned corners.

    >>> import batten
    >>> batten.nn.UpsamplingBilinear2d(size=(1, 3))(batten.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)

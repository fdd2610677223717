"""Sums, means, extremes: what is left of an axis, or of several, or of all.

`dim` is an axis, a tuple of axes, or None for all; a negative one counts from the
end.  With keepdim the axes stay, with length one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation, Variable, wrap
from .arithmetic import maximum, minimum
from .axes import axes_of, axis_of, kept_shape, left_shape, length_of, numpy_names
from .elementwise import abs
from .families import contiguous, copied, zeros
from .promotion import Operand, as_operand, floats, to_type

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumsum",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "sum",
    "var",
]


class Reduction(Operation):
    """y = f(x) over `axes`: what the reductions share."""

    __slots__ = ("axes", "keepdim", "shape")

    axes: tuple[int, ...]
    keepdim: bool

    def allocate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory for the result, in its own shape, and the same with the axes kept."""
        self.shape = x.shape
        kept = kept_shape(x, self.axes)
        y = kernels.empty(kept if self.keepdim else left_shape(x, self.axes), x.dtype)
        return y, y.reshape(kept)

    def restored(self, y: np.ndarray) -> np.ndarray:
        """A result, or its gradient, with the axes kept."""
        return y.reshape([1 if i in self.axes else n for i, n in enumerate(self.shape)])

    def spread(self, dy: np.ndarray) -> np.ndarray:
        """The gradient of a result, shown at every element that it was made of."""
        return np.broadcast_to(self.restored(dy), self.shape)


class Sum(Reduction):
    __slots__ = ()

    def forward(self, x: np.ndarray) -> np.ndarray:
        y, kept = self.allocate(x)
        if x.dtype.kind == "f":
            kernels.sum(kept, x)
        else:
            np.sum(x, self.axes, keepdims=True, out=kept)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.spread(dy)


class Mean(Reduction):
    __slots__ = ("scale",)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.scale = 1 / (length_of(x, self.axes) or math.nan)
        y, kept = self.allocate(x)
        kernels.sum(kept, x, self.scale)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.spread(times(dy, self.scale))


def times(x: np.ndarray, scale: float) -> np.ndarray:
    """x scale."""
    return kernels.mul(kernels.empty_like(x), x, np.asarray(scale, x.dtype))


class Deviation(Reduction):
    """v = Σ (x - mean)² / (n - correction); kept are the deviations, and dx = 2 dv (x - mean) / (n - correction)."""

    __slots__ = ("correction", "deviations", "scale")

    correction: float

    def variance(self, x: np.ndarray) -> np.ndarray:
        n = length_of(x, self.axes)
        self.scale = 1 / (n - self.correction) if n > self.correction else math.inf
        y, kept = self.allocate(x)
        kernels.sum(kept, x, 1 / (n or math.nan))
        self.deviations = kernels.sub(kernels.empty_like(x), x, kept)
        kernels.sum(kept, kernels.square(kernels.empty_like(x), self.deviations), self.scale)
        return y

    def back(self, dv: np.ndarray) -> np.ndarray:
        dv = self.restored(times(dv, 2 * self.scale))
        return kernels.mul(kernels.empty_like(self.deviations), self.deviations, dv)


class Var(Deviation):
    __slots__ = ()

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.variance(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.back(dy)


class Std(Deviation):
    """The square root of the variance; where it is zero, so is the gradient."""

    __slots__ = ("y",)

    def forward(self, x: np.ndarray) -> np.ndarray:
        v = self.variance(x)
        self.y = kernels.sqrt(v, v)
        return self.y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dv = kernels.sqrt_backward(kernels.empty_like(dy), dy, self.y)
        dv[self.y == 0] = 0
        return self.back(dv)


class Extreme(Reduction):
    """The largest or smallest element; elements that are equally extreme share the gradient."""

    __slots__ = ("x", "y")

    kernel: Any
    numpy: Any

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        self.x = x
        self.y, _ = extreme(type(self), x, self.axes, self.keepdim)
        return self.y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        y = self.restored(self.y)
        chosen = (self.x == y) | (np.isnan(self.x) & np.isnan(y))
        with np.errstate(all="ignore"):
            each = self.restored(dy) / chosen.sum(self.axes, keepdims=True, dtype=dy.dtype)
        return np.where(chosen, each, dy.dtype.type(0))


class Amax(Extreme):
    __slots__ = ()
    kernel, numpy = kernels.max, np.argmax


class Amin(Extreme):
    __slots__ = ()
    kernel, numpy = kernels.min, np.argmin


class ExtremeAlong(Reduction):
    """The extreme elements along one axis and their indices; the first of equals has the gradient."""

    __slots__ = ("index",)

    family: type[Extreme]
    index: Any

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.shape = x.shape
        y, index = extreme(self.family, x, self.axes, self.keepdim)
        self.index = index.copy() if self.needs_input_grad[0] else None  # the user may change the index that he gets
        return y, index

    def backward(self, dy: np.ndarray, _: None) -> np.ndarray:
        dx = zeros(self.shape, dy.dtype)
        if self.axes:
            np.put_along_axis(dx, self.restored(self.index), self.restored(dy), self.axes[0])
        else:
            np.copyto(dx, dy)
        return dx


class Max(ExtremeAlong):
    __slots__ = ()
    family = Amax


class Min(ExtremeAlong):
    __slots__ = ()
    family = Amin


def extreme(
    family: type[Extreme], x: np.ndarray, axes: tuple[int, ...], keepdim: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The extreme elements, and their indices along the axes taken as one."""
    n = length_of(x, axes)
    if not n:
        raise IndexError(f"no largest or smallest of no elements: dim {list(axes)} of shape {list(x.shape)}")
    shape = kept_shape(x, axes) if keepdim else left_shape(x, axes)
    first, count = axes[0] if axes else 0, len(axes)
    if axes != tuple(range(first, first + count)):
        x = np.moveaxis(x, axes, range(-count, 0))
        first = x.ndim - count
    outer, inner = math.prod(x.shape[:first]), math.prod(x.shape[first + count :])
    columns = contiguous(x).reshape(outer, n, inner)
    y, index = kernels.empty(shape, x.dtype), kernels.empty(shape, dtypes.int64)
    flat_y, flat_index = y.reshape(outer, inner), index.reshape(outer, inner)
    if x.dtype.kind == "f":
        family.kernel(flat_y, flat_index, columns)
    else:
        family.numpy(columns, 1, out=flat_index)
        np.copyto(flat_y, np.take_along_axis(columns, flat_index[:, None], 1)[:, 0])
    return y, index


class Prod(Reduction):
    """The product; dx is that of all other elements, which no division by x gives where x is 0."""

    __slots__ = ("x",)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        y, kept = self.allocate(x)
        with np.errstate(all="ignore"):
            np.prod(x, self.axes, keepdims=True, out=kept)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        last = range(-len(self.axes), 0)
        moved = np.moveaxis(self.x, self.axes, last)
        x = moved.reshape(*left_shape(self.x, self.axes), length_of(self.x, self.axes))
        before, after = np.ones_like(x), np.ones_like(x)
        with np.errstate(all="ignore"):
            np.cumprod(x[..., :-1], -1, out=before[..., 1:])
            np.cumprod(x[..., :0:-1], -1, out=after[..., -2::-1])
            others = np.moveaxis((before * after).reshape(moved.shape), last, self.axes)
        return kernels.mul(kernels.empty_like(others), others, self.restored(dy))


class Cumsum(Operation):
    """The sums of all elements up to each along an axis; backward, of all from each on."""

    __slots__ = ("axis",)

    axis: int

    def forward(self, x: np.ndarray) -> np.ndarray:
        return sums(x, self.axis, kernels.empty(x.shape, x.dtype)) if x.ndim else copied(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        if not dy.ndim:
            return dy
        back = np.flip(dy, self.axis)
        return np.flip(sums(back, self.axis, kernels.empty(dy.shape, dy.dtype)), self.axis)


def sums(x: np.ndarray, axis: int, y: np.ndarray) -> np.ndarray:
    """The sums along an axis up to each element, in y."""
    with np.errstate(all="ignore"):
        return np.cumsum(x, axis, out=y)


class Norm(Reduction):
    """y = (Σ |x|ᵖ)^(1/p); dx = dy sign(x) (|x| / y)^(p - 1), and 0 where y is 0."""

    __slots__ = ("p", "x", "y")

    p: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        y, kept = self.allocate(x)
        if self.p == 2:
            kernels.sqrt(kept, kernels.sum(kept, kernels.square(kernels.empty_like(x), x)))
        else:
            powers = kernels.abs(kernels.empty_like(x), x)
            kernels.pow(powers, powers, np.asarray(self.p, x.dtype))
            kernels.pow(kept, kernels.sum(kept, powers), np.asarray(1 / self.p, x.dtype))
        self.y = y
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy, y = self.restored(dy), self.restored(self.y)
        ratio = kernels.div(kernels.empty_like(self.x), self.x, np.where(y == 0, y.dtype.type(1), y))
        if self.p != 2:
            size = kernels.abs(kernels.empty_like(ratio), ratio)
            kernels.pow(size, size, np.asarray(self.p - 1, size.dtype))
            size[self.x == 0] = 0
            kernels.mul(ratio, kernels.sign(ratio, self.x), size)
        return kernels.mul(ratio, ratio, dy)


def reduced(operation: type[Reduction], x: Tensor, dim: Any, keepdim: bool, **attributes: Any) -> Tensor:
    axes = axes_of(operation.__name__.lower(), x.array, dim)
    return operation.apply(x, axes=axes, keepdim=keepdim, **attributes)


def summable(input: Operand, dtype: Any) -> Tensor:
    """The operand of a sum or product: in the type asked for, else integers and bools as int64."""
    x = as_operand(input)
    if dtype is not None:
        return to_type(x, dtypes.as_dtype(dtype))
    return x if x.array.dtype.kind == "f" else to_type(x, dtypes.int64)


def averaged(name: str, input: Operand, dtype: Any = None) -> Tensor:
    """The operand of a mean: a float."""
    x = as_operand(input)
    return floats(name, x if dtype is None else to_type(x, dtypes.as_dtype(dtype)))


@numpy_names
def sum(input: Operand, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over the axes `dim`, all of them by default.

    >>> import batten
    >>> x = batten.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> batten.sum(x), batten.sum(x, 0)
    (tensor(10.), tensor([4., 6.]))
    """
    return reduced(Sum, summable(input, dtype), dim, keepdim)


@numpy_names
def mean(input: Operand, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over the axes `dim`, all of them by default; NaN of no elements.

    >>> import batten
    >>> batten.mean(batten.tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    tensor([1.5000, 3.5000])
    """
    return reduced(Mean, averaged("mean", input, dtype), dim, keepdim)


@numpy_names
def var(
    input: Operand, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The variance Σ (x - mean)² / (n - correction) over the axes `dim`; unbiased=False is correction=0.

    >>> import batten
    >>> batten.var(batten.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    x, dim, correction = spread_arguments("var", input, dim, unbiased, correction)
    return reduced(Var, x, dim, keepdim, correction=correction)


@numpy_names
def std(
    input: Operand, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The standard deviation, the square root of `var`.

    >>> import batten
    >>> batten.std(batten.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    x, dim, correction = spread_arguments("std", input, dim, unbiased, correction)
    return reduced(Std, x, dim, keepdim, correction=correction)


def spread_arguments(name: str, input: Operand, dim: Any, unbiased: bool | None, correction: float) -> Any:
    """The operand, dim and correction; PyTorch takes `unbiased` in the place of dim, too."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return averaged(name, input), dim, correction if unbiased is None else int(unbiased)


class Extremes(NamedTuple):
    """The extreme elements along an axis, and where they are."""

    values: Tensor
    indices: Tensor


@numpy_names
def max(input: Operand, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along an axis `dim` a tuple (values, indices); of two tensors their `maximum`.

    >>> import batten
    >>> x = batten.tensor([[1.0, 5.0], [7.0, 3.0]])
    >>> batten.max(x)
    tensor(7.)
    >>> batten.max(x, 1).indices
    tensor([1, 0])
    """
    return extreme_of(Max, maximum, input, dim if other is None else other, keepdim)


@numpy_names
def min(input: Operand, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along an axis `dim` a tuple (values, indices); of two tensors their `minimum`.

    >>> import batten
    >>> x = batten.tensor([[1.0, 5.0], [7.0, 3.0]])
    >>> batten.min(x)
    tensor(1.)
    >>> batten.min(x, 0).values
    tensor([1., 3.])
    """
    return extreme_of(Min, minimum, input, dim if other is None else other, keepdim)


def extreme_of(along: type[ExtremeAlong], of_two: Any, input: Operand, dim: Any, keepdim: bool) -> Any:
    x = as_operand(input)
    if isinstance(dim, (Variable, np.ndarray)):
        return of_two(input, dim)
    if dim is None:
        return reduced(along.family, x, None, keepdim)
    axis = axis_of(along.__name__.lower(), x.array, dim)
    return Extremes(*along.apply(x, axes=(axis,) if x.array.ndim else (), keepdim=keepdim))


@numpy_names
def amax(input: Operand, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over the axes `dim`; elements that are equally large share the gradient.

    >>> import batten
    >>> batten.amax(batten.tensor([[1.0, 5.0], [7.0, 3.0]]), 1)
    tensor([5., 7.])
    """
    return reduced(Amax, as_operand(input), dim, keepdim)


@numpy_names
def amin(input: Operand, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over the axes `dim`; elements that are equally small share the gradient.

    >>> import batten
    >>> batten.amin(batten.tensor([[1.0, 5.0], [7.0, 3.0]]), 1)
    tensor([1., 3.])
    """
    return reduced(Amin, as_operand(input), dim, keepdim)


@numpy_names
def argmax(input: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element is: its index along `dim`, or among all elements; the first of equals.

    >>> import batten
    >>> batten.argmax(batten.tensor([[1.0, 5.0], [7.0, 3.0]]), 1)
    tensor([1, 0])
    """
    return index_of("argmax", Amax, input, dim, keepdim)


@numpy_names
def argmin(input: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element is: its index along `dim`, or among all elements; the first of equals.

    >>> import batten
    >>> batten.argmin(batten.tensor([[1.0, 5.0], [7.0, 3.0]]))
    tensor(0)
    """
    return index_of("argmin", Amin, input, dim, keepdim)


def index_of(name: str, family: type[Extreme], input: Operand, dim: int | None, keepdim: bool) -> Tensor:
    x = as_operand(input).array
    axes = axes_of(name, x, None if dim is None else (dim,))
    return wrap(extreme(family, x, axes, keepdim)[1])


@numpy_names
def prod(input: Operand, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product along an axis, or of all elements; its gradient is right where elements are 0, too.

    >>> import batten
    >>> batten.prod(batten.tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    tensor([ 2., 12.])
    """
    return reduced(Prod, summable(input, dtype), None if dim is None else (dim,), keepdim)


@numpy_names
def cumsum(input: Operand, dim: int, *, dtype: Any = None) -> Tensor:
    """The sums along an axis of all elements up to each.

    >>> import batten
    >>> batten.cumsum(batten.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    x = summable(input, dtype)
    axis = axis_of("cumsum", x.array, dim)
    return Cumsum.apply(x, axis=axis)


def norm(input: Operand, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """(Σ |input|ᵖ)^(1/p) over the axes `dim`, all of them by default.

    p is "fro" (2), a positive number, 0 (how many are not zero), inf or -inf (the largest or smallest size).

    >>> import batten
    >>> batten.norm(batten.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = averaged("norm", input, dtype)
    p = 2 if p in ("fro", None) else p
    if not isinstance(p, (int, float)) or (p < 0 and p != -math.inf):
        raise ValueError(f"norm expects p to be 'fro', 0, a positive number or an infinity, got {p!r}")
    if p == math.inf:
        return reduced(Amax, abs(x), dim, keepdim)
    if p == -math.inf:
        return reduced(Amin, abs(x), dim, keepdim)
    if p == 0:
        return sum(wrap(np.asarray(x.array != 0)), dim, keepdim, dtype=x.dtype)
    return reduced(Norm, x, dim, keepdim, p=p)

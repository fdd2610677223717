"""Pooling: of a window that moves over images, channel by channel, the largest element, the average or a p-norm.

    y[n, c, o] = max_t x[n, c, s o + d t - a]  or  Σ_t x[n, c, s o + t - a] / taps,

for outputs o and taps t, with a stride s, a dilation d and a padding a; where padding is, there is
no element to be the largest, and one to be averaged only if it is counted.  Adaptive pooling has as
many windows as are asked for, output o's from ⌊o in / out⌋ to ⌈(o + 1) in / out⌉.

Of a maximum, backward knows which tap each output took: a byte, where windows are not huge.  An
average needs nothing but sizes.  The kernels see images with three axes; where there are fewer, the
first ones have a single element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation
from ..operations.promotion import Operand, floats
from .convolution import each_axis, from_images, images_of
from .module import Module
from .padding import IMAGES
from .stateless import EMPTY, stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class Windows(NamedTuple):
    """Which elements an output looks at, along three axes; with a stride of nought windows are adaptive."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


# ---- operations ----


class PoolOperation(Operation):
    """What both kinds have in common: images with three axes on both sides, `size` those of the result."""

    __slots__ = ("rank", "size", "source", "windows")

    rank: int  # of a batch of images
    size: tuple[int, ...]
    windows: Windows

    def opened(self, x: np.ndarray) -> np.ndarray:
        """A batch of images, or a single one, as (N, *, C) with three axes."""
        images = images_of(x, self.rank)
        return images.reshape(len(images), *(1,) * (5 - self.rank), *images.shape[1:])

    def closed(self, y: np.ndarray, rank: int) -> np.ndarray:
        """The inverse, for as many axes as there were."""
        return from_images(y.reshape(len(y), *y.shape[6 - self.rank :]), rank)


class MaxPoolOperation(PoolOperation):
    """The largest element of each window, and where in its image it lies if that is asked for."""

    __slots__ = ("return_indices", "taken")

    return_indices: bool

    def forward(self, x: np.ndarray) -> Any:
        images = self.opened(x)
        self.source = images.shape
        y = kernels.empty((len(images), *self.size, images.shape[4]), x.dtype)
        self.taken = None
        if self.needs_input_grad[0] or self.return_indices:
            taps = math.prod(self.windows.kernel)
            self.taken = kernels.empty(y.shape, dtypes.uint8 if taps <= kernels.BYTE_TAPS else dtypes.int32)
        kernels.max_pool(y, self.taken, images, *self.windows)
        if not self.return_indices:
            return self.closed(y, x.ndim)
        positions = kernels.empty(y.shape, dtypes.int64)
        kernels.max_pool_positions(positions, self.taken, images.shape[1:4], *self.windows)
        return self.closed(y, x.ndim), self.closed(positions, x.ndim)

    def backward(self, dy: np.ndarray, _: None = None) -> np.ndarray:
        dx = kernels.empty(self.source, dy.dtype)
        kernels.max_pool_backward(dx, self.opened(dy), self.taken, *self.windows)
        return self.closed(dx, dy.ndim)


class AveragePoolOperation(PoolOperation):
    """The sum of each window over divisor, or if that is nought over the number of its terms."""

    __slots__ = ("count_padding", "divisor")

    count_padding: bool
    divisor: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        images = self.opened(x)
        self.source = images.shape
        y = kernels.empty((len(images), *self.size, images.shape[4]), x.dtype)
        kernels.average_pool(y, images, *self.windows[:3], self.count_padding, self.divisor)
        return self.closed(y, x.ndim)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = kernels.empty(self.source, dy.dtype)
        kernels.average_pool_backward(dx, self.opened(dy), *self.windows[:3], self.count_padding, self.divisor)
        return self.closed(dx, dy.ndim)


# ---- windows ----


def images_for(name: str, axes: int, input: Operand) -> Tensor:
    """Images with so many axes: a batch, which may be empty, or a single one."""
    x = floats(name, input)
    shape = x.array.shape
    if len(shape) not in (axes + 1, axes + 2):
        raise ValueError(f"{name} expects {IMAGES[axes]}, got {list(shape)}")
    if 0 in shape[-axes - 1 :]:
        raise ValueError(f"{name} expects images with elements, got {list(shape)}")
    return x


def three(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """Numbers for three axes."""
    return (missing,) * (3 - len(numbers)) + numbers


def moving(
    name: str, axes: int, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> dict[str, Any]:
    """Windows that move by a stride, and the size of the result."""
    kernel = each_axis(name, "kernel_size", kernel_size, axes, 1)
    steps = kernel if stride is None or stride == () else each_axis(name, "stride", stride, axes, 1)
    margin, spread = each_axis(name, "padding", padding, axes, 0), each_axis(name, "dilation", dilation, axes, 1)
    lengths = x.array.shape[-axes:]
    size = []
    for n, k, s, a, d in zip(lengths, kernel, steps, margin, spread, strict=True):
        span = d * (k - 1) + 1
        if 2 * a > span:
            raise ValueError(
                f"{name} expects a padding of at most half of what its kernel spans, {span}, got {list(margin)}"
            )
        left = n + 2 * a - span
        out = (left + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + a:  # the last window would begin in the padding behind
            out -= 1
        size.append(out)
    if min(size) < 1:
        raise ValueError(
            f"{name} expects images that its windows fit into, got {list(x.array.shape)} for kernel_size "
            f"{list(kernel)}, padding {list(margin)} and dilation {list(spread)}, which would leave {size}"
        )
    windows = Windows(three(kernel, 1), three(steps, 1), three(margin, 0), three(spread, 1))
    return {"rank": axes + 2, "size": three(tuple(size), 1), "windows": windows}


def adaptive(name: str, axes: int, x: Tensor, output_size: Any) -> dict[str, Any]:
    """As many windows as are asked for; None is as many as there are elements."""
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    lengths = x.array.shape[-axes:]
    if len(wanted) != axes:
        raise ValueError(f"{name} expects an output_size of {axes} numbers, or one for all, got {output_size!r}")
    size = each_axis(
        name, "output_size", [n if o is None else o for n, o in zip(lengths, wanted, strict=True)], axes, 0
    )
    kernel, stride = [], []
    for n, out in zip(lengths, size, strict=True):
        even = out == 0 or n % out == 0  # then windows are alike
        kernel.append(n // (out or n) if even else n // out + 2)
        stride.append(kernel[-1] if even else 0)
    windows = Windows(three(tuple(kernel), 1), three(tuple(stride), 1), (0, 0, 0), (1, 1, 1))
    return {"rank": axes + 2, "size": three(size, 1), "windows": windows}


# ---- functions ----


def max_pool(
    axes: int,
    input: Operand,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """The largest elements along so many axes, and where they lie if asked for."""
    name = f"MaxPool{axes}d"
    x = images_for(name, axes, input)
    given = moving(name, axes, x, kernel_size, stride, padding, dilation, ceil_mode)
    return MaxPoolOperation.apply(x, **given, return_indices=return_indices)


def average_pool(
    axes: int,
    input: Operand,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: float | None = None,
) -> Tensor:
    """The averages along so many axes."""
    name = f"AvgPool{axes}d"
    x = images_for(name, axes, input)
    if divisor_override == 0:
        raise ValueError(f"{name} expects a divisor_override other than 0")
    given = moving(name, axes, x, kernel_size, stride, padding, 1, ceil_mode)
    return AveragePoolOperation.apply(x, **given, count_padding=count_include_pad, divisor=divisor_override or 0)


def adaptive_max_pool(axes: int, input: Operand, output_size: Any, return_indices: bool) -> Any:
    """The largest elements of so many windows."""
    name = f"AdaptiveMaxPool{axes}d"
    x = images_for(name, axes, input)
    return MaxPoolOperation.apply(x, **adaptive(name, axes, x, output_size), return_indices=return_indices)


def adaptive_average_pool(axes: int, input: Operand, output_size: Any) -> Tensor:
    """The averages of so many windows."""
    name = f"AdaptiveAvgPool{axes}d"
    x = images_for(name, axes, input)
    return AveragePoolOperation.apply(x, **adaptive(name, axes, x, output_size), count_padding=False, divisor=0)


def p_norm_pool(axes: int, input: Operand, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    """The p-th root of the sum of p-th powers, which is the average times the number of taps.

    A sum keeps its value by way of a relu, as in PyTorch, because its gradient is then 0 where it is 0 itself.
    """
    name = f"LPPool{axes}d"
    x = images_for(name, axes, input)
    if math.isinf(norm_type):
        extreme: Tensor = max_pool(
            axes, abs(x) if norm_type > 0 else -abs(x), kernel_size, stride, 0, 1, ceil_mode, False
        )
        return extreme if norm_type > 0 else -extreme
    taps = math.prod(each_axis(name, "kernel_size", kernel_size, axes, 1))
    mean = average_pool(axes, x**norm_type, kernel_size, stride, 0, ceil_mode, True)
    root: Tensor = (mean.sign() * abs(mean).relu() * taps) ** (1 / norm_type)
    return root


def max_pool1d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over (N, C, L) or (C, L).

    The arguments are those of max_pool2d, an int where it has a pair.

    >>> import batten
    >>> batten.nn.functional.max_pool1d(batten.tensor([[[1.0, 5.0, 2.0, 3.0]]]), 2)
    tensor([[[5., 3.]]])
    """
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """What max_pool1d returns with return_indices, which is not looked at here."""
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over (N, C, H, W) or (C, H, W).

    kernel_size, stride (None: the kernel_size), padding and dilation are an int or a pair.  With ceil_mode
    there is also a last window that only begins inside, or in the padding before.  With return_indices
    the result is (largest, where), by numbers that go along the rows of the image.  Of equals the first is
    taken, and a NaN before any number.

    ValueError if the shapes or numbers do not fit, TypeError unless the input is of floats.

    >>> import batten
    >>> batten.nn.functional.max_pool2d(batten.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d_with_indices(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """What max_pool2d returns with return_indices, which is not looked at here."""
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over (N, C, D, H, W) or (C, D, H, W).

    The arguments are those of max_pool2d, an int or a triple where it has a pair.

    >>> import batten
    >>> batten.nn.functional.max_pool3d(batten.arange(16.0).reshape(1, 1, 2, 2, 4), 2)
    tensor([[[[[13., 15.]]]]])
    """
    return max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d_with_indices(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """What max_pool3d returns with return_indices, which is not looked at here."""
    return max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def avg_pool1d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The average of each window over (N, C, L) or (C, L).

    The arguments are those of avg_pool2d, an int where it has a pair, but for divisor_override.

    >>> import batten
    >>> batten.nn.functional.avg_pool1d(batten.tensor([[[1.0, 5.0, 2.0, 3.0]]]), 2)
    tensor([[[3.0000, 2.5000]]])
    """
    return average_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Tensor:
    """The average of each window over (N, C, H, W) or (C, H, W).

    kernel_size, stride (None: the kernel_size) and padding are an int or a pair.  With ceil_mode there is
    also a last window that only begins inside, or in the padding before.  Sums are divided by the number of
    their terms, among which is padding with count_include_pad; or else by divisor_override.

    ValueError if the shapes or numbers do not fit, TypeError unless the input is of floats.

    >>> import batten
    >>> batten.nn.functional.avg_pool2d(batten.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    return average_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Tensor:
    """The average of each window over (N, C, D, H, W) or (C, D, H, W).

    The arguments are those of avg_pool2d, an int or a triple where it has a pair.

    >>> import batten
    >>> batten.nn.functional.avg_pool3d(batten.arange(16.0).reshape(1, 1, 2, 2, 4), 2)
    tensor([[[[[6.5000, 8.5000]]]]])
    """
    return average_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_max_pool1d(input: Operand, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of as many windows over (N, C, L) or (C, L) as are asked for.

    output_size is an int.
    With return_indices the result is (largest, where), as in max_pool1d.

    >>> import batten
    >>> batten.nn.functional.adaptive_max_pool1d(batten.tensor([[[1.0, 5.0, 2.0, 3.0]]]), 2)
    tensor([[[5., 3.]]])
    """
    return adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_avg_pool1d(input: Operand, output_size: Any) -> Tensor:
    """The averages of as many windows over (N, C, L) or (C, L) as are asked for.

    output_size is an int.

    >>> import batten
    >>> batten.nn.functional.adaptive_avg_pool1d(batten.tensor([[[1.0, 5.0, 2.0, 3.0]]]), 2)
    tensor([[[3.0000, 2.5000]]])
    """
    return adaptive_average_pool(1, input, output_size)


def adaptive_max_pool2d(input: Operand, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of as many windows over (N, C, H, W) or (C, H, W) as are asked for.

    output_size is an int or a pair, in which None is the input's.
    With return_indices the result is (largest, where), as in max_pool2d.

    >>> import batten
    >>> batten.nn.functional.adaptive_max_pool2d(batten.arange(12.0).reshape(1, 1, 3, 4), 2)
    tensor([[[[ 5.,  7.],
              [ 9., 11.]]]])
    """
    return adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_avg_pool2d(input: Operand, output_size: Any) -> Tensor:
    """The averages of as many windows over (N, C, H, W) or (C, H, W) as are asked for.

    output_size is an int or a pair, in which None is the input's.

    >>> import batten
    >>> batten.nn.functional.adaptive_avg_pool2d(batten.arange(12.0).reshape(1, 1, 3, 4), 2)
    tensor([[[[2.5000, 4.5000],
              [6.5000, 8.5000]]]])
    """
    return adaptive_average_pool(2, input, output_size)


def adaptive_max_pool3d(input: Operand, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of as many windows over (N, C, D, H, W) or (C, D, H, W) as are asked for.

    output_size is an int or a triple, in which None is the input's.
    With return_indices the result is (largest, where), as in max_pool3d.

    >>> import batten
    >>> batten.nn.functional.adaptive_max_pool3d(batten.arange(8.0).reshape(1, 1, 2, 2, 2), 1)
    tensor([[[[[7.]]]]])
    """
    return adaptive_max_pool(3, input, output_size, return_indices)


def adaptive_avg_pool3d(input: Operand, output_size: Any) -> Tensor:
    """The averages of as many windows over (N, C, D, H, W) or (C, D, H, W) as are asked for.

    output_size is an int or a triple, in which None is the input's.

    >>> import batten
    >>> batten.nn.functional.adaptive_avg_pool3d(batten.arange(8.0).reshape(1, 1, 2, 2, 2), 1)
    tensor([[[[[3.5000]]]]])
    """
    return adaptive_average_pool(3, input, output_size)


def lp_pool1d(
    input: Operand, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^norm_type)^(1 / norm_type) of each window over (N, C, L) or (C, L).

    >>> import batten
    >>> batten.nn.functional.lp_pool1d(batten.tensor([[[3.0, 4.0, 5.0, 12.0]]]), 2, 2)
    tensor([[[ 5., 13.]]])
    """
    return p_norm_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Operand, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^norm_type)^(1 / norm_type) of each window over (N, C, H, W) or (C, H, W).

    >>> import batten
    >>> batten.nn.functional.lp_pool2d(batten.tensor([[[[2.0, 4.0], [4.0, 8.0]]]]), 2, 2)
    tensor([[[[10.]]]])
    """
    return p_norm_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Operand, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ x^norm_type)^(1 / norm_type) of each window over (N, C, D, H, W) or (C, D, H, W).

    >>> import batten
    >>> batten.nn.functional.lp_pool3d(batten.ones(1, 1, 2, 2, 4), 2, 2)
    tensor([[[[[2.8284, 2.8284]]]]])
    """
    return p_norm_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ---- modules: of each kind one for one, two and three axes ----


class MaxPool(Module):
    """What the modules of maximum pooling have in common."""

    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self.function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest element of each window over (N, C, L) or (C, L): see `functional.max_pool1d`."""

    function = staticmethod(max_pool1d)


class MaxPool2d(MaxPool):
    """The largest element of each window over (N, C, H, W) or (C, H, W): see `functional.max_pool2d`.

    >>> import batten
    >>> batten.nn.MaxPool2d(3, stride=2, padding=1)(batten.ones(5, 7, 32, 32)).shape
    (5, 7, 16, 16)
    """

    function = staticmethod(max_pool2d)


class MaxPool3d(MaxPool):
    """The largest element of each window over (N, C, D, H, W) or (C, D, H, W): see `functional.max_pool3d`."""

    function = staticmethod(max_pool3d)


class AvgPool(Module):
    """What the modules of average pooling have in common."""

    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: float | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        given = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        averages: Tensor = self.function(input, *given, self.divisor_override)
        return averages

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """The average of each window over (N, C, L) or (C, L): see `functional.avg_pool1d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        size, step, margin = [n if isinstance(n, tuple) or n is None else (n,) for n in (kernel_size, stride, padding)]
        super().__init__(size, step, margin, ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(AvgPool):
    """The average of each window over (N, C, H, W) or (C, H, W): see `functional.avg_pool2d`.

    >>> import batten
    >>> batten.nn.AvgPool2d(2)
    AvgPool2d(kernel_size=2, stride=2, padding=0)
    """

    function = staticmethod(avg_pool2d)


class AvgPool3d(AvgPool):
    """The average of each window over (N, C, D, H, W) or (C, D, H, W): see `functional.avg_pool3d`."""

    function = staticmethod(avg_pool3d)


SIZED, SHOWN = {"output_size": EMPTY}, "output_size={output_size}"
AdaptiveMaxPool1d = stateless("AdaptiveMaxPool1d", adaptive_max_pool1d, SHOWN, **SIZED, return_indices=False)
AdaptiveMaxPool2d = stateless("AdaptiveMaxPool2d", adaptive_max_pool2d, SHOWN, **SIZED, return_indices=False)
AdaptiveMaxPool3d = stateless("AdaptiveMaxPool3d", adaptive_max_pool3d, SHOWN, **SIZED, return_indices=False)
AdaptiveAvgPool1d = stateless("AdaptiveAvgPool1d", adaptive_avg_pool1d, SHOWN, **SIZED)
AdaptiveAvgPool2d = stateless("AdaptiveAvgPool2d", adaptive_avg_pool2d, SHOWN, **SIZED)
AdaptiveAvgPool3d = stateless("AdaptiveAvgPool3d", adaptive_avg_pool3d, SHOWN, **SIZED)

NORMED = {"norm_type": EMPTY, "kernel_size": EMPTY, "stride": None, "ceil_mode": False}
LPPool1d = stateless("LPPool1d", lp_pool1d, **NORMED)
LPPool2d = stateless("LPPool2d", lp_pool2d, **NORMED)
LPPool3d = stateless("LPPool3d", lp_pool3d, **NORMED)

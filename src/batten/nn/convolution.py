"""Convolution along one, two or three axes, and its transpose.

    y[n, k, p] = Σ_c Σ_t w[k, c, t] x[n, c, s p + d t - a] + b[k]

for features k, channels c, places p and taps t, with a stride s, a dilation d and a padding a;
beyond its borders x is nought.  With groups, a feature is made of the channels of its own
group only.  The gradients are

    dx[n, c, q] = Σ_k Σ_t w[k, c, t] dy[n, k, p]  over all p and t with s p + d t - a = q,
    dw[k, c, t] = Σ_n Σ_p dy[n, k, p] x[n, c, s p + d t - a],
    db[k]       = Σ_n Σ_p dy[n, k, p].

A transposed convolution has the first of these as its forward (Zeiler et al. 2010): its result
takes the part of x, its input that of y, and the same kernels compute its gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _kernels as kernels
from .. import dtypes, precision
from ..autograd import Operation
from ..creation import empty
from ..operations.families import contiguous
from ..operations.promotion import Operand, floats
from . import init
from .layout import channels_first, channels_last
from .module import Module
from .padding import pad
from .parameter import Parameter

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
MODES = ("zeros", "reflect", "replicate", "circular")


class Geometry(NamedTuple):
    """Which elements a tap meets, and whether sums have to be plain: what the kernels are told, in their order."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # before and behind, for each axis
    dilation: tuple[int, ...]
    groups: int
    exact: bool


# ---- operations ----


class Convolution(Operation):
    """y = w * x + b, for images or a single one.  `size` is that of an image of y, (*, features)."""

    __slots__ = ("geometry", "shapes", "size", "weight", "x")

    kernel, adjoint = kernels.conv, kernels.conv_backward_data
    activation: str | None = None
    geometry: Geometry
    size: tuple[int, ...]
    weight: Any
    x: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        wants_x, wants_weight, _ = self.needs_input_grad
        images, w = images_of(x, weight.ndim), contiguous(weight)
        self.shapes = images.shape, w.shape
        self.x = images if wants_weight else None
        self.weight = w if wants_x else None
        y = kernels.empty((len(images), *self.size), x.dtype)
        self.kernel(y, images, w, None if bias is None else contiguous(bias), *self.geometry, self.activation)
        return from_images(y, x.ndim)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        wants_x, wants_weight, wants_bias = self.needs_input_grad
        x_shape, w_shape = self.shapes
        images = images_of(dy, len(w_shape))
        dx = dweight = dbias = None
        if wants_x:
            dx = self.adjoint(kernels.empty(x_shape, dy.dtype), images, self.weight, None, *self.geometry)
            dx = from_images(dx, dy.ndim)
        if wants_weight:
            dweight = kernels.empty(w_shape, dy.dtype)
            kernels.conv_backward_weights(dweight, *self.ends(images), *self.geometry)
        if wants_bias:
            features = images.shape[-1]
            rows = images.reshape(math.prod(images.shape[:-1]), features)
            dbias = kernels.sum(kernels.empty((features,), dy.dtype), rows)
        return dx, dweight, dbias

    def ends(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What stands at a weight's two ends: for features k and for channels c."""
        return dy, self.x


class ConvolutionRelu(Convolution):
    """y = max(w * x + b, 0)"""

    __slots__ = ("y",)

    activation = "relu"

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        self.y = super().forward(x, weight, bias)
        return self.y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        return super().backward(kernels.relu_backward(self.room(dy, self.y), dy, self.y))

    def name(self) -> str:
        return "ReluBackward0"  # the last of the two, as if they were apart


class TransposedConvolution(Convolution):
    """A convolution's dx as y, for its dy as x: the weights' rows are for the channels of x."""

    __slots__ = ()

    kernel, adjoint = kernels.conv_backward_data, kernels.conv

    def ends(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.x, dy


def images_of(x: np.ndarray, rank: int) -> np.ndarray:
    """(N, C, *), of that many axes, or a single (C, *) without the first, as (N, *, C)."""
    return channels_last(x if x.ndim == rank else x[None])


def from_images(y: np.ndarray, rank: int) -> np.ndarray:
    """(N, *, C) as (N, C, *), or the single image without the first axis where there are that few."""
    return channels_first(y) if y.ndim == rank else channels_first(y)[0]


# ---- functions ----


def convolution(
    rank: int,
    input: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str = "zeros",
    activation: str | None = None,
) -> Tensor:
    """A convolution along `rank` axes, and an activation of that if asked for."""
    name = f"Conv{rank}d"
    x, w, b = operands(name, rank, input, weight, bias, groups, transposed=False)
    taps = w.array.shape[2:]
    stride, dilation = each_axis(name, "stride", stride, rank, 1), each_axis(name, "dilation", dilation, rank, 1)
    sides = margins(name, padding, taps, stride, dilation)
    if padding_mode != "zeros":
        x = pad(x, outwards(sides), padding_mode)
        sides = ((0, 0),) * rank
    span = [d * (n - 1) + 1 for n, d in zip(taps, dilation, strict=True)]
    room = [n + before + behind for n, (before, behind) in zip(x.array.shape[-rank:], sides, strict=True)]
    if any(n < least for n, least in zip(room, span, strict=True)):
        raise ValueError(
            f"{name} expects images of at least {span}, which its kernel spans, "
            f"got {list(x.array.shape)}, of {room} with padding"
        )
    size = [(n - least) // s + 1 for n, least, s in zip(room, span, stride, strict=True)]
    return (ConvolutionRelu if activation == "relu" else Convolution).apply(
        x,
        w,
        b,
        geometry=Geometry(stride, sides, dilation, groups, plain(x)),
        size=(*size, w.array.shape[0]),
    )


def transposed_convolution(
    rank: int,
    input: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """A transposed convolution along `rank` axes, with an output_padding or one that makes the result's size."""
    name = f"ConvTranspose{rank}d"
    x, w, b = operands(name, rank, input, weight, bias, groups, transposed=True)
    taps = w.array.shape[2:]
    stride, dilation = each_axis(name, "stride", stride, rank, 1), each_axis(name, "dilation", dilation, rank, 1)
    padding = each_axis(name, "padding", padding, rank, 0)
    lengths = x.array.shape[-rank:]
    least = [(n - 1) * s + d * (t - 1) + 1 - 2 * a
             for n, s, d, t, a in zip(lengths, stride, dilation, taps, padding, strict=True)]  # fmt: skip
    if output_size is None:
        extra = each_axis(name, "output_padding", output_padding, rank, 0)
    else:
        extra = missing(name, output_size, least, stride, x)
    for more, s, d in zip(extra, stride, dilation, strict=True):
        if more >= max(s, d):
            raise ValueError(
                f"{name} expects an output_padding smaller than stride or dilation, "
                f"got {list(extra)} with {list(stride)} and {list(dilation)}"
            )
    size = [n + more for n, more in zip(least, extra, strict=True)]
    if min(size) < 1:
        raise ValueError(
            f"{name} expects images that leave something of its result, got {list(x.array.shape)}, "
            f"which with a padding of {list(padding)} would leave {size}"
        )
    # Where a result goes on beyond the last tap's reach, by a stride or more, there are more places: of noughts.
    places = [max(more - a, 0) // s for more, a, s in zip(extra, padding, stride, strict=True)]
    if any(places):
        x = pad(x, outwards([(0, more) for more in places]))
    return TransposedConvolution.apply(
        x,
        w,
        b,
        geometry=Geometry(
            stride,
            tuple([(a, max(a - more, 0)) for a, more in zip(padding, extra, strict=True)]),
            dilation,
            groups,
            plain(x),
        ),
        size=(*size, w.array.shape[1] * groups),
    )


def missing(
    name: str, output_size: Sequence[int], least: list[int], stride: Sequence[int], x: Tensor
) -> tuple[int, ...]:
    """The output_padding for a size that is asked for, which may begin with N and C."""
    rank, most = len(least), [n + s - 1 for n, s in zip(least, stride, strict=True)]
    wanted = tuple(output_size)[2:] if len(output_size) == rank + 2 else tuple(output_size)
    if len(wanted) != rank or not all(a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)):
        raise ValueError(
            f"{name} expects an output_size from {least} to {most} for an input {list(x.shape)}, "
            f"got {list(output_size)}"
        )
    return tuple([n - a for a, n in zip(least, wanted, strict=True)])


def operands(
    name: str, rank: int, input: Operand, weight: Operand, bias: Operand | None, groups: int, transposed: bool
) -> tuple[Any, Any, Any]:
    """The three as tensors that fit."""
    x, w = floats(name, input), floats(name, weight)
    b = None if bias is None else floats(name, bias)
    shape, own = w.array.shape, x.array.shape
    if len(shape) != rank + 2 or 0 in shape[2:]:
        order = "in_channels, out_channels" if transposed else "out_channels, in_channels"
        raise ValueError(f"{name} expects a weight ({order} / groups, {AXES[rank].lower()}), got {list(shape)}")
    if groups < 1 or shape[0] % groups:
        raise ValueError(f"{name} expects groups that divide the {shape[0]} rows of its weight, got {groups}")
    channels, features = shape[1] * groups, shape[0]
    if transposed:
        channels, features = features, channels
    if len(own) not in (rank + 1, rank + 2) or own[-rank - 1] != channels:
        image = f"{channels}, {AXES[rank]}"
        axes = [*range(len(own) - rank - 1), len(own) - 1, *range(len(own) - rank - 1, len(own) - 1)]
        last = f"; use .permute{tuple(axes)} first" if len(own) - rank in (1, 2) and own[-1] == channels else ""
        raise ValueError(f"{name} expects (N, {image}) or ({image}), got {list(own)}{last}")
    if b is not None and b.array.shape != (features,):
        raise ValueError(f"{name} expects a bias [{features}], got {list(b.array.shape)}")
    for what, operand in (("weight", w), ("bias", b)):
        if operand is not None and operand.array.dtype != x.array.dtype:
            raise TypeError(
                f"{name} expects its {what} in the input's type, {x.dtype}, got {operand.dtype}; "
                f"use .to(batten.{operand.dtype}) on the input first"
            )
    return x, w, b


def plain(x: Tensor) -> bool:
    """Whether sums have to be computed as they are written."""
    return precision.conv == "highest" or x.array.dtype == dtypes.float64


def each_axis(name: str, what: str, value: Any, rank: int, low: int) -> tuple[int, ...]:
    """A number for each axis, from one for all or as many as there are axes."""
    numbers = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if not all(isinstance(n, (int, np.integer)) for n in numbers):
        raise TypeError(f"{name} expects {what} in whole numbers, got {value!r}")
    if len(numbers) == 1:
        numbers *= rank
    if len(numbers) != rank or not all(low <= n < 2**31 for n in numbers):
        raise ValueError(
            f"{name} expects {what} as {rank} numbers from {low} to 2^31 - 1, or one for all, got {value!r}"
        )
    return numbers


def margins(
    name: str, padding: Any, taps: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """How much is added before and behind, for each axis."""
    if not isinstance(padding, str):
        return tuple([(n, n) for n in each_axis(name, "padding", padding, len(taps), 0)])
    if padding == "valid":
        return ((0, 0),) * len(taps)
    if padding != "same":
        raise ValueError(f"{name} expects padding in numbers, or 'same' or 'valid', got {padding!r}")
    if any(s != 1 for s in stride):
        raise ValueError(f"{name} expects a stride of 1 with padding='same', got {list(stride)}")
    total = [d * (n - 1) for n, d in zip(taps, dilation, strict=True)]
    return tuple([(n // 2, n - n // 2) for n in total])  # an odd one is behind


def outwards(sides: Sequence[tuple[int, int]]) -> list[int]:
    """Margins in the order of `pad`, which begins with the last axis."""
    return [n for side in reversed(sides) for n in side]


def conv1d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of (N, channels, L), or of (channels, L), with weight (features, channels / groups, taps).

    stride, padding and dilation are ints; padding may also be "valid", none, or "same", as
    much as keeps the length.  ValueError if shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> x, weight = batten.tensor([[1.0, 2.0, 4.0, 8.0]]), batten.tensor([[[-1.0, 1.0]]])
    >>> batten.nn.functional.conv1d(x, weight)
    tensor([[1., 2., 4.]])
    """
    return convolution(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of (N, channels, H, W), or of (channels, H, W), with weight (features, channels / groups, h, w).

    stride, padding and dilation are an int for both axes or a pair; padding may also be "valid" or
    "same".  ValueError if shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> batten.nn.functional.conv2d(batten.ones(1, 1, 3, 3), batten.ones(1, 1, 3, 3), padding=1)
    tensor([[[[4., 6., 4.],
              [6., 9., 6.],
              [4., 6., 4.]]]])
    """
    return convolution(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of (N, channels, D, H, W) with weight (features, channels / groups, d, h, w); otherwise as conv2d.

    >>> import batten
    >>> batten.nn.functional.conv3d(batten.ones(2, 3, 4, 5, 6), batten.ones(7, 3, 1, 2, 3)).shape
    (2, 7, 4, 4, 4)
    """
    return convolution(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, channels, L), or of (channels, L), with weight (channels, features / groups, taps).

    The result has (L - 1) stride - 2 padding + dilation (taps - 1) + output_padding + 1 places.
    ValueError if shapes do not fit, TypeError unless all are floats of one type.

    >>> import batten
    >>> x, weight = batten.tensor([[1.0, 2.0, 4.0]]), batten.tensor([[[1.0, 10.0, 100.0]]])
    >>> batten.nn.functional.conv_transpose1d(x, weight, stride=2)
    tensor([[  1.,  10., 102.,  20., 204.,  40., 400.]])
    """
    return transposed_convolution(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, channels, H, W) with weight (channels, features / groups, h, w), axis by axis.

    >>> import batten
    >>> batten.nn.functional.conv_transpose2d(batten.ones(2, 3, 4, 5), batten.ones(3, 6, 2, 2), stride=2).shape
    (2, 6, 8, 10)
    """
    return transposed_convolution(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, channels, D, H, W) with weight (channels, features / groups, d, h, w).

    >>> import batten
    >>> batten.nn.functional.conv_transpose3d(batten.ones(1, 2, 3, 3, 3), batten.ones(2, 1, 2, 2, 2)).shape
    (1, 1, 4, 4, 4)
    """
    return transposed_convolution(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# ---- modules ----


class Conv(Module):
    """What Conv1d … ConvTranspose3d have in common; `rank` is their number of axes."""

    rank = 0
    transposed = False
    bias: Parameter | None
    padding: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self.rank
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name} expects groups that divide in_channels and out_channels, "
                f"got {groups} for {in_channels} and {out_channels}"
            )
        if padding_mode not in MODES[: 1 if self.transposed else None]:
            modes = "'zeros'" if self.transposed else ", ".join(map(repr, MODES))
            raise ValueError(f"{name} expects padding_mode as one of {modes}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each_axis(name, "kernel_size", kernel_size, rank, 1)
        self.stride = each_axis(name, "stride", stride, rank, 1)
        self.dilation = each_axis(name, "dilation", dilation, rank, 1)
        sides = margins(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else tuple([before for before, _ in sides])
        self.output_padding = (0,) * rank
        self.padding_mode = padding_mode
        rows, columns = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(empty(rows, columns // groups, *self.kernel_size, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(init.fans(self.weight)[0] or math.inf)  # as in Linear
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return self._activated(input, None)

    def _activated(self, input: Tensor, activation: str | None) -> Tensor:
        """What forward returns, or what an activation makes of that."""
        return convolution(
            self.rank,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
            activation,
        )

    def _multiply_adds(self, inputs: int, outputs: int) -> int:
        """A row of weights for each of the elements that has one: of y, or of x if transposed."""
        return (inputs if self.transposed else outputs) * math.prod(self.weight.shape[1:])

    def extra_repr(self) -> str:
        rank = self.rank
        usual = {"padding": (0,) * rank, "dilation": (1,) * rank, "output_padding": (0,) * rank, "groups": 1}
        shown = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join(
            [
                f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
                *shown,
                *([] if self.bias is not None else ["bias=False"]),
                *([] if self.padding_mode == "zeros" else [f"padding_mode={self.padding_mode}"]),
            ]
        )


class Conv1d(Conv):
    """Convolution of (N, in_channels, L), or of (in_channels, L); the result is (N, out_channels, L').

    L' = ⌊(L + 2 padding - dilation (kernel_size - 1) - 1) / stride⌋ + 1.  padding may be "valid", none, or "same",
    as much as keeps L; what is added is nought, or by padding_mode "reflect", "replicate" or "circular" the input's
    own.  With groups, each group of results is made of one group of channels.

    weight is (out_channels, in_channels / groups, kernel_size).  It and bias start as U(-1/√n, 1/√n), where n is the
    number of terms of a result.

    >>> import batten
    >>> layer = batten.nn.Conv1d(16, 33, 3, stride=2)
    >>> layer
    Conv1d(16, 33, kernel_size=(3,), stride=(2,))
    >>> layer(batten.zeros(20, 16, 50)).shape
    (20, 33, 24)
    """

    rank = 1


class Conv2d(Conv):
    """Convolution of (N, in_channels, H, W), or of (in_channels, H, W); the result is (N, out_channels, H', W').

    kernel_size, stride, padding and dilation are an int for both axes or a pair; otherwise it is as Conv1d.

    >>> import batten
    >>> layer = batten.nn.Conv2d(3, 8, 3, padding=1, bias=False)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    >>> layer(batten.zeros(2, 3, 32, 32)).shape
    (2, 8, 32, 32)
    """

    rank = 2


class Conv3d(Conv):
    """Convolution of (N, in_channels, D, H, W); the result is (N, out_channels, D', H', W').  Otherwise as Conv1d.

    >>> import batten
    >>> layer = batten.nn.Conv3d(4, 8, (1, 3, 3), padding="same", groups=4)
    >>> layer
    Conv3d(4, 8, kernel_size=(1, 3, 3), stride=(1, 1, 1), padding=same, groups=4)
    >>> layer(batten.zeros(2, 4, 5, 6, 7)).shape
    (2, 8, 5, 6, 7)
    """

    rank = 3


class ConvTranspose(Conv):
    """What ConvTranspose1d … ConvTranspose3d have in common."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        padding = each_axis(type(self).__name__, "padding", padding, self.rank, 0)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = each_axis(type(self).__name__, "output_padding", output_padding, self.rank, 0)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return transposed_convolution(
            self.rank,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            output_size,
        )


class ConvTranspose1d(ConvTranspose):
    """Transposed convolution of (N, in_channels, L), or of (in_channels, L); the result is (N, out_channels, L').

    L' = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1: the lengths of which a Conv1d
    with the same arguments makes L are several where its stride is, and output_padding tells them apart.  To call the
    layer with an `output_size` does the same.

    weight is (in_channels, out_channels / groups, kernel_size).  It and bias start as U(-1/√n, 1/√n), where
    n = out_channels / groups × kernel_size.

    >>> import batten
    >>> layer = batten.nn.ConvTranspose1d(16, 33, 3, stride=2)
    >>> layer
    ConvTranspose1d(16, 33, kernel_size=(3,), stride=(2,))
    >>> x = batten.zeros(20, 16, 24)
    >>> layer(x).shape, layer(x, output_size=[50]).shape
    ((20, 33, 49), (20, 33, 50))
    """

    rank = 1


class ConvTranspose2d(ConvTranspose):
    """Transposed convolution of (N, in_channels, H, W); the result is (N, out_channels, H', W').

    kernel_size, stride, padding, output_padding and dilation are an int for both axes or a pair; otherwise it is as
    ConvTranspose1d.

    >>> import batten
    >>> layer = batten.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
    >>> layer(batten.zeros(2, 8, 16, 16)).shape
    (2, 3, 32, 32)
    """

    rank = 2


class ConvTranspose3d(ConvTranspose):
    """Transposed convolution of (N, in_channels, D, H, W); the result is (N, out_channels, D', H', W').

    Otherwise it is as ConvTranspose1d.

    >>> import batten
    >>> layer = batten.nn.ConvTranspose3d(8, 3, 2, stride=2)
    >>> layer(batten.zeros(2, 8, 4, 4, 4)).shape
    (2, 3, 8, 8, 8)
    """

    rank = 3

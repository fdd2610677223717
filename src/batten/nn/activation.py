"""Activations: functions of one number, element by element, and softmax along an axis.

    y = f(x; a, b),     dx = dy f'(x; a, b)

The kernels (ext/activation.c) know f, f' and PyTorch's choice of slope at a kink; an
Operation names the two kernels, and a function gives their parameters names.  relu,
sigmoid, tanh and softmax are also methods of Tensor, and live in `operations/`.

`inplace=True` puts the result in the place of the input.  A leaf that requires a
gradient refuses that, and a value that another operation keeps is found out when it
goes backward.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import operations
from ..autograd import Operation
from ..creation import empty
from ..operations import sigmoid, tanh
from ..operations.families import FromInput, unbroadcast
from ..operations.inplace import in_place, refuse_leaf, replace
from ..operations.promotion import Operand, as_operand, floats
from ..random import next_draw
from .init import constant_
from .module import Module
from .parameter import Parameter
from .stateless import EMPTY, stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class LeakyReluOperation(FromInput):
    __slots__ = ("a",)
    kernel, gradient = kernels.leaky_relu, kernels.leaky_relu_backward


class PreluOperation(Operation):
    """x where it is positive, else a slope times x: one for all, or one for each channel."""

    __slots__ = ("weight", "x")

    def forward(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        self.x, self.weight = x, weight
        return kernels.prelu(kernels.empty_like(x), x, self.slopes())

    def slopes(self) -> np.ndarray:
        """The weight, with axes along which it is repeated to x's shape."""
        return self.weight.reshape((-1, *[1] * (self.x.ndim - 2)) if self.weight.size != 1 else ())

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        wants_x, wants_weight = self.needs_input_grad
        dx = dweight = None
        if wants_x:
            dx = kernels.prelu_backward(kernels.empty_like(self.x), dy, self.x, self.slopes())
        if wants_weight:
            dslopes = kernels.prelu_slope_backward(kernels.empty_like(dy), dy, self.x)
            dweight = unbroadcast(dslopes, self.slopes().shape).reshape(self.weight.shape)
        return dx, dweight


class RreluOperation(Operation):
    """The same with a slope drawn for each element.  Slopes are not kept, but made again from the draw's number."""

    __slots__ = ("draw", "lower", "upper", "x")

    draw: tuple[int, int]
    lower: float
    upper: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return kernels.prelu(kernels.empty_like(x), x, self.slopes())

    def slopes(self) -> np.ndarray:
        return kernels.uniform(kernels.empty(self.x.shape, self.x.dtype), self.lower, self.upper, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return kernels.prelu_backward(kernels.empty_like(self.x), dy, self.x, self.slopes())


class Relu6Operation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.relu6, kernels.relu6_backward


class HardtanhOperation(FromInput):
    """As `clamp`, but at the bounds themselves the gradient is zero."""

    __slots__ = ("a", "b")
    kernel, gradient = kernels.clamp, kernels.hardtanh_backward


class ThresholdOperation(FromInput):
    __slots__ = ("a", "b")
    kernel, gradient = kernels.threshold, kernels.threshold_backward


class HardshrinkOperation(FromInput):
    __slots__ = ("a",)
    kernel, gradient = kernels.hardshrink, kernels.hardshrink_backward


class SoftshrinkOperation(FromInput):
    __slots__ = ("a",)
    kernel, gradient = kernels.softshrink, kernels.softshrink_backward


class TanhshrinkOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.tanhshrink, kernels.tanhshrink_backward


class HardsigmoidOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.hardsigmoid, kernels.hardsigmoid_backward


class HardswishOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.hardswish, kernels.hardswish_backward


class SoftsignOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.softsign, kernels.softsign_backward


class SoftplusOperation(FromInput):
    __slots__ = ("a", "b")
    kernel, gradient = kernels.softplus, kernels.softplus_backward


class LogSigmoidOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.logsigmoid, kernels.logsigmoid_backward


class EluOperation(FromInput):
    __slots__ = ("a",)
    kernel, gradient = kernels.elu, kernels.elu_backward


class CeluOperation(FromInput):
    __slots__ = ("a",)
    kernel, gradient = kernels.celu, kernels.celu_backward


class SeluOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.selu, kernels.selu_backward


class GeluOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.gelu, kernels.gelu_backward


class GeluTanhOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.gelu_tanh, kernels.gelu_tanh_backward


class SiluOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.silu, kernels.silu_backward


class MishOperation(FromInput):
    __slots__ = ()
    kernel, gradient = kernels.mish, kernels.mish_backward


def activated(
    name: str, operation: type[Operation], input: Operand, inplace: bool = False, **parameters: float
) -> Tensor:
    """An activation of floats; in the place of the input, if that is wanted."""
    x = floats(name, input)
    if not inplace:
        return operation.apply(x, **parameters)
    refuse_leaf(x)
    return replace(x, operation.apply(x, **parameters))


relu_ = in_place(operations.relu)


def relu(input: Operand, inplace: bool = False) -> Tensor:
    """max(input, 0), element by element (Nair & Hinton 2010).

    >>> import batten
    >>> batten.nn.functional.relu(batten.tensor([1.0, -2.0]))
    tensor([1., 0.])
    """
    return relu_(input) if inplace else operations.relu(input)


def relu6(input: Operand, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6), element by element (Krizhevsky 2010).

    >>> import batten
    >>> batten.nn.functional.relu6(batten.tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """
    return activated("relu6", Relu6Operation, input, inplace)


def leaky_relu(input: Operand, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, else negative_slope × input (Maas et al. 2013).

    >>> import batten
    >>> batten.nn.functional.leaky_relu(batten.tensor([1.0, -2.0]), 0.5)
    tensor([ 1., -1.])
    """
    return activated("leaky_relu", LeakyReluOperation, input, inplace, a=negative_slope)


def prelu(input: Operand, weight: Operand) -> Tensor:
    """input where it is positive, else weight × input (He et al. 2015); weight is one number, or one for each channel.

    Channels are axis 1.  ValueError if there is another number of weights, TypeError if they are of another type.

    >>> import batten
    >>> batten.nn.functional.prelu(batten.tensor([[-1.0, -1.0, 2.0]]), batten.tensor([0.25, 0.5, 0.5]))
    tensor([[-0.2500, -0.5000,  2.0000]])
    """
    x, w = floats("prelu", input), floats("prelu", weight)
    channels = x.array.shape[1] if x.array.ndim > 1 else 1
    if w.array.dtype != x.array.dtype:
        raise TypeError(f"prelu expects its weight in the input's type, {x.dtype}, got {w.dtype}")
    if w.array.shape not in ((), (1,), (channels,)):
        raise ValueError(
            f"prelu expects a weight [1] or [{channels}] for an input {list(x.array.shape)}, got {list(w.array.shape)}"
        )
    return PreluOperation.apply(x, w)


def rrelu(
    input: Operand, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """input where it is positive, else a slope × input (Xu et al. 2015).

    In training slopes are drawn from U(lower, upper), one for each element; else the slope is their mean.
    ValueError unless lower <= upper, and both are finite.

    >>> import batten
    >>> batten.nn.functional.rrelu(batten.tensor([1.0, -2.0]), 0.25, 0.75)
    tensor([ 1., -1.])
    """
    if not -math.inf < lower <= upper < math.inf:
        raise ValueError(f"rrelu expects numbers lower <= upper, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    x = floats("rrelu", input)
    if inplace:
        refuse_leaf(x)
    y = RreluOperation.apply(x, lower=lower, upper=upper, draw=next_draw(None))
    return replace(x, y) if inplace else y


def threshold(input: Operand, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is above the threshold, else value.

    >>> import batten
    >>> batten.nn.functional.threshold(batten.tensor([1.0, 2.0, 3.0]), 2, -1)
    tensor([-1., -1.,  3.])
    """
    return activated("threshold", ThresholdOperation, input, inplace, a=threshold, b=value)


def hardtanh(input: Operand, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(input, min_val), max_val), element by element.  ValueError if min_val is above max_val.

    >>> import batten
    >>> batten.nn.functional.hardtanh(batten.tensor([-3.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh expects min_val <= max_val, got {min_val} and {max_val}")
    return activated("hardtanh", HardtanhOperation, input, inplace, a=min_val, b=max_val)


def elu(input: Operand, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha (exp(input) - 1) (Clevert et al. 2016).

    >>> import batten
    >>> batten.nn.functional.elu(batten.tensor([1.0, -1.0]))
    tensor([ 1.0000, -0.6321])
    """
    return activated("elu", EluOperation, input, inplace, a=alpha)


def celu(input: Operand, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha (exp(input / alpha) - 1) (Barron 2017).  ValueError if alpha is 0.

    >>> import batten
    >>> batten.nn.functional.celu(batten.tensor([1.0, -1.0]), 2.0)
    tensor([ 1.0000, -0.7869])
    """
    if alpha == 0:
        raise ValueError("celu expects an alpha other than 0")
    return activated("celu", CeluOperation, input, inplace, a=alpha)


def selu(input: Operand, inplace: bool = False) -> Tensor:
    """1.0507 elu(input, 1.6733): mean 0 and variance 1 stay so from layer to layer (Klambauer et al. 2017).

    >>> import batten
    >>> batten.nn.functional.selu(batten.tensor([1.0, -1.0]))
    tensor([ 1.0507, -1.1113])
    """
    return activated("selu", SeluOperation, input, inplace)


GELUS: dict[str, type[Operation]] = {"none": GeluOperation, "tanh": GeluTanhOperation}


def gelu(input: Operand, approximate: str = "none") -> Tensor:
    """input × P(input), P the normal distribution (Hendrycks & Gimpel 2016); approximate="tanh" takes a tanh for P.

    >>> import batten
    >>> batten.nn.functional.gelu(batten.tensor([1.0, -1.0]))
    tensor([ 0.8413, -0.1587])
    """
    if approximate not in GELUS:
        raise ValueError(f"gelu expects approximate='none' or 'tanh', got {approximate!r}")
    return activated("gelu", GELUS[approximate], input)


def silu(input: Operand, inplace: bool = False) -> Tensor:
    """input × sigmoid(input), also known as swish (Elfwing et al. 2018).

    >>> import batten
    >>> batten.nn.functional.silu(batten.tensor([1.0, -1.0]))
    tensor([ 0.7311, -0.2689])
    """
    return activated("silu", SiluOperation, input, inplace)


def mish(input: Operand, inplace: bool = False) -> Tensor:
    """input × tanh(log(1 + exp(input))) (Misra 2019).

    >>> import batten
    >>> batten.nn.functional.mish(batten.tensor([1.0, -1.0]))
    tensor([ 0.8651, -0.3034])
    """
    return activated("mish", MishOperation, input, inplace)


def logsigmoid(input: Operand) -> Tensor:
    """log(sigmoid(input)), exact for large input of either sign.

    >>> import batten
    >>> batten.nn.functional.logsigmoid(batten.tensor([0.0, -100.0]))
    tensor([  -0.6931, -100.0000])
    """
    return activated("logsigmoid", LogSigmoidOperation, input)


def softplus(input: Operand, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta (Dugas et al. 2001); input itself where beta input is above the threshold.

    >>> import batten
    >>> batten.nn.functional.softplus(batten.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """
    return activated("softplus", SoftplusOperation, input, a=beta, b=threshold)


def softsign(input: Operand) -> Tensor:
    """input / (1 + |input|), element by element.

    >>> import batten
    >>> batten.nn.functional.softsign(batten.tensor([1.0, -3.0]))
    tensor([ 0.5000, -0.7500])
    """
    return activated("softsign", SoftsignOperation, input)


def hardsigmoid(input: Operand, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6, a sigmoid of straight lines.

    >>> import batten
    >>> batten.nn.functional.hardsigmoid(batten.tensor([-3.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return activated("hardsigmoid", HardsigmoidOperation, input, inplace)


def hardswish(input: Operand, inplace: bool = False) -> Tensor:
    """input × hardsigmoid(input) (Howard et al. 2019).

    >>> import batten
    >>> batten.nn.functional.hardswish(batten.tensor([-1.5, 1.5, 4.0]))
    tensor([-0.3750,  1.1250,  4.0000])
    """
    return activated("hardswish", HardswishOperation, input, inplace)


def hardshrink(input: Operand, lambd: float = 0.5) -> Tensor:
    """input where it is further than lambd from 0, else 0.  ValueError if lambd is negative.

    >>> import batten
    >>> batten.nn.functional.hardshrink(batten.tensor([-1.0, 0.2, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    return activated("hardshrink", HardshrinkOperation, input, a=distance("hardshrink", lambd))


def softshrink(input: Operand, lambd: float = 0.5) -> Tensor:
    """input moved by lambd towards 0, and 0 where it is nearer than that.  ValueError if lambd is negative.

    >>> import batten
    >>> batten.nn.functional.softshrink(batten.tensor([-1.0, 0.2, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    return activated("softshrink", SoftshrinkOperation, input, a=distance("softshrink", lambd))


def distance(name: str, lambd: float) -> float:
    if not lambd >= 0:
        raise ValueError(f"{name} expects lambd >= 0, got {lambd}")
    return lambd


def tanhshrink(input: Operand) -> Tensor:
    """input - tanh(input), element by element.

    >>> import batten
    >>> batten.nn.functional.tanhshrink(batten.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2384])
    """
    return activated("tanhshrink", TanhshrinkOperation, input)


threshold_ = in_place(threshold)
hardtanh_ = in_place(hardtanh)
leaky_relu_ = in_place(leaky_relu)
rrelu_ = in_place(rrelu)
elu_ = in_place(elu)
celu_ = in_place(celu)
selu_ = in_place(selu)


def softmax(input: Operand, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(input) over its sum along an axis: positive, and adding up to 1.

    Without dim it is along axis 0 of one or three axes, and axis 1 of others; that is rarely
    what was meant, so a UserWarning says which it was.

    >>> import batten
    >>> batten.nn.functional.softmax(batten.tensor([[0.0, 0.0]]), dim=1)
    tensor([[0.5000, 0.5000]])
    """
    return operations.softmax(input, chosen_axis("softmax", input, dim), dtype)


def log_softmax(input: Operand, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """The logarithm of softmax, exact for small probabilities as well; without dim as in `softmax`.

    >>> import batten
    >>> batten.nn.functional.log_softmax(batten.tensor([[0.0, 0.0]]), dim=1)
    tensor([[-0.6931, -0.6931]])
    """
    return operations.log_softmax(input, chosen_axis("log_softmax", input, dim), dtype)


def softmin(input: Operand, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """The softmax of -input: the smallest gets the most; without dim as in `softmax`.

    >>> import batten
    >>> batten.nn.functional.softmin(batten.tensor([[0.0, 1.0]]), dim=1)
    tensor([[0.7311, 0.2689]])
    """
    return operations.softmax(operations.neg(input), chosen_axis("softmin", input, dim), dtype)


def chosen_axis(name: str, input: Operand, dim: int | None) -> int:
    """The axis asked for, or else PyTorch's old choice, with a warning."""
    if dim is not None:
        return dim
    axis = 0 if as_operand(input).array.ndim in (0, 1, 3) else 1
    warnings.warn(f"{name} without dim takes axis {axis} here; say dim={axis}, or which axis is meant", stacklevel=3)
    return axis


ReLU = stateless("ReLU", relu)
ReLU6 = stateless("ReLU6", relu6)
LeakyReLU = stateless("LeakyReLU", leaky_relu)
RReLU = stateless("RReLU", rrelu, lower=1 / 8, upper=1 / 3, inplace=False)
Threshold = stateless("Threshold", threshold, threshold=EMPTY, value=EMPTY, inplace=False)
Hardtanh = stateless("Hardtanh", hardtanh)
ELU = stateless("ELU", elu)
CELU = stateless("CELU", celu)
SELU = stateless("SELU", selu)
GELU = stateless("GELU", gelu)
SiLU = stateless("SiLU", silu)
Mish = stateless("Mish", mish)
Sigmoid = stateless("Sigmoid", sigmoid)
LogSigmoid = stateless("LogSigmoid", logsigmoid)
Tanh = stateless("Tanh", tanh)
Softplus = stateless("Softplus", softplus)
Softsign = stateless("Softsign", softsign)
Hardsigmoid = stateless("Hardsigmoid", hardsigmoid, shown="")
Hardswish = stateless("Hardswish", hardswish, shown="")
Hardshrink = stateless("Hardshrink", hardshrink, shown="{lambd}")
Softshrink = stateless("Softshrink", softshrink, shown="{lambd}")
Tanhshrink = stateless("Tanhshrink", tanhshrink)
Softmax = stateless("Softmax", softmax, dim=None)
LogSoftmax = stateless("LogSoftmax", log_softmax, dim=None)
Softmin = stateless("Softmin", softmin, dim=None)


class PReLU(Module):
    """input where it is positive, else weight × input, with a weight that is learnt.

    num_parameters is 1, or the number of channels, which are axis 1; weight starts as init.

    >>> import batten
    >>> layer = batten.nn.PReLU()
    >>> layer(batten.tensor([1.0, -2.0])).detach()
    tensor([ 1.0000, -0.5000])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Makes weight what it started as."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"

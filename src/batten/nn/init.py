"""Initialisation: random numbers and constants put into a tensor, which is returned.

A layer of n inputs adds up n terms, so that its results keep the variance of its inputs
if the weights' is 1/n.  Xavier's rule (Glorot & Bengio 2010) is the middle between that
and the same for gradients on their way back, over the layer's outputs; Kaiming's (He et
al. 2015) makes up for what an activation takes away, by a `gain`.

Nothing here is recorded for a gradient.  Numbers come from `generator`, or else from
that of `batten.manual_seed`.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import no_grad, wrap
from ..random import Generator, expect_floats, fill_uniform

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4} | dict.fromkeys(
    [
        "linear",
        "sigmoid",
        *[f"conv{transposed}{rank}d" for transposed in ("", "_transpose") for rank in (1, 2, 3)],
    ],
    1.0,
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much larger weights have to be for an activation after them: 1 / sqrt(E[f(x)²]), or PyTorch's choice.

    param is the negative slope of "leaky_relu", 0.01 by default.  ValueError for an unknown name.

    >>> import batten
    >>> batten.nn.init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain expects a number as the negative slope, got {slope!r}")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise ValueError(f"calculate_gain expects one of {', '.join([*GAINS, 'leaky_relu'])}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [a, b).

    >>> import batten
    >>> bool((batten.nn.init.uniform_(batten.empty(100), 2, 3) >= 2).all())
    True
    """
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal numbers of a mean and a standard deviation.

    >>> import batten
    >>> batten.nn.init.normal_(batten.empty(2), mean=3, std=0)
    tensor([3., 3.])
    """
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers, of those between a and b only.

    They are the inverse of the normal distribution at uniform numbers from its value at a to that at b.

    >>> import batten
    >>> x = batten.nn.init.trunc_normal_(batten.empty(1000), std=10.0)
    >>> bool((abs(x) <= 2).all())
    True
    """
    expect_floats("truncated normal numbers", tensor.dtype)
    if not a <= b or not std > 0:
        raise ValueError(f"trunc_normal_ expects a <= b and std > 0, got a={a}, b={b} and std={std}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_ from {a} to {b} is more than two standard deviations of {std} away from the mean {mean}: "
            "there are too few numbers between to be spread well",
            stacklevel=3,
        )
    low, high = [math.erf((bound - mean) / (std * math.sqrt(2))) for bound in (a, b)]
    u = fill_uniform(kernels.empty(tensor.shape, dtypes.float64), low, high, generator)
    return tensor.copy_(wrap(np.clip(mean + std * math.sqrt(2) * erfinv(u), a, b)))


def erfinv(u: np.ndarray) -> np.ndarray:
    """The number whose erf is u: a formula good to 2e-3 (Winitzki 2008), and two steps of Halley's method.

    Each step cubes the error, so that what is left is rounding.  Beyond ±(1 - 2⁻⁵³) erf is flat in float64.
    """
    nearly_one = 1 - 2**-53
    u = np.clip(u, -nearly_one, nearly_one)
    c, log = 0.147, np.log1p(-u * u)
    t = 2 / (math.pi * c) + log / 2
    x = np.copysign(np.sqrt(np.sqrt(t * t - log / c) - t), u)
    for _ in range(2):
        step = (kernels.erf(kernels.empty_like(x), x) - u) * np.exp(x * x) * (math.sqrt(math.pi) / 2)
        x = x - step / (1 + x * step)
    return x


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """One number everywhere.

    >>> import batten
    >>> batten.nn.init.constant_(batten.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    >>> import batten
    >>> batten.nn.init.ones_(batten.empty(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    >>> import batten
    >>> batten.nn.init.zeros_(batten.empty(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, and zeros elsewhere: a Linear layer that lets its input through.

    >>> import batten
    >>> batten.nn.init.eye_(batten.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_ expects a matrix, got {list(tensor.shape)}")
    rows, columns = tensor.shape
    return tensor.copy_(wrap(np.eye(rows, columns)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U(-b, b), b = gain √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).

    >>> import batten
    >>> bool((abs(batten.nn.init.xavier_uniform_(batten.empty(2, 4))) <= 1).all())
    True
    """
    bound = math.sqrt(3) * xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """N(0, std²), std = gain √(2 / (fan_in + fan_out)) (Glorot & Bengio 2010).

    >>> import batten
    >>> x = batten.nn.init.xavier_normal_(batten.empty(50, 150))
    >>> round(float(x.std()), 2)
    0.1
    """
    return normal_(tensor, 0.0, xavier_std(tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """U(-b, b), b = gain √(3 / fan), where the gain is `calculate_gain(nonlinearity, a)` (He et al. 2015).

    mode="fan_in" keeps the variance going forward, "fan_out" going backward.

    >>> import batten
    >>> bool((abs(batten.nn.init.kaiming_uniform_(batten.empty(2, 6))) <= 1).all())
    True
    """
    bound = math.sqrt(3) * kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """N(0, std²), std = gain / √fan; otherwise as `kaiming_uniform_`.

    >>> import batten
    >>> x = batten.nn.init.kaiming_normal_(batten.empty(50, 200))
    >>> round(float(x.std()), 2)
    0.1
    """
    return normal_(tensor, 0.0, kaiming_std(tensor, a, mode, nonlinearity), generator)


def xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / (sum(fans(tensor)) or math.inf))


def kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = fans(tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"expected mode='fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(fan or math.inf)


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs a result is made of, and how many results an input goes to, for weights (out, in, *)."""
    if tensor.ndim < 2:
        raise ValueError(f"expected weights (out, in, *) to count fan in and fan out of, got {list(tensor.shape)}")
    places = math.prod(tensor.shape[2:])
    return tensor.shape[1] * places, tensor.shape[0] * places

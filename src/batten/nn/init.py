"""Initialisation: random numbers and constants put into a tensor, which is returned.

A layer of n inputs adds up n terms, so that its results keep the variance of its inputs
if the weights' is 1/n.  Xavier's rule (Glorot & Bengio 2010) is the middle between that
and the same for gradients on their way back, over the layer's outputs; Kaiming's (He et
al. 2015) makes up for what an activation takes away, by a `gain`.

Weights are (out, in, *), as in Linear and Conv1d … Conv3d.  Those of ConvTranspose are
(in, out, *), and are counted as if they were not, as in PyTorch.

Nothing here is recorded for a gradient.  Numbers come from `generator`, or else from
that of `batten.manual_seed`, in the order of the tensor's indices: they are the same
however it lies in memory, on any machine and any number of threads.  Only what
`orthogonal_` makes of them is for the machine's linear algebra to round.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import no_grad, wrap
from ..random import Generator, expect_floats, fill, fill_normal, fill_uniform

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
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

    That is √2 for "relu", √(2 / (1 + param²)) for "leaky_relu" with its negative slope, 0.01 by default, 5/3 for
    "tanh", 3/4 for "selu", and 1 for "sigmoid", "linear" and "conv1d" … "conv_transpose3d".  Networks that are to
    normalize themselves by selu (Klambauer et al. 2017) want "linear".  ValueError for an unknown name.

    >>> import batten
    >>> batten.nn.init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain expects a number as the negative slope, got {slope!r}")
        return math.sqrt(2 / (1 + slope * slope))
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
    """Normal numbers of a mean and a standard deviation, of those between a and b only.

    The bounds are numbers like the mean, not multiples of std, and either may be infinite.  However far they are from
    the mean, what is between them has the shape of the normal distribution.

    >>> import batten
    >>> x = batten.nn.init.trunc_normal_(batten.empty(1000), std=10.0)
    >>> bool((abs(x) <= 2).all())
    True
    """
    expect_floats("truncated normal numbers", tensor.dtype)
    if not (a <= b and a < math.inf and b > -math.inf and 0 < std < math.inf and abs(mean) < math.inf):
        raise ValueError(
            f"trunc_normal_ expects a <= b, std > 0 and a finite mean, got a={a}, b={b}, std={std} and mean={mean}"
        )
    low, high = (min(max((bound - mean) / std, -FAR), FAR) for bound in (a, b))
    z = truncated_normal(tensor.numel(), low, high, generator)
    return tensor.copy_(wrap(np.clip(mean + std * z, a, b).reshape(tensor.shape)))


FAR = 1e9  # standard deviations: so far out, a double is many times as likely as its next neighbour


def truncated_normal(n: int, low: float, high: float, generator: Generator | None) -> np.ndarray:
    """n standard normal numbers between two bounds: of those that are drawn, the ones that are kept, in a row.

    Normal numbers are kept if they are between the bounds.  Where few would be, uniform ones are drawn there, and
    kept with a probability that goes with the density, e^((m² - z²) / 2), m being the number that has the highest.
    That is the probability of a point of the plane with normal coordinates to be more than √(z² - m²) away from
    nought: it takes no function but the root, which is the same on all machines.

    A bound where the density is below e^-38 of the highest, which no double tells from nothing, is drawn near.
    """
    m = min(max(low, 0.0), high)
    end = math.sqrt(m * m + 2 * 38)
    low, high = max(low, -end), min(high, end)
    many = abs(m) <= 1 and high - low >= 2.5  # of normal numbers a sixth or more
    kept = [np.empty(0)]
    while n > 0:
        if many:
            z = fill_normal(kernels.empty((n,), dtypes.float64), 0, 1, generator)
            keep = (z >= low) & (z <= high)
        else:
            z = fill_uniform(kernels.empty((n,), dtypes.float64), low, high, generator)
            x, y = fill_normal(kernels.empty((2, n), dtypes.float64), 0, 1, generator)
            keep = (z - m) * (z + m) <= x * x + y * y
        kept.append(z[keep])
        n -= kept[-1].size
    return np.concatenate(kept)


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


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """One at the middle of filter k for channel k, and zeros elsewhere: a convolution that lets its input through.

    tensor is the weights (out, in / groups, *) of a convolution along one, two or three axes.  Each group of its
    filters lets the channels of its own group through, as many as there are filters.

    >>> import batten
    >>> w = batten.nn.init.dirac_(batten.empty(2, 2, 3))
    >>> batten.nn.functional.conv1d(batten.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), w, padding=1)
    tensor([[[1., 2., 3.],
             [4., 5., 6.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_ expects weights (out, in, *) of 3, 4 or 5 axes, got {list(tensor.shape)}")
    filters, channels, *kernel = tensor.shape
    if groups < 1 or filters % groups:
        raise ValueError(f"dirac_ expects groups that divide the filters, got {groups} for {list(tensor.shape)}")
    weights = np.zeros(tensor.shape, tensor.dtype)
    if tensor.numel():
        middle: tuple[Any, ...] = (..., *[size // 2 for size in kernel])
        weights[middle] = np.tile(np.eye(filters // groups, channels), (groups, 1))
    return tensor.copy_(wrap(weights))


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

    mode="fan_in" keeps the variance going forward, "fan_out" going backward.  A tensor without elements has no fan, and
    is left alone with a warning.

    >>> import batten
    >>> bool((abs(batten.nn.init.kaiming_uniform_(batten.empty(2, 6))) <= 1).all())
    True
    """
    if is_empty(tensor):
        return tensor
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
    if is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, kaiming_std(tensor, a, mode, nonlinearity), generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """gain times a random orthogonal matrix, all equally likely (Saxe et al. 2014).

    tensor is weights (out, in, *), of which the axes behind the first are taken as one.  If its rows are no more than
    its columns, W Wᵀ = gain² I, and else Wᵀ W = gain² I.  It is the Q of a matrix of normal numbers, Q R, each
    of whose columns has the sign that makes R's diagonal positive (Mezzadri 2007).  NumPy's LAPACK finds it, and
    may round it differently on another machine.

    >>> import batten
    >>> w = batten.nn.init.orthogonal_(batten.empty(2, 3, dtype=batten.float64), gain=2)
    >>> (w @ w.T).numpy().round(12) + 0.0
    array([[4., 0.],
           [0., 4.]])
    """
    expect_floats("orthogonal matrices", tensor.dtype)
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ expects weights (out, in, *), got {list(tensor.shape)}")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    a = fill_normal(kernels.empty((rows, tensor.numel() // rows), dtypes.float64), 0, 1, generator)
    wide = a.shape[0] < a.shape[1]
    q, r = np.linalg.qr(a.T if wide else a)
    q *= np.copysign(gain, np.diagonal(r))
    return tensor.copy_(wrap((q.T if wide else q).reshape(tensor.shape)))


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """N(0, std²), but for a part `sparsity` of each column that is zero, rounded up (Martens 2010).

    tensor is a matrix (out, in).  Which elements are zero is drawn from the generator, too.

    >>> import batten
    >>> w = batten.nn.init.sparse_(batten.empty(4, 3), sparsity=0.7)
    >>> (w == 0).sum(0)
    tensor([3, 3, 3])
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_ expects a matrix, got {list(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_ expects a sparsity between 0 and 1, got {sparsity}")
    weights = fill_normal(kernels.empty(tensor.shape, tensor.dtype), 0, std, generator)
    keys = fill(kernels.empty(tensor.shape, np.dtype(np.uint64)), kernels.bits, generator=generator)
    order = np.argsort(keys, axis=0, kind="stable")
    np.put_along_axis(weights, order[: math.ceil(sparsity * tensor.shape[0])], 0, axis=0)
    return tensor.copy_(wrap(weights))


def xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / (sum(fans(tensor)) or math.inf))


def kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    named = dict(zip(("fan_in", "fan_out"), fans(tensor), strict=True))
    if str(mode).lower() not in named:
        raise ValueError(f"expected mode='fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(named[mode.lower()])


def is_empty(tensor: Tensor) -> bool:
    """Whether there is nothing to initialise, of which Kaiming's rule warns in PyTorch's words."""
    if not tensor.numel():
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return not tensor.numel()


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs a result is made of, and how many results an input goes to, for weights (out, in, *)."""
    if tensor.ndim < 2:
        raise ValueError(f"expected weights (out, in, *) to count fan in and fan out of, got {list(tensor.shape)}")
    places = math.prod(tensor.shape[2:])
    return tensor.shape[1] * places, tensor.shape[0] * places

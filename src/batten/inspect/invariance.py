"""What normalization makes of the scale of the weights before it: nothing.

For a layer BN(Wu), whose normalization takes away the mean of Wu and divides by its standard deviation, and for any
a > 0 (Ioffe & Szegedy 2015, section 3.3):

    BN((aW)u) = BN(Wu)
    ∂BN((aW)u) / ∂u = ∂BN(Wu) / ∂u
    ∂BN((aW)u) / ∂(aW) = 1/a · ∂BN(Wu) / ∂W

so that the scale of a layer changes neither what it computes nor what goes back through it, and larger weights get
smaller gradients, which keeps them from growing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .. import autograd, nn
from ..nn.parameter import Parameter
from ..nn.unchanged import unchanged
from ..operations.promotion import Operand, floats
from ..random import Generator, randn
from ..tensor import Tensor
from .moments import relative

__all__ = ["ScaleInvariance", "scale_invariance"]


class ScaleInvariance(NamedTuple):
    """By how much each of the three identities is missed, relative to the largest of what should be met."""

    output: float
    input_gradient: float
    weight_gradient: float


def scale_invariance(layer: nn.Module | Iterable[nn.Module], x: Operand, a: float) -> ScaleInvariance:
    """How far a layer is from minding the scale of its weights as little as the identities above say.

    layer is a Sequential, or a tuple of modules, or one, of which the first has the weight W: such as
    (Linear, BatchNorm1d) or (Conv2d, BatchNorm2d, ReLU), in the mode in which it is.  x is what it is given, a > 0.
    With y = layer(x), y' that of aW, and a fixed v drawn from N(0, 1) in y's shape, the residuals are

        output              max |y' - y| / max |y|
        input_gradient      max |vᵀ∂y'/∂x - vᵀ∂y/∂x| / max |vᵀ∂y/∂x|
        weight_gradient     max |a vᵀ∂y'/∂(aW) - vᵀ∂y/∂W| / max |vᵀ∂y/∂W|

    0 where there is no difference, and inf where there is one from nought.  With a variance σ² of Wu they are of the
    order of ε / 2σ² · |1 - 1/a²|, and vanish with ε, up to rounding.  Only the weight is scaled: whatever a bias is,
    normalization by channel takes it away.  Evaluation by running statistics does not have the identities, as these
    do not follow the weights.  The layer is left as it was, and so are the random numbers.

    TypeError if the first module has no weight, or x is not of floats; ValueError unless 0 < a < inf.

    >>> import batten
    >>> from batten import nn
    >>> linear, x = nn.Linear(4, 3).double(), batten.randn(16, 4, dtype=batten.float64)
    >>> max(scale_invariance((linear, nn.BatchNorm1d(3, eps=1e-14).double()), x, 10.0)) < 1e-9
    True
    >>> scale_invariance(linear, x, 2.0).input_gradient
    1.0
    """
    modules = nn.Sequential(*layer) if isinstance(layer, Iterable) else nn.Sequential(layer)
    weight = getattr(next(iter(modules), None), "weight", None)
    if not isinstance(weight, Parameter):
        raise TypeError(f"scale_invariance expects modules of which the first has a weight, got {modules!r}")
    if not 0 < a < math.inf:
        raise ValueError(f"scale_invariance expects 0 < a < inf, got {a}")
    a = float(a)  # NumPy's numbers would make another type of the weight
    u = floats("scale_invariance", x).detach().requires_grad_()
    y, du, dw = evaluated(modules, u, weight, weight.array)
    scaled_y, scaled_du, scaled_dw = evaluated(modules, u, weight, weight.array * a)
    return ScaleInvariance(residual(scaled_y, y), residual(scaled_du, du), residual(a * scaled_dw, dw))


def evaluated(modules: nn.Sequential, u: Tensor, weight: Parameter, values: np.ndarray) -> list[np.ndarray]:
    """The result for some values of the weight, and its gradients by u and these along a fixed direction."""
    with unchanged(modules), autograd.enable_grad():
        weight.array = values
        weight.requires_grad_()
        y = modules(u)
        v = randn(y.shape, generator=Generator().manual_seed(0), dtype=y.dtype)
        return [y.array, *[gradient.array for gradient in autograd.grad(y, [u, weight], v)]]


def residual(found: np.ndarray, expected: np.ndarray) -> float:
    return relative(np.abs(found - expected).max(initial=0), np.abs(expected).max(initial=0))

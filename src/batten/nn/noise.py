"""Noise on what goes through a network, in training.

    GaussianNoise                   y = x + std z             z ~ N(0, 1)         dx = dy
    UniformNoise                    y = x + u                 u ~ U(-a, a)        dx = dy
    MultiplicativeGaussianNoise     y = x m,  m = 1 + std z   z ~ N(0, 1)         dx = dy m

Many solutions fit the same examples, and noise chooses among them.  For a linear model f(x) = wᵀx + b with noise of
variance λ on its input, the expectation of the squared error is (Bishop 1995, "Training with Noise is Equivalent to
Tikhonov Regularization")

    E (f(x + ε) - y)² = (f(x) - y)² + λ‖w‖²,     ε ~ N(0, λI)

which is weight decay; for other models it is λ‖∂f/∂x‖² + λ (f(x) - y) tr ∂²f/∂x² + O(λ²) that is added.  Too much
noise carries examples across the boundary between classes.

The random numbers are those of `batten.manual_seed`, or of a generator of the layer's own, one draw a call.  Elements
count in the order in which they lie in memory, so that images need not be copied: the same seed gives the same noise
on any machine and for any number of threads.  Nothing is kept for the gradient: m is made again from the draw.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..operations.promotion import as_operand, floats
from ..random import Generator, check_generator, next_draw
from .dropout import laid_out
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["GaussianNoise", "MultiplicativeGaussianNoise", "UniformNoise"]


class AddNormal(Operation):
    """y = x + scale z"""

    __slots__ = ("draw", "scale")

    scale: float
    draw: tuple[int, int]

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = kernels.empty_like(x)
        return kernels.add_normal(y, laid_out(x, y.strides), self.scale, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


class AddUniform(Operation):
    """y = x + u, u between -scale and scale"""

    __slots__ = ("draw", "scale")

    scale: float
    draw: tuple[int, int]

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = kernels.empty_like(x)
        return kernels.add_uniform(y, laid_out(x, y.strides), -self.scale, self.scale, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


class MultiplyNormal(Operation):
    """y = x m, m = 1 + scale z.  The same product of dy and m is the gradient."""

    __slots__ = ("draw", "scale", "strides")

    scale: float
    draw: tuple[int, int]

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = kernels.empty_like(x)
        self.strides = y.strides
        return kernels.multiply_normal(y, laid_out(x, y.strides), self.scale, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = laid_out(dy, self.strides)
        return kernels.multiply_normal(self.room(dy, dy), dy, self.scale, *self.draw)


class NoiseModule(Module):
    """What the layers have in common: a generator, and noise in training only."""

    operation: type[Operation]

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        check_generator(type(self).__name__, generator)
        self.generator = generator

    def _with_noise(self, input: Tensor, scale: float) -> Tensor:
        x = as_operand(input)
        if not self.training or scale == 0:
            return x
        x = floats(type(self).__name__, x)
        return self.operation.apply(x, scale=scale, draw=next_draw(self.generator))


class GaussianNoise(NoiseModule):
    """In training y = x + std z with z ~ N(0, 1) drawn anew for each element; else y = x.

    The gradient is dx = dy.  Drawn from `generator`, or from the default one.  For a linear model the noise is weight
    decay: it adds std²‖w‖² to the expected squared error (Bishop 1995).

    ValueError unless std is finite and at least 0, TypeError for an input that is not of floats.

    >>> import batten
    >>> layer, x = batten.nn.GaussianNoise(0.1), batten.zeros(1000)
    >>> 0.09 < layer(x).square().mean().sqrt().item() < 0.11
    True
    >>> layer.eval()(x) is x
    True
    """

    operation = AddNormal

    def __init__(self, std: float, *, generator: Generator | None = None) -> None:
        super().__init__(generator)
        self.std = amount("GaussianNoise", "std", std)

    def forward(self, input: Tensor) -> Tensor:
        return self._with_noise(input, self.std)

    def extra_repr(self) -> str:
        return f"std={self.std}"


class MultiplicativeGaussianNoise(NoiseModule):
    """In training y = x m, m = 1 + std z with z ~ N(0, 1) drawn anew for each element; else y = x.

    The gradient is dx = dy m.  This is Gaussian dropout (Srivastava et al. 2014, "Dropout", section 10): with
    std = √(p / (1 - p)) the factors have mean and variance of those of Dropout(p), 1 and p / (1 - p), and of all
    distributions with these the most entropy.  Drawn from `generator`, or from the default one.

    ValueError unless std is finite and at least 0, TypeError for an input that is not of floats.

    >>> import batten
    >>> layer = batten.nn.MultiplicativeGaussianNoise(0.5)
    >>> y = layer(batten.tensor([0.0, 2.0, 2.0]))
    >>> (y[0] == 0).item(), (y[1] == y[2]).item()
    (True, False)
    """

    operation = MultiplyNormal

    def __init__(self, std: float, *, generator: Generator | None = None) -> None:
        super().__init__(generator)
        self.std = amount("MultiplicativeGaussianNoise", "std", std)

    def forward(self, input: Tensor) -> Tensor:
        return self._with_noise(input, self.std)

    def extra_repr(self) -> str:
        return f"std={self.std}"


class UniformNoise(NoiseModule):
    """In training y = x + u with u ~ U(-bound, bound) drawn anew for each element; else y = x.

    The gradient is dx = dy; the noise's variance is bound² / 3.  Drawn from `generator`, or from the default one.

    ValueError unless bound is finite and at least 0, TypeError for an input that is not of floats.

    >>> import batten
    >>> y = batten.nn.UniformNoise(0.5)(batten.zeros(1000))
    >>> -0.5 <= y.min().item() < -0.4 and 0.4 < y.max().item() < 0.5
    True
    """

    operation = AddUniform

    def __init__(self, bound: float, *, generator: Generator | None = None) -> None:
        super().__init__(generator)
        self.bound = amount("UniformNoise", "bound", bound)

    def forward(self, input: Tensor) -> Tensor:
        return self._with_noise(input, self.bound)

    def extra_repr(self) -> str:
        return f"bound={self.bound}"


def amount(layer: str, name: str, value: float) -> float:
    """How much noise: a number that is finite and not negative."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{layer} expects a finite {name} >= 0, got {value}")
    return value

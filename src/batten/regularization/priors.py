"""Priors: what is believed of the weights before there are any examples (MacKay 1992, "A Practical Bayesian Framework
for Backpropagation Networks").

    Gaussian(std)       p(θ) ∝ exp(-‖θ‖² / (2 std²))
    Laplace(scale)      p(θ) ∝ exp(-‖θ‖₁ / scale)

By Bayes' rule the weights that are most probable after n examples make

    -log p(θ | examples) / n = -1/n Σ log p(yᵢ | xᵢ, θ) - 1/n log p(θ) + a constant

smallest (maximum a posteriori, MAP).  The first term is a mean loss, such as cross entropy.  The second is a penalty,
and which one says the prior: L2 with λ = 1 / (2 n std²) for a Gaussian, L1 with λ = 1 / (n scale) for a Laplace
distribution.  The more examples, the less it counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..nn.kinds import typename
from .parameters import Parameters, Where, chosen
from .penalties import L1, L2, Penalty, check_where, shown

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["MAP", "Gaussian", "Laplace", "Prior"]


class Prior:
    """A distribution of weights, independent of one another.

    Of a module, a tensor, or an iterable of tensors or of pairs (name, tensor) it is of those parameters that its
    penalties are of, too: those for which where(name, parameter) holds, or of weights (see `L2`).

    A subclass says what is added to `penalty(1)`, for each weight, to make -log p of it.
    """

    def __init__(self, where: Where) -> None:
        check_where(self, where)
        self.where = where

    def penalty(self, n: float) -> Penalty:
        """What a mean loss over n examples is to be added to for MAP: -log p(θ) / n, but for a constant."""
        raise NotImplementedError(f"{type(self).__name__} does not define penalty(n)")

    def constant(self) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not define constant()")

    def log_prob(self, params: Parameters) -> Tensor:
        """log p(θ), with all constants: a scalar tensor on the tape."""
        pairs = chosen(params, self.where, weights=True)
        count = sum(w.array.size for _, w in pairs)
        return -self.penalty(1)(pairs) - count * self.constant()

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        return shown(self, self.extra_repr(), self.where)


class Gaussian(Prior):
    """p(θ) = Π exp(-θᵢ² / (2 std²)) / (std √(2π)): each weight is about 0, give or take std.

    ValueError unless std is finite and greater than 0.

    >>> import batten
    >>> w = batten.tensor([[1.0, -2.0]])
    >>> prior = Gaussian(std=2.0)
    >>> prior.log_prob(w)  # -5 / 8 - 2 log(2 √(2π))
    tensor(-3.8492)
    >>> prior.penalty(n=1000)
    L2(0.000125)
    """

    def __init__(self, std: float, *, where: Where = None) -> None:
        super().__init__(where)
        self.std = positive(self, "std", std)

    def penalty(self, n: float) -> L2:
        """λ‖θ‖², λ = 1 / (2 n std²).  ValueError unless n is finite and greater than 0."""
        return L2(1 / (2 * positive(self, "n", n) * self.std**2), where=self.where)

    def constant(self) -> float:
        return math.log(self.std) + math.log(2 * math.pi) / 2

    def extra_repr(self) -> str:
        return f"std={self.std}"


class Laplace(Prior):
    """p(θ) = Π exp(-|θᵢ| / scale) / (2 scale): as Gaussian, but more weights are next to 0, and some far away.

    ValueError unless scale is finite and greater than 0.

    >>> import batten
    >>> w = batten.tensor([[1.0, -2.0]])
    >>> prior = Laplace(scale=2.0)
    >>> prior.log_prob(w)  # -3 / 2 - 2 log 4
    tensor(-4.2726)
    >>> prior.penalty(n=1000)
    L1(0.0005)
    """

    def __init__(self, scale: float, *, where: Where = None) -> None:
        super().__init__(where)
        self.scale = positive(self, "scale", scale)

    def penalty(self, n: float) -> L1:
        """λ‖θ‖₁, λ = 1 / (n scale).  ValueError unless n is finite and greater than 0."""
        return L1(1 / (positive(self, "n", n) * self.scale), where=self.where)

    def constant(self) -> float:
        return math.log(2 * self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class MAP:
    """The objective loss(output, target) + prior.penalty(n)(params), whose minimum is the most probable of all θ.

    It is -log p(θ | examples) / n, but for a constant, where `loss` is the mean of -log p(y | x, θ) over a batch, as
    cross entropy is, and n is how many examples there are to learn from, not how many are in a batch.  The mean squared
    error is 2 s² times that of targets with Gaussian noise of standard deviation s: give as loss
    `lambda output, target: F.mse_loss(output, target) / (2 * s**2)`, or have F.mse_loss(output, target)
    + L2(s² / (n std²))(model), which is 2 s² times the same.

    ValueError if the loss is a sum over a batch and not the mean, and unless n is finite and greater than 0.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Linear(4, 3)
    >>> objective = MAP(nn.CrossEntropyLoss(), Gaussian(std=0.5), n=60000)
    >>> x, y = batten.randn(8, 4), batten.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    >>> objective(model(x), y, model).backward()
    >>> objective
    MAP(CrossEntropyLoss(), Gaussian(std=0.5), n=60000)
    """

    def __init__(self, loss: Callable[[Any, Any], Any], prior: Prior, n: float) -> None:
        if not callable(loss):
            raise TypeError(f"MAP expects a function of (output, target) as loss, got {typename(loss)}")
        reduction = getattr(loss, "reduction", "mean")
        if reduction != "mean":
            raise ValueError(f"MAP expects the mean of a loss over a batch, got {loss} with reduction={reduction!r}")
        if not isinstance(prior, Prior):
            raise TypeError(f"MAP expects a prior, such as Gaussian or Laplace, got {typename(prior)}")
        self.loss, self.prior, self.n = loss, prior, positive(self, "n", n)

    def __call__(self, output: Any, target: Any, params: Parameters) -> Tensor:
        return self.loss(output, target) + self.prior.penalty(self.n)(params)

    def __repr__(self) -> str:
        return f"MAP({self.loss}, {self.prior}, n={self.n})"


def positive(owner: object, name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{type(owner).__name__} expects a finite {name} > 0, got {value}")
    return value

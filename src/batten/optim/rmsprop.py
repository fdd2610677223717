"""RMSprop: the gradient divided by the root of the mean of its recent squares.

    v = alpha v + (1 - alpha) d²,   d = g + weight_decay w          (-g for g, to maximize)
    w = w - lr d / (√v + eps)

from Tieleman & Hinton, "Lecture 6.5: Divide the gradient by a running average of its recent
magnitude" (COURSERA: Neural Networks for Machine Learning, 2012).  It is Adagrad with a memory
that fades, so that steps do not shrink for ever, and Adadelta without a unit of its own.

With momentum, steps are summed as in

    b = momentum b + d / (√v + eps),   w = w - lr b

and `centered` puts the variance of the gradient in the place of its mean square, v - m² with
m = alpha m + (1 - alpha) d (Graves, "Generating Sequences With Recurrent Neural Networks",
arXiv:1308.0850, 2013).  Where rounding makes that less than 0, it counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States, check_number

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) d²;  w -= lr d / (√v + eps).

    d = g + weight_decay w (Tieleman & Hinton 2012).  With `momentum`, b = momentum b + d / (√v + eps)
    and w -= lr b; with `centered`, v less the square of the mean of d is in the place of v (Graves
    2013); with `maximize`, steps go up; with `eps_in_sqrt`, d is divided by √(v + eps); with
    `decoupled_weight_decay`, d = g and w *= 1 - lr weight_decay first, as in AdamW.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.RMSprop([w], lr=0.25, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    states = ("step", "square_avg")
    optional = (("momentum_buffer", "momentum"), ("grad_avg", "centered"))

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        eps_in_sqrt: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
            "eps_in_sqrt": eps_in_sqrt,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        check_number("alpha", options["alpha"])

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.rmsprop(
            params, grads, states["square_avg"], states.get("momentum_buffer"), states.get("grad_avg"), states["step"],
            group["lr"], group["alpha"], group["eps"], group["momentum"], group["eps_in_sqrt"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

"""Adadelta: steps measured by the steps before, so that no learning rate has to be found.

    v = rho v + (1 - rho) d²,   d = g + weight_decay w              (-g for g, to maximize)
    x = √(u + eps) / √(v + eps) d
    u = rho u + (1 - rho) x²
    w = w - lr x

from Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (arXiv:1212.5701, 2012).  A gradient
has the unit of the loss by that of the weight; divided by √v it has none, and √u, the size of
recent steps, gives it the weight's.  The learning rate, 1 in the paper, is PyTorch's addition.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States, check_number

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """v = rho v + (1 - rho) d²;  x = √(u + eps) / √(v + eps) d;  u = rho u + (1 - rho) x²;  w -= lr x.

    d = g + weight_decay w (Zeiler 2012); with `maximize`, steps go up; with `decoupled_weight_decay`,
    d = g and w *= 1 - lr weight_decay first, as in AdamW.  v and u are called `square_avg` and `acc_delta`
    in the state.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.Adadelta([w], rho=0.75, eps=0.25)
    >>> w.grad = batten.tensor([0.0, 2.0])
    >>> optimizer.step()
    >>> optimizer.state[w]["square_avg"]
    tensor([0., 1.])
    >>> w
    tensor([1.0000, 1.1056], requires_grad=True)
    """

    states = ("step", "square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        check_number("rho", options["rho"], most=1)

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.adadelta(
            params, grads, states["square_avg"], states["acc_delta"], states["step"],
            group["lr"], group["rho"], group["eps"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

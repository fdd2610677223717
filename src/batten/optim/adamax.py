"""Adamax: Adam with the largest of the recent gradients in the place of the root of their mean square.

    m = beta1 m + (1 - beta1) d,   d = g + weight_decay w           (-g for g, to maximize)
    u = max(beta2 u, |d| + eps)
    w = w - lr / (1 - beta1ᵗ) m / u

in step t, from Kingma & Ba, "Adam: A Method for Stochastic Optimization" (ICLR 2015), section 7.1: of the means of
|d|^p it is the limit for large p.  u needs no correction for its beginning at 0.  eps, which the paper does without,
is PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """m += (1 - beta1)(d - m);  u = max(beta2 u, |d| + eps);  w -= lr / (1 - beta1ᵗ) m / u.

    d = g + weight_decay w in step t (Kingma & Ba 2015).  With `maximize`, steps go up; with `decoupled_weight_decay`,
    d = g and w *= 1 - lr weight_decay first.  u is called `exp_inf` in the state.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    states = ("step", "exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.adamax(
            params, grads, states["exp_avg"], states["exp_inf"], states["step"],
            group["lr"], *group["betas"], group["eps"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

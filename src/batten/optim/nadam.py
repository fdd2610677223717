"""NAdam: Adam whose momentum looks ahead, as Nesterov's does.

    m = beta1 m + (1 - beta1) d,   v = beta2 v + (1 - beta2) d²
    m̂ = μₜ₊₁ m / (1 - μ₁ μ₂ … μₜ₊₁) + (1 - μₜ) d / (1 - μ₁ μ₂ … μₜ),   v̂ = v / (1 - beta2ᵗ)
    w = w - lr m̂ / (√v̂ + eps),   μₜ = beta1 (1 - 0.96^(t momentum_decay) / 2)

with d = g + weight_decay w (-g for g, to maximize) in step t, from Dozat, "Incorporating Nesterov Momentum into
Adam" (ICLR 2016 workshop).  The gradient itself is in m̂ beside the mean, which has the weight of the next step.  The
momentum μ begins at about half of beta1 and grows to it: for a network of random weights a long memory is of no use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States, check_number

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """m += (1 - beta1)(d - m);  v += (1 - beta2)(d² - v);  w -= lr m̂ / (√v̂ + eps), with m̂ of the step to come.

    m̂ = μₜ₊₁ m / (1 - μ₁ … μₜ₊₁) + (1 - μₜ) d / (1 - μ₁ … μₜ) in step t, where d = g + weight_decay w, μₜ =
    beta1 (1 - 0.96^(t momentum_decay) / 2), and v̂ = v / (1 - beta2ᵗ) (Dozat 2016).  With `maximize`, steps go up; with
    `decoupled_weight_decay`, d = g and w *= 1 - lr weight_decay first, as in AdamW.  μ₁ … μₜ is called `mu_product` in
    the state.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.4718, 1.4718], requires_grad=True)
    """

    states = ("step", "mu_product", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def fresh(self, name: str, w: np.ndarray) -> np.ndarray:
        array = super().fresh(name, w)
        if name == "mu_product":
            array.fill(1)
        return array

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        check_number("momentum_decay", options["momentum_decay"])

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.nadam(
            params, grads, states["exp_avg"], states["exp_avg_sq"], states["mu_product"], states["step"],
            group["lr"], *group["betas"], group["eps"], group["momentum_decay"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

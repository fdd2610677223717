"""RAdam: Adam that trusts the size of its gradients only once it has seen enough of them.

    m = beta1 m + (1 - beta1) d,   v = beta2 v + (1 - beta2) d²,   m̂ = m / (1 - beta1ᵗ)
    w = w - lr r m̂ √(1 - beta2ᵗ) / (√v + eps)      if ρₜ > 5,  else  w = w - lr m̂
    ρₜ = ρ - 2 t beta2ᵗ / (1 - beta2ᵗ),   ρ = 2 / (1 - beta2) - 1
    r = √((ρₜ - 4)(ρₜ - 2) ρ / ((ρ - 4)(ρ - 2) ρₜ))

with d = g + weight_decay w (-g for g, to maximize) in step t, from Liu et al., "On the Variance of the Adaptive
Learning Rate and Beyond" (ICLR 2020).  v is at first the mean of a few squares, and steps divided by its root
scatter widely.  ρₜ says how many gradients it amounts to a mean of; r, which grows to 1, makes the variance of the
steps the same at any time, and so does what a warm-up of the learning rate does.  eps is where PyTorch has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """m += (1 - beta1)(d - m);  v += (1 - beta2)(d² - v);  w -= lr r m̂ √(1 - beta2ᵗ) / (√v + eps).

    d = g + weight_decay w and m̂ = m / (1 - beta1ᵗ) in step t; the rectification r goes from 0 to 1, and until it is
    defined, w -= lr m̂: five steps with the usual beta2 (Liu et al. 2020).  With `maximize`, steps go up; with
    `decoupled_weight_decay`, d = g and w *= 1 - lr weight_decay first, as in AdamW.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.0000], requires_grad=True)
    """

    states = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
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
        kernels.radam(
            params, grads, states["exp_avg"], states["exp_avg_sq"], states["step"],
            group["lr"], *group["betas"], group["eps"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

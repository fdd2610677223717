"""Adam: steps of about one learning rate, whatever the size of the gradients.

    m = beta1 m + (1 - beta1) d
    v = beta2 v + (1 - beta2) d²
    w = w - lr m̂ / (√v̂ + eps),   m̂ = m / (1 - beta1ᵗ),   v̂ = v / (1 - beta2ᵗ)

m and v start at 0 and would stay too small for a while; m̂ and v̂ are what they would be had
they always been averages (Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015).

AMSGrad puts the largest v so far in the place of v, so that the learning rate of a weight
never grows (Reddi et al., "On the Convergence of Adam and Beyond", ICLR 2018).

Weight decay in the gradient, d = g + weight_decay w, is divided by √v̂ as the gradient is, and
so decays those weights least whose gradients are large.  AdamW decays all alike, by
w = w - lr weight_decay w beside the step (Loshchilov & Hutter, "Decoupled Weight Decay
Regularization", ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """m += (1 - beta1)(d - m);  v += (1 - beta2)(d² - v);  w -= lr m̂ / (√v̂ + eps).

    d = g + weight_decay w, and m̂, v̂ are m / (1 - beta1ᵗ) and v / (1 - beta2ᵗ) in step t (Kingma &
    Ba 2015).  With `amsgrad`, v̂ is of the largest v so far (Reddi et al. 2018); with `maximize`,
    steps go up; with `decoupled_weight_decay`, it is AdamW; with `eps_in_sqrt`, m̂ is divided by
    √(v̂ + eps); without `bias_correction`, m and v are in the place of m̂ and v̂.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    states = ("step", "exp_avg", "exp_avg_sq")
    optional = (("max_exp_avg_sq", "amsgrad"),)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        eps_in_sqrt: bool = False,
        bias_correction: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
            "eps_in_sqrt": eps_in_sqrt,
            "bias_correction": bias_correction,
        }
        super().__init__(params, defaults)

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.adam(
            params, grads, states["exp_avg"], states["exp_avg_sq"], states.get("max_exp_avg_sq"), states["step"],
            group["lr"], *group["betas"], group["eps"], group["eps_in_sqrt"], group["bias_correction"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with w -= lr weight_decay w beside each step (Loshchilov & Hutter 2019).

    >>> import batten
    >>> w = batten.tensor([1.0], requires_grad=True)
    >>> optimizer = batten.optim.AdamW([w], lr=0.5, weight_decay=0.2)
    >>> w.grad = batten.zeros(1)
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        eps_in_sqrt: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True,
            eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction,
        )  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # a state of Adam does not make it one
            group["decoupled_weight_decay"] = True

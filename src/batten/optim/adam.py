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

import numpy as np

from .. import _kernels as kernels
from ..autograd import wrap
from .optimizer import COUNT, Optimizer, buffers, check_number, keep

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """m += (1 - beta1)(d - m);  v += (1 - beta2)(d² - v);  w -= lr m̂ / (√v̂ + eps).

    d = g + weight_decay w, and m̂, v̂ are m / (1 - beta1ᵗ) and v / (1 - beta2ᵗ) in step t (Kingma &
    Ba 2015).  With `amsgrad`, v̂ is of the largest v so far (Reddi et al. 2018); with `maximize`,
    steps go up; with `decoupled_weight_decay`, it is AdamW.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    states = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

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
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        check_number("learning rate", options["lr"])
        check_number("epsilon value", options["eps"])
        betas = options["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{type(self).__name__} expects betas as a pair of numbers, got {betas!r}")
        for index, beta in enumerate(betas):
            check_number(f"beta parameter at index {index}", beta, below=1)
        check_number("weight_decay value", options["weight_decay"])

    def update(
        self,
        group: dict[str, Any],
        params: list[np.ndarray],
        grads: list[np.ndarray],
        states: list[dict[str, Any]],
    ) -> None:
        steps = [state["step"].array.item() + 1 if "step" in state else 1.0 for state in states]
        exp_avg = buffers(states, "exp_avg", params)
        exp_avg_sq = buffers(states, "exp_avg_sq", params)
        largest = buffers(states, "max_exp_avg_sq", params) if group["amsgrad"] else None
        kernels.adam(
            params, grads, exp_avg, exp_avg_sq, largest, np.array(steps),
            group["lr"], *group["betas"], group["eps"], group["weight_decay"],
            group["maximize"], group["decoupled_weight_decay"],
        )  # fmt: skip
        for state, step in zip(states, steps, strict=True):
            if "step" not in state:
                state["step"] = wrap(kernels.empty((), COUNT))
            state["step"].array.fill(step)
        keep(states, "exp_avg", exp_avg)
        keep(states, "exp_avg_sq", exp_avg_sq)
        if largest:
            keep(states, "max_exp_avg_sq", largest)

    def load_state(self, index: Any, parameter: Any, values: Any) -> dict[str, Any]:
        state = super().load_state(index, parameter, values)
        if state and (missing := [name for name in self.states[:3] if name not in state]):
            raise ValueError(f"{type(self).__name__} finds no {', '.join(missing)} in the state of parameter {index}")
        return state


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
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # a state of Adam does not make it one
            group["decoupled_weight_decay"] = True

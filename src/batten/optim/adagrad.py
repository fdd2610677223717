"""Adagrad: a learning rate for each weight, which shrinks by all gradients that it has seen.

    v = v + d²,   d = g + weight_decay w                            (-g for g, to maximize)
    w = w - lr / (1 + (t - 1) lr_decay) d / (√v + eps)

in step t, from Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and
Stochastic Optimization" (JMLR 12, 2011).  Weights whose gradients are rare or small take
larger steps.  As v only grows, all steps become short in the end; RMSprop and Adadelta mend that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import wrap
from .optimizer import Arrays, Flags, Group, Optimizer, States, check_number

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """v += d²;  w -= lr / (1 + (t - 1) lr_decay) d / (√v + eps).

    d = g + weight_decay w in step t (Duchi et al. 2011); with `maximize`, steps go up; with `eps_in_sqrt`,
    d is divided by √(v + eps); with `decoupled_weight_decay`, d = g and w *= 1 - lr weight_decay first,
    whatever `lr_decay`.  v is called `sum` in the state, is there from the beginning, and starts at the
    constructor's `initial_accumulator_value`, whatever a group says.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    states = ("step", "sum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        eps_in_sqrt: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
            "eps_in_sqrt": eps_in_sqrt,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {name: wrap(self.fresh(name, parameter.array)) for name in self.states}

    def fresh(self, name: str, w: np.ndarray) -> np.ndarray:
        array = super().fresh(name, w)
        if name == "sum":
            array.fill(float(self.defaults["initial_accumulator_value"]))
        return array

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        check_number("lr_decay", options["lr_decay"])
        check_number("initial_accumulator_value", options["initial_accumulator_value"])

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.adagrad(
            params, grads, states["sum"], states["step"],
            group["lr"], group["lr_decay"], group["eps"], group["eps_in_sqrt"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

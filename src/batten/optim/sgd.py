"""Stochastic gradient descent, with momentum.

    d = g + weight_decay w                             (-g for g, to maximize)
    v = momentum v + (1 - dampening) d                 (v = d in the first step)
    w = w - lr v,  or  w - lr (d + momentum v)         (Nesterov)

The learning rate is outside of v, as in PyTorch: where it changes, the steps differ from
those of v = momentum v + lr d in Sutskever et al., "On the importance of initialization and
momentum in deep learning" (ICML 2013).  Nesterov's gradient, which that paper measures at
w - lr momentum v, is here measured at w; the last line is what that amounts to when w is the
point looked ahead to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _kernels as kernels
from .optimizer import Arrays, Optimizer, check_number

__all__ = ["SGD"]


class SGD(Optimizer):
    """d = g + weight_decay w;  v = momentum v + (1 - dampening) d;  w -= lr v.

    With `nesterov`, w -= lr (d + momentum v) (Sutskever et al. 2013); with `maximize`, steps go up.

    >>> import batten
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.SGD([w], lr=0.25, momentum=0.9)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.0000], requires_grad=True)
    """

    states = ()
    optional = (("momentum_buffer", "momentum"),)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        check_number("lr", options["lr"], "learning rate")
        check_number("momentum", options["momentum"])
        check_number("weight_decay", options["weight_decay"])
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def update(
        self,
        group: dict[str, Any],
        params: Arrays,
        grads: Arrays,
        states: dict[str, Arrays],
        new: np.ndarray | None,
    ) -> None:
        kernels.sgd(
            params, grads, states.get("momentum_buffer"), new,
            group["lr"], group["momentum"], group["dampening"], group["weight_decay"],
            group["nesterov"], group["maximize"],
        )  # fmt: skip

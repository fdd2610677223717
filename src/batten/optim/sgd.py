"""Stochastic gradient descent, with momentum.

    d = g + weight_decay w                             (-g for g, to maximize)
    v = momentum v + (1 - dampening) d                 (v = d in the first step)
    w = w - lr v,  or  w - lr (d + momentum v)         (Nesterov)

The learning rate is outside of v, as in PyTorch.  In Sutskever et al., "On the importance of
initialization and momentum in deep learning" (ICML 2013), it is inside:

    v = momentum v + (1 - dampening) lr d,   w = w - v,  or  w - (lr d + momentum v)

While it is constant, the steps are the same, as v is lr times the other.  Where it changes, the
first form steps with the new one at once, along all gradients that are in v; in the second, each
gradient goes on at the rate that it came with.

Nesterov's gradient, which that paper measures at the point that momentum alone leads to, is here
measured at w: the last term is what that amounts to when w is the point looked ahead to.
`Nesterov` measures it there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _kernels as kernels
from .optimizer import Arrays, Flags, Group, Optimizer, States

__all__ = ["SGD"]


class SGD(Optimizer):
    """d = g + weight_decay w;  v = momentum v + (1 - dampening) d;  w -= lr v.

    With `nesterov`, w -= lr (d + momentum v) (Sutskever et al. 2013); with `maximize`, steps go up; with
    `lr_in_momentum`, lr d is in the place of d in all of this, and w -= v; with `decoupled_weight_decay`,
    d = g and w *= 1 - lr weight_decay first, as in AdamW.  v is called `momentum_buffer` in the state; that
    of one form is not that of the other.

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
        lr_in_momentum: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "lr_in_momentum": lr_in_momentum,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        kernels.sgd(
            params, grads, states.get("momentum_buffer"), new,
            group["lr"], group["momentum"], group["dampening"], group["nesterov"], group["lr_in_momentum"],
            group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip

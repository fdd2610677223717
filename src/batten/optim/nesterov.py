"""Nesterov's momentum: the gradient is measured where momentum alone leads to.

    v = momentum v + lr d,   d the gradient at w - momentum v         (its negative, to maximize)
    w = w - v

from Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k²)" (1983), in the form of
Sutskever et al., "On the importance of initialization and momentum in deep learning" (ICML 2013).  Weight decay is
of the point looked ahead to, as everything is that the gradient is of: d = g + weight_decay (w - momentum v).

A training loop has the gradient at the weights as they are.  In terms of the point looked ahead to, φ = w - momentum v,
the same steps are

    v = momentum v + lr d,   d the gradient at φ
    φ = φ - (lr d + momentum v)

which `SGD(nesterov=True, lr_in_momentum=True)` does.  With PyTorch's momentum, which has the learning rate outside of
v, they are the same as long as that is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .lists import Arrays, settle, without_gaps
from .optimizer import Flags, Group, Optimizer, States

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Nesterov"]


class Nesterov(Optimizer):
    """v = momentum v + lr d;  w -= v, with d measured at w - momentum v (Sutskever et al. 2013).

    `step` expects a closure that computes the loss and its gradient anew, and calls it while the parameters that
    require a gradient are at w - momentum v, of which the loss that it returns is, too.  Afterwards they are back, bit
    by bit, also if it raises; those that it leaves without gradient stay there.  With `maximize`, steps go up; with
    `decoupled_weight_decay`, w *= 1 - lr weight_decay first, in the place of weight decay in the gradient.  v is called
    `momentum_buffer` in the state.

    Without `lookahead` it is SGD with `nesterov`, and the closure may be left out.

    TypeError if `step` has no closure and needs one.

    >>> import batten
    >>> w = batten.tensor([4.0], requires_grad=True)
    >>> optimizer = batten.optim.Nesterov([w], lr=0.25, momentum=0.5)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (w * w).sum()
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     print(optimizer.step(closure).item(), w.item())
    16.0 2.0
    1.0 0.5
    0.0625 -0.125
    """

    states = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0,
        *,
        lookahead: bool = True,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "lookahead": lookahead,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    @property
    def needs_closure(self) -> bool:  # type: ignore[override]
        return any(group["lookahead"] for group in self.param_groups)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that closure gives a gradient; returns what closure returns."""
        if not self.needs_closure:
            return super().step(closure)
        if closure is None:
            raise TypeError(
                "Nesterov measures the gradient at w - momentum v: step expects a closure that computes it "
                "(with lookahead=False, it needs none)"
            )
        return super().step(self.ahead()(closure))

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Within it, parameters are where their momentum alone leads to."""
        places: list[tuple[Tensor, np.ndarray]] = []
        try:
            for group in self.param_groups:
                for batch in moving(group):
                    arrays = [without_gaps(parameter.array) for parameter in batch]
                    kept = [kernels.copy(kernels.empty_like(w), w) for w in arrays]
                    velocities = self.recall(group, batch, arrays)[0]["momentum_buffer"]
                    kernels.sgd(arrays, velocities, None, None, group["momentum"])  # w -= momentum v
                    places += zip(batch, kept, strict=True)
                    settle(batch, arrays)
            yield
        finally:
            for parameter, place in places:
                kernels.copy(parameter.array, place)
                parameter.version[0] += 1

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        lr, momentum, velocities = group["lr"], group["momentum"], states["momentum_buffer"]
        decay = group["weight_decay"], group["decoupled_weight_decay"], group["maximize"]
        if group["lookahead"]:
            kernels.nesterov(params, grads, velocities, lr, momentum, *decay)
        else:
            kernels.sgd(params, grads, velocities, None, lr, momentum, 0, True, False, *decay)


def moving(group: dict[str, Any]) -> Iterable[list[Tensor]]:
    """Those parameters of a group that are to look ahead, of each type."""
    types: dict[np.dtype, list[Tensor]] = {}
    for parameter in group["params"]:
        if group["lookahead"] and parameter.requires_grad:
            types.setdefault(parameter.array.dtype, []).append(parameter)
    return types.values()

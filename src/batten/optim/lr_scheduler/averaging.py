"""The schedule for averaging weights (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
Generalization", UAI 2018): to a constant learning rate, large enough for the weights to keep moving around."""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal

from ..optimizer import Optimizer
from .scheduler import LRs, LRScheduler, check_optimizer, for_groups

__all__ = ["SWALR"]

# The share of swa_lr in the learning rate, by the share of the way that is behind.
SHARES = {"cos": lambda way: (1 - cos(pi * way)) / 2, "linear": lambda way: way}


class SWALR(LRScheduler):
    """lr(t) = a swa_lr + (1 - a) lr(0),  a = (1 - cos(π t / anneal_epochs)) / 2,  and swa_lr from anneal_epochs on.

    With anneal_strategy="linear", a = t / anneal_epochs.  swa_lr may be a list of a number for each group.  In each
    epoch lr(0) is worked out from the present learning rate: the way leads to swa_lr from wherever another schedule, or
    a change from outside, has left it.

    >>> import batten
    >>> from batten.optim.swa_utils import SWALR
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = SWALR(optimizer, swa_lr=0.5, anneal_epochs=4, anneal_strategy="linear"), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> [round(lr, 3) for lr in lrs]
    [1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        swa_lrs = for_groups("swa_lr", optimizer, swa_lr)
        if anneal_strategy not in SHARES:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for group, lr in zip(optimizer.param_groups, swa_lrs, strict=True):
            group["swa_lr"] = lr
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """The share of swa_lr after so many steps."""
        return SHARES[self._anneal_strategy](max(0, min(1, step / max(1, self.anneal_epochs))))

    def rates(self) -> LRs:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self.share(step - 1), self.share(step)

        def annealed(lr: Any, swa_lr: Any) -> Any:
            first = swa_lr if before == 1 else (lr - before * swa_lr) / (1 - before)
            return swa_lr * now + first * (1 - now)

        return [annealed(group["lr"], group["swa_lr"]) for group in self.optimizer.param_groups]

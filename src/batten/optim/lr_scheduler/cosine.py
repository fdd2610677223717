"""Schedules along a cosine.

    lr = eta_min + (lr(0) - eta_min) (1 + cos(π T_cur / T)) / 2

goes from lr(0) at T_cur = 0 to eta_min at T_cur = T, slowly at both ends (Loshchilov & Hutter, "SGDR: Stochastic
Gradient Descent with Warm Restarts", ICLR 2017).
"""

from __future__ import annotations

from math import cos, floor, inf, pi

from ..optimizer import Optimizer
from .scheduler import LRs, LRScheduler, each_group

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """lr(t) = eta_min + (lr(0) - eta_min) (1 + cos(π t / T_max)) / 2 (Loshchilov & Hutter 2017, without restarts).

    What is above eta_min is multiplied by what its share changes by, so that changes from outside stay.  Beyond T_max
    the learning rate goes up again as it came down, and is back at lr(0) in epoch 2 T_max.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = CosineAnnealingLR(optimizer, T_max=4), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> [round(lr, 3) for lr in lrs]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.146]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:  # noqa: N803
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rates(self) -> LRs:
        lrs, t = each_group(self.optimizer, "lr"), self.last_epoch
        if self._is_initial:
            return lrs
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # all were at eta_min, from where no product leads up again
            rise = (1 - cos(pi / self.T_max)) / 2
            return [lr + (base - self.eta_min) * rise for lr, base in zip(lrs, self.base_lrs, strict=False)]
        ratio = (1 + cos(pi * t / self.T_max)) / (1 + cos(pi * (t - 1) / self.T_max))
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in lrs]

    def _get_closed_form_lr(self) -> LRs:
        return on_cosine(self.base_lrs, self.eta_min, self.last_epoch, self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (lr(0) - eta_min) (1 + cos(π T_cur / T_i)) / 2, T_cur epochs after the last of many restarts.

    The first cycle has T_0 epochs, and each next one T_mult times as many: after T_i epochs the learning rate is lr(0)
    again (Loshchilov & Hutter 2017).  Changes from outside last until the next step.  `step(epoch)` goes to any
    epoch, which may be a fraction, such as epoch + batch / batches.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2), []
    >>> for epoch in range(7):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> [round(lr, 3) for lr in lrs]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur, self.T_i = self.cycle(max(last_epoch, 0))
        super().__init__(optimizer, last_epoch)

    def cycle(self, epoch: float) -> tuple[float, int]:
        """How many epochs after a restart an epoch is, and how many there are until the next one."""
        if self.T_mult == 1:
            return epoch % self.T_0, self.T_0
        start, length = 0, self.T_0
        while epoch >= start + length:
            start, length = start + length, length * self.T_mult
        return epoch - start, length

    def step(self, epoch: float | None = None) -> None:
        """Enters the next epoch, or a given one; the next of a fraction is as far behind a whole one."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = epoch or 0
            if not 0 <= epoch < inf:
                raise ValueError(f"Expected non-negative epoch, but got {epoch}")
            self.T_cur, self.T_i = self.cycle(epoch)
        self.last_epoch = floor(epoch)
        self._write(self.get_lr)

    def rates(self) -> LRs:
        return on_cosine(self.base_lrs, self.eta_min, self.T_cur, self.T_i)


def on_cosine(highest: LRs, lowest: float, t: float, length: float) -> LRs:
    """Learning rates after t of the epochs that it takes from the highest to the lowest."""
    return [lowest + (lr - lowest) * (1 + cos(pi * t / length)) / 2 for lr in highest]

"""A schedule that follows a measurement: the learning rate goes down where it no longer improves."""

from __future__ import annotations

import warnings
from math import inf
from typing import Literal, SupportsFloat

from ..optimizer import Optimizer
from .scheduler import EPOCH, LRScheduler, check_optimizer, each_group, for_groups, put_lr

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """lr = max(factor lr, min_lr) after more than `patience` epochs without improvement of what `step` is given.

    A measurement improves on the best one so far, by `mode` and `threshold_mode`, where it is

        "min", "rel"    less than best (1 - threshold)        "max", "rel"    more than best (1 + threshold)
        "min", "abs"    less than best - threshold            "max", "abs"    more than best + threshold

    and NaN never does.  In `cooldown` epochs after a reduction nothing is counted.  A learning rate that would change
    by no more than eps stays.  min_lr may be a list of a number for each group.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [3.0, 2.0, 2.0, 2.5, 1.9]:
    ...     schedule.step(loss)
    ...     print(loss, *schedule.get_last_lr())
    3.0 1.0
    2.0 1.0
    2.0 1.0
    2.5 0.5
    1.9 0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError(f"Factor should be < 1.0, got {factor}")
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown: expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown: expected 'rel' or 'abs'")
        self.optimizer = optimizer
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = for_groups("min_lr", optimizer, min_lr)
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = inf if mode == "min" else -inf
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self.last_epoch = 0
        self._last_lr = each_group(optimizer, "lr")

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Ends an epoch by a measurement: a number, or a Tensor of one."""
        current = float(metrics)
        if epoch is not None:
            warnings.warn(EPOCH, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch

        if self.is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = each_group(self.optimizer, "lr")

    @property
    def in_cooldown(self) -> bool:
        """Whether a reduction was so short a time ago that bad epochs do not count."""
        return self.cooldown_counter > 0

    def is_better(self, current: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        relative = self.threshold_mode == "rel"
        limit = self.best * (1.0 + sign * self.threshold) if relative else self.best + sign * self.threshold
        return current < limit if self.mode == "min" else current > limit

    def reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(self.min_lrs) != len(groups):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"The number of param groups in the `optimizer` ({len(groups)}) differs from when "
                    f"`ReduceLROnPlateau` was initialized ({len(self.min_lrs)}): extend `min_lrs` with each new group"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            after = max(before * self.factor, least)
            if before - after > self.eps:
                put_lr(group, after)

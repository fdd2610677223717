"""Schedules that are made of others: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler, check_states, each_group, put_lr

__all__ = ["ChainedScheduler", "SequentialLR"]


class Combined(LRScheduler):
    """Schedules of one optimizer."""

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler.")
        for number, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"{name} expects schedulers, but got {type(scheduler).__name__} at index {number}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} does not support `ReduceLROnPlateau` scheduler, as its `step` wants a measurement, "
                    f"but got one at index {number}"
                )
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        for number, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but {type(scheduler).__name__} at "
                    f"index {number} belongs to another {type(scheduler.optimizer).__name__}"
                )
        self._schedulers = list(schedulers)

    @property
    def per_batch(self) -> bool:  # type: ignore[override]
        return any(scheduler.per_batch for scheduler in self._schedulers)

    def reset(self) -> None:
        """Gives the groups the learning rates that they began with."""
        for group in self.optimizer.param_groups:
            put_lr(group, group["initial_lr"])

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer, and the states of the schedulers."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the attributes from a `state_dict`, and has the schedulers take theirs."""
        schedulers, states = self._schedulers, state_dict["_schedulers"]
        check_states(self, "_schedulers", len(schedulers), states)
        super().load_state_dict({**state_dict, "_schedulers": schedulers})
        for scheduler, state in zip(schedulers, states, strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(Combined):
    """One schedule after the other: at each of the milestones the next one begins, with its epoch 0.

    It begins with the learning rates that the groups began with, not with those that are reached, if it has a closed
    form.  The schedulers are made for the same optimizer; what they did to it in the course of that is undone here.
    The last one goes on for ever.

    >>> import batten
    >>> from batten.optim.lr_scheduler import CosineAnnealingLR, LinearLR
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> warm_up, way_down = LinearLR(optimizer, start_factor=0.5, total_iters=2), CosineAnnealingLR(optimizer, T_max=3)
    >>> schedule, lrs = SequentialLR(optimizer, [warm_up, way_down], milestones=[2]), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> [round(lr, 3) for lr in lrs]
    [0.5, 0.75, 1.0, 0.75, 0.25, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR expects one milestone less than schedulers, "
                f"but got {len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self.reset()
        for scheduler in self._schedulers:
            scheduler._undo_initial_step()
        self._initial_step()

    def turn(self, epoch: int) -> int:
        """The number of the schedule whose turn an epoch is."""
        return bisect_right(self._milestones, epoch)

    def _undo_initial_step(self) -> None:
        # Of the others it is undone already.
        self._schedulers[self.turn(0)]._undo_initial_step()

    def _initial_step(self) -> None:
        first = self._schedulers[self.turn(0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _update_lr(self, epoch: int | None = 0) -> None:
        """Begins in another's midst."""
        first = self._schedulers[self.turn(0)]
        first._update_lr(0)
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Enters the next epoch."""
        self.last_epoch += 1
        number = self.turn(self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self._milestones[number - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(Combined):
    """All schedules at once: each finds the learning rate that the one before it left, and multiplies that.

    Those that compute the learning rate from that of the first epoch, such as LambdaLR, CosineAnnealingWarmRestarts,
    CyclicLR and OneCycleLR, forget what those before them did.

    >>> import batten
    >>> from batten.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> warm_up, way_down = ConstantLR(optimizer, factor=0.25, total_iters=2), ExponentialLR(optimizer, gamma=0.5)
    >>> schedule, lrs = ChainedScheduler([warm_up, way_down]), []
    >>> for epoch in range(4):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [0.25, 0.125, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(optimizer, schedulers)
        self._last_lr = each_group(self.optimizer, "lr")

    def _undo_initial_step(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo_initial_step()

    def _initial_step(self) -> None:
        for scheduler in self._schedulers:
            scheduler._initial_step()
        self._last_lr = each_group(self.optimizer, "lr")

    def _update_lr(self, epoch: int | None = 0) -> None:
        """Begins in another's midst: the first epochs of all, multiplied."""
        self.reset()
        self._initial_step()

    def step(self) -> None:  # type: ignore[override]
        """Enters the next epoch of each."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = each_group(self.optimizer, "lr")

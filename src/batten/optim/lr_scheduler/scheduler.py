"""What all schedules of learning rates have in common.

A schedule is a rule for the learning rates of epoch t, `get_lr`; `step` enters the next epoch, and writes
what the rule gives into the groups of the optimizer.  The first epoch, t = 0, is entered by the constructor.
What counts as an epoch is for whoever calls `step` to say: CyclicLR and OneCycleLR are meant for batches.

Many rules only multiply, lr(t) = ratio(t) lr(t - 1), with whatever learning rate they find.  So several of
them can work on the same groups (ChainedScheduler), and a change from outside stays.  Such a rule has
a second form as well, lr(t) = multiple(t) lr(0), the product of its ratios, which goes to any epoch at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sized
from typing import Any

import numpy as np

from ...autograd import Variable
from ..optimizer import Optimizer

__all__ = ["LRScheduler"]

LRs = list[Any]  # one for each group: a number, or a Tensor where the group's learning rate is one

EPOCH = (
    "the epoch of `scheduler.step(epoch)` is deprecated: please call `scheduler.step()`; "
    "an epoch is gone to by the closed form, where there is one"
)


class LRScheduler:
    """Base of all schedules: a subclass defines `get_lr`, the learning rates of the groups in epoch `last_epoch`.

    It has `optimizer`, and `base_lrs`, the learning rates that the groups began with, which are kept as their
    "initial_lr".  With `last_epoch` at its default, -1, it enters epoch 0.  With any other it continues after that
    epoch, and expects groups with an "initial_lr", as in the `state_dict` of an optimizer that had a schedule.
    Schedules that multiply take the learning rates that they find then for those of the epoch that is entered; StepLR,
    MultiStepLR and ConstantLR, as in PyTorch, for those of the epoch before.  A `state_dict` leaves no such question.

    A warning says when the second epoch is entered before the optimizer's first step.

    >>> import batten
    >>> class Halves(batten.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule = Halves(optimizer)
    >>> for epoch in range(3):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.125]
    """

    per_batch = False  # whether `step` is for after every batch, rather than every epoch

    _get_lr_called_within_step = False
    _is_initial = False  # whether the epoch being entered is the constructor's

    _step_count: int
    _last_lr: LRs

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming scheduler with "
                    "last_epoch >= 0: load the optimizer's state_dict first, or leave last_epoch at -1 to begin"
                )
        self.base_lrs = each_group(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        watch(optimizer)
        self._initial_step()

    def get_lr(self) -> LRs:
        """The learning rates of epoch `last_epoch`, for `step` to write; `get_last_lr` tells what it wrote."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", stacklevel=2
            )
        return self.rates()

    def rates(self) -> LRs:
        """What `get_lr` gives, in the house's own subclasses; fewer than there are groups are refused by `step`."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr")

    def _get_closed_form_lr(self) -> LRs:
        """The learning rates of epoch `last_epoch` whatever the present ones are, if there is such a form."""
        return self.get_lr()

    def get_last_lr(self) -> LRs:
        """The learning rates that the last `step` left behind, as numbers or copies of Tensors."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Enters the next epoch; a given one, which is deprecated, by the closed form if there is one."""
        if self._step_count == 1 and waiting(self.optimizer):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in the opposite order, "
                "or the first value of the learning rate schedule is skipped.",
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH, stacklevel=2)
        self._update_lr(epoch)

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _undo_initial_step(self) -> None:
        """Goes back to before the first epoch, when another schedule is to decide when that is."""
        self.last_epoch -= 1

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._write(self.get_lr if epoch is None else self._get_closed_form_lr)

    def _write(self, rule: Callable[[], LRs]) -> None:
        """Has the groups take the learning rates that a rule gives."""
        self._get_lr_called_within_step = True
        try:
            lrs = rule()
        finally:
            self._get_lr_called_within_step = False
        self._check_groups(lrs)
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            put_lr(group, lr)
        self._last_lr = each_group(self.optimizer, "lr")

    def _check_groups(self, lrs: LRs) -> None:
        count = len(self.optimizer.param_groups)
        if len(lrs) != count:
            raise ValueError(
                f"{type(self).__name__} has learning rates for {len(lrs)} parameter groups, but the optimizer has "
                f"{count}; a schedule that knows all groups has to be made after the last of them was added"
            )

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer, whose own `state_dict` is to be saved as well."""
        return {key: plain(value) for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the attributes from a `state_dict`, of this class or of PyTorch's of the same name.

        Learning rates are the optimizer's, and are not touched: load its `state_dict` too.
        """
        vars(self).update(state_dict)


class Multiplying(LRScheduler):
    """A schedule that multiplies all learning rates alike."""

    def ratio(self, t: int) -> float:
        """What the learning rates are multiplied by when epoch t is entered."""
        raise NotImplementedError

    def multiple(self, t: int) -> float:
        """The product of the ratios of all epochs up to t."""
        raise NotImplementedError

    def rates(self) -> LRs:
        ratio = self.ratio(self.last_epoch)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> LRs:
        multiple = self.multiple(self.last_epoch)
        return [lr * multiple for lr in self.base_lrs]


# ---- whether the optimizer has stepped ----


def note_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    optimizer._opt_called = True


def watch(optimizer: Any) -> None:
    """Has an optimizer remember that it was stepped; the hook knows no schedule, so it keeps none alive."""
    if note_step not in optimizer.step_hooks.values():
        optimizer.register_step_post_hook(note_step)


def waiting(optimizer: Any) -> bool:
    """Whether an optimizer is known not to have stepped: of a copy, which has no hooks, nothing is known."""
    return note_step in optimizer.step_hooks.values() and not getattr(optimizer, "_opt_called", False)


# ---- options of groups ----


def check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def check_states(scheduler: LRScheduler, key: str, count: int, states: Sized) -> None:
    if len(states) != count:
        raise ValueError(f"{type(scheduler).__name__} expects {count} states as {key}, got {len(states)}")


def own(value: Any) -> Any:
    """A value that nobody else will change: Tensors among options are changed in place."""
    return value.clone() if isinstance(value, Variable) else value  # type: ignore[attr-defined]


def plain(value: Any) -> Any:
    """A number that NumPy computed, as one that can be saved like any other; lists of them, too."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def each_group(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of all groups."""
    return [own(group[key]) for group in optimizer.param_groups]


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An argument for each group, from a list of as many, or from one for all."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * count
    elif len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return [own(v) for v in value]


def put_lr(group: dict[str, Any], lr: Any) -> None:
    """Writes a learning rate: into the Tensor, where it is one, as others may have that Tensor too."""
    if isinstance(group["lr"], Variable):
        group["lr"].fill_(float(lr))  # type: ignore[attr-defined]
    else:
        group["lr"] = own(lr)

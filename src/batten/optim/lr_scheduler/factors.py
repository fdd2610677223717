"""Schedules by a factor: the learning rate of an epoch is a multiple of the first, or of the one before.

t is the number of the epoch, which begins with 0.  Where a schedule says lr(t) = multiple(t) lr(0), it gets there by
multiplying with multiple(t) / multiple(t - 1) in each epoch: other changes of the learning rate stay.  LambdaLR alone
begins with lr(0) anew every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRs, LRScheduler, Multiplying, check_optimizer, check_states, each_group, for_groups, plain

__all__ = [
    "ConstantLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]

Function = Callable[[int], float]


class ByFunction(LRScheduler):
    """A schedule by functions of the epoch, one for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.lr_lambdas = for_groups("lr_lambda", optimizer, lr_lambda)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of `lr_lambdas` those of callable objects, and None for functions."""
        return {**super().state_dict(), "lr_lambdas": [attributes(function) for function in self.lr_lambdas]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the attributes from a `state_dict`; functions stay the constructor's, callable objects get theirs."""
        functions, states = self.lr_lambdas, state_dict["lr_lambdas"]
        check_states(self, "lr_lambdas", len(functions), states)
        super().load_state_dict({**state_dict, "lr_lambdas": functions})
        for function, kept in zip(functions, states, strict=True):
            restore(function, kept)


def attributes(function: Any) -> dict[str, Any] | None:
    """What is saved of a callable: the attributes of an object, nothing of a function."""
    return None if isinstance(function, FunctionType) or not hasattr(function, "__dict__") else dict(vars(function))


def restore(function: Any, kept: Mapping[str, Any] | None) -> None:
    if kept is not None:
        vars(function).update(kept)


class LambdaLR(ByFunction):
    """lr(t) = lr_lambda(t) lr(0), for one function of t, or a list of one for each group.

    Each epoch begins with the first learning rate anew, so that changes from outside last until the next.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule = LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> for epoch in range(3):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def rates(self) -> LRs:
        return [lr * function(self.last_epoch) for lr, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(ByFunction):
    """lr(t) = lr_lambda(t) lr(t - 1) from t = 1, for one function of t, or a list of one for each group.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule = MultiplicativeLR(optimizer, lambda t: 0.5 if t < 3 else 1)
    >>> for epoch in range(5):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def rates(self) -> LRs:
        lrs = each_group(self.optimizer, "lr")
        if self._is_initial:
            return lrs
        return [lr * function(self.last_epoch) for lr, function in zip(lrs, self.lr_lambdas, strict=False)]


class StepLR(Multiplying):
    """lr(t) = gamma^⌊t / step_size⌋ lr(0): multiplied by gamma every step_size epochs, without end.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = StepLR(optimizer, step_size=2, gamma=0.5), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def ratio(self, t: int) -> float:
        return self.gamma if t and t % self.step_size == 0 else 1

    def multiple(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Multiplying):
    """lr(t) = gammaⁿ lr(0), where n of the milestones have been reached: one that is given twice counts twice.

    The last milestone's learning rate stays.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = MultiStepLR(optimizer, milestones=[1, 4], gamma=0.5), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(plain(list(milestones)))
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        # Files know of dicts only, and those of JSON have strings for keys.
        self.milestones = Counter({int(t): count for t, count in self.milestones.items()})

    def ratio(self, t: int) -> float:
        return self.gamma ** self.milestones[t] if t in self.milestones else 1

    def multiple(self, t: int) -> float:
        return self.gamma ** sum(count for milestone, count in self.milestones.items() if milestone <= t)


class ConstantLR(Multiplying):
    """lr(t) = factor lr(0) while t < total_iters, then lr(0): a warm-up in one step.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = ConstantLR(optimizer, factor=0.5, total_iters=3), []
    >>> for epoch in range(5):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [0.5, 0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def ratio(self, t: int) -> float:
        if t == 0:
            return self.factor
        return 1.0 / self.factor if t == self.total_iters else 1

    def multiple(self, t: int) -> float:
        return self.factor + (t >= self.total_iters) * (1 - self.factor)


class LinearLR(Multiplying):
    """lr(t) = (start_factor + (end_factor - start_factor) t / total_iters) lr(0), and end_factor lr(0) in the end.

    The end is epoch total_iters.  By default it is a warm-up (Goyal et al., "Accurate, Large Minibatch SGD: Training
    ImageNet in 1 Hour", arXiv:1706.02677, 2017), with start_factor=1 and end_factor=0 a straight way down.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = LinearLR(optimizer, start_factor=0.25, total_iters=3), []
    >>> for epoch in range(5):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1, "
                f"got {start_factor}"
            )
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError(f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def ratio(self, t: int) -> float:
        if t == 0:
            return self.start_factor
        if self._is_initial or t > self.total_iters:
            return 1
        rise = self.end_factor - self.start_factor
        ratio = 1.0 + rise / (self.total_iters * self.start_factor + (t - 1) * rise)
        return max(ratio, 0.0)  # which rounding would miss, where the way leads down to 0

    def multiple(self, t: int) -> float:
        rise = self.end_factor - self.start_factor
        return self.start_factor + rise * min(self.total_iters, t) / self.total_iters


class ExponentialLR(Multiplying):
    """lr(t) = gammaᵗ lr(0), without end.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = ExponentialLR(optimizer, gamma=0.5), []
    >>> for epoch in range(4):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def ratio(self, t: int) -> float:
        return 1 if self._is_initial else self.gamma

    def multiple(self, t: int) -> float:
        return self.gamma**t


class PolynomialLR(Multiplying):
    """lr(t) = (1 - t / total_iters)^power lr(0), and 0 from total_iters on.

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], lr=1.0)
    >>> schedule, lrs = PolynomialLR(optimizer, total_iters=4, power=2), []
    >>> for epoch in range(6):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def ratio(self, t: int) -> float:
        if self._is_initial or t > self.total_iters:
            return 1
        return ((1.0 - t / self.total_iters) / (1.0 - (t - 1) / self.total_iters)) ** self.power

    def multiple(self, t: int) -> float:
        return (1.0 - min(self.total_iters, t) / self.total_iters) ** self.power

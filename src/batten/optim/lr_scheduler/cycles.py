"""Schedules whose learning rate goes up, and down again, while momentum goes down and up.

Both are for `step` after every batch.  Momentum is an option "momentum" of the groups, or the first of "betas".
A large learning rate wants less of it, as the length of a step grows with 1 / (1 - momentum).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from math import cos, floor, pi
from typing import Any, Literal

from ..optimizer import Optimizer
from .factors import attributes, restore
from .scheduler import LRs, LRScheduler, check_optimizer, for_groups, put_lr

__all__ = ["CyclicLR", "OneCycleLR"]


class Cycling(LRScheduler):
    """A schedule that may set momenta, too."""

    per_batch = True
    use_beta1: bool

    def find_momentum(self, optimizer: Optimizer) -> None:
        """Looks which option of an optimizer is its momentum."""
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in optimizer.defaults

    def put_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum

    def begin_momentum(self, group: dict[str, Any], base_momentum: float, max_momentum: float) -> None:
        self.put_momentum(group, max_momentum)
        group["max_momentum"] = max_momentum
        group["base_momentum"] = base_momentum


# What CyclicLR multiplies the height of a cycle by: a function of gamma and of x, and what x is.
SCALES: dict[str, tuple[Callable[[float, float], float], Literal["cycle", "iterations"]]] = {
    "triangular": (lambda gamma, x: 1.0, "cycle"),
    "triangular2": (lambda gamma, x: 1 / (2.0 ** (x - 1)), "cycle"),
    "exp_range": (lambda gamma, x: gamma**x, "iterations"),
}


class CyclicLR(Cycling):
    """Triangles: from base_lr to max_lr in step_size_up batches, back in step_size_down (Smith 2017), without end.

    With h = 0 at base_lr and 1 at the top,

        lr = base_lr + (max_lr - base_lr) h scale,   momentum = max_momentum - (max_momentum - base_momentum) h scale

    and scale by `mode` is 1 ("triangular"), 1 / 2ⁿ⁻¹ in the n-th cycle ("triangular2") or gammaᵗ after t batches
    ("exp_range"); or `scale_fn` says it, from the number of the cycle or, with scale_mode="iterations", of the batch.
    step_size_down is step_size_up by default.  base_lr, max_lr, base_momentum and max_momentum may be lists of a number
    for each group.  Without `cycle_momentum`, momentum stays as it is.  Changes from outside last until the next step.

    From Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017).

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], momentum=0.9)
    >>> schedule = CyclicLR(optimizer, base_lr=1.0, max_lr=2.0, step_size_up=2, mode="triangular2", base_momentum=0.5)
    >>> lrs = []
    >>> for batch in range(8):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> lrs
    [1.0, 1.5, 2.0, 1.5, 1.0, 1.25, 1.5, 1.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in SCALES and scale_fn is None:
            raise ValueError(f"mode is invalid and scale_fn is None: expected one of {list(SCALES)}, got {mode!r}")
        base_lrs = for_groups("base_lr", optimizer, base_lr)
        self.max_lrs = for_groups("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = SCALES[mode][1] if scale_fn is None else scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.find_momentum(optimizer)
            self.base_momentums = for_groups("base_momentum", optimizer, base_momentum)
            self.max_momentums = for_groups("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for number, group in enumerate(optimizer.param_groups):
                put_lr(group, base_lrs[number])
                if cycle_momentum:
                    self.begin_momentum(group, self.base_momentums[number], self.max_momentums[number])
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """What the height of a cycle is multiplied by; x is what `scale_mode` says."""
        return SCALES[self.mode][0](self.gamma, x) if self._scale_fn_custom is None else self._scale_fn_custom(x)

    def rates(self) -> LRs:
        t = self.last_epoch
        cycle = floor(1 + t / self.total_size)
        x = 1.0 + t / self.total_size - cycle  # how much of the cycle is over
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else t)
        lrs = [base + (most - base) * height * scale for base, most in zip(self.base_lrs, self.max_lrs, strict=True)]
        self._check_groups(lrs)  # before a momentum is moved
        if self.cycle_momentum:
            momenta = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (base, most) in zip(self.optimizer.param_groups, momenta, strict=True):
                self.put_momentum(group, most - (most - base) * height * scale)
        return lrs

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of `scale_fn` those of a callable object, and None for a function."""
        function = self._scale_fn_custom
        return {**super().state_dict(), "_scale_fn_custom": None if function is None else attributes(function)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the attributes from a `state_dict`; a `scale_fn` stays the constructor's, an object gets its own."""
        function = self._scale_fn_custom
        super().load_state_dict({**state_dict, "_scale_fn_custom": function})
        restore(function, state_dict["_scale_fn_custom"])


def annealed_by_cosine(start: Any, end: Any, share: float) -> Any:
    return end + (start - end) / 2.0 * (cos(pi * share) + 1)


def annealed_in_a_line(start: Any, end: Any, share: float) -> Any:
    return (end - start) * share + start


ANNEALING = {"cos": annealed_by_cosine, "linear": annealed_in_a_line}

# Between which options of a group each phase of OneCycleLR goes.
ENDS = ("start_lr", "end_lr", "start_momentum", "end_momentum")
UP = ("initial_lr", "max_lr", "max_momentum", "base_momentum")
DOWN_TO_THE_LEAST = ("max_lr", "min_lr", "base_momentum", "max_momentum")
DOWN = ("max_lr", "initial_lr", "base_momentum", "max_momentum")
TO_THE_LEAST = ("initial_lr", "min_lr", "max_momentum", "max_momentum")


class OneCycleLR(Cycling):
    """Up from max_lr / div_factor to max_lr, then down to 1 / final_div_factor of where it began, once.

    The way up takes the share pct_start of all batches.  With `three_phase`, as in the paper, the way down takes as
    many, and leads to where the way up began; the batches that are left lead from there to the end.  Each way is half
    a cosine wave, or with anneal_strategy="linear" straight.  Meanwhile momentum goes from max_momentum to
    base_momentum and back, if `cycle_momentum`.  max_lr, base_momentum and max_momentum may be lists of a number for
    each group.

    The number of batches is total_steps, or epochs · steps_per_epoch.  There may be as many steps, of which the
    last one is beyond the end; one more is a ValueError.  Changes from outside last until the next step.

    From Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates"
    (arXiv:1708.07120, 2017).

    >>> import batten
    >>> optimizer = batten.optim.SGD([batten.zeros(2, requires_grad=True)], momentum=0.9)
    >>> schedule = OneCycleLR(
    ...     optimizer, max_lr=1.0, total_steps=10, div_factor=5, final_div_factor=4, anneal_strategy="linear"
    ... )
    >>> lrs = []
    >>> for batch in range(10):
    ...     lrs += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> [round(lr, 2) for lr in lrs]
    [0.2, 0.6, 1.0, 0.86, 0.73, 0.59, 0.46, 0.32, 0.19, 0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if total_steps is not None:
            self.total_steps = check_count("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = check_count("epochs", epochs) * check_count("steps_per_epoch", steps_per_epoch)
        else:
            raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ANNEALING:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        top, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        phases: list[tuple[float, tuple[str, ...]]] = [(top, UP), (last, DOWN_TO_THE_LEAST)]
        if three_phase:
            phases = [(top, UP), (float(2 * pct_start * self.total_steps) - 2, DOWN), (last, TO_THE_LEAST)]
        self._schedule_phases: list[dict[str, Any]] = [
            {"end_step": end, **dict(zip(ENDS, ends, strict=True))} for end, ends in phases
        ]
        self.cycle_momentum = cycle_momentum
        max_lrs = for_groups("max_lr", optimizer, max_lr)
        if cycle_momentum:
            self.find_momentum(optimizer)
            max_momenta = for_groups("max_momentum", optimizer, max_momentum)
            base_momenta = for_groups("base_momentum", optimizer, base_momentum)
        if last_epoch == -1:
            for number, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = max_lrs[number] / div_factor
                group["max_lr"] = max_lrs[number]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    self.begin_momentum(group, base_momenta[number], max_momenta[number])
        super().__init__(optimizer, last_epoch)

    def rates(self) -> LRs:
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"Tried to step {t} times. The specified number of total steps is {self.total_steps}")
        ends = [phase["end_step"] for phase in self._schedule_phases]
        number = bisect_left(ends[:-1], t)
        phase, start, end = self._schedule_phases[number], ends[number - 1] if number else 0.0, ends[number]
        share = (t - start) / (end - start) if end > start else 1  # a phase without length is at its end
        anneal, lrs = ANNEALING[self._anneal_func_type], []
        for group in self.optimizer.param_groups:
            lrs.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                momentum = anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                self.put_momentum(group, momentum)
        return lrs


def check_count(name: str, value: Any) -> int:
    if value <= 0 or not isinstance(value, int):
        raise ValueError(f"Expected positive integer {name}, but got {value}")
    return value

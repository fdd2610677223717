"""The loop of training, as `fit` runs it.

    for epoch in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()

`Run.run_epoch` and `Run.run_step` are these lines, with the places where penalties, schedules, validation and whatever
else have to go.  All that is done there can be written by hand with the same pieces, and then gives the same bits.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add
from time import perf_counter
from typing import Any

import numpy as np

from . import checkpoint
from .callbacks import Callback, EarlyStopping
from .history import History
from .inspect.nonfinite import first_not_finite
from .metrics import Metrics, evaluate, means, measured, pairs
from .nn import Module
from .nn.generators import named_generators
from .nn.utils import clip_grad_norm_
from .optim import Optimizer
from .optim.lr_scheduler import ReduceLROnPlateau
from .random import Generator, get_rng_state
from .tensor import Tensor

__all__ = ["Run"]


@dataclass(eq=False)
class Run:
    """A fit under way, as callbacks see it: what it was called with, and how far it is."""

    model: Module
    train: Any
    validation: Any
    loss: Callable[[Any, Any], Tensor]
    optimizer: Optimizer
    epochs: int
    callbacks: list[Callback]
    penalties: list[Callable[[Module], Tensor]]
    clip_grad_norm: float | None
    scheduler: Any
    metrics: Metrics
    resumed: bool  # whether it goes on from a checkpoint

    history: History = field(default_factory=History)
    epoch: int = 0  # the number of this epoch, from 1
    record: dict[str, Any] = field(default_factory=dict)  # the row of the history for this step, or epoch
    lrs: list[float] = field(default_factory=list)  # the learning rates of the groups in this step
    phase: str = "train"  # or "retrain" or "continue", when validation data is reused
    stopped: str | None = None  # the reason, if a callback has stopped it
    interrupted: bool = False  # by Ctrl-C
    reuse: str | None = None  # reuse_validation
    initial: Any = None  # a snapshot of the beginning, for "retrain"
    all_data: Any = None  # the loader of training and validation data together
    monitor: str = "loss"  # the column that ReduceLROnPlateau follows
    asked_to_end: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def generators(self) -> dict[str, Generator]:
        """Those of layers' own, by path."""
        return dict(named_generators(self.model))

    @property
    def step(self) -> int:
        """How many steps have been made."""
        return len(self.history.steps)

    @property
    def epochs_before(self) -> int:
        """How many epochs there were before this phase."""
        return self.history.reused_after or 0

    @property
    def over(self) -> bool:
        """Whether it is to end now."""
        return self.stopped is not None or self.interrupted

    @property
    def loaders(self) -> tuple[Any, Any]:
        """What is learned from now, and what is validated with."""
        if self.phase == "train":
            return self.train, self.validation
        return self.all_data, None if self.phase == "retrain" else self.validation

    def stop(self, reason: str = "stopped") -> None:
        """Ends training after this step, or epoch."""
        self.stopped = reason

    # The loop

    def learn(self, until: int) -> None:
        """Epochs up to the one of that number."""
        while len(self.history.epochs) < until and not self.over:
            self.run_epoch()

    def run_epoch(self) -> None:
        """All batches once, or the rest of them where a run goes on; then validation, and the row for the history."""
        self.epoch = len(self.history.epochs) + 1
        train, validation = self.loaders
        seen = len(self.history.steps_of(self.epoch))
        if not seen:
            self.tell("on_epoch_begin")
        self.model.train()
        began = perf_counter()
        for x, y in pairs(checkpoint.rest(train, seen)):
            row = self.run_step(x, y)
            self.record = {"epoch": self.epoch, **row, "images": len(y), "seconds": perf_counter() - began}
            self.history.steps.append(self.record)
            self.interrupted = self.asked_to_end.is_set()
            self.tell("on_step_end")
            if self.over:
                break
            began = perf_counter()
        if self.interrupted:
            return
        self.record = {"epoch": self.epoch, **self.scores(validation)}
        self.history.epochs.append(self.record)
        if isinstance(self.scheduler, ReduceLROnPlateau):
            without_validation = self.monitor.removeprefix("validation_")
            self.scheduler.step(self.record[self.monitor if self.monitor in self.record else without_validation])
        elif self.scheduler is not None and not self.scheduler.per_batch:
            self.scheduler.step()
        self.interrupted = self.asked_to_end.is_set()
        self.tell("on_epoch_end")

    def run_step(self, x: Any, y: Any) -> dict[str, Any]:
        """Forward, backward and a step of the optimizer; returns what was measured on the way."""
        self.lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
        draws = self.draws()
        row: dict[str, Any] = {}

        def gradient() -> Tensor:
            self.optimizer.zero_grad()
            output = self.model(x)
            terms = [self.loss(output, y), *[penalty(self.model) for penalty in self.penalties]]
            if not row:  # the first time: an optimizer with a line search comes again, with other weights
                row["loss"], *penalties = [term.item() for term in terms]
                if not all(map(math.isfinite, (row["loss"], *penalties))):
                    raise self.not_finite(row["loss"], penalties, x, draws)
                if penalties:
                    row["penalty"] = math.fsum(penalties)
                row.update(measured(self.metrics, output, y))
            objective = reduce(add, terms)
            objective.backward()
            if self.clip_grad_norm is not None:
                clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
            return objective

        if self.optimizer.needs_closure:
            self.optimizer.step(gradient)
        else:
            gradient()
            self.optimizer.step()
        if self.scheduler is not None and self.scheduler.per_batch:
            self.scheduler.step()
        return {**row, "lr": self.lrs[0]}

    def scores(self, validation: Any) -> dict[str, Any]:
        """The rest of the row of an epoch: means over the examples of its steps, and validation."""
        steps = self.history.steps_of(self.epoch)
        if not steps:
            raise ValueError(f"fit expects batches to learn from in each epoch, got none in epoch {self.epoch}")
        names = ("loss", "penalty", *self.metrics)  # a run that was resumed may have been without some of them before
        found = means(steps, [name for name in names if all(name in row for row in steps)])
        if validation is not None:
            found |= {f"validation_{name}": value for name, value in self.evaluate(validation).items()}
        images, seconds = sum(row["images"] for row in steps), math.fsum(row["seconds"] for row in steps)
        return {
            **found,
            "lr": steps[-1]["lr"],
            "images": images,
            "seconds": seconds,
            "images_per_second": images / seconds,
        }

    def evaluate(self, loader: Any) -> dict[str, float]:
        """The loss and the metrics of a loader's examples, with the model in evaluation mode."""
        return evaluate(self.model, loader, self.loss, self.metrics)

    def not_finite(self, loss: float, penalties: list[float], x: Any, draws: dict[str, Any]) -> FloatingPointError:
        what = f"loss became {loss}" if not math.isfinite(loss) else f"penalty became {sum(penalties)}"
        where = first_not_finite(self.model, x, **draws)
        return FloatingPointError(
            f"the {what} in step {self.step + 1} (epoch {self.epoch}), at a learning rate of {self.lrs[0]:g}; {where}"
        )

    def tell(self, event: str) -> None:
        """Tells all callbacks what has happened; what they put into the record becomes numbers of Python's."""
        for callback in self.callbacks:
            getattr(callback, event)(self)
            for name, value in self.record.items():
                if type(value) not in (float, int):
                    self.record[name] = number(name, value)

    # Its state

    def draws(self) -> dict[str, Any]:
        """The states of what the model draws from: the default generator, and layers' own."""
        own = {path: generator.get_state() for path, generator in self.generators.items()}
        return {"rng": get_rng_state(), "generators": own}

    def parts(self) -> dict[str, Any]:
        """The states of what steps change."""
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "scheduler": scheduler}

    def snapshot(self) -> dict[str, Any]:
        """A copy of them, for `restore`."""
        return deepcopy(self.parts())

    def restore(self, parts: dict[str, Any]) -> None:
        """Puts model, optimizer and schedule back to where they were."""
        self.model.load_state_dict(parts["model"])
        self.optimizer.load_state_dict(parts["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(deepcopy(parts["scheduler"]))

    def snapshots(self) -> list[tuple[str, dict[str, Any]]]:
        """Those that the run may yet go back to, with what they are of."""
        best = [callback.kept for callback in self.callbacks if isinstance(callback, EarlyStopping)]
        found = [("initial", self.initial), *[("what was best", parts) for parts in best]]
        return [(what, parts) for what, parts in found if parts is not None]

    def begin(self, phase: str, parts: dict[str, Any]) -> None:
        """Begins to learn from the validation data, too."""
        self.phase, self.stopped, self.history.reused_after = phase, None, len(self.history.epochs)
        self.restore(parts)


def number(name: str, value: Any) -> Any:
    """A number of NumPy's, or a tensor of one, as Python's own, as which it goes into texts and checkpoints."""
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biuf":
        raise TypeError(f"the history has numbers, got {name} = {value!r}")
    return found.item()

"""What is done beside training, in between its steps: objects that `fit` tells what has happened.

Callback        the base of all, and of your own
EarlyStopping   ends training when it no longer gets better, and goes back to the best weights
Checkpoint      keeps all that it takes to go on after a breakdown
CSVLogger       writes the epochs into a file for spreadsheets
TensorBoard     writes steps and epochs for TensorBoard
LRLogger        adds the learning rates of all groups to the history
ProgressBar     what `fit(progress=True)` shows
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from . import checkpoint
from .history import columns
from .serialization import tidy, write
from .states import NONE, check_entries

if TYPE_CHECKING:
    from .run import Run

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}, {rate_fmt}"  # what a short line cuts is last

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "LRLogger", "ProgressBar", "TensorBoard"]


class Callback:
    """Is told what happens in a `fit`, by methods that a subclass defines; none of them must be.

    Each is given the `Run`, which has the model, the optimizer, the history so far and, in `run.record`, the row of it
    that was just added: numbers that are put there are in the history.  `run.stop(reason)` ends training after the
    step, or the epoch, in which it is called.

    Callbacks are called one after the other, in the order of the list, but for `Checkpoint`, which is last, as it keeps
    what all others have done; and for `on_fit_end`, where the order is the reverse.  After an exception there is no
    `on_fit_end`.  What one remembers from epoch to epoch is to be in its `state_dict`, so that a checkpoint has it.

    >>> import batten
    >>> class WeightNorm(batten.Callback):
    ...     def on_epoch_end(self, run):
    ...         run.record["weight_norm"] = run.model.weight.norm().item()
    >>> model = batten.nn.Linear(2, 1)
    >>> data = [(batten.randn(4, 2), batten.randn(4, 1))]
    >>> history = batten.fit(
    ...     model, data, loss=batten.nn.MSELoss(), optimizer=batten.optim.SGD(model.parameters(), lr=0.1), epochs=2,
    ...     callbacks=[WeightNorm()], progress=False,
    ... )
    >>> history["weight_norm"][-1] == model.weight.norm().item()
    True
    """

    def on_fit_begin(self, run: Run) -> None:
        """Before anything; a run that is resumed has not got its state back yet."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first step of an epoch; `run.epoch` is its number, from 1."""

    def on_step_end(self, run: Run) -> None:
        """After a step; `run.record` is what it measured."""

    def on_epoch_end(self, run: Run) -> None:
        """After an epoch, its validation, and the step of its schedule; `run.record` is what it measured."""

    def on_fit_end(self, run: Run) -> None:
        """After everything, also when training was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """What there is to remember: dicts, lists, numbers, texts, tensors."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Remembers what a `state_dict` says."""


class Best:
    """The best value so far of one column of the history.

    A value is better if it is less than the best one - min_delta, or for mode="max" more than the best one + min_delta.
    Any number is better than none, and NaN is never better.
    """

    def __init__(self, monitor: str, mode: Literal["min", "max"], min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode is 'min' or 'max', got {mode!r}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta is a number of at least 0, got {min_delta!r}")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.value: float | None = None

    def improved(self, run: Run) -> bool:
        """Whether the epoch that has ended is the best so far, which is then remembered."""
        if self.monitor not in run.record:
            raise KeyError(f"there is no {self.monitor!r} to monitor in the epochs, which have {', '.join(run.record)}")
        value = float(run.record[self.monitor])
        sign = 1 if self.mode == "min" else -1
        better = not math.isnan(value) and (self.value is None or sign * value < sign * self.value - self.min_delta)
        if better:
            self.value = value
        return better


class EarlyStopping(Callback):
    """Ends training after `patience` epochs in a row that were no better than the best, and goes back to that one.

    An epoch is better if `monitor`, a column of the history, has become less by more than min_delta, or for mode="max"
    more.  With `restore_best`, a copy is kept of the best epoch's weights, the state of the optimizer and that of the
    schedule at its end, and put back when the fit ends, for whatever reason.  This is algorithm 7.1 of Goodfellow,
    Bengio & Courville, Deep Learning (2016), with an evaluation in each epoch.

    `best` is the best value, `best_epoch` the number of its epoch (also in the history).  KeyError if an epoch has no
    such column.

    >>> import batten
    >>> model = batten.nn.Linear(1, 1)
    >>> x = batten.tensor([[1.0], [2.0]])
    >>> optimizer = batten.optim.SGD(model.parameters(), lr=0.1)
    >>> stopping = EarlyStopping(patience=3)
    >>> history = batten.fit(
    ...     model, [(x, 2 * x)], validation=[(x, -2 * x)],  # the more is learned, the worse
    ...     loss=batten.nn.MSELoss(), optimizer=optimizer, epochs=100, callbacks=[stopping], progress=False,
    ... )
    >>> len(history.epochs) == stopping.best_epoch + 3, history.ended
    (True, 'early stopping')
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping expects a patience of at least 1 epoch, got {patience}")
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, min_delta, mode
        self.restore_best = restore_best
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self.of = Best(self.monitor, self.mode, self.min_delta)
        self.best_epoch: int | None = None
        self.waited = 0  # epochs since the best one
        self.kept: dict[str, Any] | None = None  # a snapshot of that

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self.of.value

    def on_fit_begin(self, run: Run) -> None:
        """Forgets what was before."""
        self.forget()

    def on_epoch_end(self, run: Run) -> None:
        """Keeps what is best, and stops when it is that for too long."""
        if run.phase != "train":
            return
        if self.of.improved(run):
            self.best_epoch = run.history.best_epoch = run.epoch
            self.waited = 0
            self.kept = run.snapshot() if self.restore_best else None
        else:
            self.waited += 1
            if self.waited >= self.patience:
                run.stop("early stopping")

    def on_fit_end(self, run: Run) -> None:
        """Goes back to the best epoch; but not where the reuse of the validation data has led further."""
        if self.kept is not None and (run.phase == "train" or run.interrupted):
            run.restore(self.kept)

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch, how long ago it was, and what was kept of it."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "kept": self.kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Remembers these.  ValueError if they are something else."""
        number, snapshot = (int, float, NONE), (dict, NONE)
        kinds = {"best": number, "best_epoch": (int, NONE), "waited": (int,), "kept": snapshot}
        check_entries("EarlyStopping", state_dict, kinds)
        self.of.value = state_dict["best"]
        self.best_epoch, self.waited, self.kept = (state_dict[key] for key in ("best_epoch", "waited", "kept"))


class Checkpoint(Callback):
    """Keeps in a folder all that it takes to go on: `fit(…, resume=folder)`, with the same arguments, takes it up.

    There is a file, step-….safetensors, after each `every` epochs, or with unit="step" steps; at the end; and
    after Ctrl-C.  The last `keep` of them stay.  With `best`, best.safetensors is the epoch in which `monitor` was
    best (see `EarlyStopping`).  All are written as a whole or not at all, and are read by `batten.load`; the weights
    are in ["model"].

    FileExistsError if there are files of another run in the folder, and this one is not resumed.

    >>> import batten, tempfile
    >>> def train(epochs, folder, resume=None):
    ...     _ = batten.manual_seed(0)
    ...     model, data = batten.nn.Linear(2, 1), [(batten.randn(4, 2), batten.randn(4, 1))]
    ...     optimizer = batten.optim.Adam(model.parameters())
    ...     history = batten.fit(
    ...         model, data, loss=batten.nn.MSELoss(), optimizer=optimizer, epochs=epochs, resume=resume,
    ...         callbacks=[Checkpoint(folder)], progress=False,
    ...     )
    ...     return history["loss"]
    >>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    ...     losses, broken_off = train(4, one), train(2, other)
    ...     losses == train(4, other, resume=other)
    True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        keep: int = 1,
        best: bool = False,
        *,
        unit: Literal["epoch", "step"] = "epoch",
        monitor: str = "validation_loss",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        from pathlib import Path

        if every < 1 or keep < 1:
            raise ValueError(f"Checkpoint expects every and keep to be at least 1, got {every} and {keep}")
        if unit not in ("epoch", "step"):
            raise ValueError(f"Checkpoint expects unit to be 'epoch' or 'step', got {unit!r}")
        self.folder, self.every, self.keep, self.unit = Path(path), every, keep, unit
        self.best = Best(monitor, mode) if best else None
        self.saved: int | None = None  # the step that was saved last

    def on_fit_begin(self, run: Run) -> None:
        """Makes the folder, or tidies it up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tidy(self.folder)
        if not run.resumed and (files := checkpoint.files(self.folder)):
            raise FileExistsError(
                f"{self.folder} has checkpoints of another run, such as {files[-1].name}: "
                "go on from them with resume=, or choose another folder"
            )
        self.saved = None
        if self.best:
            self.best.value = None

    def on_step_end(self, run: Run) -> None:
        """Saves, if it is time."""
        if run.interrupted or (self.unit == "step" and run.step % self.every == 0):
            self.save(run)

    def on_epoch_end(self, run: Run) -> None:
        """Saves, if it is time, or this epoch is the best."""
        if self.best and run.phase == "train" and self.best.improved(run):
            checkpoint.save(run, self.folder / "best.safetensors")
        if run.interrupted or (self.unit == "epoch" and run.epoch % self.every == 0):
            self.save(run)

    def on_fit_end(self, run: Run) -> None:
        """Saves, if the last steps are not saved yet."""
        if self.saved != run.step:
            self.save(run)

    def save(self, run: Run) -> None:
        """Writes a file, and removes the older ones, and any of steps that have not been made yet."""
        latest = checkpoint.path(self.folder, run.step)
        checkpoint.save(run, latest)
        self.saved = run.step
        before = [file for file in checkpoint.files(self.folder) if file.name < latest.name]
        kept = {latest, *before[len(before) - self.keep + 1 :]}
        for file in checkpoint.files(self.folder):
            if file not in kept:
                file.unlink()

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best.value} if self.best else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Remembers it.  ValueError if it is something else."""
        check_entries("Checkpoint", state_dict, {"best": (int, float, NONE)} if self.best else {})
        if self.best:
            self.best.value = state_dict["best"]


class CSVLogger(Callback):
    """Writes the epochs into a file, one row each, under the names of the columns; anew after each epoch.

    >>> import batten, tempfile
    >>> model = batten.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = batten.fit(
    ...         model, [(batten.randn(4, 2), batten.randn(4, 1))], loss=batten.nn.MSELoss(), epochs=2,
    ...         optimizer=batten.optim.SGD(model.parameters()), callbacks=[CSVLogger(f"{folder}/log.csv")],
    ...         progress=False,
    ...     )
    ...     with open(f"{folder}/log.csv") as file:
    ...         next(file)
    'epoch,loss,lr,images,seconds,images_per_second\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def on_epoch_end(self, run: Run) -> None:
        """Writes the file."""
        import csv

        text = io.StringIO()
        writer = csv.DictWriter(text, columns(run.history.epochs), lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.history.epochs)
        write(self.path, text.getvalue().encode())


class TensorBoard(Callback):
    """Writes what steps and epochs measured into a folder, for `tensorboard --logdir folder`.

    Needs tensorboardX: pip install 'batten[tensorboard]'.  The curves are step/loss, epoch/validation_loss and so on,
    over steps.  Of a run that is resumed, what comes after the step where it goes on is written again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.writer: Any = None

    def on_fit_begin(self, run: Run) -> None:
        """Fails at once, not after the first step, if the package is missing."""
        from tensorboardX import SummaryWriter

        self.open = partial(SummaryWriter, os.fspath(self.path))
        self.writer = None

    def on_step_end(self, run: Run) -> None:
        """Writes the step."""
        self.add(run, "step")

    def on_epoch_end(self, run: Run) -> None:
        """Writes the epoch."""
        self.add(run, "epoch")
        self.writer.flush()

    def on_fit_end(self, run: Run) -> None:
        """Closes the files."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def add(self, run: Run, what: str) -> None:
        """Writes the present row of the history."""
        if self.writer is None:
            self.writer = self.open(purge_step=run.step if run.resumed else None)
        for name, value in run.record.items():
            self.writer.add_scalar(f"{what}/{name}", value, run.step)


class LRLogger(Callback):
    """Adds the learning rates of all groups to steps and epochs: lr_0, lr_1 and so on.

    They are those of the step, and for an epoch those of its last step.  Without this there is that of the first group,
    as lr.

    >>> import batten
    >>> model = batten.nn.Linear(2, 1)
    >>> groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}]
    >>> history = batten.fit(
    ...     model, [(batten.randn(4, 2), batten.randn(4, 1))], loss=batten.nn.MSELoss(), epochs=1,
    ...     optimizer=batten.optim.SGD(groups), callbacks=[LRLogger()], progress=False,
    ... )
    >>> history["lr_0"], history["lr_1"]
    ([0.1], [0.2])
    """

    def on_step_end(self, run: Run) -> None:
        """Adds them to the step."""
        run.record.update((f"lr_{number}", lr) for number, lr in enumerate(run.lrs))

    on_epoch_end = on_step_end


class ProgressBar(Callback):
    """How many of all steps have been made, the loss of the last one, and how good the last epoch was."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.scores = ""

    def on_fit_begin(self, run: Run) -> None:
        """Shows the bar, on a terminal or in a notebook."""
        from tqdm import tqdm

        try:
            total = run.epochs * len(run.train)
        except TypeError:  # of a loader without a length
            total = None
        # In a notebook, too, it is a text: widgets are not everywhere where notebooks are shown, nor in their files.
        # What goes to stderr there looks like a mistake.
        place = {"file": sys.stdout, "disable": False} if "ipykernel" in sys.modules else {"disable": None}
        self.bar = tqdm(total=total, unit=" steps", bar_format=total and BAR, **place)
        self.scores = ""

    def on_epoch_begin(self, run: Run) -> None:
        """Says which epoch it is."""
        self.bar.set_description_str(f"epoch {run.epoch}", refresh=False)

    def on_step_end(self, run: Run) -> None:
        """Moves on."""
        self.bar.set_postfix_str(f"loss {run.record['loss']:.4f}{self.scores}", refresh=False)
        self.bar.update(run.step - self.bar.n)

    def on_epoch_end(self, run: Run) -> None:
        """Says how good it was."""
        names = [name for name in run.record if name.startswith("validation_")]
        self.scores = "".join(f", {name} {run.record[name]:.4f}" for name in names)

    def close(self) -> None:
        """Leaves the bar where it is."""
        if self.bar is not None:
            self.bar.close()

"""What `fit` returns: a row of numbers for each epoch, and one for each step."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np

from .inspect.table import written
from .printing import aligned
from .states import NONE, check_entries, described

__all__ = ["History"]

Row = dict[str, Any]

BESIDES = ("epoch", "lr", "images", "seconds", "images_per_second")  # what says nothing of how good a model is
ALWAYS = {"epoch": np.int64, "loss": np.float64, "lr": np.float64, "images": np.int64, "seconds": np.float64}
EDGE = 5  # so many rows are shown at the beginning, and at the end, of a long history

NUMBERS = (bool, int, float)
FLOAT = np.dtype(np.float64)
KINDS = (np.dtype(bool), np.dtype(np.int64), FLOAT)  # what arrays of them have
ENTRIES = {
    "epochs": (list,), "steps": (dict,), "best_epoch": (int, NONE), "ended": (str, NONE), "reused_after": (int, NONE),
    "target": (float, NONE), "target_reached": (bool, NONE),
}  # fmt: skip


class History:
    """The rows of a fit, as dicts of numbers, and how it went.

        epochs            epoch, loss, lr, images, seconds, images_per_second; the metrics, and the penalty if there is
                          one; validation_loss, and the metrics of validation; what callbacks have added
        steps             the same of each step, but for validation; see `Steps`
        best_epoch        that of EarlyStopping, from 1, or None
        ended             why training did: "epochs", "Ctrl-C", or the reason that a callback gave
        reused_after      after how many epochs learning from the validation data began, if it did
        target            for reuse_validation="continue", the training loss at which it was to end,
        target_reached    and whether the validation loss got there

    In an epoch, losses and metrics are means over its examples, each measured in its step, before the weights moved.
    `history["loss"]` is the column of that name, with None where an epoch has none.

    >>> history = History()
    >>> history.epochs += [{"epoch": 1, "loss": 0.5, "lr": 0.1}, {"epoch": 2, "loss": 0.25, "lr": 0.1}]
    >>> history["loss"]
    [0.5, 0.25]
    >>> history
    epoch  loss   lr
        1   0.5  0.1
        2  0.25  0.1
    >>> History.from_json(history.to_json()).epochs == history.epochs
    True
    """

    def __init__(self) -> None:
        self.epochs: list[Row] = []
        self.steps = Steps()
        self.best_epoch: int | None = None
        self.ended: str | None = None
        self.reused_after: int | None = None
        self.target: float | None = None
        self.target_reached: bool | None = None

    def __getitem__(self, name: str) -> list[Any]:
        if name not in (names := columns(self.epochs)):
            raise KeyError(f"the epochs have no {name!r}, but {', '.join(names) or 'no rows'}")
        return [row.get(name) for row in self.epochs]

    def steps_of(self, epoch: int) -> list[Row]:
        """The steps of an epoch so far, if it is the latest."""
        return list(takewhile(lambda row: row["epoch"] == epoch, reversed(self.steps)))[::-1]

    # As it is kept

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        epochs = [{name: number(name, value).item() for name, value in row.items()} for row in self.epochs]
        return {**vars(self), "epochs": epochs, "steps": self.steps.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes all of it from a `state_dict`.  What is not one is refused with a ValueError, and changes nothing."""
        check_entries("the history", state_dict, ENTRIES)
        steps = Steps()
        steps.load_state_dict(state_dict["steps"])
        epochs = [dict(row) for row in state_dict["epochs"] if isinstance(row, dict)]
        if [row.get("epoch") for row in epochs] != list(range(1, len(state_dict["epochs"]) + 1)):
            raise ValueError("expected epochs of the history as dicts that are numbered from 1 on in `epoch`")
        for name, value in (item for row in epochs for item in row.items()):
            if type(name) is not str or type(value) not in NUMBERS:
                raise ValueError(f"expected numbers in the epochs of the history, got {described(value)} as {name}")
            number(name, value)  # which has to fit in 64 bits
        of = steps.columns["epoch"][1] if len(steps) else np.zeros(0)
        if len(of) and not (of[0] >= 1 and (of[1:] >= of[:-1]).all() and of[-1] <= len(epochs) + 1):
            raise ValueError(f"expected steps of the history in the order of epochs 1 to {len(epochs) + 1}, got others")
        for name, least in (("best_epoch", 1), ("reused_after", 0)):
            value = state_dict[name]
            if value is not None and not least <= value <= len(epochs):
                raise ValueError(
                    f"expected {name} of the history to be None or from {least} to {len(epochs)}, got {value}"
                )
        vars(self).update(state_dict, epochs=epochs, steps=steps)

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps({**vars(self), "steps": list(self.steps)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that `to_json` made a text of."""
        history = cls()
        found = json.loads(text)
        vars(history).update(found, steps=Steps(found["steps"]))
        return history

    # As it is shown

    def table(self) -> list[list[str]]:
        """The names of the columns, and the first and last epochs as they are written."""
        names = columns(self.epochs)
        rows = [[written(row.get(name)) for name in names] for row in self.epochs]
        if len(rows) > 2 * EDGE:
            rows[EDGE:-EDGE] = [["…"] * len(names)]
        return [names, *rows]

    def __repr__(self) -> str:
        return aligned(self.table(), left=0) if self.epochs else "no epochs"

    def _repr_html_(self) -> str | None:
        import html

        if not self.epochs:
            return None  # which is shown as text, then
        header, *rows = [[html.escape(cell) for cell in row] for row in self.table()]
        lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
        head = f"<thead><tr>{''.join(f'<th>{name}</th>' for name in header)}</tr></thead>"
        return f"<table>{head}<tbody>{''.join(lines)}</tbody></table>"

    def plot(self, *names: str) -> Any:
        """A matplotlib figure of columns over the epochs: those that are named, or the loss and all metrics.

        What is measured in training and in validation is drawn together.  Lines mark the best epoch, and where learning
        from the validation data began.  Notebooks show it; elsewhere it has `savefig`.
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        there = columns(self.epochs)
        if not names:
            measured = [name.removeprefix("validation_") for name in there if name not in BESIDES]
            names = tuple(dict.fromkeys(measured))
        figure = Figure(figsize=(4.5 * max(1, len(names)), 3.5), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names) or 1, squeeze=False)[0], names, strict=False):
            drawn = [column for column in (name, f"validation_{name}") if column in there]
            for column in drawn or [name]:
                label = "training" if column == name else "validation"
                axes.plot([row["epoch"] for row in self.epochs], self[column], marker=".", label=label)
            if self.best_epoch is not None:
                axes.axvline(self.best_epoch, color="grey", linestyle=":", label="best")
            if self.reused_after is not None:
                axes.axvline(self.reused_after + 0.5, color="grey", linestyle="--", label="reuse of validation")
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            axes.legend()
        figure._repr_png_ = partial(png, figure)  # type: ignore[attr-defined]  # pyplot's figures alone have one
        return figure


def png(figure: Any) -> bytes:
    """A figure as a file, as a notebook asks for it."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


# ---- steps ----


class Steps(Sequence[Row]):
    """The rows of steps, of which there may be a million: kept by columns, in arrays that grow.

    A list of dicts to whoever reads it.  The last one is the dict that was appended, and takes what is added to it
    until the next one comes; those before are made anew for whoever asks.

    >>> steps = Steps([{"loss": 0.5, "images": 8}, {"loss": 0.25}])
    >>> steps[-1]["lr"] = 0.1
    >>> len(steps), steps[0], steps[1:]
    (2, {'loss': 0.5, 'images': 8}, [{'loss': 0.25, 'lr': 0.1}])
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.sealed = 0  # of those in the columns
        self.latest: Row | None = None  # the one after these
        self.room = 0  # how many rows the arrays have room for
        self.columns: dict[str, list[np.ndarray]] = {}  # whether a row has a number of that name, and the numbers
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        """Adds a row.  TypeError if the one before has something else than numbers."""
        if self.latest is not None:
            self.write(self.latest)
            self.sealed += 1
        self.latest = row

    def write(self, row: Row) -> None:
        """Writes a row behind those in the columns."""
        if self.sealed == self.room:
            self.room = max(2 * self.room, 64)
            self.columns = {name: [longer(x, self.room) for x in column] for name, column in self.columns.items()}
        for there, _ in self.columns.values():
            there[self.sealed] = False
        for name, value in row.items():
            # Most are floats, and this is for every step.
            x: Any = value if type(value) is float else number(name, value)
            kind = FLOAT if x is value else x.dtype
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = [np.zeros(self.room, bool), np.zeros(self.room, kind)]
            elif column[1].dtype != kind:
                column[1] = column[1].astype(np.result_type(column[1].dtype, kind), copy=False)
            there, values = column
            there[self.sealed], values[self.sealed] = True, x

    def __len__(self) -> int:
        return self.sealed + (self.latest is not None)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if self.latest is not None and place == self.sealed:
            return self.latest
        return {name: values[place].item() for name, (there, values) in self.columns.items() if there[place]}

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Steps, list)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes, as a list does

    def __repr__(self) -> str:
        return f"{len(self)} steps" + (f", the last of which is {self[-1]}" if len(self) else "")

    def state_dict(self) -> dict[str, Any]:
        """A copy of the columns: for each, whether a row has a number there, and the numbers."""
        if self.latest is not None:
            self.write(self.latest)
        found = {name: [x[: len(self)].copy() for x in column] for name, column in self.columns.items()}
        return {"count": len(self), "columns": found}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the columns from a `state_dict`.  ValueError if they are none; then nothing is changed."""
        check_entries("steps of the history", state_dict, {"count": (int,), "columns": (dict,)})
        count = state_dict["count"]
        found: dict[str, list[np.ndarray]] = {}
        for name, column in state_dict["columns"].items():
            fits = type(column) is list and len(column) == 2 and all(type(x) is np.ndarray for x in column)
            if not (
                fits
                and type(name) is str
                and all(x.shape == (count,) for x in column)
                and column[0].dtype == bool
                and column[1].dtype in KINDS
            ):
                raise ValueError(
                    f"expected the column {name!r} of the history's steps as two arrays of {count}, of bools and of "
                    f"numbers, got {described(column)}"
                )
            found[name] = [x.copy() for x in column]
        for name, kind in ALWAYS.items() if count else ():
            if name not in found or not found[name][0].all() or found[name][1].dtype != kind:
                raise ValueError(f"expected {name} in all steps of the history, as {kind.__name__}")
        self.sealed = self.room = count
        self.latest, self.columns = None, found


def number(name: str, value: Any) -> np.ndarray:
    """A number of a row as an array of one of three types."""
    x = np.asarray(value)
    if x.shape == () and (x.dtype.kind in "bif" or (x.dtype.kind == "u" and x < 2**63)):
        return x.astype({"b": np.bool_, "f": np.float64}.get(x.dtype.kind, np.int64))
    raise TypeError(f"a row of the history has numbers of 64 bits, got {described(value)} as {name}")


def longer(x: np.ndarray, room: int) -> np.ndarray:
    """An array with more room at its end."""
    grown = np.zeros(room, x.dtype)
    grown[: len(x)] = x
    return grown


def columns(rows: list[Row]) -> list[str]:
    """The names in rows, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))

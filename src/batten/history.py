"""What `fit` returns: a row of numbers for each epoch, and one for each step."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np

from .inspect.table import written
from .printing import aligned

__all__ = ["History"]

Row = dict[str, Any]

BESIDES = ("epoch", "lr", "images", "seconds", "images_per_second")  # what says nothing of how good a model is
EDGE = 5  # so many rows are shown at the beginning, and at the end, of a long history


class History:
    """The rows of a fit, as dicts of numbers, and how it went.

        epochs            epoch, loss, lr, images, seconds, images_per_second; the metrics, and the penalty if there is
                          one; validation_loss, and the metrics of validation; what callbacks have added
        steps             the same of each step, but for validation
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
        self.steps: list[Row] = []
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
        """All of it; the steps, of which there are many, by columns: where a column has numbers, and these."""
        found = {}
        for name in columns(self.steps):
            places = [place for place, row in enumerate(self.steps) if name in row]
            found[name] = [np.array(places), np.array([self.steps[place][name] for place in places])]
        return {**vars(self), "epochs": [dict(row) for row in self.epochs], "steps": [len(self.steps), found]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes all of it from a `state_dict`."""
        count, found = state_dict["steps"]
        steps: list[Row] = [{} for _ in range(count)]
        for name, (places, values) in found.items():
            for place, value in zip(places.tolist(), values.tolist(), strict=True):
                steps[place][name] = value
        vars(self).update(state_dict, epochs=[dict(row) for row in state_dict["epochs"]], steps=steps)

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(vars(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that `to_json` made a text of."""
        history = cls()
        vars(history).update(json.loads(text))
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

    def _repr_html_(self) -> str:
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


def columns(rows: list[Row]) -> list[str]:
    """The names in rows, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))

"""Callbacks: what they are told, and what each of batten's own does."""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
from fitting import At, Told, batches, bits, network, small

import batten
from batten import nn, optim
from batten.optim import lr_scheduler as schedules

# ---- early stopping ----


@pytest.mark.parametrize(
    "options, values, best, epochs",
    [
        ({"patience": 2}, [5, 4, 4.5, 3, 3, 3, 1], 4, 6),
        ({"patience": 1}, [5, 5, 1], 1, 2),
        ({"patience": 2, "min_delta": 1}, [5, 4.5, 3.9, 3.0, 2.9, 2, 0], 3, 5),
        ({"patience": 2, "mode": "max"}, [1, 3, 2, 4, 4, 4, 9], 4, 6),
        ({"patience": 2}, [math.nan, 3, math.nan, math.nan, 1], 2, 4),
        ({"patience": 3}, [math.nan] * 5, None, 3),
        ({"patience": 9}, [3, 2, 1, 2], 3, 4),
    ],
)
def test_early_stopping(options, values, best, epochs):
    kept = {}

    class Keep(batten.Callback):
        def on_epoch_end(self, run):
            kept[run.epoch] = run.snapshot()

    for restore in (True, False):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = schedules.ExponentialLR(optimizer, 0.9)
        stopping = batten.EarlyStopping("told", **options, restore_best=restore)
        history = small(
            model, optimizer=optimizer, scheduler=schedule, epochs=len(values),
            callbacks=[Keep(), Told("told", values), stopping],
        )  # fmt: skip
        assert len(history.epochs) == epochs
        assert history.best_epoch == stopping.best_epoch == best
        assert stopping.best == (None if best is None else values[best - 1])
        assert history.ended == ("epochs" if epochs == len(values) else "early stopping")
        expected = kept[best if restore and best else epochs]
        assert bits(model.state_dict()) == bits(expected["model"])
        assert optimizer.param_groups[0]["lr"] == expected["optimizer"]["param_groups"][0]["lr"]
        assert schedule.state_dict() == expected["scheduler"]
        for number, state in optimizer.state_dict()["state"].items():
            assert bits(state) == bits(expected["optimizer"]["state"][number])


def test_early_stopping_used_again_begins_anew():
    stopping = batten.EarlyStopping("told", patience=2)
    for values, best in (([1, 2, 3, 4], 1), ([9, 8, 7, 8], 3)):
        history = small(epochs=4, callbacks=[Told("told", values), stopping])
        assert history.best_epoch == best


def test_what_early_stopping_refuses():
    with pytest.raises(KeyError, match="no 'validation_loss' to monitor in the epochs, which have epoch, loss, lr"):
        small(callbacks=[batten.EarlyStopping()])
    for options, message in [
        ({"patience": 0}, "patience of at least 1 epoch, got 0"),
        ({"mode": "least"}, "mode is 'min' or 'max', got 'least'"),
        ({"min_delta": -1}, "min_delta is a number of at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            batten.EarlyStopping(**options)


# ---- the other callbacks ----


def test_callbacks_are_told_in_order(tmp_path):
    told = []

    class Note(batten.Callback):
        def __init__(self, name):
            self.name = name

    def noting(event):
        return lambda self, run: told.append((self.name, event, run.epoch, run.step))

    for event in ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end"):
        setattr(Note, event, noting(event))

    class Last(Note, batten.Checkpoint):
        def __init__(self):
            Note.__init__(self, "last")

    small(epochs=1, callbacks=[Last(), Note("a"), Note("b")])
    events = [("on_fit_begin", 0, 0), ("on_epoch_begin", 1, 0), ("on_step_end", 1, 1), ("on_step_end", 1, 2)]
    expected = [(name, *event) for event in [*events, ("on_epoch_end", 1, 2)] for name in ("a", "b", "last")]
    assert told == [*expected, *[(name, "on_fit_end", 1, 2) for name in ("last", "b", "a")]]


def test_what_callbacks_record_are_numbers(tmp_path):
    """Whatever kind of number it is, the history can be written."""
    for value, number in [(np.float32(0.5), 0.5), (np.int64(3), 3), (batten.tensor(2.5), 2.5), (np.array([7]), 7)]:
        folder = tmp_path / type(value).__name__
        history = small(epochs=2, callbacks=[batten.Checkpoint(folder), Told("told", [value] * 2), At(1, Put(value))])
        assert history["told"] == [number] * 2 and type(history["told"][0]) is type(number)
        assert history.steps[0]["put"] == number
        again = small(epochs=2, callbacks=[batten.Checkpoint(folder)], resume=folder)
        assert batten.History.from_json(history.to_json()).epochs == again.epochs == history.epochs
    for value in ("text", None, [1, 2], np.zeros(2)):
        with pytest.raises(TypeError, match="the history has numbers, got told = "):
            small(callbacks=[Told("told", [value] * 3)])


class Put:
    """Puts a value into the record of a step."""

    def __init__(self, value):
        self.value = value

    def __call__(self, run):
        run.record["put"] = self.value


def test_csv(tmp_path):
    log = batten.CSVLogger(tmp_path / "log.csv")
    history = small(callbacks=[Told("told", [1, 0.1, 1 / 3]), log])
    header, *lines = (tmp_path / "log.csv").read_text().splitlines()
    assert header == "epoch,loss,lr,images,seconds,images_per_second,told"
    for line, row in zip(lines, history.epochs, strict=True):
        assert [float(cell) for cell in line.split(",")] == list(row.values())


def test_tensorboard(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError):
        small(callbacks=[batten.TensorBoard(tmp_path)])
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    history = small(epochs=1, callbacks=[batten.TensorBoard(tmp_path), batten.Checkpoint(tmp_path / "run")])
    assert written[0] == (str(tmp_path), None) and written[-1] == "closed"
    for step, row in enumerate(history.steps, 1):
        assert ("step/loss", row["loss"], step) in written
    assert ("epoch/loss", history["loss"][0], 2) in written
    written.clear()
    small(epochs=2, callbacks=[batten.TensorBoard(tmp_path)], resume=tmp_path / "run")
    assert written[0] == (str(tmp_path), 3)


def test_tensorboard_itself(tmp_path):
    pytest.importorskip("tensorboardX")
    small(callbacks=[batten.TensorBoard(tmp_path)])
    (file,) = tmp_path.iterdir()
    assert b"epoch/loss" in file.read_bytes()


def test_learning_rates_of_all_groups():
    model = nn.Linear(4, 3)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule = schedules.OneCycleLR(optimizer, [1.0, 2.0], total_steps=6)
    history = small(model, optimizer=optimizer, scheduler=schedule, callbacks=[batten.LRLogger()])
    assert [row["lr_0"] for row in history.steps] == [row["lr"] for row in history.steps]
    assert [row["lr_1"] for row in history.steps] == [2 * row["lr"] for row in history.steps]
    assert history["lr_1"] == [row["lr_1"] for row in history.steps[1::2]]


def test_progress(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    small(progress=True)
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data = batches(np.random.default_rng(0), [8, 8])
    small(progress=True, validation=data)
    shown = capsys.readouterr().err
    assert "epoch 3: 100%" in shown and ", loss " in shown and ", validation_loss " in shown

    class Endless:
        def __iter__(self):
            return iter(data)

    small(progress=True, train=Endless())
    assert "6 steps" in capsys.readouterr().err


def test_progress_ends_where_a_fit_does(monkeypatch, capsys):
    """A bar that stays open would have what comes next in its line, such as the traceback, and the next bar below."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(ZeroDivisionError) as failure:
        small(progress=True, callbacks=[At(2, lambda run: 1 / 0)])
    assert capsys.readouterr().err.endswith("\n")
    small(progress=True)
    assert "\x1b[A" not in capsys.readouterr().err  # which would go up a line, to a bar that is still there
    assert failure.tb is not None  # keeps the first fit alive


def test_progress_in_a_notebook(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    small(progress=True)
    shown = capsys.readouterr()
    assert "epoch 3: 100%" in shown.out and shown.err == ""  # though that is no terminal

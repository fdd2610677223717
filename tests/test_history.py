"""The history of a fit: as text, as state, and as it is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fitting import At, Told, batches, small

import batten


def test_history_as_text_and_state(tmp_path):
    train = batches(np.random.default_rng(0), [8, 8])
    for history in (
        batten.History(),
        small(
            train=train, validation=train, callbacks=[Told("x", [1, 2, 3]), At(2, lambda run: run.record.update(y=7))]
        ),
    ):
        history.best_epoch = len(history.epochs) or None
        again = batten.History.from_json(history.to_json())
        assert vars(again) == vars(history)
        batten.save(history.state_dict(), tmp_path / "history")
        loaded = batten.History()
        loaded.load_state_dict(batten.load(tmp_path / "history"))
        assert vars(loaded) == vars(history)
        assert [[type(value) for value in row.values()] for row in loaded.steps] == [
            [type(value) for value in row.values()] for row in history.steps
        ]
    assert json.loads(history.to_json())["epochs"] == history.epochs
    assert [("y" in row) for row in history.steps] == [False, True, False, False, False, False]
    history.epochs[1].pop("x")
    assert history["x"] == [1, None, 3]
    with pytest.raises(KeyError, match="the epochs have no 'learning', but epoch, loss, validation_loss, lr"):
        history["learning"]


def test_history_is_shown():
    history = batten.History()
    assert repr(history) == "no epochs" and history._repr_html_() is None
    history.epochs += [{"epoch": n, "loss": 1 / n, "<b>": n} for n in range(1, 13)]
    assert repr(history).count("\n") == 11 and "…" in repr(history)
    page = history._repr_html_()
    assert page.count("<tr>") == 12 and "&lt;b&gt;" in page and "<b>" not in page


def test_history_is_drawn():
    pytest.importorskip("matplotlib")
    history = batten.History()
    for n in range(1, 4):
        row = {"epoch": n, "loss": 1 / n, "accuracy": 0.5, "told": n, "lr": 0.1, "seconds": 1.0}
        history.epochs.append({**row, **({"validation_loss": 2 / n} if n < 3 else {})})
    history.best_epoch, history.reused_after = 2, 2
    figure = history.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "told"]
    loss = figure.axes[0]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        *("training", "validation", "best", "reuse of validation")
    ]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [1, 1 / 2, 1 / 3])
    assert list(loss.lines[1].get_ydata())[:2] == [2, 1]
    assert [axes.get_ylabel() for axes in history.plot("lr").axes] == ["lr"]
    with pytest.raises(KeyError, match="no 'learning'"):
        history.plot("learning")
    figure.canvas.draw()
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for

"""Runs that go on from a file: killed at any moment, on other machines, and from files that are wrong."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from copy import deepcopy

import numpy as np
import pytest
import resumable
from fitting import At
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable import Parts
from test_serialization import assert_same

import batten
from batten import _kernels as kernels
from batten import checkpoint, serialization


class BreakdownError(Exception):
    pass


def breakdown(run):
    raise BreakdownError


# ---- killed ----


def killed(folder, seed, kills):
    """Trainings that were killed so many times for each strategy, against those that were not."""
    command = [sys.executable, resumable.__file__, str(folder), str(seed), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > kills / 4, "hardly any was killed in the middle of a save"
    for reuse in (None, "retrain", "continue"):
        whole = batten.load(folder / f"{reuse}-whole.end")
        assert whole["history"]["reused_after"] is None if reuse is None else whole["history"]["reused_after"] > 3
        ends = sorted(folder.glob(f"{reuse}-[0-9]*.end"))
        assert ends
        for end in ends:
            assert_same(batten.load(end), whole)
            assert not list(end.with_suffix("").glob(".*")), "leftovers of killed saves"
            assert len(checkpoint.files(end.with_suffix(""))) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_at_twenty_moments_ends_with_the_same_bits(tmp_path):
    killed(tmp_path, 1, 20)


@pytest.mark.sweep
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_at_a_thousand_moments(tmp_path):
    killed(tmp_path, 2, 350)


# ---- broken off, and taken up otherwise ----


class States(dict):
    """Those of several runs, which nobody wants to read in messages."""

    def __repr__(self):
        return "states"


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The state of a run of each kind in the middle of an epoch: in the reuse of the validation data, if it has one."""
    folder, found = tmp_path_factory.mktemp("states"), States()
    for reuse, step in ((None, 14), ("retrain", 44), ("continue", 44)):
        with pytest.raises(BreakdownError):
            Parts(folder / f"{reuse}", reuse, [At(step + 1, breakdown)], every=1).fit()
        found[reuse] = batten.load(checkpoint.path(folder / f"{reuse}", step))
        assert found[reuse]["phase"] == (reuse or "train")
    return found


class Attempt(batten.Callback):
    """Has a run resumed when it begins, and says what came of it."""

    def __init__(self, source):
        self.source = source

    def on_fit_begin(self, run):
        self.before, self.error = deepcopy(checkpoint.state(run)), None
        try:
            checkpoint.resume(run, self.source)
        except (ValueError, TypeError) as error:
            self.error = error
        self.after = checkpoint.state(run)
        raise BreakdownError


def attempted(source, folder, reuse=None, **options):
    """An attempt to resume, which has left nothing changed if it was refused."""
    attempt = Attempt(source)
    with pytest.raises(BreakdownError):
        Parts(folder, reuse, [attempt], **options).fit(resume={})
    if attempt.error is not None:
        assert str(attempt.error)
        assert_same(attempt.after, attempt.before)
    return attempt


def test_the_state_is_that_of_the_file(states, tmp_path):
    for reuse, state in states.items():
        attempt = attempted(state, tmp_path / f"{reuse}", reuse)
        assert attempt.error is None
        batten.save(attempt.after, tmp_path / "state")
        assert_same(batten.load(tmp_path / "state"), state)
        assert attempt.before["history"]["steps"]["count"] == 0


def test_another_number_of_threads_changes_nothing_and_other_instructions_are_told_of(tmp_path, threads):
    sets, before = kernels.isas(), kernels.isa()
    try:
        kernels.set_isa(sets[-1])
        threads(2)
        whole = Parts(tmp_path / "whole").fit().end()
        with pytest.raises(BreakdownError):
            Parts(tmp_path / "broken", callbacks=[At(14, breakdown)]).fit()
        state = batten.load(checkpoint.newest(tmp_path / "broken"))
        assert state["instruction_set"] == sets[-1] and state["versions"]["batten"] == batten.__version__
        threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_same(Parts(tmp_path / "threads").fit(state).end(), whole)
        for isa in sets[:-1]:
            kernels.set_isa(isa)
            with pytest.warns(
                UserWarning, match=f"with the instruction set {sets[-1]} and not {isa}: .* bits may"
            ) as told:
                parts = Parts(tmp_path / isa).fit(state)
            assert len(told) == 1 and told[0].filename == resumable.__file__
            assert len(parts.history.epochs) >= 3
        kernels.set_isa(sets[-1])
        state["versions"]["batten"] = "0.0.1"
        with pytest.warns(UserWarning, match=r"was made with batten 0.0.1 and not .*: from here on, bits may") as told:
            assert_same(Parts(tmp_path / "version").fit(state).end(), whole)
        assert len(told) == 1
    finally:
        kernels.set_isa(before)


# ---- what is refused ----


def without(*names):
    return lambda state: [state.pop(name) for name in names]


def put(value, *path):
    def change(state):
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


def test_what_does_not_fit_is_named(states, tmp_path):
    corrupt, otherwise = batten.CheckpointError, ValueError
    early = [name for name, _ in states[None]["callbacks"]].index("EarlyStopping")
    cases = [
        (None, put(2, "format"), corrupt, "a state of format 2: batten .* knows those up to 1"),
        (None, put(0, "format"), corrupt, "expected 1 as its format, got 0"),
        (None, put("1", "format"), corrupt, "expected int as format of it, got str"),
        (None, without("rng", "loaders"), corrupt, "it has no rng, loaders"),
        (None, put(1, "more"), corrupt, "it has an unknown more"),
        (None, put([], "model"), corrupt, "expected dict as model of it, got list of 0"),
        (None, put({}, "versions"), corrupt, "its versions has no batten, NumPy, Python"),
        (None, put(batten.zeros(3), "rng"), corrupt, "from rng: a generator's state is of uint8, got float32"),
        (None, put(["EarlyStopping"], "callbacks", 0), corrupt, "a list of name and state for each .*, got list of 1"),
        (None, put("continue", "phase"), corrupt, "from phase: expected 'train' or None, got 'continue'"),
        (None, put({}, "initial"), corrupt, "expected a dict as initial for 'retrain' and else None, got dict of 0"),
        ("retrain", put(None, "initial"), corrupt, "expected a dict as initial for 'retrain' and else None, got None"),
        ("retrain", put("train", "phase"), corrupt, "history has reused_after=6 in the phase 'train'"),
        ("continue", put(None, "history", "reused_after"), corrupt, "has reused_after=None in the phase 'continue'"),
        ("continue", put(None, "history", "best_epoch"), corrupt, "history has no best_epoch in the phase 'continue'"),
        ("continue", put(None, "history", "target"), corrupt, "the history has no target"),
        (None, put({}, "history"), corrupt, "from history: the history has no epochs, steps, best_epoch"),
        (None, put(7, "history", "best_epoch"), corrupt, "expected best_epoch of the history .* from 1 to 2, got 7"),
        (None, put("x", "history", "target"), corrupt, "expected float or None as target of the history, got str"),
        (None, put({"epoch": 1}, "history", "epochs", 1), corrupt, "expected epochs of the history .* numbered from 1"),
        (None, put("x", "history", "epochs", 0, "loss"), corrupt, "expected numbers in the epochs .* got str as loss"),
        (None, put(13, "history", "steps", "count"), corrupt, "'epoch' of the history's steps as two arrays of 13"),
        (None, put(-1, "history", "steps", "count"), corrupt, "two arrays of -1, of bools and of numbers, got list"),
        (
            None, put([np.ones(14, bool), np.full(14, 9)], "history", "steps", "columns", "epoch"), corrupt,
            "expected steps of the history in the order of epochs 1 to 3, got others",
        ),
        (
            None, put([np.zeros(14, bool), np.ones(14)], "history", "steps", "columns", "lr"), corrupt,
            "expected lr in all steps of the history, as float64",
        ),
        (None, put({}, "model"), otherwise, r"model has no 0.weight, 0.bias, 1.weight, "),
        (None, put(1, "model", "9.weight"), otherwise, "model has an unknown 9.weight"),
        (
            None, put(batten.zeros(4, 1, 3, 2), "model", "0.weight"), otherwise,
            r"expected batten.FloatTensor of float32 \[4, 1, 3, 3\] as model.0.weight, got .* \[4, 1, 3, 2\]",
        ),
        (
            None, put(batten.zeros(4, dtype=batten.float64), "model", "0.bias"), otherwise,
            r"expected batten.FloatTensor of float32 \[4\] as model.0.bias, got batten.DoubleTensor of float64 \[4\]",
        ),
        (None, put(None, "scheduler"), otherwise, "the state: expected dict of .* as scheduler, got None"),
        (None, lambda s: s["scheduler"].pop("last_epoch"), otherwise, "scheduler has no last_epoch"),
        (None, put("x", "scheduler", "last_epoch"), otherwise, "expected int as scheduler.last_epoch, got str"),
        (None, put([], "optimizer", "param_groups"), otherwise, "expected list of 1 as param_groups, got list of 0"),
        (None, put(True, "optimizer", "param_groups", 0, "lr"), otherwise, r"float as param_groups\[0\].lr, got bool"),
        (
            None, put([1, 0, 2, 3, 4, 5, 6, 7], "optimizer", "param_groups", 0, "params"), otherwise,
            "expected params of the optimizer's groups as they are here, and in their order",
        ),
        (None, lambda s: s["optimizer"]["state"][0].pop("exp_avg"), otherwise, "Adam finds no exp_avg in the state of"),
        (None, put({}, "generators"), otherwise, r"from generators: .* of the generators \['7.generator'\] of"),
        (None, put([None, None], "loaders"), otherwise, "loaders: expected a state of .*DataLoader, got None"),
        (None, put([], "loaders"), otherwise, "the states of 2 loaders as a list, got list of 0"),
        (None, put("x", "loaders", 0, "seed"), otherwise, "from loaders: 'str' object cannot be interpreted as an int"),
        (None, put([], "callbacks"), otherwise, "with a callback EarlyStopping a run that had none, or one that"),
        (None, put(["Other", {}], "callbacks", 0), otherwise, "a run that had a callback Other without one"),
        (None, put("1", "callbacks", early, 1, "waited"), otherwise, "expected int as waited of EarlyStopping, got"),
        (None, put({}, "callbacks", early, 1, "kept"), otherwise, "from what was best: a snapshot has no model, opt"),
        (None, put({}, "callbacks", early, 1, "kept", "model"), otherwise, "from what was best: model has no 0.we"),
        (None, put("retrain", "reuse"), otherwise, "a run of reuse_validation='retrain' with None"),
    ]  # fmt: skip
    for number, (reuse, change, kind, message) in enumerate(cases):
        state = deepcopy(states[reuse])
        change(state)
        error = attempted(state, tmp_path / f"{number}", reuse).error
        assert error is not None, message
        with pytest.raises(kind, match=message):
            raise error
        assert (kind is corrupt) == isinstance(error, batten.CheckpointError), message
    error = attempted(states[None], tmp_path / "features", features=5).error
    with pytest.raises(ValueError, match=r"expected .* \[5, 1, 3, 3\] as model.0.weight, got .* \[4, 1, 3, 3\]"):
        raise error


# States with one thing or two in them that are something else.

PLACES = st.integers(0, 100_000)
VALUES = st.sampled_from([
    None, True, False, -1, 0, 1, 3, 2**62, 10**30, 0.5, -0.0, float("nan"), float("inf"), "", "x", "train", [], {}, (),
    [1], [[1]], (0.5,), {"x": 1}, {0: {}}, {"": None}, batten.zeros(()), batten.zeros(3), batten.zeros(2, 0),
    batten.zeros(16, dtype=batten.uint8), np.zeros(16), np.array(1), np.zeros(3, bool), np.zeros(14, np.int64),
])  # fmt: skip
CHANGES = st.tuples(st.sampled_from(["replace", "drop", "rename", "retag", "swap", "repeat"]), PLACES, PLACES, VALUES)


def nodes(tree):
    """All places in a state: a dict or list, with a key of its."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from nodes(tree[key])


def retagged(x):
    """The same as something else."""
    if isinstance(x, batten.Tensor):
        return x.array if x.array.size % 2 else x.array.astype(np.float64)
    if isinstance(x, np.ndarray):
        return x.astype(np.float32) if x.size % 2 else batten.autograd.wrap(x)
    if isinstance(x, bool | int | float):
        return str(x) if x else (int(x) if isinstance(x, float) else float(x))
    return {dict: list, list: tuple, tuple: list, str: len}.get(type(x), bool)(x)


def changed(state, change):
    kind, place, other, value = change
    found = list(nodes(state))
    (parent, key), (elsewhere, another) = found[place % len(found)], found[other % len(found)]
    if kind == "replace":
        parent[key] = deepcopy(value)
    elif kind == "retag":
        parent[key] = retagged(parent[key])
    elif kind == "swap":
        parent[key], elsewhere[another] = deepcopy(elsewhere[another]), deepcopy(parent[key])
    elif kind == "repeat" and isinstance(parent, list):
        parent.insert(key, deepcopy(parent[key]))
    elif kind == "rename" and isinstance(parent, dict):
        parent[f"{key}'"] = parent.pop(key)
    else:
        del parent[key]


@settings(max_examples=150)
@given(reuse=st.sampled_from([None, "retrain", "continue"]), changes=st.lists(CHANGES, min_size=1, max_size=2))
def test_states_changed(reuse, changes, states, tmp_path_factory):
    """They are refused, by one of three errors, and leave everything as it was; or they are taken just as they are."""
    state = deepcopy(states[reuse])
    for change in changes:
        changed(state, change)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of other versions and instruction sets
        attempt = attempted(state, tmp_path_factory.getbasetemp() / "fuzzed", reuse)
    if attempt.error is None:
        attempt.after.update({name: state[name] for name in ("versions", "instruction_set")})
        assert attempt.after.pop("loaders") == state.pop("loaders")  # where True is 1
        attempt.after["model"] = dict(attempt.after["model"])
        assert_same(attempt.after, dict(sorted(state.items(), key=lambda item: list(attempt.after).index(item[0]))))


# ---- what a checkpoint leaves in its folder ----


def test_what_dead_processes_left_is_removed_when_a_run_begins_there(tmp_path):
    with pytest.raises(BreakdownError):
        Parts(tmp_path, callbacks=[At(9, breakdown)]).fit()
    left, mine = tmp_path / f"{serialization.SAVING}dead", tmp_path / ".mine"
    left.mkdir()
    for place in (left / "file", left / ".tmp123456", mine):
        place.write_bytes(b"half of a tensor")
    with serialization.workplace(str(tmp_path)) as alive:
        Parts(tmp_path).fit(tmp_path)
        assert os.path.isdir(alive) and not left.exists() and mine.exists()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"best.safetensors", "step-000000032.safetensors", "step-000000036.safetensors", ".mine"}


def test_a_save_that_fails_ends_the_fit_and_leaves_the_old_files(tmp_path, monkeypatch):
    """A full disk, a folder that may not be written to any more, and one that is gone."""

    def full(run):
        def fail(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fail)

    def protected(run):
        def fail(path, *args):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        monkeypatch.setattr(os, "mkdir", fail)

    whole = Parts(tmp_path / "whole").fit().end()
    for action, error in ((full, "No space left"), (protected, "Permission denied: .*protected")):
        folder = tmp_path / action.__name__
        with pytest.raises(OSError, match=error):
            Parts(folder, callbacks=[At(11, action)]).fit()
        monkeypatch.undo()
        assert [file.name[:14] for file in checkpoint.files(folder)] == ["step-000000004", "step-000000008"]
        assert not list(folder.glob(".*"))
        assert_same(Parts(folder).fit(folder).end(), whole)

    folder = tmp_path / "gone"
    with pytest.raises(FileNotFoundError, match="gone"):
        Parts(folder, callbacks=[At(11, lambda run: shutil.rmtree(folder))]).fit()
    assert not folder.exists()


# ---- long histories ----


def test_steps_are_a_list_of_dicts_in_columns():
    rows, steps = [], batten.history.Steps()
    for number in range(200):
        row = {"epoch": number // 50 + 1, "loss": 1 / (number + 1), "lr": 0.1, "images": 8, "seconds": 0.01}
        row["flag"] = number % 3 == 0
        row |= {"some": number} if number % 7 == 3 else {}
        rows.append(dict(row))
        steps.append(row)
        if number % 5 == 0:
            steps[-1]["added"] = rows[-1]["added"] = 0.5 * number  # as a callback does
            steps.state_dict()
    assert steps == rows and list(steps) == rows and len(steps) == 200 and steps != rows[1:]
    assert steps[-1] is row and steps[-200] == rows[0] and steps[3:30:5] == rows[3:30:5]
    assert [[type(value) for value in row.values()] for row in map(sorted_row, steps)] == [
        [type(value) for value in row.values()] for row in map(sorted_row, rows)
    ]
    with pytest.raises(IndexError):
        steps[200]
    assert repr(steps).startswith("200 steps, the last of which is {'epoch': 4")
    again = batten.history.Steps()
    again.load_state_dict(steps.state_dict())
    again.append({"epoch": 5, "some": 1.5})
    assert again[:-1] == rows and again[-1] == {"epoch": 5, "some": 1.5}
    again.append({"epoch": 5})
    assert again[3]["some"] == 3 and again[-2]["some"] == 1.5
    for value, words in (("x", "got str as loss"), (None, "got None as loss"), (2**70, "got int as loss"), (1j, "got")):
        with pytest.raises(TypeError, match=f"a row of the history has numbers of 64 bits, {words}"):
            batten.history.Steps([{"loss": value}, {}])
    scalars = batten.history.Steps([{"a": np.float32(0.1), "b": np.int8(3), "c": batten.tensor(2.0), "d": True}, {}])
    assert scalars[0] == {"a": float(np.float32(0.1)), "b": 3, "c": 2.0, "d": True}


def sorted_row(row):
    return dict(sorted(row.items()))


def test_a_million_steps_take_little_memory():
    """48 bytes each, and 6 for which of them there are; a state is one copy of that."""
    count = 100_000
    tracemalloc.start()
    try:
        steps = batten.history.Steps()
        for number in range(count):
            steps.append({"epoch": 1, "loss": 0.1, "lr": 0.1, "images": number, "seconds": 0.1, "accuracy": 0.5})
        assert tracemalloc.get_traced_memory()[0] < 2 * 54 * count
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        steps.state_dict()
        assert tracemalloc.get_traced_memory()[1] - held < 1.1 * 54 * count
    finally:
        tracemalloc.stop()

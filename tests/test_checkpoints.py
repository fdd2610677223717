"""The checkpoints of a fit, and that it goes on from any of them with the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from fitting import At, Told, batches, bits, network, numbers, resumable, rows, small

import batten
from batten import checkpoint, optim
from batten.optim import lr_scheduler as schedules
from batten.regularization import MaxNorm


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("reuse", [None, "retrain", "continue"])
def test_a_run_goes_on_from_any_step_with_the_same_bits(tmp_path, reuse, stateful):
    whole = resumable(tmp_path / "whole", reuse=reuse, stateful=stateful)
    files = checkpoint.files(tmp_path / "whole")
    assert len(files) >= 12
    if reuse:
        assert len(files) > 4 * whole["rest"][2]
    for number, file in enumerate(files):
        batten.manual_seed(99)
        again = resumable(tmp_path / f"{number}", resume=file, reuse=reuse, stateful=stateful, every=1000)
        for part, value in whole.items():
            assert again[part] == value, (file.name, part)


def test_optimizers_and_schedules_of_all_kinds_go_on(tmp_path):
    train = batches(np.random.default_rng(0), [8, 8, 8])

    def run(number, folder, resume=None):
        model = network()
        parameters = list(model.named_parameters())
        optimizer = [
            lambda: optim.LBFGS(model.parameters(), max_iter=3),
            lambda: optim.Projected(optim.Nesterov(model.parameters(), lr=0.1), MaxNorm(0.5)),
            lambda: optim.Adagrad(parameters, lr=0.1),
            lambda: optim.SGD(
                [{"params": [parameters[0][1]], "lr": 0.3}, {"params": [parameters[1][1]]}], momentum=0.5
            ),
        ][number]()
        schedule = [
            lambda: schedules.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
            lambda: schedules.SequentialLR(
                optimizer, [schedules.ConstantLR(optimizer), schedules.ExponentialLR(optimizer, 0.9)], [2]
            ),
            lambda: schedules.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
            lambda: schedules.CyclicLR(optimizer, 0.1, 0.5, step_size_up=4),
        ][number]()
        history = small(
            model, train=train, optimizer=optimizer, scheduler=schedule, epochs=4, resume=resume,
            callbacks=[batten.EarlyStopping("loss"), batten.Checkpoint(folder, unit="step", keep=99)],
        )  # fmt: skip
        return bits(model.state_dict()), rows(history)

    for number in range(4):
        folder = tmp_path / f"{number}"
        whole = run(number, folder)
        for step in (2, 6, 7):
            assert run(number, tmp_path / f"{number}-{step}", checkpoint.path(folder, step)) == whole, (number, step)


def test_a_run_that_breaks_down_goes_on_from_the_folder(tmp_path):
    whole = resumable(tmp_path / "whole", every=3, keep=2)
    assert [file.name[8:14] for file in checkpoint.files(tmp_path / "whole")] == ["000009", "000012"]
    for step in (4, 8, 11):
        folder = tmp_path / f"broken{step}"
        with pytest.raises(ZeroDivisionError):
            resumable(folder, every=3, keep=2, callbacks=[At(step, lambda run: 1 / 0)])
        assert resumable(folder, every=3, keep=2, resume=folder) == whole
        with pytest.raises(FileExistsError, match="has checkpoints of another run, such as step-"):
            resumable(folder)


def test_more_epochs_than_at_first(tmp_path):
    whole = resumable(tmp_path / "whole", epochs=5)
    part = resumable(tmp_path / "part", epochs=2)
    assert part["rows"] != whole["rows"]
    state = batten.load(checkpoint.newest(tmp_path / "part"))
    again = resumable(tmp_path / "part", epochs=5, resume=state)
    assert again["rows"] == whole["rows"] and again["model"] == whole["model"]


def test_what_a_checkpoint_saves_at_the_end(tmp_path):
    small(epochs=3, callbacks=[batten.Checkpoint(tmp_path, every=2, keep=9)])
    assert checkpoint.files(tmp_path) == [checkpoint.path(tmp_path, 4), checkpoint.path(tmp_path, 6)]


def test_an_epoch_begins_once(tmp_path):
    begun = []

    class Note(batten.Callback):
        def on_epoch_begin(self, run):
            begun.append(run.epoch)

    resumable(tmp_path / "whole", callbacks=[Note()])
    assert begun == [1, 2, 3]
    for step, epochs in ((1, [2, 3]), (4, [2, 3]), (7, [3]), (12, [])):  # there are four in an epoch
        begun.clear()
        resumable(tmp_path / f"{step}", callbacks=[Note()], resume=checkpoint.path(tmp_path / "whole", step))
        assert begun == epochs


def test_files_of_steps_that_were_not_made_are_removed(tmp_path):
    resumable(tmp_path)
    old = checkpoint.files(tmp_path)[4]
    resumable(tmp_path, resume=old, keep=3)
    assert len(checkpoint.files(tmp_path)) == 3


def test_the_best_epoch_is_kept_apart(tmp_path):
    model = network()
    kept = []
    values = [3, 1, 2, 2]

    class Keep(batten.Callback):
        def on_epoch_end(self, run):
            kept.append(bits(run.model.state_dict()))

    options = {"best": True, "monitor": "told", "every": 2}
    small(model, epochs=4, callbacks=[batten.Checkpoint(tmp_path, **options), Told("told", values), Keep()])
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["best.safetensors", "step-000000008.safetensors"]
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == kept[1]
    # Later epochs that are no better than before the break leave it as it is.
    callbacks = [batten.Checkpoint(tmp_path, **options), Told("told", [*values, 1.5, 0.5])]
    small(model, epochs=5, callbacks=callbacks, resume=tmp_path)
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == kept[1]
    small(model, epochs=6, callbacks=callbacks, resume=tmp_path)
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == bits(model.state_dict())


def test_what_cannot_be_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        small(resume=tmp_path)
    with pytest.raises(FileNotFoundError):
        small(resume=tmp_path / "nowhere")
    batten.save({"model": {}}, tmp_path / "other")
    with pytest.raises(
        batten.CheckpointError, match="not the state of a run: it has no format, versions, instruction_set, optimizer, "
    ):
        small(resume=tmp_path / "other")
    batten.save([1], tmp_path / "other")
    with pytest.raises(ValueError, match="expected it to be a dict, got list of 1"):
        small(resume=tmp_path / "other")
    small(callbacks=[batten.EarlyStopping("loss"), batten.Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match="had a callback EarlyStopping without one: give it the same callbacks"):
        small(resume=tmp_path / "run")
    with pytest.raises(ValueError, match="cannot resume a run of reuse_validation=None with 'retrain'"):
        callbacks = [batten.EarlyStopping("loss")]
        small(resume=tmp_path / "run", callbacks=callbacks, validation=numbers(1), reuse_validation="retrain")
    for options, message in [
        ({"every": 0}, "at least 1, got 0 and 1"),
        ({"keep": 0}, "at least 1, got 1 and 0"),
        ({"unit": "hour"}, "'epoch' or 'step', got 'hour'"),
    ]:
        with pytest.raises(ValueError, match=message):
            batten.Checkpoint(tmp_path, **options)

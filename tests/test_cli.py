"""The command line, as a person sees it: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import batten
from batten import cli
from batten.cli import runs, train
from batten.fit import interruptible
from batten.training import Classifier, read

ACCURACY = re.compile(r"test accuracy (\d+\.\d) %")
FILES = ["checkpoints", "curves.png", "history.json", "model.safetensors", "result.json", "settings.json"]


@pytest.fixture(autouse=True)
def kept_threads(threads):
    """The command sets the number of threads."""


@pytest.fixture
def batten_(capfd):
    """Runs a command line here: its exit code, the lines it printed, and those on stderr."""

    def run(*arguments):
        try:
            code = cli.main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capfd.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run


def start(*arguments, **options):
    """The same as a process of its own."""
    command = [sys.executable, "-m", "batten", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **{"stderr": subprocess.PIPE, **options})


# ---- files ----


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def pictures(count, shape, seed=1):
    """Pictures of ten kinds that can be told apart."""
    kinds = np.random.default_rng(0).integers(0, 256, (10, *shape))
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 10, count)
    return (kinds[targets] + rng.normal(0, 20, (count, *shape))).clip(0, 255).astype(np.uint8), targets


def put_mnist(folder, part="train", count=300, suffix=""):
    images, labels = pictures(count, (28, 28), seed=len(part))
    put(folder / f"{part}-images-idx3-ubyte{suffix}", idx(images))
    put(folder / f"{part}-labels-idx1-ubyte{suffix}", idx(labels))


def put_cifar(folder, name="data_batch_1.bin", count=120):
    images, labels = pictures(count, (3072,), seed=len(name))
    put(folder / name, np.concatenate([labels[:, None].astype(np.uint8), images], 1).tobytes())


@pytest.fixture
def mnist(tmp_path):
    put_mnist(tmp_path / "data")
    return ["train", "--data", "mnist", "--root", tmp_path / "data", "--epochs", 2]


def assert_run(folder, lines):
    """The files of a run, of which the model has the accuracy that was reported."""
    assert sorted(p.name for p in folder.iterdir()) == FILES
    reported = ACCURACY.fullmatch(lines[-1])[1]
    result = json.loads((folder / "result.json").read_text())
    assert f"{100 * result['test']['accuracy']:.1f}" == reported
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    history = batten.History.from_json((folder / "history.json").read_text())
    saved = batten.load(folder / "model.safetensors")
    assert saved["epoch"] == history.best_epoch <= len(history.epochs)
    settings = json.loads((folder / "settings.json").read_text())
    parts, _ = read(settings["settings"]["data"], settings["root"])
    assert parts.sizes() == settings["images"]
    classifier = Classifier.load(folder / "model.safetensors")
    assert classifier.score(parts.test).accuracy == result["test"]["accuracy"]
    return classifier, history, result


# ---- batten train ----


def test_digits(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    process = start("train", "--epochs", 3, "--out", tmp_path / "run")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "digits: 1,349 images for train, 149 images for validation, 299 images for test"
    assert lines[1] == "there are no files for the test: 299 of the 1,797 images are held out for it"
    assert sum(line.startswith("epoch ") for line in lines) == 3
    _, history, result = assert_run(tmp_path / "run", lines)
    assert result["test"]["accuracy"] > 0.9 and history.ended == "epochs"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(batten_, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    put_mnist(tmp_path / "mnist", suffix=suffix)
    train = ("train", "--data", "mnist", "--root", tmp_path, "--epochs", 2, "--out")
    code, lines, err = batten_(*train, tmp_path / "a")
    assert (code, err) == (0, [])
    assert lines[0] == "mnist: 225 images for train, 25 images for validation, 50 images for test"
    assert lines[1] == "there are no files for the test: 50 of the 300 images are held out for it"
    _, _, result = assert_run(tmp_path / "a", lines)
    assert result["test"]["accuracy"] > 0.9

    put_mnist(tmp_path / "mnist", "t10k", 40, suffix)
    code, lines, err = batten_(*train, tmp_path / "b")
    assert (code, err) == (0, [])
    assert lines[0] == "mnist: 270 images for train, 30 images for validation, 40 images for test"
    assert not any("held out" in line for line in lines)
    assert_run(tmp_path / "b", lines)


def test_colour(batten_, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "cifar-10-batches-bin"
    put_cifar(folder)
    put_cifar(folder, "data_batch_2.bin.gz")
    put_cifar(folder, "test_batch.bin", 20)
    train = ("train", "--data=cifar10", "--root", tmp_path, "--epochs=1", "--out", tmp_path / "run")
    code, lines, err = batten_(*train, "--augment=crop,flip,pca,rotate,jitter,noise,erase")
    assert (code, err) == (0, [])
    assert lines[0] == "cifar10: 216 images for train, 24 images for validation, 20 images for test"
    classifier, _, _ = assert_run(tmp_path / "run", lines)
    assert classifier.classes[3] == "cat" and len(classifier.normalize.mean) == 3


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_the_likes_of_mnist(name, batten_, tmp_path):
    pytest.importorskip("matplotlib")
    put_mnist(tmp_path / name)
    code, lines, _ = batten_("train", "--data", name, "--root", tmp_path, "--epochs=1", "--out", tmp_path / "run")
    classifier, _, _ = assert_run(tmp_path / "run", lines)
    assert code == 0 and classifier.classes == list(batten.training.DATASETS[name].kinds)


@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(model, batten_, mnist, tmp_path):
    def run(name, *options):
        code, lines, err = batten_(*mnist, "--model", model, "--augment=crop", "--out", tmp_path / name, *options)
        assert (code, err) == (0, [])
        result = json.loads((tmp_path / name / "result.json").read_text())
        history = json.loads((tmp_path / name / "history.json").read_text())
        losses = [(row["loss"], row.get("validation_loss")) for row in history["epochs"] + history["steps"]]
        content = (tmp_path / name / "model.safetensors").read_bytes()
        return result.pop("threads"), (content, losses, result, lines[-1])

    threads, one = run("one", "--threads", 1, "--seed", 3)
    assert threads == 1
    threads, two = run("two", "--threads", 2, "--seed", 3)
    assert threads == (2 if batten._kernels.openmp() else 1) and two == one
    batten.rand(5)
    assert run("again", "--threads", 3, "--seed", 3)[1] == one
    assert run("other", "--threads", 1, "--seed", 4)[1][0] != one[0]


def test_options_are_what_is_trained_with(batten_, mnist, tmp_path):
    options = {
        "batch_size": 50, "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.5, "dropout": 0.25, "norm": "layer",
        "scheduler": "cosine", "max_norm": 3.0, "early_stopping": 2, "reuse_validation": "retrain", "seed": 7,
        "epochs": 1, "model": "lenet5",
    }  # fmt: skip
    line = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    penalties = ["--penalty", "l1=1e-5,group-lasso=0.001", "--penalty=l2=0"]
    code, lines, _ = batten_(*mnist, *line, *penalties, "--augment=erase,crop", "--out", tmp_path / "run")
    assert code == 0
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    terms = {"penalties": ["l1=1e-05", "group-lasso=0.001", "l2=0.0"], "augment": ["erase", "crop"]}
    assert settings == {**options, **terms, "data": "mnist", "hidden": []}
    saved = batten.load(tmp_path / "run" / "model.safetensors")
    assert saved["settings"] == {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    (state,) = (tmp_path / "run" / "checkpoints").iterdir()
    group = batten.load(state)["optimizer"]["param_groups"][0]
    assert (group["initial_lr"], group["weight_decay"]) == (0.002, 0.5)
    assert (saved["architecture"]["dropout"], saved["architecture"]["norm"]) == (0.25, "layer")
    history = batten.History.from_json((tmp_path / "run" / "history.json").read_text())
    assert [len(history.steps_of(2)), history.reused_after] == [250 // 50, 1] and history["penalty"][0] > 0
    assert "epoch 1 was best: training again from the start, with the validation images, for as many epochs" in lines
    assert "the weights are those of epoch 2, the last one" in lines

    code, _, _ = batten_(*mnist, "--norm=none", "--scheduler=none", "--augment=none", "--out", tmp_path / "bare")
    settings = json.loads((tmp_path / "bare" / "settings.json").read_text())["settings"]
    assert code == 0 and [settings[name] for name in ("norm", "scheduler", "augment")] == [None, None, []]


def test_reuse_by_going_on(batten_, mnist, tmp_path):
    options = ("--early-stopping", 3, "--reuse-validation", "continue", "--epochs", 4)
    code, lines, _ = batten_(*mnist, *options, "--out", tmp_path / "run")
    history = batten.History.from_json((tmp_path / "run" / "history.json").read_text())
    assert code == 0 and len(history.epochs) > history.reused_after
    going = f"epoch {history.best_epoch} was best: going on from there with the validation images, until their loss is "
    assert f"{going}{history.target:.4f}" in lines
    assert (f"the validation loss did not get down to {history.target:.4f}" in lines) == (not history.target_reached)


def test_runs_have_folders_of_their_own(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        _, lines, _ = batten_(*mnist, "--epochs", 1)
        assert lines[-2].startswith(f"runs/mnist-mlp-{number}: model.safetensors, history.json")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["mnist-mlp-1", "mnist-mlp-2"]


def test_without_matplotlib_there_is_no_picture(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, lines, err = batten_(*mnist, "--out", tmp_path / "run")
    assert (code, err) == (0, [])
    assert "no picture of the curves, as matplotlib is not installed: pip install 'batten[labs]'" in lines
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [name for name in FILES if name != "curves.png"]


def test_with_a_backend_that_is_not_there_there_is_no_picture(batten_, mnist, tmp_path, monkeypatch):
    """A notebook sets MPLBACKEND to one of its own, and the commands that it starts may be another Python's."""

    def plot(*_):
        raise ValueError("Key backend: 'inline' is not a valid value")  # as matplotlib does when it is imported

    monkeypatch.setattr(batten.History, "plot", plot)
    code, lines, err = batten_(*mnist, "--epochs", 1, "--out", tmp_path / "run")
    assert (code, err) == (0, []) and ACCURACY.fullmatch(lines[-1])
    assert "no picture of the curves: Key backend: 'inline' is not a valid value" in lines


def test_a_download(batten_, mnist, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(batten.datasets.MNIST, "download", lambda self, root: asked.append(root))
    assert batten_(*mnist, "--epochs", 1, "--download", "--out", tmp_path / "run")[0] == 0
    assert asked == [str(tmp_path / "data")]


# ---- going on with a run ----


def until_epoch(process, number=1):
    """The lines of a process up to that of an epoch, when the checkpoint of the one before is there."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if re.match(rf"epoch +{number}/", line):
            return lines
    raise AssertionError(lines)


def test_ctrl_c_keeps_the_best_weights(batten_, mnist, tmp_path):
    pytest.importorskip("matplotlib")
    process = start(*mnist, "--epochs", 10**9, "--out", tmp_path / "run")
    lines = until_epoch(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    lines += out.splitlines()
    assert (process.returncode, err) == (0, "")
    assert f"stopped by Ctrl-C; batten train --resume {tmp_path / 'run'} goes on" in lines
    _, history, _ = assert_run(tmp_path / "run", lines)
    assert history.ended == "Ctrl-C"
    assert len(history.epochs) == sum(line.startswith("epoch") for line in lines) < 1000


def test_a_run_that_was_interrupted_goes_on(batten_, mnist, tmp_path, monkeypatch):
    """Ctrl-C in mid-epoch, before one has ended and after that."""
    pytest.importorskip("matplotlib")
    options = ("--epochs", 3, "--augment", "crop", "--batch-size", 16)
    assert batten_(*mnist, *options, "--out", tmp_path / "whole")[0] == 0
    on_step_end, stops = train.Report.on_step_end, [3, 20]

    def interrupted(self, run):
        on_step_end(self, run)
        if stops and run.step == stops[0]:
            stops.pop(0)
            run.interrupted = True

    monkeypatch.setattr(train.Report, "on_step_end", interrupted)
    code, lines, err = batten_(*mnist, *options, "--out", tmp_path / "run")
    assert (code, err) == (0, []) and "no epoch has ended: the weights are those of the last step" in lines
    assert not (tmp_path / "run" / "curves.png").exists()
    code, lines, err = batten_("train", "--resume", tmp_path / "run")
    assert (code, err) == (0, []) and any(line.startswith("best epoch 1: validation loss") for line in lines)
    code, lines, err = batten_("train", "--resume", tmp_path / "run", "--threads", 1)
    assert (code, err) == (0, [])
    assert_run(tmp_path / "run", lines)
    contents = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "run")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("options", [
    ("--model=convnet", "--augment=crop,erase", "--epochs=4", "--scheduler=cosine"),
    ("--augment=crop", "--epochs=6", "--reuse-validation=retrain", "--penalty=l1=1e-4", "--max-norm=2"),
])  # fmt: skip
def test_a_run_that_was_killed_goes_on_with_the_same_bits(options, batten_, mnist, tmp_path, monkeypatch):
    """Whenever it is killed: at first after the line of an epoch, then at any moment."""
    options = (*options, "--batch-size=8", "--threads=1")
    assert batten_(*mnist, *options, "--out", tmp_path / "whole")[0] == 0
    process = start(*mnist, *options, "--out", tmp_path / "run")
    until_epoch(process, 2)
    process.kill()
    process.communicate()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))
    for seconds in (0.5, 0.9):
        process = start("train", "--resume", tmp_path / "run")
        time.sleep(seconds)
        process.kill()
        process.communicate()
    code, lines, err = batten_("train", "--resume", tmp_path / "run")
    assert (code, err) == (0, [])
    contents = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "run")]
    assert contents[0] == contents[1]
    assert ACCURACY.fullmatch(lines[-1])


def test_a_run_that_was_killed_before_its_first_checkpoint(batten_, mnist, tmp_path):
    """It begins anew."""
    assert batten_(*mnist, "--out", tmp_path / "whole")[0] == 0
    (tmp_path / "run").mkdir()
    shutil.copy(tmp_path / "whole" / "settings.json", tmp_path / "run")
    assert batten_("train", "--resume", tmp_path / "run")[0] == 0
    contents = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "run")]
    assert contents[0] == contents[1]


def test_a_run_that_has_ended(batten_, mnist, tmp_path):
    """It says so; and it goes on to more epochs, as if it had been so long from the beginning."""
    run = tmp_path / "run"
    assert batten_(*mnist, "--out", run)[0] == 0
    before = (run / "model.safetensors").read_bytes()
    code, lines, err = batten_("train", "--resume", run)
    assert (code, err) == (0, []) and "there was nothing left to do: the run has ended (epochs)" in lines
    assert ACCURACY.fullmatch(lines[-1]) and (run / "model.safetensors").read_bytes() == before

    moved = tmp_path / "moved"
    (tmp_path / "data").rename(moved)
    code, lines, err = batten_("train", "--resume", run, "--epochs", 4, "--root", moved)
    assert (code, err) == (0, []) and any(line.startswith("epoch 3/4") for line in lines)
    assert not any(line.startswith("epoch 2/") for line in lines)
    assert batten_(*mnist, "--root", moved, "--epochs", 4, "--out", tmp_path / "whole")[0] == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert (run / "settings.json").read_bytes() == (tmp_path / "whole" / "settings.json").read_bytes()


def test_runs_that_cannot_go_on(batten_, mnist, tmp_path):
    run = tmp_path / "run"

    def refused(*options):
        code, _, err = batten_("train", "--resume", *options)
        assert code == 2 and len(err) == 1
        return err[0]

    assert refused(tmp_path).startswith(f"batten: {tmp_path} is not the folder of a run: settings.json: No such file")
    assert batten_(*mnist, "--out", run)[0] == 0
    message = "batten: --resume takes all else from the run; leave out "
    assert refused(run, "--lr", 1, "--penalty", "l1=1", "--model=mlp", "--out=x").startswith(message)
    assert refused(run, "--batch-size", 7) == message + "--batch-size"
    assert "--epochs makes a run longer, and this one has 2, got 1" in refused(run, "--epochs", 1)
    code, _, err = batten_(*mnist, "--out", run)
    assert code == 2 and len(err) == 1 and f"has a run in it: --resume {run} goes on with it" in err[0]

    put_mnist(tmp_path / "data", "t10k", 40)
    assert "it began with other pictures, 225 for train, 25 for validation, 50 for test" in refused(run)
    shutil.rmtree(tmp_path / "data")
    put_mnist(tmp_path / "data")
    (checkpoint,) = (run / "checkpoints").iterdir()
    state = batten.load(checkpoint)
    batten.save({**state, "reuse": "retrain"}, checkpoint)
    assert refused(run).startswith(
        f"batten: cannot go on with {run}: cannot resume a run of reuse_validation='retrain'"
    )
    batten.save({"model": state["model"]}, checkpoint)
    assert refused(run).startswith(
        f"batten: cannot go on with {run}: cannot resume from what is not the state of a run"
    )
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert f"cannot go on with {run}: cannot load {checkpoint}: " in refused(run)
    settings = json.loads((run / "settings.json").read_text())
    for broken in ("{", "[]", json.dumps({**settings, "x": 1}), json.dumps({**settings, "settings": {"x": 1}})):
        (run / "settings.json").write_text(broken)
        assert "settings.json is not what batten train writes (" in refused(run)


def test_a_second_ctrl_c_does_not_wait():
    with interruptible() as stopped:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            stopped.clear()
            stopped.wait(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_there_is_anything_to_keep(batten_, mnist, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "read_parts", interrupted)
    assert batten_(*mnist, "--out", tmp_path / "run") == (130, [], ["batten: interrupted"])
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    monkeypatch.setattr(train.Report, "on_step_end", interrupted)
    code, _, err = batten_(*mnist, "--out", tmp_path / "run")
    assert (code, err) == (130, ["batten: interrupted"]) and not (tmp_path / "run").exists()


def test_the_bar_on_a_terminal_shows_loss_accuracy_and_speed(mnist, tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # a new one has no columns, and a bar that fits in them is empty
    always = {**os.environ, "TQDM_MININTERVAL": "0"}  # however short an epoch is
    process = start(*mnist, "--out", tmp_path / "run", "--batch-size", 2, stderr=theirs, env=always)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the other side has closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and ACCURACY.fullmatch(out.splitlines()[-1])
    assert re.search(rb"epoch 1/2: .*, loss \d\.\d{4}, accuracy \d+\.\d %, .* images/s", shown)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "argument --epochs: expected a whole number of at least 1, got '0'"),
        (["--epochs", "many"], "expected a whole number of at least 1, got 'many'"),
        (["--batch-size", "1"], "argument --batch-size: expected a whole number of at least 2, got '1'"),
        (["--lr", "0"], "argument --lr: expected a number above 0, got '0'"),
        (["--lr", "nan"], "argument --lr: expected a number above 0, got 'nan'"),
        (["--lr", "inf"], "expected a number above 0, got 'inf'"),
        (["--lr", "-1"], "expected a number above 0, got '-1'"),
        (["--weight-decay", "-0.5"], "argument --weight-decay: expected a number of at least 0, got '-0.5'"),
        (["--dropout", "1"], "argument --dropout: expected a number from 0 to below 1, got '1'"),
        (["--threads", "0"], "argument --threads: expected a whole number from 1 to 1024, got '0'"),
        (["--threads", "99999999999"], "expected a whole number from 1 to 1024"),
        (["--seed", str(2**64)], "argument --seed: expected a whole number from -2^63 to 2^64 - 1"),
        (["--seed", "x"], "argument --seed: expected a whole number from -2^63 to 2^64 - 1, got 'x'"),
        (["--model", "resnet"], "argument --model: invalid choice: 'resnet' (choose from"),
        (
            ["--model", "resnet20"],
            "resnet20 does not fit the pictures of mnist, which are [1, 28, 28]; choose from mlp, convnet, lenet5",
        ),
        (
            ["--data", "digits", "--model", "vgg11"],
            "does not fit the pictures of digits, which are [1, 8, 8]; choose from",
        ),
        (
            ["--data", "cifar10", "--model", "resnet20", "--dropout", "0.5"],
            "resnet20 has no dropout; leave out --dropout",
        ),
        (["--data", "imagenet"], "argument --data: invalid choice: 'imagenet' (choose from"),
        (["--epoch", "3"], "unrecognized arguments: --epoch"),
        (["--lr"], "argument --lr: expected one argument"),
        (
            ["--root", "/no/where"],
            "which --download fetches, in /no/where or /no/where/mnist or /no/where/MNIST/raw; --root DIR",
        ),
    ],
)
def test_wrong_options(batten_, mnist, tmp_path, options, message):
    code, _, err = batten_(*mnist, "--out", tmp_path / "run", *options)
    assert code == 2 and len(err) == 1
    assert err[0].startswith("batten: ") and message in err[0]
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_refused(tmp_path):
    process = start("train", "--data", "mnist", "--root", tmp_path, "--out", tmp_path / "run")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("batten: found neither train-images-idx3-ubyte nor")
    assert err.endswith("; --root DIR says where they are\n") and not (tmp_path / "run").exists()


def test_damaged_files(batten_, mnist, tmp_path):
    labels = tmp_path / "data" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    code, _, err = batten_(*mnist)
    assert code == 2
    assert err == [f"batten: {labels}: expected 300 bytes after the header, got 299"]


def test_too_few_pictures(batten_, mnist, tmp_path):
    put_mnist(tmp_path / "data", count=9)
    code, _, err = batten_(*mnist)
    assert code == 2 and len(err) == 1
    assert "too few pictures" in err[0] and "8 for train, 0 for validation, 1 for test" in err[0]


@pytest.mark.parametrize("below", ["", "run"])
def test_a_folder_that_cannot_be_written(batten_, mnist, tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / below
    code, lines, err = batten_(*mnist, "--out", out)
    assert code == 2 and len(err) == 1 and not any(line.startswith("epoch") for line in lines)
    assert err[0].startswith(f"batten: cannot write into {out} (") and "--out DIR names another folder" in err[0]
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(batten_, mnist, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    code, _, err = batten_(*mnist, "--out", tmp_path / "locked")
    assert code == 2 and len(err) == 1 and "Permission denied" in err[0]


@pytest.mark.parametrize("full_from", [1, 2, 4])
def test_a_disk_that_is_full(full_from, batten_, mnist, tmp_path, monkeypatch):
    """Nothing is lost: the run goes on from its last checkpoint when there is room again."""
    written, save = [], batten.checkpoint.save

    def full(*arguments):
        written.append(arguments)
        if len(written) >= full_from:
            raise OSError(28, "No space left on device")
        return save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(batten.checkpoint, "save", full)
        patch.setattr(runs.Classifier, "save", full)
        code, _, err = batten_(*mnist, "--epochs", 3, "--out", tmp_path / "run")
    assert code == 2
    message = f"batten: cannot write into {tmp_path / 'run'} (No space left on device)"
    if full_from == 1:
        assert err == [f"{message}; --out DIR names another folder"] and not (tmp_path / "run").exists()
        return
    assert err == [f"{message}; batten train --resume {tmp_path / 'run'} goes on when it can be"]
    code, lines, err = batten_("train", "--resume", tmp_path / "run")
    assert (code, err) == (0, []) and sum(line.startswith("epoch") for line in lines) == 4 - full_from


def test_a_folder_that_vanishes(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "conclude", lambda *_: shutil.rmtree(tmp_path / "run"))
    code, _, err = batten_(*mnist, "--out", tmp_path / "run")
    assert code == 2 and len(err) == 1 and "(No such file or directory); --out DIR names another folder" in err[0]


def test_digits_without_scikit_learn(batten_, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    code, _, err = batten_("train", "--out", tmp_path / "run")
    assert code == 2 and not (tmp_path / "run").exists()
    assert err == [
        "batten: the digits come with scikit-learn, which is not installed: pip install 'batten[labs]'",
    ]


def test_a_loss_that_is_no_number(batten_, mnist, tmp_path):
    code, lines, err = batten_(*mnist, "--lr", "1e30", "--epochs", 50, "--out", tmp_path / "run")
    assert code == 2 and len(err) == 1
    assert re.fullmatch(
        r"batten: the loss became (nan|inf) in step \d+ \(epoch \d+\), at a learning rate of 1e\+30; .*; "
        r"try a smaller --lr",
        err[0],
    )
    assert not any("test accuracy" in line for line in lines)


def test_a_norm_that_a_model_has_not(batten_, tmp_path):
    put_cifar(tmp_path)
    code, _, err = batten_("train", "--data=cifar10", "--model=resnet20", "--norm=none", "--root", tmp_path)
    assert code == 2 and len(err) == 1 and "as its norm, got None" in err[0]
    assert not (tmp_path / "runs").exists()


def test_a_download_that_fails(batten_, tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")

    def retrieve(*_, **__):
        raise ConnectionError("Max retries\nexceeded")

    options = ("train", "--data=kmnist", "--root", tmp_path, "--download", "--out", tmp_path / "run")
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    code, _, err = batten_(*options)
    assert code == 2 and len(err) == 1
    assert err[0].startswith("batten: could not download train-images-idx3-ubyte.gz: http")
    monkeypatch.setitem(sys.modules, "pooch", None)
    code, _, err = batten_(*options)
    assert (code, err) == (
        2, ["batten: --download takes pooch, which is not installed: pip install 'batten[download]'"]
    )  # fmt: skip


# ---- batten evaluate ----


@pytest.fixture
def trained(batten_, mnist, tmp_path):
    """The folder of a run."""
    assert batten_(*mnist, "--epochs", 3, "--out", tmp_path / "run")[0] == 0
    return tmp_path / "run"


def test_evaluate(batten_, trained, tmp_path):
    result = json.loads((trained / "result.json").read_text())["test"]
    code, lines, err = batten_("evaluate", trained)
    assert (code, err) == (0, [])
    assert lines[0] == "mnist: 225 images for train, 25 images for validation, 50 images for test"
    assert lines[2].split() == ["class", "images", "accuracy", "most", "often", "taken", "for"]
    rows = [line.split() for line in lines[3:13]]
    assert [row[0] for row in rows] == list("0123456789") and sum(int(row[1]) for row in rows) == 50
    assert lines[13:] == [f"test loss {result['loss']:.4f}", f"test accuracy {100 * result['accuracy']:.1f} %"]
    assert batten_("evaluate", trained, "--threads", 1)[1] == lines

    for part, count in (("train", 225), ("validation", 25)):
        code, lines, err = batten_("evaluate", trained, "--part", part)
        assert (code, err) == (0, []) and sum(int(line.split()[1]) for line in lines[3:13]) == count
        assert lines[-1].startswith(f"{part} accuracy ")


def test_what_pictures_are_taken_for():
    """Three of class 0, of which one is right; four of class 1; none of class 2."""
    counts = cli.evaluate.confusion(np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 1, 1, 1, 1, 1]), 3)
    assert counts.tolist() == [[1, 2, 0], [0, 4, 0], [0, 0, 0]]
    assert cli.evaluate.table(counts, ["cat", "a horse", "dog"]).splitlines() == [
        "class    images  accuracy  most often taken for",
        "cat           3    33.3 %  a horse (2)",
        "a horse       4   100.0 %",
        "dog           0      none",
    ]


def test_evaluate_elsewhere(batten_, trained, tmp_path):
    """Other files, other pictures, other classes; and what is no run."""
    put_mnist(tmp_path / "others" / "mnist", count=60)
    code, lines, _ = batten_("evaluate", trained, "--root", tmp_path / "others")
    assert code == 0 and "10 images for test" in lines[0]
    put_mnist(tmp_path / "others" / "kmnist", count=60)
    put_cifar(tmp_path / "others")
    for data, message in {
        "kmnist": "the model knows the classes 0, 1, 2 …, and those of kmnist are o, ki, su …",
        "cifar10": "the model takes pictures [1, 28, 28], and those of cifar10 are [3, 32, 32]",
    }.items():
        code, _, err = batten_("evaluate", trained, "--data", data, "--root", tmp_path / "others")
        assert (code, err) == (2, [f"batten: {message}"])
    code, _, err = batten_("evaluate", tmp_path / "others")
    assert code == 2 and err[0].startswith(f"batten: {tmp_path / 'others'} has no trained model (model.safetensors: No")
    (trained / "model.safetensors").unlink()
    assert batten_("evaluate", trained)[2][0].endswith(f"; batten train --resume {trained} goes on with it")
    (trained / "model.safetensors").write_bytes(b"no model")
    code, _, err = batten_("evaluate", trained)
    assert code == 2 and len(err) == 1 and err[0].startswith(f"batten: cannot load {trained / 'model.safetensors'}: ")
    batten.save({"model": {}}, trained / "model.safetensors")
    assert "is not a model of batten train: KeyError: 'settings'" in batten_("evaluate", trained)[2][0]


# ---- batten predict ----


def test_predict(batten_, trained, tmp_path):
    """The pictures of the test part are told as they were, in all formats that lose nothing."""
    image = pytest.importorskip("PIL.Image")
    parts, _ = read("mnist", tmp_path / "data")
    classifier = Classifier.load(trained / "model.safetensors")
    expected = classifier.probabilities(parts.test.data[:4])
    files = []
    for number, suffix in enumerate([".png", ".bmp", ".npy", ".png"]):
        picture = parts.test.data[number, 0]
        files.append(tmp_path / f"{number}{suffix}")
        if suffix == ".npy":
            np.save(files[-1], picture[None])
        else:
            colour = number == 3
            image.fromarray(np.stack([picture] * 3, 2) if colour else np.ascontiguousarray(picture)).save(files[-1])
    code, lines, err = batten_("predict", trained, *files)
    assert (code, err) == (0, []) and len(lines) == 4
    for file, line, row in zip(files, lines, expected, strict=True):
        name, told = line.split("  ", 1)
        best = [f"{number} {100 * row[number]:.1f} %" for number in np.argsort(-row)[:3]]
        assert (name, told) == (str(file), ", ".join(best))
    assert batten_("predict", trained, "--threads=1", *files)[1] == lines


def test_predict_other_sizes(batten_, trained, tmp_path):
    """A picture three times as large, and a JPEG with an orientation."""
    image = pytest.importorskip("PIL.Image")
    parts, _ = read("mnist", tmp_path / "data")
    (picture,), (target,) = parts.test.data[0], parts.test.targets[:1]
    image.fromarray(np.kron(picture, np.ones((3, 3), np.uint8))).save(tmp_path / "large.png")
    turned = image.fromarray(np.ascontiguousarray(np.rot90(np.kron(picture, np.ones((4, 4), np.uint8)))))
    exif = image.Exif()
    exif[0x112] = 6  # to be turned clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    code, lines, err = batten_("predict", trained, tmp_path / "large.png", tmp_path / "turned.jpg")
    assert (code, err) == (0, [])
    assert [line.split("  ")[1].split()[0] for line in lines] == [str(target)] * 2


def test_predict_digits(batten_, tmp_path):
    """Their brightest value is 16, and that of files is 255."""
    pytest.importorskip("sklearn")
    image = pytest.importorskip("PIL.Image")
    batten_("train", "--model=mlp", "--epochs=2", "--out", tmp_path / "run")
    parts, _ = read("digits", ".")
    (picture,) = parts.test.data[0]
    image.fromarray((picture.astype(float) * 255 / 16).round().astype(np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", picture)
    code, lines, err = batten_("predict", tmp_path / "run", tmp_path / "a.png", tmp_path / "b.npy")
    assert (code, err) == (0, []) and lines[0].split("  ")[1] == lines[1].split("  ")[1]


def test_predict_what_is_no_picture(batten_, trained, tmp_path):
    """One line for each file, and the others are told."""
    image = pytest.importorskip("PIL.Image")
    good = tmp_path / "good.png"
    image.fromarray(np.zeros((40, 30), np.uint8)).save(good)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:50])
    (tmp_path / "text.png").write_text("a cat")
    np.save(tmp_path / "floats.npy", np.zeros((28, 28)))
    np.save(tmp_path / "many.npy", np.zeros((5, 1, 28, 28), np.uint8))
    np.save(tmp_path / "empty.npy", np.zeros((0, 28), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    names = ["cut.png", "text.png", "none.png", "floats.npy", "many.npy", "empty.npy", "objects.npy"]
    code, lines, err = batten_("predict", trained, *[tmp_path / name for name in names], good)
    assert code == 2 and [line.split("  ")[0] for line in lines] == [str(good)]
    assert len(err) == len(names) + 1 and err[-1] == "batten: 7 of 8 files could not be read"
    for name, line in zip(names, err, strict=False):
        assert line.startswith(f"batten: {tmp_path / name}: ") and len(line) < 200
    assert err[2].endswith("none.png: No such file or directory")
    assert err[3].endswith("expected an array of uint8, got float64")
    assert err[4].endswith("expected an image (H, W), (C, H, W) or (H, W, C), got [5, 1, 28, 28]")


# ---- the rest ----


def test_info(batten_):
    code, lines, err = batten_("info")
    assert (code, err) == (0, [])
    rows = {line[:16].strip(): line[17:] for line in lines}
    assert rows["batten"] == batten.__version__
    kernels = batten._kernels
    assert rows["instruction set"] == f"{kernels.isa()} (this processor runs {', '.join(kernels.isas())})"
    bounds = r"\(\d+ processors may be used, \d+ cores, (no quota|a quota of \d+)\)"
    assert re.fullmatch(f"{batten.get_num_threads()} {bounds}", rows["threads"])
    assert rows["OpenMP"] == (kernels.openmp() or "without OpenMP")
    assert re.match(r"[\d,]+ bytes in use, [\d,]+ at most, [\d,]+ held; [\d,]+ of [\d,]+ blocks", rows["memory pool"])
    assert rows["numpy"] == np.__version__
    assert {"scikit-learn", "matplotlib", "tqdm", "safetensors"} <= set(rows)


def test_without_a_command_there_is_help(batten_):
    code, lines, err = batten_()
    assert (code, err) == (0, []) and any("train" in line for line in lines)
    assert batten_("--help")[:2] == (0, lines)
    assert batten_("--version") == (0, [f"batten {batten.__version__}"], [])
    code, lines, err = batten_("train", "--help")
    listed = {word.rstrip(",") for line in lines for word in line.split() if word.startswith("--")}
    assert code == 0 and listed >= {"--data", "--root", "--model", "--epochs", "--batch-size", "--lr"}
    assert listed >= {"--weight-decay", "--dropout", "--threads", "--seed", "--out", "--resume", "--augment"}
    learning = "epochs 12, batch size 128, adam lr 0.001, weight decay 1e-05"
    assert f"  mnist, fashion-mnist, kmnist: mlp: layers 512-512, norm batch, dropout 0.4, {learning}" in lines
    code, lines, err = batten_("fly")
    assert code == 2 and len(err) == 1 and "invalid choice: 'fly'" in err[0]


def test_a_reader_that_has_seen_enough():
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", "info"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 1

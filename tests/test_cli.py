"""The command line, as a person sees it: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

import batten
from batten import cli, models
from batten.cli import learn
from batten.training import read

ACCURACY = re.compile(r"test accuracy (\d+\.\d) %")
FILES = ["checkpoint.safetensors", "curves.png", "history.json"]


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
    """The files of a run, of which the checkpoint's model has the accuracy that was reported."""
    assert sorted(p.name for p in folder.iterdir()) == FILES
    reported = ACCURACY.fullmatch(lines[-1])[1]
    history = json.loads((folder / "history.json").read_text())
    assert f"{100 * history['test']['accuracy']:.1f}" == reported
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = batten.load(folder / "checkpoint.safetensors")
    assert checkpoint["epoch"] == history["best_epoch"] <= len(history["epochs"])
    return checkpoint, history


def model_of(checkpoint):
    return getattr(models, checkpoint["settings"]["model"])(**checkpoint["architecture"])


def accuracy_of(checkpoint, dataset):
    model = model_of(checkpoint)
    model.load_state_dict(checkpoint["model"])
    with batten.no_grad():
        logits = model.eval()((dataset.data - checkpoint["mean"]) / checkpoint["std"])
    return (logits.argmax(1).numpy() == dataset.targets).mean()


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
    checkpoint, history = assert_run(tmp_path / "run", lines)
    assert history["test"]["accuracy"] > 0.9
    assert accuracy_of(checkpoint, read("digits", ".")[0].test) == history["test"]["accuracy"]
    optimizer = batten.optim.Adam(model_of(checkpoint).parameters())
    optimizer.load_state_dict(checkpoint["optimizer"])
    assert optimizer.param_groups[0]["lr"] == checkpoint["settings"]["lr"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(batten_, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    put_mnist(tmp_path / "mnist", suffix=suffix)
    train = ("train", "--data", "mnist", "--root", tmp_path, "--epochs", 2, "--out")
    code, lines, err = batten_(*train, tmp_path / "a")
    assert (code, err) == (0, [])
    assert lines[0] == "mnist: 225 images for train, 25 images for validation, 50 images for test"
    assert lines[1] == "there are no files for the test: 50 of the 300 images are held out for it"
    checkpoint, history = assert_run(tmp_path / "a", lines)
    assert history["test"]["accuracy"] > 0.9
    assert accuracy_of(checkpoint, read("mnist", tmp_path)[0].test) == history["test"]["accuracy"]

    put_mnist(tmp_path / "mnist", "t10k", 40, suffix)
    code, lines, err = batten_(*train, tmp_path / "b")
    assert (code, err) == (0, [])
    assert lines[0] == "mnist: 270 images for train, 30 images for validation, 40 images for test"
    assert not any("held out" in line for line in lines)
    assert_run(tmp_path / "b", lines)


def test_cifar10(batten_, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "cifar-10-batches-bin"
    put_cifar(folder)
    put_cifar(folder, "data_batch_2.bin.gz")
    put_cifar(folder, "test_batch.bin", 20)
    code, lines, err = batten_("train", "--data=cifar10", "--root", tmp_path, "--epochs=1", "--out", tmp_path / "run")
    assert (code, err) == (0, [])
    assert lines[0] == "cifar10: 216 images for train, 24 images for validation, 20 images for test"
    checkpoint, _ = assert_run(tmp_path / "run", lines)
    assert checkpoint["classes"][3] == "cat" and checkpoint["mean"].shape == (3, 1, 1)


@pytest.mark.parametrize(("data", "model"), [
    ("digits", "mlp"), ("mnist", "convnet"), ("mnist", "lenet5"), ("cifar10", "convnet"), ("cifar10", "alexnet"),
    ("cifar10", "vgg11"), ("cifar10", "resnet20"),
])  # fmt: skip
def test_models(data, model, batten_, tmp_path):
    pytest.importorskip("sklearn")
    put_mnist(tmp_path, count=80)
    put_cifar(tmp_path, count=80)
    train = ("train", "--data", data, "--model", model, "--root", tmp_path, "--epochs", 1)
    code, lines, err = batten_(*train, "--out", tmp_path / "run")
    assert (code, err) == (0, [])
    checkpoint = batten.load(tmp_path / "run" / "checkpoint.safetensors")
    count = sum(p.numel() for p in model_of(checkpoint).parameters())
    assert any(line.startswith(f"{model}: {count:,} parameters; ") for line in lines)
    assert f"{100 * accuracy_of(checkpoint, read(data, tmp_path)[0].test):.1f}" == ACCURACY.fullmatch(lines[-1])[1]


@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(model, batten_, mnist, tmp_path):
    def run(name, *options):
        code, lines, err = batten_(*mnist, "--model", model, "--out", tmp_path / name, *options)
        assert (code, err) == (0, [])
        history = json.loads((tmp_path / name / "history.json").read_text())
        machine = history.pop("machine")
        content = (tmp_path / name / "checkpoint.safetensors").read_bytes()
        return machine["threads"], (content, json.dumps(history), lines[-1])

    threads, one = run("one", "--threads", 1, "--seed", 3)
    assert threads == 1
    threads, two = run("two", "--threads", 2, "--seed", 3)
    assert threads == (2 if batten._kernels.openmp() else 1) and two == one
    batten.rand(5)
    assert run("again", "--threads", 3, "--seed", 3)[1] == one
    assert run("other", "--threads", 1, "--seed", 4)[1][0] != one[0]


def test_options_are_what_is_trained_with(batten_, mnist, tmp_path):
    options = {"batch_size": 50, "lr": 0.002, "weight_decay": 0.5, "dropout": 0.25, "seed": 7, "epochs": 1}
    line = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    code, _, _ = batten_(*mnist, *line, "--model", "mlp", "--out", tmp_path / "run")
    checkpoint = batten.load(tmp_path / "run" / "checkpoint.safetensors")
    assert code == 0 and options.items() <= checkpoint["settings"].items()
    group = checkpoint["optimizer"]["param_groups"][0]
    assert (group["lr"], group["weight_decay"]) == (0.002, 0.5)
    assert checkpoint["architecture"]["dropout"] == 0.25
    assert checkpoint["optimizer"]["state"][0]["step"].item() == 225 // 50


def test_runs_have_folders_of_their_own(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        _, lines, _ = batten_(*mnist, "--epochs", 1)
        assert lines[-2].startswith(f"runs/mnist-mlp-{number}: checkpoint.safetensors, history.json")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["mnist-mlp-1", "mnist-mlp-2"]


def test_without_matplotlib_there_is_no_picture(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, lines, err = batten_(*mnist, "--out", tmp_path / "run")
    assert (code, err) == (0, [])
    assert "no picture of the curves, as matplotlib is not installed: pip install 'batten[labs]'" in lines
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.safetensors", "history.json"]


def test_ctrl_c_keeps_the_best_weights(mnist, tmp_path):
    process = start(*mnist, "--epochs", 10**9, "--out", tmp_path / "run")
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    lines += out.splitlines()
    assert (process.returncode, err) == (0, "")
    assert "stopped by Ctrl-C; the best weights so far are kept" in lines
    assert ACCURACY.fullmatch(lines[-1])
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history["epochs"]) == sum(line.startswith("epoch") for line in lines) < 1000
    checkpoint = batten.load(tmp_path / "run" / "checkpoint.safetensors")
    assert accuracy_of(checkpoint, read("mnist", mnist[4])[0].test) == history["test"]["accuracy"]


def test_a_second_ctrl_c_does_not_wait():
    with cli.interruptible() as stopped:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            stopped.clear()
            stopped.wait(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_there_is_anything_to_keep(batten_, mnist, tmp_path, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_parts", interrupted)
    assert batten_(*mnist, "--out", tmp_path / "run") == (130, [], ["batten: interrupted"])
    assert not (tmp_path / "run").exists()


def test_the_bar_on_a_terminal_shows_loss_accuracy_and_speed(mnist, tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))  # a new one has no columns, and a bar that fits in them is empty
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
    assert re.search(rb"epoch 1/2: .* images/s, loss \d\.\d{4}, accuracy \d+\.\d %\]", shown)


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
        (["--root", "/no/where"], "in /no/where or /no/where/mnist or /no/where/MNIST/raw; --root DIR says where they"),
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(batten_, mnist, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    code, _, err = batten_(*mnist, "--out", tmp_path / "locked")
    assert code == 2 and len(err) == 1 and "Permission denied" in err[0]


def test_a_disk_that_is_full_at_the_end(batten_, mnist, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli.Training, "save", full)
    code, _, err = batten_(*mnist, "--out", tmp_path / "run")
    assert code == 2
    assert err == [
        f"batten: cannot write into {tmp_path / 'run'} (No space left on device); --out DIR names another folder"
    ]
    assert not (tmp_path / "run").exists()


def test_a_folder_that_vanishes(batten_, mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "learn", lambda training, stopped: (learn(training, stopped), (tmp_path / "run").rmdir()))
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
        r"batten: the loss became (nan|inf) in epoch \d+, at a learning rate of 1e\+30; try a smaller --lr", err[0]
    )
    assert not (tmp_path / "run").exists() and not any("test accuracy" in line for line in lines)


# ---- the rest ----


def test_info(batten_):
    code, lines, err = batten_("info")
    assert (code, err) == (0, [])
    rows = {line[:16].strip(): line[17:] for line in lines}
    assert rows["batten"] == batten.__version__
    kernels = batten._kernels
    assert rows["instruction set"] == f"{kernels.isa()} (this processor runs {', '.join(kernels.isas())})"
    assert re.fullmatch(
        rf"{batten.get_num_threads()} \(\d+ processors may be used, \d+ cores, (no quota|a quota of \d+)\)", rows["threads"]
    )
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
    assert listed >= {"--weight-decay", "--dropout", "--threads", "--seed", "--out"}
    assert "  mnist, mlp: layers 512-512, epochs 12, batch size 128, lr 0.001, weight decay 1e-05, dropout 0.4" in lines
    assert "  mnist, lenet5: epochs 8, batch size 64, lr 0.001, weight decay 1e-05, dropout 0" in lines
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

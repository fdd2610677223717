"""`batten train`: a model learns, and is kept."""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..callbacks import Callback
from ..checkpoint import files
from ..history import History
from ..run import Run
from ..serialization import load, write
from ..training import (
    AUGMENTATIONS,
    OPTIMIZERS,
    PENALTIES,
    RECIPES,
    SCHEDULES,
    Parts,
    Settings,
    Training,
    lengthened,
    settled,
)  # fmt: skip
from .options import (
    UserError,
    add_threads,
    from_zero,
    names_of,
    one_of,
    percent,
    positive,
    progress_bar,
    seed,
    share,
    terms_of,
    whole,
)  # fmt: skip
from .runs import CHECKPOINTS, MODEL, Begun, cannot_write, read_parts, run_folder

__all__ = ["add_train"]

RESUMED = ("epochs", "threads", "root")  # what may be said beside --resume


def add_train(commands: Any) -> None:
    """The command, among others."""
    parser = commands.add_parser(
        "train",
        help="train a model, and report its accuracy on pictures that it has not seen",
        description="Train a model, and report its accuracy on pictures that it has not seen.",
        epilog="unless told otherwise, with the first model of each data set being its usual one:\n" + recipes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what was not said is not there
        allow_abbrev=False,
    )
    parser.set_defaults(command=run_training)
    data, model = [list(dict.fromkeys(column)) for column in zip(*RECIPES, strict=True)]

    group = parser.add_argument_group("the pictures")
    group.add_argument(
        "--data", choices=data, metavar="NAME", help=f"the data set: {', '.join(data)} (default: digits)"
    )
    group.add_argument("--root", metavar="DIR", help="where its files are (default: .)")
    group.add_argument("--download", action="store_true", help="fetch those files that are not there")
    group.add_argument(
        "--augment", type=names_of(AUGMENTATIONS), metavar="LIST",
        help=f"what is done to pictures that are learned from: of {','.join(AUGMENTATIONS)}; or none",
    )  # fmt: skip

    group = parser.add_argument_group("the model")
    group.add_argument(
        "--model", choices=model, metavar="NAME", help=f"what learns: of {', '.join(model)} those that fit, see below"
    )
    group.add_argument(
        "--norm", type=one_of(["batch", "group", "layer"]), metavar="KIND", help="batch, group, layer or none"
    )
    group.add_argument("--dropout", type=share, metavar="P", help="the probability to drop a value")

    group = parser.add_argument_group("the learning")
    group.add_argument("--epochs", type=whole(1), metavar="N", help="how often each picture is learned from")
    group.add_argument("--batch-size", type=whole(2), metavar="N", help="how many pictures make one step")
    group.add_argument("--optimizer", choices=list(OPTIMIZERS), metavar="NAME", help=", ".join(OPTIMIZERS))
    group.add_argument("--lr", type=positive, metavar="X", help="the optimizer's learning rate")
    group.add_argument(
        "--scheduler", type=one_of(SCHEDULES), metavar="NAME", help=f"how that changes: {', '.join(SCHEDULES)} or none"
    )
    group.add_argument("--weight-decay", type=from_zero, metavar="X", help="the optimizer's weight decay")
    group.add_argument(
        "--penalty", dest="penalties", type=terms_of(PENALTIES), action="extend", metavar="NAME=X",
        help=f"what is added to the loss, such as l1=1e-5: of {', '.join(PENALTIES)}; may be given several times",
    )  # fmt: skip
    group.add_argument("--max-norm", type=positive, metavar="C", help="the largest norm of the weights of a unit")
    group.add_argument(
        "--early-stopping", type=whole(1), metavar="PATIENCE", help="end after so many epochs that were no better"
    )
    group.add_argument(
        "--reuse-validation", nargs="?", const="retrain", choices=["retrain", "continue"],
        help="in the end learn from the validation pictures, too: begin anew (retrain), or go on (continue)",
    )  # fmt: skip
    group.add_argument("--seed", type=seed, metavar="N", help="the same seed gives the same result (default: 0)")

    group = parser.add_argument_group("the run")
    add_threads(group)
    group.add_argument("--out", metavar="DIR", help="the folder for what is written (default: a new one in runs)")
    group.add_argument(
        "--resume", metavar="RUN", help="go on with the run of that folder; beside it there may be more --epochs"
    )


def recipes() -> str:
    """All recipes, with those that differ in nothing but their names in one line."""
    alike: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for (data, model), settings in RECIPES.items():
        for names, name in zip(alike.setdefault(str(settings), ({}, {})), (data, model), strict=True):
            names[name] = None
    return "\n".join(f"  {', '.join(data)}: {', '.join(model)}: {line}" for line, (data, model) in alike.items())


def run_training(options: argparse.Namespace) -> None:
    if "threads" in options:
        kernels.set_num_threads(options.threads)
    if "resume" in options:
        go_on(options)
        return
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    if "penalties" in given:
        given["penalties"] = tuple(given["penalties"])
    try:
        settings = settled(**{"data": "digits", **given})
    except ValueError as error:
        raise UserError(str(error)) from None
    root = os.path.abspath(getattr(options, "root", "."))
    parts = read_parts(settings.data, root, "download" in options)
    with run_folder(getattr(options, "out", None), f"{settings.data}-{settings.model}") as folder:
        learn(folder, Begun(settings, root, parts.sizes()), parts)


def go_on(options: argparse.Namespace) -> None:
    """Takes up the run of a folder."""
    folder = Path(options.resume)
    others = [name for name in vars(options) if name not in ("command", "resume", *RESUMED)]
    if others:
        named = ", ".join("--" + name.replace("penalties", "penalty").replace("_", "-") for name in others)
        raise UserError(f"--resume takes all else from the run; leave out {named}")
    begun = Begun.read(folder)
    begun.root = os.path.abspath(getattr(options, "root", begun.root))
    try:
        found = files(folder / CHECKPOINTS)
        state = load(found[-1]) if found else None
        begun.settings = lengthened(begun.settings, getattr(options, "epochs", begun.settings.epochs), state)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot go on with {folder}: {error}") from None
    parts = read_parts(begun.settings.data, begun.root)
    if parts.sizes() != begun.images:
        before = ", ".join(f"{size:,} for {name}" for name, size in begun.images.items())
        raise UserError(f"cannot go on with {folder}: it began with other pictures, {before}")
    learn(folder, begun, parts, state)


def learn(folder: Path, begun: Begun, parts: Parts, state: dict[str, Any] | None = None) -> None:
    """Begins, or goes on from the state of a checkpoint; and writes what comes of it."""
    settings = begun.settings
    try:
        training = Training(settings, parts)
    except ValueError as error:  # a norm that the model's channels do not allow
        raise UserError(str(error)) from None
    describe(training)
    try:
        begun.write(folder)
        history = training.fit(folder / CHECKPOINTS, [report := Report()], state)
        if not report.steps:
            print(f"there was nothing left to do: the run has ended ({history.ended})")
        conclude(history)
        test = training.classifier.score(parts.test)
        names = keep(folder, training, history, test._asdict())
    except FloatingPointError as error:
        raise UserError(f"{error}; try a smaller --lr") from None
    except MemoryError:
        raise UserError(f"there is not enough memory; try a --batch-size below {settings.batch_size}") from None
    except ValueError as error:
        if state is None:
            raise
        raise UserError(f"cannot go on with {folder}: {error}") from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    print(f"{folder}: {', '.join(names)}")
    if history.ended == "Ctrl-C":
        print(f"stopped by Ctrl-C; batten train --resume {folder} goes on")
    print(f"test accuracy {percent(test.accuracy)}")


def describe(training: Training) -> None:
    count = sum(p.numel() for p in training.classifier.model.parameters())
    threads = kernels.get_num_threads()
    print(
        f"{training.settings.model}: {count:,} parameters; "
        f"{kernels.isa()}, {threads} thread{'s' if threads > 1 else ''}",
    )
    print(training.settings, flush=True)


class Report(Callback):
    """A line for each epoch, and a bar while it goes on."""

    def __init__(self) -> None:
        self.steps = 0
        self.bar: Any = None

    def begin(self, run: Run) -> None:
        """What is said before the first step of an epoch, or before the next one where a run goes on."""
        if run.phase != "train" and run.epoch == run.epochs_before + 1:
            print(beginning(run), flush=True)
        loader = run.loaders[0]
        self.bar = progress_bar(len(loader) * loader.batch_size, label(run), " images")
        self.sums = np.zeros(3)  # of images, losses and hits

    def on_step_end(self, run: Run) -> None:
        if self.bar is None:
            self.begin(run)
        self.steps += 1
        row = run.record
        self.sums += row["images"] * np.array([1, row["loss"], row["accuracy"]])
        images, loss, accuracy = self.sums
        self.bar.set_postfix_str(f"loss {loss / images:.4f}, accuracy {percent(accuracy / images)}", refresh=False)
        self.bar.update(row["images"])

    def on_epoch_end(self, run: Run) -> None:
        self.close()
        row = run.record
        validation = ""
        if "validation_loss" in row:
            validation = (
                f"  validation loss {row['validation_loss']:.4f}  accuracy {percent(row['validation_accuracy'])}"
            )
        print(
            f"{label(run)}  loss {row['loss']:.4f}  accuracy {percent(row['accuracy'])}{validation}"
            f"  {row['images_per_second']:,.0f} images/s",
            flush=True,
        )

    def on_fit_end(self, run: Run) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def label(run: Run) -> str:
    """Which epoch it is, and of how many if that is known."""
    if run.phase == "continue":
        return f"epoch {run.epoch}"
    total = run.epochs if run.phase == "train" else run.epochs_before + (run.history.best_epoch or 0)
    return f"epoch {run.epoch:{len(str(total))}}/{total}"


def beginning(run: Run) -> str:
    best = f"epoch {run.history.best_epoch} was best"
    if run.phase == "retrain":
        return f"{best}: training again from the start, with the validation images, for as many epochs"
    return f"{best}: going on from there with the validation images, until their loss is {run.history.target:.4f}"


def reused(history: History) -> bool:
    """Whether the weights are what learning from the validation data, too, has led to, and not the best epoch's."""
    return history.reused_after is not None and history.ended != "Ctrl-C"


def conclude(history: History) -> None:
    """Says which weights they are that are kept."""
    if reused(history):
        if history.target_reached is False:
            print(f"the validation loss did not get down to {history.target:.4f}")
        print(f"the weights are those of epoch {len(history.epochs)}, the last one")
    elif history.best_epoch is None:
        print("no epoch has ended: the weights are those of the last step")
    else:
        row = history.epochs[history.best_epoch - 1]
        print(
            f"best epoch {history.best_epoch}: "
            f"validation loss {row['validation_loss']:.4f}, accuracy {percent(row['validation_accuracy'])}"
        )


def keep(folder: Path, training: Training, history: History, test: dict[str, float]) -> list[str]:
    """Writes model, history and curves, and returns the names of the files."""
    training.classifier.save(folder / MODEL, len(history.epochs) if reused(history) else history.best_epoch)
    result = {
        "test": test,
        "best_epoch": history.best_epoch,
        "ended": history.ended,
        "instruction_set": kernels.isa(),
        "threads": kernels.get_num_threads(),
    }
    contents = {"history.json": history.to_json(), "result.json": json.dumps(result, indent=1)}
    for name, text in contents.items():
        write(folder / name, text.encode())
    names = [MODEL, *contents]
    if history.epochs and (picture := curves(history)):
        write(folder / "curves.png", picture)
        names.append("curves.png")
    return names


def curves(history: History) -> bytes | None:
    """Loss and accuracy over the epochs, as a PNG file; None, and why, where matplotlib cannot be imported."""
    try:
        figure = history.plot("loss", "accuracy")
    except ImportError:
        print("no picture of the curves, as matplotlib is not installed: pip install 'batten[labs]'")
        return None
    except ValueError as error:  # of MPLBACKEND, which a notebook sets for the commands that it starts
        print(f"no picture of the curves: {error}")
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()

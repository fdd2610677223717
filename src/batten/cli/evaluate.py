"""`batten evaluate`: how good a trained model is, in all and class by class."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import _kernels as kernels
from ..datasets import ImageDataset
from ..training import SIZES, Classifier, Parts
from ..training.classifier import score
from .options import UserError, add_threads, percent
from .runs import SETTINGS, Begun, classifier_of, read_parts

__all__ = ["add_evaluate"]


def add_evaluate(commands: Any) -> None:
    """The command, among others."""
    what = "measure loss and accuracy of a trained model, and the accuracy of each class"
    parser = commands.add_parser("evaluate", help=what, description=what.capitalize() + ".", allow_abbrev=False)
    parser.set_defaults(command=run_evaluation)
    parser.add_argument("run", metavar="RUN", help="the folder that batten train has written")
    parser.add_argument("--data", choices=list(SIZES), help="the data set (default: the one it was trained with)")
    parser.add_argument("--root", metavar="DIR", help="where its files are (default: where they were in training)")
    parser.add_argument("--part", choices=Parts._fields, default="test", help="which part of it (default: test)")
    add_threads(parser)


def run_evaluation(options: argparse.Namespace) -> None:
    if options.threads:
        kernels.set_num_threads(options.threads)
    folder = Path(options.run)
    classifier = classifier_of(folder)
    data = options.data or classifier.settings.data
    root = options.root or (Begun.read(folder).root if (folder / SETTINGS).exists() else os.curdir)
    pictures = getattr(read_parts(data, root), options.part)
    check(classifier, pictures, data)
    logits = classifier.logits(pictures.data)
    loss, accuracy = score(logits, pictures.targets)
    print(table(confusion(pictures.targets, logits.argmax(1), len(pictures.classes)), pictures.classes))
    print(f"{options.part} loss {loss:.4f}")
    print(f"{options.part} accuracy {percent(accuracy)}")


def check(classifier: Classifier, pictures: ImageDataset, data: str) -> None:
    """Refuses pictures, or classes, other than those that the model knows."""
    size = pictures.data.shape[1:]
    if size != classifier.size:
        raise UserError(f"the model takes pictures {list(classifier.size)}, and those of {data} are {list(size)}")
    if pictures.classes != classifier.classes:
        known, others = (", ".join(classes[:3]) for classes in (classifier.classes, pictures.classes))
        raise UserError(f"the model knows the classes {known} …, and those of {data} are {others} …")


def confusion(targets: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """How many pictures of class i were taken for class j, (classes, classes)."""
    return np.bincount(targets * classes + found, minlength=classes**2).reshape(classes, classes)


def table(counts: np.ndarray, classes: list[str]) -> str:
    """A row for each class: its name, how many pictures it has, its accuracy, and what it is taken for most often."""
    width = max(map(len, [*classes, "class"]))
    lines = [f"{'class':{width}}  images  accuracy  most often taken for"]
    for number, (name, row) in enumerate(zip(classes, counts, strict=True)):
        wrong = row.copy()
        wrong[number] = 0
        share = percent(row[number] / row.sum()) if row.sum() else "none"
        taken = f"{classes[wrong.argmax()]} ({wrong.max():,})" if wrong.any() else ""
        lines.append(f"{name:{width}}  {row.sum():6,}  {share:>8}  {taken}".rstrip())
    return "\n".join(lines)

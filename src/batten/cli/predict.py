"""`batten predict`: what a trained model takes pictures for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import _kernels as kernels
from ..training import Classifier
from ..transforms import Resize
from .options import UserError, add_threads, percent
from .runs import classifier_of

__all__ = ["add_predict"]

SHOWN = 3  # classes of each picture


def add_predict(commands: Any) -> None:
    """The command, among others."""
    parser = commands.add_parser(
        "predict",
        help="tell what a trained model takes pictures for",
        description="Tell what a trained model takes pictures for: for each the most probable classes. "
        "Pictures are made grey or coloured, and as small, as the model's are. Of files .npy the bytes (H, W), "
        "(C, H, W) or (H, W, C) are taken as they are.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=run_prediction)
    parser.add_argument("run", metavar="RUN", help="the folder that batten train has written")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file: PNG, JPEG or another format, or .npy")
    add_threads(parser)


def run_prediction(options: argparse.Namespace) -> None:
    """All files that can be read are told of, and the others are told of on stderr."""
    if options.threads:
        kernels.set_num_threads(options.threads)
    classifier = classifier_of(Path(options.run))
    failed = 0
    for name in options.images:
        try:
            image = read_image(Path(name), classifier.size[0])
            picture = fitted(image, classifier, as_it_is=is_array(Path(name)))
        except UnreadableError as error:
            print(f"batten: {name}: {error}", file=sys.stderr)
            failed += 1
        else:
            print(f"{name}  {told(classifier, picture)}")
    if failed:
        raise UserError(f"{failed} of {len(options.images)} files could not be read")


class UnreadableError(Exception):
    """What is wrong with a file."""


def told(classifier: Classifier, picture: np.ndarray) -> str:
    """The most probable classes of a picture (1, C, H, W), the first one first."""
    (probabilities,) = classifier.probabilities(picture)
    best = np.argsort(-probabilities, kind="stable")[:SHOWN]
    return ", ".join(f"{classifier.classes[number]} {percent(probabilities[number])}" for number in best)


def fitted(image: np.ndarray, classifier: Classifier, as_it_is: bool) -> np.ndarray:
    """An image (C, H, W) as the model's pictures are: as large, and as bright unless it is taken as it is."""
    picture = Resize(classifier.size[1:])(image)[None]
    if as_it_is or classifier.brightest == 255:
        return picture
    return (picture * (classifier.brightest / 255)).round().astype(np.uint8)


def read_image(path: Path, channels: int) -> np.ndarray:
    """The bytes (channels, H, W) of a file."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UserError("pictures take Pillow, which is not installed: pip install 'batten[labs]'") from None
    mode = {1: "L", 3: "RGB"}[channels]
    try:
        with open(path, "rb") as file:
            image = Image.fromarray(array_of(file)) if is_array(path) else ImageOps.exif_transpose(Image.open(file))
            pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace(f" {file!r}", "")
        raise UnreadableError(" ".join(reason.split())) from None
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def is_array(path: Path) -> bool:
    return path.suffix == ".npy"


def array_of(file: BinaryIO) -> np.ndarray:
    """The bytes (H, W) or (H, W, 3) of an array in a file."""
    array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise ValueError(f"expected an array of uint8, got {getattr(array, 'dtype', 'several')}")
    if array.ndim == 3 and array.shape[0] in (1, 3):  # (C, H, W)
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"expected an image (H, W), (C, H, W) or (H, W, C), got {list(array.shape)}")
    return np.ascontiguousarray(array)

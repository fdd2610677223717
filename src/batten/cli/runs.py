"""The folder of a run, and the pictures of one."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..checkpoint import files
from ..serialization import CheckpointError, write
from ..training import Classifier, Parts, Settings, read
from .options import UserError

__all__ = ["CHECKPOINTS", "MODEL", "SETTINGS", "Begun", "cannot_write", "classifier_of", "read_parts", "run_folder"]

SETTINGS = "settings.json"  # how the run began
CHECKPOINTS = "checkpoints"  # how far it is
MODEL = "model.safetensors"  # what has come of it


class Begun:
    """How a run began: its settings, where its pictures were, and how many there were in each part."""

    def __init__(self, settings: Settings, root: str, images: dict[str, int]) -> None:
        self.settings, self.root, self.images = settings, root, images

    def write(self, folder: Path) -> None:
        """Puts it into the run's folder."""
        write(folder / SETTINGS, json.dumps({**vars(self), "settings": asdict(self.settings)}, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Begun:
        """What is in a run's folder; UserError if it is none."""
        try:
            begun = json.loads((folder / SETTINGS).read_bytes())
            settings: dict[str, Any] = {
                name: tuple(x) if isinstance(x, list) else x for name, x in begun.pop("settings").items()
            }
            return cls(Settings(**settings), **begun)
        except OSError as error:
            raise UserError(f"{folder} is not the folder of a run: {SETTINGS}: {error.strerror}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / SETTINGS} is not what batten train writes ({error})") from None


def read_parts(data: str, root: str, download: bool = False) -> Parts:
    """The pictures, and a word on where the test part comes from."""
    try:
        parts, held_out = read(data, root, download)
    except FileNotFoundError as error:
        raise UserError(f"{for_the_user(error)}; --root DIR says where they are") from None
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UserError(for_the_user(error)) from None
    sizes = parts.sizes()
    print(f"{data}: {', '.join(f'{size:,} images for {name}' for name, size in sizes.items())}")
    if held_out:
        total = sum(sizes.values())
        print(f"there are no files for the test: {sizes['test']:,} of the {total:,} images are held out for it")
    return parts


def for_the_user(error: Exception) -> str:
    """What went wrong, in one line and in terms of the command line."""
    return " ".join(str(error).replace("download=True", "--download").split())


def classifier_of(folder: Path) -> Classifier:
    """What a run has learned."""
    try:
        return Classifier.load(folder / MODEL)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        hint = f"; batten train --resume {folder} goes on with it" if (folder / SETTINGS).exists() else ""
        raise UserError(f"{folder} has no trained model ({MODEL}: {error.strerror}){hint}") from None


@contextlib.contextmanager
def run_folder(out: str | None, name: str) -> Iterator[Path]:
    """The folder for a run's files: the given one, or a new one, runs/name-1, runs/name-2, …

    That it can be written is found out before the work, not after; and a folder that was made
    for a run of which nothing came is taken away again.
    """
    folder, made = Path(out or "runs"), False
    try:
        if out:
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder, made = new_folder(folder, name), True
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from None
    if (folder / SETTINGS).exists():
        raise UserError(f"{folder} has a run in it: --resume {folder} goes on with it, --out DIR names another folder")
    try:
        yield folder
    finally:
        if not files(folder / CHECKPOINTS):
            (folder / SETTINGS).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # there is something in it
                (folder / CHECKPOINTS).rmdir()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def new_folder(parent: Path, name: str) -> Path:
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):  # someone else's run
            (parent / f"{name}-{number}").mkdir(parents=True)
            break
    return parent / f"{name}-{number}"


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error, and what can be done about it."""
    there = files(folder / CHECKPOINTS)
    remedy = f"batten train --resume {folder} goes on when it can be" if there else "--out DIR names another folder"
    return UserError(f"cannot write into {folder} ({error.strerror}); {remedy}")

"""A model that tells pictures apart, with all that it takes to use it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import models
from ..autograd import no_grad
from ..creation import from_numpy
from ..datasets import ImageDataset
from ..metrics import accuracy
from ..nn import Module
from ..nn.functional import cross_entropy, softmax
from ..nn.modes import modes_kept
from ..serialization import CheckpointError, load, save
from ..transforms import Normalize
from .settings import RECIPES, Settings

__all__ = ["EVALUATED", "Classifier", "Score"]

EVALUATED = 250  # pictures at a time where nothing is learned


class Score(NamedTuple):
    loss: float
    accuracy: float


@dataclass(eq=False)
class Classifier:
    """What pictures (N, C, H, W) of bytes 0 … brightest are turned into, and by what."""

    model: Module
    architecture: dict[str, Any]  # model = getattr(batten.models, settings.model)(**architecture)
    normalize: Normalize
    size: tuple[int, ...]  # (C, H, W)
    brightest: int
    classes: list[str]
    settings: Settings

    @no_grad()
    def logits(self, pictures: np.ndarray) -> np.ndarray:
        """The model's results (N, classes) for pictures (N, C, H, W), in evaluation mode."""
        with modes_kept(self.model):
            self.model.eval()
            pieces = [pictures[start : start + EVALUATED] for start in range(0, len(pictures), EVALUATED)]
            return np.concatenate([self.model(from_numpy(self.normalize(piece))).array for piece in pieces])

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """How probable each class is, (N, classes)."""
        return softmax(from_numpy(self.logits(pictures)), 1).array

    def score(self, pictures: ImageDataset) -> Score:
        """The mean loss, and the share of pictures told right."""
        return score(self.logits(pictures.data), pictures.targets)

    def save(self, path: str | os.PathLike[str], epoch: int | None = None) -> None:
        """Writes a file of all this, the same for any number of threads; `epoch` is that of the weights.

        saved = batten.load("model.safetensors")
        model = getattr(batten.models, saved["settings"]["model"])(**saved["architecture"])
        model.load_state_dict(saved["model"])
        normalize = batten.transforms.Normalize(saved["mean"], saved["std"])
        logits = model.eval()(normalize(pictures))
        """
        content = {
            "model": self.model.state_dict(),
            "architecture": self.architecture,
            "mean": self.normalize.mean,
            "std": self.normalize.std,
            "size": self.size,
            "brightest": self.brightest,
            "classes": self.classes,
            "settings": asdict(self.settings),
            "epoch": epoch,
        }
        save(content, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Classifier:
        """The classifier that `save` wrote.  CheckpointError if the file is something else."""
        saved = load(path)
        try:
            settings = Settings(**saved["settings"])
            if settings.model not in {model for _, model in RECIPES}:
                raise ValueError(f"there is no model {settings.model!r}")
            model = getattr(models, settings.model)(**saved["architecture"])
            model.load_state_dict(saved["model"])
            normalize = Normalize(saved["mean"], saved["std"])
            others = {name: saved[name] for name in ("architecture", "size", "brightest", "classes")}
            return cls(model=model, normalize=normalize, settings=settings, **others)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{os.fspath(path)} is not a model of batten train: {type(error).__name__}: {error}"
            ) from None


def score(logits: np.ndarray, targets: np.ndarray) -> Score:
    """The mean loss of logits (N, classes) for targets (N,), and the share of them that is right."""
    with no_grad():
        return Score(cross_entropy(from_numpy(logits), from_numpy(targets)).item(), accuracy(logits, targets))

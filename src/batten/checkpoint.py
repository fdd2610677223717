"""The file of a whole run, from which it goes on as if nothing had happened, bit by bit.

It is a dict, written by `batten.save` and read by `batten.load`:

    model, optimizer    their state_dicts
    scheduler           its own, or None
    rng, generators     the state of the default generator, and the `generators_state` of the model
    loaders             the state_dicts of the loaders that are learned from and validated with; None of one without
    callbacks           [name of the class, state_dict] of each that has one
    history             all steps and epochs so far, which also say where in an epoch it is
    reuse, initial      reuse_validation; and how everything was at the beginning, where "retrain" is to go back
    phase, stopped      "train", or how validation data is being reused now; and why a callback has ended that, or None

A loader without a state_dict is walked through anew after a breakdown, up to the batch that is next.  One that
has a state_dict is to go on by itself: its next iteration is of what was left of the epoch in which the state was
taken, which is nothing after its last batch, until the loop over it has ended; from then on, it is of the next epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import serialization
from .nn.generators import generators_state, load_generators_state
from .random import get_rng_state, set_rng_state
from .serialization import CheckpointError

if TYPE_CHECKING:
    from .run import Run

__all__: list[str] = []


def state(run: Run) -> dict[str, Any]:
    """All that a run depends on.  Its tensors are those of the run: later steps change them."""
    return {
        **run.parts(),
        "rng": get_rng_state(),
        "generators": generators_state(run.model),
        "loaders": places(run.loaders),
        "callbacks": [
            [type(callback).__name__, found] for callback in run.callbacks if (found := callback.state_dict())
        ],
        "history": run.history.state_dict(),
        "reuse": run.reuse,
        "phase": run.phase,
        "stopped": run.stopped,
        "initial": run.initial,
    }


def save(run: Run, path: str | os.PathLike[str]) -> None:
    """Writes the state of a run into a file, as a whole or not at all."""
    serialization.save(state(run), path)


def resume(run: Run, source: dict[str, Any] | str | os.PathLike[str]) -> None:
    """Puts a run where another one was: `source` is its state, a file of it, or the folder of a `Checkpoint`.

    FileNotFoundError if there is none; CheckpointError if it is something else; ValueError if it is that of a run that
    was called otherwise.
    """
    if not isinstance(source, dict):
        source = serialization.load(newest(source) if os.path.isdir(source) else source)
    if not isinstance(source, dict) or (missing := KEYS - set(source)):
        what = f"it has no {', '.join(sorted(missing))}" if isinstance(source, dict) else "it is no dict"
        raise CheckpointError(f"cannot resume from what is not the state of a run: {what}")
    if source["reuse"] != run.reuse:
        raise ValueError(f"cannot resume a run of reuse_validation={source['reuse']!r} with {run.reuse!r}")
    callbacks = paired(run, source["callbacks"])
    run.phase, run.stopped, run.initial = source["phase"], source["stopped"], source["initial"]
    run.restore(source)
    run.history.load_state_dict(source["history"])
    load_places(run.loaders, source["loaders"])
    for callback, found in callbacks:
        callback.load_state_dict(found)
    # Last of all, as what is above may have drawn.
    load_generators_state(run.model, source["generators"])
    set_rng_state(source["rng"])


KEYS = {
    *("model", "optimizer", "scheduler", "rng", "generators", "loaders", "callbacks", "history"),
    *("reuse", "initial", "phase", "stopped"),
}


def paired(run: Run, states: list[Any]) -> list[tuple[Any, Any]]:
    """The callbacks of a run with their states: the first one of a class has the first state of that class."""
    waiting, pairs = list(run.callbacks), []
    for name, found in states:
        callback = next((callback for callback in waiting if type(callback).__name__ == name), None)
        if callback is None:
            raise ValueError(f"cannot resume a run that had a callback {name} without one: give it the same callbacks")
        waiting.remove(callback)
        pairs.append((callback, found))
    return pairs


# ---- loaders ----


def keeps_place(loader: Any) -> bool:
    """Whether a loader can say where it is."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def places(loaders: Sequence[Any]) -> list[Any]:
    """The states of those loaders that have one."""
    return [loader.state_dict() if keeps_place(loader) else None for loader in loaders]


def load_places(loaders: Sequence[Any], states: Sequence[Any]) -> None:
    """Puts loaders where their states say."""
    for loader, found in zip(loaders, states, strict=True):
        if found is not None:
            loader.load_state_dict(found)


def rest(loader: Any, seen: int) -> Iterator[Any]:
    """The batches of an epoch of which some have been seen already."""
    return iter(loader) if keeps_place(loader) else islice(loader, seen, None)


# ---- files of a folder ----


def path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09}.safetensors"


def files(folder: Path) -> list[Path]:
    """The files of all steps, in their order."""
    return sorted(folder.glob("step-*.safetensors"))


def newest(folder: str | os.PathLike[str]) -> Path:
    """The file of the last step."""
    if not (found := files(Path(folder))):
        raise FileNotFoundError(f"there is no checkpoint in {os.fspath(folder)}")
    return found[-1]

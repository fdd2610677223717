"""The file of a whole run, from which it goes on as if nothing had happened, bit by bit.

It is a dict, written by `batten.save` and read by `batten.load`:

    format              of this dict, which is 1
    versions            of batten, NumPy and Python
    instruction_set     of the kernels
    model, optimizer    their state_dicts
    scheduler           its own, or None
    rng, generators     the state of the default generator, and the `generators_state` of the model
    loaders             the state_dicts of the loaders that are learned from and validated with; None of one without
    callbacks           [name of the class, state_dict] of each that has one
    history             all steps and epochs so far, which also say where in an epoch it is
    reuse, initial      reuse_validation; and how everything was at the beginning, where "retrain" is to go back
    phase, stopped      "train", or how validation data is being reused now; and why a callback has ended that, or None

A run that is resumed is called as it was before, and then everything in the file has the keys, types and shapes of what
is there.  Whatever has not is refused, by an error that says which entry, and then nothing has been changed.

A loader without a state_dict is walked through anew after a breakdown, up to the batch that is next.  One that
has a state_dict is to go on by itself: its next iteration is of what was left of the epoch in which the state was
taken, which is nothing after its last batch, until the loop over it has ended; from then on, it is of the next epoch.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels as kernels
from . import serialization
from .autograd import Variable
from .nn.generators import load_generators_state
from .nn.kinds import typename
from .random import set_rng_state
from .serialization import CheckpointError
from .states import NONE, check_alike, check_entries, check_keys, described

if TYPE_CHECKING:
    from pathlib import Path

    from .history import History
    from .run import Run

__all__: list[str] = []

FORMAT = 1


def state(run: Run) -> dict[str, Any]:
    """All that a run depends on.  Its tensors are those of the run: later steps change them."""
    return {
        "format": FORMAT,
        "versions": versions(),
        "instruction_set": kernels.isa(),
        **run.parts(),
        **run.draws(),
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


@cache  # as a version takes milliseconds to find out
def versions() -> dict[str, str]:
    from . import __version__

    return {"batten": __version__, "NumPy": np.__version__, "Python": platform.python_version()}


def save(run: Run, path: str | os.PathLike[str]) -> None:
    """Writes the state of a run into a file, as a whole or not at all."""
    serialization.save(state(run), path)


def resume(run: Run, source: dict[str, Any] | str | os.PathLike[str]) -> None:
    """Puts a run where another one was: `source` is its state, a file of it, or the folder of a `Checkpoint`.

    FileNotFoundError if there is none; CheckpointError if it is something else; ValueError if it is that of a run that
    was called otherwise.  Then the run is as it was.

    A warning says when bits may differ from those of the run without a break, as other kernels compute them.
    """
    found: Any = source
    if not isinstance(source, dict):
        found = serialization.load(newest(source) if os.path.isdir(source) else source)
    check(found)
    if found["reuse"] != run.reuse:
        raise ValueError(f"cannot resume a run of reuse_validation={found['reuse']!r} with {run.reuse!r}")
    callbacks = paired(run, found["callbacks"])
    before = deepcopy(state(run))
    remembered = [(callback, deepcopy(callback.state_dict())) for callback, _ in callbacks]
    try:
        restore(run, found, callbacks)
    except BaseException:
        restore(run, before, [(callback, kept) for callback, kept in remembered if kept])
        raise
    made = {"batten": found["versions"]["batten"], "the instruction set": found["instruction_set"]}
    now = {"batten": versions()["batten"], "the instruction set": kernels.isa()}
    if others := [f"{what} {made[what]} and not {now[what]}" for what in made if made[what] != now[what]]:
        warnings.warn(
            f"the run that is resumed was made with {', '.join(others)}: from here on, bits may differ from those that "
            "it would have had without a break",
            stacklevel=3,
        )


def restore(run: Run, source: Mapping[str, Any], callbacks: Sequence[tuple[Any, Any]]) -> None:
    """Has everything take its state; whatever it does not take is an error that names it."""
    with entry("history", CheckpointError):
        run.history.load_state_dict(source["history"])
    with entry("phase", CheckpointError):
        check_phase(run.history, source)
    run.phase, run.stopped, run.initial = source["phase"], source["stopped"], source["initial"]
    for callback, found in callbacks:
        with entry(f"the state of {type(callback).__name__}"):
            callback.load_state_dict(found)
    # What may be gone back to once is tried now, when it can still be refused.
    for where, parts in [*run.snapshots(), ("the state", {name: source[name] for name in PARTS})]:
        with entry(where):
            check_parts(run, parts)
            run.restore(parts)
            # An optimizer casts what it takes, and nothing is to be cast here.
            check_alike("optimizer.state", run.optimizer.state_dict()["state"], parts["optimizer"]["state"])
    with entry("loaders"):
        load_places(run.loaders, source["loaders"])
    # Last of all, as what is above may have drawn.
    with entry("generators"):
        load_generators_state(run.model, source["generators"])
    with entry("rng", CheckpointError):
        set_rng_state(source["rng"])


def paired(run: Run, states: list[Any]) -> list[tuple[Any, Any]]:
    """The callbacks of a run with their states: the first one of a class has the first state of that class."""
    waiting, pairs = list(run.callbacks), []
    for name, found in states:
        callback = next((callback for callback in waiting if type(callback).__name__ == name), None)
        if callback is None:
            raise ValueError(f"cannot resume a run that had a callback {name} without one: give it the same callbacks")
        waiting.remove(callback)
        pairs.append((callback, found))
    if others := [type(callback).__name__ for callback in waiting if callback.state_dict()]:
        raise ValueError(
            f"cannot resume with a callback {others[0]} a run that had none, or one that remembered nothing: "
            "give it the same callbacks"
        )
    return pairs


# ---- what is refused ----

PARTS = {"model": (dict,), "optimizer": (dict,), "scheduler": (dict, NONE)}
ENTRIES = {
    "format": (int,), "versions": (dict,), "instruction_set": (str,), **PARTS, "rng": (Variable,),
    "generators": (dict,), "loaders": (list,), "callbacks": (list,), "history": (dict,), "reuse": (str, NONE),
    "phase": (str,), "stopped": (str, NONE), "initial": (dict, NONE),
}  # fmt: skip


def check(source: Any) -> None:
    """Refuses what is not the state of a run, whichever run it is to be."""
    made = source.get("format", FORMAT) if isinstance(source, dict) else FORMAT
    if type(made) is int and made > FORMAT:
        raise CheckpointError(
            f"cannot resume from a state of format {made}: batten {versions()['batten']} knows those up to {FORMAT}"
        )
    with entry("what is not the state of a run", CheckpointError):
        check_entries("it", source, ENTRIES)
        if source["format"] != FORMAT:
            raise ValueError(f"expected {FORMAT} as its format, got {source['format']}")
        check_entries("its versions", source["versions"], dict.fromkeys(versions(), (str,)))
        for found in source["callbacks"]:
            if type(found) is not list or len(found) != 2 or type(found[0]) is not str:
                raise ValueError(f"expected a list of name and state for each of its callbacks, got {described(found)}")


def check_phase(history: History, source: Mapping[str, Any]) -> None:
    """Refuses a phase that the rest does not fit."""
    phase, reuse, initial = source["phase"], source["reuse"], source["initial"]
    if phase not in ("train", reuse):
        raise ValueError(f"expected 'train' or {reuse!r}, got {phase!r}")
    if (initial is not None) != (reuse == "retrain"):
        raise ValueError(f"expected a dict as initial for 'retrain' and else None, got {described(initial)}")
    if (history.reused_after is not None) != (phase != "train"):
        raise ValueError(f"the history has reused_after={history.reused_after} in the phase {phase!r}")
    if phase != "train" and history.best_epoch is None:
        raise ValueError(f"the history has no best_epoch in the phase {phase!r}")
    if phase == "continue" and (history.target is None or None in history["validation_loss"]):
        raise ValueError("the history has no target, or not the validation_loss of all epochs")


def check_parts(run: Run, parts: Any) -> None:
    """Refuses what is no snapshot of a run that is called as this one is."""
    check_entries("a snapshot", parts, PARTS)
    here = run.parts()
    check_alike("model", here["model"], parts["model"])
    check_keys("optimizer", here["optimizer"], parts["optimizer"])
    groups, found = here["optimizer"]["param_groups"], parts["optimizer"]["param_groups"]
    check_alike("param_groups", groups, found)
    for name in ("params", "param_names"):
        if [group.get(name) for group in groups] != [group.get(name) for group in found]:
            raise ValueError(f"expected {name} of the optimizer's groups as they are here, and in their order")
    if (here["scheduler"] is None) != (parts["scheduler"] is None):
        raise ValueError(f"expected {described(here['scheduler'])} as scheduler, got {described(parts['scheduler'])}")
    check_alike("scheduler", here["scheduler"], parts["scheduler"])


@contextmanager
def entry(name: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Says of whatever goes wrong within it which entry it was."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {error}"
        raise kind(f"cannot resume from {name}: {reason}") from error


# ---- loaders ----


def keeps_place(loader: Any) -> bool:
    """Whether a loader can say where it is."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def places(loaders: Sequence[Any]) -> list[Any]:
    """The states of those loaders that have one."""
    return [loader.state_dict() if keeps_place(loader) else None for loader in loaders]


def load_places(loaders: Sequence[Any], states: Any) -> None:
    """Puts loaders where their states say.  ValueError if some have none that should, or the other way round."""
    if not isinstance(states, list) or len(states) != len(loaders):
        raise ValueError(f"expected the states of {len(loaders)} loaders as a list, got {described(states)}")
    for loader, found in zip(loaders, states, strict=True):
        if keeps_place(loader) != (found is not None):
            raise ValueError(
                f"expected {'a' if found is None else 'no'} state of {typename(loader)}, got {described(found)}"
            )
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
    from pathlib import Path

    if not (found := files(Path(folder))):
        raise FileNotFoundError(f"there is no checkpoint in {os.fspath(folder)}")
    return found[-1]

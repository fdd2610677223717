"""`fit`: training with what usually goes around it, of which `run.py` has the loop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from numbers import Integral
from typing import Any, Literal

from . import checkpoint
from .callbacks import Callback, Checkpoint, EarlyStopping, ProgressBar
from .history import BESIDES, History
from .metrics import Metrics
from .nn import Module
from .nn.kinds import typename
from .nn.modes import modes_kept
from .optim import Optimizer
from .optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .regularization import MAP
from .reuse import Together, go_on, retrain
from .run import Run
from .tensor import Tensor

__all__ = ["fit"]


def fit(
    model: Module,
    train: Iterable[Any],
    validation: Iterable[Any] | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] | MAP,
    optimizer: Optimizer,
    epochs: int,
    callbacks: Any = (),
    penalties: Any = (),
    constraints: Any = (),
    clip_grad_norm: float | None = None,
    scheduler: LRScheduler | None = None,
    metrics: Metrics | None = None,
    progress: bool = True,
    reuse_validation: Literal["retrain", "continue"] | None = None,
    all_data: Iterable[Any] | None = None,
    max_extra_epochs: int | None = None,
    resume: dict[str, Any] | str | os.PathLike[str] | None = None,
) -> History:
    """Trains a model for a number of epochs, and returns their history.

        train, validation   loaders: what `for x, y in loader` goes through in each epoch, such as a list of batches
        loss                the mean loss of a batch, loss(output, target); or a `MAP`, whose prior becomes a penalty
        penalties           what is added to the loss, penalty(model): one, or a list
        constraints         what is attached to the optimizer for as long as this takes: one, or a list
        clip_grad_norm      the largest norm that the gradient of all parameters may have
        scheduler           a schedule, stepped after each epoch, or each batch if it is `per_batch`, as OneCycleLR is
        metrics             names, and functions of (output, target) that say how good a batch is, such as accuracy
        callbacks           who is told of steps and epochs: EarlyStopping, Checkpoint, ones of your own; see `Callback`

    ReduceLROnPlateau follows what EarlyStopping monitors, or else the validation loss, or the loss where there is none.

    The model is in training mode for steps, in evaluation mode for validation, and afterwards as it was.  Ctrl-C ends
    training after the step; a second one, at once.  A loss that is not finite is a FloatingPointError, before the
    step, which names the first layer whose output was not.

    With EarlyStopping, `reuse_validation` says how the validation data is learned from in the end.  "retrain" begins
    anew and learns from all data, for as many epochs as were best.  "continue" goes on from the best weights, until the
    validation loss is down to what the training loss, in evaluation mode, was there; or for max_extra_epochs, by
    default as many as `epochs`: history.target_reached says which.  `all_data` is the loader for this; without it, the
    batches of both loaders are learned from as they come, those of validation spread among the others.

    `resume` takes up a run that was broken off: the same call, in a new process, with the folder of its `Checkpoint`, a
    file of it or what is in that file, goes on with the same bits as if it had not been.

    >>> import batten
    >>> _ = batten.manual_seed(0)
    >>> x = batten.randn(64, 2)
    >>> y = (x[:, 0] > x[:, 1]).to(batten.int64)
    >>> train, validation = [(x[:32], y[:32]), (x[32:48], y[32:48])], [(x[48:], y[48:])]
    >>> model = batten.nn.Linear(2, 2)
    >>> history = fit(
    ...     model, train, validation, loss=batten.nn.CrossEntropyLoss(), epochs=20, progress=False,
    ...     optimizer=batten.optim.SGD(model.parameters(), lr=1.0), metrics={"accuracy": batten.metrics.accuracy},
    ... )
    >>> history["loss"][-1] < history["loss"][0], history["validation_accuracy"][-1] > 0.9
    (True, True)
    """
    penalties = listed(penalties)
    if isinstance(loss, MAP):
        penalties = [loss.prior.penalty(loss.n), *penalties]
        loss = loss.loss
    metrics = metrics or {}
    constraints, bars = listed(constraints), [ProgressBar()] if progress else []
    callbacks = [*listed(callbacks), *bars]
    callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))  # which keeps what the others have done
    stopping = next((callback for callback in callbacks if isinstance(callback, EarlyStopping)), None)
    run = Run(
        model, train, validation, loss, optimizer, epochs, callbacks, penalties, clip_grad_norm, scheduler, metrics,
        resumed=resume is not None,
    )  # fmt: skip
    check(run, constraints)
    if isinstance(scheduler, ReduceLROnPlateau):
        run.monitor = monitored(scheduler, stopping, validation)
    if reuse_validation is not None:
        all_data = Together(train, validation) if all_data is None else all_data
        check_reuse(reuse_validation, validation, stopping, all_data)
        run.reuse, run.all_data = reuse_validation, all_data
        run.initial = run.snapshot() if reuse_validation == "retrain" else None

    with ExitStack() as stack:
        stack.enter_context(modes_kept(model))
        for constraint in constraints:
            stack.enter_context(constraint.attach(optimizer))
        for bar in bars:
            stack.callback(bar.close)  # after an exception, too, which is shown below it then
        run.asked_to_end = stack.enter_context(interruptible())
        run.tell("on_fit_begin")
        if resume is not None:
            checkpoint.resume(run, resume)
        if run.phase == "train":
            run.learn(until=epochs)
        best = stopping.kept if reuse_validation is not None and stopping is not None else None
        if best is not None and not run.interrupted:
            if reuse_validation == "retrain":
                retrain(run)
            else:
                go_on(run, best, epochs if max_extra_epochs is None else max_extra_epochs)
        run.history.ended = "Ctrl-C" if run.interrupted else run.stopped or "epochs"
        for callback in reversed(run.callbacks):
            callback.on_fit_end(run)
    return run.history


def listed(given: Any) -> list[Any]:
    """Nothing, one thing, or several."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


# ---- what is refused ----


def check(run: Run, constraints: list[Any]) -> None:
    for name, loader in (("train", run.train), ("validation", run.validation)):
        if isinstance(loader, Iterator):
            raise TypeError(f"fit goes through {name} anew in each epoch, and {typename(loader)} is used up after one")
        if not hasattr(loader, "__iter__") and (loader is not None or name == "train"):  # a data set, of examples
            raise TypeError(
                f"fit expects {name} to be batches, as DataLoader({name}, batch_size) makes them of a data set, "
                f"got {typename(loader)}"
            )
    for expected, found, fits in (
        ("a model that is a Module", [run.model], lambda x: isinstance(x, Module)),
        ("loss(output, target)", [run.loss], callable),
        ("an optimizer of the model's parameters", [run.optimizer], lambda x: isinstance(x, Optimizer)),
        ("callbacks", run.callbacks, lambda x: isinstance(x, Callback)),
        ("penalties, functions of the model", run.penalties, callable),
        ("constraints of regularization", constraints, lambda x: hasattr(x, "attach")),
        ("a schedule of optim.lr_scheduler", [run.scheduler], lambda x: isinstance(x, LRScheduler | None)),
        ("metrics by their names, such as {'accuracy': accuracy}", [run.metrics], lambda x: isinstance(x, Mapping)),
    ):
        for x in found:
            if isinstance(x, type):
                raise TypeError(f"fit expects {expected}, got the class {x.__name__}: {x.__name__}(…) makes one of it")
            if not fits(x):
                raise TypeError(f"fit expects {expected}, got {typename(x)}")
    own = {id(parameter) for parameter in run.model.parameters()}
    if own.isdisjoint(id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]):
        raise ValueError("fit expects an optimizer of the model's parameters, got one that has none of them")
    if run.scheduler is not None and run.scheduler.optimizer.param_groups is not run.optimizer.param_groups:
        raise ValueError("fit expects a schedule of the same optimizer, got one of another")
    if not isinstance(run.epochs, Integral) or run.epochs < 0:
        raise ValueError(f"fit expects epochs to be a whole number of at least 0, got {run.epochs!r}")
    if taken := {"loss", "penalty", *BESIDES} & set(run.metrics):
        raise ValueError(f"fit expects other names of metrics than {min(taken)}, which is in the history already")


def check_reuse(strategy: str, validation: Any, stopping: EarlyStopping | None, all_data: Any) -> None:
    if strategy not in ("retrain", "continue"):
        raise ValueError(f"reuse_validation is None, 'retrain' or 'continue', got {strategy!r}")
    if validation is None or stopping is None or not stopping.restore_best:
        raise ValueError(
            f"reuse_validation={strategy!r} takes validation data, and EarlyStopping with restore_best as a callback"
        )
    if isinstance(all_data, Together) and not all(hasattr(loader, "__len__") for loader in all_data.loaders):
        raise TypeError(
            "reuse_validation spreads the batches of loaders that have a length; give it all_data for others"
        )


def monitored(scheduler: ReduceLROnPlateau, stopping: EarlyStopping | None, validation: Any) -> str:
    """The column of the history that a schedule follows."""
    name, mode = ("loss" if validation is None else "validation_loss"), "min"
    if stopping is not None:
        name, mode = stopping.monitor, stopping.mode
    if scheduler.mode != mode:
        raise ValueError(
            f"ReduceLROnPlateau(mode={scheduler.mode!r}) would follow {name}, and {mode}imize it; "
            "it follows what EarlyStopping monitors"
        )
    return name


# ---- Ctrl-C ----


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within it, the first Ctrl-C only sets an event, and a second one interrupts.

    Signals come to the main thread; in others nothing changes.
    """
    asked = threading.Event()

    def note(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)

"""What becomes of the validation data once early stopping has used it to say when to stop.

It was held back from learning.  Goodfellow, Bengio & Courville, Deep Learning (2016), section 7.8, have two ways to
learn from it after all:

    retrain       begin anew, with all data, for as many epochs as turned out to be best            (algorithm 7.2)
    go_on         go on from the best weights, with all data, until the loss of the validation data is no greater
                  than the loss of the training data was at these weights                           (algorithm 7.3)

The first costs the training twice.  Of the second nobody knows whether it gets there, so that it has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .checkpoint import load_places, places, rest

if TYPE_CHECKING:
    from .run import Run

__all__: list[str] = []


def retrain(run: Run) -> None:
    """Strategy 1: everything as it was before the first step, but for the random numbers; and all data."""
    if run.phase == "train":
        run.begin("retrain", run.initial)
    run.learn(until=run.epochs_before + (run.history.best_epoch or 0))


def go_on(run: Run, best: dict[str, Any], most: int) -> None:
    """Strategy 2: from a snapshot of the best epoch on, for at most so many epochs."""
    history = run.history
    if run.phase == "train":
        run.begin("continue", best)
        history.target = run.evaluate(run.train)["loss"]
    while True:
        extra = history.epochs[run.epochs_before :]
        latest = extra[-1] if extra else history.epochs[(history.best_epoch or 0) - 1]
        history.target_reached = latest["validation_loss"] <= history.target
        if history.target_reached or run.over or len(extra) >= most:
            return
        run.run_epoch()


class Together:
    """The batches of two loaders, of which those of the second are spread evenly among those of the first.

    >>> list(Together("abcd", "xy"))
    ['a', 'b', 'x', 'c', 'd', 'y']
    """

    def __init__(self, first: Any, second: Any) -> None:
        self.loaders = [first, second]
        self.place = 0  # of the next batch

    def __len__(self) -> int:
        return sum(map(len, self.loaders))

    def of_second(self, place: int) -> int:
        """How many of the batches before a place are the second loader's."""
        return place * len(self.loaders[1]) // len(self)

    def __iter__(self) -> Iterator[Any]:
        if not len(self):
            return
        seen = self.of_second(self.place)
        first, second = rest(self.loaders[0], self.place - seen), rest(self.loaders[1], seen)
        try:
            while self.place < len(self):
                self.place += 1  # before the batch is handed over: a state that is taken meanwhile is of the next one
                yield next(second if self.of_second(self.place) > self.of_second(self.place - 1) else first)
            for iterator in (first, second):
                next(iterator, None)  # lets each of them see that its epoch has ended
        finally:
            self.place = 0

    def state_dict(self) -> dict[str, Any]:
        """Its place, and those of its loaders."""
        return {"place": self.place, "loaders": places(self.loaders)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.place = state_dict["place"]
        load_places(self.loaders, state_dict["loaders"])

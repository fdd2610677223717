"""Numbers that say how good a model is: functions of (output, target), and their means over the batches of a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .autograd import no_grad
from .nn import Module
from .nn.kinds import typename
from .nn.modes import modes_kept
from .operations.promotion import Operand, as_operand

__all__ = ["accuracy", "evaluate"]

Metrics = Mapping[str, Callable[[Any, Any], Any]]


def accuracy(output: Operand, target: Operand) -> float:
    """The share of targets, integers (N, *), that are the class of the largest output, (N, classes, *).

    Of equal outputs the first counts.  NaN where there are no targets.  ValueError unless the shapes fit.

    >>> import batten
    >>> accuracy(batten.tensor([[0.1, 0.9], [0.8, 0.2]]), batten.tensor([1, 1]))
    0.5
    """
    scores, classes = as_operand(output).array, as_operand(target).array
    if scores.ndim < 2 or classes.shape != (scores.shape[0], *scores.shape[2:]):
        raise ValueError(
            f"accuracy expects outputs (N, classes, *) and targets (N, *), got {list(scores.shape)} and "
            f"{list(classes.shape)}"
        )
    return int((scores.argmax(1) == classes).sum()) / classes.size if classes.size else float("nan")


@no_grad()
def evaluate(
    model: Module, loader: Iterable[Any], loss: Callable[[Any, Any], Any], metrics: Metrics | None = None
) -> dict[str, float]:
    """The means of a loss, and of metrics by their names, over the examples of a loader, of batches (x, y).

    Loss and metrics are to be means over a batch; the batches count by their sizes.  The model is in evaluation mode,
    and afterwards as it was.  ValueError if there are no batches.

    >>> import batten
    >>> x = batten.tensor([[1.0], [2.0], [6.0]])
    >>> evaluate(batten.nn.Identity(), [(x[:2], x[:2] + 1), (x[2:], x[2:])], batten.nn.L1Loss())
    {'loss': 0.6666666666666666}
    """
    functions = {"loss": loss, **(metrics or {})}
    with modes_kept(model):
        model.eval()
        rows = [{**measured(functions, model(x), y), "images": len(y)} for x, y in pairs(loader)]
    return means(rows, list(functions))


@no_grad()
def measured(metrics: Metrics, output: Any, target: Any) -> dict[str, float]:
    """What metrics say of a batch."""
    return {name: float(metric(output, target)) for name, metric in metrics.items()}


def pairs(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a loader, each of which is to be a pair (x, y), with a y that has an axis for the examples."""
    for batch in loader:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or getattr(batch[1], "shape", None) == ():
            raise TypeError(
                "expected batches (x, y) of examples, as DataLoader(TensorDataset(x, y), batch_size) makes them, "
                f"got {described(batch)}"
            )
        yield batch


def described(batch: Any) -> str:
    """What a batch is, or its parts, with their shapes."""
    if isinstance(batch, (tuple, list)):
        return f"({', '.join(map(described, batch))})"
    return f"{typename(batch)}{list(batch.shape) if hasattr(batch, 'shape') else ''}"


def means(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    """The means of columns over all examples: of the batch of a row there are as many as it has `images`."""
    if not rows:
        raise ValueError("expected batches, got none; an iterator is used up after its first use")
    found = {}
    for name in names:
        total, images = 0.0, 0
        for row in rows:  # one after the other, as by hand: the sum of Python 3.12 has other bits
            total += row[name] * row["images"]
            images += row["images"]
        found[name] = total / images
    return found

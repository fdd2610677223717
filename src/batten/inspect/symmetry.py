"""Units that are copies of one another.

Two units of a layer whose weights and biases are equal compute the same of any input, and if the gradients of these are
equal, too, a step of gradient descent leaves them equal.  So it is step after step with all units of each hidden layer
if a network starts from zeros, or from any other constant: they stay one unit, however long it is trained, which is why
weights are drawn at random.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..nn.convolution import Conv
from .table import Table

__all__ = ["Symmetry", "symmetric_units"]


class Symmetry(NamedTuple):
    """The units of a layer that are the same: groups of two or more, as lists of their numbers."""

    layer: str
    units: int
    same_output: list[list[int]]
    same_gradient: list[list[int]] | None


def symmetric_units(model: nn.Module) -> Table[Symmetry]:
    """Groups of units that are copies of one another, for each layer of linear units and convolutions.

    A unit is a row of the weight of Linear and Bilinear, and a channel of a convolution's result.

        same_output      groups of units whose weights and biases are equal, and that see the same inputs, as those of
                         a convolution's other groups do not: whatever the input, they compute the same
        same_gradient    those of them whose gradients are equal as well, which a step of gradient descent will not
                         tell apart, and no other optimizer with equal states; None where there is no `.grad`

    Units with different weights may compute the same all the same, as where they differ by inputs that are copies
    themselves: these are not found.  Equal gradients are those of the loss and the batch that `.grad` came from; what
    treats units differently at random, such as dropout, makes them differ.  0 equals -0, and NaN nothing.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> symmetric_units(model)[0].same_output  # drawn at random
    []
    >>> for p in model.parameters():
    ...     _ = nn.init.zeros_(p)
    >>> nn.functional.cross_entropy(model(batten.ones(1, 3)), batten.tensor([1])).backward()
    >>> symmetric_units(model)
                       same      same
    layer     units  output  gradient
    0 Linear      4     0-3       0-3
    2 Linear      2     0-1
    """
    return Table(
        symmetry(f"{name} {type(module).__name__}".strip(), module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Bilinear, Conv))
    )


def symmetry(name: str, layer: Any) -> Symmetry:
    parameters = [p for p in (layer.weight, layer.bias) if p is not None]
    weights = [by_unit(layer, p.array) for p in parameters]
    gradients = [by_unit(layer, p.grad.array) for p in parameters if p.grad is not None]
    units = len(weights[0])
    inputs = np.arange(units) * getattr(layer, "groups", 1) // max(units, 1)  # the group of channels that a unit sees
    rows = np.column_stack([inputs, *weights])
    return Symmetry(
        name, units, equal_rows(rows), equal_rows(np.column_stack([rows, *gradients])) if gradients else None
    )


def by_unit(layer: Any, array: np.ndarray) -> np.ndarray:
    """A weight or bias, or its gradient, with a row for each unit."""
    if getattr(layer, "transposed", False) and array.ndim > 1:  # (channels, units / groups, *), by groups of channels
        array = np.moveaxis(array.reshape(layer.groups, -1, *array.shape[1:]), 2, 1)
        array = array.reshape(-1, *array.shape[2:])
    return array.reshape(len(array), math.prod(array.shape[1:]))


def equal_rows(rows: np.ndarray) -> list[list[int]]:
    """Groups of the numbers of rows that are equal."""
    groups: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows + 0.0):  # which makes -0 into 0
        if not np.isnan(row).any():
            groups.setdefault(row.tobytes(), []).append(number)
    return [group for group in groups.values() if len(group) > 1]

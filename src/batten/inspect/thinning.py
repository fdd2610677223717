"""The 2ⁿ networks that dropout trains at once, one by one.

Each of n units that may be dropped is there or not: so many thinned networks share their weights, and the one with k
units dropped is met with probability pᵏ (1 - p)ⁿ⁻ᵏ.  Weight scaling, which is what dropout does in evaluation, is one
network for the average of all (Srivastava et al. 2014, "Dropout").  It is exact for a linear network; and for a
single softmax layer it is the normalized geometric mean of all probabilities (Hinton et al. 2012, "Improving Neural
Networks by Preventing Co-adaptation of Feature Detectors"):

    softmax(Σ_m P(m) z_m) ∝ Π_m softmax(z_m)^P(m),     z_m = W (m ∘ x) + b

For deeper networks it is an approximation, and here is what it approximates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..autograd import no_grad, wrap
from ..nn.dropout import leading
from ..nn.functional import log_softmax, softmax
from ..nn.stochastic import DROPPING, STOCHASTIC
from ..nn.unchanged import unchanged
from ..operations.promotion import Operand, floats
from ..tensor import Tensor

__all__ = ["ThinnedAverage", "thinned_average"]

UNITS = 16  # at most
ROWS = 4096  # that go through the model at a time, about


class ThinnedAverage(NamedTuple):
    """Means over all thinned networks, and what weight scaling has for them."""

    arithmetic: Tensor
    geometric: Tensor | None
    scaled: Tensor


class Call(NamedTuple):
    """One call of a dropout layer: its probability to drop, and the shape of what one example has to drop."""

    p: float
    shape: tuple[int, ...]

    @property
    def units(self) -> int:
        """How many are in doubt."""
        return math.prod(self.shape) if 0 < self.p < 1 else 0


def thinned_average(model: nn.Module, x: Operand, classifier: bool = False) -> ThinnedAverage:
    """The exact average of a model's result for x (N, *) over all masks of its Dropout layers.

        arithmetic      Σ_m P(m) y_m
        geometric       Π_m y_m^P(m), normalized to sum to 1 over the classes      None unless `classifier`
        scaled          y in evaluation: weight scaling

    With `classifier` the model's results are scores (N, classes, *), and y their softmax.  Units are what one example
    has to drop in all calls of Dropout, Dropout1d, Dropout2d and Dropout3d: elements, or channels.  There may be 16,
    which takes 65,536 results for each example; those with p = 0 or p = 1 are not in doubt, and do not count.  All
    else is in evaluation.  Sums are in float64.  The model and the random numbers are as if nobody had looked.

    ValueError if the model drops nothing or has more units, if another layer draws random numbers, or if the
    result is not one for each example; TypeError if x is not of floats.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)).double()
    >>> average = thinned_average(model, batten.ones(1, 3, dtype=batten.float64))
    >>> batten.allclose(average.arithmetic, average.scaled)
    True
    """
    inputs = floats("thinned_average", x).detach()
    drawing = [module for module in model.modules() if isinstance(module, STOCHASTIC)]
    for module in drawing:
        if not isinstance(module, DROPPING):
            raise ValueError(f"thinned_average knows the masks of Dropout layers only, got {module!r}")
    with unchanged(model), no_grad():
        model.eval()
        for module in drawing:
            module.inplace = False
        y, calls = evaluated(model, drawing, inputs)
        units = sum(call.units for call in calls)
        if not calls:
            raise ValueError("thinned_average expects a model that calls Dropout layers, and this one does not")
        if units > UNITS:
            raise ValueError(f"thinned_average expects at most {UNITS} units that may be dropped, got {units}")
        arithmetic = np.zeros(y.shape)
        logarithm = np.zeros(y.shape)
        each = max(ROWS // max(len(inputs), 1), 1)
        for first in range(0, 1 << units, each):
            kept = np.arange(first, min(first + each, 1 << units))[:, None] >> np.arange(units) & 1
            z = thinned(model, drawing, inputs, kept, calls)
            weights = probability(kept, calls)
            if classifier:
                logarithms = log_softmax(z.double(), 1).array
                logarithm += averaged(weights, logarithms, y.shape)
                arithmetic += averaged(weights, np.exp(logarithms), y.shape)
            else:
                arithmetic += averaged(weights, z.array, y.shape)
        geometric = softmax(wrap(logarithm), 1).to(y.dtype) if classifier else None
        return ThinnedAverage(wrap(arithmetic).to(y.dtype), geometric, softmax(y, 1) if classifier else y)


def evaluated(model: nn.Module, layers: list[Any], x: Tensor) -> tuple[Tensor, list[Call]]:
    """The result in evaluation, and the calls of dropout layers on the way."""
    calls: list[Call] = []

    def note(layer: Any, args: Any, output: Any) -> None:
        shape = args[0].shape
        if layer.kind.features is None:
            calls.append(Call(layer.p, shape[1:]))
        elif leading(layer.kind, len(shape)) == 2:
            calls.append(Call(layer.p, (shape[1], *[1] * (len(shape) - 2))))
        else:
            raise ValueError(f"thinned_average expects {layer!r} to be given a batch, got {list(shape)}")

    return hooked(model, layers, note, x), calls


def thinned(model: nn.Module, layers: list[Any], x: Tensor, kept: np.ndarray, calls: list[Call]) -> Tensor:
    """The results of all networks with the units `kept` (networks, units), one network's after the other's."""
    networks, ends = len(kept), np.cumsum([call.units for call in calls])
    upcoming = zip(calls, np.split(kept, ends[:-1], axis=1), strict=True)

    def thin(layer: Any, args: Any, output: Any) -> Tensor:
        call, units = next(upcoming)
        factor = layer.kind.scales(call.p, layer.inverted)[0]
        if not call.units:
            return args[0] * (factor if call.p == 0 else 0)
        mask = np.broadcast_to(units.reshape(networks, 1, *call.shape), (networks, len(x), *call.shape))
        return args[0] * wrap((mask * factor).reshape(-1, *call.shape).astype(args[0].dtype))

    rows = np.broadcast_to(x.array, (networks, *x.shape)).reshape(networks * len(x), *x.shape[1:])
    return hooked(model, layers, thin, wrap(rows))


def hooked(model: nn.Module, layers: list[Any], hook: Callable[..., Any], x: Tensor) -> Tensor:
    """The model's result for x, with a forward hook on some layers."""
    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(hook))
        y = model(x)
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"thinned_average expects a result for each of {len(x)} examples, got {list(y.shape)}")
    return y


def probability(kept: np.ndarray, calls: list[Call]) -> np.ndarray:
    """P(m) of each network."""
    p = np.repeat([call.p for call in calls], [call.units for call in calls])
    return np.where(kept, 1 - p, p).prod(1)


def averaged(weights: np.ndarray, results: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The weighted sum of results (networks N, *), of which each network's have that shape, (N, *)."""
    return np.tensordot(weights, results.reshape(len(weights), *shape).astype(np.float64), 1)

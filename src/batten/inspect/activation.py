"""What goes forward through each layer, and what comes back.

A network learns while neither its activations nor their gradients vanish or grow from layer to layer: Glorot & Bengio
(2010) choose the first weights so that the variances of both stay as they are, and show how the units of deep networks
of sigmoids saturate, where their slope is nearly 0 and nothing goes back.  Units of ReLU die: one whose result is 0 for
every example has no gradient, and stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from .. import autograd, nn
from ..autograd import Variable, wrap
from ..nn.kinds import PARAMETER
from ..nn.summaries import tensors
from ..nn.unchanged import unchanged
from ..operations.promotion import Operand, as_operand
from ..random import Generator, randn
from ..tensor import Tensor
from .moments import by_feature, feature_axis, moments
from .table import Table

__all__ = ["ActivationStatistics", "activation_statistics"]

# A kind of module -> where its results flatten out: the lowest, the highest, and how near to them is there.
BOUNDS: dict[type[nn.Module], Callable[[Any], tuple[float, float, float]]] = {
    nn.Sigmoid: lambda module: (0, 1, 0.01),
    nn.Tanh: lambda module: (-1, 1, 0.02),
    nn.Softsign: lambda module: (-1, 1, 0.02),
    nn.Hardsigmoid: lambda module: (0, 1, 0),
    nn.Hardtanh: lambda module: (module.min_val, module.max_val, 0),
    nn.ReLU: lambda module: (0, math.inf, 0),
    nn.ReLU6: lambda module: (0, 6, 0),
    nn.ELU: lambda module: (-module.alpha, math.inf, 0.01 * module.alpha),
    nn.CELU: lambda module: (-module.alpha, math.inf, 0.01 * module.alpha),
    nn.SELU: lambda module: (-1.7580993408473766, math.inf, 0.017580993408473766),
}


class ActivationStatistics(NamedTuple):
    """Of one result of one module, and of the loss's gradient by it.  Fractions are between 0 and 1."""

    layer: str
    mean: float
    variance: float
    zero: float
    dead: float
    saturated: float | None
    nonfinite: int
    gradient_mean: float | None
    gradient_variance: float | None
    gradient_zero: float | None
    gradient_nonfinite: int | None


def activation_statistics(
    model: nn.Module, x: Operand, loss: Callable[[Any], Tensor] | None = None
) -> Table[ActivationStatistics]:
    """What the layers of a model make of x, and the gradients of the loss by that; a row for each, in order.

    The layers are the modules without others in them.  There is a row for each call and each tensor of floats, if there
    are several; what is computed by functions rather than modules is not seen.
    The model is in the mode in which it is.  Of all elements of a result are told

        mean, variance      variance = mean of (y - mean)²
        zero                the fraction that is exactly 0
        dead                the fraction of features that are 0 for every example, and pixel
        saturated           the fraction that is where the module flattens out: within 1 % of their range of a bound for
                            Sigmoid, Tanh and Softsign, of the lower bound -α for ELU, CELU and SELU, and at a bound
                            itself for ReLU, ReLU6, Hardtanh and Hardsigmoid; None for other modules
        nonfinite           how many are inf or NaN, which also makes mean and variance so

    and the same of the gradient.  loss is a function of the model's result that returns one number; without one it is
    Σ r y with fixed r drawn from N(0, 1), as the sum of what softmax or a normalization returns has no gradient.
    By what depends on nothing that requires a gradient there is none: None.  Features lie along axis 1, or along
    the last where the latest layer with parameters is Linear or another one of vectors.

    The model, its gradients and buffers, and the random numbers are as if nobody had looked.  RuntimeError if the loss
    is not one number, or has no gradient though results of layers do.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> x = batten.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> _ = model.load_state_dict({"0.weight": batten.tensor([[1.0, 0.0], [0.0, 1.0]]), "0.bias": x[0] - x[1]})
    >>> activation_statistics(model, x, loss=lambda y: y.sum())
                                                                gradient  gradient  gradient   gradient
    layer     mean  variance  zero  dead  saturated  nonfinite      mean  variance      zero  nonfinite
    0 Linear   0.5      1.25  0.25     0                     0       0.5      0.25       0.5          0
    1 ReLU    0.75    0.6875   0.5     0        0.5          0         1         0         0          0
    """
    generator = Generator().manual_seed(0)
    names = {module: f"{name} {type(module).__name__}".strip() for name, module in model.named_modules()}
    found: list[tuple[list[Any], Any]] = []  # a row without its gradient, and where that is to be found
    axis = 1

    def note(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal axis
        if any(p is not None for p in module._own(PARAMETER).values()):
            axis = feature_axis(module)
        for y in filter(is_float, tensors(output)):
            mean, variance, zero, nonfinite = figures(y.array)
            row = [names[module], mean, variance, zero, dead(y.array, axis), saturated(module, y.array), nonfinite]
            found.append((row, place(y)))

    with unchanged(model), autograd.enable_grad(), ExitStack() as hooks:
        for module in names:
            if next(module.children(), None) is None:
                hooks.enter_context(module.register_forward_hook(note))
        output = model(as_operand(x).clone())  # which the first layer may change in place
        results = [y for y in tensors(output) if is_float(y) and y.tracked]
        places = [y for _, y in found if y.tracked]
        gradients: dict[int, Any] = {}
        if places and (loss is not None or results):
            roots = results if loss is None else [loss(output)]
            drawn = [randn(y.shape, generator=generator, dtype=y.dtype) for y in results]
            passed = autograd.grad(roots, places, drawn if loss is None else None, allow_unused=True)
            gradients = {id(y): dy for y, dy in zip(places, passed, strict=True)}
    return Table(ActivationStatistics(*row, *gradient_figures(y, gradients)) for row, y in found)


def is_float(y: Variable) -> bool:
    return y.array.dtype.kind == "f"


def place(y: Variable) -> Any:
    """A result where it stands on the tape now, as a change in place will put another one there."""
    if y.creator is None:
        return y
    here = wrap(y.array)
    here.tracked, here.creator, here.index = y.tracked, y.creator, y.index
    return here


def figures(array: np.ndarray) -> tuple[float, float, float, int]:
    """Mean, variance, the fraction of noughts, and how many elements are not finite."""
    mean, variance = moments(array)
    return float(mean), float(variance), fraction(array == 0), int((~np.isfinite(array)).sum())


def gradient_figures(y: Variable, gradients: dict[int, Any]) -> tuple[Any, ...]:
    """The figures of the gradient by a result: of noughts, if the loss does not depend on it."""
    if id(y) not in gradients:
        return None, None, None, None
    gradient = gradients[id(y)]
    return figures(np.zeros(y.array.shape) if gradient is None else gradient.array)


def dead(array: np.ndarray, axis: int) -> float:
    """The fraction of features that are nought throughout."""
    features = by_feature(array == 0, axis)
    return fraction(features.all(tuple(range(1, features.ndim)))) if array.size else math.nan


def saturated(module: nn.Module, array: np.ndarray) -> float | None:
    """The fraction of a module's results that are where it flattens out, if it does."""
    bounds = next((BOUNDS[kind] for kind in type(module).__mro__ if kind in BOUNDS), None)
    if bounds is None:
        return None
    low, high, near = bounds(module)
    return fraction((array <= low + near) | (array >= high - near))


def fraction(which: Any) -> float:
    return int(which.sum()) / which.size if which.size else math.nan

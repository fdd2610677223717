"""Internal covariate shift: what a step does to the layers by changing those before them.

Ioffe & Szegedy (2015) mean by it the change in the distribution of a layer's inputs that is due to the change of the
parameters before it.  Santurkar et al. (2018, definition 2.1) ask for what a change of inputs should matter by, and
compare the gradient that layer i was stepped by with the one that it would see once the layers before it have been
stepped:

    G(i) = ∂L(W₁, ..., Wₖ) / ∂Wᵢ,     G'(i) = ∂L(W₁', ..., Wᵢ₋₁', Wᵢ, ..., Wₖ) / ∂Wᵢ,     shift = ‖G'(i) - G(i)‖₂

with W before the step and W' after it.  They find that batch normalization hardly makes it smaller, and often larger,
and that it helps for another reason: the loss is smoother.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import autograd, nn
from ..nn.kinds import PARAMETER
from ..nn.summaries import tensors
from ..nn.unchanged import unchanged
from ..random import get_rng_state, set_rng_state
from ..tensor import Tensor
from .moments import by_feature, feature_axis, moments, relative
from .table import Table

__all__ = ["CovariateShift", "LayerShift"]

Moments = tuple[np.ndarray, np.ndarray]  # mean and variance of each feature
ABSENT = np.empty(0)


class LayerShift(NamedTuple):
    """What one step, or several on average, did to what a layer sees."""

    layer: str
    mean_drift: float
    variance_drift: float
    gradient_norm: float
    gradient_shift: float
    cosine: float


def over_steps(field: str) -> Any:
    """A field of all steps and layers, as an array (steps, layers)."""

    def column(shift: CovariateShift) -> np.ndarray:
        rows = [[getattr(row, field) for row in step] for step in shift.steps]
        return np.array(rows, np.float64).reshape(len(rows), len(shift.layers))

    return property(column)


class CovariateShift:
    """How much the steps of an optimizer shift what each layer of a model sees.

    The layers are the modules that have parameters of their own; a parameter that several share belongs to the first.
    `step(loss)` is put around a step, and notes in `steps` a table of it, with for each layer

        mean_drift       ‖m' - m‖ / √(Σ v)      m, v: mean and variance of each feature of its inputs before the step,
        variance_drift   ‖v' - v‖ / ‖v‖         m', v': after it, both of the batch that the loss is of
        gradient_norm    ‖G‖                    G: the gradient of the loss by its parameters before the step,
        gradient_shift   ‖G' - G‖               G': if only the layers before it had been stepped
        cosine           G'·G / ‖G'‖‖G‖         1 if they are the same, also nought; else 0 if one of them is nought

    Features lie along axis 1, those of Linear and other layers of vectors along the last; means and variances are
    taken along all other axes.  Layers that are called several times, or with several tensors, have the features of
    each side by side.  A layer is before another if its first call is.  NaN stands for what there is not: drifts
    without a call, gradients of a layer that is frozen.  A change from nought is inf.

    `mean_drift` and so on are also attributes: arrays of all steps, (steps, layers), with the layers' names in
    `layers`.  Written, it is the table of their means over the steps.

    The measurement costs as many gradients as there are layers, and two results.  Nobody can tell that it took place:
    parameters and what is trained from here on, gradients, buffers, modes and random numbers are bit by bit as if it
    had not, and all losses of a step are computed with the same random numbers.

    >>> import batten
    >>> from batten import nn
    >>> _ = batten.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))
    >>> optimizer = batten.optim.SGD(model.parameters(), lr=0.5)
    >>> x, y = batten.randn(32, 4), batten.randint(2, (32,))
    >>> def loss():
    ...     return nn.functional.cross_entropy(model(x), y)
    >>> shift = CovariateShift(model)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss().backward()
    ...     with shift.step(loss):
    ...         optimizer.step()
    >>> shift.gradient_shift.shape
    (3, 3)
    >>> shift.layers, shift.gradient_shift[:, 0].tolist()  # nothing is before the first
    (['0 Linear', '2 Linear', '4 Linear'], [0.0, 0.0, 0.0])
    >>> bool((shift.mean_drift[:, 1:] > 0).all())
    True
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.steps: list[Table[LayerShift]] = []
        self._names: dict[nn.Module, str] = {}
        self._parameters: dict[nn.Module, list[nn.Parameter]] = {}
        taken: set[nn.Parameter] = set()
        for name, module in model.named_modules():
            own = [p for p in module._own(PARAMETER).values() if p is not None and p not in taken]
            if own:
                taken.update(own)
                self._names[module] = f"{name} {type(module).__name__}".strip()
                self._parameters[module] = own

    @property
    def layers(self) -> list[str]:
        """The layers' names, in the order in which the model has them."""
        return list(self._names.values())

    mean_drift = over_steps("mean_drift")
    variance_drift = over_steps("variance_drift")
    gradient_norm = over_steps("gradient_norm")
    gradient_shift = over_steps("gradient_shift")
    cosine = over_steps("cosine")

    @contextmanager
    def step(self, loss: Callable[[], Tensor]) -> Iterator[None]:
        """Measures what the parameters' changes within the block shift, and adds it to `steps`.

        loss takes nothing and returns the loss of the batch, a tensor of one element; it is called with the model in
        the mode in which it is, and has no effects that outlast the block.  An exception within the block leaves
        nothing but what was there before it.  RuntimeError if the loss is not one number, or has no gradient.
        """
        state = get_rng_state()
        own = self._parameters
        before = {p: p.array.copy(order="K") for layer in own for p in own[layer]}
        inputs = self._inputs(loss, state)
        gradients = self._gradients(loss, state, list(inputs))
        yield
        after = {p: p.array for p in before}
        with unchanged(self.model):
            shifted_inputs = self._inputs(loss, state)
            for p in before:
                p.array = before[p]
            shifted_gradients: dict[nn.Module, np.ndarray] = {}
            for layer in inputs:
                # Nothing is before the first, which saves a gradient.
                shifted = self._gradients(loss, state, [layer]) if shifted_gradients else gradients
                shifted_gradients[layer] = shifted[layer]
                for p in own[layer]:
                    p.array = after[p]
        self.steps.append(
            Table(
                LayerShift(
                    self._names[layer],
                    *drift(inputs.get(layer), shifted_inputs.get(layer)),
                    *difference(gradients.get(layer, ABSENT), shifted_gradients.get(layer, ABSENT)),
                )
                for layer in own
            )
        )

    def _inputs(self, loss: Callable[[], Tensor], state: Tensor) -> dict[nn.Module, Moments]:
        """The moments of what each layer is given for the loss, in the order of their first calls."""
        seen: dict[nn.Module, list[Moments]] = {}

        def note(layer: nn.Module, args: Any, kwargs: Any) -> None:
            calls = seen.setdefault(layer, [])
            for x in tensors((args, kwargs)):
                features = by_feature(x.array, feature_axis(layer))
                calls.append(moments(features, tuple(range(1, features.ndim))))

        with unchanged(self.model), autograd.no_grad(), ExitStack() as hooks:
            for layer in self._parameters:
                hooks.enter_context(layer.register_forward_pre_hook(note, with_kwargs=True))
            set_rng_state(state)
            loss()
        return {
            layer: (np.concatenate([ABSENT, *[m for m, _ in calls]]), np.concatenate([ABSENT, *[v for _, v in calls]]))
            for layer, calls in seen.items()
        }

    def _gradients(
        self, loss: Callable[[], Tensor], state: Tensor, layers: Sequence[nn.Module]
    ) -> dict[nn.Module, np.ndarray]:
        """For some layers the gradient of the loss by all their parameters that want one, as a vector."""
        wanted = {layer: [p for p in self._parameters[layer] if p.requires_grad] for layer in layers}
        with unchanged(self.model), autograd.enable_grad():
            set_rng_state(state)
            parameters = [p for layer in layers for p in wanted[layer]]
            found = dict(zip(parameters, autograd.grad(loss(), parameters, allow_unused=True), strict=True))
        return {
            layer: np.concatenate([ABSENT, *[vector(p, found[p]) for p in parameters]])
            for layer, parameters in wanted.items()
        }

    def __repr__(self) -> str:
        """The means over all steps."""
        if not self.steps:
            return "no steps so far"
        columns = [getattr(self, field).mean(0).tolist() for field in LayerShift._fields[1:]]
        return repr(Table(LayerShift(*row) for row in zip(self.layers, *columns, strict=True)))


def vector(p: nn.Parameter, gradient: Tensor | None) -> np.ndarray:
    """A gradient as a vector, in float64; what the loss does not depend on has one of zero."""
    return np.zeros(p.array.size) if gradient is None else gradient.array.ravel().astype(np.float64)


def drift(before: Moments | None, after: Moments | None) -> tuple[float, float]:
    """The drifts of mean and variance; NaN where the inputs were not there, or not the same ones."""
    if before is None or after is None or before[0].shape != after[0].shape:
        return math.nan, math.nan
    (mean, variance), (mean_after, variance_after) = before, after
    with np.errstate(all="ignore"):
        return (
            relative(norm(mean_after - mean), math.sqrt(variance.sum())),
            relative(norm(variance_after - variance), norm(variance)),
        )


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """The length of a gradient, that of what was added to it, and the cosine of the angle; NaN where there is none."""
    if not before.size:
        return math.nan, math.nan, math.nan
    with np.errstate(all="ignore"):
        lengths = norm(before) * norm(after)
        cosine = float((before * after).sum()) / lengths if lengths else 0.0
        same = np.array_equal(before, after)
        return norm(before), norm(after - before), 1.0 if same else cosine


def norm(x: np.ndarray) -> float:
    """‖x‖₂, by sums that do not depend on the number of threads."""
    return math.sqrt(np.square(x).sum())

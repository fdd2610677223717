"""Noise on the weights (Murray & Edwards 1994, "Enhanced MLP Performance and Fault Tolerance Resulting from Synaptic
Weight Noise During Training").

    w' = w + ε,     ε ~ N(0, λ I) drawn anew in each forward,     λ = std²

A solution that is to bear this must lie where the loss is flat.  For f, what the model makes of an example,
with gradient ∇f and Hessian ∇²f by w, the expectation of the squared error is

    E (f(w + ε) - y)² = (f(w) - y)² + λ‖∇f‖² + λ (f(w) - y) tr ∇²f + O(λ²)

The last term is often left out.  It vanishes where f is linear in w, and where the model already fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

from .. import nn
from ..nn.kinds import PARAMETER
from ..nn.noise import AddNormal
from ..random import Generator, check_generator, next_draw

__all__ = ["WeightNoise"]


class WeightNoise:
    """A context within which each forward of a model uses w + ε for each parameter w, with new ε ~ N(0, std²).

    The noise is an operation like another: the gradient of the loss at w + ε goes to w, and there may be several
    forwards before backward, each with its own ε.  The parameters themselves, which are what an optimizer changes,
    are never touched: between forwards, in the block too, the model's attributes are the clean ones.

    There is noise in every forward of the model within the block, in evaluation and under `no_grad` as well: what is
    to be evaluated without belongs outside.  All parameters have it, frozen ones too; where modules share one,
    they share its ε.  To have it on some only, name the module that they are in: it is that module's forwards which
    count, whoever calls it.  Blocks may be nested, and their noises add.  A deep copy of the model has none.

    Each forward draws once for each parameter, from `generator` or the default one: the same seed gives the same noise
    on any machine and for any number of threads.

    In expectation it adds std² (‖∇f‖² + (f - y) tr ∇²f) to the squared error, and terms of order std⁴.

    TypeError if model is no Module, ValueError unless std is finite and at least 0.

    >>> import batten
    >>> from batten import nn
    >>> model, x = nn.Linear(3, 1), batten.ones(1, 3)
    >>> clean = model(x)
    >>> with WeightNoise(model, std=0.1):
    ...     first, second = model(x), model(x)
    >>> (first == second).item(), (model(x) == clean).item()
    (False, True)
    """

    def __init__(self, model: nn.Module, std: float, *, generator: Generator | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"WeightNoise expects a module, got {type(model).__name__}")
        if not 0 <= std < math.inf:
            raise ValueError(f"WeightNoise expects a finite std >= 0, got {std}")
        check_generator("WeightNoise", generator)
        self.model, self.std, self.generator = model, std, generator
        self.before: list[Callable[..., Any] | None] = []  # forwards of the model's own, one for each block

    def __enter__(self) -> Self:
        self.before.append(vars(self.model).get("forward"))
        self.model.forward = NoisyForward(self, self.model.forward)
        return self

    def __exit__(self, *exception: object) -> None:
        del self.model.forward
        before = self.before.pop()
        if before is not None:
            self.model.forward = before


class NoisyForward:
    """The forward of a model, with noise on its parameters while it runs."""

    def __init__(self, noise: WeightNoise, forward: Callable[..., Any]) -> None:
        self.noise, self.forward, self.running = noise, forward, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A model that calls itself has its noise already, and a shallow copy may outlive the block.
        if self.running or not self.noise.before or self.noise.std == 0:
            return self.forward(*args, **kwargs)
        self.running = True
        places: list[tuple[dict[str, Any], str, Any]] = []
        noisy: dict[Any, Any] = {}
        try:
            for module in self.noise.model.modules():
                for name, w in module._own(PARAMETER).items():
                    if w is None or w.array.dtype.kind != "f":
                        continue
                    if w not in noisy:
                        noisy[w] = AddNormal.apply(w, scale=self.noise.std, draw=next_draw(self.noise.generator))
                    places.append((vars(module), name, w))
                    vars(module)[name] = noisy[w]
            return self.forward(*args, **kwargs)
        finally:
            for attributes, name, w in places:
                attributes[name] = w
            self.running = False

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is what is below it: a model that is copied deeply or pickled has its own forward."""
        return itself, (self.forward,)


def itself(forward: Callable[..., Any]) -> Callable[..., Any]:
    return forward

"""What is done to parameters after each step of an optimizer, whichever it is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _kernels as kernels
from ..autograd import no_grad
from ..nn.hooks import RemovableHandle
from ..optim.optimizer import Optimizer
from ..optim.projected import variables
from .parameters import Parameters, Where, chosen

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["AfterStep"]

Named = list[tuple[str, "Tensor"]]


class AfterStep:
    """A change of parameters that follows each step: a subclass defines `change(params)`, of pairs (name, tensor).

    `where(name, parameter)` says which parameters are changed.  None is all of them; or, if the class is for `weights`,
    those with two or more axes.  Of a model, but not of an optimizer, which knows no layers, the parameters of
    normalizations are then left out as well.

    >>> import batten
    >>> class Binary(AfterStep):
    ...     def change(self, params):
    ...         for name, parameter in params:
    ...             parameter.copy_(parameter.sign())
    >>> w = batten.tensor([0.5, 0.5], requires_grad=True)
    >>> optimizer = batten.optim.SGD([w], lr=1.0)
    >>> handle = Binary().attach(optimizer)
    >>> w.grad = batten.tensor([1.0, 0.0])
    >>> optimizer.step()
    >>> w
    tensor([-1.,  1.], requires_grad=True)
    """

    options: tuple[str, ...] = ()  # what a repr shows
    weights = False

    def __init__(self, *, where: Where = None) -> None:
        self.where = where

    def change(self, params: Named) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define change")

    @no_grad()
    def project(self, params: Parameters) -> None:
        """Changes the parameters of a module, a tensor, or an iterable of tensors or pairs (name, tensor), at once.

        All that `where` chooses are changed, frozen or not.  ValueError if it chooses none.
        """
        self.change(chosen(params, self.where, weights=self.weights))

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Has this done after each step from now on, until `remove()` of what is returned.

        Nothing moves before the first step: use `project` for a model that is to begin within a constraint.  The
        parameters are those that the optimizer then has, whether or not there was a gradient in this step.  Frozen
        ones, which require none, are constants of the problem: they do not move, and do not count.  Names for `where`
        are those that the optimizer was given, or else numbers, "0" for the first parameter.

        This is a hook, and so it is not in copies and pickles of the optimizer; that of `optim.Projected` is.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} is attached to an Optimizer, got {type(optimizer).__name__}")
        return optimizer.register_step_post_hook(self.after_step)

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The hook."""
        if params := variables(optimizer):
            self.project(params)

    def __repr__(self) -> str:
        where = [] if self.where is None else ["where"]
        return (
            f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in [*self.options, *where])})"
        )


class Batch(NamedTuple):
    """Parameters of one type, views of them, and what a kernel walks: the views, or copies of those that it cannot."""

    params: list[Tensor]
    views: list[np.ndarray]
    arrays: list[np.ndarray]

    def put_back(self) -> None:
        """The kernel has changed the arrays."""
        for parameter, view, array in zip(self.params, self.views, self.arrays, strict=True):
            if array is not view:
                np.copyto(view, array)
            parameter.version[0] += 1


def by_type(params: Named, views: Sequence[np.ndarray] | None = None) -> list[Batch]:
    """The parameters in batches; as they lie, or in views whose first axis is to be the outermost in memory."""
    tensors = [parameter for _, parameter in params]
    if views is None:
        arrays = [parameter.array for parameter in tensors]
        if kernels.lie_alike(arrays, arrays):  # the usual case: of one type, and without gaps
            return [Batch(tensors, arrays, arrays)]
    found: dict[np.dtype, Batch] = {}
    for parameter, view in zip(tensors, arrays if views is None else views, strict=True):
        fits = kernels.lie_alike([view], [view]) if views is None else kernels.lies_in_rows(view)
        batch = found.setdefault(view.dtype, Batch([], [], []))
        batch.params.append(parameter)
        batch.views.append(view)
        batch.arrays.append(view if fits else kernels.copy(kernels.empty(view.shape, view.dtype), view))
    return list(found.values())


def number(kind: object, name: str, value: Any, most: float = math.inf) -> Any:
    """A number from nought to `most`."""
    if not isinstance(value, numbers.Real) or not 0 <= float(value) <= most or value == math.inf:
        bounds = "a finite number >= 0" if most == math.inf else f"a number from 0 to {most}"
        raise ValueError(f"{type(kind).__name__} expects {name} as {bounds}, got {value!r}")
    return value

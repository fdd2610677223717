"""Optimizers with a constraint: minimization over a set, by a projection after each step.

    θ = P(θ'),   θ' = where the step of an optimizer leads,   P(θ') = the point of the set that is nearest to θ'

With gradient descent as the optimizer, and a convex set, this is the projected gradient method (Goldstein, "Convex
programming in Hilbert space", 1964; Levitin & Polyak, "Constrained minimization methods", 1966).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .optimizer import Optimizer

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Projected", "variables"]


class Constraint(Protocol):
    """What moves parameters to where they may be."""

    def project(self, params: list[tuple[str, Tensor]]) -> None: ...


class Projected(Optimizer):
    """An optimizer after each of whose steps `constraint.project(params)` is called.

    `constraint` is one of `regularization.constraints`, `regularization.Shrink`, or anything else with such a method.
    It gets the parameters that require a gradient, as pairs (name, tensor): see `constraint.attach`, which does the
    same by a hook.  But hooks are not in copies and pickles of an optimizer, and the constraint of a Projected is.

    Groups, options and state are those of `optimizer`: a schedule may be of either, and a `state_dict` fits both.  For
    several constraints, put one Projected into another; the outer one has the last word.

    TypeError unless optimizer is an Optimizer and constraint has a method `project`.

    >>> import batten
    >>> from batten.regularization.constraints import NonNegative
    >>> w = batten.tensor([1.0, 0.5], requires_grad=True)
    >>> optimizer = batten.optim.Projected(batten.optim.SGD([w], lr=0.5), NonNegative())
    >>> w.grad = batten.tensor([1.0, 2.0])
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 0.0000], requires_grad=True)
    """

    def __init__(self, optimizer: Optimizer, constraint: Constraint) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Projected expects an Optimizer, got {type(optimizer).__name__}")
        if not callable(getattr(constraint, "project", None)):
            raise TypeError(f"Projected expects a constraint with a method project, got {type(constraint).__name__}")
        self.optimizer, self.constraint = optimizer, constraint
        self.step_hooks = OrderedDict()

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        return self.optimizer.defaults

    @property
    def state(self) -> defaultdict[Any, dict[str, Any]]:  # type: ignore[override]
        return self.optimizer.state

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return self.optimizer.param_groups

    @property
    def needs_closure(self) -> bool:  # type: ignore[override]
        return self.optimizer.needs_closure

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """A step of the optimizer, whose result is returned, and the projection."""
        loss = self.optimizer.step(*args, **kwargs)
        if params := variables(self):
            self.constraint.project(params)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Has the optimizer take more parameters, which are under the constraint, too."""
        self.optimizer.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's: a constraint has no state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Has the optimizer take a state_dict, of its own class."""
        self.optimizer.load_state_dict(state_dict)

    def __repr__(self) -> str:
        return f"Projected (\n{self.optimizer}\n{self.constraint}\n)"


def variables(optimizer: Optimizer) -> list[tuple[str, Tensor]]:
    """What an optimizer may move: its parameters but for frozen ones, which require no gradient.

    They are called as when they were handed over, or else by their number through all groups.

    >>> import batten
    >>> a, b = batten.zeros(2, requires_grad=True), batten.zeros(2)
    >>> variables(batten.optim.SGD([("a", a), ("b", b)]))
    [('a', tensor([0., 0.], requires_grad=True))]
    """
    params = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    pairs = zip(names or map(str, range(len(params))), params, strict=True)
    return [(name, parameter) for name, parameter in pairs if parameter.tracked]

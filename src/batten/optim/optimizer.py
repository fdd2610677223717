"""What all optimizers have in common: groups of parameters, their options and their state.

An optimizer is the names of what it remembers of each parameter, and one `update`:
`step` gathers the parameters that have a gradient, group by group and type by type,
and `update` steps each such list with one call of a kernel, in one pass over memory.

An optimizer knows parameters, never models.  Options and state have PyTorch's names,
so that a `state_dict` goes from here to PyTorch and back.
"""

from __future__ import annotations

import numbers
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Variable, enable_grad, wrap

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Optimizer"]

COUNT = np.dtype("float32")  # PyTorch's type of a count of steps, which has no axes


class Optimizer:
    """Steps parameters along their gradients.

    `params` are tensors, pairs (name, tensor), or dicts {"params": tensors, option: value}, each
    a group with options of its own; `defaults` are the options of all others.

    A subclass in the house's style names its `states` and defines `update`; one in PyTorch's
    style defines `step` itself and keeps what it likes in `state[parameter]`.

    >>> import batten
    >>> class Descent(batten.optim.Optimizer):
    ...     def __init__(self, params, lr):
    ...         super().__init__(params, {"lr": lr})
    ...     @batten.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for w in group["params"]:
    ...                 w -= group["lr"] * w.grad
    >>> w = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Descent([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.0000], requires_grad=True)
    """

    states: tuple[str, ...] | None = None  # what a parameter's state may hold; None is anything

    state: defaultdict[Any, dict[str, Any]]
    param_groups: list[dict[str, Any]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Variable):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type_name(params)}"
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.check(defaults)
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        for group in groups:
            self.add_param_group(group)

    def check(self, options: dict[str, Any]) -> None:
        """Refuses options that make no sense."""

    def update(
        self,
        group: dict[str, Any],
        params: list[np.ndarray],
        grads: list[np.ndarray],
        states: list[dict[str, Any]],
    ) -> None:
        """Steps parameters of one type by their gradients, which lie in memory as they do, and their states."""
        raise NotImplementedError(f"{type(self).__name__} defines neither update nor step")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient; returns what closure, which is called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        # All gradients are looked at before the first parameter moves.
        batches = [(group, batch) for group in self.param_groups for batch in gather(group)]
        for group, batch in batches:
            arrays = [parameter.array for parameter in batch]
            params = [without_gaps(w) for w in arrays]
            grads = [laid_out_like(w, parameter.grad.array) for w, parameter in zip(params, batch, strict=True)]
            self.update(group, params, grads, [self.state[parameter] for parameter in batch])
            for w, array, parameter in zip(params, arrays, batch, strict=True):
                if w is not array:
                    np.copyto(array, w)
                parameter.version[0] += 1
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or fills them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.detach().zero_()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Takes more parameters: a dict of "params" and of the options in which they differ from the others.

        >>> import batten
        >>> a, b = (batten.zeros(2, requires_grad=True) for _ in range(2))
        >>> optimizer = batten.optim.SGD([a], lr=0.1)
        >>> optimizer.add_param_group({"params": [b], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        if "params" not in param_group:
            raise ValueError(f'param_group must have "params", but got {sorted(param_group)}')
        group = {**self.defaults, **param_group}
        given = group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
        given = [given] if isinstance(given, Variable) else list(given)
        group["params"] = [p[1] if isinstance(p, tuple) else p for p in given]
        if names := [p[0] for p in given if isinstance(p, tuple)]:
            if len(names) != len(given):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            group["param_names"] = names
        check_parameters(group["params"])
        named = "param_names" in group
        if any(named != ("param_names" in other) for other in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {'with' if named else 'without'} names to the optimizer"
            )
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        if any(id(p) in taken for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.check(group)
        self.param_groups.append(group)

    def state_dict(self) -> dict[str, Any]:
        """Options and state, {"state": {index: {name: value}}, "param_groups": […]}, for `load_state_dict`.

        Parameters are numbered through all groups.  The tensors are those of the optimizer
        itself: later steps change them.
        """
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                index[id(parameter)] = len(index)
            # A learning rate that NumPy computed is a number like any other, and can be saved as one.
            options = {key: value.item() if isinstance(value, np.generic) else value for key, value in group.items()}
            groups.append({**options, "params": [index[id(p)] for p in group["params"]]})
        state = {index.get(id(p), p): values for p, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes options and state from a `state_dict`, of this class or of PyTorch's of the same name.

        Parameters are matched by their place.  States are copied, and may be arrays; they get
        the type of their parameter and lie in memory as it does.  Options that are unknown
        here are kept.  A `state_dict` that does not fit is refused, and changes nothing.
        """
        loaded = check_parts(state_dict)
        groups: list[dict[str, Any]] = []
        params: dict[Any, Tensor] = {}
        if len(loaded) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for group, new in zip(self.param_groups, loaded, strict=True):
            if len(new["params"]) != len(group["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
            params.update(zip(new["params"], group["params"], strict=True))
            groups.append({**group, **new, "params": group["params"]})
            self.check(groups[-1])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for index, values in state_dict["state"].items():
            if index in params:
                state[params[index]] = self.load_state(index, params[index], values)
            elif self.states is None:
                state[index] = values
            else:
                raise ValueError(f"loaded state dict has a state of parameter {index!r}, which is in no group")
        self.state, self.param_groups = state, groups

    def load_state(self, index: Any, parameter: Tensor, values: Any) -> dict[str, Any]:
        """The state of one parameter, from what a state_dict has of it."""
        name = type(self).__name__
        if not isinstance(values, Mapping):
            raise ValueError(f"{name} expects a dict as the state of parameter {index}, got {type(values).__name__}")
        if self.states is None:
            return deepcopy(dict(values))
        given = {key: value for key, value in values.items() if value is not None}
        if unknown := sorted(set(given) - set(self.states)):
            raise ValueError(f"{name} keeps {', '.join(self.states)}, but parameter {index} has {', '.join(unknown)}")
        state = {}
        for key, value in given.items():
            array = np.asarray(value.array if isinstance(value, Variable) else value)
            expected = () if key == "step" else parameter.array.shape
            if array.dtype.kind not in "fiu" or array.shape != expected:
                raise ValueError(
                    f"{name} expects {key} of parameter {index} to be of shape {list(expected)}, "
                    f"got {array.dtype}{list(array.shape)}"
                )
            if key == "step" and not 0 <= array < np.inf:
                raise ValueError(f"{name} expects a count as step of parameter {index}, got {array}")
            copy = kernels.empty((), COUNT) if key == "step" else kernels.empty_like(parameter.array)
            np.copyto(copy, array, casting="unsafe")
            state[key] = wrap(copy)
        return state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


# ---- what `step` gathers ----


def gather(group: dict[str, Any]) -> list[list[Tensor]]:
    """The parameters of a group that have a gradient, those of one type together."""
    batches: dict[np.dtype, list[Tensor]] = {}
    for number, parameter in enumerate(group["params"]):
        if parameter.grad is not None:
            check_gradient(number, parameter)
            batches.setdefault(parameter.array.dtype, []).append(parameter)
    return list(batches.values())


def check_gradient(number: int, parameter: Tensor) -> None:
    w, grad = parameter.array, parameter.grad
    if not isinstance(grad, Variable):
        raise TypeError(f"expected a tensor as the gradient of parameter {number}, got {type_name(grad)}")
    if grad.array.shape != w.shape or grad.array.dtype != w.dtype:
        raise ValueError(
            f"expected the gradient of parameter {number} to be {w.dtype}{list(w.shape)}, "
            f"got {grad.array.dtype}{list(grad.array.shape)}"
        )


def without_gaps(w: np.ndarray) -> np.ndarray:
    """An array as kernels walk it: itself, or a copy of one whose elements do not lie side by side."""
    if w.flags.c_contiguous:
        return w
    dense = kernels.empty_like(w)
    return w if dense.strides == w.strides else kernels.copy(dense, w)


def laid_out_like(model: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An array that lies in memory as the model does: x itself, or a copy."""
    return x if x.strides == model.strides else kernels.copy(kernels.empty_like(model), x)


# ---- what `update` keeps ----


def buffers(states: Sequence[dict[str, Any]], name: str, params: Sequence[np.ndarray]) -> list[np.ndarray]:
    """One array of each parameter's state, laid out as it is: zeros where there is none yet."""
    found = []
    for state, w in zip(states, params, strict=True):
        tensor = state.get(name)
        if tensor is None:
            found.append(kernels.empty_like(w))
            found[-1].fill(0)
        else:
            found.append(laid_out_like(w, tensor.array))
    return found


def keep(states: Sequence[dict[str, Any]], name: str, arrays: Sequence[np.ndarray]) -> None:
    """Puts arrays from `buffers` into the states, once a kernel has taken them."""
    for state, array in zip(states, arrays, strict=True):
        tensor = state.get(name)
        if tensor is None or tensor.array is not array:
            state[name] = wrap(array)


# ---- what is refused ----


def check_parameters(params: Sequence[Any]) -> None:
    for parameter in params:
        if not isinstance(parameter, Variable):
            raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type_name(parameter)}")
        if parameter.creator is not None:
            raise ValueError("can't optimize a non-leaf Tensor")
    if len({id(parameter) for parameter in params}) < len(params):
        raise ValueError("optimizer contains a parameter group with duplicate parameters")


def check_number(what: str, value: Any, below: float | None = None) -> None:
    """Refuses what is not a number of at least 0, in PyTorch's words."""
    if isinstance(value, Variable):
        if value.array.size != 1:
            raise ValueError(f"Tensor {what} must be 1-element")
        value = value.array.item()
    elif not isinstance(value, numbers.Real):
        raise TypeError(f"expected a number as {what}, got {value!r}")
    if not value >= 0 or (below is not None and not value < below):
        raise ValueError(f"Invalid {what}: {value}")


def check_parts(state_dict: Any) -> list[dict[str, Any]]:
    """The groups of a state_dict that has all that one must have."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    state, groups = state_dict.get("state"), state_dict.get("param_groups")
    if not isinstance(state, Mapping) or not isinstance(groups, (list, tuple)):
        raise ValueError(
            'expected a state_dict of an optimizer, {"state": {…}, "param_groups": […]}, '
            f"got the keys {list(state_dict)[:5]}"
        )
    for group in groups:
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), (list, tuple)):
            raise ValueError('expected each of param_groups to be a dict with a list of "params"')
    return [deepcopy(dict(group)) for group in groups]


def type_name(x: Any) -> str:
    """A type as PyTorch names it in its messages."""
    if isinstance(x, Variable):
        return str(x.type())  # type: ignore[attr-defined]
    kind = type(x)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

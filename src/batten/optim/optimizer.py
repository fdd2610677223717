"""What all optimizers have in common: groups of parameters, their options and their state.

An optimizer is the names of what it remembers of each parameter, and one `update`:
`step` gathers the parameters that have a gradient, group by group and type by type,
with their states, and `update` steps each such list with one call of a kernel, in one
pass over memory.

`step` looks at every array anew, so that gradients, states and what parameters show may
be replaced at any time.  In the usual case, where all are as they should be, that
takes one pass over each list; only what is new, or lies otherwise, is looked at singly.

An optimizer knows parameters, never models.  Options and state have PyTorch's names,
so that a `state_dict` goes from here to PyTorch and back.
"""

from __future__ import annotations

import functools
import numbers
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Variable, enable_grad, wrap
from ..nn.hooks import RemovableHandle
from .lists import Arrays, arrays_of, gather, settle, states_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Optimizer"]

NUMBERS = ("step", "mu_product")  # states that are one number for a parameter
Group = dict[str, Any]  # "params", and options
States = dict[str, Arrays]  # of each name, that of all parameters
Flags = np.ndarray | None  # 1 or 0 for each parameter; None is 0 for all

COUNT = np.zeros((), np.float32)  # the model of such a number: no axes, and this type


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A class's `step`, followed by the hooks: where steps call those of their bases, by the outermost alone."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        result = step(self, *args, **kwargs)
        if self.step_hooks and type(self).step is hooked:
            for hook in list(self.step_hooks.values()):
                hook(self, (self, *args), kwargs)
        return result

    return hooked


class Required:
    """The default of an option that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = Required()


class Optimizer:
    """Steps parameters along their gradients.

    `params` are tensors, pairs (name, tensor), or dicts {"params": tensors, option: value}, each
    a group with options of its own; `defaults` are the options of all others, those that are `required` aside.

    A subclass in the house's style names its `states` and `optional` states and defines `update`;
    one in PyTorch's style defines `step` itself and keeps what it likes in `state[parameter]`.

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

    states: tuple[str, ...] | None = None  # what a parameter's state holds; None is anything
    optional: tuple[tuple[str, str], ...] = ()  # (what it holds as well, the option of the group that asks for it)
    needs_closure = False  # whether `step` computes gradients at other weights than the present ones

    state: defaultdict[Any, dict[str, Any]]
    param_groups: list[dict[str, Any]]
    step_hooks: OrderedDict[int, Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.step)  # type: ignore[method-assign]

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
        self.step_hooks = OrderedDict()
        for group in groups:
            self.add_param_group(group)

    def check(self, options: dict[str, Any]) -> None:
        """Refuses options that make no sense: of a subclass in the house's style, among those that many have."""
        if self.states is None:
            return
        for key, what in (
            ("lr", "learning rate"),
            ("eps", "epsilon value"),
            ("momentum", None),
            ("weight_decay", None),
        ):
            if key in options:
                check_number(key, options[key], what)
        if "betas" in options:
            betas = options["betas"]
            if not isinstance(betas, (tuple, list)) or len(betas) != 2:
                raise ValueError(f"{type(self).__name__} expects betas as a pair of numbers, got {betas!r}")
            for index, beta in enumerate(betas):
                check_number(f"betas[{index}]", beta, f"beta parameter at index {index}", below=1)

    def update(self, group: Group, params: Arrays, grads: Arrays, states: States, new: Flags) -> None:
        """Steps parameters of one type by their gradients and states, all of which lie in memory as they do.

        `new` says for each parameter, by 1 or 0, whether it had no such state so far; None is that all had theirs.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither update nor step")

    def fresh(self, name: str, w: np.ndarray) -> np.ndarray:
        """A state of a parameter at the beginning."""
        array = kernels.empty_like(COUNT if name in NUMBERS else w)
        array.fill(0)
        return array

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient; returns what closure, which is called first, returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        # Everything is looked at before the first parameter moves.
        batches = [(group, *batch) for group in self.param_groups for batch in gather(group["params"])]
        recalled = [self.recall(group, batch, params) for group, batch, params, _ in batches]
        for (group, batch, params, grads), (states, made, new) in zip(batches, recalled, strict=True):
            self.update(group, params, grads, states, new)
            for state, name, array in made:  # what the kernel has taken
                state[name] = wrap(array)
            settle(batch, params)
        return loss

    def recall(
        self, group: dict[str, Any], batch: list[Tensor], params: Arrays
    ) -> tuple[States, list[tuple[dict[str, Any], str, np.ndarray]], Flags]:
        """States for `update`, those of them that had to be made and where they belong, and what is new."""
        names = [*(self.states or ()), *(name for name, option in self.optional if group[option])]
        states = states_of(self.state, batch) if names else []
        made = []
        kept: States = {}
        for name in names:
            models = [COUNT] * len(params) if name in NUMBERS else params
            found = arrays_of(states, name)
            if not kernels.lie_alike(models, found):
                for k, (state, model, array) in enumerate(zip(states, models, found, strict=True)):
                    if array is None or not kernels.lie_alike([model], [array]):
                        found[k] = self.fresh(name, model) if array is None else self.copied(name, model, array)
                        made.append((state, name, found[k]))
            kept[name] = found
        new = np.array([not all(name in state for name in names) for state in states], np.uint8) if made else None
        return kept, made, new

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Has `hook(optimizer, args, kwargs)` called after each step, once all parameters have moved.

        Hooks are called in the order in which they came, and not for a step that raises; `args`, which begin with the
        optimizer, and `kwargs` are what `step` was called with.  Operations are recorded where they were around the
        step: a hook that changes parameters does so under `no_grad`.  As in PyTorch, copies of an optimizer, and
        what is pickled of it, have no hooks.

        >>> import batten
        >>> w = batten.zeros(2, requires_grad=True)
        >>> optimizer = batten.optim.SGD([w])
        >>> handle = optimizer.register_step_post_hook(lambda optimizer, args, kwargs: print("stepped"))
        >>> optimizer.step()
        stepped
        >>> handle.remove()
        >>> optimizer.step()
        """
        handle = RemovableHandle(self.step_hooks)
        self.step_hooks[handle.id] = hook
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "step_hooks": OrderedDict()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or fills them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.gradient
                if set_to_none:
                    parameter.gradient = None
                elif gradient is not None:
                    gradient.array.fill(0)
                    gradient.version[0] += 1

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
        if missing := [key for key, value in group.items() if isinstance(value, Required)]:
            raise ValueError(f"parameter group didn't specify a value of required optimization parameter {missing[0]}")
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
        known = (*self.states, *(name for name, _ in self.optional))
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"{name} keeps {', '.join(known)}, but parameter {index} has {', '.join(unknown)}")
        if given and (missing := [name for name in self.states if name not in given]):
            raise ValueError(f"{name} finds no {', '.join(missing)} in the state of parameter {index}")
        state = {}
        for key, value in given.items():
            array = np.asarray(value.array if isinstance(value, Variable) else value)
            copy = self.copied(f"{key} of parameter {index}", COUNT if key in NUMBERS else parameter.array, array)
            if key == "step" and not 0 <= copy < np.inf:
                raise ValueError(f"{name} expects a count as step of parameter {index}, got {array}")
            state[key] = wrap(copy)
        return state

    def copied(self, what: str, model: np.ndarray, array: np.ndarray) -> np.ndarray:
        """A copy of a state, of its model's type and laid out as it is."""
        if array.dtype.kind not in "fiu" or array.shape != model.shape:
            raise ValueError(
                f"{type(self).__name__} expects {what} to be of shape {list(model.shape)}, "
                f"got {array.dtype}{list(array.shape)}"
            )
        copy = kernels.empty_like(model)
        np.copyto(copy, array, casting="unsafe")
        return copy

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for number, group in enumerate(self.param_groups):
            lines = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            text += f"\nParameter Group {number}\n{''.join(lines)}"
        return f"{text})"


# ---- what is refused ----


def check_parameters(params: Sequence[Any]) -> None:
    for parameter in params:
        if not isinstance(parameter, Variable):
            raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type_name(parameter)}")
        if parameter.creator is not None:
            raise ValueError("can't optimize a non-leaf Tensor")
    if len({id(parameter) for parameter in params}) < len(params):
        raise ValueError("optimizer contains a parameter group with duplicate parameters")


def check_number(
    key: str, value: Any, what: str | None = None, *, below: float | None = None, most: float | None = None
) -> None:
    """Refuses what is not a number of at least 0, in PyTorch's words."""
    what = what or f"{key} value"
    if isinstance(value, Variable):
        if value.array.size != 1:
            raise ValueError(f"Tensor {key} must be 1-element")
        value = value.array.item()
    elif not isinstance(value, numbers.Real):
        raise TypeError(f"expected a number as {what}, got {value!r}")
    if not value >= 0 or (below is not None and not value < below) or (most is not None and not value <= most):
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

"""Module: parameters, buffers and children, found by their names.

A module is a constructor and a `forward`.  What is assigned to it stays an ordinary
attribute, in the instance's `__dict__`, so that `self.weight` within `forward` costs
what any attribute costs.  Beside it, `_kinds` says which names are a parameter, a
buffer or a child module, in the order in which they came; a name stays what it is when
its value becomes None.  All else follows from walking these names: `parameters`,
`state_dict`, `to`, `train`, `repr`.
"""

from __future__ import annotations

import builtins
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from .. import dtypes
from ..memory import expect_format, preserve_format
from ..operations.inplace import zero_
from ..operations.promotion import to_type
from ..tensor import Tensor, requested_type
from . import hooks, state, summaries
from .hooks import Hook, Hooks, RemovableHandle
from .kinds import BUFFER, CHILD, EXPECTED, PARAMETER, typename
from .parameter import Parameter

__all__ = ["Module"]


class Module:
    """The base class of layers and models.

    Parameters and modules that are assigned to one are part of it; so is a buffer, a
    tensor that is part of its state but not learnt, once `register_buffer` has named it.

    >>> import batten
    >>> from batten import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(batten.tensor(2.0))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> model = nn.Sequential(Scale(), Scale())
    >>> model
    Sequential(
      (0): Scale()
      (1): Scale()
    )
    >>> list(model.state_dict())
    ['0.factor', '1.factor']
    >>> with batten.no_grad():
    ...     model(batten.tensor([1.0, 3.0]))
    tensor([ 4., 12.])
    """

    training: builtins.bool
    _kinds: dict[str, str]
    _transient: set[str]  # buffers that are not saved
    _forward_hooks: Hooks | None = None

    def __init__(self) -> None:
        for name in self.__dict__.get("_kinds", ()):  # a second call begins anew
            del self.__dict__[name]
        self.__dict__.update(training=True, _kinds={}, _transient=set())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks is None:
            return self.forward(*args, **kwargs)
        return self._forward_hooks.call(self, args, kwargs)

    def _forward_missing(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    forward: Callable[..., Any] = _forward_missing  # a subclass names its own arguments

    # What it consists of

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self.__dict__.get("_kinds", {}).get(name)
        if isinstance(value, Parameter):
            self._check_name(PARAMETER, name, replace=True)
            self._put(PARAMETER, name, value)
        elif isinstance(value, Module) and kind != PARAMETER:
            self._check_name(CHILD, name, replace=True)
            self._put(CHILD, name, value)
        elif kind is None:
            object.__setattr__(self, name, value)
        elif value is None or (kind == BUFFER and isinstance(value, Tensor)):
            self.__dict__[name] = value
        else:
            what, expected = EXPECTED[kind]
            raise TypeError(f"cannot assign '{typename(value)}' as {what} '{name}' ({expected} or None expected)")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self.__dict__.get("_kinds", {}).pop(name, None)

    def __copy__(self) -> Self:
        """A module with the same attributes, whose names are its own from here on."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, _kinds=self._kinds.copy(), _transient=self._transient.copy())
        return copy

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name[0].isdigit()]

    def _check_name(self, kind: str, name: str, replace: builtins.bool = False) -> None:
        """Refuses what cannot be the name of an attribute of that kind."""
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        occupied = name in self.__dict__ and self._kinds.get(name) != kind and not replace
        if occupied or hasattr(type(self), name):
            raise KeyError(f"attribute '{name}' already exists")

    def _put(self, kind: str, name: str, value: Any) -> None:
        """Makes an attribute part of the module: behind those of its kind, or in its old place among them."""
        if kind == PARAMETER and value is not None and value.creator is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. "
                f"To express '{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        if self._kinds.get(name) != kind:
            self._kinds.pop(name, None)
            self._kinds[name] = kind
        self.__dict__[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter; None keeps a name and a place for one."""
        self._check_name(PARAMETER, name)
        if not (param is None or isinstance(param, Parameter)):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' (batten.nn.Parameter or None required)"
            )
        self._put(PARAMETER, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: builtins.bool = True) -> None:
        """Adds a tensor that is part of the state, though not learnt; `state_dict` has it only if it is persistent."""
        self._check_name(BUFFER, name)
        if not (tensor is None or isinstance(tensor, Tensor)):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (batten.Tensor or None required)"
            )
        self._put(BUFFER, name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Adds a child, under a name that need not be a Python one."""
        check_module(module)
        self._check_name(CHILD, name)
        self._put(CHILD, name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as `register_module`."""
        self.register_module(name, module)

    # Walking it

    def _own(self, kind: str) -> dict[str, Any]:
        """What this module itself has of a kind, by name, with None where a name has no value."""
        values = self.__dict__
        return {name: values[name] for name, of in self._kinds.items() if of == kind}

    def _own_state(self) -> dict[str, Tensor]:
        """This module's own entries of `state_dict`, without the prefix."""
        buffers = {name: x for name, x in self._own(BUFFER).items() if name not in self._transient}
        return {name: x for name, x in {**self._own(PARAMETER), **buffers}.items() if x is not None}

    def _named(
        self, kind: str, prefix: str, recurse: builtins.bool, remove_duplicate: builtins.bool
    ) -> Iterator[tuple[str, Any]]:
        """What there is of a kind in the module and below it, by path."""
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, x in module._own(kind).items():
                if x is None or x in seen:
                    continue
                if remove_duplicate:
                    seen.add(x)
                yield f"{path}.{name}" if path else name, x

    def parameters(self, recurse: builtins.bool = True) -> Iterator[Parameter]:
        """What is to be learnt, each once: what an optimizer is given."""
        return (x for _, x in self.named_parameters(recurse=recurse))

    def named_parameters(
        self, prefix: str = "", recurse: builtins.bool = True, remove_duplicate: builtins.bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their paths, such as "encoder.0.weight"."""
        return self._named(PARAMETER, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: builtins.bool = True) -> Iterator[Tensor]:
        """The tensors that are state, though not learnt."""
        return (x for _, x in self.named_buffers(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: builtins.bool = True, remove_duplicate: builtins.bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their paths."""
        return self._named(BUFFER, prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The modules assigned to this one, each once."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The children with their names."""
        seen = set()
        for name, module in self._own(CHILD).items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: builtins.bool = True) -> Iterator[Module]:
        """This module and all below it, each once, parents before children."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: builtins.bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their paths; its own is the prefix."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._own(CHILD).items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "encoder.0"; the empty path is this module's own."""
        module = self
        for name in target.split(".") if target else ():
            module = module._attribute(name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path."""
        path, _, name = target.rpartition(".")
        x = self.get_submodule(path)._attribute(name)
        if not isinstance(x, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return x

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        x = module._attribute(name)
        if module._kinds.get(name) != BUFFER:
            raise AttributeError(f"`{name}` is not a buffer")
        return x

    def _attribute(self, name: str) -> Any:
        if not hasattr(self, name):
            raise AttributeError(f"{type(self).__name__} has no attribute `{name}`")
        return getattr(self, name)

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Calls a function with every module below this one, then with this one: to initialise, for example."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # What all of it does together

    def train(self, mode: builtins.bool = True) -> Self:
        """Makes the layers that differ, such as dropout, behave as in training."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Makes the layers that differ, such as dropout, behave as in use: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: builtins.bool = True) -> Self:
        """Asks for the gradients of all parameters, or freezes them."""
        for x in self.parameters():
            x.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: builtins.bool = True) -> None:
        """Forgets the gradients of all parameters, or sets them to zero in place."""
        for x in self.parameters():
            if set_to_none:
                x.grad = None
            elif x.grad is not None:
                zero_(x.grad)

    # In another type

    def to(
        self,
        target: Any = None,
        dtype: Any = None,
        non_blocking: builtins.bool = False,
        *,
        device: Any = None,
        memory_format: Any = preserve_format,
    ) -> Self:
        """Parameters and buffers of floats in another type: `to(dtype)`, `to(tensor)`, `to("cpu")`.

        A memory_format changes nothing: images lie with their channels last in any case, and parameters as kernels
        want them.
        """
        expect_format("to", memory_format)
        wanted = requested_type(target, dtype, device)
        if wanted is None:
            return self
        if wanted.kind != "f":
            raise TypeError(f"nn.Module.to only accepts floating point dtypes, but got desired dtype={wanted}")
        return self._convert(lambda x: to_type(x, wanted) if x.array.dtype.kind == "f" else x)

    def float(self) -> Self:
        """Parameters and buffers of floats as float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Parameters and buffers of floats as float64."""
        return self.to(dtypes.float64)

    def type(self, dst_type: Any) -> Self:
        """All parameters and buffers, integers too, in another type."""
        wanted = dtypes.as_dtype(dst_type)
        learnt = [name for name, x in self.named_parameters() if x.requires_grad]
        if wanted.kind != "f" and learnt:
            raise RuntimeError(f"only tensors of floats can require gradients, as {learnt[0]} does, got {wanted}")
        return self._convert(lambda x: to_type(x, wanted))

    def cpu(self) -> Self:
        """The module itself: it is there."""
        return self

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Puts other values in all parameters, which stay the same objects, and other tensors in place of buffers."""
        for x in self.parameters():
            x.data = convert(x.data)
            if x.grad is not None:
                x.grad.data = convert(x.grad.data)
        for module in self.modules():
            for name, buffer in module._own(BUFFER).items():
                if buffer is not None:
                    module.__dict__[name] = convert(buffer)
        return self

    # Its state

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: builtins.bool = False
    ) -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by path.  They show the module's memory, off the tape unless `keep_vars`.

        >>> from batten import nn
        >>> nn.Sequential().state_dict()
        OrderedDict()
        """
        destination = OrderedDict() if destination is None else destination
        for name, x in self._own_state().items():
            destination[prefix + name] = x if keep_vars else x.detach()
        for name, module in self._own(CHILD).items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: builtins.bool = True, assign: builtins.bool = False
    ) -> state._IncompatibleKeys:
        """Copies values into the parameters and buffers that have their names.

        The values are tensors, arrays, or anything that NumPy can take for an array, such as PyTorch's
        tensors; they are cast to the types that are here.  With `assign` they take the place of what is here,
        with their types and memory.  Names that are too few or too many are refused, unless `strict`
        is False; they are returned.  When anything is refused, nothing is changed.

        >>> from batten import nn
        >>> nn.Sequential().load_state_dict({})
        <All keys matched successfully>
        """
        return state.load(self, state_dict, strict, assign)

    # What it takes

    def summary(self, input_size: Sequence[int], dtype: Any = None) -> summaries.Summary:
        """Its layers for an input of a size (N, *): results, parameters, multiply-adds, memory; `nn.summary`."""
        return summaries.summary(self, input_size, dtype)

    def _multiply_adds(self, inputs: builtins.int, outputs: builtins.int) -> builtins.int:
        """How many multiplications, each with an addition, make so many outputs of so many inputs."""
        return 0

    def _in_a_row(self) -> Sequence[str]:
        """Names of children of which forward gives each what the one before returned, and nobody else.

        Only the class that has the forward can say that; others inherit nothing (`nn.utils.fuse_bn`).
        """
        return ()

    # Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: builtins.bool = False, with_kwargs: builtins.bool = False
    ) -> RemovableHandle:
        """Has `hook(module, args)` called before each forward; what it returns, unless None, are the new arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which returns None or (args, kwargs).
        """
        self._forward_hooks = self._forward_hooks or Hooks()
        return hooks.add(self._forward_hooks.before, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: builtins.bool = False,
        with_kwargs: builtins.bool = False,
        always_call: builtins.bool = False,
    ) -> RemovableHandle:
        """Has `hook(module, args, output)` called after each forward; what it returns, unless None, is the new output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; with `always_call` it is called
        even after an exception, with what output there is.
        """
        self._forward_hooks = self._forward_hooks or Hooks()
        return hooks.add(self._forward_hooks.after, Hook(hook, with_kwargs, always_call), prepend)

    # How it is written

    def extra_repr(self) -> str:
        """What a subclass has to say of itself between the brackets of `repr`."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {indented(repr(module))}" for name, module in self._own(CHILD).items()]
        lines = [*(extra.split("\n") if extra else ()), *children]
        if len(lines) == 1 and not children:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}({block(lines)})"


def check_module(module: Any) -> None:
    """Refuses what cannot be a child."""
    if isinstance(module, type) and issubclass(module, Module):
        raise TypeError(f"expected a module, got the class {module.__name__}; write {module.__name__}(...)")
    if not (module is None or isinstance(module, Module)):
        raise TypeError(f"{typename(module)} is not a Module subclass")


def block(lines: list[str]) -> str:
    """Lines between brackets, one below the other."""
    return "\n  " + "\n  ".join(lines) + "\n" if lines else ""


def indented(text: str) -> str:
    """All lines but the first moved to the right."""
    return text.replace("\n", "\n  ")

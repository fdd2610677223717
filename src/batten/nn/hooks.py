"""Forward hooks: functions called before and after a module's forward.

A module that has any keeps them in a `Hooks`; one that has none pays for a single
comparison in each call.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .module import Module

__all__ = ["RemovableHandle"]

numbers = itertools.count()


class Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class RemovableHandle:
    """What registering a hook returns: `remove()`, or the end of a `with` block, takes the hook away.

    >>> from batten import nn
    >>> layer = nn.Sequential()
    >>> with layer.register_forward_hook(lambda module, args, output: print("called")):
    ...     _ = layer(1)
    called
    >>> _ = layer(1)
    """

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self.hooks = hooks
        self.id = next(numbers)

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks:
    """The hooks of one module, in the order in which they are called."""

    def __init__(self) -> None:
        self.before: OrderedDict[int, Hook] = OrderedDict()
        self.after: OrderedDict[int, Hook] = OrderedDict()

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The module's forward with its hooks around it."""
        result = None
        waiting = {id: hook for id, hook in self.after.items() if hook.always_call}
        try:
            for hook in list(self.before.values()):
                args, kwargs = prepared(hook, module, args, kwargs)
            result = module.forward(*args, **kwargs)
            for id, hook in list(self.after.items()):
                waiting.pop(id, None)
                result = followed(hook, module, args, kwargs, result)
            return result
        except Exception:
            for hook in waiting.values():
                try:
                    result = followed(hook, module, args, kwargs, result)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced "
                        f"as another error was raised in forward: {error}",
                        stacklevel=3,
                    )
            raise


def add(hooks: OrderedDict[int, Hook], hook: Hook, prepend: bool) -> RemovableHandle:
    """Puts a hook behind those that are there, or before them."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def prepared(hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of forward after one hook has seen them."""
    if not hook.with_kwargs:
        changed = hook.function(module, args)
        if changed is None:
            return args, kwargs
        return (changed if isinstance(changed, tuple) else (changed,)), kwargs
    changed = hook.function(module, args, kwargs)
    if changed is None:
        return args, kwargs
    if not isinstance(changed, tuple) or len(changed) != 2:
        raise RuntimeError(
            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
        )
    return changed


def followed(hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    """The result of forward after one hook has seen it."""
    given = (args, kwargs, result) if hook.with_kwargs else (args, result)
    changed = hook.function(module, *given)
    return result if changed is None else changed

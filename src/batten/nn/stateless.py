"""Modules made from functions: `ReLU = stateless("ReLU", relu)`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from ..tensor import Tensor
from .module import Module

__all__ = ["stateless"]

EMPTY: Any = inspect.Parameter.empty


class Stateless(Module):
    """What all classes made by `stateless` have in common."""

    function: ClassVar[Callable[..., Any]]
    __signature__: ClassVar[inspect.Signature]  # the constructor's
    passed: ClassVar[tuple[str, ...]]  # the attributes that the function is given behind its inputs
    inputs: ClassVar[int]  # how many parameters stand before these
    shown: ClassVar[str | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"expected {type(self).__name__}{self.__signature__}: {error}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        values = self.__dict__
        passed = [values[name] for name in self.passed]
        if len(inputs) == self.inputs and not named:
            return self.function(*inputs, *passed)
        return self.function(*inputs, **named, **dict(zip(self.passed, passed, strict=True)))

    def extra_repr(self) -> str:
        if self.shown is not None:
            return self.shown.format_map(vars(self))
        names = [name for name in self.__signature__.parameters if name != "inplace" or getattr(self, name)]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def stateless(name: str, function: Callable[..., Any], shown: str | None = None, **parameters: Any) -> type[Stateless]:
    """A class of modules that call a function.

    The constructor takes what the function takes beside its inputs, with the function's
    defaults: inputs are the parameters that have none.  Where the constructor differs,
    `parameters` are all that it takes, with EMPTY as the default of one that must be given.  A
    parameter `training` of the function is told the module's mode.

    `repr` shows the arguments by name, `inplace` only if it is True; or what `shown`, a
    format string, says.

    The class belongs to the module that calls this, which must bind it to its name, so that pickle finds it.

    >>> import batten
    >>> from batten.nn.stateless import stateless
    >>> def power(input, exponent=2.0):
    ...     return input**exponent
    >>> Power = stateless("Power", power)
    >>> Power(exponent=3.0)
    Power(exponent=3.0)
    >>> Power()(batten.tensor([1.0, 2.0]))
    tensor([1., 4.])
    """
    own = inspect.signature(function).parameters
    taken = parameters or {p.name: p.default for p in own.values() if p.default is not EMPTY and p.name != "training"}
    passed = tuple([key for key in own if key in taken or key == "training"])
    inputs = list(own).index(passed[0]) if passed else len(own)
    assert tuple(own)[inputs : inputs + len(passed)] == passed, f"{name} passes what does not follow its inputs"
    return type(
        name,
        (Stateless,),
        {
            "__doc__": (inspect.getdoc(function) or "").partition("\n")[0],
            "__module__": sys._getframe(1).f_globals["__name__"],
            "function": staticmethod(function),
            "__signature__": inspect.Signature(
                [inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=taken[key]) for key in taken]
            ),
            "passed": passed,
            "inputs": inputs,
            "shown": shown,
        },
    )

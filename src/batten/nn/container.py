"""Modules that hold modules: Sequential, ModuleList and ModuleDict."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import groupby
from typing import Any, Self

from .fusion import together
from .kinds import CHILD
from .module import Module, block, check_module, indented

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class Numbered(Module):
    """A module whose children are a list.  Their names are their numbers, unless they came with others."""

    def __len__(self) -> int:
        return len(self._own(CHILD))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own(CHILD).values())

    def _position(self, idx: Any) -> int:
        idx = operator.index(idx)
        if not -len(self) <= idx < len(self):
            raise IndexError(f"index {idx} is out of range")
        return idx

    def __getitem__(self, idx: Any) -> Any:
        return list(self)[self._position(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, list(self._own(CHILD))[self._position(idx)], module)

    def __delitem__(self, idx: int | slice) -> None:
        """Takes children away; those that stay are numbered anew."""
        modules = list(self)
        del modules[idx if isinstance(idx, slice) else self._position(idx)]
        self._hold([], modules)

    def _hold(self, names: list[str], modules: list[Module]) -> None:
        """Makes these the children: the first under names that they have, the others numbered."""
        names = names + [str(number) for number in range(len(names), len(modules))]
        if len(set(names)) < len(names):
            raise KeyError(f"modules cannot share a name, got {names}")
        for name in self._own(CHILD):
            delattr(self, name)
        for name, module in zip(names, modules, strict=True):
            self.add_module(name, module)

    def append(self, module: Module) -> Self:
        """Adds a module at the end, and returns the container."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Adds modules at the end, and returns the container."""
        if not isinstance(modules, Iterable):
            name = type(self).__name__
            raise TypeError(f"{name}.extend should be called with an iterable, but got {type(modules).__name__}")
        modules = list(modules)
        for module in modules:
            check_module(module)
        self._hold(list(self._own(CHILD)), [*self, *modules])
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Puts a module before the one at an index, numbers it and those behind it, and returns the container."""
        check_module(module)
        index = operator.index(index)
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        names, modules = list(self._own(CHILD)), list(self)
        modules.insert(index, module)
        self._hold(names[:index], modules)
        return self

    def pop(self, key: int | slice) -> Any:
        """Takes a child away, and returns it."""
        module = self[key]
        del self[key]
        return module


class Sequential(Numbered):
    """Modules one after the other: each is given what the one before returned.

    >>> from collections import OrderedDict
    >>> from batten import nn
    >>> nn.Sequential(OrderedDict(first=nn.Sequential(), second=nn.Sequential()))[:1]
    Sequential(
      (first): Sequential()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        modules, at = [*iter(self)], 0  # of the list itself Python would ask the length first
        while at < len(modules):
            input, at = together(modules, at, input)
        return input

    def _in_a_row(self) -> list[str]:
        return list(self._own(CHILD))

    def __getitem__(self, idx: Any) -> Any:
        """A module, or for a slice a Sequential of some, under the names that they have here."""
        if isinstance(idx, slice):
            return type(self)(OrderedDict(list(self._own(CHILD).items())[idx]))
        return super().__getitem__(idx)

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential().extend(self).extend(sequential(other))

    def __iadd__(self, other: Sequential) -> Self:
        return self.extend(sequential(other))

    def __mul__(self, other: int) -> Sequential:
        """The same modules, sharing their parameters, several times over."""
        return Sequential().extend(list(self) * self._factor(other))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        return self.extend(list(self) * (self._factor(other) - 1))

    def _factor(self, other: Any) -> int:
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")
        return other


def sequential(other: Any) -> Sequential:
    if not isinstance(other, Sequential):
        raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")
    return other


class ModuleList(Numbered):
    """A list of modules, which are part of whatever it is part of.

    >>> from batten import nn
    >>> nn.ModuleList([nn.Sequential(), nn.Sequential()])
    ModuleList(
      (0-1): 2 x Sequential()
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, idx: Any) -> Any:
        """A module, or for a slice a ModuleList of some."""
        return type(self)(list(self)[idx]) if isinstance(idx, slice) else super().__getitem__(idx)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(self).extend(other)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __repr__(self) -> str:
        """The modules by number; neighbours that look alike are written once."""
        lines = []
        first = 0
        for text, alike in groupby(map(repr, self)):
            count = len(list(alike))
            numbers, times = (f"{first}-{first + count - 1}", f"{count} x ") if count > 1 else (str(first), "")
            lines.append(f"({numbers}): {times}{indented(text)}")
            first += count
        return f"{type(self).__name__}({block(lines)})"


class ModuleDict(Module):
    """A dict of modules, which are part of whatever it is part of.

    >>> from batten import nn
    >>> nn.ModuleDict({"body": nn.Sequential(), "head": nn.Sequential()})
    ModuleDict(
      (body): Sequential()
      (head): Sequential()
    )
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._own(CHILD)[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._own(CHILD))

    def __iter__(self) -> Iterator[str]:
        return iter(self._own(CHILD))

    def __contains__(self, key: object) -> bool:
        return key in self._own(CHILD)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._own(CHILD).keys()

    def values(self) -> ValuesView[Any]:
        """The modules."""
        return self._own(CHILD).values()

    def items(self) -> ItemsView[str, Any]:
        """The names with their modules."""
        return self._own(CHILD).items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Adds modules, or puts them in the place of those of the same names, in the order given."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                "ModuleDict.update should be called with an iterable of key/value pairs, "
                f"but got {type(modules).__name__}"
            )
        elements: Any = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        pairs = [as_pair(number, element) for number, element in enumerate(elements)]
        for name, module in pairs:
            check_module(module)
            self._check_name(CHILD, name)
        for name, module in pairs:
            self[name] = module

    def pop(self, key: str) -> Any:
        """Takes a module away, and returns it."""
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Takes all modules away."""
        for name in self:
            delattr(self, name)


def as_pair(number: int, element: Any) -> Any:
    if not isinstance(element, Iterable):
        raise TypeError(f"ModuleDict update sequence element #{number} should be Iterable; is {type(element).__name__}")
    pair = tuple(element)
    if len(pair) != 2:
        raise ValueError(f"ModuleDict update sequence element #{number} has length {len(pair)}; 2 is required")
    return pair

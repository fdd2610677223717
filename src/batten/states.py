"""What states from files are compared with: their entries, and the types and shapes of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .autograd import Variable
from .nn.kinds import typename

__all__: list[str] = []

NONE = type(None)


def check_entries(what: str, state: Any, kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Refuses a state that is no dict, or has other entries than these, or of other types."""
    if not isinstance(state, Mapping):
        raise ValueError(f"expected {what} to be a dict, got {described(state)}")
    check_keys(what, kinds, state)
    for name, allowed in kinds.items():
        value = state[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join("None" if kind is NONE else kind.__name__ for kind in allowed)
            raise ValueError(f"expected {names} as {name} of {what}, got {described(value)}")


def check_keys(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
    if missing := [str(key) for key in expected if key not in found]:
        raise ValueError(f"{what} has no {', '.join(missing[:5])}")
    if unknown := [str(key) for key in found if key not in expected]:
        raise ValueError(f"{what} has an unknown {', '.join(unknown[:5])}")


def check_alike(where: str, expected: Any, found: Any) -> None:
    """Refuses what has other keys, lengths, types or shapes than what is there.

    Numbers are ints or floats; None, and what is empty, says nothing of what it will be.
    """
    if expected is None or (
        isinstance(expected, (Mapping, list)) and isinstance(found, type(expected)) and not expected
    ):
        return
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        check_keys(where, expected, found)
        for key, value in expected.items():
            check_alike(f"{where}.{key}", value, found[key])
    elif isinstance(expected, (list, tuple)) and type(found) is type(expected) and len(found) == len(expected):
        for number, (value, other) in enumerate(zip(expected, found, strict=True)):
            check_alike(f"{where}[{number}]", value, other)
    elif not (described(expected) == described(found) or (is_number(expected) and is_number(found))):
        raise ValueError(f"expected {described(expected)} as {where}, got {described(found)}")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def described(value: Any) -> str:
    """What something is, in a message."""
    if isinstance(value, (Variable, np.ndarray)):
        array = value.array if isinstance(value, Variable) else value
        return f"{typename(value)} of {array.dtype} {list(array.shape)}"
    if value is None:
        return "None"
    return f"{typename(value)} of {len(value)}" if isinstance(value, (dict, list, tuple)) else typename(value)

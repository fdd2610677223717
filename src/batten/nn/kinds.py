"""The kinds of attributes that a module consists of, and what errors call them."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

__all__: list[str] = []

PARAMETER, BUFFER, CHILD = "parameter", "buffer", "module"

# What to assign to an attribute of a kind, for errors.
EXPECTED = {
    PARAMETER: ("parameter", "batten.nn.Parameter"),
    BUFFER: ("buffer", "batten.Tensor"),
    CHILD: ("child module", "batten.nn.Module"),
}


def typename(x: Any) -> str:
    """The type of a thing: 'batten.FloatTensor', 'list', 'mypackage.Thing'."""
    if isinstance(x, Tensor):
        return x.type()
    kind = type(x)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

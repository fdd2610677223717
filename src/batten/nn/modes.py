"""The modes of a model's modules, training or evaluation, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module

__all__: list[str] = []


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Puts the modes of all modules back when the block ends."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

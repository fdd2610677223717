"""A model that is tried out, and is afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from ..random import drawing
from .generators import named_generators

if TYPE_CHECKING:
    from .module import Module

__all__: list[str] = []


@contextmanager
def unchanged(model: Module) -> Iterator[None]:
    """Puts back what a model is when the block ends, also by an exception.

    These are the attributes of its modules, with their modes and hooks; parameters, buffers and their gradients, bit
    by bit and with their versions, so that what was recorded before can still go backward; and the states of the
    default generator and of the modules' own.  What an attribute refers to beside these, such as a list of the user's
    own, is not looked into.
    """
    own = [generator for _, generator in named_generators(model)]
    states = [(generator, generator.get_state()) for generator in (drawing.generator, *own)]
    modules = [(module, vars(copy(module))) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [x.gradient for x in tensors if x.gradient is not None]
    kept = [
        # A version's counts, not the list itself: whoever else holds that counts as showing the memory.
        (x, (x.array, x.tracked, x.creator, x.index, x.gradient), x.array.copy(), tuple(x.version))
        for x in tensors
    ]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)
        for module, attributes in modules:
            vars(module).clear()
            vars(module).update(attributes)
        for x, place, values, version in kept:
            x.array, x.tracked, x.creator, x.index, x.gradient = place
            if x.array.tobytes() != values.tobytes():
                np.copyto(x.array, values)
            x.version[:] = version

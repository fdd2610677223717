"""The random numbers of a model's own: the states of the generators that its layers were given.

A `state_dict` has parameters and buffers, as PyTorch's does, and no generator.  A layer with a `generator=` therefore
goes on exactly where it stopped only if that one's state, too, is kept; all others draw from the default generator,
whose state is `batten.get_rng_state()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..random import Generator

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .module import Module

__all__ = ["generators_state", "load_generators_state"]


def named_generators(model: Module) -> Iterator[tuple[str, Generator]]:
    """The generators that are attributes of a model's modules, with their paths; one of several layers has several."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Generator):
                yield f"{path}.{name}" if path else name, value


def generators_state(model: Module) -> dict[str, Tensor]:
    """The states of the generators of a model's layers by path, each (16,), to be saved beside its `state_dict`.

    >>> import batten
    >>> from batten import nn
    >>> from batten.nn.generators import generators_state, load_generators_state
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5, generator=batten.Generator()))
    >>> state = generators_state(model)
    >>> list(state)
    ['1.generator']
    >>> x = batten.ones(2, 4)
    >>> before = model(x)
    >>> load_generators_state(model, state)
    >>> before.tolist() == model(x).tolist()
    True
    """
    return {path: generator.get_state() for path, generator in named_generators(model)}


def load_generators_state(model: Module, state: Mapping[str, Tensor]) -> None:
    """Puts the generators of a model's layers into states from `generators_state`.

    A ValueError if the paths are not those of the model's generators, a TypeError or ValueError if one has no state of
    a generator; then none is changed.
    """
    generators = dict(named_generators(model))
    if generators.keys() != state.keys():
        raise ValueError(
            f"expected the states of the generators {sorted(generators)} of {type(model).__name__}, got {sorted(state)}"
        )
    for new_state in state.values():
        Generator().set_state(new_state)
    for path, generator in generators.items():
        generator.set_state(state[path])

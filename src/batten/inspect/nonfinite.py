"""Where the first number came from that is none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn import Module
from ..nn.generators import load_generators_state
from ..nn.summaries import tensors
from ..nn.unchanged import unchanged
from ..random import set_rng_state
from ..tensor import Tensor

__all__: list[str] = []


def first_not_finite(model: Module, x: Any, rng: Tensor, generators: Mapping[str, Tensor]) -> str:
    """A sentence on the first module whose output has numbers that are inf or NaN, in a forward of x.

    `rng` and `generators` are the states of the default generator and of the layers' own, as `generators_state` gives
    them, in which they are to be for that.  Afterwards the model and the generators are as they were.
    """
    found = []

    def look(name: str, module: Module, args: Any, output: Any) -> None:
        if not finite(output):
            found.append(f"{name} ({type(module).__name__})" if name else f"the model ({type(module).__name__})")

    if not finite(x):
        return "the batch itself has numbers that are not finite"
    with unchanged(model), no_grad(), ExitStack() as hooks:
        set_rng_state(rng)
        load_generators_state(model, generators)
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_hook(partial(look, name)))
        model(x)
    return f"the first output that is not finite is that of {found[0]}" if found else "all layers' outputs are finite"


def finite(value: Any) -> bool:
    return all(np.isfinite(x.array).all() for x in tensors(value) if x.array.dtype.kind == "f")

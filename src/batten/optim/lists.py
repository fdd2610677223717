"""The lists that an optimizer's `step` gives to a kernel.

What is here is done for every parameter in every step: of small ones, that takes longer than the kernel does.

This file is plain Python, and runs as such.  The build also compiles it, as it does tape.py;
`lists.pxd` says where the fields of a `Variable` are met, if it has any in C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels

if TYPE_CHECKING:
    from ..tensor import Tensor

Arrays = list[np.ndarray]
Batch = tuple[list["Tensor"], Arrays, Arrays]  # parameters, what they show, and their gradients


def gather(params: Sequence[Tensor]) -> list[Batch]:
    """Those parameters that have a gradient, of each type, with their arrays and their gradients'."""
    batch: Any = []
    arrays: Any = []
    grads: Any = []
    for parameter in params:
        gradient = parameter.gradient
        if gradient is not None:
            batch.append(parameter)
            arrays.append(parameter.array)
            grads.append(gradient.array)
    if kernels.lie_alike(arrays, grads):
        return [(batch, arrays, grads)] if batch else []
    types: dict[np.dtype, Batch] = {}
    for number, parameter in enumerate(params):
        if parameter.gradient is not None:
            check_gradient(number, parameter)
            batch, arrays, grads = types.setdefault(parameter.array.dtype, ([], [], []))
            batch.append(parameter)
            arrays.append(without_gaps(parameter.array))
            grads.append(laid_out_like(arrays[-1], parameter.gradient.array))
    return list(types.values())


def check_gradient(number: int, parameter: Tensor) -> None:
    """The gradient was like its parameter when it came, but the parameter's data may have been replaced."""
    w, g = parameter.array, parameter.gradient.array
    if g.shape != w.shape or g.dtype != w.dtype:
        raise ValueError(
            f"expected the gradient of parameter {number} to be {w.dtype}{list(w.shape)}, got {g.dtype}{list(g.shape)}"
        )


def without_gaps(w: np.ndarray) -> np.ndarray:
    """An array as kernels walk it: itself, or a copy of one whose elements do not lie side by side."""
    return w if kernels.lie_alike([w], [w]) else kernels.copy(kernels.empty_like(w), w)


def laid_out_like(model: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An array that lies in memory as the model does: x itself, or a copy."""
    return x if kernels.lie_alike([model], [x]) else kernels.copy(kernels.empty_like(model), x)


def states_of(state: Mapping[Any, Any], batch: list[Tensor]) -> list[Any]:
    """What an optimizer keeps of each parameter."""
    states = []
    for parameter in batch:
        states.append(state[parameter])
    return states


def arrays_of(states: list[Any], name: str) -> list[Any]:
    """The array of that name in each state, or None."""
    arrays: list[Any] = []
    for state in states:
        if name in state:
            tensor = state[name]
            arrays.append(tensor.array)
        else:
            arrays.append(None)
    return arrays


def settle(batch: list[Tensor], arrays: Arrays) -> None:
    """After a step: each parameter has been changed, and shows it even if its array had to be copied."""
    for k, parameter in enumerate(batch):
        if parameter.array is not arrays[k]:
            np.copyto(parameter.array, arrays[k])
        version = parameter.version
        version[0] += 1

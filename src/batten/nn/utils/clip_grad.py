"""Gradients that are cut down to a norm, or to a greatest size.

A step along a gradient of any length lands nowhere in particular where a loss is steep (Pascanu, Mikolov & Bengio
2013).  Clipping the norm keeps its direction, clipping values does not.

Sums are in double precision, so that a norm of float32 overflows only where it is itself too large: PyTorch's does so
where the squares are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _kernels as kernels
from ... import dtypes
from ...autograd import Variable, wrap

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales gradients in place so that their norm, all of them as one vector g, is at most max_norm; returns |g|.

        g ← g min(1, max_norm / (|g| + 10⁻⁶)),     |g| = (Σ |gᵢ|^p)^(1/p)

    p is norm_type; inf is the greatest |gᵢ|, -inf the least, and 0 counts those that are not 0.  parameters are
    tensors or one tensor; those without a gradient do not count, and one that is met twice counts once.

    A norm that is infinite or NaN goes into the product as any other, and leaves noughts and NaNs; unless
    error_if_nonfinite says that it is a RuntimeError, and all stay as they are.  foreach is for PyTorch's sake: there
    is one way here, one pass over memory for the norm, and another one if it is too large.

    >>> import batten
    >>> w = batten.tensor([1.0, 1.0], requires_grad=True)
    >>> (w * batten.tensor([3.0, 4.0])).sum().backward()
    >>> batten.nn.utils.clip_grad_norm_(w, max_norm=1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    if isinstance(parameters, Generator):
        parameters = list(parameters)
        if not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.", UserWarning, stacklevel=2
            )
    grads = gradients(parameters)
    total_norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    scale(grads, clip_factor(max_norm, total_norm))
    return total_norm


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of some tensors as one vector, as `clip_grad_norm_` takes it of gradients.

    It is of their type, of the wider one where there are two, and 0 of no tensors.

    >>> import batten
    >>> batten.nn.utils.get_total_norm([batten.tensor([2.0, 4.0]), batten.tensor([[4.0]])])
    tensor(6.)
    >>> batten.nn.utils.get_total_norm([batten.tensor([2.0, 4.0]), batten.tensor([[4.0]])], norm_type=1)
    tensor(10.)
    """
    p = float(norm_type)
    lists = [arrays for _, arrays in by_type([tensors] if isinstance(tensors, Variable) else list(tensors))]
    sums = [kernels.power_sums(np.empty(len(arrays)), arrays, p) for arrays in lists]
    dtype = np.result_type(*[arrays[0].dtype for arrays in lists]) if lists else dtypes.get_default_dtype()
    with np.errstate(all="ignore"):
        norm = np.asarray(root(np.concatenate(sums), p) if sums else 0).astype(dtype)
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, "
            "set `error_if_nonfinite=False`"
        )
    return wrap(norm)


def root(sums: np.ndarray, p: float) -> Any:
    """The norm of several vectors as one, from what `power_sums` finds of each."""
    if math.isinf(p):
        return sums.max() if p > 0 else sums.min()
    total = sums.sum()
    return total if p in (0, 1) else np.sqrt(total) if p == 2 else total ** (1 / p)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scales gradients in place as `clip_grad_norm_` does, by a norm that is known already.

    >>> import batten
    >>> w = batten.tensor([1.0, 1.0], requires_grad=True)
    >>> (w * batten.tensor([3.0, 4.0])).sum().backward()
    >>> batten.nn.utils.clip_grads_with_norm_(w, max_norm=1.0, total_norm=batten.tensor(10.0))
    >>> w.grad
    tensor([0.3000, 0.4000])
    """
    scale(gradients(parameters), clip_factor(max_norm, total_norm))


def clip_factor(max_norm: float, total_norm: Tensor) -> float:
    if not max_norm >= 0:
        raise ValueError(f"expected a max_norm of at least 0, got {max_norm}")
    return float(max_norm) / (float(total_norm) + 1e-6)


def scale(grads: list[Tensor], factor: float) -> None:
    """Multiplies gradients by a factor of at most 1, and 1 changes no bit of them."""
    if factor >= 1:
        return
    for batch, arrays in by_type(grads):
        kernels.scale_all(arrays, factor)
        changed(batch, arrays)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Puts what is beyond ±clip_value in gradients at it, in place; NaN stays.

    >>> import batten
    >>> w = batten.tensor([1.0, 1.0], requires_grad=True)
    >>> (w * batten.tensor([3.0, -0.5])).sum().backward()
    >>> batten.nn.utils.clip_grad_value_(w, 1.0)
    >>> w.grad
    tensor([ 1.0000, -0.5000])
    """
    if not clip_value >= 0:
        raise ValueError(f"expected a clip_value of at least 0, got {clip_value}")
    for batch, arrays in by_type(gradients(parameters)):
        kernels.clamp_all(arrays, -clip_value, clip_value)
        changed(batch, arrays)


def gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Those that there are, each once."""
    found = {}
    for parameter in [parameters] if isinstance(parameters, Variable) else parameters:
        if not isinstance(parameter, Variable):
            raise TypeError(f"expected tensors whose gradients are to be clipped, got {type(parameter).__name__}")
        if parameter.gradient is not None:
            found[id(parameter.gradient)] = parameter.gradient
    return list(found.values())


def by_type(tensors: list[Tensor]) -> list[tuple[list[Tensor], list[np.ndarray]]]:
    """Tensors of each type, and their arrays as kernels walk them: copies of those that have gaps."""
    arrays = [x.array for x in tensors]
    if kernels.lie_alike(arrays, arrays):
        return [(tensors, arrays)] if tensors else []
    types: dict[np.dtype, tuple[list[Tensor], list[np.ndarray]]] = {}
    for x, array in zip(tensors, arrays, strict=True):
        batch, walked = types.setdefault(array.dtype, ([], []))
        batch.append(x)
        walked.append(array if kernels.lie_alike([array], [array]) else np.ascontiguousarray(array))
    return list(types.values())


def changed(batch: list[Tensor], arrays: list[np.ndarray]) -> None:
    """Makes it known, and puts what was done to copies into what they are of."""
    for x, array in zip(batch, arrays, strict=True):
        if x.array is not array:
            np.copyto(x.array, array)
        x.version[0] += 1

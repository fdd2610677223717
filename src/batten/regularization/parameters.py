"""Which parameters a penalty, a prior or a constraint is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .. import nn
from ..autograd import Variable
from ..nn.kinds import PARAMETER, typename
from ..nn.normalization import Normalization

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Parameters", "Where", "chosen"]

Parameters = Any  # a module, a tensor, or an iterable of tensors or of pairs (name, tensor)
Where = Callable[[str, Any], bool] | None


def chosen(params: Parameters, where: Where = None, *, weights: bool = False) -> list[tuple[str, Tensor]]:
    """Those parameters for which where(name, parameter) holds, with their names, in their order and each once.

    `params` is a module, whose parameters have their paths as names; a tensor; or an iterable of tensors or of pairs
    (name, tensor).  A tensor without a name is called by its place, "0" for the first.

    where=None is all of them, or with `weights` those with two or more axes that belong to no normalization layer of
    the module: no biases, whose size says nothing of how much a function bends, and no scales of a normalization.

    TypeError for anything else than tensors, and if one is chosen that holds no floats; ValueError if none is chosen.

    >>> from batten import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    >>> [name for name, _ in chosen(model, weights=True)]
    ['0.weight', '3.weight']
    >>> [name for name, _ in chosen(model, lambda name, parameter: name.endswith("bias"))]
    ['0.bias', '1.bias', '3.bias']
    """
    if where is not None and not callable(where):
        raise TypeError(f"expected where to be None or a function of (name, parameter), got {typename(where)}")
    found: dict[int, tuple[str, Tensor]] = {}
    pairs = named(params)
    scales = of_normalizations(params) if weights and where is None else set()
    for name, parameter in pairs:
        if where is not None:
            taken = where(name, parameter)
        else:
            taken = not weights or (parameter.array.ndim >= 2 and id(parameter) not in scales)
        if taken and parameter.array.dtype.kind != "f":
            raise TypeError(f"expected parameters of floats, got {name} of {parameter.dtype}")
        if taken:
            found.setdefault(id(parameter), (name, parameter))
    if not found:
        what = "weight, of two or more axes and not of a normalization," if weights and where is None else "parameter"
        raise ValueError(f"expected at least one {what} among {len(pairs)} parameters; where= chooses others")
    return list(found.values())


def named(params: Parameters) -> list[tuple[str, Tensor]]:
    """All parameters and their names."""
    if isinstance(params, nn.Module):
        return list(params.named_parameters())
    if isinstance(params, Variable):
        params = [params]
    if not isinstance(params, Iterable):
        raise TypeError(
            f"expected a module, a tensor, or an iterable of tensors or pairs (name, tensor), got {typename(params)}"
        )
    pairs: list[tuple[str, Any]] = []
    for place, given in enumerate(params):
        pair = given if isinstance(given, tuple) and len(given) == 2 else (str(place), given)
        if not isinstance(pair[0], str) or not isinstance(pair[1], Variable):
            raise TypeError(f"expected tensors or pairs (name, tensor), got {typename(given)} in place {place}")
        pairs.append(pair)
    return pairs


def of_normalizations(params: Parameters) -> set[int]:
    """The ids of the parameters that belong to a module's normalization layers."""
    if not isinstance(params, nn.Module):
        return set()
    layers = [module for module in params.modules() if isinstance(module, Normalization)]
    return {id(p) for layer in layers for p in layer._own(PARAMETER).values() if p is not None}

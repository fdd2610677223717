"""Loading a state_dict: all of it is checked before any of it changes the module."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..autograd import wrap
from ..operations.inplace import refuse_read_only, write
from ..tensor import Tensor
from .kinds import CHILD
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

__all__: list[str] = []


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """The names that a state_dict lacked, and those that it had too many."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if any(self) else "<All keys matched successfully>"


def load(module: Module, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> _IncompatibleKeys:
    """`Module.load_state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"Expected the keys of state_dict to be strings, got {key!r}.")
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    changes: list[tuple[Module, str, Tensor, Tensor]] = []
    for path, part in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        own, children = part._own_state(), part._own(CHILD)
        for name, x in own.items():
            key = prefix + name
            if key not in state_dict:
                missing.append(key)
                continue
            try:
                values = assignable(x, state_dict[key]) if assign else copyable(x, state_dict[key])
            except Exception as error:  # whatever an object does when asked for its array
                errors.append(f'While copying the parameter named "{key}", {error}')
                continue
            if values.shape == (1,) and not x.ndim:  # as scalars were saved before PyTorch 0.4
                values = values.detach().reshape(())
            if values.shape != x.shape:
                errors.append(
                    f"size mismatch for {key}: copying a param with shape {list(values.shape)} from checkpoint, "
                    f"the shape in current model is {list(x.shape)}."
                )
                continue
            changes.append((part, name, x, values))
        for key in state_dict:
            if key.startswith(prefix):
                name, dot, _ = key[len(prefix) :].partition(".")
                if name not in (children if dot else own):
                    unexpected.append(key)
    if strict and unexpected:
        errors.insert(0, f"Unexpected key(s) in state_dict: {quoted(unexpected)}. ")
    if strict and missing:
        errors.insert(0, f"Missing key(s) in state_dict: {quoted(missing)}. ")
    if errors:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors))
    for part, name, x, values in changes:
        if assign:
            part.__dict__[name] = in_place_of(x, values)
        else:
            write(x, values.array)
    return _IncompatibleKeys(missing, unexpected)


def quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


def as_tensor(value: Any) -> Tensor:
    """A tensor, or whatever has an array of numbers, as a tensor that shows the same memory."""
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "__array__"):
        raise TypeError(f"expected batten.Tensor or Tensor-like object from checkpoint but received {type(value)}")
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)  # PyTorch's may require a gradient
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected numbers, got an array of {array.dtype}")
    return wrap(array)


def copyable(x: Tensor, value: Any) -> Tensor:
    """Values that `write` can put into x."""
    refuse_read_only(x)
    return as_tensor(value)


def assignable(x: Tensor, value: Any) -> Tensor:
    """Values that can take the place of x."""
    values = as_tensor(value)
    dtype = dtypes.as_dtype(values.array.dtype)
    if x.requires_grad and dtype.kind != "f":
        raise TypeError(f"expected floats, as it requires a gradient, got {dtype}")
    return values if values.array.dtype.isnative else wrap(values.array.astype(dtype))


def in_place_of(x: Tensor, values: Tensor) -> Tensor:
    """Values as a parameter if x is one, with its wish for a gradient."""
    if not isinstance(x, Parameter):
        return values.detach()
    if isinstance(values, Parameter):
        return values.requires_grad_(x.requires_grad)
    return Parameter(values, x.requires_grad)

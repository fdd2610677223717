"""Samples to batches.

Samples are alike: tensors, arrays, numbers or strings, or dicts, tuples and lists of these.  A batch is what a sample
is, with a tensor in place of each number or array, whose first axis counts the samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..autograd import Variable, wrap
from ..creation import as_tensor, tensor
from ..dtypes import float64
from ..memory import axes_in_memory, empty_with_axes
from ..operations.promotion import as_operand, promote_types

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch of samples that are alike.

        tensors, arrays             a tensor, with an axis more in front; images whose channels lie last keep them there
        float, int, bool            a tensor in float64, int64 or bool; NumPy's numbers keep their type
        str, bytes                  themselves, in a list or a tuple
        dict, named tuple, list     the same of batches
        tuple                       a list of batches, as in PyTorch

    Batches require no gradient.  TypeError for samples of other kinds; ValueError for arrays of different shapes, for
    tuples of different lengths, and if there are none.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    >>> default_collate([{"x": np.zeros(2, np.float32)}] * 3)["x"].shape
    (3, 2)
    """
    if not len(batch):
        raise ValueError("default_collate expects samples, got none")
    return nested(batch, collated)


def default_convert(data: Any) -> Any:
    """Arrays, and NumPy's numbers, as tensors, within dicts, tuples and lists too; all else stays what it is.

    Memory is shared.  A tuple becomes a list, as in a batch.

    >>> default_convert((np.array([1, 2]), "a"))
    [tensor([1, 2]), 'a']
    """
    return nested([data], converted)


def nested(samples: Sequence[Any], of: Callable[[Sequence[Any]], Any]) -> Any:
    """What a function makes of the elements that stand at one place in all samples, for each place there is."""
    first = samples[0]
    if isinstance(first, Mapping):
        return refilled(first, {key: nested([sample[key] for sample in samples], of) for key in first})
    if not isinstance(first, Sequence) or isinstance(first, (str, bytes)):
        return of(samples)
    lengths = {len(sample) for sample in samples}
    if len(lengths) > 1:
        raise ValueError(f"default_collate expects samples of one length, got {sorted(lengths)}")
    parts = [nested(part, of) for part in zip(*samples, strict=True)]
    if isinstance(first, tuple):
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    return refilled(first, dict(enumerate(parts)))


def refilled(container: Any, items: dict[Any, Any]) -> Any:
    """A container of the same kind with other items; a dict or a list where none can be made of that kind."""
    plain = items if isinstance(container, Mapping) else list(items.values())
    try:
        if not isinstance(container, (MutableMapping, MutableSequence)):
            return type(container)(plain)
        filled = copy(container)  # so that it keeps what else it has
        for key, item in items.items():
            filled[key] = item
        return filled
    except TypeError:
        return plain


def collated(samples: Sequence[Any]) -> Any:
    first = samples[0]
    if isinstance(first, (Variable, np.ndarray)):
        return wrap(stacked([as_operand(x).array for x in samples]))
    if isinstance(first, (str, bytes)):
        return samples
    if isinstance(first, float) and not isinstance(first, np.generic):
        return tensor(samples, dtype=float64)
    if isinstance(first, (int, np.generic)):
        return tensor(samples)
    expected = "tensors, arrays, numbers, strings, dicts, tuples or lists"
    raise TypeError(f"default_collate expects samples of {expected}, got {type(first).__name__}")


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one shape as the rows of an array, each of which lies in memory as the first array does."""
    first = arrays[0]
    shapes = {x.shape for x in arrays}
    if len(shapes) > 1:
        shown = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise ValueError(f"default_collate expects arrays of one shape, got {shown}")
    axes = axes_in_memory(first)
    order = None if axes is None else [0, *[axis + 1 for axis in axes]]
    dtype = functools.reduce(promote_types, {x.dtype for x in arrays})
    return np.stack(arrays, out=empty_with_axes(order, (len(arrays), *first.shape), dtype))


def converted(samples: Sequence[Any]) -> Any:
    (data,) = samples
    known = isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind in "fiub"
    return as_tensor(data) if known else data

"""Means and variances of what goes through a network, and changes measured by the size of what changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import nn

__all__: list[str] = []


def feature_axis(layer: nn.Module) -> int:
    """Where the features of a layer lie: the last axis if it is made of vectors, else that of channels, 1."""
    vectors = isinstance(layer, (nn.Linear, nn.Bilinear, nn.Embedding)) or hasattr(layer, "normalized_shape")
    return -1 if vectors else 1


def by_feature(array: np.ndarray, axis: int) -> np.ndarray:
    """An array as (features, *): all of each feature in a row.  One axis or none are of features.

    >>> by_feature(np.zeros((2, 3, 4, 5)), 1).shape
    (3, 2, 4, 5)
    """
    array = np.atleast_1d(array)
    return np.moveaxis(array, axis if axis < array.ndim else -1, 0)


def moments(array: np.ndarray, axes: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance along some axes or all, in float64; the variance is that of these numbers, divided by their
    count.  Both are NaN where there are no numbers."""
    with np.errstate(all="ignore"):
        count = np.float64(array.size if axes is None else math.prod(array.shape[axis] for axis in axes))
        mean = array.sum(axes, np.float64, keepdims=True) / count
        variance = np.square(array - mean).sum(axes) / count
    return mean.reshape(variance.shape), variance


def relative(change: Any, size: Any) -> float:
    """A change by the size of what changed; no change is 0 whatever the size."""
    return 0.0 if change == 0 else float(change) / float(size) if size else math.inf

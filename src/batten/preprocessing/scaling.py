"""Each feature on a scale like the others'."""

from __future__ import annotations

import functools
import math
from typing import Any, Self

import numpy as np

from .preprocessor import EPS, Fitted, Preprocessor

__all__ = ["MinMaxScaler", "PerImageStandardize", "StandardScaler"]


class Scaler(Fitted):
    """A change of each feature by itself.

    What is known of some examples can be joined with what is known of others: so they are taken by pieces, and
    `partial_fit` by batches.  A subclass defines `_measure` and `_join`, for arrays in the order of `state`.
    """

    def fit(self, x: Any, y: Any = None) -> Self:
        """Finds out about examples (N, *) what `transform` needs, and forgets what it knew.  y is not looked at."""
        array = self._examples(x)
        self._keep(array.shape[1:], *self._of(array))
        return self

    def partial_fit(self, x: Any, y: Any = None) -> Self:
        """`fit` to these examples (N, *) and all those before: for a data set that comes in batches."""
        if not hasattr(self, "feature_shape_"):
            return self.fit(x)
        before = tuple(getattr(self, name) for name in self.state)
        self._keep(self.feature_shape_, *self._join(before, self._of(self._known(x))))
        return self

    def _of(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        if len(array) == 0:
            raise ValueError(f"{self._name} expects at least one example to fit, got {list(array.shape)}")
        return functools.reduce(self._join, map(self._measure, self._rows(array)))

    def _measure(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not define _measure")

    def _join(self, some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not define _join")


class MinMaxScaler(Scaler):
    """Each feature from its least and largest value among the examples fitted onto feature_range = (a, b).

        y = a + (b - a) (x - min) / (max - min)

    Other examples may come to lie outside.  `data_min_`, `data_max_`, `data_range_` = max - min, `scale_` =
    (b - a) / (max - min) and `min_` = a - min scale_, with which y = scale_ x + min_, are of shape (D,).

    A feature that is constant has the range 1 instead of 0, and so becomes a.  NaN is ignored in `fit`, and stays NaN;
    infinity is a ValueError, and so is a feature_range without a < b.

    >>> scaler = MinMaxScaler()
    >>> scaler.fit_transform(np.array([[1.0, 7.0], [2.0, 7.0], [5.0, 7.0]])).tolist()
    [[0.0, 0.0], [0.25, 0.0], [1.0, 0.0]]
    >>> scaler.inverse_transform(np.array([[0.5, 0.0]])).tolist()
    [[3.0, 7.0]]
    """

    options = ("feature_range",)
    state = ("data_min_", "data_max_")
    axes = ("D", "D")

    data_min_: np.ndarray
    data_max_: np.ndarray

    def __init__(self, feature_range: tuple[float, float] = (0, 1)) -> None:
        a, b = feature_range
        if not -math.inf < a < b < math.inf:
            raise ValueError(f"MinMaxScaler expects a feature_range (a, b) of finite a < b, got {feature_range}")
        self.feature_range = (float(a), float(b))

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        rows -= self.data_min_  # before it is scaled, so that no digits are lost where the range is small
        rows *= self.scale_
        rows += self.feature_range[0]
        return rows

    def _backward(self, rows: np.ndarray) -> np.ndarray:
        rows -= self.feature_range[0]
        rows /= self.scale_
        rows += self.data_min_
        return rows

    def _measure(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return np.fmin.reduce(rows), np.fmax.reduce(rows)

    def _join(self, some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return np.fmin(some[0], others[0]), np.fmax(some[1], others[1])

    def _derive(self) -> None:
        a, b = self.feature_range
        self.data_range_ = self.data_max_ - self.data_min_
        self.scale_ = (b - a) / np.where(self.data_range_ < 10 * EPS, 1, self.data_range_)  # scikit-learn's bound
        self.min_ = a - self.data_min_ * self.scale_


class StandardScaler(Scaler):
    """Each feature to mean 0 and variance 1 among the examples fitted.

        y = (x - mean) / √var,     var = Σ (x - mean)² / n

    `mean_`, `var_`, `scale_` = √var and `n_samples_seen_`, how many numbers there were, are of shape (D,).  They are of
    each feature, which for images means of each pixel and channel; `transforms.Normalize` has one mean a channel.

    A feature that is constant, but for rounding, has the scale 1 instead of 0, and so becomes 0.  NaN is ignored in
    `fit`, and stays NaN; infinity is a ValueError.  Batches of `partial_fit` are joined by the rule of Chan, Golub &
    LeVeque (1983, "Algorithms for Computing the Sample Variance", equation 1.5).

    >>> import batten
    >>> scaler = StandardScaler().fit(batten.tensor([[1.0, 7.0], [3.0, 7.0]]))
    >>> scaler.mean_, scaler.scale_
    (array([2., 7.]), array([1., 1.]))
    >>> scaler.transform(batten.tensor([[4.0, 7.0]]))
    tensor([[2., 0.]])
    >>> restored = StandardScaler()
    >>> restored.load_state_dict(scaler.state_dict())
    >>> restored.inverse_transform(batten.tensor([[2.0, 0.0]]))
    tensor([[4., 7.]])
    """

    state = ("n_samples_seen_", "mean_", "var_")
    axes = ("D", "D", "D")

    n_samples_seen_: np.ndarray
    mean_: np.ndarray
    var_: np.ndarray

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        rows -= self.mean_
        rows /= self.scale_
        return rows

    def _backward(self, rows: np.ndarray) -> np.ndarray:
        rows *= self.scale_
        rows += self.mean_
        return rows

    def _measure(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return moments(rows, axis=0)

    def _join(self, some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        (n, mean, var), (m, other_mean, other_var) = some, others
        count = n + m
        share = m / np.maximum(count, 1)
        apart = other_mean - mean
        var = (1 - share) * var + share * other_var + share * (1 - share) * np.square(apart)
        return count, mean + share * apart, var

    def _derive(self) -> None:
        self.scale_ = deviation(self.n_samples_seen_, self.mean_, self.var_)


class PerImageStandardize(Preprocessor):
    """Each image, or row, by itself to mean 0 and variance 1 over all its elements.

        y = (x - mean) / √var

    with mean and var over the channels and pixels of the image, so that brightness and contrast no longer tell images
    apart.  There is nothing to fit or to save, and there is no inverse, as what was taken away is not in y.

    An image that is constant, but for rounding, becomes 0.  (TensorFlow's `per_image_standardization` divides by 1/√D
    where √var is less, and so depends on the scale of the images.)  NaN is ignored in mean and var, and stays NaN;
    infinity is a ValueError.

    >>> PerImageStandardize().transform(np.array([[1, 3], [100, 200], [7, 7]], np.uint8)).tolist()
    [[-1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]
    """

    def fit(self, x: Any = None, y: Any = None) -> Self:
        """Itself."""
        return self

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        rows /= deviation(*moments(rows, axis=1))[:, None]
        return rows


def moments(rows: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many numbers there are along an axis, their mean, and their variance; NaN is none.  The rows are centred."""
    there = ~np.isnan(rows)
    count = there.sum(axis, np.float64, keepdims=True)
    some = np.maximum(count, 1)
    mean = rows.sum(axis, where=there, keepdims=True) / some
    rows -= mean
    var = np.square(rows).sum(axis, where=there, keepdims=True) / some
    return count.squeeze(axis), mean.squeeze(axis), var.squeeze(axis)


def deviation(count: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    """√var, but 1 where the numbers differ by no more than their mean's rounding does, and NaN where there are none.

    The bound is that of Chan, Golub & LeVeque, as in scikit-learn.
    """
    constant = var <= count * EPS * var + np.square(count * mean * EPS)
    return np.where(count == 0, np.nan, np.where(constant, 1, np.sqrt(var)))

"""Whitening: features that are uncorrelated, with variance 1 (Bell & Sejnowski 1997, "The 'Independent Components' of
Natural Scenes are Edge Filters"; Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", appendix A).

For n examples x of D features, with mean m,

    C = 1/(n - 1) Σ (x - m)(x - m)ᵀ = U diag(λ) Uᵀ

has the principal components' directions as columns of U, and their variances as λ.  Divided by their standard
deviations, the components are white: z = diag(λ + ε)^-½ Uᵀ (x - m).  What is white stays white when it is rotated,
and of all rotations U is the one that takes z closest to x - m again: U z is still a picture, only that what a pixel's
neighbours tell of it is gone ("zero-phase component analysis").  The components of least variance, in pictures the
finest details and mostly noise, would be enlarged the most; where λ is far below ε, they are only divided by √ε.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Self

import numpy as np

from .. import _kernels as kernels
from .preprocessor import EPS, Fitted

__all__ = ["PCAWhitening", "ZCAWhitening"]

BLOCK = 512  # columns of a covariance that are computed at a time


class Whitening(Fitted):
    """z = W (x - m), by a matrix W (K, D) that comes from the K components of largest variance."""

    state = ("mean_", "components_", "explained_variance_")
    axes = ("D", "KD", "K")
    admits_nan = False

    mean_: np.ndarray
    components_: np.ndarray
    explained_variance_: np.ndarray

    def __init__(self, epsilon: float) -> None:
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"{self._name} expects a finite epsilon >= 0, got {epsilon}")
        self.epsilon = float(epsilon)

    def fit(self, x: Any, y: Any = None) -> Self:
        """Finds mean and principal components of at least two examples (N, *).  y is not looked at."""
        array = self._examples(x)
        if len(array) < 2:
            raise ValueError(f"{self._name} expects at least 2 examples to fit, got {list(array.shape)}")
        count = self._count(math.prod(array.shape[1:]))
        mean = sum(rows.sum(0) for rows in self._rows(array)) / len(array)
        covariance = self._covariance(array, mean)
        if not np.isfinite(covariance.trace()):
            raise ValueError(f"{self._name} expects numbers whose squares are finite; scale them first")
        variances, vectors = np.linalg.eigh(covariance)
        variances = np.maximum(variances[::-1], 0)  # the largest first; noughts may have been rounded to below
        # What rounding may have made of 0: that of the eigenvalues, and that of the mean (see `deviation`).
        rounding = len(mean) * EPS * variances[0] + np.square(len(array) * EPS * mean).sum()
        if variances[count - 1] + self.epsilon <= rounding:
            raise ValueError(
                f"{self._name} cannot divide by a variance of {variances[count - 1]:.3g} beside one of "
                f"{variances[0]:.3g}, as it may be all rounding: expected a larger epsilon, got {self.epsilon}"
            )
        self._keep(array.shape[1:], mean, upright(vectors.T[::-1][:count]), variances[:count].copy())
        return self

    def _count(self, features: int) -> int:
        """How many components are kept of so many."""
        return features

    def _covariance(self, array: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """C, of which only the blocks on and below the diagonal are computed: those that `eigh` reads."""
        size = len(mean)
        covariance = kernels.empty((size, size), mean.dtype)
        beta = 0
        for rows in self._rows(array):
            rows -= mean
            for start in range(0, size, BLOCK):
                part = slice(start, start + BLOCK)
                below = rows.T[start:]
                kernels.gemm(covariance[start:, part], below, rows[:, part], alpha=1 / (len(array) - 1), beta=beta)
            beta = 1
        return covariance

    def _derive(self) -> None:
        self.whitening_ = self.components_ / self._deviations()[:, None]

    def _deviations(self) -> np.ndarray:
        return np.sqrt(self.explained_variance_ + self.epsilon)

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        rows -= self.mean_
        return product(rows, self.whitening_.T)

    def _backward(self, rows: np.ndarray) -> np.ndarray:
        rows *= self._deviations()
        rows = product(rows, self.components_)
        rows += self.mean_
        return rows


class PCAWhitening(Whitening):
    """The principal components of examples, each divided by its standard deviation.

        z = diag(λ + ε)^-½ Uᵀ (x - m)

    with the mean m, and the variances λ and directions U of the n_components (K, all if None) in which the examples
    fitted vary most: the eigenvalues and eigenvectors of their covariance, with the divisor n - 1.  z, of shape (N, K),
    has the covariance diag(λ / (λ + ε)), the identity as ε goes to 0.  `inverse_transform` gives m + U diag(λ + ε)^½ z,
    in the shape of the examples fitted: these themselves, but for rounding, if K is D.

    `mean_` (D,), `components_` (K, D), the rows of Uᵀ, each with its largest element positive, and
    `explained_variance_` (K,), which is λ, are scikit-learn's, whose PCA(whiten=True) has ε = 0; `whitening_` (K, D) is
    the matrix before x - m.  ε is a variance: choose it by the square of the features' scale.

    Eigenvectors are LAPACK's: their last digits depend on the machine and its threads, and those of equal variances are
    any that span the same.  A state that was saved is the same everywhere.

    ValueError for NaN and infinity, fewer than two examples, more components than features, and a least λ + ε that
    may be all rounding: where features depend on one another, as all D always do for n <= D, ε must be more than 0.

    >>> x = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [2.0, 1.0], [2.0, 3.0]])
    >>> z = PCAWhitening(epsilon=0).fit_transform(x)
    >>> np.allclose(np.cov(z.T), np.eye(2))
    True
    >>> PCAWhitening(epsilon=0, n_components=1).fit_transform(x).shape
    (5, 1)
    """

    options = ("epsilon", "n_components")

    def __init__(self, epsilon: float, n_components: int | None = None) -> None:
        super().__init__(epsilon)
        self.n_components = None if n_components is None else operator.index(n_components)
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"PCAWhitening expects n_components >= 1 or None, got {n_components}")

    def transform(self, x: Any) -> Any:
        """z (N, K) of examples like those that were fitted."""
        return self._changed(x, self._known(x), self._forward, self.explained_variance_.shape)

    def inverse_transform(self, x: Any) -> Any:
        """The examples with the components x (N, K), and no others; images lie channels last."""
        self._check_fitted()
        array, count = self._examples(x), len(self.components_)
        if array.shape[1:] != (count,):
            raise ValueError(f"PCAWhitening expects components (N, {count}), got {list(array.shape)}")
        return self._changed(x, array, self._backward, self.feature_shape_)

    def _count(self, features: int) -> int:
        if self.n_components is not None and self.n_components > features:
            raise ValueError(f"PCAWhitening expects at least {self.n_components} features to fit, got {features}")
        return self.n_components or features


class ZCAWhitening(Whitening):
    """Whitening that changes examples least: they are white, but still in the shape that they came in.

        z = U diag(λ + ε)^-½ Uᵀ (x - m)

    with mean m, variances λ and principal components U of the examples fitted, as in `PCAWhitening`, which has the same
    attributes and errors; `whitening_` (D, D) is the symmetric matrix before x - m.  Its rows are filters, one for each
    pixel, worth looking at.  z has the covariance U diag(λ / (λ + ε)) Uᵀ, the identity as ε goes to 0.

    The usual ε = 0.1 is for features of a scale of about 1, such as `StandardScaler` makes.

    >>> x = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [2.0, 1.0], [2.0, 3.0]])
    >>> zca = ZCAWhitening(epsilon=1e-9)
    >>> np.allclose(np.cov(zca.fit_transform(x).T), np.eye(2))
    True
    >>> np.allclose(zca.inverse_transform(zca.transform(x)), x)
    True
    """

    options = ("epsilon",)

    def __init__(self, epsilon: float = 0.1) -> None:
        super().__init__(epsilon)

    def _derive(self) -> None:
        super()._derive()
        self.whitening_ = product(self.components_.T, self.whitening_)

    def _backward(self, rows: np.ndarray) -> np.ndarray:
        return super()._backward(product(rows, self.components_.T))


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return kernels.gemm(kernels.empty((len(a), b.shape[1]), a.dtype), a, b)


def upright(directions: np.ndarray) -> np.ndarray:
    """Rows times 1 or -1, so that the element of each that is largest in magnitude is positive."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return np.multiply(directions, np.where(largest < 0, -1, 1), order="C")

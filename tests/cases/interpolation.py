"""Rows of interpolation, beside a product with the table as a matrix."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

# Outer, lengths of y and x, inner: with a part of a chunk, and a whole one and more.
SHAPES = {"empty": (0, 3, 4, 5), "one": (1, 1, 1, 1), "odd": (3, 11, 7, 37), "large": (2, 61, 43, 1237)}


def a_table(rng, n, length):
    """The terms of each result, and the same as a matrix."""
    terms = rng.integers(0, 5, n) if n > 1 else np.ones(n, np.int64)  # some elements are sums of nothing
    index, weight = rng.integers(0, length, terms.sum()), rng.uniform(-1, 1, terms.sum())
    matrix = np.zeros((n, length))
    np.add.at(matrix, (np.repeat(np.arange(n), terms), index), weight)
    return np.concatenate([[0], np.cumsum(terms)]), index, weight, matrix


def interpolate(rng, dtype, size):
    outer, n, length, inner = SHAPES[size]
    start, index, weight, matrix = a_table(rng, n, length)
    x = rng.standard_normal((outer, length, inner)).astype(dtype)
    arguments = [np.zeros((outer, n, inner), dtype), x, start, index, weight]
    return Case(kernels.interpolate, arguments, [np.einsum("il,olk->oik", matrix, x)], tolerance=16)


CASES = {"interpolate": interpolate}

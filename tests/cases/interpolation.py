"""Rows of interpolation, beside a product with the table as a matrix."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

# Outer, lengths of y and x, inner: with a part of a chunk, and a whole one and more.
SHAPES = {"empty": (0, 3, 4, 5), "one": (1, 1, 1, 1), "odd": (3, 11, 7, 37), "large": (2, 61, 43, 1237)}


def a_table(rng, dtype, n, length):
    """The terms of each result, and the same as a matrix."""
    terms = rng.integers(0, 5, n) if n > 1 else np.ones(n, np.int64)  # some elements are sums of nothing
    index, weight = rng.integers(0, length, terms.sum()), rng.uniform(-1, 1, terms.sum())
    if dtype == np.uint8:
        weight = (weight / 4 * 2**kernels.WEIGHT_BITS).astype(np.int32)  # four of 255 fit
    matrix = np.zeros((n, length))
    np.add.at(matrix, (np.repeat(np.arange(n), terms), index), weight)
    return terms, index, weight, matrix


def interpolate_row(rng, dtype, size):
    outer, n, length, inner = SHAPES[size]
    tables = outer if size == "large" else 1
    found = [a_table(rng, dtype, n, length) for _ in range(tables)]
    terms, index, weight = (np.concatenate([table[i] for table in found]) for i in range(3))
    start = np.concatenate([[0], np.cumsum(terms)])
    x = (
        rng.standard_normal((outer, length, inner))
        if dtype.kind == "f"
        else rng.integers(0, 256, (outer, length, inner))
    )
    x = x.astype(dtype)
    parts = [x] if tables == 1 else np.split(x, tables)
    expected = np.concatenate(
        [np.einsum("il,olk->oik", table[3], part) for table, part in zip(found, parts, strict=True)]
    )
    arguments = [np.zeros((outer, n, inner), dtype), x, start, index, weight]
    if dtype == np.uint8:
        expected = np.floor(expected / 2**kernels.WEIGHT_BITS + 0.5).clip(0, 255)
    return Case(kernels.interpolate, arguments, [expected], tolerance=16)


def interpolate_bytes_row(rng, dtype, size):
    return interpolate_row(rng, np.dtype(np.uint8), size)


CASES = {"interpolate": interpolate_row, "interpolate_bytes": interpolate_bytes_row}

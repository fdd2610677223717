"""Rows of the embedding, beside NumPy's indexing."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

# Places, rows and columns.  In the large case most places name one row.
SHAPES = {"empty": (0, 3, 4), "one": (1, 1, 1), "odd": (37, 11, 67), "large": (3001, 211, 131)}


def table(rng, dtype, size):
    n, rows, cols = SHAPES[size]
    index = rng.integers(0, rows, n)
    index[::2] = rows // 2
    return index, rng.standard_normal((rows, cols)).astype(dtype), rng.standard_normal((n, cols)).astype(dtype)


def embedding(rng, dtype, size):
    index, weight, y = table(rng, dtype, size)
    return Case(kernels.embedding, [y, weight, index], [weight[index]], tolerance=0)


def embedding_backward(rng, dtype, size):
    index, weight, dy = table(rng, dtype, size)
    expected = np.zeros(weight.shape)
    np.add.at(expected, index, dy.astype(np.float64))
    expected /= np.maximum(np.bincount(index, minlength=len(weight)), 1)[:, None]
    expected[1:2] = 0
    options = {"padding_idx": 1, "by_frequency": True}
    return Case(kernels.embedding_backward, [weight, dy, index], [expected], options=options, tolerance=64)


CASES = {"embedding": embedding, "embedding_backward": embedding_backward}

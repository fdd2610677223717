"""Rows of the reductions."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": (3, 0, 4), "one": (1, 1, 1), "odd": (5, 7, 3), "large": (37, 301, 29)}


def total(rng, dtype, size):
    x = rng.standard_normal(SHAPES[size]).astype(dtype)
    y = np.zeros((x.shape[0], 1, x.shape[2]), dtype)
    # Rounding errors are in proportion to the terms' magnitudes, of which there are 0.8 * 301 here.
    return Case(kernels.sum, [y, x, 0.5], [0.5 * x.astype(np.float64).sum(1, keepdims=True)], tolerance=64)


def extremum(name, choose, where):
    def build(rng, dtype, size):
        shape = (3, 1, 0) if size == "empty" else SHAPES[size]
        x = rng.integers(-50, 50, shape).astype(dtype)  # with ties
        y, index = np.zeros((shape[0], shape[2]), dtype), np.zeros((shape[0], shape[2]), np.int64)
        return Case(getattr(kernels, name), [y, index, x], [choose(x, 1), where(x, 1)], outputs=2, tolerance=0)

    return build


CASES = {"sum": total, "max": extremum("max", np.max, np.argmax), "min": extremum("min", np.min, np.argmin)}

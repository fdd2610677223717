"""Rows of the projections: two arrays, and sets that they reach beyond."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {
    "empty": [(0, 3), (2, 0)],
    "one": [(1,), (1, 1)],
    "odd": [(5, 37), (3, 2, 9)],
    "large": [(2, 50_011), (501, 203)],
}


def row(kernel, project, rng, dtype, size, *, tolerance=4):
    arrays = [rng.standard_normal(s).astype(dtype) for s in SHAPES[size]]
    expected = [np.asarray(project(w.astype(np.float64))) for w in arrays]
    return Case(lambda a, b: kernel([a, b]), arrays, expected, outputs=2, elastic=(0, 1), tolerance=tolerance)


def by_rows(project):
    return lambda w: project(w.reshape(len(w), math.prod(w.shape[1:]))).reshape(w.shape) if w.size else w


@by_rows
def limited(x):
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x * np.clip(norm, 4, 5) / norm


@by_rows
def onto_simplex(x):
    """By sorting (Held, Wolfe & Crowder 1974): t is a mean of k elements less 1 / k, which all of them exceed."""
    falling = -np.sort(-x, axis=1)
    t = (np.cumsum(falling, axis=1) - 1) / np.arange(1, x.shape[1] + 1)
    left = (falling > t).sum(axis=1, keepdims=True)
    return np.maximum(x - np.take_along_axis(t, left - 1, axis=1), 0)


def excess(rng, dtype, size):
    arrays = [rng.standard_normal(s).astype(dtype) for s in SHAPES[size]]
    over = np.concatenate([np.abs(w.astype(np.float64)).ravel() - 0.75 for w in arrays])
    expected = np.array([np.maximum(over, 0).sum(), (over > 0).sum()])
    return Case(lambda y, a, b: kernels.excess(y, [a, b], 0.75), [np.zeros(2), *arrays], [expected], elastic=(1, 2))


def soft(x):
    return np.sign(x) * np.maximum(np.abs(x) - 0.625, 0)


CASES = {
    "limit_norms": partial(row, lambda arrays: kernels.limit_norms(arrays, 0, 4, 5), limited),
    "simplex": partial(row, kernels.simplex, onto_simplex),
    "excess": excess,
    "soft_threshold": partial(row, lambda arrays: kernels.soft_threshold(arrays, 0.75, -0.125), soft),
    "clamp_all": partial(
        row, lambda arrays: kernels.clamp_all(arrays, -0.5, 0.75), lambda x: np.clip(x, -0.5, 0.75), tolerance=0
    ),
}

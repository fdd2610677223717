"""The rows of the matrix product; test_gemm.py has its paths, shapes and options."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": (3, 0, 4), "one": (1, 1, 1), "odd": (7, 5, 3), "large": (131, 300, 67)}  # m, k, n


def gemm(rng, dtype, size):
    m, k, n = SHAPES[size]
    a, b, bias = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))
    product = a.astype(np.float64) @ b.astype(np.float64) + bias
    return Case(kernels.gemm, [np.full((m, n), np.nan, dtype), a, b, bias], [product], tolerance=2 + k)


def gemm_squares(rng, dtype, size):
    m, k, n = SHAPES[size]
    a, b, bias = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    results = [0.7 * (a64 @ b64) + bias, (a64**2) @ (b64**2)]
    outputs = [np.full((m, n), np.nan, dtype) for _ in range(2)]
    return Case(kernels.gemm_squares, [*outputs, a, b, bias, 0.7], results, outputs=2, tolerance=2 + k)


CASES = {"gemm": gemm, "gemm_squares": gemm_squares}

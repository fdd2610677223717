"""Rows of local response normalization, beside the paper's equation in NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

# More channels than a piece has, and windows wider than a step.
SHAPES = {"empty": (0, 5), "one": (1, 1), "odd": (37, 67), "large": (811, 277)}
WINDOWS = {"empty": (5, 1e-4, 0.75, 1), "one": (1, 0.3, 0.75, 0.5), "odd": (6, 0.7, 0.6, 1), "large": (21, 3, 0.75, 2)}


def summed(terms, before, after):
    """The sums of windows from c - before to c + after."""
    padded = np.pad(terms, ((0, 0), (before, after)))
    return sum(padded[:, i : i + terms.shape[1]] for i in range(before + 1 + after))


def finer(x):
    """A type whose rounding is below x's; long double is slow where it is computed by software."""
    return np.float64 if x.dtype == np.float32 else np.longdouble


def response_norm_row(rng, dtype, size):
    x = (3 * rng.standard_normal(SHAPES[size])).astype(dtype)
    n, alpha, beta, k = WINDOWS[size]
    xl = x.astype(finer(x))
    d = k + alpha / n * summed(xl * xl, n // 2, (n - 1) // 2)
    return Case(kernels.response_norm, [np.zeros_like(x), x, n, alpha, beta, k], [xl * d**-beta])


def response_norm_backward_row(rng, dtype, size):
    x, dy = (3 * rng.standard_normal((2, *SHAPES[size]))).astype(dtype)
    n, alpha, beta, k = WINDOWS[size]
    xl, dyl = x.astype(finer(x)), dy.astype(finer(x))
    d = k + alpha / n * summed(xl * xl, n // 2, (n - 1) // 2)
    sums = summed(dyl * xl * d ** (-beta - 1), (n - 1) // 2, n // 2)
    expected = dyl * d**-beta - 2 * alpha * beta / n * xl * sums
    # A window's terms are up to ten each, and are rounded as such.
    arguments = [np.zeros_like(x), dy, x, n, alpha, beta, k]
    return Case(kernels.response_norm_backward, arguments, [expected], tolerance=32)


CASES = {"response_norm": response_norm_row, "response_norm_backward": response_norm_backward_row}

"""Rows of batch normalization by the mean deviation and by the largest, beside the formulas in NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case
from .normalization import EPS, MOMENTUM, data, exact, let_through, rectified, rounding, with_relu

FACTOR = 1.25


def deviation(x, largest):
    """s, sgn(x - mean), and ds / dx."""
    n, d = len(x), x - x.mean(0)
    if not largest:
        return FACTOR * abs(d).mean(0), np.sign(d), FACTOR / n * (np.sign(d) - np.sign(d).mean(0))
    k, columns = abs(d).argmax(0), np.arange(x.shape[1])
    slope = np.full_like(x, -1 / n)
    slope[k, columns] += 1
    return FACTOR * abs(d).max(0), np.sign(d), FACTOR * np.sign(d[k, columns]) * slope


def kept_by(x, gamma, beta, largest):
    """Mean, rstd, shift, s, and the mean of the signs or the element farthest from the mean."""
    xl, g, b = exact(x, gamma, beta)
    if not len(x):
        return np.stack([0 * b, 0 * b + 1, b, 0 * b, 0 * b])
    mean, (s, sign, _) = xl.mean(0), deviation(xl, largest)
    rstd = 1 / np.sqrt(s * s + EPS)
    last = xl[abs(xl - mean).argmax(0), np.arange(x.shape[1])] if largest else sign.mean(0)
    return np.stack([mean, rstd, (mean.astype(x.dtype) - mean) * g * rstd + b, s, last])


def forward_row(kernel, largest):
    def row(rng, dtype, size):
        x, _, gamma, beta, *running = data(rng, dtype, size)
        kept = kept_by(x, gamma, beta, largest)
        xl, g, b, rm, rv = exact(x, gamma, beta, *running)
        n, (mean, rstd, _, s, _) = len(x), kept
        if n:
            rm = (1 - MOMENTUM) * rm + MOMENTUM * mean
            rv = (1 - MOMENTUM) * rv + MOMENTUM * s * s * n / max(n - 1, 1)
        expected = [rectified((xl - mean) * rstd * g + b, size), kept, rm, rv]
        outputs = [np.zeros_like(x), np.zeros(kept.shape), *running]
        arguments = [*outputs, x, gamma, beta, EPS, MOMENTUM, FACTOR, with_relu(size)]
        return Case(kernel, arguments, expected, outputs=4, tolerance=rounding(x))

    return row


def backward_row(kernel, largest):
    def row(rng, dtype, size):
        x, dy, gamma, beta, *_ = data(rng, dtype, size)
        kept = kept_by(x, gamma, beta, largest)
        mean, rstd, _, s, _ = kept
        xl, dyl, g, b = exact(x, dy, gamma, beta)
        passed = let_through(dyl, (xl - mean) * rstd * g + b, size)
        a = (passed * (xl - mean)).sum(0)
        dx = np.zeros_like(xl)
        if len(x):
            dx = g * rstd * (passed - passed.mean(0) - a * rstd * rstd * s * deviation(xl, largest)[2])
        outputs = [np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
        arguments = [*outputs, dy, x, kept.astype(np.float64), gamma, FACTOR, with_relu(size)]
        return Case(kernel, arguments, [dx, a * rstd, passed.sum(0)], outputs=3, tolerance=rounding(x))

    return row


CASES = {
    "l1_batch_norm": forward_row(kernels.l1_batch_norm, False),
    "l1_batch_norm_backward": backward_row(kernels.l1_batch_norm_backward, False),
    "linf_batch_norm": forward_row(kernels.linf_batch_norm, True),
    "linf_batch_norm_backward": backward_row(kernels.linf_batch_norm_backward, True),
}

"""Rows of the probes of the machine, each with three passes over its arrays."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

LENGTHS = {"empty": 0, "one": 1, "odd": 1537, "large": 100_003}
UNIT, TIMES = 1024, 3


def draw(rng, dtype, size, arrays):
    return [rng.standard_normal(LENGTHS[size]).astype(dtype) for _ in range(arrays)]


def fma(rng, dtype, size):
    (x,) = draw(rng, dtype, size, 1)
    expected = x.astype(np.float64)
    for _ in range(TIMES):
        expected = 0.75 * expected + 0.5
    return Case(kernels.probe_fma, [np.zeros_like(x), x, 0.75, 0.5, TIMES], [expected])


def read(rng, dtype, size):
    (x,) = draw(rng, dtype, size, 1)
    units = -(-x.size // UNIT)
    expected = np.array([x[i * UNIT :][:UNIT].astype(np.float64).sum() for i in range(units)])
    # Partial sums are of up to sixty-odd terms and below 200, and so is each of their roundings.
    return Case(kernels.probe_read, [np.zeros(units, dtype), x, TIMES], [expected], tolerance=UNIT)


def copy(rng, dtype, size):
    (x,) = draw(rng, dtype, size, 1)
    return Case(kernels.probe_copy, [np.zeros_like(x), x, TIMES], [x.astype(np.float64)], tolerance=0)


def triad(rng, dtype, size):
    x, z = draw(rng, dtype, size, 2)
    expected = x.astype(np.float64) - 1.5 * z.astype(np.float64)
    return Case(kernels.probe_triad, [np.zeros_like(x), x, z, -1.5, TIMES], [expected])


CASES = {"probe_fma": fma, "probe_read": read, "probe_copy": copy, "probe_triad": triad}

"""Rows of the kernels that go through lists of arrays: two arrays each."""

from __future__ import annotations

from functools import partial

import numpy as np

from batten import _kernels as kernels

from . import Case
from .optimizer import draw


def power_sums(rng, dtype, size, *, p=2.0, tolerance=16):
    x = draw(rng, dtype, size)
    expected = np.array([power_sum(np.abs(a.astype(np.float64)), p) for a in x])

    def run(sums, a, b):
        kernels.power_sums(sums, [a, b], p)

    return Case(run, [np.zeros(2), *x], [expected], elastic=(1, 2), tolerance=tolerance)


def power_sum(x, p):
    if np.isinf(p):
        return x.max(initial=0) if p > 0 else x.min(initial=np.inf)
    return (x != 0).sum() if p == 0 else (x**p).sum()


def dot_all(rng, dtype, size):
    x, y = draw(rng, dtype, size), draw(rng, dtype, size)
    expected = np.array([np.vdot(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(x, y, strict=True)])

    def run(sums, x0, x1, y0, y1):
        kernels.dot_all(sums, [x0, x1], [y0, y1])

    return Case(run, [np.zeros(2), *x, *y], [expected], elastic=(1, 2), tolerance=64)


def scale_all(rng, dtype, size):
    x = draw(rng, dtype, size)

    def run(a, b):
        kernels.scale_all([a, b], 0.25)

    return Case(run, x, [np.asarray(a * 0.25) for a in x], outputs=2, elastic=(0, 1))


def lerp_all(rng, dtype, size, *, weight=0.25):
    x, y = draw(rng, dtype, size), draw(rng, dtype, size)

    def run(x0, x1, y0, y1):
        kernels.lerp_all([x0, x1], [y0, y1], weight)

    exact = [[a.astype(np.float64) for a in arrays] for arrays in (x, y)]
    expected = [np.asarray(a + weight * (b - a)) for a, b in zip(*exact, strict=True)]
    return Case(run, [*x, *y], expected, outputs=2)


CASES = {"power_sums": power_sums, "dot_all": dot_all, "scale_all": scale_all, "lerp_all": lerp_all}

# Each is a loop of its own; test_list_kernels.py runs them like the rows above.
VARIANTS = {
    "the largest": partial(power_sums, p=np.inf),
    "the least": partial(power_sums, p=-np.inf),
    "how many are not 0": partial(power_sums, p=0.0),
    "sizes": partial(power_sums, p=1.0),
    # The error of p log x is one of the power, relative to it.
    "cubes": partial(power_sums, p=3.0, tolerance=64),
    "roots": partial(power_sums, p=0.5),
    "reciprocals": partial(power_sums, p=-1.0, tolerance=64),
    "most of the way": partial(lerp_all, weight=0.75),
}

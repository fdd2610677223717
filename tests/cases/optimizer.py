"""Rows of the optimizers: two parameters, and PyTorch's update rules in NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": [(0,), (2, 0)], "one": [(1,), ()], "odd": [(3, 7), (5,)], "large": [(211, 503), (4099,)]}


def arrays(rng, dtype, size, states):
    """Parameters, states and gradients of two tensors."""
    shapes = SHAPES[size]

    def draw():
        return [np.asarray(rng.standard_normal(s), dtype) for s in shapes]

    return draw(), [[np.asarray(x * x) for x in draw()] for _ in range(states)], draw()


def sgd(rng, dtype, size):
    w, (v,), g = arrays(rng, dtype, size, 1)
    first = np.array([0, 1], np.uint8)

    def run(w0, w1, v0, v1, g0, g1, first):
        kernels.sgd([w0, w1], [g0, g1], [v0, v1], first, 0.1, 0.9, 0.2, 0.01, True, True)

    expected_w, expected_v = [], []
    for k in range(2):
        x = w[k].astype(np.float64)
        d = -g[k].astype(np.float64) + 0.01 * x
        buffer = d if first[k] else 0.9 * v[k].astype(np.float64) + 0.8 * d
        expected_v.append(np.asarray(buffer))
        expected_w.append(np.asarray(x - 0.1 * (d + 0.9 * buffer)))
    return Case(run, [*w, *v, *g, first], [*expected_w, *expected_v], outputs=4)


def adam(rng, dtype, size):
    w, (m, v, most), g = arrays(rng, dtype, size, 3)
    steps = np.array([3.0, 1.0])

    def run(w0, w1, m0, m1, v0, v1, most0, most1, g0, g1, steps):
        states = [m0, m1], [v0, v1], [most0, most1]
        kernels.adam([w0, w1], [g0, g1], *states, steps, 0.01, 0.9, 0.99, 1e-3, 0.1, False, False)

    expected = [[], [], [], []]
    for k in range(2):
        x, old = w[k].astype(np.float64), v[k].astype(np.float64)
        d = g[k].astype(np.float64) + 0.1 * x
        mean = 0.9 * m[k].astype(np.float64) + 0.1 * d
        square = 0.99 * old + 0.01 * d * d
        largest = np.maximum(square, most[k])
        root = np.sqrt(largest) / np.sqrt(1 - 0.99 ** steps[k]) + 1e-3
        stepped = x - 0.01 / (1 - 0.9 ** steps[k]) * mean / root
        for into, result in zip(expected, (stepped, mean, square, largest), strict=True):
            into.append(np.asarray(result))
    flat = [a for pair in expected for a in pair]
    return Case(run, [*w, *m, *v, *most, *g, steps], flat, outputs=8, tolerance=16)


CASES = {"sgd": sgd, "adam": adam}

"""Rows of the penalties: two arrays each; of two gradients the second is added to."""

from __future__ import annotations

from functools import partial

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": [(0, 3), (2, 0)], "one": [(1,), (1, 1)], "odd": [(3, 7), (5,)], "large": [(211, 503), (4099,)]}
CUBES = {
    "empty": [(2, 0, 3), (3, 4, 0)],
    "one": [(1, 1)],
    "odd": [(3, 7, 5), (67, 70)],
    "large": [(70, 9, 85), (300, 700)],
}
ADD = np.array([0, 1], np.uint8)


def draw(rng, dtype, size, shapes=SHAPES):
    chosen = shapes[size]
    return [np.asarray(rng.standard_normal(s), dtype) for s in (chosen * 2)[:2]]


def elastic_penalty(rng, dtype, size, *, l1=0.3, l2=0.2):
    ws = draw(rng, dtype, size)
    exact = [w.astype(np.float64) for w in ws]

    def run(y, a, b):
        kernels.elastic_penalty(y, [a, b], l1, l2)

    expected = sum(l1 * np.abs(w).sum() + l2 * (w * w).sum() for w in exact)
    return Case(run, [np.zeros((), dtype), *ws], [np.asarray(expected)], elastic=(1, 2), tolerance=16)


def elastic_penalty_backward(rng, dtype, size, *, l1=0.3, l2=0.2):
    ws, grads = draw(rng, dtype, size), draw(rng, dtype, size)
    slopes = [l1 * np.sign(w.astype(np.float64)) + 2 * l2 * w.astype(np.float64) for w in ws]

    def run(da, db, a, b, add):
        kernels.elastic_penalty_backward([da, db], [a, b], add, l1, l2)

    expected = [slopes[0], np.asarray(grads[1] + slopes[1])]
    return Case(run, [*grads, *ws, ADD], expected, outputs=2)


def norms_of(w, dim):
    w = w.astype(np.float64)
    return np.sqrt((w * w).sum(tuple(axis for axis in range(w.ndim) if axis != dim), keepdims=True))


def group_penalty(rng, dtype, size, *, dim=0, shapes=SHAPES):
    ws, factors = draw(rng, dtype, size, shapes), np.array([0.3, 0.7])
    norms = [norms_of(w, dim).reshape(-1) for w in ws]

    def run(y, norms, a, b, factors):
        kernels.group_penalty(y, norms, [a, b], factors, dim)

    arguments = [np.zeros((), dtype), np.zeros(sum(map(len, norms))), *ws, factors]
    expected = [np.asarray(0.3 * norms[0].sum() + 0.7 * norms[1].sum()), np.concatenate(norms)]
    # In the length of an array that is not cut into groups nothing shows that it is another one.
    return Case(run, arguments, expected, outputs=2, elastic=(2,), tolerance=16)


def group_penalty_backward(rng, dtype, size, *, dim=0, shapes=SHAPES):
    ws, grads, factors = draw(rng, dtype, size, shapes), draw(rng, dtype, size, shapes), np.array([0.3, 0.7])
    norms = [norms_of(w, dim) for w in ws]
    slopes = [f * w / n for f, w, n in zip(factors, ws, norms, strict=True)]

    def run(da, db, norms, a, b, add, factors):
        kernels.group_penalty_backward([da, db], norms, [a, b], add, factors, dim)

    given = np.concatenate([n.reshape(-1) for n in norms])
    expected = [slopes[0], np.asarray(grads[1] + slopes[1])]
    return Case(run, [*grads, given, *ws, ADD, factors], expected, outputs=2)


CASES = {
    "elastic_penalty": elastic_penalty,
    "elastic_penalty_backward": elastic_penalty_backward,
    "group_penalty": group_penalty,
    "group_penalty_backward": group_penalty_backward,
}

# Each is a loop of its own; test_penalty_kernels.py runs them like the rows above.
VARIANTS = {
    "sizes": partial(elastic_penalty, l2=0),
    "squares": partial(elastic_penalty, l1=0),
    "nothing": partial(elastic_penalty, l1=0, l2=0),
    "slopes of sizes": partial(elastic_penalty_backward, l2=0),
    "slopes of squares": partial(elastic_penalty_backward, l1=0),
    "middle axes": partial(group_penalty, dim=1, shapes=CUBES),
    "slopes of middle axes": partial(group_penalty_backward, dim=1, shapes=CUBES),
}

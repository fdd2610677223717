"""Rows of averages of weights."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": [(0,), (2, 0)], "one": [(1,), ()], "odd": [(3, 7), (5,)], "large": [(211, 503), (4099,)]}


def lerp_list(rng, dtype, size, *, weight=0.3):
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES[size] * 2]

    def run(y0, y1, x0, x1):
        kernels.lerp_list([y0, y1], [x0, x1], weight)

    expected = [
        y + weight * (x - y) for y, x in zip(arrays[:2], (a.astype(np.float64) for a in arrays[2:]), strict=True)
    ]
    return Case(run, arrays, [np.asarray(y) for y in expected], outputs=2)


CASES = {"lerp_list": lerp_list}

"""Rows of DropConnect's kernels, beside masks made in plain NumPy."""

from __future__ import annotations

import functools

import numpy as np

from batten import _kernels as kernels

from . import Case
from .random import CALL, KEY, kept

ROWS, COLS = 32, 64  # of a unit
# examples, rows, cols; the odd one goes over a unit in both directions, and over a block of examples
SHAPES = {"empty": (3, 0, 4), "one": (1, 1, 1), "odd": (11, 35, 67), "large": (20, 150, 130)}


@functools.cache
def masks(examples, rows, cols, p):
    """Which weights are kept: dropout's elements, a unit of rows and columns one after the other."""
    down, across = -(-rows // ROWS), -(-cols // COLS)
    units = kept(examples * down * across * ROWS * COLS, p).reshape(examples, down, across, ROWS, COLS)
    return units.transpose(0, 1, 3, 2, 4).reshape(examples, down * ROWS, across * COLS)[:, :rows, :cols]


def operands(rng, dtype, size):
    """x, w, bias and dy, and the same in double."""
    examples, rows, cols = SHAPES[size]
    shapes = (examples, cols), (rows, cols), (rows,), (examples, rows)
    given = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
    return given, [a.astype(np.float64) for a in given]


def drop_connect(rng, dtype, size):
    (x, w, bias, dy), (x64, w64, bias64, _) = operands(rng, dtype, size)
    y = 1.5 * np.einsum("noi,oi,ni->no", masks(*SHAPES[size], 0.3), w64, x64) + bias64
    return Case(
        kernels.drop_connect, [np.full_like(dy, np.nan), x, w, bias, 0.3, 1.5, KEY, CALL], [y], tolerance=x.shape[1]
    )


def drop_connect_backward(rng, dtype, size):
    (x, w, _, dy), (x64, w64, _, dy64) = operands(rng, dtype, size)
    mask = masks(*SHAPES[size], 0.3)
    dx = 1.5 * np.einsum("noi,oi,no->ni", mask, w64, dy64)
    dw = 1.5 * np.einsum("noi,ni,no->oi", mask, x64, dy64)
    return Case(
        kernels.drop_connect_backward,
        [np.full_like(x, np.nan), np.full_like(w, np.nan), dy, x, w, 0.3, 1.5, KEY, CALL],
        [dx, dw],
        outputs=2,
        tolerance=2 + max(len(w), len(x)),
    )


def drop_connect_weight(rng, dtype, size):
    (_, w, _, _), (_, w64, _, _) = operands(rng, dtype, size)
    examples, rows, cols = SHAPES[size]
    y = 1.5 * w64 * masks(examples, rows, cols, 0.3)[-1]
    return Case(kernels.drop_connect_weight, [np.full_like(w, np.nan), w, examples - 1, 0.3, 1.5, KEY, CALL], [y])


CASES = {
    "drop_connect": drop_connect,
    "drop_connect_backward": drop_connect_backward,
    "drop_connect_weight": drop_connect_weight,
}

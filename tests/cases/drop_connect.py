"""Rows of DropConnect's kernels, beside masks made in plain NumPy."""

from __future__ import annotations

import math

import numpy as np

from batten import _kernels as kernels

from . import Case
from .random import CALL, KEY, LANES, philox

ROWS, COLS, DIGITS = 32, 64, 64
# examples, rows, cols; the odd one goes over a unit in both directions, and over a block of examples
SHAPES = {"empty": (3, 0, 4), "one": (1, 1, 1), "odd": (11, 35, 67), "large": (20, 150, 130)}


def words_of(groups):
    """The words of Philox groups by number, as bits: (groups, 2048)."""
    block = (groups[:, None] * LANES + np.arange(LANES)).ravel()
    counter = np.stack([block, block >> 32, np.full_like(block, CALL & 0xFFFFFFFF), np.full_like(block, CALL >> 32)], 1)
    keys = np.broadcast_to([KEY & 0xFFFFFFFF, KEY >> 32], (len(block), 2))
    words = philox(counter, keys).reshape(len(groups), LANES, 4).transpose(0, 2, 1)
    return np.unpackbits(np.ascontiguousarray(words).astype("<u4").view(np.uint8).reshape(len(groups), -1), axis=1,
                         bitorder="little").astype(bool)  # fmt: skip


def masks(examples, rows, cols, p):
    """Which weights are kept: a number of 64 binary digits is not below p."""
    down, across = -(-rows // ROWS), -(-cols // COLS)
    units = np.arange(examples * down * across)
    equal = np.ones((len(units), ROWS * COLS), bool)
    dropped = np.full_like(equal, p == 1)
    for digit in range(DIGITS):
        if p == 1 or not equal.any():
            break
        bits, of_p = words_of(units * DIGITS + digit), bool(math.floor(p * 2 ** (digit + 1)) % 2)
        dropped |= equal & ~bits & of_p
        equal &= bits == of_p
    kept = ~dropped.reshape(examples, down, across, ROWS, COLS).transpose(0, 1, 3, 2, 4)
    return kept.reshape(examples, down * ROWS, across * COLS)[:, :rows, :cols]


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
    kept = masks(*SHAPES[size], 0.3)
    dx = 1.5 * np.einsum("noi,oi,no->ni", kept, w64, dy64)
    dw = 1.5 * np.einsum("noi,ni,no->oi", kept, x64, dy64)
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

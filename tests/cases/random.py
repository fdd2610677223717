"""Rows of the random numbers and of dropout, beside Philox in plain NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": (3, 0), "one": (1,), "odd": (3, 7, 5), "large": (211, 1003)}
KEY, CALL = 0x0123456789ABCDEF, 0xFEDCBA9876543210
LANES = 16


def philox(counter, key):
    """Blocks of four words, uint32 (n, 4), of counters (n, 4) and keys (n, 2)."""
    x, k = counter.astype(np.uint64), key.astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * x[:, 0], np.uint64(0xCD9E8D57) * x[:, 2]
        x = np.stack([(b >> half) ^ x[:, 1] ^ k[:, 0], b & mask, (a >> half) ^ x[:, 3] ^ k[:, 1], a & mask], axis=1)
        k = (k + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & mask
    return x.astype(np.uint32)


def words(groups, key=KEY, call=CALL):
    """(groups, 4, 16): word w of each of the sixteen blocks of groups with these numbers."""
    block = (LANES * groups[:, None] + np.arange(LANES)).reshape(-1)
    counter = np.stack([block, block >> 32, np.full_like(block, call & 0xFFFFFFFF), np.full_like(block, call >> 32)], 1)
    keys = np.broadcast_to([key & 0xFFFFFFFF, key >> 32], (len(block), 2))
    return philox(counter, keys).reshape(-1, LANES, 4).transpose(0, 2, 1)


def elements(shape, each, make):
    """The first elements that `make` has of the words of enough groups, in C order."""
    n = int(np.prod(shape))
    return make(words(np.arange(-(-n // each)))).reshape(-1)[:n].reshape(shape)


def pairs(w):
    """64 bits of words 0 and 1, and of 2 and 3: (groups, 2, 16)."""
    return w[:, 0::2].astype(np.uint64) | w[:, 1::2].astype(np.uint64) << np.uint64(32)


def philox_row(rng, dtype, size):
    n = int(np.prod(SHAPES[size]))
    counter, key = (rng.integers(0, 2**32, (n, width), np.uint32) for width in (4, 2))
    return Case(kernels.philox, [np.zeros((n, 4), np.uint32), counter, key], [philox(counter, key)], tolerance=0)


def bits_row(rng, dtype, size):
    expected = elements(SHAPES[size], 32, pairs)
    return Case(kernels.bits, [np.zeros(SHAPES[size], np.uint64), KEY, CALL], [expected], tolerance=0)


def integers_row(rng, dtype, size):
    low, high = -(10**18), 7 * 10**18
    x = elements(SHAPES[size], 32, pairs)
    expected = np.array([low + (int(i) * (high - low) >> 64) for i in x.reshape(-1)], np.int64).reshape(x.shape)
    y = np.zeros(SHAPES[size], np.int64)
    return Case(kernels.integers, [y, low, high, KEY, CALL], [expected], tolerance=0)


def uniform_row(rng, dtype, size):
    low, high = dtype.type(-1.3), dtype.type(2.9)
    if dtype == np.float32:
        u = elements(SHAPES[size], 64, lambda w: (w >> 8) * 2.0**-24).astype(dtype)
    else:
        u = elements(SHAPES[size], 32, lambda w: (w[:, 0::2] >> 5) * 2.0**-27 + (w[:, 1::2] >> 6) * 2.0**-53)
    y = np.zeros(SHAPES[size], dtype)
    return Case(kernels.uniform, [y, float(low), float(high), KEY, CALL], [low + (high - low) * u], tolerance=0)


def box_muller(w, dtype):
    """Standard normal numbers in double precision; the uniform number is rounded to the type first."""
    each = dtype.itemsize // 4
    x, x0, w, w0 = (
        w[:, 0 :: 2 * each],
        w[:, each - 1 :: 2 * each],
        w[:, each :: 2 * each],
        w[:, 2 * each - 1 :: 2 * each],
    )
    step, turn = dtype.type(0.5), (w << 2).astype(np.int32) * 2.0**-32
    if each == 2:
        step = ((x0 >> 1) + 0.5) * 2.0**-31
        turn += (w0 >> 1) * 2.0**-61
    u = ((x >> 1).astype(dtype) + step).astype(np.float64) * 2.0**-31
    radius = np.where(w >> 31, -1, 1) * np.sqrt(-2 * np.log(u))
    sine, cosine, exchange = np.sin(np.pi / 2 * turn), np.cos(np.pi / 2 * turn), w >> 30 & 1
    z = radius * np.where(exchange, sine, cosine), radius * np.where(exchange, cosine, sine)
    return np.stack(z, axis=2)


def normal_row(rng, dtype, size):
    z = elements(SHAPES[size], 256 // dtype.itemsize, lambda w: box_muller(w, dtype))
    y = np.zeros(SHAPES[size], dtype)
    return Case(kernels.normal, [y, 0.5, 2.0, KEY, CALL], [0.5 + 2.0 * z], tolerance=4)


def kept(n, p):
    """Which of n elements dropout keeps: those whose random number is not below p.

    The numbers are compared one binary digit after the other; digit d of the 2048 elements of unit u is of group
    64 u + d, an element's in the order of the bits.
    """
    units = -(-n // 2048)
    dropped, equal = np.zeros((units, 2048), bool), np.ones((units, 2048), bool)
    for d in range(64 if p < 1 else 0):
        if p == 0 or not equal.any():
            break
        digit, p = divmod(2 * p, 1)
        some = words(64 * np.arange(units) + d)
        random = (
            np.unpackbits(np.ascontiguousarray(pairs(some)).view(np.uint8), bitorder="little").reshape(units, 2048) == 1
        )
        dropped |= equal & ~random & (digit == 1)
        equal &= random == (digit == 1)
    return ~dropped.reshape(-1)[:n] if p < 1 else np.zeros(n, bool)


def chosen(keep, x, scale):
    """x times scale or nought, in double precision."""
    return x.astype(np.float64) * np.where(keep, x.dtype.type(scale), 0).reshape(x.shape)


def bytes_for(n):
    return np.zeros((n + 7) // 8, np.uint8)


def packed(keep):
    return np.packbits(keep, bitorder="little")


def dropout_mask_row(rng, dtype, size):
    n = int(np.prod(SHAPES[size]))
    return Case(kernels.dropout_mask, [bytes_for(n), n, 0.3, KEY, CALL], [packed(kept(n, 0.3))], tolerance=0)


def dropout_row(rng, dtype, size):
    x = rng.standard_normal(SHAPES[size]).astype(dtype)
    keep = kept(x.size, 0.3)
    return Case(
        kernels.dropout,
        [np.zeros_like(x), bytes_for(x.size), x, 0.3, 1.5, KEY, CALL],
        [chosen(keep, x, 1.5), packed(keep)],
        outputs=2,
    )


def dropout_backward_row(rng, dtype, size):
    dy = rng.standard_normal(SHAPES[size]).astype(dtype)
    keep = rng.integers(0, 2, dy.size, bool)
    return Case(kernels.dropout_backward, [np.zeros_like(dy), dy, packed(keep), 1.5], [chosen(keep, dy, 1.5)])


def relu_dropout_row(rng, dtype, size):
    x = rng.standard_normal(SHAPES[size]).astype(dtype)
    keep = kept(x.size, 0.25)
    return Case(
        kernels.relu_dropout,
        [np.zeros_like(x), bytes_for(x.size), bytes_for(x.size), x, 0.25, 1.5, KEY, CALL],
        [chosen(keep, np.maximum(x, 0), 1.5), packed(keep), packed(x.reshape(-1) > 0)],
        outputs=3,
    )


def relu_dropout_backward_row(rng, dtype, size):
    dy = rng.standard_normal(SHAPES[size]).astype(dtype)
    keep, passed = rng.integers(0, 2, (2, dy.size), bool)
    return Case(
        kernels.relu_dropout_backward,
        [np.zeros_like(dy), dy, packed(keep), packed(passed), 1.5],
        [chosen(keep & passed, dy, 1.5)],
    )


def alpha_dropout_row(rng, dtype, size):
    x = rng.standard_normal(SHAPES[size]).astype(dtype)
    keep = kept(x.size, 0.3)
    y = chosen(keep, x, 1.5) + np.where(keep, dtype.type(0.7), dtype.type(-1.1)).reshape(x.shape)
    return Case(
        kernels.alpha_dropout,
        [np.zeros_like(x), bytes_for(x.size), x, 0.3, 1.5, 0.7, -1.1, KEY, CALL],
        [y, packed(keep)],
        outputs=2,
    )


def features(rng, dtype, size):
    """x (examples, rows, columns), which of its features are kept, and the place of these beside it."""
    shape = {"empty": (3, 0, 5), "one": (1, 1, 1), "odd": (3, 67, 5), "large": (2, 97, 1031)}[size]
    x = rng.standard_normal(shape).astype(dtype)
    return x, rng.integers(0, 2, (shape[0], 1, shape[2]), bool)


def feature_dropout_row(rng, dtype, size):
    x, keep = features(rng, dtype, size)
    y = x.astype(np.float64) * np.where(keep, dtype.type(1.5), 0)
    return Case(kernels.feature_dropout, [np.zeros_like(x), x, packed(keep), 1.5], [y])


def feature_alpha_dropout_row(rng, dtype, size):
    x, keep = features(rng, dtype, size)
    y = x.astype(np.float64) * np.where(keep, dtype.type(1.5), 0) + np.where(keep, dtype.type(0.7), dtype.type(-1.1))
    return Case(kernels.feature_alpha_dropout, [np.zeros_like(x), x, packed(keep), 1.5, 0.7, -1.1], [y])


CASES = {
    "philox": philox_row,
    "bits": bits_row,
    "integers": integers_row,
    "uniform": uniform_row,
    "normal": normal_row,
    "dropout_mask": dropout_mask_row,
    "dropout": dropout_row,
    "dropout_backward": dropout_backward_row,
    "relu_dropout": relu_dropout_row,
    "relu_dropout_backward": relu_dropout_backward_row,
    "alpha_dropout": alpha_dropout_row,
    "feature_dropout": feature_dropout_row,
    "feature_alpha_dropout": feature_alpha_dropout_row,
}

"""Rows of noise on arrays, beside the numbers that it is made of."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case
from .random import CALL, KEY, normal_row, uniform_row


def add_uniform_row(rng, dtype, size):
    noise = uniform_row(rng, dtype, size)
    x = rng.standard_normal(noise.expected[0].shape).astype(dtype)
    low, high = noise.arguments[1:3]
    return Case(kernels.add_uniform, [np.zeros_like(x), x, low, high, KEY, CALL], [x + noise.expected[0]])


def normal_noise(rng, dtype, size):
    """Numbers x, and as many from N(0, 1)."""
    z = (normal_row(rng, dtype, size).expected[0] - 0.5) / 2
    return rng.standard_normal(z.shape).astype(dtype), z


def add_normal_row(rng, dtype, size):
    x, z = normal_noise(rng, dtype, size)
    return Case(kernels.add_normal, [np.zeros_like(x), x, 0.3, KEY, CALL], [x + 0.3 * z])


def multiply_normal_row(rng, dtype, size):
    x, z = normal_noise(rng, dtype, size)
    return Case(kernels.multiply_normal, [np.zeros_like(x), x, 0.3, KEY, CALL], [x * (1 + 0.3 * z)], tolerance=8)


CASES = {"add_uniform": add_uniform_row, "add_normal": add_normal_row, "multiply_normal": multiply_normal_row}

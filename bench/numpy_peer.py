"""NumPy as a peer: its products of matrices (OpenBLAS as a rule), and layers, optimizers and augmentation as one
writes them.

A run returns first what the function of that name in cases.py does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[], Any]


def arrays() -> Callable[[Any], Run | None]:
    """Prepares a case by the function here of the same name."""
    return lambda case: FUNCTIONS[case.function.__name__](*case.sizes) if case.function.__name__ in FUNCTIONS else None


def gemm(form: str, m: int, n: int, k: int) -> Run:
    a = values(m, k) if form[0] == "N" else values(k, m).T
    b = values(k, n) if form[1] == "N" else values(n, k).T
    c = values(m, n)
    return lambda: np.matmul(a, b, out=c)


def relu(*shape: int) -> Run:
    x, dy = values(*shape), values(*shape, seed=1)

    def run() -> Any:
        y = np.maximum(x, 0)
        return dy * (y > 0), y

    return run


def dropout(*shape: int) -> Run:
    rng, x, dy = np.random.default_rng(0), values(*shape), values(*shape, seed=1)

    def run() -> Any:
        mask = (rng.random(shape, np.float32) >= 0.5) * np.float32(2)
        return dy * mask, x * mask

    return run


def gaussian_noise(*shape: int) -> Run:
    rng, x, dy = np.random.default_rng(0), values(*shape), values(*shape, seed=1)

    def run() -> Any:
        y = x + np.float32(0.1) * rng.standard_normal(shape, np.float32)
        return dy.copy(), y

    return run


def softmax(rows: int, classes: int) -> Run:
    x, dy = values(rows, classes), values(rows, classes, seed=1)

    def run() -> Any:
        y = np.exp(x - x.max(1, keepdims=True))
        y /= y.sum(1, keepdims=True)
        return y * (dy - (dy * y).sum(1, keepdims=True)), y

    return run


def batch_norm(rows: int, features: int) -> Run:
    x, dy = values(rows, features), values(rows, features, seed=1)
    gamma, beta = np.ones(features, np.float32), np.zeros(features, np.float32)
    running_mean, running_var = np.zeros(features, np.float32), np.ones(features, np.float32)

    def run() -> Any:
        mean, var = x.mean(0), x.var(0)
        running_mean[:] = 0.9 * running_mean + 0.1 * mean
        running_var[:] = 0.9 * running_var + 0.1 * var * (rows / (rows - 1))
        rstd = 1 / np.sqrt(var + np.float32(1e-5))
        z = (x - mean) * rstd
        y = gamma * z + beta
        dgamma, dbeta = (dy * z).sum(0), dy.sum(0)
        return gamma * rstd * (dy - (dbeta + z * dgamma) / np.float32(rows)), y

    return run


def cross_entropy(rows: int, classes: int) -> Run:
    x, target = values(rows, classes), np.random.default_rng(0).integers(0, classes, rows)
    every = np.arange(rows)

    def run() -> Any:
        z = x - x.max(1, keepdims=True)
        p = np.exp(z)
        sums = p.sum(1, keepdims=True)
        loss = (np.log(sums[:, 0]) - z[every, target]).mean()
        p /= sums
        p[every, target] -= 1
        return p / np.float32(rows), loss

    return run


def sgd(count: int, n: int) -> Run:
    params, grads = ([values(n) for _ in range(count)] for _ in range(2))
    momenta = [np.zeros_like(w) for w in params]

    def run() -> Any:
        for w, g, v in zip(params, grads, momenta, strict=True):
            v *= 0.9
            v += g
            w -= 1e-3 * v
        return params

    return run


def adam(count: int, n: int) -> Run:
    params, grads = ([values(n) for _ in range(count)] for _ in range(2))
    means, squares = ([np.zeros_like(w) for w in params] for _ in range(2))
    steps = 0

    def run() -> Any:
        nonlocal steps
        steps += 1
        rate, root = 1e-3 / (1 - 0.9**steps), (1 - 0.999**steps) ** 0.5
        for w, g, m, v in zip(params, grads, means, squares, strict=True):
            m += 0.1 * (g - m)
            v *= 0.999
            v += 0.001 * (g * g)
            w -= rate * m / (np.sqrt(v) / root + 1e-8)
        return params

    return run


def crop_flip_normalize(n: int, size: int, padding: int, p: float) -> Run:
    rng, images = np.random.default_rng(0), pictures(n, size)
    scale, shift = (np.tile(np.float32(x), size) for x in (1 / (255 * STD), -MEAN / STD))

    def run() -> Any:
        sides = (padding, padding)
        padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
        places, turned = rng.integers(0, 2 * padding + 1, (n, 2)), rng.random(n) < p
        parts = np.empty_like(images)
        for part, image, (top, left), turn in zip(parts, padded, places, turned, strict=True):
            cut = image[top : top + size, left : left + size]
            part[:] = cut[:, ::-1] if turn else cut
        y = parts.reshape(n * size, size * 3) * scale  # long rows, not three colours at a time
        y += shift
        return y.reshape(images.shape).transpose(0, 3, 1, 2)

    return run


def rotation(n: int, size: int, interpolation: str, degrees: tuple[float, float]) -> Run:
    rng, images = np.random.default_rng(0), pictures(n, size)
    from_middle = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    wide = size + 3  # black around it, so that nothing is asked for that is not there
    first = wide**2 * np.arange(n)[:, None, None]

    def run() -> Any:
        angle = np.radians(rng.uniform(*degrees, n)).astype(np.float32)[:, None, None]
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = from_middle, from_middle[:, None]
        column, row = (np.clip(z - from_middle[0], -1, size) + 1 for z in (cos * x - sin * y, sin * x + cos * y))
        pixels = np.pad(images, ((0, 0), (1, 2), (1, 2), (0, 0))).reshape(-1, 3)
        if interpolation == "nearest":
            turned = pixels[first + wide * np.rint(row).astype(np.int64) + np.rint(column).astype(np.int64)]
        else:
            top, left = row.astype(np.int64), column.astype(np.int64)
            down, right = (row - top).astype(np.float32)[..., None], (column - left).astype(np.float32)[..., None]
            at = first + wide * top + left
            upper, lower = ((1 - right) * pixels[at + line] + right * pixels[at + line + 1] for line in (0, wide))
            turned = np.rint((1 - down) * upper + down * lower).astype(np.uint8)
        return turned.transpose(0, 3, 1, 2)

    return run


def resized_crop(n: int, size: int, to: int, scale: tuple[float, float]) -> Run:
    rng, images = np.random.default_rng(0), pictures(n, size)

    def part() -> tuple[int, int, int, int]:
        """The first row and how many there are, and the same of columns."""
        for _ in range(10):
            area, ratio = size**2 * rng.uniform(*scale), math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= size and 0 < columns <= size:
                return int(rng.integers(size - rows + 1)), rows, int(rng.integers(size - columns + 1)), columns
        return 0, size, 0, size

    def run() -> Any:
        y = np.empty((n, 3, to, to), np.uint8)
        for result, image in zip(y, images, strict=True):
            top, rows, left, columns = part()
            cut = image[top : top + rows, left : left + columns].astype(np.float32)
            lines = triangles(rows, to) @ cut.reshape(rows, columns * 3)
            pixels = np.tensordot(lines.reshape(to, columns, 3), triangles(columns, to), (1, 1))
            result[:] = np.rint(pixels).transpose(1, 0, 2)
        return y

    return run


def triangles(n: int, to: int) -> np.ndarray:
    """What each of n pixels counts in each of the new ones, (to, n): less from its middle on, and wider where these
    are fewer."""
    away = abs(np.arange(n) + 0.5 - (np.arange(to)[:, None] + 0.5) * (n / to))
    weights = np.maximum(1 - away / max(n / to, 1), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def pictures(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


MEAN, STD = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])

FUNCTIONS = {
    f.__name__: f
    for f in (
        gemm, relu, dropout, gaussian_noise, softmax, batch_norm, cross_entropy, sgd, adam,
        crop_flip_normalize, rotation, resized_crop,
    )
}  # fmt: skip

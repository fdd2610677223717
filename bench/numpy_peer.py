"""NumPy as a peer: its products of matrices (OpenBLAS as a rule), and layers and optimizers as one writes them.

A run returns first what the function of that name in cases.py does.
"""

from __future__ import annotations

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


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


FUNCTIONS = {
    f.__name__: f for f in (gemm, relu, dropout, gaussian_noise, softmax, batch_norm, cross_entropy, sgd, adam)
}

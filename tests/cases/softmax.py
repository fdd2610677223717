"""Rows of softmax and cross-entropy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": (0, 4), "one": (1, 1), "odd": (7, 13), "large": (1003, 37)}


def logsumexp(x):
    m = x.max(1, keepdims=True)
    return m + np.log(np.exp(x - m).sum(1, keepdims=True))


def log_softmax(x):
    return x - logsumexp(x)


def softmax(x):
    return np.exp(log_softmax(x))


def forward(name, formula, drop=False):
    def build(rng, dtype, size):
        x = (4 * rng.standard_normal(SHAPES[size])).astype(dtype)
        y = np.zeros(x.shape[:1] if drop else x.shape, dtype)
        exact = formula(x.astype(np.float64))
        return Case(getattr(kernels, name), [y, x], [exact[:, 0] if drop else exact], tolerance=8, elastic=(1,) * drop)

    return build


def backward(name, formula, gradient):
    def build(rng, dtype, size):
        y = formula(4 * rng.standard_normal(SHAPES[size])).astype(dtype)
        dy = rng.standard_normal(SHAPES[size]).astype(dtype)
        exact = gradient(dy.astype(np.float64), y.astype(np.float64))
        return Case(getattr(kernels, name), [np.zeros_like(y), dy, y], [exact], tolerance=32)

    return build


def losses(x, target, weight, ignore, smoothing):
    """The loss of each row, and the matrix of target probabilities times weights."""
    classes = x.shape[1]
    wanted = np.full(x.shape, smoothing / classes)
    wanted[np.arange(len(x)), np.where(target == ignore, 0, target)] += 1 - smoothing
    wanted *= np.where(target == ignore, 0, 1)[:, None] * weight
    return -(wanted * log_softmax(x)).sum(1), wanted


def inputs(rng, dtype, size):
    n, classes = SHAPES[size]
    x = (4 * rng.standard_normal((n, classes))).astype(dtype)
    target = rng.integers(0, classes, n)
    target[1::5] = -7
    return x, target, rng.uniform(0.5, 2, classes).astype(dtype), {"ignore_index": -7, "label_smoothing": 0.2}


def cross_entropy(rng, dtype, size):
    x, target, weight, options = inputs(rng, dtype, size)
    exact = x.astype(np.float64)
    expected, _ = losses(exact, target, weight.astype(np.float64), -7, 0.2)
    arguments = [np.zeros(len(x), dtype), np.zeros(len(x), dtype), x, target, weight]
    lse = logsumexp(exact)[:, 0]
    return Case(kernels.cross_entropy, arguments, [expected, lse], outputs=2, options=options, tolerance=32)


def cross_entropy_backward(rng, dtype, size):
    x, target, weight, options = inputs(rng, dtype, size)
    exact = x.astype(np.float64)
    dloss = rng.standard_normal(len(x)).astype(dtype)
    _, wanted = losses(exact, target, weight.astype(np.float64), -7, 0.2)
    expected = dloss.astype(np.float64)[:, None] * (softmax(exact) * wanted.sum(1, keepdims=True) - wanted)
    lse = logsumexp(exact)[:, 0].astype(dtype)
    arguments = [np.zeros_like(x), dloss, x, lse, target, weight]
    return Case(kernels.cross_entropy_backward, arguments, [expected], options=options, tolerance=64)


CASES = {
    "softmax": forward("softmax", softmax),
    "log_softmax": forward("log_softmax", log_softmax),
    "logsumexp": forward("logsumexp", logsumexp, drop=True),
    "softmax_backward": backward("softmax_backward", softmax, lambda dy, y: y * (dy - (dy * y).sum(1, keepdims=True))),
    "log_softmax_backward": backward(
        "log_softmax_backward", log_softmax, lambda dy, y: dy - np.exp(y) * dy.sum(1, keepdims=True)
    ),
    "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward,
}

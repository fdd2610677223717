"""Points that are made up, to see on paper what a model does: float32 arrays, from batten's random numbers."""

from __future__ import annotations

import operator

import numpy as np

from ..random import Generator, rand, randn

__all__ = ["polynomial", "spirals", "two_moons"]


def polynomial(
    order: int, n: int = 10, noise: float = 0.3, *, generator: Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Powers (n, order + 1) of n numbers, and sin(2πx) + noise (n, 1): what a polynomial is fitted to.

    The numbers are evenly spaced in [0, 1], and row i is 1, x, x², … of the i-th of them, so that a linear layer
    without bias is a polynomial whose coefficients are its weights.  The noise is normal, with this standard deviation.

    Bishop, "Pattern recognition and machine learning", 2006, section 1.1: ten points are few for a polynomial of
    order 9, which goes through all of them, and through little else of the sine; a hundred are many.

    >>> features, targets = polynomial(3, n=5, noise=0)
    >>> features[1].tolist(), targets[1].tolist()
    ([1.0, 0.25, 0.0625, 0.015625], [1.0])
    """
    check("polynomial", order=order, n=n, noise=noise)
    x = np.linspace(0, 1, n)[:, None]
    targets = np.sin(2 * np.pi * x) + noise * normal((n, 1), generator)
    return (x ** np.arange(operator.index(order) + 1)).astype(np.float32), targets.astype(np.float32)


def two_moons(n: int = 200, noise: float = 0.1, *, generator: Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
    """n points (n, 2) of two half circles that reach into each other, and 0 or 1 (n,) for which.

        x = (cos a, sin a) or (1 - cos a, 1/2 - sin a), plus noise;   a is uniform in [0, π)

    The two take turns, so that the first of any number of points are half and half.

    >>> points, labels = two_moons(4)
    >>> points.shape, labels.tolist()
    ((4, 2), [0, 1, 0, 1])
    """
    check("two_moons", n=n, noise=noise)
    labels = np.arange(n) % 2
    angle = np.pi * uniform(n, generator)
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = np.where(labels[:, None], [1, 0.5] - points, points)
    return (points + noise * normal((n, 2), generator)).astype(np.float32), labels


def spirals(
    n: int = 300, classes: int = 3, noise: float = 0.02, turns: float = 1.0, *, generator: Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """n points (n, 2) of as many spirals as there are classes, all from the origin, and which one (n,).

        x = r (cos a, sin a), plus noise;   a = 2π (turns r + class / classes), and r is uniform in [0, 1)

    The classes take turns, so that the first of any number of points have as many of each.

    >>> points, labels = spirals(5, classes=2)
    >>> points.shape, labels.tolist()
    ((5, 2), [0, 1, 0, 1, 0])
    """
    check("spirals", n=n, noise=noise)
    if classes < 1:
        raise ValueError(f"spirals expects at least one class, got {classes}")
    labels = np.arange(n) % operator.index(classes)
    radius = uniform(n, generator)
    angle = 2 * np.pi * (turns * radius + labels / classes)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (points + noise * normal((n, 2), generator)).astype(np.float32), labels


def check(function: str, **arguments: float) -> None:
    for name, value in arguments.items():
        if not value >= 0:
            raise ValueError(f"{function} expects {name} >= 0, got {value}")


def uniform(n: int, generator: Generator | None) -> np.ndarray:
    return rand(n, generator=generator, dtype=np.float64).array


def normal(shape: tuple[int, ...], generator: Generator | None) -> np.ndarray:
    return randn(shape, generator=generator, dtype=np.float64).array

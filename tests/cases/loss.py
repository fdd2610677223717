"""Rows of the losses: the value and its two derivatives as formulas, from which come the four kernels of each."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case
from .elementwise import SHAPES

ANY, PROBABILITY = (-4, 4), (0.01, 0.99)
B = 0.75  # the factor of every loss


def loss(name, value, slope, target_slope, x=ANY, t=ANY, a=0.0):
    """The rows of a loss f(x, t, p; a): f itself, df/dx, df/dt and the sum of f, each with weights."""

    def build(suffix, formula):
        def row(rng, dtype, size):
            shape = SHAPES[size]
            arrays = [rng.uniform(*bounds, shape).astype(dtype) for bounds in (x, t, (0.5, 2), (0.5, 3))]
            xl, tl, wl, pl = [array.astype(np.float64) for array in arrays]
            losses = B * wl * formula(xl, tl, pl, a)
            kernel = getattr(kernels, name + suffix)
            if suffix == "_sum":
                # Each loss is rounded some times, and then the sum of as many as stand in a lane.
                bound = 64 * max(1.0, float(abs(losses).sum()) / max(1.0, float(abs(losses.sum()))))
                return Case(kernel, [np.zeros((), dtype), *arrays, a, B], [losses.sum()], tolerance=bound)
            return Case(kernel, [np.zeros(shape, dtype), *arrays, a, B], [losses], tolerance=16)

        return row

    parts = {"": value, "_sum": value, "_backward": slope, "_target_backward": target_slope}
    return {name + suffix: build(suffix, formula) for suffix, formula in parts.items()}


def of_difference(name, value, slope, **settings):
    return loss(
        name,
        lambda x, t, p, a: value(x - t, a),
        lambda x, t, p, a: slope(x - t, a),
        lambda x, t, p, a: -slope(x - t, a),
        **settings,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


NLL_SHAPES = {"empty": (3, 4, 0), "one": (1, 1, 1), "odd": (7, 13, 5), "large": (103, 37, 29)}


def classes(rng, dtype, size):
    """x, the classes of its places, of which some are ignored, and weights."""
    outer, n, inner = NLL_SHAPES[size]
    target = rng.integers(0, n, (outer, inner))
    target[1::5] = -7
    return rng.standard_normal((outer, n, inner)).astype(dtype), target, rng.uniform(0.5, 2, n).astype(dtype)


def nll_loss(rng, dtype, size):
    x, target, weight = classes(rng, dtype, size)
    known = np.where(target == -7, 0, target)
    picked = np.take_along_axis(x.astype(np.float64), known[:, None], 1)[:, 0]
    expected = np.where(target == -7, 0, -weight[known] * picked)
    arguments = [np.zeros(target.shape, dtype), x, target, weight]
    return Case(kernels.nll_loss, arguments, [expected], options={"ignore_index": -7})


def nll_loss_backward(rng, dtype, size):
    x, target, weight = classes(rng, dtype, size)
    dloss = rng.standard_normal(target.shape).astype(dtype)
    known = np.where(target == -7, 0, target)
    expected = np.zeros(x.shape)
    np.put_along_axis(expected, known[:, None], np.where(target == -7, 0, -weight[known] * dloss)[:, None], 1)
    arguments = [np.ones_like(x), dloss, target, weight]
    return Case(kernels.nll_loss_backward, arguments, [expected], options={"ignore_index": -7})


CASES = {
    **of_difference("l1_loss", lambda d, a: abs(d), lambda d, a: np.sign(d)),
    **of_difference("mse_loss", lambda d, a: d**2, lambda d, a: 2 * d),
    **of_difference(
        "smooth_l1_loss",
        lambda d, a: np.where(abs(d) < a, d**2 / (2 * a), abs(d) - a / 2),
        lambda d, a: np.clip(d / a, -1, 1),
        a=1.5,
    ),
    **of_difference(
        "huber_loss",
        lambda d, a: np.where(abs(d) < a, d**2 / 2, a * (abs(d) - a / 2)),
        lambda d, a: np.clip(d, -a, a),
        a=1.5,
    ),
    **loss(
        "binary_cross_entropy",
        lambda x, t, p, a: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
        lambda x, t, p, a: (x - t) / (x * (1 - x)),
        lambda x, t, p, a: np.log(1 - x) - np.log(x),
        x=PROBABILITY,
        t=(0, 1),
    ),
    **loss(
        "binary_cross_entropy_with_logits",
        lambda x, t, p, a: -(p * t * np.log(sigmoid(x)) + (1 - t) * np.log(sigmoid(-x))),
        lambda x, t, p, a: (1 - t) * sigmoid(x) - p * t * sigmoid(-x),
        lambda x, t, p, a: np.log(sigmoid(-x)) - p * np.log(sigmoid(x)),
        t=(0, 1),
    ),
    **loss(
        "kl_div",
        lambda x, t, p, a: t * (np.log(t) - x),
        lambda x, t, p, a: -t,
        lambda x, t, p, a: np.log(t) - x + 1,
        t=PROBABILITY,
    ),
    **loss(
        "kl_div_log",
        lambda x, t, p, a: np.exp(t) * (t - x),
        lambda x, t, p, a: -np.exp(t),
        lambda x, t, p, a: np.exp(t) * (t - x + 1),
        t=(-4, 0),
    ),
    "nll_loss": nll_loss,
    "nll_loss_backward": nll_loss_backward,
}

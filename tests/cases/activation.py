"""Rows of the activations: each beside its formula, each gradient beside the derivative."""

from __future__ import annotations

import numpy as np

from .elementwise import erf, gradient, row


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu6(x):
    return np.clip(x, 0, 6)


def softplus(x):
    return np.logaddexp(0, x)


def mish_slope(x):
    return np.tanh(softplus(x)) + x * sigmoid(x) / np.cosh(softplus(x)) ** 2


def normal(x):
    return (1 + erf(x / np.sqrt(2))) / 2


def gelu_inner(x):
    return np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)


def gelu_tanh_slope(x):
    u, du = gelu_inner(x), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return sigmoid(2 * u) + x * du / (2 * np.cosh(u) ** 2)


def prelu_backward(rng, dtype, size):
    """dy, x and the slope: the kernel's fourth operand is not used."""
    case = row("prelu_backward", lambda dy, x, slope: dy * np.where(x > 0, 1, slope), (-1, 1), (-4, 4), (0, 1))
    return case(rng, dtype, size)


def density(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def gaussian_relu_slope(name, slope):
    """dy, the mean and the standard deviation: the fourth operand is not used."""
    return row(name, lambda dy, mean, std: dy * slope(mean / std), (-1, 1), (-4, 4), (0.5, 2))


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
SHARP = {"options": (1.5, 3.0)}  # softplus' beta and threshold

CASES = {
    "relu": row("relu", lambda x: np.maximum(x, 0)),
    "relu_backward": gradient("relu_backward", lambda y: y > 0),
    "relu6": row("relu6", relu6, (-8, 8)),
    "relu6_backward": gradient("relu6_backward", lambda x: (x > 0) & (x < 6), low=-8, high=8),
    "hardtanh_backward": gradient("hardtanh_backward", lambda x, a, b: (x > a) & (x < b), options=(-1.25, 0.5)),
    "leaky_relu": row("leaky_relu", lambda x, a: np.where(x > 0, x, a * x), options=(0.125,)),
    "leaky_relu_backward": gradient("leaky_relu_backward", lambda x, a: np.where(x > 0, 1, a), options=(0.125,)),
    "prelu": row("prelu", lambda x, slope: np.where(x > 0, x, slope * x), (-4, 4), (0, 1)),
    "prelu_backward": prelu_backward,
    "prelu_slope_backward": gradient("prelu_slope_backward", lambda x: np.minimum(x, 0)),
    "threshold": row("threshold", lambda x, a, b: np.where(x > a, x, b), options=(0.5, 20.0)),
    "threshold_backward": gradient("threshold_backward", lambda x, a, b: x > a, options=(0.5, 20.0)),
    "hardshrink": row("hardshrink", lambda x, a: np.where(np.abs(x) > a, x, 0), options=(0.5,)),
    "hardshrink_backward": gradient("hardshrink_backward", lambda x, a: np.abs(x) > a, options=(0.5,)),
    "softshrink": row("softshrink", lambda x, a: np.sign(x) * np.maximum(np.abs(x) - a, 0), options=(0.5,)),
    "softshrink_backward": gradient("softshrink_backward", lambda x, a: np.abs(x) > a, options=(0.5,)),
    "hardsigmoid": row("hardsigmoid", lambda x: relu6(x + 3) / 6),
    "hardsigmoid_backward": gradient("hardsigmoid_backward", lambda x: (np.abs(x) < 3) / 6),
    "hardswish": row("hardswish", lambda x: x * relu6(x + 3) / 6),
    "hardswish_backward": gradient(
        "hardswish_backward", lambda x: np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))
    ),
    "softsign": row("softsign", lambda x: x / (1 + np.abs(x))),
    "softsign_backward": gradient("softsign_backward", lambda x: (1 + np.abs(x)) ** -2),
    "sigmoid": row("sigmoid", sigmoid),
    "sigmoid_backward": gradient("sigmoid_backward", lambda y: y * (1 - y)),
    "tanh": row("tanh", np.tanh),
    "tanh_backward": gradient("tanh_backward", lambda y: 1 - y**2),
    "tanhshrink": row("tanhshrink", lambda x: x - np.tanh(x)),
    "tanhshrink_backward": gradient("tanhshrink_backward", lambda x: np.tanh(x) ** 2),
    "elu": row("elu", lambda x, a: np.where(x > 0, x, a * np.expm1(x)), options=(0.75,)),
    "elu_backward": gradient("elu_backward", lambda x, a: np.where(x > 0, 1, a * np.exp(x)), options=(0.75,)),
    "celu": row("celu", lambda x, a: np.where(x > 0, x, a * np.expm1(x / a)), options=(0.75,)),
    "celu_backward": gradient("celu_backward", lambda x, a: np.where(x > 0, 1, np.exp(x / a)), options=(0.75,)),
    "selu": row("selu", lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x))),
    "selu_backward": gradient("selu_backward", lambda x: SCALE * np.where(x > 0, 1, ALPHA * np.exp(x))),
    "silu": row("silu", lambda x: x * sigmoid(x)),
    "silu_backward": gradient("silu_backward", lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "softplus": row("softplus", lambda x, a, b: np.where(a * x > b, x, softplus(a * x) / a), **SHARP),
    "softplus_backward": gradient("softplus_backward", lambda x, a, b: np.where(a * x > b, 1, sigmoid(a * x)), **SHARP),
    "logsigmoid": row("logsigmoid", lambda x: -softplus(-x)),
    "logsigmoid_backward": gradient("logsigmoid_backward", lambda x: sigmoid(-x)),
    "mish": row("mish", lambda x: x * np.tanh(softplus(x))),
    "mish_backward": gradient("mish_backward", mish_slope),
    "gelu": row("gelu", lambda x: x * normal(x)),
    "gelu_backward": gradient("gelu_backward", lambda x: normal(x) + x * density(x)),
    "gaussian_relu": row("gaussian_relu", lambda m, s: m * normal(m / s) + s * density(m / s), (-4, 4), (0.5, 2)),
    "gaussian_relu_backward": gaussian_relu_slope("gaussian_relu_backward", normal),
    "gaussian_relu_std_backward": gaussian_relu_slope("gaussian_relu_std_backward", density),
    "gelu_tanh": row("gelu_tanh", lambda x: x * (1 + np.tanh(gelu_inner(x))) / 2),
    "gelu_tanh_backward": gradient("gelu_tanh_backward", gelu_tanh_slope),
}

"""Rows of the arithmetic kernels: NumPy's formula beside each name."""

from __future__ import annotations

import math

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": (3, 0), "one": (1,), "odd": (3, 7, 5), "large": (211, 1003)}


def row(name, formula, *ranges, options=()):
    """A kernel y = f(x) or z = f(x, y) beside its formula, on numbers of the given range, or of -4 to 4."""

    def build(rng, dtype, size):
        inputs = [rng.uniform(low, high, SHAPES[size]).astype(dtype) for low, high in ranges or [(-4, 4)]]
        exact = [x.astype(np.float64) for x in inputs]
        return Case(
            getattr(kernels, name), [np.zeros(SHAPES[size], dtype), *inputs, *options], [formula(*exact, *options)]
        )

    return build


def row2(name, formula, low=-4, high=4):
    return row(name, formula, (low, high), (low, high))


def gradient(name, slope, low=-4, high=4, options=()):
    """A kernel dx = dy f'(kept) beside f'."""
    return row(name, lambda dy, kept, *scalars: dy * slope(kept, *scalars), (-1, 1), (low, high), options=options)


erf = np.vectorize(math.erf, otypes=[float])

CASES = {
    "copy": row("copy", lambda x: x),
    "add": row2("add", np.add),
    "sub": row2("sub", np.subtract),
    "mul": row2("mul", np.multiply),
    "div": row2("div", np.divide),
    "pow": row2("pow", np.power, low=0),
    "maximum": row2("maximum", np.maximum),
    "minimum": row2("minimum", np.minimum),
    "neg": row("neg", np.negative),
    "abs": row("abs", np.abs),
    "abs_backward": gradient("abs_backward", np.sign),
    "sign": row("sign", np.sign),
    "square": row("square", np.square),
    "square_backward": gradient("square_backward", lambda x: 2 * x),
    "sqrt": row("sqrt", np.sqrt, (0, 4)),
    "sqrt_backward": gradient("sqrt_backward", lambda y: 0.5 / y, low=0.01),
    "rsqrt": row("rsqrt", lambda x: 1 / np.sqrt(x), (0.01, 4)),
    "rsqrt_backward": gradient("rsqrt_backward", lambda y: -0.5 * y**3),
    "reciprocal": row("reciprocal", lambda x: 1 / x),
    "reciprocal_backward": gradient("reciprocal_backward", lambda y: -(y**2)),
    "exp": row("exp", np.exp),
    "exp_backward": gradient("exp_backward", lambda y: y),
    "expm1": row("expm1", np.expm1),
    "expm1_backward": gradient("expm1_backward", lambda y: y + 1),
    "log": row("log", np.log, (0, 4)),
    "log_backward": gradient("log_backward", lambda x: 1 / x),
    "log1p": row("log1p", np.log1p, (-1, 4)),
    "log1p_backward": gradient("log1p_backward", lambda x: 1 / (1 + x), low=-0.99),
    "sin": row("sin", np.sin),
    "sin_backward": gradient("sin_backward", np.cos),
    "cos": row("cos", np.cos),
    "cos_backward": gradient("cos_backward", lambda x: -np.sin(x)),
    "erf": row("erf", erf),
    "erf_backward": gradient("erf_backward", lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "clamp": row("clamp", np.clip, options=(-1.25, 0.5)),
    "clamp_backward": gradient("clamp_backward", lambda x, a, b: (x >= a) & (x <= b), options=(-1.25, 0.5)),
}

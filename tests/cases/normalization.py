"""Rows of batch, group and layer normalization, beside the papers' equations in NumPy."""

from __future__ import annotations

import numpy as np

from batten import _kernels as kernels

from . import Case

# More columns than a tile has, and more rows.
SHAPES = {"empty": (0, 5), "one": (1, 1), "odd": (37, 67), "large": (811, 131)}
EPS, MOMENTUM = 1e-5, 0.2


def data(rng, dtype, size):
    """x, dy, and four vectors for the columns, the last one positive."""
    n, c = SHAPES[size]
    x = rng.uniform(-4, 4, (n, c)) * rng.uniform(0.5, 2, c) + rng.uniform(-3, 3, c)
    vectors = [rng.uniform(-2, 2, c), rng.uniform(-2, 2, c), rng.uniform(-2, 2, c), rng.uniform(0.5, 4, c)]
    return [a.astype(dtype) for a in (x, rng.standard_normal((n, c)), *vectors)]


def exact(*arrays):
    """In a type in which NumPy's own sums are exact enough to judge float64's."""
    return [a.astype(np.longdouble) for a in arrays]


def rounding(x):
    """Sums are in float64 whatever the type: for float32 they are exact, for float64 each row may add a rounding."""
    return 4 if x.dtype == np.float32 else max(4, len(x))


def with_relu(size):
    return size == "odd"


def rectified(y, size):
    return np.maximum(y, 0) if with_relu(size) else y


def let_through(dy, y, size):
    return np.where(y <= 0, 0, dy) if with_relu(size) else dy


def trained(x, gamma, beta, running_mean, running_var):
    """What batch_norm writes, without relu."""
    n, c = x.shape
    xl, g, b, rm, rv = exact(x, gamma, beta, running_mean, running_var)
    mean, var = (xl.mean(0), xl.var(0)) if n else (np.zeros(c), np.ones(c) - EPS)
    rstd = 1 / np.sqrt(var + EPS)
    shift = (mean.astype(x.dtype) - mean) * g * rstd + b
    if n:
        rm = (1 - MOMENTUM) * rm + MOMENTUM * mean
        rv = (1 - MOMENTUM) * rv + MOMENTUM * var * n / max(n - 1, 1)
    return [(xl - mean) * rstd * g + b, np.stack([mean, rstd, shift]), rm, rv]


def trained_backward(passed, x, gamma, kept):
    """dx, dgamma and dbeta from what reaches batch_norm's result."""
    xl, g, mean, rstd = exact(x, gamma, *kept[:2])
    n, xhat = max(len(x), 1), (xl - mean) * rstd
    dgamma, dbeta = (passed * xhat).sum(0), passed.sum(0)
    return [g * rstd * (passed - dbeta / n - xhat * dgamma / n), dgamma, dbeta]


def batch_norm_row(rng, dtype, size):
    x, _, gamma, beta, *running = data(rng, dtype, size)
    expected = trained(x, gamma, beta, *running)
    expected[0] = rectified(expected[0], size)
    arguments = [np.zeros_like(x), np.zeros((3, len(gamma))), *running, x, gamma, beta, EPS, MOMENTUM, with_relu(size)]
    return Case(kernels.batch_norm, arguments, expected, outputs=4, tolerance=rounding(x))


def batch_norm_backward_row(rng, dtype, size):
    x, dy, gamma, beta, *running = data(rng, dtype, size)
    y, kept, *_ = trained(x, gamma, beta, *running)
    expected = trained_backward(let_through(*exact(dy, y), size), x, gamma, kept)
    outputs = [np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
    arguments = [*outputs, dy, x, kept.astype(np.float64), gamma, with_relu(size)]
    return Case(kernels.batch_norm_backward, arguments, expected, outputs=3, tolerance=rounding(x))


def batch_norm_add_relu_row(rng, dtype, size):
    x, z, gamma, beta, *running = data(rng, dtype, size)
    expected = trained(x, gamma, beta, *running)
    expected[0] = np.maximum(expected[0] + z, 0)
    arguments = [np.zeros_like(x), np.zeros((3, len(gamma))), *running, x, z, gamma, beta, EPS, MOMENTUM]
    return Case(kernels.batch_norm_add_relu, arguments, expected, outputs=4, tolerance=rounding(x))


def batch_norm_add_relu_backward_row(rng, dtype, size):
    x, dy, gamma, beta, *running = data(rng, dtype, size)
    kept = trained(x, gamma, beta, *running)[1]
    y = rng.uniform(-1, 1, x.shape).astype(dtype)
    passed = np.where(y <= 0, 0, dy)
    dx, *others = trained_backward(*exact(passed), x, gamma, kept)
    outputs = [np.zeros_like(x), np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
    arguments = [*outputs, dy, y, x, kept.astype(np.float64), gamma]
    expected = [dx, passed, *others]
    return Case(kernels.batch_norm_add_relu_backward, arguments, expected, outputs=4, tolerance=rounding(x))


def thinning(rng, x):
    """What dropout multiplies x by, and its mask."""
    keep = rng.integers(0, 2, x.shape, bool)
    return np.where(keep, x.dtype.type(1.5), x.dtype.type(0)), np.packbits(keep, bitorder="little")


def batch_norm_relu_dropout_row(rng, dtype, size):
    x, _, gamma, beta, *running = data(rng, dtype, size)
    factor, mask = thinning(rng, x)
    expected = trained(x, gamma, beta, *running)
    expected[0] = np.maximum(expected[0], 0) * factor
    arguments = [np.zeros_like(x), np.zeros((3, len(gamma))), *running, x, mask, gamma, beta, EPS, MOMENTUM, 1.5]
    return Case(kernels.batch_norm_relu_dropout, arguments, expected, outputs=4, tolerance=rounding(x))


def batch_norm_relu_dropout_backward_row(rng, dtype, size):
    x, dy, gamma, beta, *running = data(rng, dtype, size)
    factor, mask = thinning(rng, x)
    y, kept, *_ = trained(x, gamma, beta, *running)
    expected = trained_backward(np.where(y <= 0, 0, exact(dy * factor)[0]), x, gamma, kept)
    outputs = [np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
    arguments = [*outputs, dy, x, mask, kept.astype(np.float64), gamma, 1.5]
    return Case(kernels.batch_norm_relu_dropout_backward, arguments, expected, outputs=3, tolerance=rounding(x))


def batch_norm_inference_row(rng, dtype, size):
    x, _, gamma, beta, mean, var = data(rng, dtype, size)
    xl, g, b, m, v = exact(x, gamma, beta, mean, var)
    y = rectified(g * (xl - m) / np.sqrt(v + EPS) + b, size)
    return Case(kernels.batch_norm_inference, [np.zeros_like(x), x, mean, var, gamma, beta, EPS, with_relu(size)], [y])


def batch_norm_inference_backward_row(rng, dtype, size):
    x, dy, gamma, beta, mean, var = data(rng, dtype, size)
    xl, dyl, g, b, m, v = exact(x, dy, gamma, beta, mean, var)
    rstd = 1 / np.sqrt(v + EPS)
    passed = let_through(dyl, g * (xl - m) * rstd + b, size)
    expected = [passed * g * rstd, (passed * (xl - m) * rstd).sum(0), passed.sum(0)]
    outputs = [np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
    arguments = [*outputs, dy, x, mean, var, gamma, beta, EPS, with_relu(size)]
    return Case(kernels.batch_norm_inference_backward, arguments, expected, outputs=3, tolerance=rounding(x))


def layer_norm_row(rng, dtype, size):
    x = data(rng, dtype, size)[0]
    n, c = x.shape
    gamma, beta = rng.uniform(-2, 2, (2, c)).astype(dtype)
    xl, g, b = exact(x, gamma, beta)
    mean, rstd = xl.mean(1), 1 / np.sqrt(xl.var(1) + EPS)
    expected = [(xl - mean[:, None]) * rstd[:, None] * g + b, mean, rstd]
    arguments = [np.zeros_like(x), np.zeros(n), np.zeros(n), x, gamma, beta, EPS]
    return Case(kernels.layer_norm, arguments, expected, outputs=3, tolerance=8)


def layer_norm_backward_row(rng, dtype, size):
    x, dy, gamma, *_ = data(rng, dtype, size)
    xl, dyl, g = exact(x, dy, gamma)
    mean, rstd = xl.mean(1), 1 / np.sqrt(xl.var(1) + EPS)
    xhat = (xl - mean[:, None]) * rstd[:, None]
    grown = dyl * g
    dx = rstd[:, None] * (grown - grown.mean(1, keepdims=True) - xhat * (grown * xhat).mean(1, keepdims=True))
    outputs = [np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)]
    arguments = [*outputs, dy, x, mean.astype(np.float64), rstd.astype(np.float64), gamma]
    expected = [dx, (dyl * xhat).sum(0), dyl.sum(0)]
    # A column's sum is of terms up to 4, each of which is rounded, and then the sum 32 times.  Rounding gamma dy
    # leaves an error that grows by rstd, which is 300 for a row of one element.
    tolerance = max(32, len(x) / 4, rstd.max(initial=0))
    return Case(kernels.layer_norm_backward, arguments, expected, outputs=3, tolerance=tolerance)


def rms_norm_row(rng, dtype, size):
    x, _, gamma, *_ = data(rng, dtype, size)
    xl, g = exact(x, gamma)
    rstd = 1 / np.sqrt((xl**2).mean(1) + EPS)
    arguments = [np.zeros_like(x), np.zeros(len(x)), x, gamma, EPS]
    return Case(kernels.rms_norm, arguments, [xl * rstd[:, None] * g, rstd], outputs=2, tolerance=8)


def rms_norm_backward_row(rng, dtype, size):
    x, dy, gamma, *_ = data(rng, dtype, size)
    xl, dyl, g = exact(x, dy, gamma)
    rstd = 1 / np.sqrt((xl**2).mean(1) + EPS)
    xhat, grown = xl * rstd[:, None], dyl * g
    expected = [rstd[:, None] * (grown - xhat * (grown * xhat).mean(1, keepdims=True)), (dyl * xhat).sum(0)]
    arguments = [np.zeros_like(x), np.zeros_like(gamma), dy, x, rstd.astype(np.float64), gamma]
    # A column's sum is as in layer_norm_backward.
    return Case(kernels.rms_norm_backward, arguments, expected, outputs=2, tolerance=max(32, len(x) / 4))


IMAGES = {"empty": (2, 0, 6, 3), "one": (1, 1, 1, 1), "odd": (5, 37, 66, 6), "large": (9, 1100, 36, 4)}


def grouped(rng, dtype, size):
    """x and dy (images, pixels, channels), gamma and beta, and how many groups there are."""
    *shape, groups = IMAGES[size]
    x = rng.uniform(-4, 4, shape) * rng.uniform(0.5, 2, shape[-1]) + rng.uniform(-3, 3, shape[-1])
    gamma, beta = rng.uniform(-2, 2, (2, shape[-1]))
    return [*[a.astype(dtype) for a in (x, rng.standard_normal(shape), gamma, beta)], groups]


def groups_normalized(x, groups):
    """xhat, mean and rstd, the last two (images, groups)."""
    xl = x.astype(np.longdouble).reshape(*x.shape[:2], groups, x.shape[2] // groups)
    if not x.size:
        return xl.reshape(x.shape), np.zeros((len(x), groups)), np.ones((len(x), groups))
    mean, rstd = xl.mean((1, 3)), 1 / np.sqrt(xl.var((1, 3)) + EPS)
    xhat = (xl - mean[:, None, :, None]) * rstd[:, None, :, None]
    return xhat.reshape(x.shape), mean, rstd


def group_norm_row(rng, dtype, size):
    x, _, gamma, beta, groups = grouped(rng, dtype, size)
    xhat, mean, rstd = groups_normalized(x, groups)
    expected = [rectified(xhat * gamma + beta, size), mean, rstd]
    arguments = [np.zeros_like(x), np.zeros(mean.shape), np.zeros(mean.shape), x, gamma, beta, EPS, with_relu(size)]
    return Case(kernels.group_norm, arguments, expected, outputs=3, tolerance=in_groups(x, groups))


def group_norm_add_relu_row(rng, dtype, size):
    x, z, gamma, beta, groups = grouped(rng, dtype, size)
    xhat, mean, rstd = groups_normalized(x, groups)
    expected = [np.maximum(xhat * gamma + beta + z, 0), mean, rstd]
    arguments = [np.zeros_like(x), np.zeros(mean.shape), np.zeros(mean.shape), x, z, gamma, beta, EPS]
    return Case(kernels.group_norm_add_relu, arguments, expected, outputs=3, tolerance=in_groups(x, groups))


def group_norm_backward_row(rng, dtype, size):
    x, dy, gamma, beta, groups = grouped(rng, dtype, size)
    xhat, mean, rstd = groups_normalized(x, groups)
    passed = let_through(dy.astype(np.longdouble), xhat * gamma + beta, size)
    expected = groups_normalized_backward(passed, xhat, rstd, gamma)
    kept = mean.astype(np.float64), rstd.astype(np.float64)
    arguments = [np.zeros_like(x), *np.zeros((2, len(gamma)), dtype), dy, x, *kept, gamma, beta, with_relu(size)]
    tolerance = in_groups_backward(x, groups, rstd)
    return Case(kernels.group_norm_backward, arguments, expected, outputs=3, tolerance=tolerance)


def group_norm_add_relu_backward_row(rng, dtype, size):
    x, dy, gamma, _, groups = grouped(rng, dtype, size)
    xhat, mean, rstd = groups_normalized(x, groups)
    y = rng.uniform(-1, 1, x.shape).astype(dtype)
    passed = np.where(y <= 0, 0, dy)
    dx, *others = groups_normalized_backward(passed.astype(np.longdouble), xhat, rstd, gamma)
    kept = mean.astype(np.float64), rstd.astype(np.float64)
    arguments = [np.zeros_like(x), np.zeros_like(x), *np.zeros((2, len(gamma)), dtype), dy, y, x, *kept, gamma]
    tolerance = in_groups_backward(x, groups, rstd)
    expected = [dx, passed, *others]
    return Case(kernels.group_norm_add_relu_backward, arguments, expected, outputs=4, tolerance=tolerance)


def groups_normalized_backward(passed, xhat, rstd, gamma):
    """dx, dgamma and dbeta from what reaches group_norm's result."""
    cut = (*xhat.shape[:2], rstd.shape[1], xhat.shape[2] // rstd.shape[1])
    grown, xg, n = (passed * gamma).reshape(cut), xhat.reshape(cut), max(xhat.shape[1] * cut[3], 1)
    means = [a.sum((1, 3), keepdims=True) / n for a in (grown, grown * xg)]
    dx = (grown - means[0] - xg * means[1]) * rstd[:, None, :, None]
    return [dx.reshape(xhat.shape), (passed * xhat).sum((0, 1)), passed.sum((0, 1))]


def in_groups_backward(x, groups, rstd):
    """A single element leaves nothing of its gradient but what was rounded, 300 times as large."""
    alone = x.shape[1] * x.shape[2] == groups
    return max(in_groups(x, groups), rstd.max(initial=0) if alone else 0)


def in_groups(x, groups):
    """As `rounding`, for the sums over a group's elements, and over all images."""
    return 8 if x.dtype == np.float32 else max(8, x.shape[0] * x.shape[1])


CASES = {
    "batch_norm": batch_norm_row,
    "batch_norm_backward": batch_norm_backward_row,
    "batch_norm_add_relu": batch_norm_add_relu_row,
    "batch_norm_add_relu_backward": batch_norm_add_relu_backward_row,
    "batch_norm_relu_dropout": batch_norm_relu_dropout_row,
    "batch_norm_relu_dropout_backward": batch_norm_relu_dropout_backward_row,
    "batch_norm_inference": batch_norm_inference_row,
    "batch_norm_inference_backward": batch_norm_inference_backward_row,
    "group_norm": group_norm_row,
    "group_norm_add_relu": group_norm_add_relu_row,
    "group_norm_add_relu_backward": group_norm_add_relu_backward_row,
    "group_norm_backward": group_norm_backward_row,
    "layer_norm": layer_norm_row,
    "layer_norm_backward": layer_norm_backward_row,
    "rms_norm": rms_norm_row,
    "rms_norm_backward": rms_norm_backward_row,
}

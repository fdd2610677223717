"""Rows of the optimizers: two parameters, and PyTorch's update rules in NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np

from batten import _kernels as kernels

from . import Case

SHAPES = {"empty": [(0,), (2, 0)], "one": [(1,), ()], "odd": [(3, 7), (5,)], "large": [(211, 503), (4099,)]}


def draw(rng, dtype, size):
    return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES[size]]


def slope(w, g, weight_decay, maximize):
    return (-g if maximize else g) + weight_decay * w


def sgd(rng, dtype, size, *, momentum=0.9, dampening=0.2, nesterov=True, maximize=True):
    w, g, v = draw(rng, dtype, size), draw(rng, dtype, size), draw(rng, dtype, size)
    first = np.array([0, 1], np.uint8)
    v[1].fill(0)

    def run(w0, w1, v0, v1, g0, g1, first):
        kernels.sgd([w0, w1], [g0, g1], [v0, v1], first, 0.1, momentum, dampening, 0.01, nesterov, maximize)

    expected_w, expected_v = [], []
    for k in range(2):
        x = w[k].astype(np.float64)
        d = slope(x, g[k].astype(np.float64), 0.01, maximize)
        buffer = d if first[k] else momentum * v[k].astype(np.float64) + (1 - dampening) * d
        expected_v.append(np.asarray(buffer))
        expected_w.append(np.asarray(x - 0.1 * (d + momentum * buffer if nesterov else buffer)))
    return Case(run, [*w, *v, *g, first], [*expected_w, *expected_v], outputs=4)


def step(kernel, rule, present, options, rng, dtype, size):
    """A row of a kernel that counts: the fourth step of one parameter, and the first of another.

    `present` says which of the kernel's states there are.  The rule takes w, g, the count, these states (None
    for one that there is not) and the options, and returns w and the states after the step.
    """
    params, grads = draw(rng, dtype, size), draw(rng, dtype, size)
    # Whatever mean and mean square a rule takes for one another's: they leave it a variance.
    states = [[np.asarray(rng.uniform(0.3, 0.5, s), dtype) for s in SHAPES[size]] for there in present if there]
    counts = [np.array(3, np.float32), np.array(0, np.float32)]

    def run(*flat):
        pairs = [list(flat[i : i + 2]) for i in range(0, len(flat), 2)]
        given = iter(pairs[1:-2])
        kernel(pairs[0], pairs[-1], *(next(given) if there else None for there in present), pairs[-2], **options)

    results = []
    for k in range(2):
        count = counts[k].item() + 1
        own = iter(state[k].astype(np.float64) for state in states)
        given = [next(own) if there else None for there in present]
        after = rule(params[k].astype(np.float64), grads[k].astype(np.float64), count, *given, **options)
        results.append([np.asarray(x) for x in (*after, count) if x is not None])
    outputs = [*params, *(x for pair in states for x in pair), *counts]
    expected = [x for pair in zip(*results, strict=True) for x in pair]
    return Case(run, [*outputs, *grads], expected, outputs=len(outputs), tolerance=16)


def adam(w, g, t, m, v, most, lr, beta1, beta2, eps, weight_decay, decoupled_weight_decay, maximize):
    d = slope(w, g, weight_decay, maximize)
    m, v = beta1 * m + (1 - beta1) * d, beta2 * v + (1 - beta2) * d * d
    most = most if most is None else np.maximum(v, most)
    root = np.sqrt(v if most is None else most) / np.sqrt(1 - beta2**t) + eps
    return w * (1 - lr * decoupled_weight_decay) - lr / (1 - beta1**t) * m / root, m, v, most


def rmsprop(w, g, t, v, b, m, lr, alpha, eps, weight_decay, momentum, maximize):
    d = slope(w, g, weight_decay, maximize)
    v, m = alpha * v + (1 - alpha) * d * d, m if m is None else alpha * m + (1 - alpha) * d
    move = d / (np.sqrt(v if m is None else np.maximum(v - m * m, 0)) + eps)
    b = b if b is None else momentum * b + move
    return w - lr * (move if b is None else b), v, b, m


def adagrad(w, g, t, v, lr, lr_decay, eps, weight_decay, maximize):
    d = slope(w, g, weight_decay, maximize)
    v = v + d * d
    return w - lr / (1 + (t - 1) * lr_decay) * d / (np.sqrt(v) + eps), v


def adadelta(w, g, t, v, u, lr, rho, eps, weight_decay, maximize):
    d = slope(w, g, weight_decay, maximize)
    v = rho * v + (1 - rho) * d * d
    x = np.sqrt(u + eps) / np.sqrt(v + eps) * d
    return w - lr * x, v, rho * u + (1 - rho) * x * x


ADAM = {
    "lr": 0.01,
    "beta1": 0.9,
    "beta2": 0.99,
    "eps": 1e-3,
    "weight_decay": 0.1,
    "decoupled_weight_decay": 0.2,
    "maximize": False,
}
RMSPROP = {"lr": 0.01, "alpha": 0.9, "eps": 0.1, "weight_decay": 0.1, "momentum": 0.5, "maximize": True}
ADAGRAD = {"lr": 0.1, "lr_decay": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}
ADADELTA = {"lr": 0.5, "rho": 0.9, "eps": 1e-3, "weight_decay": 0.1, "maximize": False}

CASES = {
    "sgd": sgd,
    "adam": partial(step, kernels.adam, adam, (True, True, True), ADAM),
    "rmsprop": partial(step, kernels.rmsprop, rmsprop, (True, True, True), RMSPROP),
    "adagrad": partial(step, kernels.adagrad, adagrad, (True,), ADAGRAD),
    "adadelta": partial(step, kernels.adadelta, adadelta, (True, True), ADADELTA),
}

# Each is a loop of its own; test_optimizer_kernels.py runs them like the rows above.
VARIANTS = {
    "plain SGD": partial(sgd, nesterov=False, maximize=False, dampening=0),
    "Adam without AMSGrad": partial(step, kernels.adam, adam, (True, True, False), ADAM),
    "Adam without weight decay": partial(step, kernels.adam, adam, (True, True, True), {**ADAM, "weight_decay": 0}),
    "plain Adam": partial(
        step, kernels.adam, adam, (True, True, False), {**ADAM, "weight_decay": 0, "decoupled_weight_decay": 0}
    ),
    "RMSprop with momentum": partial(step, kernels.rmsprop, rmsprop, (True, True, False), RMSPROP),
    "centered RMSprop": partial(step, kernels.rmsprop, rmsprop, (True, False, True), RMSPROP),
    "RMSprop": partial(step, kernels.rmsprop, rmsprop, (True, False, False), RMSPROP),
    "plain RMSprop": partial(
        step, kernels.rmsprop, rmsprop, (True, False, False), {**RMSPROP, "weight_decay": 0, "maximize": False}
    ),
    "plain Adagrad": partial(step, kernels.adagrad, adagrad, (True,), {**ADAGRAD, "weight_decay": 0, "lr_decay": 0}),
    "plain Adadelta": partial(step, kernels.adadelta, adadelta, (True, True), {**ADADELTA, "weight_decay": 0}),
}

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


def shrunk(w, lr, weight_decay, decoupled):
    """A parameter as it steps, and how much of it decays in the gradient."""
    return (w * (1 - lr * weight_decay), 0) if decoupled else (w, weight_decay)


def root(v, eps, eps_in_sqrt):
    return np.sqrt(v + eps) if eps_in_sqrt else np.sqrt(v) + eps


def sgd(rng, dtype, size, *, momentum=0.9, dampening=0.2, nesterov=True, inside=False, decoupled=False, maximize=True):
    w, g, v = draw(rng, dtype, size), draw(rng, dtype, size), draw(rng, dtype, size)
    first = np.array([0, 1], np.uint8)
    v[1].fill(0)

    def run(w0, w1, v0, v1, g0, g1, first):
        buffers = None if momentum == 0 else [v0, v1]
        options = {"weight_decay": 0.3, "decoupled": decoupled, "maximize": maximize}
        kernels.sgd([w0, w1], [g0, g1], buffers, first, 0.1, momentum, dampening, nesterov, inside, **options)

    expected_w, expected_v = [], []
    for k in range(2):
        x, decay = shrunk(w[k].astype(np.float64), 0.1, 0.3, decoupled)
        d = slope(x, g[k].astype(np.float64), decay, maximize) * (0.1 if inside else 1)
        buffer = d if first[k] or momentum == 0 else momentum * v[k].astype(np.float64) + (1 - dampening) * d
        expected_v.append(v[k] if momentum == 0 else np.asarray(buffer))
        expected_w.append(np.asarray(x - (1 if inside else 0.1) * (d + momentum * buffer if nesterov else buffer)))
    return Case(run, [*w, *v, *g, first], [*expected_w, *expected_v], outputs=4, tolerance=16)


def nesterov(rng, dtype, size, *, decoupled=False, maximize=True):
    w, g, v = draw(rng, dtype, size), draw(rng, dtype, size), draw(rng, dtype, size)

    def run(w0, w1, v0, v1, g0, g1):
        kernels.nesterov([w0, w1], [g0, g1], [v0, v1], 0.1, 0.9, 0.3, decoupled, maximize)

    expected_w, expected_v = [], []
    for k in range(2):
        x, glide = w[k].astype(np.float64), 0.9 * v[k].astype(np.float64)
        after, decay = shrunk(x, 0.1, 0.3, decoupled)
        expected_v.append(np.asarray(glide + 0.1 * slope(x - glide, g[k].astype(np.float64), decay, maximize)))
        expected_w.append(np.asarray(after - expected_v[-1]))
    return Case(run, [*w, *v, *g], [*expected_w, *expected_v], outputs=4, tolerance=16)


ABSENT, ARRAY, NUMBER = range(3)  # a state that a row does without, one like its parameter, and a float32


def step(kernel, rule, present, options, rng, dtype, size):
    """A row of a kernel that counts: the tenth step of one parameter, and the first of another.

    `present` says which of the kernel's states there are.  The rule takes w, g, the count, these states (None
    for one that there is not) and the options, and returns w and the states after the step.
    """
    params, grads = draw(rng, dtype, size), draw(rng, dtype, size)
    # Whatever mean and mean square a rule takes for one another's: they leave it a variance.
    states = [
        [
            np.asarray(rng.uniform(0.3, 0.5, s), dtype) if kind == ARRAY else np.array(0.3, np.float32)
            for s in SHAPES[size]
        ]
        for kind in present
        if kind != ABSENT
    ]
    counts = [np.array(9, np.float32), np.array(0, np.float32)]

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


def adam(w, g, t, m, v, most, lr, beta1, beta2, eps, eps_in_sqrt, bias_correction, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    m, v = beta1 * m + (1 - beta1) * d, beta2 * v + (1 - beta2) * d * d
    most = most if most is None else np.maximum(v, most)
    first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
    return w - lr * m / first / root((v if most is None else most) / second, eps, eps_in_sqrt), m, v, most


def nadam(w, g, t, m, v, product, lr, beta1, beta2, eps, momentum_decay, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    m, v = beta1 * m + (1 - beta1) * d, beta2 * v + (1 - beta2) * d * d
    mu, after = (beta1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
    product = float(np.float32(product) * np.float32(mu))
    mean = after * m / (1 - product * after) + (1 - mu) * d / (1 - product)
    return w - lr * mean / root(v / (1 - beta2**t), eps, False), m, v, product


def radam(w, g, t, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    m, v = beta1 * m + (1 - beta1) * d, beta2 * v + (1 - beta2) * d * d
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    mean = m / (1 - beta1**t)
    if length > 5:
        r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        mean = r * mean * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
    return w - lr * mean, m, v


def adamax(w, g, t, m, u, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    m, u = beta1 * m + (1 - beta1) * d, np.maximum(beta2 * u, np.abs(d) + eps)
    return w - lr / (1 - beta1**t) * m / u, m, u


def rmsprop(w, g, t, v, b, m, lr, alpha, eps, momentum, eps_in_sqrt, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    v, m = alpha * v + (1 - alpha) * d * d, m if m is None else alpha * m + (1 - alpha) * d
    move = d / root(v if m is None else np.maximum(v - m * m, 0), eps, eps_in_sqrt)
    b = b if b is None else momentum * b + move
    return w - lr * (move if b is None else b), v, b, m


def adagrad(w, g, t, v, lr, lr_decay, eps, eps_in_sqrt, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    v = v + d * d
    return w - lr / (1 + (t - 1) * lr_decay) * d / root(v, eps, eps_in_sqrt), v


def adadelta(w, g, t, v, u, lr, rho, eps, weight_decay, decoupled, maximize):
    w, weight_decay = shrunk(w, lr, weight_decay, decoupled)
    d = slope(w, g, weight_decay, maximize)
    v = rho * v + (1 - rho) * d * d
    x = np.sqrt(u + eps) / np.sqrt(v + eps) * d
    return w - lr * x, v, rho * u + (1 - rho) * x * x


PLAIN = {"weight_decay": 0, "decoupled": False, "maximize": False}
UP = {"weight_decay": 0.1, "decoupled": False, "maximize": True}
DECOUPLED = {"weight_decay": 0.2, "decoupled": True, "maximize": False}

BETAS = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-3}
ADAM = {**BETAS, "eps_in_sqrt": False, "bias_correction": True}
NADAM = {**BETAS, "momentum_decay": 0.1}
RMSPROP = {"lr": 0.01, "alpha": 0.9, "eps": 0.1, "momentum": 0.5, "eps_in_sqrt": False}
ADAGRAD = {"lr": 0.1, "lr_decay": 0.5, "eps": 1e-3, "eps_in_sqrt": False}
ADADELTA = {"lr": 0.5, "rho": 0.9, "eps": 1e-3}


def row(kernel, rule, present, *options):
    """A row of `step`; later options are in the place of earlier ones."""
    return partial(step, kernel, rule, present, {key: value for each in options for key, value in each.items()})


CASES = {
    "sgd": sgd,
    "nesterov": nesterov,
    "adam": row(kernels.adam, adam, (ARRAY, ARRAY, ARRAY), ADAM, DECOUPLED),
    "nadam": row(kernels.nadam, nadam, (ARRAY, ARRAY, NUMBER), NADAM, UP),
    "radam": row(kernels.radam, radam, (ARRAY, ARRAY), BETAS, UP),
    "adamax": row(kernels.adamax, adamax, (ARRAY, ARRAY), BETAS, UP),
    "rmsprop": row(kernels.rmsprop, rmsprop, (ARRAY, ARRAY, ARRAY), RMSPROP, UP),
    "adagrad": row(kernels.adagrad, adagrad, (ARRAY,), ADAGRAD, UP),
    "adadelta": row(kernels.adadelta, adadelta, (ARRAY, ARRAY), ADADELTA, UP),
}

INSIDE = {"eps_in_sqrt": True}

# Each is a loop of its own, or has numbers of its own in one; test_optimizer_kernels.py runs them like the rows above.
VARIANTS = {
    "plain SGD": partial(sgd, nesterov=False, maximize=False, dampening=0),
    "SGD without momentum": partial(sgd, momentum=0, nesterov=False, decoupled=True),
    "SGD with its rate in the momentum": partial(sgd, nesterov=False, inside=True),
    "SGD with all": partial(sgd, inside=True, decoupled=True),
    "decoupled Nesterov": partial(nesterov, decoupled=True, maximize=False),
    "Adam without AMSGrad": row(kernels.adam, adam, (ARRAY, ARRAY, ABSENT), ADAM, UP),
    "AMSGrad": row(kernels.adam, adam, (ARRAY, ARRAY, ARRAY), ADAM, PLAIN),
    "plain Adam": row(kernels.adam, adam, (ARRAY, ARRAY, ABSENT), ADAM, PLAIN),
    "Adam with eps in the root": row(kernels.adam, adam, (ARRAY, ARRAY, ABSENT), ADAM, INSIDE, PLAIN),
    "Adam as it averages": row(kernels.adam, adam, (ARRAY, ARRAY, ARRAY), ADAM, {"bias_correction": False}, PLAIN),
    "Adam as it averages, with eps in the root": row(
        kernels.adam, adam, (ARRAY, ARRAY, ABSENT), ADAM, INSIDE, {"bias_correction": False}, PLAIN
    ),
    "plain NAdam": row(kernels.nadam, nadam, (ARRAY, ARRAY, NUMBER), NADAM, PLAIN),
    "decoupled NAdam": row(kernels.nadam, nadam, (ARRAY, ARRAY, NUMBER), NADAM, DECOUPLED),
    "plain RAdam": row(kernels.radam, radam, (ARRAY, ARRAY), BETAS, PLAIN),
    "decoupled RAdam": row(kernels.radam, radam, (ARRAY, ARRAY), BETAS, DECOUPLED),
    "plain Adamax": row(kernels.adamax, adamax, (ARRAY, ARRAY), BETAS, PLAIN),
    "decoupled Adamax": row(kernels.adamax, adamax, (ARRAY, ARRAY), BETAS, DECOUPLED),
    "RMSprop with momentum": row(kernels.rmsprop, rmsprop, (ARRAY, ARRAY, ABSENT), RMSPROP, UP),
    "centered RMSprop": row(kernels.rmsprop, rmsprop, (ARRAY, ABSENT, ARRAY), RMSPROP, UP),
    "RMSprop": row(kernels.rmsprop, rmsprop, (ARRAY, ABSENT, ABSENT), RMSPROP, UP),
    "plain RMSprop": row(kernels.rmsprop, rmsprop, (ARRAY, ABSENT, ABSENT), RMSPROP, PLAIN),
    "RMSprop with eps in the root": row(kernels.rmsprop, rmsprop, (ARRAY, ARRAY, ARRAY), RMSPROP, INSIDE, DECOUPLED),
    "plain Adagrad": row(kernels.adagrad, adagrad, (ARRAY,), ADAGRAD, PLAIN, {"lr_decay": 0}),
    "Adagrad with eps in the root": row(kernels.adagrad, adagrad, (ARRAY,), ADAGRAD, INSIDE, DECOUPLED),
    "plain Adadelta": row(kernels.adadelta, adadelta, (ARRAY, ARRAY), ADADELTA, PLAIN),
    "decoupled Adadelta": row(kernels.adadelta, adadelta, (ARRAY, ARRAY), ADADELTA, DECOUPLED),
}

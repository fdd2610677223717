"""JAX as a peer: the same work in its own words, each case one compiled function.

A call waits until its results are there.  What changes from call to call (parameters, the
optimizer's state, the key of random numbers) goes in and comes out, and its memory is given
up for the new, as JAX has it ("donated").
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

Run = Callable[[], Any]


def jitted() -> Callable[[Any], Run | None]:
    """Prepares a case by the function here of the same name."""
    return lambda case: FUNCTIONS[case.function.__name__](*case.sizes) if case.function.__name__ in FUNCTIONS else None


def repeated(function: Callable[..., Any], state: Any, *inputs: Any) -> Run:
    """function(state, *inputs) gives the next state and the results.

    A run returns these, or without them what comes first in the state: that is what the function
    of the case's name in cases.py returns first.
    """
    compiled = jax.jit(function, donate_argnums=0)

    def run() -> Any:
        nonlocal state
        state, results = compiled(state, *inputs)
        jax.block_until_ready((state, results))
        return state[0] if results is None else results

    return run


# ---- products of matrices ----


def gemm(form: str, m: int, n: int, k: int) -> Run:
    def product(state: None, a: Any, b: Any) -> Any:
        return state, (a if form[0] == "N" else a.T) @ (b if form[1] == "N" else b.T)

    a = values(m, k) if form[0] == "N" else values(k, m)
    b = values(k, n) if form[1] == "N" else values(n, k)
    return repeated(product, None, a, b)


# ---- layers, forward and backward ----


def there_and_back(layer: Callable[..., Any], state: Any, *shape: int) -> Run:
    """layer(x, state) gives y and the next state; state may be None."""

    def both(state: Any, x: Any, dy: Any) -> Any:
        y, backward, state = jax.vjp(lambda x: layer(x, state), x, has_aux=True)
        return state, (*backward(dy), y)

    return repeated(both, state, values(*shape), values(*shape))


def relu(*shape: int) -> Run:
    return there_and_back(lambda x, state: (jax.nn.relu(x), state), None, *shape)


def dropout(*shape: int) -> Run:
    return there_and_back(drop, jax.random.key(0), *shape)


def drop(x: Any, key: Any) -> Any:
    key, use = jax.random.split(key)
    return jnp.where(jax.random.bernoulli(use, 0.5, x.shape), 2 * x, 0), key


def softmax(*shape: int) -> Run:
    return there_and_back(lambda x, state: (jax.nn.softmax(x), state), None, *shape)


def normalize(x: Any, running: Any, gamma: Any, beta: Any) -> Any:
    mean, var = x.mean(0), x.var(0)
    unbiased = var * (x.shape[0] / (x.shape[0] - 1))
    running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, (mean, unbiased))
    return gamma * (x - mean) * jax.lax.rsqrt(var + 1e-5) + beta, running


def batch_norm(rows: int, features: int, after: Callable[[Any], Any] = lambda y: y) -> Run:
    def both(running: Any, x: Any, dy: Any, gamma: Any, beta: Any) -> Any:
        def layer(x: Any, gamma: Any, beta: Any) -> Any:
            y, new = normalize(x, running, gamma, beta)
            return after(y), new

        y, backward, new = jax.vjp(layer, x, gamma, beta, has_aux=True)
        return new, (*backward(dy), y)

    running, affine = (jnp.zeros(features), jnp.ones(features)), (jnp.ones(features), jnp.zeros(features))
    return repeated(both, running, values(rows, features), values(rows, features), *affine)


def batch_norm_relu(rows: int, features: int) -> Run:
    return batch_norm(rows, features, jax.nn.relu)


def cross_entropy(rows: int, classes: int) -> Run:
    def both(state: None, x: Any, target: Any) -> Any:
        loss, dx = jax.value_and_grad(mean_cross_entropy)(x, target)
        return state, (dx, loss)

    return repeated(both, None, values(rows, classes), labels(rows, classes))


def mean_cross_entropy(x: Any, target: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), target[:, None], 1).mean()


# ---- optimizers ----


def sgd_update(weights: Any, grads: Any, momenta: Any, lr: float, weight_decay: float = 0) -> Any:
    momenta = jax.tree.map(lambda w, g, v: 0.9 * v + (g + weight_decay * w), weights, grads, momenta)
    return jax.tree.map(lambda w, v: w - lr * v, weights, momenta), momenta


def adam_update(weights: Any, grads: Any, moments: Any) -> Any:
    means, squares, steps = moments
    steps = steps + 1
    means = jax.tree.map(lambda g, m: 0.9 * m + 0.1 * g, grads, means)
    squares = jax.tree.map(lambda g, v: 0.999 * v + 0.001 * g * g, grads, squares)
    rate, root = 1e-3 / (1 - 0.9**steps), jnp.sqrt(1 - 0.999**steps)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), weights, means, squares)
    return weights, (means, squares, steps)


def sgd(count: int, n: int) -> Run:
    def update(state: Any, grads: Any) -> Any:
        return sgd_update(state[0], grads, state[1], 1e-3), None

    weights, grads = ([values(n) for _ in range(count)] for _ in range(2))
    return repeated(update, (weights, zeros_like(weights)), grads)


def adam(count: int, n: int) -> Run:
    def update(state: Any, grads: Any) -> Any:
        return adam_update(state[0], grads, state[1]), None

    weights, grads = ([values(n) for _ in range(count)] for _ in range(2))
    return repeated(update, (weights, adam_state(weights)), grads)


def adam_state(weights: Any) -> Any:
    return zeros_like(weights), zeros_like(weights), jnp.zeros(())


def zeros_like(weights: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, weights)


# ---- training steps ----


def linear(layer: Any, x: Any) -> Any:
    return x @ layer["weight"].T + layer["bias"]


def layers(*widths: int) -> list[Any]:
    rng = np.random.default_rng(0)

    def uniform(*shape: int, bound: float) -> Any:
        return jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32)

    return [
        {"weight": uniform(outputs, inputs, bound=inputs**-0.5), "bias": uniform(outputs, bound=inputs**-0.5)}
        for inputs, outputs in pairwise(widths)
    ]


def mlp_digits(batch: int, *widths: int) -> Run:
    def loss(weights: Any, x: Any, y: Any) -> Any:
        for layer in weights[:-1]:
            x = jax.nn.relu(linear(layer, x))
        return mean_cross_entropy(linear(weights[-1], x), y)

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, momenta = state
        value, grads = jax.value_and_grad(loss)(weights, x, y)
        return sgd_update(weights, grads, momenta, 0.01), value

    weights = layers(*widths)
    state = weights, zeros_like(weights)
    return repeated(step, state, values(batch, widths[0]), labels(batch, widths[-1]))


def mlp_mnist(batch: int, *widths: int) -> Run:
    def loss(weights: Any, running: Any, key: Any, x: Any, y: Any) -> Any:
        new = []
        for layer, norm, before in zip(weights["linear"], weights["norm"], running, strict=False):
            x, after = normalize(linear(layer, x), before, *norm)
            x, key = drop(jax.nn.relu(x), key)
            new.append(after)
        return mean_cross_entropy(linear(weights["linear"][-1], x), y), (new, key)

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, moments, running, key = state
        (value, (running, key)), grads = jax.value_and_grad(loss, has_aux=True)(weights, running, key, x, y)
        return (*adam_update(weights, grads, moments), running, key), value

    hidden = widths[1:-1]
    weights = {"linear": layers(*widths), "norm": [(jnp.ones(n), jnp.zeros(n)) for n in hidden]}
    running = [(jnp.zeros(n), jnp.ones(n)) for n in hidden]
    state = weights, adam_state(weights), running, jax.random.key(0)
    return repeated(step, state, values(batch, widths[0]), labels(batch, widths[-1]))


def mlp_wide(batch: int, *widths: int) -> Run:
    def loss(weights: Any, key: Any, x: Any, y: Any) -> Any:
        for layer in weights[:-1]:
            x, key = drop(jax.nn.relu(linear(layer, x)), key)
        return mean_cross_entropy(linear(weights[-1], x), y), key

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, momenta, key = state
        (value, key), grads = jax.value_and_grad(loss, has_aux=True)(weights, key, x, y)
        return (*sgd_update(weights, grads, momenta, 0.01, 1e-4), key), value

    weights = layers(*widths)
    state = weights, zeros_like(weights), jax.random.key(0)
    return repeated(step, state, values(batch, widths[0]), labels(batch, widths[-1]))


# ---- numbers to work on ----


def values(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


def labels(rows: int, classes: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).integers(0, classes, rows))


FUNCTIONS = {
    f.__name__: f
    for f in (
        gemm, relu, dropout, softmax, batch_norm, batch_norm_relu, cross_entropy,
        sgd, adam, mlp_digits, mlp_mnist, mlp_wide,
    )
}  # fmt: skip

"""JAX as a peer: the same work in its own words, each case one compiled function.

A call waits until its results are there.  What changes from call to call (parameters, the
optimizer's state, the key of random numbers) goes in and comes out, and its memory is given
up for the new, as JAX has it ("donated").
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
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

    return repeated(both, state, values(*shape), values(*shape, seed=1))


def relu(*shape: int) -> Run:
    return there_and_back(lambda x, state: (jax.nn.relu(x), state), None, *shape)


def dropout(*shape: int) -> Run:
    return there_and_back(drop, jax.random.key(0), *shape)


def drop(x: Any, key: Any) -> Any:
    key, use = jax.random.split(key)
    return jnp.where(jax.random.bernoulli(use, 0.5, x.shape), 2 * x, 0), key


def gaussian_noise(*shape: int) -> Run:
    return there_and_back(with_noise, jax.random.key(0), *shape)


def with_noise(x: Any, key: Any) -> Any:
    key, use = jax.random.split(key)
    return x + 0.1 * jax.random.normal(use, x.shape), key


def softmax(*shape: int) -> Run:
    return there_and_back(lambda x, state: (jax.nn.softmax(x), state), None, *shape)


def normalize(x: Any, running: Any, gamma: Any, beta: Any) -> Any:
    axes, rows = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean, var = x.mean(axes), x.var(axes)
    unbiased = var * (rows / (rows - 1))
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
    return repeated(both, running, values(rows, features), values(rows, features, seed=1), *affine)


def batch_norm_relu(rows: int, features: int) -> Run:
    return batch_norm(rows, features, jax.nn.relu)


def layer_norm(rows: int, features: int) -> Run:
    def layer(x: Any, gamma: Any, beta: Any) -> Any:
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return gamma * (x - mean) * jax.lax.rsqrt(var + 1e-5) + beta

    return of_rows(layer, rows, features, jnp.ones(features), jnp.zeros(features))


def rms_norm(rows: int, features: int) -> Run:
    def layer(x: Any, gamma: Any) -> Any:
        return gamma * x * jax.lax.rsqrt((x * x).mean(1, keepdims=True) + jnp.finfo(x.dtype).eps)

    return of_rows(layer, rows, features, jnp.ones(features))


def of_rows(layer: Callable[..., Any], rows: int, features: int, *parameters: Any) -> Run:
    def both(state: None, x: Any, dy: Any, *parameters: Any) -> Any:
        y, backward = jax.vjp(layer, x, *parameters)
        return state, (*backward(dy), y)

    return repeated(both, None, values(rows, features), values(rows, features, seed=1), *parameters)


def cross_entropy(rows: int, classes: int) -> Run:
    def both(state: None, x: Any, target: Any) -> Any:
        loss, dx = jax.value_and_grad(mean_cross_entropy)(x, target)
        return state, (dx, loss)

    return repeated(both, None, values(rows, classes), labels(rows, classes))


def mean_cross_entropy(x: Any, target: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), target[:, None], 1).mean()


# ---- layers on images, (N, H, W, C), by filters (H, W, C, features) ----


def conv(
    batch: int, channels: int, features: int, size: int, kernel: int, stride: int, padding: int, groups: int
) -> Run:
    def layer(weight: Any, bias: Any, x: Any) -> Any:
        return convolve(x, weight, stride, padding, groups) + bias

    def both(state: None, weight: Any, bias: Any, x: Any, dy: Any) -> Any:
        if channels <= 3:  # the images themselves
            return state, [*jax.vjp(lambda weight, bias: layer(weight, bias, x), weight, bias)[1](dy)]
        dw, db, dx = jax.vjp(layer, weight, bias, x)[1](dy)
        return state, [dx, dw, db]

    weight = jnp.transpose(values(features, channels // groups, kernel, kernel), (2, 3, 1, 0))
    x, outputs = images(batch, channels, size, size), (size + 2 * padding - kernel) // stride + 1
    return repeated(both, None, weight, values(features), x, images(batch, features, outputs, outputs, seed=1))


def convolve(x: Any, weight: Any, stride: int, padding: int, groups: int = 1) -> Any:
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def max_pool(batch: int, channels: int, size: int, kernel: int, stride: int, padding: int) -> Run:
    def both(state: None, x: Any, dy: Any) -> Any:
        return state, jax.vjp(lambda x: pooled(x, kernel, stride, padding), x)[1](dy)

    outputs = (size + 2 * padding - kernel) // stride + 1
    return repeated(both, None, images(batch, channels, size, size), images(batch, channels, outputs, outputs, seed=1))


def pooled(x: Any, kernel: int, stride: int, padding: int = 0) -> Any:
    around = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, kernel, kernel, 1), (1, stride, stride, 1), around)


def response_norm(x: Any) -> Any:
    sums = jax.lax.reduce_window(x * x, 0.0, jax.lax.add, (1, 1, 1, 5), (1, 1, 1, 1), [*[(0, 0)] * 3, (2, 2)])
    return x * (1 + 1e-4 / 5 * sums) ** -0.75


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
    return [
        {"weight": uniform(outputs, inputs, fan_in=inputs), "bias": uniform(outputs, fan_in=inputs)}
        for inputs, outputs in pairwise(widths)
    ]


def uniform(*shape: int, fan_in: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).uniform(-(fan_in**-0.5), fan_in**-0.5, shape), jnp.float32)


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


# ---- training steps on images ----


def trained(
    network: Callable[..., Any], update: Callable[..., Any], weights: Any, slots: Any, kept: Any, x: Any
) -> Run:
    """network(weights, kept, x) gives a number for each class and what it keeps for the next step; the optimizer's
    update(weights, grads, slots) gives the next weights and slots."""

    def loss(weights: Any, kept: Any, x: Any, y: Any) -> Any:
        z, kept = network(weights, kept, x)
        return mean_cross_entropy(z, y), kept

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, slots, kept = state
        (value, kept), grads = jax.value_and_grad(loss, has_aux=True)(weights, kept, x, y)
        return (*update(weights, grads, slots), kept), value

    return repeated(step, (weights, slots, kept), x, labels(x.shape[0], 10))


def filters(kernel: int, *widths: int) -> list[Any]:
    """Of convolutions one after the other."""
    return [
        {
            "weight": uniform(kernel, kernel, inputs, outputs, fan_in=inputs * kernel**2),
            "bias": uniform(outputs, fan_in=inputs * kernel**2),
        }
        for inputs, outputs in pairwise(widths)
    ]


def convolution(layer: Any, x: Any, padding: int = 0) -> Any:
    return convolve(x, layer["weight"], 1, padding) + layer["bias"]


def lenet_mnist(batch: int) -> Run:
    def network(weights: Any, kept: None, x: Any) -> Any:
        for layer in weights["conv"]:
            x = pooled(convolution(layer, x), 2, 2)
        first, last = weights["linear"]
        return linear(last, jax.nn.relu(linear(first, x.reshape(batch, -1)))), kept

    weights = {"conv": filters(5, 1, 20, 50), "linear": layers(800, 500, 10)}
    return trained(network, adam_update, weights, adam_state(weights), None, images(batch, 1, 28, 28))


def vgg11_bn_cifar(batch: int) -> Run:
    widths = (64, 128, 256, 256, 512, 512, 512, 512)

    def network(weights: Any, kept: Any, x: Any) -> Any:
        running, key = kept
        new: list[Any] = []
        for layer, norm, before in zip(weights["conv"], weights["norm"], running, strict=True):
            x, after = normalize(convolution(layer, x, 1), before, *norm)
            x = jax.nn.relu(x)
            new.append(after)
            if len(new) in (1, 2, 4, 6, 8):
                x = pooled(x, 2, 2)
        x, key = drop(x.reshape(batch, -1), key)
        return linear(weights["linear"][0], x), (new, key)

    weights = {
        "conv": filters(3, 3, *widths),
        "norm": [(jnp.ones(n), jnp.zeros(n)) for n in widths],
        "linear": layers(512, 10),
    }
    kept = [(jnp.zeros(n), jnp.ones(n)) for n in widths], jax.random.key(0)
    update = partial(sgd_update, lr=0.01, weight_decay=5e-4)
    return trained(network, update, weights, zeros_like(weights), kept, images(batch, 3, 32, 32))


def resnet20_cifar(batch: int) -> Run:
    widths = [16] * 7 + [32] * 6 + [64] * 6

    def network(weights: Any, running: Any, x: Any) -> Any:
        new: list[Any] = []

        def normalized(x: Any, stride: int = 1) -> Any:
            """By the next convolution and the next norm."""
            n = len(new)
            x, after = normalize(convolve(x, weights["conv"][n], stride, 1), running[n], *weights["norm"][n])
            new.append(after)
            return x

        x = jax.nn.relu(normalized(x))
        for features in widths[1::2]:
            added = features - x.shape[-1]
            stride = 2 if added else 1
            y = normalized(jax.nn.relu(normalized(x, stride)))
            x = jax.nn.relu(y + jnp.pad(x[:, ::stride, ::stride], [*[(0, 0)] * 3, (0, added)]))
        return linear(weights["linear"][0], x.mean((1, 2))), new

    weights = {
        "conv": [layer["weight"] for layer in filters(3, 3, *widths)],
        "norm": [(jnp.ones(n), jnp.zeros(n)) for n in widths],
        "linear": layers(64, 10),
    }
    running = [(jnp.zeros(n), jnp.ones(n)) for n in widths]
    update = partial(sgd_update, lr=0.01, weight_decay=1e-4)
    return trained(network, update, weights, zeros_like(weights), running, images(batch, 3, 32, 32))


def alexnet_cifar(batch: int) -> Run:
    def network(weights: Any, key: Any, x: Any) -> Any:
        for layer in weights["large"]:
            x = pooled(response_norm(jax.nn.relu(convolution(layer, x, 2))), 3, 2)
        for layer in weights["small"]:
            x = jax.nn.relu(convolution(layer, x, 1))
        x = pooled(x, 3, 2).reshape(batch, -1)
        for layer in weights["linear"][:-1]:
            x, key = drop(x, key)
            x = jax.nn.relu(linear(layer, x))
        return linear(weights["linear"][-1], x), key

    weights = {
        "large": filters(5, 3, 64, 192),
        "small": filters(3, 192, 384, 256, 256),
        "linear": layers(2304, 1024, 1024, 10),
    }
    update = partial(sgd_update, lr=0.01)
    return trained(network, update, weights, zeros_like(weights), jax.random.key(0), images(batch, 3, 32, 32))


# ---- numbers to work on ----


def values(*shape: int, seed: int = 0) -> Any:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def images(*shape: int, seed: int = 0) -> Any:
    """Of (N, C, H, W) as (N, H, W, C)."""
    return jnp.transpose(values(*shape, seed=seed), (0, 2, 3, 1))


def labels(rows: int, classes: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).integers(0, classes, rows))


FUNCTIONS = {
    f.__name__: f
    for f in (
        gemm, relu, dropout, gaussian_noise, softmax, batch_norm, batch_norm_relu, layer_norm, rms_norm,
        cross_entropy,
        conv, max_pool, sgd, adam, mlp_digits, mlp_mnist, mlp_wide,
        lenet_mnist, vgg11_bn_cifar, resnet20_cifar, alexnet_cifar,
    )
}  # fmt: skip

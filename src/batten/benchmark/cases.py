"""What is measured: one row a case.

A case names its work and says what the work cannot do without: arithmetic, traffic with
memory, the room in memory that this goes through.  From these and the machine's limits
follows the time that no implementation can go below.  The work itself is a function of
`torch`, which is PyTorch, batten or whatever else answers to PyTorch's names: it makes what
is needed, and returns a function that does the work once.

To add a case, add a row to CASES, and its function below it if that is new.  A framework
that speaks otherwise has a function of the same name and sizes in its file under bench/.

Workers read this file outside of the package, so it imports nothing of batten's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[], Any]
FLOAT = 4  # bytes; every case is in float32
Ki, Mi = 1 << 10, 1 << 20


class Case(NamedTuple):
    """A row: what is done, and what it takes at least."""

    group: str  # cases of a group share processes
    name: str
    function: Callable[..., Run]
    sizes: tuple[Any, ...]
    flops: int = 0
    bytes: float = 0  # read and written
    room: int = 0  # bytes that lie in memory; which cache holds them decides how fast they come
    images: int = 0  # a training step learns from

    def prepare(self, torch: Any) -> Run:
        return self.function(torch, *self.sizes)


# ---- kinds of rows ----


def product(form: str, m: int, n: int, k: int) -> Case:
    """c (m, n) = a (m, k) b (k, n); the form says for a and b whether it lies as it is, N, or transposed, T."""
    name = f"gemm {form} {m}" if m == n == k else f"gemm {form} {m}x{n}x{k}"
    memory = FLOAT * (m * k + k * n + m * n)
    return Case("products", name, gemm, (form, m, n, k), 2 * m * n * k, memory, memory)


def both_ways(function: Callable[..., Run], *shape: int, flops: int, passes: float, arrays: int = 4) -> Case:
    """A layer forward and backward, with so many operations an element; the arrays x, y, dy and dx
    are gone over so many times in all."""
    n = math.prod(shape)
    size = f"{n // Mi} Mi" if n >= Mi else f"{n // Ki} Ki"
    name = f"{function.__name__} {size if len(shape) == 1 else 'x'.join(map(str, shape))}"
    return Case("layers", name, function, shape, flops * n, FLOAT * passes * n, FLOAT * arrays * n)


def update(function: Callable[..., Run], flops: int, passes: int, arrays: int) -> Case:
    """A step of an optimizer, over ten parameters of a million numbers."""
    n = 10 * Mi
    name = f"{function.__name__} 10 Mi"
    return Case("optimizers", name, function, (10, Mi), flops * n, FLOAT * passes * n, FLOAT * arrays * n)


def training(function: Callable[..., Run], batch: int, *widths: int, passes: int, arrays: int) -> Case:
    """A training step of a perceptron of so many features, hidden units and classes.

    Its traffic is that of the weights: the optimizer's passes over its arrays, and one pass
    forward, one backward and one to write the gradient.
    """
    weights = [a * b for a, b in pairwise(widths)]
    flops = 2 * batch * (3 * sum(weights) - weights[0])  # nobody asks for the gradient of the images
    memory = FLOAT * sum(weights)
    name = function.__name__
    return Case(name, name, function, (batch, *widths), flops, (passes + 3) * memory, arrays * memory, images=batch)


# ---- products of matrices ----


def gemm(torch: Any, form: str, m: int, n: int, k: int) -> Run:
    a = values(torch, m, k) if form[0] == "N" else values(torch, k, m).T
    b = values(torch, k, n) if form[1] == "N" else values(torch, n, k).T
    c = values(torch, m, n)
    return lambda: torch.mm(a, b, out=c)


# ---- layers, forward and backward ----


def relu(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.ReLU(), *shape)


def dropout(torch: Any, *shape: int) -> Run:
    return there_and_back(torch, torch.nn.Dropout(0.5), *shape)


def batch_norm(torch: Any, rows: int, features: int) -> Run:
    return there_and_back(torch, torch.nn.BatchNorm1d(features), rows, features)


def batch_norm_relu(torch: Any, rows: int, features: int) -> Run:
    nn = torch.nn
    return there_and_back(torch, nn.Sequential(nn.BatchNorm1d(features), nn.ReLU()), rows, features)


def softmax(torch: Any, rows: int, classes: int) -> Run:
    return there_and_back(torch, torch.nn.Softmax(1), rows, classes)


def there_and_back(torch: Any, layer: Any, *shape: int) -> Run:
    x, dy = values(torch, *shape).requires_grad_(), values(torch, *shape)

    def run() -> Any:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(dy)
        return x.grad

    return run


def cross_entropy(torch: Any, rows: int, classes: int) -> Run:
    x, target = values(torch, rows, classes).requires_grad_(), labels(torch, rows, classes)
    loss = torch.nn.CrossEntropyLoss()

    def run() -> Any:
        x.grad = None
        loss(x, target).backward()
        return x.grad

    return run


# ---- optimizers ----


def sgd(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.SGD(params, lr=1e-3, momentum=0.9))


def adam(torch: Any, count: int, n: int) -> Run:
    params = parameters(torch, count, n)
    return updating(params, torch.optim.Adam(params, lr=1e-3))


def parameters(torch: Any, count: int, n: int) -> list[Any]:
    params = [values(torch, n).requires_grad_() for _ in range(count)]
    for p in params:
        p.grad = values(torch, n)
    return params


def updating(params: list[Any], optimizer: Any) -> Run:
    def run() -> Any:
        optimizer.step()
        return params

    return run


# ---- training steps, as they are written for PyTorch ----


def mlp_digits(torch: Any, batch: int, *widths: int) -> Run:
    """ReLU; SGD with momentum"""
    nn = torch.nn
    features, first, second, classes = widths
    model = nn.Sequential(
        nn.Linear(features, first), nn.ReLU(),
        nn.Linear(first, second), nn.ReLU(),
        nn.Linear(second, classes),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return step(torch, model, optimizer, batch, features, classes)


def mlp_mnist(torch: Any, batch: int, *widths: int) -> Run:
    """BatchNorm1d, ReLU and Dropout 0.5; Adam"""
    nn = torch.nn
    features, first, second, classes = widths
    model = nn.Sequential(
        nn.Linear(features, first), nn.BatchNorm1d(first), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(second, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return step(torch, model, optimizer, batch, features, classes)


def mlp_wide(torch: Any, batch: int, *widths: int) -> Run:
    """ReLU and Dropout 0.5, in a Module of one's own; SGD with momentum and weight decay"""
    features, first, second, classes = widths

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(features, first)
            self.second = torch.nn.Linear(first, second)
            self.last = torch.nn.Linear(second, classes)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            x = self.dropout(torch.relu(self.first(x)))
            x = self.dropout(torch.relu(self.second(x)))
            return self.last(x)

    model = Wide()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return step(torch, model, optimizer, batch, features, classes)


def step(torch: Any, model: Any, optimizer: Any, batch: int, features: int, classes: int) -> Run:
    x, y = values(torch, batch, features), labels(torch, batch, classes)
    criterion = torch.nn.CrossEntropyLoss()

    def run() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return run


# ---- the machine's limits, by batten's probes of it (ext/probe.c) ----


def arithmetic(batten: Any, n: int, times: int) -> Run:
    """Fused multiplications and additions in registers."""
    (x,) = arrays(batten, 1, n)
    return lambda: batten._kernels.probe_fma(x, x, 0.5, 1.0, times)


def read(batten: Any, n: int, times: int) -> Run:
    (x,), sums = arrays(batten, 1, n), batten.ones(-(-n // 1024)).array
    return lambda: batten._kernels.probe_read(sums, x, times)


def copy(batten: Any, n: int, times: int) -> Run:
    x, y = arrays(batten, 2, n)
    return lambda: batten._kernels.probe_copy(y, x, times)


def triad(batten: Any, n: int, times: int) -> Run:
    """y = x + z / 2"""
    x, y, z = arrays(batten, 3, n)
    return lambda: batten._kernels.probe_triad(y, x, z, 0.5, times)


def change(batten: Any, n: int, times: int) -> Run:
    """x = x + 0 z: nothing is written but where it was read."""
    x, z = arrays(batten, 2, n)
    return lambda: batten._kernels.probe_triad(x, x, z, 0.0, times)


def scale(batten: Any, n: int, times: int) -> Run:
    """x = x + 0 x: as many writes as reads, which some memory can do at once."""
    (x,) = arrays(batten, 1, n)
    return lambda: batten._kernels.probe_triad(x, x, x, 0.0, times)


@cache
def memory(batten: Any) -> Any:
    """As much as the largest probe takes, in one piece: to be given so much anew takes longer than to use it."""
    return batten.ones(ROOMS[-1] // FLOAT).array


def arrays(batten: Any, count: int, n: int) -> list[Any]:
    return [memory(batten)[i * n : (i + 1) * n] for i in range(count)]


def stream(function: Callable[..., Run], room: int, passes: int, arrays: int) -> Case:
    n = room // FLOAT // arrays // 1024 * 1024  # whole pages
    times = -(-16 * Mi // room)  # so that a call takes about a millisecond
    return Case("limits", function.__name__, function, (n, times), 0, FLOAT * passes * n * times, room)


# ---- numbers to work on ----


def values(torch: Any, *shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))


def labels(torch: Any, rows: int, classes: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).integers(0, classes, rows))


# ---- the tables ----

ROOMS = [64 * Ki, 256 * Ki, 1 * Mi, 4 * Mi, 16 * Mi, 64 * Mi, 256 * Mi]
LIMITS = [
    Case("limits", "arithmetic", arithmetic, (57344, 2048), 2 * 57344 * 2048),
    *(stream(read, room, passes=1, arrays=1) for room in ROOMS),
    *(stream(copy, room, passes=2, arrays=2) for room in ROOMS),
    *(stream(triad, room, passes=3, arrays=3) for room in ROOMS),
    *(stream(change, room, passes=3, arrays=2) for room in ROOMS),
    *(stream(scale, room, passes=2, arrays=1) for room in ROOMS),
]

CASES = [
    *(product("NN", n, n, n) for n in (64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)),
    product("NT", 128, 512, 784),  # a layer of 512 units on 784 features forward,
    product("NN", 128, 784, 512),  # back to its input,
    product("TN", 512, 784, 128),  # and to its weight
    product("NT", 32, 128, 64),
    product("TN", 128, 64, 32),
    product("NT", 256, 4096, 1024),
    product("NN", 256, 1024, 4096),
    product("TN", 4096, 1024, 256),
    product("NT", 256, 4096, 4096),
    product("NN", 256, 4096, 4096),
    product("TN", 4096, 4096, 256),
    product("NT", 64, 500, 800),
    product("NT", 32, 10, 128),  # ten classes
    product("NT", 128, 10, 512),
    product("NT", 256, 10, 512),
    product("TN", 10, 512, 128),
    product("NN", 128, 512, 10),
    *(both_ways(relu, n, flops=2, passes=5) for n in (2 * Ki, 64 * Ki, 1 * Mi, 16 * Mi)),
    *(both_ways(dropout, n, flops=2, passes=4 + 2 / 32) for n in (2 * Ki, 64 * Ki, 1 * Mi, 16 * Mi)),  # a bit of mask
    *(both_ways(batch_norm, *shape, flops=14, passes=8) for shape in ((128, 512), (1024, 1024), (4096, 4096))),
    *(both_ways(batch_norm_relu, *shape, flops=16, passes=8) for shape in ((128, 512), (1024, 1024), (4096, 4096))),
    both_ways(softmax, 256, 1000, flops=8, passes=5),
    both_ways(cross_entropy, 128, 10, flops=8, passes=3, arrays=2),
    both_ways(cross_entropy, 256, 1000, flops=8, passes=3, arrays=2),
    update(sgd, flops=4, passes=5, arrays=3),
    update(adam, flops=12, passes=7, arrays=4),
    training(mlp_digits, 32, 64, 128, 128, 10, passes=5, arrays=3),
    training(mlp_mnist, 128, 784, 512, 512, 10, passes=7, arrays=4),
    training(mlp_wide, 256, 1024, 4096, 4096, 1000, passes=5, arrays=3),
]

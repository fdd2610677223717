"""A few seconds of tests of the installed package: `python -m batten.selftest`.

They tell whether an installation works: that products, convolutions and elementwise functions are NumPy's, that
gradients are right, that a network learns, that files come back, that random numbers are the same as everywhere, and
results the same on one thread as on two. A line each; the exit code is 1 if one fails. BATTEN_ISA chooses the
instruction set that they run with.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import _kernels as kernels
from .autograd import gradcheck
from .creation import from_numpy
from .nn import BatchNorm2d, Conv2d, CrossEntropyLoss, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from .optim import Adam
from .random import Generator, manual_seed, rand, randint, randn
from .serialization import load, save

ROUNDINGS = {"float32": 2.0**-23, "float64": 2.0**-52}


def near(found: np.ndarray, expected: np.ndarray, roundings: float) -> None:
    """Raises AssertionError unless they differ by no more than so many roundings of the largest."""
    limit = roundings * ROUNDINGS[found.dtype.name] * max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(found - expected).max())
    assert error <= limit, f"expected at most {limit:.3g} from NumPy's, got {error:.3g}"


def products() -> None:
    """products of matrices are NumPy's"""
    rng = np.random.default_rng(0)
    for dtype in ROUNDINGS:
        a, b, bias = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((131, 300), (300, 67), (67,)))
        found = kernels.gemm(np.empty((131, 67), dtype), a, b, bias)
        near(found, a.astype("float64") @ b.astype("float64") + bias, 300)


def convolutions() -> None:
    """convolutions are NumPy's"""
    rng = np.random.default_rng(1)
    for dtype in ROUNDINGS:
        x, w = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((2, 5, 17, 19), (7, 5, 3, 3)))
        layer = Conv2d(5, 7, 3, bias=False, dtype=np.dtype(dtype))
        layer.weight.array[...] = w
        windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), (3, 3), axis=(2, 3))
        near(layer(from_numpy(x)).numpy(), np.einsum("nchwij,kcij->nkhw", windows, w), 200)


def elementwise() -> None:
    """elementwise functions are NumPy's, of whole vectors and of what is left over"""
    rng = np.random.default_rng(2)
    for dtype in ROUNDINGS:
        for n in (1, 7, 37, 5003):
            x = rng.uniform(-5, 5, n).astype(dtype)
            exact = x.astype("float64")
            near(kernels.exp(np.empty_like(x), x), np.exp(exact), 4)
            near(kernels.tanh(np.empty_like(x), x), np.tanh(exact), 4)
            near(kernels.relu(np.empty_like(x), x), np.maximum(exact, 0), 0)


def gradients() -> None:
    """gradients are those of finite differences"""
    rng = np.random.default_rng(3)
    layers = [Conv2d(2, 3, 3), BatchNorm2d(3), ReLU(), MaxPool2d(2), Flatten(), Linear(12, 4)]
    model = Sequential(*layers).to(np.dtype("float64"))
    x = from_numpy(rng.standard_normal((3, 2, 6, 6))).requires_grad_()
    assert gradcheck(model, (x,))


def trained() -> tuple[float, float, bytes]:
    """The loss before and after a few steps, and all bytes of the weights."""
    manual_seed(4)
    features = [Conv2d(1, 8, 3, padding=1), BatchNorm2d(8), ReLU(), MaxPool2d(2), Flatten()]
    model = Sequential(*features, Linear(8 * 8 * 8, 64), ReLU(), Dropout(0.2), Linear(64, 2))
    y = randint(0, 2, (256,))
    x = randn(256, 1, 16, 16) + y.float().reshape(-1, 1, 1, 1)
    optimizer, criterion = Adam(model.parameters(), lr=1e-3), CrossEntropyLoss()
    losses = []
    for _ in range(20):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1], b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def training() -> None:
    """a network learns"""
    first, last, _ = trained()
    assert last < first / 2, f"expected the loss to fall by half, got {first:.3f} and then {last:.3f}"


def threads() -> None:
    """training has the same bits on one thread and on two"""
    before = kernels.get_num_threads()
    try:
        weights = []
        for count in (1, 2):
            kernels.set_num_threads(count)
            weights.append(trained()[2])
    finally:
        kernels.set_num_threads(before)
    assert weights[0] == weights[1], "expected the same weights, to the bit"


def files() -> None:
    """what is saved comes back"""
    weights = Linear(5, 3).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save({"model": weights, "epoch": 7}, path)
        found = load(path)
    assert found["epoch"] == 7
    assert all(np.array_equal(found["model"][name], tensor) for name, tensor in weights.items())


def random_numbers() -> None:
    """random numbers are the known ones"""
    answer = kernels.philox(*(np.zeros((1, n), np.uint32) for n in (4, 4, 2)))
    assert [f"{word:08x}" for word in answer[0]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    normal = kernels.normal(np.empty(2, np.float32), 0, 1, 7, 3)
    assert normal.tolist() == [0.7288839221000671, -0.25733909010887146], f"got {normal.tolist()}"
    first, second = (rand(9, generator=Generator().manual_seed(5)) for _ in range(2))
    assert np.array_equal(first, second)


TESTS: list[Callable[[], None]] = [
    products, convolutions, elementwise, gradients, training, threads, files, random_numbers,
]  # fmt: skip


def main() -> int:
    """Runs all tests; how many have failed is more than what the exit code says."""
    print(f"batten's smoke tests, {kernels.isa()}, {kernels.get_num_threads()} threads at most")
    failed = 0
    for test in TESTS:
        try:
            test()
        except Exception:  # the other tests are of interest, too
            traceback.print_exc()
            failed += 1
            print("FAILED ", test.__doc__, flush=True)
        else:
            print("passed ", test.__doc__, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""The same function here and in PyTorch: results and gradients side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

import batten

# Sums of some dozens of terms, each rounded a few times.
TOLERANCE = {np.dtype("float32"): {"rtol": 2e-5, "atol": 2e-6}, np.dtype("float64"): {"rtol": 1e-11, "atol": 1e-13}}


def assert_close(ours: Any, theirs: Any, **tolerance: float) -> None:
    """One type, one shape, and values apart by rounding only; a NaN where the other has one."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert_allclose(ours, theirs, **(tolerance or TOLERANCE.get(ours.dtype, {})))


def assert_like_torch(
    ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: np.ndarray, **tolerance: float
) -> None:
    """A function of floats gives the same in both libraries, going forward and, where it can, backward."""
    import torch

    torch.set_num_threads(1)  # its threads wait by spinning, and take the processor away from ours

    xs = [batten.tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, t = ours(*xs), theirs(*ts)
    assert_close(y.detach(), t.detach(), **tolerance)
    direction = np.random.default_rng(7).standard_normal(y.shape).astype(y.dtype)
    y.backward(batten.tensor(direction))
    t.backward(torch.tensor(direction))
    for x, theirs_x in zip(xs, ts, strict=True):
        assert (x.grad is None) == (theirs_x.grad is None)
        if x.grad is not None:
            assert_close(x.grad, theirs_x.grad, **tolerance)

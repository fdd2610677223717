"""What the optimizers' kernels refuse."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels


def test_overlapping_parameters_are_refused_and_nothing_is_written():
    w, g = np.ones(10, np.float32), np.ones(10, np.float32)
    for params, grads in (([w, w], [g, g]), ([w[:6], w[4:]], [g[:6], g[4:]]), ([w], [w])):
        with pytest.raises(ValueError, match="overlap"):
            kernels.sgd(params, grads, None, None, 0.1)
    assert (w == 1).all()


def test_lists_must_go_together():
    w = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="expected 1 arrays in each list, got 0"):
        kernels.sgd([w], [], None, None, 0.1)
    with pytest.raises(TypeError, match="one type"):
        kernels.sgd([w, w.astype(np.float64)], [w + 1, w.astype(np.float64) + 1], None, None, 0.1)
    with pytest.raises(ValueError, match="one shape"):
        kernels.sgd([w], [np.ones(4, np.float32)], None, None, 0.1)
    with pytest.raises(TypeError):
        kernels.sgd([None], [w], None, None, 0.1)
    kernels.sgd([], [], None, None, 0.1)


def test_gradients_may_be_shared_and_axes_in_any_order():
    g = np.ones((3, 4), np.float32)
    a, b = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    kernels.sgd([a, b], [g, g], None, None, 0.5)
    assert (a == -0.5).all() and (b == -0.5).all()
    kernels.sgd([a.T], [g.T], None, None, 0.5)
    assert (a == -1).all()

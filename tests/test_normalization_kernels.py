"""Batch normalization where it is hard: far from nought, with NaN, without rows, and beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels

EPS = 1e-5


def forward(x, gamma=None, beta=None, running=(None, None), eps=EPS, momentum=0.1):
    """y, mean, rstd"""
    y, mean, rstd = np.empty_like(x), np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    kernels.batch_norm(y, mean, rstd, *running, x, gamma, beta, eps, momentum)
    return y, mean, rstd


def backward(dy, x, mean, rstd, gamma=None):
    """dx, dgamma, dbeta"""
    dx, dgamma, dbeta = np.empty_like(x), np.empty_like(mean), np.empty_like(mean)
    kernels.batch_norm_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
    return dx, dgamma, dbeta


def far_from_nought(rng):
    """Mean 10,000 and variance 0.01, in float32: its steps are 0.001 there."""
    return (1e4 + 0.1 * rng.standard_normal((1000, 70))).astype(np.float32)


def test_statistics_do_not_cancel(rng, isa):
    x = far_from_nought(rng)
    exact = x.astype(np.float64)
    rstd64 = 1 / np.sqrt(exact.var(0) + EPS)
    y, mean, rstd = forward(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=6e-8)
    np.testing.assert_allclose(rstd, rstd64, rtol=1e-7)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) * rstd64, rtol=1e-6, atol=1e-6)


def test_gradients_do_not_cancel(rng, isa):
    """The mean that was kept is off by up to 0.005 of a standard deviation; the gradients are not."""
    x = far_from_nought(rng)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    exact, dy64 = x.astype(np.float64), dy.astype(np.float64)
    rstd = 1 / np.sqrt(exact.var(0) + EPS)
    xhat = (exact - exact.mean(0)) * rstd
    _, mean, kept = forward(x)
    dx, dgamma, dbeta = backward(dy, x, mean, kept)
    np.testing.assert_allclose(dgamma, (dy64 * xhat).sum(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(dbeta, dy64.sum(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(dx, rstd * (dy64 - dy64.mean(0) - xhat * (dy64 * xhat).mean(0)), rtol=1e-6, atol=1e-5)


def test_a_first_row_that_stands_out(rng):
    """The sums are taken about the first row: it must not matter what that is."""
    x = rng.standard_normal((5000, 3)).astype(np.float32)
    x[0] = 1e6
    exact = x.astype(np.float64)
    _, mean, rstd = forward(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(exact.var(0) + EPS), rtol=1e-6)


def test_a_constant_column_becomes_beta():
    x = np.full((300, 2), 0.1, np.float32)
    y, _, rstd = forward(x, np.array([2, 3], np.float32), np.array([5, -5], np.float32))
    np.testing.assert_array_equal(y, np.broadcast_to(np.float32([5, -5]), y.shape))
    np.testing.assert_allclose(rstd, EPS**-0.5, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_column(bad, rng, dtype):
    x = rng.standard_normal((600, 130)).astype(dtype)
    clean = forward(x)
    dy = rng.standard_normal(x.shape).astype(dtype)
    gradients = backward(dy, x, *clean[1:])
    x[7, 70] = bad
    others = np.arange(130) != 70
    spoiled = forward(x)
    for got, expected in zip(spoiled + backward(dy, x, *spoiled[1:])[:2], clean + gradients[:2], strict=True):
        np.testing.assert_array_equal(got[..., others], expected[..., others])
        assert np.isnan(got[..., 70]).all() or got is spoiled[1]
    assert not np.isfinite(spoiled[1][70])


def test_one_row(dtype):
    running = np.array([1, 2], dtype), np.array([3, 4], dtype)
    y, mean, rstd = forward(np.array([[5, 6]], dtype), running=running, momentum=0.5)
    assert y.tolist() == [[0, 0]] and mean.tolist() == [5, 6]
    np.testing.assert_allclose(rstd, EPS**-0.5, rtol=1e-6)
    assert running[0].tolist() == [3, 4] and running[1].tolist() == [1.5, 2]


def test_no_rows_leave_the_running_statistics(dtype):
    running = np.array([1, 2], dtype), np.array([3, 4], dtype)
    forward(np.empty((0, 2), dtype), running=running)
    assert running[0].tolist() == [1, 2] and running[1].tolist() == [3, 4]


def test_a_running_statistic_may_be_missing(rng, dtype):
    x = rng.standard_normal((10, 3)).astype(dtype)
    running = np.zeros(3, dtype)
    forward(x, running=(None, running), momentum=1.0)
    np.testing.assert_allclose(running, x.var(0, ddof=1), rtol=1e-5)


def test_outputs_must_be_apart(rng):
    x = rng.standard_normal((4, 3))
    mean = np.empty(3)
    for y, rstd, gamma in ((x, np.empty(3), None), (np.empty_like(x), mean, None), (np.empty_like(x), x[0], x[0])):
        with pytest.raises(ValueError, match="apart"):
            kernels.batch_norm(y, mean, rstd, None, None, x, gamma, None, EPS, 0.1)
    vector = rng.standard_normal(3)
    forward(x, vector, vector)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_against_pytorch(affine, training, rng):
    torch = pytest.importorskip("torch")
    x, dy = rng.standard_normal((2, 300, 67))
    gamma, beta, running_mean = rng.standard_normal((3, 67)) if affine else (None, None, rng.standard_normal(67))
    running_var = rng.uniform(0.5, 2, 67)

    def peer(a, grad=False):
        return None if a is None else torch.tensor(a, requires_grad=grad)

    tx, tg, tb, tm, tv = peer(x, True), peer(gamma, affine), peer(beta, affine), peer(running_mean), peer(running_var)
    ty = torch.nn.functional.batch_norm(tx, tm, tv, tg, tb, training, 0.3, EPS)
    ty.backward(peer(dy))
    dx, dgamma, dbeta = np.empty_like(x), np.empty(67), np.empty(67)
    weights = (dgamma, dbeta) if affine else (None, None)
    if training:
        y, mean, rstd = forward(x, gamma, beta, (running_mean, running_var), momentum=0.3)
        kernels.batch_norm_backward(dx, *weights, dy, x, mean, rstd, gamma)
    else:
        y = kernels.batch_norm_inference(np.empty_like(x), x, running_mean, running_var, gamma, beta, EPS)
        kernels.batch_norm_inference_backward(dx, *weights, dy, x, running_mean, running_var, gamma, EPS)
    results = [(y, ty), (running_mean, tm), (running_var, tv), (dx, tx.grad)]
    if affine:
        results += [(dgamma, tg.grad), (dbeta, tb.grad)]
    for got, expected in results:
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-12, atol=1e-12)

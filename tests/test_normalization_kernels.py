"""Batch normalization where it is hard: far from nought, with NaN, without rows, and beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases import CASES

EPS = 1e-5


def forward(x, gamma=None, beta=None, running=(None, None), eps=EPS, momentum=0.1, relu=False):
    """y and what backward is to know: mean, rstd and shift"""
    y, kept = np.empty_like(x), np.empty((3, x.shape[1]))
    kernels.batch_norm(y, kept, *running, x, gamma, beta, eps, momentum, relu)
    return y, kept


def backward(dy, x, kept, gamma=None, relu=False):
    """dx, dgamma, dbeta"""
    dx, dgamma, dbeta = np.empty_like(x), *np.empty((2, x.shape[1]), x.dtype)
    kernels.batch_norm_backward(dx, dgamma, dbeta, dy, x, kept, gamma, relu)
    return dx, dgamma, dbeta


def far_from_nought(rng):
    """Mean 10,000 and variance 0.01, in float32: its steps are 0.001 there."""
    return (1e4 + 0.1 * rng.standard_normal((1000, 70))).astype(np.float32)


def test_statistics_do_not_cancel(rng, isa):
    x = far_from_nought(rng)
    exact = x.astype(np.float64)
    rstd64 = 1 / np.sqrt(exact.var(0) + EPS)
    y, (mean, rstd, _) = forward(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-15)
    np.testing.assert_allclose(rstd, rstd64, rtol=1e-12)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) * rstd64, rtol=1e-6, atol=1e-6)


def test_gradients_do_not_cancel(rng, isa):
    """The mean rounded to the type is off by up to 0.005 of a standard deviation; the gradients are not."""
    x = far_from_nought(rng)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    exact, dy64 = x.astype(np.float64), dy.astype(np.float64)
    rstd = 1 / np.sqrt(exact.var(0) + EPS)
    xhat = (exact - exact.mean(0)) * rstd
    dx, dgamma, dbeta = backward(dy, x, forward(x)[1])
    np.testing.assert_allclose(dgamma, (dy64 * xhat).sum(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(dbeta, dy64.sum(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(dx, rstd * (dy64 - dy64.mean(0) - xhat * (dy64 * xhat).mean(0)), rtol=1e-6, atol=1e-5)


def test_a_first_row_that_stands_out(rng, isa):
    """The sums are taken about the first row: it must not matter what that is."""
    x = rng.standard_normal((5000, 3)).astype(np.float32)
    x[0] = 1e6
    exact = x.astype(np.float64)
    mean, rstd, _ = forward(x)[1]
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-11)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(exact.var(0) + EPS), rtol=1e-11)


def test_a_constant_column_becomes_beta():
    x = np.full((300, 2), 0.1, np.float32)
    y, kept = forward(x, np.array([2, 3], np.float32), np.array([5, -5], np.float32))
    np.testing.assert_array_equal(y, np.broadcast_to(np.float32([5, -5]), y.shape))
    np.testing.assert_allclose(kept[1], EPS**-0.5, rtol=1e-15)


# which output may be written over which input, by their places among the arguments
OVER = {
    "batch_norm_backward": (0, 3), "batch_norm_add_relu_backward": (1, 4), "batch_norm_inference_backward": (0, 3),
    "l1_batch_norm_backward": (0, 3), "linf_batch_norm_backward": (0, 3),
    "group_norm_backward": (0, 3), "group_norm_add_relu_backward": (1, 4),
    "layer_norm_backward": (0, 3), "rms_norm_backward": (0, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("size", ["one", "odd", "large"])
def test_a_gradient_may_be_written_over_the_one_that_arrives(name, size, rng, dtype, isa):
    case = CASES[name](rng, dtype, size)
    apart = case.run()
    output, gradient = OVER[name]
    case.arguments[output] = None  # in its place below
    arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in case.arguments]
    arguments[output] = arguments[gradient]
    case.function(*arguments, **case.options)
    for got, expected in zip(arguments, apart, strict=False):
        assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", OVER)
def test_a_gradient_is_not_written_over_a_part_of_the_one_that_arrives(name, rng, dtype):
    case = CASES[name](rng, dtype, "odd")
    output, gradient = OVER[name]
    rows, *others = case.arguments[gradient].shape
    memory = np.empty((rows + 1, *others), dtype)
    case.arguments[output], case.arguments[gradient] = memory[:-1], memory[1:]
    with pytest.raises(ValueError, match="apart"):
        case.function(*case.arguments, **case.options)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_column(bad, rng, dtype):
    x = rng.standard_normal((600, 130)).astype(dtype)
    clean, kept = forward(x)
    dy = rng.standard_normal(x.shape).astype(dtype)
    gradients = backward(dy, x, kept)
    x[7, 70] = bad
    others = np.arange(130) != 70
    spoiled, kept_spoiled = forward(x)
    pairs = zip(backward(dy, x, kept_spoiled)[:2], gradients[:2], strict=True)
    for got, expected in [(spoiled, clean), (kept_spoiled[1:], kept[1:]), *pairs]:
        np.testing.assert_array_equal(got[..., others], expected[..., others])
        assert np.isnan(got[..., 70]).all()
    assert not np.isfinite(kept_spoiled[0, 70])


def test_one_row(dtype):
    running = np.array([1, 2], dtype), np.array([3, 4], dtype)
    y, (mean, rstd, _) = forward(np.array([[5, 6]], dtype), running=running, momentum=0.5)
    assert y.tolist() == [[0, 0]] and mean.tolist() == [5, 6]
    np.testing.assert_allclose(rstd, EPS**-0.5, rtol=1e-15)
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
    x, kept = rng.standard_normal((4, 3)), np.empty((3, 3))
    for y, gamma in ((x, None), (np.empty_like(x), kept[0]), (kept[:2], None)):
        with pytest.raises(ValueError, match="apart"):
            kernels.batch_norm(y, kept, None, None, x[: len(y)], gamma, None, EPS, 0.1, False)
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
        y, kept = forward(x, gamma, beta, (running_mean, running_var), momentum=0.3)
        kernels.batch_norm_backward(dx, *weights, dy, x, kept, gamma, False)
    else:
        y = kernels.batch_norm_inference(np.empty_like(x), x, running_mean, running_var, gamma, beta, EPS, False)
        kernels.batch_norm_inference_backward(dx, *weights, dy, x, running_mean, running_var, gamma, None, EPS, False)
    results = [(y, ty), (running_mean, tm), (running_var, tv), (dx, tx.grad)]
    if affine:
        results += [(dgamma, tg.grad), (dbeta, tb.grad)]
    for got, expected in results:
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


# Widths below a vector, of one strip, between tiles, and of several tiles; heights around that of a tile, which
# is higher where it is narrow, and whose rows are read several at a time.
SHAPES = [
    (1, 1), (2, 5), (63, 31), (64, 64), (65, 100), (130, 513), (257, 1030), (0, 7), (300, 16),
    (513, 48), (1025, 32), (2047, 16), (4099, 10), (10931, 3), (33001, 1),
]  # fmt: skip


def with_kinks(rng, shape, dtype):
    """x, dy, gamma, beta where many y are nought or next to it, of either sign, and some are NaN."""
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[1])).astype(dtype)
    gamma[::3] = 0
    beta[::2] = 0
    beta[::6] = -0.0
    x[:, 4::5] = rng.integers(-1, 2, x[:, 4::5].shape)
    x[:, 3:4] = np.nan
    x[1:2, 2:3] = np.inf
    dy[-1:, 1:2] = np.nan
    return x, dy, gamma, beta


def bits(arrays):
    """NaNs are all alike: not every processor leaves them the sign that they had."""
    return [np.where(np.isnan(a), a.dtype.type(np.nan), a).tobytes() for a in arrays]


@pytest.mark.parametrize("shape", SHAPES)
def test_with_relu_the_bits_are_those_of_relu_behind_it(shape, rng, dtype, isa, threads):
    x, dy, gamma, beta = with_kinks(rng, shape, dtype)
    y, kept = forward(x, gamma, beta)
    y = kernels.relu(y, y)
    stopped = kernels.relu_backward(np.empty_like(dy), dy, y)
    expected = bits([y, kept, *backward(stopped, x, kept, gamma)])
    for n in (1, 2, 3, 8):
        threads(n)
        together, kept_together = forward(x, gamma, beta, relu=True)
        assert bits([together, kept_together, *backward(dy, x, kept_together, gamma, relu=True)]) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_with_relu_the_bits_are_those_of_relu_behind_it_in_inference(shape, rng, dtype, isa, threads):
    x, dy, gamma, beta = with_kinks(rng, shape, dtype)
    given = np.zeros(shape[1], dtype), np.ones(shape[1], dtype), gamma

    def gradients(dy, *relu):
        outputs = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
        kernels.batch_norm_inference_backward(*outputs, dy, x, *given, *relu)
        return outputs

    y = kernels.batch_norm_inference(np.empty_like(x), x, *given, beta, EPS, False)
    y = kernels.relu(y, y)
    stopped = kernels.relu_backward(np.empty_like(dy), dy, y)
    expected = bits([y, *gradients(stopped, None, EPS, False)])
    for n in (1, 2, 3, 8):
        threads(n)
        together = kernels.batch_norm_inference(np.empty_like(x), x, *given, beta, EPS, True)
        assert bits([together, *gradients(dy, beta, EPS, True)]) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_any_width_and_height_against_numpy(shape, rng, dtype, isa):
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    exact, dy64 = x.astype(np.longdouble), dy.astype(np.longdouble)
    n = max(len(x), 1)
    mean = exact.sum(0) / n
    rstd = 1 / np.sqrt(((exact - mean) ** 2).sum(0) / n + (EPS if len(x) else 1))
    xhat = (exact - mean) * rstd
    dx64 = rstd * (dy64 - dy64.sum(0) / n - xhat * (dy64 * xhat).sum(0) / n)
    y, kept = forward(x)
    for got, expected, of in (
        (y, xhat, dtype), (kept[0], mean, "f8"), (kept[1], rstd, "f8"),
        *zip(backward(dy, x, kept), (dx64, (dy64 * xhat).sum(0), dy64.sum(0)), [dtype] * 3, strict=True),
    ):  # fmt: skip
        # In float64 each row may add a rounding to a sum, and rstd stretches that of the mean.
        roundings = 4 if of == np.float32 else n * rstd.max(initial=4)
        bound = roundings * np.finfo(of).eps * max(1, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(got, expected.astype(np.float64), rtol=0, atol=bound)

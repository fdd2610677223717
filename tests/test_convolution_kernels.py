"""Convolution in all shapes and by all algorithms, beside sums over the taps in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from batten import _kernels as kernels
from cases.convolution import Shape, convolve, convolve_backward_data, convolve_backward_weights

pytestmark = pytest.mark.kernels

# By the sum as it stands, whether or not Winograd's algorithm is forbidden.
DIRECT = {
    "line": Shape(3, (29,), 5, 7, (4,), padding=((2, 1),)),
    "line, strided and dilated": Shape(2, (31,), 3, 20, (3,), stride=2, padding=3, dilation=4),
    "volume": Shape(2, (4, 5, 6), 5, 9, (3, 2, 3), padding=1),
    "volume, strided": Shape(1, (7, 6, 9), 4, 18, (3, 3, 3), stride=(2, 1, 3), padding=(1, 2, 0), dilation=(1, 2, 1)),
    "planes of a volume": Shape(2, (3, 6, 6), 17, 5, (1, 3, 3), padding=(0, 1, 1)),
    "pixels": Shape(3, (5, 7), 37, 41, (1, 1)),
    "pixels, strided": Shape(3, (8, 7), 16, 33, (1, 1), stride=(2, 3)),
    "pixels, padded": Shape(2, (3, 3), 4, 5, (1, 1), padding=2),
    "strided": Shape(2, (15, 14), 18, 34, (3, 3), stride=2, padding=1),
    "stride beyond the kernel": Shape(2, (17, 13), 3, 5, (2, 3), stride=(5, 4), padding=1),
    "stride and dilation with a common divisor": Shape(
        1, (23, 20), 4, 6, (3, 4), stride=(4, 6), padding=5, dilation=(6, 4)
    ),
    "dilated": Shape(2, (12, 13), 19, 21, (3, 3), padding=(2, 3), dilation=(2, 3)),
    "uneven padding": Shape(2, (6, 9), 7, 8, (2, 4), padding=((0, 1), (3, 0))),
    "padding beyond the kernel": Shape(2, (3, 4), 6, 5, (3, 2), padding=(4, 6)),
    "a kernel larger than the image": Shape(3, (2, 3), 20, 17, (7, 5), padding=(3, 2)),
    "one pixel": Shape(13, (1, 1), 33, 20, (3, 3), padding=1),
    "two by two pixels": Shape(21, (2, 2), 40, 70, (3, 3), padding=1),
    "one channel": Shape(5, (28, 28), 1, 20, (5, 5)),
    "three channels": Shape(2, (32, 31), 3, 64, (3, 3), padding=1),
    "one feature": Shape(2, (9, 8), 12, 1, (3, 3), stride=2, padding=1),
    "one of each": Shape(1, (1, 1), 1, 1, (1, 1)),
    "units within a plane": Shape(1, (53, 47), 2, 3, (3, 5), padding=1),
    "many weights": Shape(2, (5, 5), 130, 131, (3, 3), stride=2, padding=1),
    "small images without padding": Shape(9, (6, 5), 20, 50, (5, 3)),
    "a small volume without padding": Shape(2, (4, 5, 4), 7, 9, (3, 3, 2)),
    "more features than a step of the sum has": Shape(2, (4, 4), 3, 530, (3, 3)),
    "groups": Shape(2, (9, 10), 12, 27, (3, 3), padding=1, groups=3),
    "wide groups": Shape(2, (6, 7), 36, 70, (3, 2), stride=(1, 2), groups=2),
    "many groups": Shape(1, (6, 6), 60, 120, (3, 3), padding=1, groups=30),
    "a channel with several features": Shape(2, (7, 7), 9, 27, (3, 3), padding=1, groups=9),
    "depthwise": Shape(2, (11, 13), 37, 37, (3, 3), padding=1, groups=37),
    "depthwise, whole vectors": Shape(3, (9, 8), 64, 64, (5, 3), stride=(1, 2), padding=2, groups=64),
    "depthwise, strided and dilated": Shape(2, (13, 12), 48, 48, (3, 3), stride=2, padding=3, dilation=3, groups=48),
    "depthwise, few channels": Shape(2, (6, 7), 3, 3, (14, 3), padding=(7, 1), groups=3),
    "depthwise, line": Shape(4, (25,), 21, 21, (13,), padding=6, groups=21),
    "depthwise, volume": Shape(1, (4, 5, 6), 20, 20, (3, 3, 2), padding=1, groups=20),
    "no images": Shape(0, (5, 5), 3, 4, (3, 3)),
    "no channels": Shape(2, (5, 5), 0, 4, (3, 3)),
    "no channels of a larger image": Shape(2, (12, 12), 0, 4, (3, 3), padding=1),
    "a long line": Shape(2, (1500,), 3, 4, (5,), padding=2),
    "no features": Shape(2, (5, 5), 3, 0, (3, 3)),
    "images without pixels": Shape(2, (0, 5), 3, 4, (3, 3), padding=2),
}

# By Winograd's algorithm unless it is forbidden.
WINOGRAD = {
    "one vector": Shape(9, (12, 11), 16, 16, (3, 3), padding=1),
    "odd": Shape(7, (13, 9), 19, 35, (3, 3), padding=1),
    "five taps": Shape(6, (12, 12), 20, 50, (5, 5), padding=1),
    "five taps, padded": Shape(4, (9, 10), 33, 17, (5, 5), padding=2),
    "one tile": Shape(40, (4, 4), 32, 40, (3, 3), padding=1),
    "uneven padding": Shape(5, (11, 14), 24, 24, (3, 3), padding=((0, 1), (2, 0))),
    "padding beyond the kernel": Shape(9, (8, 8), 18, 20, (3, 3), padding=(3, 4)),
    "several blocks of weights": Shape(16, (8, 8), 80, 100, (3, 3), padding=1),
    "several panels": Shape(12, (32, 31), 24, 18, (3, 3), padding=1),
    "several panels of rectangles": Shape(8, (32, 32), 80, 70, (3, 3), padding=1),
}


def run(shape, y, x, w, bias=None, **options):
    """Forward and both gradients, of which the one by x is that of y's values."""
    arguments = shape.options()
    results = np.full_like(y, np.nan), np.full(x.shape, np.nan, x.dtype), np.full_like(w, np.nan)
    kernels.conv(results[0], x, w, bias, *arguments, **options)
    kernels.conv_backward_data(results[1], y, w, None, *arguments, **options)
    kernels.conv_backward_weights(results[2], y, x, *arguments, **options)
    return results


def expected(shape, y, x, w, bias=None):
    return convolve(shape, x, w, bias), convolve_backward_data(shape, y, w), convolve_backward_weights(shape, y, x)


def magnitudes(shape, *arrays):
    """The sum of magnitudes behind every number, which is what errors are relative to."""
    return expected(shape, *(None if a is None else np.abs(a) for a in arrays))


def drawn(shape, rng, dtype, draw=None):
    """y, x, w and bias, and the same in float64."""
    arrays = [a.astype(dtype) for a in shape.arrays(draw or rng.standard_normal)]
    return arrays, [a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("shape", [*DIRECT.values(), *WINOGRAD.values()], ids=[*DIRECT, *WINOGRAD])
def test_sums_of_integers_are_exact(shape, dtype, isa, rng):
    arrays, exact = drawn(shape, rng, dtype, lambda s: rng.integers(-3, 4, s))
    for got, right in zip(run(shape, *arrays, exact=True), expected(shape, *exact), strict=True):
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("shape", DIRECT.values(), ids=DIRECT)
def test_errors_are_those_of_a_sum(shape, dtype, isa, rng):
    arrays, exact = drawn(shape, rng, dtype)
    y, w = arrays[0].size, arrays[2].size
    terms = [w / max(shape.features, 1), w / max(shape.channels, 1), y / max(shape.features, 1)]
    cases = zip(run(shape, *arrays), expected(shape, *exact), magnitudes(shape, *exact), terms, strict=True)
    for got, right, magnitude, n in cases:
        assert (np.abs(got - right) <= (n + 2) * np.finfo(dtype).eps * magnitude).all()


def far_from_nought(rng):
    return lambda shape: 30 + 0.01 * rng.standard_normal(shape)


def half_nought(rng):
    return lambda shape: np.maximum(rng.standard_normal(shape), 0)


def of_all_sizes(rng):
    return lambda shape: rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 3, shape)


DATA = [None, far_from_nought, half_nought, of_all_sizes]


@pytest.mark.parametrize("data", DATA, ids=lambda f: f.__name__ if f else "normal")
@pytest.mark.parametrize("shape", WINOGRAD.values(), ids=WINOGRAD)
def test_errors_of_winograd_are_bounded(shape, data, isa, rng):
    """By 5e-6 of the largest sum of magnitudes."""
    arrays, exact = drawn(shape, rng, np.float32, data and data(rng))
    for got, right, magnitude in zip(
        run(shape, *arrays), expected(shape, *exact), magnitudes(shape, *exact), strict=True
    ):
        assert np.abs(got - right).max() <= 5e-6 * magnitude.max()


@pytest.mark.parametrize("shape", WINOGRAD.values(), ids=WINOGRAD)
def test_winograd_is_used_unless_forbidden(shape, dtype, isa, rng):
    """And never in float64."""
    arrays, _ = drawn(shape, rng, dtype)
    for fast, exact in zip(run(shape, *arrays), run(shape, *arrays, exact=True), strict=True):
        assert (fast.tobytes() == exact.tobytes()) == (dtype == np.float64)


@pytest.mark.parametrize("shape", DIRECT.values(), ids=DIRECT)
def test_all_else_is_exact_anyway(shape, rng):
    arrays, _ = drawn(shape, rng, np.float32)
    for fast, exact in zip(run(shape, *arrays), run(shape, *arrays, exact=True), strict=True):
        assert fast.tobytes() == exact.tobytes()


@pytest.mark.parametrize("batch, size, channels", [(4, 16, 15), (16, 3, 64), (3, 8, 64)])
def test_what_winograd_does_not_pay_for_is_exact(batch, size, channels, rng):
    """Few channels, images that are mostly padding, and few tiles."""
    arrays, _ = drawn(shape := Shape(batch, (size, size), channels, 64, (3, 3), padding=1), rng, np.float32)
    assert run(shape, *arrays)[0].tobytes() == run(shape, *arrays, exact=True)[0].tobytes()


BIG = {
    "a block of weights at a time": Shape(32, (4, 4), 256, 288, (3, 3), padding=1),
    "direct": Shape(6, (9, 9), 256, 96, (3, 3), stride=2, padding=1),
}


@pytest.mark.parametrize("shape", BIG.values(), ids=BIG)
def test_more_weights_than_caches_hold(shape, rng):
    arrays, exact = drawn(shape, rng, np.float32)
    for got, right, magnitude in zip(
        run(shape, *arrays), expected(shape, *exact), magnitudes(shape, *exact), strict=True
    ):
        assert np.abs(got - right).max() <= 5e-6 * magnitude.max()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", [*DIRECT.values(), *WINOGRAD.values(), *BIG.values()], ids=[*DIRECT, *WINOGRAD, *BIG])
def test_same_bits_for_any_number_of_threads(shape, exact, rng, threads):
    arrays, _ = drawn(shape, rng, np.float32)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append([a.tobytes() for a in run(shape, *arrays, exact=exact)])
    assert all(r == results[0] for r in results)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "shape", [WINOGRAD["odd"], *(DIRECT[k] for k in ("strided", "depthwise", "small images without padding"))]
)
def test_bias_and_relu(shape, exact, dtype, isa, rng):
    (y, x, w, bias), _ = drawn(shape, rng, dtype)
    arguments = shape.options()
    plain = kernels.conv(np.empty_like(y), x, w, None, *arguments, exact=exact)
    both = kernels.conv(np.empty_like(y), x, w, bias, *arguments, exact=exact, activation="relu")
    np.testing.assert_array_equal(both, np.maximum(plain + bias, 0))
    bias = rng.standard_normal(shape.channels).astype(dtype)
    plain = kernels.conv_backward_data(np.empty_like(x), y, w, None, *arguments, exact=exact)
    both = kernels.conv_backward_data(np.empty_like(x), y, w, bias, *arguments, exact=exact, activation="relu")
    np.testing.assert_array_equal(both, np.maximum(plain + bias, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "shape", [*(DIRECT[k] for k in ("strided", "dilated", "groups", "depthwise")), WINOGRAD["odd"]]
)
def test_what_is_not_finite_is_not_lost(shape, exact, bad, dtype, isa, rng):
    """Nor does it reach other images."""
    (_, x, w, _), _ = drawn(shape, rng, dtype)
    x[1, 5, 5, 3] = bad
    met = convolve(shape, (~np.isfinite(x)).astype(float), np.ones_like(w, float)) > 0
    y = run(shape, np.zeros(met.shape, dtype), x, w, exact=exact)[0]
    assert met.any() and not np.isfinite(y[met]).any()
    assert np.isfinite(np.delete(y, 1, axis=0)).all()
    x[1, 5, 5, 3], w[2, 0, 1, 1] = 0, bad
    y = run(shape, y, x, w, exact=exact)[0]
    assert not np.isfinite(y[..., 2]).any() and np.isfinite(np.delete(y, 2, axis=-1)).all()


@pytest.mark.parametrize("stride, padding", [(2**31 - 1, 0), (2**20, 2**20), (2**31 - 1, 10**6)])
def test_numbers_far_beyond_the_image(stride, padding, rng):
    """Take no longer than others: nothing walks along a stride or along padding."""
    shape = Shape(1, (5,), 2, 3, (3,), stride=stride, padding=padding)
    arrays, exact = drawn(shape, rng, np.float64)
    for got, right in zip(run(shape, *arrays), expected(shape, *exact), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-12)


BAD = {
    "expected a kernel of one pixel or more that fits": {"kernel": (6, 3)},
    "expected 3 pixels along axis 0": {"y": (2, 4, 3, 4)},
    "expected a stride of at least 1": {"stride": (0, 1)},
    "expected a stride for each of 2 axes": {"stride": (1,)},
    "expected a padding of at least 0": {"padding": ((0, 0), (0, -1))},
    "expected a dilation of at least 1": {"dilation": (1, 0)},
    "expected groups that divide": {"groups": 2},
    "expected y \\(n": {"y": (3, 3, 3, 4)},
    "expected images \\(n": {"x": (2, 5, 3)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_shapes(message):
    change = {"y": (2, 3, 3, 4), "x": (2, 5, 5, 3), "kernel": (3, 3)} | BAD[message]
    options = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    options = {name: change.get(name, value) for name, value in options.items()}
    y, x, w = (np.zeros(s, np.float32) for s in (change["y"], change["x"], (4, 3, *change["kernel"])))
    for call in (
        lambda: kernels.conv(y, x, w, None, **options),
        lambda: kernels.conv_backward_data(x, y, w, None, **options),
        lambda: kernels.conv_backward_weights(w, y, x, **options),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_activation_and_bias(rng):
    y, x, w = (np.zeros(s, np.float32) for s in ((1, 3, 4), (1, 3, 2), (4, 2, 1)))
    with pytest.raises(ValueError, match="expected no activation or relu, got 'tanh'"):
        kernels.conv(y, x, w, None, (1,), ((0, 0),), (1,), activation="tanh")
    with pytest.raises(ValueError, match="expected a vector of 4"):
        kernels.conv(y, x, w, np.zeros(3, np.float32), (1,), ((0, 0),), (1,))
    with pytest.raises(TypeError, match="expected a bias of the type"):
        kernels.conv(y, x, w, np.zeros(4), (1,), ((0, 0),), (1,))


def test_outputs_must_be_apart():
    memory = np.zeros(100, np.float32)
    x, w = memory[:36].reshape(1, 6, 6), memory[36:72].reshape(6, 6, 1)
    for y in (x, memory[30:66].reshape(1, 6, 6)):
        with pytest.raises(ValueError, match="apart"):
            kernels.conv(y, x, w, None, (1,), ((0, 0),), (1,))
        with pytest.raises(ValueError, match="apart"):
            kernels.conv_backward_data(y, x, w, None, (1,), ((0, 0),), (1,))
    with pytest.raises(ValueError, match="apart"):
        kernels.conv_backward_weights(memory[30:66].reshape(6, 6, 1), x, x, (1,), ((0, 0),), (1,))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ["odd", "five taps"])
def test_as_pytorch(name, exact, rng):
    """Where NumPy's sums are the same, PyTorch's are; this is for the meaning of the arguments."""
    torch = pytest.importorskip("torch")
    shape = WINOGRAD[name]
    arrays, _ = drawn(shape, rng, np.float64)
    y, x, w, bias = (torch.from_numpy(a) for a in arrays)
    x, w = x.movedim(-1, 1).requires_grad_(), w.requires_grad_()
    stride, padding, dilation, groups = shape.options()
    result = torch.nn.functional.conv2d(x, w, bias, stride, padding[0], dilation, groups)
    result.backward(y.movedim(-1, 1))
    right = result.detach().movedim(1, -1), x.grad.movedim(1, -1), w.grad
    for got, wanted in zip(run(shape, *arrays, exact=exact), right, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-12 * np.abs(got).max())

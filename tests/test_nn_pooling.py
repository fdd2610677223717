"""Pooling: beside PyTorch over shapes, windows and layouts, where equals and NaN are, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from parity import assert_close, assert_like_torch
from trials import trials

SIZES = {1: (11,), 2: (7, 10), 3: (5, 6, 7)}
each_rank = pytest.mark.parametrize("axes", SIZES)
each_kind = pytest.mark.parametrize("kind", ["max", "avg"])
# Kernel, stride and padding.
WINDOWS = [(2, None, 0), (2, 1, 1), (3, 2, 1), (3, 1, 0), (1, 2, 0), (5, 3, 2), (4, 5, 1)]


def images(rng, axes, dtype, batch=2, channels=3, size=None):
    return rng.standard_normal((batch, channels, *(size or SIZES[axes]))).astype(dtype)


def both(name):
    """A function of functional here and in PyTorch."""
    torch = pytest.importorskip("torch")
    return getattr(F, name), getattr(torch.nn.functional, name)


def assert_same(name, x, *arguments, **settings):
    ours, theirs = both(name)
    assert_like_torch(lambda x: ours(x, *arguments, **settings), lambda x: theirs(x, *arguments, **settings), x)


def assert_same_indices(name, x, *arguments):
    torch = pytest.importorskip("torch")
    ours, theirs = both(name)
    y, where = ours(batten.tensor(x), *arguments, return_indices=True)
    t, there = theirs(torch.tensor(x), *arguments, return_indices=True)
    assert where.dtype == batten.int64
    assert not where.requires_grad
    assert_array_equal(y.numpy(), t.numpy())
    assert_array_equal(where.numpy(), there.numpy())


@each_rank
@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
def test_largest_elements_are_torchs(rng, dtype, axes, kernel, stride, padding, ceil_mode, dilation):
    if dilation * (kernel - 1) >= min(SIZES[axes]) + 2 * padding:
        pytest.skip("the windows do not fit")
    x = images(rng, axes, dtype)
    assert_same(f"max_pool{axes}d", x, kernel, stride, padding, dilation, ceil_mode)
    assert_same_indices(f"max_pool{axes}d", x, kernel, stride, padding, dilation, ceil_mode)


@each_rank
@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
@trials("ceil_mode", [False, True])
@trials("count_include_pad", [False, True])
@trials("divisor", [None, 5, -2])
def test_averages_are_torchs(rng, dtype, axes, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
    override = () if axes == 1 else (divisor,)
    x = images(rng, axes, dtype)
    assert_same(f"avg_pool{axes}d", x, kernel, stride, padding, ceil_mode, count_include_pad, *override)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4), (5, 8), (33, 17)], ids=str)
@trials("channels", [1, 3, 20, 64, 70])
@trials("batch", [0, 1, 3])
def test_sizes(rng, dtype, size, channels, batch):
    x = images(rng, 2, dtype, batch, channels, size)
    assert_same("max_pool2d", x, 3, 2, 1)
    assert_same_indices("max_pool2d", x, 3, 2, 1)
    assert_same("avg_pool2d", x, 3, 2, 1)
    assert_same("adaptive_avg_pool2d", x, 1)
    if min(size) > 1:
        assert_same("max_pool2d", x, 2)
        assert_same("avg_pool2d", x, 2)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((2, 3), (3, 1), (1, 0), (1, 2)), ([3, 2], 2, [0, 1], 1), ((4,), (2,), (1,), (1,)), (2, (1, 2), 0, (3, 1))],
)
def test_axes_may_differ(rng, dtype, kernel, stride, padding, dilation):
    x = images(rng, 2, dtype)
    assert_same("max_pool2d", x, kernel, stride, padding, dilation)
    assert_same_indices("max_pool2d", x, kernel, stride, padding, dilation)
    assert_same("avg_pool2d", x, kernel, stride, padding)


@each_rank
@each_kind
@pytest.mark.parametrize("output", [1, 2, 3, 4, 7, 13])
def test_adaptive_pooling_is_torchs(rng, dtype, axes, kind, output):
    x = images(rng, axes, dtype)
    assert_same(f"adaptive_{kind}_pool{axes}d", x, output)
    if kind == "max":
        assert_same_indices(f"adaptive_max_pool{axes}d", x, output)


@pytest.mark.parametrize("output", [(3, None), (None, 1), [2, 20], (None, None)])
@each_kind
def test_adaptive_axes_may_differ(rng, dtype, kind, output):
    assert_same(f"adaptive_{kind}_pool2d", images(rng, 2, dtype), output)


def test_windows_may_be_huge(rng, dtype):
    x = images(rng, 2, dtype, 1, 5, (70, 90))
    assert_same("adaptive_max_pool2d", x, 1)
    assert_same_indices("adaptive_max_pool2d", x, 1)
    assert_same("adaptive_avg_pool2d", x, (1, 4))


@each_rank
@each_kind
def test_a_single_image(rng, dtype, axes, kind):
    x = images(rng, axes, dtype)[0]
    assert_same(f"{kind}_pool{axes}d", x, 3, 2, 1)
    assert_same(f"adaptive_{kind}_pool{axes}d", x, 2)
    if kind == "max":
        assert_same_indices(f"max_pool{axes}d", x, 3, 2, 1)


@each_rank
@pytest.mark.parametrize("norm_type", [1, 2, 3.0, float("inf"), -float("inf")])
@pytest.mark.parametrize(("stride", "ceil_mode"), [(None, False), (1, False), (2, True)])
def test_norms_are_torchs(rng, dtype, axes, norm_type, stride, ceil_mode):
    x = np.abs(images(rng, axes, dtype)) + dtype.type(0.1)
    assert_same(f"lp_pool{axes}d", x, norm_type, 3, stride, ceil_mode)


def test_a_norm_of_noughts_has_no_gradient(rng, dtype):
    assert_same("lp_pool2d", np.zeros((1, 2, 4, 4), dtype), 2, 2)


def layouts(x):
    """The same tensor, lying in memory in several ways."""
    yield "contiguous", batten.tensor(x)
    yield "channels last", batten.tensor(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
    yield "sliced", batten.tensor(np.repeat(np.repeat(x, 2, 1), 3, 3))[:, ::2, :, ::3]
    yield "turned", batten.tensor(np.ascontiguousarray(x.transpose(3, 1, 2, 0))).permute(3, 1, 2, 0)


@pytest.mark.parametrize(
    "function",
    [lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, 3)],
)
def test_every_layout_gives_the_same_and_the_result_has_its_channels_last(rng, dtype, function):
    x = images(rng, 2, dtype, channels=20)
    results = []
    for what, tensor in layouts(x):
        leaf = tensor.detach().requires_grad_()
        y = function(leaf)
        assert_array_equal(leaf.numpy(), x)
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous, what
        y.backward(batten.tensor(np.random.default_rng(3).standard_normal(y.shape).astype(dtype)))
        results.append([y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()])
    assert all(r == results[0] for r in results)


def test_channels_last_is_not_copied(rng):
    x = batten.tensor(images(rng, 2, np.float32, 32, 64, (16, 16)))
    x = F.max_pool2d(x, 1)
    before = blocks()
    F.max_pool2d(x, 2)
    assert blocks() - before == 1  # the result


def blocks():
    """How many pieces of memory were asked for until now."""
    return kernels.memory_stats()["requests"]


def test_the_first_of_equals_is_taken(dtype):
    x = np.zeros((1, 3, 6, 6), dtype)
    x[:, 1] = np.arange(6) // 2
    x[:, 2] = -np.inf
    for arguments in [(2,), (3, 1, 1), (2, 1, 0, 3)]:
        assert_same_indices("max_pool2d", x, *arguments)
        assert_same("max_pool2d", x, *arguments)
    assert_same_indices("adaptive_max_pool2d", x, 4)


@each_rank
def test_a_nan_is_taken_before_any_number(rng, dtype, axes):
    x = images(rng, axes, dtype, channels=20)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = np.inf
    assert np.isnan(F.__dict__[f"max_pool{axes}d"](batten.tensor(x), 2).numpy()).any()
    for arguments in [(2,), (3, 1, 1), (2, 1, 0, 3)]:
        assert_same_indices(f"max_pool{axes}d", x, *arguments)
    assert_same_indices(f"adaptive_max_pool{axes}d", x, 3)


@each_kind
def test_a_nan_stays_in_its_windows(rng, dtype, kind):
    x = images(rng, 2, dtype, channels=20, size=(6, 6))
    clean = F.__dict__[f"{kind}_pool2d"](batten.tensor(x), 2).numpy()
    x[0, 3, 2, 2] = np.nan
    spoiled = F.__dict__[f"{kind}_pool2d"](batten.tensor(x), 2).numpy()
    assert np.isnan(spoiled[0, 3, 1, 1])
    spoiled[0, 3, 1, 1] = clean[0, 3, 1, 1]
    assert_array_equal(spoiled, clean)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_with_indices(rng, axes):
    x = batten.tensor(images(rng, axes, np.float32))
    results = F.__dict__[f"max_pool{axes}d_with_indices"](x, 3, 2, 1)
    expected = F.__dict__[f"max_pool{axes}d"](x, 3, 2, 1, return_indices=True)
    for a, b in zip(results, expected, strict=True):
        assert_array_equal(a.numpy(), b.numpy())


def test_indices_come_with_gradients(rng):
    x = batten.tensor(images(rng, 2, np.float32), requires_grad=True)
    y, where = nn.MaxPool2d(2, return_indices=True)(x)
    (2 * y).sum().backward()
    expected = np.zeros((2, 3, 70), np.float32)
    np.put_along_axis(expected, where.numpy().reshape(2, 3, -1), 2, 2)
    assert_array_equal(x.grad.numpy().reshape(2, 3, -1), expected)


def test_only_gradients_need_to_know_what_was_taken(rng):
    x = batten.tensor(images(rng, 2, np.float32))
    before = blocks()
    F.max_pool2d(x, 2)
    copied = blocks() - before
    before = blocks()
    F.max_pool2d(x.requires_grad_(), 2)
    assert blocks() - before == copied + 1


def test_a_result_that_changes_may_go_backward(rng):
    """Neither the input nor the result is kept."""
    x = batten.tensor(images(rng, 2, np.float32), requires_grad=True)
    for pool in (F.max_pool2d, F.avg_pool2d):
        doubled = x * 1
        y = pool(doubled, 2)
        with batten.no_grad():
            y.mul_(3)
            doubled.zero_()
        y.sum().backward()


MODULES = [
    ("MaxPool{}d", (2,), {}),
    ("MaxPool{}d", (3,), {"stride": 2, "padding": 1, "dilation": 1, "ceil_mode": True}),
    ("MaxPool{}d", (3, 2, 1, 1, False, True), {}),
    ("AvgPool{}d", (2,), {}),
    ("AvgPool{}d", (3, 2, 1, True, False), {}),
    ("AvgPool{}d", (), {"kernel_size": 3, "padding": 1}),
    ("AdaptiveMaxPool{}d", (2,), {}),
    ("AdaptiveAvgPool{}d", (2,), {}),
    ("AdaptiveAvgPool{}d", (), {"output_size": 3}),
    ("LPPool{}d", (2, 3), {}),
    ("LPPool{}d", (1, 3), {"stride": 2, "ceil_mode": True}),
]


@each_rank
@pytest.mark.parametrize(("name", "arguments", "settings"), MODULES)
def test_modules_are_torchs(rng, axes, name, arguments, settings):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name.format(axes))(*arguments, **settings)
    theirs = getattr(torch.nn, name.format(axes))(*arguments, **settings)
    assert repr(ours) == repr(theirs)
    x = images(rng, axes, np.float32)
    x = np.abs(x) if name.startswith("LP") else x
    assert_close(ours(batten.tensor(x)), theirs(torch.tensor(x)))
    assert list(ours.state_dict()) == []
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert_array_equal(twin(batten.tensor(x)).numpy(), ours(batten.tensor(x)).numpy())


@pytest.mark.parametrize("arguments", [((2, 3),), ((2, 3), (1, 2), (1, 1))])
@pytest.mark.parametrize("name", ["MaxPool2d", "AvgPool2d"])
def test_modules_take_pairs(rng, name, arguments):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    x = images(rng, 2, np.float32)
    assert_close(ours(batten.tensor(x)), theirs(torch.tensor(x)))


def test_a_divisor_for_two_axes_and_three(rng):
    x = images(rng, 2, np.float32)
    y = nn.AvgPool2d(2, divisor_override=3)(batten.tensor(x))
    assert_close(y, nn.AvgPool2d(2)(batten.tensor(x)) * 4 / 3)
    with pytest.raises(TypeError, match="divisor_override"):
        nn.AvgPool1d(2, divisor_override=3)


def test_modules_return_indices(rng):
    x = batten.tensor(images(rng, 2, np.float32))
    for layer in (nn.MaxPool2d(2, return_indices=True), nn.AdaptiveMaxPool2d(2, return_indices=True)):
        y, where = layer(x)
        flat = x.numpy().reshape(2, 3, -1)
        assert_array_equal(np.take_along_axis(flat, where.numpy().reshape(2, 3, -1), 2), y.numpy().reshape(2, 3, -1))


@pytest.mark.parametrize("stride", [2, 3])
def test_gradients_have_the_same_bits_for_any_number_of_threads(rng, isa, threads, stride):
    x, results = images(rng, 2, np.float32, 1, 50, (60, 60)), []
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        y = F.max_pool2d(leaf, 3, stride) + F.avg_pool2d(leaf, 3, stride)
        (y * y).sum().backward()
        results.append(leaf.grad.numpy().tobytes())
    assert all(r == results[0] for r in results)


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: nn.MaxPool1d(2)(x), (3,), r"MaxPool1d expects \(N, C, L\) or \(C, L\), got \[3\]"),
        (lambda x: nn.MaxPool2d(2)(x), (3, 4), r"MaxPool2d expects \(N, C, H, W\) or \(C, H, W\), got \[3, 4\]"),
        (lambda x: nn.AvgPool3d(2)(x), (3, 4, 5), r"AvgPool3d expects \(N, C, D, H, W\) or .*, got \[3, 4, 5\]"),
        (lambda x: nn.AdaptiveAvgPool2d(2)(x), (1,) * 5, r"AdaptiveAvgPool2d .* got \[1, 1, 1, 1, 1\]"),
        (lambda x: nn.LPPool1d(2, 2)(x), (3,), r"LPPool1d expects \(N, C, L\) or \(C, L\), got \[3\]"),
        (lambda x: nn.MaxPool2d(2)(x), (2, 0, 4, 4), r"MaxPool2d expects images with elements, got \[2, 0, 4, 4\]"),
        (lambda x: nn.AdaptiveMaxPool2d(2)(x), (2, 3, 0, 4), r"AdaptiveMaxPool2d expects images with elements"),
        (lambda x: nn.MaxPool2d(5)(x), (2, 3, 4, 6), r"MaxPool2d .* got \[2, 3, 4, 6\] for kernel_size \[5, 5\]"),
        (lambda x: nn.AvgPool1d(3)(x), (2, 3, 2), r"AvgPool1d .* got \[2, 3, 2\] .* would leave \[0\]"),
        (lambda x: F.max_pool2d(x, 3, 1, 2), (2, 3, 8, 8), r"MaxPool2d expects a padding of .* 3, got \[2, 2\]"),
        (lambda x: F.avg_pool2d(x, 2, 1, (1, 2)), (2, 3, 8, 8), r"AvgPool2d expects a padding .* 2, got \[1, 2\]"),
        (lambda x: F.max_pool2d(x, 2, 0), (2, 3, 8, 8), r"MaxPool2d expects stride as 2 numbers from 1"),
        (lambda x: F.max_pool2d(x, (1, 2, 3)), (2, 3, 8, 8), r"MaxPool2d expects kernel_size as 2 numbers"),
        (lambda x: F.max_pool2d(x, 2, 1, -1), (2, 3, 8, 8), r"MaxPool2d expects padding as 2 numbers from 0"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), (2, 3, 8, 8), r"AvgPool2d expects a divisor_override"),
        (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), (2, 3, 8, 8), r"AdaptiveAvgPool2d expects an output_size of 2"),
        (lambda x: F.adaptive_avg_pool2d(x, -1), (2, 3, 8, 8), r"AdaptiveAvgPool2d expects output_size as 2 numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(function, shape, message):
    with pytest.raises(ValueError, match=message):
        function(batten.zeros(*shape))


def test_types_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="MaxPool2d expects floats, got int64"):
        F.max_pool2d(batten.zeros(1, 2, 4, 4, dtype=batten.int64), 2)
    with pytest.raises(TypeError, match=r"MaxPool2d expects kernel_size in whole numbers, got 2\.5"):
        F.max_pool2d(batten.zeros(1, 2, 4, 4), 2.5)


@pytest.mark.parametrize("output", [0, (0, 2)])
@each_kind
def test_no_windows_at_all(rng, kind, output):
    y = F.__dict__[f"adaptive_{kind}_pool2d"](batten.tensor(images(rng, 2, np.float32), requires_grad=True), output)
    assert y.shape == (2, 3, 0, 0 if output == 0 else 2)
    y.sum().backward()

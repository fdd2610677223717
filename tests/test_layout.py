"""Images keep their channels last in memory, forward and backward, and are not copied to stay so."""

from __future__ import annotations

import contextlib
import functools
import math
import tracemalloc
from unittest import mock

import numpy as np
import pytest

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from batten.autograd import Operation
from batten.memory import channels_lie_last
from batten.nn.fusion import residual

SHAPES = [(8, 16, 24, 32), (8, 16, 700), (8, 16, 5, 12, 13)]


def images(rng, shape, dtype=np.float32):
    """An array (N, C, *) whose channels lie last, in memory of the pool."""
    memory = kernels.empty((shape[0], *shape[2:], shape[1]), np.dtype(dtype))
    memory[...] = rng.uniform(0.1, 0.9, memory.shape)
    return memory.transpose(0, -1 % memory.ndim, *range(1, memory.ndim - 1))


def steps_of(x):
    """The axes that have a length, and the steps along them: what tells one order of memory from another."""
    return [(axis, step // x.itemsize) for axis, (n, step) in enumerate(zip(x.shape, x.strides, strict=True)) if n > 1]


@contextlib.contextmanager
def layout_copies(large):
    """A list of the shapes of arrays of `large` bytes or more that are brought into another order meanwhile.

    Such copies are made by `kernels.interleave` of images (N, C, pixels), `kernels.copy` and `numpy.copyto`; what NumPy
    copies by itself takes memory that is not the pool's, and is listed as "numpy".
    """
    found, interleave = [], kernels.interleave

    def spy(copy):
        def copying(y, x, *args, **kwargs):
            x = np.asarray(x)
            if x.nbytes >= large and (copy is interleave or steps_of(y) != steps_of(np.broadcast_to(x, y.shape))):
                found.append(x.shape)
            return copy(y, x, *args, **kwargs)

        return copying

    with contextlib.ExitStack() as stack:
        for module, name in ((kernels, "interleave"), (kernels, "copy"), (np, "copyto")):
            stack.enter_context(mock.patch.object(module, name, spy(getattr(module, name))))
        tracemalloc.start()
        try:
            yield found
            if tracemalloc.get_traced_memory()[1] >= large:
                found.append("numpy")
        finally:
            tracemalloc.stop()


def test_copies_are_found(rng):
    """The test of the test: each way to copy is seen, and nothing else."""
    x = images(rng, SHAPES[0])
    with layout_copies(x.nbytes) as found:
        kernels.copy(kernels.empty_like(x), x)
        np.copyto(kernels.empty_like(x), x)
    assert found == []
    for copy, expected in [
        (lambda: kernels.copy(kernels.empty(x.shape, x.dtype), x), [x.shape]),
        (lambda: np.copyto(kernels.empty(x.shape, x.dtype), x), [x.shape]),
        (lambda: np.ascontiguousarray(x), ["numpy"]),
        (lambda: x.reshape(len(x), -1), ["numpy"]),
        (lambda: batten.from_numpy(x).contiguous(), [x.shape]),
    ]:
        with layout_copies(x.nbytes) as found:
            copy()
        assert found == expected


UNARY = [
    "abs", "neg", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos", "tanh",
    "sigmoid", "erf", "relu",
]  # fmt: skip
ACTIVATIONS = [
    nn.ReLU6(), nn.LeakyReLU(), nn.Hardtanh(), nn.ELU(), nn.CELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Mish(),
    nn.LogSigmoid(), nn.Softplus(), nn.Softsign(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardshrink(), nn.Softshrink(),
    nn.Tanhshrink(), nn.Threshold(0.5, 0.0), nn.PReLU(), nn.PReLU(16), nn.RReLU(), nn.ReLU(inplace=True),
]  # fmt: skip
BINARY = [batten.add, batten.sub, batten.mul, batten.div, batten.maximum, batten.minimum, batten.pow]


@functools.cache
def lasting(shape):
    return batten.from_numpy(images(np.random.default_rng(2), shape))


def other(x):
    """A second operand that lies as x does, from memory that is taken once."""
    return lasting(x.shape)


def per_channel(x):
    return batten.full((16, *[1] * (x.ndim - 2)), 0.5)


def batch_norm(x):
    return {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[x.ndim](16)


def of_volumes_none(x, *kinds, **settings):
    """x by a norm of which there is one for signals and one for images; volumes as they are."""
    return kinds[x.ndim - 3](16, **settings)(x) if x.ndim < 5 else x


FEATURES = {3: F.dropout1d, 4: F.dropout2d, 5: F.dropout3d}


def instance_norm(x, **settings):
    return {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}[x.ndim](16, **settings)


# What is called with images whose channels lie last, and returns some.
CALLS = {
    **{name: getattr(batten, name) for name in UNARY},
    **{repr(activation): activation for activation in ACTIVATIONS},
    **{f"{f.__name__} with another": lambda x, f=f: f(x, other(x)) for f in BINARY},
    **{f"{f.__name__} of another": lambda x, f=f: f(other(x), x) for f in BINARY},
    **{f"{f.__name__} by channels": lambda x, f=f: f(x, per_channel(x)) for f in BINARY},
    **{f"{f.__name__} of channels": lambda x, f=f: f(per_channel(x), x) for f in BINARY},
    "a number and x": lambda x: 2.0 - x,
    "a tensor of one number and x": lambda x: batten.tensor(2.0) / x,
    "x and itself": lambda x: x + x,
    "x and what became of it": lambda x: batten.relu(x) + x * x,
    "clamp": lambda x: batten.clamp(x, 0.2, 0.7),
    "where": lambda x: batten.where(other(x) > 0.5, x, other(x)),
    "dropout": lambda x: F.dropout(x, 0.4),
    "noise": lambda x: nn.GaussianNoise(0.1)(x),
    "uniform noise": lambda x: nn.UniformNoise(0.1)(x),
    "noise that is multiplied": lambda x: nn.MultiplicativeGaussianNoise(0.1)(x),
    "dropout in place": lambda x: F.dropout(x * 1, 0.4, inplace=True),
    "dropout, of the standard form": lambda x: F.dropout(x, 0.4, inverted=False),
    "dropout, of the standard form, evaluated": lambda x: F.dropout(x, 0.4, False, inverted=False),
    "dropout of channels": lambda x: FEATURES[x.ndim](x, 0.4),
    "dropout of channels in place": lambda x: FEATURES[x.ndim](x * 1, 0.4, inplace=True),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.4, training=True),
    "alpha dropout of channels": lambda x: F.feature_alpha_dropout(x, 0.4, training=True),
    "relu and dropout": nn.Sequential(nn.ReLU(), nn.Dropout(0.4)),
    "batch norm, relu and dropout": lambda x: nn.Sequential(batch_norm(x), nn.ReLU(), nn.Dropout(0.4))(x),
    "clone": lambda x: x.clone(),
    "type and back": lambda x: x.double().float(),
    "in place": lambda x: (x * 1).mul_(2).add_(other(x)).relu_(),
    "to": lambda x: x.to(memory_format=batten.channels_last) if x.ndim == 4 else x,
    "images one after the other": lambda x: batten.cat([x[:2], x[2:]]),
    "cat": lambda x: batten.cat([x, other(x)], 1),
    "batch norm": lambda x: batch_norm(x)(x),
    "batch norm, evaluated": lambda x: batch_norm(x).eval()(x),
    "batch norm and relu": lambda x: nn.Sequential(batch_norm(x), nn.ReLU())(x),
    "batch norm and relu, evaluated": lambda x: nn.Sequential(batch_norm(x), nn.ReLU()).eval()(x),
    "batch norm of power 1": lambda x: of_volumes_none(x, nn.LpBatchNorm1d, nn.LpBatchNorm2d),
    "batch norm of power infinity": lambda x: of_volumes_none(x, nn.LpBatchNorm1d, nn.LpBatchNorm2d, p=math.inf),
    "noisy batch norm": lambda x: of_volumes_none(x, nn.NoisyBatchNorm1d, nn.NoisyBatchNorm2d),
    "group norm": lambda x: nn.GroupNorm(4, 16)(x),
    "group norm and relu": lambda x: nn.Sequential(nn.GroupNorm(4, 16), nn.ReLU())(x),
    "instance norm": lambda x: instance_norm(x, affine=True)(x),
    "instance norm, evaluated": lambda x: instance_norm(x, track_running_stats=True).eval()(x),
    "instance norm and relu": lambda x: nn.Sequential(instance_norm(x), nn.ReLU())(x),
    "the end of a residual block": lambda x: residual(batch_norm(x), x, x * 0.5),
    "the end of a residual block with groups": lambda x: residual(nn.GroupNorm(4, 16), x, x * 0.5),
}
# These work with NumPy's arrays, which lie in the same order: bools that choose, and what is chosen.
OF_NUMPY = ("where", "pow", "maximum", "minimum")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_it_keeps_its_layout_without_a_copy(name, shape, rng):
    array, call = images(rng, shape), CALLS[name]
    x = batten.from_numpy(array).requires_grad_()
    dy = batten.from_numpy(images(rng, call(x * 1).shape))
    with layout_copies(array.nbytes) as found:
        y = call(x * 1)
        assert channels_lie_last(y.array)
        y.backward(dy)
    assert channels_lie_last(x.grad.array)
    assert not name.startswith(OF_NUMPY) or "numpy" not in found or found.pop() == "numpy"
    assert found == []


def test_slices_and_their_gradients_lie_as_they_did(rng):
    for take in [lambda x: x[:, :, ::2, 1:], lambda x: x[:, 3], lambda x: x.split(5, 1)[1], lambda x: x.unbind(2)[3]]:
        x = batten.from_numpy(images(rng, SHAPES[0])).requires_grad_()
        (take(x * 1) * 2).sum().backward()
        assert channels_lie_last(x.grad.array)
        straight = batten.tensor(np.ascontiguousarray(x.array), requires_grad=True)
        (take(straight * 1) * 2).sum().backward()
        assert straight.grad.is_contiguous() and straight.grad.tolist() == x.grad.tolist()


@pytest.mark.parametrize(
    "flatten",
    [nn.Flatten(), lambda x: x.view(x.shape[0], -1), lambda x: x.reshape(-1), lambda x: batten.flatten(x, 0, 1)],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_flatten_has_the_order_of_elements_and_its_gradient_that_of_memory(flatten, shape, rng):
    array = images(rng, shape)
    x = batten.from_numpy(array).requires_grad_()
    y = flatten(x * 1)
    assert y.tolist() == np.ascontiguousarray(array).reshape(y.shape).tolist()
    dy = rng.standard_normal(y.shape).astype(np.float32)
    with layout_copies(array.nbytes) as found:
        y.backward(batten.from_numpy(dy))
    assert found == [shape]
    assert channels_lie_last(x.grad.array)
    np.testing.assert_array_equal(x.grad.array, dy.reshape(shape))


def test_a_view_of_images_goes_back_as_a_view(rng):
    """Where a reshape is none of memory, nor is its gradient."""
    array = images(rng, SHAPES[0])
    x = batten.from_numpy(array).requires_grad_()
    y = (x * 1).reshape(8, 16, 24 * 32)
    dy = batten.from_numpy(images(rng, y.shape))
    with layout_copies(array.nbytes) as found:
        y.backward(dy)
    assert found == [] and channels_lie_last(x.grad.array)


# ---- whose a gradient is ----


class Twice(Operation):
    """2 x, whose gradient is a view of its memory, which the test may keep."""

    __slots__ = ("keep",)

    def forward(self, x):
        return x + x

    def backward(self, dy):
        memory = kernels.empty((dy.shape[0], dy.shape[2], dy.shape[3], dy.shape[1]), dy.dtype)
        dx = memory.transpose(0, 3, 1, 2)
        np.add(dy, dy, out=dx)
        self.keep(memory, dx)
        return dx


def twice(x, keep):
    return Twice.apply(x, keep=keep)


def test_a_gradient_that_nobody_else_shows_is_taken_over(rng):
    x = batten.from_numpy(images(rng, (2, 3, 4, 5))).requires_grad_()
    addresses = []
    twice(x, lambda memory, dx: addresses.append(memory.ctypes.data)).sum().backward()
    assert addresses == [x.grad.array.ctypes.data]
    assert (x.grad == 2).all().item()


@pytest.mark.parametrize("kept", ["memory", "view", "part"])
def test_a_gradient_that_somebody_else_shows_is_copied(rng, kept):
    x = batten.from_numpy(images(rng, (2, 3, 4, 5))).requires_grad_()
    others = []
    y = twice(x, lambda memory, dx: others.append({"memory": memory, "view": dx.T, "part": memory[1:]}[kept]))
    (y + x).sum().backward()
    assert (x.grad == 3).all().item()
    assert (others[0] == 2).all()
    assert not np.may_share_memory(others[0], x.grad.array)


def test_gradients_are_added_where_the_first_one_lies(rng):
    x = batten.from_numpy(images(rng, (2, 3, 4, 5))).requires_grad_()
    addresses = []

    def note(memory, dx):
        addresses.append(memory.ctypes.data)

    (twice(x, note) + twice(x, note)).sum().backward()
    assert (x.grad == 4).all().item()
    assert addresses[0] == x.grad.array.ctypes.data


def test_a_leafs_gradient_lies_as_the_leaf(rng):
    for array in (images(rng, (2, 3, 4, 5)), np.ascontiguousarray(images(rng, (2, 3, 4, 5)))):
        for order in ((0, 2, 3, 1), (0, 1, 2, 3)):
            x = batten.from_numpy(array).requires_grad_()
            dy = np.ascontiguousarray(rng.standard_normal((2, 3, 4, 5)).transpose(order).astype(np.float32))
            (x * 1).backward(batten.from_numpy(dy.transpose(np.argsort(order))))
            assert x.grad.array.strides == array.strides


# ---- what users say of layouts ----


def test_a_module_takes_a_memory_format_and_stays_as_it_is():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm2d(3))
    before = [p.array for p in net.parameters()]
    assert net.to(memory_format=batten.channels_last) is net
    assert all(p.array is array for p, array in zip(net.parameters(), before, strict=True))
    assert net.to(batten.float64, memory_format=batten.channels_last)[0].weight.dtype == batten.float64
    with pytest.raises(TypeError, match=r"to expects a memory_format such as batten\.channels_last, got 3"):
        net.to(memory_format=3)


def test_a_tensor_in_its_order_is_itself():
    x = batten.ones(2, 3, 4, 5)
    y = x.to(memory_format=batten.channels_last)
    assert x.to(memory_format=batten.contiguous_format) is x
    assert y.to(memory_format=batten.channels_last) is y and y.contiguous(memory_format=batten.channels_last) is y
    assert y.to(batten.float64).is_contiguous(memory_format=batten.channels_last)
    assert repr(batten.channels_last) == str(batten.channels_last) == "batten.channels_last"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: x.to(memory_format=batten.channels_last),
            ValueError,
            r"to expects 4 axes for .*_last, got \[2, 3\]",
        ),
        (lambda x: x.contiguous(memory_format=batten.channels_last_3d), ValueError, "contiguous expects 5 axes"),
        (lambda x: x.clone(memory_format=batten.channels_last), ValueError, "clone expects 4 axes"),
        (lambda x: batten.zeros_like(x, memory_format=batten.channels_last), ValueError, "zeros_like expects 4 axes"),
        (lambda x: x.T.contiguous(memory_format=batten.preserve_format), ValueError, "an order of memory to bring"),
        (lambda x: x.is_contiguous(memory_format="channels_last"), TypeError, "is_contiguous expects a memory_format"),
        (lambda x: batten.empty_like(x, memory_format=None), TypeError, "empty_like expects a memory_format"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(batten.ones(2, 3))

"""Batch normalization by the statistics of a time step."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import nn
from batten.autograd import gradcheck
from parity import TOLERANCE, assert_close

BUFFERS = ["running_mean", "running_var", "num_batches_tracked"]


def batches(rng, dtype, steps, shape=(5, 3)):
    """A batch for each step, each of another mean and deviation."""
    return [((t + 1) * rng.standard_normal(shape) + t).astype(dtype) for t in range(steps)]


def with_parameters(layer, weight, bias):
    layer.weight.data, layer.bias.data = batten.tensor(weight), batten.tensor(bias)
    return layer


@pytest.mark.parametrize("momentum", [0.1, 0.4, None])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4)])
def test_each_step_is_a_batch_norm_of_its_own(rng, dtype, momentum, shape):
    """Beside T layers that share gamma and beta: results, gradients and buffers, over training and evaluation."""
    weight, bias = rng.standard_normal((2, 3)).astype(dtype)
    layer = with_parameters(nn.RecurrentBatchNorm1d(3, 4, momentum=momentum, dtype=dtype), weight, bias)
    apart = [with_parameters(nn.BatchNorm1d(3, momentum=momentum, dtype=dtype), weight, bias) for _ in range(4)]
    for length, training in ((4, True), (2, True), (3, False), (4, True), (4, False)):
        layer.train(training).zero_grad()
        for t, x in enumerate(batches(rng, dtype, length, shape)):
            leaf, other = (batten.tensor(x, requires_grad=True) for _ in range(2))
            apart[t].train(training).zero_grad()
            y, expected = layer(leaf, t), apart[t](other)
            y.square().sum().backward()
            expected.square().sum().backward()
            assert y.tolist() == expected.tolist() and leaf.grad.tolist() == other.grad.tolist()
        gradient = sum(norm.weight.grad.numpy() for norm in apart[:length])
        assert_close(layer.weight.grad.numpy(), gradient)
        for name in BUFFERS:
            assert getattr(layer, name).tolist() == [getattr(norm, name).tolist() for norm in apart]


def test_it_is_torchs_step_by_step(rng, dtype):
    torch = pytest.importorskip("torch")
    ours = nn.RecurrentBatchNorm1d(3, 2, momentum=None, dtype=dtype)
    theirs = [torch.nn.BatchNorm1d(3, momentum=None, dtype=getattr(torch, str(dtype))) for _ in range(2)]
    for training in (True, True, False):
        for t, x in enumerate(batches(rng, dtype, 2)):
            y = theirs[t].train(training)(torch.tensor(x))
            assert_close(ours.train(training)(batten.tensor(x), t).detach(), y.detach())
            for name in BUFFERS:
                assert_close(getattr(ours, name)[t], getattr(theirs[t], name))


def test_steps_beyond_the_last_are_the_last(rng):
    x = batten.tensor(batches(rng, np.float32, 1)[0])
    layer = nn.RecurrentBatchNorm1d(3, 2)
    layer(x, 1)
    layer(x, 2)
    layer(x, 10**30)
    assert layer.num_batches_tracked.tolist() == [0, 3]
    assert layer.running_mean[0].tolist() == [0, 0, 0]
    layer.eval()
    assert layer(x, 7).tolist() == layer(x, 1).tolist() != layer(x, 0).tolist()


def test_rows_are_written_in_place(rng):
    layer = nn.RecurrentBatchNorm1d(3, 2)
    memory = [getattr(layer, name).array for name in BUFFERS]
    state = layer.state_dict()
    layer(batten.tensor(batches(rng, np.float32, 1)[0]), 1)
    for name, array in zip(BUFFERS, memory, strict=True):
        assert getattr(layer, name).array is array
        assert_array_equal(state[name].numpy(), array)
    assert memory[2].tolist() == [0, 1]


def test_a_recurrent_network_learns_through_it(rng):
    norm = nn.RecurrentBatchNorm1d(3, 3, dtype=batten.float64)
    nn.init.constant_(norm.weight, 0.1)

    def run(w, *x):
        h = batten.zeros(5, 3, dtype=batten.float64)
        for t, step in enumerate(x):
            h = batten.tanh(norm(h @ w + step, t))
        return h

    arrays = [rng.standard_normal((3, 3)), *batches(rng, np.float64, 4)]
    assert gradcheck(run, [batten.tensor(a, requires_grad=True) for a in arrays])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"affine": False},
        {"bias": False},
        {"track_running_stats": False},
        {"track_running_stats": False, "eps": 0.1},
    ],
    ids=str,
)
def test_state_goes_out_and_in(rng, dtype, settings):
    layer = nn.RecurrentBatchNorm1d(3, 4, dtype=dtype, **settings)
    for t, x in enumerate(batches(rng, dtype, 6)):
        layer(batten.tensor(x), t)
    expected = {key: value.tolist() for key, value in layer.state_dict().items()}
    assert list(expected) == list(nn.BatchNorm1d(3, **settings).state_dict())
    fresh = nn.RecurrentBatchNorm1d(3, 4, dtype=dtype, **settings)
    fresh.load_state_dict({key: value.numpy() for key, value in layer.state_dict().items()})
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert repr(twin) == repr(layer)
        assert {key: value.tolist() for key, value in twin.state_dict().items()} == expected
        for t in (0, 3, 5):
            assert twin.eval()(batten.tensor(x), t).tolist() == layer.eval()(batten.tensor(x), t).tolist()


def test_statistics_of_another_number_of_steps_are_refused():
    for other in (nn.RecurrentBatchNorm1d(3, 5), nn.BatchNorm1d(3)):
        with pytest.raises(RuntimeError, match="size mismatch for running_mean"):
            nn.RecurrentBatchNorm1d(3, 4).load_state_dict(other.state_dict())


def test_it_is_reset_converted_and_written(rng):
    layer = nn.RecurrentBatchNorm1d(3, 2, momentum=None, bias=False)
    assert repr(layer) == (
        "RecurrentBatchNorm1d(3, eps=1e-05, momentum=None, affine=True, bias=False, track_running_stats=True, "
        "time_steps=2)"
    )
    layer(batten.tensor(batches(rng, np.float32, 1)[0]), 0)
    assert layer.double().running_var.dtype == batten.float64
    assert layer.running_mean.shape == (2, 3) and layer.num_batches_tracked.dtype == batten.int64
    layer.reset_parameters()
    assert layer.running_mean.tolist() == [[0] * 3] * 2 and layer.running_var.tolist() == [[1] * 3] * 2
    assert layer.num_batches_tracked.tolist() == [0, 0]


@pytest.mark.parametrize("settings", [{}, {"track_running_stats": False}])
@pytest.mark.parametrize(
    ("shape", "t", "error", "message"),
    [
        ((4, 3), -1, ValueError, "^RecurrentBatchNorm1d expects a time step t >= 0, got -1$"),
        ((4, 3), 1.0, TypeError, "^RecurrentBatchNorm1d expects an integer as time step t, got 1.0$"),
        ((4, 3), None, TypeError, "an integer as time step t, got None"),
        ((4, 3), slice(1), TypeError, r"got slice\(None, 1, None\)"),
        ((4, 5), 0, ValueError, r"^RecurrentBatchNorm1d expects \(N, 3\) or \(N, 3, L\), got \[4, 5\]$"),
        ((4, 3, 2, 2), 0, ValueError, r"got \[4, 3, 2, 2\]"),
        ((1, 3), 1, ValueError, "more than 1 value per channel when training"),
    ],
)
def test_refused(settings, shape, t, error, message):
    layer = nn.RecurrentBatchNorm1d(3, 2, **settings)
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    with pytest.raises(error, match=message):
        layer(batten.ones(shape), t)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before


@pytest.mark.parametrize(("steps", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError)])
def test_time_steps_are_counted(steps, error):
    with pytest.raises(error):
        nn.RecurrentBatchNorm1d(3, steps)


def test_small_batches(rng, dtype):
    layer = nn.RecurrentBatchNorm1d(3, 2, dtype=dtype)
    before = layer.running_var.tolist()
    assert layer(batten.ones(0, 3, dtype=dtype), 1).shape == (0, 3)
    assert layer.running_var.tolist() == before
    x = rng.standard_normal((1, 3)).astype(dtype)
    expected = x / np.sqrt(1 + dtype.type(1e-5))
    assert_allclose(layer.eval()(batten.tensor(x), 1).detach().numpy(), expected, **TOLERANCE[dtype])


def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads):
    x, found = rng.standard_normal((3000, 40)).astype(dtype), set()
    for n in (1, 2, 3, 8):
        threads(n)
        layer, leaf = nn.RecurrentBatchNorm1d(40, 3, dtype=dtype), batten.tensor(x, requires_grad=True)
        y = layer(layer(leaf, 0).tanh(), 5)
        y.square().sum().backward()
        arrays = (y.detach(), leaf.grad, layer.weight.grad, *layer.buffers())
        found.add(tuple(a.numpy().tobytes() for a in arrays))
    assert len(found) == 1

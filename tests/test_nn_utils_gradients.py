"""Clipping of gradients, and parameters as a vector: by hand, beside PyTorch, and what is refused."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import batten
from batten import nn
from batten.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)
from parity import assert_close

NORMS = [2.0, 1.0, math.inf, -math.inf, 3, 0.5, -1, "inf"]
SHAPES = [(3, 4), (), (70, 65), (1,), (5000,), (4, 3, 2, 2)]


def with_gradients(lib, arrays):
    """Tensors with gradients, and one without."""
    tensors = [lib.zeros(1, requires_grad=True)]
    for array in arrays:
        x = lib.tensor(np.zeros_like(array), requires_grad=True)
        x.grad = lib.tensor(array)
        tensors.append(x)
    return tensors


def gradients(tensors):
    return [x.grad.numpy() for x in tensors if x.grad is not None]


@pytest.mark.parametrize("kinds", [("float32",), ("float64",), ("float32", "float64")], ids=str)
def test_norms_and_clipped_gradients_are_torchs(rng, kinds):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    arrays = [np.asarray(rng.uniform(0.1, 2, s), kinds[k % len(kinds)]) for k, s in enumerate(SHAPES)]
    arrays = [np.where(rng.random(a.shape) < 0.5, a, -a).astype(a.dtype) for a in arrays]
    # PyTorch adds up many squares in float32, and its reciprocal powers of float32 are not of the best.
    tolerance = {"rtol": 1e-5 if "float32" in kinds else 1e-12}
    for p in NORMS:
        for share in (0.5, 2):
            ours, theirs = with_gradients(batten, arrays), with_gradients(torch, arrays)
            max_norm = share * torch.nn.utils.get_total_norm(gradients_of(theirs), p).item()
            norm, other = clip_grad_norm_(ours, max_norm, p), torch.nn.utils.clip_grad_norm_(theirs, max_norm, p)
            assert isinstance(norm, batten.Tensor) and not norm.requires_grad
            assert_close(norm, other, **tolerance)
            for g, t in zip(gradients(ours), gradients(theirs), strict=True):
                assert_close(g, t, **tolerance)
            if share == 2:
                assert all((g == a).all() for g, a in zip(gradients(ours), arrays, strict=True))
            other = with_gradients(batten, arrays)
            clip_grads_with_norm_(other, max_norm, norm)
            assert all((g == a).all() for g, a in zip(gradients(ours), gradients(other), strict=True))
            assert get_total_norm(gradients_of(other), p).item() <= max_norm * (1 + 1e-5)


def gradients_of(tensors):
    return [x.grad for x in tensors if x.grad is not None]


def test_it_is_its_definition(rng, dtype):
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]
    exact = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    eps = np.finfo(dtype).eps
    for p, tolerance in ((2, 2), (1, 2), (math.inf, 0), (-math.inf, 0), (0, 0), (3, 50), (0.5, 50)):
        norm = get_total_norm(map(batten.tensor, arrays), p)
        assert norm.shape == () and norm.dtype == dtype
        np.testing.assert_allclose(norm.item(), np.linalg.norm(exact, p), rtol=tolerance * eps)
    tensors = with_gradients(batten, arrays)
    clip_grad_norm_(tensors, 0.25)
    factor = 0.25 / (np.linalg.norm(exact) + 1e-6)
    for g, a in zip(gradients(tensors), arrays, strict=True):
        np.testing.assert_allclose(g, factor * a.astype(np.float64), rtol=4 * eps)


def test_the_count_of_all_elements_that_are_not_nought():
    """PyTorch's norm of order 0 counts the tensors that have any."""
    x = batten.tensor([0.0, 1.0, 2.0])
    assert get_total_norm([x, x + 1, 0 * x], 0).item() == 5


def test_squares_beyond_float32():
    for size in (1e30, 1e-30):
        x = batten.full((100,), size, requires_grad=True)
        x.grad = batten.full((100,), size)
        assert clip_grad_norm_(x, 5.0).item() == pytest.approx(10 * size, rel=1e-6)
    x.grad = batten.full((100,), 1e30)
    clip_grad_norm_(x, 5.0)
    np.testing.assert_allclose(x.grad.numpy(), 0.5, rtol=1e-6)
    assert get_total_norm(batten.full((100,), 3e38)).item() == math.inf


def test_a_short_gradient_stays_to_the_bit_and_nobody_is_told(rng):
    w = batten.tensor(rng.standard_normal(5), requires_grad=True)
    (w * w).sum().backward()
    y = (w.grad.requires_grad_() * w.grad).sum()
    before = w.grad.numpy().tobytes()
    clip_grad_norm_(w, 1e3)
    assert w.grad.numpy().tobytes() == before
    y.backward()
    y = (w.grad * w.grad).sum()
    clip_grad_norm_(w, 1e-3)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite(lib, bad):
    """As in PyTorch: all become noughts, or NaN; or stay, and it is said."""
    utils = lib.nn.utils
    w = [lib.ones(3, requires_grad=True), lib.ones(2, requires_grad=True)]

    def set_gradients():
        w[0].grad, w[1].grad = lib.tensor([1.0, bad, 2.0]), lib.tensor([3.0, 4.0])

    set_gradients()
    with pytest.raises(
        RuntimeError, match=r"The total norm of order 2.0 for gradients from `parameters` is non-finite"
    ):
        utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(w[0].grad, [1, bad, 2])
    norm = utils.clip_grad_norm_(w, 1.0)
    np.testing.assert_array_equal(norm, abs(bad))
    np.testing.assert_array_equal(w[0].grad, [0, math.nan, 0] if math.isinf(bad) else [math.nan] * 3)
    np.testing.assert_array_equal(w[1].grad, [0, 0] if math.isinf(bad) else [math.nan] * 2)
    set_gradients()
    utils.clip_grad_value_(w, 2.5)
    np.testing.assert_array_equal(w[0].grad, [1, np.clip(bad, -2.5, 2.5), 2])
    np.testing.assert_array_equal(w[1].grad, [2.5, 2.5])


def test_whose_gradients(lib):
    """A tensor, several, a generator; those without a gradient, and none at all."""
    utils = lib.nn.utils
    w = lib.ones(2, requires_grad=True)
    for parameters in (w, [w], (x for x in [w]), iter([lib.ones(1), w])):
        w.grad = lib.tensor([3.0, 4.0])
        norm = utils.clip_grad_norm_(parameters, 1.0)
        assert norm.item() == 5 and norm.dtype == w.dtype
        np.testing.assert_allclose(w.grad, [0.6, 0.8], rtol=1e-6)
    for parameters in (w, [w], (x for x in [w])):
        w.grad = lib.tensor([3.0, 4.0])
        assert utils.clip_grad_value_(parameters, 3.5) is None
        np.testing.assert_array_equal(w.grad, [3, 3.5])
    none = lib.zeros(3, requires_grad=True)
    for parameters in ([], none, [none], iter([])):
        norm = utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
        assert norm.item() == 0 and norm.dtype == lib.float32
        if lib is batten:  # PyTorch's stumbles
            utils.clip_grad_value_(parameters, 1.0)
    with pytest.warns(UserWarning, match="empty generator, no gradient clipping will occur"):
        assert utils.clip_grad_norm_((x for x in ()), 1.0).item() == 0
    empty = lib.zeros(0, 3, requires_grad=True)
    empty.grad = lib.zeros(0, 3)
    assert utils.clip_grad_norm_([empty], 1.0).item() == 0


def test_a_tensor_met_twice_counts_once():
    w = batten.ones(2, requires_grad=True)
    w.grad = batten.tensor([3.0, 4.0])
    assert clip_grad_norm_([w, w], 1.0).item() == 5
    np.testing.assert_allclose(w.grad, [0.6, 0.8], rtol=1e-6)


def test_gradients_in_any_layout(rng, dtype):
    """Axes in any order, and gaps, which stay as they are."""
    array = rng.standard_normal((4, 3, 5, 2)).astype(dtype)
    exact = np.linalg.norm(array.astype(np.float64))
    for clip in (lambda w: clip_grad_norm_(w, 0.5), lambda w: clip_grad_value_(w, 0.5)):
        straight = with_gradients(batten, [array])
        clip(straight)
        memory = np.full((5, 2, 8, 3), 7, dtype)
        for g in (np.empty((4, 5, 2, 3), dtype).transpose(0, 3, 1, 2), memory.transpose(2, 3, 0, 1)[::2]):
            g[...] = array
            w = batten.tensor(array, requires_grad=True)
            w.grad = batten.zeros(4, 3, 5, 2, dtype=dtype)
            w.grad.data = batten.from_numpy(g)
            clip(w)
            np.testing.assert_allclose(g, straight[1].grad.numpy(), rtol=4 * np.finfo(dtype).eps)
        assert (memory[:, :, 1::2] == 7).all()
        assert get_total_norm(batten.from_numpy(memory.transpose(2, 3, 0, 1)[::2])).item() <= exact


def test_the_same_bits_on_any_number_of_threads(rng, dtype, isa, threads):
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in [*SHAPES, (300, 301), (0,)]]
    for p in (2, 1, math.inf, 3):
        found = set()
        for n in (1, 2, 3, 8):
            threads(n)
            tensors = with_gradients(batten, arrays)
            norm = clip_grad_norm_(tensors, 0.5, p)
            found.add(b"".join(x.tobytes() for x in [norm.numpy(), *gradients(tensors)]))
        assert len(found) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: clip_grad_norm_(nn.Sequential(nn.Linear(1, 1)), 1), TypeError, "to be clipped, got Linear"),
        (lambda w: clip_grad_value_([w, "bias"], 1), TypeError, "to be clipped, got str"),
        (lambda w: clip_grad_norm_(w, -1), ValueError, "max_norm of at least 0, got -1"),
        (lambda w: clip_grad_norm_(w, math.nan), ValueError, "max_norm of at least 0, got nan"),
        (lambda w: clip_grads_with_norm_(w, -1, batten.tensor(2.0)), ValueError, "max_norm of at least 0, got -1"),
        (lambda w: clip_grad_value_(w, -1), ValueError, "clip_value of at least 0, got -1"),
        (lambda w: get_total_norm([batten.tensor([1, 2])]), TypeError, "float32 or float64, got int64"),
        (lambda w: vector_to_parameters([1.0, 2.0], [w]), TypeError, "expected batten.Tensor, but got: list"),
        (lambda w: vector_to_parameters(batten.ones(1), [w]), ValueError, r"a vector of 2 elements, got \[1\]"),
        (lambda w: vector_to_parameters(batten.ones(3), [w]), ValueError, r"a vector of 2 elements, got \[3\]"),
        (lambda w: vector_to_parameters(batten.ones(2, 1), [w]), ValueError, r"a vector of 2 elements, got \[2, 1\]"),
        (lambda w: parameters_to_vector([]), ValueError, "at least one tensor, got none"),
    ],
)
def test_refused(call, error, message):
    w = batten.zeros(2, requires_grad=True)
    w.grad = batten.tensor([3.0, 4.0])
    with pytest.raises(error, match=message):
        call(w)
    assert w.grad.tolist() == [3, 4] and w.tolist() == [0, 0]


# ---- vectors ----


def network(lib):
    return lib.nn.Sequential(lib.nn.Conv2d(2, 3, 2), lib.nn.BatchNorm2d(3), lib.nn.Flatten(), lib.nn.Linear(12, 2))


def test_a_vector_of_all_parameters_is_torchs():
    torch = pytest.importorskip("torch")
    ours, theirs = network(batten), network(torch)
    ours.load_state_dict(theirs.state_dict())
    assert_close(
        parameters_to_vector(ours.parameters()).detach(),
        torch.nn.utils.parameters_to_vector(theirs.parameters()).detach(),
    )


def test_the_vector_and_the_parameters_share_memory(lib):
    """Both ways: after a change of the vector, and after a step of the parameters."""
    utils = lib.nn.utils
    model = network(lib)
    values = lib.arange(sum(p.numel() for p in model.parameters()), dtype=lib.float32) / 10
    utils.vector_to_parameters(values, model.parameters())
    assert utils.parameters_to_vector(model.parameters()).tolist() == values.tolist()
    values[0] = 7
    assert model[0].weight[0, 0, 0, 0].item() == 7
    x = lib.ones(4, 2, 3, 3)
    model(x).sum().backward()
    lib.optim.SGD(model.parameters(), lr=0.1).step()
    assert values[-1].item() == model[3].bias[-1].item() != 10
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    apart = copy.deepcopy(model)
    values.zero_()
    assert not any(p.detach().numpy().any() for p in model.parameters())
    assert apart[3].bias.detach().numpy().any()


def test_gradients_go_through_the_vector(rng):
    """To each tensor in the order of its indices, however it lies in memory."""
    arrays = [rng.standard_normal((3, 2, 2, 4)).transpose(0, 3, 1, 2), rng.standard_normal((6, 4))[::2], np.array(0.5)]
    tensors = [batten.from_numpy(a).requires_grad_() for a in arrays]
    vector = parameters_to_vector(tensors)
    assert vector.tolist() == np.concatenate([a.ravel() for a in arrays]).tolist()
    weights = rng.standard_normal(vector.shape)
    (vector * batten.tensor(weights)).sum().backward()
    assert parameters_to_vector([x.grad for x in tensors]).tolist() == weights.tolist()
    with batten.no_grad():
        vector *= 2
    assert tensors[2].item() == 0.5


def test_a_vector_from_a_tape_makes_leaves():
    """Of its own type, as in PyTorch; its slices are off the tape."""
    w = batten.ones(4, dtype="float64", requires_grad=True)
    parameter = nn.Parameter(batten.zeros(2, 2))
    vector_to_parameters(w * 3, [parameter])
    assert parameter.is_leaf and parameter.requires_grad and parameter.dtype == np.float64
    assert parameter.tolist() == [[3, 3], [3, 3]]

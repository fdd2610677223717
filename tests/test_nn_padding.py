"""Padding: beside PyTorch in every mode, NumPy's pad, layouts, and what is refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from parity import assert_like_torch

# Widths, and a shape whose lengths allow them in every mode.
CASES = [
    ((1, 1), (2, 3, 4)),
    ((0, 0), (2, 3, 4)),
    ((2, 0), (3, 4)),
    ((0, 3), (3, 4)),
    ((3, 3), (2, 3, 4)),
    ((-1, -2), (2, 3, 4)),
    ((-2, 2), (2, 3, 6)),
    ((2, -2), (2, 3, 6)),
    ((1, 1), (0, 3, 4)),
    ((1, 2, 2, 1), (2, 3, 4, 5)),
    ((1, 2, 0, 0), (3, 4, 5)),
    ((0, 0, 2, 1), (2, 3, 4, 5)),
    ((-1, 2, 1, -1), (2, 3, 4, 5)),
    ((1, 1, 1, 1), (1, 1, 2, 2)),
    ((1, 2, 2, 1, 1, 1), (2, 2, 3, 4)),
    ((0, 1, 1, 0, 1, 1), (3, 2, 4, 5)),
    ((-1, 1, 2, 2, 0, -1), (2, 2, 3, 4, 5)),
]
MODES = ["constant", "reflect", "replicate", "circular"]
each_mode = pytest.mark.parametrize("mode", MODES)


@each_mode
@pytest.mark.parametrize(("widths", "shape"), CASES, ids=str)
def test_it_is_torchs(rng, dtype, mode, widths, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    assert_like_torch(lambda x: F.pad(x, widths, mode), lambda x: torch.nn.functional.pad(x, widths, mode), x)


@pytest.mark.parametrize("value", [None, 0, 2.5, -1, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("widths", "shape"),
    [((1, 2), (3,)), ((), ()), ((1, 1) * 5, (1, 2, 1, 2, 1)), ((-3, 0), (2, 3)), ((2, -3), (2, 3)), ((2, 1), (3, 0))],
    ids=str,
)  # fmt: skip
def test_constants_are_torchs(rng, dtype, value, widths, shape):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    assert_like_torch(
        lambda x: F.pad(x, widths, value=value), lambda x: torch.nn.functional.pad(x, widths, value=value), x
    )


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "bool"])
def test_other_types_are_torchs(kind):
    torch = pytest.importorskip("torch")
    x = np.arange(6).reshape(1, 2, 3).astype(kind)
    for widths, mode, value in [((1, 2), "constant", 1), ((1, 1), "constant", None), ((-1, 2), "circular", None)]:
        ours = F.pad(batten.tensor(x), widths, mode, value)
        theirs = torch.nn.functional.pad(torch.tensor(x), widths, mode, value)
        assert ours.array.dtype == kind
        assert_array_equal(ours.numpy(), theirs.numpy())
    assert F.pad(batten.tensor([1, 2]), (1, 0), value=1.5).tolist() == [1, 1, 2]


NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY)
def test_it_is_numpys(rng, dtype, mode):
    x = rng.standard_normal((2, 3, 40, 50)).astype(dtype)
    expected = np.pad(x, ((0, 0), (0, 0), (30, 7), (0, 49)), NUMPY[mode])
    assert_array_equal(F.pad(batten.tensor(x), (0, 49, 30, 7), mode).numpy(), expected)


@each_mode
def test_layouts(rng, dtype, mode):
    """The result lies as the input does, and the numbers are the same."""
    x = rng.standard_normal((2, 4, 5, 7)).astype(dtype)
    results = []
    for memory, seen in (
        (x, (0, 3, 1, 2)),
        (x.transpose(0, 3, 1, 2), (0, 1, 2, 3)),
        (x.transpose(1, 3, 2, 0), (3, 1, 0, 2)),
    ):
        leaf = batten.tensor(np.ascontiguousarray(memory), requires_grad=True)
        y = F.pad(leaf.permute(*seen), (1, 2, 3, 0), mode)
        assert y.detach().numpy().transpose(np.argsort(seen)).flags.c_contiguous
        (y * y).sum().backward()
        results.append((y.detach().numpy(), leaf.grad.permute(*seen).numpy()))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


@each_mode
def test_a_slice_of_a_larger_tensor(rng, mode):
    x = rng.standard_normal((2, 3, 8, 10))
    y = F.pad(batten.tensor(x)[:, ::2, ::-1, 1::3], (1, 1, 2, 2), mode)
    assert_array_equal(y.numpy(), F.pad(batten.tensor(x[:, ::2, ::-1, 1::3].copy()), (1, 1, 2, 2), mode).numpy())


@each_mode
def test_the_same_bits_on_any_number_of_threads(rng, dtype, mode, threads):
    x = rng.standard_normal((3, 20, 30, 40)).astype(dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        y = F.pad(leaf, (20, 11, 5, 29), mode)
        (y * y).sum().backward()
        found.add((y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert len(found) == 1


def shape_for(axes):
    return (2, 3, 4, 5, 6)[: axes + 2]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
@pytest.mark.parametrize("given", ["number", "tuple", "list"])
def test_modules_are_torchs(rng, axes, kind, given):
    torch = pytest.importorskip("torch")
    widths = (1, 2, 0, 1, 2, 2)[: 2 * axes]
    padding = {"number": 2, "tuple": widths, "list": list(widths)}[given]
    arguments = (padding, 3.5) if kind == "ConstantPad" else (padding,)
    ours, theirs = [getattr(library, f"{kind}{axes}d")(*arguments) for library in (nn, torch.nn)]
    assert repr(ours) == repr(theirs)
    assert ours.padding == theirs.padding
    assert not ours.state_dict()
    x = rng.standard_normal(shape_for(axes))
    assert_like_torch(ours, theirs, x)
    assert_like_torch(ours, theirs, x[0])
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours)
        assert_array_equal(twin(batten.tensor(x)).numpy(), ours(batten.tensor(x)).numpy())


X = batten.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.pad(X, (1,)), r"^pad expects two numbers for each of up to 3 axes of \[2, 3, 4\], got \[1\]$"),
        (lambda: F.pad(X, (1, 1) * 4), "up to 3 axes"),
        (lambda: F.pad(X, (1, 1), "edge"), "expects mode constant, reflect, replicate or circular, got 'edge'"),
        (lambda: F.pad(X, (1, 1), "reflect", 1.0), "a value in mode constant only, got 1.0 in mode reflect"),
        (lambda: F.pad(X, (-3, -2)), r"at most all of an axis, got \(-3, -2\) for axis -1 of \[2, 3, 4\]"),
        (lambda: F.pad(X, (4, 0), "reflect"), r"at most 3 elements on each side in mode reflect, got \(4, 0\)"),
        (lambda: F.pad(X, (0, 5), "circular"), r"at most 4 elements on each side in mode circular, got \(0, 5\)"),
        (lambda: F.pad(X, (-2, 3), "circular"), "at most 2 elements"),
        (lambda: F.pad(X[:, :, :0], (1, 1), "replicate"), "at least one element"),
        (lambda: F.pad(X[:, :, :0], (1, 1), "reflect"), "at most 0 elements"),
        (lambda: F.pad(X[:, :, :0], (1, 1), "circular"), "at most 0 elements"),
        (lambda: F.pad(X, (-2, -2), "reflect"), "at least one element before and after"),
        (lambda: F.pad(X, (), "reflect"), r"for one to three axes in mode reflect, got \[\]"),
        (lambda: F.pad(X, (1, 1) * 3, "reflect"), r"expects \(N, C, D, H, W\) or .* got \[2, 3, 4\]"),
        (lambda: F.pad(X[0, 0], (1, 1), "circular"), r"expects \(N, C, L\) or \(C, L\) .* got \[4\]"),
        (lambda: nn.ReflectionPad2d(1)(X[0]), r"^ReflectionPad2d expects \(N, C, H, W\) or .* got \[3, 4\]$"),
        (lambda: nn.ZeroPad2d(1)(X[0, 0]), r"^ZeroPad2d expects two numbers .* up to 1 axes of \[4\]"),
        (lambda: nn.CircularPad1d((1, 2, 3)), r"^CircularPad1d expects one number or 2, got \[1, 2, 3\]$"),
    ],
)  # fmt: skip
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("call", [lambda: F.pad(X, (1.5, 1)), lambda: nn.ZeroPad1d(1.5), lambda: F.pad(X, ("1", 1))])
def test_widths_are_integers(call):
    with pytest.raises(TypeError):
        call()

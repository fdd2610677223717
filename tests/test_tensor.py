"""Tensors as Python, NumPy and a reader see them: conversions, shared memory, copies, indices, reprs."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import batten

TYPES = ["float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]


def dtype_of(name: str) -> np.dtype:
    return getattr(batten, name)


# ---- to Python ----


@pytest.mark.parametrize("name", TYPES)
def test_item_and_tolist_give_python_s_numbers(name):
    x = batten.tensor([[1, 0], [1, 1]], dtype=dtype_of(name))
    kind = {"f": float, "b": bool}.get(x.dtype.kind, int)
    assert x.tolist() == [[1, 0], [1, 1]]
    assert all(type(v) is kind for row in x.tolist() for v in row)
    assert type(x[0, 0].item()) is kind
    assert type(x[0, 0].tolist()) is kind
    assert x[:1, :1].item() == 1


def test_item_of_several():
    for x in (batten.ones(2), batten.ones(0)):
        with pytest.raises(ValueError, match=r"item expects a tensor of one element, got shape \["):
            x.item()


def test_numbers():
    x = batten.tensor(2.5)
    assert float(x) == 2.5 and int(x) == 2 and bool(x)
    assert not batten.tensor([[0.0]])
    assert math.sqrt(batten.tensor(4.0)) == 2
    assert int(batten.tensor([7])) == 7
    for convert in (float, int):
        with pytest.raises(ValueError, match="one element"):
            convert(batten.ones(2))
    for several in (batten.ones(2), batten.ones(0)):
        with pytest.raises(RuntimeError, match="only a tensor of one element is true or false"):
            bool(several)
    assert float(batten.tensor(1.5, requires_grad=True)) == 1.5


def test_index():
    letters = ["a", "b", "c"]
    assert letters[batten.tensor(1)] == "b"
    assert letters[batten.tensor([2])] == "c"
    assert letters[batten.tensor([1, 2])[1] :] == ["c"]
    assert operator.index(batten.tensor(3, dtype=batten.uint8)) == 3
    assert list(range(batten.tensor(2))) == [0, 1]
    for wrong in (batten.tensor(1.0), batten.tensor([1, 2])):
        with pytest.raises(TypeError, match="only an integer tensor of one element is an index"):
            letters[wrong]


def test_format():
    assert f"{batten.tensor(1.23456):.2f}" == "1.23"
    assert f"{batten.tensor(7):>4d}" == "   7"
    assert f"{batten.tensor(1.5)}" == "1.5"
    assert f"{batten.tensor([1.5])}" == "tensor([1.5000])"
    assert f"{batten.tensor(1.5, requires_grad=True) * 2:.1f}" == "3.0"
    with pytest.raises(TypeError, match=r"'.2f', got shape \[2\]"):
        f"{batten.ones(2):.2f}"


def test_sequence():
    x = batten.tensor([[1, 2], [3, 4]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    a, b = x
    assert a.tolist() == [1, 2] and b.tolist() == [3, 4]
    assert 3 in x and 5 not in x
    assert batten.tensor(2) in x
    assert 2.0 in x
    assert len(batten.ones(0, 2)) == 0 and list(batten.ones(0, 2)) == []
    for call in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            call(batten.tensor(1))
    with pytest.raises(TypeError, match="got str"):
        "a" in x  # noqa: B015


def test_rows_are_views_with_gradients():
    x = batten.ones(2, 2, requires_grad=True)
    sum((k + 1) * row.sum() for k, row in enumerate(x)).backward()
    assert x.grad.tolist() == [[1, 1], [2, 2]]
    y = batten.zeros(2, 2)
    for row in y:
        row += 1
    assert y.tolist() == [[1, 1], [1, 1]]


def test_comparison_with_what_is_no_number():
    x = batten.tensor([1.0, 2.0])
    for other in (None, "a", [1, 2], object()):
        assert (x == other) is False
        assert (x != other) is True
        with pytest.raises(TypeError):
            x < other  # noqa: B015
    assert (x == batten.tensor([1.0, 3.0])).tolist() == [True, False]


def test_hash_is_identity():
    x, y = batten.ones(2), batten.ones(2)
    assert len({x, y, x}) == 2
    assert {x: "x", y: "y"}[y] == "y"
    assert x in {x} and y not in {x}


def test_operators_with_strangers():
    class Stranger:
        def __radd__(self, other):
            return "radd"

    x = batten.ones(2)
    for wrong in ("a", None, [1, 2], {}, 1j):
        for operation in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul):
            with pytest.raises(TypeError):
                operation(x, wrong)
            with pytest.raises(TypeError):
                operation(wrong, x)


# ---- to NumPy, and back ----


@pytest.mark.parametrize("name", TYPES)
def test_memory_is_shared_with_numpy(name):
    a = np.zeros((2, 3), name)
    x = batten.from_numpy(a)
    assert x.dtype == a.dtype
    a[0, 1] = 1
    x[1, 2] = 1
    assert x.tolist() == a.tolist() == np.array([[0, 1, 0], [0, 0, 1]], name).tolist()
    for back in (x.numpy(), np.asarray(x), x.__array__(), np.from_dlpack(x)):
        assert np.shares_memory(back, a)
        assert back.dtype == a.dtype
    assert np.shares_memory(batten.as_tensor(a).numpy(), a)
    assert not np.shares_memory(batten.tensor(a).numpy(), a)
    assert not np.shares_memory(np.array(x), a)


def test_views_of_numpy_s_memory():
    a = np.arange(12.0).reshape(3, 4)
    for view in (a.T, a[::2], a[:, 1:3], a[::-1], a[1], a[..., None], np.broadcast_to(a[0], (2, 4))):
        x = batten.from_numpy(view)
        assert np.shares_memory(x.numpy(), a)
        np.testing.assert_array_equal((x * 2).numpy(), view * 2)
        assert x.stride() == tuple(s // 8 for s in view.strides)
    batten.from_numpy(a[::-1])[0] = 0
    assert a[2].tolist() == [0, 0, 0, 0]


def test_numpy_of_a_tensor_that_requires_a_gradient():
    x = batten.tensor([1.0, 2.0], requires_grad=True)
    for y in (x, x * 1):
        assert y.numpy() is y.array
        np.testing.assert_array_equal(np.asarray(y), [1, 2])
        np.testing.assert_array_equal(np.array([y, y]), [[1, 2], [1, 2]])


def test_array_protocol():
    x = batten.tensor([1.5, 2.5])
    assert np.asarray(x, dtype="float64").dtype == "float64"
    assert np.asarray(x, dtype=int).tolist() == [1, 2]
    assert np.array(x, copy=True).base is None
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype="float64", copy=False)
    assert np.concatenate([x, x]).tolist() == [1.5, 2.5, 1.5, 2.5]
    assert np.linalg.norm(batten.tensor([3.0, 4.0])) == 5
    assert np.zeros(3)[batten.tensor([0, 1])].shape == (2,)
    assert np.arange(5)[batten.tensor(2)] == 2
    assert np.full(2, batten.tensor(3.0)).tolist() == [3, 3]


def test_numpy_s_functions():
    """One with a namesake here is that one, and has a gradient; any other gets the arrays."""
    x = batten.tensor([1.0, 4.0], requires_grad=True)
    y = np.sqrt(x)
    assert isinstance(y, batten.Tensor)
    np.add(y, np.multiply(np.float32(2), x)).sum().backward()
    assert x.grad.tolist() == [2.5, 2.25]
    for function, expected in [(np.floor, [1, 4]), (np.arctan, np.arctan([1, 4])), (np.cbrt, np.cbrt([1, 4]))]:
        result = function(x.detach())
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert np.add.reduce(x.detach()) == 5
    out = np.zeros(2, "float32")
    assert np.add(x, 1, out=out) is out
    assert out.tolist() == [2, 5]
    into = batten.zeros(2)
    np.exp(np.zeros(2, "float32"), out=into.numpy())
    assert into.tolist() == [1, 1]
    assert (np.array([1.0, 2.0]) < x).tolist() == [False, True]
    a = np.array([1.0, 2.0])
    a += x.detach()
    assert isinstance(a, np.ndarray) and a.tolist() == [2, 6]


def test_dlpack():
    a = np.arange(6.0).reshape(2, 3)
    x = batten.from_dlpack(a)
    assert np.shares_memory(x.numpy(), a)
    assert x.__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(np.from_dlpack(batten.from_numpy(a.T)), a.T)
    torch = pytest.importorskip("torch")
    t = torch.from_dlpack(x)
    t[0, 0] = 7
    assert a[0, 0] == 7
    assert batten.from_dlpack(t).tolist() == a.tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batten.from_numpy([1, 2]), TypeError, "from_numpy expects an array, got list"),
        (lambda: batten.from_numpy(np.array(["a"])), TypeError, "tensors have bool, .* got <U1"),
        (lambda: batten.from_numpy(np.array([1, 2], ">i4")), ValueError, "byte order"),
        (lambda: batten.from_numpy(np.array([1.0], "float16")), TypeError, "got float16"),
        (lambda: batten.from_numpy(np.array([1], "uint32")), TypeError, "got uint32"),
        (lambda: batten.tensor([1j]), TypeError, "got complex128"),
        (lambda: batten.tensor([[1], [2, 3]]), ValueError, "inhomogeneous"),
        (lambda: batten.tensor([1], dtype="complex64"), TypeError, "got complex64"),
        (lambda: batten.tensor([1], dtype=3), TypeError, "expected a dtype such as batten.float32, got 3"),
        (lambda: batten.tensor([256], dtype=batten.uint8), ValueError, "cannot put 256 in a tensor of uint8"),
        (lambda: batten.tensor([1, 2**31], dtype=batten.int32), ValueError, "numbers from 1 to 2147483648 in a"),
        (
            lambda: batten.full((2,), math.nan, dtype=batten.int64),
            ValueError,
            "full cannot put nan in a tensor of int64",
        ),
        (lambda: batten.zeros(2, dtype=batten.int8).fill_(200), ValueError, "fill_ cannot put 200"),
        (lambda: batten.zeros(2).fill_(batten.ones(2)), ValueError, r"fill_ expects one number, got shape \[2\]"),
        (lambda: batten.exp([1.0]), TypeError, "expected a tensor, an array or a number, got list"),
        (lambda: batten.zeros(-1), ValueError, "-1"),
        (lambda: batten.zeros(1.5), TypeError, "float"),
        (lambda: batten.Tensor([1], [2]), TypeError, "lengths of axes, got 2 arguments"),
        (lambda: batten.arange(), TypeError, "expects an end"),
        (lambda: batten.arange(5, 1), ValueError, "a step that leads from start to end, got 5, 1 and 1"),
        (lambda: batten.set_default_dtype(batten.int64), TypeError, "float32 or float64 as the default"),
        (lambda: batten.ones(2, 3).sum(2), IndexError, "sum expects a dim from -2 to 1, got 2"),
        (lambda: batten.ones(2, 3).sum(1.5), TypeError, "sum expects an integer as dim, got 1.5"),
        (lambda: batten.ones(2, 3).sum((0, -2)), ValueError, "sum expects each dim once"),
        (lambda: batten.ones(2).sum(dim=0, axis=0), TypeError, "sum expects dim or axis, got both"),
        (lambda: batten.ones(2, 3) + batten.ones(4), ValueError, r"Add expects shapes .* got \[2, 3\] and \[4\]"),
        (lambda: batten.ones(2, 3) @ batten.ones(2, 3), ValueError, r"matmul expects .* got \[2, 3\] and \[2, 3\]"),
        (lambda: batten.ones(2) @ batten.ones(2, dtype=batten.float64), TypeError, "one type, got float32 and float64"),
        (lambda: batten.ones(2, 3).reshape(4), ValueError, r"a shape of 6 elements, got \[4\]"),
        (lambda: batten.tensor([1, 2]).mean(), TypeError, r"mean expects floats, got int64; use .float\(\) first"),
        (lambda: batten.tensor([1]) // 0, ZeroDivisionError, "floor_divide of integers by zero"),
        (lambda: batten.tensor([1]) ** -1, ValueError, r"exponents of at least 0; use .float\(\)"),
        (lambda: -batten.tensor([True]), TypeError, "neg expects numbers, got bools"),
        (lambda: batten.ones(0).max(), IndexError, "of no elements"),
        (lambda: batten.ones(2).mT, RuntimeError, r"mT expects a matrix or a batch of them, got shape \[2\]"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_default_type():
    assert batten.get_default_dtype() == batten.float32
    batten.set_default_dtype(batten.float64)
    try:
        assert batten.tensor([1.5]).dtype == batten.float64
        assert (batten.tensor([1]) / 2).dtype == batten.float64
        assert batten.zeros(2).dtype == batten.Tensor([1]).dtype == batten.rand(2).dtype == batten.float64
        assert repr(batten.tensor([1.5])) == "tensor([1.5000])"
        assert repr(batten.tensor([1.5], dtype=batten.float32)) == "tensor([1.5000], dtype=batten.float32)"
    finally:
        batten.set_default_dtype(batten.float32)


def test_devices():
    cpu = batten.device("cpu")
    x = batten.ones(2, device=cpu)
    assert x.device == cpu == "cpu"
    assert x.device.type == "cpu"
    assert x.to(cpu) is x and x.cpu() is x and x.to("cpu:0") is x and x.to(device="cpu") is x
    assert x.to("cpu", batten.float64).dtype == batten.float64
    chosen = batten.device("cuda" if batten.cuda.is_available() else "cpu")
    assert chosen == cpu
    assert batten.cuda.device_count() == 0
    assert batten.Generator(device="cpu").device == cpu
    for make in (batten.zeros, batten.ones, batten.empty, batten.rand, batten.randn):
        assert make(2, device="cpu").shape == (2,)
    others = ("cuda", "cuda:0", "mps", "meta", "nope", batten.float32)
    for other in others:
        with pytest.raises(RuntimeError, match="batten has the device cpu only, got"):
            batten.zeros(2, device=other)
    for call in (
        lambda: x.to("cuda"),
        lambda: x.to(device="cuda:1"),
        lambda: batten.device("cuda", 0),
        lambda: batten.tensor([1], device="cuda"),
        lambda: batten.arange(3, device="cuda"),
        lambda: batten.randn(3, device="cuda"),
        lambda: batten.zeros_like(x, device="cuda"),
        lambda: batten.as_tensor(x, device="cuda"),
        lambda: batten.Generator("cuda"),
    ):
        with pytest.raises(RuntimeError, match="batten has the device cpu only, got 'cuda"):
            call()


# ---- data, grad, copies ----


def test_data_shares_memory():
    x = batten.tensor([1.0, 2.0], requires_grad=True)
    x.data[0] = 5
    assert x.tolist() == [5, 2]
    x.data = batten.tensor([7.0, 8.0, 9.0])
    assert x.tolist() == [7, 8, 9]
    assert x.requires_grad and x.is_leaf
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    with pytest.raises(TypeError, match="expected floats, as this tensor requires a gradient"):
        x.data = batten.tensor([1])
    with pytest.raises(TypeError, match="expected a tensor as data, got ndarray"):
        x.data = np.ones(3)
    y = batten.ones(2)
    y.data = batten.tensor([1])
    assert y.dtype == batten.int64


def test_deepcopy():
    x = batten.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.tolist() == [1, 2] and y.requires_grad and y.is_leaf
    assert y.grad.tolist() == [2, 4]
    with batten.no_grad():
        y.zero_()
    y.grad.zero_()
    assert x.tolist() == [1, 2] and x.grad.tolist() == [2, 4]
    first, second = copy.deepcopy([x, x])
    assert first is second
    with pytest.raises(RuntimeError, match="only leaves can be copied with deepcopy"):
        copy.deepcopy(x * 2)
    view = batten.arange(6).reshape(2, 3).T[1:]
    assert copy.deepcopy(view).tolist() == view.tolist()


def test_copy_shares_memory():
    x = batten.tensor([1.0, 2.0])
    y = copy.copy(x)
    assert y is not x
    y[0] = 5
    assert x.tolist() == [5, 2]
    w = batten.ones(2, requires_grad=True)
    z = (w * x).sum()
    y.zero_()
    with pytest.raises(RuntimeError, match="was changed in place"):
        z.backward()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", TYPES)
def test_pickle(name, protocol):
    base = batten.arange(24).reshape(2, 3, 4).to(dtype_of(name))
    for x in (
        base,
        base[1],
        base.T,
        base[:, ::2, 1:],
        base[0, 0, 0],
        base[:0],
        base.unsqueeze(0).expand(2, -1, -1, -1),
    ):
        y = pickle.loads(pickle.dumps(x, protocol))
        assert type(y) is batten.Tensor
        assert y.dtype == x.dtype and y.shape == x.shape
        np.testing.assert_array_equal(y.numpy(), x.numpy())
        assert not y.requires_grad and y.is_leaf
        y.add_(y)


def test_pickle_of_what_requires_a_gradient():
    x = batten.tensor([1.0, 2.0], requires_grad=True)
    y = pickle.loads(pickle.dumps(x))
    assert y.requires_grad and y.is_leaf
    (y * y).sum().backward()
    assert y.grad.tolist() == [2, 4]
    assert x.grad is None
    assert len(pickle.dumps(batten.zeros(1000, 1000)[0])) < 10_000  # a view without what it is a view of


# ---- indices ----

GRID = np.arange(60).reshape(3, 4, 5)

ALL, EVEN, BACK = slice(None), slice(None, None, 2), slice(None, None, -1)

INDICES: list[Any] = [
    *[0, -1, 2, np.int64(1), (0, 1), (0, 1, 2), (-1, -1, -1), (), ..., None],
    *[ALL, EVEN, BACK, slice(1, None), slice(None, -1), slice(5, 1), slice(0, 9)],
    *[(ALL, 1), (..., 1), (1, ...), (0, ..., 0), (None, 0), (ALL, None, 1), (..., None), (None, ..., None)],
    *[(slice(1, None), slice(None, None, 3), BACK), (0, slice(1, 3), None, -1)],
    *[[0, 2], [[0, 1], [2, 0]], ([0, 1], [1, 2]), ([0, 1], ALL, [1, 2]), (ALL, [0, 1]), ([0, 1], 1)],
    *[(0, [0, 1]), ([[0], [1]], [[1, 2]]), (..., [0, 0, 1]), ([0], None, [1]), (None, [0, 1])],
    *[[-1, 0], ([0, -1], [-1, 0], [-2, -2]), [], (ALL, []), range(2), ([0, 2], ..., 0)],
    *[True, False, (True, 0), (ALL, True), [True, False, True], (ALL, [True, False, True, True])],
    *[np.array([0, 1]), np.array(1), np.array([True, True, False]), GRID % 2 == 0, GRID[:, :, 0] > 20],
    *[([True, False, True], 1), ([True, False, True], ALL, [0, 1]), (ALL, GRID[0] % 3 == 0)],
    *[(slice(1, 2), [0, 1], EVEN), ([0, 1], [0, 1], [0, 1]), ([0, 1], None, ALL, 0)],
]  # fmt: skip


def as_tensors(index: Any) -> Any:
    """An index with tensors instead of arrays and lists."""
    if isinstance(index, tuple):
        return tuple(as_tensors(i) for i in index)
    if isinstance(index, (list, np.ndarray)):
        return batten.tensor(index, dtype=None if np.size(index) else batten.int64)
    return index


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return np.asarray(function(*arguments)).tolist()
    except (IndexError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indices_are_numpy_s(index):
    """But for a number between lists, which NumPy takes for a list, and PyTorch for a number."""
    plain = index if not isinstance(index, (list, range)) else np.asarray(index, dtype=None if len(index) else int)
    for form in (index, as_tensors(index)):
        expected = outcome(lambda: GRID[plain])
        assert outcome(lambda form=form: batten.tensor(GRID)[form]) == expected
        if expected is IndexError:
            continue
        ours, theirs = batten.tensor(GRID), GRID.copy()
        ours[form] = -1
        theirs[plain] = -1
        assert ours.tolist() == theirs.tolist()
        values = -np.arange(theirs[plain].size).reshape(theirs[plain].shape)
        unique = batten.tensor(GRID)[form].numpy()
        if np.unique(unique).size == unique.size:
            ours[form] = batten.tensor(values)
            theirs[plain] = values
            assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, "index 3"),
        (-4, "index -4"),
        ((0, 0, 0, 0), "too many indices for a tensor of 3 axes: 4"),
        ((..., ...), "one ... at most"),
        ([0, 3], "index 3"),
        ([True, False], "bool"),
        (np.ones((3, 3), bool), "bool"),
        (1.0, "got float"),
        ([0.5], "got float64"),
        ("a", "got str"),
        (slice(0, 2, 0), "zero"),
        (batten.tensor([1, 0, 1], dtype=batten.uint8), "integers with a sign, got uint8"),
        (([0, 1], [0, 1, 2]), "broadcast"),
    ],
)
def test_wrong_indices(index, message):
    x = batten.tensor(GRID)
    before = x.tolist()
    with pytest.raises((IndexError, ValueError), match=message):
        x[index]
    with pytest.raises((IndexError, ValueError), match=message):
        x[index] = 1
    assert x.tolist() == before
    assert x.version == [0, 0]


def test_slices_show_memory_and_lists_copy():
    x = batten.tensor(GRID)
    for index in (0, slice(1, None), (slice(None), 1), ..., None, (0, 0, 0)):
        assert np.shares_memory(x[index].numpy(), x.numpy())
    for index in ([0, 1], x > 3, (0, [0, 1])):
        assert not np.shares_memory(x[index].numpy(), x.numpy())


def test_assignment():
    x = batten.zeros(2, 3)
    x[0] = batten.tensor([1, 2, 3])  # integers become floats
    x[1] = np.array([4.0, 5.0, 6.0])
    x[:, 0] = 7
    assert x.tolist() == [[7, 2, 3], [7, 5, 6]]
    x[x > 5] = batten.tensor(0.5)
    assert x.tolist() == [[0.5, 2, 3], [0.5, 5, 0.5]]
    x[0], x[1] = x[1].clone(), x[0].clone()
    assert x.tolist() == [[0.5, 5, 0.5], [0.5, 2, 3]]
    x[0] += 1
    x[:, [0, 2]] *= 2
    assert x.tolist() == [[3, 6, 3], [1, 2, 6]]
    x[1:] = x[:1]
    assert x.tolist() == [[3, 6, 3], [3, 6, 3]]
    x.view(-1)[1:] = x.view(-1)[:-1].clone()
    assert x.tolist() == [[3, 3, 6], [3, 3, 6]]
    counts = batten.zeros(2, dtype=batten.int64)
    counts[0] = 2.7
    assert counts.tolist() == [2, 0]
    with pytest.raises(ValueError, match="assignment cannot put nan in a tensor of int64"):
        counts[1] = math.nan
    with pytest.raises(ValueError, match="broadcast"):
        x[0] = batten.ones(2)
    with pytest.raises(TypeError, match="got str"):
        x[0] = "a"


def test_assignment_and_gradients():
    w, x = batten.ones(2, requires_grad=True), batten.zeros(2)
    for wrong in (lambda: w.__setitem__(0, 5), lambda: x.__setitem__(0, w[0])):
        with pytest.raises(
            RuntimeError, match=r"do it under no_grad\(\), or make a new tensor with where, cat or stack"
        ):
            wrong()
    with batten.no_grad():
        w[0] = 5
        x[0] = w[0]
    assert w.tolist() == [5, 1] and x.tolist() == [5, 0]
    assert w.requires_grad and not x.requires_grad


def test_gradients_of_indices():
    x = batten.tensor(GRID, dtype=batten.float64, requires_grad=True)
    for index in INDICES:
        if outcome(lambda index=index: x[index]) is IndexError:
            continue
        x.grad = None
        y = x[index]
        weights = np.arange(1.0, y.numel() + 1).reshape(y.shape)
        y.backward(batten.tensor(weights))
        expected = np.zeros(GRID.shape)
        plain = np.asarray(index, dtype=None if len(index) else int) if isinstance(index, (list, range)) else index
        np.add.at(expected, plain, weights)
        np.testing.assert_array_equal(x.grad.numpy(), expected)


# ---- reprs ----


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (lambda: batten.tensor(1.5), "tensor(1.5000)"),
        (lambda: batten.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: batten.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: batten.tensor([[1, 20], [300, 4]]), "tensor([[  1,  20],\n        [300,   4]])"),
        (lambda: batten.tensor([True, False]), "tensor([ True, False])"),
        (lambda: batten.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
        (lambda: batten.tensor([float("nan"), float("inf"), 1]), "tensor([nan, inf, 1.])"),
        (lambda: batten.tensor([-float("inf"), 0.5]), "tensor([  -inf, 0.5000])"),
        (lambda: batten.tensor([]), "tensor([])"),
        (lambda: batten.zeros(2, 0), "tensor([], size=(2, 0))"),
        (lambda: batten.zeros(0, dtype=batten.int64), "tensor([], dtype=batten.int64)"),
        (lambda: batten.tensor([1], dtype=batten.uint8), "tensor([1], dtype=batten.uint8)"),
        (lambda: batten.tensor([1.0], dtype=batten.float64), "tensor([1.], dtype=batten.float64)"),
        (lambda: batten.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: batten.ones(1, requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward0>)"),
        (lambda: batten.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
        (
            lambda: batten.zeros(40, 40),
            "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n"
            + "        [0., 0., 0.,  ..., 0., 0., 0.],\n" * 2
            + "        ...,\n"
            + "        [0., 0., 0.,  ..., 0., 0., 0.],\n" * 2
            + "        [0., 0., 0.,  ..., 0., 0., 0.]])",
        ),
    ],
)
def test_repr(x, text):
    assert repr(x()) == str(x()) == text


def test_reprs_are_pytorch_s():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    arrays = [rng.integers(0, 9, (3, 30)), np.ones((3, 30), bool), np.arange(1001), np.zeros((2, 0, 3)), np.array(7)]
    arrays += [rng.standard_normal(shape) for shape in ((30,), (1001,), (7, 200), (200, 7), (2, 2, 2, 2), (10, 10, 11))]
    for _ in range(300):
        shape = tuple(rng.integers(0, 5, rng.integers(0, 4)))
        scale = 10.0 ** rng.integers(-9, 10) * 10.0 ** (rng.standard_normal(shape) * rng.choice([0, 0.5, 2, 4]))
        a = np.asarray(rng.standard_normal(shape) * scale)
        a = np.asarray(np.round(a)) if rng.random() < 0.3 else a
        if a.size and rng.random() < 0.3:
            a.flat[rng.integers(a.size)] = rng.choice([math.nan, math.inf, -math.inf, 0])
        arrays.append(a.astype(rng.choice(["float32", "float64"])))
    for a in arrays:
        theirs, ours = torch.tensor(a), batten.tensor(a)
        pairs = [(theirs, ours)]
        if a.dtype.kind == "f":
            pairs.append((theirs.clone().requires_grad_(), ours.clone().requires_grad_()))
            pairs.append((pairs[1][0] * 1, pairs[1][1] * 1))
        for theirs, ours in pairs:
            expected, text = repr(theirs).replace("torch.", "batten."), repr(ours)
            if "batten." in text:  # which is longer by a letter, so that lines may break before
                expected, text = expected.split(), text.split()
            assert text == expected


# ---- refused calls ----


@pytest.mark.parametrize(
    "call",
    [
        lambda: batten.rand(3, device="cuda"),
        lambda: batten.randn(3, dtype=batten.int64),
        lambda: batten.randint(5, (3,), requires_grad=True),
        lambda: batten.randint(5, (3,), device="cuda"),
        lambda: batten.randint(5, 2, (3,)),
        lambda: batten.randperm(3, requires_grad=True),
        lambda: batten.rand_like(batten.ones(2), device="cuda"),
        lambda: batten.randint_like(batten.ones(2, dtype=batten.int64), 5, requires_grad=True),
        lambda: batten.normal(0.0, -1.0, (2,)),
        lambda: batten.normal(batten.zeros(2), 1.0, device="cuda"),
        lambda: batten.bernoulli(batten.tensor([2.0])),
    ],
)
def test_a_refused_draw_draws_nothing(call):
    before = batten.get_rng_state()
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        call()
    assert batten.equal(batten.get_rng_state(), before)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.uniform_(3, 2),
        lambda x: x.normal_(0, -1),
        lambda x: x.bernoulli_(2.0),
        lambda x: x.random_(3, 3),
        lambda x: x.uniform_(generator=3),
        lambda x: x.fill_(batten.ones(2)),
        lambda x: x.copy_(batten.ones(3)),
        lambda x: x.add_(batten.ones(3)),
        lambda x: x.add_(batten.ones(3, 2)),
        lambda x: x.add_("a"),
        lambda x: x.masked_fill_(batten.ones(2), 1),
        lambda x: x.__setitem__(5, 1),
        lambda x: x.__setitem__(0, "a"),
        lambda x: x.__setitem__(slice(None), batten.ones(3)),
        lambda x: x.clamp_(),
    ],
)
def test_a_refused_change_changes_nothing(change):
    x = batten.tensor([1.0, 2.0])
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
        change(x)
    assert x.tolist() == [1, 2]
    assert x.version == [0, 0]
    assert not x.requires_grad

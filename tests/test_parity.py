"""What batten does beside what PyTorch does, for every public name; and where it means to differ.

The rows are in tests/rows/.  A public function, method or attribute that no row uses fails.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import pkgutil
from typing import Any

import numpy as np
import pytest

import batten
from batten import cuda, operations
from rows import ROWS, View, assert_same, check, described, gradients, torch

# Names that no row uses, and why.
OWN = "batten's own; PyTorch has no such thing"
ELSEWHERE = "changes what later operations do; in test_autograd.py"
EXEMPT = {
    **dict.fromkeys(["empty_cache", "memory_stats"], f"{OWN} (test_memory.py)"),
    **dict.fromkeys(["predict", "Prediction"], f"{OWN} (test_prediction.py)"),
    **dict.fromkeys(["fit", "History"], f"{OWN} (test_fit.py, test_history.py)"),
    **dict.fromkeys(["Callback", "EarlyStopping", "Checkpoint"], f"{OWN} (test_callbacks.py, test_checkpoints.py)"),
    **dict.fromkeys(["CSVLogger", "TensorBoard", "LRLogger"], f"{OWN} (test_callbacks.py)"),
    **dict.fromkeys(["get_num_threads", "set_num_threads"], "says nothing of results (test_threads.py)"),
    **dict.fromkeys(["get_float32_conv_precision", "set_float32_conv_precision"], f"{OWN} (test_nn_convolution.py)"),
    **dict.fromkeys(["CheckpointError", "load", "save"], "another format (test_serialization.py)"),
    **dict.fromkeys(["no_grad", "enable_grad", "set_grad_enabled", "inference_mode"], ELSEWHERE),
    **dict.fromkeys(["array", "creator", "index", "version", "tracked", "gradient"], OWN),
}

TENSOR = torch.Tensor, batten.Tensor


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_row(row):
    ran = 0
    for name, values in row.worlds():
        ran += 1
        try:
            check(row, values)
        except BaseException as error:
            error.add_note(f"{row.line!r} on {name!r}")
            raise
    assert ran


def test_negative_strides():
    """Which only NumPy has: what is done with such a view is what is done with a copy."""
    base = np.random.default_rng(5).uniform(-3, 3, (3, 4))
    views = [View(base, lambda a: a[::-1]), View(base, lambda a: a[:, ::-1]), View(base.T, lambda a: a[::-1].T[::-1])]
    for row in ROWS:
        if row.inputs != {"x"} or row.attributes & {"stride", "is_contiguous", "empty_like", "random", "numpy"}:
            continue
        for view in views:
            outcomes = []
            for x in (view, view.take(view.base).copy()):
                try:
                    result, given = row.run(batten, {"x": x})
                    seen = [
                        part[:3] + part[4:] if isinstance(part, tuple) else part
                        for part in described(batten, result, given)
                    ]
                    outcomes.append([*seen, *gradients(batten, result, given).values()])
                except (RuntimeError, ValueError, TypeError, IndexError) as error:
                    outcomes.append([type(error)])
            assert_same(*outcomes, 1e-5)


def public_names() -> set[str]:
    members = [*inspect.getmembers(batten), *inspect.getmembers(batten.Tensor)]
    public = {name for name, value in members if not name.startswith("_") and not inspect.ismodule(value)}
    return public | set(cuda.__all__)


def test_every_public_name_has_a_row():
    used = set().union(*[row.attributes for row in ROWS])
    assert public_names() - used == set(EXEMPT)


def test_every_operation_is_a_function_and_a_method():
    functions_only = {"cat", "einsum", "result_type", "stack"}  # as in PyTorch
    for module in pkgutil.iter_modules(operations.__path__):
        for name in importlib.import_module(f"batten.operations.{module.name}").__all__:
            assert getattr(batten, name) is getattr(operations, name)
            if name not in functions_only | {"where"}:
                assert getattr(batten.Tensor, name) is getattr(operations, name)


# ---- types ----

NAMES = ("uint8", "int8", "int16", "int32", "int64", "bool", "float32", "float64")
NUMBERS = {"uint8": 1, "int8": 1, "int16": 1, "int32": 1, "int64": 1, "bool": True, "float32": 1.5, "float64": 1.5}


def operand(library: Any, kind: str, name: str) -> Any:
    if kind == "number":
        return NUMBERS[name]
    return library.ones(() if kind == "0-d" else (2,), dtype=getattr(library, name))


@pytest.mark.parametrize("kinds", [(a, b) for a in ("tensor", "0-d", "number") for b in ("tensor", "0-d", "number")])
def test_types_meet_as_in_pytorch(kinds):
    for a in NAMES:
        for b in NAMES:
            theirs = [operand(torch, kind, name) for kind, name in zip(kinds, (a, b), strict=True)]
            ours = [operand(batten, kind, name) for kind, name in zip(kinds, (a, b), strict=True)]
            expected = str(torch.result_type(*theirs)).removeprefix("torch.")
            assert batten.result_type(*ours) == expected, (a, b)
            if kinds != ("number", "number"):
                assert (ours[0] + ours[1]).dtype == expected, (a, b)
                assert (ours[0] == ours[1]).dtype == batten.bool


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_casts(source, target):
    values = np.array([0, 1, 2, 100, 200, -1, -2.5, 0.5], "float64")
    values = values if source.startswith("float") else np.abs(values)
    values = values.astype(source)
    ours, theirs = batten.tensor(values).to(getattr(batten, target)), torch.tensor(values).to(getattr(torch, target))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    in_place = batten.zeros(8, dtype=getattr(batten, target)).copy_(batten.tensor(values))
    np.testing.assert_array_equal(in_place.numpy(), theirs.numpy())


OPERATORS = [
    *[operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod],
    *[operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge],
]


@pytest.mark.parametrize("function", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_numpy_beside_a_tensor(function, dtype, left):
    """NumPy's numbers count as Python's, its arrays as tensors, on either side."""
    values = np.array([[1, 2, 3], [2, 1, 4]], dtype)
    others = [np.float64(2.5), np.float32(2.5), np.int64(2), np.int8(2), np.array([1, 2, 3]), np.array([1.5, 2, 0.5])]
    others += [np.float32([[1], [2]]), np.array(2), np.array(1.5, "float32")]
    for other in others:
        theirs = torch.from_numpy(other) if isinstance(other, np.ndarray) else other.item()
        results = []
        for library, beside in ((torch, theirs), (batten, other)):
            x = library.tensor(values, requires_grad=dtype.startswith("float"))
            result = function(beside, x) if left else function(x, beside)
            assert isinstance(result, TENSOR)
            results.append(described(library, result.detach(), {}))
            if result.requires_grad and function not in (operator.floordiv, operator.mod):
                (result * result).sum().backward()
                results[-1].append(x.grad.numpy())
        assert_same(*results, 1e-6)


@pytest.mark.parametrize("function", [operator.and_, operator.or_, operator.xor], ids=lambda f: f.__name__)
def test_numpy_beside_bools(function):
    x, other = batten.tensor([True, True, False]), np.array([True, False, False])
    expected = function(np.array([True, True, False]), other)
    for result in (function(x, other), function(other, x), function(x, batten.tensor(other))):
        assert isinstance(result, batten.Tensor)
        assert result.dtype == batten.bool
        np.testing.assert_array_equal(result.numpy(), expected)
    assert (np.bool_(True) & x).tolist() == [True, True, False]


# ---- where batten means to differ ----

LEAF = "z = t.ones(2, requires_grad=True); "
F = "f = t.nn.functional; "

# What is run, what PyTorch makes of it, and what batten does: a value, or an exception.
DIFFERENCES = {
    "numbers and arrays are as good as tensors": [
        ("t.maximum(t.ones(2), 2)", TypeError, [2, 2]),
        ("t.where(t.tensor([True, False]), np.array([1, 2]), 3)", TypeError, [1, 3]),
        ("t.stack([t.tensor(1), 2])", TypeError, [1, 2]),
        ("t.allclose(t.ones(2), t.ones(2, dtype=t.float64))", RuntimeError, True),
        ("t.from_numpy(np.arange(3)[::-1])", ValueError, [2, 1, 0]),
        ("t.cat(t.ones(2, 2))", TypeError, [1, 1, 1, 1]),
        ("t.ones(2).clamp(t.zeros(2), 0.5)", TypeError, [0.5, 0.5]),
        ("t.ones(2, 2).sum(keepdim=True)", TypeError, [[4]]),
    ],
    "bools are subtracted and ordered among numbers, but are none themselves": [
        ("t.tensor([1, 2]) - t.tensor(True)", RuntimeError, [0, 1]),
        ("1 - t.tensor([True, False])", RuntimeError, [0, 1]),
        ("t.tensor([False, True]).argmax()", RuntimeError, 1),
        ("+t.tensor([False, True])", RuntimeError, [False, True]),
        ("t.tensor([True, False]).square()", [1, 0], TypeError),
        ("t.tensor([True, False]).sign()", [True, False], TypeError),
        ("t.tensor([True, False]) ** True", [True, False], TypeError),
    ],
    "integers are not raised to negative powers, which PyTorch refuses for numbers only": [
        ("t.tensor([2, 4]) ** t.tensor([-1, -1])", [0, 0], ValueError),
    ],
    "what has no gradient does not require one": [
        ("(t.ones(2, requires_grad=True) // 2).requires_grad", True, False),
        ("t.ones(2, requires_grad=True).norm(0).requires_grad", True, False),
        (LEAF + "y = z * 1; y //= 2; y", [0, 0], RuntimeError),
    ],
    "a gradient that PyTorch does not have, or loses": [
        (LEAF + "(3 % z).sum().backward(); z.grad", RuntimeError, [-3, -3]),
        (LEAF + "t.zeros(2).clamp(z, z).sum().backward(); z.grad", [0, 0], [1, 1]),
        ("z = t.tensor([1, float('nan')], requires_grad=True); z.amax().backward(); z.grad[0]", np.nan, 0),
    ],
    "a divergence is nought where the target's probability is, and its gradient there is the limit": [
        (F + "f.kl_div(t.tensor(-float('inf')), t.tensor(0.0), reduction='sum')", np.nan, 0),
        (F + "f.kl_div(*[t.tensor(-float('inf'))] * 2, reduction='sum', log_target=True)", np.nan, 0),
        (
            F + "z = t.zeros(1, requires_grad=True); f.kl_div(z * 0, z, reduction='sum').backward(); z.grad",
            [np.nan],
            [-np.inf],
        ),
    ],
    "a vector shorter than eps has the gradient of its quotient by eps": [
        (
            F + "z = t.full((1,), 0.5, requires_grad=True); f.cosine_similarity(z, t.ones(1), 0, 2).backward(); z.grad",
            [0.1875],
            [0.25],
        ),
    ],
    "all integers are indices, and one length is a shape": [
        (F + "f.embedding(t.tensor([1], dtype=t.uint8), t.ones(2, 1))", RuntimeError, [[1]]),
        (F + "f.one_hot(t.tensor([1], dtype=t.int32))", RuntimeError, [[0, 1]]),
        (F + "f.layer_norm(t.ones(1, 2), 2)", TypeError, [[0, 0]]),
        (F + "f.rms_norm(t.zeros(1, 2), 2)", TypeError, [[0, 0]]),
    ],
    "embeddings have dense gradients, and no norm that is kept to": [
        ("t.nn.Embedding(2, 1, sparse=True).sparse", True, NotImplementedError),
        ("t.nn.Embedding(2, 1, max_norm=1.0).max_norm", 1, NotImplementedError),
    ],
    "views copy where strides forbid a view": [
        ("t.arange(6).view(2, 3).T.view(6)", RuntimeError, [0, 3, 1, 4, 2, 5]),
    ],
    "memory that shows an element several times is not written to": [
        ("z = t.ones(2).expand(3, 2); z[0] = 5; z", [[5, 5]] * 3, RuntimeError),
    ],
    "a recorded change in place is one of a whole tensor, not of a part": [
        (LEAF + "y = z * 1; y[0] = 5; y", [5, 1], RuntimeError),
        (LEAF + "y = z * 1; y[0] += 1; y", [2, 1], RuntimeError),
        (LEAF + "y = z * 1; y[:1].mul_(3); y", [3, 1], RuntimeError),
        (LEAF + "y = t.zeros(2); y[0] = z[0]; y", [1, 0], RuntimeError),
    ],
    "a view taken under no_grad requires no gradient": [
        (LEAF + "t.no_grad()(lambda z: z[:1])(z).requires_grad", True, False),
    ],
    "a graph is walked once, though nothing in it be kept": [
        (LEAF + "y = (z + 1).sum(); y.backward(); y.backward(); z.grad", [2, 2], RuntimeError),
    ],
    "there are first derivatives only": [
        (LEAF + "(z * z).sum().backward(create_graph=True); z.grad", [2, 2], NotImplementedError),
    ],
    "bytes are no bools": [
        ("t.where(t.tensor([1, 0], dtype=t.uint8), 1, 2)", [1, 2], TypeError),
        ("t.arange(2)[t.tensor([1, 0], dtype=t.uint8)]", [0], IndexError),
    ],
    "norms are those of vectors, for positive p": [
        ("t.eye(2).norm('nuc') if hasattr(t, 'eye') else t.ones(2, 2).norm('nuc')", 2, ValueError),
        ("t.ones(2).norm(-1)", 0.5, ValueError),
    ],
    "there are no types beyond the eight, and no device but one": [
        ("(t.ones(2) + 1j).real", [1, 1], TypeError),
        ("t.tensor(np.float16(1))", 1, TypeError),
        ("t.device('cuda').type", "cuda", RuntimeError),
        ("t.zeros(2, device='cuda')", AssertionError, RuntimeError),
    ],
    "all and any take no axes for all axes, as sums do": [
        ("t.tensor([True, False]).all(dim=())", [True, False], False),
    ],
    "an index has one ... at most, and words are no indices": [
        ("t.arange(2)[..., ...]", [0, 1], IndexError),
        ("t.arange(2)['a']", TypeError, IndexError),
    ],
    "a centered RMSprop's variance is 0 where rounding makes it less, and its root not NaN": [
        (
            "w = t.zeros(1, requires_grad=True); w.grad = t.ones(1); o = t.optim.RMSprop([w], centered=True); "
            "o.step(); s = o.state[w]; _ = s['square_avg'].fill_(0.9), s['grad_avg'].fill_(1); o.step(); bool(w == w)",
            False,
            True,
        ),
    ],
    "shapes are tuples, types NumPy's": [
        ("type(t.ones(2).shape) is tuple", False, True),
        ("t.float32 == np.dtype('float32')", False, True),
        ("t.ones(2).type()", "torch.FloatTensor", "batten.FloatTensor"),
    ],
}


@pytest.mark.filterwarnings("ignore:.*(uint8|create_graph|requires_grad=True)")
@pytest.mark.parametrize(
    ("line", "theirs", "ours"),
    [pytest.param(*row, id=row[0]) for rows in DIFFERENCES.values() for row in rows],
)
def test_difference(line, theirs, ours):
    *before, last = line.split("; ")
    for library, expected in ((torch, theirs), (batten, ours)):
        scope: dict[str, Any] = {"t": library, "np": np}

        def run(scope: dict[str, Any] = scope) -> Any:
            exec("; ".join(before), scope)
            return eval(last, scope)

        if isinstance(expected, type):
            with pytest.raises(expected):
                run()
        else:
            result = run()
            result = result.tolist() if isinstance(result, TENSOR) else result
            np.testing.assert_equal(result, expected)


def test_rows_are_really_compared():
    """A row that would differ fails: in a value, a type, a gradient or an exception."""

    class Wrong:
        def __getattr__(self, name):
            return getattr(batten, name)

    def wrong(name, function):
        library = Wrong()
        setattr(library, name, function)
        return library

    from rows import Row

    world = {"x": np.array([1.0, 2.0])}
    bad = [
        wrong("exp", lambda x: batten.exp(x) * 1.001),
        wrong("exp", lambda x: batten.exp(x).float()),
        wrong("exp", lambda x: batten.exp(x.detach())),
        wrong("exp", lambda x: batten.exp(x) + (x - x.detach())),
        wrong("exp", lambda x: (batten.exp(x), 1)),
    ]
    for library in bad:
        with pytest.raises(AssertionError):
            check(Row("t.exp(x)"), world, library)
    with pytest.raises(pytest.fail.Exception):
        check(Row("t.exp('a')"), {}, wrong("exp", lambda x: x))
    check(Row("t.exp(x)"), world)

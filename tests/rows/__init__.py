"""Rows of code that must do the same with PyTorch and with batten.

A row is a line of Python, written as a student would: `t` is the library, `np` is
NumPy, `x` and `y` are inputs.  It is run once with t = torch and once with t =
batten, on every set of inputs that it names (`worlds`), and what it returns is
compared: values, types, shapes, whether a gradient is required and what it is,
and whether memory is shared with the inputs.  Where PyTorch raises, batten must.

A comment `# not: words` leaves out the sets of inputs with one of these words in
their names: there batten means to differ, and test_parity.py says how.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import batten

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # its threads wait by spinning, and take the processor away from ours

FLOATS = ("float32", "float64")
TYPES = (*FLOATS, "int64", "uint8", "bool")
INTEGERS = ("int8", "int16", "int32")

# What two inputs may look like.
SHAPES = {
    "alike": ((3, 4), (3, 4)),
    "row": ((3, 4), (4,)),
    "outer": ((3, 1), (1, 4)),
    "left0d": ((), (3, 4)),
    "right0d": ((3, 4), ()),
    "both0d": ((), ()),
    "empty": ((0, 4), (1, 4)),
    "batch": ((2, 3, 4), (3, 1)),
    "clash": ((3, 4), (3,)),
    "vectors": ((4,), (4,)),
    "product": ((3, 4), (4, 3)),
    "batches": ((2, 3, 4), (2, 4, 3)),
}
MIXED = (
    ("float32", "float64"),
    ("float32", "int64"),
    ("int64", "float32"),
    ("uint8", "int32"),
    ("int8", "uint8"),
    ("bool", "int64"),
    ("bool", "float32"),
    ("int32", "int64"),
)
WEIGHTS = np.random.default_rng(3).standard_normal(37)
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0)


@dataclass
class View:
    """An input that is a view: of a copy of an array in each run."""

    base: np.ndarray
    take: Callable[[np.ndarray], np.ndarray]


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind == "f":
        return np.asarray(rng.uniform(-3, 3, shape), dtype)
    low, high = {"b": (0, 2), "u": (0, 6), "i": (-3, 4)}[kind]
    return np.asarray(rng.integers(low, high, shape), dtype)


def single_worlds(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    for dtype in TYPES:
        yield f"{dtype} plain", {"x": numbers(rng, (3, 4), dtype)}
        yield f"{dtype} 0-d", {"x": numbers(rng, (), dtype)}
    for dtype in ("float32", "int64", "bool"):
        yield f"{dtype} empty", {"x": numbers(rng, (0, 4), dtype)}
    for dtype in INTEGERS:
        yield dtype, {"x": numbers(rng, (3, 4), dtype)}
    yield "float32 vector", {"x": numbers(rng, (5,), "float32")}
    yield "float32 3-d", {"x": numbers(rng, (2, 3, 4), "float32")}
    yield "float32 ties", {"x": rng.integers(-1, 2, (3, 4)).astype("float32")}
    yield "float32 transposed", {"x": View(numbers(rng, (4, 3), "float32"), np.transpose)}
    yield "float64 strided", {"x": View(numbers(rng, (3, 8), "float64"), lambda a: a[:, ::2])}
    yield "float64 expanded", {"x": View(numbers(rng, (4,), "float64"), lambda a: np.broadcast_to(a, (3, 4)))}
    yield "float64 special", {"x": np.array([SPECIAL[:4], SPECIAL[4:], (1e-30, 2, 3, 4)])}


def pair_worlds(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    def tensors(shape: str, left: str, right: str) -> dict[str, Any]:
        a, b = SHAPES[shape]
        return {"x": numbers(rng, a, left), "y": numbers(rng, b, right)}

    for dtype in TYPES:
        for shape in SHAPES if dtype == "float32" else ("alike", "outer", "right0d", "product"):
            yield f"{dtype} {shape}", tensors(shape, dtype, dtype)
    for left, right in MIXED:
        yield f"{left} {right} alike", tensors("alike", left, right)
        yield f"{left} {right} left0d", tensors("left0d", left, right)
        yield f"{left} {right} right0d", tensors("right0d", left, right)
    x = View(numbers(rng, (4, 3), "float32"), np.transpose)
    yield "float32 strided", {"x": x, "y": View(numbers(rng, (3, 8), "float32"), lambda a: a[:, ::2])}
    ties = rng.integers(-1, 2, (2, 3, 4)).astype("float64")
    yield "float64 ties", {"x": ties[0], "y": ties[1]}
    yield "float32 special", {"x": np.repeat(np.float32(SPECIAL), 8), "y": np.tile(np.float32(SPECIAL), 8)}
    for dtype in TYPES:
        for number in (2, -3, 2.5, True):
            yield f"{dtype} number {number}", {"x": numbers(rng, (3, 4), dtype), "y": number}
        yield f"{dtype} number 0-d", {"x": numbers(rng, (), dtype), "y": 2.5}
        for number in (2, 2.5):
            yield f"{dtype} reversed {number}", {"x": number, "y": numbers(rng, (3, 4), dtype)}
    yield "float32 number inf", {"x": numbers(rng, (3, 4), "float32"), "y": np.inf}


WORLDS = {
    frozenset(): [("", {})],
    frozenset("x"): list(single_worlds(np.random.default_rng(1))),
    frozenset("xy"): list(pair_worlds(np.random.default_rng(2))),
}


@dataclass
class Row:
    """A line of code, and what is in the names of those sets of inputs that it is not run on."""

    line: str
    leave_out: frozenset[str]

    def __init__(self, text: str) -> None:
        self.line, _, words = (part.strip() for part in text.partition("# not:"))
        self.leave_out = frozenset(words.split())
        tree = ast.parse(self.line)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        self.attributes = {node.attr for node in used if ast.unparse(node.value) != "np"}
        self.inputs = frozenset(names & {"x", "y"})
        *before, last = tree.body
        assert isinstance(last, ast.Expr), f"{text!r} returns nothing"
        self.before = compile(ast.Module(before, []), self.line, "exec")
        self.result = compile(ast.Expression(last.value), self.line, "eval")

    def worlds(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, values in WORLDS[self.inputs]:
            if not self.leave_out & set(name.split()):
                yield name, values

    def run(self, library: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What the line returns, and the tensors that it was given."""
        scope: dict[str, Any] = {"t": library, "np": np}
        given = {}
        for name, value in values.items():
            if isinstance(value, (np.ndarray, View)):
                array = value.copy() if isinstance(value, np.ndarray) else value.take(value.base.copy())
                value = given[name] = library.from_numpy(array)
                value.requires_grad_(value.is_floating_point())
            scope[name] = value
        exec(self.before, scope)
        return eval(self.result, scope), given


def rows(text: str) -> list[Row]:
    return [Row(line) for line in text.strip().splitlines()]


def flat(result: Any) -> list[Any]:
    """What is in nested tuples and lists."""
    return [y for part in result for y in flat(part)] if isinstance(result, (tuple, list)) else [result]


def type_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def described(library: Any, result: Any, given: dict[str, Any]) -> list[Any]:
    """A result as what is compared: for each tensor its type, shape, need of a gradient, memory and values."""
    seen: list[Any] = []
    for y in flat(result):
        if isinstance(y, library.Tensor):
            array = y.detach().numpy()
            shared = [name for name, x in given.items() if np.may_share_memory(array, x.detach().numpy())]
            seen.append((type_name(y.dtype), tuple(y.shape), y.requires_grad, shared, array))
        elif isinstance(y, (torch.dtype, np.dtype)):
            seen.append(type_name(y))
        else:
            seen.append(y)
    return seen


def gradients(library: Any, result: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The inputs' gradients for random weights of all elements of the results."""
    total: Any = None
    for y in flat(result):
        if isinstance(y, library.Tensor) and y.requires_grad:
            weights = np.resize(WEIGHTS, tuple(y.shape)).astype(type_name(y.dtype))
            part = (y * library.from_numpy(weights)).sum().double()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    return {name: None if x.grad is None else x.grad.numpy() for name, x in given.items()}


def assert_same(theirs: Any, ours: Any, tolerance: float) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if ours.tobytes() != theirs.tobytes():  # which is the quicker question
            exact = theirs.dtype.kind != "f"
            np.testing.assert_allclose(ours, theirs, rtol=0 if exact else tolerance, atol=0 if exact else tolerance)
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(theirs, ours, strict=True):
            assert_same(a, b, tolerance)
    elif isinstance(theirs, float):
        assert type(ours) is float
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


def kinds(theirs: Exception) -> Any:
    """The exceptions that say in batten what one of PyTorch's says.

    Its RuntimeErrors are of many kinds; its IndexErrors and ValueErrors are just that.  A TypeError
    for what is no tensor may be another one here, where numbers and arrays are as good as tensors.
    """
    if isinstance(theirs, RuntimeError):
        return (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, MemoryError)
    if isinstance(theirs, TypeError) and "Tensor" in str(theirs):
        return (TypeError, ValueError, IndexError)
    return type(theirs)


def check(row: Row, values: dict[str, Any], library: Any = batten) -> None:
    """Runs a row on one set of inputs with both libraries, and compares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result, given = row.run(torch, values)
            expected = described(torch, result, given)
            expected_gradients = gradients(torch, result, given)
        except Exception as error:
            if re.search("must be Tensor, not (int|float|bool)", str(error)):
                return  # numbers are as good as tensors here
            with pytest.raises(kinds(error)):
                result, given = row.run(library, values)
                gradients(library, result, given)
            return
    result, given = row.run(library, values)
    low = any(x.dtype == batten.float32 for x in given.values())
    low = low or any(isinstance(seen, tuple) and seen[0] == "float32" for seen in expected)
    tolerance = 1e-5 if low else 1e-12
    assert_same(expected, described(library, result, given), tolerance)
    assert_same(list(expected_gradients.items()), list(gradients(library, result, given).items()), 10 * tolerance)


ROWS: list[Row] = []
for found in pkgutil.iter_modules(__path__):
    for table in vars(importlib.import_module(f"{__name__}.{found.name}")).values():
        if isinstance(table, list) and all(isinstance(row, Row) for row in table):
            ROWS += table

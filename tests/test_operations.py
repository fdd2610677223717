"""Every Operation's gradient against differences."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import batten
from batten import autograd
from batten.autograd import Operation
from gradients import ROWS, Row


def operations() -> set[type[Operation]]:
    """The library's operations: subclasses, at any depth, that have none of their own."""
    found, families = set(), [Operation]
    while families:
        below = families.pop().__subclasses__()
        families += below
        found |= {c for c in below if not c.__subclasses__() and c.__module__.startswith("batten.")}
    return {c for c in found if getattr(sys.modules[c.__module__], c.__qualname__, None) is c}


def test_every_operation_has_a_row():
    assert operations() - set(ROWS) == set()


def creators(results) -> set[type[Operation]]:
    """The operations on the tapes of some results."""
    found, pending = set(), [y.creator for y in results]
    while pending:
        operation = pending.pop()
        if isinstance(operation, Operation) and operation not in found:
            found.add(operation)
            pending += [edge[0] for edge in operation.edges if edge]
    return {type(operation) for operation in found}


@pytest.mark.parametrize(
    ("operation", "row"),
    [
        pytest.param(operation, row, id=f"{operation.__name__}-{i}")
        for operation, rows in ROWS.items()
        for i, row in enumerate(rows)
    ],
)
def test_gradient(operation, row: Row, rng):
    inputs = row.tensors(rng)
    results = row.function(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    assert operation in creators(results), f"the row does not apply {operation.__name__}"
    assert all(y.dtype == batten.float64 for y in results)
    assert autograd.gradcheck(row.function, inputs, eps=row.eps)


def test_a_wrong_gradient_is_found(rng):
    class Wrong(Operation):
        __slots__ = ()

        def forward(self, x):
            return x * 3

        def backward(self, dy):
            return dy * 2

    x = batten.tensor(rng.standard_normal(4), requires_grad=True)
    with pytest.raises(autograd.GradcheckError, match="input 0"):
        autograd.gradcheck(Wrong.apply, (x,))
    assert not autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


def test_float32_gradients_follow_float64(rng):
    """The same rows in float32: results and gradients are float32, and near those of float64."""
    for rows in ROWS.values():
        for row in rows:
            exact = row.tensors(rng)
            rough = [x.detach().float().requires_grad_() for x in exact]
            for inputs in (exact, rough):
                results = row.function(*inputs)
                results = results if isinstance(results, tuple) else (results,)
                sum(y.sum() for y in results).backward()
            for x, x32 in zip(exact, rough, strict=True):
                assert (x.grad is None) == (x32.grad is None)
                if x.grad is not None:
                    assert x32.grad.dtype == np.float32
                    np.testing.assert_allclose(x32.grad.numpy(), x.grad.numpy(), rtol=1e-3, atol=1e-4)

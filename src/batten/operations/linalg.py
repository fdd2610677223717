"""Products of matrices, which go to gemm, and of vectors: with the same bits on any number of threads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from .arithmetic import mul
from .families import contiguous, unbroadcast
from .promotion import Operand, as_operand, refuse_bools
from .shape import squeeze, unsqueeze

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["bmm", "dot", "matmul", "mm", "mv", "outer"]


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a (*, m, k) times b (*, k, n), where the axes * broadcast."""
    if a.dtype.kind != "f":
        return np.matmul(a, b)
    m, n = a.shape[-2], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = kernels.empty((*batch, m, n), a.dtype)
    if c.ndim == 2:
        kernels.gemm(c, a, b)
    elif b.ndim == 2:
        kernels.gemm(rows_of(c), rows_of(a), b)
    else:
        kernels.gemm(c.reshape(math.prod(batch), m, n), batched(a, batch), batched(b, batch))
    return c


def rows_of(x: np.ndarray) -> np.ndarray:
    """A batch of matrices (*, r, c) as one, (* × r, c)."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def batched(x: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """Matrices (*, r, c) as (batch, r, c), or (1, r, c) where one is for all."""
    rows_and_columns = x.shape[-2:]
    if math.prod(x.shape[:-2]) != 1:
        x = np.broadcast_to(x, (*batch, *rows_and_columns))
    return x.reshape(math.prod(x.shape[:-2]), *rows_and_columns)


class MatMul(Operation):
    """c = a b; da = dc bᵀ and db = aᵀ dc."""

    __slots__ = ("a", "b", "shapes")

    a: Any
    b: Any

    def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        wants_a, wants_b = self.needs_input_grad
        self.shapes = a.shape, b.shape
        self.a = a if wants_b else None
        self.b = b if wants_a else None
        return product(a, b)

    def backward(self, dc: np.ndarray) -> tuple[Any, ...]:
        wants_a, wants_b = self.needs_input_grad
        da = unbroadcast(product(dc, self.b.mT), self.shapes[0]) if wants_a else None
        if not wants_b:
            return da, None
        if len(self.shapes[1]) == 2:  # one b for the whole batch: one long product instead of a sum of many
            return da, product(rows_of(self.a).T, rows_of(dc))
        return da, unbroadcast(product(self.a.mT, dc), self.shapes[1])


class Dot(Operation):
    """y = Σ aᵢ bᵢ, added in float64; da = dy b and db = dy a."""

    __slots__ = ("a", "b")

    a: Any
    b: Any

    def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        wants_a, wants_b = self.needs_input_grad
        self.a = a if wants_b else None
        self.b = b if wants_a else None
        sums = kernels.dot_all(np.empty(1), [contiguous(a)], [contiguous(b)])
        with np.errstate(over="ignore"):
            return sums.astype(a.dtype).reshape(())

    def backward(self, dy: np.ndarray) -> tuple[Any, ...]:
        return tuple([None if x is None else kernels.mul(kernels.empty_like(x), x, dy) for x in (self.b, self.a)])


def checked(name: str, expected: str, input: Operand, other: Operand, ranks: tuple[int, int] | None) -> Any:
    """Two tensors of one type, of the ranks that are asked for and with inner lengths that agree."""
    a, b = as_operand(input), as_operand(other)
    x, y = a.array, b.array
    agree = x.ndim and y.ndim and x.shape[-1] == y.shape[-min(y.ndim, 2)]
    if not agree or (ranks and (x.ndim, y.ndim) != ranks):
        raise ValueError(f"{name} expects {expected}, got {list(x.shape)} and {list(y.shape)}")
    if x.dtype != y.dtype:
        raise TypeError(f"{name} expects tensors of one type, got {x.dtype} and {y.dtype}")
    refuse_bools(name, x)
    return a, b


def matmul(input: Operand, other: Operand) -> Tensor:
    """The product of matrices (*, m, k) and (*, k, n), where the axes * broadcast.

    A tensor of one axis on the left is a row, on the right a column, and that axis goes.

    >>> import batten
    >>> a = batten.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> a @ a
    tensor([[ 7., 10.],
            [15., 22.]])
    >>> a @ batten.tensor([1.0, 1.0])
    tensor([3., 7.])
    """
    a, b = checked("matmul", "(*, m, k) and (*, k, n)", input, other, None)
    row, column = a.array.ndim == 1, b.array.ndim == 1
    if row and column and a.array.dtype.kind == "f":
        return Dot.apply(a, b)
    if not row and not column:
        try:
            return MatMul.apply(a, b)
        except ValueError:
            shapes = f"{list(a.array.shape)} and {list(b.array.shape)}"
            raise ValueError(f"matmul expects (*, m, k) and (*, k, n) where * broadcast, got {shapes}") from None
    c = matmul(unsqueeze(a, 0) if row else a, unsqueeze(b, 1) if column else b)
    if column:
        c = squeeze(c, -1)
    return squeeze(c, -1 if column else -2) if row else c


def mm(input: Operand, mat2: Operand) -> Tensor:
    """The product of two matrices, (m, k) and (k, n).

    >>> import batten
    >>> batten.mm(batten.ones(2, 3), batten.ones(3, 1))
    tensor([[3.],
            [3.]])
    """
    return MatMul.apply(*checked("mm", "(m, k) and (k, n)", input, mat2, (2, 2)))


def bmm(input: Operand, mat2: Operand) -> Tensor:
    """The products of two batches of matrices, (b, m, k) and (b, k, n).

    >>> import batten
    >>> batten.bmm(batten.ones(4, 2, 3), batten.ones(4, 3, 5)).shape
    (4, 2, 5)
    """
    a, b = checked("bmm", "(b, m, k) and (b, k, n)", input, mat2, (3, 3))
    if len(a.array) != len(b.array):
        raise ValueError(f"bmm expects batches of one length, got {list(a.shape)} and {list(b.shape)}")
    return MatMul.apply(a, b)


def mv(input: Operand, vec: Operand) -> Tensor:
    """The product of a matrix (m, k) and a vector (k).

    >>> import batten
    >>> batten.mv(batten.ones(2, 3), batten.ones(3))
    tensor([3., 3.])
    """
    return matmul(*checked("mv", "(m, k) and (k)", input, vec, (2, 1)))


def dot(input: Operand, tensor: Operand) -> Tensor:
    """The sum of the products of two vectors' elements.

    >>> import batten
    >>> batten.dot(batten.tensor([1.0, 2.0]), batten.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return matmul(*checked("dot", "(k) and (k)", input, tensor, (1, 1)))


def outer(input: Operand, vec2: Operand) -> Tensor:
    """All products of two vectors' elements, (m) and (n): (m, n).

    >>> import batten
    >>> batten.outer(batten.tensor([1, 2]), batten.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    x, y = as_operand(input), as_operand(vec2)
    if x.array.ndim != 1 or y.array.ndim != 1:
        raise ValueError(f"outer expects (m) and (n), got {list(x.shape)} and {list(y.shape)}")
    return mul(unsqueeze(x, 1), y)

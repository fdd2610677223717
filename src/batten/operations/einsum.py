"""Einstein's summation, made of products of matrices.

Operands are joined from left to right.  An axis that nothing after needs is summed
away: before the product if only one operand has it, by the product if both do.  So
each step is a batched matmul (batch, rows, inner) × (batch, inner, columns), and
without inner axes a plain multiplication.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .arithmetic import mul
from .indexing import item_at
from .linalg import matmul
from .promotion import Operand, promote
from .reduction import sum
from .shape import expand, permute, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["einsum"]


def einsum(equation: str, *operands: Operand) -> Tensor:
    """Products of elements, summed over every letter that the result does not have.

    Each operand's axes have letters; "..." stands for any axes in front of those, which
    broadcast.  Without "->" the result has the letters that occur once, in alphabetical order.

    >>> import batten
    >>> a = batten.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> batten.einsum("ij,jk->ik", a, a)
    tensor([[ 7., 10.],
            [15., 22.]])
    >>> batten.einsum("ii", a)
    tensor(5.)
    """
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum expects at least one operand, got none")
    xs = promote(*operands)
    terms, result = parse(equation, [x.array.ndim for x in xs])
    lengths = measure(equation, terms, xs)
    for letter in result:
        if letter not in lengths:
            raise ValueError(f"einsum {equation!r}: the result has {letter!r}, which no operand has")
    axes, x = diagonals(terms[0], xs[0])
    for i in range(1, len(xs)):
        term, y = diagonals(terms[i], xs[i])
        axes, x = joined(axes, x, term, y, set(result).union(*terms[i + 1 :]), lengths)
    axes, x = summed(axes, x, set(result))
    return permute(x, [axes.index(letter) for letter in result])


def parse(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The letters of each operand's axes and of the result's; axes under "..." get signs of their own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in [*terms, right]:
        letters = term.replace("...", "", 1)
        if letters and not (letters.isascii() and letters.isalpha()):
            raise ValueError(f"einsum expects letters, ',', '->' and '...', got {equation!r}")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum {equation!r} expects {len(terms)} operands, got {len(ranks)}")
    widest = 0
    for i, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        dots = rank - len(term.replace("...", ""))
        if dots < 0 or (dots and "..." not in term):
            raise ValueError(f"einsum {equation!r}: operand {i} has {rank} axes, expected as many as in {term!r}")
        widest = max(widest, dots)
        # Signs are counted from the last, as these axes broadcast.
        terms[i] = term.replace("...", "".join([chr(0x100 + n) for n in range(dots - 1, -1, -1)]))
    signs = "".join([chr(0x100 + n) for n in range(widest - 1, -1, -1)])
    if arrow:
        result = right.replace("...", signs)
        if len(set(result)) != len(result):
            raise ValueError(f"einsum expects each letter of the result once, got {equation!r}")
    else:
        counts = Counter("".join(terms))
        result = signs + "".join(sorted([c for c, n in counts.items() if n == 1 and c not in signs]))
    return terms, result


def measure(equation: str, terms: list[str], xs: list[Tensor]) -> dict[str, int]:
    """The length of each letter's axes, where one of length 1 goes with any other."""
    lengths: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for letter, n in zip(term, x.array.shape, strict=True):
            if lengths.get(letter, 1) not in (1, n) and n != 1:
                raise ValueError(f"einsum {equation!r}: {letter!r} has lengths {lengths[letter]} and {n}")
            if n != 1 or letter not in lengths:
                lengths[letter] = n
    return lengths


def diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """An operand whose letters are all different: of axes with one letter the diagonal is left."""
    for letter in {c for c in term if term.count(c) > 1}:
        places = [i for i, c in enumerate(term) if c == letter]
        others = [i for i in range(len(term)) if i not in places]
        lengths = {x.array.shape[i] for i in places}
        if len(lengths) > 1:
            raise ValueError(f"einsum: {letter!r} stands for axes of lengths {sorted(lengths)} in one operand")
        along = np.arange(lengths.pop())
        x = item_at(permute(x, [*places, *others]), (along,) * len(places))
        term = letter + "".join([term[i] for i in others])
    return term, x


def summed(axes: str, x: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    """Without the axes that nothing needs."""
    done = [i for i, letter in enumerate(axes) if letter not in needed]
    return ("".join([c for c in axes if c in needed]), sum(x, done)) if done else (axes, x)


def joined(a: str, x: Tensor, b: str, y: Tensor, needed: set[str], lengths: dict[str, int]) -> tuple[str, Tensor]:
    """Two operands as one, over the letters of both that are needed."""
    a, x = summed(a, x, needed | set(b))
    b, y = summed(b, y, needed | set(a))
    x, y = promote(x, y)  # a sum of small integers is of large ones
    both = [c for c in a if c in b]
    batch = [c for c in both if c in needed]
    inner = [c for c in both if c not in needed]
    rows = [c for c in a if c not in both]
    columns = [c for c in b if c not in both]
    x = expand(x, [lengths[c] if c in both else -1 for c in a])
    y = expand(y, [lengths[c] if c in both else -1 for c in b])
    x = permute(x, [a.index(c) for c in [*batch, *rows, *inner]])
    y = permute(y, [b.index(c) for c in [*batch, *inner, *columns]])

    batch_shape, row_shape = x.array.shape[: len(batch)], x.array.shape[len(batch) : len(batch) + len(rows)]
    column_shape = y.array.shape[len(b) - len(columns) :]
    n, m, p = math.prod(batch_shape), math.prod(row_shape), math.prod(column_shape)
    k = math.prod([lengths[c] for c in inner])
    product = matmul if inner else mul
    z = product(reshape(x, n, m, k), reshape(y, n, k, p))
    return "".join([*batch, *rows, *columns]), reshape(z, (*batch_shape, *row_shape, *column_shape))

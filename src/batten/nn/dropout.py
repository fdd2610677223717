"""Dropout (Srivastava et al. 2014): each element is zeroed with probability p, and the others scaled by 1 / (1 - p).

    y = x m,     dx = dy m,     m = 0 with probability p, else 1 / (1 - p)

The scaling in training keeps the expectation, so that nothing is left to do at test
time.  What is kept for the gradient is one bit an element.  The random numbers are
those of `batten.manual_seed`, one draw a call: the same seed drops the same elements,
on any machine and for any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..memory import empty_with_axes
from ..operations.inplace import refuse_leaf, replace
from ..operations.promotion import Operand, as_operand, floats
from ..random import next_draw
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Dropout"]


class DropoutOperation(Operation):
    """y = x m.  The bits of m are in the order in which y's elements lie in memory."""

    __slots__ = ("draw", "mask", "p", "scale", "strides")

    p: float
    draw: tuple[int, int]

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        self.mask = kernels.empty(((x.size + 7) // 8,), np.dtype(np.uint8))
        y = kernels.empty_like(x)
        self.strides = y.strides
        return kernels.dropout(y, self.mask, laid_out(x, y.strides), self.p, self.scale, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = laid_out(dy, self.strides)
        return kernels.dropout_backward(self.room(dy, dy), dy, self.mask, self.scale)


def laid_out(x: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """x with strides that have no gaps: itself, or a copy."""
    if x.strides == strides:
        return x
    axes = sorted(range(x.ndim), key=lambda axis: -strides[axis])
    return kernels.copy(empty_with_axes(axes, x.shape, x.dtype), x)


def dropout(input: Operand, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """input with each element zeroed with probability p, and the others scaled by 1 / (1 - p).

    Nothing is done where training is False, or p is 0.  ValueError unless 0 <= p <= 1.

    >>> import batten
    >>> y = batten.nn.functional.dropout(batten.ones(1000), p=0.75)
    >>> sorted(set(y.tolist()))
    [0.0, 4.0]
    """
    check_probability("dropout", p)
    x = as_operand(input)
    if not training or p == 0:
        return x
    x = floats("dropout", x)
    if inplace:
        refuse_leaf(x)
    y = DropoutOperation.apply(x, p=p, draw=next_draw(None))
    return replace(x, y) if inplace else y


class Dropout(Module):
    """In training, each element is zeroed with probability p, and the others scaled by 1 / (1 - p); else nothing.

    >>> import batten
    >>> layer = batten.nn.Dropout(0.5)
    >>> set(layer(batten.ones(100)).tolist()) == {0.0, 2.0}
    True
    >>> layer.eval()(batten.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability("Dropout", p)
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


def check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name} expects a probability between 0 and 1, got {p}")

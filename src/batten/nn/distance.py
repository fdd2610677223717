"""Lengths and angles of vectors, which lie along an axis.  Both are put together from functions of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..operations import broadcast_to, clamp, norm
from ..operations.axes import axes_of, axis_of
from ..operations.families import broadcast_shape
from ..operations.promotion import Operand, floats, promote
from .stateless import stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["CosineSimilarity"]


def normalize(input: Operand, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """input / max(‖input‖, eps), with the p-norm over the axes `dim`: vectors of length one.

    >>> import batten
    >>> batten.nn.functional.normalize(batten.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    x = floats("normalize", input)
    axes_of("normalize", x.array, dim)
    return x / clamp(norm(x, p, dim, keepdim=True), min=eps)


def cosine_similarity(x1: Operand, x2: Operand, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ x1 x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along an axis, for x1 and x2 that broadcast.

    >>> import batten
    >>> batten.nn.functional.cosine_similarity(batten.tensor([[1.0, 0.0]]), batten.tensor([[3.0, 4.0], [0.0, 2.0]]))
    tensor([0.6000, 0.0000])
    """
    x, y = promote(floats("cosine_similarity", x1), floats("cosine_similarity", x2))
    shape = broadcast_shape("cosine_similarity", x.array, y.array)
    x, y = broadcast_to(x, shape), broadcast_to(y, shape)
    axis = axis_of("cosine_similarity", x.array, dim)
    return (normalize(x, 2.0, axis, eps) * normalize(y, 2.0, axis, eps)).sum(axis)


CosineSimilarity = stateless("CosineSimilarity", cosine_similarity, shown="")

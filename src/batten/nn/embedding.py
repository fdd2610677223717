"""Embedding: a table of vectors, looked up by number, and learnt.

    y[i] = W[index[i]],     dW[r] = the sum of dy[i] over all i with index[i] = r

The gradient is dense, as the table is.  Each of its rows is written once, by one thread,
and its terms are added in the order of the places: the same bits on any number of threads.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation, no_grad, wrap
from ..creation import empty
from ..operations.families import contiguous, zeros
from ..operations.promotion import Operand, as_operand, floats
from . import init
from .module import Module
from .parameter import Parameter

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Embedding"]


class EmbeddingOperation(Operation):
    """y = W[index]; kept are the index and W's shape."""

    __slots__ = ("by_frequency", "index", "padding_idx", "shape")

    by_frequency: bool
    padding_idx: int

    def forward(self, weight: np.ndarray, index: np.ndarray) -> np.ndarray:
        self.shape = weight.shape
        self.index = np.ascontiguousarray(index, dtypes.int64).reshape(-1)
        y = kernels.empty((*index.shape, weight.shape[1]), weight.dtype)
        try:
            kernels.embedding(y.reshape(index.size, weight.shape[1]), contiguous(weight), self.index)
        except IndexError as error:
            raise IndexError(f"Embedding {error}") from None
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, None]:
        rows = contiguous(dy).reshape(len(self.index), self.shape[1])
        dweight = kernels.empty(self.shape, dy.dtype)
        return kernels.embedding_backward(dweight, rows, self.index, self.padding_idx, self.by_frequency), None


def embedding(
    input: Operand,
    weight: Operand,
    padding_idx: int | None = None,
    max_norm: None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of weight (V, D) that input's integers (*) name: (*, D).

    The row padding_idx has no gradient.  scale_grad_by_freq divides a row's gradient by how often input names it.

    IndexError if a row is not there; TypeError unless input has integers and weight floats; NotImplementedError
    for max_norm and sparse, which batten does not have.

    >>> import batten
    >>> weight = batten.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> batten.nn.functional.embedding(batten.tensor([2, 1, 2]), weight)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    refuse_missing(max_norm, sparse)
    index, w = as_operand(input), floats("Embedding", weight)
    if index.array.dtype.kind not in "iu":
        raise TypeError(f"Embedding expects integers, got {index.dtype}")
    if w.array.ndim != 2:
        raise ValueError(f"Embedding expects a weight (num_embeddings, embedding_dim), got {list(w.array.shape)}")
    row = checked_row(padding_idx, len(w.array))
    return EmbeddingOperation.apply(w, index, padding_idx=-1 if row is None else row, by_frequency=scale_grad_by_freq)


def checked_row(padding_idx: int | None, rows: int) -> int | None:
    """A row, if there is one, counted from the front."""
    if padding_idx is None:
        return None
    row = operator.index(padding_idx)
    if not -rows <= row < rows:
        raise ValueError(f"Embedding expects a padding_idx from {-rows} to {rows - 1}, got {row}")
    return row % rows


def refuse_missing(max_norm: Any, sparse: bool) -> None:
    if max_norm is not None:
        raise NotImplementedError(f"Embedding has no max_norm, got {max_norm}; scale the weight's rows under no_grad()")
    if sparse:
        raise NotImplementedError("Embedding has no sparse gradient; leave out sparse=True")


class Embedding(Module):
    """The rows of a learnt table (num_embeddings, embedding_dim) that integers (*) name: (*, embedding_dim).

    weight starts as N(0, 1).  The row padding_idx starts as zero and has no gradient, so that it stays as it is.

    >>> import batten
    >>> layer = batten.nn.Embedding(10, 3, padding_idx=0)
    >>> layer
    Embedding(10, 3, padding_idx=0)
    >>> layer(batten.tensor([[1, 2], [0, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse_missing(max_norm, sparse)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = checked_row(padding_idx, num_embeddings)
        self.max_norm, self.norm_type, self.sparse = max_norm, norm_type, sparse
        self.scale_grad_by_freq = scale_grad_by_freq
        if _weight is None:
            table = empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter(table, requires_grad=not _freeze)
            self.reset_parameters()
        elif _weight.array.shape != (num_embeddings, embedding_dim):
            raise ValueError(
                f"Embedding expects a weight {[num_embeddings, embedding_dim]}, got {list(_weight.array.shape)}"
            )
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer that shows the memory of a given table, and learns it only if freeze is False.

        >>> import batten
        >>> layer = batten.nn.Embedding.from_pretrained(batten.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer(batten.tensor(1))
        tensor([3., 4.])
        """
        if embeddings.array.ndim != 2:
            raise ValueError(
                f"Embedding expects a table (num_embeddings, embedding_dim), got {list(embeddings.array.shape)}"
            )
        rows, columns = embeddings.array.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def reset_parameters(self) -> None:
        """Draws weight anew, all but the row of the padding, which becomes zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].zero_()

    def forward(self, input: Tensor) -> Tensor:
        return embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, default in (("padding_idx", None), ("norm_type", 2), ("scale_grad_by_freq", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


def one_hot(tensor: Operand, num_classes: int = -1) -> Tensor:
    """For each class index of a tensor (*) a vector of zeros with a 1 in its place: int64, (*, num_classes).

    Without num_classes there are as many as the largest index asks for.  IndexError if an index is not there.

    >>> import batten
    >>> batten.nn.functional.one_hot(batten.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    index = as_operand(tensor).array
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot expects integers, got {index.dtype}")
    if num_classes == -1:
        if not index.size:
            raise ValueError("one_hot of no indices needs num_classes")
        num_classes = int(index.max()) + 1
    if num_classes < 0:
        raise ValueError(f"one_hot expects num_classes >= 0, or -1, got {num_classes}")
    wrong = index[(index < 0) | (index >= num_classes)]
    if wrong.size:
        raise IndexError(f"one_hot expects indices from 0 to {num_classes - 1}, got {wrong[0]}")
    y = zeros((*index.shape, num_classes), dtypes.int64)
    np.put_along_axis(y, np.asarray(index[..., None], np.int64), 1, -1)
    return wrap(y)

"""Losses: how far a network's results are from their targets, as one number.

`reduction` is "mean", "sum" or "none", for a loss of each element by itself.

Cross-entropy of class indices is one fused kernel (ext/softmax.c), which never writes
the probabilities; its gradient is softmax minus target.  What has no kernel of its own
is put together from the functions of tensors.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Operation
from ..operations import abs, log_softmax, square
from ..operations.families import broadcast_shape, contiguous, zeros
from ..operations.promotion import Operand, as_operand, floats
from ..operations.softmax import from_rows, rows_of
from .stateless import stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class ClassLoss(Operation):
    """A loss for each row of x from the index of its class, and perhaps a weight for each class.

    A subclass has `losses(rows)`, 0 where the target is to be ignored, and their
    `gradient(dlosses)`.  The mean is over the weights of the targets that are not
    ignored; without any it is NaN, as 0 / 0.
    """

    __slots__ = ("axis", "ignore_index", "reduction", "scale", "shape", "target", "weight")

    axis: int
    ignore_index: int
    reduction: str
    losses: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]

    def forward(self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        self.shape = x.shape
        self.target = np.ascontiguousarray(target, dtypes.int64).reshape(-1)
        self.weight = None if weight is None else contiguous(weight)
        losses = self.losses(rows_of(x, self.axis))
        if self.reduction == "none":
            return losses.reshape(target.shape)
        self.scale = 1.0
        if self.reduction == "mean":
            total = self.total_weight()
            self.scale = 1 / total if total else math.inf
        return kernels.sum(kernels.empty((), x.dtype), losses, self.scale)

    def total_weight(self) -> float:
        counts = self.target != self.ignore_index
        if self.weight is None:
            return int(np.count_nonzero(counts))
        return float(self.weight[self.target[counts]].sum(dtype=np.float64))

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, None, None]:
        dlosses = kernels.empty(self.target.shape, dy.dtype)
        if self.reduction == "none":
            kernels.copy(dlosses.reshape(dy.shape), dy)
        else:
            kernels.mul(dlosses, dy, np.asarray(self.scale, dy.dtype))
        return from_rows(self.gradient(dlosses), self.shape, self.axis), None, None


class CrossEntropy(ClassLoss):
    """Softmax and negative log-likelihood in one; x and the logsumexp of its rows are all that is kept."""

    __slots__ = ("label_smoothing", "lse", "x")

    x: Any
    label_smoothing: float

    def losses(self, rows: np.ndarray) -> np.ndarray:
        self.x = rows
        losses, self.lse = kernels.empty(rows.shape[:1], rows.dtype), kernels.empty(rows.shape[:1], rows.dtype)
        try:
            return kernels.cross_entropy(losses, self.lse, rows, *self.settings())
        except IndexError as error:
            raise IndexError(f"cross_entropy {error}") from None

    def gradient(self, dlosses: np.ndarray) -> np.ndarray:
        dx = kernels.empty_like(self.x)
        return kernels.cross_entropy_backward(dx, dlosses, self.x, self.lse, *self.settings())

    def settings(self) -> tuple[Any, ...]:
        return self.target, self.weight, self.ignore_index, self.label_smoothing


class NegativeLogLikelihood(ClassLoss):
    """-weight[target] x[target], of logarithms of probabilities x."""

    __slots__ = ("rows",)

    def losses(self, rows: np.ndarray) -> np.ndarray:
        counts = self.target != self.ignore_index
        wrong = self.target[counts & ((self.target < 0) | (self.target >= rows.shape[1]))]
        if wrong.size:
            raise IndexError(
                f"nll_loss expected classes from 0 to {rows.shape[1] - 1}, or {self.ignore_index} to ignore, "
                f"got {wrong[0]}"
            )
        self.rows = rows.shape
        losses = zeros(rows.shape[:1], rows.dtype)
        with np.errstate(all="ignore"):
            losses[counts] = -rows[counts, self.target[counts]] * self.weights(counts)
        return losses

    def gradient(self, dlosses: np.ndarray) -> np.ndarray:
        counts = self.target != self.ignore_index
        dx = zeros(self.rows, dlosses.dtype)
        with np.errstate(all="ignore"):
            dx[counts, self.target[counts]] = -dlosses[counts] * self.weights(counts)
        return dx

    def weights(self, counts: np.ndarray) -> Any:
        return 1 if self.weight is None else self.weight[self.target[counts]]


def cross_entropy(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-Σ_c weight_c target_c log softmax(input)_c, for scores (C), (N, C) or (N, C, d1, ...).

    target is either the index of the right class, an integer for each place, of shape (),
    (N) or (N, d1, ...), where ignore_index stands for none; or the probabilities of all
    classes, floats of input's shape.  Smoothing mixes the target with the same
    probability for every class (Szegedy et al. 2016).  The mean of class indices is over
    their weights; that of none at all is NaN.

    IndexError if a class is not there; ValueError and TypeError if shapes or types do not fit.

    >>> import batten
    >>> scores = batten.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> batten.nn.functional.cross_entropy(scores, batten.tensor([0, 1]), reduction="none")
    tensor([0.1269, 0.6931])
    >>> batten.nn.functional.cross_entropy(scores, batten.tensor([[0.5, 0.5], [0.5, 0.5]]))
    tensor(0.9100)
    """
    check_reduction("cross_entropy", reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy expects label_smoothing between 0 and 1, got {label_smoothing}")
    t = as_operand(target)
    if t.array.dtype.kind == "f":
        return soft_cross_entropy(input, t, weight, ignore_index, reduction, label_smoothing)
    x, t, w, axis = class_operands("cross_entropy", input, t, weight)
    return CrossEntropy.apply(
        x, t, w, axis=axis, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def soft_cross_entropy(
    input: Operand,
    target: Tensor,
    weight: Operand | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """Cross-entropy with probabilities as targets, which may have a gradient, too."""
    x, w, axis = class_scores("cross_entropy", input, weight)
    if target.array.shape != x.array.shape:
        raise ValueError(
            f"cross_entropy expects class indices {list(index_shape(x, axis))} (integers) or probabilities "
            f"{list(x.array.shape)} (floats) for scores {list(x.array.shape)}, "
            f"got {target.dtype}{list(target.array.shape)}"
        )
    if ignore_index >= 0:
        raise ValueError(f"cross_entropy of probabilities has no class to ignore, got ignore_index={ignore_index}")
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / (x.array.shape[axis] or math.nan)
    products = log_softmax(x, axis) * target
    if w is not None:
        products = products * w.reshape(-1, *[1] * (x.array.ndim - axis - 1))
    return reduced(-products.sum(axis), reduction)


def nll_loss(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] input[target], for logarithms of probabilities (C), (N, C) or (N, C, d1, ...) and class indices.

    With log_softmax before it, it is `cross_entropy`; shapes, ignore_index and the mean are as there.

    >>> import batten
    >>> log_p = batten.tensor([[0.5, 0.5], [0.25, 0.75]]).log()
    >>> batten.nn.functional.nll_loss(log_p, batten.tensor([0, 1]), reduction="none")
    tensor([0.6931, 0.2877])
    """
    check_reduction("nll_loss", reduction, size_average, reduce)
    x, t, w, axis = class_operands("nll_loss", input, as_operand(target), weight)
    return NegativeLogLikelihood.apply(x, t, w, axis=axis, ignore_index=ignore_index, reduction=reduction)


def class_scores(name: str, input: Operand, weight: Operand | None) -> tuple[Tensor, Any, int]:
    """The scores, the classes' weights if there are any, and the axis of the classes."""
    x = floats(name, input)
    if not x.array.ndim:
        raise ValueError(f"{name} expects scores (C), (N, C) or (N, C, d1, ...), got []")
    axis = min(x.array.ndim - 1, 1)
    if weight is None:
        return x, None, axis
    w = floats(name, weight)
    if w.array.shape != x.array.shape[axis : axis + 1] or w.array.dtype != x.array.dtype:
        raise ValueError(
            f"{name} expects a weight for each class, {x.dtype}[{x.array.shape[axis]}], "
            f"got {w.dtype}{list(w.array.shape)}"
        )
    if w.requires_grad:
        raise ValueError(f"{name} has no gradient for its weight; detach() it")
    return x, w, axis


def class_operands(
    name: str, input: Operand, target: Tensor, weight: Operand | None
) -> tuple[Tensor, Tensor, Any, int]:
    """The same, with class indices that fit them."""
    x, w, axis = class_scores(name, input, weight)
    shape = index_shape(x, axis)
    if target.array.dtype.kind not in "iu":
        raise TypeError(f"{name} expects integers as class indices, got {target.dtype}")
    if target.array.shape != shape:
        raise ValueError(
            f"{name} expects class indices {list(shape)} for scores {list(x.array.shape)}, "
            f"got {list(target.array.shape)}"
        )
    return x, target, w, axis


def index_shape(x: Tensor, axis: int) -> tuple[int, ...]:
    """The shape of class indices for scores x."""
    return (*x.array.shape[:axis], *x.array.shape[axis + 1 :])


def mse_loss(
    input: Operand,
    target: Operand,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Operand | None = None,
) -> Tensor:
    """(input - target)², times weight if there is one; the mean is then over the weights.

    Shapes that differ are broadcast, with a UserWarning: as a rule it is a mistake.

    >>> import batten
    >>> batten.nn.functional.mse_loss(batten.tensor([1.0, 2.0]), batten.tensor([0.0, 4.0]))
    tensor(2.5000)
    """
    check_reduction("mse_loss", reduction, size_average, reduce)
    return of_difference("mse_loss", square, input, target, reduction, weight)


def l1_loss(
    input: Operand,
    target: Operand,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Operand | None = None,
) -> Tensor:
    """|input - target|, times weight if there is one; otherwise as `mse_loss`.

    >>> import batten
    >>> batten.nn.functional.l1_loss(batten.tensor([1.0, 2.0]), batten.tensor([0.0, 4.0]))
    tensor(1.5000)
    """
    check_reduction("l1_loss", reduction, size_average, reduce)
    return of_difference("l1_loss", abs, input, target, reduction, weight)


def of_difference(
    name: str,
    function: Callable[[Tensor], Tensor],
    input: Operand,
    target: Operand,
    reduction: str,
    weight: Operand | None,
) -> Tensor:
    """A function of input - target, weighted and reduced."""
    x, t = floats(name, input), as_operand(target)
    broadcast_shape(name, x.array, t.array)
    if x.array.shape != t.array.shape:
        warnings.warn(
            f"{name} of an input {list(x.array.shape)} and a target {list(t.array.shape)}: they are broadcast, "
            "which is likely not what is meant; give both one shape",
            stacklevel=3,
        )
    losses = function(x - t)
    if weight is None:
        return reduced(losses, reduction)
    w = floats(name, weight)
    if w.array.shape != x.array.shape:
        raise ValueError(f"{name} expects a weight for each element, {list(x.array.shape)}, got {list(w.array.shape)}")
    losses = losses * w
    return losses.sum() / w.sum() if reduction == "mean" else reduced(losses, reduction)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def check_reduction(name: str, reduction: str, size_average: Any, reduce: Any) -> None:
    if size_average is not None or reduce is not None:
        raise ValueError(f"{name}: size_average and reduce have gone; say reduction='mean', 'sum' or 'none'")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name} expects reduction='mean', 'sum' or 'none', got {reduction!r}")


CrossEntropyLoss = stateless("CrossEntropyLoss", cross_entropy, shown="")
NLLLoss = stateless("NLLLoss", nll_loss, shown="")
MSELoss = stateless("MSELoss", mse_loss, shown="", size_average=None, reduce=None, reduction="mean")
L1Loss = stateless("L1Loss", l1_loss, shown="", size_average=None, reduce=None, reduction="mean")

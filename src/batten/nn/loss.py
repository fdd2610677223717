"""Losses: how far a network's results are from their targets, as one number.

`reduction` is "mean", "sum" or "none", for a loss of each element by itself.

Losses of numbers (ext/loss.c) compare an input with a target of the same shape, element
by element.  Each is one Operation, that names its kernels: the mean and the sum are
taken in one pass that writes no array of losses, and the gradient in another.

Losses of classes compare scores with the index of the right class.  Cross-entropy is one
fused kernel (ext/softmax.c), which never writes the probabilities; its gradient is
softmax minus target.  Cross-entropy with probabilities as targets is put together from
the functions of tensors.
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
from ..operations import log_softmax
from ..operations.families import broadcast_shape, contiguous, unbroadcast
from ..operations.promotion import Operand, as_operand, floats, promote
from ..operations.softmax import from_rows, rows_of
from .stateless import stateless

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


# ---- of classes ----


class ClassLoss(Operation):
    """A loss for each row of x from the index of its class, and perhaps a weight for each class.

    A subclass has `losses(losses, x)`, which writes 0 where the target is to be ignored, and
    their `gradient(dlosses)`.  The mean is over the weights of the targets that are not
    ignored; without any it is NaN, as 0 / 0.
    """

    __slots__ = ("axis", "ignore_index", "reduction", "scale", "shape", "target", "weight")

    function: str
    axis: int
    ignore_index: int
    reduction: str
    losses: Callable[..., None]
    gradient: Callable[..., np.ndarray]

    def forward(self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        self.shape = x.shape
        self.target = np.ascontiguousarray(target, dtypes.int64)
        if self.target.ndim != 1:
            self.target = self.target.reshape(-1)
        self.weight = None if weight is None else contiguous(weight)
        losses = kernels.empty(self.target.shape, x.dtype)
        try:
            self.losses(losses, x)
        except IndexError as error:
            raise IndexError(f"{self.function} {error}") from None
        if self.reduction == "none":
            return losses.reshape(target.shape)
        self.scale = 1.0
        if self.reduction == "mean":
            total = self.total_weight()
            self.scale = 1 / total if total else math.inf
        return kernels.sum(kernels.empty((), x.dtype), losses, self.scale)

    def total_weight(self) -> float:
        if self.weight is None:
            return kernels.count_other(self.target, self.ignore_index)
        return float(self.weight[self.target[self.target != self.ignore_index]].sum(dtype=np.float64))

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, None, None]:
        dlosses = kernels.empty(self.target.shape, dy.dtype)
        if self.reduction == "none":
            kernels.copy(dlosses.reshape(dy.shape), dy)
        else:
            dlosses.fill(self.scale * float(dy))
        return self.gradient(dlosses), None, None


class CrossEntropy(ClassLoss):
    """Softmax and negative log-likelihood in one; x and the logsumexp of its rows are all that is kept."""

    __slots__ = ("label_smoothing", "lse", "x")
    function = "cross_entropy"

    x: Any
    label_smoothing: float

    def losses(self, losses: np.ndarray, x: np.ndarray) -> None:
        self.x = rows_of(x, self.axis)
        self.lse = kernels.empty_like(losses)
        kernels.cross_entropy(losses, self.lse, self.x, *self.settings())

    def gradient(self, dlosses: np.ndarray) -> np.ndarray:
        dx = kernels.empty_like(self.x)
        kernels.cross_entropy_backward(dx, dlosses, self.x, self.lse, *self.settings())
        return from_rows(dx, self.shape, self.axis)

    def settings(self) -> tuple[Any, ...]:
        return self.target, self.weight, self.ignore_index, self.label_smoothing


class NegativeLogLikelihood(ClassLoss):
    """-weight[target] x[target], of logarithms of probabilities x.

    The kernels see (outer, classes, inner): either x as it is, with what stands before
    and behind the classes, or the rows of x where the classes lie last in memory, as
    log_softmax leaves them.
    """

    __slots__ = ("blocks", "in_rows")
    function = "nll_loss"

    def losses(self, losses: np.ndarray, x: np.ndarray) -> None:
        self.in_rows = np.moveaxis(x, self.axis, -1).flags.c_contiguous
        if self.in_rows:
            blocks = rows_of(x, self.axis)[:, :, None]
        else:
            before, after = math.prod(x.shape[: self.axis]), math.prod(x.shape[self.axis + 1 :])
            blocks = contiguous(x).reshape(before, x.shape[self.axis], after)
        self.blocks = blocks.shape
        kernels.nll_loss(self.placed(losses), blocks, self.placed(self.target), self.weight, self.ignore_index)

    def gradient(self, dlosses: np.ndarray) -> np.ndarray:
        dx = kernels.empty(self.blocks, dlosses.dtype)
        kernels.nll_loss_backward(dx, self.placed(dlosses), self.placed(self.target), self.weight, self.ignore_index)
        return from_rows(dx[:, :, 0], self.shape, self.axis) if self.in_rows else dx.reshape(self.shape)

    def placed(self, numbers: np.ndarray) -> np.ndarray:
        """A number for each place, in the places of the blocks."""
        outer, _, inner = self.blocks
        return numbers.reshape(outer, inner)


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
        indices = index_shape(x, axis)
        whole = "; use .long() first for indices" if target.array.shape == indices else ""
        raise ValueError(
            f"cross_entropy expects class indices {list(indices)} (integers) or probabilities "
            f"{list(x.array.shape)} (floats) for scores {list(x.array.shape)}, "
            f"got {target.dtype}{list(target.array.shape)}{whole}"
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
    shape = x.array.shape
    return shape[:axis] + shape[axis + 1 :]


# ---- of numbers ----


class NumberLoss(Operation):
    """scale Σ weight f(x, target, pos_weight; a), or without a scale each weight f(...) by itself.

    A subclass names the kernels of f (ext/loss.c).  weight and pos_weight are optional,
    and broadcast.  Where `scale` is 1 / Σ weight, it has a part in weight's gradient.
    """

    __slots__ = ("a", "pos_weight", "scale", "scaled_by_weight", "shape", "target", "weight", "x", "y")

    function: str
    kernel: Callable[..., np.ndarray]
    total: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]
    target_gradient: Callable[..., np.ndarray]
    a: float
    scale: float | None
    scaled_by_weight: bool
    weight: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kernel, cls.total, cls.gradient, cls.target_gradient = [
            getattr(kernels, cls.function + part) for part in ("", "_sum", "_backward", "_target_backward")
        ]

    def forward(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, pos_weight: np.ndarray | None
    ) -> np.ndarray:
        self.x, self.target, self.weight, self.pos_weight = x, target, weight, pos_weight
        self.shape = x.shape if x.shape == target.shape else np.broadcast_shapes(x.shape, target.shape)
        if self.scale is None:
            return self.kernel(self.allocate(x), x, target, weight, pos_weight, self.a)
        wide = x if x.shape == self.shape else np.broadcast_to(x, self.shape)
        y = self.total(kernels.empty((), x.dtype), wide, target, weight, pos_weight, self.a, self.scale)
        if self.scaled_by_weight and self.needs_input_grad[2]:
            self.y = y
        return y

    def allocate(self, x: np.ndarray) -> np.ndarray:
        return kernels.empty_like(x) if x.shape == self.shape else kernels.empty(self.shape, x.dtype)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        wants_x, wants_target, wants_weight, _ = self.needs_input_grad
        each, scale = (dy, 1.0) if self.scale is None else (None, self.scale * float(dy))
        weight = self.weight
        if each is not None:  # the gradient of each loss goes where its weight does
            weight = each if weight is None else kernels.mul(self.allocate(each), each, weight)
        x, target, weights = self.x, self.target, (weight, self.pos_weight, self.a, scale)
        dx = dtarget = dweight = None
        if wants_x:
            dx = unbroadcast(self.gradient(self.allocate(x), x, target, *weights), x.shape)
        if wants_target:
            dtarget = unbroadcast(self.target_gradient(self.allocate(target), x, target, *weights), target.shape)
        if wants_weight:
            dweight = self.kernel(self.allocate(x), x, target, each, self.pos_weight, self.a, scale)
            if self.scaled_by_weight:
                kernels.sub(dweight, dweight, np.asarray(scale * float(self.y), x.dtype))
            dweight = unbroadcast(dweight, self.weight.shape)
        return dx, dtarget, dweight, None


class AbsoluteError(NumberLoss):
    __slots__ = ()
    function = "l1_loss"


class SquaredError(NumberLoss):
    __slots__ = ()
    function = "mse_loss"


class SmoothAbsoluteError(NumberLoss):
    __slots__ = ()
    function = "smooth_l1_loss"


class HuberError(NumberLoss):
    __slots__ = ()
    function = "huber_loss"


class BinaryCrossEntropy(NumberLoss):
    """The kernel gives NaN for numbers that are no probabilities, and it is then that they are looked for."""

    __slots__ = ()
    function = "binary_cross_entropy"

    def forward(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, pos_weight: np.ndarray | None
    ) -> np.ndarray:
        y = super().forward(x, target, weight, pos_weight)
        if math.isnan(y if self.scale is not None else kernels.sum(kernels.empty((), y.dtype), y)):
            for what, numbers in (("input", x), ("target", target)):
                wrong = numbers[~((numbers >= 0) & (numbers <= 1))]
                if wrong.size:
                    raise ValueError(f"{self.function} expects an {what} between 0 and 1, got {wrong[0]}")
        return y


class BinaryCrossEntropyWithLogits(NumberLoss):
    __slots__ = ()
    function = "binary_cross_entropy_with_logits"


class Divergence(NumberLoss):
    __slots__ = ()
    function = "kl_div"


class DivergenceOfLogarithms(NumberLoss):
    __slots__ = ()
    function = "kl_div_log"


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
    return of_difference(SquaredError, input, target, reduction, weight, mean_of_weights=True)


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
    return of_difference(AbsoluteError, input, target, reduction, weight, mean_of_weights=True)


def smooth_l1_loss(
    input: Operand,
    target: Operand,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d² / (2 beta) where |d| < beta, else |d| - beta / 2, for d = input - target (Girshick 2015).

    With beta = 0 it is `l1_loss`; shapes that differ are broadcast as there.  ValueError if beta is negative.

    >>> import batten
    >>> batten.nn.functional.smooth_l1_loss(batten.tensor([1.0, 4.0]), batten.tensor([0.5, 0.0]), reduction="none")
    tensor([0.1250, 3.5000])
    """
    check_reduction("smooth_l1_loss", reduction, size_average, reduce)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss expects beta >= 0, got {beta}")
    if beta == 0:
        return of_difference(AbsoluteError, input, target, reduction, name="smooth_l1_loss")
    return of_difference(SmoothAbsoluteError, input, target, reduction, a=beta)


def huber_loss(
    input: Operand,
    target: Operand,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Operand | None = None,
) -> Tensor:
    """d² / 2 where |d| < delta, else delta (|d| - delta / 2), for d = input - target (Huber 1964), times weight.

    The mean is over the elements, with weights too.  Shapes that differ are broadcast as in
    `mse_loss`.  ValueError unless delta is positive.

    >>> import batten
    >>> batten.nn.functional.huber_loss(batten.tensor([1.0, 4.0]), batten.tensor([0.5, 0.0]), reduction="none")
    tensor([0.1250, 3.5000])
    """
    check_reduction("huber_loss", reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss expects delta > 0, got {delta}")
    return of_difference(HuberError, input, target, reduction, weight, a=delta)


def binary_cross_entropy(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)), times weight, for probabilities input and target.

    Logarithms are no less than -100.  weight broadcasts to input's shape; the mean is over the elements.
    ValueError if a number is not between 0 and 1, or if the shapes differ.

    >>> import batten
    >>> batten.nn.functional.binary_cross_entropy(batten.tensor([0.5, 0.75]), batten.tensor([1.0, 1.0]))
    tensor(0.4904)
    """
    check_reduction("binary_cross_entropy", reduction, size_average, reduce)
    return binary(BinaryCrossEntropy, input, target, reduction, weight, None)


def binary_cross_entropy_with_logits(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Operand | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), exact for large input of either sign.

    pos_weight multiplies the part with the target, as if positive examples came that much
    more often; like weight it broadcasts to input's shape.

    >>> import batten
    >>> scores, target = batten.tensor([0.0, 200.0]), batten.tensor([1.0, 0.0])
    >>> batten.nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
    tensor([  0.6931, 200.0000])
    """
    check_reduction("binary_cross_entropy_with_logits", reduction, size_average, reduce)
    return binary(BinaryCrossEntropyWithLogits, input, target, reduction, weight, pos_weight)


def kl_div(
    input: Operand,
    target: Operand,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log(target) - input): the divergence of Kullback & Leibler (1951), for logarithms of probabilities input.

    target are probabilities or, with log_target, their logarithms.  "batchmean" is the sum over the length of
    the first axis, which is the divergence's definition; "mean" is over all elements, and a UserWarning says so.
    Where a target is 0, so is the divergence.

    >>> import batten
    >>> log_p = batten.tensor([[0.5, 0.5]]).log()
    >>> batten.nn.functional.kl_div(log_p, batten.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.6931)
    """
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "kl_div with reduction='mean' divides by the number of elements, which is not the divergence; "
            "reduction='batchmean' divides by the batch's length",
            stacklevel=2,
        )
    check_reduction("kl_div", reduction, size_average, reduce, ("batchmean", "mean", "sum", "none"))
    x, t = together(floats("kl_div", input), floats("kl_div", target))
    operation = DivergenceOfLogarithms if log_target else Divergence
    rows = x.array.shape[0] if x.array.ndim else 1
    shape = broadcast_shape("kl_div", x.array, t.array)
    return operation.apply(x, t, None, None, a=0.0, scale=scale_of(reduction, shape, rows), scaled_by_weight=False)


def of_difference(
    operation: type[NumberLoss],
    input: Operand,
    target: Operand,
    reduction: str,
    weight: Operand | None = None,
    *,
    name: str = "",
    a: float = 0.0,
    mean_of_weights: bool = False,
) -> Tensor:
    """A loss of input - target, weighted and reduced."""
    name = name or operation.function
    x, t, w = floats(name, input), as_operand(target), None
    shape = x.array.shape
    if t.array.shape != shape:
        shape = broadcast_shape(name, x.array, t.array)
        warnings.warn(
            f"{name} of an input {list(x.array.shape)} and a target {list(t.array.shape)}: they are broadcast, "
            "which is likely not what is meant; give both one shape",
            stacklevel=3,
        )
    if weight is not None:
        w = floats(name, weight)
        if w.array.shape != x.array.shape:
            raise ValueError(
                f"{name} expects a weight for each element, {list(x.array.shape)}, got {list(w.array.shape)}"
            )
    x, t, w = together(x, t, w)
    scale = scale_of(reduction, shape)
    by_weight = mean_of_weights and w is not None and reduction == "mean"
    if by_weight:
        total = float(kernels.sum(kernels.empty((), w.array.dtype), w.array))
        scale = 1 / total if total else math.inf
    return operation.apply(x, t, w, None, a=a, scale=scale, scaled_by_weight=by_weight)


def binary(
    operation: type[NumberLoss],
    input: Operand,
    target: Operand,
    reduction: str,
    weight: Operand | None,
    pos_weight: Operand | None,
) -> Tensor:
    """A loss of probabilities of one class against another."""
    name = operation.function
    x, t = floats(name, input), floats(name, target)
    shape = x.array.shape
    if t.array.shape != shape:
        raise ValueError(f"{name} expects a target of the input's shape, {list(shape)}, got {list(t.array.shape)}")
    w, p = broadcast_weight(name, "weight", weight, shape), broadcast_weight(name, "pos_weight", pos_weight, shape)
    x, t, w, p = together(x, t, w, p)
    return operation.apply(x, t, w, p, a=0.0, scale=scale_of(reduction, shape), scaled_by_weight=False)


def broadcast_weight(name: str, what: str, weight: Operand | None, shape: tuple[int, ...]) -> Any:
    """A weight, if there is one, that repeats to a shape."""
    if weight is None:
        return None
    w = floats(name, weight)
    own = w.array.shape
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(own[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name} expects a {what} that broadcasts to {list(shape)}, got {list(own)}")
    if w.requires_grad:
        raise ValueError(f"{name} has no gradient for its {what}; detach() it")
    return w


def together(*operands: Any) -> Any:
    """Some tensors (or None) in the type in which they meet."""
    tensors = [x for x in operands if x is not None]
    if len({x.array.dtype for x in tensors}) > 1:
        tensors = promote(*tensors)
    given = iter(tensors)
    return [None if x is None else next(given) for x in operands]


def scale_of(reduction: str, shape: tuple[int, ...], rows: int = 1) -> float | None:
    """What the sum of losses of a shape is multiplied by, or None for losses one by one."""
    if reduction in ("none", "sum"):
        return None if reduction == "none" else 1.0
    return 1 / ((math.prod(shape) if reduction == "mean" else rows) or math.nan)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def check_reduction(
    name: str,
    reduction: str,
    size_average: Any = None,
    reduce: Any = None,
    known: tuple[str, ...] = ("mean", "sum", "none"),
) -> None:
    gone = size_average is not None or reduce is not None
    if gone or reduction not in known:
        names = ", ".join([repr(r) for r in known[:-1]]) + f" or {known[-1]!r}"
        if gone:
            raise ValueError(f"{name}: size_average and reduce have gone; say reduction={names}")
        raise ValueError(f"{name} expects reduction={names}, got {reduction!r}")


CrossEntropyLoss = stateless("CrossEntropyLoss", cross_entropy, shown="")
NLLLoss = stateless("NLLLoss", nll_loss, shown="")
MSELoss = stateless("MSELoss", mse_loss, shown="", size_average=None, reduce=None, reduction="mean")
L1Loss = stateless("L1Loss", l1_loss, shown="", size_average=None, reduce=None, reduction="mean")
SmoothL1Loss = stateless("SmoothL1Loss", smooth_l1_loss, shown="")
HuberLoss = stateless("HuberLoss", huber_loss, shown="", reduction="mean", delta=1.0)
BCELoss = stateless("BCELoss", binary_cross_entropy, shown="")
BCEWithLogitsLoss = stateless("BCEWithLogitsLoss", binary_cross_entropy_with_logits, shown="")
KLDivLoss = stateless("KLDivLoss", kl_div, shown="")

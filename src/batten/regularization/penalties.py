"""Penalties, which are added to a loss (Tikhonov 1943; Hoerl & Kennard 1970; Tibshirani 1996; Zou & Hastie 2005).

    L1              λ‖θ‖₁                       gradient λ sign θ, 0 at 0
    L2              λ‖θ‖²                       gradient 2λθ
    ElasticNet      l1‖θ‖₁ + l2‖θ‖²
    GroupLasso      λ Σ ‖w_g‖₂                  gradient λ w_g / ‖w_g‖₂, 0 where w_g is 0
    Orthogonal      λ Σ ‖W Wᵀ - I‖²             gradient 4λ (W Wᵀ - I) W

Each is one operation of all parameters that it is of.  Forward reads them once, and makes no copies; sums are taken in
double.  Backward goes last, when the loss has left its gradients, and adds to these: it reads the parameters once more.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import Operation
from ..nn.kinds import typename
from ..operations.families import copied
from .parameters import Parameters, Where, chosen

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["L1", "L2", "ElasticNet", "GroupLasso", "OrthogonalPenalty", "Penalty"]

Arrays = Sequence[np.ndarray]


class PenaltyOperation(Operation):
    """A number made of many arrays, whose gradients are added to what is there."""

    __slots__ = ("ws",)
    adds = True

    ws: Arrays  # one for each input, without gaps

    def keep(self, ws: Arrays) -> list[np.ndarray]:
        """Keeps the arrays for backward, with copies of those that have gaps."""
        self.ws = [w if kernels.lie_alike([w], [w]) else kernels.copy(kernels.empty_like(w), w) for w in ws]
        return self.ws

    def prepare(self, there: Sequence[np.ndarray | None]) -> tuple[list[int], list[np.ndarray], np.ndarray]:
        """Which inputs want a gradient, where each is put, and 1 where it is added to what is there, else 0."""
        wanted = [k for k, needed in enumerate(self.needs_input_grad) if needed]
        grads: list[np.ndarray] = []
        add = np.zeros(len(wanted), np.uint8)
        for place, k in enumerate(wanted):
            w, before = self.ws[k], there[k]
            if before is not None and kernels.lie_alike([w], [before]):
                add[place] = 1
                grads.append(before)
            else:
                grads.append(kernels.empty_like(w))
        return wanted, grads, add

    def spread(self, wanted: Sequence[int], grads: Sequence[np.ndarray]) -> tuple[np.ndarray | None, ...]:
        """The gradients of all inputs, from those of the wanted ones."""
        results: list[np.ndarray | None] = [None] * len(self.needs_input_grad)
        for k, dw in zip(wanted, grads, strict=True):
            results[k] = dw
        return tuple(results)


class ElasticOperation(PenaltyOperation):
    """y = l1 Σ|w| + l2 Σw²"""

    __slots__ = ("l1", "l2")

    l1: float
    l2: float

    def forward(self, *ws: np.ndarray) -> np.ndarray:
        return kernels.elastic_penalty(kernels.empty((), ws[0].dtype), self.keep(ws), self.l1, self.l2)

    def backward(self, dy: np.ndarray, there: Sequence[np.ndarray | None]) -> Any:
        if self.l1 == self.l2 == 0:
            return (None,) * len(there)
        wanted, grads, add = self.prepare(there)
        scale = dy.item()
        kernels.elastic_penalty_backward(grads, [self.ws[k] for k in wanted], add, scale * self.l1, scale * self.l2)
        return self.spread(wanted, grads)


class GroupOperation(PenaltyOperation):
    """y = Σ factors[k] ‖w_g‖ over the groups of each array, one for each index along an axis"""

    __slots__ = ("dim", "factors", "norms")

    factors: np.ndarray
    dim: int

    def forward(self, *ws: np.ndarray) -> np.ndarray:
        self.norms = np.empty(sum(w.shape[self.dim] for w in ws))
        return kernels.group_penalty(kernels.empty((), ws[0].dtype), self.norms, self.keep(ws), self.factors, self.dim)

    def backward(self, dy: np.ndarray, there: Sequence[np.ndarray | None]) -> Any:
        wanted, grads, add = self.prepare(there)
        norms = self.norms
        if len(wanted) < len(self.ws):
            each = np.split(norms, np.cumsum([w.shape[self.dim] for w in self.ws])[:-1])
            norms = np.concatenate([each[k] for k in wanted])
        factors = self.factors[wanted] * dy.item()
        kernels.group_penalty_backward(grads, norms, [self.ws[k] for k in wanted], add, factors, self.dim)
        return self.spread(wanted, grads)


class OrthogonalOperation(PenaltyOperation):
    """y = scale Σ‖W Wᵀ - I‖², or of WᵀW where that is the smaller matrix; dW = 4 scale (W Wᵀ - I) W"""

    __slots__ = ("excess", "scale")

    scale: float
    excess: list[np.ndarray]  # W Wᵀ - I, or WᵀW - I, of each

    def forward(self, *ws: np.ndarray) -> np.ndarray:
        self.excess = []
        for w in self.keep([w if rows_of(w).flags.c_contiguous else copied(w) for w in ws]):
            m = matrix_of(w)
            short = m if len(m) <= m.shape[1] else m.T
            gram = kernels.gemm(kernels.empty((len(short), len(short)), w.dtype), short, short.T)
            gram.reshape(-1)[:: len(short) + 1] -= 1
            self.excess.append(gram)
        squares = kernels.power_sums(np.empty(len(ws)), self.excess, 2)
        return np.full((), self.scale * squares.sum(), ws[0].dtype)

    def backward(self, dy: np.ndarray, there: Sequence[np.ndarray | None]) -> Any:
        wanted, grads, add = self.prepare(there)
        for k, dw, added in zip(wanted, grads, add, strict=True):
            excess, m = self.excess[k], matrix_of(self.ws[k])
            a, b = (excess, m) if len(m) <= m.shape[1] else (m, excess)
            kernels.gemm(matrix_of(dw), a, b, alpha=4 * self.scale * dy.item(), beta=float(added))
        return self.spread(wanted, grads)


def rows_of(w: np.ndarray) -> np.ndarray:
    """w with all axes behind the first in the order in which they lie in memory: as W is multiplied by itself, that
    of its columns says nothing."""
    return w.transpose(0, *sorted(range(1, w.ndim), key=lambda axis: -w.strides[axis]))


def matrix_of(w: np.ndarray) -> np.ndarray:
    """(length of the first axis, all others) of an array whose rows are each in one piece."""
    return rows_of(w).reshape(w.shape[0], math.prod(w.shape[1:]))


class Penalty:
    """A number, at least 0, of the parameters of a model, to be added to a loss.

    It is called with a module, a tensor, or an iterable of tensors or of pairs (name, tensor).  Of these it takes those
    for which where(name, parameter) holds.  Without `where` it takes weights: all with two or more axes, and of a
    module not those of its normalization layers.  One that is shared counts once, and a frozen one counts as well, but
    gets no gradient.  The result is a scalar tensor on the tape, of the parameters' type.

    A subclass defines `of` for a list of tensors of one type.

    TypeError if a parameter holds no floats, and ValueError if there is none, as a penalty of nothing is a mistake.
    """

    def __init__(self, where: Where) -> None:
        check_where(self, where)
        self.where = where

    def of(self, weights: list[Tensor]) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define of(weights)")

    def __call__(self, params: Parameters) -> Tensor:
        types: dict[np.dtype, list[Tensor]] = {}
        for _, w in chosen(params, self.where, weights=True):
            types.setdefault(w.array.dtype, []).append(w)
        first, *others = [self.of(weights) for weights in types.values()]
        return sum(others, first)

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        return shown(self, self.extra_repr(), self.where)


class L1(Penalty):
    """λ‖θ‖₁ = λ Σ|θᵢ| (Tibshirani 1996, "Regression Shrinkage and Selection via the Lasso").

    Its gradient λ sign θ, 0 at 0, is as large for small weights as for large ones, and so some become 0.

    ValueError unless lambda_ is finite and at least 0.  Which parameters it is of says `Penalty`.

    >>> import batten
    >>> w = batten.tensor([[1.0, -2.0, 0.0]], requires_grad=True)
    >>> penalty = L1(0.5)
    >>> penalty(w).backward()
    >>> penalty(w).item(), w.grad.tolist()
    (1.5, [[0.5, -0.5, 0.0]])
    """

    def __init__(self, lambda_: float, *, where: Where = None) -> None:
        super().__init__(where)
        self.lambda_ = strength(self, "lambda_", lambda_)

    def of(self, weights: list[Tensor]) -> Tensor:
        return ElasticOperation.apply(*weights, l1=self.lambda_, l2=0.0)

    def extra_repr(self) -> str:
        return f"{self.lambda_}"


class L2(Penalty):
    """λ‖θ‖² = λ Σ θᵢ², or with half=True half of that (Hoerl & Kennard 1970, "Ridge Regression").

    Its gradient is 2λθ: with a loss it is what weight_decay=2λ makes of the gradient in an optimizer, which costs
    nothing there.

    ValueError unless lambda_ is finite and at least 0.  Which parameters it is of says `Penalty`.

    >>> from batten import nn
    >>> model = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(model.weight, 3.0)
    >>> L2(0.01)(model)  # the bias is none of its business
    tensor(0.1800, grad_fn=<ElasticOperationBackward0>)
    >>> L2(0.01, half=True)(model).item() == L2(0.005)(model).item()
    True
    """

    def __init__(self, lambda_: float, *, half: bool = False, where: Where = None) -> None:
        super().__init__(where)
        self.lambda_, self.half = strength(self, "lambda_", lambda_), bool(half)

    def of(self, weights: list[Tensor]) -> Tensor:
        return ElasticOperation.apply(*weights, l1=0.0, l2=self.lambda_ / 2 if self.half else self.lambda_)

    def extra_repr(self) -> str:
        return f"{self.lambda_}, half=True" if self.half else f"{self.lambda_}"


class ElasticNet(Penalty):
    """l1‖θ‖₁ + l2‖θ‖², or with half=True half of the second term (Zou & Hastie 2005, "Regularization and Variable
    Selection via the Elastic Net").

    ValueError unless l1 and l2 are finite and at least 0.  Which parameters it is of says `Penalty`.

    >>> import batten
    >>> ElasticNet(l1=1.0, l2=0.5)(batten.tensor([[1.0, -2.0]]))
    tensor(5.5000)
    """

    def __init__(self, l1: float, l2: float, *, half: bool = False, where: Where = None) -> None:
        super().__init__(where)
        self.l1, self.l2, self.half = strength(self, "l1", l1), strength(self, "l2", l2), bool(half)

    def of(self, weights: list[Tensor]) -> Tensor:
        return ElasticOperation.apply(*weights, l1=self.l1, l2=self.l2 / 2 if self.half else self.l2)

    def extra_repr(self) -> str:
        return f"l1={self.l1}, l2={self.l2}" + (", half=True" if self.half else "")


class GroupLasso(Penalty):
    """λ Σ ‖w_g‖₂ over groups of weights, one for each index along axis `dim` of each parameter; with scaled=True
    λ Σ √|g| ‖w_g‖₂, |g| weights in g, which lets large groups and small ones weigh alike (Yuan & Lin 2006, "Model
    Selection and Estimation in Regression with Grouped Variables", whose form this is).

    With dim=0 a group is all that goes into a unit of Linear or a filter of a convolution, with dim=1 all that comes
    from a unit or channel.  The gradient of a group is λ w_g / ‖w_g‖₂, as long for small groups as for large ones, and
    so whole units become 0; that of a group which is 0 is taken as 0.

    ValueError unless lambda_ is finite and at least 0, and if a parameter has no such axis.  Which parameters it is of
    says `Penalty`.

    >>> import batten
    >>> w = batten.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    >>> penalty = GroupLasso(0.5)(w)
    >>> penalty.backward()
    >>> penalty.item(), w.grad.tolist()
    (2.5, [[0.30000001192092896, 0.4000000059604645], [0.0, 0.0]])
    """

    def __init__(self, lambda_: float, dim: int = 0, *, scaled: bool = False, where: Where = None) -> None:
        super().__init__(where)
        self.lambda_, self.dim, self.scaled = strength(self, "lambda_", lambda_), operator.index(dim), bool(scaled)

    def of(self, weights: list[Tensor]) -> Tensor:
        ranks: dict[int, list[Tensor]] = {}  # an axis that is counted from the end is another one
        for w in weights:
            if not -w.ndim <= self.dim < w.ndim:
                raise ValueError(f"GroupLasso expects parameters with an axis {self.dim}, got {list(w.shape)}")
            ranks.setdefault(self.dim % w.ndim, []).append(w)
        first, *others = [self.along(dim, ws) for dim, ws in ranks.items()]
        return sum(others, first)

    def along(self, dim: int, weights: list[Tensor]) -> Tensor:
        if self.lambda_ == 0:
            return nothing(weights)
        sizes = [w.array.size // max(1, w.array.shape[dim]) for w in weights]
        factors = np.array([self.lambda_ * (math.sqrt(size) if self.scaled else 1) for size in sizes])
        return GroupOperation.apply(*weights, dim=dim, factors=factors)

    def extra_repr(self) -> str:
        return f"{self.lambda_}, dim={self.dim}" + (", scaled=True" if self.scaled else "")


class OrthogonalPenalty(Penalty):
    """λ Σ ‖W Wᵀ - I‖² over all parameters W, as matrices (length of the first axis, all others); of matrices with more
    rows than columns WᵀW takes the place of W Wᵀ (Brock et al. 2017, "Neural Photo Editing with Introspective
    Adversarial Networks"; Bansal et al. 2018, "Can We Gain More from Orthogonality Regularizations").

    It is 0 where the rows of each matrix, or its columns, are orthogonal and of length 1: such a layer keeps the
    lengths of what goes through it, forward or backward.  The smaller matrix is all that can become I; with the larger
    one, the sum of squares would be larger by the difference of rows and columns, whatever W.

    ValueError unless lambda_ is finite and at least 0, and if a parameter has no axes.  Which parameters it is of says
    `Penalty`.

    >>> import batten
    >>> OrthogonalPenalty(1.0)(batten.tensor([[0.6, 0.8], [-0.8, 0.6]])).item() < 1e-12
    True
    >>> OrthogonalPenalty(1.0)(batten.tensor([[1.0, 1.0]]))
    tensor(1.)
    """

    def __init__(self, lambda_: float, *, where: Where = None) -> None:
        super().__init__(where)
        self.lambda_ = strength(self, "lambda_", lambda_)

    def of(self, weights: list[Tensor]) -> Tensor:
        if self.lambda_ == 0:
            return nothing(weights)
        if any(w.ndim == 0 for w in weights):
            raise ValueError("OrthogonalPenalty expects parameters with at least one axis, got []")
        return OrthogonalOperation.apply(*weights, scale=self.lambda_)

    def extra_repr(self) -> str:
        return f"{self.lambda_}"


def check_where(owner: object, where: Where) -> None:
    if where is not None and not callable(where):
        name = type(owner).__name__
        raise TypeError(f"{name} expects where to be None or a function of (name, parameter), got {typename(where)}")


def shown(owner: object, options: str, where: Where) -> str:
    chosen_by = "" if where is None else f", where={getattr(where, '__qualname__', where)}"
    return f"{type(owner).__name__}({options}{chosen_by})"


def strength(penalty: Penalty, name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{type(penalty).__name__} expects a finite {name} >= 0, got {value}")
    return value


def nothing(weights: list[Tensor]) -> Tensor:
    """A penalty that weighs nothing: 0, which no gradient comes from, whatever the weights."""
    return ElasticOperation.apply(*weights, l1=0.0, l2=0.0)

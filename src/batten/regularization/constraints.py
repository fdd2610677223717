"""Hard constraints: minimization over a set of parameters, min L(θ) subject to θ in the set.

After each step of an optimizer its parameters are moved to the nearest point of the set, in the Euclidean norm:

    P(θ) = argmin over z in the set of ‖z - θ‖

    constraint.attach(optimizer)                    until the handle that is returned is removed
    optim.Projected(optimizer, constraint)          an optimizer with the constraint in it
    constraint.project(model)                       once, by hand

The projections are exact.  They leave a point of the set as it is, bit by bit, and one that is beside it by no more
than rounding, so that projecting twice is projecting once.  Where a norm is NaN or infinite no point is nearest: such
parameters, or such groups of them, stay as they are, for everybody to see.

`MaxNorm`, `UnitNorm` and `Simplex` are for groups of weights, one for each index along an axis `dim`, as in PyTorch's
`renorm` and `weight_norm`.  With dim=0 a group is what comes into a unit of a Linear, or a filter of a Conv.  Negative
axes count from the end.  ValueError for a parameter without such an axis.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from .after_step import AfterStep, Batch, Named, by_type, number
from .parameters import Parameters, Where, chosen

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["Box", "L1Ball", "L2Ball", "MaxNorm", "NonNegative", "Simplex", "UnitNorm"]

Arrays = list[np.ndarray]

SAMPLE = 4096  # elements from which the l1 ball's threshold is guessed


# ---- balls, of all parameters together ----


class L2Ball(AfterStep):
    """‖θ‖² <= r, over all parameters together: a ball of radius √r.  P(θ) = θ min(1, √(r / ‖θ‖²)).

    θ is all parameters, biases too, or those that `where` chooses.  For convex L this is the hard form of the penalty
    λ‖θ‖²: the minimum of L in the ball is also that of L + λ*‖θ‖² anywhere, with the λ* that `multiplier` finds (Karush
    1939; Kuhn & Tucker 1951).

    ValueError unless r is finite and at least 0.

    >>> import batten
    >>> w = batten.tensor([3.0, 4.0])
    >>> L2Ball(4).project(w)
    >>> w
    tensor([1.2000, 1.6000])
    """

    options = ("r",)

    def __init__(self, r: float, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.r = number(self, "r", r)
        self.projected: list[Tensor] = []  # the last time

    def change(self, params: Named) -> None:
        self.projected = [parameter for _, parameter in params]
        batches = by_type(params)
        size = squares(batches)
        if self.r * (1 + slack(batches)) < size < math.inf:
            for batch in batches:
                kernels.scale_all(batch.arrays, math.sqrt(self.r / size))
                batch.put_back()

    def multiplier(self, params: Parameters = None) -> float:
        """λ* = max(0, -⟨g, θ⟩ / (2‖θ‖²)) on the sphere, 0 inside; g in `.grad` is to be the gradient over all data.

        θ is what was projected last, which is after each step the parameters of the optimizer that this is attached
        to; or it is `params`.  At the minimum of L in the ball g = -2 λ* θ, so that L + λ*‖θ‖² has no slope there.  On
        the way to it, λ* is the least squares fit.  A parameter without gradient has one of nought.  On the sphere is
        what is no further from it than the rounding of a projection.  No λ makes up for r = 0, where λ* is infinite.

        RuntimeError if nothing was projected, or no parameter has a gradient.

        >>> import batten
        >>> ball, w = L2Ball(4), batten.tensor([3.0, 4.0], requires_grad=True)
        >>> ball.project(w)
        >>> ((w - batten.tensor([3.0, 4.0])) ** 2).sum().backward()
        >>> round(ball.multiplier(), 4)
        1.5
        """
        found = self.projected if params is None else [p for _, p in chosen(params, self.where)]
        if not found:
            raise RuntimeError(
                "L2Ball.multiplier() is of the parameters that were projected last, and none were: attach the "
                "constraint to an optimizer and make a step, or name the parameters"
            )
        gradients = [(p.array, p.gradient.array) for p in found if p.gradient is not None]
        if not gradients:
            raise RuntimeError(
                "L2Ball.multiplier() needs the gradient of the loss over all data in .grad, and there is none"
            )
        batches = by_type([("", p) for p in found])
        size = squares(batches)
        if size < self.r * (1 - slack(batches)):
            return 0.0
        slope = math.fsum(float(np.multiply(g, w, dtype=np.float64).sum()) for w, g in gradients)
        if size == 0:
            return math.inf if any(g.any() for _, g in gradients) else 0.0
        return max(0.0, -slope / (2 * size))


class L1Ball(AfterStep):
    """‖θ‖₁ <= r, over all parameters together.  P(θ) = sign(θ) max(|θ| - t, 0), with the t for which the norm is r.

    θ is all parameters, or those that `where` chooses.  What is below t becomes 0 (Duchi, Shalev-Shwartz, Singer &
    Chandra, "Efficient Projections onto the ℓ1-Ball for Learning in High Dimensions", ICML 2008).  Nothing is sorted:
    t is the root of Σ max(|θ| - t, 0) - r, to which Newton's method leads from the root for a sample in a few passes.
    It ends when no further element falls below t, and is then exact (Condat, "Fast projection onto the simplex and the
    ℓ1 ball", Mathematical Programming 158, 2016, compares such methods).

    ValueError unless r is finite and at least 0.

    >>> import batten
    >>> w = batten.tensor([3.0, -2.0, 0.5])
    >>> L1Ball(2).project(w)
    >>> w
    tensor([ 1.5000, -0.5000,  0.0000])
    """

    options = ("r",)

    def __init__(self, r: float, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.r = number(self, "r", r)

    def change(self, params: Named) -> None:
        batches = by_type(params)
        lists = [batch.arrays for batch in batches]
        size, _ = excess(lists, 0)
        if self.r * (1 + slack(batches)) < size < math.inf:
            start = threshold([sample(lists, stride)], self.r / stride, 0)[0] if (stride := sparse(lists)) > 1 else 0
            t, missing = threshold(lists, self.r, start)
            for batch in batches:
                kernels.soft_threshold(batch.arrays, t, missing)
                batch.put_back()


# ---- each group by itself ----


def check_axis(constraint: MaxNorm | UnitNorm | Simplex, params: Named) -> None:
    for name, parameter in params:
        if constraint.dim is not None and not -parameter.array.ndim <= constraint.dim < parameter.array.ndim:
            raise ValueError(
                f"{type(constraint).__name__} expects parameters with an axis {constraint.dim}, "
                f"got {name} of shape {list(parameter.array.shape)}"
            )


class MaxNorm(AfterStep):
    """‖w‖ <= c for each group w of weights.  P(w) = w min(1, c / ‖w‖).

    The weights are parameters with two or more axes, of a model not those of normalizations, or what `where` chooses
    (Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15, 2014, with c from 3 to 4).  PyTorch's `renorm(2, dim, c)` divides by ‖w‖ + 1e-7 instead.

    ValueError unless c is finite and at least 0.

    >>> import batten
    >>> w = batten.tensor([[3.0, 4.0], [0.5, 0.0]])
    >>> MaxNorm(1).project(w)
    >>> w
    tensor([[0.6000, 0.8000],
            [0.5000, 0.0000]])
    """

    options = ("c", "dim")
    weights = True

    def __init__(self, c: float, dim: int = 0, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.c, self.dim = number(self, "c", c), axis(self, dim)

    def change(self, params: Named) -> None:
        check_axis(self, params)
        for batch in by_type(params):
            kernels.limit_norms(batch.arrays, self.dim, 0, self.c)
            batch.put_back()


class UnitNorm(AfterStep):
    """‖w‖ = 1 for each group w of weights.  P(w) = w / ‖w‖.

    The weights are parameters with two or more axes, of a model not those of normalizations, or what `where` chooses.
    The set is not convex.  All of it is equally near to w = 0, for which P(w) is 1 / √n in each of n elements.

    >>> import batten
    >>> w = batten.tensor([[3.0, 4.0], [0.5, 0.0]])
    >>> UnitNorm().project(w)
    >>> w
    tensor([[0.6000, 0.8000],
            [1.0000, 0.0000]])
    """

    options = ("dim",)
    weights = True

    def __init__(self, dim: int = 0, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.dim = axis(self, dim)

    def change(self, params: Named) -> None:
        check_axis(self, params)
        for batch in by_type(params):
            kernels.limit_norms(batch.arrays, self.dim, 1, 1)
            batch.put_back()


class Simplex(AfterStep):
    """w >= 0 and Σ w = 1 for each group w; with dim=None, each parameter is one.  P(w) = max(w - t, 0), with Σ = 1.

    The groups are of all parameters, or of those that `where` chooses.  t is exact, and found as by `L1Ball` (Michelot,
    "A finite algorithm for finding the projection of a point onto the canonical simplex of ℝⁿ", JOTA 50, 1986).

    >>> import batten
    >>> w = batten.tensor([1.0, 0.5, -2.0])
    >>> Simplex().project(w)
    >>> w
    tensor([0.7500, 0.2500, 0.0000])
    """

    options = ("dim",)

    def __init__(self, dim: int | None = None, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.dim = dim if dim is None else axis(self, dim)

    def change(self, params: Named) -> None:
        check_axis(self, params)
        arrays = [parameter.array for _, parameter in params]
        rows = [w[np.newaxis] if self.dim is None else np.moveaxis(w, self.dim, 0) for w in arrays]
        for batch in by_type(params, rows):
            kernels.simplex(batch.arrays)
            batch.put_back()


# ---- each element by itself ----


class Box(AfterStep):
    """lo <= θ <= hi, element by element; -inf and inf are no bounds.  P(θ) = min(max(θ, lo), hi).

    θ is all parameters, or those that `where` chooses.

    ValueError unless lo <= hi and there is a number between them.

    >>> import batten
    >>> w = batten.tensor([-3.0, 0.5, 2.0])
    >>> Box(-1, 1).project(w)
    >>> w
    tensor([-1.0000,  0.5000,  1.0000])
    """

    options: tuple[str, ...] = ("lo", "hi")

    def __init__(self, lo: float, hi: float, *, where: Where = None) -> None:
        super().__init__(where=where)
        if not all(isinstance(bound, numbers.Real) for bound in (lo, hi)) or not (lo <= hi and lo < math.inf > -hi):
            raise ValueError(f"{type(self).__name__} expects numbers lo <= hi, got {lo!r} and {hi!r}")
        self.lo, self.hi = lo, hi

    def change(self, params: Named) -> None:
        for batch in by_type(params):
            kernels.clamp_all(batch.arrays, self.lo, self.hi)
            batch.put_back()


class NonNegative(Box):
    """θ >= 0, element by element.  P(θ) = max(θ, 0).

    θ is all parameters, or those that `where` chooses.

    >>> import batten
    >>> w = batten.tensor([-3.0, 0.5])
    >>> NonNegative().project(w)
    >>> w
    tensor([0.0000, 0.5000])
    """

    options = ()

    def __init__(self, *, where: Where = None) -> None:
        super().__init__(0, math.inf, where=where)


# ---- what these are made of ----


def slack(batches: Sequence[Batch]) -> float:
    """How far rounding may leave a norm or a sum beside what it should be, by itself; as in ext/projection.c."""
    return 8 * max(float(np.finfo(batch.views[0].dtype).eps) for batch in batches)


def squares(batches: Sequence[Batch]) -> float:
    """‖θ‖²"""
    lists = [batch.arrays for batch in batches]
    size = sum(float(kernels.power_sums(np.empty(len(arrays)), arrays, 2).sum()) for arrays in lists)
    if size < math.inf:
        return size
    with np.errstate(over="ignore"):  # of float32, squares may be numbers in float64
        return sum(float(np.square(w, dtype=np.float64).sum()) for arrays in lists for w in arrays)


def excess(lists: Sequence[Arrays], t: float) -> tuple[float, float]:
    """Σ max(|θ| - t, 0), and of how many elements."""
    found = np.array([kernels.excess(np.empty(2), arrays, t) for arrays in lists])
    return found[:, 0].sum(), found[:, 1].sum()


def threshold(lists: Sequence[Arrays], r: float, start: float) -> tuple[float, float]:
    """The t for which Σ max(|θ| - t, 0) = r, and what is missing of it by rounding."""
    if r == 0:
        return math.inf, 0
    t = start
    e, count = excess(lists, t)
    if e < r:  # the sum is convex: from beyond the root, Newton's method leads before it
        t = max(0, t + (e - r) / count) if count else 0
        e, count = excess(lists, t)
    if count == 0:  # a sample of noughts
        return 0, 0
    while True:
        step = (e - r) / count
        e, fewer = excess(lists, t + step)
        if fewer == 0:  # t is so large that r is lost in its rounding
            return t, step
        t += step
        if fewer >= count:
            return t, (e - r) / fewer
        count = fewer


def sparse(lists: Sequence[Arrays]) -> int:
    """Of so many elements a sample has one; less than 2 is that they are too few for it."""
    return sum(w.size for arrays in lists for w in arrays) // (4 * SAMPLE)


def sample(lists: Sequence[Arrays], stride: int) -> Arrays:
    """Of `stride` elements of each array the first, whatever the types."""
    return [w.ravel("K")[::stride].astype(np.float64) for arrays in lists for w in arrays]


def axis(kind: object, dim: Any) -> int:
    if not isinstance(dim, numbers.Integral) or isinstance(dim, bool):
        raise TypeError(f"{type(kind).__name__} expects dim as an int, got {dim!r}")
    return int(dim)

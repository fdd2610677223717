"""Hard constraints: minimization over a set of parameters, min L(θ) subject to θ in the set.

After each step of an optimizer its parameters are moved to the nearest point of the set, in the Euclidean norm:

    P(θ) = argmin over z in the set of ‖z - θ‖

    constraint.attach(optimizer)                    until the handle that is returned is removed
    optim.Projected(optimizer, constraint)          an optimizer with the constraint in it
    constraint.project(model)                       once, by hand

A point of the set is left as it is, bit by bit, and so is one that only rounding has put beside it: so the projection of
a projection changes nothing.  Results are in the set but for rounding, and are the same for any number of threads.  What has no
nearest point, as a norm or a parameter of it is not finite, is left as it is.

Which parameters: see `AfterStep`.  Groups are along an axis `dim`, as in PyTorch's `renorm` and `weight_norm`: one for
each index along it.  dim=0 is the incoming weights of each unit of a Linear, or of each filter of a Conv.  A negative
one counts from the end.  ValueError for a parameter without such an axis.
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

    Its weights are of all parameters, biases too, or of those that `where` chooses.  It is the hard form of the penalty
    λ‖θ‖²: where the minimum of L under the constraint is on the sphere, it is also the minimum of L + λ* ‖θ‖², without a
    constraint, for the λ* that `multiplier` finds (Karush-Kuhn-Tucker; for convex L).

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
        """λ* = max(0, -⟨g, θ⟩ / (2‖θ‖²)), where g in `.grad` is the gradient of the loss over all data; 0 inside of the ball.

        θ are the parameters that were projected last, after a step of the optimizer that this is attached to, or the
        given ones.  At the minimum under the constraint, g = -2 λ* θ, and so L + λ*‖θ‖² has no slope there.  Before, λ* is the
        best fit to that.  A parameter without gradient counts as one with a gradient of nought.  In
        the ball is what projections leave alone; for r = 0, which no penalty amounts to, λ* is infinite.

        RuntimeError if nothing was projected yet, or no parameter has a gradient.

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
            raise RuntimeError("L2Ball.multiplier() needs the gradient of the loss over all data in .grad, and there is none")
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

    The weights are of all parameters, or of those that `where` chooses.  Elements below t become 0: the fewer are left the
    smaller r is.  t is exact, and found without sorting, as the root of Σ max(|θ| - t, 0) - r by Newton's method: it
    starts at the root for a sample, and ends when no further element falls below t (Duchi, Shalev-Shwartz, Singer & Chandra,
    "Efficient Projections onto the ℓ1-Ball for Learning in High Dimensions", ICML 2008; Condat, "Fast projection onto the
    simplex and the ℓ1 ball", Mathematical Programming 158, 2016).

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


class Grouped(AfterStep):
    """Groups are along an axis, or with None each parameter as a whole."""

    dim: int | None

    def batches(self, params: Named) -> list[Batch]:
        return by_type(params, [self.rows(name, parameter.array) for name, parameter in params])

    def rows(self, name: str, w: np.ndarray) -> np.ndarray:
        """A view whose first axis counts groups."""
        if self.dim is None:
            return w[np.newaxis]
        if not -w.ndim <= self.dim < w.ndim:
            raise ValueError(
                f"{type(self).__name__} expects parameters with an axis {self.dim}, got {name} of shape {list(w.shape)}"
            )
        return np.moveaxis(w, self.dim, 0)


class MaxNorm(Grouped):
    """‖w‖ <= c for each group w of weights.  P(w) = w min(1, c / ‖w‖).

    The weights are those with two or more axes, but for normalization layers, or what `where` chooses (Srivastava, Hinton,
    Krizhevsky, Sutskever & Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15,
    2014, in which c is from 3 to 4).  PyTorch's `renorm(2, dim, c)` is the same but for 1e-7, which it adds to ‖w‖.

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
        for batch in self.batches(params):
            kernels.limit_norms(batch.arrays, 0, self.c)
            batch.put_back()


class UnitNorm(Grouped):
    """‖w‖ = 1 for each group w of weights.  P(w) = w / ‖w‖.

    The weights are those with two or more axes, but for normalization layers, or what `where` chooses.  The set is not convex:
    to w = 0 all of it is equally near, and P(0) has equal elements, 1 / √n each.

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
        for batch in self.batches(params):
            kernels.limit_norms(batch.arrays, 1, 1)
            batch.put_back()


class Simplex(Grouped):
    """w >= 0 and Σ w = 1 for each group w, or with dim=None for each parameter.  P(w) = max(w - t, 0), with t for Σ w = 1.

    All parameters are such, or those that `where` chooses.  t is exact, and found as for `L1Ball` (Michelot, "A finite
    algorithm for finding the projection of a point onto the canonical simplex of ℝⁿ", JOTA 50, 1986).

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
        for batch in self.batches(params):
            kernels.simplex(batch.arrays)
            batch.put_back()


# ---- each element by itself ----


class Box(AfterStep):
    """lo <= θ <= hi, element by element; -inf and inf are no bounds.  P(θ) = min(max(θ, lo), hi).

    The elements are of all parameters, or of those that `where` chooses.

    ValueError unless lo <= hi and there is a number between them.

    >>> import batten
    >>> w = batten.tensor([-3.0, 0.5, 2.0])
    >>> Box(-1, 1).project(w)
    >>> w
    tensor([-1.0000,  0.5000,  1.0000])
    """

    options = ("lo", "hi")

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

    The elements are of all parameters, or of those that `where` chooses.

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
    # There may be squares beyond float32.
    return sum(float(np.square(w, dtype=np.float64).sum()) for arrays in lists for w in arrays)


def excess(lists: Sequence[Arrays], t: float) -> tuple[float, float]:
    """Σ max(|θ| - t, 0), and of how many elements."""
    found = np.array([kernels.excess(np.empty(2), arrays, t) for arrays in lists])
    return found[:, 0].sum(), found[:, 1].sum()


def threshold(lists: Sequence[Arrays], r: float, start: float) -> tuple[float, float]:
    """The root of Σ max(|θ| - t, 0) = r < ‖θ‖₁ in two numbers, t and what is missing of it."""
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
    """Of how many elements a sample has one, if there are so many that it is worth it."""
    return sum(w.size for arrays in lists for w in arrays) // (4 * SAMPLE)


def sample(lists: Sequence[Arrays], stride: int) -> Arrays:
    """Every so manieth element of the arrays, whatever their types."""
    return [w.ravel("K")[::stride].astype(np.float64) for arrays in lists for w in arrays]


def axis(kind: object, dim: Any) -> int:
    if not isinstance(dim, numbers.Integral) or isinstance(dim, bool):
        raise TypeError(f"{type(kind).__name__} expects dim as an int, got {dim!r}")
    return int(dim)

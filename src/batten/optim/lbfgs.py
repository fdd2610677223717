"""L-BFGS: Newton's method, with the inverse of the Hessian told from the last steps.

A step s that changed the gradient by y says of the Hessian B that B s = y.  The inverse H that
does so for the last m steps, and differs least from a multiple of the identity, is never formed; its
product with a gradient g takes two loops over these steps (Nocedal & Wright, "Numerical Optimization",
2nd edition, 2006, Algorithm 7.4):

    q = g;  for the steps from the last to the first:   a = ρ sᵀq,   q = q - a y,     ρ = 1 / yᵀs
    r = γ q;  for the steps from the first to the last:  b = ρ yᵀr,   r = r + (a - b) s,  γ = sᵀy / yᵀy  (7.20)

The next step is t d with d = -r.  Its length t is the learning rate, or is searched for until it meets
the strong Wolfe conditions (3.7), for f along d as a function φ of t:

    φ(t) ≤ φ(0) + c1 t φ'(0),      |φ'(t)| ≤ c2 |φ'(0)|

The method is of Liu & Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization"
(Mathematical Programming 45, 1989).  When the steps end, and how a search goes on from one length to the
next, is as in PyTorch, and goes back to M. Schmidt's minFunc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _kernels as kernels
from ..autograd import enable_grad, no_grad, wrap
from .lists import Arrays, laid_out_like, settle, without_gaps
from .optimizer import Optimizer, check_number

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["LBFGS"]

NUMBERS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")
VECTORS = ("d", "prev_flat_grad")
LISTS = ("old_dirs", "old_stps", "ro", "al")  # of vectors y and s, and of numbers


class LBFGS(Optimizer):
    """w += t d, where d = -H g and H is near the inverse of the Hessian (Liu & Nocedal 1989).

    `step(closure)` makes up to `max_iter` such steps.  `closure` clears the gradients, computes the loss, goes
    backward, and returns the loss; it is called about `max_eval` times at most, by default 5/4 of max_iter.
    H is told from the last `history_size` steps, each of which takes twice the memory of the parameters.
    t is the learning rate, in the very first step times 1 / ‖g‖₁ if that is less than 1; with
    `line_search_fn="strong_wolfe"` it begins there, and changes until t d meets the strong Wolfe conditions.

    It ends when no element of the gradient exceeds `tolerance_grad`, when the loss or all parameters change by
    no more than `tolerance_change`, and at a gradient that is not finite, along which PyTorch would go.
    The loss must be the same function in each call: neither noise nor batches.  All parameters are one group,
    ValueError if there are more, and have one state, which is kept as that of the first.

    >>> import batten
    >>> w = batten.tensor([-1.0, 2.0], requires_grad=True)
    >>> optimizer = batten.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2  # Rosenbrock's valley
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     loss = optimizer.step(closure)
    >>> w
    tensor([1.0000, 1.0000], requires_grad=True)
    """

    needs_closure = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        check_number("lr", options["lr"], "learning rate")
        if not options["history_size"] >= 1:
            raise ValueError(f"Invalid history_size: {options['history_size']}")
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        super().add_param_group(param_group)

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Steps until the loss is least, or max_iter times; returns what closure returned first."""
        group = self.param_groups[0]
        self.check(group)
        params, lr = group["params"], float(group["lr"])
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate() -> tuple[Any, Tensor]:
            with enable_grad():
                loss = closure()
            return loss, flat_gradient(params)

        first_loss, g = evaluate()
        f, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        if largest(g) <= group["tolerance_grad"]:
            return first_loss

        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                state.update(d=-g, old_dirs=[], old_stps=[], ro=[], H_diag=1)
                t = lr / max(1.0, kernels.power_sums(np.empty(1), [g.array], 1).item())
            else:
                remember(state, g, group["history_size"])
                state["d"] = direction(state, g, group["history_size"])
                t = lr
            d, before = state["d"], f
            state.update(t=t, prev_flat_grad=g, prev_loss=f)
            slope = dot(g, d)
            if not -math.inf < slope <= -group["tolerance_change"]:
                break

            if group["line_search_fn"] is None:
                move(params, t, d)
                if iteration == group["max_iter"]:  # where a batch is another next time, this loss would be of no use
                    break
                loss, g = evaluate()
                f, calls = float(loss), 1
            else:
                phi, start = line(params, d, evaluate), Point(0.0, f, slope, g)
                limit = group["max_eval"] - evaluations
                (t, f, _, g), calls = strong_wolfe(phi, start, t, largest(d), group["tolerance_change"], limit)
                state["t"] = t
                move(params, t, d)

            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or largest(g) <= group["tolerance_grad"]
                or largest(d) * t <= group["tolerance_change"]
                or abs(f - before) < group["tolerance_change"]
            ):
                break
        return first_loss

    def load_state(self, index: Any, parameter: Tensor, values: Any) -> dict[str, Any]:
        """The state from a state_dict: numbers as such, vectors in the type of the parameters."""
        if not isinstance(values, Mapping) or (unknown := set(values) - {*NUMBERS, *VECTORS, *LISTS}):
            raise ValueError(
                f"LBFGS expects a dict of {', '.join([*NUMBERS, *VECTORS, *LISTS])} as its state, "
                f"got {sorted(unknown) if isinstance(values, Mapping) else type(values).__name__}"
            )
        arrays = [p.array for p in self.param_groups[0]["params"]]
        model = np.empty(sum(w.size for w in arrays), np.result_type(*arrays))

        def vector(what: str, value: Any) -> Tensor:
            return wrap(self.copied(what, model, np.asarray(value)))

        state: dict[str, Any] = {}
        for key, value in values.items():
            if value is None:  # of a step that ended before there was one
                continue
            if key in VECTORS:
                state[key] = vector(key, value)
            elif key in ("old_dirs", "old_stps"):
                state[key] = [vector(key, x) for x in value]
            elif key in LISTS:
                state[key] = [None if x is None else float(x) for x in value]
            else:
                state[key] = int(value) if key in ("func_evals", "n_iter") else float(value)
        if len({len(state.get(key, ())) for key in ("old_dirs", "old_stps", "ro")}) > 1:
            raise ValueError("LBFGS expects as many old_dirs as old_stps and ro")
        if state.get("n_iter") and (missing := {*NUMBERS, *VECTORS, *LISTS} - {"al"} - set(state)):
            raise ValueError(f"LBFGS finds no {', '.join(sorted(missing))} in its state")
        return state


# ---- a step's direction ----


def remember(state: dict[str, Any], g: Tensor, history_size: int) -> None:
    """Takes the last step s, and y, by which it changed the gradient, into H: if yᵀs > 0, so that H stays positive."""
    y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
    ys = dot(y, s)
    if not ys > 1e-10:
        return
    while len(state["ro"]) >= history_size:
        for name in ("old_dirs", "old_stps", "ro"):
            state[name].pop(0)
    state["old_dirs"].append(y)
    state["old_stps"].append(s)
    state["ro"].append(1 / ys)
    state["H_diag"] = ys / dot(y, y)


def direction(state: dict[str, Any], g: Tensor, history_size: int) -> Tensor:
    """-H g by the two loops (Nocedal & Wright, Algorithm 7.4); as H is linear, they begin with -g."""
    steps = list(zip(state["old_stps"], state["old_dirs"], state["ro"], strict=True))
    state["al"] = al = [None] * history_size
    q = -g
    for i, (s, y, rho) in reversed(list(enumerate(steps))):
        al[i] = rho * dot(s, q)
        add([q.array], [y.array], -al[i])
    r = q * state["H_diag"]
    for a, (s, y, rho) in zip(al, steps, strict=False):
        b = rho * dot(y, r)
        add([r.array], [s.array], a - b)
    return r


# ---- its length ----


class Point(NamedTuple):
    """φ at t: value, slope, and the gradient of the parameters."""

    t: float
    f: float
    slope: float
    g: Tensor


def line(params: list[Tensor], d: Tensor, evaluate: Callable[[], tuple[Any, Tensor]]) -> Callable[[float], Point]:
    """φ, the loss at a distance along d from where the parameters are now, and will be after each call.

    A loss that is not a number counts as infinite: the step was too long.
    """
    start = [p.array.copy() for p in params]

    def phi(t: float) -> Point:
        move(params, t, d)
        loss, g = evaluate()
        settle(params, start)
        f = float(loss)
        return Point(t, math.inf if math.isnan(f) else f, dot(g, d), g)

    return phi


def strong_wolfe(
    phi: Callable[[float], Point], start: Point, t: float, length: float, tolerance: float, limit: int
) -> tuple[Point, int]:
    """A point that meets the strong Wolfe conditions, or the best one found, and how often φ was called.

    First t grows until there are points on both sides of such a one (Algorithm 3.5); then these draw near
    (Algorithm 3.6), until t d of that length is within the tolerance.  After the first call there are `limit` others.
    """
    c1, c2 = 1e-4, 0.9

    def too_high(point: Point) -> bool:
        return point.f > start.f + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, point, calls = start, phi(t), 0
    while calls < limit:
        if too_high(point) or (calls > 1 and point.f >= before.f):  # the book compares them for calls > 0
            break
        if flat(point):
            return point, calls + 1
        if point.slope >= 0:
            break
        t = cubic_minimum(before, point, point.t + 0.01 * (point.t - before.t), 10 * point.t)
        before, point, calls = point, phi(t), calls + 1
    ends = [start if calls == limit else before, point]
    low = int(ends[1].f < ends[0].f)
    near = done = False
    while not done and calls < limit and abs(ends[1].t - ends[0].t) * length >= tolerance:
        least, most = sorted((ends[0].t, ends[1].t))
        t = cubic_minimum(ends[0], ends[1], least, most)
        # At an end, or near one for the second time, t goes back by a tenth of what lies between them.
        margin, again = 0.1 * (most - least), near
        near = min(most - t, t - least) < margin
        if near and (again or not least < t < most):
            t = most - margin if most - t < t - least else least + margin
            near = False
        point, calls = phi(t), calls + 1
        if too_high(point) or point.f >= ends[low].f:
            ends[1 - low] = point
            low = int(ends[1].f < ends[0].f)
        else:
            done = flat(point)
            if not done and point.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = point
    return ends[low], calls + 1


def cubic_minimum(p: Point, q: Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is least (3.59), within bounds; or the bounds' middle."""
    if p.t > q.t:
        p, q = q, p
    if p.t < q.t:
        d1 = p.slope + q.slope - 3 * (p.f - q.f) / (p.t - q.t)
        square = d1 * d1 - p.slope * q.slope
        if 0 <= square < math.inf:
            d2 = math.sqrt(square)
            if divisor := q.slope - p.slope + 2 * d2:
                return min(max(q.t - (q.t - p.t) * ((q.slope + d2 - d1) / divisor), least), most)
    return (least + most) / 2


# ---- vectors of all parameters ----


def flat_gradient(params: Sequence[Tensor]) -> Tensor:
    """The gradients of all parameters in one vector; zeros where there is none."""
    grads = [np.zeros_like(p.array) if p.grad is None else p.grad.array for p in params]
    flat = kernels.empty((sum(g.size for g in grads),), np.result_type(*grads))
    return wrap(np.concatenate([g.reshape(-1) for g in grads], out=flat))


def move(params: Sequence[Tensor], t: float, d: Tensor) -> None:
    """w += t d"""
    begin = 0
    for p in params:
        w = without_gaps(p.array)
        piece = d.array[begin : begin + w.size].reshape(w.shape).astype(w.dtype, copy=False)
        add([w], [laid_out_like(w, piece)], t)
        settle([p], [w])
        begin += w.size


def add(arrays: Arrays, others: Arrays, factor: float) -> None:
    """x += factor y, which is a step of SGD, too"""
    kernels.sgd(arrays, others, None, None, -factor)


def dot(x: Tensor, y: Tensor) -> float:
    return kernels.dot_all(np.empty(1), [x.array], [y.array]).item()


def largest(x: Tensor) -> float:
    """The largest absolute value."""
    return kernels.power_sums(np.empty(1), [x.array], np.inf).item()

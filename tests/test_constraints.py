"""Constraints: their projections, and that they hold after each step of any optimizer."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten import _kernels as kernels
from batten import nn, optim
from batten.optim import Projected
from batten.regularization import L2, Shrink, constraints
from batten.regularization.constraints import Box, L1Ball, L2Ball, MaxNorm, NonNegative, Simplex, UnitNorm

SHAPES = [(4, 6), (3, 2, 3, 3), (1, 9), (5, 1), (40, 70)]
ROWS = (MaxNorm, UnitNorm, Simplex)


def norms(w, dim=0):
    x = np.moveaxis(w.astype(np.float64), dim, 0)
    return np.linalg.norm(x.reshape(len(x), -1), axis=1)


def total(arrays, p):
    return sum((np.abs(w.astype(np.float64)) ** p).sum() for w in arrays)


def drawn(rng, dtype, shapes=SHAPES, scale=1.0):
    return [np.asarray(scale * rng.standard_normal(s), dtype) for s in shapes]


def projected(constraint, arrays):
    tensors = [batten.tensor(w) for w in arrays]
    constraint.project(tensors)
    return [t.array for t in tensors]


# ---- members of each set, by other means than projection ----


def in_ball(r, p):
    def draw(rng, shapes):
        z = drawn(rng, np.float64, shapes)
        size = (r / total(z, p)) ** (1 / p) * rng.uniform() ** 0.1
        return [size * w for w in z]

    return draw


def in_groups(c, *, whole=False):
    """Groups of norm c, or some shorter ones."""

    def draw(rng, shapes):
        found = []
        for w in drawn(rng, np.float64, shapes):
            size = c * (1 if whole else rng.uniform(size=len(w)))
            found.append((w.reshape(len(w), -1).T / norms(w) * size).T.reshape(w.shape))
        return found

    return draw


def on_simplices(rng, shapes):
    return [rng.dirichlet(np.full(math.prod(s), 0.2)).reshape(s) for s in shapes]


def on_simplices_of_rows(rng, shapes):
    return [rng.dirichlet(np.full(math.prod(s[1:]), 0.2), s[0]).reshape(s) for s in shapes]


def in_box(lo, hi):
    return lambda rng, shapes: [rng.uniform(lo, hi, s) for s in shapes]


CONVEX = [
    (L2Ball(7), in_ball(7, 2), lambda x: total(x, 2) - 7),
    (L1Ball(5), in_ball(5, 1), lambda x: total(x, 1) - 5),
    (L1Ball(900), in_ball(900, 1), lambda x: total(x, 1) - 900),
    (MaxNorm(0.7), in_groups(0.7), lambda x: max(norms(w).max() for w in x) - 0.7),
    (NonNegative(), in_box(0, 3), lambda x: max(-w.min() for w in x)),
    (Box(-0.3, 0.2), in_box(-0.3, 0.2), lambda x: max(max(-0.3 - w.min(), w.max() - 0.2) for w in x)),
    (Box(-math.inf, 0.2), in_box(-3, 0.2), lambda x: max(w.max() for w in x) - 0.2),
    (
        Simplex(),
        on_simplices,
        lambda x: max(max(-w.min(), abs(w.astype(np.float64).sum() - 1)) for w in x),
    ),
    (
        Simplex(dim=0),
        on_simplices_of_rows,
        lambda x: max(max(-w.min(), abs(w.astype(np.float64).reshape(len(w), -1).sum(axis=1) - 1).max()) for w in x),
    ),
]
each_convex = pytest.mark.parametrize(("constraint", "draw", "outside"), CONVEX, ids=[repr(row[0]) for row in CONVEX])
ALL = [row[0] for row in CONVEX] + [UnitNorm(), MaxNorm(0.7, 1), UnitNorm(-1)]
each = pytest.mark.parametrize("constraint", ALL, ids=repr)


@each_convex
def test_the_projection_is_the_nearest_point(constraint, draw, outside, rng):
    """⟨x - P(x), z - P(x)⟩ <= 0 for all z of a convex set, and no other point has this; ‖P(x) - P(y)‖ <= ‖x - y‖."""
    for scale in (1e-2, 1.0, 1e3):
        x, y = drawn(rng, np.float64, scale=scale), drawn(rng, np.float64, scale=scale)
        p, q = projected(constraint, x), projected(constraint, y)
        for _ in range(50):
            z = draw(rng, SHAPES)
            assert outside(z) <= 1e-12, "the test's own point"
            angle = sum(((a - b) * (c - b)).sum() for a, b, c in zip(x, p, z, strict=True))
            assert angle <= 1e-10 * max(1, scale), scale
        apart = sum(((a - b) ** 2).sum() for a, b in zip(p, q, strict=True))
        assert apart <= (1 + 1e-12) * sum(((a - b) ** 2).sum() for a, b in zip(x, y, strict=True))


@each_convex
def test_what_is_in_the_set_is_left_bit_by_bit_and_what_was_not_is_in_it(constraint, draw, outside, dtype, rng, isa):
    eps = np.finfo(dtype).eps
    inside = [w.astype(dtype) for w in draw(rng, SHAPES)]
    assert [w.tobytes() for w in projected(constraint, inside)] == [w.tobytes() for w in inside]
    for scale in (1e-2, 1.0, 1e3, 1e12):
        once = projected(constraint, drawn(rng, dtype, scale=scale))
        assert outside(once) <= 8 * eps * max(1, getattr(constraint, "r", 1)), scale
        twice = projected(constraint, once)
        assert [w.tobytes() for w in twice] == [w.tobytes() for w in once], scale


def test_no_unit_vector_is_nearer(dtype, rng, isa):
    x = drawn(rng, dtype)
    p = projected(UnitNorm(), x)
    assert [w.tobytes() for w in projected(UnitNorm(), p)] == [w.tobytes() for w in p]
    for _ in range(50):
        for a, b, c in zip(x, p, in_groups(1, whole=True)(rng, SHAPES), strict=True):
            assert_allclose(norms(b), 1, rtol=4 * np.finfo(dtype).eps)
            assert (norms(a - b) <= norms(a - c) * (1 + 4 * np.finfo(dtype).eps)).all()


def test_no_direction_is_nearer_to_nought(dtype):
    w = batten.zeros(3, 16, dtype=getattr(batten, dtype.name))
    UnitNorm().project(w)
    assert_array_equal(w.array, np.full((3, 16), 0.25, dtype))


# ---- beside NumPy, and beside PyTorch ----


def soft(x, r):
    """The nearest point of the l1 ball of radius r, by sorting, as seen from the largest element to lose no digits."""
    size = np.abs(x.astype(np.longdouble))
    falling = np.sort(size - size.max())[::-1]
    t = (np.cumsum(falling) - r) / np.arange(1, len(x) + 1)
    t = t[(falling > t).sum() - 1]
    return (np.sign(x) * np.maximum(size - size.max() - t, 0) if size.sum() > r else x).astype(np.float64)


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_t(1.1, n),
    "equal": lambda rng, n: np.ones(n),
    "one large": lambda rng, n: np.where(np.arange(n) == n // 3, 100.0, 1e-3),
    "mostly noughts": lambda rng, n: rng.standard_normal(n) * (np.arange(n) % 97 == 0),
    "geometric": lambda rng, n: 1 - 0.5 ** (np.arange(n) % 50),
    "far from nought": lambda rng, n: 1e6 + rng.standard_normal(n),
    "nought where a sample is taken": lambda rng, n: rng.standard_normal(n) * (np.arange(n) % (n // 3 or 1) % 2),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_l1_ball_and_the_simplex_by_sorting(name, rng, dtype):
    for n in (1, 2, 3, 50, 4097, 40_003):
        x = DISTRIBUTIONS[name](rng, n).astype(dtype)
        bound = 4 * np.finfo(dtype).eps
        for r in (1e-3, 1.0, 0.3 * float(np.abs(x).sum()), 2 * float(np.abs(x).sum())):
            halves = projected(L1Ball(r), [x[: n // 3], x[n // 3 :]])
            p, expected = np.concatenate(halves), soft(x, r)
            # Where x is much larger than r, t has digits that double has not, and these the elements share.
            assert_allclose(
                p, expected.astype(np.float64), rtol=0, atol=bound * max(np.abs(expected).max(), 1e-9 * abs(x).max())
            )
            assert np.abs(p).sum(dtype=np.longdouble) <= r * (1 + 2 * bound)
        (p,) = projected(Simplex(), [x])
        shifted = soft(np.maximum(x.astype(np.longdouble) - x.max() + 2, 0), 1)  # what is more than 1 below falls out
        assert_allclose(p, shifted, rtol=0, atol=bound)


def test_the_l1_ball_takes_a_few_passes(rng, monkeypatch):
    """Each of which reads all elements once; and some over a sample."""
    passes, excess = [], constraints.excess

    def counted(lists, t):
        passes.append(sum(w.size for arrays in lists for w in arrays))
        return excess(lists, t)

    monkeypatch.setattr(constraints, "excess", counted)
    for name, draw in DISTRIBUTIONS.items():
        x = draw(rng, 200_000)
        for share in (0.5, 0.05, 1e-3):
            passes.clear()
            projected(L1Ball(share * np.abs(x).sum()), [x])
            assert passes.count(x.size) <= 12, name


def test_maxnorm_beside_torch(dtype, rng):
    """But for 1e-7, which renorm adds to the norms that it divides by."""
    torch = pytest.importorskip("torch")
    for shape in ((7, 33), (4, 3, 5, 5), (6, 2)):
        for dim in range(len(shape)):
            w = rng.standard_normal(shape).astype(dtype)
            expected = torch.renorm(torch.tensor(w), 2, dim, 1.5).numpy()
            assert_allclose(projected(MaxNorm(1.5, dim), [w])[0], expected, rtol=2e-7 + 4 * np.finfo(dtype).eps)


def layouts(w):
    """The same numbers, lying otherwise."""
    yield "C order", w.copy()
    yield "Fortran order", w.copy(order="F")
    axes = [0, *range(2, w.ndim), 1]
    yield "channels last", w.transpose(axes).copy().transpose(np.argsort(axes))
    wide = np.full((*w.shape[:-1], 2 * w.shape[-1]), 99, w.dtype)
    wide[..., ::2] = w
    yield "gaps", wide[..., ::2]
    yield "backwards", w[::-1].copy()[::-1]


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (4, 3), (2, 1, 6), (5, 7, 40), (0, 3), (3, 0)], ids=str)
def test_axes_and_layouts(shape, dtype, rng, isa):
    """All axes, of what lies in any order or with gaps, which no write falls into."""
    w, bound = rng.standard_normal(shape).astype(dtype), 4 * np.finfo(dtype).eps
    for dim in range(-len(shape), len(shape)):
        moved = np.moveaxis(w, dim, 0)
        rows = moved.reshape(len(moved), math.prod(moved.shape[1:]))
        for constraint in (MaxNorm(1.0, dim), UnitNorm(dim), Simplex(dim)):
            expected = np.array(
                [projected(type(constraint)(**{**vars(constraint), "dim": 0}), [row[None]])[0][0] for row in rows],
                dtype,
            ).reshape(moved.shape)
            for name, x in layouts(w):
                constraint.project(batten.from_numpy(x))
                found = np.moveaxis(x, dim, 0)
                assert_allclose(found, expected, rtol=bound, atol=bound, err_msg=f"{constraint} {name}")
                assert name != "gaps" or not x.size or (x.base[..., 1::2] == 99).all()
    for constraint in (L2Ball(2), L1Ball(2), NonNegative(), Shrink(0.5), Simplex()):
        (expected,) = projected(constraint, [w])
        for name, x in layouts(w):
            constraint.project(batten.from_numpy(x))
            assert_allclose(x, expected, rtol=bound, atol=bound, err_msg=f"{constraint} {name}")
            assert name != "gaps" or not x.size or (x.base[..., 1::2] == 99).all()


@each
def test_same_bits_for_any_number_of_threads(constraint, dtype, rng, threads):
    x = drawn(rng, dtype, [(300, 501), (3,), (7, 9001), (1, 70_000)])
    found = []
    for n in (1, 2, 3, 8):
        threads(n)
        found.append([w.tobytes() for w in projected(constraint, x)])
    assert all(bits == found[0] for bits in found)


def test_balls_are_of_all_parameters_together_whatever_their_types(rng):
    x = [*drawn(rng, np.float32, [(3, 4), (5,)]), *drawn(rng, np.float64, [(2, 3), ()])]
    p = projected(L2Ball(2), x)
    assert_allclose(total(p, 2), 2, rtol=1e-6)
    for a, b in zip(x, p, strict=True):
        assert a.dtype == b.dtype
        assert_allclose(b, a * math.sqrt(2 / total(x, 2)), rtol=1e-6)
    p = projected(L1Ball(2), x)
    expected = soft(np.concatenate([w.ravel() for w in x]), 2)
    assert_allclose(np.concatenate([w.ravel() for w in p]), expected, atol=1e-6)


# ---- where there is nothing to do, or nothing to be done ----


def test_radius_nought_and_small_groups(dtype):
    for constraint in (L2Ball(0), L1Ball(0), MaxNorm(0), Box(0, 0)):
        (p,) = projected(constraint, [np.array([[1, -2], [0, 3]], dtype)])
        assert not p.any(), constraint
    (p,) = projected(Simplex(0), [np.array([[7], [-3]], dtype)])
    assert_array_equal(p, [[1], [1]])
    (p,) = projected(UnitNorm(), [np.array([[7], [-3], [0]], dtype)])
    assert_array_equal(p, [[1], [-1], [1]])
    (p,) = projected(Simplex(), [np.array(3, dtype)])
    assert p == 1 and p.shape == ()
    for constraint in ALL:
        assert projected(constraint, [np.ones((2, 0), dtype)])[0].shape == (2, 0)


def test_small_and_large_numbers(dtype):
    """Whose squares the type does not have."""
    (low, high) = (1e-30, 1e30) if dtype == np.float32 else (1e-200, 1e200)
    (p,) = projected(UnitNorm(), [np.array([[3 * low, 4 * low], [3 * high, -4 * high]], dtype)])
    assert_allclose(p, [[0.6, 0.8], [0.6, -0.8]], rtol=1e-6)
    (p,) = projected(MaxNorm(5), [np.array([[3 * low, 4 * low], [3 * high, -4 * high]], dtype)])
    assert_allclose(p, np.array([[3 * low, 4 * low], [3, -4]], dtype), rtol=1e-6)
    (p,) = projected(L2Ball(25), [np.array([3e25, -4e25], dtype)])
    assert_allclose(p, [3, -4], rtol=1e-6)
    beyond = np.array([3e200, -4e200])  # a norm whose square even float64 does not have counts as infinite
    assert_array_equal(projected(L2Ball(25), [beyond])[0], beyond)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays(value, dtype):
    """NaN and infinity are seen where they are, and spread to nothing."""
    x = np.array([[3, value, 4], [3, 4, 0]], dtype)
    for constraint in (L2Ball(1), L1Ball(1), Simplex()):
        assert_array_equal(projected(constraint, [x])[0], x)
    for constraint, row in ((MaxNorm(1), [0.6, 0.8, 0]), (UnitNorm(), [0.6, 0.8, 0]), (Simplex(0), [0, 1, 0])):
        (p,) = projected(constraint, [x])
        assert_array_equal(p[0], x[0])
        assert_allclose(p[1], row, rtol=1e-6)
    assert_array_equal(
        projected(Box(0, 1), [np.array([math.nan, value, 3], dtype)])[0], np.clip([math.nan, value, 3], 0, 1)
    )
    assert_array_equal(projected(NonNegative(), [np.array([-0.0, -1], dtype)])[0], [0, 0])


def test_what_is_refused():
    w = batten.zeros(3, 2)
    for make, message in (
        (lambda: L2Ball(-1), r"L2Ball expects r as a finite number >= 0, got -1"),
        (lambda: L1Ball(math.nan), r"L1Ball expects r as a finite number >= 0, got nan"),
        (lambda: MaxNorm(math.inf), r"MaxNorm expects c as a finite number >= 0, got inf"),
        (lambda: L2Ball("1"), r"L2Ball expects r as a finite number >= 0, got '1'"),
        (lambda: Shrink(1.5), r"Shrink expects factor as a number from 0 to 1, got 1.5"),
        (lambda: Box(1, 0), r"Box expects numbers lo <= hi, got 1 and 0"),
        (lambda: Box(math.nan, 0), r"Box expects numbers lo <= hi, got nan and 0"),
        (lambda: Box(math.inf, math.inf), r"Box expects numbers"),
        (lambda: MaxNorm(1, 2).project(w), r"MaxNorm expects parameters with an axis 2, got 0 of shape \[3, 2\]"),
        (
            lambda: UnitNorm(-3).project([("a", w)]),
            r"UnitNorm expects parameters with an axis -3, got a of shape \[3, 2\]",
        ),
        (lambda: UnitNorm().project([batten.zeros(3)]), r"expected at least one weight"),
        (lambda: NonNegative(where=lambda name, p: False).project(w), r"expected at least one parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"MaxNorm expects dim as an int, got 1.5"):
        MaxNorm(1, 1.5)
    with pytest.raises(TypeError, match=r"L2Ball is attached to an Optimizer, got Linear"):
        L2Ball(1).attach(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"Projected expects an Optimizer, got Linear"):
        Projected(nn.Linear(2, 2), L2Ball(1))
    with pytest.raises(TypeError, match=r"Projected expects a constraint with a method project, got int"):
        Projected(optim.SGD([w]), 3)
    with pytest.raises(TypeError, match=r"expected where"):
        L2Ball(1, where=3).project(w)


def test_views_of_one_memory_are_refused_and_nothing_is_written():
    w = batten.ones(4, 3)
    for constraint in (L2Ball(1), L1Ball(1), MaxNorm(1), Simplex(), Box(0, 0.5), Shrink(0.5)):
        with pytest.raises(ValueError, match="overlap"):
            constraint.project([w, w[1:]])
    assert (w == 1).all()


def test_what_the_kernels_refuse(dtype):
    w = np.ones((3, 4), dtype)
    other = np.ones(3, np.float64 if dtype == np.float32 else np.float32)
    for call, message in (
        (lambda: kernels.simplex([w.T]), "whose first axis is the outermost"),
        (lambda: kernels.simplex([np.ones((), dtype)]), "expected an axis"),
        (lambda: kernels.limit_norms([w], 2, 0, 1), "expected an axis"),
        (lambda: kernels.limit_norms([w], -3, 0, 1), "expected an axis"),
        (lambda: kernels.limit_norms([w[:, ::2]], 0, 0, 1), "without gaps"),
        (lambda: kernels.excess(np.zeros(3), [w], 0.5), "expected two numbers"),
        (lambda: kernels.excess(np.zeros(2, np.float32), [w], 0.5), "expected two numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="of one type"):
        kernels.clamp_all([w, other], 0, 0.5)
    assert (w == 1).all()
    assert kernels.limit_norms([], 0, 0, 1) == kernels.simplex([]) == kernels.clamp_all([], 0, 1) == []
    assert kernels.excess(np.ones(2), [], 1).tolist() == [0, 0]


# ---- after the steps of optimizers ----


class Descent(optim.Optimizer):
    """In PyTorch's style."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @batten.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with batten.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                w -= group["lr"] * w.grad
        return loss


KINDS = [
    kind
    for kind in vars(optim).values()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind not in (optim.Optimizer, Projected)
]


def network(seed=0):
    batten.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))


def losses(model, optimizer, rng, steps=3):
    x, y = batten.tensor(rng.standard_normal((16, 5)), dtype=batten.float32), batten.zeros(16, 2)

    def closure():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    return [optimizer.step(closure) for _ in range(steps)]


@pytest.mark.parametrize("kind", [*KINDS, Descent])
def test_constraints_hold_after_each_step_of_any_optimizer(kind, rng):
    for constraint, holds in (
        (MaxNorm(0.25), lambda m: max(norms(m[i].weight.array).max() for i in (0, 3)) < 0.25 + 1e-6),
        (L2Ball(0.5), lambda m: total([p.array for p in m.parameters()], 2) < 0.5 + 1e-6),
    ):
        attached, wrapped = network(), network()
        optimizer = kind(attached.parameters(), lr=0.05)
        constraint.attach(optimizer)
        first = losses(attached, optimizer, np.random.default_rng(1))
        other = Projected(kind(wrapped.parameters(), lr=0.05), constraint)
        second = losses(wrapped, other, np.random.default_rng(1))
        assert [x.item() for x in first] == [x.item() for x in second]
        for a, b in zip(attached.parameters(), wrapped.parameters(), strict=True):
            assert a.array.tobytes() == b.array.tobytes()
        assert holds(attached)
        assert not holds(network())


def stepped(optimizer, w, g):
    w.grad = batten.tensor(g)
    optimizer.step()
    return w.tolist()


def test_attaching_moves_nothing_and_removing_ends_it():
    w = batten.tensor([3.0, -4.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    handle = NonNegative().attach(optimizer)
    assert w.tolist() == [3, -4]
    assert stepped(optimizer, w, [1.0, 0.0]) == [2, 0]
    handle.remove()
    assert stepped(optimizer, w, [3.0, 1.0]) == [-1, -1]
    with NonNegative().attach(optimizer):
        assert stepped(optimizer, w, [0.0, 0.0]) == [0, 0]
    assert stepped(optimizer, w, [1.0, 0.0]) == [-1, 0]


def test_parameters_that_come_later_and_those_without_gradient_are_projected_too():
    a, b, c = (batten.tensor([3.0, 4.0], requires_grad=True) for _ in range(3))
    optimizer = optim.SGD([a, b], lr=1.0)
    L2Ball(25).attach(optimizer)
    stepped(optimizer, a, [0.0, 0.0])
    assert_allclose([*a.tolist(), *b.tolist()], np.array([3, 4, 3, 4]) / math.sqrt(2), rtol=1e-6)
    optimizer.add_param_group({"params": [c]})
    optimizer.step()
    assert_allclose(sum(total([p.array], 2) for p in (a, b, c)), 25, rtol=1e-6)
    assert c.tolist() != [3, 4]


def test_a_frozen_parameter_neither_moves_nor_counts():
    free, frozen = batten.tensor([3.0, 4.0], requires_grad=True), batten.tensor([30.0, 40.0])
    optimizer = optim.SGD([free, frozen], lr=1.0)
    for constraint in (L2Ball(25), L1Ball(7)):
        with constraint.attach(optimizer):
            assert stepped(optimizer, free, [0.0, 0.0]) == [3, 4]
        assert frozen.tolist() == [30, 40]
    with Box(0, 1).attach(optimizer):
        assert stepped(optimizer, free, [0.0, 0.0]) == [1, 1]
    free.requires_grad = False
    with Box(2, 3).attach(optimizer):
        optimizer.step()
    assert free.tolist() == [1, 1] and frozen.tolist() == [30, 40]
    Box(2, 3).project([free, frozen])
    assert free.tolist() == [2, 2] and frozen.tolist() == [3, 3]


def test_which_parameters():
    """By hand those of a model, and through an optimizer by the names that it was given, or by number."""
    model = network()
    before = [p.array.copy() for p in model.parameters()]
    MaxNorm(1e-3).project(model)
    moved = [not np.array_equal(p.array, w) for p, w in zip(model.parameters(), before, strict=True)]
    assert moved == [True, False, False, False, True, False]  # two weights; no biases, no normalization
    L2Ball(1e-3).project(model)
    assert_allclose(total([p.array for p in model.parameters()], 2), 1e-3, rtol=1e-5)
    for given, name in ((list(model.named_parameters()), "3.bias"), (list(model.parameters()), "5")):
        seen = []
        optimizer = optim.SGD(given[:2])
        optimizer.add_param_group({"params": given[2:]})
        Box(-1, -0.5, where=lambda n, p: seen.append(n) or n == name).attach(optimizer)  # noqa: B023
        optimizer.step()
        assert model[3].bias.array.max() <= -0.5 and model[0].bias.array.max() > -0.5
        assert len(seen) == 6
        nn.init.zeros_(model[3].bias)


def test_a_graph_of_before_is_refused():
    for constraint in (L2Ball(1), L1Ball(1), MaxNorm(1), UnitNorm(), Simplex(), Box(0, 1), Shrink(0.5)):
        w = batten.tensor([[3.0, 4.0]], requires_grad=True)
        loss = (w * w).sum()
        constraint.project(w)
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()


def test_copies_of_optimizers():
    """They have no hooks, as in PyTorch; but a Projected's have its constraint, which is of the copy's parameters."""
    w = batten.tensor([3.0, 4.0], requires_grad=True)
    optimizer = optim.Adam([w], lr=1.0)
    L2Ball(1).attach(optimizer)
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (other,) = copied.param_groups[0]["params"]
        stepped(copied, other, [0.0, 0.0])
        assert other.tolist() == [3, 4]
    ball = L2Ball(1)
    optimizer = Projected(Projected(optim.Adam([w], lr=1.0), NonNegative()), ball)
    stepped(optimizer, w, [0.0, 0.0])
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (other,) = copied.param_groups[0]["params"]
        assert other is not w
        stepped(copied, other, [0.0, -100.0])
        assert_allclose(total([other.array], 2), 1, rtol=1e-6)
        assert (other >= 0).all()
        assert copied.constraint.projected[0] is other
        assert copied.constraint.multiplier() > 0  # the loss falls outwards
    assert ball.projected[0] is w


def test_projected_is_an_optimizer_like_another():
    w, later = (batten.tensor([3.0, 4.0], requires_grad=True) for _ in range(2))
    inner = optim.SGD([w], lr=0.5, momentum=0.9)
    optimizer = Projected(inner, Box(-1, 2))
    assert optimizer.param_groups is inner.param_groups and optimizer.state is inner.state
    assert optimizer.defaults is inner.defaults
    assert repr(optimizer) == f"Projected (\n{inner!r}\nBox(lo=-1, hi=2)\n)"
    calls = []
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append((o, w.tolist())))
    loss = optimizer.step(lambda: w.sum())
    assert loss.item() == 7 and calls == [(optimizer, [2, 2])]
    optimizer.add_param_group({"params": [later], "lr": 0.1})
    assert len(inner.param_groups) == 2
    w.grad = batten.ones(2)
    optimizer.step()
    assert w.tolist() == [1.5, 1.5] and later.tolist() == [2, 2]
    optimizer.zero_grad()
    assert w.grad is None
    fresh = optim.SGD([w, later], lr=0.5, momentum=0.9)
    other = Projected(optim.SGD([{"params": [w]}, {"params": [later]}], lr=9.0, momentum=0.1), Box(-1, 2))
    other.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in other.param_groups] == [0.5, 0.1] and other.param_groups[0]["momentum"] == 0.9
    assert other.state[w]["momentum_buffer"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="different number of parameter groups"):
        Projected(fresh, Box(0, 1)).load_state_dict(optimizer.state_dict())


def test_schedules_are_of_a_projected_or_of_what_is_in_it():
    w = batten.tensor([1.0], requires_grad=True)
    inner = optim.SGD([w], lr=1.0)
    optimizer = Projected(inner, Box(-1, 1))
    for scheduled in (optimizer, inner):
        schedule = optim.lr_scheduler.StepLR(scheduled, step_size=1, gamma=0.5)
        before = inner.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        assert inner.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == before / 2


def test_any_object_that_projects_will_do():
    class Floor:
        def project(self, params):
            self.seen = params
            for _, p in params:
                p.data.clamp_(min=0)

    w, frozen = batten.tensor([1.0, -1.0], requires_grad=True), batten.zeros(1)
    optimizer = Projected(optim.SGD([("w", w), ("v", frozen)]), Floor())
    optimizer.step()
    assert w.tolist() == [1, 0] and [name for name, _ in optimizer.constraint.seen] == ["w"]


# ---- what hard and soft constraints have to do with each other ----


@pytest.mark.parametrize("r", [0.01, 0.3, 1.5])
def test_a_ball_and_its_multiplier_are_ridge_regression(r, rng):
    """min L subject to ‖θ‖² <= r has the minimiser of L + λ*‖θ‖²: here (XᵀX/n + λ* I)⁻¹ Xᵀy/n, with ‖θ‖² = r."""
    x, y = rng.standard_normal((80, 5)), rng.standard_normal(80)
    x[:, 0] *= 2
    y += x @ np.array([1, -1, 0.5, 0, 0.7])
    w = batten.zeros(5, dtype=batten.float64, requires_grad=True)
    ball = L2Ball(r)
    optimizer = Projected(optim.SGD([w], lr=0.1), ball)
    data, target = batten.tensor(x), batten.tensor(y)

    def loss():
        optimizer.zero_grad()
        ((data @ w - target) ** 2).mean().backward()

    for _ in range(400):
        loss()
        optimizer.step()
    loss()
    multiplier = ball.multiplier()
    assert multiplier > 0.01
    ridge = np.linalg.solve(x.T @ x / 80 + multiplier * np.eye(5), x.T @ y / 80)
    assert_allclose(w.array, ridge, rtol=1e-10)
    assert_allclose((ridge**2).sum(), r, rtol=1e-10)
    assert ball.multiplier(w) == multiplier
    w.grad = None  # the soft form, without the constraint, has no slope at the same point
    (((data @ w - target) ** 2).mean() + L2(multiplier, where=lambda name, p: True)(w)).backward()
    assert_allclose(w.grad.array, 0, atol=1e-10)


def test_the_multiplier_is_nought_inside_and_needs_gradients(dtype):
    ball, w = L2Ball(25.5), batten.tensor(np.array([3, 4], dtype), requires_grad=True)
    with pytest.raises(RuntimeError, match="none were: attach"):
        ball.multiplier()
    ball.project(w)
    with pytest.raises(RuntimeError, match="and there is none"):
        ball.multiplier()
    w.grad = batten.tensor(np.array([-6, -8], dtype))
    assert ball.multiplier() == 0
    assert L2Ball(25).multiplier(w) == 1  # (18 + 32) / (2 25)
    w.grad = batten.tensor(np.array([6, 8], dtype))
    assert L2Ball(25).multiplier(w) == 0  # the loss falls inwards: it is the step that led out
    for r in (1e-3, 1 / 3, 17.3):  # after a projection it is on the sphere, however that is rounded
        v = batten.tensor(np.random.default_rng(3).standard_normal(1000).astype(dtype) * 100, requires_grad=True)
        L2Ball(r).project(v)
        v.grad = -4 * v.detach()
        assert_allclose(L2Ball(r).multiplier(v), 2, rtol=1e-5)
    zero = batten.tensor(np.array([1, 2], dtype), requires_grad=True)
    L2Ball(0).project(zero)
    zero.grad = batten.tensor(np.array([1, 2], dtype))
    assert L2Ball(0).multiplier(zero) == math.inf
    zero.grad = batten.tensor(np.zeros(2, dtype))
    assert L2Ball(0).multiplier(zero) == 0


# ---- shrinking ----


def test_shrinking_shrinks_the_step_as_well(dtype, rng):
    """θ = factor (θ - η g), which (1 - η α) θ - η g is not."""
    w, g = rng.standard_normal((2, 50)).astype(dtype)
    t = batten.tensor(w, requires_grad=True)
    optimizer = optim.SGD([t], lr=0.1)
    Shrink(0.98).attach(optimizer)
    t.grad = batten.tensor(g)
    optimizer.step()
    bound = 8 * np.finfo(dtype).eps
    assert_allclose(t.array, 0.98 * (w - 0.1 * g), rtol=bound, atol=bound)
    decayed = batten.tensor(w, requires_grad=True)
    decayed.grad = batten.tensor(g)
    optim.SGD([decayed], lr=0.1, weight_decay=0.2).step()  # 1 - 0.1 * 0.2 is 0.98, too
    assert_allclose(t.array - decayed.array, 0.02 * 0.1 * g, rtol=0, atol=bound * abs(w).max())
    bias = batten.ones(2)
    Shrink(0.5, where=lambda name, p: name == "w").project([("w", t), ("b", bias)])
    assert bias.tolist() == [1, 1]
    assert repr(Shrink(0.98)) == "Shrink(factor=0.98)"
    assert repr(MaxNorm(3)) == "MaxNorm(c=3, dim=0)" and repr(NonNegative()) == "NonNegative()"

"""Losses: against their formulas, beside PyTorch, and what they refuse."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from parity import assert_close, assert_like_torch

REDUCTIONS = ("mean", "sum", "none")

# Scores' shape, and the shape of the class indices.
SHAPES = [
    ((5, 7), (5,)),
    ((7,), ()),
    ((1, 1), (1,)),
    ((2, 3, 4), (2, 4)),
    ((2, 3, 2, 5), (2, 2, 5)),
    ((3, 4, 0), (3, 0)),
]


def class_case(rng, shapes, dtype, ignored=0.3):
    """Scores, class indices of which some are -100, and weights."""
    scores, indices = shapes
    classes = scores[min(len(scores) - 1, 1)]
    target = rng.integers(0, classes, indices)
    target = np.where(rng.random(indices) < ignored, -100, target)
    return (4 * rng.standard_normal(scores)).astype(dtype), target, rng.uniform(0.5, 2, classes).astype(dtype)


def cross_entropy_by_hand(x, target, weight, reduction, smoothing):
    """The definition, one place after the other, in float64."""
    axis = min(x.ndim - 1, 1)
    rows, losses, total = np.moveaxis(x, axis, -1).astype(np.float64), np.zeros(target.shape), 0.0
    for place in np.ndindex(target.shape):
        if target[place] == -100:
            continue
        log_p = rows[place] - np.log(np.exp(rows[place]).sum())
        q = np.full(len(log_p), smoothing / len(log_p))
        q[target[place]] += 1 - smoothing
        losses[place] = -(weight * q * log_p).sum()
        total += weight[target[place]]
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / total if total else np.nan}[reduction]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_its_definition(rng, dtype, shapes, smoothing):
    x, target, weight = class_case(rng, shapes, dtype)
    for reduction, weighted in itertools.product(REDUCTIONS, (False, True)):
        y = F.cross_entropy(
            batten.tensor(x),
            batten.tensor(target),
            batten.tensor(weight) if weighted else None,
            reduction=reduction,
            label_smoothing=smoothing,
        )
        w = weight.astype(np.float64) if weighted else np.ones(len(weight))
        expected = cross_entropy_by_hand(x, target, w, reduction, smoothing)
        assert_close(y, np.asarray(expected, dtype))


def test_nll_of_log_softmax_is_cross_entropy(rng, dtype):
    for shapes in SHAPES:
        x, target, weight = [batten.tensor(a) for a in class_case(rng, shapes, dtype)]
        for reduction in REDUCTIONS:
            log_p = batten.log_softmax(x, min(x.ndim - 1, 1))
            assert_close(
                F.nll_loss(log_p, target, weight, reduction=reduction),
                F.cross_entropy(x, target, weight, reduction=reduction),
            )


def test_probabilities_of_one_class_are_its_index(rng, dtype):
    x, target, weight = class_case(rng, ((6, 4), (6,)), dtype, ignored=0)
    one_hot = np.eye(4, dtype=dtype)[target]
    for smoothing in (0.0, 0.3):
        for reduction in ("sum", "none"):  # the mean of class indices is over their weights
            by_index, by_probability = [
                F.cross_entropy(
                    batten.tensor(x),
                    batten.tensor(t),
                    batten.tensor(weight),
                    reduction=reduction,
                    label_smoothing=smoothing,
                )
                for t in (target, one_hot)
            ]
            assert_close(by_index, by_probability)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_class_losses_are_torchs(rng, dtype, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    extras = [{}, {"label_smoothing": 0.2}] if name == "cross_entropy" else [{}]
    for shapes, reduction, weighted, ignore, extra in itertools.product(
        SHAPES, REDUCTIONS, (False, True), (-100, 1), extras
    ):
        x, target, weight = class_case(rng, shapes, dtype)
        if ignore == 1:
            target = np.abs(target) % len(weight)
        settings = {"reduction": reduction, "ignore_index": ignore, **extra}
        assert_like_torch(
            lambda x, t=target, w=weight if weighted else None, s=settings: ours(
                x, batten.tensor(t), None if w is None else batten.tensor(w), **s
            ),
            lambda x, t=target, w=weight if weighted else None, s=settings: theirs(
                x, torch.tensor(t), None if w is None else torch.tensor(w), **s
            ),
            x,
        )


@pytest.mark.parametrize("shape", [(5, 7), (7,), (2, 3, 4), (0, 3), (2, 3, 0)], ids=str)
def test_cross_entropy_of_probabilities_is_torchs(rng, dtype, shape):
    torch = pytest.importorskip("torch")
    x, target = (rng.standard_normal((2, *shape))).astype(dtype)
    target = np.abs(target)
    weight = rng.uniform(0.5, 2, shape[min(len(shape) - 1, 1)]).astype(dtype)
    for reduction, smoothing, weighted in itertools.product(REDUCTIONS, (0.0, 0.2), (False, True)):
        settings = {"reduction": reduction, "label_smoothing": smoothing}
        assert_like_torch(
            lambda x, t, w=weight if weighted else None, s=settings: F.cross_entropy(
                x, t, None if w is None else batten.tensor(w), **s
            ),
            lambda x, t, w=weight if weighted else None, s=settings: torch.nn.functional.cross_entropy(
                x, t, None if w is None else torch.tensor(w), **s
            ),
            x,
            target,
        )


def test_large_scores_do_not_overflow(dtype):
    x = batten.tensor(np.array([[1e30, 0.0], [-1e30, 0.0]], dtype), requires_grad=True)
    loss = F.cross_entropy(x, batten.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_mean_over_nothing_is_nan_and_its_gradient_zero(function):
    x = batten.ones(2, 3, requires_grad=True)
    loss = function(x, batten.tensor([-100, -100]))
    loss.backward()
    assert np.isnan(loss.item())
    assert x.grad.tolist() == [[0] * 3] * 2
    assert function(x, batten.tensor([-100, -100]), reduction="sum").item() == 0
    assert np.isnan(function(batten.ones(0, 3), batten.tensor([], dtype=batten.int64)).item())


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_infinities_and_weights_of_zero_are_torchs(dtype, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    x = np.array([[0.0, -np.inf, 1.0], [-np.inf, 0.0, 2.0]], dtype)
    weight, target = np.array([0, 1, 0], dtype), np.array([0, 2])
    assert_like_torch(lambda x: ours(x, batten.tensor(target)), lambda x: theirs(x, torch.tensor(target)), x)
    for reduction in REDUCTIONS:
        assert_like_torch(
            lambda x, r=reduction: ours(x, batten.tensor(target), batten.tensor(weight), reduction=r),
            lambda x, r=reduction: theirs(x, torch.tensor(target), torch.tensor(weight), reduction=r),
            x,
        )


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_every_type_of_integers_names_a_class(rng, function):
    x = batten.tensor(rng.standard_normal((3, 4)))
    expected = function(x, batten.tensor([1, 3, 0])).item()
    for dtype in (batten.uint8, batten.int8, batten.int16, batten.int32):
        assert function(x, batten.tensor([1, 3, 0], dtype=dtype)).item() == expected


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_layout_of_scores_and_targets_does_not_matter(rng, function):
    x, target, weight = class_case(rng, ((4, 3, 6), (4, 6)), np.float64)
    expected = function(batten.tensor(x), batten.tensor(target), batten.tensor(weight))
    channels_last = batten.tensor(np.ascontiguousarray(x.transpose(0, 2, 1))).permute(0, 2, 1)
    strided = batten.tensor(np.repeat(target, 2, axis=1))[:, ::2]
    assert function(channels_last, strided, batten.tensor(np.repeat(weight, 2))[::2]).item() == expected.item()


def test_cross_entropy_has_the_same_bits_on_any_number_of_threads(rng, dtype, threads):
    x, target, weight = class_case(rng, ((3000, 11), (3000,)), dtype)
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        scores = batten.tensor(x, requires_grad=True)
        loss = F.cross_entropy(scores, batten.tensor(target), batten.tensor(weight), label_smoothing=0.1)
        loss.backward()
        found.add((loss.numpy().tobytes(), scores.grad.numpy().tobytes()))
    assert len(found) == 1


SCORES = batten.ones(2, 3)
REFUSED = [
    ((SCORES, [1, 3]), {}, IndexError, r"expected classes from 0 to 2, or -100 to ignore, got 3"),
    ((SCORES, [1, -1]), {}, IndexError, r"got -1"),
    ((SCORES, [-100, 0]), {"ignore_index": 1}, IndexError, r"or 1 to ignore, got -100"),
    ((SCORES, [1, 2, 0]), {}, ValueError, r"expects class indices \[2\] for scores \[2, 3\], got \[3\]"),
    ((SCORES, [[1], [2]]), {}, ValueError, r"got \[2, 1\]"),
    ((SCORES, [True, False]), {}, TypeError, "expects integers as class indices, got bool"),
    ((batten.ones(()), 1), {}, ValueError, r"expects scores \(C\), \(N, C\) or \(N, C, d1, \.\.\.\), got \[\]"),
    ((SCORES.long(), [1, 2]), {}, TypeError, "expects floats, got int64"),
    (
        (SCORES, [1, 2]),
        {"weight": batten.ones(2)},
        ValueError,
        r"a weight for each class, float32\[3\], got float32\[2\]",
    ),
    ((SCORES, [1, 2]), {"weight": batten.ones(3).double()}, ValueError, r"float32\[3\], got float64\[3\]"),
    ((SCORES, [1, 2]), {"weight": batten.ones(3, requires_grad=True)}, ValueError, "no gradient for its weight"),
    ((SCORES, [1, 2]), {"reduction": "average"}, ValueError, "'mean', 'sum' or 'none', got 'average'"),
    ((SCORES, [1, 2]), {"size_average": False}, ValueError, "size_average and reduce have gone"),
]
SOFT_REFUSED = [
    ((SCORES, [1.0, 2.0]), {}, ValueError, r"indices \[2\] \(integers\) or probabilities \[2, 3\] \(floats\)"),
    ((SCORES, [1.0, 2.0]), {}, ValueError, r"got float32\[2\]; use \.long\(\) first for indices$"),
    ((SCORES, SCORES), {"ignore_index": 2}, ValueError, "no class to ignore, got ignore_index=2"),
    ((SCORES, [1, 2]), {"label_smoothing": 1.5}, ValueError, "label_smoothing between 0 and 1, got 1.5"),
]


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "error", "message"),
    [(F.cross_entropy, *row) for row in REFUSED + SOFT_REFUSED] + [(F.nll_loss, *row) for row in REFUSED],
)
def test_refused(function, arguments, settings, error, message):
    scores, target = arguments
    target = target if isinstance(target, batten.Tensor) else batten.tensor(target)
    with pytest.raises(error, match=f"^{function.__name__}.*{message}"):
        function(scores, target, **settings)


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_a_target_changed_before_backward_is_found(function):
    x, target = batten.ones(2, 3, requires_grad=True), batten.tensor([0, 1])
    loss = function(x, target)
    target[0] = 2
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# ---- of numbers ----

ELEMENTS = [(3, 4), (), (0, 3), (2, 1, 5), (37,)]
ANY, PROBABILITY = (-3, 3), (0.01, 0.99)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# A loss, its settings, its definition, the ranges of input and target, and its weights.
NUMBERS = [
    ("mse_loss", {}, lambda x, t: (x - t) ** 2, ANY, ANY, ["weight"]),
    ("l1_loss", {}, lambda x, t: abs(x - t), ANY, ANY, ["weight"]),
    ("smooth_l1_loss", {}, lambda x, t: np.where(abs(x - t) < 1, (x - t) ** 2 / 2, abs(x - t) - 0.5), ANY, ANY, []),
    (
        "smooth_l1_loss",
        {"beta": 2.5},
        lambda x, t: np.where(abs(x - t) < 2.5, (x - t) ** 2 / 5, abs(x - t) - 1.25),
        ANY,
        ANY,
        [],
    ),
    ("smooth_l1_loss", {"beta": 0}, lambda x, t: abs(x - t), ANY, ANY, []),
    ("huber_loss", {}, lambda x, t: np.where(abs(x - t) < 1, (x - t) ** 2 / 2, abs(x - t) - 0.5), ANY, ANY, ["weight"]),
    (
        "huber_loss",
        {"delta": 2.5},
        lambda x, t: np.where(abs(x - t) < 2.5, (x - t) ** 2 / 2, 2.5 * (abs(x - t) - 1.25)),
        ANY,
        ANY,
        ["weight"],
    ),
    (
        "binary_cross_entropy",
        {},
        lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
        PROBABILITY,
        (0, 1),
        ["weight"],
    ),
    (
        "binary_cross_entropy_with_logits",
        {},
        lambda x, t, pos_weight=1: -(pos_weight * t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x))),
        ANY,
        (0, 1),
        ["weight", "pos_weight"],
    ),
    ("kl_div", {}, lambda x, t: t * (np.log(t) - x), ANY, PROBABILITY, []),
    ("kl_div", {"log_target": True}, lambda x, t: np.exp(t) * (t - x), ANY, (-3, 0), []),
]
each_loss = pytest.mark.parametrize(
    ("name", "settings", "definition", "x_range", "t_range", "weights"),
    NUMBERS,
    ids=[f"{name}-{settings}" for name, settings, *_ in NUMBERS],
)
# The gradient by these weights is there, and the mean is over them, or it is not.
LEARNABLE, MEAN_OVER_WEIGHTS = ("mse_loss", "l1_loss", "huber_loss"), ("mse_loss", "l1_loss")


def reductions(name):
    """Those of a loss; kl_div's mean, which warns, has a test of its own."""
    return ("batchmean", "sum", "none") if name == "kl_div" else REDUCTIONS


def operands(rng, shape, dtype, x_range, t_range):
    return [np.asarray(rng.uniform(*bounds, shape), dtype) for bounds in (x_range, t_range)]


@each_loss
def test_losses_of_numbers_are_their_definition(rng, dtype, name, settings, definition, x_range, t_range, weights):
    for shape, reduction, weighted in itertools.product(ELEMENTS, reductions(name), (None, *weights)):
        x, t = operands(rng, shape, dtype, x_range, t_range)
        w = rng.uniform(0.5, 2, shape).astype(dtype)
        wide = [a.astype(np.float64) for a in (x, t)]
        if weighted == "pos_weight":
            losses = definition(*wide, pos_weight=w)
        else:
            losses = definition(*wide) * (w if weighted else 1)
        count = shape[0] if reduction == "batchmean" and shape else losses.size if reduction == "mean" else 1
        if weighted == "weight" and reduction == "mean" and name in MEAN_OVER_WEIGHTS:
            count = w.sum(dtype=np.float64)
        with np.errstate(invalid="ignore"):
            expected = losses if reduction == "none" else losses.sum() / count
        extra = {weighted: batten.tensor(w)} if weighted else {}
        y = getattr(F, name)(batten.tensor(x), batten.tensor(t), reduction=reduction, **settings, **extra)
        assert_close(y, np.asarray(expected, dtype))


@each_loss
def test_losses_of_numbers_are_torchs(rng, dtype, name, settings, definition, x_range, t_range, weights):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    for shape, reduction in itertools.product(ELEMENTS, reductions(name)):
        x, t = operands(rng, shape, dtype, x_range, t_range)
        s = {"reduction": reduction, **settings}
        assert_like_torch(lambda x, t, s=s: ours(x, t, **s), lambda x, t, s=s: theirs(x, t, **s), x, t)
        w = rng.uniform(0.5, 2, shape).astype(dtype)
        for weight in weights:
            if name in LEARNABLE:
                assert_like_torch(
                    lambda x, t, w, s=s: ours(x, t, weight=w, **s),
                    lambda x, t, w, s=s: theirs(x, t, weight=w, **s),
                    x,
                    t,
                    w,
                )
                continue
            for some in (w, w[..., :1] if shape else w, w[:1] if shape else w, np.asarray(1.5, dtype)):
                assert_like_torch(
                    lambda x, t, s=s, n=weight, w=some: ours(x, t, **{n: batten.tensor(w)}, **s),
                    lambda x, t, s=s, n=weight, w=some: theirs(x, t, **{n: torch.tensor(w)}, **s),
                    x,
                    t,
                )


def test_both_weights_of_logits_are_torchs(rng, dtype):
    torch = pytest.importorskip("torch")
    x, t = operands(rng, (5, 3), dtype, ANY, (0, 1))
    w, p = rng.uniform(0.5, 2, (5, 1)).astype(dtype), rng.uniform(0.5, 9, 3).astype(dtype)
    for reduction in REDUCTIONS:
        assert_like_torch(
            lambda x, t, r=reduction: F.binary_cross_entropy_with_logits(
                x, t, batten.tensor(w), reduction=r, pos_weight=batten.tensor(p)
            ),
            lambda x, t, r=reduction: torch.nn.functional.binary_cross_entropy_with_logits(
                x, t, torch.tensor(w), reduction=r, pos_weight=torch.tensor(p)
            ),
            x,
            t,
        )


@each_loss
def test_layout_of_numbers_does_not_matter(rng, dtype, name, settings, definition, x_range, t_range, weights):
    x, t = operands(rng, (6, 35), dtype, x_range, t_range)
    function = getattr(F, name)
    for reduction in reductions(name)[1:]:
        plain = batten.tensor(x, requires_grad=True)
        expected = function(plain, batten.tensor(t), reduction=reduction, **settings)
        expected.sum().backward()
        memory = batten.tensor(np.ascontiguousarray(x.T), requires_grad=True)
        every_other = batten.tensor(np.repeat(t, 2, axis=1))[:, ::2]
        y = function(memory.T, every_other, reduction=reduction, **settings)
        y.sum().backward()
        assert_close(y.detach(), expected.detach())
        assert_close(memory.grad.T, plain.grad)


@each_loss
def test_losses_of_numbers_have_the_same_bits_on_any_number_of_threads(
    rng, dtype, threads, name, settings, definition, x_range, t_range, weights
):
    x, t = operands(rng, (301, 307), dtype, x_range, t_range)
    extra = {weight: batten.tensor(rng.uniform(0.5, 2, 307).astype(dtype)) for weight in weights}
    if name in LEARNABLE:
        extra = {"weight": batten.tensor(rng.uniform(0.5, 2, x.shape).astype(dtype))}
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        loss = getattr(F, name)(leaf, batten.tensor(t), reduction=reductions(name)[0], **settings, **extra)
        loss.backward()
        found.add((loss.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert len(found) == 1


def test_a_mean_writes_no_array_of_losses(rng):
    """Blocks asked of the pool: the result and the pieces' sums; going backward, the gradient."""
    x, t = batten.tensor(rng.standard_normal((300, 100)), requires_grad=True), batten.zeros(300, 100).double()
    start = kernels.memory_stats()["requests"]
    loss = F.mse_loss(x, t)
    middle = kernels.memory_stats()["requests"]
    loss.backward()
    assert middle - start == 2
    assert kernels.memory_stats()["requests"] - middle == 1


def test_certain_and_wrong(dtype):
    """Probabilities of 0 and 1 cost 100 where they are wrong, and logits as much as they are large."""
    torch = pytest.importorskip("torch")
    x, t = np.array([0, 0, 1, 1], dtype), np.array([0, 1, 0, 1], dtype)
    assert F.binary_cross_entropy(batten.tensor(x), batten.tensor(t), reduction="none").tolist() == [0, 100, 100, 0]
    assert_like_torch(
        lambda x: F.binary_cross_entropy(x, batten.tensor(t)),
        lambda x: torch.nn.functional.binary_cross_entropy(x, torch.tensor(t)),
        x,
        rtol=1e-8,  # the bound of the gradient, 1e-12, is rounded to float32 in PyTorch
    )
    logits = np.array([-1000, -1000, 1000, 1000], dtype)
    y = F.binary_cross_entropy_with_logits(batten.tensor(logits), batten.tensor(t), reduction="none")
    assert y.tolist() == [0, 1000, 1000, 0]
    assert_like_torch(
        F.binary_cross_entropy_with_logits, torch.nn.functional.binary_cross_entropy_with_logits, logits, t
    )


def test_logits_keep_small_losses(dtype):
    """log(1 + e^-40) is far below a rounding of 40."""
    y = F.binary_cross_entropy_with_logits(
        batten.tensor([-40.0, 40.0], dtype=dtype), batten.tensor([0.0, 1.0], dtype=dtype), reduction="none"
    )
    np.testing.assert_allclose(y.numpy(), math.exp(-40), rtol=1e-5)


def test_divergence_is_nought_where_a_probability_is(dtype):
    """Even where the input is the logarithm of nought, for which PyTorch says NaN."""
    log_p = batten.tensor([-math.inf, -1.0], dtype=dtype)
    assert F.kl_div(log_p, batten.tensor([0.0, 0.0], dtype=dtype), reduction="none").tolist() == [0, 0]
    assert F.kl_div(log_p, log_p * math.inf, reduction="sum", log_target=True).item() == 0
    assert F.kl_div(log_p, batten.tensor([0.5, 0.5], dtype=dtype), reduction="sum").item() == math.inf


def test_divergence_and_its_means():
    torch = pytest.importorskip("torch")
    x, t = np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.5, 0.5], [1, 0]])
    with pytest.warns(UserWarning, match="not the divergence; reduction='batchmean' divides by the batch") as caught:
        mean = F.kl_div(batten.tensor(x), batten.tensor(t))
    assert caught[0].filename == __file__
    assert mean.item() * 2 == pytest.approx(F.kl_div(batten.tensor(x), batten.tensor(t), reduction="batchmean").item())
    for shapes in [((2, 3), (3,)), ((3,), (2, 3)), ((), ())]:  # of different shapes: the input's first axis counts
        a, b = [np.asarray(np.linspace(0.1, 0.9, math.prod(s)).reshape(s)) for s in shapes]
        assert_like_torch(
            lambda a, b: F.kl_div(a, b, reduction="batchmean"),
            lambda a, b: torch.nn.functional.kl_div(a, b, reduction="batchmean"),
            a,
            b,
        )


@pytest.mark.parametrize("bad", [-0.001, 1.001, math.nan, math.inf])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_probabilities_are_refused(dtype, bad, reduction):
    good, wrong = batten.tensor([[0.0, 1.0, 0.5]] * 2, dtype=dtype), batten.tensor([[0.0, bad, 0.5]] * 2, dtype=dtype)
    for x, t, what in [(wrong, good, "input"), (good, wrong, "target")]:
        with pytest.raises(ValueError, match=rf"^binary_cross_entropy expects an {what} between 0 and 1, got {bad}"):
            F.binary_cross_entropy(x, t, reduction=reduction)
    nan = batten.full((3,), math.nan, dtype=dtype)  # a weight may well be NaN
    assert F.binary_cross_entropy(good, good, nan, reduction="sum").isnan().item()


@each_loss
def test_nan_goes_through_the_losses_of_numbers(name, settings, definition, x_range, t_range, weights):
    if name == "binary_cross_entropy":
        return
    x, t = batten.tensor([math.nan, 0.5], requires_grad=True), batten.tensor([0.5, 0.25])
    losses = getattr(F, name)(x, t, reduction="none", **settings)
    assert losses.isnan().tolist() == [True, False]
    assert getattr(F, name)(x, t, reduction="sum", **settings).isnan().item()


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_shapes_that_differ_are_broadcast_with_a_warning(function):
    torch = pytest.importorskip("torch")
    x = batten.zeros(4, requires_grad=True)
    with pytest.warns(UserWarning, match=rf"{function.__name__} of an input \[4\] and a target \[4, 1\]") as caught:
        loss = function(x, batten.ones(4, 1), reduction="none")
    assert caught[0].filename == __file__
    assert loss.shape == (4, 4)
    with pytest.raises(
        ValueError, match=rf"{function.__name__} expects shapes that broadcast to one, got \[4\] and \[3\]"
    ):
        function(x, batten.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for shapes in [((4,), (3, 4)), ((3, 1), (4,)), ((), (2,)), ((2, 0), (1,))]:
            arrays = [np.linspace(k, 3, math.prod(s)).reshape(s) for k, s in enumerate(shapes)]
            for reduction in REDUCTIONS:
                assert_like_torch(
                    lambda x, t, r=reduction: function(x, t, reduction=r),
                    lambda x, t, r=reduction: getattr(torch.nn.functional, function.__name__)(x, t, reduction=r),
                    *arrays,
                )


@each_loss
def test_losses_of_numbers_refuse(name, settings, definition, x_range, t_range, weights):
    function, x = getattr(F, name), batten.tensor([0.25] * 4)
    with pytest.raises(TypeError, match=f"{name} expects floats, got int64"):
        function(x.long(), x, reduction="sum", **settings)
    with pytest.raises(ValueError, match=f"{name} expects reduction=.*'sum' or 'none', got None"):
        function(x, x, reduction=None, **settings)
    if name != "huber_loss":
        with pytest.raises(ValueError, match=f"{name}: size_average and reduce have gone"):
            function(x, x, reduce=True, **settings)
    for weight in weights:
        with pytest.raises(ValueError, match=rf"{name} expects a {weight} .*\[4\], got \[3\]"):
            function(x, x, **{weight: batten.ones(3)})
        if name not in LEARNABLE:
            with pytest.raises(ValueError, match=rf"{name} expects a {weight} that broadcasts to \[4\], got \[1, 4\]"):
                function(x, x, **{weight: batten.ones(1, 4)})
            with pytest.raises(ValueError, match=f"{name} has no gradient for its {weight}"):
                function(x, x, **{weight: batten.ones(4, requires_grad=True)})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.smooth_l1_loss(x, x, beta=-1), ValueError, "smooth_l1_loss expects beta >= 0, got -1"),
        (lambda x: F.smooth_l1_loss(x, x, beta=math.nan), ValueError, "beta >= 0, got nan"),
        (lambda x: F.huber_loss(x, x, delta=0), ValueError, "huber_loss expects delta > 0, got 0"),
        (lambda x: F.l1_loss(x, x, weight=batten.ones(1)), ValueError, r"a weight for each element, \[4\], got \[1\]"),
        (lambda x: F.kl_div(x, x.long(), reduction="sum"), TypeError, "kl_div expects floats, got int64"),
        (lambda x: F.kl_div(x, x, reduction="average"), ValueError, "'batchmean', 'mean', 'sum' or 'none', got 'ave"),
        (lambda x: F.kl_div(x, batten.ones(3), reduction="sum"), ValueError, r"broadcast to one, got \[4\] and \[3\]"),
        (lambda x: F.mse_loss(x, x, reduction="batchmean"), ValueError, "'mean', 'sum' or 'none', got 'batchmean'"),
        *[
            (lambda x, f=f: f(x, batten.ones(4, 1)), ValueError, r"a target of the input's shape, \[4\], got \[4, 1\]")
            for f in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)
        ],
        (lambda x: F.binary_cross_entropy(x, [0, 1, 0, 1]), TypeError, "expected a tensor"),
        (lambda x: F.binary_cross_entropy(x, batten.tensor([0, 1, 0, 1])), TypeError, "floats, got int64"),
    ],
)
def test_arguments_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(batten.tensor([0.25] * 4))


def test_operands_of_several_types_meet():
    x = batten.tensor([1.0, 2.0, 3.0, 4.0])
    assert F.mse_loss(x, batten.tensor([1, 1, 1, 1])).item() == 3.5  # an integer target meets a float input
    for function in (F.mse_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        y = function(x, batten.ones(4).double(), weight=batten.ones(4))
        assert y.dtype == batten.float64


def test_a_value_changed_before_backward_is_found():
    for change in (0, 1, 2):
        values = [batten.ones(3, requires_grad=True) * 1, batten.zeros(3), batten.ones(3)]
        loss = F.mse_loss(*values[:2], weight=values[2])
        with batten.no_grad():
            values[change].add_(1)
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()
    loss = F.mse_loss(batten.ones(3, requires_grad=True), batten.zeros(3))
    loss.mul_(2)  # the loss itself is not needed
    loss.backward()


# ---- modules ----

# A module, its arguments, and whether its targets are classes.
MODULES = [
    ("CrossEntropyLoss", {}, True),
    ("CrossEntropyLoss", {"ignore_index": 1, "label_smoothing": 0.2, "reduction": "sum"}, True),
    ("NLLLoss", {"reduction": "none"}, True),
    ("MSELoss", {}, False),
    ("MSELoss", {"reduction": "sum"}, False),
    ("L1Loss", {"reduction": "none"}, False),
    ("SmoothL1Loss", {}, False),
    ("SmoothL1Loss", {"beta": 0.3, "reduction": "sum"}, False),
    ("HuberLoss", {}, False),
    ("HuberLoss", {"delta": 0.3, "reduction": "none"}, False),
    ("KLDivLoss", {"reduction": "batchmean"}, False),
    ("KLDivLoss", {"reduction": "sum", "log_target": True}, False),
    ("BCEWithLogitsLoss", {}, False),
    ("BCEWithLogitsLoss", {"reduction": "sum"}, False),
]


@pytest.mark.parametrize(("name", "arguments", "of_classes"), MODULES)
def test_modules_are_torchs(rng, dtype, name, arguments, of_classes):
    torch = pytest.importorskip("torch")
    x, target, weight = class_case(rng, ((6, 4), (6,)), dtype, ignored=0)
    if not of_classes:
        target = rng.random(x.shape).astype(dtype)
    for weighted in (False, True) if of_classes else (False,):
        ours = getattr(nn, name)(**arguments, **({"weight": batten.tensor(weight)} if weighted else {}))
        theirs = getattr(torch.nn, name)(**arguments, **({"weight": torch.tensor(weight)} if weighted else {}))
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert_like_torch(
            lambda x, f=ours: f(x, batten.tensor(target)), lambda x, f=theirs: f(x, torch.tensor(target)), x
        )


def test_arguments_by_position_and_weights_in_another_type(rng):
    x, target, weight = class_case(rng, ((6, 4), (6,)), np.float64)
    loss = nn.CrossEntropyLoss(batten.tensor(weight).float(), None, -100, None, "sum", 0.1)
    with pytest.raises(ValueError, match=r"a weight for each class, float64\[4\], got float32\[4\]"):
        loss(batten.tensor(x), batten.tensor(target))
    expected = F.cross_entropy(
        batten.tensor(x),
        batten.tensor(target),
        batten.tensor(weight.astype(np.float32).astype(np.float64)),
        reduction="sum",
        label_smoothing=0.1,
    )
    assert loss.double()(batten.tensor(x), batten.tensor(target)).item() == expected.item()
    assert list(loss.parameters()) == []
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'average'"):
        nn.MSELoss(None, None, "average")(batten.ones(2), batten.ones(2))


def test_modules_of_two_classes_are_torchs(rng, dtype):
    torch = pytest.importorskip("torch")
    x, t = operands(rng, (5, 3), dtype, PROBABILITY, (0, 1))
    w = rng.uniform(0.5, 2, 3).astype(dtype)
    for name, settings in [
        ("BCELoss", {}),
        ("BCELoss", {"weight": w}),
        ("BCEWithLogitsLoss", {"weight": w, "reduction": "none"}),
        ("BCEWithLogitsLoss", {"pos_weight": w}),
    ]:
        ours, theirs = [
            getattr(lib.nn, name)(**{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()})
            for lib in (batten, torch)
        ]
        assert repr(ours) == repr(theirs)
        assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
            k: v.tolist() for k, v in theirs.state_dict().items()
        }
        assert_like_torch(ours, theirs, x, t)

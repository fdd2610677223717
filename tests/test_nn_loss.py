"""Losses: against their formulas, beside PyTorch, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import batten
import batten.nn.functional as F  # noqa: N812
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


# ---- of differences ----

ELEMENTS = [(3, 4), (), (0, 3), (2, 1, 5)]


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_differences_are_their_definition(rng, dtype, name):
    power = {"mse_loss": 2, "l1_loss": 1}[name]
    for shape, reduction, weighted in itertools.product(ELEMENTS, REDUCTIONS, (False, True)):
        x, t, w = [np.asarray(rng.standard_normal(shape), dtype) for _ in range(3)]
        w = np.abs(w) if weighted else None
        losses = np.abs(x.astype(np.float64) - t) ** power * (1 if w is None else w)
        with np.errstate(invalid="ignore"):
            mean = losses.sum() / (losses.size if w is None else w.sum())
        expected = {"none": losses, "sum": losses.sum(), "mean": mean}[reduction]
        y = getattr(F, name)(
            batten.tensor(x), batten.tensor(t), reduction=reduction, weight=None if w is None else batten.tensor(w)
        )
        assert_close(y, np.asarray(expected, dtype))


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_differences_are_torchs(rng, dtype, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    for shape, reduction in itertools.product(ELEMENTS, REDUCTIONS):
        x, t, w = [np.asarray(rng.standard_normal(shape), dtype) for _ in range(3)]
        assert_like_torch(
            lambda x, t, r=reduction: ours(x, t, reduction=r), lambda x, t, r=reduction: theirs(x, t, reduction=r), x, t
        )
        assert_like_torch(
            lambda x, t, w, r=reduction: ours(x, t, reduction=r, weight=w),
            lambda x, t, w, r=reduction: theirs(x, t, reduction=r, weight=w),
            x,
            t,
            np.abs(w),
        )


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss])
def test_shapes_that_differ_are_broadcast_with_a_warning(function):
    x = batten.zeros(4, requires_grad=True)
    with pytest.warns(UserWarning, match=rf"{function.__name__} of an input \[4\] and a target \[4, 1\]") as caught:
        loss = function(x, batten.ones(4, 1), reduction="none")
    assert caught[0].filename == __file__
    assert loss.shape == (4, 4)
    with pytest.raises(
        ValueError, match=rf"{function.__name__} expects shapes that broadcast to one, got \[4\] and \[3\]"
    ):
        function(x, batten.ones(3))


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss])
def test_differences_refused(function):
    x = batten.zeros(4)
    with pytest.raises(TypeError, match=f"{function.__name__} expects floats, got int64"):
        function(x.long(), x)
    with pytest.raises(ValueError, match=r"'mean', 'sum' or 'none', got None"):
        function(x, x, reduction=None)
    with pytest.raises(ValueError, match=r"a weight for each element, \[4\], got \[1\]"):
        function(x, x, weight=batten.ones(1))
    assert function(x, batten.tensor([1, 1, 1, 1])).item() == 1  # an integer target meets a float input


# ---- modules ----

# A module, its arguments, and whether its targets are classes.
MODULES = [
    ("CrossEntropyLoss", {}, True),
    ("CrossEntropyLoss", {"ignore_index": 1, "label_smoothing": 0.2, "reduction": "sum"}, True),
    ("NLLLoss", {"reduction": "none"}, True),
    ("MSELoss", {}, False),
    ("MSELoss", {"reduction": "sum"}, False),
    ("L1Loss", {"reduction": "none"}, False),
]


@pytest.mark.parametrize(("name", "arguments", "of_classes"), MODULES)
def test_modules_are_torchs(rng, dtype, name, arguments, of_classes):
    torch = pytest.importorskip("torch")
    x, target, weight = class_case(rng, ((6, 4), (6,)), dtype, ignored=0)
    if not of_classes:
        target = rng.standard_normal(x.shape).astype(dtype)
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

"""Schedules of learning rates: beside PyTorch's and their closed forms, their states, and what they refuse."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import itertools
import json
import math
import pickle
import types
import warnings
import weakref

import numpy as np
import pytest

import batten
from batten.optim import lr_scheduler
from batten.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from batten.optim.swa_utils import SWALR

EPOCHS = 60


class Wave:
    """A function of the epoch with something to save."""

    def __init__(self, size):
        self.size = size

    def __call__(self, t):
        return 1 + self.size * math.sin(t)


def cases(**options):
    """All combinations of lists of options."""
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def fade(t):
    return 0.97**t


# Schedules by name, and the options that each is tried with.
SWEEP = {
    "StepLR": [{"step_size": 30}, *cases(step_size=[1, 3, 20], gamma=[0.1, 0.7])],
    "MultiStepLR": [{"milestones": (2, 30)}, *cases(milestones=[[], [0], [4, 30, 7], [5, 5, 9]], gamma=[0.1, 0.7])],
    "ConstantLR": [{}, {"factor": 0, "total_iters": 70}, *cases(factor=[0.3, 1.0], total_iters=[0, 1, 40, 100])],
    "LinearLR": [
        {},
        *cases(start_factor=[0.1, 1.0], end_factor=[0.4, 1.0], total_iters=[1, 7, 60]),
        *cases(start_factor=[1.0], end_factor=[0.0], total_iters=[1, 7, 60]),
    ],
    "ExponentialLR": cases(gamma=[0.9, 1.0, 1.1]),
    "PolynomialLR": [{}, *cases(total_iters=[1, 9, 60], power=[0.5, 1.0, 2.0])],
    "CosineAnnealingLR": [{"T_max": 10}, *cases(T_max=[1, 7, 50, 100], eta_min=[0.0, 0.02])],
    "CosineAnnealingWarmRestarts": cases(T_0=[1, 4, 100], T_mult=[1, 2, 3], eta_min=[0.0, 0.02]),
    "CyclicLR": [
        {},
        *cases(mode=["triangular", "triangular2"], step_size_up=[1, 7], step_size_down=[None, 3]),
        *cases(mode=["exp_range"], gamma=[0.99], step_size_up=[1, 7], step_size_down=[None, 3]),
        *cases(scale_fn=[fade], scale_mode=["cycle", "iterations"], step_size_up=[5]),
        *cases(step_size_up=[4], cycle_momentum=[False], base_momentum=[0.7]),
        *cases(base_lr=[[0.01, 0.02]], max_lr=[[0.3, 0.5]], base_momentum=[[0.6, 0.7]], max_momentum=[[0.9, 0.8]]),
    ],
    "OneCycleLR": [
        {},
        *cases(pct_start=[0.0, 0.25, 0.5, 0.9], anneal_strategy=["cos", "linear"], three_phase=[False, True]),
        *cases(epochs=[5], steps_per_epoch=[13], total_steps=[None], div_factor=[5]),
        *cases(cycle_momentum=[False], final_div_factor=[10.0]),
        *cases(max_lr=[[0.3, 0.5]], base_momentum=[[0.6, 0.7]], max_momentum=[[0.9, 0.8]]),
    ],
    "LambdaLR": [{"lr_lambda": f} for f in (fade, lambda t: 1 / (1 + t), [fade, lambda t: 1.0], [Wave(0.5), fade])],
    "MultiplicativeLR": [{"lr_lambda": f} for f in (lambda t: 0.95, [Wave(0.1), lambda t: 1 - 0.01 * t])],
    "SWALR": [{}, *cases(anneal_epochs=[0, 1, 20], anneal_strategy=["cos", "linear"], swa_lr=[0.05, [0.3, 0.001]])],
}
DEFAULTS = {
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 60},
    "SWALR": {"swa_lr": 0.05},
}
SWEPT = [(name, {**DEFAULTS.get(name, {}), **options}) for name, sweep in SWEEP.items() for options in sweep]
each_kind = pytest.mark.parametrize("name", SWEEP)


def kind(lib, name):
    return getattr(lib.optim.swa_utils if name == "SWALR" else lib.optim.lr_scheduler, name)


def make_optimizer(lib=batten, optimizer="SGD", lrs=(0.1, 0.02)):
    """An optimizer of a group for each learning rate, which has nothing to do."""
    groups = [{"params": [lib.zeros(2, requires_grad=True)], "lr": lr} for lr in lrs]
    return getattr(lib.optim, optimizer)(groups, **{"momentum": 0.9} if optimizer == "SGD" else {})


def options_of(optimizer):
    """What a schedule may write."""
    names = ("lr", "initial_lr", "momentum", "betas", "max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr")
    return [
        {
            name: float(value) if hasattr(value, "item") else value
            for name in names
            if (value := group.get(name)) is not None
        }
        for group in optimizer.param_groups
    ]


def walk(optimizer, schedule, epochs=EPOCHS, change=None):
    """What all epochs find in the groups, with changes from outside on the way."""
    seen = []
    for t in range(epochs):
        seen.append((options_of(optimizer), list(schedule.get_last_lr())))
        if change:
            change(optimizer, t)
        optimizer.step()
        schedule.step()
    return [*seen, options_of(optimizer)]


def disturb(optimizer, t):
    """Another hand on the learning rates."""
    if t % 7 == 3:
        for group in optimizer.param_groups:
            group["lr"] *= 0.8
    if t == 20:
        optimizer.param_groups[1]["lr"] = 0.5


def error_of(function):
    """The kind of the exception, or None."""
    try:
        function()
    except Exception as error:
        return type(error)
    return None


# ---- beside PyTorch ----


@each_kind
def test_sixty_epochs_beside_pytorch(name):
    torch = pytest.importorskip("torch")
    for options, optimizer, change in itertools.product(SWEEP[name], ["SGD", "Adam"], [None, disturb]):
        options = {**DEFAULTS.get(name, {}), **options}
        results = []
        for lib in (batten, torch):
            o = make_optimizer(lib, optimizer)
            results.append(walk(o, kind(lib, name)(o, **options), change=change))
        assert results[0] == results[1], f"{name}({options}) of {optimizer}"


@each_kind
def test_epochs_that_are_given(name):
    """The closed forms, where there are any."""
    torch = pytest.importorskip("torch")
    for options in SWEEP[name]:
        options = {**DEFAULTS.get(name, {}), **options}
        results = []
        for lib in (batten, torch):
            o, seen = make_optimizer(lib), []
            schedule = kind(lib, name)(o, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for t in (3, 10, None, 0, None, None, 31, 55, 56):
                    o.step()
                    schedule.step(t)
                    seen.append((options_of(o), schedule.get_last_lr(), schedule.last_epoch))
            results.append(seen)
        assert results[0] == results[1], f"{name}({options})"


@each_kind
def test_resuming_by_last_epoch(name):
    torch = pytest.importorskip("torch")
    for options, last_epoch in itertools.product(SWEEP[name], [0, 4, 29]):
        options = {**DEFAULTS.get(name, {}), **options}
        if options.get("T_mult", 1) > 1:
            continue  # PyTorch forgets the restarts before last_epoch: below
        results = []
        for lib in (batten, torch):
            o = make_optimizer(lib)
            walk(o, kind(lib, name)(o, **options), last_epoch)
            results.append(walk(o, kind(lib, name)(o, **options, last_epoch=last_epoch), 20))
        assert results[0] == results[1], f"{name}({options}) from {last_epoch}"


@each_kind
def test_a_state_from_pytorch_and_one_for_it(name):
    torch = pytest.importorskip("torch")
    for options in SWEEP[name]:
        options = {**DEFAULTS.get(name, {}), **options}
        made = [(lib, o := make_optimizer(lib), kind(lib, name)(o, **options)) for lib in (batten, torch)]
        for _, o, schedule in made:
            walk(o, schedule, 13)
        states = [(schedule.state_dict(), o.state_dict()) for _, o, schedule in made]
        assert states[0][0] == states[1][0], f"{name}({options})"
        results = [walk(o, schedule, 20) for _, o, schedule in made]
        for lib in (batten, torch):
            for state, optimizer_state in states:
                o = make_optimizer(lib)
                schedule = kind(lib, name)(o, **options)
                o.load_state_dict(optimizer_state)
                schedule.load_state_dict(dict(state))
                results.append(walk(o, schedule, 20))
        assert all(result[1:] == results[0][1:] for result in results), f"{name}({options})"


EXPONENTIAL = ("ExponentialLR", {"gamma": 0.9})
SWA = ("SWALR", {"swa_lr": 0.05})
COMBINED = {
    "warm-up and way down": ([4], [("LinearLR", {"total_iters": 4}), ("CosineAnnealingLR", {"T_max": 50})]),
    "three": ([3, 20], [("ConstantLR", {}), EXPONENTIAL, ("StepLR", {"step_size": 4})]),
    "at once": ([0], [("ConstantLR", {}), ("PolynomialLR", {"total_iters": 20})]),
    "one": ([], [("ConstantLR", {})]),
    "no closed form": ([5], [EXPONENTIAL, ("MultiplicativeLR", {"lr_lambda": fade})]),
    "restarts": ([5], [("LinearLR", {}), ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2})]),
    "restarts first": ([9], [("CosineAnnealingWarmRestarts", {"T_0": 4}), ("LambdaLR", {"lr_lambda": fade})]),
    "cycles": ([5], [("LinearLR", {}), ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4})]),
    "one cycle": ([5], [("OneCycleLR", {"max_lr": 0.3, "total_steps": 40}), ("MultiStepLR", {"milestones": [3]})]),
    "averages": ([5], [("StepLR", {"step_size": 2}), SWA]),
    "product": (None, [("ConstantLR", {"total_iters": 20}), EXPONENTIAL]),
    "product of many": (None, [("StepLR", {"step_size": 7}), ("LinearLR", {}), ("CosineAnnealingLR", {"T_max": 9})]),
    "product of one": (None, [("ConstantLR", {})]),
    "product and averages": (None, [("StepLR", {"step_size": 7}), SWA]),
}


def combine(lib, o, milestones, parts):
    """Schedules one after the other, or without milestones all at once."""
    schedulers = [kind(lib, name)(o, **options) for name, options in parts]
    if milestones is None:
        return lib.optim.lr_scheduler.ChainedScheduler(schedulers)
    return lib.optim.lr_scheduler.SequentialLR(o, schedulers, milestones)


@pytest.mark.parametrize("case", COMBINED)
def test_combinations_beside_pytorch(case):
    torch = pytest.importorskip("torch")
    for change in (None, disturb):
        results, states = [], []
        for lib in (batten, torch):
            o = make_optimizer(lib)
            schedule = combine(lib, o, *COMBINED[case])
            results.append(walk(o, schedule, 17 if case == "one cycle" else EPOCHS, change=change))
            states.append((schedule.state_dict(), o.state_dict()))
        assert results[0] == results[1]
        assert states[0][0] == states[1][0]
        after = []
        for lib, (state, optimizer_state) in itertools.product((batten, torch), states):
            o = make_optimizer(lib)
            schedule = combine(lib, o, *COMBINED[case])
            o.load_state_dict(optimizer_state)
            schedule.load_state_dict(dict(state))
            after.append(walk(o, schedule, 10, change=change))
        assert all(result[1:] == after[0][1:] for result in after)


def test_a_sequence_within_a_chain_beside_pytorch():
    torch = pytest.importorskip("torch")
    results = []
    for lib in (batten, torch):
        o, s = make_optimizer(lib), lib.optim.lr_scheduler
        sequence = s.SequentialLR(o, [s.ConstantLR(o, 0.5, 2), s.ExponentialLR(o, 0.9)], [3])
        results.append(walk(o, s.ChainedScheduler([sequence, s.ExponentialLR(o, 0.5)], o)))
    assert results[0] == results[1]


def test_a_sequence_that_counts_from_elsewhere_beside_pytorch():
    torch = pytest.importorskip("torch")
    for last_epoch in (0, 3, 20):
        results = []
        for lib in (batten, torch):
            o, s = make_optimizer(lib), lib.optim.lr_scheduler
            parts = [s.LinearLR(o), s.ExponentialLR(o, 0.9)]
            results.append(walk(o, s.SequentialLR(o, parts, [7], last_epoch)))
        assert results[0] == results[1]


PLATEAUS = [
    *cases(mode=["min", "max"], threshold_mode=["rel", "abs"], threshold=[1e-4, 0.1], patience=[0, 2], cooldown=[0, 3]),
    *cases(factor=[0.5], min_lr=[0.01, [0.05, 0.001]], patience=[1]),
    *cases(eps=[0.02], factor=[0.7], patience=[1]),
    {},
]


def test_plateaus_beside_pytorch(rng):
    torch = pytest.importorskip("torch")
    noise = rng.standard_normal(EPOCHS)
    ways = [1 / (1 + np.arange(EPOCHS)) + 0.1 * noise, noise, np.ones(EPOCHS), -np.arange(EPOCHS) / 9 + noise]
    ways.append(np.where(np.arange(EPOCHS) % 5 == 2, np.nan, ways[0]))
    ways.append(np.where(np.arange(EPOCHS) % 9 == 2, -np.inf, ways[0]))
    for options, way in itertools.product(PLATEAUS, ways):
        results = []
        for lib in (batten, torch):
            o, seen = make_optimizer(lib), []
            schedule = lib.optim.lr_scheduler.ReduceLROnPlateau(o, **options)
            for t, metric in enumerate(way):
                schedule.step(lib.tensor(metric) if t % 2 else float(metric))
                seen.append(
                    (
                        options_of(o),
                        {key: str(value) for key, value in schedule.state_dict().items()},
                        schedule.in_cooldown,
                    )
                )
                disturb(o, t)
            results.append(seen)
        assert results[0] == results[1], f"ReduceLROnPlateau({options})"


def test_a_plateau_s_state_from_pytorch_and_one_for_it():
    torch = pytest.importorskip("torch")
    metrics = [3, 2, 2, 2.5, 2.4, 2.2, 2.1, 1, 1, 1, 1, 1]
    results = []
    for source, target in itertools.product((batten, torch), repeat=2):
        first, second = (lib.optim.lr_scheduler.ReduceLROnPlateau for lib in (source, target))
        before, after = make_optimizer(source), make_optimizer(target)
        old = first(before, mode="min", patience=1, cooldown=1)
        for metric in metrics[:5]:
            old.step(metric)
        after.load_state_dict(before.state_dict())
        new = second(after, mode="max")
        new.load_state_dict(old.state_dict())
        for metric in metrics[5:]:
            new.step(metric)
        results.append((options_of(after), new.state_dict()))
    assert all(result == results[0] for result in results)


def test_signatures_are_pytorch_s():
    torch = pytest.importorskip("torch")
    for name in torch.optim.lr_scheduler.__all__:
        if name != "LRScheduler":
            ours, theirs = (inspect.signature(getattr(lib.optim.lr_scheduler, name)) for lib in (batten, torch))
            assert [(p.name, p.default) for p in ours.parameters.values()] == [
                (p.name, p.default) for p in theirs.parameters.values()
            ], name
    ours, theirs = inspect.signature(SWALR), inspect.signature(torch.optim.swa_utils.SWALR)
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


# ---- by hand ----


def cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def line(start, end, share):
    return start + (end - start) * share


def triangle(t):
    """Up in 4 steps, down in 2."""
    x = t % 6
    return x / 4 if x <= 4 else (6 - x) / 2


BY_HAND = [
    (StepLR, {"step_size": 7, "gamma": 0.5}, lambda lr, t: lr * 0.5 ** (t // 7)),
    (MultiStepLR, {"milestones": [5, 9, 9], "gamma": 0.5}, lambda lr, t: lr * 0.5 ** ((t >= 5) + 2 * (t >= 9))),
    (ConstantLR, {"factor": 0.25, "total_iters": 6}, lambda lr, t: lr * (0.25 if t < 6 else 1)),
    (
        LinearLR,
        {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 9},
        lambda lr, t: lr * line(0.2, 0.9, min(t, 9) / 9),
    ),
    (ExponentialLR, {"gamma": 0.9}, lambda lr, t: lr * 0.9**t),
    (PolynomialLR, {"total_iters": 30, "power": 1.5}, lambda lr, t: lr * (1 - min(t, 30) / 30) ** 1.5),
    (CosineAnnealingLR, {"T_max": 20, "eta_min": 0.01}, lambda lr, t: cosine(lr, 0.01, t / 20)),
    (CosineAnnealingWarmRestarts, {"T_0": 5, "eta_min": 0.01}, lambda lr, t: cosine(lr, 0.01, t % 5 / 5)),
    (CosineAnnealingWarmRestarts, {"T_0": 60, "T_mult": 2}, lambda lr, t: cosine(lr, 0, t / 60)),
    (LambdaLR, {"lr_lambda": fade}, lambda lr, t: lr * fade(t)),
    (MultiplicativeLR, {"lr_lambda": lambda t: (t + 1) / (t + 2)}, lambda lr, t: lr * 2 / (t + 2)),
    (SWALR, {"swa_lr": 0.05, "anneal_epochs": 20}, lambda lr, t: cosine(lr, 0.05, min(t, 20) / 20)),
    (
        SWALR,
        {"swa_lr": 0.05, "anneal_epochs": 20, "anneal_strategy": "linear"},
        lambda lr, t: line(lr, 0.05, min(t, 20) / 20),
    ),
    (
        CyclicLR,
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "step_size_down": 2, "mode": "triangular2"},
        lambda lr, t: 0.1 + 0.4 * triangle(t) / 2 ** (t // 6),
    ),
    (
        CyclicLR,
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "step_size_down": 2, "mode": "exp_range", "gamma": 0.9},
        lambda lr, t: 0.1 + 0.4 * triangle(t) * 0.9**t,
    ),
    (
        OneCycleLR,
        {"max_lr": 0.5, "total_steps": 60, "pct_start": 0.35, "div_factor": 10, "final_div_factor": 100},
        lambda lr, t: cosine(0.05, 0.5, t / 20) if t <= 20 else cosine(0.5, 0.0005, (t - 20) / 39),
    ),
    (
        OneCycleLR,
        {"max_lr": 0.5, "total_steps": 60, "pct_start": 0.35, "three_phase": True, "anneal_strategy": "linear"},
        lambda lr, t: np.interp(t, [0, 20, 40, 59], [0.02, 0.5, 0.02, 2e-6]),
    ),
]


@pytest.mark.parametrize(("scheduler", "options", "form"), BY_HAND, ids=lambda x: getattr(x, "__name__", None))
def test_by_hand(scheduler, options, form):
    optimizer = make_optimizer(lrs=(0.4, 0.03))
    seen = walk(optimizer, scheduler(optimizer, **options))[:-1]
    for t, (groups, last) in enumerate(seen):
        expected = [form(lr, t) for lr in (0.4, 0.03)]
        np.testing.assert_allclose([group["lr"] for group in groups], expected, rtol=1e-12, atol=1e-15, err_msg=str(t))
        assert last == [group["lr"] for group in groups]


def test_momentum_goes_against_the_learning_rate():
    for optimizer in (make_optimizer(), make_optimizer(optimizer="Adam")):
        schedule = CyclicLR(optimizer, 0.1, 0.5, step_size_up=4, step_size_down=2, base_momentum=0.5, max_momentum=0.75)
        for t in range(20):
            for group in optimizer.param_groups:
                momentum = group["betas"][0] if "betas" in group else group["momentum"]
                assert momentum == pytest.approx(0.75 - 0.25 * triangle(t), rel=1e-12)
            optimizer.step()
            schedule.step()
    optimizer = make_optimizer(optimizer="Adam")
    optimizer.param_groups[1]["betas"] = (0.9, 0.95)
    schedule = OneCycleLR(optimizer, 0.5, total_steps=60, pct_start=0.35, base_momentum=0.5, max_momentum=0.75)
    for t in range(60):
        expected = cosine(0.75, 0.5, t / 20) if t <= 20 else cosine(0.5, 0.75, (t - 20) / 39)
        assert optimizer.param_groups[1]["betas"] == (pytest.approx(expected, rel=1e-12), 0.95)
        optimizer.step()
        schedule.step()


def test_a_plateau_by_hand():
    optimizer = make_optimizer(lrs=(1.0, 0.3))
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=[0, 0.1], threshold=0.1)
    way = [
        (10, 1.0, 0.3), (9.5, 1.0, 0.3),  # less than a tenth better is none
        (8, 1.0, 0.3), (8, 1.0, 0.3), (8, 0.5, 0.15),  # the second bad one
        (9, 0.5, 0.15),  # cooling down
        (9, 0.5, 0.15), (math.nan, 0.25, 0.1), (math.nan, 0.25, 0.1), (7, 0.25, 0.1), (7, 0.25, 0.1), (7, 0.125, 0.1),
    ]  # fmt: skip
    for metric, *expected in way:
        schedule.step(metric)
        assert schedule.get_last_lr() == expected, metric

    schedule = ReduceLROnPlateau(make_optimizer(lrs=(1.0, 1.5)), factor=0.5, patience=0, eps=0.5)
    for expected in ([1.0, 1.5], [1.0, 0.75], [1.0, 0.75]):
        schedule.step(1)
        assert schedule.get_last_lr() == expected  # which would change by no more than eps


def test_one_cycle_whose_way_up_has_no_length():
    """One batch of warm-up is where PyTorch divides by zero."""
    optimizer = make_optimizer()
    schedule = OneCycleLR(optimizer, 0.5, total_steps=10, pct_start=0.1, anneal_strategy="linear", final_div_factor=4)
    seen = [groups[0]["lr"] for groups, _ in walk(optimizer, schedule, 10)[:-1]]
    np.testing.assert_allclose(seen, [line(0.5, 0.005, t / 9) for t in range(10)], rtol=1e-12)


def restarts(t, first, factor):
    while t >= first:
        t, first = t - first, first * factor
    return t / first


def test_restarts_are_where_they_are_said_to_be():
    """In epochs that are given, where PyTorch's logarithm misses some, and after last_epoch, where it forgets them."""
    for first, factor in itertools.product([1, 2, 5], [2, 3, 10]):
        optimizer = make_optimizer(lrs=(1.0,))
        schedule = CosineAnnealingWarmRestarts(optimizer, first, factor)
        for t in (0.25, 1, 3, 4, 11, 12.5, 13, 40, 111, 121, 364, 1093, 1e6):
            schedule.step(t)
            assert schedule.get_last_lr() == [pytest.approx(cosine(1, 0, restarts(t, first, factor)), abs=1e-12)]
            assert schedule.last_epoch == int(t)
        for last_epoch in (3, 20, 120):
            schedule = CosineAnnealingWarmRestarts(optimizer, first, factor, last_epoch=last_epoch)
            for t in range(last_epoch + 1, last_epoch + 30):
                assert schedule.get_last_lr() == [pytest.approx(cosine(1, 0, restarts(t, first, factor)), abs=1e-12)]
                schedule.step()
    for epoch in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="non-negative"):
            schedule.step(epoch)


def test_a_place_in_a_cycle_is_kept():
    schedule = CosineAnnealingWarmRestarts(make_optimizer(lrs=(1.0,)), 4)
    for place in (7, 8, 9):  # set from outside
        schedule.T_cur = place
        schedule.step()
        assert schedule.T_cur == (place + 1) % 4
    schedule.step(0)
    for epoch, at in [(None, 1), (2.5, 2.5), (None, 3.5), (None, 0.5), (26, 2), (None, 3), (None, 0)]:
        schedule.step(epoch)
        assert schedule.get_last_lr() == [pytest.approx(cosine(1, 0, at / 4), abs=1e-15)]


# ---- one after the other, and all at once ----


def fresh(make):
    """The learning rates of a schedule by itself."""
    optimizer = make_optimizer(lrs=(1.0,))
    return [last[0] for _, last in walk(optimizer, make(optimizer), 12)[:-1]]


def constant_then_exponential(o):
    return SequentialLR(o, [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.9)], [3])


def product(o):
    return ChainedScheduler([ConstantLR(o, 0.5, 2), ExponentialLR(o, 0.9)])


@pytest.mark.parametrize("inner", [constant_then_exponential, product])
def test_combinations_within_a_sequence(inner):
    """Each goes the way that it goes by itself; PyTorch's are an epoch early, or end in an error."""
    alone = fresh(inner)
    assert fresh(lambda o: SequentialLR(o, [inner(o), ExponentialLR(o, 0.25)], [7])) == alone[:7] + [
        0.25**t for t in range(5)
    ]
    assert fresh(lambda o: SequentialLR(o, [ExponentialLR(o, 0.25), inner(o)], [4])) == [
        *(0.25**t for t in range(4)),
        *alone[:8],
    ]
    twice = fresh(lambda o: SequentialLR(o, [SequentialLR(o, [inner(o), inner(o)], [4]), inner(o)], [8]))
    assert twice == alone[:4] * 3


def test_a_sequence_begins_with_what_the_groups_began_with():
    optimizer = make_optimizer(lrs=(1.0, 0.5))
    parts = [ConstantLR(optimizer, 0.25), LinearLR(optimizer, 0.5), StepLR(optimizer, 1)]
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.0625]
    schedule = SequentialLR(optimizer, parts, [2, 4])
    assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr() == [0.25, 0.125]
    assert [part.last_epoch for part in parts] == [0, -1, -1]
    optimizer.step()
    schedule.step()
    assert schedule.last_epoch == 1 and parts[0].last_epoch == 1


def test_lists_that_are_given_are_copied():
    for make in (lambda o, parts, at: SequentialLR(o, parts, at), lambda o, parts, at: ChainedScheduler(parts)):
        results = []
        for change in (False, True):
            optimizer = make_optimizer()
            parts, milestones = [ConstantLR(optimizer, 0.5, 9), ExponentialLR(optimizer, 0.9)], [3]
            schedule = make(optimizer, parts, milestones)
            if change:
                parts.reverse()
                milestones[0] = 5
            results.append(walk(optimizer, schedule, 12))
        assert results[0] == results[1]


# ---- states ----


def made(lib=batten):
    """A schedule of each kind, by name."""
    for name, sweep in SWEEP.items():
        optimizer = make_optimizer(lib)
        yield name, optimizer, kind(lib, name)(optimizer, **{**DEFAULTS.get(name, {}), **sweep[0]})
    for name, case in COMBINED.items():
        optimizer = make_optimizer(lib)
        yield name, optimizer, combine(lib, optimizer, *case)
    optimizer = make_optimizer(lib)
    yield "ReduceLROnPlateau", optimizer, lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)


def advance(optimizer, schedule, epochs):
    for t in range(epochs):
        optimizer.step()
        schedule.step(*[1 / (t // 4 + 1)] * (type(schedule).__name__ == "ReduceLROnPlateau"))
    return options_of(optimizer)


def by_json(state):
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("way", ["json", "file", "pickle"])
def test_states_go_through_files(way, tmp_path):
    for (name, optimizer, schedule), (_, other, twin) in zip(made(), made(), strict=True):
        advance(optimizer, schedule, 11)
        state = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        if way == "json":
            state = by_json(state)
        elif way == "pickle":
            state = pickle.loads(pickle.dumps(state))
        else:
            batten.save(state, tmp_path / "state")
            state = batten.load(tmp_path / "state")
        other.load_state_dict(state["optimizer"])
        twin.load_state_dict(state["schedule"])
        assert twin.get_last_lr() == schedule.get_last_lr(), name
        assert advance(optimizer, schedule, 25) == advance(other, twin, 25), name
        before, after = schedule.state_dict(), twin.state_dict()
        assert by_json(before) == by_json(after), name


def test_numbers_of_numpy_are_numbers(tmp_path):
    for number in (np.float64, np.float32):
        optimizer = make_optimizer(lrs=[number(0.25), number(0.5)])
        schedules = [
            MultiStepLR(optimizer, np.arange(2, 5), gamma=number(0.5)),
            ReduceLROnPlateau(optimizer, min_lr=list(np.full(2, 0.125, number))),
            SequentialLR(optimizer, [StepLR(optimizer, np.int64(2))], []),
        ]
        for schedule in schedules:
            advance(optimizer, schedule, 3)
            state = schedule.state_dict()
            batten.save(state, tmp_path / "state")
            assert batten.load(tmp_path / "state") == state
            assert json.dumps(state)


def test_loading_changes_no_state_that_is_given():
    for name, optimizer, schedule in made():
        state = schedule.state_dict()
        before = copy.deepcopy(state)
        schedule.load_state_dict(state)
        assert state == before, name
        advance(optimizer, schedule, 3)
        assert state == before, name


def test_what_is_saved_of_functions():
    optimizer = make_optimizer()
    schedule = LambdaLR(optimizer, [Wave(0.25), fade])
    state = schedule.state_dict()
    schedule.lr_lambdas[0].size = 3
    assert state["lr_lambdas"] == [{"size": 0.25}, None]
    other = LambdaLR(make_optimizer(), [Wave(0.5), fade])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].size == 0.25 and other.lr_lambdas[1] is fade
    builtin = MultiplicativeLR(optimizer, math.exp)
    assert builtin.state_dict()["lr_lambdas"] == [None, None]

    before = schedule.state_dict()
    for key, state in (("lr_lambdas", [None]), ("last_epoch", 3)):
        with pytest.raises((ValueError, KeyError), match=r"LambdaLR expects 2 states as lr_lambdas, got 1|lr_lambdas"):
            schedule.load_state_dict({"gamma": 1, key: state})
    sequence = constant_then_exponential(optimizer)
    with pytest.raises(ValueError, match="SequentialLR expects 2 states as _schedulers, got 1"):
        sequence.load_state_dict({"_schedulers": [{}], "last_epoch": 7})
    assert sequence.last_epoch == 0 and schedule.state_dict() == before

    cyclic = CyclicLR(optimizer, 0.1, 1, scale_fn=Wave(0.25))
    assert cyclic.state_dict()["_scale_fn_custom"] == {"size": 0.25}
    twin = CyclicLR(optimizer, 0.1, 1, scale_fn=Wave(0.5))
    twin.load_state_dict(cyclic.state_dict())
    assert twin.scale_fn(2) == Wave(0.25)(2)
    assert CyclicLR(optimizer, 0.1, 1, scale_fn=fade).state_dict()["_scale_fn_custom"] is None
    assert (twin.scale_fn(1), CyclicLR(optimizer, 0.1, 1, mode="triangular2").scale_fn(3)) == (Wave(0.25)(1), 0.25)


def halve(t):
    return 0.5


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_by_themselves(duplicate):
    schedules = [
        lambda o: CosineAnnealingLR(o, 9),
        lambda o: MultiplicativeLR(o, halve),
        lambda o: OneCycleLR(o, 0.5, 40),
        lambda o: CyclicLR(o, 0.1, 0.5, 4, mode="exp_range", gamma=0.9),
        lambda o: ReduceLROnPlateau(o, patience=1),
        constant_then_exponential,
        product,
        lambda o: SWALR(o, 0.5),
    ]
    for make, epochs in itertools.product(schedules, [0, 1, 5]):
        optimizer = make_optimizer()
        schedule = make(optimizer)
        advance(optimizer, schedule, epochs)
        twin_optimizer, twin = duplicate((optimizer, schedule))
        assert twin.optimizer is twin_optimizer is not optimizer
        before = options_of(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            after = advance(twin_optimizer, twin, 7)
        assert options_of(optimizer) == before
        assert advance(optimizer, schedule, 7) == after


def test_no_schedule_is_kept_alive():
    optimizer = make_optimizer()
    gc.disable()
    try:
        for make in (lambda o: StepLR(o, 3), constant_then_exponential, product, lambda o: CyclicLR(o, 0.1, 1)):
            schedule = make(optimizer)
            advance(optimizer, schedule, 3)
            alive = weakref.ref(schedule)
            del schedule
            assert alive() is None
        assert len(optimizer.step_hooks) == 1
        schedule, alive = StepLR(optimizer, 3), weakref.ref(optimizer)
        del optimizer
        assert alive() is schedule.optimizer
        del schedule
        assert alive() is None
    finally:
        gc.enable()


RESUMED = {
    "restarts": (CosineAnnealingWarmRestarts, {"T_0": 3, "T_mult": 2}),
    "cosine": (CosineAnnealingLR, {"T_max": 12, "eta_min": 1e-3}),
    "one cycle": (OneCycleLR, {"max_lr": 0.1, "total_steps": 24}),
    "steps": (MultiStepLR, {"milestones": [5, 12, 13], "gamma": 0.3}),
    "averaging": (SWALR, {"swa_lr": 0.05}),
}


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_resumed_run_is_the_unbroken_one(case, optimizer, tmp_path, rng):
    x, y = (batten.tensor(rng.standard_normal(shape).astype("float32")) for shape in [(40, 6), (40, 2)])
    scheduler, options = RESUMED[case]

    def start():
        batten.manual_seed(3)
        model = batten.nn.Sequential(batten.nn.Linear(6, 8), batten.nn.Tanh(), batten.nn.Linear(8, 2))
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.03}]
        descent = getattr(batten.optim, optimizer)(groups, lr=0.1)
        return model, descent, scheduler(descent, **options)

    def train(model, descent, schedule, epochs):
        for _ in range(epochs):
            descent.zero_grad()
            batten.nn.functional.mse_loss(model(x), y).backward()
            descent.step()
            schedule.step()
        return [p.array.tobytes() for p in model.parameters()], options_of(descent), schedule.state_dict()

    unbroken = train(*start(), 24)
    broken = start()
    train(*broken, 11)
    batten.save([part.state_dict() for part in broken], tmp_path / "run")
    resumed = start()
    for part, state in zip(resumed, batten.load(tmp_path / "run"), strict=True):
        part.load_state_dict(state)
    assert train(*resumed, 13) == unbroken


# ---- groups ----


@pytest.mark.parametrize("name", [*SWEEP, "ReduceLROnPlateau"])
def test_a_group_that_comes_later(name):
    """It is multiplied as the others are, or refused, as in PyTorch."""
    torch = pytest.importorskip("torch")
    for options in SWEEP.get(name, PLATEAUS):
        options, outcomes = {**DEFAULTS.get(name, {}), **options}, []
        for lib in (batten, torch):
            optimizer = make_optimizer(lib)
            schedule = kind(lib, name)(optimizer, **options)

            advance(optimizer, schedule, 1)
            optimizer.add_param_group({"params": [lib.ones(1, requires_grad=True)], "lr": 0.5})
            outcomes.append((error_of(functools.partial(advance, optimizer, schedule, 9)), options_of(optimizer)))
        (error, found), (other_error, expected) = outcomes
        assert error == other_error, f"{name}({options})"
        assert error or found == expected, f"{name}({options})"


def test_a_group_that_comes_later_is_spoken_of():
    for make in (
        lambda o: LambdaLR(o, fade),
        lambda o: CosineAnnealingWarmRestarts(o, 3),
        lambda o: CyclicLR(o, 0.1, 1),
        lambda o: MultiplicativeLR(o, fade),
        lambda o: CosineAnnealingLR(o, 1),
    ):
        optimizer = make_optimizer()
        schedule = make(optimizer)
        advance(optimizer, schedule, 1)
        optimizer.add_param_group({"params": [batten.ones(1, requires_grad=True)]})
        optimizer.step()
        before = [group["lr"] for group in optimizer.param_groups]
        with pytest.raises(ValueError, match="learning rates for 2 parameter groups, but the optimizer has 3"):
            schedule.step()
        assert [group["lr"] for group in optimizer.param_groups] == before
    schedule = ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.1, 0.1, 0.1])
    optimizer.add_param_group({"params": [batten.ones(1, requires_grad=True)], "lr": 1.0})
    schedule.step(0)
    with pytest.raises(RuntimeError, match=r"param groups in the `optimizer` \(4\) differs .* \(3\): extend `min_lrs`"):
        schedule.step(1)
    schedule.min_lrs.append(0.5)
    schedule.step(1)
    assert schedule.get_last_lr()[3] == 0.5


@each_kind
def test_learning_rates_that_are_tensors(name):
    torch = pytest.importorskip("torch")
    for options in SWEEP[name]:
        options, results = {**DEFAULTS.get(name, {}), **options}, []
        for lib in (batten, torch):
            lrs = [lib.tensor(0.1, dtype=lib.float64), lib.tensor(0.02, dtype=lib.float64)]
            optimizer = make_optimizer(lib, lrs=lrs)
            schedule = kind(lib, name)(optimizer, **options)
            results.append(
                [(groups, [float(lr) for lr in last]) for groups, last in walk(optimizer, schedule, 20)[:-1]]
            )
            for lr, last, group in zip(lrs, schedule.get_last_lr(), optimizer.param_groups, strict=True):
                assert group["lr"] is lr is not last and float(last) == float(lr)
                assert name in ("CyclicLR", "OneCycleLR") or group["initial_lr"] is not lr
        assert [last for _, last in results[0]] == [last for _, last in results[1]], f"{name}({options})"
        assert results[0] == results[1], f"{name}({options})"


def test_arguments_that_are_tensors_are_copied():
    """What becomes of them later changes no schedule, and no schedule changes them."""
    for lr in (0.25, batten.tensor(0.25)):
        numbers = {"max_lr": 0.5, "base_momentum": 0.5, "max_momentum": 0.75}
        seen = []
        for make in (batten.tensor, float):
            given = {name: make(number) for name, number in numbers.items()}
            for kind, options in (
                (CyclicLR, {"base_lr": make(0.25), "step_size_up": 2}),
                (OneCycleLR, {"total_steps": 20}),
            ):
                optimizer = make_optimizer(lrs=[lr, copy.deepcopy(lr)])
                schedule = kind(optimizer, **given, **options)
                seen.append(walk(optimizer, schedule, 20))
                assert given == numbers and options.get("base_lr", 0.25) == 0.25
            optimizer = make_optimizer(lrs=[lr, copy.deepcopy(lr)])
            swa_lr = make(0.125)
            schedule = SWALR(optimizer, swa_lr)
            if make is batten.tensor:
                swa_lr.fill_(3)
            seen.append(walk(optimizer, schedule, 20))
        for found, expected in zip(seen[:3], seen[3:], strict=True):
            for (groups, last), (other_groups, other_last) in zip(found[:-1], expected[:-1], strict=True):
                np.testing.assert_allclose([float(x) for x in last], [float(x) for x in other_last], rtol=1e-6)
                assert [float(group["lr"]) for group in groups] == [float(x) for x in last]
                np.testing.assert_allclose(
                    [float(group["momentum"]) for group in groups],
                    [float(group["momentum"]) for group in other_groups],
                    rtol=1e-6,
                )


def test_a_way_down_to_nought_is_not_below_it():
    """An optimizer could not load what it is below."""
    for start, total in itertools.product([0.1, 0.3, 0.7, 1.0], range(1, 60)):
        optimizer = make_optimizer()
        schedule = LinearLR(optimizer, start, 0.0, total)
        advance(optimizer, schedule, total)
        assert all(0 <= lr < 1e-15 for lr in schedule.get_last_lr())
        optimizer.load_state_dict(optimizer.state_dict())


# ---- one's own ----


class WarmUp(LRScheduler):
    """As PyTorch's tutorials have it."""

    def __init__(self, optimizer, steps, last_epoch=-1):
        self.steps = steps
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if not self._get_lr_called_within_step:
            warnings.warn("please use get_last_lr()", UserWarning, stacklevel=2)
        return [lr * min(1, (self.last_epoch + 1) / self.steps) for lr in self.base_lrs]


class Both(WarmUp):
    """With a closed form, too."""

    def _get_closed_form_lr(self):
        return [lr * 0.125 for lr in self.base_lrs]


class Floored(ExponentialLR):
    def get_lr(self):
        return [max(lr, 0.25) for lr in super().get_lr()]


def test_schedules_of_ones_own():
    optimizer = make_optimizer(lrs=(1.0, 0.5))
    schedule, seen = WarmUp(optimizer, 4), []
    for _ in range(6):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert seen == [0.25, 0.5, 0.75, 1, 1, 1]
    assert optimizer.param_groups[1] | {"lr": 0.5, "initial_lr": 0.5} == optimizer.param_groups[1]
    assert schedule.state_dict() == {
        "steps": 4, "base_lrs": [1.0, 0.5], "last_epoch": 6, "_step_count": 7, "_is_initial": False,
        "_get_lr_called_within_step": False, "_last_lr": [1.0, 0.5],
    }  # fmt: skip
    with pytest.warns(UserWarning, match="deprecated"):
        schedule.step(1)
    assert schedule.get_last_lr() == [0.5, 0.25] and schedule.last_epoch == 1
    other = WarmUp(make_optimizer(lrs=(1.0, 0.5)), 8)
    other.load_state_dict(schedule.state_dict())
    other.step()
    assert other.get_last_lr() == [0.75, 0.375]

    both = Both(optimizer, 4)
    with pytest.warns(UserWarning, match="deprecated"):
        both.step(7)
    assert both.get_last_lr() == [0.125, 0.0625]
    optimizer = make_optimizer(lrs=(1.0,))
    assert [last[0] for _, last in walk(optimizer, Floored(optimizer, 0.5), 4)[:-1]] == [1, 0.5, 0.25, 0.25]
    sequence = SequentialLR(optimizer, [WarmUp(optimizer, 2), Floored(optimizer, 0.5)], [3])
    assert [last[0] for _, last in walk(optimizer, sequence, 6)[:-1]] == [0.5, 1, 1, 1, 0.5, 0.25]

    class Nothing(LRScheduler):
        pass

    with pytest.raises(NotImplementedError, match="Nothing does not define get_lr"):
        Nothing(optimizer)

    class TooFew(LRScheduler):
        def get_lr(self):
            return [1.0]

    with pytest.raises(ValueError, match="TooFew has learning rates for 1 parameter groups, but the optimizer has 2"):
        TooFew(make_optimizer())


class Own(batten.optim.Optimizer):
    """An optimizer in PyTorch's style."""

    def __init__(self, params, lr=0.5):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        return None


def test_an_optimizer_of_ones_own():
    optimizer = Own([batten.ones(2, requires_grad=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert advance(optimizer, ExponentialLR(optimizer, 0.5), 3)[0]["lr"] == 0.0625
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        OneCycleLR(optimizer, 0.1, 10)


# ---- warnings and errors ----


def warned(function):
    """How often a call warns, and whether it is this file that is said to be to blame."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    assert all(warning.category is UserWarning for warning in caught)
    return len(caught), all(warning.filename == __file__ for warning in caught)


def test_what_is_warned_of(lib):
    """The same in PyTorch."""
    s, once, never = lib.optim.lr_scheduler, (1, True), (0, True)
    optimizer = make_optimizer(lib)
    schedule = s.StepLR(optimizer, 3)
    assert warned(schedule.get_lr) == (1, lib is batten)
    assert warned(schedule.step) == once  # before the optimizer's
    assert warned(schedule.step) == never  # is said once
    second = s.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    assert warned(second.step) == warned(second.get_last_lr) == never
    assert warned(lambda: second.step(7)) == once
    assert warned(s.LambdaLR(optimizer, halve).step) == never  # it has stepped already

    optimizer = make_optimizer(lib)
    sequence = s.SequentialLR(optimizer, [s.ConstantLR(optimizer), s.StepLR(optimizer, 3)], [2])
    assert warned(sequence.step)[0] == 1
    chain = s.ChainedScheduler([s.ConstantLR(optimizer), s.StepLR(optimizer, 3)])
    assert warned(chain.step)[0] == 2

    plateau, restarts = s.ReduceLROnPlateau(optimizer), s.CosineAnnealingWarmRestarts(optimizer, 3)
    assert warned(lambda: plateau.step(1.0)) == warned(restarts.step) == warned(lambda: restarts.step(2.5)) == never
    assert warned(lambda: plateau.step(1.0, 3)) == once


def test_a_step_that_somebody_else_defines_counts():
    """PyTorch warns of it in any case."""
    optimizer = make_optimizer()
    schedule, before = StepLR(optimizer, 3), optimizer.step
    optimizer.step = types.MethodType(lambda self: before(), optimizer)
    optimizer.step()
    assert warned(schedule.step) == (0, True)


def resumed(s, o):
    return s.StepLR(o, 3, last_epoch=3)


def stepped_too_far(s, o):
    schedule = s.OneCycleLR(o, 0.1, 3)
    for _ in range(3):
        schedule.step()
    schedule.step()


def another(s, o):
    return s.StepLR(type(o)([o.param_groups[0]["params"][0].detach().requires_grad_()]), 3)


REFUSED = [
    (lambda s, o: s.StepLR(3, 3), TypeError, "int is not an Optimizer"),
    (lambda s, o: s.ReduceLROnPlateau("Adam"), TypeError, "str is not an Optimizer"),
    (lambda s, o: s.CyclicLR(None, 0.1, 1), TypeError, "NoneType is not an Optimizer"),
    (lambda s, o: s.OneCycleLR(None, 0.1, 1), TypeError, "NoneType is not an Optimizer"),
    (lambda s, o: s.StepLR(o), TypeError, "step_size"),
    (resumed, KeyError, r"param 'initial_lr' is not specified in param_groups\[0\]"),
    (lambda s, o: s.LambdaLR(o, [halve]), ValueError, "lr_lambda has 1 values, param_groups has 2"),
    (lambda s, o: s.LambdaLR(o, 0.5), TypeError, "lr_lambda should be a function, but got float"),
    (lambda s, o: s.MultiplicativeLR(o, [halve] * 3), ValueError, "lr_lambda has 3 values, param_groups has 2"),
    (lambda s, o: s.MultiplicativeLR(o, [halve, 1]), TypeError, "lr_lambda should be a function, but got int"),
    (lambda s, o: s.ConstantLR(o, 1.5), ValueError, "expected to be between 0 and 1, got 1.5"),
    (lambda s, o: s.ConstantLR(o, -0.5), ValueError, "expected to be between 0 and 1, got -0.5"),
    (lambda s, o: s.LinearLR(o, 0), ValueError, "greater than 0 and less or equal to 1, got 0"),
    (lambda s, o: s.LinearLR(o, 2), ValueError, "greater than 0 and less or equal to 1, got 2"),
    (lambda s, o: s.LinearLR(o, 0.5, -1), ValueError, "expected to be between 0 and 1, got -1"),
    (lambda s, o: s.LinearLR(o, 0.5, 1.5), ValueError, "expected to be between 0 and 1, got 1.5"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0, but got 0"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2.0), ValueError, "positive integer T_0, but got 2.0"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "integer T_mult >= 1, but got 0"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1.5), ValueError, "integer T_mult >= 1, but got 1.5"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1, "0"), ValueError, "float or int eta_min, but got 0 of type"),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "non-negative epoch, but got -1"),
    (lambda s, o: s.CyclicLR(o, 0.1, 1, mode="square"), ValueError, "mode is invalid and scale_fn is None"),
    (lambda s, o: s.CyclicLR(o, [0.1], 1), ValueError, "base_lr has 1 values, param_groups has 2"),
    (lambda s, o: s.CyclicLR(o, 0.1, (1, 1, 1)), ValueError, "max_lr has 3 values, param_groups has 2"),
    (lambda s, o: s.CyclicLR(o, 0.1, 1, base_momentum=[0]), ValueError, "base_momentum has 1 values"),
    (lambda s, o: s.CyclicLR(o, 0.1, 1, max_momentum=[0]), ValueError, "max_momentum has 1 values"),
    (lambda s, o: s.OneCycleLR(o, [0.1], 10), ValueError, "max_lr has 1 values, param_groups has 2"),
    (lambda s, o: s.OneCycleLR(o, 0.1), ValueError, "must define either total_steps OR"),
    (lambda s, o: s.OneCycleLR(o, 0.1, epochs=3), ValueError, "must define either total_steps OR"),
    (lambda s, o: s.OneCycleLR(o, 0.1, 0), ValueError, "positive integer total_steps, but got 0"),
    (lambda s, o: s.OneCycleLR(o, 0.1, 2.5), ValueError, "positive integer total_steps, but got 2.5"),
    (lambda s, o: s.OneCycleLR(o, 0.1, None, -1, 3), ValueError, "positive integer epochs, but got -1"),
    (lambda s, o: s.OneCycleLR(o, 0.1, None, 3, 1.5), ValueError, "positive integer steps_per_epoch, but got 1.5"),
    (lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=1.5), ValueError, "between 0 and 1 pct_start, but got 1.5"),
    (lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=1), ValueError, "between 0 and 1 pct_start, but got 1"),
    (lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"), ValueError, "instead got exp"),
    (stepped_too_far, ValueError, "Tried to step 4 times. The specified number of total steps is 3"),
    (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0, got 1.0"),
    (lambda s, o: s.ReduceLROnPlateau(o, "least"), ValueError, "mode least is unknown"),
    (lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold mode x is unknown"),
    (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "min_lr has 1 values, param_groups has 2"),
    (lambda s, o: s.ReduceLROnPlateau(o).step("good"), ValueError, "could not convert string to float"),
    (lambda s, o: s.ReduceLROnPlateau(o).step(), TypeError, "metrics"),
    (lambda s, o: s.ReduceLROnPlateau(o).get_lr(), NotImplementedError, "ReduceLROnPlateau does not define get_lr"),
    (lambda s, o: s.SequentialLR(o, [], []), ValueError, "expects at least one scheduler"),
    (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3)], [2]), ValueError, "got 1 schedulers and 1 milestones"),
    (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3), 3], [2]), TypeError, "got int at index 1"),
    (lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []), ValueError, "does not support `ReduceLROnPlateau`"),
    (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3), another(s, o)], [2]), ValueError, "StepLR at index 1 belongs to"),
    (lambda s, o: s.ChainedScheduler([]), ValueError, "expects at least one scheduler"),
    (lambda s, o: s.ChainedScheduler([s.StepLR(o, 3), 3]), TypeError, "got int at index 1"),
    (lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), ValueError, "does not support `ReduceLROnPlateau`"),
    (lambda s, o: s.ChainedScheduler([s.StepLR(o, 3), another(s, o)]), ValueError, "StepLR at index 1 belongs to"),
    (lambda s, o: s.ChainedScheduler([another(s, o)], o), ValueError, "StepLR at index 0 belongs to"),
    (lambda s, o: s.ChainedScheduler([s.StepLR(o, 3)]).get_lr(), NotImplementedError, "does not define get_lr"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("function", "error", "message"), REFUSED, ids=lambda x: x if isinstance(x, str) else None)
def test_what_is_refused(function, error, message):
    with pytest.raises(error, match=message):
        function(lr_scheduler, make_optimizer())


@pytest.mark.filterwarnings("ignore")
def test_pytorch_refuses_the_same():
    torch = pytest.importorskip("torch")
    for function, error, message in REFUSED:
        found = error_of(lambda function=function: function(torch.optim.lr_scheduler, make_optimizer(torch)))
        assert found is error, f"{error.__name__}: {message}, {found}"


def test_what_swalr_refuses(lib):
    make = lib.optim.swa_utils.SWALR
    for options in ({"anneal_strategy": "exp"}, {"anneal_epochs": -1}, {"anneal_epochs": 2.5}, {"swa_lr": [0.1]}):
        optimizer = make_optimizer(lib)
        with pytest.raises(ValueError, match=r"anneal_strategy must|anneal_epochs must|swa_lr has 1 values"):
            make(optimizer, **{"swa_lr": 0.1, **options})


def test_what_is_refused_changes_nothing():
    optimizer = make_optimizer()
    before = options_of(optimizer)
    for options in ({"max_lr": [1]}, {"mode": "x"}, {"max_momentum": [1]}):
        with pytest.raises(ValueError):
            CyclicLR(optimizer, **{"base_lr": 0.5, "max_lr": 1, **options})
    for options in ({"max_lr": [1]}, {"anneal_strategy": "x"}, {"base_momentum": [1]}):
        with pytest.raises(ValueError):
            OneCycleLR(optimizer, **{"total_steps": 5, "max_lr": 1, **options})
    with pytest.raises(ValueError):
        SWALR(optimizer, 0.5, anneal_epochs=-1)
    assert options_of(optimizer) == before


def test_all_names_are_there():
    torch = pytest.importorskip("torch")
    assert all(hasattr(lr_scheduler, name) for name in torch.optim.lr_scheduler.__all__)
    for name in (*torch.optim.lr_scheduler.__all__, "SWALR"):
        if name != "LRScheduler":
            assert issubclass(SWALR if name == "SWALR" else getattr(lr_scheduler, name), LRScheduler)

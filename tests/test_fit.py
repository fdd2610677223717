"""Training by one call: what is done beside the steps, and that it is nothing that a hand could not do."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import types
from collections.abc import Iterator

import numpy as np
import pytest

import batten
from batten import checkpoint, nn, optim
from batten.metrics import accuracy, evaluate
from batten.optim import lr_scheduler as schedules
from batten.regularization import L1, L2, MAP, Gaussian, MaxNorm
from batten.reuse import Together

TIMES = ("seconds", "images_per_second")


def batches(rng, sizes, features=4, classes=3):
    """Batches of classes that can be told apart, more or less."""
    centres = np.random.default_rng(7).standard_normal((classes, features))
    found = []
    for size in sizes:
        y = rng.integers(0, classes, size)
        x = centres[y] + 0.7 * rng.standard_normal((size, features))
        found.append((batten.tensor(x.astype(np.float32)), batten.tensor(y)))
    return found


def network(dropout=0.3, generator=None):
    batten.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout, generator=generator), nn.Linear(16, 3)
    )


CROSS_ENTROPY = nn.CrossEntropyLoss()


def bits(state):
    return {key: value.array.tobytes() for key, value in state.items()}


def rows(history):
    """All but the times."""
    found = []
    for row in [*history.epochs, *history.steps]:
        found.append({name: value for name, value in row.items() if name not in TIMES})
    return found


class Shuffled:
    """A loader of another order in each epoch, which can say where it is; an epoch that is left early is over."""

    def __init__(self, batches, seed=3):
        self.batches, self.seed, self.epoch, self.place = batches, seed, 0, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.batches))
        try:
            while self.place < len(order):
                self.place += 1
                yield self.batches[order[self.place - 1]]
        finally:
            self.epoch, self.place = self.epoch + 1, 0

    def state_dict(self):
        return {"epoch": self.epoch, "place": self.place}

    def load_state_dict(self, state):
        self.epoch, self.place = state["epoch"], state["place"]


class Told(batten.Callback):
    """Puts what it is told to into the rows of epochs."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, run):
        run.record[self.name] = self.values[run.epoch - 1]


class At(batten.Callback):
    """Does something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, run):
        if run.step == self.step:
            self.action(run)


def small(model=None, **options):
    """A short fit, of a layer to two batches unless something else is said."""
    model = nn.Linear(4, 3) if model is None else model
    settings = {
        "train": batches(np.random.default_rng(0), [8, 8]), "loss": CROSS_ENTROPY, "epochs": 3,
        "optimizer": optim.SGD(model.parameters(), lr=0.1), "progress": False,
    }  # fmt: skip
    return batten.fit(model, **{**settings, **options})


# ---- by hand ----


def test_it_is_a_loop_that_could_be_written_by_hand(rng):
    train, validation = batches(rng, [16, 16, 7]), batches(rng, [20, 5])

    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    schedule = schedules.StepLR(optimizer, 2, 0.5)
    penalty, constraint = L1(1e-3), MaxNorm(0.8)
    handle = constraint.attach(optimizer)
    expected, losses = [], []
    for epoch in range(1, 6):
        model.train()
        loss_sum = penalty_sum = hits = images = 0
        lr = optimizer.param_groups[0]["lr"]
        for x, y in train:
            optimizer.zero_grad()
            output = model(x)
            loss = CROSS_ENTROPY(output, y)
            extra = penalty(model)
            (loss + extra).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
            loss_sum += loss.item() * len(y)
            penalty_sum += extra.item() * len(y)
            hits += accuracy(output, y) * len(y)
            images += len(y)
        row = {"epoch": epoch, "loss": loss_sum / images, "penalty": penalty_sum / images, "accuracy": hits / images}
        model.eval()
        loss_sum = hits = examples = 0
        with batten.no_grad():
            for x, y in validation:
                output = model(x)
                loss_sum += CROSS_ENTROPY(output, y).item() * len(y)
                hits += accuracy(output, y) * len(y)
                examples += len(y)
        row |= {"validation_loss": loss_sum / examples, "validation_accuracy": hits / examples}
        expected.append({**row, "lr": lr, "images": images})
        schedule.step()
    handle.remove()
    by_hand, drawn = bits(model.state_dict()), batten.get_rng_state().tolist()

    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    history = batten.fit(
        model,
        train,
        validation,
        loss=CROSS_ENTROPY,
        optimizer=optimizer,
        epochs=5,
        penalties=L1(1e-3),
        constraints=MaxNorm(0.8),
        clip_grad_norm=0.5,
        scheduler=schedules.StepLR(optimizer, 2, 0.5),
        metrics={"accuracy": accuracy},
        progress=False,
    )
    assert [{name: value for name, value in row.items() if name not in TIMES} for row in history.epochs] == expected
    assert bits(model.state_dict()) == by_hand
    assert batten.get_rng_state().tolist() == drawn
    assert optimizer.param_groups[0]["lr"] != 0.01 and len(optimizer.step_hooks) == 1  # the schedule's
    assert all(module.training for module in model.modules())
    assert [row["loss"] for row in history.steps] == losses
    assert [row["images"] for row in history.steps] == [16, 16, 7] * 5
    assert [row["epoch"] for row in history.steps] == sorted([1, 2, 3, 4, 5] * 3)
    assert history.ended == "epochs" and history.best_epoch is None
    for row in history.epochs:
        assert row["images_per_second"] == row["images"] / row["seconds"] > 0


def test_schedules_are_stepped_when_they_are_meant_to(rng):
    train, validation = batches(rng, [8] * 4), batches(rng, [30])
    by_batch = {
        "OneCycleLR": lambda o: schedules.OneCycleLR(o, max_lr=0.5, total_steps=12),
        "CyclicLR": lambda o: schedules.CyclicLR(o, 0.1, 0.5, step_size_up=3),
        "SequentialLR": lambda o: schedules.SequentialLR(
            o, [schedules.LinearLR(o), schedules.OneCycleLR(o, max_lr=0.5, total_steps=12)], [4]
        ),
    }
    by_epoch = {"ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.5)}
    for name, make in {**by_batch, **by_epoch}.items():
        rates = []
        for by_hand in (True, False):
            model = network()
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            schedule = make(optimizer)
            if not by_hand:
                history = small(model, train=train, optimizer=optimizer, scheduler=schedule)
                rates.append([row["lr"] for row in history.steps])
                continue
            rates.append([])
            for _ in range(3):
                for x, y in train:
                    rates[-1].append(optimizer.param_groups[0]["lr"])
                    optimizer.zero_grad()
                    CROSS_ENTROPY(model(x), y).backward()
                    optimizer.step()
                    if name in by_batch:
                        schedule.step()
                if name in by_epoch:
                    schedule.step()
        assert rates[0] == rates[1], name
        assert len(set(rates[0])) > 2, name

    for monitor, mode, stopping in [
        ("validation_loss", "min", []),
        ("told", "max", [batten.EarlyStopping("told", mode="max", patience=9)]),
        ("loss", "min", None),
    ]:
        seen = []

        class Plateau(schedules.ReduceLROnPlateau):
            def step(self, metrics):
                seen.append(metrics)  # noqa: B023
                super().step(metrics)

        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        metrics = {"told": lambda output, y: 1.0}
        if monitor == "told":
            monitor = "validation_told"
            stopping = [batten.EarlyStopping(monitor, mode="max", patience=9)]
        history = small(
            model, train=train, validation=None if stopping is None else validation, optimizer=optimizer,
            scheduler=Plateau(optimizer, mode, patience=0), callbacks=stopping or [], metrics=metrics,
        )  # fmt: skip
        assert seen == history[monitor] and len(seen) == 3
        if monitor == "validation_told":
            assert history["lr"] == pytest.approx([0.1, 0.1, 0.01])


def test_optimizers_that_measure_elsewhere_are_given_a_closure(rng):
    train = batches(rng, [16, 16])
    makers = {
        "LBFGS": lambda p: optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
        "Nesterov": lambda p: optim.Nesterov(p, lr=0.1),
        "Projected": lambda p: optim.Projected(optim.Nesterov(p, lr=0.1), MaxNorm(0.5)),
        "without": lambda p: optim.Nesterov(p, lr=0.1, lookahead=False),
    }
    for name, make in makers.items():
        model = network(dropout=0)
        optimizer = make(model.parameters())
        assert optimizer.needs_closure == (name != "without")
        losses = []
        for _ in range(3):
            for x, y in train:

                def closure():
                    optimizer.zero_grad()  # noqa: B023
                    loss = CROSS_ENTROPY(model(x), y) + L2(1e-3)(model)  # noqa: B023
                    loss.backward()
                    return loss

                losses.append(optimizer.step(closure).item())
        expected = bits(model.state_dict())
        model = network(dropout=0)
        history = small(model, train=train, optimizer=make(model.parameters()), penalties=[L2(1e-3)])
        assert bits(model.state_dict()) == expected, name
        measured = [np.float32(row["loss"]) + np.float32(row["penalty"]) for row in history.steps]
        assert measured == losses, name


def test_an_optimizer_of_ones_own_needs_no_closure(rng):
    class Descent(optim.Optimizer):
        @batten.no_grad()
        def step(self):
            for w in self.param_groups[0]["params"]:
                w -= 0.1 * w.grad

    ends = []
    for make in (lambda p: Descent(p, {"lr": 0.1}), lambda p: optim.SGD(p, lr=0.1)):
        model = network()
        small(model, optimizer=make(model.parameters()))
        ends.append(model)
    for one, other in zip(*[model.parameters() for model in ends], strict=True):
        np.testing.assert_allclose(one.array, other.array, rtol=1e-5, atol=1e-7)


def test_a_map_s_prior_is_a_penalty():
    objective = MAP(CROSS_ENTROPY, Gaussian(std=0.3), n=16)
    train = batches(np.random.default_rng(0), [8, 8])
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        for x, y in train:
            optimizer.zero_grad()
            objective(model(x), y, model).backward()
            optimizer.step()
    other = network()
    history = small(other, loss=objective, train=train)
    assert bits(other.state_dict()) == bits(model.state_dict())
    assert set(history.epochs[0]) >= {"loss", "penalty"}


def test_modes_and_hooks_are_as_before():
    model = network()
    model.eval()
    model[3].train()
    modes = [module.training for module in model.modules()]
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    small(model, optimizer=optimizer, constraints=[MaxNorm(1.0), MaxNorm(0.5)])
    assert [module.training for module in model.modules()] == modes
    assert not optimizer.step_hooks
    with pytest.raises(ZeroDivisionError):
        small(model, optimizer=optimizer, constraints=MaxNorm(1.0), callbacks=[At(2, lambda run: 1 / 0)])
    assert [module.training for module in model.modules()] == modes
    assert not optimizer.step_hooks and signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- early stopping ----


@pytest.mark.parametrize(
    "options, values, best, epochs",
    [
        ({"patience": 2}, [5, 4, 4.5, 3, 3, 3, 1], 4, 6),
        ({"patience": 1}, [5, 5, 1], 1, 2),
        ({"patience": 2, "min_delta": 1}, [5, 4.5, 3.9, 3.0, 2.9, 2, 0], 3, 5),
        ({"patience": 2, "mode": "max"}, [1, 3, 2, 4, 4, 4, 9], 4, 6),
        ({"patience": 2}, [math.nan, 3, math.nan, math.nan, 1], 2, 4),
        ({"patience": 3}, [math.nan] * 5, None, 3),
        ({"patience": 9}, [3, 2, 1, 2], 3, 4),
    ],
)
def test_early_stopping(options, values, best, epochs):
    kept = {}

    class Keep(batten.Callback):
        def on_epoch_end(self, run):
            kept[run.epoch] = run.snapshot()

    for restore in (True, False):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = schedules.ExponentialLR(optimizer, 0.9)
        stopping = batten.EarlyStopping("told", **options, restore_best=restore)
        history = small(
            model, optimizer=optimizer, scheduler=schedule, epochs=len(values),
            callbacks=[Keep(), Told("told", values), stopping],
        )  # fmt: skip
        assert len(history.epochs) == epochs
        assert history.best_epoch == stopping.best_epoch == best
        assert stopping.best == (None if best is None else values[best - 1])
        assert history.ended == ("epochs" if epochs == len(values) else "early stopping")
        expected = kept[best if restore and best else epochs]
        assert bits(model.state_dict()) == bits(expected["model"])
        assert optimizer.param_groups[0]["lr"] == expected["optimizer"]["param_groups"][0]["lr"]
        assert schedule.state_dict() == expected["scheduler"]
        for number, state in optimizer.state_dict()["state"].items():
            assert bits(state) == bits(expected["optimizer"]["state"][number])


def test_early_stopping_used_again_begins_anew():
    stopping = batten.EarlyStopping("told", patience=2)
    for values, best in (([1, 2, 3, 4], 1), ([9, 8, 7, 8], 3)):
        history = small(epochs=4, callbacks=[Told("told", values), stopping])
        assert history.best_epoch == best


def test_what_early_stopping_refuses():
    with pytest.raises(KeyError, match="no 'validation_loss' to monitor in the epochs, which have epoch, loss, lr"):
        small(callbacks=[batten.EarlyStopping()])
    for options, message in [
        ({"patience": 0}, "patience of at least 1 epoch, got 0"),
        ({"mode": "least"}, "mode is 'min' or 'max', got 'least'"),
        ({"min_delta": -1}, "min_delta is a number of at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            batten.EarlyStopping(**options)


# ---- the validation data ----


class Restless(nn.Module):
    """One weight w, whose loss is (w - y)²."""

    def __init__(self, w=0.0):
        super().__init__()
        self.w = nn.Parameter(batten.tensor(float(w)))

    def forward(self, x):
        return self.w + 0 * x


def numbers(*values):
    return [(batten.zeros(1), batten.tensor([float(value)])) for value in values]


def test_together():
    for first in range(5):
        for second in range(4):
            a, b = [f"a{i}" for i in range(first)], [f"b{i}" for i in range(second)]
            both = list(Together(a, b))
            assert [x for x in both if x[0] == "a"] == a and [x for x in both if x[0] == "b"] == b
            for part in range(len(both)):  # evenly: never more than one batch from its share
                share = part * second / max(1, first + second)
                assert abs(sum(x[0] == "b" for x in both[:part]) - share) <= 1
    loaders = [Shuffled(list(range(5))), Shuffled(list(range(10, 13)))]
    together = Together(*loaders)
    whole = [list(together), list(together)]
    assert whole[0] != whole[1] and [loader.epoch for loader in loaders] == [2, 2]
    for epoch in range(2):
        for stop in range(1, 9):
            together, other = (Together(*[Shuffled(loader.batches) for loader in loaders]) for _ in range(2))
            seen = list(together) if epoch else []
            iterator = iter(together)
            seen += [next(iterator) for _ in range(stop)]
            other.load_state_dict(together.state_dict())
            assert [*seen, *other, *(other if epoch == 0 else [])] == whole[0] + whole[1]
    del iterator  # which leaves the epoch
    assert together.state_dict() == {"place": 0, "loaders": [{"epoch": 2, "place": 0}] * 2}


def test_retrain_begins_anew_with_all_data():
    """w goes from 0 to 1; the validation data would have it at 0.6 at most."""
    train, validation = numbers(1, 1), numbers(0.6)
    ends = []
    for all_data in (None, numbers(0.6, 1, 1)):
        model = Restless()
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        schedule = schedules.ExponentialLR(optimizer, 0.9)
        stopping = batten.EarlyStopping(patience=2)
        history = batten.fit(
            model, train, validation, loss=nn.MSELoss(), optimizer=optimizer, epochs=50, callbacks=[stopping],
            scheduler=schedule, reuse_validation="retrain", all_data=all_data, progress=False,
        )  # fmt: skip
        best = history.best_epoch
        assert 1 < best < 10 and history.reused_after == best + 2
        assert len(history.epochs) == history.reused_after + best
        assert all(("validation_loss" in row) == (number < best + 2) for number, row in enumerate(history.epochs))

        again = Restless()
        optimizer = optim.SGD(again.parameters(), lr=0.05, momentum=0.5)
        schedule = schedules.ExponentialLR(optimizer, 0.9)
        small(
            again, train=all_data or Together(train, validation), optimizer=optimizer, scheduler=schedule,
            loss=nn.MSELoss(), epochs=best,
        )  # fmt: skip
        assert model.w.item() == again.w.item()
        ends.append(model.w.item())
    assert ends[0] != ends[1]  # in another order


def test_continue_goes_on_until_the_target():
    """Both parts can be learned: (w, 0) is where training is, (0, v) where validation is."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(batten.zeros(2))

        def forward(self, x):
            return x @ self.w

    train = [(batten.tensor([[1.0, 0.0]]), batten.tensor([1.0]))]
    validation = [(batten.tensor([[0.3, 1.0]]), batten.tensor([-1.5]))]
    for most, reached in ((200, True), (3, False), (0, False)):
        model = Two()
        stopping = batten.EarlyStopping(patience=2)
        history = batten.fit(
            model, train, validation, loss=nn.MSELoss(), optimizer=optim.SGD(model.parameters(), lr=0.05), epochs=50,
            callbacks=[stopping], reuse_validation="continue", max_extra_epochs=most, progress=False,
        )  # fmt: skip
        assert history.best_epoch == 1  # the more of w, the farther from validation's target
        assert history.target == evaluate_at(Two(), stopping.kept["model"], train)
        assert history.target_reached is reached
        extra = history["validation_loss"][history.reused_after :]
        assert len(extra) == most if not reached else 0 < len(extra) < most
        if reached:
            assert extra[-1] <= history.target < extra[-2]
        if not most:
            assert bits(model.state_dict()) == bits(stopping.kept["model"])


def evaluate_at(model, state, data):
    model.load_state_dict(state)
    return evaluate(model, data, nn.MSELoss())["loss"]


def test_continue_may_be_there_already():
    model = Restless()
    history = batten.fit(
        model, numbers(2), numbers(0.5), loss=nn.MSELoss(), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=9,
        callbacks=[batten.EarlyStopping(patience=1)], reuse_validation="continue", progress=False,
    )  # fmt: skip
    assert history.target_reached and len(history.epochs) == history.reused_after


def test_what_reuse_refuses():
    data = numbers(1)
    for options in ({"callbacks": []}, {"callbacks": [batten.EarlyStopping(restore_best=False)]}, {"validation": None}):
        settings = {"validation": data, "callbacks": [batten.EarlyStopping()], **options}
        with pytest.raises(ValueError, match="'retrain' takes validation data, and EarlyStopping with restore_best"):
            small(reuse_validation="retrain", **settings)

    class Endless:
        def __iter__(self):
            return iter(data)

    with pytest.raises(TypeError, match="batches of loaders that have a length; give it all_data for others"):
        small(reuse_validation="retrain", validation=Endless(), callbacks=[batten.EarlyStopping()])
    with pytest.raises(ValueError, match="reuse_validation is None, 'retrain' or 'continue', got 'both'"):
        small(reuse_validation="both", validation=data, callbacks=[batten.EarlyStopping()])


# ---- interruption and breakdown ----


def test_ctrl_c_ends_after_the_step(tmp_path):
    data = batches(np.random.default_rng(0), [8, 8, 8])

    def run(callbacks, **options):
        model = network()
        settings = {"optimizer": optim.Adam(model.parameters()), "train": data, "epochs": 4, "validation": data[:1]}
        return model, small(model, **{**settings, **options}, callbacks=callbacks)

    model, whole = run([])
    weights = bits(model.state_dict())
    snapshots = []
    stopping = batten.EarlyStopping()
    model, history = run(
        [
            stopping,
            At(6, lambda run: snapshots.append(run.snapshot())),
            At(7, lambda run: signal.raise_signal(signal.SIGINT)),
            batten.Checkpoint(tmp_path, every=100),
        ]
    )
    assert history.ended == "Ctrl-C" and len(history.steps) == 8 and len(history.epochs) == 2
    assert history.best_epoch == 2 and bits(model.state_dict()) == bits(snapshots[0]["model"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [file.name for file in tmp_path.iterdir()] == ["step-000000008.safetensors"]
    model, history = run([batten.EarlyStopping(patience=9, restore_best=False)], resume=tmp_path)
    assert rows(history) == rows(whole) and bits(model.state_dict()) == weights

    def twice(run):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert len(run([At(2, twice)])[1].steps) == 3
    with pytest.raises(KeyboardInterrupt):
        run([At(2, lambda run: [signal.raise_signal(signal.SIGINT) for _ in range(2)])])


@pytest.mark.parametrize("reuse", ["retrain", "continue"])
def test_ctrl_c_while_validation_data_is_learned_from(tmp_path, reuse):
    """What was best is put back; and the run can still go on."""
    whole = resumable(tmp_path / "whole", reuse=reuse)
    first = 4 * whole["rest"][2]  # steps before
    kept = []

    class Keep(batten.Callback):
        def on_epoch_end(self, run):
            kept.append((run.phase, bits(run.model.state_dict())))

    stop = At(first + 3, lambda run: signal.raise_signal(signal.SIGINT))
    part = resumable(tmp_path / "part", reuse=reuse, every=1000, callbacks=[Keep(), stop])
    assert part["rest"][1] == "Ctrl-C"
    assert part["model"] == kept[part["rest"][0] - 1][1]
    assert resumable(tmp_path / "part", reuse=reuse, resume=tmp_path / "part") == whole


def test_in_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(small()))
    thread.start()
    thread.join()
    assert len(found[0].epochs) == 3


def test_a_callback_stops_within_an_epoch():
    history = small(callbacks=[At(3, lambda run: run.stop("enough"))])
    assert len(history.steps) == 3 and len(history.epochs) == 2 and history.ended == "enough"
    assert history.epochs[1]["images"] == 8


class Fails(nn.Module):
    """Lets pass what comes, until the random number of a draw says otherwise."""

    def __init__(self, calls, value=math.nan):
        super().__init__()
        self.calls, self.value = calls, value

    def forward(self, x):
        self.calls -= 1
        return x * self.value if self.calls < 0 else x


def test_a_loss_that_is_not_finite_says_where_it_came_from():
    def model():
        return nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Dropout(0.5), Fails(2)), nn.Linear(8, 3))

    failing = model()
    seen = []
    callbacks = [At(2, lambda run: seen.append(bits(failing.state_dict())))]
    message = (
        r"the loss became nan in step 3 \(epoch 2\), at a learning rate of 0.1; "
        r"the first output that is not finite is that of 1.1 \(Fails\)"
    )
    with pytest.raises(FloatingPointError, match=message):
        small(failing, callbacks=callbacks)
    assert bits(failing.state_dict()) == seen[0]
    assert failing[1][1]._forward_hooks is None or not failing[1][1]._forward_hooks.after

    with pytest.raises(FloatingPointError, match=r"step 1 .* that of 0 \(Linear\)"):
        broken = nn.Sequential(nn.Linear(4, 3))
        broken[0].bias.data.fill_(math.inf)
        small(broken)
    with pytest.raises(FloatingPointError, match="the batch itself has numbers that are not finite"):
        small(train=[(batten.full((2, 4), math.nan), batten.tensor([0, 1]))])
    with pytest.raises(FloatingPointError, match=r"the penalty became inf in step 1 .* all layers' outputs are finite"):
        small(penalties=[lambda model: (model.weight**2).sum() + math.inf])
    with pytest.raises(FloatingPointError, match=r"step 1 .* learning rate of 1; .*Fails"):
        other = nn.Sequential(nn.Linear(4, 3), Fails(0))
        small(other, optimizer=optim.LBFGS(other.parameters()))


def test_the_random_numbers_of_the_forward_that_failed_are_drawn_again():
    class Sometimes(nn.Module):
        """Its output is infinite if the number that it draws is large."""

        def __init__(self, generator):
            super().__init__()
            self.generator = generator

        def forward(self, x):
            drawn = batten.rand(1, generator=self.generator).item() + batten.rand(1).item()
            return x * math.inf if drawn > 1.3 else x

    for seed in range(8):
        generator = batten.Generator().manual_seed(seed)
        batten.manual_seed(seed)
        with pytest.raises(FloatingPointError, match=r"that of 1 \(Sometimes\)"):
            small(nn.Sequential(nn.Linear(4, 3), Sometimes(generator)), epochs=100)


# ---- checkpoints ----


def resumable(folder, *, epochs=3, resume=None, reuse=None, stateful=True, every=1, keep=1000, callbacks=()):
    """A fit in which all goes on that can: what it returns is to be the same however often it is broken off."""
    rng = np.random.default_rng(5)
    train, validation = batches(rng, [8, 8, 8, 5]), batches(rng, [9, 9])
    if stateful:
        train, validation = Shuffled(train), Shuffled(validation, 4)
    model = network(generator=batten.Generator().manual_seed(2))
    model.append(nn.Dropout(0.1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    history = batten.fit(
        model, train, validation, loss=CROSS_ENTROPY, optimizer=optimizer, epochs=epochs,
        scheduler=schedules.OneCycleLR(optimizer, 0.1, total_steps=200), metrics={"accuracy": accuracy},
        penalties=L2(1e-4), progress=False, resume=resume, reuse_validation=reuse, max_extra_epochs=2,
        callbacks=[
            batten.Checkpoint(folder, every, keep, unit="step"), batten.EarlyStopping(patience=2), *callbacks
        ],
    )  # fmt: skip
    state = optimizer.state_dict()["state"]
    return {
        "model": bits(model.state_dict()),
        "optimizer": {number: bits(values) for number, values in state.items()},
        "rows": rows(history),
        "generators": [batten.get_rng_state().tolist(), model[3].generator.get_state().tolist()],
        "loaders": [loader.state_dict() for loader in (train, validation) if stateful],
        "rest": [history.best_epoch, history.ended, history.reused_after, history.target, history.target_reached],
    }


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("reuse", [None, "retrain", "continue"])
def test_a_run_goes_on_from_any_step_with_the_same_bits(tmp_path, reuse, stateful):
    whole = resumable(tmp_path / "whole", reuse=reuse, stateful=stateful)
    files = checkpoint.files(tmp_path / "whole")
    assert len(files) >= 12
    if reuse:
        assert len(files) > 4 * whole["rest"][2]
    for number, file in enumerate(files):
        batten.manual_seed(99)
        again = resumable(tmp_path / f"{number}", resume=file, reuse=reuse, stateful=stateful, every=1000)
        for part, value in whole.items():
            assert again[part] == value, (file.name, part)


def test_optimizers_and_schedules_of_all_kinds_go_on(tmp_path):
    train = batches(np.random.default_rng(0), [8, 8, 8])

    def run(number, folder, resume=None):
        model = network()
        parameters = list(model.named_parameters())
        optimizer = [
            lambda: optim.LBFGS(model.parameters(), max_iter=3),
            lambda: optim.Projected(optim.Nesterov(model.parameters(), lr=0.1), MaxNorm(0.5)),
            lambda: optim.Adagrad(parameters, lr=0.1),
            lambda: optim.SGD(
                [{"params": [parameters[0][1]], "lr": 0.3}, {"params": [parameters[1][1]]}], momentum=0.5
            ),
        ][number]()
        schedule = [
            lambda: schedules.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
            lambda: schedules.SequentialLR(
                optimizer, [schedules.ConstantLR(optimizer), schedules.ExponentialLR(optimizer, 0.9)], [2]
            ),
            lambda: schedules.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
            lambda: schedules.CyclicLR(optimizer, 0.1, 0.5, step_size_up=4),
        ][number]()
        history = small(
            model, train=train, optimizer=optimizer, scheduler=schedule, epochs=4, resume=resume,
            callbacks=[batten.EarlyStopping("loss"), batten.Checkpoint(folder, unit="step", keep=99)],
        )  # fmt: skip
        return bits(model.state_dict()), rows(history)

    for number in range(4):
        folder = tmp_path / f"{number}"
        whole = run(number, folder)
        for step in (2, 6, 7):
            assert run(number, tmp_path / f"{number}-{step}", checkpoint.path(folder, step)) == whole, (number, step)


def test_a_run_that_breaks_down_goes_on_from_the_folder(tmp_path):
    whole = resumable(tmp_path / "whole", every=3, keep=2)
    assert [file.name[8:14] for file in checkpoint.files(tmp_path / "whole")] == ["000009", "000012"]
    for step in (4, 8, 11):
        folder = tmp_path / f"broken{step}"
        with pytest.raises(ZeroDivisionError):
            resumable(folder, every=3, keep=2, callbacks=[At(step, lambda run: 1 / 0)])
        assert resumable(folder, every=3, keep=2, resume=folder) == whole
        with pytest.raises(FileExistsError, match="has checkpoints of another run, such as step-"):
            resumable(folder)


def test_more_epochs_than_at_first(tmp_path):
    whole = resumable(tmp_path / "whole", epochs=5)
    part = resumable(tmp_path / "part", epochs=2)
    assert part["rows"] != whole["rows"]
    state = batten.load(checkpoint.newest(tmp_path / "part"))
    again = resumable(tmp_path / "part", epochs=5, resume=state)
    assert again["rows"] == whole["rows"] and again["model"] == whole["model"]


def test_what_a_checkpoint_saves_at_the_end(tmp_path):
    small(epochs=3, callbacks=[batten.Checkpoint(tmp_path, every=2, keep=9)])
    assert checkpoint.files(tmp_path) == [checkpoint.path(tmp_path, 4), checkpoint.path(tmp_path, 6)]


def test_an_epoch_begins_once(tmp_path):
    begun = []

    class Note(batten.Callback):
        def on_epoch_begin(self, run):
            begun.append(run.epoch)

    resumable(tmp_path / "whole", callbacks=[Note()])
    assert begun == [1, 2, 3]
    for step, epochs in ((1, [2, 3]), (4, [2, 3]), (7, [3]), (12, [])):  # there are four in an epoch
        begun.clear()
        resumable(tmp_path / f"{step}", callbacks=[Note()], resume=checkpoint.path(tmp_path / "whole", step))
        assert begun == epochs


def test_files_of_steps_that_were_not_made_are_removed(tmp_path):
    resumable(tmp_path)
    old = checkpoint.files(tmp_path)[4]
    resumable(tmp_path, resume=old, keep=3)
    assert len(checkpoint.files(tmp_path)) == 3


def test_the_best_epoch_is_kept_apart(tmp_path):
    model = network()
    kept = []
    values = [3, 1, 2, 2]

    class Keep(batten.Callback):
        def on_epoch_end(self, run):
            kept.append(bits(run.model.state_dict()))

    options = {"best": True, "monitor": "told", "every": 2}
    small(model, epochs=4, callbacks=[batten.Checkpoint(tmp_path, **options), Told("told", values), Keep()])
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["best.safetensors", "step-000000008.safetensors"]
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == kept[1]
    # Later epochs that are no better than before the break leave it as it is.
    callbacks = [batten.Checkpoint(tmp_path, **options), Told("told", [*values, 1.5, 0.5])]
    small(model, epochs=5, callbacks=callbacks, resume=tmp_path)
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == kept[1]
    small(model, epochs=6, callbacks=callbacks, resume=tmp_path)
    assert bits(batten.load(tmp_path / "best.safetensors")["model"]) == bits(model.state_dict())


def test_what_cannot_be_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        small(resume=tmp_path)
    with pytest.raises(FileNotFoundError):
        small(resume=tmp_path / "nowhere")
    batten.save({"model": {}}, tmp_path / "other")
    with pytest.raises(
        batten.CheckpointError, match="not the state of a run: it has no format, versions, instruction_set, optimizer, "
    ):
        small(resume=tmp_path / "other")
    batten.save([1], tmp_path / "other")
    with pytest.raises(ValueError, match="expected it to be a dict, got list of 1"):
        small(resume=tmp_path / "other")
    small(callbacks=[batten.EarlyStopping("loss"), batten.Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match="had a callback EarlyStopping without one: give it the same callbacks"):
        small(resume=tmp_path / "run")
    with pytest.raises(ValueError, match="cannot resume a run of reuse_validation=None with 'retrain'"):
        callbacks = [batten.EarlyStopping("loss")]
        small(resume=tmp_path / "run", callbacks=callbacks, validation=numbers(1), reuse_validation="retrain")
    for options, message in [
        ({"every": 0}, "at least 1, got 0 and 1"),
        ({"keep": 0}, "at least 1, got 1 and 0"),
        ({"unit": "hour"}, "'epoch' or 'step', got 'hour'"),
    ]:
        with pytest.raises(ValueError, match=message):
            batten.Checkpoint(tmp_path, **options)


# ---- the other callbacks ----


def test_callbacks_are_told_in_order(tmp_path):
    told = []

    class Note(batten.Callback):
        def __init__(self, name):
            self.name = name

    def noting(event):
        return lambda self, run: told.append((self.name, event, run.epoch, run.step))

    for event in ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end"):
        setattr(Note, event, noting(event))

    class Last(Note, batten.Checkpoint):
        def __init__(self):
            Note.__init__(self, "last")

    small(epochs=1, callbacks=[Last(), Note("a"), Note("b")])
    events = [("on_fit_begin", 0, 0), ("on_epoch_begin", 1, 0), ("on_step_end", 1, 1), ("on_step_end", 1, 2)]
    expected = [(name, *event) for event in [*events, ("on_epoch_end", 1, 2)] for name in ("a", "b", "last")]
    assert told == [*expected, *[(name, "on_fit_end", 1, 2) for name in ("last", "b", "a")]]


def test_csv(tmp_path):
    log = batten.CSVLogger(tmp_path / "log.csv")
    history = small(callbacks=[Told("told", [1, 0.1, 1 / 3]), log])
    header, *lines = (tmp_path / "log.csv").read_text().splitlines()
    assert header == "epoch,loss,lr,images,seconds,images_per_second,told"
    for line, row in zip(lines, history.epochs, strict=True):
        assert [float(cell) for cell in line.split(",")] == list(row.values())


def test_tensorboard(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError):
        small(callbacks=[batten.TensorBoard(tmp_path)])
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    history = small(epochs=1, callbacks=[batten.TensorBoard(tmp_path), batten.Checkpoint(tmp_path / "run")])
    assert written[0] == (str(tmp_path), None) and written[-1] == "closed"
    for step, row in enumerate(history.steps, 1):
        assert ("step/loss", row["loss"], step) in written
    assert ("epoch/loss", history["loss"][0], 2) in written
    written.clear()
    small(epochs=2, callbacks=[batten.TensorBoard(tmp_path)], resume=tmp_path / "run")
    assert written[0] == (str(tmp_path), 3)


def test_tensorboard_itself(tmp_path):
    pytest.importorskip("tensorboardX")
    small(callbacks=[batten.TensorBoard(tmp_path)])
    (file,) = tmp_path.iterdir()
    assert b"epoch/loss" in file.read_bytes()


def test_learning_rates_of_all_groups():
    model = nn.Linear(4, 3)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule = schedules.OneCycleLR(optimizer, [1.0, 2.0], total_steps=6)
    history = small(model, optimizer=optimizer, scheduler=schedule, callbacks=[batten.LRLogger()])
    assert [row["lr_0"] for row in history.steps] == [row["lr"] for row in history.steps]
    assert [row["lr_1"] for row in history.steps] == [2 * row["lr"] for row in history.steps]
    assert history["lr_1"] == [row["lr_1"] for row in history.steps[1::2]]


def test_progress(monkeypatch, capsys):
    small(progress=True)
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data = batches(np.random.default_rng(0), [8, 8])
    small(progress=True, validation=data)
    shown = capsys.readouterr().err
    assert "epoch 3: 100%" in shown and "6/6" in shown and ", loss " in shown and ", validation_loss " in shown

    class Endless:
        def __iter__(self):
            return iter(data)

    small(progress=True, train=Endless())
    assert "6 steps" in capsys.readouterr().err


# ---- history ----


def test_history_as_text_and_state(tmp_path):
    train = batches(np.random.default_rng(0), [8, 8])
    for history in (
        batten.History(),
        small(
            train=train, validation=train, callbacks=[Told("x", [1, 2, 3]), At(2, lambda run: run.record.update(y=7))]
        ),
    ):
        history.best_epoch = len(history.epochs) or None
        again = batten.History.from_json(history.to_json())
        assert vars(again) == vars(history)
        batten.save(history.state_dict(), tmp_path / "history")
        loaded = batten.History()
        loaded.load_state_dict(batten.load(tmp_path / "history"))
        assert vars(loaded) == vars(history)
        assert [[type(value) for value in row.values()] for row in loaded.steps] == [
            [type(value) for value in row.values()] for row in history.steps
        ]
    assert json.loads(history.to_json())["epochs"] == history.epochs
    assert [("y" in row) for row in history.steps] == [False, True, False, False, False, False]
    history.epochs[1].pop("x")
    assert history["x"] == [1, None, 3]
    with pytest.raises(KeyError, match="the epochs have no 'learning', but epoch, loss, validation_loss, lr"):
        history["learning"]


def test_history_is_shown():
    history = batten.History()
    assert repr(history) == "no epochs" and "<table>" in history._repr_html_()
    history.epochs += [{"epoch": n, "loss": 1 / n, "<b>": n} for n in range(1, 13)]
    assert repr(history).count("\n") == 11 and "…" in repr(history)
    page = history._repr_html_()
    assert page.count("<tr>") == 12 and "&lt;b&gt;" in page and "<b>" not in page


def test_history_is_drawn():
    pytest.importorskip("matplotlib")
    history = batten.History()
    for n in range(1, 4):
        row = {"epoch": n, "loss": 1 / n, "accuracy": 0.5, "told": n, "lr": 0.1, "seconds": 1.0}
        history.epochs.append({**row, **({"validation_loss": 2 / n} if n < 3 else {})})
    history.best_epoch, history.reused_after = 2, 2
    figure = history.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "told"]
    loss = figure.axes[0]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        *("training", "validation", "best", "reuse of validation")
    ]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [1, 1 / 2, 1 / 3])
    assert list(loss.lines[1].get_ydata())[:2] == [2, 1]
    assert [axes.get_ylabel() for axes in history.plot("lr").axes] == ["lr"]
    with pytest.raises(KeyError, match="no 'learning'"):
        history.plot("learning")
    figure.canvas.draw()


# ---- metrics ----


def test_accuracy():
    output = batten.tensor([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    assert accuracy(output, batten.tensor([1, 1, 0])) == 2 / 3
    images = batten.zeros(2, 3, 4, 4)
    images[:, 1] = 1
    assert accuracy(images, batten.ones(2, 4, 4, dtype=batten.int64)) == 1
    assert math.isnan(accuracy(batten.zeros(0, 3), batten.zeros(0, dtype=batten.int64)))
    for target in (batten.zeros(3, 1), batten.zeros(2), batten.zeros(())):
        with pytest.raises(ValueError, match=r"accuracy expects outputs \(N, classes, \*\) and targets \(N, \*\), got"):
            accuracy(output, target)


def test_evaluation_counts_examples_and_leaves_the_model_as_it_is(rng):
    model = network()
    data = batches(rng, [10, 3])
    state, drawn = bits(model.state_dict()), batten.get_rng_state().tolist()
    found = evaluate(model, data, CROSS_ENTROPY, {"accuracy": accuracy})
    assert bits(model.state_dict()) == state and batten.get_rng_state().tolist() == drawn
    assert all(module.training for module in model.modules())
    together = [tuple(batten.cat(parts) for parts in zip(*data, strict=True))]
    for name, value in evaluate(model, together, CROSS_ENTROPY, {"accuracy": accuracy}).items():
        assert found[name] == pytest.approx(value, rel=1e-6)
    with pytest.raises(ValueError, match="expected batches, got none"):
        evaluate(model, [], CROSS_ENTROPY)


# ---- what is refused ----


def test_what_fit_refuses():
    data = numbers(1)
    model = Restless()
    plateau = schedules.ReduceLROnPlateau(optim.SGD(model.parameters()), mode="max")
    for options, error, message in [
        ({"train": iter(data)}, TypeError, "goes through train anew in each epoch, and list_iterator is used up after"),
        ({"validation": (x for x in data)}, TypeError, "through validation anew in each epoch, and generator is used"),
        ({"train": nn.Identity()}, TypeError, "expects train to be batches, as a DataLoader makes them, got"),
        ({"optimizer": optim.SGD}, TypeError, "expects an optimizer of the model's parameters, got type"),
        ({"scheduler": [plateau]}, TypeError, "expects a schedule of optim.lr_scheduler, got list"),
        ({"callbacks": [batten.EarlyStopping]}, TypeError, "fit expects callbacks, got type"),
        ({"metrics": {"lr": accuracy}}, ValueError, "other names of metrics than lr, which is in the history"),
        ({"epochs": -1}, ValueError, "epochs to be at least 0, got -1"),
        ({"train": Together([], [])}, ValueError, "expects batches to learn from in each epoch, got none in epoch 1"),
        ({"validation": []}, ValueError, "expected batches, got none"),
        ({"scheduler": plateau}, ValueError, r"ReduceLROnPlateau\(mode='max'\) would follow loss, and minimize it"),
    ]:
        with pytest.raises(error, match=message):
            small(model, **{"loss": nn.MSELoss(), "train": data, **options})
    assert isinstance(iter(data), Iterator)


def test_no_epochs():
    model = network()
    before = bits(model.state_dict())
    history = small(model, epochs=0, callbacks=batten.EarlyStopping(), penalties=None, constraints=None)
    assert history.epochs == history.steps == [] and history.ended == "epochs"
    assert bits(model.state_dict()) == before

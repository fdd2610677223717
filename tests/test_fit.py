"""Training by one call: what is done beside the steps, and that it is nothing that a hand could not do."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from fitting import CROSS_ENTROPY, TIMES, At, Restless, batches, bits, network, numbers, resumable, rows, small

import batten
from batten import nn, optim
from batten.data import TensorDataset
from batten.metrics import accuracy, evaluate
from batten.optim import lr_scheduler as schedules
from batten.regularization import L1, L2, MAP, Gaussian, MaxNorm
from batten.reuse import Together

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
        rates, weights = [], []
        for by_hand in (True, False):
            model = network()
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            schedule = make(optimizer)
            if not by_hand:
                history = small(model, train=train, optimizer=optimizer, scheduler=schedule)
                rates.append([row["lr"] for row in history.steps])
                weights.append(bits(model.state_dict()))
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
            weights.append(bits(model.state_dict()))
        assert rates[0] == rates[1] and weights[0] == weights[1], name
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


def test_ctrl_c_from_outside(tmp_path):
    """A signal comes to the process whenever it likes, with a loader's threads at work: all is put in order."""
    code = """if True:
        import os, sys, threading, time
        import batten
        from batten import nn, optim
        from batten.data import DataLoader, TensorDataset

        class Slow(batten.Callback):
            def on_epoch_end(self, run):
                ends.append(run.model.weight.numpy().copy())

            def on_step_end(self, run):
                print(run.step, flush=True)
                time.sleep(0.01)

        ends, model, folder = [], nn.Linear(4, 3), sys.argv[1]
        data = TensorDataset(batten.randn(60, 4), batten.randint(3, (60,)))
        history = batten.fit(
            model, DataLoader(data, 5, shuffle=True, num_workers=2), DataLoader(data, 60), loss=nn.CrossEntropyLoss(),
            optimizer=optim.Adam(model.parameters()), epochs=1000, progress=False,
            callbacks=[Slow(), batten.EarlyStopping(patience=1000), batten.Checkpoint(folder, every=1000)],
        )
        assert history.ended == "Ctrl-C"
        assert (model.weight.numpy() == ends[history.best_epoch - 1]).all()
        assert os.listdir(folder) == [f"step-{len(history.steps):09}.safetensors"]
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **options) as process:
        while process.stdout.readline().strip() != "16":  # in the middle of the second epoch
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == "" and process.returncode == 0


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
    other = optim.SGD(nn.Linear(1, 1).parameters())
    plateau = schedules.ReduceLROnPlateau(optim.SGD(model.parameters()), mode="max")
    for options, error, message in [
        ({"train": iter(data)}, TypeError, "goes through train anew in each epoch, and list_iterator is used up after"),
        ({"validation": (x for x in data)}, TypeError, "through validation anew in each epoch, and generator is used"),
        ({"train": nn.Identity()}, TypeError, r"train to be batches, as DataLoader\(train, batch_size\) makes them"),
        ({"train": None}, TypeError, "fit expects train to be batches, .* got NoneType"),
        ({"validation": TensorDataset(batten.zeros(3))}, TypeError, r"validation to be batches, as DataLoader\(val"),
        ({"loss": nn.MSELoss}, TypeError, r"loss\(output, target\), got the class MSELoss: MSELoss\(…\) makes one"),
        ({"loss": "mse"}, TypeError, r"fit expects loss\(output, target\), got str"),
        ({"optimizer": optim.SGD}, TypeError, "expects an optimizer of the model's parameters, got the class SGD: SGD"),
        ({"optimizer": other}, ValueError, "optimizer of the model's parameters, got one that has none of them"),
        ({"scheduler": [plateau]}, TypeError, "expects a schedule of optim.lr_scheduler, got list"),
        ({"scheduler": schedules.StepLR(other, 1)}, ValueError, "a schedule of the same optimizer, got one of another"),
        ({"callbacks": [batten.EarlyStopping]}, TypeError, "fit expects callbacks, got the class EarlyStopping: Early"),
        ({"callbacks": print}, TypeError, "fit expects callbacks, got builtin_function_or_method"),
        ({"penalties": 0.1}, TypeError, "fit expects penalties, functions of the model, got float"),
        ({"constraints": L2(0.1)}, TypeError, "fit expects constraints of regularization, got batten.*L2"),
        ({"metrics": [accuracy]}, TypeError, r"metrics by their names, such as \{'accuracy': accuracy\}, got list"),
        ({"metrics": {"lr": accuracy}}, ValueError, "other names of metrics than lr, which is in the history"),
        ({"epochs": -1}, ValueError, "epochs to be a whole number of at least 0, got -1"),
        ({"epochs": 2.0}, ValueError, "epochs to be a whole number of at least 0, got 2.0"),
        ({"train": Together([], [])}, ValueError, "expects batches to learn from in each epoch, got none in epoch 1"),
        ({"validation": []}, ValueError, "expected batches, got none"),
        ({"scheduler": plateau}, ValueError, r"ReduceLROnPlateau\(mode='max'\) would follow loss, and minimize it"),
    ]:
        optimizer = optim.SGD(model.parameters())
        if options.get("scheduler") is plateau:
            optimizer = plateau.optimizer
        with pytest.raises(error, match=message):
            small(model, **{"loss": nn.MSELoss(), "train": data, "optimizer": optimizer, **options})
    for no_model, came in ((nn.Linear, "the class Linear: Linear"), (nn.functional.relu, "function")):
        with pytest.raises(TypeError, match=f"fit expects a model that is a Module, got {came}"):
            batten.fit(no_model, data, loss=nn.MSELoss(), optimizer=other, epochs=1)


def test_batches_are_pairs():
    x, y = batten.zeros(8, 4), batten.zeros(8, dtype=batten.int64)
    for train, came in [
        ((x, y), r"batten.FloatTensor\[8, 4\]"),
        (x, r"batten.FloatTensor\[4\]"),
        ([(x, y, y)], r"\(batten.FloatTensor\[8, 4\], batten.LongTensor\[8\], batten.LongTensor\[8\]\)"),
        ([{"x": x, "y": y}], "dict"),
        ([(x[0], y[0])], r"\(batten.FloatTensor\[4\], batten.LongTensor\[\]\)"),
        ([(x.array, np.float32(0))], r"\(numpy.ndarray\[8, 4\], numpy.float32\[\]\)"),
    ]:
        message = r"expected batches \(x, y\) of examples, as DataLoader\(TensorDataset\(x, y\), batch_size\) makes"
        for name in ("train", "validation"):
            with pytest.raises(TypeError, match=f"{message} them, got {came}$"):
                small(**{name: train})


def test_no_epochs():
    model = network()
    before = bits(model.state_dict())
    history = small(model, epochs=0, callbacks=batten.EarlyStopping(), penalties=None, constraints=None)
    assert history.epochs == history.steps == [] and history.ended == "epochs"
    assert bits(model.state_dict()) == before

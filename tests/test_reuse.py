"""The validation data, learned from in the end."""

from __future__ import annotations

import pytest
from fitting import Restless, Shuffled, bits, numbers, small

import batten
from batten import nn, optim
from batten.metrics import evaluate
from batten.optim import lr_scheduler as schedules
from batten.reuse import Together


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


def test_a_target_that_is_never_reached():
    """The validation data is of another number: by default there are as many epochs more as there might have been."""
    model = Restless()
    history = small(
        model, train=numbers(1), validation=numbers(-5), loss=nn.MSELoss(), epochs=7, reuse_validation="continue",
        optimizer=optim.SGD(model.parameters(), lr=0.01), callbacks=[batten.EarlyStopping(patience=1)],
    )  # fmt: skip
    assert len(history.epochs) == history.reused_after + 7
    assert history.target_reached is False and history["validation_loss"][-1] > history.target


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

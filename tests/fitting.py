"""Short fits that the tests of training run: data, a network, and what is compared."""

from __future__ import annotations

import numpy as np

import batten
from batten import nn, optim
from batten.metrics import accuracy
from batten.optim import lr_scheduler as schedules
from batten.regularization import L2

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


class Restless(nn.Module):
    """One weight w, whose loss is (w - y)²."""

    def __init__(self, w=0.0):
        super().__init__()
        self.w = nn.Parameter(batten.tensor(float(w)))

    def forward(self, x):
        return self.w + 0 * x


def numbers(*values):
    return [(batten.zeros(1), batten.tensor([float(value)])) for value in values]


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

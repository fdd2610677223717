"""A training that uses all that there is, whose process is killed again and again, and which goes on each time.

    python tests/resumable.py FOLDER SEED KILLS

writes into the folder how an unbroken run ended, and how runs ended that were killed that many times in all, a third as
often for each reuse of the validation data, at moments that the seed draws.  `test_resume.py` compares them.
"""

from __future__ import annotations

import functools
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

import batten
from batten import checkpoint, nn, optim, transforms
from batten.data import DataLoader
from batten.datasets import ImageDataset
from batten.metrics import accuracy
from batten.regularization import L2, MaxNorm

TIMES = ("seconds", "images_per_second")
AUGMENT = transforms.Compose(
    [transforms.RandomCrop(6, padding=1), transforms.RandomHorizontalFlip(), transforms.ToFloat()]
)


def pictures(seed, count):
    """Pictures whose class is where they are bright, and labels, some of which are wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 160, (count, 1, 6, 6), np.uint8)
    for k in range(3):
        images[labels == k, :, 2 * k : 2 * k + 2] += 60
    return images, np.where(rng.random(count) < 0.5, rng.integers(0, 3, count), labels)


def loader(seed, count, transform, **options):
    return DataLoader(ImageDataset(*pictures(seed, count), "abc", transform=transform), batch_size=8, **options)


class Parts:
    """All that a run is called with."""

    def __init__(self, folder, reuse=None, callbacks=(), every=4, keep=2, features=4):
        batten.manual_seed(3)
        self.model = nn.Sequential(
            nn.Conv2d(1, features, 3), nn.BatchNorm2d(features), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(16 * features, 16), nn.ReLU(), nn.Dropout(0.3, generator=batten.Generator().manual_seed(5)),
            nn.Linear(16, 3),
        )  # fmt: skip
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = optim.lr_scheduler.OneCycleLR(self.optimizer, 0.1, total_steps=150)
        self.train = loader(0, 44, AUGMENT, shuffle=True, num_workers=2)
        self.validation = loader(1, 20, transforms.ToFloat())
        self.checkpoint = batten.Checkpoint(folder, every, keep, best=True, unit="step")
        self.callbacks = [batten.EarlyStopping(patience=2), self.checkpoint, *callbacks]
        self.reuse = reuse

    def fit(self, resume=None, epochs=8):
        self.history = batten.fit(
            self.model, self.train, self.validation, loss=nn.CrossEntropyLoss(), optimizer=self.optimizer,
            epochs=epochs, callbacks=self.callbacks, penalties=L2(1e-3), constraints=MaxNorm(2.0), clip_grad_norm=1.0,
            scheduler=self.scheduler, metrics={"accuracy": accuracy}, progress=False, reuse_validation=self.reuse,
            max_extra_epochs=3, resume=resume,
        )  # fmt: skip
        return self

    def end(self):
        """All that is to be the same in the end, bit by bit."""
        history = self.history.state_dict()
        for name in TIMES:
            history["steps"]["columns"].pop(name, None)
            for row in history["epochs"]:
                del row[name]
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generators": [batten.get_rng_state(), nn.generators.generators_state(self.model)],
            "loaders": [self.train.state_dict(), self.validation.state_dict()],
            "history": history,
        }


def live(folder, reuse):
    """One life: from the beginning, or from where the last one has got to, until the end."""
    resume = folder if folder.is_dir() and checkpoint.files(folder) else None
    batten.save(Parts(folder, reuse).fit(resume).end(), folder.parent / f"{folder.name}.end")


# ---- death ----


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(name, call, after):
    """At one of the calls to the system that saves make: before it, or right after it."""
    whole, calls = getattr(os, name), iter(range(call))

    @functools.wraps(whole)
    def counted(*args, **options):
        last = next(calls, None) is None
        if last and not after:
            die()
        result = whole(*args, **options)
        if last:
            die()
        return result

    setattr(os, name, counted)


def die_after(room):
    """In the middle of a write, after so many bytes of a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))


def fate(chooser):
    """How a process dies: what it is to do at its beginning, and how many seconds it has."""
    kind = chooser.choice(["time", "time", "call", "call", "write"])
    if kind == "time":
        return lambda: None, chooser.uniform(0, 0.2)
    if kind == "write":
        room = chooser.choice([0, 1, 5000, 20_000, 40_000])
        return lambda: die_after(room), None
    name = chooser.choice(["mkdir", "chmod", "fsync", "fsync", "replace", "rmdir", "unlink"])
    call, after = chooser.randrange(12), chooser.random() < 0.5
    return lambda: die_at(name, call, after), None


def forked(begin, seconds, folder, reuse):
    """Lives in a process of its own, and returns the signal that ended it, or 0."""
    child = os.fork()
    if not child:
        status = 1
        try:
            begin()
            live(folder, reuse)
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # which does nothing to a process that has ended already, and waits for us
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, (folder, status)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(folder, seed, kills):
    chooser, left = random.Random(seed), 0
    for reuse in (None, "retrain", "continue"):
        forked(lambda: None, None, folder / f"{reuse}-whole", reuse)
        killed = number = 0
        while killed < (kills if reuse is None else kills // 3):
            place = folder / f"{reuse}-{number}"
            died = forked(*fate(chooser), place, reuse)
            assert died in (0, signal.SIGKILL, signal.SIGXFSZ)
            killed += died != 0
            number += died == 0
            left += any(place.glob(".batten-*"))
        if died:
            forked(lambda: None, None, place, reuse)
    print(left)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""batten in a notebook: cells run by a Jupyter kernel, as a student would run them, and what the notebook then shows.

A kernel runs cells within a loop of events, beside threads of its own, and is interrupted by a signal. The bits have
to be the same wherever a cell trains.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from importlib.util import find_spec

import pytest

if not (find_spec("ipykernel") and find_spec("jupyter_client")):  # which are not imported: this is no notebook
    pytest.skip("needs ipykernel", allow_module_level=True)

BEGIN = """
%load_ext autoreload
%autoreload 2
import asyncio, hashlib, os, threading
os.environ["TQDM_MININTERVAL"] = "60"  # a bar is drawn anew no sooner than that
import numpy as np
import batten
from batten import nn, optim
from batten.data import DataLoader, TensorDataset

def make():
    global model, optimizer, train, validation
    batten.manual_seed(0)
    x, y = batten.randn(96, 3, 8, 8), batten.randint(0, 4, (96,))
    train = DataLoader(TensorDataset(x, y), 16, shuffle=True, num_workers=1)
    validation = [(x[:32], y[:32])]
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(288, 4)
    )
    optimizer = optim.Adam(model.parameters())

def fit(epochs, **options):
    loss, metrics = nn.CrossEntropyLoss(), {"accuracy": batten.metrics.accuracy}
    return batten.fit(
        model, train, validation, loss=loss, optimizer=optimizer, epochs=epochs, metrics=metrics, **options
    )

def step():
    for x, y in train:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

def digest():
    arrays = [np.ascontiguousarray(value.numpy()) for value in model.state_dict().values()]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:8]

def trained():
    make()
    fit(3, progress=False)
    return digest()
"""


@dataclass
class Shown:
    """What stands below a cell: texts by stream, what is displayed by its types, and the name of an error."""

    streams: dict[str, str] = field(default_factory=dict)
    displays: list[dict[str, str]] = field(default_factory=list)
    error: str | None = None

    @property
    def words(self):
        """What was printed and nothing else: a notebook that shows an error or a warning has not done well."""
        assert self.error is None and set(self.streams) <= {"stdout"} and not self.displays, self
        return self.streams.get("stdout", "").split()


class Notebook:
    def __init__(self, client, manager):
        self.client, self.manager = client, manager

    def run(self, code, interrupted_at=None):
        """Runs a cell; and interrupts it each time when one of some words has been printed."""
        shown, waiting = Shown(), list(interrupted_at or [])
        cell, until = self.client.execute(code), time.monotonic() + 60
        while time.monotonic() < until:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if kind == "stream":
                text = shown.streams[content["name"]] = shown.streams.get(content["name"], "") + content["text"]
                if waiting and waiting[0] in text:
                    del waiting[0]
                    self.manager.interrupt_kernel()
            elif kind in ("execute_result", "display_data"):
                shown.displays.append(content["data"])
            elif kind == "error":
                shown.error = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                return shown
        raise AssertionError(f"the cell does not end: {code}\n{shown}")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    from jupyter_client import KernelManager

    folder = tmp_path_factory.mktemp("jupyter")
    manager = KernelManager(transport="ipc", connection_file=str(folder / "kernel.json"))
    manager.start_kernel(cwd=str(folder), extra_arguments=[f"--ipython-dir={folder}"])
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        notebook = Notebook(client, manager)
        assert notebook.run(BEGIN).words == []
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_bits_are_the_same_wherever_a_cell_trains(notebook):
    """In a thread, beside the loop of events, which goes on; and in a kernel that was restarted."""
    code = """
    async def tick():
        global ticks
        ticks = 0
        while True:
            await asyncio.sleep(0)
            ticks += 1

    task, digests = asyncio.ensure_future(tick()), [trained(), await asyncio.to_thread(trained)]
    task.cancel()
    thread = threading.Thread(target=lambda: digests.append(trained()))
    thread.start()
    thread.join()
    print(ticks > 0, *digests)
    """
    went_on, digest, *others = notebook.run(code).words
    assert went_on == "True" and others == [digest] * 2
    notebook.manager.restart_kernel(now=True)
    notebook.client.wait_for_ready(timeout=60)
    assert notebook.run(BEGIN + "print(trained())").words == [digest]
    assert notebook.run("import batten\nfrom batten import nn\n%timeit -n 1 -r 1 step()").error is None
    assert notebook.run("print(trained())").words == [digest]


def test_a_bar_is_a_line_of_text(notebook):
    """Not among errors, without warnings or widgets; and drawn as seldom as tqdm is told to, and in the end."""
    shown = notebook.run("make(); history = fit(20)")
    assert shown.error is None and list(shown.streams) == ["stdout"] and not shown.displays
    before, empty, full = shown.streams["stdout"].split("\r")
    assert (before, empty) == ("", "  0%|          | 00:00<?, ? steps/s")
    assert full.startswith("epoch 20: 100%|██████████| ") and ", validation_accuracy " in full
    assert full.endswith(" steps/s\n")


def test_what_is_shown(notebook):
    assert notebook.run("make(); history = fit(2, progress=False)").words == []
    (history,) = notebook.run("history").displays
    assert history["text/plain"].startswith("epoch") and "<th>validation_loss</th>" in history["text/html"]
    (nothing,) = notebook.run("batten.History()").displays
    assert nothing == {"text/plain": "no epochs"}
    for what in ("model", "optimizer", "train", "model(validation[0][0])", "model.summary((1, 3, 8, 8))"):
        (shown,) = notebook.run(what).displays
        assert list(shown) == ["text/plain"] and "object at 0x" not in shown["text/plain"]


def test_plots_are_pictures(notebook):
    pytest.importorskip("matplotlib")
    assert notebook.run("make(); history = fit(2, progress=False)").words == []
    (figure,) = notebook.run("history.plot()").displays
    assert set(figure) == {"text/plain", "image/png"}
    assert [list(shown) for shown in notebook.run("display(history.plot('loss')); 1").displays] == [
        ["text/plain", "image/png"],
        ["text/plain"],
    ]


def test_a_fit_that_is_interrupted_ends_after_its_step(notebook):
    """And the next cell goes on with the model; a second interrupt ends the cell at once."""
    code = """
    import time

    class Told(batten.Callback):
        def on_step_end(self, run):
            print(f"step-{run.step}.", flush=True)

    class Slow(batten.Callback):
        def on_step_end(self, run):
            print("begun", flush=True)
            while not run.asked_to_end.is_set():
                time.sleep(0.001)
            print("asked", flush=True)
            time.sleep(60)

    make()
    history = fit(10**6, callbacks=Told(), progress=False)
    print(history.ended, len(history.steps) == int(optimizer.state_dict()["state"][0]["step"]), model.training)
    """
    assert notebook.run(code, interrupted_at=["step-9."]).words[-3:] == ["Ctrl-C", "True", "True"]
    assert notebook.run("print(fit(2, progress=False).ended)").words == ["epochs"]
    shown = notebook.run("fit(2, callbacks=Slow(), progress=False)", interrupted_at=["begun", "asked"])
    assert shown.error == "KeyboardInterrupt" and list(shown.streams) == ["stdout"]
    assert notebook.run("print(fit(2, progress=False).ended, trained() == trained())").words == ["epochs", "True"]


def test_a_loop_that_is_interrupted(notebook):
    """One that is written by hand, in the middle of whatever: of a step, of what is not recorded, of a loader."""
    code = """
    make()
    print("begun", flush=True)
    while True:
        step()
        with batten.no_grad():
            model(validation[0][0])
    """
    for _ in range(5):
        shown = notebook.run(code, interrupted_at=["begun"])
        assert shown.error == "KeyboardInterrupt"
        go_on = "step(); print(batten.is_grad_enabled(), bool(batten.isfinite(model[0].weight).all()))"
        assert notebook.run(go_on).words == ["True", "True"]
    assert notebook.run("print(trained() == trained())").words == ["True"]

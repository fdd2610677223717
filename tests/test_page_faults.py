"""A training step that is made again and again asks the system for no memory: it makes no page fault.

Fresh pages cost several times what memory that is reused does, and their faults are counted by the system, so this is
checked without a clock.  Each case is run in a process that holds nothing else, whose faults would be counted, too.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("resource")  # not everywhere does the system tell

STEPS = """
import json, resource, sys
import batten
from batten import nn, optim

threads, optimizer, batch, *widths = json.loads(sys.argv[1])
batten.set_num_threads(threads)
layers = []
for inputs, outputs in zip(widths, widths[1:-1]):
    layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(0.5)]
model = nn.Sequential(*layers, nn.Linear(*widths[-2:]))
parameters = model.parameters()
optimizer = optim.SGD(parameters, lr=0.01, momentum=0.9) if optimizer == "SGD" else optim.Adam(parameters)
criterion = nn.CrossEntropyLoss()
images, labels = batten.randn(4 * batch, widths[0]), batten.randint(0, widths[-1], (4 * batch,))

def epoch():
    for rows in batten.randperm(4 * batch).split(batch):
        optimizer.zero_grad()
        loss = criterion(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        loss.item()

def faults_of(function):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(json.dumps([faults_of(epoch) for _ in range(8)]))
"""

SMALL, LARGE = (32, 64, 128, 128, 10), (4096, 64, 384, 10)  # a hidden layer's values take 16 KiB, and 6 MiB


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("sizes", [SMALL, (2, 64, 30, 10), (33, 50, 1100, 700, 10), LARGE], ids=str)
def test_a_steady_step_makes_no_page_faults(threads, optimizer, sizes):
    case = json.dumps([threads, optimizer, *sizes])
    done = subprocess.run([sys.executable, "-c", STEPS, case], stdout=subprocess.PIPE, text=True, check=True)
    faults = json.loads(done.stdout)
    assert faults[0] > 0  # the first epoch, in which all memory is new, shows that they are counted
    # The system may move a page of its own accord, and that is a fault as well; those of ours come in every epoch.
    assert min(faults[2:]) == 0, faults

"""What it costs batten to share a process: its training steps in turn with PyTorch, scikit-learn and NumPy, over those alone.

    python bench/neighbours.py                      half a minute; the goal is 1.3 at most
    python bench/neighbours.py --rounds 9 --beside torch

Every library has threads of its own, as many as there are processors, and those that have just computed wait for
more by spinning: for a millisecond in GNU's OpenMP, longer in OpenBLAS. Meanwhile batten's threads share the
processors with them, and find the caches full of what others have read.

In each turn the others compute, and then batten trains for some steps. There is a process for each measurement,
with the others imported or without them, one after the other, and round after round. A figure is the median of the
rounds' ratios: of all steps, and of the first ones after the others.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

TURNS, STEPS = 15, 10
CASES = ("mlp mnist 128", "lenet mnist 64", "vgg11 bn cifar")
MOST = 1.3

Work = Callable[[], object]


def numpy() -> Work:
    a = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    return lambda: np.linalg.svd(a[:128] @ a)


def sklearn() -> Work:
    from sklearn.cluster import KMeans

    x = np.random.default_rng(0).standard_normal((2000, 20))
    return lambda: KMeans(8, n_init=1, max_iter=10, random_state=0).fit(x)


def torch() -> Work:
    import torch

    x = torch.randn(32, 3, 32, 32)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10))
    return lambda: model(x).square().mean().backward()


NEIGHBOURS = {"numpy": numpy, "sklearn": sklearn, "torch": torch}

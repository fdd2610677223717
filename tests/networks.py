"""Networks, and batches for them, that the tests of batten.inspect look at."""

from __future__ import annotations

import numpy as np

import batten
from batten import nn


def tensor(values):
    return batten.tensor(values, dtype=batten.float64)


def set_weights(layer, weight, bias=None):
    with batten.no_grad():
        layer.weight.copy_(tensor(weight))
        if layer.bias is not None:
            layer.bias.copy_(tensor(0.0 if bias is None else bias))
    return layer


def convnet():
    batten.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Conv2d(4, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5, bias=False),
        nn.BatchNorm1d(5), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(5, 3),
    )  # fmt: skip


IMAGES = np.random.default_rng(5).standard_normal((7, 2, 8, 8)).astype(np.float32)
CLASSES = np.random.default_rng(6).integers(0, 3, 7)


def loss_of(model):
    images, classes = batten.tensor(IMAGES), batten.tensor(CLASSES)
    return lambda: nn.functional.cross_entropy(model(images), classes)


def nothing_changes():
    """The body of a step that steps nothing."""

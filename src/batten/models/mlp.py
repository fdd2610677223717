"""The multilayer perceptron: linear layers with something that bends between them.

    x -> [Linear -> norm -> ReLU -> Dropout]* -> Linear -> one number for each class

A Linear before a BatchNorm1d has no bias: the mean that is subtracted would take it away again.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn
from .blocks import linear

__all__ = ["mlp"]


def mlp(
    in_features: int,
    hidden: Sequence[int] = (512, 512),
    num_classes: int = 10,
    dropout: float = 0.5,
    norm: str | None = "batch",
) -> nn.Sequential:
    """A multilayer perceptron for inputs (N, *) of in_features numbers each; its result is (N, num_classes).

    `hidden` are the sizes of the layers between; `dropout` is the probability to drop each of their values, and
    at 0 there are no Dropout layers; norm is "batch", "group", "layer" or None.

    >>> import batten
    >>> model = batten.models.mlp(64, hidden=(32,), dropout=0.2)
    >>> model
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=64, out_features=32, bias=False)
      (2): BatchNorm1d(32, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (3): ReLU()
      (4): Dropout(p=0.2, inplace=False)
      (5): Linear(in_features=32, out_features=10, bias=True)
    )
    >>> model(batten.zeros(3, 1, 8, 8)).shape
    (3, 10)
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for size in hidden:
        layers += linear(in_features, size, norm, dropout)
        in_features = size
    return nn.Sequential(*layers, nn.Linear(in_features, num_classes))

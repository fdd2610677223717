"""PyTorch as a peer: as it comes, with its fused optimizers, with images that lie as its convolutions like them
best, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch_models

Run = Callable[[], Any]


class Eager:
    """torch as people use it, and models for it."""

    models = torch_models
    images_lie = features_lie = torch.contiguous_format

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def residual(self, norm: Any, x: Any, z: Any) -> Any:
        return torch.relu(norm(x) + z)


class Fused(Eager):
    """Its optimizers step all parameters in one call."""

    class optim:
        SGD = partial(torch.optim.SGD, fused=True)
        Adam = partial(torch.optim.Adam, fused=True)


class ChannelsLast(Fused):
    """Images and filters, too, lie with their channels last."""

    images_lie = features_lie = torch.channels_last


def eager() -> Callable[[Any], Run]:
    return lambda case: case.prepare(Eager())


def fused() -> Callable[[Any], Run]:
    return lambda case: case.prepare(Fused())


def channels_last() -> Callable[[Any], Run]:
    return lambda case: case.prepare(ChannelsLast())


def compiled() -> Callable[[Any], Run]:
    """A training step as a whole, with fused optimizers, and channels last."""
    return lambda case: torch.compile(case.prepare(ChannelsLast()))

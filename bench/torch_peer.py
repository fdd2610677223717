"""PyTorch as a peer: as it comes, with its fused optimizers, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Run = Callable[[], Any]


def eager() -> Callable[[Any], Run]:
    return lambda case: case.prepare(torch)


class Fused:
    """torch, but its optimizers step all parameters in one call."""

    class optim:
        SGD = partial(torch.optim.SGD, fused=True)
        Adam = partial(torch.optim.Adam, fused=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def fused() -> Callable[[Any], Run]:
    return lambda case: case.prepare(Fused())


def compiled() -> Callable[[Any], Run]:
    """A training step as a whole, with fused optimizers."""
    return lambda case: torch.compile(case.prepare(Fused()))

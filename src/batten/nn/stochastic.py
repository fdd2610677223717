"""The layers that draw random numbers in training, for those who average over what they draw."""

from __future__ import annotations

from .drop_connect import DropConnect
from .dropout import DropoutModule, InvertibleDropout
from .module import Module
from .noise import NoiseModule

__all__: list[str] = []

DROPPING: tuple[type[Module], ...] = (InvertibleDropout,)  # which multiply by 0 with probability p
STOCHASTIC: tuple[type[Module], ...] = (DropoutModule, DropConnect, NoiseModule)

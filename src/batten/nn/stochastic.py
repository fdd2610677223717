"""The layers that draw random numbers in training, for those who average over what they draw."""

from __future__ import annotations

from .dropout import Dropout
from .module import Module
from .noise import GaussianNoise, MultiplicativeGaussianNoise, UniformNoise

__all__: list[str] = []

# Layers that multiply by 0 with probability p.
DROPPING: tuple[type[Module], ...] = (Dropout,)
STOCHASTIC: tuple[type[Module], ...] = (*DROPPING, GaussianNoise, MultiplicativeGaussianNoise, UniformNoise)

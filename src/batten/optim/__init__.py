"""Optimizers, under PyTorch's names: what turns gradients into steps of parameters."""

from .adam import Adam as Adam
from .adam import AdamW as AdamW
from .optimizer import Optimizer as Optimizer
from .sgd import SGD as SGD

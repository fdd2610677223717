"""Models, ready to be trained."""

from .mlp import mlp as mlp

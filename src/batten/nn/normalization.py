"""What all normalizations share: a weight and a bias behind

    y = weight (x - mean) / sqrt(var + eps) + bias.

They differ in which elements mean and var are of: batch_norm.py, group_norm.py, instance_norm.py, layer_norm.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..creation import empty, ones, tensor, zeros
from ..operations.families import contiguous
from ..operations.promotion import Operand, floats
from . import init
from .module import Module
from .parameter import Parameter

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__: list[str] = []


def vector(v: np.ndarray | None) -> np.ndarray | None:
    """A number for each column, in one piece."""
    return None if v is None else contiguous(v).reshape(-1)


def operand(layer: str, name: str, v: Operand | None, x: Tensor, shape: tuple[int, ...]) -> Any:
    """A weight or the like of this shape, in the type of the input x, if there is one."""
    if v is None:
        return None
    t = floats(layer, v)
    if t.array.dtype != x.array.dtype:
        raise TypeError(f"{layer} expects {name} in the input's type, {x.dtype}, got {t.dtype}")
    if t.array.shape != shape:
        raise ValueError(
            f"{layer} expects {name} {list(shape)} for an input {list(x.array.shape)}, got {list(t.array.shape)}"
        )
    return t


class Normalization(Module):
    """A layer with a weight and a bias behind a normalization, or without."""

    weight: Parameter | None
    bias: Parameter | None

    def _add_parameters(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        """A bias is only asked for beside a weight."""
        for name, wanted in (("weight", weight), ("bias", weight and bias)):
            value = Parameter(empty(*shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)

    def reset_parameters(self) -> None:
        """Makes weight one and bias zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class TrackingNormalization(Normalization):
    """A normalization of channels, with a weight and a bias for each, which may keep running statistics of them."""

    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        kind = {"device": device, "dtype": dtype}
        self._add_parameters((num_features,), affine, bias, **kind)
        self.register_buffer("running_mean", zeros(num_features, **kind) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **kind) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forgets all batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forgets all batches, and makes weight one and bias zero."""
        self.reset_running_stats()
        super().reset_parameters()

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

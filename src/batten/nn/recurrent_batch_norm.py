"""Batch normalization in recurrent networks (Cooijmans et al. 2016).

    y = gamma (x - mean_t) / sqrt(var_t + eps) + beta

The distribution of what a recurrent network feeds back to itself differs from step to step, most of
all among the first ones, so each time step has running statistics of its own.  gamma and beta are
those of all steps.  Sequences that go on after the last step that there are statistics for are
normalized by that one's.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

from .. import dtypes
from ..creation import ones, zeros
from .batch_norm import BatchNormModule

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["RecurrentBatchNorm1d"]


class RecurrentBatchNorm1d(BatchNormModule):
    """Batch normalization of (N, num_features) or (N, num_features, L) at time step t, after Cooijmans et al. 2016.

        layer(x, t) = weight (x - mean) / sqrt(var + eps) + bias

    mean and var are the batch's, or in evaluation the running ones of step t; weight and bias are those of
    all steps.  The arguments behind time_steps are BatchNorm1d's.  The buffers running_mean and running_var are
    (time_steps, num_features), and num_batches_tracked is (time_steps,), so that momentum=None averages
    over the batches that reached a step.  All t >= time_steps - 1 share the last row, which so takes in what there is
    of longer sequences in training, and stands for it in evaluation.

    weight starts as one, as BatchNorm1d's does.  The paper starts it at 0.1, since tanh of what has variance 1
    passes back too little of the gradient: `nn.init.constant_(layer.weight, 0.1)`.

    ValueError if time_steps < 1 or t < 0, TypeError unless t is an integer; else BatchNorm1d's errors.

    >>> import batten
    >>> layer = batten.nn.RecurrentBatchNorm1d(2, time_steps=3)
    >>> h = batten.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> for t in range(2):
    ...     h = layer(h, t)
    >>> layer.running_mean
    tensor([[0.2000, 2.0000],
            [0.0000, 0.0000],
            [0.0000, 0.0000]])
    >>> layer.num_batches_tracked
    tensor([1, 1, 0])
    """

    spatial: ClassVar = {2: "", 3: ", L"}

    def __init__(
        self,
        num_features: int,
        time_steps: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.time_steps = operator.index(time_steps)
        if time_steps < 1:
            raise ValueError(f"RecurrentBatchNorm1d expects at least one time step, got time_steps={time_steps}")
        if track_running_stats:
            self.running_mean = zeros(time_steps, num_features, device=device, dtype=dtype)
            self.running_var = ones(time_steps, num_features, device=device, dtype=dtype)
            self.num_batches_tracked = zeros(time_steps, device=device, dtype=dtypes.int64)

    def forward(self, input: Tensor, t: SupportsIndex) -> Tensor:  # type: ignore[override]
        return self._activated(input, None, at=(t,))

    def _estimates(self, t: SupportsIndex) -> tuple[Any, Any, Any]:  # type: ignore[override]
        """The rows of step t, which show the buffers' memory."""
        try:
            step = operator.index(t)
        except TypeError:
            raise TypeError(f"RecurrentBatchNorm1d expects an integer as time step t, got {t!r}") from None
        if step < 0:
            raise ValueError(f"RecurrentBatchNorm1d expects a time step t >= 0, got {step}")
        if self.running_mean is None:
            return super()._estimates()
        row = min(step, self.time_steps - 1)
        return self.running_mean[row], self.running_var[row], self.num_batches_tracked[row]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, time_steps={self.time_steps}"

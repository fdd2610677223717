"""Population statistics for batch normalization (Ioffe & Szegedy 2015, Algorithm 2).

A network is trained with the statistics of batches, and used with those of all examples.  The running
statistics are an average over the last batches, for most of which the weights were other ones.  To have those
of the weights as they are, or of an average of weights (Izmailov et al. 2018), all examples pass through once more.

Meanwhile the momentum of each layer is 1, so that a call leaves the statistics of its own batch in the layer's buffers,
whatever they are in a class of layers.  They are taken from there, and added up in double precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn import Module
from ..nn.batch_norm import BatchNormModule
from ..nn.unchanged import unchanged
from ..operations.inplace import write
from .lr_scheduler.averaging import SWALR

__all__ = ["SWALR", "update_bn"]

MARK = -1  # which no variance is


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None, *, variance: str = "mean") -> None:
    """Sets the running statistics of all layers of batch normalization to those of a loader's examples.

    The loader gives tensors, or lists or tuples that begin with one, which the model is called with.  The whole model
    is in training mode, dropout too.  E[x] is the mean of the batches' means μ_B.  Var[x] by default is that of the
    paper, the mean of the batches' unbiased variances; for batches of m values a channel, with biased ones σ²_B:

        E[x] = mean of μ_B,     Var[x] = m / (m - 1) × mean of σ²_B

    With variance="pooled" they are those of the union of all batches, as if it had been one batch of M values:

        E[x] = Σ m_B μ_B / M,     Var[x] = Σ (m_B σ²_B + m_B (μ_B - E[x])²) / (M - 1),     M = Σ m_B

    The two are much the same for large batches of shuffled examples.  They differ where the means of batches do, which
    the first leaves out of account: in small batches, and in sorted examples.  And they differ where batches are of
    different sizes, as in the first each counts the same.  Neither makes a network one that saw all examples in a
    single batch: what its deeper layers are given was normalized batch by batch.

    A layer that is called several times has a batch in each call.  What no batch reaches keeps its statistics.  All
    else is as before: momenta, modes, the state of the random numbers; and the statistics, too, if anything is raised.
    Without a layer that keeps statistics the loader is not asked.  ValueError if it has no batches.

    >>> import batten
    >>> from batten.optim.swa_utils import update_bn
    >>> layer = batten.nn.BatchNorm1d(1)
    >>> loader = [batten.tensor([[0.0], [2.0]]), batten.tensor([[4.0], [6.0]])]
    >>> update_bn(loader, layer)
    >>> layer.running_mean, layer.running_var
    (tensor([3.]), tensor([2.]))
    >>> update_bn(loader, layer, variance="pooled")
    >>> layer.running_mean, layer.running_var
    (tensor([3.]), tensor([6.6667]))
    """
    if variance not in ("mean", "pooled"):
        raise ValueError(f"update_bn expects variance as 'mean' or 'pooled', got {variance!r}")
    layers = [m for m in model.modules() if isinstance(m, BatchNormModule) and m.running_mean is not None]
    if not layers:
        return
    with unchanged(model), ExitStack() as hooks:
        populations = [Population(layer, variance == "pooled") for layer in layers]
        for population in populations:
            hooks.enter_context(population.layer.register_forward_hook(population.add, prepend=True))
        model.train()
        batches = 0
        for batch in loader:
            input = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(input if device is None else input.to(device))
            batches += 1
        if not batches:
            raise ValueError("update_bn expects batches, got none; an iterator is used up after its first use")
        for population in populations:
            population.finish()
    for population in populations:
        population.keep()


class Population:
    """All batches that a layer is given."""

    def __init__(self, layer: BatchNormModule, pooled: bool) -> None:
        self.layer, self.pooled = layer, pooled
        self.weight, self.mean, self.spread = np.zeros((3, *layer.running_mean.shape))
        layer.momentum = 1
        layer.reset_running_stats()
        self.mark()

    def mark(self) -> None:
        """Makes known what the next call reaches: the rest of the variances stay what no variance is."""
        self.layer.running_mean.zero_()
        self.layer.running_var.fill_(MARK)

    def add(self, layer: BatchNormModule, args: Any, output: Any) -> None:
        """Adds the batch of a call, by the update of Chan, Golub & LeVeque (1983)."""
        mean, var = (buffer.array.astype(np.float64) for buffer in (layer.running_mean, layer.running_var))
        at = var != MARK
        m = output.numel() // layer.num_features if self.pooled else 1
        with np.errstate(all="ignore"):
            before, distance = self.weight[at], mean[at] - self.mean[at]
            self.weight[at] += m
            self.mean[at] += distance * (m / self.weight[at])
            if self.pooled:
                self.spread[at] += (m - 1) * var[at] + distance**2 * (before * m / self.weight[at])
            else:
                self.spread[at] += var[at]
        self.mark()

    def finish(self) -> None:
        """The statistics of all batches, each with where there are any."""
        reached, batches = self.weight > 0, self.layer.num_batches_tracked.array.copy()
        with np.errstate(all="ignore"):
            var = self.spread / (self.weight - self.pooled)
        self.statistics = {
            "running_mean": (reached, self.mean),
            "running_var": (reached, var),
            "num_batches_tracked": (batches > 0, batches),
        }

    def keep(self) -> None:
        """Puts them into the layer."""
        for name, (reached, values) in self.statistics.items():
            buffer = getattr(self.layer, name)
            write(buffer, np.where(reached, values, buffer.array))

"""Population statistics for batch normalization (Ioffe & Szegedy 2015, Algorithm 2).

A network is used with the statistics of all examples, where it was trained with those of
batches.  The running ones are an average over the last batches, made while the weights
were changing.  To have those of a network as it is, or of an average of weights
(Izmailov et al. 2018), all examples go through it once more.

While they do, a layer's momentum is 1, so that each call leaves the statistics of its own
batch in the layer's buffers, whatever a class's statistics are.  They are added up here in
double precision.  What was not reached by a call is known by a mark: no variance is -1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn import Module
from ..nn.batch_norm import BatchNormModule
from ..operations.inplace import write

__all__ = ["update_bn"]

MARK = -1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None, *, variance: str = "mean") -> None:
    """Replaces the running statistics of all layers of batch normalization by those of the examples of a loader.

    The loader gives tensors, or lists or tuples of which the first element is what the model takes.  The whole model
    runs in training mode, dropout too.  The mean is the mean of the batches' means, and the variance by default that of
    the paper's Algorithm 2, the mean of the batches' variances:

        E[x] = mean of μ_B,     Var[x] = m / (m - 1) × mean of σ²_B      for batches of m values a channel

    It leaves out how far the means lie apart.  With variance="pooled", both are those of the union of the batches, in
    which each counts by its number of values, as if all examples had come in a single batch:

        E[x] = Σ m_B μ_B / M,     Var[x] = Σ [(m_B - 1) σ²_B + m_B (μ_B - E[x])²] / (M - 1),     M = Σ m_B

    with unbiased σ²_B.  For many large batches of shuffled examples the two agree.  They differ where the batches do:
    in size, or in their means, as of examples sorted by class.  Behind the first layer the values themselves depend
    on the batches, as each was normalized by its own; there, neither is what one batch of all examples would leave.

    A layer called several times counts each call as a batch.  What no batch reaches keeps its statistics, and so do all
    layers when anything is raised.  Momenta and modes stay as they are.  ValueError for a loader without batches.

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
    modes = {module: module.training for module in model.modules()}
    layers = [module for module in modes if isinstance(module, BatchNormModule) and module.running_mean is not None]
    if not layers:
        return
    populations: list[Population] = []
    try:
        for layer in layers:
            populations.append(Population(layer, variance == "pooled"))
        model.train()
        batches = 0
        for batch in loader:
            input = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(input if device is None else input.to(device))
            batches += 1
        if not batches:
            raise ValueError("update_bn expects batches, got none; an iterator is used up after its first use")
        for population in populations:
            population.keep()
    except BaseException:
        for population in populations:
            population.forget()
        raise
    finally:
        for population in populations:
            population.release()
        for module, training in modes.items():
            module.training = training


class Population:
    """The statistics of all batches that a layer is given, and what its buffers held before."""

    def __init__(self, layer: BatchNormModule, pooled: bool) -> None:
        self.layer, self.pooled, self.momentum = layer, pooled, layer.momentum
        self.before = {name: buffer.array.copy() for name, buffer in layer.named_buffers(recurse=False)}
        self.weight, self.mean, self.spread = np.zeros((3, *layer.running_mean.shape))
        layer.reset_running_stats()
        self.mark()
        layer.momentum = 1
        self.handle = layer.register_forward_hook(self.add, prepend=True)

    def mark(self) -> None:
        self.layer.running_mean.zero_()
        self.layer.running_var.fill_(MARK)

    def add(self, layer: BatchNormModule, args: Any, output: Any) -> None:
        """Adds what a call has left in the buffers (Chan, Golub & LeVeque 1983)."""
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

    def keep(self) -> None:
        """Puts the statistics of all batches into the buffers, and back what was not reached by any."""
        batches = self.layer.num_batches_tracked.array
        with np.errstate(all="ignore"):
            var = self.spread / (self.weight - self.pooled)
        for name, value, reached in (
            ("running_mean", self.mean, self.weight > 0),
            ("running_var", var, self.weight > 0),
            ("num_batches_tracked", batches, batches > 0),
        ):
            write(getattr(self.layer, name), np.where(reached, value, self.before[name]))

    def forget(self) -> None:
        """Puts back what the buffers held before."""
        for name, values in self.before.items():
            write(getattr(self.layer, name), values)

    def release(self) -> None:
        self.handle.remove()
        self.layer.momentum = self.momentum

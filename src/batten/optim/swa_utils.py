"""Averages of weights, and population statistics for batch normalization.

An average of the weights that a training passes through lies in the middle of what it wanders about in, and often
does better than where it ends: of all weights alike (SWA, Izmailov et al. 2018), or of the newer ones more than of the
older (EMA, Polyak & Juditsky 1992; Tarvainen & Valpola 2017).  `SWALR` is the schedule of learning rates for that.

A network is trained with the statistics of batches, and used with those of all examples (Ioffe & Szegedy 2015,
Algorithm 2).  The running statistics are an average over the last batches, for most of which the weights were other
ones.  To have those of the weights as they are, or of an average of weights, all examples pass through once more.

Meanwhile the momentum of each layer is 1, so that a call leaves the statistics of its own batch in the layer's buffers,
whatever they are in a class of layers.  They are taken from there, and added up in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _kernels as kernels
from ..autograd import no_grad
from ..creation import tensor
from ..nn import Module
from ..nn.batch_norm import BatchNormModule
from ..nn.unchanged import unchanged
from ..operations.inplace import copy_, write
from ..operations.promotion import to_type
from .lists import laid_out_like, settle, without_gaps
from .lr_scheduler.averaging import SWALR

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

# ---- averages of weights ----


class AveragedModel(Module):
    """A copy of a model whose parameters are an average of those that the model has at each `update_parameters`.

    The first update copies the model's parameters.  After n of them, the next one makes

        w_avg ← w_avg + (w - w_avg) / (n + 1)

    of each w_avg, the mean of all (SWA).  Another average is given as `avg_fn(w_avg, w, n)`, which returns the
    new one of a parameter, or as `multi_avg_fn(averages, ws, n)`, which changes lists of those of one type in place:
    `get_ema_multi_avg_fn(decay)`, for example.  By these and by default, a type's parameters are one pass over memory.

    Buffers are copies of the model's, as they are at the time; with use_buffers they are averaged as parameters are,
    integers cut off.  Statistics of batch normalization that belong to the averaged weights are found by `update_bn`.

    The `state_dict` has n as "n_averaged", and the copy's own keys behind "module.", as PyTorch's has.  An averaged
    model may be of another type than the model, for example float64.

    >>> import batten
    >>> from batten.optim.swa_utils import AveragedModel
    >>> model = batten.nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for w in (1.0, 2.0, 6.0):
    ...     _ = batten.nn.init.constant_(model.weight, w)
    ...     averaged.update_parameters(model)
    >>> averaged(batten.ones(1)).item()
    3.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Tensor], Any] | None = None,
        multi_avg_fn: Callable[[list[Tensor], list[Tensor], Tensor], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Takes a model's parameters into the average; ValueError if they are not those of such a model."""
        parameters = pairs(self.module.named_parameters(), model.named_parameters())
        buffers = pairs(self.module.named_buffers(), model.named_buffers())
        averages = parameters + buffers if self.use_buffers else parameters
        if self.n_averaged.item() == 0:
            for average, x in averages:
                copy_(average, x)
        elif self.avg_fn is not None:
            for average, x in averages:
                copy_(average, self.avg_fn(average, x, self.n_averaged))
        else:
            update = self.multi_avg_fn or swa_multi_update
            lists: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
            for average, x in averages:
                ours, theirs = lists.setdefault(average.dtype, ([], []))
                ours.append(average)
                theirs.append(to_type(x, average.dtype))
            for ours, theirs in lists.values():
                update(ours, theirs, self.n_averaged)
        if not self.use_buffers:
            for buffer, x in buffers:
                copy_(buffer, x)
        self.n_averaged += 1


def pairs(ours: Iterable[tuple[str, Tensor]], theirs: Iterable[tuple[str, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """What an averaged model has of a kind and what a model has, off the tape."""
    ours, theirs = list(ours), list(theirs)
    if len(ours) != len(theirs):
        raise ValueError(f"AveragedModel has {len(ours)} tensors to average, got a model with {len(theirs)}")
    for (name, x), (other, y) in zip(ours, theirs, strict=True):
        if x.shape != y.shape:
            raise ValueError(f"AveragedModel has {name} of shape {list(x.shape)}, got {other} of {list(y.shape)}")
    return [(x.detach(), y.detach()) for (_, x), (_, y) in zip(ours, theirs, strict=True)]


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """An `avg_fn` for w_avg ← decay w_avg + (1 - decay) w; decay is from 0 to 1."""
    return partial(ema_update, check_decay(decay))


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """A `multi_avg_fn` for the same.

    >>> import batten
    >>> from batten.optim.swa_utils import get_ema_multi_avg_fn
    >>> average, w = batten.tensor([1.0, 2.0]), batten.tensor([2.0, 0.0])
    >>> get_ema_multi_avg_fn(0.75)([average], [w], 1)
    >>> average
    tensor([1.2500, 1.5000])
    """
    return partial(ema_multi_update, check_decay(decay))


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """An `avg_fn` for w_avg ← w_avg + (w - w_avg) / (n + 1), the mean of all, which is the default."""
    return swa_update


def get_swa_multi_avg_fn() -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """A `multi_avg_fn` for the same."""
    return swa_multi_update


def check_decay(decay: float) -> float:
    if not 0 <= decay <= 1:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


@no_grad()
def ema_update(decay: float, ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
    return decay * ema_param + (1 - decay) * current_param


@no_grad()
def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
    return averaged_param + (current_param - averaged_param) / (num_averaged + 1)


def ema_multi_update(decay: float, ema_params: Sequence[Tensor], params: Sequence[Tensor], num_averaged: Any) -> None:
    lerp_(ema_params, params, 1 - decay)


def swa_multi_update(averaged_params: Sequence[Tensor], params: Sequence[Tensor], num_averaged: Any) -> None:
    lerp_(averaged_params, params, 1 / (int(num_averaged) + 1))


@no_grad()
def lerp_(averages: Sequence[Tensor], xs: Sequence[Tensor], weight: float) -> None:
    """average += weight (x - average), for tensors of one type; integers are cut off."""
    if averages and averages[0].dtype.kind != "f":
        for average, x in zip(averages, xs, strict=True):
            copy_(average, average + weight * (x - average))
        return
    arrays = [without_gaps(average.array) for average in averages]
    kernels.lerp_all(arrays, [laid_out_like(y, x.array) for y, x in zip(arrays, xs, strict=True)], weight)
    settle(list(averages), arrays)


# ---- population statistics ----

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

"""Batch normalization (Ioffe & Szegedy 2015).

    y = gamma (x - mean) / sqrt(var + eps) + beta

for each channel by itself.  In training, mean and var are those of the batch (Algorithm 1),
and running estimates follow them; in evaluation they are the running estimates
(Algorithm 2).  The variance that normalizes is the biased one, over n; the running estimate
follows the unbiased one, over n - 1.

The kernels see a matrix whose columns are the channels: (N, C) as it is, and (N, C, *)
with the channels moved to the end, which costs a copy unless they lie there already.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _kernels as kernels
from .. import dtypes, operations
from ..autograd import Operation
from ..creation import ones_like
from ..operations.families import contiguous, copied
from ..operations.promotion import Operand, floats
from .dropout import Dropout, DropoutOperation
from .layout import channels_first, channels_last
from .linear import Identity
from .module import Module
from .normalization import TrackingNormalization, operand, vector
from .parameter import Parameter

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


def pixels(x: np.ndarray) -> np.ndarray:
    """(N, C, *) as a matrix in C order with a row for each pixel: a view where the channels lie last, else a copy."""
    return contiguous(x) if x.ndim == 2 else channels_last(x).reshape(x.size // (x.shape[1] or 1), x.shape[1])


def images(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Such a matrix as a view (N, C, *) again."""
    return rows if len(shape) == 2 else channels_first(rows.reshape(shape[0], *shape[2:], shape[1]))


class BatchNorm(Operation):
    """Normalization by the batch's own statistics, which also move the running ones."""

    __slots__ = ("eps", "momentum", "running_mean", "running_var", "statistics", "weight", "x")

    relu = False
    found = 3  # numbers of each column that the kernel leaves for backward
    running_mean: np.ndarray | None
    running_var: np.ndarray | None
    momentum: float
    eps: float
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        rows = self.prepare(x, weight)
        y = kernels.batch_norm(
            kernels.empty_like(rows),
            self.statistics,
            self.running_mean,
            self.running_var,
            rows,
            self.weight,
            vector(bias),
            self.eps,
            self.momentum,
            self.relu,
        )
        return images(y, x.shape)

    def prepare(self, x: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """x as a matrix, which is kept with the weight, and with memory for what is found out of each column."""
        self.x = rows = pixels(x)
        self.weight = vector(weight)
        self.statistics = kernels.empty((self.found, rows.shape[1]), dtypes.float64)
        return rows

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, rows, dx = gradients(self, dy)
        kernels.batch_norm_backward(dx, dweight, dbias, rows, self.x, self.statistics, self.weight, self.relu)
        return images(dx, dy.shape), dweight, dbias


class BatchNormRelu(BatchNorm):
    """The relu of that.  Its sign is found again from x: `y` is only a mark, for changes of the result to be found."""

    __slots__ = ("y",)

    relu = True

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        self.y = True
        return super().forward(x, weight, bias)

    def name(self) -> str:
        return "ReluBackward0"  # the last of the two, as if they were apart


class BatchNormReluDropout(BatchNorm):
    """That with dropout behind it, which keeps its mask, and nothing of the results."""

    __slots__ = ("draw", "mask")

    draw: Any

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        rows = self.prepare(x, weight)
        self.mask = self.draw.bits(rows.size)
        y = kernels.batch_norm_relu_dropout(
            kernels.empty_like(rows),
            self.statistics,
            self.running_mean,
            self.running_var,
            rows,
            self.mask,
            self.weight,
            vector(bias),
            self.eps,
            self.momentum,
            self.draw.scale,
        )
        return images(y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, rows, dx = gradients(self, dy)
        kept = self.x, self.mask, self.statistics, self.weight, self.draw.scale
        kernels.batch_norm_relu_dropout_backward(dx, dweight, dbias, rows, *kept)
        return images(dx, dy.shape), dweight, dbias

    name = DropoutOperation.name


class BatchNormAddRelu(BatchNorm):
    """relu(y + z), where the two ways through a residual block meet: three walks over the memory fewer than apart.

    z's gradient is what relu lets through, of which those of the normalization are made, too.
    """

    __slots__ = ("y",)

    def forward(  # type: ignore[override]
        self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, z: np.ndarray
    ) -> np.ndarray:
        rows = self.prepare(x, weight)
        self.y = kernels.batch_norm_add_relu(
            kernels.empty_like(rows),
            self.statistics,
            self.running_mean,
            self.running_var,
            rows,
            pixels(z),
            self.weight,
            vector(bias),
            self.eps,
            self.momentum,
        )
        return images(self.y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, rows, dz = gradients(self, dy)
        dx = kernels.empty_like(self.x)
        kept = self.y, self.x, self.statistics, self.weight
        kernels.batch_norm_add_relu_backward(dx, dz, dweight, dbias, rows, *kept)
        return images(dx, dy.shape), dweight, dbias, images(dz, dy.shape)

    name = BatchNormRelu.name


class BatchNormInference(Operation):
    """Normalization by given statistics: for each channel a straight line."""

    __slots__ = ("eps", "mean", "var", "weight", "x")

    relu = False
    shift: Any = None
    eps: float
    mean: Any
    var: Any
    weight: Any

    def forward(
        self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, mean: np.ndarray, var: np.ndarray
    ) -> np.ndarray:
        self.x = rows = pixels(x)
        self.weight, self.mean, self.var = vector(weight), vector(mean), vector(var)
        y = kernels.empty_like(rows)
        kernels.batch_norm_inference(y, rows, self.mean, self.var, self.weight, vector(bias), self.eps, self.relu)
        return images(y, x.shape)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dweight, dbias, rows, dx = gradients(self, dy)
        given = self.x, self.mean, self.var, self.weight, self.shift, self.eps, self.relu
        kernels.batch_norm_inference_backward(dx, dweight, dbias, rows, *given)
        return images(dx, dy.shape), dweight, dbias, None, None


class BatchNormInferenceRelu(BatchNormInference):
    """The relu of that.  `y` is a mark as above; the bias, which may change before it is needed, is copied."""

    __slots__ = ("shift", "y")

    relu = True

    def forward(
        self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, mean: np.ndarray, var: np.ndarray
    ) -> np.ndarray:
        self.y, self.shift = True, None if bias is None else copied(bias)
        return super().forward(x, weight, bias, mean, var)

    name = BatchNormRelu.name


def gradients(operation: BatchNorm | BatchNormInference, dy: np.ndarray) -> Any:
    """Memory for dgamma and dbeta, where they are wanted, and dy as a matrix, with memory for one like it.

    The kernels write dx even where nobody wants it.
    """
    _, wants_weight, wants_bias = operation.needs_input_grad[:3]
    columns, rows = operation.x.shape[1:], pixels(dy)
    return (
        kernels.empty(columns, dy.dtype) if wants_weight else None,
        kernels.empty(columns, dy.dtype) if wants_bias else None,
        rows,
        operation.room(rows, operation.x),
    )


def batch_norm(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight (input - mean) / sqrt(var + eps) + bias, channel by channel, for input (N, C) or (N, C, *).

    With training, mean and var are those of the batch, and the running ones, if there
    are any, move towards them: running = (1 - momentum) running + momentum × batch's.
    Without, they are the running ones.

    ValueError if the shapes do not fit, if there is one value a channel to take a
    variance of, or no running statistics where they are needed; TypeError unless all
    are floats of one type.

    >>> import batten
    >>> x = batten.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> batten.nn.functional.batch_norm(x, None, None, training=True)
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    """
    return normalized(input, running_mean, running_var, weight, bias, training, momentum, eps, False)


def normalized(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
    z: Tensor | None = None,
    kinds: tuple[type[BatchNorm], type[BatchNorm]] = (BatchNorm, BatchNormRelu),
    dropout: Dropout | None = None,
) -> Tensor:
    """batch_norm, and relu of that if asked for, and of that and z if there is one, of its shape and type.

    Behind a relu there may be a dropout in training.

    kinds are the operations by which training normalizes, without a relu and with one.
    """
    x = floats("batch_norm", input)
    shape = x.array.shape
    if len(shape) < 2:
        raise ValueError(f"batch_norm expects (N, C) or (N, C, *), got {list(shape)}")
    mean, var, w, b = of_channels("batch_norm", x, running_mean, running_var, weight, bias)
    if not eps >= 0 or (training and eps == 0):
        raise ValueError(f"batch_norm expects eps > 0, got {eps}")
    if not training:
        if mean is None:
            raise ValueError("batch_norm expects running_mean and running_var unless training=True, got None")
        return inferred(x, mean, var, w, b, eps, relu, z)
    if shape[0] * math.prod(shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {list(shape)}: "
            "one value is its own mean, so that nothing but the bias would be left of it; take larger batches "
            "(drop_last=True leaves out a last one that is too small), or call eval() to use the running statistics"
        )
    kind = BatchNormAddRelu if z is not None else kinds[relu] if dropout is None else BatchNormReluDropout
    apply = kind.apply if dropout is None else partial(dropout._apply, kind)
    y = apply(
        x,
        w,
        b,
        *([] if z is None else [z]),
        running_mean=None if mean is None else mean.array,
        running_var=None if var is None else var.array,
        momentum=momentum,
        eps=eps,
    )
    for running in (mean, var):
        if running is not None:
            running.version[0] += 1
    return y


def inferred(x: Tensor, mean: Any, var: Any, w: Any, b: Any, eps: float, relu: bool, z: Tensor | None) -> Tensor:
    """x normalized by given statistics, and relu of that if asked for, and of that and z if there is one."""
    if z is not None:
        return operations.relu(BatchNormInference.apply(x, w, b, mean, var, eps=eps) + z)
    return (BatchNormInferenceRelu if relu else BatchNormInference).apply(x, w, b, mean, var, eps=eps)


def of_channels(
    layer: str,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None,
    bias: Operand | None,
) -> tuple[Any, Any, Any, Any]:
    """The running statistics, both or none, and the parameters of x's channels, as tensors that fit."""
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{layer} expects running_mean and running_var both, or neither of them")
    mean, var = constants(layer, "running_mean", running_mean, x), constants(layer, "running_var", running_var, x)
    w, b = (operand(layer, *named, x, x.array.shape[1:2]) for named in (("weight", weight), ("bias", bias)))
    return mean, var, w, b


def constants(layer: str, name: str, v: Operand | None, x: Tensor) -> Any:
    """Statistics of x's channels, if there are any."""
    t = operand(layer, name, v, x, x.array.shape[1:2])
    if t is not None and t.requires_grad:
        raise ValueError(f"{layer} has no gradient for {name}; detach() it")
    return t


class BatchNormModule(TrackingNormalization):
    """What all classes of batch normalization are but the shapes that they take.

    In training by the statistics of the batch, which running_mean and running_var follow:
    running = (1 - momentum) running + momentum × batch's, or the average over all
    batches where momentum is None.  In evaluation by the running statistics; by the
    batch's if track_running_stats is False.
    """

    spatial: ClassVar[dict[int, str]]  # the ranks that a class takes, and the axes behind the channels

    def forward(self, input: Tensor) -> Tensor:
        return self._activated(input, None)

    def _activated(
        self,
        input: Tensor,
        activation: str | None,
        z: Tensor | None = None,
        at: Any = (),
        dropout: Dropout | None = None,
    ) -> Tensor:
        """What forward returns, or what an activation makes of that, or of the sum with z; and a dropout, of a relu.

        `at` are forward's arguments behind the input, which say which of the estimates are meant.
        """
        shape = input.shape
        if len(shape) not in self.spatial or shape[1] != self.num_features:
            expected = " or ".join([f"(N, {self.num_features}{axes})" for axes in self.spatial.values()])
            raise ValueError(f"{type(self).__name__} expects {expected}, got {list(shape)}")
        mean, var, batches = self._estimates(*at)
        following = self.training and self.track_running_stats and mean is not None
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / (int(batches) + 1) if following else 0.0
        known, of_batch = following or not self.training, self.training or mean is None
        y = normalized(
            input,
            mean if known else None,
            var if known else None,
            self.weight,
            self.bias,
            of_batch,
            momentum,
            self.eps,
            activation == "relu",
            z,
            self._operations(),
            dropout if of_batch else None,
        )
        if following:  # what add_(1) does, which would take half of the time of a small batch
            batches.array[()] += 1
            batches.version[0] += 1
        return y if dropout is None or of_batch else dropout(y)

    def _estimates(self) -> tuple[Any, Any, Any]:
        """What forward follows in training, and takes in evaluation: mean, var, and of how many batches; or None."""
        return self.running_mean, self.running_var, self.num_batches_tracked

    def _operations(self) -> tuple[type[BatchNorm], type[BatchNorm]]:
        """By what training normalizes, without a relu and with one."""
        return BatchNorm, BatchNormRelu


class BatchNorm1d(BatchNormModule):
    """Batch normalization of (N, num_features) or (N, num_features, L); the result has the same shape.

    >>> import batten
    >>> layer = batten.nn.BatchNorm1d(2)
    >>> layer(batten.tensor([[1.0, 10.0], [3.0, 30.0]])).detach()
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    >>> layer.running_mean
    tensor([0.2000, 2.0000])
    """

    spatial: ClassVar = {2: "", 3: ", L"}


class BatchNorm2d(BatchNormModule):
    """Batch normalization of images (N, num_features, H, W): each channel over all pixels of the batch.

    >>> import batten
    >>> batten.nn.BatchNorm2d(1)(batten.tensor([[[[1.0, 3.0]]]])).detach()
    tensor([[[[-1.0000,  1.0000]]]])
    """

    spatial: ClassVar = {4: ", H, W"}


class BatchNorm3d(BatchNormModule):
    """Batch normalization of volumes (N, num_features, D, H, W): each channel over all voxels of the batch.

    >>> import batten
    >>> batten.nn.BatchNorm3d(16)(batten.ones(2, 16, 3, 4, 5)).shape
    (2, 16, 3, 4, 5)
    """

    spatial: ClassVar = {5: ", D, H, W"}


class ChannelAffine(Module):
    """y = weight (x - mean) + bias for each channel of x, (N, C) or (N, C, *): batch normalization in evaluation.

    It is for `nn.utils.fuse_bn`.  The mean is no part of the bias, as x and a mean far from nought have digits in
    common, which are lost if they are not subtracted first.
    """

    mean: Any

    def __init__(self, mean: Tensor, weight: Parameter, bias: Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.register_buffer("mean", mean)

    def forward(self, input: Tensor) -> Tensor:
        return self._activated(input, None)

    def _activated(self, input: Tensor, activation: str | None) -> Tensor:
        """What forward returns, or what an activation makes of that."""
        given = self.mean, ones_like(self.mean), self.weight, self.bias
        return normalized(input, *given, training=False, momentum=0.0, eps=0.0, relu=activation == "relu")

    def extra_repr(self) -> str:
        return str(len(self.mean))


class Folded(Identity):
    """What it is given, if that has so many axes.

    It takes the place of a BatchNorm1d that has become a part of the layer before it, by `nn.utils.fuse_bn`: that
    layer has its channels in one axis, where BatchNorm1d's depends on how many there are.
    """

    def __init__(self, names: str, rank: int, expected: str) -> None:
        super().__init__()
        self.names, self.rank, self.expected = names, rank, expected

    def forward(self, input: Tensor) -> Tensor:
        if len(input.shape) != self.rank:
            raise ValueError(f"{self.names} expects {self.expected}, got {list(input.shape)}")
        return input

    def extra_repr(self) -> str:
        return self.expected

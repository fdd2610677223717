"""DropConnect (Wan, Zeiler, Zhang, LeCun and Fergus 2013, "Regularization of Neural Networks using DropConnect").

    training     y = act(z),      z = (M ∘ W) x + b,   M_oi = 0 with probability p, else 1, for each example anew
    evaluation   y = E act(z),    z ~ N((1 - p) W x + b, p (1 - p) (W ∘ W) (x ∘ x))

In evaluation z is taken for normal, as it is a sum of many terms, with the mean and variance that it has over all
masks.  The expectation is an average over samples, or a closed form, or it is left at act(E z).  Inverted, W is
divided by 1 - p, and the mean of z is W x + b in both.

The masks, a number for each example and weight, are never stored: the kernels (ext/drop_connect.c) make them again
from the draw's number wherever they want them, forward and backward.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _kernels as kernels
from .. import operations
from ..autograd import Operation
from ..operations.families import contiguous
from ..operations.linalg import rows_of
from ..random import Generator, check_generator, next_draw
from .dropout import Draw, check_probability
from .linear import Linear, linear, operands

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["DropConnect"]


class Activation(NamedTuple):
    """A function of tensors, and its kernels: y = f(x), written over x, and dx from dy and y."""

    function: Callable[[Any], Any]
    kernel: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]


ACTIVATIONS = {
    None: Activation(lambda x: x, lambda y, x: y, lambda dx, dy, y: kernels.copy(dx, dy)),
    "relu": Activation(operations.relu, kernels.relu, kernels.relu_backward),
    "sigmoid": Activation(operations.sigmoid, kernels.sigmoid, kernels.sigmoid_backward),
    "tanh": Activation(operations.tanh, kernels.tanh, kernels.tanh_backward),
}


class DropConnectOperation(Operation):
    """y = scale (M ∘ W) x + b with a mask for each row; dx = scale (M ∘ W)ᵀ dy, dW = scale M ∘ (dy xᵀ) summed."""

    __slots__ = ("draw", "weight", "x")

    draw: Draw
    x: Any
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        wants_x, wants_weight, _ = self.needs_input_grad
        self.x = x if wants_weight else None
        self.weight = weight if wants_x else None
        y = kernels.empty((*x.shape[:-1], len(weight)), x.dtype)
        offset = None if bias is None else contiguous(bias)
        kernels.drop_connect(rows_of(y), contiguous(rows_of(x)), contiguous(weight), offset, *self.draw)
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        wants_x, wants_weight, wants_bias = self.needs_input_grad
        rows = contiguous(rows_of(dy))
        x = weight = dx = dx_rows = dweight = dbias = None
        if wants_x:
            weight = contiguous(self.weight)
            dx = kernels.empty((*dy.shape[:-1], weight.shape[1]), dy.dtype)
            dx_rows = rows_of(dx)
        if wants_weight:
            x = contiguous(rows_of(self.x))
            dweight = kernels.empty((dy.shape[-1], x.shape[1]), dy.dtype)
        if wants_x or wants_weight:
            kernels.drop_connect_backward(dx_rows, dweight, rows, x, weight, *self.draw)
        if wants_bias:
            dbias = kernels.sum(kernels.empty(dy.shape[-1:], dy.dtype), rows)
        return dx, dweight, dbias


class DroppedWeight(Operation):
    """scale M ∘ W with one mask; dW = scale M ∘ dy."""

    __slots__ = ("draw",)

    draw: Draw

    def forward(self, weight: np.ndarray) -> np.ndarray:
        y = kernels.empty(weight.shape, weight.dtype)
        return kernels.drop_connect_weight(y, contiguous(weight), 0, *self.draw)

    backward = forward


class Moments(Operation):
    """The mean and the standard deviation of z: keep W x + b, and √v, v = variance (W ∘ W) (x ∘ x).

    With r = dstd / std, dx = keep Wᵀ dmean + variance x ∘ ((W ∘ W)ᵀ r), and dW likewise.  Where std is 0, all
    that it is made of is: it has a kink there, as |x| has, and r is 0.
    """

    __slots__ = ("keep", "std", "variance", "weight", "x")

    keep: float
    variance: float
    std: Any
    x: Any
    weight: Any

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        mean, std = (kernels.empty((*x.shape[:-1], len(weight)), x.dtype) for _ in range(2))
        kernels.gemm_squares(rows_of(mean), rows_of(std), rows_of(x), weight.T, bias, self.keep)
        scaled(kernels.sqrt(std, std), math.sqrt(self.variance))
        self.x, self.weight, self.std = x, weight, std
        return mean, std

    def backward(self, dmean: np.ndarray | None, dstd: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
        wants_x, wants_weight, wants_bias = self.needs_input_grad
        x, weight, std = rows_of(self.x), self.weight, rows_of(self.std)
        zero = np.zeros_like(std)
        by_mean, r = (zero if d is None else rows_of(d) for d in (dmean, dstd))
        r = np.divide(r, std, out=zero.copy(), where=std != 0)
        dx = dweight = dbias = None
        if wants_x:
            dx = self.summed(by_mean, r, weight, x).reshape(self.x.shape)
        if wants_weight:
            dweight = self.summed(by_mean.T, r.T, x, weight)
        if wants_bias:
            dbias = kernels.sum(kernels.empty(by_mean.shape[1:], by_mean.dtype), by_mean)
        return dx, dweight, dbias

    def summed(self, dmean: np.ndarray, r: np.ndarray, other: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The gradient of one factor of z's terms, its own, that are summed over dmean's columns."""
        d = kernels.gemm(kernels.empty(own.shape, own.dtype), r, kernels.square(kernels.empty_like(other), other))
        return kernels.gemm(kernels.mul(d, d, own), dmean, other, None, None, self.keep, self.variance)


class ExpectedRelu(Operation):
    """E max(z, 0) for z ~ N(mean, std²): mean Φ(u) + std φ(u), u = mean / std; dmean = dy Φ(u), dstd = dy φ(u)."""

    __slots__ = ("mean", "std")

    def forward(self, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        self.mean, self.std = mean, std
        return kernels.gaussian_relu(kernels.empty_like(mean), mean, std)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dmean, dstd = (kernels.empty_like(self.mean) for _ in range(2))
        kernels.gaussian_relu_backward(dmean, dy, self.mean, self.std)
        kernels.gaussian_relu_std_backward(dstd, dy, self.mean, self.std)
        return dmean, dstd


class SampledActivation(Operation):
    """The average of act(mean + std ε) over the draws of ε ~ N(0, 1), which are made again for the gradient."""

    __slots__ = ("activation", "draws", "mean", "std")

    activation: Activation
    draws: list[tuple[int, int]]

    def forward(self, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        self.mean, self.std = mean, std
        total = np.zeros_like(mean)
        for y, _ in self.samples():
            kernels.add(total, total, y)
        return scaled(total, 1 / len(self.draws))

    def samples(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """act(z) and ε of each draw, in the same memory."""
        z, noise = (kernels.empty(self.mean.shape, self.mean.dtype) for _ in range(2))
        for draw in self.draws:
            kernels.normal(noise, 0, 1, *draw)
            kernels.add(z, kernels.mul(z, noise, self.std), self.mean)
            yield self.activation.kernel(z, z), noise

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dmean, dstd = np.zeros_like(self.mean), np.zeros_like(self.mean)
        for y, noise in self.samples():
            dz = self.activation.gradient(y, dy, y)
            kernels.add(dmean, dmean, dz)
            kernels.add(dstd, dstd, kernels.mul(noise, noise, dz))
        return scaled(dmean, 1 / len(self.draws)), scaled(dstd, 1 / len(self.draws))


def scaled(x: np.ndarray, factor: float) -> np.ndarray:
    """x times a number, in its place."""
    return kernels.mul(x, x, np.asarray(factor, x.dtype))


class DropConnect(Linear):
    """y = act(z) for x (*, in_features), each with weights of its own; y is (*, out_features).

        training     z = (M ∘ W) x + b,   M_oi = 0 with probability p, else 1
        evaluation   y = E act(z),   z ~ N((1 - p) W x + b, p (1 - p) (W ∘ W) (x ∘ x))

    After Wan et al. 2013.  Each row of x draws a mask of its own, which is never stored; `per_batch=True` draws one
    for all.  The bias is never dropped.  `activation` is None, "relu", "sigmoid" or "tanh".

    In evaluation act(z) is averaged over so many `samples` of z, each a draw; with `samples=0` it is act of the mean of
    z.  `inference="analytic"` takes the expectation itself, which has a closed form for None and "relu".
    `inverted=True` divides W by 1 - p, for training and for evaluation.

    Parameters are Linear's, and so are checkpoints.  A dropped weight is not there: if it is NaN, nobody sees it.  The
    random numbers are those of `generator`, or of `batten.manual_seed`: the same seed drops the same weights, on any
    machine and for any number of threads.

    ValueError unless 0 <= p <= 1 (p < 1 where inverted), samples >= 0, and there is such an activation and inference,
    or if x's shape does not fit; TypeError if x is not of the weight's type, or the generator is none.

    >>> import batten
    >>> layer = batten.nn.DropConnect(3, 2, p=0.5, activation="relu")
    >>> layer(batten.ones(5, 3)).shape
    (5, 2)
    >>> layer.last_mask().shape
    (5, 2, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        bias: bool = True,
        activation: str | None = None,
        samples: int = 100,
        *,
        inverted: bool = False,
        per_batch: bool = False,
        inference: str = "sample",
        generator: Generator | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_probability("DropConnect", p)
        if inverted and p == 1:
            raise ValueError("DropConnect that is inverted divides by 1 - p, and expects p < 1")
        if activation not in ACTIVATIONS:
            raise ValueError(f"DropConnect expects no activation, relu, sigmoid or tanh, got {activation!r}")
        if operator.index(samples) < 0:
            raise ValueError(f"DropConnect expects samples >= 0, got {samples}")
        if inference not in ("sample", "analytic"):
            raise ValueError(f"DropConnect expects inference to be 'sample' or 'analytic', got {inference!r}")
        if inference == "analytic" and activation not in (None, "relu"):
            raise ValueError(f"DropConnect has no closed form for the expectation of {activation}; use samples")
        check_generator("DropConnect", generator)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.p, self.activation, self.samples = p, activation, samples
        self.inverted, self.per_batch, self.inference = inverted, per_batch, inference
        self.generator = generator
        self._last: tuple[Draw, tuple[int, ...]] | None = None

    def forward(self, input: Tensor) -> Tensor:
        layer, act = operands(input, self.weight, self.bias, "DropConnect"), ACTIVATIONS[self.activation]
        if self.training:
            return act.function(self._dropped(*layer))
        keep = 1 if self.inverted else 1 - self.p
        variance = self.p / (1 - self.p) if self.inverted else self.p * (1 - self.p)
        analytic = self.inference == "analytic"
        if variance == 0 or (self.activation is None if analytic else self.samples == 0):
            x, *others = layer
            return act.function(linear(x * keep, *others))
        mean, std = Moments.apply(*layer, keep=keep, variance=variance)
        if analytic:
            return ExpectedRelu.apply(mean, std)
        draws = [next_draw(self.generator) for _ in range(self.samples)]
        return SampledActivation.apply(mean, std, activation=act, draws=draws)

    def _dropped(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """z in training."""
        draw = Draw(self.p, 1 / (1 - self.p) if self.inverted else 1.0, *next_draw(self.generator))
        self._last = draw, () if self.per_batch else tuple(x.shape[:-1])
        if self.per_batch:
            return linear(x, DroppedWeight.apply(weight, draw=draw), bias)
        return DropConnectOperation.apply(x, weight, bias, draw=draw)

    def last_mask(self) -> np.ndarray:
        """Which weights the last forward in training has kept: bools (*, out_features, in_features).

        Of `per_batch` there is one mask, (out_features, in_features).  It is made again, and takes the memory that the
        layer does without.  RuntimeError if there was no such forward.
        """
        if self._last is None:
            raise RuntimeError("DropConnect has no mask before it is called in training")
        draw, examples = self._last
        masks = np.empty((math.prod(examples), self.out_features, self.in_features), bool)
        ones = np.ones(masks.shape[1:], np.float32)
        weight = np.empty_like(ones)
        for example, mask in enumerate(masks):
            mask[:] = kernels.drop_connect_weight(weight, ones, example, *draw)
        return masks.reshape(*examples, self.out_features, self.in_features)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, p={self.p}, "
            f"bias={self.bias is not None}, activation={self.activation!r}, samples={self.samples}, "
            f"inverted={self.inverted}, per_batch={self.per_batch}, inference={self.inference!r}"
        )

"""Batch normalization folded into the layer before it.

In evaluation it is an affine map of each channel.  So is a part of what a linear layer or a convolution
does, and the two maps are one:

    scale (W x + b - mean) + beta = (scale W) x + (scale (b - mean) + beta),     scale = gamma / sqrt(var + eps)

A row of W, or a filter of a convolution, makes one channel, so that scale is a factor for each of these.
What is folded is worked out in double precision, and rounded once.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

import numpy as np

from ...creation import tensor
from ...tensor import Tensor
from ..batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormModule, ChannelAffine, Folded
from ..container import ModuleList, Sequential
from ..convolution import (
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from ..fusion import CALL, as_defined
from ..kinds import CHILD
from ..linear import Identity, Linear
from ..lp_batch_norm import LpBatchNorm1d, LpBatchNorm2d
from ..module import Module
from ..noisy_batch_norm import NoisyBatchNorm1d, NoisyBatchNorm2d
from ..parameter import Parameter

__all__ = ["fuse_bn", "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

LAYERS = (Linear, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d, LpBatchNorm1d, LpBatchNorm2d, NoisyBatchNorm1d, NoisyBatchNorm2d)

ConvT = TypeVar("ConvT", bound=Conv)
LinearT = TypeVar("LinearT", bound=Linear)


# ---- in a model ----


def fuse_bn(model: Module, inplace: bool = False) -> Module:
    """A copy of a model in evaluation without BatchNorm layers, for use; or the model itself, so changed.

    A BatchNorm behind a Linear, a Conv or a ConvTranspose becomes a part of that one, and an Identity takes its place;
    any other becomes an affine map of each channel.  The results are the same, but for rounding.  All else stays as it
    is: the names, the other layers, and which parameters require gradients.  A BatchNorm by itself is not changed in
    place; the map is returned.  All of this holds for LpBatchNorm and NoisyBatchNorm, too.

    Layers are behind one another where they are neighbours in a Sequential, or in Sequentials within it, and in the
    residual blocks of `batten.models`.  A Sequential is taken at its word: its layers are called in turn, and nobody
    else asks for what goes from one to the next.  The order in which other modules register their layers does not say
    how they call them, so that a BatchNorm in one of those becomes a map of its own.  So it does behind a layer of
    another class, or with hooks.  A BatchNorm with hooks, with a forward of its own, or without running statistics is
    left alone, and so is a RecurrentBatchNorm1d, which is another map in each step.  A layer or a weight that is used
    elsewhere, too, stays as it is there.

    A Linear has its channels in the last axis, and BatchNorm1d in the second one, which is the same for (N, C) only.
    So what takes the place of a BatchNorm1d behind a Linear takes (N, C), behind a Conv1d it takes (N, C, L), and
    refuses what would have been normalized along another axis.

    ValueError if any module is in training.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    >>> nn.utils.fuse_bn(model.eval())
    Sequential(
      (0): ChannelAffine(3)
      (1): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (2): Identity()
      (3): ReLU()
    )
    """
    for path, module in model.named_modules():
        if module.training:
            raise ValueError(
                f"fuse_bn expects a model in evaluation, got {path or 'one'} in training, "
                "where statistics are those of each batch; call eval() first"
            )
    whole = ModuleList([model if inplace else copy.deepcopy(model)])  # so that the model, too, has a place
    uses = Counter(child for module in whole.modules() for _, child in children(module))
    for module in list(whole.modules()):
        fold(row(module, uses))
    maps: dict[Module, Module] = {}
    for module in list(whole.modules()):
        for name, child in children(module):
            if is_affine(child):
                if child not in maps:
                    maps[child] = affine(child)
                setattr(module, name, maps[child])
    return whole[0]


def children(module: Module) -> list[tuple[str, Any]]:
    """Names and modules, those that have several names under each."""
    return [(name, child) for name, child in module._own(CHILD).items() if child is not None]


def row(module: Module, uses: Counter[Module]) -> list[tuple[Module, str]]:
    """Places, as parent and name, of modules in it that are called one after the other.

    A Sequential among them stands for its own row, unless it is used elsewhere, too, or has hooks, which see what
    comes out of it.
    """
    kind = type(module)
    own = "forward" not in vars(module) and definer(kind, "_in_a_row") is definer(kind, "forward")
    if not own or kind.__call__ is not CALL:
        return []
    places = []
    for name in module._in_a_row():
        child = getattr(module, name)
        transparent = as_defined(child) and type(child).forward is Sequential.forward and uses[child] == 1
        places += (row(child, uses) if transparent else []) or [(module, name)]
    return places


def definer(kind: type, name: str) -> type:
    """The class of which a class has an attribute."""
    return next(base for base in kind.__mro__ if name in vars(base))


def fold(places: list[tuple[Module, str]]) -> None:
    """Makes each batch normalization in a row a part of the layer before it, if it can be."""
    before = None
    for place in places:
        module = getattr(*place)
        if before is not None and is_affine(module) and fits(getattr(*before), module):
            setattr(*before, folded(getattr(*before), module))
            setattr(*place, remainder(getattr(*before), module))
        else:
            before = place


def is_affine(module: Any) -> bool:
    """Whether it is a batch normalization by running statistics, and nothing else."""
    return type(module) in NORMS and as_defined(module) and module.running_mean is not None


def fits(layer: Any, bn: Any) -> bool:
    """Whether bn maps the channels that the layer has made."""
    return (
        type(layer) in LAYERS
        and as_defined(layer)
        and bn.num_features == (layer.out_features if isinstance(layer, Linear) else layer.out_channels)
        and layer.weight.ndim in bn.spatial  # a result has as many axes as the weight
        and layer.weight.dtype == bn.running_mean.dtype
    )


def affine(bn: Any) -> Module:
    """The map that a batch normalization is."""
    weight = parameter(scales(bn.running_var, bn.eps, bn.weight), bn.running_mean, bn.weight)
    bias = parameter(double(bn.bias, np.zeros(bn.num_features)), bn.running_mean, bn.bias)
    return ChannelAffine(bn.running_mean.clone(), weight, bias).eval()


def remainder(layer: Any, bn: Any) -> Module:
    """What takes the place of a batch normalization that is a part of a layer."""
    rank = layer.weight.ndim
    if len(bn.spatial) == 1:  # it takes nothing else in any case
        return Identity().eval()
    names = f"{type(bn).__name__} as a part of the {type(layer).__name__} before it"
    return Folded(names, rank, f"(N, {bn.num_features}{bn.spatial[rank]})").eval()


# ---- in a layer ----


def fuse_conv_bn_eval(conv: ConvT, bn: BatchNormModule, transpose: bool = False) -> ConvT:
    """A convolution that computes bn(conv(x)), for two modules in evaluation.

    transpose is to be True for a ConvTranspose1d, 2d or 3d, and for no other.  ValueError if it is not, if one of the
    two is in training, or if bn has no running statistics, or those of other channels.

    >>> from batten import nn
    >>> conv, bn = nn.Conv2d(3, 8, 3, bias=False).eval(), nn.BatchNorm2d(8).eval()
    >>> nn.utils.fuse_conv_bn_eval(conv, bn)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    if transpose != conv.transposed:
        raise ValueError(
            f"fuse_conv_bn_eval expects transpose={conv.transposed} for a {type(conv).__name__}, got {transpose}"
        )
    return folded(conv, bn)


def fuse_linear_bn_eval(linear: LinearT, bn: BatchNormModule) -> LinearT:
    """A linear layer that computes bn(linear(x)) for x (N, in_features), for two modules in evaluation.

    ValueError if one of the two is in training, or if bn has no running statistics, or those of other channels.

    >>> from batten import nn
    >>> linear, bn = nn.Linear(3, 8, bias=False).eval(), nn.BatchNorm1d(8).eval()
    >>> nn.utils.fuse_linear_bn_eval(linear, bn)
    Linear(in_features=3, out_features=8, bias=True)
    """
    return folded(linear, bn)


def folded(layer: Any, bn: Any) -> Any:
    """A copy of a layer of which bn is a part."""
    for module in (layer, bn):
        if module.training:
            raise ValueError(f"expected layers in evaluation, got a {type(module).__name__} in training; call eval()")
    if bn.running_mean is None:
        raise ValueError(f"expected a {type(bn).__name__} with running statistics, got track_running_stats=False")
    copied = copy.deepcopy(layer)
    copied.weight, copied.bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        bn.running_mean,
        bn.running_var,
        bn.eps,
        bn.weight,
        bn.bias,
        isinstance(layer, ConvTranspose),
    )
    return copied


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution of which a batch normalization is a part.

    With transpose, conv_w is that of a transposed convolution, (channels, features / groups, *).  ValueError if there
    are not as many statistics as features.

    >>> import batten
    >>> one = batten.ones(1)
    >>> batten.nn.utils.fuse_conv_bn_weights(batten.ones(1, 1, 2), one, 3 * one, 4 * one, 0.0, one, one)
    (Parameter containing:
    tensor([[[0.5000, 0.5000]]]), Parameter containing:
    tensor([0.]))
    """
    rows, columns = conv_w.shape[:2]
    statistics = len(bn_rm)
    groups = statistics // max(columns, 1) if transpose else 1
    features = groups * columns if transpose else rows
    if statistics not in (1, features) or rows % max(groups, 1):
        raise ValueError(f"expected statistics of the channels of a weight {list(conv_w.shape)}, got {statistics}")
    with np.errstate(all="ignore"):
        scale = np.broadcast_to(scales(bn_rv, bn_eps, bn_w), features)
        bias = scale * (double(conv_b, np.zeros(features)) - double(bn_rm)) + double(bn_b, 0)
        factors = np.repeat(scale.reshape(groups, columns), rows // groups, 0) if transpose else scale[:, None]
        weight = double(conv_w) * factors.reshape(*factors.shape, *[1] * (conv_w.ndim - 2))
    return parameter(weight, conv_w, conv_w), parameter(bias, conv_w if conv_b is None else conv_b, conv_b)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer of which a batch normalization is a part.

    ValueError if there are not as many statistics as features.

    >>> import batten
    >>> one = batten.ones(1)
    >>> batten.nn.utils.fuse_linear_bn_weights(batten.ones(1, 2), one, 3 * one, 4 * one, 0.0, one, one)
    (Parameter containing:
    tensor([[0.5000, 0.5000]]), Parameter containing:
    tensor([0.]))
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def scales(var: Tensor, eps: float, weight: Tensor | None) -> np.ndarray:
    with np.errstate(all="ignore"):
        return double(weight, 1) / np.sqrt(double(var) + eps)


def double(x: Tensor | None, otherwise: Any = None) -> Any:
    """The elements in double precision, or what there is where there are none."""
    return otherwise if x is None else x.array.astype(np.float64)


def parameter(values: np.ndarray, like: Tensor, learnt: Tensor | None) -> Parameter:
    """Values in the type of a tensor, which require a gradient if the parameter does whose place they take."""
    with np.errstate(all="ignore"):
        return Parameter(tensor(values, dtype=like.dtype), learnt is not None and learnt.requires_grad)

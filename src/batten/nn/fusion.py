"""Neighbours that Sequential computes in one call.

    Conv1d | 2d | 3d, ReLU               the relu is applied where the convolution writes its result
    BatchNorm1d | 2d | 3d, ReLU          x is normalized and bent in one pass, and so is its gradient
    LpBatchNorm1d | 2d, ReLU             the same
    ChannelAffine, ReLU                  the same, for what is left of these in evaluation (nn.utils.fuse_bn)
    GroupNorm, ReLU                      the same
    InstanceNorm1d | 2d | 3d, ReLU       the same
    Linear, ReLU | Sigmoid | Tanh        the activation is applied where gemm writes its result
    ReLU, Dropout                        in one pass, which keeps two bits an element
    BatchNorm1d | 2d | 3d, ReLU, Dropout the mask is drawn first, and applied where the result is written
    Linear, ReLU, Dropout                the last two in one pass over what gemm has written

The first module has a method `_activated(input, activation)`, which returns what the second would have made
of its result: the same bits, and with the same gradients; and with a `dropout`, what that makes of it then.
Modules are joined only where nobody can tell: they are of just these classes, as they are defined here, and nothing
is to happen between them.  That is looked up in each forward, so modules, hooks and modes may change at any time.

Layers that return what they are given, Identity and Folded, may stand between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import operations
from ..operations.promotion import as_operand
from .activation import ReLU, Sigmoid, Tanh
from .batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, ChannelAffine, Folded
from .convolution import Conv1d, Conv2d, Conv3d
from .dropout import Dropout, ReluDropout
from .group_norm import GroupNorm
from .instance_norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .linear import Identity, Linear
from .lp_batch_norm import LpBatchNorm1d, LpBatchNorm2d
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__: list[str] = []

# first module -> the one behind it -> what the first is to apply
FUSIONS: dict[Any, dict[Any, str]] = {
    Conv1d: {ReLU: "relu"},
    Conv2d: {ReLU: "relu"},
    Conv3d: {ReLU: "relu"},
    BatchNorm1d: {ReLU: "relu"},
    BatchNorm2d: {ReLU: "relu"},
    BatchNorm3d: {ReLU: "relu"},
    LpBatchNorm1d: {ReLU: "relu"},
    LpBatchNorm2d: {ReLU: "relu"},
    ChannelAffine: {ReLU: "relu"},
    GroupNorm: {ReLU: "relu"},
    InstanceNorm1d: {ReLU: "relu"},
    InstanceNorm2d: {ReLU: "relu"},
    InstanceNorm3d: {ReLU: "relu"},
    Linear: {ReLU: "relu", Sigmoid: "sigmoid", Tanh: "tanh"},
}
# first module -> what is applied between it and a Dropout that it does as well
DROPPING: dict[Any, str | None] = {
    ReLU: None,
    BatchNorm1d: "relu",
    BatchNorm2d: "relu",
    BatchNorm3d: "relu",
    Linear: "relu",
}
BETWEEN: tuple[Any, ...] = (Identity, Folded)
JOINED = {*FUSIONS, *DROPPING}
SUMMED = (  # with another tensor before the relu
    *(BatchNorm1d, BatchNorm2d, BatchNorm3d),
    GroupNorm,
    *(InstanceNorm1d, InstanceNorm2d, InstanceNorm3d),
)
CALL = Module.__call__
FORWARD = {kind: kind.forward for first in FUSIONS for kind in (first, *FUSIONS[first], *BETWEEN, Dropout)}


def together(modules: Sequence[Any], at: int, input: Any) -> tuple[Any, int]:
    """What a module makes of an input, with those behind it that it does as well; and where the rest begins."""
    first = modules[at]
    end = at + 1
    if type(first) in JOINED:
        activation = dropout = None
        behind = past(modules, end)
        if behind < len(modules) and (activation := fused(first, modules[behind])):
            end = behind + 1
            behind = past(modules, end)
        if behind < len(modules) and thins(first, activation, modules[behind]):
            dropout, end = modules[behind], behind + 1
        if end > at + 1:
            input = joined(first, input, activation, dropout)
            for module in modules[at + 1 : end]:
                if type(module) in BETWEEN:
                    input = module(input)
            return input, end
    return first(input), end


def past(modules: Sequence[Any], at: int) -> int:
    """The first of some modules that does anything, or their number."""
    while at < len(modules) and type(modules[at]) in BETWEEN and as_defined(modules[at]):
        at += 1
    return at


def fused(first: Any, second: Any) -> str | None:
    """The activation that a module of the table is to apply itself, instead of calling the one behind it; or None."""
    activation = FUSIONS.get(type(first), {}).get(type(second))
    return activation if activation and as_defined(first) and as_defined(second) else None


def thins(first: Any, activation: str | None, second: Any) -> bool:
    """Whether a module is to do what is behind it, and its activation: a dropout that draws a mask.

    One in place would overwrite what a relu needs for its gradient, which is to be said as ever.
    """
    return (
        type(second) is Dropout
        and type(first) in DROPPING
        and DROPPING[type(first)] == activation
        and as_defined(first)
        and as_defined(second)
        and second.training
        and 0 < second.p <= 1
        and not second.inplace
        and not vars(first).get("inplace", False)
    )


def joined(first: Any, input: Any, activation: str | None, dropout: Dropout | None) -> Tensor:
    """The result of a module with an activation, a dropout or both behind it."""
    if dropout is None:
        return first._activated(input, activation)
    if type(first) is ReLU:
        x = as_operand(input)
        return dropout._apply(ReluDropout, x) if x.array.dtype.kind == "f" else dropout(first(x))
    return first._activated(input, activation, dropout=dropout)


def residual(norm: Any, input: Tensor, z: Tensor) -> Tensor:
    """relu(norm(input) + z): the end of a residual block, in one pass where norm is one of SUMMED.

    >>> import batten
    >>> from batten.nn.fusion import residual
    >>> residual(batten.nn.BatchNorm1d(1), batten.tensor([[1.0], [3.0]]), batten.tensor([[0.5], [0.5]])).detach()
    tensor([[0.0000],
            [1.5000]])
    """
    alike = input.shape == z.shape and input.dtype == z.dtype
    if alike and type(norm) in SUMMED and as_defined(norm):
        return norm._activated(input, "relu", z)
    return operations.relu(norm(input) + z)


def as_defined(module: Module) -> bool:
    """Whether calling the module runs the forward of its class, which nobody has replaced, and no hooks."""
    kind, hooks = type(module), module._forward_hooks
    return (
        (hooks is None or not (hooks.before or hooks.after))
        and "forward" not in module.__dict__
        and kind.forward is FORWARD.get(kind, kind.forward)
        and kind.__call__ is CALL
    )

"""What the convolutional models are made of."""

from __future__ import annotations

from .. import nn

__all__: list[str] = []


def normalization(norm: str | None, channels: int) -> list[nn.Module]:
    """A layer of normalization for so many channels, in a list; None is an empty one.

    Groups have eight channels, or all of them where there are fewer.
    """
    if norm is None:
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "group":
        return [nn.GroupNorm(max(channels // 8, 1), channels)]
    raise ValueError(f"expected 'batch', 'group' or None as the norm of a model, got {norm!r}")


def initialised(model: nn.Module) -> nn.Module:
    """The model, with weights of convolutions that keep the variance of gradients (He et al. 2015), and no biases."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model

"""Residual networks for CIFAR-10 (He, Zhang, Ren & Sun 2016, section 4.2).

    x -> Conv2d -> norm -> ReLU -> [block]ⁿ of 16 channels -> [block]ⁿ of 32 -> [block]ⁿ of 64 -> mean of all pixels
      -> Linear -> one number for each class

    block(x) = relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))

with convolutions of 3 × 3, and 6n + 2 layers in all.  The first block of 32 and that of 64 channels halve the
image; their shortcut takes every other pixel and adds channels of noughts (the paper's option A), so that no shortcut
has parameters.

A normalization there must be: without one each block would add to the variance as much again as has come in.
"""

from __future__ import annotations

from functools import partial

from .. import nn
from ..nn.fusion import residual
from ..nn.padding import pad
from ..tensor import Tensor
from .blocks import OF_IMAGES, initialised, normalization

__all__ = ["resnet", "resnet20", "resnet32", "resnet56"]

DEPTHS = (20, 32, 56)


class Block(nn.Module):
    """Two convolutions, and what bypasses them."""

    def __init__(self, channels: int, features: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(channels, features, stride, norm),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
        )
        self.norm = normalization(norm, features)[0]
        self.stride, self.added = stride, features - channels

    def forward(self, input: Tensor) -> Tensor:
        return residual(self.norm, self.body(input), self.shortcut(input))

    def _in_a_row(self) -> list[str]:
        return ["body", "norm"]

    def shortcut(self, input: Tensor) -> Tensor:
        """The input in the shape of the body's result."""
        if self.stride == 1:
            return input
        return pad(input[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


def convolution(channels: int, features: int, stride: int, norm: str) -> list[nn.Module]:
    return [nn.Conv2d(channels, features, 3, stride, padding=1, bias=False), *normalization(norm, features)]


def resnet(depth: int, norm: str = "batch", skip: bool = True, num_classes: int = 10) -> nn.Module:
    """A residual network of 20, 32 or 56 layers for images (N, 3, 32, 32); its result is (N, num_classes).

    norm is "batch", "group" (Wu & He 2018, in groups of eight channels) or "layer" (in one group).  Without `skip` it
    is the plain network that the paper holds against it.  They have 269,722, 464,154 and 853,018 parameters.

    >>> import batten
    >>> batten.models.resnet(20)(batten.zeros(2, 3, 32, 32)).shape
    (2, 10)
    """
    if depth not in DEPTHS:
        raise ValueError(f"resnet expects a depth of {', '.join(map(str, DEPTHS))}, got {depth}")
    if norm not in OF_IMAGES:
        raise ValueError(f"resnet expects 'batch', 'group' or 'layer' as its norm, got {norm!r}")
    layers = [*convolution(3, 16, 1, norm), nn.ReLU()]
    channels = 16
    for features in (16, 32, 64):
        for number in range((depth - 2) // 6):
            stride = 2 if number == 0 and features > channels else 1
            if skip:
                layers.append(Block(channels, features, stride, norm))
            else:
                layers += [*convolution(channels, features, stride, norm), nn.ReLU()]
                layers += [*convolution(features, features, 1, norm), nn.ReLU()]
            channels = features
    return initialised(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)))


resnet20, resnet32, resnet56 = (partial(resnet, depth) for depth in DEPTHS)

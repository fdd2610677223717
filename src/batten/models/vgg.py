"""VGG (Simonyan & Zisserman 2015): nothing but convolutions of 3 × 3, and maxima that halve the images five times.

    x -> [[Conv2d -> norm -> ReLU]* -> MaxPool2d]⁵ -> Dropout -> Linear -> one number for each class

This is the usual form for images of 32 × 32: behind the last pool a single pixel with 512 features is left, and one
Linear in place of three.  The paper's networks A, B and D are `vgg11`, `vgg13` and `vgg16`; they had no
normalization, which was not known (Ioffe & Szegedy 2015), so that their convolutions have a bias.
"""

from __future__ import annotations

from .. import nn
from .blocks import initialised, normalization

__all__ = ["vgg11", "vgg13", "vgg16"]


def vgg11(norm: str | None = "batch", num_classes: int = 10, dropout: float = 0.5) -> nn.Module:
    """VGG with eight convolutions for images (N, 3, 32, 32), 9,231,114 parameters; its result is (N, num_classes).

    norm is "batch", "group" (Wu & He 2018, in groups of eight channels), "layer" (in one group) or None; `dropout`
    the probability to drop each of the 512 features.

    >>> import batten
    >>> batten.models.vgg11(norm=None)(batten.zeros(2, 3, 32, 32)).shape
    (2, 10)
    """
    return vgg((1, 1, 2, 2, 2), norm, num_classes, dropout)


def vgg13(norm: str | None = "batch", num_classes: int = 10, dropout: float = 0.5) -> nn.Module:
    """VGG with ten convolutions, 9,416,010 parameters; otherwise as vgg11."""
    return vgg((2, 2, 2, 2, 2), norm, num_classes, dropout)


def vgg16(norm: str | None = "batch", num_classes: int = 10, dropout: float = 0.5) -> nn.Module:
    """VGG with thirteen convolutions, 14,728,266 parameters; otherwise as vgg11."""
    return vgg((2, 2, 3, 3, 3), norm, num_classes, dropout)


def vgg(depths: tuple[int, ...], norm: str | None, num_classes: int, dropout: float) -> nn.Module:
    """So many convolutions before each pool."""
    layers: list[nn.Module] = []
    channels = 3
    for depth, features in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, features, 3, padding=1), *normalization(norm, features), nn.ReLU()]
            channels = features
        layers.append(nn.MaxPool2d(2))
    return initialised(nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, num_classes)))

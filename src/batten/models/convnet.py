"""A small convolutional network for small images.

    x -> [Conv2d 3 × 3 -> norm -> ReLU]² -> MaxPool2d -> [Conv2d -> norm -> ReLU]² -> AdaptiveAvgPool2d -> Dropout
      -> Linear -> one number for each class

What is left of an image are four places, the means of its quarters, however large it was.
"""

from __future__ import annotations

from .. import nn
from .blocks import convolution

__all__ = ["convnet"]


def convnet(
    in_channels: int = 1, num_classes: int = 10, dropout: float = 0.5, norm: str | None = "batch"
) -> nn.Sequential:
    """A convolutional network for images (N, in_channels, H, W) from 4 × 4 on; its result is (N, num_classes).

    `dropout` is the probability to drop each of the values before the last layer; norm is "batch", "group", "layer"
    or None.

    >>> import batten
    >>> batten.models.convnet()(batten.zeros(3, 1, 8, 8)).shape
    (3, 10)
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for features, pooled in ((48, False), (48, True), (96, False), (96, False)):
        layers += convolution(channels, features, 3, norm, padding=1)
        if pooled:
            layers.append(nn.MaxPool2d(2))
        channels = features
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * 2 * channels, num_classes),
    )

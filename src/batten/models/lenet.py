"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998): the first convolutional network that read digits.

    x -> [Conv2d 5 × 5 -> MaxPool2d]² -> Linear -> ReLU -> Linear -> one number for each class

This is its form in Caffe (Jia et al. 2014), with 431,080 parameters: 20 and 50 features where the paper has 6 and
16, maxima in place of weighted means, one ReLU in place of many sigmoids, and 500 hidden units.

With normalization, which the paper could not know, there is a ReLU behind every layer but the last:

    x -> [Conv2d -> norm -> ReLU -> MaxPool2d]² -> Linear -> norm -> ReLU -> Dropout -> Linear
"""

from __future__ import annotations

from .. import nn
from .blocks import convolution, linear

__all__ = ["lenet5"]


def lenet5(num_classes: int = 10, in_channels: int = 1, norm: str | None = None, dropout: float = 0.0) -> nn.Sequential:
    """LeNet-5 for images (N, in_channels, 28, 28); its result is (N, num_classes).

    norm is "batch", "group", "layer" or None; `dropout` the probability to drop each of the 500 hidden values, and at
    0 there is no Dropout layer.

    >>> import batten
    >>> batten.models.lenet5()
    Sequential(
      (0): Conv2d(1, 20, kernel_size=(5, 5), stride=(1, 1))
      (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
      (2): Conv2d(20, 50, kernel_size=(5, 5), stride=(1, 1))
      (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
      (4): Flatten(start_dim=1, end_dim=-1)
      (5): Linear(in_features=800, out_features=500, bias=True)
      (6): ReLU()
      (7): Linear(in_features=500, out_features=10, bias=True)
    )
    """

    def features(channels: int, count: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, count, 5)] if norm is None else convolution(channels, count, 5, norm)

    return nn.Sequential(
        *features(in_channels, 20),
        nn.MaxPool2d(2),
        *features(20, 50),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *linear(50 * 4 * 4, 500, norm, dropout),
        nn.Linear(500, num_classes),
    )

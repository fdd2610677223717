"""AlexNet (Krizhevsky, Sutskever & Hinton 2012): five convolutions, and dropout where most of the weights are.

    x -> [Conv2d -> ReLU -> LocalResponseNorm -> MaxPool2d]² -> [Conv2d -> ReLU]³ -> MaxPool2d
      -> [Dropout -> Linear -> ReLU]² -> Linear -> one number for each class

The paper's is for images of 224 × 224.  In this one, for 32 × 32, the first two convolutions are of 5 × 5 with
a stride of 1, where those were of 11 × 11 with a stride of 4 and of 5 × 5; none is in groups, which shared the work
among two processors; the hidden layers have 1024 units, not 4096; and the normalization has k = 1 and divides α = 1e-4
by its five channels, as in Caffe (Jia et al. 2014), where the paper has k = 2 and does not.  The overlapping pools and
the dropout are the paper's.

With another normalization LocalResponseNorm is left out, and that one is between each convolution and its ReLU.
"""

from __future__ import annotations

from .. import nn
from .blocks import convolution

__all__ = ["alexnet"]


def alexnet(num_classes: int = 10, dropout: float = 0.5, norm: str | None = None) -> nn.Sequential:
    """AlexNet for images (N, 3, 32, 32); its result is (N, num_classes).

    `dropout` is the probability to drop each value that goes into a hidden layer; norm is "batch", "group", "layer",
    or None for LocalResponseNorm.

    >>> import batten
    >>> batten.models.alexnet()(batten.zeros(2, 3, 32, 32)).shape
    (2, 10)
    """

    def response() -> list[nn.Module]:
        return [nn.LocalResponseNorm(5)] if norm is None else []

    return nn.Sequential(
        *convolution(3, 64, 5, norm, padding=2),
        *response(),
        nn.MaxPool2d(3, stride=2),
        *convolution(64, 192, 5, norm, padding=2),
        *response(),
        nn.MaxPool2d(3, stride=2),
        *convolution(192, 384, 3, norm, padding=1),
        *convolution(384, 256, 3, norm, padding=1),
        *convolution(256, 256, 3, norm, padding=1),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256 * 3 * 3, 1024),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, num_classes),
    )

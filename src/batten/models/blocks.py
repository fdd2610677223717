"""What the models are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .. import nn

__all__: list[str] = []


def grouped(channels: int) -> nn.GroupNorm:
    """Groups of eight channels, or of the next number that divides them equally."""
    size = next((size for size in range(8, channels) if channels % size == 0), channels)
    return nn.GroupNorm(channels // size, channels)


# nn.LayerNorm has a weight for every pixel, and so wants to know how many there are.  A single group has the same
# mean and deviation, of all channels and pixels of an image, and a weight for each channel, as the other two have.
OF_IMAGES: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": grouped,
    "layer": partial(nn.GroupNorm, 1),
}
OF_ROWS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "group": grouped,
    "layer": nn.LayerNorm,
}


def normalization(
    norm: str | None, channels: int, kinds: dict[str, Callable[[int], nn.Module]] = OF_IMAGES
) -> list[nn.Module]:
    """A layer of normalization for so many channels, in a list; None is an empty one."""
    if norm is None:
        return []
    if norm not in kinds:
        raise ValueError(f"expected 'batch', 'group', 'layer' or None as the norm of a model, got {norm!r}")
    return [kinds[norm](channels)]


def convolution(channels: int, features: int, size: int, norm: str | None, padding: int = 0) -> list[nn.Module]:
    """Conv2d -> norm -> ReLU, without the bias that a batch's mean would take away again."""
    layer = nn.Conv2d(channels, features, size, padding=padding, bias=norm != "batch")
    return [layer, *normalization(norm, features), nn.ReLU()]


def linear(in_features: int, out_features: int, norm: str | None, dropout: float) -> list[nn.Module]:
    """Linear -> norm -> ReLU -> Dropout, likewise; at 0 there is no Dropout."""
    layer = nn.Linear(in_features, out_features, bias=norm != "batch")
    thinning = [nn.Dropout(dropout)] if dropout else []
    return [layer, *normalization(norm, out_features, OF_ROWS), nn.ReLU(), *thinning]


def initialised(model: nn.Module) -> nn.Module:
    """The model, with weights of convolutions that keep the variance of gradients (He et al. 2015), and no biases."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model

"""PyTorch as a peer: as it comes, with its fused optimizers, with images that lie as its convolutions like them
best, and compiled; and torchvision's transforms."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch_models

Run = Callable[[], Any]


class L1BatchNorm2d(torch.nn.BatchNorm2d):
    """Which torch has not, by its operations: the mean of |x - mean|, times the root of pi / 2, for the deviation."""

    def forward(self: Any, x: Any) -> Any:
        axes, n = (0, 2, 3), x.numel() // x.shape[1]
        mean = x.mean(axes, keepdim=True)
        d = x - mean
        var = d.abs().mean(axes, keepdim=True).square() * (math.pi / 2)
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(var.flatten() * (n / (n - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = torch.rsqrt(var + self.eps) * self.weight[:, None, None]
        return d * scale + self.bias[:, None, None]


class GaussianNoise(torch.nn.Module):
    """Which torch has not, either."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Any) -> Any:
        return x + self.std * torch.randn_like(x)


class DropConnect(torch.nn.Linear):
    """Which torch has not, by its operations: masks as they are, and E relu(z), z ~ N(mean, std^2), in evaluation."""

    def __init__(self: Any, inputs: int, outputs: int, p: float, **options: Any) -> None:
        super().__init__(inputs, outputs)
        self.p = p

    def forward(self: Any, x: Any) -> Any:
        if self.training:
            mask = torch.empty(len(x), *self.weight.shape).bernoulli_(1 - self.p)
            return torch.bmm(mask * self.weight, x[:, :, None])[:, :, 0] + self.bias
        mean = torch.nn.functional.linear((1 - self.p) * x, self.weight, self.bias)
        std = torch.sqrt(self.p * (1 - self.p) * (x.square() @ self.weight.square().T))
        u = mean / std
        density = torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)
        return mean * torch.special.ndtr(u) + std * density


def l1(lambda_: float) -> Callable[[list[Any]], Any]:
    return lambda weights: lambda_ * sum(w.abs().sum() for w in weights)


def l2(lambda_: float) -> Callable[[list[Any]], Any]:
    return lambda weights: lambda_ * sum(w.square().sum() for w in weights)


class Eager:
    """torch as people use it, and models for it."""

    models = torch_models
    data = torch.utils.data
    images_lie = features_lie = torch.contiguous_format
    L1BatchNorm2d = L1BatchNorm2d
    GaussianNoise = GaussianNoise
    DropConnect = DropConnect
    L1 = staticmethod(l1)
    L2 = staticmethod(l2)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def residual(self, norm: Any, x: Any, z: Any) -> Any:
        return torch.relu(norm(x) + z)


class Fused(Eager):
    """Its optimizers step all parameters in one call, those of them that can."""

    class optim:
        SGD = partial(torch.optim.SGD, fused=True)
        Adam = partial(torch.optim.Adam, fused=True)
        RMSprop = torch.optim.RMSprop
        Adadelta = torch.optim.Adadelta


class ChannelsLast(Fused):
    """Images and filters, too, lie with their channels last."""

    images_lie = features_lie = torch.channels_last


class EachImage(Eager):
    """Augmented one by one, as torchvision draws once a call."""

    def __init__(self) -> None:
        from torchvision.transforms import InterpolationMode, v2

        def rotation(degrees: Any, interpolation: str) -> Any:
            return v2.RandomRotation(degrees, InterpolationMode(interpolation))

        self.transforms = SimpleNamespace(**{**vars(v2), "RandomRotation": rotation})

    def augment(self, transform: Any, images: Any) -> Any:
        return torch.stack([transform(image) for image in images])


class WholeBatch(EachImage):
    """With one draw, so that all are changed alike."""

    def augment(self, transform: Any, images: Any) -> Any:
        return transform(images)


def eager() -> Callable[[Any], Run]:
    return lambda case: case.prepare(Eager())


def fused() -> Callable[[Any], Run]:
    return lambda case: case.prepare(Fused())


def channels_last() -> Callable[[Any], Run]:
    return lambda case: case.prepare(ChannelsLast())


def compiled() -> Callable[[Any], Run]:
    """A training step as a whole, with fused optimizers, and channels last."""
    return lambda case: torch.compile(case.prepare(ChannelsLast()))


def each_image() -> Callable[[Any], Run]:
    torchvision = EachImage()
    return lambda case: case.prepare(torchvision)


def whole_batch() -> Callable[[Any], Run]:
    torchvision = WholeBatch()
    return lambda case: case.prepare(torchvision)

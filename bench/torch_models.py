"""The image models of the suite, as one writes them for PyTorch; batten has its own (`src/batten/models`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(),
        nn.Linear(500, 10),
    )  # fmt: skip


def vgg11(norm: str) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for depth, features in ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, features, 3, padding=1), normalization(norm, features), nn.ReLU()]
            channels = features
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, 10))


class Block(nn.Module):
    """Two convolutions, and a shortcut without parameters."""

    def __init__(self, channels: int, features: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, features, 3, stride, padding=1, bias=False),
            normalization(norm, features),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
        )
        self.norm = normalization(norm, features)
        self.stride, self.added = stride, features - channels

    def forward(self, x: Any) -> Any:
        y = self.norm(self.body(x))
        if self.stride > 1:
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return torch.relu(y + x)


def resnet20(norm: str) -> nn.Module:
    blocks = [Block(16, 16, 1, norm) for _ in range(3)]
    for channels in (16, 32):
        blocks += [Block(channels, 2 * channels, 2, norm), *(Block(2 * channels, 2 * channels, 1, norm) for _ in "ab")]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), normalization(norm, 16), nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def alexnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(2304, 1024), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(1024, 1024), nn.ReLU(),
        nn.Linear(1024, 10),
    )  # fmt: skip


def normalization(norm: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(channels // 8, channels)

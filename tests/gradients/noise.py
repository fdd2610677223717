"""Rows of the operations of noise."""

from __future__ import annotations

import batten
from batten import nn
from batten.nn import noise

from . import Row


def with_noise(layer):
    """The same noise in every evaluation, whatever the type."""

    def function(x):
        layer.generator.manual_seed(5)
        return layer(x.double())

    return function


def rows(kind):
    noisy = with_noise(kind(0.7, generator=batten.Generator()))
    return [
        *[Row(noisy, shape) for shape in [(7, 5), (), (0, 3), (1, 1)]],
        Row(lambda x: noisy(x.T), (7, 5)),
        Row(lambda x: noisy(x[:, ::2]), (7, 5)),
        Row(lambda x: noisy(x.expand(4, 5)) * x, (1, 5)),
        Row(lambda x: noisy(x.permute(0, 3, 1, 2)).square(), (2, 4, 5, 3)),
    ]


ROWS = {
    noise.AddNormal: rows(nn.GaussianNoise),
    noise.AddUniform: rows(nn.UniformNoise),
    noise.MultiplyNormal: rows(nn.MultiplicativeGaussianNoise),
}

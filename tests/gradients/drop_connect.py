"""Rows of DropConnect's operations."""

from __future__ import annotations

import numpy as np

import batten
from batten.nn import drop_connect, dropout

from . import Row

DRAW = dropout.Draw(p=0.3, scale=1.4, key=5, call=9)
NOISE = [(5, 9), (5, 10), (6, 0)]
AWAY = np.array([[-0.7, 0.4, 1.3], [0.2, -1.1, 2.0]])  # of z, from the kinks of these draws
FIXED = batten.tensor([[0.5, -1.0, 0.7], [0.3, 1.2, -0.4]], dtype=batten.float64)
SPREAD = np.array([[0.3, 0.5, 1.0], [0.2, 1.5, 0.1]])


def layer(x, weight, bias=None):
    return drop_connect.DropConnectOperation.apply(x, weight, bias, draw=DRAW)


def moments(x, weight, bias=None):
    return drop_connect.Moments.apply(x, weight, bias, keep=0.7, variance=0.21)


def sampled(name):
    """With the same noise, whatever the type."""

    def function(mean, std):
        activation = drop_connect.ACTIVATIONS[name]
        return drop_connect.SampledActivation.apply(mean.double(), std.double(), activation=activation, draws=NOISE)

    return function


def of_a_layer(function):
    return [
        Row(function, (5, 3), (4, 3), (4,)),
        Row(function, (5, 3), (4, 3)),
        Row(function, (2, 5, 3), (4, 3), (4,)),
        Row(function, (3,), (4, 3), (4,)),
        Row(lambda x, w, b: function(x.T, w.T, b[::2]), (3, 5), (3, 4), (8,)),
        Row(lambda x: function(x, FIXED.to(x.dtype)), (5, 3)),
        Row(lambda w: function(FIXED.to(w.dtype), w), (4, 3)),
        Row(lambda b: function(FIXED.to(b.dtype), FIXED.to(b.dtype), b), (2,)),
        Row(function, (1, 70), (35, 70)),
        Row(function, (0, 3), (4, 3), (4,)),
    ]


ROWS = {
    drop_connect.DropConnectOperation: of_a_layer(layer),
    drop_connect.DroppedWeight: [
        Row(lambda w: drop_connect.DroppedWeight.apply(w, draw=DRAW), (35, 70)),
        Row(lambda w: drop_connect.DroppedWeight.apply(w.T, draw=DRAW), (3, 4)),
        Row(lambda w: drop_connect.DroppedWeight.apply(w, draw=DRAW), (0, 4)),
    ],
    drop_connect.Moments: [
        *of_a_layer(moments),
        *[Row(lambda x, w, b, i=i: moments(x, w, b)[i], (5, 3), (4, 3), (4,)) for i in range(2)],
    ],
    drop_connect.ExpectedRelu: [
        Row(drop_connect.ExpectedRelu.apply, AWAY, SPREAD),
        Row(lambda m: drop_connect.ExpectedRelu.apply(m, FIXED.to(m.dtype).abs()), AWAY),
        Row(drop_connect.ExpectedRelu.apply, (0, 3), (0, 3)),
    ],
    drop_connect.SampledActivation: [
        *[Row(sampled(name), AWAY, SPREAD) for name in drop_connect.ACTIVATIONS],
        Row(lambda s: sampled("tanh")(FIXED.to(s.dtype), s), SPREAD),
        Row(sampled("relu"), (0, 3), (0, 3)),
    ],
}

"""Rows of interpolation."""

from __future__ import annotations

import batten.nn.functional as F  # noqa: N812
from batten.nn.upsampling import Interpolation

from . import Row

SHAPES = {1: (2, 3, 5), 2: (2, 2, 4, 3), 3: (1, 2, 2, 3, 4)}


def resized(**settings):
    return lambda x: F.interpolate(x, **settings)


ROWS = {
    Interpolation: [
        *[
            Row(resized(mode=mode, **to), SHAPES[axes])
            for mode, axes in [
                ("nearest", 1),
                ("nearest-exact", 2),
                ("area", 2),
                ("linear", 1),
                ("bilinear", 2),
                ("bicubic", 2),
                ("trilinear", 3),
            ]
            for to in ({"size": 2}, {"size": 7}, {"scale_factor": 1.0}, {"scale_factor": 1.7})
        ],
        Row(resized(size=(5, 2), mode="bilinear", align_corners=True), SHAPES[2]),
        Row(resized(size=(2, 2), mode="bicubic", antialias=True), SHAPES[2]),
        Row(resized(size=3), (0, 2, 4)),
        Row(resized(size=3), (2, 0, 4)),
        Row(lambda x: F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear"), (2, 3, 4, 2)),
    ],
}

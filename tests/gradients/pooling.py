"""Rows of pooling."""

from __future__ import annotations

import numpy as np

import batten.nn.functional as F  # noqa: N812
from batten.nn import pooling

from . import Row


def apart(*shape):
    """Numbers that differ by more than a difference's step, so that no maximum moves."""
    return np.random.default_rng(2).permutation(int(np.prod(shape))).reshape(shape) / 7 - 2


def largest(function, *arguments, **settings):
    """Of the results of a maximum, the one that has a gradient."""
    return lambda x: function(x, *arguments, return_indices=True, **settings)[0]


ROWS = {
    pooling.MaxPoolOperation: [
        *[
            Row(lambda x, f=function, a=arguments: f(x, *a), apart(*shape))
            for function, shape, arguments in [
                (F.max_pool1d, (2, 3, 9), (2,)),
                (F.max_pool1d, (3, 9), (3, 1, 1, 2)),
                (F.max_pool2d, (2, 3, 4, 6), (2,)),
                (F.max_pool2d, (2, 3, 5, 7), (3, 2, 1)),
                (F.max_pool2d, (3, 5, 7), ((3, 2), (1, 3), (1, 0), (2, 1), True)),
                (F.max_pool2d, (0, 3, 4, 6), (2,)),
                (F.max_pool2d, (1, 1, 1, 1), (1,)),
                (F.max_pool3d, (2, 3, 4, 5, 6), (2, 1)),
                (F.max_pool3d, (3, 2, 4, 2), (2,)),
                (F.adaptive_max_pool1d, (2, 3, 7), (3,)),
                (F.adaptive_max_pool2d, (2, 3, 17, 19), ((1, 2),)),
                (F.adaptive_max_pool2d, (2, 3, 4, 6), (2,)),
                (F.adaptive_max_pool2d, (2, 3, 4, 6), (0,)),
                (F.adaptive_max_pool3d, (2, 3, 2, 4, 5), ((1, None, 2),)),
            ]
        ],
        Row(largest(F.max_pool2d, 2, ceil_mode=True), apart(2, 3, 5, 5)),
        Row(largest(F.adaptive_max_pool1d, 2), apart(2, 3, 5)),
        Row(lambda x: F.max_pool2d(x.permute(0, 3, 1, 2)[:, ::2], 2).permute(0, 2, 3, 1), apart(2, 4, 6, 4)),
    ],
    pooling.AveragePoolOperation: [
        *[
            Row(lambda x, f=function, a=arguments: f(x, *a), shape)
            for function, shape, arguments in [
                (F.avg_pool1d, (2, 3, 9), (2,)),
                (F.avg_pool1d, (3, 9), (3, 1, 1, True, False)),
                (F.avg_pool2d, (2, 3, 4, 6), (2,)),
                (F.avg_pool2d, (2, 3, 5, 7), (3, 2, 1)),
                (F.avg_pool2d, (3, 5, 7), ((3, 2), (1, 3), (1, 0), True, False)),
                (F.avg_pool2d, (2, 3, 5, 7), (3, 2, 1, True, True, 7)),
                (F.avg_pool2d, (0, 3, 4, 6), (2,)),
                (F.avg_pool2d, (1, 1, 1, 1), (1,)),
                (F.avg_pool3d, (2, 3, 4, 5, 6), (2, 1)),
                (F.avg_pool3d, (3, 2, 4, 2), (2,)),
                (F.adaptive_avg_pool1d, (2, 3, 7), (3,)),
                (F.adaptive_avg_pool2d, (2, 3, 9, 8), (1,)),
                (F.adaptive_avg_pool2d, (2, 3, 4, 6), ((3, 9),)),
                (F.adaptive_avg_pool2d, (2, 3, 4, 6), (0,)),
                (F.adaptive_avg_pool3d, (2, 3, 2, 4, 5), ((1, None, 2),)),
                (F.lp_pool2d, (2, 3, 5, 5), (2, 2)),
            ]
        ],
        Row(lambda x: F.avg_pool2d(x.permute(0, 3, 1, 2)[:, ::2], 2).permute(0, 2, 3, 1), (2, 4, 6, 4)),
    ],
}

"""Rows of local response normalization."""

from __future__ import annotations

import batten.nn.functional as F  # noqa: N812
from batten.nn.response_norm import LocalResponseNormOperation

from . import Row


def normalized(*parameters):
    return lambda x: F.local_response_norm(x, *parameters)


ROWS = {
    LocalResponseNormOperation: [
        *[
            Row(normalized(size, 0.7, beta, 0.5), (2, 7, 3))
            for size in (1, 2, 3, 6, 7, 20)
            for beta in (0.75, 0.4, 0, 1)
        ],
        *[Row(normalized(5, 2.0), shape) for shape in [(4, 3), (1, 1), (0, 3), (3, 0), (2, 5, 2, 3), (1, 3, 2, 2, 2)]],
        Row(lambda x: normalized(3, 2.0)(x.permute(0, 3, 1, 2)), (2, 3, 2, 5)),
        Row(lambda x: normalized(3, 2.0)(x[:, ::2]), (2, 7, 3)),
        Row(lambda x: normalized(35, 2.0)(x), (2, 300)),  # a row of several pieces, a window of several steps
    ],
}

"""Rows of padding."""

from __future__ import annotations

import batten.nn.functional as F  # noqa: N812
from batten.nn.padding import Pad

from . import Row


def padded(*arguments):
    return lambda x: F.pad(x, *arguments)


ROWS = {
    Pad: [
        *[
            Row(padded(widths, mode), shape)
            for mode in ("constant", "reflect", "replicate", "circular")
            for widths, shape in [
                ((2, 1), (3, 4)),
                ((0, 3), (2, 3, 4)),
                ((-1, 2), (2, 3, 4)),
                ((-1, -1), (2, 3, 4)),
                ((3, 0), (0, 3, 4)),
                ((2, 2, 1, 0), (2, 3, 4)),
                ((1, -2, -1, 2), (2, 2, 3, 4)),
                ((1, 1, 1, 0, 0, 1), (2, 3, 2, 3)),
                ((1, 1, 1, 1, 1, 1), (1, 2, 2, 2, 2)),
            ]
        ],
        Row(padded((9, 7), "replicate"), (1, 3)),
        Row(padded((), "constant", 1.0), ()),
        Row(padded((1, 1) * 3, "constant", 2.0), (1, 2, 0)),
        Row(lambda x: padded((1, 2, 2, 1), "reflect")(x.permute(0, 3, 1, 2)), (2, 3, 4, 2)),
    ],
}

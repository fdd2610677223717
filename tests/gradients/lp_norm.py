"""Rows of batch normalization by other deviations."""

from __future__ import annotations

from batten.nn import batch_norm
from batten.nn.lp_batch_norm import OPERATIONS

from . import Row


def rows(kinds, relu):
    def trained(x, *parameters):
        w, b = [*parameters, None, None][:2]
        return batch_norm.normalized(x, None, None, w, b, True, 0.1, 1e-5, relu, kinds=kinds)

    return [
        Row(trained, (5, 3), (3,), (3,)),
        Row(trained, (6, 3), (3,)),
        Row(trained, (5, 3)),
        Row(trained, (2, 3), (3,), (3,)),
        Row(trained, (2, 3, 4), (3,), (3,)),
        Row(trained, (1, 3, 2, 2), (3,), (3,)),
        Row(lambda x, w, b: trained(x.T, w[::2], b[::2]), (3, 4), (6,), (6,)),
        Row(lambda x, w, b: trained(x.permute(0, 2, 1), w, b), (2, 4, 3), (3,), (3,)),
        Row(trained, (0, 3), (3,), (3,)),
    ]


ROWS = {OPERATIONS[p][relu]: rows(OPERATIONS[p], relu) for p in (1, float("inf")) for relu in (False, True)}

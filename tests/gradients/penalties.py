"""Rows of the penalties: of leaves and of results, of several parameters at once, alone and beside a loss."""

from __future__ import annotations

import numpy as np

from batten.regularization import ElasticNet, GroupLasso, OrthogonalPenalty, penalties

from . import Row


def everything(name, parameter):
    return True


def rows(penalty, *shapes):
    wide = np.random.default_rng(0).standard_normal((4, 10))
    return [
        *[Row(penalty, shape) for shape in shapes],
        Row(lambda *ws: penalty(ws), *shapes),
        Row(lambda w: penalty(w * w), shapes[0]),
        Row(lambda w: penalty(w) * w.square().sum() + w.sin().sum(), shapes[0]),
        Row(lambda w: penalty([w, w.T]) + penalty(w[:, ::2]), wide),
        Row(lambda w: penalty(w.permute(0, 3, 1, 2)), (2, 3, 4, 5)),
    ]


ROWS = {
    penalties.ElasticOperation: [
        *rows(ElasticNet(0.3, 0.2, where=everything), (3, 5), (7,), (), (0, 3)),
        Row(ElasticNet(0.0, 0.2), (3, 5)),
        Row(ElasticNet(0.3, 0.0), (3, 5)),
    ],
    penalties.GroupOperation: [
        *rows(GroupLasso(0.3, where=everything), (3, 5), (7,), (0, 3)),
        *rows(GroupLasso(0.3, dim=-1, scaled=True, where=everything), (3, 5), (7,), (2, 3, 4)),
    ],
    penalties.OrthogonalOperation: rows(
        OrthogonalPenalty(0.3, where=everything), (3, 5), (5, 3), (7,), (0, 3), (2, 3, 4)
    ),
}

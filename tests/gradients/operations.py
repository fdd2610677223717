"""Rows of the operations that are Tensor's methods."""

from __future__ import annotations

import numpy as np

import batten
from batten import autograd
from batten.operations import arithmetic, elementwise, indexing, linalg, promotion, reduction, shape
from batten.operations.softmax import LogSoftmax, Logsumexp, Softmax

from . import Row

EQUAL = np.array([[1.0, 3.0, 3.0], [3.0, 2.0, 3.0]])  # extremes that occur more than once
ZEROS = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]])
INDEX = batten.tensor([[0, 2, 2], [1, 0, 0]])


def unary(function, **bounds):
    return [Row(function, (3, 4), **bounds), Row(function, (), **bounds), Row(function, (2, 0), **bounds)]


def binary(function, **bounds):
    shapes = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 3), ()), ((0, 3), (1, 3))]
    return [Row(function, *s, **bounds) for s in shapes]


def over_axes(function, **bounds):
    return [
        Row(function, (3, 4), **bounds),
        Row(function, (), **bounds),
        Row(lambda x: function(x, 0), (3, 4), **bounds),
        Row(lambda x: function(x, -1, keepdim=True), (3, 4, 2), **bounds),
    ]


def over_several(function, **bounds):
    return [*over_axes(function, **bounds), Row(lambda x: function(x, (0, -1)), (3, 4, 2), **bounds)]


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dy


def two_parts(x):
    return batten.split(x, [1, 3], 1)


ROWS = {
    autograd.Custom: unary(Cube.apply),
    arithmetic.Add: [*binary(batten.add), Row(lambda x, y: batten.add(x, y, alpha=3), (2, 3), (3,))],
    arithmetic.Sub: [*binary(batten.sub), Row(lambda x: 1 - x, (3,))],
    arithmetic.Mul: [*binary(batten.mul), Row(lambda x: x * x, (3,)), Row(lambda x: 3 * x, (3,))],
    arithmetic.Div: [*binary(batten.div, low=0.5), Row(lambda x: 1 / x, (3,), low=0.5)],
    arithmetic.Pow: [
        *binary(batten.pow, low=0.5),
        Row(lambda x: x**3, (3,)),
        Row(lambda x: x**0.5, (3,), low=0.5),
        Row(lambda x: 2**x, (3,)),
        Row(lambda x: x**0, np.array([0.0, 1.0])),
        Row(lambda x: x ** batten.tensor([0.0, 2.0]), np.array([0.0, 1.0])),
    ],
    arithmetic.Maximum: binary(batten.maximum),
    arithmetic.Minimum: binary(batten.minimum),
    arithmetic.Remainder: binary(batten.remainder, low=0.5),
    arithmetic.Clamp: [*unary(lambda x: batten.clamp(x, -1, 1)), *unary(lambda x: batten.clamp(x, max=0.5))],
    arithmetic.Where: [
        Row(lambda x, y: batten.where(INDEX > 0, x, y), (2, 3), (3,)),
        Row(lambda x, y: batten.where(INDEX > 0, x, y), (), (2, 1)),
        Row(lambda x, low, high: x.clamp(low, high), (2, 3), np.full(3, -0.5), np.array(0.5)),
        Row(lambda x: x.masked_fill(INDEX > 0, 7), (2, 3)),
    ],
    elementwise.Neg: unary(batten.neg),
    elementwise.Sign: unary(batten.sign),
    elementwise.Abs: unary(batten.abs),
    elementwise.Square: [*unary(batten.square), Row(lambda x: x**2, (3,))],
    elementwise.Relu: unary(batten.relu),
    elementwise.Exp: unary(batten.exp),
    elementwise.Expm1: unary(batten.expm1),
    elementwise.Log: unary(batten.log, low=0.5),
    elementwise.Log1p: unary(batten.log1p, low=-0.5),
    elementwise.Sqrt: unary(batten.sqrt, low=0.5),
    elementwise.Rsqrt: unary(batten.rsqrt, low=0.5),
    elementwise.Reciprocal: unary(batten.reciprocal, low=0.5),
    elementwise.Sin: unary(batten.sin),
    elementwise.Cos: unary(batten.cos),
    elementwise.Tanh: unary(batten.tanh),
    elementwise.Sigmoid: unary(batten.sigmoid),
    elementwise.Erf: unary(batten.erf),
    # float32 is coarse, but a cast is linear: a long step is as good as a short one.
    promotion.Cast: [Row(lambda x: x.float().double(), (3, 4), eps=0.1)],
    reduction.Sum: [*over_several(batten.sum), Row(batten.sum, (0, 3)), Row(lambda x: batten.sum(x, 0), (0, 3))],
    reduction.Mean: over_several(batten.mean),
    reduction.Var: [*over_several(batten.var)[2:], Row(lambda x: x.var(unbiased=False), (3, 4))],
    reduction.Std: [*over_several(batten.std)[2:], Row(lambda x: x.std(1, correction=2), (3, 4))],
    reduction.Amax: [*over_several(batten.amax), Row(batten.max, (3, 4))],
    reduction.Amin: [*over_several(batten.amin), Row(batten.min, (3, 4))],
    reduction.Max: [Row(lambda x: x.max(0).values, (3, 4)), Row(lambda x: x.max(-1, True).values, (3, 4, 2))],
    reduction.Min: [Row(lambda x: x.min(0).values, (3, 4)), Row(lambda x: x.min(-1, True).values, ())],
    reduction.Prod: [*over_axes(batten.prod), Row(batten.prod, ZEROS), Row(lambda x: x.prod(1), ZEROS)],
    reduction.Cumsum: [*unary(lambda x: x.cumsum(0)), *unary(lambda x: x.cumsum(-1))],
    reduction.Norm: [
        *over_several(lambda x, dim=None, keepdim=False: batten.norm(x, 2, dim, keepdim)),
        *[Row(lambda x, p=p: x.norm(p), (3, 4)) for p in (1, 1.5, 3)],
        Row(lambda x: x.norm(3, dim=1, keepdim=True), ZEROS),
    ],
    Softmax: [Row(lambda x, d=d: x.softmax(d), (3, 4, 2)) for d in (0, 1, -1)] + unary(lambda x: x.softmax(0)),
    LogSoftmax: [Row(lambda x, d=d: x.log_softmax(d), (3, 4, 2)) for d in (0, 1, -1)],
    Logsumexp: over_several(lambda x, dim=0, keepdim=False: x.logsumexp(dim, keepdim)),
    linalg.MatMul: [
        Row(batten.matmul, *s)
        for s in [
            ((2, 3), (3, 4)),
            ((3,), (3, 4)),
            ((2, 3), (3,)),
            ((5, 2, 3), (3, 4)),
            ((2, 3), (5, 3, 4)),
            ((5, 1, 2, 3), (6, 3, 4)),
            ((5, 2, 3), (1, 3, 4)),
            ((2, 0), (0, 3)),
            ((4, 0, 3), (3, 2)),
            ((0, 2, 3), (0, 3, 2)),
        ]
    ]
    + [Row(lambda x: x.T @ x, (3, 2)), Row(lambda x, y: batten.einsum("bij,bkj->ik", x, y), (2, 3, 4), (2, 5, 4))],
    linalg.Dot: [
        Row(batten.dot, (3,), (3,)),
        Row(batten.matmul, (0,), (0,)),
        Row(lambda x, y: x[::2] @ y[:, 1], (5,), (3, 2)),
        Row(lambda x: x.dot(x), (4,)),
    ],
    shape.Reshape: [
        Row(lambda x: x.reshape(4, -1), (2, 6)),
        Row(lambda x: x.T.reshape(4, -1), (2, 6)),
        Row(lambda x: x.unflatten(1, (2, 3)).flatten().unsqueeze(0).squeeze(), (2, 6)),
    ],
    shape.Permute: [Row(lambda x: x.permute(2, 0, 1), (2, 3, 4)), Row(lambda x: x.mT, (2, 3)), *unary(lambda x: x.T)],
    shape.Expand: [Row(lambda x: x.expand(2, -1, 4), (3, 1)), Row(lambda x: x.expand(3), ())],
    shape.Clone: [
        *unary(batten.clone),
        Row(lambda x: x.T.contiguous(), (2, 3)),
        Row(lambda x: x.contiguous(memory_format=batten.channels_last), (2, 3, 2, 2)),
        Row(lambda x: x.to(memory_format=batten.channels_last_3d), (2, 3, 2, 1, 2)),
    ],
    shape.Flip: [Row(lambda x: x.flip(0, -1), (2, 3, 4))],
    shape.Roll: [Row(lambda x: x.roll(2), (2, 3)), Row(lambda x: x.roll((1, -2), (0, 1)), (2, 3))],
    shape.Cat: [
        Row(lambda *xs: batten.cat(xs, 1), (2, 3), (2, 1), (2, 0)),
        Row(lambda *xs: batten.stack(xs, -1), (2, 3), (2, 3)),
    ],
    shape.Split: [Row(two_parts, (2, 4)), Row(lambda x: two_parts(x)[1], (2, 4)), Row(lambda x: x.chunk(3), (5, 2))],
    shape.Unbind: [Row(lambda x: x.unbind(1), (2, 3)), Row(lambda x: x.unbind(1)[2], (2, 3))],
    indexing.Slice: [
        Row(lambda x, i=i: x[i], (3, 4, 2))
        for i in [0, -1, slice(1, None, 2), (..., 1), (None, 0, slice(2)), (0, 1, 1), (slice(None, None, -1),)]
    ],
    indexing.Pick: [
        Row(lambda x, i=i: x[i], (3, 4, 2))
        for i in [
            INDEX,
            [0, 0, 2],
            (0, slice(None), INDEX.clamp(max=1)),
            ([0, 2], slice(None), [1, 1]),
            INDEX[0] > 0,
            (slice(None), batten.tensor([True, False, True, True]), None),
        ]
    ],
    indexing.IndexSelect: [Row(lambda x, d=d: x.index_select(d, INDEX[0]), (3, 3)) for d in (0, 1)],
    indexing.Gather: [Row(lambda x: x.gather(0, INDEX), (3, 3)), Row(lambda x: x.gather(-1, INDEX), (2, 3))],
    indexing.Tril: [Row(lambda x: x.tril(), (2, 3, 4)), Row(lambda x: x.tril(1), (3, 3))],
    indexing.Triu: [Row(lambda x: x.triu(), (2, 3, 4)), Row(lambda x: x.triu(-1), (3, 3))],
}  # fmt: skip

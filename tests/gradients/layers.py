"""Rows of the operations of nn."""

from __future__ import annotations

import functools
import inspect
import warnings

import numpy as np

import batten
import batten.nn.functional as F  # noqa: N812
from batten.nn import activation, batch_norm, convolution, dropout, embedding, group_norm, layer_norm, linear, loss

from . import Row

LABELS = batten.tensor([2, 0, -100, 1])
PIXELS = batten.tensor([[0, 1, 2, -100, 1], [2, 2, 0, 0, 1]])  # for scores (2, 3, 5)
WORDS = batten.tensor([[4, 0, 4], [4, 1, 0]])
WEIGHT = batten.tensor([0.5, 1.0, 2.0], dtype=batten.float64)
MEAN = batten.tensor([0.3, -0.2, 0.1], dtype=batten.float64)
VAR = batten.tensor([0.5, 2.0, 1.0], dtype=batten.float64)


def activated(function, *parameters, apart_from=()):
    """A function of shapes with and without elements; at kinks it has no one gradient, so keep away from them."""
    x = np.linspace(-4, 7, 24).reshape(4, 6)
    for kink in apart_from:
        x[abs(x - kink) < 0.01] += 0.05
    return [
        Row(lambda x: function(x, *parameters), x),
        Row(lambda x: function(x.T, *parameters), x),
        Row(lambda x: function(x, *parameters), np.array(0.7)),
        Row(lambda x: function(x, *parameters), (2, 0)),
    ]


def of_classes(function, **settings):
    """Losses of class indices: reductions, weights, shapes, and targets that are ignored."""
    some, odd = LABELS.clamp(min=0), {"ignore_index": 0, **settings}
    return [
        *[Row(lambda x, r=r: function(x, LABELS, reduction=r, **settings), (4, 3)) for r in ("mean", "sum", "none")],
        *[
            Row(lambda x, r=r: function(x, PIXELS, WEIGHT.to(x.dtype), reduction=r, **settings), (2, 3, 5))
            for r in ("mean", "none")
        ],
        Row(lambda x: function(x.T, some, **odd), (3, 4)),
        Row(lambda x: function(x, batten.tensor(1), **settings), (3,)),
        Row(lambda x: function(x, LABELS[:0], reduction="sum", **settings), (0, 3)),
    ]


def of_numbers(function, target=(-2, 2), x=(-2, 2), weights=(), **settings):
    """Losses of numbers by both operands: reductions, shapes, and weights, which have no gradient."""
    rng = np.random.default_rng(3)

    def numbers(shape, bounds):
        return rng.uniform(*bounds, shape)

    def fixed(name, shape, dtype):
        return {name: batten.tensor(np.random.default_rng(4).uniform(0.5, 2, shape)).to(dtype)}

    return [
        *[
            Row(lambda x, t, r=r: function(x, t, reduction=r, **settings), numbers(s, x), numbers(s, target))
            for r, s in [("mean", (3, 4)), ("sum", (5,)), ("none", (2, 3, 2)), ("none", ()), ("sum", (0, 3))]
        ],
        Row(lambda x, t: function(x.T, t, **settings), numbers((4, 3), x), numbers((3, 4), target)),
        *[
            Row(
                lambda x, t, r=r, w=w, s=s: function(x, t, reduction=r, **fixed(w, s, x.dtype), **settings),
                numbers((3, 4), x),
                numbers((3, 4), target),
            )
            for w in weights
            for r, s in [("mean", (3, 4)), ("none", (4,)), ("sum", (3, 1)), ("none", (3, 4))]
        ],
    ]


def of_difference(function, **settings):
    """The same with weights that have one, and with operands that are broadcast."""

    def broadcast(x, t):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return function(x, t, **settings)

    return [
        *of_numbers(function, **settings),
        *[
            Row(
                lambda x, t, w, r=r: function(x, t, reduction=r, weight=w, **settings),
                *[np.random.default_rng(5).uniform(low, 3, (3, 4)) for low in (-3, -2, 0.5)],
            )
            for r in ("mean", "sum", "none")
            if "weight" in inspect.signature(function).parameters
        ],
        Row(broadcast, (3, 1), (4,)),
        Row(broadcast, (4,), (3, 4)),
    ]


def divergence(x, t, reduction="batchmean", log_target=False):
    return F.kl_div(x, t, reduction=reduction if reduction != "mean" else "batchmean", log_target=log_target)


KINKED = np.linspace(-4, 5, 24).reshape(4, 6)  # nought is not among them


def leaking(x):
    """The same slopes in every evaluation, whatever the type."""
    batten.manual_seed(5)
    return F.rrelu(x.double(), 0.2, 0.7, training=True)


def dropped(x, p=0.3, function=F.dropout):
    """The same elements in every evaluation."""
    batten.manual_seed(5)
    return function(x, p, training=True)


def last_dropped(operation):
    """An operation that drops what it has made: the same elements in every evaluation."""
    draw = dropout.Draw(0.3, 1 / 0.7, 5, 0)
    return lambda *inputs, **attributes: operation.apply(*inputs, draw=draw, **attributes)


def bent_and_dropped(x, weight=None, bias=None):
    statistics = {"running_mean": None, "running_var": None, "momentum": 0.1, "eps": 1e-5}
    return last_dropped(batch_norm.BatchNormReluDropout)(x, weight, bias, **statistics)


def inferred(x, *scale_and_shift):
    return F.batch_norm(x, MEAN.to(x.dtype), VAR.to(x.dtype), *scale_and_shift)


def trained(x, *scale_and_shift):
    return F.batch_norm(x, None, None, *scale_and_shift, training=True)


def met_by_groups(x, z, weight=None, bias=None):
    """Group normalization at the end of a residual block."""
    return group_norm.normalized(x, 2, weight, bias, 1e-5, relu=True, z=z)


def met(x, z, weight=None, bias=None):
    """Batch normalization at the end of a residual block."""
    return batch_norm.normalized(x, None, None, weight, bias, True, 0.1, 1e-5, relu=True, z=z)


def bent(running_mean=None, running_var=None):
    """Batch normalization with its relu."""

    def function(x, weight=None, bias=None):
        given = (None if v is None else v.to(x.dtype) for v in (running_mean, running_var))
        return batch_norm.normalized(x, *given, weight, bias, running_mean is None, 0.1, 1e-5, relu=True)

    return function


def with_activation(name):
    """A linear layer with an activation: shapes with and without elements, operands in one piece or not."""

    def function(x, w, b=None):
        return linear.ACTIVATED[name].apply(*linear.operands(x, w, b))

    return [
        *[
            Row(function, *shapes)
            for shapes in [
                ((4, 3), (5, 3), (5,)),
                ((4, 3), (5, 3)),
                ((3,), (5, 3), (5,)),
                ((2, 4, 3), (5, 3), (5,)),
                ((2, 0, 3), (5, 3), (5,)),
                ((4, 0), (5, 0), (5,)),
                ((1, 1), (1, 1), (1,)),
            ]
        ],
        Row(lambda x, w, b: function(x.T, w.T, b[::2]), (3, 4), (3, 5), (10,)),
        Row(lambda x, w: function(x, w).T, (4, 3), (5, 3)),
        Row(lambda x: function(x, x, x.sum(1)), (3, 3)),
    ]


def convolved(activation=None, **arguments):
    """A convolution of as many axes as its weights have behind two."""
    named = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **arguments}

    def function(x, w, b=None):
        return convolution.convolution(w.ndim - 2, x, w, b, **named, activation=activation)

    return function


def transposed(x, *given, **arguments):
    return getattr(F, f"conv_transpose{given[0].ndim - 2}d")(x, *given, **arguments)


def of_images(function):
    """Convolutions: along one to three axes, in groups, of single images, without bias, of no images, and of views."""
    return [
        Row(function(), (2, 3, 5), (3, 3, 2), (3,)),
        Row(function(padding=2, stride=3), (2, 3, 4), (3, 3, 3), (3,)),
        Row(function(stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (2, 2, 5, 4), (2, 2, 3, 2), (2,)),
        Row(function(padding=1, groups=2), (2, 4, 3, 4), (4, 2, 3, 3), (4,)),
        Row(function(padding=1, groups=3), (2, 3, 4, 3), (3, 1, 3, 3), (3,)),
        Row(function(padding=1, stride=2), (2, 2, 3, 2, 4), (2, 2, 2, 2, 3), (2,)),
        Row(function(padding=1), (3, 4, 4), (3, 3, 3, 3)),
        Row(function(), (0, 3, 4, 4), (3, 3, 2, 2), (3,)),
        Row(function(), (1, 1, 1, 1), (1, 1, 1, 1), (1,)),
        Row(lambda x, w, b: function()(x.permute(0, 3, 1, 2), w.transpose(2, 3), b[::2]),
            (2, 4, 3, 2), (2, 2, 3, 2), (4,)),
        Row(lambda x: function()(x, x), (2, 2, 2, 2)),
    ]  # fmt: skip


ROWS = {
    convolution.Convolution: [*of_images(convolved), Row(convolved(padding="same"), (1, 2, 5, 4), (3, 2, 2, 4), (3,))],
    convolution.ConvolutionRelu: of_images(functools.partial(convolved, "relu")),
    convolution.TransposedConvolution: [
        *of_images(functools.partial(functools.partial, transposed)),
        Row(functools.partial(transposed, stride=3, output_padding=2), (2, 2, 3), (2, 3, 2), (3,)),
        Row(functools.partial(transposed, dilation=4, output_padding=3, padding=1), (2, 2, 3), (2, 3, 2), (3,)),
    ],
    activation.LeakyReluOperation: activated(F.leaky_relu, 0.2, apart_from=[0]),
    activation.PreluOperation: [
        Row(F.prelu, KINKED, (1,)),
        Row(F.prelu, KINKED, (6,)),
        Row(lambda x, w: F.prelu(x.reshape(2, 3, 4).permute(0, 2, 1), w[::2]), KINKED, (8,)),
        Row(F.prelu, np.array(-0.7), ()),
        Row(F.prelu, (0, 3), (3,)),
        Row(F.prelu, (3, 0), (0,)),
    ],
    activation.RreluOperation: [Row(leaking, x) for x in (KINKED, np.array(-0.7), (2, 0))]
    + [Row(lambda x: leaking(x.T), KINKED)],
    activation.Relu6Operation: activated(F.relu6, apart_from=[0, 6]),
    activation.HardtanhOperation: activated(F.hardtanh, -2, 0.5, apart_from=[-2, 0.5]),
    activation.ThresholdOperation: activated(F.threshold, 0.1, 20, apart_from=[0.1]),
    activation.HardshrinkOperation: activated(F.hardshrink, apart_from=[-0.5, 0.5]),
    activation.SoftshrinkOperation: activated(F.softshrink, 0.4, apart_from=[-0.4, 0.4]),
    activation.TanhshrinkOperation: activated(F.tanhshrink),
    activation.HardsigmoidOperation: activated(F.hardsigmoid, apart_from=[-3, 3]),
    activation.HardswishOperation: activated(F.hardswish, apart_from=[-3, 3]),
    activation.SoftsignOperation: activated(F.softsign),
    activation.SoftplusOperation: [*activated(F.softplus), *activated(F.softplus, 2.0, 5.0, apart_from=[2.5])],
    activation.LogSigmoidOperation: activated(F.logsigmoid),
    activation.EluOperation: activated(F.elu, 1.0),
    activation.CeluOperation: activated(F.celu, 0.7),
    activation.SeluOperation: activated(F.selu, apart_from=[0]),
    activation.GeluOperation: activated(F.gelu),
    activation.GeluTanhOperation: activated(F.gelu, "tanh"),
    activation.SiluOperation: activated(F.silu),
    activation.MishOperation: activated(F.mish),
    linear.LinearOperation: [
        Row(F.linear, *shapes)
        for shapes in [
            ((4, 3), (5, 3), (5,)),
            ((4, 3), (5, 3)),
            ((3,), (5, 3), (5,)),
            ((2, 4, 3), (5, 3), (5,)),
            ((2, 0, 3), (5, 3), (5,)),
            ((4, 0), (5, 0), (5,)),
            ((4, 3), (0, 3), (0,)),
            ((1, 1), (1, 1), (1,)),
        ]
    ]
    + [
        Row(lambda x, w, b: F.linear(x.T, w.T, b[::2]), (3, 4), (3, 5), (10,)),
        Row(lambda x: F.linear(x, x, x.sum(1)), (3, 3)),
    ],
    linear.LinearRelu: with_activation("relu"),
    linear.LinearSigmoid: with_activation("sigmoid"),
    linear.LinearTanh: with_activation("tanh"),
    linear.BilinearOperation: [
        Row(F.bilinear, *shapes)
        for shapes in [
            ((4, 3), (4, 2), (5, 3, 2), (5,)),
            ((4, 3), (4, 2), (5, 3, 2)),
            ((3,), (2,), (1, 3, 2), (1,)),
            ((2, 4, 3), (2, 4, 2), (5, 3, 2), (5,)),
            ((0, 3), (0, 2), (5, 3, 2), (5,)),
            ((4, 3), (4, 0), (5, 3, 0), (5,)),
            ((4, 3), (4, 2), (0, 3, 2), (0,)),
        ]
    ]
    + [
        Row(lambda x, y, w: F.bilinear(x.T, y[:, ::2], w.permute(2, 0, 1)), (3, 4), (4, 4), (3, 2, 5)),
        Row(lambda x, w: F.bilinear(x, x, w), (4, 3), (2, 3, 3)),
    ],
    embedding.EmbeddingOperation: [
        Row(lambda w: F.embedding(WORDS, w), (5, 3)),
        Row(lambda w: F.embedding(WORDS[:, ::2], w.T), (3, 5)),
        Row(lambda w: F.embedding(WORDS[0, 0], w), (5, 3)),
        Row(lambda w: F.embedding(WORDS[:0], w), (5, 3)),
        Row(lambda w: F.embedding(WORDS, w), (5, 0)),
    ],
    layer_norm.LayerNormOperation: [
        Row(lambda x, *p: F.layer_norm(x, (3,), *p), (5, 3), (3,), (3,)),
        Row(lambda x, *p: F.layer_norm(x, (3,), *p), (5, 3), (3,)),
        Row(lambda x: F.layer_norm(x, (3,)), (5, 3)),
        Row(lambda x, b: F.layer_norm(x, (3,), None, b), (5, 3), (3,)),
        Row(lambda x, *p: F.layer_norm(x, (2, 3), *p, eps=0.1), (4, 2, 3), (2, 3), (2, 3)),
        Row(lambda x, w, b: F.layer_norm(x.T, (4,), w[::2], b), (4, 3), (8,), (4,)),
        Row(lambda x, *p: F.layer_norm(x, (70,), *p), (65, 70), (70,), (70,)),
        Row(lambda x, *p: F.layer_norm(x, (3,), *p), (0, 3), (3,), (3,)),
        Row(lambda x, *p: F.layer_norm(x, (0,), *p), (2, 0), (0,), (0,)),
    ],
    layer_norm.RMSNormOperation: [
        Row(lambda x, w: F.rms_norm(x, (3,), w), (5, 3), (3,)),
        Row(lambda x: F.rms_norm(x, (3,)), (5, 3)),
        Row(lambda x, w: F.rms_norm(x, (2, 3), w, eps=0.1), (4, 2, 3), (2, 3)),
        Row(lambda x, w: F.rms_norm(x.T, (4,), w[::2]), (4, 3), (8,)),
        Row(lambda x, w: F.rms_norm(x, (70,), w), (65, 70), (70,)),
        Row(lambda x, w: F.rms_norm(x, (3,), w), (0, 3), (3,)),
        Row(lambda x, w: F.rms_norm(x, (0,), w), (2, 0), (0,)),
    ],
    group_norm.GroupNormOperation: [
        Row(lambda x, *p: F.group_norm(x, 2, *p), (3, 4, 2, 3), (4,), (4,)),
        Row(lambda x: F.group_norm(x, 1, eps=0.1), (2, 4, 3)),
        Row(lambda x, b: F.group_norm(x, 4, None, b), (2, 4, 5), (4,)),
        Row(lambda x, *p: F.group_norm(x, 2, *p), (5, 6), (6,), (6,)),
        Row(lambda x, w, b: F.group_norm(x.permute(0, 3, 1, 2), 3, w[::2], b), (2, 4, 5, 6), (12,), (6,)),
        Row(lambda x, *p: F.group_norm(x, 2, *p), (0, 4, 3), (4,), (4,)),
        Row(lambda x, *p: F.group_norm(x, 2, *p), (2, 4, 0), (4,), (4,)),
    ],
    group_norm.GroupNormRelu: [
        Row(lambda x, *p: group_norm.normalized(x, 2, *p, 1e-5, True), (3, 4, 2, 3), (4,), (4,)),
        Row(lambda x: group_norm.normalized(x, 2, None, None, 1e-5, True), (3, 4, 5)),
        Row(lambda x, w: group_norm.normalized(x, 2, w, None, 1e-5, True), (2, 4, 40), (4,)),
        Row(lambda x, w, b: group_norm.normalized(x, 1, w, b[::2], 1e-5, True), (5, 3), (3,), (6,)),
    ],
    group_norm.GroupNormAddRelu: [
        Row(met_by_groups, (3, 4, 2, 3), (3, 4, 2, 3), (4,), (4,)),
        Row(met_by_groups, (2, 4, 5), (2, 4, 5)),
        Row(lambda x, z, w: met_by_groups(x.T, z, w[::2]), (4, 3), (3, 4), (8,)),
        Row(lambda x, z, w, b: met_by_groups(x, z.permute(0, 2, 1), w, b), (2, 4, 5), (2, 5, 4), (4,), (4,)),
        Row(met_by_groups, (0, 4, 3), (0, 4, 3), (4,), (4,)),
    ],
    batch_norm.BatchNorm: [
        Row(trained, (5, 3), (3,), (3,)),
        Row(trained, (5, 3), (3,)),
        Row(trained, (5, 3)),
        Row(trained, (2, 3, 4), (3,), (3,)),
        Row(trained, (1, 3, 2, 2), (3,), (3,)),
        Row(lambda x, w, b: trained(x.T, w[::2], b[::2]), (3, 4), (6,), (6,)),
        Row(lambda x, w, b: trained(x.permute(0, 2, 1), w, b), (2, 4, 3), (3,), (3,)),
        Row(trained, (0, 3), (3,), (3,)),
    ],
    batch_norm.BatchNormInference: [
        Row(inferred, (5, 3), (3,), (3,)),
        Row(inferred, (1, 3)),
        Row(inferred, (2, 3, 4), (3,), (3,)),
        Row(lambda x, w, b: inferred(x.permute(0, 2, 1), w[::2], b), (2, 4, 3), (6,), (3,)),
        Row(inferred, (2, 3, 0), (3,), (3,)),
    ],
    batch_norm.BatchNormRelu: [
        Row(bent(), (5, 3), (3,), (3,)),
        Row(bent(), (5, 3)),
        Row(bent(), (2, 3, 4), (3,), (3,)),
        Row(lambda x, w, b: bent()(x.T, w[::2], b[::2]), (3, 4), (6,), (6,)),
        Row(bent(), (70, 3), (3,), (3,)),
        Row(bent(), (0, 3), (3,), (3,)),
    ],
    batch_norm.BatchNormAddRelu: [
        Row(met, (5, 3), (5, 3), (3,), (3,)),
        Row(met, (5, 3), (5, 3)),
        Row(met, (2, 3, 4), (2, 3, 4), (3,), (3,)),
        Row(lambda x, z, w, b: met(x.T, z, w[::2], b[::2]), (3, 4), (4, 3), (6,), (6,)),
        Row(lambda x, z, w, b: met(x.permute(0, 3, 1, 2), z, w, b), (2, 4, 5, 3), (2, 3, 4, 5), (3,), (3,)),
        Row(met, (0, 3), (0, 3), (3,), (3,)),
    ],
    batch_norm.BatchNormInferenceRelu: [
        Row(bent(MEAN, VAR), (5, 3), (3,), (3,)),
        Row(bent(MEAN, VAR), (1, 3)),
        Row(bent(MEAN, VAR), (2, 3, 4), (3,), (3,)),
        Row(lambda x, w, b: bent(MEAN, VAR)(x.permute(0, 2, 1), w[::2], b), (2, 4, 3), (6,), (3,)),
        Row(bent(MEAN, VAR), (2, 3, 0), (3,), (3,)),
    ],
    dropout.DropoutOperation: [
        *[Row(dropped, shape) for shape in [(7, 5), (), (0, 3), (1, 1)]],
        Row(lambda x: dropped(x.T), (7, 5)),
        Row(lambda x: dropped(x[:, ::2]), (7, 5)),
        Row(lambda x: dropped(x.expand(4, 5)) * x, (1, 5)),
        Row(lambda x: dropped(x, 1.0), (7, 5)),
    ],
    dropout.AlphaDropoutOperation: [
        *[Row(lambda x: dropped(x, function=F.alpha_dropout), shape) for shape in [(7, 5), (0, 3), (1, 1)]],
        Row(lambda x: dropped(x.T[:, ::2], function=F.alpha_dropout), (7, 5)),
        Row(lambda x: dropped(x, 1.0, F.alpha_dropout), (7, 5)),
    ],
    dropout.ReluDropout: [
        *[Row(last_dropped(dropout.ReluDropout), shape) for shape in [(7, 5), (70,), (), (0, 3)]],
        Row(lambda x: last_dropped(dropout.ReluDropout)(x.T[:, ::2]), (7, 5)),
    ],
    dropout.FeatureDropoutOperation: [
        *[
            Row(lambda x: dropped(x, function=F.dropout1d), shape)
            for shape in [(7, 5, 3), (7, 5), (2, 0, 3), (2, 3, 0)]
        ],
        Row(lambda x: dropped(x.permute(0, 3, 1, 2)[:, ::2], function=F.dropout2d), (2, 3, 4, 6)),
        Row(lambda x: dropped(x, 1.0, F.dropout3d), (5, 2, 1, 2)),
    ],
    dropout.FeatureAlphaDropoutOperation: [
        Row(lambda x: dropped(x, function=F.feature_alpha_dropout), (7, 5)),
        Row(lambda x: dropped(x.T, function=F.feature_alpha_dropout), (3, 2, 5)),
    ],
    batch_norm.BatchNormReluDropout: [
        Row(bent_and_dropped, (5, 3), (3,), (3,)),
        Row(bent_and_dropped, (5, 3)),
        Row(bent_and_dropped, (2, 3, 4), (3,), (3,)),
        Row(lambda x, w, b: bent_and_dropped(x.T, w[::2], b[::2]), (3, 4), (6,), (6,)),
        Row(bent_and_dropped, (70, 37), (37,), (37,)),
        Row(bent_and_dropped, (0, 3), (3,), (3,)),
    ],
    linear.LinearReluDropout: [
        Row(last_dropped(linear.LinearReluDropout), (7, 3), (5, 3), (5,)),
        Row(lambda x, w: last_dropped(linear.LinearReluDropout)(x, w, None), (2, 3, 3), (50, 3)),
        Row(lambda x, w, b: last_dropped(linear.LinearReluDropout)(x.T, w.T, b), (3, 7), (3, 5), (5,)),
        Row(last_dropped(linear.LinearReluDropout), (0, 3), (5, 3), (5,)),
    ],
    loss.CrossEntropy: of_classes(F.cross_entropy) + of_classes(F.cross_entropy, label_smoothing=0.2),
    loss.NegativeLogLikelihood: [
        *of_classes(F.nll_loss),
        Row(lambda x: F.nll_loss(batten.permute(x, (0, 2, 1)), PIXELS), (2, 5, 3)),
    ],
    loss.AbsoluteError: [*of_difference(F.l1_loss), *of_numbers(F.smooth_l1_loss, beta=0)],
    loss.SquaredError: of_difference(F.mse_loss),
    loss.SmoothAbsoluteError: of_difference(F.smooth_l1_loss, beta=0.8),
    loss.HuberError: of_difference(F.huber_loss, delta=0.8),
    loss.BinaryCrossEntropy: of_numbers(F.binary_cross_entropy, (0.1, 0.9), (0.1, 0.9), weights=["weight"]),
    loss.BinaryCrossEntropyWithLogits: of_numbers(
        F.binary_cross_entropy_with_logits, (0, 1), weights=["weight", "pos_weight"]
    ),
    loss.Divergence: [*of_numbers(divergence, (0.1, 0.9)), Row(divergence, (3, 4), np.array([0.2, 0.1, 0.4, 0.3]))],
    loss.DivergenceOfLogarithms: of_numbers(divergence, log_target=True),
}

"""The models: as many parameters as published, and the same numbers as their twins in PyTorch."""

from __future__ import annotations

import functools
import os
from itertools import pairwise

import numpy as np
import pytest
from test_layout import layout_copies

import batten
import batten.nn.functional as F  # noqa: N812
from batten import models, nn
from batten.datasets import CIFAR10
from batten.nn.batch_norm import BatchNormAddRelu, BatchNormRelu
from parity import assert_close
from trials import trials

COUNTS = {
    "lenet5": 431_080,
    "alexnet": 5_871_434,
    "vgg11": 9_231_114,
    "vgg13": 9_416_010,
    "vgg16": 14_728_266,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet56": 853_018,
    "convnet": 150_010,
}
SIZES = {"lenet5": (1, 28, 28), "convnet": (1, 8, 8)}  # the others: (3, 32, 32)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_published(name):
    model = getattr(models, name)()
    assert count(model) == COUNTS[name]
    size = SIZES.get(name, (3, 32, 32))
    assert model(batten.zeros(2, *size)).shape == (2, 10)
    assert getattr(models, name)(num_classes=7).eval()(batten.zeros(1, *size)).shape == (1, 7)


def test_parameters_of_their_variants():
    assert count(models.vgg16(norm=None)) == 14_719_818
    assert count(models.vgg11(norm="group")) == COUNTS["vgg11"]
    assert count(models.resnet(20, norm="group")) == count(models.resnet(20, skip=False)) == COUNTS["resnet20"]
    assert count(models.lenet5(in_channels=3)) == COUNTS["lenet5"] + 2 * 20 * 25
    assert count(models.resnet(32)) == COUNTS["resnet32"]


# ---- their twins, of a library's layers ----


GROUPS = {20: 2, 50: 5, 500: 50, 20 * 13: 26, 13: 1, 5: 1}  # where eight do not divide the channels equally


def norm_of(m, norm, channels):
    return {
        "batch": lambda: m.BatchNorm2d(channels),
        "group": lambda: m.GroupNorm(GROUPS.get(channels, channels // 8), channels),
        "layer": lambda: m.GroupNorm(1, channels),
    }[norm]()


def norm_of_rows(m, norm, features):
    alone = {"batch": m.BatchNorm1d, "layer": m.LayerNorm}
    return alone[norm](features) if norm in alone else norm_of(m, norm, features)


def convolution(m, norm, channels, features, size, padding=0):
    """Without a bias, if it were taken away again."""
    behind = [norm_of(m, norm, features), m.ReLU()] if norm else [m.ReLU()]
    return m.Conv2d(channels, features, size, padding=padding, bias=norm != "batch"), *behind


def linear(m, norm, channels, features, *dropout):
    behind = [norm_of_rows(m, norm, features), m.ReLU()] if norm else [m.ReLU()]
    return m.Linear(channels, features, bias=norm != "batch"), *behind, *dropout


def lenet(m, norm=None):
    first, second = (1, 20, 5), (20, 50, 5)
    bent = [convolution(m, norm, *sizes) if norm else (m.Conv2d(*sizes),) for sizes in (first, second)]
    return m.Sequential(
        *bent[0], m.MaxPool2d(2), *bent[1], m.MaxPool2d(2), m.Flatten(),
        *linear(m, norm, 800, 500), m.Linear(500, 10),
    )  # fmt: skip


def alexnet(m, norm=None):
    def response():
        return [] if norm else [m.LocalResponseNorm(5)]

    return m.Sequential(
        *convolution(m, norm, 3, 64, 5, 2), *response(), m.MaxPool2d(3, 2),
        *convolution(m, norm, 64, 192, 5, 2), *response(), m.MaxPool2d(3, 2),
        *convolution(m, norm, 192, 384, 3, 1), *convolution(m, norm, 384, 256, 3, 1),
        *convolution(m, norm, 256, 256, 3, 1), m.MaxPool2d(3, 2), m.Flatten(),
        m.Dropout(0), m.Linear(2304, 1024), m.ReLU(), m.Dropout(0), m.Linear(1024, 1024), m.ReLU(), m.Linear(1024, 10),
    )  # fmt: skip


def convnet(m, norm):
    return m.Sequential(
        *convolution(m, norm, 1, 48, 3, 1), *convolution(m, norm, 48, 48, 3, 1), m.MaxPool2d(2),
        *convolution(m, norm, 48, 96, 3, 1), *convolution(m, norm, 96, 96, 3, 1),
        m.AdaptiveAvgPool2d(2), m.Flatten(), m.Dropout(0), m.Linear(384, 10),
    )  # fmt: skip


def mlp(m, norm):
    widths = [64, 20 * 13, 13, 24, 5]
    hidden = [layer for sizes in pairwise(widths) for layer in linear(m, norm, *sizes)]
    return m.Sequential(m.Flatten(), *hidden, m.Linear(5, 10))


def vgg(m, plan, norm):
    layers, channels = [], 3
    for features in plan:
        if features == "pool":
            layers.append(m.MaxPool2d(2))
        else:
            layers.append(m.Conv2d(channels, features, 3, padding=1))
            layers += [norm_of(m, norm, features), m.ReLU()] if norm else [m.ReLU()]
            channels = features
    return m.Sequential(*layers, m.Flatten(), m.Dropout(0), m.Linear(512, 10))


A = [64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"]
B = [64, 64, "pool", 128, 128, *A[3:]]
D = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool"]


def resnet(torch, depth, norm, skip):
    m = torch.nn

    class Block(m.Module):
        def __init__(self, channels, features, stride):
            super().__init__()
            self.body = m.Sequential(
                m.Conv2d(channels, features, 3, stride, 1, bias=False), norm_of(m, norm, features), m.ReLU(),
                m.Conv2d(features, features, 3, 1, 1, bias=False),
            )  # fmt: skip
            self.norm = norm_of(m, norm, features)

        def forward(self, x):
            y = self.norm(self.body(x))
            if y.shape != x.shape:
                x = x[:, :, ::2, ::2]
                x = torch.cat([x, torch.zeros_like(x)], 1)
            return torch.relu(y + x)

    def plain(channels, features, stride):
        block = Block(channels, features, stride)
        return [*block.body, block.norm, m.ReLU()]

    layers = [m.Conv2d(3, 16, 3, 1, 1, bias=False), norm_of(m, norm, 16), m.ReLU()]
    for channels, features in ((16, 16), (16, 32), (32, 64)):
        for number in range((depth - 2) // 6):
            widths = (channels if number == 0 else features, features, 2 if number == 0 and features > channels else 1)
            layers += [Block(*widths)] if skip else plain(*widths)
    return m.Sequential(*layers, m.AdaptiveAvgPool2d(1), m.Flatten(), m.Linear(64, 10))


TWINS = {
    "lenet5": (models.lenet5, lambda torch: lenet(torch.nn)),
    "alexnet": (lambda: models.alexnet(dropout=0), lambda torch: alexnet(torch.nn)),
    "vgg11": (lambda: models.vgg11(dropout=0), lambda torch: vgg(torch.nn, A, "batch")),
    "vgg11, groups": (lambda: models.vgg11("group", dropout=0), lambda torch: vgg(torch.nn, A, "group")),
    "vgg13, none": (lambda: models.vgg13(None, dropout=0), lambda torch: vgg(torch.nn, B, None)),
    "vgg16": (lambda: models.vgg16(dropout=0), lambda torch: vgg(torch.nn, D, "batch")),
    "resnet20": (models.resnet20, lambda torch: resnet(torch, 20, "batch", True)),
    "resnet32, groups": (lambda: models.resnet32("group"), lambda torch: resnet(torch, 32, "group", True)),
    "resnet20, plain": (lambda: models.resnet20(skip=False), lambda torch: resnet(torch, 20, "batch", False)),
    "resnet56": (models.resnet56, lambda torch: resnet(torch, 56, "batch", True)),
}


@pytest.mark.parametrize("name", TWINS)
def test_they_compute_what_their_twins_do(name, rng):
    torch = pytest.importorskip("torch")
    compare(TWINS[name][0](), TWINS[name][1](torch), SIZES.get(name, (3, 32, 32)), rng)


@trials("norm", ["batch", "group", "layer", None])
def test_they_compute_what_their_twins_do_with_any_norm(norm, rng):
    torch = pytest.importorskip("torch")
    m = torch.nn
    compare(models.lenet5(norm=norm), lenet(m, norm), (1, 28, 28), rng)
    compare(models.convnet(norm=norm, dropout=0), convnet(m, norm), (1, 6, 8), rng)
    compare(models.mlp(64, (260, 13, 24, 5), dropout=0, norm=norm), mlp(m, norm), (1, 8, 8), rng)
    if norm == "batch":
        compare(models.alexnet(dropout=0, norm=norm), alexnet(m, norm), (3, 32, 32), rng)
    if norm == "layer":
        compare(models.resnet20(norm), resnet(torch, 20, norm, True), (3, 32, 32), rng)


def compare(ours, theirs, size, rng):
    """In float64: results, the gradients of all parameters, and running statistics."""
    import torch

    torch.set_num_threads(1)
    ours, theirs = ours.double(), theirs.double()
    theirs.load_state_dict({key: torch.tensor(x.numpy()) for key, x in ours.state_dict().items()})
    assert count(ours) == count(theirs)
    x = rng.standard_normal((4, *size))
    target = rng.integers(0, 10, 4)
    y, z = ours(batten.tensor(x)), theirs(torch.tensor(x))
    assert_close(y.detach(), z.detach(), rtol=1e-8, atol=1e-9)
    F.cross_entropy(y, batten.tensor(target)).backward()
    torch.nn.functional.cross_entropy(z, torch.tensor(target)).backward()
    for key, p in theirs.named_parameters():
        largest = max(abs(p.grad).max().item(), 1e-6)
        assert_close(ours.get_parameter(key).grad, p.grad, rtol=0, atol=1e-7 * largest)
    for key, b in theirs.named_buffers():
        assert_close(ours.get_buffer(key), b, rtol=1e-8, atol=1e-10)
    with batten.no_grad(), torch.no_grad():
        assert_close(ours.eval()(batten.tensor(x)), theirs.eval()(torch.tensor(x)), rtol=1e-8, atol=1e-9)


# ---- how they are made ----


def operations_of(y):
    """The operations on the tape of a result."""
    found, pending = [], [y.grad_fn]
    seen = set()
    while pending:
        operation = pending.pop()
        if operation is not None and hasattr(operation, "edges") and operation not in seen:
            seen.add(operation)
            found.append(operation)
            pending += [edge[0] for edge in operation.edges if edge]
    return found


def test_neighbours_are_joined():
    kinds = [type(operation) for operation in operations_of(models.resnet20()(batten.randn(2, 3, 32, 32)))]
    assert kinds.count(BatchNormRelu) == 10 and kinds.count(BatchNormAddRelu) == 9
    kinds = [type(operation) for operation in operations_of(models.vgg11()(batten.randn(2, 3, 32, 32)))]
    assert kinds.count(BatchNormRelu) == 8
    kinds = [type(operation).__name__ for operation in operations_of(models.alexnet()(batten.randn(2, 3, 32, 32)))]
    assert [kinds.count(kind) for kind in ("ConvolutionRelu", "LinearRelu", "LinearReluDropout")] == [5, 1, 1]


@pytest.mark.parametrize(("name", "others"), [
    ("vgg11", []),
    ("resnet20", [(32, 16, 16, 16), (32, 32, 8, 8)] * 2),
    ("alexnet", ["numpy", (32, 256, 3, 3)]),  # Flatten, by NumPy, and its gradient
])  # fmt: skip
def test_images_are_brought_into_another_order_once(name, others, rng):
    """When they come, when they are flattened, and where a shortcut takes every other pixel; each way."""
    model = getattr(models, name)()
    x, target = batten.tensor(rng.standard_normal((32, 3, 32, 32)), dtype=batten.float32), batten.arange(32) % 10
    with layout_copies(32 * 2048 * 4) as found:
        F.cross_entropy(model(x), target).backward()
    assert found[0] == (32, 3, 32 * 32) and sorted(map(str, found[1:])) == sorted(map(str, others))


def test_weights_of_convolutions_begin_with_the_variance_for_gradients():
    batten.manual_seed(0)  # small layers stray by more than a tenth, now and then
    for model in (models.resnet20(), models.vgg11()):
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                expected = (2 / (layer.out_channels * 9)) ** 0.5
                assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
                assert layer.bias is None or not layer.bias.any()


@trials("norm", ["batch", "group", "layer", None])
def test_convnet_takes_images_of_any_size(norm):
    model = models.convnet(in_channels=3, norm=norm)
    assert [tuple(model(batten.zeros(2, 3, *size)).shape) for size in ((4, 4), (9, 5), (32, 32))] == [(2, 10)] * 3


@trials("norm", ["batch", "group", "layer", None])
def test_dropout_of_lenet_is_behind_its_hidden_layer(norm):
    kinds, thinned = ([type(layer) for layer in models.lenet5(norm=norm, dropout=p)] for p in (0, 0.3))
    assert nn.Dropout not in kinds and thinned == [*kinds[:-1], nn.Dropout, nn.Linear]
    assert kinds[-2] is nn.ReLU and kinds.count(nn.ReLU) == (3 if norm else 1)
    assert models.lenet5(norm=norm, dropout=0.3)[-2].p == 0.3
    assert models.lenet5(in_channels=3, norm=norm, dropout=0.3)(batten.zeros(2, 3, 28, 28)).shape == (2, 10)


@trials("make, size", [
    (models.lenet5, (1, 28, 28)), (models.convnet, (1, 8, 8)), (models.alexnet, (3, 32, 32)),
    (models.vgg11, (3, 32, 32)), (models.resnet20, (3, 32, 32)), (functools.partial(models.mlp, 64), (64,)),
])  # fmt: skip
def test_examples_meet_only_in_batch_normalization(make, size, rng):
    x = batten.tensor(rng.standard_normal((5, *size)), dtype=batten.float32)
    for norm, meet in (("batch", True), ("group", False), ("layer", False)):
        model = make(norm=norm)
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        with batten.no_grad():
            alone, among = model(x[:2]), model(x)[:2]
        assert (alone - among).abs().max().item() > 1e-3 if meet else np.allclose(alone, among, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: models.resnet(18), "resnet expects a depth of 20, 32, 56, got 18"),
    (lambda: models.resnet(20, norm=None), "resnet expects 'batch', 'group' or 'layer' as its norm, got None"),
    (lambda: models.vgg11(norm="instance"), "expected 'batch', 'group', 'layer' or None as the norm of a model, got"),
    (lambda: models.lenet5(norm=""), "expected 'batch', 'group', 'layer' or None as the norm of a model, got ''"),
    (lambda: models.alexnet(norm=""), "expected 'batch', 'group', 'layer' or None as the norm of a model, got ''"),
    (lambda: models.mlp(4, norm="lrn"), "expected 'batch', 'group', 'layer' or None as the norm of a model, got 'lrn'"),
    (lambda: models.lenet5()(batten.zeros(1, 1, 32, 32)), r"Linear expects \(\*, 800\), got \[1, 1250\]"),
    (lambda: models.vgg11()(batten.zeros(1, 1, 28, 28)), r"Conv2d expects \(N, 3, H, W\) or .*, got \[1, 1, 28, 28\]"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- they learn ----


def cifar(count):
    """Pictures of CIFAR-10 from the folder that BATTEN_DATA names, or else ten kinds of noise, hard to tell apart."""
    if root := os.environ.get("BATTEN_DATA"):
        data = CIFAR10(root)
        return data.data[:count], data.targets[:count]
    rng = np.random.default_rng(2)
    kinds, targets = rng.normal(0, 8, (10, 3, 32, 32)), rng.integers(0, 10, count)
    return (128 + kinds[targets] + rng.normal(0, 40, (count, 3, 32, 32))).clip(0, 255).astype(np.uint8), targets


@pytest.mark.sweep
def test_resnet20_learns_512_pictures_by_heart():
    pictures, targets = cifar(512)
    batten.manual_seed(0)
    model = models.resnet20()
    sgd = batten.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = batten.tensor((pictures / 255.0 - 0.47) / 0.25, dtype=batten.float32)
    t = batten.tensor(targets)
    for _ in range(60):
        for batch in batten.randperm(512).split(64):
            sgd.zero_grad()
            F.cross_entropy(model.train()(x[batch]), t[batch]).backward()
            sgd.step()
        with batten.no_grad():
            if (model.eval()(x).argmax(1) == t).float().mean() > 0.99:
                return
    pytest.fail("more than one of a hundred pictures is not known after sixty epochs")

"""The models: as many parameters as published, and the same numbers as their twins in PyTorch."""

from __future__ import annotations

import os

import numpy as np
import pytest
from test_layout import layout_copies

import batten
import batten.nn.functional as F  # noqa: N812
from batten import models, nn
from batten.datasets import CIFAR10
from batten.nn.batch_norm import BatchNormAddRelu, BatchNormRelu
from parity import assert_close

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


def lenet(m):
    return m.Sequential(
        m.Conv2d(1, 20, 5), m.MaxPool2d(2), m.Conv2d(20, 50, 5), m.MaxPool2d(2), m.Flatten(), m.Linear(800, 500),
        m.ReLU(), m.Linear(500, 10),
    )  # fmt: skip


def alexnet(m):
    return m.Sequential(
        m.Conv2d(3, 64, 5, padding=2), m.ReLU(), m.LocalResponseNorm(5), m.MaxPool2d(3, 2),
        m.Conv2d(64, 192, 5, padding=2), m.ReLU(), m.LocalResponseNorm(5), m.MaxPool2d(3, 2),
        m.Conv2d(192, 384, 3, padding=1), m.ReLU(), m.Conv2d(384, 256, 3, padding=1), m.ReLU(),
        m.Conv2d(256, 256, 3, padding=1), m.ReLU(), m.MaxPool2d(3, 2), m.Flatten(),
        m.Dropout(0), m.Linear(2304, 1024), m.ReLU(), m.Dropout(0), m.Linear(1024, 1024), m.ReLU(), m.Linear(1024, 10),
    )  # fmt: skip


def norm_of(m, norm, channels):
    return m.BatchNorm2d(channels) if norm == "batch" else m.GroupNorm(channels // 8, channels)


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
    """In float64: results, the gradients of all parameters, and running statistics."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    ours, theirs = TWINS[name][0]().double(), TWINS[name][1](torch).double()
    theirs.load_state_dict({key: torch.tensor(x.numpy()) for key, x in ours.state_dict().items()})
    assert count(ours) == count(theirs)
    x = rng.standard_normal((4, *SIZES.get(name, (3, 32, 32))))
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
    assert found[0] == (32, 32, 32, 3) and sorted(map(str, found[1:])) == sorted(map(str, others))


def test_weights_of_convolutions_begin_with_the_variance_for_gradients():
    batten.manual_seed(0)  # small layers stray by more than a tenth, now and then
    for model in (models.resnet20(), models.vgg11()):
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                expected = (2 / (layer.out_channels * 9)) ** 0.5
                assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
                assert layer.bias is None or not layer.bias.any()


def test_convnet_takes_images_of_any_size():
    model = models.convnet(in_channels=3)
    assert [tuple(model(batten.zeros(2, 3, *size)).shape) for size in ((4, 4), (9, 5), (32, 32))] == [(2, 10)] * 3


@pytest.mark.parametrize(("call", "message"), [
    (lambda: models.resnet(18), "resnet expects a depth of 20, 32, 56, got 18"),
    (lambda: models.resnet(20, norm=None), "resnet expects 'batch' or 'group' as its norm, got None"),
    (lambda: models.vgg11(norm="layer"), "expected 'batch', 'group' or None as the norm of a model, got 'layer'"),
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

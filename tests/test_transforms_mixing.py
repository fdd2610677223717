"""Images made of two, and images that a part is missing of: images, labels, boxes, and what is drawn."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import batten
from batten import transforms
from batten.random import Generator
from batten.transforms.mixing import beta
from trials import trials

KINDS = ["uint8", "float32", "float64"]


def images(rng, kind, shape=(5, 3, 7, 6)):
    return rng.integers(0, 256, shape, np.uint8) if kind == "uint8" else rng.random(shape).astype(kind)


def seeded(seed=1):
    return Generator().manual_seed(seed)


# ---- lambda ----


@trials("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 30.0])
def test_lambda_is_beta_distributed(alpha):
    """Moments of Beta(a, a), to within four deviations; and its distribution function for a = 1/2 and 1."""
    u = batten.rand(20_000, 2, dtype=batten.float64, generator=seeded()).numpy()
    x = np.array([beta(alpha, *pair) for pair in u])
    assert 0 <= x.min() <= x.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    fourth = 3 * variance**2 * (2 * alpha + 1) / (2 * alpha + 3)
    n = len(x)
    assert abs(x.mean() - 0.5) < 4 * math.sqrt(variance / n)
    assert abs(((x - 0.5) ** 2).mean() - variance) < 4 * math.sqrt((fourth - variance**2) / n)
    distribution = {
        1.0: lambda t: t,
        0.5: lambda t: 2 / math.pi * np.arcsin(np.sqrt(t)),
        2.0: lambda t: t * t * (3 - 2 * t),
    }
    if alpha in distribution:
        assert np.abs(distribution[alpha](np.sort(x)) - np.arange(n) / n).max() < 1.63 / math.sqrt(n)


def test_lambda_at_the_ends():
    for alpha in (1e-3, 1.0, 1e3):
        for u in (0.0, 0.5, 1 - 2**-53):
            for v in (0.0, 0.25, 0.5, 0.75, 1 - 2**-53):
                assert 0 <= beta(alpha, u, v) <= 1


# ---- MixUp, CutMix ----


def expected_labels(labels, classes, share):
    own = labels if labels.ndim == 2 else np.eye(classes)[labels]
    return share * own + (1 - share) * np.roll(own, 1, axis=0)


@trials("kind", ["float32", "float64"])
def test_mixup_against_numpy(kind, rng):
    for shape in ((5, 3, 7, 6), (1, 1, 3, 3), (2, 4, 1, 1), (0, 3, 4, 4), (3, 3, 0, 2)):
        x = images(rng, kind, shape)
        labels = rng.integers(0, 4, len(x))
        t = transforms.MixUp(alpha=0.7, num_classes=4, generator=(g := seeded(3)))
        y, targets = t(x, labels)
        assert g.calls == 1
        u = batten.rand(4, dtype=batten.float64, generator=seeded(3)).numpy()
        share = beta(0.7, u[0], u[1])
        assert y.dtype == kind
        assert targets.dtype == np.float32
        np.testing.assert_allclose(
            y, share * x + (1 - share) * np.roll(x, 1, axis=0), atol=1e-7 if kind == "float32" else 1e-15
        )
        np.testing.assert_allclose(targets, expected_labels(labels, 4, share), atol=1e-7)


@trials("kind", KINDS)
def test_cutmix_against_numpy(kind, rng):
    for seed in range(12):
        shape = [(5, 3, 7, 6), (2, 1, 16, 9), (1, 3, 4, 4), (0, 3, 4, 4), (2, 3, 0, 4), (3, 2, 1, 1)][seed % 6]
        x = images(rng, kind, shape)
        labels = rng.integers(0, 3, len(x))
        y, targets = transforms.CutMix(alpha=1.0, num_classes=3, generator=seeded(seed))(x, labels)
        u = batten.rand(4, dtype=batten.float64, generator=seeded(seed)).numpy()
        share, (height, width) = beta(1.0, u[0], u[1]), shape[2:]
        row, column, half = int(u[2] * height), int(u[3] * width), 0.5 * math.sqrt(1 - share)
        rows = slice(max(row - int(half * height), 0), row + int(half * height))
        columns = slice(max(column - int(half * width), 0), column + int(half * width))
        expected = x.copy()
        expected[..., rows, columns] = np.roll(x, 1, axis=0)[..., rows, columns]
        assert y.dtype == kind
        assert (y == expected).all()
        area = np.zeros(shape[2:])[rows, columns].size / max(1, height * width)
        np.testing.assert_allclose(targets, expected_labels(labels, 3, 1 - area), atol=1e-7)


@trials("name", ["MixUp", "CutMix"])
def test_against_torchvision(name, rng, monkeypatch):
    """With the same λ and the same middle of the box."""
    torch = pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    for alpha in (0.2, 1.0, 3.0):
        for kind in ["float32", "float64"] + (["uint8"] if name == "CutMix" else []):
            for soft in (False, True):
                x = images(rng, kind, (6, 3, 11, 8))
                labels = rng.integers(0, 5, 6)
                if soft:
                    labels = rng.dirichlet(np.ones(5), 6).astype(np.float32)
                classes = None if soft else 5
                seed = int(rng.integers(1000))
                u = batten.rand(4, dtype=batten.float64, generator=seeded(seed)).numpy()
                theirs = getattr(v2, name)(alpha=alpha, num_classes=classes)
                share = torch.tensor([beta(alpha, u[0], u[1])], dtype=torch.float64)
                monkeypatch.setattr(theirs._dist, "sample", lambda shape, share=share: share)
                middle = iter([int(u[3] * 8), int(u[2] * 11)])
                monkeypatch.setattr(torch, "randint", lambda *a, middle=middle, **k: torch.tensor([next(middle)]))
                their_images, their_labels = theirs(torch.from_numpy(x), torch.from_numpy(labels))
                t = getattr(transforms, name)(alpha=alpha, num_classes=classes, generator=seeded(seed))
                y, targets = t(x, labels)
                np.testing.assert_array_equal(y, their_images.numpy())
                np.testing.assert_allclose(targets, their_labels.numpy(), atol=1e-7)
                assert targets.dtype == their_labels.numpy().dtype


@trials("t", [transforms.MixUp(num_classes=3), transforms.CutMix(num_classes=3)])
def test_labels_and_kinds_of_arrays(t, rng):
    x = images(rng, "float32")
    labels = np.array([0, 1, 2, 0, 1])
    results = []
    orders = [x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.repeat(x, 2, axis=3)[..., ::2]]
    for images_ in (*orders, batten.from_numpy(x)):
        for given in (
            labels,
            labels.astype(np.uint8),
            batten.from_numpy(labels),
            np.eye(3)[labels],
            np.eye(3, dtype=int)[labels],
        ):
            batten.manual_seed(7)
            y, targets = t(images_, given)
            assert type(y) is type(images_)
            assert isinstance(targets, batten.Tensor if isinstance(given, batten.Tensor) else np.ndarray)
            assert targets.shape == (5, 3)
            results.append((np.asarray(y), np.asarray(targets)))
    for y, targets in results:
        assert (y == results[0][0]).all()
        np.testing.assert_allclose(targets, results[0][1], atol=1e-7)
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    loss = batten.nn.functional.cross_entropy(batten.zeros(5, 3), batten.from_numpy(results[0][1]))
    assert loss.item() == pytest.approx(math.log(3), rel=1e-5)


@trials("name", ["MixUp", "CutMix"])
def test_mixing_refuses(name, rng):
    t = getattr(transforms, name)(num_classes=3)
    x, labels = images(rng, "float32"), np.zeros(5, int)
    for bad, kind, words in (
        ((x, None), TypeError, "labels as well"),
        ((x[0], labels), ValueError, r"a batch \(N, C, H, W\)"),
        ((x, labels[:4]), ValueError, r"labels \(5,\)"),
        ((x, labels.reshape(5, 1, 1)), ValueError, r"labels \(5,\)"),
        ((x, labels.astype(float)), TypeError, "labels of integers"),
        ((x, labels + 3), ValueError, "labels from 0 to 2"),
        ((x, labels - 1), ValueError, "labels from 0 to 2"),
        ((x, np.zeros((5, 4))), ValueError, "3 classes"),
        ((x.tolist(), labels), TypeError, "expects images"),
    ):
        with pytest.raises(kind, match=words):
            t(*bad)
    with pytest.raises(ValueError, match="num_classes"):
        getattr(transforms, name)()(x, labels)
    for alpha in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="alpha above 0"):
            getattr(transforms, name)(alpha=alpha)
    with pytest.raises(ValueError, match="at least one class"):
        getattr(transforms, name)(num_classes=0)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        getattr(transforms, name)(num_classes=2.5)
    with pytest.raises(TypeError, match=f"{name} expects a batten.Generator"):
        getattr(transforms, name)(generator=3)


def test_mixup_refuses_bytes(rng):
    with pytest.raises(TypeError, match="MixUp expects images of floats, got uint8"):
        transforms.MixUp(num_classes=3)(images(rng, "uint8"), np.zeros(5, int))


def test_mixing_in_a_compose(rng):
    t = transforms.Compose([transforms.ToFloat(), transforms.MixUp(num_classes=3)])
    y, targets = t(images(rng, "uint8"), np.array([0, 1, 2, 2, 1]))
    assert (y.dtype, targets.shape) == (np.float32, (5, 3))


# ---- erasing ----


def boxes_of(mask):
    """Top, left, height and width of what is True in each of (N, H, W), which must be a box; None for none."""
    for image in mask:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if not len(rows):
            yield None
            continue
        assert image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert image.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        yield rows[0], columns[0], len(rows), len(columns)


def test_erasing_against_a_loop(rng):
    """The algorithm of the paper, image by image, with the numbers that are drawn."""
    n, height, width = 60, 13, 9
    options = {"p": 0.7, "scale": (0.1, 0.9), "ratio": (0.2, 4.0)}
    u = batten.rand(n, 23, dtype=batten.float64, generator=seeded(5)).numpy()
    expected = []
    for row in u:
        box = None
        for k in range(10):
            area = height * width * (0.1 + 0.8 * row[3 + k])
            ratio = math.exp(math.log(0.2) + (math.log(4.0) - math.log(0.2)) * row[13 + k])
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                box = int(row[1] * (height - h + 1)), int(row[2] * (width - w + 1)), h, w
                break
        expected.append(box if row[0] < 0.7 and box and box[2] and box[3] else None)
    for kind in KINDS:
        x = np.ones((n, 3, height, width), kind)
        y = transforms.RandomErasing(**options, generator=seeded(5))(x)
        assert y.dtype == kind
        assert (y == y[:, :1]).all()
        assert list(boxes_of(y[:, 0] == 0)) == expected
    assert None in expected
    assert len(set(expected)) > 20


def test_erasing_draws_evenly():
    x = np.ones((6000, 1, 20, 30), np.uint8)
    y = transforms.RandomErasing(p=0.25, scale=(0.02, 0.4), ratio=(0.5, 2.0), generator=seeded())(x)
    found = [box for box in boxes_of(y[:, 0] == 0) if box]
    assert abs(len(found) - 1500) < 4 * math.sqrt(6000 * 0.25 * 0.75)
    top, left, h, w = np.array(found).T
    assert (h < 20).all()
    assert (w < 30).all()
    assert abs((h * w).mean() / 600 - 0.21) < 0.01
    assert abs(np.log(h / w).mean()) < 0.05
    assert abs((top / (20 - h)).mean() - 0.5) < 0.03
    assert abs((left / (30 - w)).mean() - 0.5) < 0.03


@trials("kind", KINDS)
def test_what_erased_boxes_are_filled_with(kind, rng):
    x = np.full((200, 3, 9, 8), 77, kind)
    box = {"p": 1.0, "scale": (0.2, 0.2), "ratio": (1.0, 1.0)}
    y = transforms.RandomErasing(**box, value=5)(x)
    assert set(np.unique(y)) == {5, 77}
    y = transforms.RandomErasing(**box, value=(1, 2.5, 3))(x)
    for channel, value in enumerate((1, 2.5, 3)):
        assert set(np.unique(y[:, channel])) == {value // 1 if kind == "uint8" else value, 77}
    t = transforms.RandomErasing(**box, value="random", generator=(g := seeded()))
    y = t(x)
    assert g.calls == 2
    new = y[(y != 77).any(axis=1, keepdims=True).repeat(3, axis=1)].astype(np.float64)
    mean, std = (127.5, 73.9) if kind == "uint8" else (0, 1)
    n = len(new)
    assert n >= 200 * 3 * 16
    assert abs(new.mean() - mean) < 4 * std / math.sqrt(n) + (std / 100 if kind == "uint8" else 0)
    assert abs(new.std() / std - 1) < 0.05
    assert ((y == 77).all(axis=1).sum(axis=(1, 2)) >= 72 - 16).all()


@trials("value", [3, (1, 2, 3), "random"])
def test_erasing_in_place_and_layouts(value, rng, threads):
    for kind in KINDS:
        x = images(rng, kind, (40, 3, 12, 10))
        orders = [x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.repeat(x, 2, axis=3)[..., ::2]]
        results = []
        for array in orders:
            before = array.copy()
            threads(1 + len(results))
            y = transforms.RandomErasing(0.8, value=value, generator=seeded(2))(array)
            assert (array == before).all()
            t = transforms.RandomErasing(0.8, value=value, inplace=True, generator=seeded(2))
            z = t(array)
            assert np.shares_memory(z, array)
            assert (z == y).all()
            assert (array == y).all()
            alone = before[0].copy()
            seeded_again = transforms.RandomErasing(0.8, value=value, inplace=True, generator=seeded(2))
            assert (seeded_again(alone) == y[0]).all()
            assert (alone == y[0]).all()
            results.append(y.tobytes())
        assert results[0] == results[1] == results[2]
    tensor = batten.from_numpy(x.copy())
    transforms.RandomErasing(1.0, inplace=True)(tensor)
    assert tensor.version[0] == 1


def test_nothing_to_erase(rng):
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 3, 3), (3, 1, 1, 1)):
        for value in (0, "random"):
            x = np.ones(shape, np.float32)
            y, label = transforms.RandomErasing(p=1.0, value=value)(x, 4)
            assert (y == x).all()
            assert label == 4
    x = images(rng, "uint8")
    assert (transforms.RandomErasing(p=0.0)(x) == x).all()
    assert (transforms.RandomErasing(p=1.0, scale=(1.0, 1.0), ratio=(1.0, 1.0))(x) == x).all()


def test_erasing_refuses(rng):
    for options, kind in (
        ({"p": 1.1}, ValueError),
        ({"p": math.nan}, ValueError),
        ({"scale": (0.5, 0.1)}, ValueError),
        ({"scale": (-0.1, 0.5)}, ValueError),
        ({"scale": (0.1, 1.5)}, ValueError),
        ({"scale": 0.5}, TypeError),
        ({"ratio": (2, 1)}, ValueError),
        ({"ratio": (0, 1)}, ValueError),
        ({"value": "noise"}, ValueError),
        ({"value": None}, TypeError),
        ({"generator": "g"}, TypeError),
    ):
        with pytest.raises(kind, match="RandomErasing expects"):
            transforms.RandomErasing(**options)
    with pytest.raises(ValueError, match="a value for each of 3 channels"):
        transforms.RandomErasing(value=(1, 2))(images(rng, "float32"))
    for value in (256, -1, math.nan):
        with pytest.raises(ValueError, match="a value from 0 to 255"):
            transforms.RandomErasing(value=value)(images(rng, "uint8"))


def test_copies_and_representations(rng):
    x, labels = images(rng, "float32"), np.array([0, 1, 2, 1, 0])
    texts = [
        "MixUp(alpha=0.5, num_classes=3)",
        "CutMix(alpha=1.0, num_classes=3)",
        "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=[0.0], inplace=False)",
    ]
    each = transforms.MixUp(alpha=0.5, num_classes=3), transforms.CutMix(num_classes=3), transforms.RandomErasing()
    for t, text in zip(each, texts, strict=True):
        assert repr(t) == text
        for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
            batten.manual_seed(1)
            expected = t(x, labels)
            batten.manual_seed(1)
            for a, b in zip(twin(x, labels), expected, strict=True):
                assert a.tobytes() == b.tobytes()

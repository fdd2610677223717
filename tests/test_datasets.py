"""Data sets: files in all the places and forms they come in, damaged ones, and points that are made up."""

from __future__ import annotations

import builtins
import gzip
import re
import struct
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batten
from batten.data import DataLoader, Subset
from batten.datasets import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    FashionMNIST,
    ImageDataset,
    digits,
    polynomial,
    spirals,
    two_moons,
)


def idx(array, magic=None, shape=None):
    """An IDX file of bytes."""
    shape = array.shape if shape is None else shape
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.astype(np.uint8).tobytes()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (7, 28, 28), np.uint8), rng.integers(0, 10, 7)


@pytest.fixture
def records(rng):
    records = rng.integers(0, 256, (6, 3073), np.uint8)
    records[:, 0] %= 10
    return records


def test_digits():
    pytest.importorskip("sklearn")
    dataset = digits()
    assert dataset.data.shape == (1797, 1, 8, 8) and dataset.data.dtype == np.uint8
    assert dataset.data.max() == dataset.brightest == 16
    assert dataset.targets.dtype == np.int64 and set(dataset.targets) == set(range(10))
    picture, label = dataset[5]
    assert picture.shape == (1, 8, 8) and dataset.classes[label] == "5"


def test_digits_without_scikit_learn(monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'batten[labs]'")):
        digits()


# ---- pictures in memory ----


@pytest.fixture
def dataset(rng):
    return ImageDataset(rng.integers(0, 256, (9, 3, 4, 5), np.uint8), rng.integers(0, 3, 9), ["a", "b", "c"])


def lies_last(pictures):
    """Are the channels next to each other?"""
    return np.moveaxis(pictures, -3, -1).flags.c_contiguous


@pytest.mark.parametrize("index", [4, -1, slice(2, 7), slice(None, None, -2), [3, 3, 0], np.arange(9) % 2 == 0, []])
def test_pictures_are_taken_with_their_channels_last(dataset, index):
    pictures, labels = dataset[index]
    np.testing.assert_array_equal(pictures, np.ascontiguousarray(dataset.data)[index])
    np.testing.assert_array_equal(labels, dataset.targets[index])
    assert lies_last(dataset.data) and (lies_last(pictures) or isinstance(index, slice))
    assert dataset.targets.dtype == np.int64


@pytest.mark.parametrize("indices", [[], [5], [8, 0, 0, -1], range(3)])
def test_a_batch_is_gathered_at_once(dataset, indices):
    seen = []
    dataset.transform = lambda pictures: seen.append(pictures) or pictures / 255
    dataset.target_transform = lambda labels: labels + 1
    pictures, labels = dataset.__getitems__(indices)
    (given,) = seen
    assert given.shape == (len(indices), 3, 4, 5) and lies_last(given) and given.dtype == np.uint8
    np.testing.assert_array_equal(pictures, dataset.data[list(indices)] / 255 if len(indices) else pictures)
    assert labels.tolist() == [dataset.targets[i] + 1 for i in indices]


def test_a_batch_is_of_whole_numbers(dataset):
    for indices, kind in (([True, False], "bool"), ([0.5], "float64")):
        with pytest.raises(TypeError, match=f"ImageDataset expects whole numbers as indices, got {kind}"):
            next(iter(DataLoader(Subset(dataset, indices), 2)))
    with pytest.raises(IndexError, match=r"ImageDataset has \d+ samples, got the index 99"):
        dataset.__getitems__([0, 99])


def test_a_transform_sees_one_picture_or_many(dataset):
    dataset.transform = lambda pictures: pictures.shape
    dataset.target_transform = lambda labels: labels.shape
    assert dataset[2] == ((3, 4, 5), ())
    assert dataset[2:4] == ((2, 3, 4, 5), (2,)) and dataset[np.array([1])] == ((1, 3, 4, 5), (1,))


def test_a_loader_takes_whole_batches(dataset):
    batches = list(DataLoader(dataset, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 1] and all(lies_last(x.numpy()) for x, _ in batches)
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in batches]), dataset.data)
    np.testing.assert_array_equal(np.concatenate([labels.numpy() for _, labels in batches]), dataset.targets)
    assert len(dataset + dataset) == 18


def test_a_split_keeps_pictures_and_transforms(dataset):
    plain = dataset.data.copy()
    dataset.transform, dataset.target_transform = np.float64, np.negative
    parts = dataset.split(4)
    for part in parts:
        assert lies_last(part.data) and part.data.dtype == np.uint8
        assert (part.transform, part.target_transform, part.classes) == (np.float64, np.negative, ["a", "b", "c"])
    both = np.concatenate([part.data for part in parts]).reshape(9, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, plain.reshape(9, -1)))
    parts[1].transform = None
    assert dataset.transform is parts[0].transform is np.float64


@pytest.mark.parametrize(
    ("data", "targets", "error", "message"),
    [
        (np.zeros((2, 3, 4), np.uint8), np.zeros(2, int), ValueError, r"\(N, C, H, W\) and N labels, got \[2, 3, 4\]"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, int), ValueError, r"got \[2, 1, 4, 4\] and \[3\]"),
        (np.zeros((2, 1, 4, 4)), np.zeros(2, int), TypeError, "pictures of uint8 .* got float64 and int64"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2), TypeError, "labels of integers, got uint8 and float64"),
    ],
)
def test_what_is_no_set_of_pictures(data, targets, error, message):
    with pytest.raises(error, match=message):
        ImageDataset(data, targets, "ab")


# ---- files ----


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize(("train", "part"), [(True, "train"), (False, "t10k")])
def test_mnist(pictures, train, part, folder, suffix, tmp_path):
    images, labels = pictures
    put(tmp_path / folder / f"{part}-images-idx3-ubyte{suffix}", idx(images))
    put(tmp_path / folder / f"{part}-labels-idx1-ubyte{suffix}", idx(labels))
    dataset = MNIST(tmp_path, train)
    assert len(dataset) == 7 and dataset.data.shape == (7, 1, 28, 28) and dataset.data.flags.writeable
    np.testing.assert_array_equal(dataset.data[:, 0], images)
    np.testing.assert_array_equal(dataset.targets, labels)
    with pytest.raises(FileNotFoundError, match="found neither"):
        MNIST(tmp_path, not train)


@pytest.mark.parametrize(("kind", "folder"), [(FashionMNIST, "fashion-mnist"), (KMNIST, "kmnist")])
def test_what_took_mnist_s_place_is_not_mistaken_for_it(kind, folder, pictures, tmp_path):
    images, labels = pictures
    for place in ("", "mnist", "MNIST/raw"):
        put(tmp_path / place / IMAGES, idx(images))
        put(tmp_path / place / LABELS, idx(labels))
    for place in (folder, f"{kind.__name__}/raw"):
        with pytest.raises(FileNotFoundError, match=f"in .*{folder} or .*{kind.__name__}/raw"):
            kind(tmp_path)
        put(tmp_path / place / f"{IMAGES}.gz", idx(images[::-1]))
        put(tmp_path / place / LABELS, idx(labels[::-1]))
        dataset = kind(tmp_path)
        np.testing.assert_array_equal(dataset.data[:, 0], images[::-1])
        np.testing.assert_array_equal(dataset.targets, labels[::-1])
        assert len(dataset.classes) == 10
        (tmp_path / place / LABELS).unlink()


def test_arguments_come_in_torchvision_s_order(pictures, records, tmp_path):
    put(tmp_path / IMAGES, idx(pictures[0]))
    put(tmp_path / LABELS, idx(pictures[1]))
    put(tmp_path / "data_batch_1.bin", records.tobytes())
    fine = np.concatenate([records[:, :1], records], 1)
    put(tmp_path / "train.bin", fine.tobytes())
    for kind in (MNIST, CIFAR10, CIFAR100):
        images, labels = kind(tmp_path, True, np.float32, np.negative, False)[:]
        assert images.dtype == np.float32 and labels.max() <= 0


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar10(records, folder, suffix, tmp_path):
    put(tmp_path / folder / f"data_batch_1.bin{suffix}", records[:2].tobytes())
    put(tmp_path / folder / f"data_batch_4.bin{suffix}", records[2:5].tobytes())
    put(tmp_path / folder / f"test_batch.bin{suffix}", records[5:].tobytes())
    train, test = CIFAR10(tmp_path), CIFAR10(str(tmp_path), train=False)
    np.testing.assert_array_equal(train.data.reshape(5, -1), records[:5, 1:])
    np.testing.assert_array_equal(train.targets, records[:5, 0])
    assert train.data.shape == (5, 3, 32, 32) and len(test) == 1
    assert lies_last(train.data) and lies_last(test.data)
    assert train.classes[0] == "airplane" and len(train.classes) == 10


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "cifar-100-binary"])
def test_cifar100(rng, folder, suffix, tmp_path):
    records = rng.integers(0, 256, (6, 3074), np.uint8)
    records[:, 0] %= 20
    records[:, 1] %= 100
    records[0, :2] = 19, 99
    put(tmp_path / folder / f"train.bin{suffix}", records[:4].tobytes())
    put(tmp_path / folder / f"test.bin{suffix}", records[4:].tobytes())
    for dataset, part in ((CIFAR100(tmp_path), records[:4]), (CIFAR100(tmp_path, train=False), records[4:])):
        np.testing.assert_array_equal(dataset.data.reshape(len(part), -1), part[:, 2:])
        np.testing.assert_array_equal(dataset.coarse_targets, part[:, 0])
        np.testing.assert_array_equal(dataset.targets, part[:, 1])
        assert dataset.targets.dtype == dataset.coarse_targets.dtype == np.int64 and lies_last(dataset.data)
    assert len(dataset.classes) == 100 and dataset.classes == sorted(dataset.classes)
    assert len(dataset.coarse_classes) == 20 and dataset.coarse_classes[14] == "people"
    for column, message in ((0, "expected labels from 0 to 19, got 20"), (1, "expected labels from 0 to 99, got 100")):
        wrong = records.copy()
        wrong[2, column] = 20 if column == 0 else 100
        put(tmp_path / folder / f"train.bin{suffix}", wrong.tobytes())
        with pytest.raises(ValueError, match=message):
            CIFAR100(tmp_path)


@pytest.mark.parametrize(
    ("kind", "folder", "archive"),
    [
        (CIFAR10, "cifar-10-batches-py", "cifar-10-binary.tar.gz"),
        (CIFAR100, "cifar-100-python", "cifar-100-binary.tar.gz"),
    ],
)
def test_pickles_are_not_read(kind, folder, archive, tmp_path):
    (tmp_path / folder).mkdir()
    with pytest.raises(
        FileNotFoundError, match=rf"{folder} has pickles, .* the binary version is https://.*/{archive}"
    ):
        kind(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz, .* in .*mnist or .*raw"):
        MNIST(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin\.gz, .* in .* or .*cifar-10-batches-bin"):
        CIFAR10(tmp_path / "nowhere")


def assert_refused(read, path, content, message="expected|damaged|more than"):
    """One clear error that names the file."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path.parent)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


LABELS = "train-labels-idx1-ubyte"
IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def mnist(pictures, tmp_path):
    put(tmp_path / IMAGES, idx(pictures[0]))
    put(tmp_path / LABELS, idx(pictures[1]))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LABELS, b"", "an empty file"),
        (LABELS, b"text, not numbers", "begins with 00000801, got 74657874"),
        (LABELS, idx(np.zeros(7), magic=0x0803), "got 00000803"),
        (LABELS, idx(np.zeros(7), magic=0x0D01), "got 00000d01"),
        (LABELS, idx(np.zeros(0)), r"expected the shape \[1…60000\], got \[0\]"),
        (LABELS, idx(np.array([3, 10])), "expected labels from 0 to 9, got 10"),
        (LABELS, idx(np.zeros(7), shape=(2**32 - 1,)), r"expected the shape \[1…60000\], got \[4294967295\]"),
        (LABELS, idx(np.zeros(7), shape=(6,)), "expected 6 bytes after the header, got more"),
        (LABELS, idx(np.zeros(7), shape=(9,)), "expected 9 bytes after the header, got 7"),
        (IMAGES, idx(np.zeros((6, 28, 28))), r"expected the shape \[7, 28, 28\], got \[6, 28, 28\]"),
        (IMAGES, idx(np.zeros((7, 28, 27))), r"expected the shape \[7, 28, 28\], got \[7, 28, 27\]"),
        (IMAGES, idx(np.zeros((7, 28))), "begins with 00000803, got 00000802"),
        (IMAGES, idx(np.zeros((6, 28, 28)), shape=(7, 28, 28)), "expected 5,488 bytes after the header, got 4,704"),
    ],
)
def test_wrong_idx_files(name, content, message, mnist):
    assert_refused(MNIST, mnist / name, content, message)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated_idx_files(pictures, suffix, tmp_path):
    for name, array in zip((IMAGES, LABELS), pictures, strict=True):
        put(tmp_path / (name + suffix), idx(array))
    for name in (IMAGES, LABELS):
        path = tmp_path / (name + suffix)
        content = path.read_bytes()
        for length in {*range(0, len(content), 97), *range(30), *range(len(content) - 30, len(content))}:
            if length < len(content):
                assert_refused(MNIST, path, content[:length])
        path.write_bytes(content)


def test_damaged_gzip_files(mnist, pictures):
    (mnist / LABELS).rename(mnist / "plain")
    content = gzip.compress((mnist / "plain").read_bytes())
    assert_refused(MNIST, mnist / f"{LABELS}.gz", (mnist / "plain").read_bytes(), "a damaged gzip file")
    harmless = 0  # the bits that fill up the last byte before the checksum say nothing
    for bit in range(80, 8 * len(content)):  # the ten bytes before are gzip's date and such
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (mnist / f"{LABELS}.gz").write_bytes(flipped)
        try:
            np.testing.assert_array_equal(MNIST(mnist).targets, pictures[1])
            harmless += 1
        except ValueError as error:
            assert str(error).startswith(f"{mnist / LABELS}.gz: ")
    assert harmless <= 7


@contextmanager
def little_memory(most=4 << 20):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_small_file_cannot_ask_for_much(suffix, tmp_path):
    put(tmp_path / f"{LABELS}{suffix}", idx(np.zeros(60_000)))
    put(tmp_path / f"{IMAGES}{suffix}", idx(np.zeros((1, 28, 28)), shape=(60_000, 28, 28)))  # promises 47 MB
    with little_memory(), pytest.raises(ValueError, match="expected 47,040,000 bytes after the header, got 784"):
        MNIST(tmp_path)


def test_bombs_do_not_go_off(mnist):
    (mnist / LABELS).unlink()
    for shape in ((60_000,), (50_000_000,)):
        put(mnist / f"{LABELS}.gz", idx(np.zeros(50_000_000, np.uint8), shape=shape))
        with little_memory(), pytest.raises(ValueError, match=r"60,000 bytes .* got more|expected the shape"):
            MNIST(mnist)
    put(mnist / "data_batch_1.bin.gz", bytes(3 * 3073 * 10_000))
    with little_memory(40 << 20), pytest.raises(ValueError, match="1 to 10,000 records of 3,073 bytes, got more"):
        CIFAR10(mnist)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_wrong_cifar_batches(records, suffix, tmp_path):
    path = tmp_path / f"data_batch_2.bin{suffix}"
    pack = gzip.compress if suffix else bytes
    for content in (b"", b"\0", records.tobytes()[:-1], records.tobytes() + b"\0"):
        assert_refused(CIFAR10, path, pack(content), "expected 1 to 10,000 records of 3,073 bytes, got")
    records[3, 0] = 11
    assert_refused(CIFAR10, path, pack(records.tobytes()), "expected labels from 0 to 9, got 11")


# ---- any bytes at all ----


@st.composite
def damaged(draw, content):
    """A file's content with some bits flipped, cut off or lengthened; or anything else."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=100))
    content = bytearray(content)
    for place in draw(st.lists(st.integers(0, 8 * len(content) - 1), max_size=4)):
        content[place // 8] ^= 1 << place % 8
    for place in draw(st.lists(st.integers(0, min(40, len(content) - 1)), max_size=3)):  # where headers are
        content[place] = draw(st.integers(0, 255))
    end = draw(st.one_of(st.none(), st.integers(0, len(content))))
    return bytes(content[:end]) + draw(st.binary(max_size=5))


LITTLE = np.random.default_rng(0)
SOUND = {
    LABELS: idx(LITTLE.integers(0, 10, 3)),
    IMAGES: idx(LITTLE.integers(0, 256, (3, 28, 28))),
    "data_batch_1.bin": bytes(3) + bytes([1] * 3070) + b"\t" + bytes(3072),
    "train.bin": bytes(3) + bytes([1] * 3071) + b"\x13\x63" + bytes(3072),
}
READERS = [(MNIST, LABELS), (MNIST, IMAGES), (CIFAR10, "data_batch_1.bin"), (CIFAR100, "train.bin")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("kind", "name"), READERS, ids=lambda x: getattr(x, "__name__", x))
def test_any_bytes_are_a_data_set_or_a_value_error(kind, name, zipped, folder):
    sound = gzip.compress(SOUND[name], mtime=0) if zipped else SOUND[name]
    for other, content in SOUND.items():
        put(folder / other, content)
    path = folder / name
    if zipped:
        path.unlink()
        path = folder / f"{name}.gz"

    @settings(max_examples=80)
    @given(damaged(sound))
    def check(content):
        path.write_bytes(content)
        with little_memory():
            try:
                dataset = kind(folder)
            except ValueError as error:
                # Fewer labels than there are pictures are what is wrong with the pictures.
                assert str(error).startswith((f"{path}: ", f"{folder / IMAGES}: ") if name == LABELS else f"{path}: ")
                assert "\n" not in str(error)
            else:
                assert len(dataset) == len(dataset.targets) > 0
                assert dataset.targets.min() >= 0 and dataset.targets.max() < len(dataset.classes)

    try:
        check()
    finally:
        path.unlink()


# ---- points ----


def test_polynomial():
    x = np.linspace(0, 1, 11)
    features, targets = polynomial(4, 11, 0)
    assert features.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(features, np.stack([x**k for k in range(5)], 1), atol=1e-7)
    np.testing.assert_allclose(targets, np.sin(2 * np.pi * x)[:, None], atol=1e-7)
    features, noisy = polynomial(0, 10_000, 0.5)
    assert (features == 1).all() and features.shape == (10_000, 1)
    residue = noisy - polynomial(0, 10_000, 0)[1]
    assert abs(residue.mean()) < 0.02 and abs(residue.std() - 0.5) < 0.02


def test_ten_points_are_few_for_order_9():
    """The lecture's example: the curve goes through all points, and away from the sine between them."""
    batten.manual_seed(3)
    curve, truth = polynomial(9, 200, noise=0)

    def errors(order, n):
        features, targets = (x.astype(np.float64) for x in polynomial(order, n))
        weights = np.linalg.lstsq(features, targets, rcond=None)[0]
        apart = features @ weights - targets, curve[:, : order + 1] @ weights - truth
        return [np.sqrt((x**2).mean()) for x in apart]

    assert errors(9, 10)[0] < 1e-3 and errors(9, 10)[1] > 0.2
    assert errors(3, 10)[0] > 0.05 and errors(9, 1000)[1] < 0.05


def test_two_moons():
    points, labels = two_moons(501, 0)
    assert points.dtype == np.float32 and labels.dtype == np.int64 and labels.sum() == 250
    outer, inner = points[labels == 0], points[labels == 1]
    np.testing.assert_allclose(np.hypot(*outer.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(inner - [1, 0.5]).T), 1, atol=1e-6)
    assert outer[:, 1].min() > -1e-6 and inner[:, 1].max() < 0.5 + 1e-6
    assert outer[:, 0].min() < -0.9 and inner[:, 0].max() > 1.9


def test_spirals():
    points, labels = spirals(300, 3, 0, turns=0.75)
    assert points.dtype == np.float32 and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [100, 100, 100]
    radius = np.hypot(*points.T)
    assert radius.max() < 1 and radius.min() < 0.05
    angle = 2 * np.pi * (0.75 * radius + labels / 3)
    np.testing.assert_allclose(points, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-5)


@pytest.mark.parametrize("draw", [lambda **g: polynomial(3, **g), two_moons, spirals])
def test_points_come_from_batten_s_random_numbers(draw, threads):
    batten.manual_seed(5)
    first = draw()
    assert not np.array_equal(draw()[0], first[0]) or not np.array_equal(draw()[1], first[1])
    for count in (1, 2, 3):
        threads(count)
        batten.manual_seed(5)
        for a, b in zip(draw(), first, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(draw(generator=batten.Generator().manual_seed(5)), first, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(len(x) == 0 for x in draw(n=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: polynomial(-1), "polynomial expects order >= 0, got -1"),
        (lambda: polynomial(3, noise=-0.1), "polynomial expects noise >= 0, got -0.1"),
        (lambda: two_moons(-2), "two_moons expects n >= 0, got -2"),
        (lambda: spirals(noise=float("nan")), "spirals expects noise >= 0, got nan"),
        (lambda: spirals(classes=0), "spirals expects at least one class, got 0"),
    ],
)
def test_points_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_orders_and_classes_are_whole_numbers():
    for call in (lambda: polynomial(2.5), lambda: spirals(10, classes=2.5), lambda: two_moons(2.5)):
        with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
            call()

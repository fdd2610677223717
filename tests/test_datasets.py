"""Data sets: files in all the places and forms they come in, and damaged ones."""

from __future__ import annotations

import builtins
import gzip
import re
import struct

import numpy as np
import pytest

from batten.datasets import CIFAR10, MNIST, digits


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
    assert train.classes[0] == "airplane" and len(train.classes) == 10


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz in .*mnist or .*raw"):
        MNIST(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin\.gz in .* or .*cifar-10-batches-bin"):
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
        (LABELS, idx(np.zeros(0)), "expected labels, got none"),
        (LABELS, idx(np.array([3, 10])), "expected labels from 0 to 9, got 10"),
        (LABELS, idx(np.zeros(7), shape=(2**32 - 1,)), "promises 4,294,967,295 bytes, more than the file can hold"),
        (LABELS, idx(np.zeros(7), shape=(6,)), "expected 6 bytes after the header, got more"),
        (LABELS, idx(np.zeros(7), shape=(9,)), "expected 9 bytes after the header, got 7"),
        (IMAGES, idx(np.zeros((6, 28, 28))), r"expected the shape \[7, 28, 28\], got \[6, 28, 28\]"),
        (IMAGES, idx(np.zeros((7, 28, 27))), r"expected the shape \[7, 28, 28\], got \[7, 28, 27\]"),
        (IMAGES, idx(np.zeros((7, 28))), "begins with 00000803, got 00000802"),
        (IMAGES, idx(np.zeros((6, 28, 28)), shape=(7, 28, 28)), "promises 5,488 bytes, more than the file can hold"),
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


def test_a_small_file_cannot_ask_for_much(mnist):
    (mnist / LABELS).unlink()
    bomb = gzip.compress(idx(np.zeros(1000), shape=(2**31,)))
    assert_refused(MNIST, mnist / f"{LABELS}.gz", bomb, "promises 2,147,483,648 bytes, more than the file can hold")
    bomb = gzip.compress(bytes(3073 * 10_001))
    assert_refused(
        CIFAR10, mnist / "data_batch_1.bin.gz", bomb, "expected 1 to 10,000 records of 3,073 bytes, got more"
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_wrong_cifar_batches(records, suffix, tmp_path):
    path = tmp_path / f"data_batch_2.bin{suffix}"
    pack = gzip.compress if suffix else bytes
    for content in (b"", b"\0", records.tobytes()[:-1], records.tobytes() + b"\0"):
        assert_refused(CIFAR10, path, pack(content), "expected 1 to 10,000 records of 3,073 bytes, got")
    records[3, 0] = 11
    assert_refused(CIFAR10, path, pack(records.tobytes()), "expected labels from 0 to 9, got 11")

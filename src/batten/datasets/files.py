"""The files of pictures: where they are, and what is in them.

A file may be damaged, cut short, or made to do harm.  Whatever it is, reading it gives arrays, or a ValueError of one
line that begins with the file's name.  It is read in pieces, so that what its header promises takes no memory before
it is there, and never further than the largest such file goes, so that a gzip bomb does not go off.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

__all__: list[str] = []

PIECE = 1 << 20


def look(root: str | os.PathLike[str], folders: Sequence[str], name: str) -> Path | None:
    """The file of this name, plain or gzipped, in the first folder that has it."""
    candidates = [Path(root, folder, name + suffix) for folder in folders for suffix in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def find(root: str | os.PathLike[str], folders: Sequence[str], name: str) -> Path:
    if path := look(root, folders, name):
        return path
    places = " or ".join(str(Path(root, folder)) for folder in folders)
    raise FileNotFoundError(f"found neither {name} nor {name}.gz, which download=True fetches, in {places}")


@contextmanager
def contents(path: Path) -> Iterator[BinaryIO]:
    """A file, unzipped as it is read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: a damaged gzip file ({error})") from None


def read(file: BinaryIO, size: int) -> bytearray:
    """The next bytes of a file, or those that it has if they are fewer."""
    body = bytearray()
    while len(body) < size and (piece := file.read(min(PIECE, size - len(body)))):
        body += piece
    return body


def read_idx(path: Path, shape: Sequence[Sequence[int]]) -> np.ndarray:
    """The bytes of an IDX file; `shape` has, for each axis, the sizes that it may have.

    The file is a magic number (0, 0, type, number of axes) and the sizes, all big-endian,
    and then the elements in C order.
    """
    rank = len(shape)
    with contents(path) as file:
        header = file.read(4 + 4 * rank)
        if len(header) < 4 + 4 * rank or header[:4] != bytes([0, 0, 8, rank]):
            raise ValueError(
                f"{path}: expected an IDX file of bytes with {rank} axes, which begins with 0000080{rank}, "
                f"got {header[:4].hex() or 'an empty file'}"
            )
        got = struct.unpack_from(f">{rank}I", header, 4)
        if any(size not in sizes for size, sizes in zip(got, shape, strict=True)):
            wanted = ", ".join(str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}…{sizes[-1]}" for sizes in shape)
            raise ValueError(f"{path}: expected the shape [{wanted}], got {list(got)}")
        size = math.prod(got)
        body = read(file, size + 1)  # one more shows whether there is more, and has gzip check its sum
    if len(body) != size:
        raise ValueError(
            f"{path}: expected {size:,} bytes after the header, got {'more' if len(body) > size else f'{len(body):,}'}"
        )
    return np.frombuffer(body, np.uint8).reshape(got)


def read_cifar(path: Path, most: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures (n, 3, 32, 32) and labels (n, labels) of a batch of at most so many records.

    A record is its labels, a byte each, and the bytes of its picture.
    """
    record = labels + 3 * 32 * 32
    with contents(path) as file:
        body = read(file, record * most + 1)
    if not 0 < len(body) <= record * most or len(body) % record:
        got = "more" if len(body) > record * most else f"{len(body):,} bytes"
        raise ValueError(f"{path}: expected 1 to {most:,} records of {record:,} bytes, got {got}")
    records = np.frombuffer(body, np.uint8).reshape(-1, record)
    return records[:, labels:].reshape(-1, 3, 32, 32), records[:, :labels].copy()  # not to keep the pictures alive


def check_labels(path: Path, labels: np.ndarray, classes: Sequence[str]) -> None:
    if labels.max() >= len(classes):
        raise ValueError(f"{path}: expected labels from 0 to {len(classes) - 1}, got {labels.max()}")

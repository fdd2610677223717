"""Files from the internet, fetched by pooch, which is imported only when somebody asks for one.

A file comes from the first mirror that has it as it should be: what has another MD5 sum is thrown away.  The sums are
those that torchvision has for MNIST and its like, and that CIFAR's own page has for its archives.  A file is put into
its place as a whole.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..serialization import write

__all__: list[str] = []


def fetch(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> None:
    """Puts a file into a folder."""
    with downloaded(name, md5, mirrors, folder) as path:
        write(folder / name, path.read_bytes())


def fetch_members(archive: str, md5: str, mirrors: Sequence[str], folder: Path, names: Collection[str]) -> None:
    """Puts the files of these names, which lie in a folder of the same name in an archive, into a folder.

    They are read from the archive, and written where they belong: what it says of places, links or modes is not heeded.
    """
    wanted = {f"{folder.name}/{name}": folder / name for name in names}
    with downloaded(archive, md5, mirrors, folder) as path, tarfile.open(path) as members:
        for member in members:
            if member.name in wanted and member.isfile():
                with members.extractfile(member) as file:  # type: ignore[union-attr]
                    write(wanted[member.name], file.read())


@contextmanager
def downloaded(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> Iterator[Path]:
    """A file from one of the mirrors, which is inside of a folder for as long as it is used."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".batten-", dir=folder) as place:
        yield retrieve(name, md5, mirrors, place)


def retrieve(name: str, md5: str, mirrors: Sequence[str], place: str) -> Path:
    try:
        import pooch
    except ImportError:
        message = "download=True takes pooch, which is not installed: pip install 'batten[download]'"
        raise ModuleNotFoundError(message) from None
    failures = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + name, f"md5:{md5}", name, place, progressbar=True))
        except (OSError, ValueError) as error:  # no answer, or the wrong one
            failures.append(f"{mirror}: {error}")
    raise OSError(f"could not download {name}: {'; '.join(failures)}")

"""Files that are fetched: from servers on this machine, which may be down, or have other things than expected."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import stat
import struct
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from batten.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, FashionMNIST, download

pooch = pytest.importorskip("pooch")


class Server:
    """What lies in `folder`, at `url`; `asked` has the names of what it was asked for."""

    def __init__(self, folder):
        self.folder, self.asked = folder, asked = folder, []
        folder.mkdir()

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=folder)

            def log_message(self, *_):
                asked.append(self.path[1:])

            def log_error(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """A function that starts one more."""
    monkeypatch.setenv("NO_PROXY", "*")
    started = []

    def start():
        started.append(Server(tmp_path / f"server{len(started)}"))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def mnist(rng):
    """The four files, as they are on a server."""
    files = {}
    for part, count in (("train", 5), ("t10k", 3)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8)
        files[f"{part}-images-idx3-ubyte.gz"] = struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes()
        files[f"{part}-labels-idx1-ubyte.gz"] = struct.pack(">2I", 0x801, count) + labels.tobytes()
    return {name: gzip.compress(content) for name, content in files.items()}


def offer(server, files):
    for name, content in files.items():
        (server.folder / name).write_bytes(content)


def expect(monkeypatch, kind, files, *mirrors):
    """Tells a data set which files it is to find where."""
    monkeypatch.setattr(kind, "mirrors", mirrors)
    monkeypatch.setattr(kind, "resources", [(name.removesuffix(".gz"), md5(files[name])) for name in files])


def names(folder):
    """All that is in a folder, and hidden things in it."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
def test_what_is_missing_is_fetched_once(kind, mnist, servers, monkeypatch, tmp_path):
    server, root = servers(), tmp_path / "data"
    offer(server, mnist)
    expect(monkeypatch, kind, mnist, server.url)
    with pytest.raises(FileNotFoundError, match="which download=True fetches"):
        kind(root)
    assert len(kind(root, download=True)) == 5 and server.asked == list(mnist)
    raw = root / kind.__name__ / "raw"
    assert names(root) == sorted(f"{kind.__name__}/raw/{name}" for name in mnist) and len(os.listdir(raw)) == 4
    assert all((raw / name).read_bytes() == content for name, content in mnist.items())
    assert len(kind(root, train=False)) == 3
    monkeypatch.setitem(sys.modules, "pooch", None)  # nor is it asked for, where nothing is missing
    assert len(kind(root, train=False, download=True)) == 3 and len(server.asked) == 4


def test_files_that_are_there_stay(mnist, servers, monkeypatch, tmp_path):
    """Wherever they are, plain or gzipped, and even if they are not those that would be fetched."""
    server = servers()
    offer(server, mnist)
    expect(monkeypatch, MNIST, mnist, server.url)
    own = struct.pack(">2I", 0x801, 5) + bytes(5)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(own)
    assert MNIST(tmp_path, download=True).targets.tolist() == [0] * 5
    assert (tmp_path / "train-labels-idx1-ubyte").read_bytes() == own
    assert server.asked == [name for name in mnist if not name.startswith("train-labels")]


def test_the_next_mirror_is_asked(mnist, servers, monkeypatch, tmp_path):
    down, without, wrong, right = servers(), servers(), servers(), servers()
    down.stop()
    offer(wrong, dict.fromkeys(mnist, b"<html>not here</html>"))
    offer(right, mnist)
    expect(monkeypatch, MNIST, mnist, down.url, without.url, wrong.url, right.url)
    assert len(MNIST(tmp_path / "data", download=True)) == 5
    assert without.asked == wrong.asked == right.asked == list(mnist)


def test_what_is_wrong_everywhere_is_not_kept(mnist, servers, monkeypatch, tmp_path):
    without, wrong = servers(), servers()
    offer(wrong, mnist)
    expect(monkeypatch, MNIST, mnist, without.url, wrong.url)
    (wrong.folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"changed")
    with pytest.raises(OSError, match=r"could not download t10k-images-idx3-ubyte.gz: ") as caught:
        MNIST(tmp_path / "data", download=True)
    message = str(caught.value)
    assert f"{without.url}: 404" in message and f"{wrong.url}: MD5 hash" in message and "\n" not in message
    assert sorted(os.listdir(tmp_path / "data" / "MNIST" / "raw")) == list(mnist)[:2]


@pytest.mark.parametrize("kind", [MNIST, CIFAR10])
def test_without_pooch(kind, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'batten[download]'")):
        kind(tmp_path, download=True)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_download_leaves_nothing(interrupt, monkeypatch, tmp_path):
    def retrieve(url, known_hash, fname, path, progressbar):
        Path(path, fname).write_bytes(b"half of i")
        raise interrupt

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for kind in (MNIST, CIFAR10):
        with pytest.raises(interrupt):
            kind(tmp_path, download=True)
    assert names(tmp_path) == []


def test_a_full_disk_is_not_the_mirror_s_fault(mnist, servers, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    server = servers()
    offer(server, mnist)
    expect(monkeypatch, MNIST, mnist, server.url, server.url)
    monkeypatch.setattr(download, "write", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        MNIST(tmp_path / "data", download=True)
    assert "could not download" not in str(caught.value) and len(server.asked) == 1
    assert names(tmp_path / "data") == []


def test_others_may_read_what_was_fetched(mnist, servers, monkeypatch, tmp_path):
    server = servers()
    offer(server, mnist)
    expect(monkeypatch, MNIST, mnist, server.url)
    before = os.umask(0o022)
    try:
        MNIST(tmp_path / "data", download=True)
    finally:
        os.umask(before)
    for name in mnist:
        assert stat.S_IMODE((tmp_path / "data" / "MNIST" / "raw" / name).stat().st_mode) == 0o644


def archive(folder, files, strange=()):
    """A .tar.gz of files in a folder, and of members that nobody should unpack."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as members:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
        for member in strange:
            members.addfile(member)
    return memory.getvalue()


def strange_members(folder):
    for name, kind in (
        ("../../outside.bin", tarfile.REGTYPE),
        ("/outside.bin", tarfile.REGTYPE),
        ("../../test_batch.bin", tarfile.REGTYPE),
        ("x/train.bin", tarfile.REGTYPE),
        (f"{folder}/test_batch.bin", tarfile.SYMTYPE),
        (f"{folder}/test.bin", tarfile.LNKTYPE),
        (f"{folder}/train.bin", tarfile.FIFOTYPE),
        (f"{folder}/test.bin", tarfile.DIRTYPE),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        yield member


@pytest.mark.parametrize(("kind", "labels"), [(CIFAR10, 1), (CIFAR100, 2)])
def test_an_archive_gives_only_its_batches(kind, labels, servers, monkeypatch, tmp_path):
    server, root, folder = servers(), tmp_path / "data", kind.folders[-1]
    wanted = [*kind.files[True], *kind.files[False]]
    files = {name: bytes([i] * labels) + bytes(3072) for i, name in enumerate(wanted)}
    content = archive(folder, {"readme.html": b"<html>", **files, "batches.meta.txt": b"cat"}, strange_members(folder))
    offer(server, {kind.archive: content})
    monkeypatch.setattr(kind, "mirrors", [server.url])
    monkeypatch.setattr(kind, "md5", md5(content))
    assert kind(root, download=True).targets.tolist() == list(range(len(kind.files[True])))
    assert names(root) == sorted(f"{folder}/{name}" for name in wanted)
    assert sorted(os.listdir(root / folder)) == sorted(wanted) and os.listdir(root) == [folder]
    assert kind(root, train=False, download=True).targets.tolist() == [len(wanted) - 1]
    assert server.asked == [kind.archive]
    # One that is there is left alone; one that is not is fetched.
    (root / folder / wanted[0]).write_bytes(bytes([7] * labels) + bytes(3072))
    (root / folder / wanted[-1]).unlink()
    assert kind(root, download=True).targets.tolist()[0] == 7
    assert len(kind(root, train=False)) == 1 and len(server.asked) == 2


def test_another_archive_is_not_opened(servers, monkeypatch, tmp_path):
    server = servers()
    offer(server, {CIFAR10.archive: archive("cifar-10-batches-bin", {"test_batch.bin": bytes(3073)})})
    monkeypatch.setattr(CIFAR10, "mirrors", [server.url])
    with pytest.raises(OSError, match=rf"could not download {CIFAR10.archive}: .*{CIFAR10.md5}"):
        CIFAR10(tmp_path / "data", train=False, download=True)
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100])
def test_what_is_asked_for(kind, monkeypatch, tmp_path):
    """The names, sums and places, as far as they can be told without a network."""
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append(url)
        assert re.fullmatch("md5:[0-9a-f]{32}", known_hash)
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=r"could not download .*: no network; http.*: no network$"):
        kind(tmp_path, download=True)
    assert len(asked) == len(kind.mirrors) >= 2
    assert all(re.fullmatch(r"https?://[a-z0-9.-]+/(\S+/)?\S+\.gz", url) for url in asked)

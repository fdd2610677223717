"""save and load: everything comes back, damage is found, and a failed save changes nothing."""

from __future__ import annotations

import builtins
import errno
import itertools
import json
import os
import random
import stat
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import batten
from batten.autograd import Variable

ARRAY_DTYPES = ["float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64"]
ARRAY_DTYPES += ["uint8", "uint16", "uint32", "uint64"]


def assert_same(a, b):
    """Equal in type and value all the way down, with floats equal bit for bit."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b) and [type(key) for key in a] == [type(key) for key in b]
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, Variable | np.ndarray):
        a, b = (x.array if isinstance(x, Variable) else x for x in (a, b))
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, float):
        assert repr(a) == repr(b)
    else:
        assert a == b


def round_trip(obj, path):
    batten.save(obj, path)
    return batten.load(path)


@pytest.mark.parametrize(
    "obj",
    [
        None, True, False, 0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**5000, -(7**9000),
        0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"),
        "", "text", "naïve \U0001d6fc \0 \" \\ \ud800", {}, [], (), [[]], ((),), {"": {}}, [None, (1, 2.0, "3")],
        {"int": 1}, {"float": "0x1p0"}, {"tensor": "x"}, {"dict": []}, {1: "one", "1": "string", -5: None},
        {"__metadata__": 1, "batten": {"format": 2}}, {2**63: 0, -(2**63) - 1: 1, 10**1000: 2},
    ],
    ids=lambda obj: type(obj).__name__,
)  # fmt: skip
def test_plain_objects(obj, tmp_path):
    assert_same(round_trip(obj, tmp_path / "file"), obj)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 1, 5)], ids=str)
@pytest.mark.parametrize("name", ARRAY_DTYPES)
def test_arrays(name, shape, rng, tmp_path):
    x = np.asarray(rng.integers(0, 2, shape) if name == "bool" else rng.integers(0, 100, shape)).astype(name)
    loaded = round_trip({"x": x, "alone": [x]}, tmp_path / "file")
    assert_same(loaded, {"x": x, "alone": [x]})
    assert loaded["x"].flags.writeable and loaded["x"].flags.aligned


def test_special_floats_in_arrays(dtype, tmp_path):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324], dtype)
    assert_same(round_trip(x, tmp_path / "file"), x)


def test_tensors(tmp_path):
    obj = {
        "model": {"0.weight": batten.tensor([[1.0, 2.0]]), "0.bias": batten.tensor([3.0])},
        "optimizer": {"state": {0: {"step": batten.tensor(4.0), "exp_avg": batten.tensor([[0.5, 0.25]])}}},
        "groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1]}],
    }
    assert_same(round_trip(obj, tmp_path / "file"), obj)
    assert_same(round_trip(batten.tensor([1.0]), tmp_path / "file"), batten.tensor([1.0]))


def test_a_loaded_tensor_is_a_leaf_without_gradient(tmp_path):
    loaded = round_trip(batten.tensor([1.0], requires_grad=True), tmp_path / "file")
    assert not loaded.requires_grad and loaded.creator is None


@pytest.mark.parametrize(
    "view",
    [lambda x: x.T, lambda x: x[::2, ::-1], lambda x: np.broadcast_to(x[:1], (5, 6)), lambda x: x.transpose(1, 0)[1]],
)
def test_any_strides(view, rng, tmp_path):
    x = view(rng.standard_normal((4, 6)))
    assert_same(round_trip([x, batten.autograd.wrap(x)], tmp_path / "file"), [x, batten.autograd.wrap(x)])


def test_names_that_meet(tmp_path):
    one, two = np.array([1.0]), np.array([2.0])
    for obj in ({"a.b": one, "a": {"b": two}}, {"a": [one], "a[0]": two}, {"": one, "tensor": two}):
        assert_same(round_trip(obj, tmp_path / "file"), obj)
    for key in ("__metadata__", "\ud800", "naïve", "", "a b\n"):
        assert_same(round_trip({key: one}, tmp_path / "file"), {key: one})


def test_subclasses_of_dict_come_back_as_dicts(tmp_path):
    assert_same(round_trip(OrderedDict(b=1, a=2), tmp_path / "file"), {"b": 1, "a": 2})


def random_object(random, depth=0):
    """An object of everything that can be saved."""
    if depth < 3 and random.random() < 0.6:
        items = [random_object(random, depth + 1) for _ in range(random.randrange(4))]
        keys = random.sample(["a", "b.c", "", "é", "[0]", "__metadata__", 0, -3, 2**70], len(items))
        return random.choice([items, tuple(items), dict(zip(keys, items, strict=True))])
    shape = random.choices(range(4), k=random.randrange(4))
    array = np.frombuffer(random.randbytes(8 * int(np.prod(shape))), np.int64).reshape(shape)
    number = struct.unpack("<d", random.randbytes(8))[0]
    return random.choice([None, True, "text", random.getrandbits(90), number, array, batten.autograd.wrap(array)])


def test_random_objects(tmp_path):
    for seed in range(200):
        obj = random_object(random.Random(seed))
        assert_same(round_trip(obj, tmp_path / "file"), obj)


def test_the_same_object_is_the_same_file(tmp_path):
    for name in "ab":
        batten.save({"y": np.arange(3), "x": batten.tensor([1.0]), "n": 3}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- what cannot be saved ----


class Point(tuple):
    __slots__ = ()


holds_itself: list = []
holds_itself.append(holds_itself)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (object(), "at the top: cannot save a object"),
        ({"model": {"layers": [0, 1, 2, {1}]}}, r"at model\.layers\[3\]: cannot save a set"),
        ([({3: b"bytes"},)], r"at \[0\]\[0\]\[3\]: cannot save a bytes"),
        ({"lr": np.float64(0.1)}, "at lr: cannot save a float64"),
        ({"z": 1j}, "at z: cannot save a complex"),
        ({"p": Point((1, 2))}, "at p: cannot save a Point"),
        ({"a": {1.5: 0}}, "at a: cannot save a dict whose keys are not strings or ints but float"),
        ({True: 0}, "at the top: cannot save a dict whose keys are not strings or ints but bool"),
        ({"x": np.array(["text"])}, "at x: cannot save an array of <U4"),
        ({"x": np.array([None])}, "at x: cannot save an array of object"),
        ({"x": np.zeros(2, ">f4")}, "at x: cannot save an array of >f4"),
        ({"x": np.zeros(2, complex)}, "at x: cannot save an array of complex128"),
        ({"x": np.ma.zeros(2)}, "at x: cannot save a MaskedArray"),
    ],
)
def test_what_cannot_be_saved(obj, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        batten.save(obj, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_an_object_that_holds_itself(tmp_path):
    with pytest.raises(ValueError, match="nested more than 100 deep; does the object hold itself"):
        batten.save({"a": holds_itself}, tmp_path / "file")
    assert not list(tmp_path.iterdir())


# ---- other people's files ----


def test_others_read_a_state_dict(tmp_path):
    batten.save(
        {"0.weight": batten.tensor([[1.0, 2.0]]), "0.bias": batten.tensor([3.0])}, tmp_path / "model.safetensors"
    )
    loaded = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert {name: x.tolist() for name, x in loaded.items()} == {"0.weight": [[1.0, 2.0]], "0.bias": [3.0]}


def test_the_package_reads_what_we_write_and_we_what_it_writes(tmp_path):
    obj = {f"{name} {shape}": np.ones(shape, name) for name in ARRAY_DTYPES for shape in ((), (0, 2), (3,), (2, 3))}
    obj |= {'naïve \U0001d6fc \0 " \\': np.arange(3), "": np.arange(2), "__metadata__": np.arange(1)}
    path, copy = tmp_path / "file", tmp_path / "copy"
    batten.save(obj, path)
    theirs = safetensors.numpy.load_file(path)
    assert_same(theirs.pop("__metadata__'"), obj["__metadata__"])
    theirs["tensor"], renamed = theirs.pop("tensor"), obj | {"tensor": obj[""]}  # a path that is empty has this name
    assert_same(dict(sorted(theirs.items())), {name: renamed[name] for name in sorted(theirs)})

    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), copy, header["__metadata__"])
    assert_same(batten.load(copy), obj)

    floats = {"w": np.ones((2, 3), np.float32), "": np.arange(2)}
    safetensors.numpy.save_file(floats, copy)
    loaded = batten.load(copy)
    assert_same({name: x.numpy() for name, x in loaded.items()}, dict(sorted(floats.items())))


def test_torchs_files(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    save_file({"b": torch.tensor([[1.5, 2.0]]), "a": torch.tensor(3)}, tmp_path / "torch", {"format": "pt"})
    assert_same(
        batten.load(tmp_path / "torch"),
        {"a": batten.autograd.wrap(np.array(3)), "b": batten.autograd.wrap(np.array([[1.5, 2.0]], np.float32))},
    )
    batten.save({"x": batten.tensor([1.0, 2.0])}, tmp_path / "ours")
    assert load_file(tmp_path / "ours")["x"].tolist() == [1.0, 2.0]
    for dtype in (torch.bfloat16, torch.float16):
        save_file({"half": torch.zeros(2, dtype=dtype)}, tmp_path / "torch")
        with pytest.raises(ValueError, match="torch: tensor 'half' has the type"):
            batten.load(tmp_path / "torch")


# ---- damage ----


def small_file(path):
    obj = {"epoch": 3, "lr": 0.1, "weights": [batten.tensor([1.0, 2.0]), np.array(7)], "flag": np.array(True)}
    batten.save(obj, path)
    return path.read_bytes()


def assert_refused(path, content):
    path.unlink()  # some file systems wait for the disk when a file is cut to be written again
    path.write_bytes(content)
    with pytest.raises(batten.CheckpointError, match=r"^cannot load ") as caught:
        batten.load(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1000


def test_truncated_anywhere(tmp_path):
    content = small_file(tmp_path / "file")
    for length in range(len(content)):
        assert_refused(tmp_path / "file", content[:length])
    assert_refused(tmp_path / "file", content + b"\0")


def test_any_bit_flipped(tmp_path):
    content = small_file(tmp_path / "file")
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            assert_refused(tmp_path / "file", flipped)


def test_parts_of_a_file_exchanged(tmp_path):
    content = small_file(tmp_path / "file")
    chooser = random.Random(0)
    for _ in range(300):
        a, b = sorted(chooser.sample(range(len(content) - 8), 2))
        changed = bytearray(content)
        changed[a : a + 8], changed[b : b + 8] = content[b : b + 8], content[a : a + 8]
        if changed != content:
            assert_refused(tmp_path / "file", changed)


def test_random_bytes_after_a_plausible_start(tmp_path):
    content = small_file(tmp_path / "file")
    chooser = random.Random(1)
    for _ in range(300):
        keep = chooser.randrange(len(content))
        assert_refused(tmp_path / "file", content[:keep] + chooser.randbytes(len(content) - keep))


def test_a_name_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        batten.load(tmp_path / "nothing")


# ---- writing ----


@pytest.mark.parametrize("name", ["plain", "model.safetensors", "long" * 60])
def test_kinds_of_paths(name, tmp_path, monkeypatch):
    batten.save(1, tmp_path / name)
    batten.save(2, str(tmp_path / name))
    assert batten.load(tmp_path / name) == 2
    monkeypatch.chdir(tmp_path)
    batten.save(3, name)
    assert batten.load(name) == 3
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("failing", ["mkdir", "open", "chmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_save_leaves_the_old_file(failing, error, tmp_path, monkeypatch):
    batten.save("old", tmp_path / "file")

    def fail(*args):
        raise error("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(builtins if failing == "open" else os, failing, fail)
        with pytest.raises(error):
            batten.save("new", tmp_path / "file")
    assert batten.load(tmp_path / "file") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="needs limits of a process")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    """As far as a process can tell: its writes fail after so many bytes, in the header or in a tensor."""
    import resource

    obj = {"large": np.zeros(100_000), "small": 1}
    batten.save("old", tmp_path / "file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 8192, 100_000, 799_999):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                batten.save(obj, tmp_path / "file")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert batten.load(tmp_path / "file") == "old", room
        assert [p.name for p in tmp_path.iterdir()] == ["file"]


KILLED = """
import os, random, resource, signal, sys, time
import numpy as np
import batten

path, seed = sys.argv[1], int(sys.argv[2])
versions = [{"version": i, "large": np.full(100_000 + i, i), "small": [np.full(3, i)] * 50} for i in range(8)]

def save_and_say(w):
    for i in range(1_000_000):
        batten.save(versions[i % 8], path)
        if i == 0:
            os.write(w, b".")

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at(module, name, call):
    whole, calls = getattr(module, name), iter(range(call))
    setattr(module, name, lambda *args, **options: whole(*args, **options) if next(calls, None) is not None else die())

def die_after(room):
    # In the middle of a write, after so many bytes of a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

def killed(run):
    r, w = os.pipe()
    child = os.fork()
    if not child:
        try:
            run(w)
        finally:
            os._exit(1)
    os.close(w)
    os.read(r, 1)
    os.close(r)
    time.sleep(chooser.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) in (signal.SIGKILL, signal.SIGXFSZ)
    found = batten.load(path)
    version = versions[found["version"]]
    assert found.keys() == version.keys()
    assert np.array_equal(found["large"], version["large"]) and np.array_equal(found["small"], version["small"])

chooser = random.Random(seed)
for _ in range(20):
    killed(save_and_say)
for name, calls in (("mkdir", 1), ("chmod", 1), ("fsync", 2), ("replace", 1), ("rmdir", 1)):
    for call in range(calls):
        killed(lambda w: (die_at(os, name, call), save_and_say(w)))
for room in (0, 1, 5000, 8192, 10_000, 100_000, 800_000):
    killed(lambda w: (die_after(room), save_and_say(w)))
print(len(os.listdir(os.path.dirname(path))))
with batten.serialization.workplace(os.path.dirname(path)) as place:
    batten.serialization.tidy(os.path.dirname(path))
    assert sorted(os.listdir(os.path.dirname(path))) == [os.path.basename(place), os.path.basename(path)]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_save_leaves_a_whole_file(tmp_path):
    """Processes that save all the time are killed at twenty random moments, and in each step of a save.

    What they leave can be told from what others are at.
    """
    command = [sys.executable, "-c", KILLED, str(tmp_path / "file"), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, "hardly any was killed in the middle of a save"


def test_many_write_at_the_same_time(tmp_path):
    path, found = tmp_path / "file", []
    versions = [{"version": i, "x": np.full(10_000 + i, i)} for i in range(4)]
    batten.save(versions[0], path)

    def save_often(version):
        for _ in range(10):
            batten.save(version, path)

    writers = [threading.Thread(target=save_often, args=(version,)) for version in versions]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found.append(batten.load(path))
    for obj in [*found, batten.load(path)]:
        assert_same(obj, versions[obj["version"]])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        status = os.fstat(descriptor)
        calls.append(("fsync", stat.S_ISDIR(status.st_mode) or status.st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b))[1])
    batten.save(1, tmp_path / "file")
    assert calls == [("fsync", (tmp_path / "file").stat().st_size), "replace", ("fsync", True)]


def test_a_file_that_someone_has_open_for_a_moment(tmp_path, monkeypatch):
    """Windows refuses to replace it; one that is open for good is left as it was."""
    batten.save("old", tmp_path / "file")
    replace, refused = os.replace, []

    def refuse(a, b):
        refused.append(a)
        if len(refused) != 4:
            raise PermissionError(errno.EACCES, "Access is denied", b)
        replace(a, b)

    monkeypatch.setattr(os, "replace", refuse)
    batten.save("new", tmp_path / "file")
    assert len(refused) == 4 and batten.load(tmp_path / "file") == "new"
    clock = itertools.count(step=0.3)
    monkeypatch.setattr(batten.serialization.time, "monotonic", lambda: next(clock))
    with pytest.raises(PermissionError):
        batten.save("newer", tmp_path / "file")
    assert len(refused) == 8 and batten.load(tmp_path / "file") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_place_that_is_tidied_up_before_it_is_locked(tmp_path, monkeypatch):
    lock, came = batten.serialization.locked, []

    def late(place):
        came.append(place)
        if len(came) == 1:
            os.rmdir(place)
        if len(came) == 2:
            raise BlockingIOError("someone is just about to remove it")
        return lock(place)

    monkeypatch.setattr(batten.serialization, "locked", late)
    batten.save(1, tmp_path / "file")
    assert len(came) == 3 and batten.load(tmp_path / "file") == 1


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def flock(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(batten.serialization.fcntl, "flock", flock)
    batten.save(1, tmp_path / "file")
    with batten.serialization.workplace(str(tmp_path)) as place:
        batten.serialization.tidy(tmp_path)
        assert os.path.isdir(place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folders_that_cannot_be_synced(tmp_path, monkeypatch):
    """As where a folder cannot even be opened; then it has no locks, either."""
    whole = os.open
    monkeypatch.setattr(os, "open", lambda path, *args: fail() if os.path.isdir(path) else whole(path, *args))

    def fail():
        raise PermissionError("a folder")

    batten.save(1, tmp_path / "file")
    assert batten.load(tmp_path / "file") == 1


def test_headers_that_would_not_be_read_again(tmp_path):
    batten.save("old", tmp_path / "file")
    with pytest.raises(OSError, match="header too large"):
        batten.save("x" * 100_000_000, tmp_path / "file")
    assert batten.load(tmp_path / "file") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_elements_are_aligned(tmp_path):
    """Those who map a file into memory use its tensors where they lie."""
    obj = {str(i): np.zeros(i, dtype) for i, dtype in enumerate(ARRAY_DTYPES * 2)}
    batten.save(obj, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    assert not start % 8
    for name, x in obj.items():
        assert not entries[name]["data_offsets"][0] % x.itemsize, name


def test_tensors_are_held_once(tmp_path):
    """They are written from where they are, except those that lie otherwise, and read to where they stay."""
    size = 4 << 20
    obj = [batten.zeros(size // 4), batten.autograd.wrap(np.zeros((512, size // 2048), np.float32).T)]
    tracemalloc.start()
    try:
        batten.save(obj, tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
        tracemalloc.reset_peak()
        loaded = batten.load(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 2.1 * size
    finally:
        tracemalloc.stop()
    assert_same(loaded, obj)


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nowhere" / "file", tmp_path / "file" / "file", tmp_path / "folder"):
        with pytest.raises(OSError, match=str(tmp_path)):
            batten.save(1, path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        batten.save(1, tmp_path / "file")
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Path(tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    batten.save(1, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and batten.load(tmp_path / "elsewhere" / "file") == 1


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    batten.save(1, tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_file_keeps_its_permissions(tmp_path):
    """Meanwhile nobody else can look at what is written."""
    path = tmp_path / "file"
    batten.save(1, path)
    for mode in (0o600, 0o640, 0o666, 0o700):
        path.chmod(mode)
        with batten.serialization.replacing(path) as file:
            assert stat.S_IMODE(Path(file.name).parent.stat().st_mode) == 0o700
            file.write(b"secret")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_is_protected_or_no_file_stays(tmp_path, monkeypatch):
    batten.save("old", tmp_path / "file")
    (tmp_path / "file").chmod(0o400)
    monkeypatch.setattr(os, "access", lambda path, kind: bool(os.stat(path).st_mode & 0o200))  # also for the superuser
    with pytest.raises(PermissionError, match="file"):
        batten.save("new", tmp_path / "file")
    assert batten.load(tmp_path / "file") == "old"
    with pytest.raises(FileExistsError, match="not a file"):
        batten.save("new", os.devnull)
    assert not os.path.isfile(os.devnull)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        batten.save(1, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]

"""save and load: everything comes back, damage is found, and a failed save changes nothing."""

from __future__ import annotations

import json
import os
import random
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

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
        {"__metadata__": 1, "batten": {"format": 2}},
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
    safetensors = pytest.importorskip("safetensors.numpy")
    batten.save(
        {"0.weight": batten.tensor([[1.0, 2.0]]), "0.bias": batten.tensor([3.0])}, tmp_path / "model.safetensors"
    )
    loaded = safetensors.load_file(tmp_path / "model.safetensors")
    assert {name: x.tolist() for name, x in loaded.items()} == {"0.weight": [[1.0, 2.0]], "0.bias": [3.0]}


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
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^cannot load ") as caught:
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


def header(text, data=b"", claimed=None):
    text = text.encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


def entry(dtype="F32", shape="[1]", offsets="[0,4]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def ours(structure, **changes):
    """A file with this structure and a right checksum, as only an adversary would write it."""
    document = {"format": "batten 1", "crc32": batten.serialization.checksum(structure, {}), "structure": structure}
    return header(json.dumps({"__metadata__": {"batten": json.dumps(document | changes)}}))


FOREIGN = {
    "nothing": b"",
    "one byte": b"\0",
    "zeros": bytes(1000),
    "text": b"epoch,loss\n" * 100,
    "pickle": b"\x80\x04\x95" + bytes(100),
    "random": random.Random(3).randbytes(5000),
    "a huge header": header("{}", claimed=2**63),
    "a header to the end of memory": header("{}", claimed=2**64 - 1),
    "a header that is a list": header("[]"),
    "a header that is no JSON": header("{nothing}"),
    "a header that is no UTF-8": struct.pack("<Q", 4) + b'{"\xff"',
    "deep JSON": header('{"a":' * 50_000),
    "deep lists": header("[" * 50_000),
    "a long number": header(f'{{"a":{entry(shape="[" + "9" * 5000 + "]")}}}', b"1234"),
    "one name twice": header(f'{{"a":{entry()},"a":{entry()}}}', b"1234"),
    "one key twice": header('{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}}', b"1234"),
    "overlapping": header(f'{{"a":{entry()},"b":{entry()}}}', b"1234"),
    "overlapping by half": header(f'{{"a":{entry()},"b":{entry(offsets="[2,6]")}}}', b"123456"),
    "a hole": header(f'{{"a":{entry()},"b":{entry(offsets="[8,12]")}}}', bytes(12)),
    "bytes to spare": header(f'{{"a":{entry()}}}', b"12345"),
    "bytes missing": header(f'{{"a":{entry()}}}', b"123"),
    "offsets backwards": header(f'{{"a":{entry(offsets="[4,0]")}}}', b"1234"),
    "negative size": header(f'{{"a":{entry(shape="[-1]")}}}', b"1234"),
    "sizes whose product overflows": header(f'{{"a":{entry(shape="[4611686018427387904,4]", offsets="[0,0]")}}}'),
    "an impossible empty shape": header(f'{{"a":{entry(shape="[0,9223372036854775808]", offsets="[0,0]")}}}'),
    "too many axes": header(f'{{"a":{entry(shape="[" + "1," * 99 + "1]")}}}', b"1234"),
    "an unknown type": header(f'{{"a":{entry(dtype="F33")}}}', b"1234"),
    "half floats": header(f'{{"a":{entry(dtype="BF16", shape="[2]")}}}', b"1234"),
    "unsigned": header(f'{{"a":{entry(dtype="U32")}}}', b"1234"),
    "bytes neither true nor false": header(f'{{"a":{entry(dtype="BOOL", shape="[4]")}}}', b"\0\1\2\1"),
    "a later format": ours({}, format="batten 2"),
    "no structure": header(json.dumps({"__metadata__": {"batten": "{}"}})),
    "a structure that is no JSON": header(json.dumps({"__metadata__": {"batten": "{"}})),
    "a list for a structure": header(json.dumps({"__metadata__": {"batten": "[1]"}})),
    "deep structure": header(json.dumps({"__metadata__": {"batten": "[" * 50_000}})),
    "a tensor that is not there": ours({"tensor": "a"}),
    "an array that is not there": ours({"array": "a"}),
    "a tensor's name that is a list": ours({"tensor": [1]}),
    "an unknown tag": ours({"object": "os.system"}),
    "two tags": ours({"int": "0x1", "float": "0x1p0"}),
    "no tag": ours({}),
    "an int that is none": ours({"int": "ten"}),
    "a float that is none": ours({"float": 5}),
    "a float beyond floats": ours({"float": "0x1p99999"}),
    "a dict of no pairs": ours({"dict": [1, 2]}),
    "a dict with a list as key": ours({"dict": [[[], 1]]}),
    "a tuple of nothing": ours({"tuple": None}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_and_malformed_files(content, tmp_path):
    assert_refused(tmp_path / "file", content)


def test_random_bytes_after_a_plausible_start(tmp_path):
    content = small_file(tmp_path / "file")
    chooser = random.Random(1)
    for _ in range(300):
        keep = chooser.randrange(len(content))
        assert_refused(tmp_path / "file", content[:keep] + chooser.randbytes(len(content) - keep))


def test_tensors_outside_the_structure(tmp_path):
    arrays = {"a": np.zeros(1, np.float32)}
    document = {"format": "batten 1", "crc32": batten.serialization.checksum(None, arrays), "structure": None}
    text = json.dumps({"__metadata__": {"batten": json.dumps(document)}, "a": json.loads(entry())})
    assert_refused(tmp_path / "file", header(text, bytes(4)))


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


@pytest.mark.parametrize("failing", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_save_leaves_the_old_file(failing, error, tmp_path, monkeypatch):
    batten.save("old", tmp_path / "file")

    def fail(*args):
        raise error("no space left")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(error):
        batten.save("new", tmp_path / "file")
    assert batten.load(tmp_path / "file") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b))[1])
    batten.save(1, tmp_path / "file")
    assert calls == ["fsync", "replace", "fsync"]


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

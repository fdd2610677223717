"""Files from strangers: each is refused for what is wrong with it, in no more memory than it is worth."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serialization import assert_same

import batten

HEADER = 100_000_000  # the longest, in bytes, that safetensors reads


def header(text, data=b"", claimed=None):
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


def entry(dtype="F32", shape="[1]", offsets="[0,4]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def alone(data=b"1234", name="a", **changes):
    """A file of one tensor."""
    return header(f'{{"{name}":{entry(**changes)}}}', data)


def metadata(text):
    return header(f'{{"__metadata__":{text},"a":{entry()}}}', b"1234")


def ours(structure, arrays=None, **changes):
    """A file with this structure and a right checksum, as only an adversary would write it."""
    arrays = arrays or {}
    document = {"format": "batten 1", "crc32": batten.serialization.checksum(structure, arrays), "structure": structure}
    entries = {"__metadata__": {"batten": json.dumps(document | changes)}}
    end = 0
    for name, x in arrays.items():
        begin, end = end, end + x.nbytes
        entries[name] = {"dtype": "F32", "shape": x.shape, "data_offsets": [begin, end]}
    return header(json.dumps(entries), b"".join(x.tobytes() for x in arrays.values()))


ONE = {"a": np.ones(1, np.float32)}

# What the package finds, and says in its own words.
MALFORMED = {
    "nothing": b"",
    "one byte": b"\0",
    "zeros": bytes(1000),
    "text": b"epoch,loss\n" * 100,
    "a pickle": b"\x80\x04\x95" + bytes(100),
    "a zip archive": b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(100),
    "random": random.Random(3).randbytes(5000),
    "a header of half of memory": header("{}", claimed=2**63),
    "a header of all memory": header("{}", claimed=2**64 - 1),
    "a header too long": header("{}", claimed=HEADER + 1),
    "a header longer than the file": header("{}", claimed=3),
    "a header of all that is read": header("{}", claimed=HEADER),
    "an empty header": header(""),
    "a header that is a list": header("[]"),
    "a header that is a number": header("1"),
    "a header that is no JSON": header("{nothing}"),
    "two headers": header("{}{}"),
    "zeros behind the header": header("{}\0\0"),
    "a header that is no UTF-8": header(b'{"\xff":0}'),
    "an overlong slash": header(b'{"\xc0\xaf":0}'),
    "UTF-16": header("{}".encode("utf-16-le")),
    "half a surrogate pair": alone(name=r"\ud800"),
    "deep objects": header('{"a":' * 50_000),
    "deep lists": header('{"a":' + "[" * 50_000),
    "a fourth level": header('{"a":{"b":{"c":{}}}}'),
    "a quote without an end": header('{"' + r"\"" * 50_000),
    "a long number": alone(shape="[" + "9" * 5000 + "]"),
    "a long negative number": alone(shape="[-" + "9" * 5000 + "]"),
    "half a size": alone(shape="[0.5]"),
    "infinity": alone(offsets="[0,Infinity]"),
    "no number": alone(shape="[NaN]"),
    "a large float": alone(shape="[1e999999]"),
    "one key twice": alone(shape='[2],"shape":[1]'),
    "a tensor that is a list": header('{"a":[]}'),
    "a tensor that is null": header('{"a":null}'),
    "no type": header('{"a":{"shape":[0],"data_offsets":[0,0]}}'),
    "no shape": header('{"a":{"dtype":"F32","data_offsets":[0,0]}}'),
    "no offsets": header('{"a":{"dtype":"F32","shape":[0]}}'),
    "an unknown type": alone(dtype="F33"),
    "a type in small letters": alone(dtype="f32"),
    "a type that is a list": header('{"a":{"dtype":[],"shape":[],"data_offsets":[0,4]}}'),
    "a type that is a number": header('{"a":{"dtype":1,"shape":[],"data_offsets":[0,4]}}'),
    "a shape that is a number": alone(shape="1"),
    "a shape that is text": alone(shape='"1"'),
    "a shape of text": alone(shape='["1"]'),
    "a size that is true": alone(shape="[true]"),
    "a negative size": alone(shape="[-1]"),
    "two negative sizes": alone(shape="[-1,-1]"),
    "sizes whose product overflows": alone(b"", shape=f"[{2**62},4]", offsets="[0,0]"),
    "sizes whose product is 1 in 64 bits": alone(shape="[3,12297829382473034411]"),
    "offsets that are a number": alone(offsets="4"),
    "one offset": alone(offsets="[4]"),
    "three offsets": alone(offsets="[0,4,8]"),
    "negative offsets": alone(offsets="[-4,0]"),
    "offsets that are text": alone(offsets='["0","4"]'),
    "an offset that is false": alone(offsets="[false,4]"),
    "offsets backwards": alone(offsets="[4,0]"),
    "offsets beyond the file": alone(offsets=f"[0,{2**64}]"),
    "a terabyte": alone(shape=f"[{2**38}]", offsets=f"[0,{2**40}]"),
    "bytes missing": alone(b"123"),
    "too few bytes": alone(shape="[2]"),
    "too many bytes": alone(shape="[0]"),
    "overlapping": header(f'{{"a":{entry()},"b":{entry()}}}', b"1234"),
    "overlapping by half": header(f'{{"b":{entry(offsets="[2,6]")},"a":{entry()}}}', b"123456"),
    "nothing within a tensor": header(f'{{"a":{entry()},"b":{entry(shape="[0]", offsets="[2,2]")}}}', b"1234"),
    "a hole": header(f'{{"a":{entry()},"b":{entry(offsets="[8,12]")}}}', bytes(12)),
    "a hole at the beginning": alone(bytes(8), offsets="[4,8]"),
    "bytes to spare": alone(b"12345"),
    "bytes without a tensor": header("{}", b"1234"),
    "text that is a list": metadata("[]"),
    "text that is text": metadata('"x"'),
    "text of numbers": metadata('{"epoch":3}'),
    "text of objects": metadata('{"epoch":{}}'),
}

# What we find.
UNUSUAL = {
    "space before the header": (header(" {}"), "does not begin with a brace"),
    "one name twice": (header(f'{{"a":{entry()},"a":{entry()}}}', b"1234"), "it has a key twice"),
    "one name spelt twice": (header(f'{{"a":{entry()},"\\u0061":{entry()}}}', b"1234"), "it has a key twice"),
    "text twice": (metadata('{"x":"1","x":"1"}'), "it has a key twice"),
    "one thing more": (alone(shape='[1],"strides":[1]'), "'a' is not told by dtype, shape and data_offsets alone"),
    "half floats": (alone(dtype="BF16", shape="[2]"), "tensor 'a' has the type BF16, which batten does not have"),
    "too many axes": (alone(shape="[" + "1," * 64 + "1]"), "maximum supported dimension"),
    "an impossible empty shape": (alone(b"", shape=f"[0,{2**63}]", offsets="[0,0]"), "Maximum allowed dimension"),
    "text that is null": (metadata("null"), "or its __metadata__ is null"),
    "a tensor in a list": (header('{"a":["F32",[1],[0,4]]}', b"1234"), "tensor 'a' is not told by dtype, shape"),
    "complex numbers": (alone(b"12345678", dtype="C64", offsets="[0,8]"), "tensor 'a' has the type C64, which batten"),
    "unsigned": (alone(dtype="U32"), "tensor 'a' has the type uint32, which tensors do not have"),
    "neither true nor false": (alone(b"\0\1\2\1", dtype="BOOL", shape="[4]"), "bytes that are neither true nor false"),
    "a later format": (ours({"dict": []}, format="batten 2"), "has the format 'batten 2', and this version reads"),
    "another checksum": (ours({"dict": []}, crc32=0), "damaged: its checksum does not fit its content"),
    "a checksum that is text": (ours({"dict": []}, crc32="0"), "damaged: its checksum does not fit its content"),
    "no structure": (metadata('{"batten":"{}"}'), "structure is malformed .KeyError: 'format'"),
    "a structure of another name": (metadata(r'{"batter":"{\"crc32\":0}"}'), "malformed .KeyError: 'batten'"),
    "a structure that is no JSON": (metadata('{"batten":"{"}'), "Expecting property name"),
    "a list for a structure": (metadata('{"batten":"[1]"}'), "structure is malformed .TypeError"),
    "a structure twice": (metadata(r'{"batten":"{\"format\":\"\",\"format\":\"\"}"}'), "it has a key twice"),
    "a deep structure": (metadata('{"batten":"' + "[" * 500_000 + '"}'), "recursion|Stack overflow"),
    "nested too deep": (ours(json.loads("[" * 102 + "]" * 102)), "its structure is nested more than 100 deep"),
    "a float in a structure": (metadata('{"batten":"[1.5]"}'), "it has the number 1.5"),
    "a tensor that is not there": (ours({"tensor": "a"}), "structure has 'a' twice, or without a tensor"),
    "an array that is not there": (ours({"array": "a"}), "structure has 'a' twice, or without a tensor"),
    "a tensor in two places": (ours([{"tensor": "a"}, {"array": "a"}], ONE), "structure has 'a' twice, or without"),
    "a tensor outside the structure": (ours(None, ONE), "has tensors outside its structure, such as 'a'"),
    "a tensor's name that is a list": (ours({"tensor": [1]}), "structure is malformed .TypeError"),
    "an unknown tag": (ours({"object": "os.system"}), "structure has an unknown tag 'object'"),
    "two tags": (ours({"int": "0x1", "float": "0x1p0"}), "structure has an object of 2 tags"),
    "no tag": (ours({}), "structure has an object of 0 tags"),
    "an int that is none": (ours({"int": "ten"}), "invalid literal for int"),
    "a float that is none": (ours({"float": 5}), "structure is malformed .TypeError"),
    "a float beyond floats": (ours({"float": "0x1p99999"}), "structure is malformed .OverflowError"),
    "a dict of no pairs": (ours({"dict": [1, 2]}), "structure has a dict that is not of pairs"),
    "a dict of threes": (ours({"dict": [["a", 1, 2]]}), "structure has a dict that is not of pairs"),
    "a dict of strings": (ours({"dict": ["ab"]}), "structure has a dict that is not of pairs"),
    "a dict of a dict": (ours({"dict": {"dict": []}}), "structure has a dict that is no list"),
    "a tuple of a string": (ours({"tuple": "ab"}), "structure has a tuple that is no list"),
    "a dict with a list as key": (ours({"dict": [[[], 1]]}), "whose keys are not strings or ints"),
    "a dict with null as key": (ours({"dict": [[None, 1]]}), "whose keys are not strings or ints"),
    "a dict with true as key": (ours({"dict": [[True, 1]]}), "whose keys are not strings or ints"),
    "a dict with a key twice": (ours({"dict": [["a", 1], ["a", 2]]}), "it has a key twice"),
    "a tuple of nothing": (ours({"tuple": None}), "structure has a tuple that is no list"),
}  # fmt: skip


CONTENTS = {name: (content, "") for name, content in MALFORMED.items()} | UNUSUAL
FIRST = 1_000_000  # bytes for what the first load makes and all others share


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The malformed files, each under the name of what is wrong with it."""
    folder = tmp_path_factory.mktemp("malformed")
    for name, (content, _) in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


def refused(path, worth):
    """What a file is refused with, by a load that takes no more memory than it is worth."""
    tracemalloc.start()
    try:
        with pytest.raises(batten.CheckpointError) as caught:
            batten.load(path)
        assert tracemalloc.get_traced_memory()[1] < worth
    finally:
        tracemalloc.stop()
    return caught


@pytest.mark.parametrize("name", CONTENTS)
def test_malformed_files(name, folder):
    content, words = CONTENTS[name]
    path = folder / name
    caught = refused(path, 60 * len(content) + FIRST)
    caught.match(words)
    message, start = str(caught.value), f"cannot load {path}: "
    assert message.startswith(start) and len(message) <= len(start) + 500
    message.encode()  # whatever the file has put into it, it can be printed


def test_a_checkpoint_error_is_a_value_error():
    assert issubclass(batten.CheckpointError, ValueError)


def test_what_is_allowed(tmp_path):
    """The edges of the rules, from the inner side; and safetensors reads the same there."""
    empty = entry(shape="[0]", offsets="[4,4]")
    for content in (
        header("{}"),
        header("{}   \n"),
        header('{"__metadata__":{}}'),
        metadata('{"":"","format":"pt"}'),
        alone(),
        alone(name=""),
        alone(name=r"\ud83d\ude00\u0000\""),
        alone(name="naïve"),
        alone(name="[{" * 1000),
        alone(shape="[]"),
        alone(shape="[" + "1," * 31 + "1]"),
        alone(b"", shape="[3,0,5]", offsets="[0,0]"),
        header(f'{{"b":{empty},"a":{entry()},"c":{empty}}}', b"1234"),
        header(f'{{ "a" : {entry()} ,\n"b":{entry(offsets="[4,8]")}}}', b"12345678"),
        header(f'{{"a":{entry(offsets="[4,8]")},"b":{entry()}}}', b"12345678"),
    ):
        (tmp_path / "file").write_bytes(content)
        assert_same(
            {name: x.numpy() for name, x in batten.load(tmp_path / "file").items()},
            dict(sorted(safetensors.numpy.load(content).items())),
        )


def test_the_memory_that_a_file_is_worth(tmp_path):
    """The most costly headers there are for their length."""
    path = tmp_path / "file"
    for text in (
        "{" + "}" * 100_000,
        '{"' + "\\" * 100_000,
        '{"a":[' + "[]," * 30_000,
        '{"a":[' + "{}," * 30_000,
        '{"a":[' + "0," * 50_000 + "0]}",
        '{"__metadata__":{"batten":"' + "[[]," * 25_000 + '"}}',
        "{" + ",".join(f'"{i}":{{}}' for i in range(12_000)) + "}",
        '{"a":{"dtype":"F32","data_offsets":[0,0],"shape":[' + "0," * 50_000 + "0]}}",
        '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"b":[' + "{}," * 30_000 + "[]]}}",
        "{" + ",".join(f'"{i}":{entry(shape="[0]", offsets="[0,0]")}' for i in range(2_000)) + ',"":0}',
    ):
        path.write_bytes(header(text))
        refused(path, 60 * len(text))


# ---- valid files, mutated ----

OURS = {"epoch": 3, "lr": 0.1, "weights": [batten.tensor([1.0, 2.0]), np.array(7)], "flag": (np.array(True), "x", None)}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A file of our own, and one of another writer's."""
    path = tmp_path_factory.mktemp("valid") / "file"
    batten.save(OURS, path)
    entries = [f'"a":{entry()}', f'"b":{entry(dtype="I8", shape="[2,3]", offsets="[4,10]")}']
    other = header("{" + ",".join([*entries, '"__metadata__":{"format":"pt"}']) + "}", bytes(range(10)))
    return path, [path.read_bytes(), other]


PLACES = st.integers(0, 10_000)
WORDS = st.binary(min_size=1, max_size=9)
EDITS = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACES, st.none()),
    st.tuples(st.just("insert"), PLACES, WORDS),
    st.tuples(st.just("overwrite"), PLACES, WORDS),
    st.tuples(st.just("delete"), PLACES, st.integers(1, 9)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 40)),
)


def edited(content, edit):
    kind, place, by = edit
    place %= len(content) + 1
    before, after = content[:place], content[place:]
    if kind == "flip":
        return before + bytes([after[0] ^ 1 << by]) + after[1:] if after else before
    if kind == "cut":
        return before
    if kind == "insert":
        return before + by + after
    if kind == "overwrite":
        return before + by + after[len(by) :]
    if kind == "delete":
        return before + after[by:]
    return before + after[:by] + after


NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 4, 10, 2**31, 2**62, 2**63, 2**64, 10**19, 10**21, True, 1.5, float("nan")])
TEXTS = st.sampled_from(["", "a", "b", "F32", "F64", "I8", "U8", "BOOL", "__metadata__", "batten", "dtype", "\ud800"])
VALUES = st.recursive(
    NUMBERS | TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CHANGES = st.tuples(st.sampled_from(["replace", "remove", "rename", "swap"]), PLACES, PLACES, VALUES, TEXTS)


def nodes(tree):
    """All places in a tree of JSON: a container with a key of its."""
    found = []
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key))
        if isinstance(tree[key], dict | list):
            found += nodes(tree[key])
    return found


def changed(entries, change):
    """A header's JSON with something else in one place of it."""
    kind, place, other, value, text = change
    found = nodes(entries)
    if not found:
        return
    (parent, key), (elsewhere, another) = found[place % len(found)], found[other % len(found)]
    if kind == "replace":
        parent[key] = value
    elif kind == "remove":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[text] = parent.pop(key)
    elif kind == "swap" and not any(isinstance(x, dict) for x in (parent[key], elsewhere[another])):
        parent[key], elsewhere[another] = elsewhere[another], parent[key]


def read_by_safetensors(content):
    """What the package makes of a file that is not ours."""
    return {name: (x.dtype, x.shape, x.tobytes()) for name, x in safetensors.numpy.load(bytes(content)).items()}


def assert_refused_or_right(path, content):
    """A file is refused as CheckpointErrors refuse, or is read as what was written or as safetensors reads it."""
    path.unlink(missing_ok=True)  # some file systems wait for the disk when a file is cut to be written again
    path.write_bytes(content)
    tracemalloc.start()
    try:
        loaded = batten.load(path)
    except batten.CheckpointError as error:
        assert str(error).startswith(f"cannot load {path}: ")
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60 * len(content) + FIRST
    if set(loaded) == set(OURS):
        assert_same(loaded, OURS)
    else:
        mine = {name: (x.array.dtype, x.array.shape, x.array.tobytes()) for name, x in loaded.items()}
        assert mine == read_by_safetensors(content)


fuzzing = settings(derandomize=True, database=None, deadline=None, max_examples=400)


@fuzzing
@given(which=st.integers(0, 1), edits=st.lists(EDITS, min_size=1, max_size=4), fitting=st.booleans())
def test_bytes_changed(which, edits, fitting, valid):
    """Also with the length that a changed header has."""
    path, contents = valid
    content = contents[which]
    data = len(content) - 8 - int.from_bytes(content[:8], "little")
    for edit in edits:
        content = edited(content, edit)
    if fitting and len(content) >= 8 + data:
        content = struct.pack("<Q", len(content) - 8 - data) + content[8:]
    assert_refused_or_right(path, content)


@fuzzing
@given(which=st.integers(0, 1), changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_headers_changed(which, changes, valid):
    path, contents = valid
    length = int.from_bytes(contents[which][:8], "little")
    entries = json.loads(contents[which][8 : 8 + length])
    for change in changes:
        changed(entries, change)
    assert_refused_or_right(path, header(json.dumps(entries), contents[which][8 + length :]))


@fuzzing
@given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_structures_changed(changes, valid):
    """With the checksum that an adversary would give them: what is loaded can then be anything, but of plain kinds."""
    path, contents = valid
    length = int.from_bytes(contents[0][:8], "little")
    entries = json.loads(contents[0][8 : 8 + length])
    document = json.loads(entries["__metadata__"]["batten"])
    for change in changes:
        changed(document, change)
    arrays = {
        name: np.frombuffer(data, dtype).reshape(shape)
        for name, (dtype, shape, data) in read_by_safetensors(contents[0]).items()
    }
    document["crc32"] = batten.serialization.checksum(document.get("structure"), arrays)
    entries["__metadata__"]["batten"] = json.dumps(document)
    path.unlink()
    path.write_bytes(header(json.dumps(entries), contents[0][8 + length :]))
    try:
        loaded = batten.load(path)
    except batten.CheckpointError:
        return
    batten.save(loaded, path)
    assert_same(batten.load(path), loaded)


@fuzzing
@given(st.binary(max_size=200))
def test_random_headers(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random"
    assert_refused_or_right(path, header(b"{" + content))

"""`save` and `load`: tensors, and what is nested around them, in a safetensors file.

A safetensors file is a JSON header, which names each tensor's type, shape and place,
and after it nothing but the tensors' bytes: reading one cannot run anything.
The header has room for text.  There `save` leaves the structure around the tensors
as JSON, in which whatever JSON cannot say is an object with one key, its tag:

    None, bool, str, list, an int of 64 bits    themselves
    any other int, float                        {"int": "0x…"}, {"float": "0x1.8p+1"}, exact
    tuple, dict                                 {"tuple": […]}, {"dict": [[key, value], …]}
    Tensor, NumPy array                         {"tensor": name}, {"array": name}

and a checksum of it all.  A tensor is named by its path in the object, so a
`state_dict` is an ordinary safetensors file to everyone else.

A file may come from anyone.  The whole header is found right before memory is taken
for a tensor, and the tensors then take what the file has of bytes for them; these
are read straight to where they stay, so that a load holds nothing twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import stat
import zlib
from collections.abc import Iterator
from io import BufferedReader
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from . import dtypes
from .autograd import Variable, wrap

__all__ = ["CheckpointError", "load", "save"]

FORMAT = "batten 1"
SIGNS = '"crc32":', '"structure":'  # of our own text
DEPTH = 100  # more nesting than this is an object that holds itself
HEADER = 100_000_000  # the longest header, in bytes, that safetensors reads

STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
STORABLE = {np.dtype(code).newbyteorder("="): name for name, code in STORED.items()}


class CheckpointError(ValueError):
    """A file cannot be loaded: which one, and what is wrong with it.

    >>> import batten, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         batten.load(file.name)
    ...     except batten.CheckpointError as error:
    ...         print(str(error).removeprefix(f"cannot load {file.name}: "))
    it is cut short, or no safetensors file: it has 0 bytes
    """


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Writes an object into a safetensors file: all of it, or nothing.

    The object is made of dicts (with strings and ints as keys), lists, tuples, None,
    bools, ints, floats and strings, Tensors and NumPy arrays of numbers; anything else is a
    TypeError that says where it is.  `load` gives all of it back equal and of the same
    types, except that a subclass of dict becomes a dict, a Parameter a Tensor, and
    `requires_grad` is off.

    The file is written beside the old one and then takes its place, with its permissions, so
    that an interrupted or failed save leaves the old file as it was.

    >>> import batten, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     batten.save({"epoch": 3, "weights": [batten.tensor([1.0, 2.0])]}, f"{folder}/checkpoint")
    ...     batten.load(f"{folder}/checkpoint")
    {'epoch': 3, 'weights': [tensor([1., 2.])]}
    """
    arrays: dict[str, np.ndarray] = {}
    structure = encode(obj, "", 0, arrays)
    document = {"format": FORMAT, "crc32": checksum(structure, arrays), "structure": structure}
    # Large elements first: then all begin at multiples of their size, for those who map the file into memory.
    arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    head = header({"batten": json.dumps(document)}, arrays)
    with replacing(path) as file:
        file.write(head)
        for x in arrays.values():
            file.write(raw(x))


def load(path: str | os.PathLike[str]) -> Any:
    """The object in a file written by `save`, or the tensors, by name, in any other safetensors file.

    A file that is damaged, cut short, malformed or of another kind is a `CheckpointError`, which is a
    ValueError, that says what is wrong with it.

    >>> import batten
    >>> batten.load("nowhere.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    with open(os.fspath(path), "rb") as file:
        try:
            metadata, arrays = read(file)
            # One sign of our own text will do, so that damage to another does not make the file someone else's.
            texts = [*metadata, *metadata.values()]
            if "batten" in metadata or any(sign in text for text in texts for sign in SIGNS):
                return restore(metadata, arrays)
            return {name: tensor(name, arrays) for name in sorted(arrays)}
        except ValueError as error:
            raise CheckpointError(f"cannot load {os.fsdecode(path)}: {str(error)[:500]}") from None


# ---- objects ----


def encode(x: Any, path: str, depth: int, arrays: dict[str, np.ndarray]) -> Any:
    """The JSON that stands for an object; tensors and arrays are put into `arrays`."""
    kind = type(x)
    if depth > DEPTH:
        raise ValueError(f"at {path[:60]}…: nested more than {DEPTH} deep; does the object hold itself?")
    if x is None or kind is bool or kind is str:
        return x
    if kind is int:
        return x if -(2**63) <= x < 2**63 else {"int": hex(x)}
    if kind is float:
        return {"float": x.hex()}
    if kind is list or kind is tuple:
        items = [encode(item, f"{path}[{i}]", depth + 1, arrays) for i, item in enumerate(x)]
        return items if kind is list else {"tuple": items}
    if isinstance(x, dict):
        steps = [(key, step(path, key)) for key in x]
        return {"dict": [[encode(k, p, depth, arrays), encode(x[k], p, depth + 1, arrays)] for k, p in steps]}
    if isinstance(x, Variable):
        return {"tensor": store(x.array, path, arrays)}
    if kind is np.ndarray:
        return {"array": store(x, path, arrays)}
    refuse(path, f"a {kind.__name__}")


def step(path: str, key: Any) -> str:
    """The path of a dict's entry."""
    if type(key) is int:
        return f"{path}[{key}]"
    if type(key) is not str:
        refuse(path, f"a dict whose keys are not strings or ints but {type(key).__name__}")
    return f"{path}.{key}" if path else key


def refuse(path: str, what: str) -> NoReturn:
    raise TypeError(
        f"at {path or 'the top'}: cannot save {what}; expected a dict, list, tuple, None, bool, int, float, str, "
        "Tensor or NumPy array of numbers"
    )


def store(x: np.ndarray, path: str, arrays: dict[str, np.ndarray]) -> str:
    """Puts an array among those to be written, and returns the name it has there."""
    if x.dtype not in STORABLE or not x.dtype.isnative:
        refuse(path, f"an array of {x.dtype}")
    name = (path or "tensor").encode(errors="backslashreplace").decode()  # half a surrogate pair is not UTF-8
    while name in arrays or name == "__metadata__":
        name += "'"
    arrays[name] = x
    return name


def decode(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The object that some JSON stands for; its tensors and arrays are taken out of `arrays`."""
    if isinstance(node, list):
        return [decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise ValueError(f"its structure has an object of {len(node)} tags")
    ((tag, value),) = node.items()
    if tag == "int":
        return int(value, 16)
    if tag == "float":
        return float.fromhex(value)
    if tag in ("tuple", "dict") and not isinstance(value, list):
        raise ValueError(f"its structure has a {tag} that is no list")
    if tag == "tuple":
        return tuple([decode(item, arrays) for item in value])
    if tag == "dict":
        pairs = [decode(pair, arrays) for pair in value]
        if not all(type(pair) is list and len(pair) == 2 and type(pair[0]) in (int, str) for pair in pairs):
            raise ValueError("its structure has a dict that is not of pairs, or whose keys are not strings or ints")
        return unique(pairs)
    if tag == "tensor":
        return tensor(value, arrays)
    if tag == "array":
        return take(value, arrays)
    raise ValueError(f"its structure has an unknown tag {tag!r}")


def restore(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> Any:
    """The object in a file of our own."""
    try:
        document = parse("its structure", metadata["batten"], 3 * DEPTH + 4)  # a dict in a dict is three brackets in
        if document["format"] != FORMAT:
            raise ValueError(f"it has the format {document['format']!r}, and this version reads {FORMAT!r}")
        structure = document["structure"]
        if checksum(structure, arrays) != document["crc32"]:
            raise ValueError("it is damaged: its checksum does not fit its content")
        obj = decode(structure, arrays)
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"its structure is malformed ({type(error).__name__}: {error})") from None
    if arrays:
        raise ValueError(f"it has tensors outside its structure, such as {min(arrays)!r}")
    return obj


def tensor(name: str, arrays: dict[str, np.ndarray]) -> Any:
    x = take(name, arrays)
    if x.dtype not in dtypes.known:
        raise ValueError(f"tensor {name!r} has the type {x.dtype}, which tensors do not have")
    return wrap(x)


def take(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"its structure has {name!r} twice, or without a tensor of that name")
    return arrays.pop(name)


def checksum(structure: Any, arrays: dict[str, np.ndarray]) -> int:
    """One number for all that a file holds: structure, names, types, shapes and bytes."""
    crc = zlib.crc32(json.dumps(structure).encode())
    for name in sorted(arrays):
        x = arrays[name]
        crc = zlib.crc32(f"{name} {x.dtype.newbyteorder('<').str} {x.shape}".encode(), crc)
        crc = zlib.crc32(raw(x), crc)
    return crc


def raw(x: np.ndarray) -> memoryview:
    """An array's bytes as a file has them: in C order, little end first.  They are its own where it lies so."""
    return np.asarray(x, x.dtype.newbyteorder("<"), order="C").reshape(-1).view(np.uint8).data


# ---- the header ----


class Place(NamedTuple):
    """Where among a file's bytes a tensor lies, and what these are."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: list[int]


def header(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> bytes:
    """All that comes before the arrays' bytes."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, x in arrays.items():
        begin, end = end, end + x.nbytes
        entries[name] = {"dtype": STORABLE[x.dtype], "shape": x.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # what follows is aligned
    if len(text) > HEADER:
        raise ValueError(f"cannot save what needs a header of {len(text)} bytes: more than {HEADER} are not read again")
    return len(text).to_bytes(8, "little") + text


def read(file: BufferedReader) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """A safetensors file's text and its arrays by name."""
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise ValueError(f"it is cut short, or no safetensors file: it has {size} bytes")
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER:
        raise ValueError(f"it is no safetensors file: its header would have {length} bytes, and {HEADER} are the most")
    if length > size - 8:
        raise ValueError(f"it is cut short: of its header's {length} bytes there are {size - 8}")
    metadata, places = understood(file.read(length), size - 8 - length)
    arrays = {}
    for place in places:
        # Not from the pool: most of it is copied into a model and let go, and the system can have it back.
        x = np.empty(place.shape, STORED[place.dtype])
        data = x.reshape(-1).view(np.uint8)
        if file.readinto(data.data) != data.size:
            raise ValueError(f"it has become shorter while tensor {place.name!r} was read")
        if place.dtype == "BOOL" and data.max(initial=0) > 1:
            raise ValueError(f"tensor {place.name!r} has bytes that are neither true nor false")
        arrays[place.name] = x.astype(x.dtype.newbyteorder("="), copy=False)
    return metadata, arrays


def understood(text: bytes, size: int) -> tuple[dict[str, str], list[Place]]:
    """What a header says of the `size` bytes behind it: its text, and the tensors in the order in which they lie.

    They must cover these bytes without a gap, none twice.
    """
    if text[:1] != b"{":
        raise ValueError("its header does not begin with a brace")
    try:
        entries = parse("its header", text.decode(), 3)
    except UnicodeDecodeError as error:
        raise ValueError(f"its header is not UTF-8 ({error.reason} at byte {error.start})") from None
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its __metadata__ is not an object of strings")
    places = sorted(placed(name, entry, size) for name, entry in entries.items())
    end, before = 0, None
    for place in places:
        if place.begin < end:
            raise ValueError(f"tensors {before!r} and {place.name!r} overlap")
        if place.begin > end:
            raise ValueError(f"there is a hole of {place.begin - end} bytes before tensor {place.name!r}")
        end, before = place.end, place.name
    if end < size:
        raise ValueError(f"there are {size - end} bytes behind its tensors")
    return metadata, places


def placed(name: str, entry: Any, size: int) -> Place:
    """A tensor's entry in the header, if it is right in itself and lies within the `size` bytes behind that."""
    if re.search("[\ud800-\udfff]", name):
        raise ValueError(f"tensor {name!r} has half a surrogate pair in its name")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not told by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in STORED:
        raise ValueError(f"tensor {name!r} has the type {dtype!r}, which batten does not have")
    if not are_sizes(shape) or len(shape) > 64:
        raise ValueError(f"tensor {name!r} has the shape {shape}, and not one of at most 64 sizes of at least 0")
    itemsize = np.dtype(STORED[dtype]).itemsize
    if itemsize * math.prod(n or 1 for n in shape) >= 1 << 62:
        raise ValueError(f"tensor {name!r} has the shape {shape}, which is beyond any memory")
    if not are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has the data_offsets {offsets}, and not two of at least 0")
    begin, end = offsets
    if end > size:
        raise ValueError(f"it is cut short: tensor {name!r} ends at byte {end} of {size}")
    if end - begin != itemsize * math.prod(shape):
        raise ValueError(f"tensor {name!r} has {end - begin} bytes, which is not what {dtype} of shape {shape} takes")
    return Place(begin, end, name, dtype, shape)


def are_sizes(x: Any) -> bool:
    return isinstance(x, list) and all(type(n) is int and n >= 0 for n in x)


# ---- its JSON ----

STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
OTHERS = re.compile(r"[^][{}]+")


def parse(what: str, text: str, depth: int) -> Any:
    """JSON with no key twice, no numbers but whole ones, and at most so many brackets within one another."""
    brackets = OTHERS.sub("", STRING.sub("", text))
    if max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0) > depth:
        raise ValueError(f"{what} is nested more than {depth} deep")
    try:
        return json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_float=whole, parse_constant=whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not JSON ({error})") from None


def unique(pairs: list[Any]) -> dict[Any, Any]:
    """An object, or a dict, which must not say anything twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def whole(number: str) -> int:
    """An int of not many more than 64 bits: `save` writes larger ones, and all floats, as strings."""
    if not re.fullmatch(r"-?[0-9]{1,20}", number):
        raise ValueError(f"it has the number {number}, and not one that is whole and of at most 20 digits")
    return int(number)


# ---- files ----


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts a file in its place as a whole, with its content safely on the disk."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of an old one when the block ends, and is gone if it ends by an exception.

    Whoever reads, and whatever stops the process or the machine, the file at the path is the old one or the new one,
    whole.  Of several that are written at the same time the last stays.  A process that is killed leaves behind what
    it had written: a file `.batten-...` in the same folder.
    """
    path = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".batten-{os.urandom(8).hex()}")
    mode = mode_of(path)
    try:
        with open(temporary, "xb") as file:
            if mode is not None:
                os.chmod(temporary, mode)  # while there is nothing in it that others could read
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    # The name, too, is to survive a power failure; not every file system can promise it, and Windows opens no folder.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def mode_of(path: str) -> int | None:
    """The permissions of the file at a path, which must be one that could be written itself; None if there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # in the place of a device there would be a file
        raise FileExistsError(errno.EEXIST, "There is something that is not a file", path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return stat.S_IMODE(mode) & 0o777

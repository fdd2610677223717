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

A file may come from anyone.  The safetensors package finds the whole header right
before a tensor is made, and the tensors then take what the file has of bytes for
them.  Refused here is what it lets pass: what is said twice, and what the formats do not have.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import numpy as np

from . import dtypes
from .autograd import Variable, wrap

with contextlib.suppress(ImportError):  # Windows has none, and opens no folder that could be locked
    import fcntl

__all__ = ["CheckpointError", "load", "save"]

FORMAT = "batten 1"
SIGNS = '"crc32":', '"structure":'  # of our own text
SAVING = ".batten-saving-"  # what the names of folders begin with where files are written
DEPTH = 100  # more nesting than this is an object that holds itself

STORED = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip


class CheckpointError(ValueError):
    """A file cannot be loaded: which one, and what is wrong with it.

    >>> import batten, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         batten.load(file.name)
    ...     except batten.CheckpointError as error:
    ...         print(str(error).replace(file.name, "file"))
    cannot load file: Error while deserializing header: header too small
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
    import safetensors.numpy

    arrays: dict[str, np.ndarray] = {}
    structure = encode(obj, "", 0, arrays)
    document = {"format": FORMAT, "crc32": checksum(structure, arrays), "structure": structure}
    with replacing(path) as file:
        file.close()  # the package puts one of its own in its place, which it writes beside it
        try:
            safetensors.numpy.save_file(arrays, file.name, {"batten": json.dumps(document)})
        except safetensors.SafetensorError as error:
            raise OSError(f"cannot save {os.fsdecode(path)}: {error}") from None


def load(path: str | os.PathLike[str]) -> Any:
    """The object in a file written by `save`, or the tensors, by name, in any other safetensors file.

    A file that is damaged, cut short, malformed or of another kind is a `CheckpointError`, which is a
    ValueError, that says what is wrong with it.

    >>> import batten
    >>> batten.load("nowhere.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    import safetensors

    with open(path := os.fsdecode(path), "rb") as file:
        try:
            with safetensors.safe_open(path, framework="numpy") as content:
                check(file)
                metadata = content.metadata() or {}
                arrays = {name: array(name, content) for name in content.offset_keys()}
            # One sign of our own text will do, so that damage to another does not make the file someone else's.
            texts = [*metadata, *metadata.values()]
            if "batten" in metadata or any(sign in text for text in texts for sign in SIGNS):
                return restore(metadata, arrays)
            return {name: tensor(name, arrays) for name in sorted(arrays)}
        except (ValueError, RecursionError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"cannot load {path}: {str(error)[:500]}") from None


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
    if x.dtype not in STORED.values():
        refuse(path, f"an array of {x.dtype}")
    name = (path or "tensor").encode(errors="backslashreplace").decode()  # half a surrogate pair is not UTF-8
    while name in arrays or name == "__metadata__":
        name += "'"
    arrays[name] = np.asarray(x, order="C")
    return name


def decode(node: Any, depth: int, arrays: dict[str, np.ndarray]) -> Any:
    """The object that some JSON stands for; its tensors and arrays are taken out of `arrays`."""
    if depth > DEPTH:
        raise ValueError(f"its structure is nested more than {DEPTH} deep")
    if isinstance(node, list):
        return [decode(item, depth + 1, arrays) for item in node]
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
        return tuple([decode(item, depth + 1, arrays) for item in value])
    if tag == "dict":
        pairs = [decode(pair, depth, arrays) for pair in value]
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
        document = parse(metadata["batten"])
        if document["format"] != FORMAT:
            raise ValueError(f"it has the format {document['format']!r}, and this version reads {FORMAT!r}")
        structure = document["structure"]
        if checksum(structure, arrays) != document["crc32"]:
            raise ValueError("it is damaged: its checksum does not fit its content")
        obj = decode(structure, 0, arrays)
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"its structure is malformed ({type(error).__name__}: {error})") from None
    if arrays:
        raise ValueError(f"it has tensors outside its structure, such as {min(arrays)!r}")
    return obj


def array(name: str, content: Any) -> np.ndarray:
    """A tensor of a file that the package has open."""
    dtype = content.get_slice(name).get_dtype()
    if dtype not in STORED:
        raise ValueError(f"tensor {name!r} has the type {dtype}, which batten does not have")
    x = content.get_tensor(name)
    if dtype == "BOOL" and x.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"tensor {name!r} has bytes that are neither true nor false")
    return x


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
        x = arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False)
        crc = zlib.crc32(f"{name} {x.dtype.str} {x.shape}".encode(), crc)
        crc = zlib.crc32(x.data, crc)
    return crc


# ---- JSON ----


def check(file: BinaryIO) -> None:
    """Refuses what the package lets pass in a header: a name that is there twice, and what the format does not have."""
    text = file.read(int.from_bytes(file.read(8), "little"))
    entries = parse(text.decode())
    if text[:1] != b"{" or entries.pop("__metadata__", {}) is None:
        raise ValueError("its header does not begin with a brace, or its __metadata__ is null")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or len(entry) > 3:
            raise ValueError(f"tensor {name!r} is not told by dtype, shape and data_offsets alone")


def parse(text: str) -> Any:
    """JSON with no key twice and no numbers but whole ones."""
    return json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_float=whole, parse_constant=whole)


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
    it had written, in a `workplace` beside the file, until someone calls `tidy`.
    """
    path = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(path)
    mode = mode_of(path)
    with workplace(folder) as place:
        temporary = os.path.join(place, "file")
        with open(temporary, "xb") as file:
            if mode is None:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            yield file
        os.chmod(temporary, mode)  # the block may have put another file there
        with open(temporary, "ab") as file:
            os.fsync(file.fileno())
        take_place(temporary, path)
    # The name, too, is to survive a power failure; not every file system can promise it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def take_place(temporary: str, path: str) -> None:
    """Windows refuses it while anyone has either file open, as those have that look for viruses: so it is tried for a
    second."""
    deadline = time.monotonic() + 1
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextlib.contextmanager
def workplace(folder: str) -> Iterator[str]:
    """A folder `.batten-saving-...` in another one, for nobody else to look into, which is gone when the block ends.

    It is locked meanwhile.  A lock ends with its process, however that ends, and others see it from other containers
    and machines as well, where a process's number would say nothing.
    """
    while True:
        place = os.path.join(folder, f"{SAVING}{os.urandom(8).hex()}")
        os.mkdir(place, 0o700)
        descriptor = None
        try:
            descriptor = locked(place)
        except (BlockingIOError, FileNotFoundError):
            continue  # it was tidied up before it was locked
        except OSError:
            pass  # there are no locks on this file system, nor on Windows, and so nothing is tidied up
        break
    try:
        yield place
    finally:
        remove(place)
        if descriptor is not None:
            os.close(descriptor)


def tidy(folder: str | os.PathLike[str]) -> None:
    """Removes what has been left in a folder by processes that were killed while they wrote a file there."""
    for name in os.listdir(folder):
        if name.startswith(SAVING):
            with contextlib.suppress(OSError):  # someone is at work there
                descriptor = locked(place := os.path.join(folder, name))
                try:
                    remove(place)
                finally:
                    os.close(descriptor)


def locked(place: str) -> int:
    """Locks a folder until the descriptor that is returned is closed.  OSError if it is locked already, or gone."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(place)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def remove(place: str) -> None:
    for name in os.listdir(place):
        os.unlink(os.path.join(place, name))
    os.rmdir(place)


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

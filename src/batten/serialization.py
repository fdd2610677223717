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
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from typing import Any, NoReturn

import numpy as np

from . import dtypes
from .autograd import Variable, wrap

__all__ = ["load", "save"]

FORMAT = "batten 1"
DEPTH = 100  # more nesting than this is an object that holds itself

STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
STORABLE = {np.dtype(code).newbyteorder("=") for code in STORED.values()}


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Writes an object into a safetensors file: all of it, or nothing.

    The object is made of dicts (with strings and ints as keys), lists, tuples, None,
    bools, ints, floats and strings, Tensors and NumPy arrays of numbers; anything else is a
    TypeError that says where it is.  `load` gives all of it back equal and of the same
    types, except that a subclass of dict becomes a dict, a Parameter a Tensor, and
    `requires_grad` is off.

    The file is written beside the old one and then takes its place, so that an
    interrupted or failed save leaves the old file as it was.

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
    write(path, safetensors.numpy.save(arrays, {"batten": json.dumps(document)}))


def load(path: str | os.PathLike[str]) -> Any:
    """The object in a file written by `save`, or the tensors, by name, in any other safetensors file.

    A file that is damaged, cut short or of another kind is a ValueError that says what is
    wrong with it.

    >>> import batten
    >>> batten.load("nowhere.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    import safetensors

    with open(os.fspath(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header_size = int.from_bytes(file.read(8), "little")
        if not 2 <= header_size <= size - 8:
            raise damaged(path, "it is cut short or not a safetensors file")
        file.seek(0)
        content = file.read()
    try:
        arrays = {name: array(name, **entry) for name, entry in safetensors.deserialize(content)}
        header = json.loads(content[8 : 8 + header_size], object_pairs_hook=unique)
        metadata = header.get("__metadata__") or {}
        # Any sign of our own text will do, so that damage to one does not make a file someone else's.
        if "batten" in metadata or '"crc32":' in str(metadata) or '"structure":' in str(metadata):
            return restore(metadata, arrays)
        return {name: tensor(name, arrays) for name in sorted(arrays)}
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise damaged(path, str(error)) from None


def damaged(path: str | os.PathLike[str], reason: str) -> ValueError:
    return ValueError(f"cannot load {os.fspath(path)}: {reason}")


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
        return {"dict": [[key, encode(x[key], step(path, key), depth + 1, arrays)] for key in x]}
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
    arrays[name] = np.asarray(x, x.dtype.newbyteorder("<"), order="C")
    return name


def decode(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The object that some JSON stands for; its tensors and arrays are taken out of `arrays`."""
    if isinstance(node, list):
        return [decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, value),) = node.items()
    if tag == "int":
        return int(value, 16)
    if tag == "float":
        return float.fromhex(value)
    if tag == "tuple":
        return tuple([decode(item, arrays) for item in value])
    if tag == "dict":
        return {key: decode(item, arrays) for key, item in value}
    if tag == "tensor":
        return tensor(value, arrays)
    if tag == "array":
        return arrays.pop(value)
    raise ValueError(f"its structure has an unknown tag {tag!r}")


def restore(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> Any:
    """The object in a file of our own."""
    try:
        document = json.loads(metadata["batten"])
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


# ---- arrays ----


def array(name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    """One entry of a file as an array that shows the bytes read."""
    if dtype not in STORED:
        raise ValueError(f"tensor {name!r} has the type {dtype}, which batten does not have")
    x = np.frombuffer(data, STORED[dtype]).reshape(shape)
    if dtype == "BOOL" and x.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"tensor {name!r} has bytes that are neither true nor false")
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def tensor(name: str, arrays: dict[str, np.ndarray]) -> Any:
    x = arrays.pop(name)
    if x.dtype not in dtypes.known:
        raise ValueError(f"tensor {name!r} has the type {x.dtype}, which tensors do not have")
    return wrap(x)


def checksum(structure: Any, arrays: dict[str, np.ndarray]) -> int:
    """One number for all that a file holds: structure, names, types, shapes and bytes."""
    crc = zlib.crc32(json.dumps(structure).encode())
    for name in sorted(arrays):
        x = arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False)
        crc = zlib.crc32(f"{name} {x.dtype.str} {x.shape}".encode(), crc)
        crc = zlib.crc32(x.data, crc)
    return crc


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which must not say anything twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("its header says something twice")
    return found


# ---- files ----


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts a file in its place as a whole, with its content safely on the disk."""
    path = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".batten-{os.urandom(8).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    # The name, too, is to survive a power failure; not every file system can promise it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

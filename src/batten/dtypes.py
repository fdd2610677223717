"""Element types, under PyTorch's names.  A dtype is NumPy's own, so `x.dtype == np.float32` holds."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "bool",
    "double",
    "float",
    "float32",
    "float64",
    "get_default_dtype",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "set_default_dtype",
    "short",
    "uint8",
]  # fmt: skip

float32 = float = np.dtype("float32")
float64 = double = np.dtype("float64")
uint8 = np.dtype("uint8")
int8 = np.dtype("int8")
int16 = short = np.dtype("int16")
int32 = int = np.dtype("int32")
int64 = long = np.dtype("int64")
bool = np.dtype("bool")

known = {float32, float64, uint8, int8, int16, int32, int64, bool}
default = float32


def get_default_dtype() -> np.dtype:
    """The type of tensors made from Python's floats."""
    return default


def set_default_dtype(dtype: Any) -> None:
    """Makes float32 or float64 the type of tensors made from Python's floats."""
    global default
    if as_dtype(dtype).kind != "f":
        raise TypeError(f"expected float32 or float64 as the default dtype, got {dtype}")
    default = as_dtype(dtype)


def as_dtype(dtype: Any) -> np.dtype:
    """A dtype that tensors can have, from batten's, NumPy's or Python's own."""
    if isinstance(dtype, np.dtype) and dtype in known and dtype.isnative:
        return dtype
    try:
        if dtype is None:
            raise TypeError
        found = np.dtype(dtype).newbyteorder("=")  # Python's float is float64, its int int64
    except TypeError:
        raise TypeError(f"expected a dtype such as batten.float32, got {dtype!r}") from None
    if found not in known:
        raise TypeError(f"tensors have {', '.join(sorted(map(str, known)))}, got {found}")
    return found

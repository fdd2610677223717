"""How things are written: tensors PyTorch's way, with four decimals and long axes cut short; and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtypes

__all__: list[str] = []

PRECISION = 4
LINE = 80
EDGE = 3  # how many are shown at either end of an axis that is cut
WHOLE = 1000  # tensors up to this size are shown whole


def represent(x: Any) -> str:
    """A tensor's numbers, and what cannot be seen from them."""
    array = x.array
    notes = []
    if array.size == 0 and array.ndim != 1:
        notes.append(f"size={array.shape}")
    implied = (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool) if array.size else (dtypes.get_default_dtype(),)
    if array.dtype not in implied:
        notes.append(f"dtype=batten.{array.dtype}")
    if x.creator is not None:
        notes.append(f"grad_fn={x.creator!r}")
    elif x.tracked:
        notes.append("requires_grad=True")
    text = "tensor(" + (write(array, indent=7) if array.size else "[]")
    used = len(text) - text.rfind("\n") + 1  # of the last line, as PyTorch counts it
    for note in notes:
        if used + len(note) + 2 <= LINE:
            text += f", {note}"
            used += len(note) + 2
        else:
            text += f",\n       {note}"
            used = len(note) + 7
    return text + ")"


def write(array: np.ndarray, indent: int) -> str:
    cut = array.size > WHOLE
    number = number_format(corners(array) if cut else array)
    return write_axis(array, indent, cut, number, len(number(array.flat[0])))


def corners(array: np.ndarray) -> np.ndarray:
    """What is left to see when long axes are cut: their ends."""
    for axis, length in enumerate(array.shape):
        if length > 2 * EDGE:
            array = np.take(array, [*range(EDGE), *range(length - EDGE, length)], axis)
    return array


def number_format(array: np.ndarray) -> Callable[[Any], str]:
    """A function that writes each of some numbers in the same width, in the form that suits them all."""
    if array.dtype.kind != "f":
        width = max(len(str(v)) for v in array.flat)
        return lambda v: str(v).rjust(width)
    seen = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    low, high = (np.abs(seen).min(), np.abs(seen).max()) if seen.size else (1.0, 1.0)
    whole = bool((seen == np.floor(seen)).all())
    if high / low > 1000 or high > 1e8 or (not whole and low < 1e-4):
        form = f".{PRECISION}e"
    else:
        form = ".0f" if whole else f".{PRECISION}f"
    point = "." if form == ".0f" else ""

    def text(v: Any) -> str:
        return format(float(v), form) + (point if math.isfinite(v) else "")

    width = max((len(text(v)) for v in seen), default=1)
    return lambda v: text(v).rjust(width)


def write_axis(array: np.ndarray, indent: int, cut: bool, number: Callable[[Any], str], width: int) -> str:
    if array.ndim == 0:
        return number(array[()])
    cut_here = cut and len(array) > 2 * EDGE
    shown = [*array[:EDGE], *array[-EDGE:]] if cut_here else list(array)
    if array.ndim > 1:
        parts = [write_axis(part, indent + 1, cut, number, width) for part in shown]
        if cut_here:
            parts.insert(EDGE, "...")
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    words = [number(v) for v in shown]
    if cut_here:
        words.insert(EDGE, " ...")
    fit = max(1, (LINE - indent) // (width + 2))
    lines = [", ".join(words[i : i + fit]) for i in range(0, len(words), fit)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of a table, in columns as wide as they must be: the first ones, names, to the left, the rest to the right.

    >>> print(aligned([["layer", "units"], ["(0) Linear", "16"]]))
    layer       units
    (0) Linear     16
    """
    width = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "\n".join(
        "  ".join(cell.ljust(width[i]) if i < left else cell.rjust(width[i]) for i, cell in enumerate(row)).rstrip()
        for row in rows
    )

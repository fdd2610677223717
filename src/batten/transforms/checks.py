"""What is asked of the arguments of transforms."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__: list[str] = []

Fill = float | Sequence[float]  # of all channels, or of each
BORDERS = ("constant", "edge", "reflect", "symmetric")


def whole_numbers(given: Any, *lengths: int) -> list[int] | None:
    """One whole number or several as a list, if it is of one of these lengths."""
    found = list(given) if isinstance(given, (tuple, list)) else [given]
    return found if len(found) in lengths and all(isinstance(n, numbers.Integral) for n in found) else None


def a_size(name: str, size: Any) -> Sequence[int]:
    """A height and a width, both at least 1; one number stands for two."""
    found = whole_numbers(size, 1, 2)
    if found is None:
        raise TypeError(f"{name} expects size as one whole number or two, (h, w), got {size!r}")
    if min(found) < 1:
        raise ValueError(f"{name} expects a size of at least one pixel, got {size!r}")
    return size if isinstance(size, (tuple, list)) and len(size) == 2 else (found[0], found[0])


def a_padding(name: str, padding: Any) -> list[int]:
    """How many pixels left, right, at the top and at the bottom, of one number, two (left and right, top and bottom)
    or four (left, top, right, bottom)."""
    found = whole_numbers(padding, 1, 2, 4)
    if found is None:
        raise TypeError(f"{name} expects padding as one, two or four whole numbers, got {padding!r}")
    left, top, right, bottom = found * (4 // len(found))
    return [left, right, top, bottom]


def a_border(name: str, padding_mode: Any, fill: Fill) -> None:
    if padding_mode not in BORDERS:
        raise ValueError(f"{name} expects padding_mode constant, edge, reflect or symmetric, got {padding_mode!r}")
    if padding_mode != "constant" and isinstance(fill, Sequence) and len(fill) > 1:
        raise ValueError(f"{name} has a fill for each channel with padding_mode constant only, got {fill}")


def a_fill(name: str, fill: Any) -> Fill:
    given = fill if isinstance(fill, (tuple, list)) else [fill]
    if not given or not all(isinstance(n, numbers.Real) for n in given):
        raise TypeError(f"{name} expects fill as a number, or one for each channel, got {fill!r}")
    return fill


def a_pixel(name: str, fill: Fill, images: np.ndarray, dtype: Any = None, what: str = "fill") -> np.ndarray:
    """The fill as a pixel of images (N, C, H, W), in their type or another."""
    channels = images.shape[1]
    given = np.ravel(fill).astype(np.float64)
    if len(given) not in (1, channels):
        raise ValueError(f"{name} expects a {what} for each of {channels} channels, got {fill}")
    if images.dtype == np.uint8:
        if not ((given >= 0) & (given <= 255)).all():
            raise ValueError(f"{name} expects a {what} from 0 to 255 for images of uint8, got {fill}")
        given = np.rint(given) if dtype is None else given
    return np.broadcast_to(given, channels).astype(dtype or images.dtype)


def some_channels(name: str, images: np.ndarray, *counts: int) -> None:
    """Refuses images (N, C, H, W) with another number of channels."""
    if images.shape[1] not in counts:
        last = (
            ", whose channels lie last: use .transpose(2, 0, 1) on an image first" if images.shape[3] in counts else ""
        )
        raise ValueError(
            f"{name} expects images of {' or '.join(map(str, counts))} channels, got {list(images.shape)}{last}"
        )


def a_probability(name: str, p: Any) -> float:
    if not isinstance(p, numbers.Real) or not 0 <= float(p) <= 1:
        raise ValueError(f"{name} expects p from 0 to 1, got {p!r}")
    return p  # type: ignore[return-value]


def an_interpolation(name: str, interpolation: Any) -> str:
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"{name} expects interpolation nearest or bilinear, got {interpolation!r}")
    return interpolation


def some_numbers(name: str, what: str, given: Any, *lengths: int) -> Any:
    """A sequence of so many finite numbers."""
    several = " or ".join(map(str, lengths))
    if not isinstance(given, Sequence) or not all(isinstance(n, numbers.Real) for n in given):
        raise TypeError(f"{name} expects {what} as a sequence of {several} numbers, got {given!r}")
    if len(given) not in lengths or not all(map(math.isfinite, given)):
        raise ValueError(f"{name} expects {what} as a sequence of {several} finite numbers, got {given!r}")
    return given


def a_range(name: str, what: str, given: Any) -> Any:
    """Two numbers above nought, the lower first."""
    low, high = some_numbers(name, what, given, 2)
    if not 0 < low <= high:
        raise ValueError(f"{name} expects {what} as (min, max) with 0 < min <= max, got {given}")
    return given


def some_angles(name: str, what: str, given: Any, *lengths: int) -> list[float]:
    """Angles from the first to the second, and so on; one number n stands for -n to n."""
    if isinstance(given, numbers.Real):
        if not float(given) >= 0:
            raise ValueError(f"{name} expects {what} of at least 0 where it is a single number, got {given}")
        given = [-float(given), float(given)]
    return [float(angle) for angle in some_numbers(name, what, given, *lengths)]

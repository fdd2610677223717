"""How exact convolutions of float32 have to be: one setting for the whole process."""

from __future__ import annotations

__all__ = ["get_float32_conv_precision", "set_float32_conv_precision"]

PRECISIONS = ("highest", "high")
conv = "high"


def get_float32_conv_precision() -> str:
    """What `set_float32_conv_precision` was told last; at first it is "high"."""
    return conv


def set_float32_conv_precision(precision: str) -> None:
    """Says whether convolutions of float32 may trade digits for time.

    With "highest" every result is the plain sum of products w x.  With "high" it may be found by Winograd's
    algorithm (Lavin & Gray 2016), which takes a fraction of the multiplications: the largest error, of a result
    or of a gradient, is at most 5e-6 times the largest sum Σ |w| |x| of the magnitudes behind a number.

    It is for the process; a call of a layer goes backward as it went forward.  Convolutions of float64
    are always plain sums.  ValueError for any other word.

    >>> import batten
    >>> batten.set_float32_conv_precision("highest")
    >>> batten.get_float32_conv_precision()
    'highest'
    >>> batten.set_float32_conv_precision("high")
    """
    global conv
    if precision not in PRECISIONS:
        raise ValueError(f"expected 'highest' or 'high' as the precision of convolutions, got {precision!r}")
    conv = precision

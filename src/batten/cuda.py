"""What code asks before it chooses a device: there are no others."""

from __future__ import annotations

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: batten has the device cpu only.

    >>> import batten
    >>> batten.device("cuda" if batten.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    return False


def device_count() -> int:
    """How many there are: none."""
    return 0

"""The one device, so that code which names it runs unchanged."""

from __future__ import annotations

from typing import Any

__all__ = ["device"]


class device(str):
    """The processor.

    >>> import batten
    >>> batten.device("cpu")
    device(type='cpu')
    >>> batten.device("cuda")
    Traceback (most recent call last):
    RuntimeError: batten has the device cpu only, got 'cuda'
    """

    __slots__ = ()

    def __new__(cls, type: Any = "cpu", index: int | None = None) -> device:
        if str(type) not in ("cpu", "cpu:0") or index not in (None, 0):
            raise RuntimeError(f"batten has the device cpu only, got {str(type)!r}")
        return super().__new__(cls, "cpu")

    @property
    def type(self) -> str:
        """'cpu'"""
        return "cpu"

    def __repr__(self) -> str:
        return "device(type='cpu')"


CPU = device("cpu")


def check_device(device_or_none: Any) -> None:
    """Refuses any other device where one may be named."""
    if device_or_none is not None:
        device(device_or_none)

"""Parameter: a tensor that a Module counts among what is to be learnt."""

from __future__ import annotations

from typing import Any

from ..creation import empty
from ..tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that a Module finds among its attributes, and an optimizer changes.

    It shows the memory of the tensor that it is made from, and asks for a gradient
    unless told otherwise.

    >>> import batten
    >>> batten.nn.Parameter(batten.tensor([1.0, 2.0]))
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter expects a tensor, got {type(data).__name__}; use batten.tensor(...) first")
        self.array, self.version = data.array, data.version
        self.tracked, self.gradient, self.creator, self.index = False, None, None, 0
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A parameter without a gradient, as in PyTorch, whose tensors do take theirs along."""
        copy: Any = super().__deepcopy__(memo)
        copy.grad = None
        return copy

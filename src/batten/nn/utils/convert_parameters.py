"""All parameters as one vector, and a vector as all parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...autograd import Variable, no_grad
from ...operations.shape import cat

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of tensors in one vector, a copy through which gradients go back to them.

    Each tensor's are in the order of its indices, however it lies in memory.

    >>> import batten
    >>> batten.nn.utils.parameters_to_vector([batten.tensor([[1.0, 2.0], [3.0, 4.0]]), batten.tensor(5.0)])
    tensor([1., 2., 3., 4., 5.])
    """
    return cat([parameter.reshape(-1) for parameter in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes tensors show the elements of a vector, in the order of `parameters_to_vector`.

    They keep their shapes, and share the vector's memory from then on, as in PyTorch: a change of the one is a change
    of the others.  `vec.clone()` keeps them apart.  ValueError unless the vector has as many elements as they have.

    >>> import batten
    >>> layer = batten.nn.Linear(2, 1)
    >>> batten.nn.utils.vector_to_parameters(batten.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight, layer.bias
    (Parameter containing:
    tensor([[1., 2.]], requires_grad=True), Parameter containing:
    tensor([3.], requires_grad=True))
    """
    if not isinstance(vec, Variable):
        raise TypeError(f"expected batten.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    wanted = sum(parameter.numel() for parameter in parameters)
    if vec.shape != (wanted,):
        raise ValueError(f"vector_to_parameters expects a vector of {wanted} elements, got {list(vec.shape)}")
    begin = 0
    for parameter in parameters:
        end = begin + parameter.numel()
        parameter.data = vec[begin:end].reshape(parameter.shape).detach()
        begin = end

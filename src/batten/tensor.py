"""Tensor: a NumPy array on the tape, with PyTorch's operators and methods.

Most methods are functions of `operations`, bound by name in the class body; what is
written out here is what only a class can say: attributes, conversions and the
protocols of Python and NumPy.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import autograd, dtypes, operations, random, tape
from .autograd import Operation, Variable, wrap
from .creation import empty, tensor
from .device import CPU, check_device
from .memory import contiguous_format, expect_format, lies_in, preserve_format
from .operations import indexing, inplace
from .operations.inplace import in_place
from .operations.promotion import NUMBERS, to_type
from .operations.shape import arranged
from .printing import represent

__all__ = ["Tensor", "tensor"]


class Tensor(Variable):
    """An array with a gradient.

    `Tensor(data)` copies numbers into the default float type, and `Tensor(2, 3)` is what
    is in memory, in that shape; `batten.tensor` keeps the type that numbers have.

    >>> import batten
    >>> x = batten.Tensor([1, 2]).requires_grad_()
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()

    # NumPy leaves operators with an array on the left to the tensor.
    __array_priority__ = 1000

    def __init__(self, *data: Any) -> None:
        sizes = not data or isinstance(data[0], (builtins.int, np.integer))
        if not sizes and len(data) > 1:
            raise TypeError(f"Tensor expects data, or the lengths of axes, got {len(data)} arguments")
        default = dtypes.get_default_dtype()
        self.array = (empty(*data or (0,)) if sizes else tensor(data[0], dtype=default)).array
        self.tracked, self.gradient = False, None
        self.creator, self.index, self.version = None, 0, [0, 0]

    # What a tensor is

    @property
    def shape(self) -> tuple[builtins.int, ...]:
        """The lengths of its axes."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of its elements."""
        return self.array.dtype

    @property
    def device(self) -> Any:
        """Where its memory is: device(type='cpu')."""
        return CPU

    @property
    def ndim(self) -> builtins.int:
        """The number of axes."""
        return self.array.ndim

    @property
    def itemsize(self) -> builtins.int:
        """The bytes of an element."""
        return self.array.itemsize

    @property
    def is_leaf(self) -> builtins.bool:
        """Was it made by the user, and not by a recorded operation?"""
        return self.creator is None

    @property
    def grad_fn(self) -> Operation | None:
        """The operation on the tape that made this tensor."""
        return self.creator

    @property
    def requires_grad(self) -> builtins.bool:
        """Is a gradient asked for?"""
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: builtins.bool) -> None:
        self.requires_grad_(requires_grad)

    @property
    def grad(self) -> Any:
        """The gradient that `backward` added up, None before the first time."""
        return self.gradient

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None:
            if not isinstance(grad, Tensor):
                raise TypeError(f"expected a tensor or None as grad, got {type(grad).__name__}")
            if grad.shape != self.shape or grad.dtype != self.dtype:
                raise RuntimeError(
                    f"expected a grad like its tensor, {self.dtype}{list(self.shape)}, "
                    f"got {grad.dtype}{list(grad.shape)}"
                )
        self.gradient = grad

    @grad.deleter
    def grad(self) -> None:
        self.gradient = None

    @property
    def data(self) -> Tensor:
        """The same memory off the tape, and unwatched: what is written to it between forward and backward is at your
        own risk, as it is to NumPy's array."""
        return wrap(self.array)

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, Tensor):
            raise TypeError(f"expected a tensor as data, got {type(other).__name__}")
        if self.tracked and other.array.dtype.kind != "f":
            raise TypeError(f"expected floats, as this tensor requires a gradient, got {other.dtype}")
        self.array, self.version = other.array, other.version

    def size(self, dim: builtins.int | None = None) -> Any:
        """The shape, or the length of one axis."""
        return self.array.shape if dim is None else self.array.shape[dim]

    def dim(self) -> builtins.int:
        """The number of axes."""
        return self.array.ndim

    def numel(self) -> builtins.int:
        """The number of elements."""
        return self.array.size

    def element_size(self) -> builtins.int:
        """The bytes of an element."""
        return self.array.itemsize

    def stride(self, dim: builtins.int | None = None) -> Any:
        """The steps in memory, in elements, from one element to the next along each axis, or along one."""
        strides = tuple([s // self.array.itemsize for s in self.array.strides])
        return strides if dim is None else strides[dim]

    def is_contiguous(self, memory_format: Any = contiguous_format) -> builtins.bool:
        """Do its elements lie one after the other, the last axis' first, or in the order of a memory format?"""
        expect_format("is_contiguous", memory_format)
        return lies_in(self.array, memory_format)

    def is_floating_point(self) -> builtins.bool:
        """Is its type float32 or float64?"""
        return self.array.dtype.kind == "f"

    # Its gradient

    def backward(
        self, gradient: Any = None, retain_graph: builtins.bool = False, create_graph: builtins.bool = False
    ) -> None:
        """Adds this result's gradient to `.grad` of every leaf it was made from."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """Asks for a gradient, or no longer."""
        if requires_grad and self.array.dtype.kind != "f":
            raise RuntimeError(f"only tensors of floats can require gradients, got {self.dtype}")
        if not requires_grad and self.creator is not None:
            raise RuntimeError("only a leaf can stop requiring a gradient; use detach() for the values of a result")
        self.tracked = builtins.bool(requires_grad)
        return self

    # Its values elsewhere

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item expects a tensor of one element, got shape {list(self.shape)}")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.array.tolist()

    def numpy(self) -> np.ndarray:
        """The array itself: what is written to one is seen in the other."""
        return self.array

    def to(
        self,
        target: Any = None,
        dtype: Any = None,
        non_blocking: builtins.bool = False,
        copy: builtins.bool = False,
        *,
        device: Any = None,
        memory_format: Any = preserve_format,
    ) -> Tensor:
        """In another type, itself if it has it already: `to(dtype)`, `to(other)`, `to("cpu")`, `to("cpu", dtype)`.

        With a memory_format in that order of memory, too: `to(memory_format=batten.channels_last)`.

        >>> import batten
        >>> batten.tensor([1, 2]).to(batten.float64)
        tensor([1., 2.], dtype=batten.float64)
        """
        dtype = requested_type(target, dtype, device)
        result = self if dtype is None else to_type(self, dtype)
        expect_format("to", memory_format)
        if memory_format is not preserve_format:
            result = arranged("to", result, memory_format)
        return result.clone() if copy and result is self else result

    def cpu(self) -> Tensor:
        """Itself."""
        return self

    def float(self) -> Tensor:
        """In float32, itself if it is."""
        return to_type(self, dtypes.float32)

    def double(self) -> Tensor:
        """In float64, itself if it is."""
        return to_type(self, dtypes.float64)

    def int(self) -> Tensor:
        """In int32, itself if it is."""
        return to_type(self, dtypes.int32)

    def long(self) -> Tensor:
        """In int64, itself if it is."""
        return to_type(self, dtypes.int64)

    def bool(self) -> Tensor:
        """Where it is not zero, itself if it is of bools."""
        return to_type(self, dtypes.bool)

    def type(self, dtype: Any = None) -> Any:
        """In another type; without one, the name of its own, as in 'batten.FloatTensor'."""
        return f"batten.{TYPE_NAMES[self.dtype]}Tensor" if dtype is None else to_type(self, dtypes.as_dtype(dtype))

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's function of tensors: the one here of the same meaning, else NumPy's, of the arrays."""
        function = UFUNCS.get(ufunc) if method == "__call__" and not kwargs else None
        if function is not None:
            return function(*inputs)
        if "out" in kwargs:
            kwargs["out"] = tuple([x.array if isinstance(x, Tensor) else x for x in kwargs["out"]])
        return getattr(ufunc, method)(*[x.array if isinstance(x, Tensor) else x for x in inputs], **kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __float__(self) -> builtins.float:
        return builtins.float(self.item())

    def __int__(self) -> builtins.int:
        return builtins.int(self.item())

    def __bool__(self) -> builtins.bool:
        if self.array.size != 1:
            raise RuntimeError(f"only a tensor of one element is true or false, got shape {list(self.shape)}")
        return builtins.bool(self.array.item())

    def __index__(self) -> builtins.int:
        if self.array.dtype.kind == "f" or self.array.size != 1:
            raise TypeError(f"only an integer tensor of one element is an index, got {self.dtype}{list(self.shape)}")
        return builtins.int(self.array.item())

    def __format__(self, spec: str) -> str:
        if spec and self.array.ndim:
            raise TypeError(f"only a tensor without axes can be written as {spec!r}, got shape {list(self.shape)}")
        return repr(self) if self.array.ndim else format(self.item(), spec)

    def __repr__(self) -> str:
        return represent(self)

    # Copies

    def __copy__(self) -> Tensor:
        copy = rebuild(type(self), self.array, self.tracked)
        copy.version = self.version
        return copy

    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> Tensor:
        if self.creator is not None:
            raise RuntimeError("only leaves can be copied with deepcopy; use detach() or clone() for a result")
        copy = rebuild(type(self), self.array.copy(), self.tracked)
        memo[id(self)] = copy
        if self.gradient is not None:
            copy.gradient = self.gradient.__deepcopy__(memo)
        return copy

    def __reduce__(self) -> Any:
        return rebuild, (type(self), self.array, self.tracked)

    # As a sequence

    def __len__(self) -> builtins.int:
        if not self.array.ndim:
            raise TypeError("len() of a tensor without axes")
        return len(self.array)

    def __contains__(self, element: Any) -> builtins.bool:
        return builtins.bool(operations.eq(self, element).array.any())

    # Operators

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        return operations.eq(self, other) if isinstance(other, COMPARABLE) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return operations.ne(self, other) if isinstance(other, COMPARABLE) else NotImplemented

    __lt__ = lt = operations.lt
    __le__ = le = operations.le
    __gt__ = gt = operations.gt
    __ge__ = ge = operations.ge
    eq = operations.eq
    ne = operations.ne

    __add__ = __radd__ = add = operations.add
    __sub__ = sub = operations.sub
    __mul__ = __rmul__ = mul = operations.mul
    __truediv__ = div = operations.div
    __floordiv__ = floor_divide = operations.floor_divide
    __mod__ = remainder = operations.remainder
    __pow__ = pow = operations.pow
    __neg__ = neg = operations.neg
    __abs__ = abs = operations.abs

    def __rsub__(self, other: Any) -> Tensor:
        return operations.sub(other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return operations.div(other, self)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return operations.floor_divide(other, self)

    def __rmod__(self, other: Any) -> Tensor:
        return operations.remainder(other, self)

    def __rpow__(self, other: Any) -> Tensor:
        return operations.pow(other, self)

    def __rmatmul__(self, other: Any) -> Tensor:
        return operations.matmul(other, self)

    def __pos__(self) -> Tensor:
        return self

    __iadd__ = add_ = in_place(operations.add)
    __isub__ = sub_ = in_place(operations.sub)
    __imul__ = mul_ = in_place(operations.mul)
    __itruediv__ = div_ = in_place(operations.div)
    __ifloordiv__ = floor_divide_ = in_place(operations.floor_divide)
    __imod__ = remainder_ = in_place(operations.remainder)
    __ipow__ = pow_ = in_place(operations.pow)

    # Functions, element by element

    exp = operations.exp
    expm1 = operations.expm1
    log = operations.log
    log1p = operations.log1p
    sqrt = operations.sqrt
    rsqrt = operations.rsqrt
    square = operations.square
    reciprocal = operations.reciprocal
    sign = operations.sign
    sin = operations.sin
    cos = operations.cos
    tanh = operations.tanh
    sigmoid = operations.sigmoid
    erf = operations.erf
    relu = operations.relu
    clamp = clip = operations.clamp
    maximum = operations.maximum
    minimum = operations.minimum
    masked_fill = operations.masked_fill

    neg_ = in_place(operations.neg)
    abs_ = in_place(operations.abs)
    exp_ = in_place(operations.exp)
    expm1_ = in_place(operations.expm1)
    log_ = in_place(operations.log)
    log1p_ = in_place(operations.log1p)
    sqrt_ = in_place(operations.sqrt)
    rsqrt_ = in_place(operations.rsqrt)
    square_ = in_place(operations.square)
    reciprocal_ = in_place(operations.reciprocal)
    sign_ = in_place(operations.sign)
    sin_ = in_place(operations.sin)
    cos_ = in_place(operations.cos)
    tanh_ = in_place(operations.tanh)
    sigmoid_ = in_place(operations.sigmoid)
    erf_ = in_place(operations.erf)
    relu_ = in_place(operations.relu)
    clamp_ = clip_ = in_place(operations.clamp)
    masked_fill_ = in_place(operations.masked_fill)
    copy_ = inplace.copy_
    fill_ = inplace.fill_
    zero_ = inplace.zero_

    bernoulli = random.bernoulli
    bernoulli_ = random.bernoulli_
    normal_ = random.normal_
    random_ = random.random_
    uniform_ = random.uniform_

    def where(self, condition: Any, other: Any) -> Tensor:
        """These elements where the condition holds, else the other's."""
        return operations.where(condition, self, other)

    # Questions

    isnan = operations.isnan
    isinf = operations.isinf
    isfinite = operations.isfinite
    logical_and = operations.logical_and
    logical_or = operations.logical_or
    logical_not = operations.logical_not
    bitwise_and = __and__ = __rand__ = operations.bitwise_and
    bitwise_or = __or__ = __ror__ = operations.bitwise_or
    bitwise_xor = __xor__ = __rxor__ = operations.bitwise_xor
    bitwise_not = __invert__ = operations.bitwise_not
    allclose = operations.allclose
    equal = operations.equal
    any = operations.any
    all = operations.all

    # Sums and their like

    sum = operations.sum
    mean = operations.mean
    var = operations.var
    std = operations.std
    max = operations.max
    min = operations.min
    amax = operations.amax
    amin = operations.amin
    argmax = operations.argmax
    argmin = operations.argmin
    prod = operations.prod
    cumsum = operations.cumsum
    norm = operations.norm
    logsumexp = operations.logsumexp
    softmax = operations.softmax
    log_softmax = operations.log_softmax

    # Shapes and parts

    reshape = operations.reshape
    view = operations.view
    flatten = operations.flatten
    unflatten = operations.unflatten
    transpose = operations.transpose
    permute = operations.permute
    squeeze = operations.squeeze
    unsqueeze = operations.unsqueeze
    expand = operations.expand
    broadcast_to = operations.broadcast_to
    contiguous = operations.contiguous
    clone = operations.clone
    detach = operations.detach
    flip = operations.flip
    roll = operations.roll
    split = operations.split
    chunk = operations.chunk
    unbind = operations.unbind
    gather = operations.gather
    index_select = operations.index_select
    tril = operations.tril
    triu = operations.triu

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The axes in reverse."""
        return operations.permute(self, range(self.array.ndim)[::-1])

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes exchanged."""
        if self.array.ndim < 2:
            raise RuntimeError(f"mT expects a matrix or a batch of them, got shape {list(self.shape)}")
        return operations.transpose(self, -2, -1)

    __getitem__ = indexing.item_at
    __setitem__ = indexing.put_at

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.ndim:
            raise TypeError("iteration over a tensor without axes")
        return iter(operations.unbind(self))

    # Products of matrices

    matmul = __matmul__ = operations.matmul
    mm = operations.mm
    bmm = operations.bmm
    mv = operations.mv
    dot = operations.dot
    outer = operations.outer


def requested_type(target: Any, dtype: Any, device: Any) -> np.dtype | None:
    """The type, if any, that the arguments of `to` ask for; a device they name is checked."""
    check_device(device)
    if isinstance(target, Tensor):
        return target.dtype
    if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda", "mps", "meta"):
        check_device(target)
    elif target is not None:
        dtype = target
    return None if dtype is None else dtypes.as_dtype(dtype)


def rebuild(cls: type[Tensor], array: np.ndarray, requires_grad: builtins.bool) -> Tensor:
    """A leaf from its parts, for pickle and deepcopy."""
    x = cls.__new__(cls)
    x.array, x.tracked, x.gradient = array, requires_grad, None
    x.creator, x.index, x.version = None, 0, [0, 0]
    return x


COMPARABLE: Any = (Variable, np.ndarray, *NUMBERS)

TYPE_NAMES = {
    dtypes.float32: "Float",
    dtypes.float64: "Double",
    dtypes.uint8: "Byte",
    dtypes.int8: "Char",
    dtypes.int16: "Short",
    dtypes.int32: "Int",
    dtypes.int64: "Long",
    dtypes.bool: "Bool",
}

# NumPy's functions that have a namesake here, or another name.
UFUNCS: dict[np.ufunc, Any] = {
    getattr(np, theirs): getattr(operations, ours)
    for theirs, ours in [
        *[(name, name) for name in operations.__dict__ if isinstance(getattr(np, name, None), np.ufunc)],
        ("subtract", "sub"),
        ("multiply", "mul"),
        ("divide", "div"),
        ("power", "pow"),
        ("negative", "neg"),
        ("absolute", "abs"),
        ("equal", "eq"),
        ("not_equal", "ne"),
        ("less", "lt"),
        ("less_equal", "le"),
        ("greater", "gt"),
        ("greater_equal", "ge"),
    ]
}

tape.result_type = Tensor

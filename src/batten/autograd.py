"""Going backward: what users call.

The tape itself, and the walk along it, are in tape.py.  Here are `backward` and `grad`,
the modes that switch recording, `Function` for operations of one's own in PyTorch's form,
and `gradcheck`.

There are first derivatives only: gradients are arrays, not results of operations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _kernels as kernels
from .tape import Operation as Operation
from .tape import Recorded, accumulate, recording, walk
from .tape import Variable as Variable
from .tape import wrap as wrap

__all__ = [
    "Function",
    "GradcheckError",
    "Operation",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]


def initial_gradient(output: Any, gradient: Any) -> np.ndarray:
    """The gradient to start from: given, or one for a scalar."""
    if not isinstance(output, Variable):
        raise TypeError(f"expected a tensor to go back from, got {type(output).__name__}")
    if not output.tracked:
        raise RuntimeError(
            "this tensor does not require a gradient and was not made by an operation on one that does: "
            "there is nothing to go back through"
        )
    if gradient is None:
        if output.array.size != 1:
            raise RuntimeError(
                f"backward needs a gradient unless the result is a scalar, got shape {list(output.array.shape)}"
            )
        return np.array(1, output.array.dtype, ndmin=output.array.ndim)
    gradient = np.asarray(gradient.array if isinstance(gradient, Variable) else gradient, output.array.dtype)
    if gradient.shape != output.array.shape:
        raise RuntimeError(
            f"expected a gradient of the result's shape, {list(output.array.shape)}, got {list(gradient.shape)}"
        )
    return gradient


def initial_gradients(outputs: Sequence[Any], given: Any) -> list[np.ndarray]:
    """The gradients to start from: one for each result, or none."""
    gradients = list(given) if isinstance(given, (tuple, list)) else [given] * len(outputs)
    if len(gradients) != len(outputs):
        raise RuntimeError(f"expected {len(outputs)} gradients, one for each result, got {len(gradients)}")
    return [initial_gradient(y, g) for y, g in zip(outputs, gradients, strict=True)]


def as_list(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Variable) else list(tensors)


def refuse_second(create_graph: bool) -> None:
    if create_graph:
        raise NotImplementedError("create_graph=True: batten has first derivatives only")


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Adds the gradients of a result, or of the sum of several, to `.grad` of every leaf that they were made from.

    >>> import batten
    >>> x = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> batten.autograd.backward([x.sum(), (x * x).sum()])
    >>> x.grad
    tensor([3., 5.])
    """
    refuse_second(create_graph)
    roots = as_list(tensors)
    accumulate(walk(roots, initial_gradients(roots, grad_tensors), bool(retain_graph))[0])


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of (the sum of) some results with respect to some tensors, without touching any `.grad`.

    Only what lies between them is passed, and let go of.

    >>> import batten
    >>> x = batten.tensor(3.0, requires_grad=True)
    >>> batten.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    refuse_second(create_graph)
    roots, wanted = as_list(outputs), as_list(inputs)
    for x in wanted:
        if not x.tracked:
            raise RuntimeError("one of the tensors to differentiate by does not require a gradient")
    leaves, caught = walk(roots, initial_gradients(roots, grad_outputs), bool(retain_graph), wanted)
    results = []
    for x in wanted:
        slot = leaves.get(x, [None])[0] if x.creator is None else caught.get(id(x))
        if slot is None and not allow_unused:
            raise RuntimeError(
                "one of the tensors to differentiate by was not used for the results; "
                "allow_unused=True returns None for it"
            )
        results.append(None if slot is None else wrap(kernels.copy(kernels.empty_like(x.array), slot[0])))
    return tuple(results)


class GradMode(Recorded):
    """A `with` block, or a decorator of functions and generators, that switches the recording of operations."""

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(f"expected a function to decorate, got {function!r}")
        block = enable_grad if self.enabled else no_grad  # one for each call: calls may nest, or come from threads

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with block():
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            resume = functools.partial(next, steps)
            while True:
                try:
                    with block():  # while it runs, not while its user does
                        value = resume()
                except StopIteration as stop:
                    return stop.value
                try:
                    resume = functools.partial(steps.send, (yield value))
                except GeneratorExit:
                    with block():
                        steps.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(steps.throw, error)

        return generator if inspect.isgeneratorfunction(function) else wrapped


class FixedMode(GradMode):
    """A mode that its class says: it decorates with or without parentheses."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)

    def __init__(self, function: None = None) -> None:
        super().__init__()


class no_grad(FixedMode):
    """Within it, operations are not recorded.

    >>> import batten
    >>> x = batten.tensor(2.0, requires_grad=True)
    >>> with batten.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    >>> @batten.no_grad()
    ... def double(x):
    ...     return x + x
    >>> double(x).requires_grad
    False
    """

    enabled = False


class enable_grad(FixedMode):
    """Within it, operations are recorded again, inside of `no_grad`.

    >>> import batten
    >>> x = batten.tensor(2.0, requires_grad=True)
    >>> with batten.no_grad(), batten.enable_grad():
    ...     y = x * x
    >>> y.requires_grad
    True
    """

    enabled = True


class set_grad_enabled(GradMode):
    """Records operations or not from here on, or within a `with` block, or in a function that it decorates.

    >>> import batten
    >>> x = batten.tensor(2.0, requires_grad=True)
    >>> with batten.set_grad_enabled(False):
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.enabled = bool(mode)
        super().__enter__()

    def __enter__(self) -> None:
        recording.enabled = self.enabled

    def __exit__(self, *exception: object) -> None:
        recording.enabled = self.before[0]

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.__exit__()
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are recorded.

    >>> import batten
    >>> batten.is_grad_enabled()
    True
    """
    return recording.enabled


class Context:
    """What `Function.forward` leaves for `Function.backward`: any attribute, and what these methods note."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved: tuple[Any, ...] = ()
        self.versions: list[int] = []
        self.constant: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None), and watches them for changes in place."""
        for t in tensors:
            if t is not None and not isinstance(t, Variable):
                raise TypeError(
                    f"save_for_backward expects tensors or None, got {type(t).__name__}; "
                    "anything else can be an attribute of ctx"
                )
        self.saved = tensors
        self.versions = [0 if t is None else t.version[0] for t in tensors]

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Says that some results have no gradient."""
        self.constant = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        for tensor, then in zip(self.saved, self.versions, strict=True):
            if tensor is not None and tensor.version[0] != then:
                raise RuntimeError(
                    "a tensor that was saved for backward was changed in place afterwards: "
                    f"it is at version {tensor.version[0]}, expected version {then}"
                )
        return self.saved


class Function:
    """PyTorch's form of a user's own operation: static `forward` and `backward` with a context.

    `forward(ctx, *args)` gets tensors and anything else as they were given to `apply`,
    and records nothing; `backward(ctx, *gradients)` gets the gradient of each result,
    zeros where there is none, and returns one (a tensor, or None) for each argument of
    `forward`.  A result that shows the memory of an argument is copied.

    >>> import batten
    >>> class Cube(batten.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, dy):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * dy
    >>> x = batten.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        raise NotImplementedError("a Function needs a static forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *gradients: Any) -> Any:
        raise NotImplementedError("a Function needs a static backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The results of forward, on the tape where an argument requires a gradient."""
        tensors = [a for a in args if isinstance(a, Variable)]
        results = Custom.apply(*tensors, function=cls, args=args)
        outputs = results if isinstance(results, tuple) else (results,)
        for custom in [y.creator for y in outputs if y.creator is not None][:1]:
            custom.settle(outputs)
        return results


class Custom(Operation):
    """A Function on the tape."""

    __slots__ = ("args", "context", "function", "results")

    function: type[Function]
    args: tuple[Any, ...]  # what was given to forward; once on the tape, (shape, dtype, wanted) of each tensor
    results: Any  # what forward made; once on the tape, (shape, dtype) of each

    def forward(self, *inputs: np.ndarray) -> Any:
        needs = iter(self.needs_input_grad)
        self.context = Context(tuple([isinstance(a, Variable) and next(needs) for a in self.args]))
        with no_grad():
            results = self.function.forward(self.context, *self.args)
        self.results = results if isinstance(results, tuple) else (results,)
        for y in self.results:
            if not isinstance(y, Variable):
                raise TypeError(f"{self.function.__name__}.forward must return tensors, got {type(y).__name__}")
        # Copied, so that a result and an argument can each be changed without the other.
        arrays = tuple(
            [y.array.copy() if any(np.may_share_memory(y.array, x) for x in inputs) else y.array for y in self.results]
        )
        return arrays if isinstance(results, tuple) else arrays[0]

    def settle(self, outputs: Sequence[Any]) -> None:
        """Once on the tape: what was marked as having no gradient has none, and arguments are let go of."""
        for y, made in zip(outputs, self.results, strict=True):
            if y.array is made.array:
                y.version = made.version  # which save_for_backward watches
            if any(made is t for t in self.context.constant):
                y.tracked = False
                y.creator = None
        self.results = tuple([(y.array.shape, y.array.dtype) for y in outputs])
        needs = iter(self.needs_input_grad)
        self.args = tuple(
            [(a.array.shape, a.array.dtype, next(needs)) if isinstance(a, Variable) else None for a in self.args]
        )

    def backward(self, *gradients: np.ndarray) -> Any:
        self.spare = False  # what a student is given may be kept elsewhere
        given = [wrap(np.zeros(*like) if g is None else g) for g, like in zip(gradients, self.results, strict=True)]
        name = self.function.__name__
        with no_grad():
            results = self.function.backward(self.context, *given)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self.args):
            raise RuntimeError(
                f"{name}.backward must return {len(self.args)} gradients, one for each argument, got {len(results)}"
            )
        arrays: list[Any] = []
        for result, expected in zip(results, self.args, strict=True):
            if expected is None:
                continue
            shape, dtype, wanted = expected
            if result is None or not wanted:
                arrays.append(None)
                continue
            if not isinstance(result, Variable):
                raise TypeError(f"{name}.backward must return tensors or None, got {type(result).__name__}")
            if result.array.shape != shape or result.array.dtype != dtype:
                raise RuntimeError(
                    f"{name}.backward returned a gradient {result.array.dtype}{list(result.array.shape)}, "
                    f"expected {dtype}{list(shape)}"
                )
            # What a student returns may be kept elsewhere: a view is never added to in place.
            arrays.append(result.array[...])
        return tuple(arrays)

    def name(self) -> str:
        return f"{self.function.__name__}Backward"


Custom.of_class.kept = ("args", "context", "results")  # not the function, which the name is taken from


class GradcheckError(RuntimeError):
    """A gradient that differs from its finite difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compares gradients with central differences, along a random direction of each input.

    For each float64 input x that requires a gradient, a random direction d and random
    weights w: sum(w f(x + eps d)) - sum(w f(x - eps d)) over 2 eps against the gradient
    of sum(w f(x)) times d.  Two evaluations an input, whatever its size.

    >>> import batten
    >>> x = batten.rand(3, 4, dtype=batten.float64, requires_grad=True)
    >>> batten.autograd.gradcheck(batten.sigmoid, (x,))
    True
    """
    inputs = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
    wanted = [x for x in inputs if isinstance(x, Variable) and x.tracked]
    if not wanted:
        raise ValueError("gradcheck expects at least one tensor that requires a gradient")
    for x in wanted:
        if x.array.dtype != np.float64:
            raise ValueError(f"gradcheck expects float64, got {x.array.dtype}: in float32 the differences are noise")
    rng = np.random.default_rng(0)

    def evaluate() -> list[Any]:
        results = func(*inputs)
        return [y for y in (results if isinstance(results, (tuple, list)) else [results]) if y.tracked]

    results = evaluate()
    if not results:
        raise ValueError("gradcheck expects a result that requires a gradient")
    weights = [rng.standard_normal(y.array.shape) for y in results]

    def weighted() -> float:
        return sum(float((y.array * w).sum()) for y, w in zip(evaluate(), weights, strict=True))

    gradients = grad(results, wanted, weights, allow_unused=True)
    for position, (x, gradient) in enumerate(zip(wanted, gradients, strict=True)):
        direction = rng.standard_normal(x.array.shape)
        analytical = 0.0 if gradient is None else float((gradient.array * direction).sum())
        middle = x.array.copy()
        try:
            np.copyto(x.array, middle + eps * direction)
            above = weighted()
            np.copyto(x.array, middle - eps * direction)
            below = weighted()
        finally:
            np.copyto(x.array, middle)
        numerical = (above - below) / (2 * eps)
        if not abs(analytical - numerical) <= atol + rtol * abs(numerical):
            if not raise_exception:
                return False
            raise GradcheckError(
                f"input {position}: along a random direction backward gives {analytical:.9g}, "
                f"differences give {numerical:.9g}"
            )
    return True

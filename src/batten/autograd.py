"""Reverse-mode differentiation: read this first.

An `Operation` is a function with its gradient.  Applying one computes an array
and, where a gradient may be asked for, leaves the operation itself on the tape:
the result's `creator` is the operation, and the operation's `edges` lead to the
creators of its inputs.  The tape is nothing but these references; what no tensor
reaches any more is gone.

`backward` walks it from a result to the leaves, latest operation first (an
operation is always later than those that made its inputs, so every gradient is
complete before it is passed on), and lets go of each operation as it passes.

There are first derivatives only: gradients are arrays, not results of operations.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _kernels as kernels

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


class Recording(threading.local):
    """Whether this thread records operations."""

    enabled = True


recording = Recording()
sequence = itertools.count()


class Variable:
    """What autograd knows of a tensor: an array, and where it came from.

    `version` is a list [changes, rebases], shared by all views of one memory:
    how often its values were changed in place, and how often such a change was
    itself recorded (which makes earlier views stale).  `tracked` and `gradient` are
    what users know as `requires_grad` and `grad`; Tensor checks what they put there.
    """

    __slots__ = ("__weakref__", "array", "creator", "gradient", "index", "tracked", "version")

    array: np.ndarray
    tracked: bool
    gradient: Any
    creator: Operation | None
    index: int
    version: list[int]


class Operation:
    """A differentiable function: `forward` beside `backward`.

    `forward` takes and returns arrays, `backward` takes the gradient of each result
    and returns that of each input (None where there is none).  The instance is the
    context: what `forward` leaves on `self` is there in `backward`, and `__slots__`
    names all of it.  A slot named like a parameter of `forward` keeps that input, and
    one named `y` the result; these are watched for changes in place.  Arguments that
    are not tensors are passed to `apply` by name and become attributes.

    `backward` returns new arrays, or those it was given or views of them, never what
    it keeps.  `needs_input_grad` says which inputs want a gradient.

    >>> class Double(Operation):
    ...     __slots__ = ()
    ...     def forward(self, x):
    ...         return x + x
    ...     def backward(self, dy):
    ...         return dy + dy
    >>> import batten
    >>> x = batten.tensor([1.0, 2.0], requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    __slots__ = ("edges", "needs_input_grad", "outputs", "rebases", "sequence", "versions")

    edges: Any  # (operation or leaf, index of its output) for each input, None where no gradient is wanted
    needs_input_grad: Sequence[bool]
    outputs: int
    rebases: int
    sequence: int
    versions: Any

    view = False  # does the result show the memory of the first input?
    kept: tuple[str, ...] = ()  # every slot of a subclass
    watched: tuple[tuple[str, int], ...] = ()  # (slot, position of the input, -1 for the result)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        slots: list[str] = []
        for base in cls.__mro__[: cls.__mro__.index(Operation)]:
            names = base.__dict__.get("__slots__", ())
            slots.extend([names] if isinstance(names, str) else names)
        forward = getattr(cls, "forward", None)  # a base of several operations may have none
        names = forward.__code__.co_varnames[1 : forward.__code__.co_argcount] if forward else ()
        cls.kept = tuple(slots)
        cls.watched = tuple(
            (slot, names.index(slot) if slot in names else -1) for slot in slots if slot in (*names, "y")
        )

    forward: Callable[..., Any]  # a subclass names its own arrays
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, *inputs: Any, **attributes: Any) -> Any:
        """The results for some tensors (or None, for an optional one), recorded where it matters."""
        self = cls()
        for name in attributes:
            setattr(self, name, attributes[name])
        arrays: list[Any] = []
        needs: list[bool] = []
        enabled = recording.enabled
        for x in inputs:
            if x is None:
                arrays.append(None)
                needs.append(False)
            else:
                arrays.append(x.array)
                needs.append(enabled and x.tracked)
        self.needs_input_grad = needs
        results = self.forward(*arrays)
        if type(results) is tuple:
            outputs = tuple([wrap(y) for y in results])
            for y in outputs if cls.view else ():
                self.share(y, inputs[0])
            if True in needs:
                self.record(inputs, outputs)
            return outputs
        output = wrap(results)
        if cls.view:
            self.share(output, inputs[0])
        if True in needs:
            self.record(inputs, (output,))
        return output

    @staticmethod
    def share(y: Any, x: Any) -> None:
        """Lets y's changes count as x's, if it is a view of it: where strides forbid one, it is a copy."""
        if np.may_share_memory(y.array, x.array) or not y.array.size:
            y.version = x.version

    def record(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Puts the operation on the tape, between its inputs and its outputs."""
        self.sequence = next(sequence)
        self.outputs = len(outputs)
        edges: list[Any] = []
        self.edges = edges
        for x, needed in zip(inputs, self.needs_input_grad):  # noqa: B905 (they are as many; strict costs time)
            if not needed:
                edges.append(None)
                continue
            creator = x.creator
            if creator is None:
                edges.append((x, 0))
                continue
            if creator.view and creator.rebases != x.version[1]:
                raise RuntimeError(
                    f"a view made by {creator.name()} is used after the tensor that it shows was changed "
                    "in place; take the view again after the change"
                )
            edges.append((creator, x.index))
        if self.watched:
            versions: list[Any] = []
            self.versions = versions
            for slot, position in self.watched:
                x = inputs[position] if position >= 0 else outputs[0]
                if x is not None:
                    versions.append((slot, x.version, x.version[0]))
        if self.view and outputs:
            self.rebases = outputs[0].version[1]
        for index, y in enumerate(outputs):
            if y.array.dtype.kind == "f":
                y.tracked = True
                y.creator = self
                y.index = index

    def check(self) -> None:
        """Refuses to go backward over an operation that is used up, or whose kept values were changed."""
        if self.edges is None:
            raise RuntimeError(
                "this graph was walked backward before, and let go of what it kept; "
                "use backward(retain_graph=True) the first time to walk it twice"
            )
        if self.watched:
            for slot, version, then in self.versions:
                if version[0] != then and getattr(self, slot, None) is not None:
                    raise RuntimeError(
                        f"a value that {self.name()} needs for its gradient ({slot}) was changed in place "
                        f"after it was used: it is at version {version[0]}, expected version {then}"
                    )

    def free(self) -> None:
        """Lets go of everything that was kept."""
        self.edges = None
        self.versions = None
        for slot in self.kept:
            setattr(self, slot, None)

    def name(self) -> str:
        """What messages and reprs call it, in PyTorch's way."""
        return f"{type(self).__name__}Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()}>"


result_type: type = Variable  # tensor.py puts Tensor here: the class of every result


def wrap(array: np.ndarray) -> Any:
    """A tensor that shows an array, at the start of a tape of its own."""
    tensor: Any = object.__new__(result_type)
    tensor.array = array
    tensor.tracked = False
    tensor.gradient = None
    tensor.creator = None
    tensor.index = 0
    tensor.version = [0, 0]
    return tensor


class Gradients:
    """The gradients on their way back: sums for operations not yet reached, and for leaves."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, Operation]] = []
        self.pending: dict[Operation, list[Any]] = {}
        self.leaves: dict[Any, Any] = {}  # Variable -> [array, own]

    def add(self, node: Any, index: int, array: np.ndarray, own: bool) -> None:
        """Adds an array to the gradient of output `index` of an operation, or of a leaf.

        `own` says that nobody else holds the array, so that it may be added to in place.
        """
        if isinstance(node, Operation):
            sums = self.pending.get(node)
            if sums is None:
                self.pending[node] = sums = [None] * node.outputs
                heapq.heappush(self.heap, (-node.sequence, node))
        else:
            sums = self.leaves.setdefault(node, [None])
        before = sums[index]
        if before is None:
            sums[index] = (array, own)
        elif before[1]:
            kernels.add(before[0], before[0], array)
        else:
            sums[index] = (kernels.add(kernels.empty_like(before[0]), before[0], array), True)


def walk(
    roots: Sequence[Any], gradients: Sequence[np.ndarray], retain_graph: bool, wanted: Sequence[Any] = ()
) -> tuple[dict[Any, Any], dict[int, Any]]:
    """Goes back from the roots: the leaves' gradients, and those of the wanted results by id.

    Where some are wanted, only the operations between the roots and these are passed.
    """
    found = Gradients()
    caught: dict[int, Any] = {}
    watch: dict[Operation, list[Any]] = {}
    for x in wanted:
        if x.creator is not None:
            watch.setdefault(x.creator, []).append(x)
    between = leading_to(roots, wanted) if wanted else None
    for root, gradient in zip(roots, gradients, strict=True):
        found.add(root.creator or root, root.index, gradient, False)
    while found.heap:
        _, operation = heapq.heappop(found.heap)
        sums = found.pending.pop(operation)
        for x in watch.get(operation, ()):
            if sums[x.index] is not None:
                caught[id(x)] = sums[x.index] = (sums[x.index][0], False)
        if between is not None and operation not in between:
            continue
        operation.check()
        arrived = [None if s is None else s[0] for s in sums]
        results = operation.backward(*arrived)
        if type(results) is not tuple:
            results = (results,)
        edges = operation.edges
        if not retain_graph:
            operation.free()
        known = [id(a) for a in arrived] + [id(a) for a in results]
        for edge, array in zip(edges, results, strict=True):
            if edge is not None and array is not None:
                own = known.count(id(array)) == 1 and type(array.base) is not np.ndarray
                found.add(edge[0], edge[1], array, own)
    return found.leaves, caught


def leading_to(roots: Sequence[Any], wanted: Sequence[Any]) -> set[Operation]:
    """The operations that lie between some results and the tensors that they are to be differentiated by."""
    seen: set[Operation] = set()
    pending = [x.creator for x in roots if x.creator is not None]
    while pending:
        operation = pending.pop()
        if operation not in seen:
            seen.add(operation)
            pending += [e[0] for e in operation.edges or () if e and isinstance(e[0], Operation)]
    ends: set[Any] = {x.creator or x for x in wanted}
    between: set[Operation] = set()
    for operation in sorted(seen, key=lambda o: o.sequence):  # those before an operation come before it
        # One that let go of its edges may have led anywhere: passing it says so.
        if operation.edges is None or any(e and (e[0] in ends or e[0] in between) for e in operation.edges):
            between.add(operation)
    return between


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
        return np.ones(output.array.shape, output.array.dtype)
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
    leaves, _ = walk(roots, initial_gradients(roots, grad_tensors), bool(retain_graph))
    for leaf, ((array, _),) in leaves.items():
        before = leaf.gradient
        if before is not None and (before.array.shape != array.shape or before.array.dtype != array.dtype):
            raise RuntimeError(
                f"a gradient {array.dtype}{list(array.shape)} cannot be added to the .grad that is there, "
                f"{before.array.dtype}{list(before.array.shape)}"
            )
    for leaf, ((array, own),) in leaves.items():
        if leaf.gradient is not None:
            into = leaf.gradient.array
            kernels.add(into, into, array)
            leaf.gradient.version[0] += 1
        elif own and array.flags.c_contiguous:
            leaf.gradient = wrap(array)
        else:
            leaf.gradient = wrap(kernels.copy(kernels.empty_like(leaf.array), array))


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


class GradMode:
    """A `with` block, or a decorator of functions and generators, that switches the recording of operations."""

    enabled: bool

    def __init__(self) -> None:
        self.before: list[bool] = []  # a stack, as a block may be entered again within itself

    def __enter__(self) -> None:
        self.before.append(recording.enabled)
        recording.enabled = self.enabled

    def __exit__(self, *exception: object) -> None:
        recording.enabled = self.before.pop()

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
        return Custom.apply(*tensors, function=cls, args=args)


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

    def record(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        super().record(inputs, outputs)
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

    def free(self) -> None:
        function = self.function
        super().free()
        self.function = function  # which the name is taken from

    def name(self) -> str:
        return f"{self.function.__name__}Backward"


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

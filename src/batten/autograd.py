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
import itertools
import threading
from collections.abc import Callable, Sequence
from copy import copy
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


class Mode(threading.local):
    """Whether this thread records operations."""

    enabled = True


mode = Mode()
sequence = itertools.count()


class Variable:
    """What autograd knows of a tensor: an array, and where it came from.

    `version` is a list [changes, rebases], shared by all views of one memory:
    how often its values were changed in place, and how often such a change was
    itself recorded (which makes earlier views stale).
    """

    __slots__ = ("__weakref__", "array", "creator", "grad", "index", "requires_grad", "version")

    array: np.ndarray
    requires_grad: bool
    grad: Any
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
        enabled = mode.enabled
        for x in inputs:
            if x is None:
                arrays.append(None)
                needs.append(False)
            else:
                arrays.append(x.array)
                needs.append(enabled and x.requires_grad)
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
        """Lets y's changes count as x's, if it is a view of it."""
        if np.may_share_memory(y.array, x.array):
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
                    f"a view made by {type(creator).__name__} is used after the tensor that it shows was changed "
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
        if self.view:
            self.rebases = outputs[0].version[1]
        for index, y in enumerate(outputs):
            if y.array.dtype.kind == "f":
                y.requires_grad = True
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
                        f"a value that {type(self).__name__} needs for its gradient ({slot}) was changed in place "
                        f"after it was used: it is at version {version[0]}, expected version {then}"
                    )

    def free(self) -> None:
        """Lets go of everything that was kept."""
        self.edges = None
        self.versions = None
        for slot in self.kept:
            setattr(self, slot, None)


result_type: type = Variable  # tensor.py puts Tensor here: the class of every result


def wrap(array: np.ndarray) -> Any:
    """A tensor that shows an array, at the start of a tape of its own."""
    tensor: Any = object.__new__(result_type)
    tensor.array = array
    tensor.requires_grad = False
    tensor.grad = None
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
    """Goes back from the roots: the leaves' gradients, and those of the wanted results by id."""
    found = Gradients()
    caught: dict[int, Any] = {}
    watch: dict[Operation, list[Any]] = {}
    for x in wanted:
        if x.creator is not None:
            watch.setdefault(x.creator, []).append(x)
    for root, gradient in zip(roots, gradients, strict=True):
        found.add(root.creator or root, root.index, gradient, False)
    while found.heap:
        _, operation = heapq.heappop(found.heap)
        sums = found.pending.pop(operation)
        for x in watch.get(operation, ()):
            if sums[x.index] is not None:
                caught[id(x)] = sums[x.index] = (sums[x.index][0], False)
        operation.check()
        arrived = [None if s is None else s[0] for s in sums]
        results = operation.backward(*arrived)
        if type(results) is not tuple:
            results = (results,)
        edges = operation.edges
        if not retain_graph:
            operation.free()
        seen = {id(a) for a in arrived}
        for edge, array in zip(edges, results, strict=True):
            if edge is not None and array is not None:
                own = id(array) not in seen and type(array.base) is not np.ndarray
                seen.add(id(array))
                found.add(edge[0], edge[1], array, own)
    return found.leaves, caught


def initial_gradient(output: Any, gradient: Any) -> np.ndarray:
    """The gradient to start from: given, or one for a scalar."""
    if not output.requires_grad:
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
    gradient = gradient.array if isinstance(gradient, Variable) else np.asarray(gradient, output.array.dtype)
    if gradient.shape != output.array.shape or gradient.dtype != output.array.dtype:
        raise RuntimeError(
            f"expected a gradient like the result, {output.array.dtype}{list(output.array.shape)}, "
            f"got {gradient.dtype}{list(gradient.shape)}"
        )
    return gradient


def refuse_second(create_graph: bool) -> None:
    if create_graph:
        raise NotImplementedError("create_graph=True: batten has first derivatives only")


def backward(output: Any, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Adds the gradient of a result to `.grad` of every leaf that it was made from."""
    refuse_second(create_graph)
    leaves, _ = walk([output], [initial_gradient(output, gradient)], retain_graph)
    for leaf, ((array, own),) in leaves.items():
        if leaf.grad is not None:
            into = leaf.grad.array
            kernels.add(into, into, array)
            leaf.grad.version[0] += 1
        elif own and array.flags.c_contiguous:
            leaf.grad = wrap(array)
        else:
            leaf.grad = wrap(kernels.copy(kernels.empty_like(leaf.array), array))


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of (the sum of) some results with respect to some tensors, without touching any `.grad`.

    >>> import batten
    >>> x = batten.tensor(3.0, requires_grad=True)
    >>> batten.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    refuse_second(create_graph)
    outputs = [outputs] if isinstance(outputs, Variable) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    given = grad_outputs if isinstance(grad_outputs, (tuple, list)) else [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("one of the tensors to differentiate by does not require a gradient")
    start = [initial_gradient(y, g) for y, g in zip(outputs, given, strict=True)]
    leaves, caught = walk(outputs, start, bool(retain_graph), inputs)
    results = []
    for x in inputs:
        slot = leaves.get(x, [None])[0] if x.creator is None else caught.get(id(x))
        if slot is None and not allow_unused:
            raise RuntimeError(
                "one of the tensors to differentiate by was not used for the results; "
                "allow_unused=True returns None for it"
            )
        results.append(None if slot is None else wrap(kernels.copy(kernels.empty_like(x.array), slot[0])))
    return tuple(results)


class GradMode:
    """A `with` block, or a decorator, that switches the recording of operations."""

    enabled: bool

    def __enter__(self) -> None:
        self.before = mode.enabled
        mode.enabled = self.enabled

    def __exit__(self, *exception: object) -> None:
        mode.enabled = self.before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with copy(self):  # an instance for each call, so that calls may nest
                return function(*args, **kwargs)

        return wrapped


class no_grad(GradMode):
    """Within it, operations are not recorded.

    >>> import batten
    >>> x = batten.tensor(2.0, requires_grad=True)
    >>> with batten.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    enabled = False


class enable_grad(GradMode):
    """Within it, operations are recorded again, inside of `no_grad`."""

    enabled = True


class set_grad_enabled(GradMode):
    """Records operations or not from here on, or within a `with` block."""

    def __init__(self, enabled: bool) -> None:
        self.before = mode.enabled
        self.enabled = mode.enabled = bool(enabled)

    def __enter__(self) -> None:
        mode.enabled = self.enabled


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are recorded."""
    return mode.enabled


class Context:
    """What `Function.forward` leaves for `Function.backward`."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved: tuple[Any, ...] = ()
        self.versions: list[int] = []
        self.constant: set[int] = set()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None), and watches them for changes in place."""
        self.saved = tensors
        self.versions = [0 if t is None else t.version[0] for t in tensors]

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Says that some results have no gradient."""
        self.constant = {id(t) for t in tensors}

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
    and records nothing; `backward(ctx, *gradients)` returns one gradient (a tensor,
    or None) for each argument of `forward`.

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
        tensors = [a for a in args if isinstance(a, Variable)]
        return Custom.apply(*tensors, function=cls, args=args)


class Custom(Operation):
    """A Function on the tape."""

    __slots__ = ("args", "context", "function", "shapes")

    function: type[Function]
    args: tuple[Any, ...]

    def forward(self, *inputs: np.ndarray) -> Any:
        needs = iter(self.needs_input_grad)
        flags = tuple([isinstance(a, Variable) and next(needs) for a in self.args])
        self.context = Context(flags)
        with no_grad():
            results = self.function.forward(self.context, *self.args)
        several = isinstance(results, tuple)
        results = tuple(results) if several else (results,)
        for y in results:
            if not isinstance(y, Variable):
                raise TypeError(f"{self.function.__name__}.forward must return tensors, got {type(y).__name__}")
        # A result that is an argument, unchanged, still becomes a tensor of its own.
        arrays = tuple([y.array for y in results])
        self.shapes = [None if id(y) in self.context.constant else (y.array.shape, y.array.dtype) for y in results]
        self.args = tuple([(a.array.shape, a.array.dtype) if isinstance(a, Variable) else None for a in self.args])
        return arrays if several else arrays[0]

    def record(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        super().record(inputs, outputs)
        for y, shape in zip(outputs, self.shapes, strict=True):
            if shape is None:
                y.requires_grad = False
                y.creator = None

    def backward(self, *gradients: np.ndarray) -> Any:
        given = [
            wrap(np.zeros(*expected) if expected else np.zeros(())) if g is None else wrap(g)
            for g, expected in zip(gradients, self.shapes, strict=True)
        ]
        name = self.function.__name__
        with no_grad():
            results = self.function.backward(self.context, *given)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self.args):
            raise RuntimeError(
                f"{name}.backward must return {len(self.args)} gradients, one for each argument, got {len(results)}"
            )
        arrays = []
        for result, expected in zip(results, self.args, strict=True):
            if expected is None:
                continue
            array = None if result is None else result.array
            if array is not None and (array.shape, array.dtype) != expected:
                raise RuntimeError(
                    f"{name}.backward returned a gradient {array.dtype}{list(array.shape)}, "
                    f"expected {expected[1]}{list(expected[0])}"
                )
            # What a student returns may be kept elsewhere: a view is never added to in place.
            arrays.append(None if array is None else array[...])
        return tuple(arrays)


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
    wanted = [x for x in inputs if isinstance(x, Variable) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck expects at least one tensor that requires a gradient")
    for x in wanted:
        if x.array.dtype != np.float64:
            raise ValueError(f"gradcheck expects float64, got {x.array.dtype}: in float32 the differences are noise")
    rng = np.random.default_rng(0)

    def evaluate() -> list[Any]:
        results = func(*inputs)
        return [y for y in (results if isinstance(results, (tuple, list)) else [results]) if y.requires_grad]

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

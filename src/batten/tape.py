"""Reverse-mode differentiation: read this first.

An `Operation` is a function with its gradient.  Applying one computes an array
and, where a gradient may be asked for, leaves the operation itself on the tape:
the result's `creator` is the operation, and the operation's `edges` lead to the
creators of its inputs.  The tape is nothing but these references; what no tensor
reaches any more is gone.

`walk` goes back from a result to the leaves, latest operation first (an operation is
always later than those that made its inputs, so every gradient is complete before it
is passed on), and lets go of each operation as it passes.

This file is plain Python, and runs as such.  The build also compiles it, since every
operation of every step passes through here: `tape.pxd` gives `Variable`, `Node` and
`Gradients` fields in C, and the annotations of local variables say where they are met.
Where threads run without the interpreter's lock, they keep Python's slots: what one
thread reads of a field in C may be gone when another has written it.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _kernels as kernels

__all__ = ["Node", "Operation", "Recorded", "Variable", "accumulate", "recording", "walk", "wrap"]


class Recording(threading.local):
    """Whether this thread records operations."""

    enabled = True


recording = Recording()


class Recorded:
    """A `with` block that records operations, or does not.

    These methods are here to be compiled: Ctrl-C, which comes between lines of Python, cannot come between the
    end of a block and what puts recording back.
    """

    enabled: bool

    def __init__(self) -> None:
        self.before: list[bool] = []  # a stack, as a block may be entered again within itself

    def __enter__(self) -> None:
        self.before.append(recording.enabled)
        recording.enabled = self.enabled

    def __exit__(self, *exception: object) -> None:
        recording.enabled = self.before.pop()


numbers = itertools.count(1)  # of operations as they are recorded; no two threads get the same
LATE = 1 << 62  # what is taken from the number of one that goes backward after all others
RESULT, EVERY_INPUT = -1, -2  # what else than an input's position a kept slot may stand for
FLOATS = (np.dtype("float32"), np.dtype("float64"))  # what has gradients


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


class Kind:
    """What all operations of a class have in common."""

    __slots__ = ("adds", "kept", "view", "watched")

    def __init__(self, kept: Any, view: Any, watched: Any, adds: Any) -> None:
        self.kept = kept  # every slot
        self.view = view  # does the result show the memory of the first input?
        self.watched = watched  # (slot, position of the input, RESULT or EVERY_INPUT)
        self.adds = adds  # does backward add to gradients that are there?


class Node:
    """An operation's place on the tape.

    `edges` has, for each input, (the operation or leaf that it came from, the index of
    its output), or None where no gradient is wanted; `versions` says which values must
    not have changed, and `sequence` when the operation was recorded.  `spare`, in `backward`,
    says that nobody else holds the gradient that has arrived: it may be written over.
    """

    __slots__ = ("edges", "kind", "needs_input_grad", "outputs", "rebases", "sequence", "spare", "versions")

    edges: Any
    kind: Kind
    needs_input_grad: Sequence[bool]
    outputs: int
    rebases: int
    sequence: int
    spare: bool
    versions: Any


class Operation(Node):
    """A differentiable function: `forward` beside `backward`.

    `forward` takes and returns arrays, `backward` takes the gradient of each result
    and returns that of each input (None where there is none).  The instance is the
    context: what `forward` leaves on `self` is there in `backward`, and `__slots__`
    names all of it.  A slot named like a parameter of `forward` keeps that input, and
    one named `y` the result; these are watched for changes in place.  Arguments that
    are not tensors are passed to `apply` by name and become attributes.

    `backward` returns new arrays, or those it was given or views of them, never what
    it keeps.  `needs_input_grad` says which inputs want a gradient, and `room` where one may
    be written.  An operation that `adds` goes backward after all others if its inputs are leaves.
    Its `backward` takes one argument more, `there`: for each input the gradient that has come so
    far, if nobody else holds it, or None.  It may add to that array, and returns it where it did.

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

    __slots__ = ()

    view = False  # a subclass says whether its result shows the memory of the first input,
    adds = False  # and whether backward may add to what is there
    of_class = Kind((), False, (), False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        slots: list[str] = []
        for base in cls.__mro__[: cls.__mro__.index(Operation)]:
            names = base.__dict__.get("__slots__", ())
            slots.extend([names] if isinstance(names, str) else names)
        forward = getattr(cls, "forward", None)  # a base of several operations may have none
        code = forward.__code__ if forward else None
        names = code.co_varnames[1 : code.co_argcount] if code else ()
        places = {"y": RESULT, **{name: position for position, name in enumerate(names)}}
        if code and code.co_flags & inspect.CO_VARARGS:
            places[code.co_varnames[code.co_argcount + code.co_kwonlyargcount]] = EVERY_INPUT
        watched = [(slot, places[slot]) for slot in slots if slot in places]
        cls.of_class = Kind(tuple(slots), cls.view, tuple(watched), cls.adds)

    forward: Callable[..., Any]  # a subclass names its own arrays
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, *inputs: Any, **attributes: Any) -> Any:
        """The results for some tensors (or None, for an optional one), recorded where it matters."""
        x: Variable
        made: type = cls
        operation = made.__new__(made)  # type: ignore[call-overload]
        node: Node = operation
        kind: Kind = cls.of_class
        node.kind = kind
        for name in attributes:
            setattr(operation, name, attributes[name])
        arrays: list[Any] = []
        needs: list[Any] = []
        recorded = False
        for x in inputs:
            needed = False
            if x is None:
                arrays.append(None)
            else:
                arrays.append(x.array)
                needed = x.tracked and (recorded or recording.enabled)
                recorded = recorded or needed
            needs.append(needed)
        node.needs_input_grad = needs
        # The same call; one argument is the commonest, and goes faster without a tuple.
        results = operation.forward(arrays[0]) if len(arrays) == 1 else operation.forward(*arrays)
        if type(results) is not tuple:
            y = wrap(results)
            outputs: tuple[Any, ...] = (y,)
        else:
            outputs = tuple([wrap(y) for y in results])
        if kind.view:
            for y in outputs:
                operation.share(y, inputs[0])
        if recorded:
            record(operation, inputs, outputs)
        return outputs if type(results) is tuple else outputs[0]

    @staticmethod
    def share(y: Any, x: Any) -> None:
        """Lets y's changes count as x's, if it is a view of it: where strides forbid one, it is a copy."""
        if np.may_share_memory(y.array, x.array) or not y.array.size:
            y.version = x.version

    def room(self, dy: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Where backward may write a gradient that lies as another array does: over dy, if that is nobody else's.

        A line of memory that was just read is written for nothing; one that was not is read before.
        """
        return kernels.empty_over(dy, like) if self.spare else kernels.empty_like(like)

    def name(self) -> str:
        """What messages and reprs call it, in PyTorch's way."""
        return f"{type(self).__name__}Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def record(operation: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Puts an operation on the tape, between its inputs and its outputs."""
    x: Variable
    y: Variable
    creator: Node
    node: Node = operation
    kind: Kind = node.kind
    node.sequence = next(numbers)
    node.outputs = len(outputs)
    edges: list[Any] = []
    node.edges = edges
    needs = node.needs_input_grad
    for position, x in enumerate(inputs):
        if not needs[position]:
            edges.append(None)
        elif x.creator is None:
            edges.append((x, 0))
        else:
            creator = x.creator
            if creator.kind.view and creator.rebases != x.version[1]:
                raise RuntimeError(
                    f"a view made by {x.creator.name()} is used after the tensor that it shows was changed "
                    "in place; take the view again after the change"
                )
            edges.append((creator, x.index))
    if kind.adds and not [x for x in inputs if x.creator is not None]:
        node.sequence -= LATE
    if kind.watched:
        versions: list[Any] = []
        node.versions = versions
        for slot, position in kind.watched:
            if position == EVERY_INPUT:
                versions += [(slot, x.version, x.version[0]) for x in inputs]
                continue
            x = inputs[position] if position >= 0 else outputs[0]
            if x is not None:
                versions.append((slot, x.version, x.version[0]))
    if kind.view and outputs:
        y = outputs[0]
        node.rebases = y.version[1]
    for index, y in enumerate(outputs):
        if y.array.dtype in FLOATS:
            y.tracked = True
            y.creator = operation
            y.index = index


def check(operation: Any) -> None:
    """Refuses to go backward over an operation that is used up, or whose kept values were changed."""
    node: Node = operation
    if node.edges is None:
        raise RuntimeError(
            "this graph was walked backward before, and let go of what it kept; "
            "use backward(retain_graph=True) the first time to walk it twice"
        )
    if node.kind.watched:
        versions: list[Any] = node.versions
        for slot, version, then in versions:
            if version[0] != then and getattr(operation, slot, None) is not None:
                raise RuntimeError(
                    f"a value that {operation.name()} needs for its gradient ({slot}) was changed in place "
                    f"after it was used: it is at version {version[0]}, expected version {then}"
                )


def free(operation: Any) -> None:
    """Lets go of everything that an operation kept."""
    node: Node = operation
    node.edges = None
    node.versions = None
    for slot in node.kind.kept:
        setattr(operation, slot, None)


result_type: Any = Variable  # tensor.py puts Tensor here: the class of every result


def wrap(array: np.ndarray) -> Any:
    """A tensor that shows an array, at the start of a tape of its own."""
    kind: type = result_type
    tensor: Variable = kind.__new__(kind)  # type: ignore[call-overload]
    tensor.array = array
    tensor.tracked = False
    tensor.gradient = None
    tensor.creator = None
    tensor.index = 0
    tensor.version = [0, 0]
    return tensor


class Gradients:
    """The gradients on their way back: sums for operations not yet reached, and for leaves."""

    __slots__ = ("heap", "leaves", "pending")

    def __init__(self) -> None:
        self.heap: list[Any] = []  # (-sequence, operation) of all that is pending
        self.pending: dict[Any, Any] = {}  # Operation -> for each output, None or (array, own)
        self.leaves: dict[Any, Any] = {}  # Variable -> [(array, own)]

    def add(self, node: Any, index: Any, array: Any, own: Any) -> None:
        """Adds an array to the gradient of output `index` of an operation, or of a leaf.

        `own` says that nobody else holds the array, so that it may be added to in place.
        """
        operation: Node
        if isinstance(node, Node):
            sums = self.pending.get(node)
            if sums is None:
                operation = node
                self.pending[node] = sums = [None] * operation.outputs
                heapq.heappush(self.heap, (-operation.sequence, node))
        else:
            sums = self.leaves.setdefault(node, [None])
        before = sums[index]
        if before is None:
            sums[index] = (array, own)
        elif before[1]:
            kernels.add(before[0], before[0], array)
        else:
            sums[index] = (kernels.add(kernels.empty_like(before[0]), before[0], array), True)

    def own(self, edge: Any) -> Any:
        """The gradient that an edge leads to, so far, if nobody else holds it."""
        if edge is None:
            return None
        sums = (self.pending if isinstance(edge[0], Node) else self.leaves).get(edge[0])
        found = None if sums is None else sums[edge[1]]
        return found[0] if found is not None and found[1] else None


def walk(
    roots: Sequence[Any], gradients: Sequence[np.ndarray], retain_graph: bool, wanted: Sequence[Any] = ()
) -> tuple[dict[Any, Any], dict[int, Any]]:
    """Goes back from the roots: the leaves' gradients, and those of the wanted results by id.

    Where some are wanted, only the operations between the roots and these are passed.
    """
    found: Gradients = Gradients()
    node: Node
    caught: dict[int, Any] = {}
    watch: dict[Any, list[Any]] = {}
    for x in wanted:
        if x.creator is not None:
            watch.setdefault(x.creator, []).append(x)
    between = leading_to(roots, wanted) if wanted else None
    for number, root in enumerate(roots):
        found.add(root.creator or root, root.index, gradients[number], False)
    while found.heap:
        operation = heapq.heappop(found.heap)[1]
        sums: list[Any] = found.pending.pop(operation)
        if between is not None:
            for x in watch.get(operation, ()):
                if sums[x.index] is not None:
                    caught[id(x)] = sums[x.index] = (sums[x.index][0], False)
            if operation not in between:
                continue
        check(operation)
        arrived = tuple([None if s is None else s[0] for s in sums])
        node = operation
        node.spare = len(sums) == 1 and sums[0][1]
        there: Any = None
        if node.kind.adds:
            there = [found.own(edge) for edge in node.edges]
            results = operation.backward(*arrived, there)
        elif len(arrived) == 1:
            results = operation.backward(arrived[0])
        else:
            results = operation.backward(*arrived)
        if type(results) is not tuple:
            results = (results,)
        edges = node.edges
        if not retain_graph:
            free(operation)
        if len(results) != len(edges):
            raise RuntimeError(
                f"{operation.name()} returned {len(results)} gradients, expected {len(edges)}, one for each input"
            )
        for position, edge in enumerate(edges):
            array = results[position]
            if there is not None and array is there[position]:
                continue
            if edge is not None and array is not None:
                found.add(edge[0], edge[1], array, alone(array, arrived, results, node.spare))
    return found.leaves, caught


def accumulate(leaves: dict[Any, Any]) -> None:
    """Adds the gradients that `walk` found to those of the leaves."""
    leaf: Variable
    before: Variable
    for leaf, ((array, _),) in leaves.items():
        if leaf.gradient is not None:
            before = leaf.gradient
            if before.array.shape != array.shape or before.array.dtype != array.dtype:
                raise RuntimeError(
                    f"a gradient {array.dtype}{list(array.shape)} cannot be added to the .grad that is there, "
                    f"{before.array.dtype}{list(before.array.shape)}"
                )
    for leaf, ((array, own),) in leaves.items():
        if leaf.gradient is not None:
            before = leaf.gradient
            kernels.add(before.array, before.array, array)
            before.version[0] += 1
        elif own and lies_like(array, leaf.array):
            leaf.gradient = wrap(array)
        else:
            leaf.gradient = wrap(kernels.copy(kernels.empty_like(leaf.array), array))


def alone(array: Any, arrived: Sequence[Any], results: Sequence[Any], spare: Any) -> bool:
    """Is a gradient that an operation returned nobody else's?  What is `spare` goes on to one result, in whole.

    Images are views of their memory, which is theirs alone if they are all that refers to it.
    """
    given = arrived[0]
    if array is given and len(results) == 1:
        return bool(spare)
    memory = array.base
    if type(memory) is not np.ndarray:  # the pool's block
        memory = array
    found = 0
    if spare and (memory is given or memory is given.base):
        for other in results:
            if other is not None and (other is memory or other.base is memory):
                found += 1
        return found == 1 and memory.size == array.size and array.flags.writeable
    for other in arrived:
        if other is array:
            return False
    for other in results:
        if other is array:
            found += 1
    if found != 1 or memory is array:
        return found == 1
    return memory.size == array.size and array.flags.writeable and sys.getrefcount(array.base) == 3


def lies_like(array: Any, model: Any) -> bool:
    """Do the elements of an array lie in memory in the order of those of another one of its shape?"""
    return array.strides == model.strides or (array.flags.c_contiguous and model.flags.c_contiguous)


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

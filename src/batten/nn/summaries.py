"""What a model consists of, found by showing it noughts.

A forward pre-hook of each module notes when its turn comes and how deep within others it is, and a forward hook
what came out.  Afterwards the model is as it was, also if it raised an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import dtypes
from ..autograd import Variable, no_grad
from ..creation import zeros
from ..printing import aligned
from .kinds import PARAMETER
from .unchanged import unchanged

if TYPE_CHECKING:
    from .module import Module

__all__ = ["summary"]


class Layer(NamedTuple):
    """A module's turn.  parameters are its own and new, multiply_adds and bytes without those of modules within it."""

    name: str
    depth: int
    shapes: list[tuple[int, ...]]
    parameters: int
    multiply_adds: int
    bytes: int


class Summary:
    """The layers of a model in the order of their turns, and what they add up to.

    `parameters` is their number, whether or not they were used; `multiply_adds` those of linear layers and
    convolutions; `bytes` the memory of all results, and `parameter_bytes` that of parameters and buffers.
    """

    def __init__(self, layers: list[Layer], model: Module) -> None:
        state = [*model.parameters(), *model.buffers()]
        self.layers = layers
        self.parameters = sum(p.array.size for p in model.parameters())
        self.multiply_adds = sum(layer.multiply_adds for layer in layers)
        self.bytes = sum(layer.bytes for layer in layers)
        self.parameter_bytes = sum(x.array.nbytes for x in state)

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "result", "parameters", "multiply-adds", "bytes")]
        for layer in self.layers:
            counts = [f"{n:,}" if n else "" for n in (layer.parameters, layer.multiply_adds, layer.bytes)]
            rows.append(("  " * layer.depth + layer.name, " ".join(map(str, layer.shapes)), *counts))
        rows.append(("in all", "", *[f"{n:,}" for n in (self.parameters, self.multiply_adds, self.bytes)]))
        lines = aligned(rows, left=2).split("\n")
        lines.insert(-1, "-" * len(lines[0]))
        lines.append(f"parameters and buffers take {self.parameter_bytes:,} bytes")
        return "\n".join(lines)


def summary(model: Module, input_size: Sequence[int], dtype: Any = None) -> Summary:
    """The layers of a model for an input of a size (N, *): results, parameters, multiply-adds, memory.

    The model is shown zeros, of the type of its first parameter unless told otherwise, as in evaluation and without
    gradients.  What it computes by functions rather than modules counts for nothing.

    >>> from batten import nn
    >>> nn.summary(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)), (1, 1, 8, 8))
    layer          result        parameters  multiply-adds  bytes
    Sequential     (1, 10)
      (0) Conv2d   (1, 4, 6, 6)          40          1,296    576
      (1) ReLU     (1, 4, 6, 6)                               576
      (2) Flatten  (1, 144)                                   576
      (3) Linear   (1, 10)            1,450          1,440     40
    -------------------------------------------------------------
    in all                            1,490          2,736  1,768
    parameters and buffers take 5,960 bytes
    """
    first = next(iter(model.parameters()), None)
    kind = (dtypes.get_default_dtype() if first is None else first.dtype) if dtype is None else dtype
    turns: list[Any] = []
    with unchanged(model), no_grad(), ExitStack() as hooks:
        watch(model, turns, hooks)
        model.eval()(zeros(*input_size, dtype=kind))
    return Summary(turns, model)


def watch(model: Module, turns: list[Any], hooks: ExitStack) -> None:
    """Lets every module note its turns, as long as the hooks are there."""
    within: list[int] = []  # the numbers of the turns that have begun and not ended
    counted: set[int] = set()

    def begin(module: Module, inputs: Any) -> None:
        within.append(len(turns))
        turns.append(None)

    def end(module: Module, inputs: Any, output: Any) -> None:
        number = within.pop()
        results = list(tensors(output))
        own = [p for p in module._own(PARAMETER).values() if p is not None and id(p) not in counted]
        counted.update(map(id, own))
        leaf = len(turns) == number + 1
        given = [x.array for x in tensors(inputs)]
        made = [y.array for y in results if not any(np.may_share_memory(y.array, x) for x in given)]
        name = names[module]
        turns[number] = Layer(
            f"({name.rpartition('.')[2]}) {type(module).__name__}" if name else type(module).__name__,
            len(within),
            [tuple(y.shape) for y in results],
            sum(p.array.size for p in own),
            module._multiply_adds(given[0].size, results[0].array.size) if given and results else 0,
            sum(y.nbytes for y in made) if leaf else 0,
        )

    names = {module: name for name, module in model.named_modules()}
    for module in names:
        hooks.enter_context(module.register_forward_pre_hook(begin))
        hooks.enter_context(module.register_forward_hook(end))


def tensors(value: Any) -> Iterator[Any]:
    """The tensors of a result or of arguments, which may be in tuples, lists and dicts."""
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)

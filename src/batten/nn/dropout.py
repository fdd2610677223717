"""Dropout (Srivastava et al. 2014) of elements or of whole channels, and dropout that keeps mean and variance.

    y = x m,     dx = dy m,     m = 0 with probability p, else 1 / (1 - p)

The scaling in training keeps the expectation, so that nothing is left to do at test time.  The standard
form, `inverted=False`, has m = 1 instead in training, and y = (1 - p) x at test time.

Alpha dropout (Klambauer et al. 2017) is for networks of SELU, and drops to where SELU ends, α' = -1.7581.  What has
mean 0 and variance 1 has them afterwards:

    y = a (x m + α' (1 - m)) + b,     a = ((1 - p) (1 + p α'²))^(-1/2),     b = -a p α',     m = 0 or 1

A mask is a function of a generator's key, of the number of its draw, and of an element's place in memory; one of
channels has an element for each channel of an example.  So the same seed drops the same elements on any machine and
for any number of threads, and one bit of an element is all that is kept for the gradient.  The random numbers are
those of `batten.manual_seed`, or of a layer's own generator.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import _kernels as kernels
from .. import dtypes, operations
from ..autograd import Operation
from ..memory import axes_in_memory, empty_with_axes
from ..operations.families import contiguous
from ..operations.inplace import in_place, refuse_leaf, replace
from ..operations.promotion import Operand, as_operand, floats
from ..random import Generator, check_generator, next_draw
from .module import Module

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]

ALPHA = -1.7580993408473766  # SELU's limit to the left, -1.0507 × 1.6733


class Draw(NamedTuple):
    """A mask that was drawn: with which probability to drop, by what the rest is multiplied, and from which numbers."""

    p: float
    scale: float
    key: int
    call: int

    def bits(self, n: int) -> np.ndarray:
        """The mask of n elements as the kernels take it."""
        return kernels.dropout_mask(bits_for(n), n, self.p, self.key, self.call)

    def mask(self, shape: Sequence[int], axes: Sequence[int] | None = None) -> np.ndarray:
        """The mask as bools, True where an element is kept, of an array whose axes lie in memory in an order."""
        kept = np.unpackbits(self.bits(math.prod(shape)), count=math.prod(shape), bitorder="little").view(np.bool_)
        if axes is None:
            return kept.reshape(shape)
        return kept.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes))

    def shifts(self) -> tuple[float, float]:
        """What alpha dropout adds to elements that are kept and to those that are dropped."""
        kept = -self.scale * self.p * ALPHA
        return kept, kept + self.scale * ALPHA


def bits_for(n: int) -> np.ndarray:
    """Memory for a mask of n elements."""
    return kernels.empty(((n + 7) // 8,), dtypes.uint8)


class DropoutOperation(Operation):
    """y = x m.  The bits of m are in the order in which y's elements lie in memory."""

    __slots__ = ("draw", "mask", "strides")

    draw: Any

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = kernels.empty_like(x)
        self.mask, self.strides = bits_for(x.size), y.strides
        return self.compute(y, laid_out(x, y.strides))

    def compute(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return kernels.dropout(y, self.mask, x, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = laid_out(dy, self.strides)
        return kernels.dropout_backward(self.room(dy, dy), dy, self.mask, self.draw.scale)

    def name(self) -> str:
        return "DropoutOperationBackward0"  # the last one's, where others are computed with it


class AlphaDropoutOperation(DropoutOperation):
    """y = a (x m + α' (1 - m)) + b"""

    __slots__ = ()

    def compute(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        p, scale, key, call = self.draw
        return kernels.alpha_dropout(y, self.mask, x, p, scale, *self.draw.shifts(), key, call)

    name = Operation.name


class ReluDropout(DropoutOperation):
    """y = relu(x) m.  A second bit an element says what relu let through, instead of its result."""

    __slots__ = ("passed",)

    def compute(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        self.passed = bits_for(x.size)
        return kernels.relu_dropout(y, self.mask, self.passed, x, *self.draw)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = laid_out(dy, self.strides)
        return kernels.relu_dropout_backward(self.room(dy, dy), dy, self.mask, self.passed, self.draw.scale)


class FeatureDropoutOperation(Operation):
    """y = x m with an m for each index of the leading axes, the last of which are the channels."""

    __slots__ = ("draw", "leading", "mask")

    draw: Any
    leading: int

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.mask = self.draw.bits(math.prod(x.shape[: self.leading]))
        rows = self.rows(x)
        return self.back(self.compute(kernels.empty_like(rows), rows), x)

    def compute(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return kernels.feature_dropout(y, x, self.mask, self.draw.scale)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        rows = self.rows(dy)
        dx = rows if self.spare else kernels.empty_like(rows)
        return self.back(kernels.feature_dropout(dx, rows, self.mask, self.draw.scale), dy)

    def rows(self, x: np.ndarray) -> np.ndarray:
        """x as (examples, pixels, channels), or (features, pixels, 1) where pixels lie last; copied if need be."""
        rest = math.prod(x.shape[self.leading :])
        if x.flags.c_contiguous:
            return x.reshape(math.prod(x.shape[: self.leading]), rest, 1)
        channels = x.shape[self.leading - 1]
        return contiguous(np.moveaxis(x, self.leading - 1, -1)).reshape(-1 if x.size else 0, rest, channels)

    def back(self, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Such an array in the shape of x."""
        if x.flags.c_contiguous:
            return rows.reshape(x.shape)
        turned = (*x.shape[: self.leading - 1], *x.shape[self.leading :], x.shape[self.leading - 1])
        return np.moveaxis(rows.reshape(turned), -1, self.leading - 1)


class FeatureAlphaDropoutOperation(FeatureDropoutOperation):
    """y = a (x m + α' (1 - m)) + b"""

    __slots__ = ()

    def compute(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return kernels.feature_alpha_dropout(y, x, self.mask, self.draw.scale, *self.draw.shifts())


def laid_out(x: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """x with strides that have no gaps: itself, or a copy."""
    if x.strides == strides:
        return x
    axes = sorted(range(x.ndim), key=lambda axis: -strides[axis])
    return kernels.copy(empty_with_axes(axes, x.shape, x.dtype), x)


# ---- functions ----


class Kind(NamedTuple):
    """A way to drop: the name of its function, its operation, and what it takes."""

    name: str
    operation: type[Operation]
    scales: Callable[[float, bool], tuple[float, float]]
    features: dict[int, int] | None = None  # for inputs of so many axes, how many of these have masks of their own
    shapes: str = ""  # what these inputs are


def scales(p: float, inverted: bool) -> tuple[float, float]:
    """What elements are multiplied by in training if they are kept, and at test time."""
    if not inverted:
        return 1.0, 1 - p
    return 1 / (1 - p) if p < 1 else 0.0, 1.0


def alpha_scales(p: float, inverted: bool) -> tuple[float, float]:
    return 1 / math.sqrt((1 - p) * (1 + p * ALPHA**2)) if 0 <= p < 1 else 0.0, 1.0


DROPOUT = Kind("dropout", DropoutOperation, scales)
DROPOUT1D = Kind("dropout1d", FeatureDropoutOperation, scales, {2: 1, 3: 2}, "(N, C, L) or (C, L)")
DROPOUT2D = Kind("dropout2d", FeatureDropoutOperation, scales, {4: 2}, "(N, C, H, W)")
DROPOUT3D = Kind("dropout3d", FeatureDropoutOperation, scales, {4: 1, 5: 2}, "(N, C, D, H, W) or (C, D, H, W)")
ALPHA_DROPOUT = Kind("alpha_dropout", AlphaDropoutOperation, alpha_scales)
FEATURE_ALPHA_DROPOUT = Kind(
    "feature_alpha_dropout", FeatureAlphaDropoutOperation, alpha_scales, dict.fromkeys(range(2, 65), 2), "(N, C, *)"
)


def thinned(
    kind: Kind,
    input: Operand,
    p: float,
    training: bool,
    inplace: bool,
    inverted: bool = True,
    generator: Generator | None = None,
    layer: DropoutModule | None = None,
) -> Tensor:
    """What every function below does, and every layer, which is told what has been drawn."""
    check_probability(kind.name, p)
    x = as_operand(input)
    attributes = {} if kind.features is None else {"leading": leading(kind, x.array.ndim)}
    scale, at_test = kind.scales(p, inverted)
    if not training:
        if at_test == 1:
            return x
        return multiply_(x, at_test) if inplace else operations.mul(x, at_test)
    draw = None
    y = x
    if p > 0:
        x = floats(kind.name, x)
        if inplace:
            refuse_leaf(x)
        draw = Draw(p, scale, *next_draw(generator))
        y = kind.operation.apply(x, draw=draw, **attributes)
    if layer is not None:
        layer._remember(draw, y.array, attributes.get("leading"))
    return replace(x, y) if inplace and draw else y


multiply_ = in_place(operations.mul)


def check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name} expects a probability between 0 and 1, got {p}")


def leading(kind: Kind, rank: int) -> int:
    """How many axes of an input of so many have masks of their own, the examples' and the channels'."""
    assert kind.features is not None
    if rank in kind.features:
        return kind.features[rank]
    if kind.name == "dropout1d" or rank < 2:
        raise ValueError(f"{kind.name} expects {kind.shapes}, got {rank} axes")
    axes = 1 if kind.name == "dropout3d" else 2
    taken = "(N, C, L)" if kind.name == "dropout2d" and rank == 3 else "(C, *)" if axes == 1 else "(N, C, *)"
    warnings.warn(f"{kind.name} expects {kind.shapes}, and takes {rank} axes for {taken}", stacklevel=4)
    return axes


def dropout(
    input: Operand,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    inverted: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """input with each element zeroed with probability p, and the others scaled by 1 / (1 - p).

    Without `training`, or where p is 0, input is returned as it is.  With `inverted=False` nothing is scaled in
    training, and all elements are by 1 - p without it.  The random numbers are those of a `generator`, the default one
    for None.  ValueError unless 0 <= p <= 1; TypeError unless input is of floats.

    >>> import batten
    >>> y = batten.nn.functional.dropout(batten.ones(1000), p=0.75)
    >>> sorted(set(y.tolist()))
    [0.0, 4.0]
    """
    return thinned(DROPOUT, input, p, training, inplace, inverted, generator)


def dropout1d(
    input: Operand,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    inverted: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """`dropout` of whole channels of input (N, C, L) or (C, L): all elements of one are zeroed, or none.

    ValueError for other shapes.

    >>> import batten
    >>> y = batten.nn.functional.dropout1d(batten.ones(2, 3, 100))
    >>> [len(set(channel.tolist())) for example in y for channel in example]
    [1, 1, 1, 1, 1, 1]
    """
    return thinned(DROPOUT1D, input, p, training, inplace, inverted, generator)


def dropout2d(
    input: Operand,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    inverted: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """`dropout` of whole channels of images (N, C, H, W) (Tompson et al. 2015, "SpatialDropout").

    As in PyTorch, three axes are (N, C, L), with a warning: there is no form without a batch.  More are warned of, too.

    >>> import batten
    >>> y = batten.nn.functional.dropout2d(batten.ones(1, 1000, 2, 2), p=0.75)
    >>> sorted(set(y[0, :, 0, 0].tolist()))
    [0.0, 4.0]
    """
    return thinned(DROPOUT2D, input, p, training, inplace, inverted, generator)


def dropout3d(
    input: Operand,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    inverted: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """`dropout` of whole channels of volumes (N, C, D, H, W) or (C, D, H, W).

    Of other shapes the first axis is the channels', as in PyTorch, with a warning.

    >>> import batten
    >>> batten.nn.functional.dropout3d(batten.ones(2, 3, 4, 5, 6)).shape
    (2, 3, 4, 5, 6)
    """
    return thinned(DROPOUT3D, input, p, training, inplace, inverted, generator)


def alpha_dropout(
    input: Operand,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """input with each element set to SELU's lower limit with probability p, and all scaled and shifted.

    What has mean 0 and variance 1 has them afterwards (Klambauer et al. 2017).  As in PyTorch, `training` is False
    unless given.  ValueError unless 0 <= p <= 1; TypeError unless input is of floats.

    >>> import batten
    >>> y = batten.nn.functional.alpha_dropout(batten.zeros(1000), training=True)
    >>> [round(value, 4) for value in sorted(set(y.tolist()))]
    [-0.7792, 0.7792]
    """
    return thinned(ALPHA_DROPOUT, input, p, training, inplace, generator=generator)


def feature_alpha_dropout(
    input: Operand,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """`alpha_dropout` of whole channels of input (N, C, *).  ValueError for less than two axes.

    >>> import batten
    >>> y = batten.nn.functional.feature_alpha_dropout(batten.zeros(1, 1000, 5), training=True)
    >>> len(set(y[0, 0].tolist())), len(set(y.flatten().tolist()))
    (1, 2)
    """
    return thinned(FEATURE_ALPHA_DROPOUT, input, p, training, inplace, generator=generator)


# ---- modules ----


class DropoutModule(Module):
    """What all classes of dropout are."""

    kind: ClassVar[Kind]
    inverted = True

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        check_generator(type(self).__name__, generator)
        self.p, self.inplace, self.generator = p, inplace, generator
        self._last: tuple[Draw | None, tuple[int, ...], Sequence[int] | None, int | None] | None = None

    def forward(self, input: Tensor) -> Tensor:
        settings = self.p, self.training, self.inplace, self.inverted, self.generator
        return thinned(self.kind, input, *settings, layer=self)

    def last_mask(self) -> np.ndarray:
        """Which elements the last forward in training has kept: bools in the shape of its input.

        Nothing of that size is stored: the mask is made again from the number of its draw.  Where channels are
        dropped, it shows one bool for all elements of a channel, and cannot be written.  RuntimeError if there was
        no forward in training.

        >>> import batten
        >>> layer, x = batten.nn.Dropout(0.25), batten.ones(2, 3)
        >>> y = layer(x)
        >>> bool((y.numpy() != 0).tolist() == layer.last_mask().tolist())
        True
        """
        if self._last is None:
            raise RuntimeError(f"{type(self).__name__} has no mask before it is called in training")
        draw, shape, axes, leading = self._last
        if draw is None:
            return np.ones(shape, bool)
        if leading is None:
            return draw.mask(shape, axes)
        return np.broadcast_to(draw.mask((*shape[:leading], *[1] * (len(shape) - leading))), shape)

    def _apply(self, operation: type[Operation], *inputs: Any, **attributes: Any) -> Tensor:
        """The result of an operation that drops by the layer's next mask, as its last step."""
        draw = Draw(self.p, self.kind.scales(self.p, self.inverted)[0], *next_draw(self.generator))
        y = operation.apply(*inputs, draw=draw, **attributes)
        self._remember(draw, y.array)
        return y

    def _remember(self, draw: Draw | None, y: np.ndarray, leading: int | None = None) -> None:
        """Keeps what last_mask needs to know of a result."""
        self._last = draw, y.shape, axes_in_memory(y), leading

    def extra_repr(self) -> str:
        form = "" if self.inverted else ", inverted=False"
        return f"p={self.p}, inplace={self.inplace}{form}"


class InvertibleDropout(DropoutModule):
    """What those classes are that have the standard form, too."""

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, inverted: bool = True, generator: Generator | None = None
    ) -> None:
        super().__init__(p, inplace, generator=generator)
        self.inverted = inverted


class Dropout(InvertibleDropout):
    """In training, each element is zeroed with probability p, and the others scaled by 1 / (1 - p); else nothing.

    The standard form, `inverted=False`, scales nothing in training, and everything by 1 - p at test time.  A layer
    with a `generator` draws from that and not from the default one; its copies and pickles have copies of it, which
    go on from where it was, and so drop the same elements.

    >>> import batten
    >>> layer = batten.nn.Dropout(0.5)
    >>> set(layer(batten.ones(100)).tolist()) == {0.0, 2.0}
    True
    >>> layer.eval()(batten.ones(3))
    tensor([1., 1., 1.])
    >>> batten.nn.Dropout(0.25, inverted=False).eval()(batten.ones(3))
    tensor([0.7500, 0.7500, 0.7500])
    """

    kind = DROPOUT


class Dropout1d(InvertibleDropout):
    """Dropout of whole channels of (N, C, L) or (C, L): for features whose neighbours are alike.

    >>> import batten
    >>> layer = batten.nn.Dropout1d(0.5)
    >>> y = layer(batten.ones(2, 3, 4))
    >>> layer.last_mask()[:, :, 0].shape
    (2, 3)
    """

    kind = DROPOUT1D


class Dropout2d(InvertibleDropout):
    """Dropout of whole channels of images (N, C, H, W) (Tompson et al. 2015); (N, C, L), too, with a warning.

    >>> import batten
    >>> batten.nn.Dropout2d(0.2)
    Dropout2d(p=0.2, inplace=False)
    >>> batten.nn.Dropout2d(1.0)(batten.ones(1, 2, 1, 1)).tolist()
    [[[[0.0]], [[0.0]]]]
    """

    kind = DROPOUT2D


class Dropout3d(InvertibleDropout):
    """Dropout of whole channels of volumes (N, C, D, H, W) or (C, D, H, W).

    >>> import batten
    >>> batten.nn.Dropout3d(0.5)(batten.ones(2, 3, 4, 5, 6)).shape
    (2, 3, 4, 5, 6)
    """

    kind = DROPOUT3D


class AlphaDropout(DropoutModule):
    """Dropout behind SELU, to its lower limit, which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    >>> import batten
    >>> layer, x = batten.nn.AlphaDropout(0.2), batten.randn(10000)
    >>> bool(0.9 < layer(x).var() < 1.1)
    True
    >>> layer.eval()(x) is x
    True
    """

    kind = ALPHA_DROPOUT


class FeatureAlphaDropout(DropoutModule):
    """AlphaDropout of whole channels of (N, C, *).

    >>> import batten
    >>> batten.nn.FeatureAlphaDropout(0.2)(batten.ones(2, 3, 4)).shape
    (2, 3, 4)
    """

    kind = FEATURE_ALPHA_DROPOUT

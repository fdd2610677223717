"""What all preprocessing has in common: examples go through in float64, some rows at a time.

An example is a row of features, an image (C, H, W) or an array of any other shape; its features are its elements in
the order of their indices, wherever they lie in memory.  Rows are converted, changed and stored by pieces, so that a
large data set is never there in float64 as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from .. import _kernels as kernels
from .. import dtypes
from ..autograd import Variable, wrap
from ..nn.layout import channels_first

__all__: list[str] = []

EPS = float(np.finfo(np.float64).eps)
PIECE = 2**20  # elements that are there in float64 at a time: 8 MB


class Preprocessor:
    """A change of examples (N, *).

    Tensors are changed into tensors, which are not on the tape, and what NumPy takes for an array into arrays.  float32
    and float64 stay what they are, integers become the default type, float32.
    """

    options: tuple[str, ...] = ()  # the constructor's arguments
    admits_nan = True

    def fit(self, x: Any, y: Any = None) -> Self:
        """Finds out about examples (N, *) what `transform` needs; returns itself.  y is not looked at."""
        raise NotImplementedError(f"{type(self).__name__} does not define fit")

    def transform(self, x: Any) -> Any:
        """The examples, changed, in the shape that they come in."""
        return self._changed(x, self._examples(x), self._forward)

    def fit_transform(self, x: Any, y: Any = None) -> Any:
        """`fit(x)`, then `transform(x)`."""
        return self.fit(x).transform(x)

    def _forward(self, rows: np.ndarray) -> np.ndarray:
        """What `transform` does to rows (n, features) in float64, which it may write to."""
        raise NotImplementedError(f"{type(self).__name__} does not define _forward")

    def _examples(self, x: Any) -> np.ndarray:
        """The array of some examples."""
        array = x.array if isinstance(x, Variable) else np.asarray(x)
        if array.dtype not in dtypes.known:
            raise TypeError(
                f"{self._name} expects numbers of a type that tensors have, got {type(x).__name__} of {array.dtype}"
            )
        if array.ndim < 2 or math.prod(array.shape[1:]) == 0:
            raise ValueError(f"{self._name} expects examples (N, *) with at least one feature, got {list(array.shape)}")
        return array

    def _rows(self, array: np.ndarray) -> Iterator[np.ndarray]:
        """The examples, some at a time, as new arrays (n, features)."""
        step = max(1, PIECE // math.prod(array.shape[1:]))
        for start in range(0, len(array), step):
            rows = np.array(array[start : start + step], np.float64, order="C").reshape(-1, math.prod(array.shape[1:]))
            if not np.isfinite(rows).all() and (not self.admits_nan or np.isinf(rows).any()):
                raise ValueError(
                    f"{self._name} expects finite numbers{' or NaN' if self.admits_nan else ''}, "
                    f"got {'infinity' if np.isinf(rows).any() else 'NaN'}"
                )
            yield rows

    def _changed(
        self,
        x: Any,
        array: np.ndarray,
        change: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...] | None = None,
    ) -> Any:
        """Examples whose rows are changed, of the kind of x: they lie as those do, or have another shape."""
        dtype = array.dtype if array.dtype.kind == "f" else dtypes.get_default_dtype()
        if shape is None:
            y = kernels.empty_like(array, dtype)
        else:
            y = channels_first(kernels.empty((len(array), *shape[1:], shape[0]), dtype))
        done = 0
        for rows in self._rows(array):
            y[done : done + len(rows)] = change(rows).reshape(-1, *y.shape[1:])
            done += len(rows)
        return wrap(y) if isinstance(x, Variable) else y

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.options)})"


class Fitted(Preprocessor):
    """A change that depends on the examples it was fitted to.

    A subclass names in `state` the arrays that `fit` finds, and in `axes` a letter for each axis of each, D for the
    features.  `_derive` makes of them whatever else is needed.
    """

    state: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()

    feature_shape_: tuple[int, ...]  # the shape of an example

    def transform(self, x: Any) -> Any:
        """Examples like those that were fitted, changed, in the shape that they come in."""
        return self._changed(x, self._known(x), self._forward)

    def inverse_transform(self, x: Any) -> Any:
        """The examples that `transform` makes x of, but for rounding, in the shape that x comes in."""
        return self._changed(x, self._known(x), self._backward)

    @property
    def n_features_in_(self) -> int:
        """How many features an example has."""
        self._check_fitted()
        return math.prod(self.feature_shape_)

    def state_dict(self) -> dict[str, Any]:
        """The options and all that `fit` found out: something for `batten.save`.  ValueError before `fit`."""
        self._check_fitted()
        return {name: getattr(self, name) for name in (*self.options, "feature_shape_", *self.state)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Becomes what another was, options included.  A state that does not fit is refused, and changes nothing."""
        expected = [*self.options, "feature_shape_", *self.state]
        if set(state_dict) != set(expected):
            raise ValueError(f"{self._name} expects a state_dict of {expected}, got one of {list(state_dict)}")
        other = type(self)(**{name: state_dict[name] for name in self.options})
        shape = tuple(state_dict["feature_shape_"])
        sizes = {"D": math.prod(shape)}
        arrays = []
        for name, axes in zip(self.state, self.axes, strict=True):
            array = np.array(state_dict[name], order="C")
            if array.dtype != np.float64:
                raise TypeError(f"{self._name} expects {name} in float64, got {array.dtype}")
            if array.ndim != len(axes) or any(
                sizes.setdefault(axis, size) != size for axis, size in zip(axes, array.shape, strict=True)
            ):
                wanted = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
                raise ValueError(f"{self._name} expects {name} of shape [{wanted}], got {list(array.shape)}")
            arrays.append(array)
        other._keep(shape, *arrays)
        vars(self).update(vars(other))

    def _keep(self, shape: tuple[int, ...], *found: np.ndarray) -> None:
        """Takes what was found of examples of a shape, in the order of `state`."""
        self.feature_shape_ = shape
        vars(self).update(zip(self.state, found, strict=True))
        self._derive()

    def _backward(self, rows: np.ndarray) -> np.ndarray:
        """What `inverse_transform` does to rows (n, features) in float64, which it may write to."""
        raise NotImplementedError(f"{type(self).__name__} does not define _backward")

    def _derive(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define _derive")

    def _check_fitted(self) -> None:
        if not hasattr(self, "feature_shape_"):
            raise ValueError(f"{self._name} has not seen any examples yet; call fit first")

    def _known(self, x: Any) -> np.ndarray:
        """The array of some examples like those that were fitted: of their shape, or rows of as many features."""
        self._check_fitted()
        array = self._examples(x)
        if array.shape[1:] not in (self.feature_shape_, (self.n_features_in_,)):
            shape = ", ".join(map(str, self.feature_shape_))
            raise ValueError(f"{self._name} expects (N, {shape}), as in fit, got {list(array.shape)}")
        return array

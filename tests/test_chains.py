"""Random chains of operations, beside PyTorch.

A chain is a program of arithmetic, views, reductions and changes in place on a growing
list of tensors that share memory and graph.  Each step is tried with both libraries:
both accept it or both refuse it, and after it every tensor has the same values and the
same need of a gradient.  In the end the gradients of the leaves must agree.

Batten may refuse a step that PyTorch takes only for the reasons in `BY_DESIGN`, and then
leaves everything as it was.  Where PyTorch refuses to go backward over a value that was
changed, and batten kept a copy of it, differences tell whether the gradient is right.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import batten

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # its threads wait by spinning, and take the processor away from ours

BY_DESIGN = (
    "a view cannot be changed in place where the change is recorded",
    "is used after the tensor that it shows was changed in place",
    "a tensor that others show, or that an operation needs, cannot be changed in place",
    "elements cannot be assigned where the change would have to be recorded",
    "shows one element several times, cannot be changed in place",
)

# What PyTorch refuses and batten takes: the pieces of chunk and its like after a change that is not recorded, since
# they are views as others are.
LENIENT = "the output of a function that returns multiple views"


class PartedError(Exception):
    """The libraries did not do the same, as batten is lenient."""


SHAPES = ((3, 4), (3, 4), (4,), (3, 4))  # the first three require a gradient

Step = Callable[[Any, list[Any]], Any]

UNARY = ["tanh", "sin", "relu", "abs", "neg", "sigmoid", "square", "exp", "clone"]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum"]
UNARY_IN_PLACE = ["tanh_", "sin_", "relu_", "neg_", "sigmoid_", "square_", "abs_", "exp_", "zero_"]
BINARY_IN_PLACE = ["add_", "sub_", "mul_", "div_", "copy_", "__iadd__", "__imul__"]

BY_A_NUMBER: list[Callable[[Any, float], Any]] = [
    lambda x, c: x + c,
    lambda x, c: c - x,
    lambda x, c: x * c,
    lambda x, c: x / c,
    lambda x, c: c / (x * x + 1),
    lambda x, c: x**c,
    lambda x, c: x.clamp(-c, c),
    lambda x, c: x.masked_fill(x.detach() > c, 0),
]

# Most of these are for tensors with axes; of a tensor without, both libraries refuse them.
VIEWS: list[Callable[[Any, int], Any]] = [
    lambda x, n: x.transpose(0, -1),
    lambda x, n: x[n % len(x) :],
    lambda x, n: x[n % len(x)],
    lambda x, n: x[::2],
    lambda x, n: x[..., None, 0],
    lambda x, n: x.unsqueeze(n % (x.ndim + 1)),
    lambda x, n: x.squeeze(),
    lambda x, n: x.clone().reshape(-1, 2),  # whether it is a view depends on the layout, which is not compared
    lambda x, n: x.clone().flatten(),
    lambda x, n: x.unsqueeze(0).expand(2, *x.shape),
    lambda x, n: x.chunk(2)[-1],
    lambda x, n: x.unbind(n % x.ndim)[0],
    lambda x, n: x.split([1, 2])[1],
]

COPIES: list[Callable[[Any, int], Any]] = [
    lambda x, n: x.flip(n % x.ndim),
    lambda x, n: x.roll(n),
    lambda x, n: x[[0, 0, -1]],
    lambda x, n: x[x.detach() > 0.5],
    lambda x, n: x.tril(n - 2),
    lambda x, n: x.sum(),
    lambda x, n: x.sum(0),
    lambda x, n: x.mean(-1, keepdim=True),
    lambda x, n: x.max(0)[0],
    lambda x, n: x.amax(-1),
    lambda x, n: x.var(0, unbiased=False),
    lambda x, n: x.cumsum(-1),
    lambda x, n: x.prod(-1),
    lambda x, n: x.norm(dim=0),
    lambda x, n: x.softmax(0),
    lambda x, n: x.logsumexp(-1),
]


def apart(x: Any, y: Any) -> Any:
    """y, or a copy of it if it shows some of x's memory, in which case PyTorch may read what it wrote."""
    return y.clone() if x is not y and np.may_share_memory(x.detach().numpy(), y.detach().numpy()) else y


def method(name: str, i: int, j: int | None = None) -> Step:
    return lambda t, xs: getattr(xs[i], name)(*[] if j is None else [apart(xs[i], xs[j])])


def applied(function: Callable[[Any, Any], Any], i: int, argument: Any) -> Step:
    return lambda t, xs: function(xs[i], argument)


def unrecorded(name: str, i: int, argument: float) -> Step:
    def step(t: Any, xs: list[Any]) -> Any:
        with t.no_grad():
            return getattr(xs[i], name)(argument)

    return step


def assigned(i: int, j: int, n: int, number: bool) -> Step:
    def step(t: Any, xs: list[Any]) -> Any:
        xs[i][n % len(xs[i])] = 0.5 if number else apart(xs[i], xs[j])

    return step


def draw(rng: random.Random, n: int) -> tuple[str, Step, bool]:
    """A step on some of n tensors: its name, what it does, and whether it makes a new tensor."""
    i = n - 1 - rng.randrange(min(3, n)) if rng.random() < 0.4 else rng.randrange(n)
    j, k = rng.randrange(n), rng.randrange(5)
    kind = rng.choices(["unary", "binary", "number", "view", "copy", "in place", "other"], [2, 3, 2, 4, 3, 5, 2])[0]
    if kind == "unary":
        name = rng.choice(UNARY)
        return f"{name} {i}", method(name, i), True
    if kind == "binary":
        name = rng.choice([*BINARY, "matmul"])
        return f"{name} {i} {j}", method(name, i, j), True
    if kind in ("number", "view", "copy"):
        functions: list[Any] = {"number": BY_A_NUMBER, "view": VIEWS, "copy": COPIES}[kind]
        which = rng.randrange(len(functions))
        return (
            f"{kind} {which} {i} {k}",
            applied(functions[which], i, k if kind != "number" else (2, 0.5, 3)[k % 3]),
            True,
        )
    if kind == "in place":
        if rng.random() < 0.4:
            name = rng.choice(UNARY_IN_PLACE)
            return f"{name} {i}", method(name, i), False
        name = rng.choice(BINARY_IN_PLACE)
        return f"{name} {i} {j}", method(name, i, j), False
    name = rng.choice(["mul_", "fill_", "detach", "assignment"])
    if name == "detach":
        return f"detach {i}", method("detach", i), True
    if name == "assignment":
        return f"assignment {i} {j} {k}", assigned(i, j, k, rng.random() < 0.5), False
    return f"unrecorded {name} {i}", unrecorded(name, i, 0.5), False


def start(library: Any, arrays: list[np.ndarray]) -> list[Any]:
    xs = [library.tensor(a) for a in arrays]
    for x in xs[:3]:
        x.requires_grad_()
    return xs


def perform(library: Any, xs: list[Any], step: Step, makes: bool) -> Exception | None:
    """Does a step; what it makes joins the tensors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if library is torch else "error")
            result = step(library, xs)
    except Exception as error:
        return error
    if makes:
        xs.append(result)
    return None


def by_design(error: Exception | None) -> bool:
    return any(reason in str(error) for reason in BY_DESIGN)


def weighted(xs: list[Any], chosen: list[int]) -> Any:
    """A function of some tensors that has a gradient by each of their elements, and is finite."""
    return sum((xs[i].sigmoid() * (1 + 0.1 * i)).sum() for i in chosen)


def alike(theirs: Any, ours: Any) -> bool:
    if (theirs is None) != (ours is None) or (theirs is not None and tuple(theirs.shape) != ours.shape):
        return False
    if theirs is None:
        return True
    return np.allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-8, atol=1e-8, equal_nan=True)


class Chain:
    """A program that both libraries have run, and their tensors."""

    def __init__(self, seed: int, length: int) -> None:
        rng = random.Random(seed)
        numbers = np.random.default_rng(seed)
        self.arrays = [numbers.uniform(0.3, 1.7, shape) for shape in SHAPES]
        self.theirs, self.ours = start(torch, self.arrays), start(batten, self.arrays)
        self.program: list[tuple[Step, bool]] = []
        self.names: list[str] = [f"seed {seed}"]
        for _ in range(length):
            name, step, makes = draw(rng, len(self.ours))
            self.names.append(name)
            try:
                self.take(step, makes)
            except PartedError:  # from the start again, with what is left of the steps
                self.theirs, self.ours = start(torch, self.arrays), start(batten, self.arrays)
                self.program = []
        tracked = [i for i, x in enumerate(self.ours) if x.requires_grad]
        self.chosen = [i for i in tracked if rng.random() < 0.7] or tracked[:1]

    def take(self, step: Step, makes: bool) -> None:
        before = [(x.numpy().copy(), x.requires_grad, x.grad_fn) for x in self.ours]
        refused = perform(batten, self.ours, step, makes)
        if refused:
            self.names[-1] += f" (refused: {str(refused)[:60]})"
            for (values, tracked, creator), x in zip(before, self.ours, strict=True):
                assert np.array_equal(x.numpy(), values, equal_nan=True), self
                assert (x.requires_grad, x.grad_fn) == (tracked, creator), self
            if by_design(refused):
                return
        error = perform(torch, self.theirs, step, makes)
        if not refused and LENIENT in str(error):
            raise PartedError
        assert bool(error) == bool(refused), f"{self}: PyTorch {error!r}, batten {refused!r}"
        if not refused:
            self.program.append((step, makes))
        for theirs, ours in zip(self.theirs, self.ours, strict=True):
            assert alike(theirs, ours), self
            assert theirs.requires_grad == ours.requires_grad, self

    def __repr__(self) -> str:
        return "; ".join(self.names)

    def compare_gradients(self) -> str:
        theirs = self.gone_back(self.theirs)
        ours = self.gone_back(self.ours)
        if ours:
            assert theirs or by_design(ours), f"{self}: only batten refuses to go backward: {ours}"
            return "refused"
        if theirs:
            self.compare_with_differences()
            return "differences"
        for x, y in zip(self.theirs[:3], self.ours[:3], strict=True):
            assert alike(x.grad, y.grad), f"{self}: {x.grad} {y.grad}"
        return "compared"

    def gone_back(self, xs: list[Any]) -> Exception | None:
        try:
            weighted(xs, self.chosen).backward()
        except RuntimeError as error:
            return error
        return None

    def compare_with_differences(self) -> None:
        """Batten's gradient against differences, unless a step was hidden from the tape."""
        if any("unrecorded" in name or "detach" in name for name in self.names):
            return
        rng = np.random.default_rng(0)
        directions = [rng.standard_normal(shape) for shape in SHAPES[:3]]

        def value(eps: float) -> float:
            xs = start(batten, [a + eps * d for a, d in zip(self.arrays, directions, strict=False)] + self.arrays[3:])
            for step, makes in self.program:
                assert perform(batten, xs, step, makes) is None
            return weighted(xs, self.chosen).item()

        expected = (value(1e-6) - value(-1e-6)) / 2e-6
        found = sum(
            (x.grad.numpy() * d).sum() for x, d in zip(self.ours, directions, strict=False) if x.grad is not None
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=repr(self))


@pytest.mark.parametrize("group", range(10))
def test_chains(group):
    outcomes = [Chain(seed, 14).compare_gradients() for seed in range(40 * group, 40 * group + 40)]
    assert outcomes.count("compared") >= 10  # the chains are not mostly refused

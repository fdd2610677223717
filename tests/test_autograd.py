"""Going backward: what is recorded, what is accumulated, what is refused, and what is kept."""

from __future__ import annotations

import copy
import gc
import math
import operator
import threading
import weakref

import numpy as np
import pytest

import batten
from batten import autograd
from batten.autograd import Function, GradcheckError, Operation, gradcheck


def leaf(*values, dtype=batten.float64):
    return batten.tensor(values, dtype=dtype, requires_grad=True)


@pytest.fixture(autouse=True)
def modes_are_left_as_they_were():
    yield
    assert batten.set_grad_enabled(True).before == [True]


# ---- backward ----


def test_backward_adds_to_grad():
    x = leaf(1.0, 2.0)
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    first = x.grad
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert x.grad is first  # in place: who holds it sees the sum
    x.grad = None
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert first.tolist() == [5, 7]


def test_grad_is_a_tensor_off_the_tape_of_its_tensor_s_type():
    for dtype in (batten.float32, batten.float64):
        x = leaf(1.0, 2.0, dtype=dtype)
        (x.double() ** 2).sum().backward()
        assert isinstance(x.grad, batten.Tensor)
        assert x.grad.dtype == dtype
        assert x.grad.is_leaf
        assert not x.grad.requires_grad


def test_a_gradient_may_be_given():
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(batten.tensor([1.0, 10.0], dtype=batten.float64), retain_graph=True)
    assert x.grad.tolist() == [2, 40]
    y.backward(gradient=np.array([1.0, 0.0]), retain_graph=True)
    y.backward(batten.tensor([1.0, 0.0]))  # float32 becomes float64
    assert x.grad.tolist() == [6, 40]
    x = batten.tensor(3.0, requires_grad=True)
    (x * x).backward(gradient=batten.tensor(2.0))
    assert x.grad.item() == 12


def test_a_given_gradient_is_not_changed_nor_kept():
    x = leaf(1.0, 2.0)
    given = batten.tensor([1.0, 10.0], dtype=batten.float64)
    (x + 0).backward(given)
    (x + 0).backward(given)
    assert given.tolist() == [1, 10]
    given.zero_()
    assert x.grad.tolist() == [2, 20]


def test_one_element_is_as_good_as_a_scalar():
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad.tolist() == [6]
    x.grad = None
    x.reshape(1, 1).backward()
    assert x.grad.tolist() == [1]


def test_backward_of_a_leaf():
    x = batten.tensor(3.0, requires_grad=True)
    x.backward()
    x.backward()
    assert x.grad.item() == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: (x * 2).backward(), r"needs a gradient unless the result is a scalar, got shape \[2\]"),
        (lambda x: (x * 2).backward(batten.ones(3)), r"of the result's shape, \[2\], got \[3\]"),
        (lambda x: (x * 2).backward(batten.ones(1)), r"of the result's shape, \[2\], got \[1\]"),
        (lambda x: x.detach().sum().backward(), "does not require a gradient"),
        (lambda x: batten.ones(2).sum().backward(), "nothing to go back through"),
        (lambda x: (x > 1).sum().backward(), "does not require a gradient"),
        (lambda x: autograd.backward([x.sum(), x.sum()], [None]), "expected 2 gradients, one for each result, got 1"),
    ],
)
def test_backward_refuses(call, message):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=message):
        call(x)
    assert x.grad is None


def test_second_derivatives_are_refused():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        y.backward(create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        autograd.grad(y, x, create_graph=True)
    y.backward()


def test_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert x.grad.tolist() == [4, 8]
    y.backward()
    assert x.grad.tolist() == [6, 12]
    with pytest.raises(RuntimeError, match=r"walked backward before.*retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [6, 12]


def test_a_graph_that_shares_a_part_with_a_freed_one():
    x = leaf(1.0, 2.0)
    shared = x * x
    shared.sum().backward()
    other = (shared * 2).sum()
    with pytest.raises(RuntimeError, match="walked backward before"):
        other.backward()
    assert x.grad.tolist() == [2, 4]


def test_several_results_at_once():
    x = leaf(1.0, 2.0)
    y = x * x
    autograd.backward([y.sum(), y], [None, batten.tensor([1.0, 10.0])])
    assert x.grad.tolist() == [4, 44]
    autograd.backward((x.sum(),))
    assert x.grad.tolist() == [5, 45]
    autograd.backward(x, np.array([1.0, 1.0]))
    assert x.grad.tolist() == [6, 46]


def test_diamonds_are_exact():
    """Every path counts once, whatever their lengths and order."""
    x = leaf(3.0)
    a = x * x
    b = a + x
    c = a * b
    d = b * c + a + x + c
    d.backward()
    v = 3.0
    # d = (v² + v)(v⁴ + v³) + v² + v + v⁴ + v³
    expected = (2 * v + 1) * (v**4 + v**3) + (v**2 + v) * (4 * v**3 + 3 * v**2) + 2 * v + 1 + 4 * v**3 + 3 * v**2
    assert x.grad.tolist() == [expected]


def test_a_ladder_of_diamonds():
    """2^60 paths, walked once each operation."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.tolist() == [2.0**60]


def test_a_tensor_used_many_times():
    x = leaf(1.0, 2.0)
    sum((k * x for k in range(100)), batten.zeros(2, dtype=batten.float64)).sum().backward()
    assert x.grad.tolist() == [4950, 4950]


def test_gradients_that_are_views_are_not_written_to():
    """Sums, transposes and halves of one gradient meet at one tensor, in every order."""
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]):
        x = batten.ones(2, 2, dtype=batten.float64, requires_grad=True)
        h = x * 1
        parts = [h.sum(), (h.T * batten.tensor([[1.0, 2], [3, 4]])).sum(), h[0].sum()]
        sum((parts[i] for i in order), batten.tensor(0.0)).backward()
        assert x.grad.tolist() == [[3, 5], [3, 5]]


def test_an_operation_may_return_one_array_for_two_inputs():
    class Both(Operation):
        __slots__ = ()

        def forward(self, x, y):
            return x + y

        def backward(self, dz):
            twice = dz + dz
            return twice, twice

    x, y = leaf(1.0), leaf(1.0)
    h, k = x * 1, y * 1
    (Both.apply(h, k) + h).backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3], [2])


# ---- leaves, and what is not one ----


def test_leaves():
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf and x.requires_grad and x.grad_fn is None
    assert not y.is_leaf and y.requires_grad and y.grad_fn is not None
    y.sum().backward()
    assert y.grad is None
    assert batten.ones(2).is_leaf
    assert (batten.ones(2) * 2).is_leaf
    with batten.no_grad():
        assert (x * 2).is_leaf


def test_integers_and_bools_require_no_gradient():
    for wrong in (batten.tensor([1, 2]), batten.tensor([True])):
        with pytest.raises(RuntimeError, match="only tensors of floats can require gradients"):
            wrong.requires_grad_()
        with pytest.raises(RuntimeError, match="only tensors of floats"):
            wrong.requires_grad = True
        assert not wrong.requires_grad
        wrong.requires_grad = False
    x = leaf(1.0, 2.0)
    for result in (x > 1, x.long(), x.argmax(), x.max(0).indices, x == x, x.bool()):
        assert not result.requires_grad
        assert result.is_leaf


def test_requires_grad_of_a_result_stays():
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="only a leaf can stop requiring a gradient"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="only a leaf"):
        y.requires_grad = False
    assert y.requires_grad
    assert y.requires_grad_() is y
    assert not y.detach().requires_grad


def test_a_leaf_may_stop_requiring_a_gradient():
    x = leaf(1.0)
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_grad_takes_only_what_can_be_one():
    x = leaf(1.0, 2.0)
    for wrong, error in [
        (batten.ones(3, dtype=batten.float64), RuntimeError),
        (batten.ones(2), RuntimeError),
        (np.ones(2), TypeError),
        (0, TypeError),
    ]:
        with pytest.raises(error, match="expected a"):
            x.grad = wrong
        assert x.grad is None
    x.grad = batten.ones(2, dtype=batten.float64)
    x.sum().backward()
    assert x.grad.tolist() == [2, 2]
    del x.grad
    assert x.grad is None


def test_backward_refuses_a_grad_of_another_shape_before_anything_is_added():
    x, y = leaf(1.0, 2.0), leaf(3.0)
    x.grad = batten.zeros(2, dtype=batten.float64)
    y.grad = batten.zeros(1, dtype=batten.float64)
    y.data = batten.ones(2, dtype=batten.float64)  # its grad is of its former shape
    loss = (x + y).sum()
    with pytest.raises(RuntimeError, match=r"cannot be added to the .grad that is there, float64\[1\]"):
        loss.backward()
    assert x.grad.tolist() == [0, 0]


def test_detach_and_data():
    x = leaf(1.0, 2.0)
    y = x * 2
    for off in (y.detach(), y.data, x.detach(), x.data):
        assert not off.requires_grad
        assert off.is_leaf
    assert np.shares_memory(y.detach().numpy(), y.numpy())
    (y.detach() * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_unused_leaves_have_no_gradient():
    x, unused = leaf(1.0), leaf(1.0)
    (x * 2).sum().backward()
    assert unused.grad is None


def test_paths_without_a_gradient():
    x = leaf(1.0, 2.0)
    y = batten.where(x > 1, x, x.detach()) + (x > 1) + x.argmax()
    y.sum().backward()
    assert x.grad.tolist() == [0, 1]


def test_zero_size():
    x = batten.zeros(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.shape == (0, 3)
    (x.sum(0) * 2).sum().backward()
    batten.cat([x, x.T.reshape(0, 3)]).sum().backward()
    assert x.grad.shape == (0, 3)
    assert list(x) == []


# ---- recording, or not ----


def recorded():
    return (leaf(1.0) * 2).requires_grad


def test_modes():
    assert batten.is_grad_enabled() and recorded()
    with batten.no_grad():
        assert not batten.is_grad_enabled() and not recorded()
        with batten.enable_grad():
            assert recorded()
            with batten.set_grad_enabled(False):
                assert not recorded()
            assert recorded()
        assert not recorded()
    assert recorded()
    with batten.set_grad_enabled(mode=True):
        assert recorded()
    with batten.inference_mode():
        assert not recorded()
    assert recorded()


def test_set_grad_enabled_as_a_function():
    try:
        batten.set_grad_enabled(False)
        assert not recorded()
        with batten.enable_grad():
            assert recorded()
        assert not recorded()
    finally:
        batten.set_grad_enabled(True)
    assert recorded()


def test_a_mode_ends_with_an_exception():
    for block in (batten.no_grad, lambda: batten.set_grad_enabled(False)):
        with pytest.raises(KeyError), block():
            raise KeyError
        assert recorded()


def test_a_block_within_itself():
    block = batten.no_grad()
    with block:
        with block:
            assert not recorded()
        assert not recorded()
    assert recorded()
    with batten.set_grad_enabled(False) as _, batten.no_grad():
        assert not recorded()
    assert recorded()


@pytest.mark.parametrize(
    "decorate",
    [
        batten.no_grad(),
        batten.no_grad,
        batten.inference_mode(),
        lambda f: batten.set_grad_enabled(False)(f),
    ],
)
def test_decorators(decorate):
    @decorate
    def inside(n):
        """Says whether it records."""
        return [recorded(), *(inside(n - 1) if n else [])]

    assert recorded()
    assert inside(2) == [False] * 3
    assert recorded()
    assert inside.__doc__ == "Says whether it records."
    with batten.no_grad():
        assert batten.enable_grad(recorded)()
        assert not recorded()


def test_a_decorated_function_that_raises():
    @batten.no_grad()
    def fails():
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert recorded()


def test_a_decorated_generator_runs_within_its_mode_and_its_user_without():
    seen = []

    @batten.no_grad()
    def numbers():
        for n in range(2):
            seen.append(recorded())
            try:
                seen.append((yield n))
            except KeyError:
                seen.append("thrown")
        seen.append(recorded())
        return "done"

    steps = numbers()
    assert next(steps) == 0
    assert recorded()
    assert steps.send("sent") == 1
    assert recorded()
    with pytest.raises(StopIteration) as stop:
        steps.throw(KeyError())
    assert stop.value.value == "done"
    assert seen == [False, "sent", False, "thrown", False]
    assert recorded()
    assert list(numbers()) == [0, 1]


def test_a_decorated_generator_is_closed():
    seen = []

    @batten.no_grad()
    def numbers():
        try:
            yield 1
        finally:
            seen.append(recorded())

    steps = numbers()
    next(steps)
    steps.close()
    assert seen == [False]
    assert recorded()


def test_what_is_no_function_is_not_decorated():
    with pytest.raises(TypeError, match="expected a function to decorate, got 3"):
        batten.no_grad(3)


def test_modes_are_each_thread_s_own():
    inside, outside = threading.Event(), threading.Event()
    seen = []

    def other():
        seen.append(recorded())
        with batten.no_grad():
            inside.set()
            outside.wait(10)
            seen.append(recorded())

    thread = threading.Thread(target=other)
    with batten.no_grad():
        thread.start()
        inside.wait(10)
    assert recorded()
    outside.set()
    thread.join()
    assert seen == [True, False]


def test_many_threads_with_a_tape_each():
    results = {}

    def work(k):
        x = batten.full((50,), float(k), dtype=batten.float64, requires_grad=True)
        for _ in range(20):
            y = x
            for _ in range(30):
                y = y * 1.01 + x
            y.sum().backward()
        results[k] = x.grad.numpy().copy()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = 20 * sum(1.01**i for i in range(31))
    for k in range(8):
        np.testing.assert_allclose(results[k], np.full(50, expected), rtol=1e-12)


# ---- grad ----


def test_grad_touches_no_grad():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    dx, dy = autograd.grad((x * y).sum(), [x, y])
    assert (dx.tolist(), dy.tolist()) == ([3, 4], [1, 2])
    assert x.grad is None and y.grad is None
    assert not dx.requires_grad


def test_grad_of_several_results():
    x = leaf(1.0, 2.0)
    (dx,) = autograd.grad([x.sum(), (x * x).sum()], x)
    assert dx.tolist() == [3, 5]
    (dx,) = autograd.grad((x * x,), (x,), grad_outputs=(batten.tensor([1.0, 10.0]),))
    assert dx.tolist() == [2, 40]
    (dx,) = autograd.grad(x * x, x, batten.tensor([1.0, 10.0]))
    assert dx.tolist() == [2, 40]


def test_grad_by_what_is_no_leaf():
    x = leaf(1.0, 2.0)
    h = x * x
    y = (h * h).sum()
    dh, dx = autograd.grad(y, [h, x], retain_graph=True)
    assert dh.tolist() == [2, 8]
    assert dx.tolist() == [4, 32]
    assert autograd.grad(y, y, retain_graph=True)[0].item() == 1
    assert autograd.grad(y, [h, h])[1].tolist() == [2, 8]
    assert x.grad is None


def test_grad_walks_no_further_than_it_must():
    x = leaf(1.0, 2.0)
    h = x * x
    y = (h * 3).sum()
    (dh,) = autograd.grad(y, h)
    h.backward(dh)  # what is below h was not let go of
    assert x.grad.tolist() == [6, 12]
    with pytest.raises(RuntimeError, match="walked backward before"):
        y.backward()


def test_grad_of_one_part_of_several():
    x = leaf(1.0, 2.0, 4.0)
    a, b = (x * x).split([1, 2])
    y = (a.sum() + 3 * b.sum()) * 2
    da, db = autograd.grad(y, [a, b])
    assert (da.tolist(), db.tolist()) == ([2], [6, 6])


def test_grad_of_unused_inputs():
    x, unused = leaf(1.0), leaf(1.0)
    y = x * x
    with pytest.raises(RuntimeError, match="was not used for the results; allow_unused=True"):
        autograd.grad(y, [x, unused], retain_graph=True)
    dx, nothing = autograd.grad(y, [x, unused], allow_unused=True)
    assert dx.tolist() == [2]
    assert nothing is None


def test_grad_refuses():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="differentiate by does not require"):
        autograd.grad(x * 2, batten.ones(1))
    with pytest.raises(RuntimeError, match="expected 1 gradients, one for each result, got 2"):
        autograd.grad(x * 2, x, [None, None])
    with pytest.raises(TypeError, match="expected a tensor to go back from, got float"):
        autograd.grad([1.0], x)


# ---- changes in place ----

LOG, MUL, EXP = "LogBackward0", "MulBackward0", "ExpBackward0"


def changes():
    """Ways to change a tensor in place that are noticed."""
    return {
        "add_": lambda t: t.add_(1),
        "sub_": lambda t: t.sub_(1),
        "mul_": lambda t: t.mul_(2),
        "div_": lambda t: t.div_(2),
        "pow_": lambda t: t.pow_(2),
        "+=": lambda t: operator.iadd(t, 1),
        "-=": lambda t: operator.isub(t, 1),
        "*=": lambda t: operator.imul(t, 2),
        "/=": lambda t: operator.itruediv(t, 2),
        "zero_": lambda t: t.zero_(),
        "fill_": lambda t: t.fill_(3),
        "copy_": lambda t: t.copy_(batten.zeros(2)),
        "clamp_": lambda t: t.clamp_(max=1.5),
        "exp_": lambda t: t.exp_(),
        "masked_fill_": lambda t: t.masked_fill_(t.detach() > 1, 0),
        "index": lambda t: t.__setitem__(0, 5),
        "mask": lambda t: t.__setitem__(t.detach() > 1, 5),
        "view": lambda t: t[:1].add_(1),
        "view of a view": lambda t: t.view(2, 1)[0].zero_(),
        "transpose": lambda t: t.T.add_(1),
        "detached": lambda t: t.detach().add_(1),
        "uniform_": lambda t: t.uniform_(),
        "normal_": lambda t: t.normal_(),
        "bernoulli_": lambda t: t.bernoulli_(0.5),
        "random_": lambda t: t.random_(3, 5),
    }


@pytest.mark.parametrize("change", changes().values(), ids=changes())
def test_a_needed_value_that_was_changed_is_refused(change):
    w, x = leaf(1.0, 2.0), batten.tensor([1.0, 2.0], dtype=batten.float64)
    y = (w * x).sum()
    with batten.no_grad():
        change(x)
    with pytest.raises(RuntimeError, match=rf"{MUL} needs.*\(y\) was changed in place.*version 1, expected version 0"):
        y.backward()
    assert w.grad is None


@pytest.mark.parametrize("change", changes().values(), ids=changes())
def test_an_optimizer_s_kind_of_write_is_noticed(change):
    """A leaf is changed under no_grad after a first step, and the old graph is gone back over."""
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    with batten.no_grad():
        change(w)
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward()
    (w * w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * w.detach().numpy())


@pytest.mark.parametrize("optimizer", [batten.optim.SGD, batten.optim.Adam])
def test_an_optimizer_s_step_is_noticed(optimizer):
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    y.backward(retain_graph=True)
    optimizer([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward()
    assert w.grad.tolist() == [2, 4]


def test_an_activation_in_place_is_noticed():
    x = leaf(-1.0, 2.0)
    h = x * 1
    y = (h * h).sum()
    batten.nn.functional.relu(h, inplace=True)
    with pytest.raises(RuntimeError, match=f"{MUL} needs"):
        y.backward()
    h = x * 1  # which nobody needs
    batten.nn.functional.relu(h, inplace=True).sum().backward()
    assert x.grad.tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        batten.nn.functional.relu(x, inplace=True)


def test_a_result_that_its_own_gradient_needs():
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.sum()
    with batten.no_grad():
        y += 1
    with pytest.raises(RuntimeError, match=rf"{EXP} needs for its gradient \(y\)"):
        z.backward()


def test_what_nobody_needs_may_be_changed():
    x = leaf(1.0, 2.0)
    y = x * 2  # keeps 2, not x
    y.add_(1)
    y += 1
    y.mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [6, 6]
    h = x.relu() + x  # the sum keeps nothing
    h.zero_()
    c = batten.ones(2, dtype=batten.float64)
    y = (x + c).sum()
    c.zero_()
    y.backward()
    assert x.grad.tolist() == [7, 7]


def test_what_is_kept_for_nobody_may_be_changed():
    """x * c keeps c only, for x alone wants a gradient; x % c keeps neither."""
    x, c = leaf(5.0, 2.0), batten.tensor([3.0, 4.0], dtype=batten.float64)
    h = x * 1
    y = h * c
    z = h % c
    h.zero_()
    (y.sum() + z.sum()).backward()
    assert x.grad.tolist() == [4, 5]


def test_a_chain_of_changes():
    x = leaf(0.5, 1.0)
    y = x.clone()
    y.mul_(3).add_(1).exp_().sub_(1)
    y *= y
    y /= 2
    y.sum().backward()
    e = np.exp(3 * x.detach().numpy() + 1)
    np.testing.assert_allclose(x.grad.numpy(), (e - 1) * 3 * e, rtol=1e-12)


def test_a_change_by_itself_keeps_what_it_overwrites():
    x, w = leaf(2.0, 3.0), leaf(5.0, 7.0)
    y = x * 1
    y *= w
    y.sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert w.grad.tolist() == [2, 3]


def test_a_constant_becomes_a_result():
    w, total = leaf(1.0, 2.0), batten.zeros(2, dtype=batten.float64)
    for k in (1, 2, 3):
        total += k * w
    assert total.requires_grad and not total.is_leaf
    total.sum().backward()
    assert w.grad.tolist() == [6, 6]
    buffer = batten.zeros(2, dtype=batten.float64)
    buffer.copy_(w * 3)
    buffer.sum().backward()
    assert w.grad.tolist() == [9, 9]


def test_a_change_keeps_the_type():
    x = leaf(1.0, 2.0, dtype=batten.float32)
    y = x * 1
    y += batten.tensor([1.0, 2.0], dtype=batten.float64)
    assert y.dtype == batten.float32
    y.sum().backward()
    assert x.grad.dtype == batten.float32
    counts = batten.tensor([1, 2])
    for wrong in (lambda: counts.add_(0.5), lambda: counts.div_(2), lambda: counts.exp_()):
        with pytest.raises(TypeError, match="can't be cast to the desired output type int64 in place"):
            wrong()
    assert counts.tolist() == [1, 2]


def test_a_change_keeps_the_shape():
    x = batten.ones(2)
    with pytest.raises(ValueError, match=r"of shape \[2\] to put in place, got \[3, 2\]"):
        x += batten.ones(3, 2)
    with pytest.raises(ValueError, match=r"copy_ expects"):
        x.copy_(batten.ones(1, 2))
    with pytest.raises(ValueError, match=r"copy_ expects"):
        x.copy_(batten.ones(3))
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize("name", [name for name in changes() if name != "detached"])
def test_a_leaf_that_requires_a_gradient_is_not_changed(name):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"leaf|a view cannot be changed|cannot be assigned|under batten.no_grad"):
        changes()[name](x)
    assert x.tolist() == [1, 2]
    assert x.is_leaf
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_what_is_written_to_data_or_numpy_is_not_watched():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data.mul_(3)
    x.numpy()[1] = 5
    y.backward()
    assert x.tolist() == [3, 5]
    assert x.grad.tolist() == [6, 10]


def test_leaves_are_changed_under_no_grad():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    with batten.no_grad():
        x -= 0.5 * x.grad
        x[0] = 7
        x.clamp_(max=6)
    assert x.tolist() == [6, 0.5]
    assert x.requires_grad and x.is_leaf


def test_a_stale_view_is_refused():
    x = leaf(1.0, 2.0)
    y = x * 1
    before = y[0]
    y.mul_(3)
    with pytest.raises(RuntimeError, match=r"a view made by SliceBackward0 is used after.*take the view again"):
        before * 2
    assert before.item() == 3  # it shows the change
    (y[0] * 2).backward()
    assert x.grad.tolist() == [6, 0]


def test_a_fresh_view_after_an_unrecorded_change():
    x = leaf(1.0, 2.0)
    y = x * 1
    view = y[0]
    with batten.no_grad():
        y.mul_(3)
    (view * 2).backward()
    assert x.grad.tolist() == [2, 0]


@pytest.mark.parametrize(
    "take",
    [
        lambda y: y[0],
        lambda y: y.T,
        lambda y: y.reshape(-1),
        lambda y: y.unsqueeze(0),
        lambda y: y.expand(2, -1, -1),
        lambda y: y.split(1)[0],
        lambda y: y.unbind()[1],
        lambda y: y.detach(),
        lambda y: y[:0],
    ],
)
def test_views_count_as_what_they_show(take):
    x = batten.ones(2, 2, dtype=batten.float64)
    view = take(x)
    assert view.version is x.version
    w = batten.ones(2, 2, dtype=batten.float64, requires_grad=True)
    z = (x * w).sum()
    if view.array.flags.writeable:
        view.zero_()
        with pytest.raises(RuntimeError, match="was changed in place"):
            z.backward()


def test_a_recorded_change_of_a_view_is_refused():
    x = leaf(1.0, 2.0)
    y = x * 1
    row = batten.zeros(2, 2, dtype=batten.float64)[0]
    for wrong in (
        lambda: y[:1].mul_(3),
        lambda: y.view(2, 1).add_(x.unsqueeze(1)),
        lambda: row.add_(x),
        lambda: row.copy_(x),
    ):
        with pytest.raises(RuntimeError, match="a view cannot be changed in place where the change is recorded"):
            wrong()
    for wrong in (lambda: y.__setitem__(0, 5), lambda: row.__setitem__(slice(None), x)):
        with pytest.raises(
            RuntimeError, match="elements cannot be assigned where the change would have to be recorded"
        ):
            wrong()
    assert y.tolist() == [1, 2]
    assert row.tolist() == [0, 0]
    assert not row.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_constant_that_is_shown_elsewhere_does_not_become_a_result():
    x, buffer = leaf(1.0, 2.0), batten.zeros(2, dtype=batten.float64)
    first = buffer[0]
    with pytest.raises(RuntimeError, match="others show, or that an operation needs"):
        buffer += x
    assert buffer.tolist() == [0, 0] and not buffer.requires_grad
    del first
    buffer += x
    buffer.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_memory_that_is_read_only_is_refused_before_anything_changes():
    array = np.zeros(2)
    array.flags.writeable = False
    x, y = leaf(1.0, 2.0), batten.from_numpy(array)
    for change in (lambda: y.add_(x), lambda: y.add_(1), lambda: y.zero_(), lambda: y.uniform_()):
        with pytest.raises(RuntimeError, match="read-only"):
            change()
    with pytest.raises(RuntimeError, match="read-only"):
        y[0] = 1
    assert not y.requires_grad and y.is_leaf
    assert y.version == [0, 0]
    shown = batten.ones(1).expand(3)
    with pytest.raises(RuntimeError, match="shows one element several times"):
        shown += 1


def test_indices_that_come_with_extremes_may_be_changed():
    x = leaf(1.0, 5.0, 3.0)
    values, indices = x.max(0)
    indices.zero_()
    values.backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_an_index_may_be_changed_after_it_was_used():
    x, index = leaf(1.0, 5.0, 3.0), batten.tensor([2, 0])
    y = x[index].sum()
    index.zero_()
    y.backward()
    assert x.grad.tolist() == [1, 0, 1]
    for use in (lambda: x.index_select(0, index), lambda: x.gather(0, index)):
        z = use().sum()
        index.fill_(1)
        with pytest.raises(RuntimeError, match=r"\(index\) was changed in place"):
            z.backward()
    mask = batten.tensor([True, False, True])
    z = batten.where(mask, x, 0.0).sum()
    mask.zero_()
    with pytest.raises(RuntimeError, match=r"\(condition\) was changed in place"):
        z.backward()


def test_floor_divide_in_place_has_no_gradient():
    y = leaf(5.0) * 1
    with pytest.raises(RuntimeError, match="no gradient cannot take the place"):
        y //= 2
    assert y.tolist() == [5]


# ---- Function ----


class Scale(Function):
    """Two inputs and a number, two results."""

    @staticmethod
    def forward(ctx, x, factor, y):
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x * factor, x * y

    @staticmethod
    def backward(ctx, da, db):
        x, y = ctx.saved_tensors
        dx = da * ctx.factor + db * y if ctx.needs_input_grad[0] else None
        dy = db * x if ctx.needs_input_grad[2] else None
        return dx, None, dy


def test_function():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a, b = Scale.apply(x, 10, y)
    assert a.tolist() == [10, 20] and b.tolist() == [3, 8]
    assert a.requires_grad and b.requires_grad
    assert repr(a.grad_fn) == "<ScaleBackward>"
    (a.sum() + 2 * b.sum()).backward()
    assert x.grad.tolist() == [16, 18]
    assert y.grad.tolist() == [2, 4]
    assert gradcheck(lambda x, y: Scale.apply(x, 3.0, y), (x, y))


def test_function_s_unused_results_have_zeros_as_gradients():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    Scale.apply(x, 10, y)[0].sum().backward()
    assert x.grad.tolist() == [10, 10]
    assert y.grad.tolist() == [0, 0]


def test_needs_input_grad():
    seen = []

    class Watch(Function):
        @staticmethod
        def forward(ctx, x, n, y, z):
            seen.append(ctx.needs_input_grad)
            assert not batten.is_grad_enabled()
            return x + y

        @staticmethod
        def backward(ctx, d):
            seen.append(ctx.needs_input_grad)
            assert not batten.is_grad_enabled()
            return d, None, d, None

    x, y, z = leaf(1.0), batten.ones(1, dtype=batten.float64), batten.tensor([1])
    Watch.apply(x, 3, y, z).backward()
    assert seen == [(True, False, False, False)] * 2
    assert x.grad.tolist() == [1]
    with batten.no_grad():
        result = Watch.apply(x, 3, y, z)
    assert seen[-1] == (False,) * 4
    assert not result.requires_grad
    assert not Watch.apply(y, 3, y, z).requires_grad


def test_none_as_gradient():
    class Cut(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, d):
            return None, d

    x, y = leaf(2.0), leaf(3.0)
    Cut.apply(x, y).backward()
    assert x.grad is None
    assert y.grad.tolist() == [1]


def test_gradients_of_inputs_that_want_none_are_dropped():
    class Both(Function):
        @staticmethod
        def forward(ctx, x, index):
            return x * 2

        @staticmethod
        def backward(ctx, d):
            return d * 2, batten.ones(7)

    x = leaf(1.0)
    Both.apply(x, batten.tensor([1])).backward()
    assert x.grad.tolist() == [2]


def test_mark_non_differentiable():
    class Ordered(Function):
        @staticmethod
        def forward(ctx, x):
            top, where = x.max(0)
            mean = x.mean()
            ctx.mark_non_differentiable(where, mean)
            ctx.save_for_backward(where)
            return top, where, mean

        @staticmethod
        def backward(ctx, dtop, dwhere, dmean):
            assert dmean.tolist() == 0 and dwhere.tolist() == 0
            dx = batten.zeros(3, dtype=batten.float64)
            dx[ctx.saved_tensors[0]] = dtop
            return dx

    x = leaf(1.0, 5.0, 3.0)
    top, where, mean = Ordered.apply(x)
    assert top.requires_grad and not where.requires_grad and not mean.requires_grad
    assert mean.is_leaf
    (top * 2).backward()
    assert x.grad.tolist() == [0, 2, 0]


class Keep(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(x, y, None)
        return y

    @staticmethod
    def backward(ctx, d):
        x, y, nothing = ctx.saved_tensors
        assert nothing is None
        return d * y + 0 * x


@pytest.mark.parametrize("which", ["input", "result"])
def test_saved_tensors_that_were_changed_are_refused(which):
    x = leaf(1.0, 2.0)
    h = x * 1
    y = Keep.apply(h)
    z = y * 2
    with batten.no_grad():
        (h if which == "input" else y).add_(1)
    with pytest.raises(RuntimeError, match=r"saved for backward was changed in place.*version 1, expected version 0"):
        z.sum().backward()
    assert x.grad is None


def test_a_result_that_is_an_argument_becomes_a_tensor_of_its_own():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x, how):
            return x if how == "itself" else x.view(2)

        @staticmethod
        def backward(ctx, d):
            return -d, None

    for how in ("itself", "view"):
        x = leaf(1.0, 2.0)
        y = Reverse.apply(x, how)
        y.mul_(3)
        assert x.tolist() == [1, 2]
        y.sum().backward()
        assert x.grad.tolist() == [-3, -3]


def wrong(returned, forward=lambda ctx, x: x * 2):
    class Wrong(Function):
        pass

    Wrong.forward = staticmethod(forward)
    Wrong.backward = staticmethod(lambda ctx, d: returned(d))
    return Wrong


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda d: (d, d), RuntimeError, "must return 1 gradients, one for each argument, got 2"),
        (lambda d: (), RuntimeError, "must return 1 gradients, one for each argument, got 0"),
        (lambda d: d.sum(), RuntimeError, r"returned a gradient float64\[\], expected float64\[2\]"),
        (lambda d: d.float(), RuntimeError, r"returned a gradient float32\[2\], expected float64\[2\]"),
        (lambda d: d.unsqueeze(0), RuntimeError, r"returned a gradient float64\[1, 2\], expected float64\[2\]"),
        (lambda d: 2.0, TypeError, "must return tensors or None, got float"),
        (lambda d: d.numpy(), TypeError, "must return tensors or None, got ndarray"),
    ],
)
def test_wrong_gradients(returned, error, message):
    x = leaf(1.0, 2.0)
    y = wrong(returned).apply(x)
    with pytest.raises(error, match=f"Wrong.backward {message}"):
        y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize(
    ("forward", "error", "message"),
    [
        (lambda ctx, x: 3, TypeError, "Wrong.forward must return tensors, got int"),
        (lambda ctx, x: (x, None), TypeError, "Wrong.forward must return tensors, got NoneType"),
        (lambda ctx, x: ctx.save_for_backward(3), TypeError, "save_for_backward expects tensors or None, got int"),
        (lambda ctx: 3, TypeError, "argument"),
    ],
)
def test_wrong_forwards(forward, error, message):
    with pytest.raises(error, match=message):
        wrong(lambda d: d, forward).apply(leaf(1.0))
    assert recorded()


def test_a_function_without_its_methods():
    class Empty(Function):
        pass

    with pytest.raises(NotImplementedError, match="static forward"):
        Empty.apply(leaf(1.0))

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    y = Half.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="static backward"):
        y.backward()


def test_an_exception_in_backward_leaves_nothing_half_done():
    def fail(d):
        raise KeyError("mine")

    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    x.grad = batten.ones(2, dtype=batten.float64)
    loss = (wrong(fail).apply(x * 1) * y + x).sum()  # y's gradient is ready before the exception
    with pytest.raises(KeyError, match="mine"):
        loss.backward()
    assert x.grad.tolist() == [1, 1]
    assert y.grad is None
    assert recorded()
    (x * y).sum().backward()
    assert x.grad.tolist() == [4, 5]


def test_what_backward_returns_is_not_written_to():
    kept = batten.ones(2, dtype=batten.float64)
    x = leaf(1.0, 2.0)
    h = x * 1
    (wrong(lambda d: kept).apply(h) + h * 5 + h).sum().backward()
    assert kept.tolist() == [1, 1]
    assert x.grad.tolist() == [7, 7]
    y = leaf(1.0, 2.0)
    wrong(lambda d: kept).apply(y).sum().backward()
    y.grad.zero_()
    assert kept.tolist() == [1, 1]


def test_a_function_is_walked_once_or_retained():
    x = leaf(1.0, 2.0)
    a, b = Scale.apply(x, 10, x)
    (a + b).sum().backward(retain_graph=True)
    (a + b).sum().backward()
    with pytest.raises(RuntimeError, match="walked backward before"):
        a.sum().backward()
    assert repr(a.grad_fn) == "<ScaleBackward>"
    assert x.grad.tolist() == [24, 28]


def test_function_lets_go_of_what_it_saved():
    x = leaf(1.0, 2.0)
    big = batten.ones(2, dtype=batten.float64)
    gone = weakref.ref(big)
    y = Scale.apply(x, 10, big)[1].sum()
    del big
    gc.disable()
    try:
        assert gone() is not None
        y.backward()
        assert gone() is None
    finally:
        gc.enable()


# ---- gradcheck ----


def test_gradcheck():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    assert gradcheck(lambda x, y: x * y, (x, y))
    assert gradcheck(batten.sin, x)
    assert gradcheck(lambda x, c: (x * c, x.sum(), c), (x, batten.tensor([2])))
    assert x.tolist() == [1, 2]
    assert x.grad is None


def test_gradcheck_finds_wrong_gradients():
    for returned in (lambda d: d * 2.01, lambda d: d * 0, lambda d: d.flip(0)):
        function = wrong(returned)
        with pytest.raises(GradcheckError, match=r"input 0.*backward gives.*differences give"):
            gradcheck(function.apply, leaf(1.0, 2.0))
        assert not gradcheck(function.apply, leaf(1.0, 2.0), raise_exception=False)


def test_gradcheck_finds_wrong_gradients_of_second_inputs():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * 2 + y

        @staticmethod
        def backward(ctx, d):
            return d * 2, d * 2

    with pytest.raises(GradcheckError, match="input 1"):
        gradcheck(Wrong.apply, (leaf(1.0), leaf(2.0)))


def test_gradcheck_restores_its_inputs_after_an_exception():
    calls = []

    def fails_later(x):
        calls.append(1)
        if len(calls) > 1:
            raise KeyError
        return x * 2

    x = leaf(1.0, 2.0)
    with pytest.raises(KeyError):
        gradcheck(fails_later, x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        (batten.sin, lambda: batten.ones(2), "at least one tensor that requires"),
        (batten.sin, lambda: batten.ones(2, requires_grad=True), "expects float64, got float32"),
        (lambda x: x.detach(), lambda: leaf(1.0), "a result that requires a gradient"),
    ],
)
def test_gradcheck_refuses(function, inputs, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(function, inputs())


# ---- Operation ----


def test_slots_say_what_is_watched():
    class Odd(Operation):
        __slots__ = ("n", "w", "y")

        def forward(self, x, w):
            self.w, self.y = w, x * w
            return self.y

        def backward(self, dy):
            return dy * self.w * self.n, None

    assert Odd.of_class.kept == ("n", "w", "y")
    assert Odd.of_class.watched == (("w", 1), ("y", -1))
    x, w = leaf(1.0), batten.ones(1, dtype=batten.float64)
    Odd.apply(x, w, n=2).backward()
    assert x.grad.tolist() == [2]


def test_optional_inputs():
    class Shift(Operation):
        __slots__ = ("given",)

        def forward(self, x, b):
            self.given = b is not None
            return x + b if self.given else x + 0

        def backward(self, dy):
            return dy, dy if self.given else None

    x, b = leaf(1.0), leaf(2.0)
    (Shift.apply(x, None) + Shift.apply(x, b)).backward()
    assert x.grad.tolist() == [2]
    assert b.grad.tolist() == [1]


def test_names():
    x = leaf(1.0)
    assert repr((x * 2).grad_fn) == "<MulBackward0>"
    assert (x * 2).grad_fn.name() == "MulBackward0"


# ---- depth, and memory ----


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_long_chains(length):
    x = leaf(1.0)
    y = x
    for _ in range(length):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1]
    del y
    y = x
    for _ in range(length):
        y = y * 1
    del y  # a chain that was never walked


def test_long_chains_of_views_and_changes():
    x = leaf(1.0, 2.0)
    y = x
    for _ in range(2_500):
        y = y.unsqueeze(0).squeeze(0)[:].view(2)
    z = y * 1
    for _ in range(2_500):
        z += 1
        z *= 1
    autograd.grad(z.sum(), y, retain_graph=True)
    z.sum().backward()
    assert x.grad.tolist() == [1, 1]
    copy.deepcopy(x)


def pool():
    """The bytes that living arrays hold."""
    return batten.memory_stats()["allocated"]


def step(x, w):
    h = (x @ w).relu()
    a, b = h.split([3, 5], 1)
    parts = batten.cat([a * 2, b.exp().clamp(max=9)], 1)
    y = parts.softmax(1).log().T[1:].sum(0) + parts[[0, 1, 1, 3]].max(1).values
    y = y * 1
    y += h.mean()
    return (Keep.apply(y) + y.var()).sum()


@pytest.mark.parametrize("end", ["backward", "grad", "nothing", "error", "refusal"])
def test_nothing_is_left(end):
    """No reference cycles: with the collector off, all memory comes back as soon as the names are gone."""
    x = batten.rand(4, 6, dtype=batten.float64)
    w = batten.rand(6, 8, dtype=batten.float64, requires_grad=True)
    w.grad = batten.zeros(6, 8, dtype=batten.float64)

    def once():
        loss = step(x, w)
        operations = weakref.ref(loss)
        if end == "backward":
            loss.backward()
        elif end == "grad":
            autograd.grad(loss, w)
        elif end == "error":
            with pytest.raises(RuntimeError):
                autograd.grad(loss, batten.ones(2))
        elif end == "refusal":
            with pytest.raises(ValueError):
                loss + (x @ w) @ w
        return operations

    once()
    gc.collect()
    gc.disable()
    try:
        before = pool()
        for _ in range(3):
            assert once()() is None
        assert pool() == before
        assert gc.collect() == 0 or end in ("error", "refusal")  # pytest.raises makes cycles of its own
    finally:
        gc.enable()


def test_backward_lets_go_of_values_as_it_goes():
    """After it, the graph that a result still names holds no arrays."""
    x = batten.ones(1000, dtype=batten.float64, requires_grad=True)
    x.grad = batten.zeros(1000, dtype=batten.float64)
    before = pool()
    y = x
    for _ in range(50):
        y = (y * 1.0).sin().exp()
    z = y.sum()
    assert pool() - before > 50 * 8000
    z.backward()
    del y
    assert pool() - before < 3 * 8000


def test_a_result_keeps_only_what_it_was_made_of():
    x = leaf(1.0)
    h = x * 2
    other = weakref.ref(h * 3)
    assert other() is None
    y = h * 4
    seen = weakref.ref(h)
    del h
    assert seen() is None  # the tape holds operations, not tensors
    y.backward()


def test_long_training_does_not_grow():
    w = batten.rand(8, 8, requires_grad=True)
    x = batten.rand(4, 8)
    sizes = []
    for k in range(60):
        loss = ((x @ w).tanh() ** 2).mean()
        loss.backward()
        with batten.no_grad():
            w -= 0.1 * w.grad
            w.grad.zero_()
        if k >= 10:
            sizes.append(pool())
    assert len(set(sizes)) == 1
    assert math.isfinite(loss.item())


# ---- gradients that nobody else holds ----


class Watched(Operation):
    """x again; `seen` gets the gradient that comes, and whether it may be written over."""

    __slots__ = ("seen",)

    def forward(self, x):
        return x.copy(order="K")

    def backward(self, dy):
        self.seen.append((dy, self.spare))
        return dy


def watched(x):
    seen = []
    return Watched.apply(x, seen=seen), seen


def test_a_gradient_that_nobody_else_holds_is_written_over():
    x = batten.tensor([1.0, -2.0, 3.0], requires_grad=True)
    first, arrived_first = watched(x)
    second, arrived_second = watched(first.relu())
    (second * 2).backward(batten.ones(3))
    assert [spare for _, spare in arrived_first + arrived_second] == [True, True]
    assert arrived_first[0][0] is arrived_second[0][0]  # relu's gradient lies where that of its result lay
    assert x.grad.array is arrived_first[0][0] and x.grad.tolist() == [2, 0, 2]


def test_memory_of_images_is_written_over(rng):
    x = batten.tensor(rng.standard_normal((2, 3, 4, 5)), requires_grad=True).to(memory_format=batten.channels_last)
    first, arrived_first = watched(x)
    second, arrived_second = watched(batten.nn.functional.batch_norm(first, None, None, training=True))
    (second * 2).backward(batten.ones_like(second))
    assert [spare for _, spare in arrived_first + arrived_second] == [True, True]
    assert np.shares_memory(arrived_first[0][0], arrived_second[0][0])


@pytest.mark.parametrize("normalize", [batten.nn.functional.layer_norm, batten.nn.functional.rms_norm])
def test_memory_of_rows_is_written_over(rng, normalize):
    x = batten.tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    first, arrived_first = watched(x)
    second, arrived_second = watched(normalize(first, (4,)))
    (second * 2).backward(batten.ones_like(second))
    assert [spare for _, spare in arrived_first + arrived_second] == [True, True]
    assert np.shares_memory(arrived_first[0][0], arrived_second[0][0])


def test_what_others_hold_is_not_written_over():
    x = batten.tensor([1.0, -2.0, 3.0], requires_grad=True)
    dy = batten.ones(3)
    y, arrived = watched(x.relu())
    y.relu().backward(dy)
    assert dy.tolist() == [1, 1, 1] and x.grad.tolist() == [1, 0, 1]
    assert arrived[0][1]  # relu has made memory of its own, as the caller's was not spare

    y = x.relu()
    (caught,) = batten.autograd.grad((y.relu() * 3).sum(), y, retain_graph=True)
    dx, caught_too = batten.autograd.grad((y.relu() * 3).sum(), [x, y])
    assert caught.tolist() == caught_too.tolist() == [3, 0, 3] and dx.tolist() == [3, 0, 3]


@pytest.mark.parametrize("split", [
    lambda x: (x, x),
    lambda x: (x, x.reshape(3, 1).reshape(3)),
    lambda x: (x.reshape(3, 1), x.reshape(3, 1).T.reshape(3, 1)),
])  # fmt: skip
def test_memory_that_goes_on_to_two_is_not_written_over(split):
    """Both of a sum's operands get the gradient of the sum itself, or views of it."""
    x = batten.tensor([1.0, -2.0, 3.0], requires_grad=True)
    z = batten.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    a, _ = split(x.relu())
    _, b = split(z.relu())
    ((a + b) * 2).sum().backward()
    assert x.grad.tolist() == [2, 0, 2] and z.grad.tolist() == [0, 2, 2]


def test_one_memory_in_two_results_is_not_written_over():
    class Both(Operation):
        __slots__ = ()

        def forward(self, x, y):
            return x + y

        def backward(self, dz):
            return dz, dz[:]

    x, y = (batten.tensor([1.0, -1.0], requires_grad=True) for _ in range(2))
    (Both.apply(x.relu(), (y * 3).relu()) * 2).sum().backward()
    assert x.grad.tolist() == [2, 0] and y.grad.tolist() == [6, 0]


def test_what_a_function_of_one_s_own_keeps_is_not_written_over():
    kept = []

    class Keeps(batten.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dy):
            dx = dy * 2
            kept.extend([dy, dx])
            return dx if ctx.needs_input_grad[0] else None

    class Passes(batten.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dy):
            kept.append(dy)
            return dy

    x = batten.tensor([1.0, -2.0, 3.0], requires_grad=True)
    (Passes.apply(Keeps.apply(x.relu()).relu()) * 5).sum().backward()
    assert [g.tolist() for g in kept] == [[5, 5, 5], [5, 0, 5], [10, 0, 10]]
    assert x.grad.tolist() == [10, 0, 10]


def test_a_graph_walked_twice_gives_the_same(rng):
    x = batten.tensor(rng.standard_normal((6, 4)), requires_grad=True)
    y = (
        batten.nn.functional.dropout(batten.nn.functional.batch_norm(x, None, None, training=True).relu().neg(), 0.5)
        * 2
    ).sum()
    first = batten.autograd.grad(y, x, retain_graph=True)[0].tolist()
    assert batten.autograd.grad(y, x)[0].tolist() == first

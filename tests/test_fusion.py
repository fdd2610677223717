"""Sequential joins neighbours, and nobody can tell: numbers, gradients, hooks and errors are those of the two apart."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle

import numpy as np
import pytest

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from batten.nn.batch_norm import (
    BatchNormAddRelu,
    BatchNormInferenceRelu,
    BatchNormRelu,
    BatchNormReluDropout,
    ChannelAffine,
    Folded,
)
from batten.nn.convolution import ConvolutionRelu
from batten.nn.dropout import ReluDropout
from batten.nn.fusion import FUSIONS, fused, residual
from batten.nn.group_norm import GroupNormAddRelu, GroupNormRelu
from batten.nn.linear import ACTIVATED, LinearActivated, LinearReluDropout
from batten.nn.lp_batch_norm import OPERATIONS
from batten.nn.normalization import TrackingNormalization

DEVIATIONS = tuple(relu for _, relu in OPERATIONS.values())
JOINED = (ConvolutionRelu, LinearActivated, BatchNormRelu, BatchNormInferenceRelu, GroupNormRelu, *DEVIATIONS)
PAIRS = [(first, second) for first, seconds in FUSIONS.items() for second in seconds]
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(kind.__name__ for kind in pair))
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MIXING = (nn.Linear, *CONVOLUTIONS)  # whose features may be other ones than they are given
BEHIND = {  # axes behind the channels
    nn.BatchNorm2d: (2, 3), nn.BatchNorm3d: (2, 1, 3), nn.LpBatchNorm2d: (2, 3), nn.GroupNorm: (2, 2),
    nn.InstanceNorm1d: (4,), nn.InstanceNorm2d: (2, 3), nn.InstanceNorm3d: (2, 1, 3),
    nn.Conv1d: (4,), nn.Conv2d: (2, 3), nn.Conv3d: (2, 1, 3),
}  # fmt: skip


def layer(kind, n=5, m=7):
    """A module of a class, n features wide; one that mixes them comes from m."""
    if kind in MIXING:
        return kind(m, n, 3, padding=1) if kind in CONVOLUTIONS else kind(m, n)
    if kind is nn.GroupNorm:
        return nn.GroupNorm(5 if n == 5 else 1, n)
    if issubclass(kind, TrackingNormalization):
        return kind(n, affine=True, track_running_stats=True)
    if kind is ChannelAffine:
        return kind(batten.zeros(n), nn.Parameter(batten.ones(n)), nn.Parameter(batten.zeros(n)))
    return kind()


def batch(rng, pair, n, width):
    """n examples for the first of two modules, or gradients of what it makes of them."""
    return rng.standard_normal((n, width, *BEHIND.get(pair[0], ())))


def couple(pair, rng, dtype="float64", n=5, m=7):
    """Two modules with parameters drawn at random, and a width that they take."""
    modules = [layer(kind, n, m).to(batten.tensor(0, dtype=np.dtype(dtype)).dtype) for kind in pair]
    for p in modules[0].parameters():
        p.data = batten.tensor(rng.standard_normal(p.shape), dtype=p.dtype)
    return modules, m if pair[0] in MIXING else n


def apart(modules, x):
    for module in modules:
        x = module(x)
    return x


def joined(y):
    return isinstance(y.grad_fn, JOINED)


def outcome(run, modules, x, dy):
    """All that a step gives: the bits of result, gradients and buffers, and the layout of the first two."""
    modules = copy.deepcopy(modules)
    x = batten.tensor(x).requires_grad_() if isinstance(x, np.ndarray) else x.detach().requires_grad_()
    y = run(modules, x)
    y.backward(batten.tensor(dy) if isinstance(dy, np.ndarray) else dy)
    arrays = [y.detach(), x.grad, *[p.grad for p in modules[0].parameters()], *modules[0].buffers()]
    layout = [a.numpy().strides for a in arrays[:2] if a.numel()]
    return [bits(a.numpy()) for a in arrays], layout, repr(y.grad_fn)


def bits(array):
    """An array's bytes, with one NaN for all: which of two operands' a processor returns is for the compiler to say."""
    return (np.where(array == array, array, np.nan) if array.dtype.kind == "f" else array).tobytes()


def together(modules, x):
    y = nn.Sequential(*modules)(x)
    assert joined(y)
    return y


def assert_alike(modules, x, dy):
    assert outcome(together, modules, x, dy) == outcome(apart, modules, x, dy)


# ---- the numbers ----

SHAPES = [(4,), (1,), (0,), (67,), (150,), (3, 2), (2, 0)]  # before the features, or for batch norm also behind them


@each_pair
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_same_bits(pair, shape, training, rng, dtype):
    if pair[0] in (nn.BatchNorm1d, nn.LpBatchNorm1d) and training and np.prod(shape) == 1:
        pytest.skip("one value has no variance")
    modules, width = couple(pair, rng, dtype)
    for module in modules:
        module.train(training)
    full = (*shape, width) if pair[0] is nn.Linear else (shape[0], width, *BEHIND.get(pair[0], shape[1:]))
    x = rng.standard_normal(full).astype(dtype)
    y = apart(modules, batten.tensor(x))
    assert_alike(modules, x, rng.standard_normal(y.shape).astype(dtype))


@each_pair
def test_same_bits_on_any_number_of_threads_and_instruction_set(pair, rng, dtype, isa, threads):
    modules, width = couple(pair, rng, dtype, 131, 300)
    x, dy = (batch(rng, pair, 200, n).astype(dtype) for n in (width, 131))
    expected = outcome(apart, modules, x, dy)
    for n in (1, 2, 3, 8):
        threads(n)
        assert outcome(together, modules, x, dy) == expected


@each_pair
@pytest.mark.parametrize("training", [True, False])
def test_what_is_not_finite_goes_through(pair, training, rng, dtype):
    modules, width = couple(pair, rng, dtype)
    modules[0].train(training)
    x, dy = (batch(rng, pair, 20, n).astype(dtype) for n in (width, 5))
    x[2, 1], x[3, 2], x[4, 3] = np.nan, np.inf, -np.inf
    dy[5, 0], dy[6, 1] = np.nan, np.inf
    assert_alike(modules, x, dy)


@each_pair
def test_gradients_and_inputs_of_any_layout(pair, rng):
    modules, width = couple(pair, rng)
    x = batten.tensor(batch(rng, pair, 2 * width, 6))[::2].transpose(0, 1)
    assert_alike(modules, x, batten.tensor(batch(rng, pair, 5, 6)).transpose(0, 1))
    assert_alike(modules, x, batten.ones(1, dtype=batten.float64).expand(batch(rng, pair, 6, 5).shape))


@each_pair
@pytest.mark.parametrize("wanted", ["input", "parameters", "nothing"])
def test_only_what_is_wanted_has_a_gradient(pair, wanted, rng):
    modules, width = couple(pair, rng)
    x = batch(rng, pair, 6, width)

    def step(run):
        net = copy.deepcopy(modules)
        net[0].requires_grad_(wanted == "parameters")
        leaf = batten.tensor(x, requires_grad=wanted == "input")
        y = run(net, leaf)
        if y.requires_grad:
            y.sum().backward()
        grads = [leaf.grad, *[p.grad for p in net[0].parameters()]]
        return [y.tolist(), y.requires_grad, *[None if g is None else g.tolist() for g in grads]]

    assert step(lambda net, leaf: nn.Sequential(*net)(leaf)) == step(apart)


@pytest.mark.parametrize("settings", [
    {"affine": False}, {"bias": False}, {"momentum": None}, {"track_running_stats": False}, {"eps": 0.5},
])  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_settings_of_batch_norm(settings, training, rng):
    modules = [nn.BatchNorm1d(5, **settings).double().train(training), nn.ReLU()]
    assert_alike(modules, rng.standard_normal((6, 5)), rng.standard_normal((6, 5)))


@each_pair
def test_a_layer_without_bias(pair, rng):
    modules = [layer(pair[0]).double(), layer(pair[1])]
    modules[0].bias = None
    assert_alike(modules, batch(rng, pair, 6, 7 if pair[0] in MIXING else 5), batch(rng, pair, 6, 5))


def test_relu_in_place(rng):
    for first in (nn.BatchNorm1d(5).double(), nn.Linear(5, 5).double()):
        x, dy = rng.standard_normal((2, 6, 5))
        assert_alike([first, nn.ReLU(inplace=True)], x, dy)


@pytest.mark.parametrize("name", sorted(ACTIVATED))
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (33, 300, 77), (128, 40, 512)])
def test_gemm_activates_as_the_elementwise_kernel_does(name, shape, rng, dtype, isa):
    m, k, n = shape
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (n,)))
    a[0, 0] = np.nan
    a[-1] *= 100
    plain = kernels.gemm(np.empty((m, n), dtype), a, b, bias)
    expected = getattr(kernels, name)(np.empty_like(plain), plain)
    assert kernels.gemm(np.empty((m, n), dtype), a, b, bias, name).tobytes() == expected.tobytes()


def test_training_follows_pytorch(rng):
    torch = pytest.importorskip("torch")

    def net(lib):
        m = lib.nn
        return m.Sequential(
            m.Linear(6, 9), m.BatchNorm1d(9), m.ReLU(), m.Linear(9, 8), m.Tanh(), m.Linear(8, 7), m.ReLU(inplace=True),
            m.Linear(7, 4), m.Sigmoid(), m.Linear(4, 3),
        ).double()  # fmt: skip

    ours, theirs = net(batten), net(torch)
    ours.load_state_dict(theirs.state_dict())
    x, target = rng.standard_normal((3, 20, 6)), rng.integers(0, 3, (3, 20))
    for lib, model in ((batten, ours), (torch, theirs)):
        sgd = lib.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        for a, t in zip(x, target, strict=True):
            sgd.zero_grad()
            lib.nn.functional.cross_entropy(model(lib.tensor(a)), lib.tensor(t)).backward()
            sgd.step()
        model.eval()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-9, atol=1e-12)
    with batten.no_grad(), torch.no_grad():
        np.testing.assert_allclose(ours(batten.tensor(x[0])), theirs(torch.tensor(x[0])), rtol=1e-9, atol=1e-12)


# ---- whether they are joined ----


@each_pair
def test_neighbours_in_the_table_are_joined(pair, rng):
    modules, width = couple(pair, rng)
    x = batten.tensor(batch(rng, pair, 4, width), requires_grad=True)
    assert joined(nn.Sequential(*modules)(x))
    assert not joined(apart(modules, x))


@each_pair
def test_identities_may_stand_between(pair, rng):
    (first, second), width = couple(pair, rng)
    x, dy = batch(rng, pair, 6, width), batch(rng, pair, 6, 5)
    rank = first(batten.tensor(x)).ndim
    for between in ([nn.Identity()], [nn.Identity(), nn.Identity()], [Folded("Layer", rank, "(N, 5)")]):
        assert_alike([first, *between, second], x, dy)
    with pytest.raises(ValueError, match=r"^Layer expects \(N, 5\), got \["):
        nn.Sequential(first, Folded("Layer", rank + 1, "(N, 5)"), second)(batten.tensor(x))
    assert nn.Sequential(first, nn.Identity())(batten.tensor(x)).tolist() == first(batten.tensor(x)).tolist()


def test_what_stands_between_and_is_no_mere_identity_is_called(rng):
    class Squared(nn.Identity):
        def forward(self, input):
            return input * input

    x = batten.tensor(rng.standard_normal((4, 5)))
    net = nn.Sequential(nn.Linear(5, 5), Squared(), nn.ReLU()).double()
    assert net(x).tolist() == apart(net, x).tolist()
    net[1] = nn.Identity()
    net[1].forward = lambda input: -input
    assert net(x).tolist() == apart(net, x).tolist()
    del net[1].forward
    assert joined(net(x))
    with net[1].register_forward_hook(lambda module, args, output: 2 - output):
        assert net(x).tolist() == apart(net, x).tolist()
        assert not joined(net(x))
    assert joined(net(x))


@pytest.mark.parametrize("kind, statistics", [
    (nn.BatchNorm2d, 3 * 6),  # mean, rstd, and where relu bends, of each channel
    (nn.GroupNorm, 2 * 40 * 2 + 6),  # mean and rstd of each group of each image, and the bias, which may change
    (nn.InstanceNorm2d, 2 * 40 * 6 + 6),
])  # fmt: skip
def test_neither_the_result_nor_a_mask_is_kept_for_relu_behind_a_normalization(kind, statistics, rng):
    x = batten.tensor(rng.standard_normal((40, 6, 5, 7)), requires_grad=True).to(memory_format=batten.channels_last)
    norm = kind(2, 6) if kind is nn.GroupNorm else kind(6, affine=True)
    operation = nn.Sequential(norm.double(), nn.ReLU())(x).grad_fn
    kept = [v for slot in operation.of_class.kept if isinstance(v := getattr(operation, slot), np.ndarray)]
    own = [p.array for p in (*norm.parameters(), *norm.buffers())]
    rest = [v for v in kept if not any(np.shares_memory(v, array) for array in (x.array, *own))]
    assert sum(np.shares_memory(v, x.array) for v in kept) == 1
    assert sum(v.size for v in rest) == statistics


class Spy:
    """A hook that notes what it is called with."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, module, *given):
        self.seen.append(
            (type(module).__name__, [np.asarray(v[0] if isinstance(v, tuple) else v.detach()) for v in given])
        )


@each_pair
@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_called(pair, position, register, rng):
    modules, width = couple(pair, rng)
    x = batten.tensor(batch(rng, pair, 4, width))
    net, seen = nn.Sequential(*modules), []
    with batten.no_grad():
        plain = net(x).tolist()
        with getattr(modules[position], register)(Spy(seen)):
            assert net(x).tolist() == plain or pair[0] is nn.BatchNorm1d  # whose running statistics do not matter here
            (called,) = seen
            seen.clear()
            apart(modules, x)
    (expected,) = seen
    assert called[0] == expected[0] == pair[position].__name__
    assert all(np.array_equal(a, b) for a, b in zip(called[1], expected[1], strict=True))
    assert joined(net(x.requires_grad_()))  # the hook is gone
    assert len(seen) == 1


def test_a_hook_that_changes_what_it_sees(rng):
    x = batten.tensor(rng.standard_normal((4, 7)))
    net = nn.Sequential(nn.Linear(7, 5).double(), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, output: output * 0 - 1)
    assert net(x).tolist() == [[0.0] * 5] * 4
    net[1].register_forward_hook(lambda module, args, output: output + 3)
    assert net(x).tolist() == [[3.0] * 5] * 4


def test_a_hook_that_is_registered_on_the_way(rng):
    """A pre-hook of the first module gives the last ones hooks: they are called in the same forward."""
    net, seen = nn.Sequential(nn.Identity(), nn.Linear(7, 5).double(), nn.ReLU()), []
    net[0].register_forward_pre_hook(lambda module, args: net[2].register_forward_hook(Spy(seen)) and None)
    net(batten.tensor(rng.standard_normal((4, 7))))
    assert [name for name, _ in seen] == ["ReLU"]


class LoudNorm(nn.BatchNorm1d):
    def forward(self, input):
        return super().forward(input) + 1


class LoudLinear(nn.Linear):
    def forward(self, input):
        return super().forward(input) + 1


class LoudReLU(nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 1


class QuietReLU(nn.ReLU):
    pass


@pytest.mark.parametrize("first", [LoudNorm, LoudLinear, nn.BatchNorm1d, nn.Linear])
@pytest.mark.parametrize("second", [LoudReLU, QuietReLU, nn.ReLU])
def test_subclasses_run_their_own_forward(first, second, rng):
    modules = [(first(7, 7) if issubclass(first, nn.Linear) else first(7)).double(), second()]
    x = batten.tensor(rng.standard_normal((4, 7)), requires_grad=True)
    y = nn.Sequential(*modules)(x)
    assert joined(y) == (second is nn.ReLU and first in (nn.BatchNorm1d, nn.Linear))
    assert y.tolist() == apart(modules, x).tolist()


@each_pair
@pytest.mark.parametrize("position", [0, 1])
def test_a_forward_that_was_replaced_is_called(pair, position, rng, monkeypatch):
    modules, width = couple(pair, rng)
    net, x = nn.Sequential(*modules), batten.tensor(batch(rng, pair, 4, width))
    calls = []

    def replaced(*args):
        calls.append(args[-1].shape)
        return batten.ones(4, 5, dtype=batten.float64)

    with monkeypatch.context() as patch:
        patch.setattr(modules[position], "forward", replaced)
        assert net(x).tolist() == apart(modules, x).tolist()
    with monkeypatch.context() as patch:
        patch.setattr(pair[position], "forward", lambda self, *args: replaced(*args))
        assert net(x).tolist() == apart(modules, x).tolist()
    assert len(calls) == 4
    assert joined(net(x.requires_grad_()))


def test_a_call_that_was_replaced_is_called(rng, monkeypatch):
    names, call = [], nn.Module.__call__

    def noted(self, *args):
        names.append(type(self).__name__)
        return call(self, *args)

    monkeypatch.setattr(nn.Module, "__call__", noted)
    nn.Sequential(nn.Linear(3, 2), nn.ReLU())(batten.ones(1, 3))
    assert names == ["Sequential", "Linear", "ReLU"]


@pytest.mark.parametrize("kinds", [
    (nn.Linear, nn.BatchNorm1d), (nn.Linear, nn.GELU), (nn.BatchNorm1d, nn.Tanh), (nn.ReLU, nn.Linear),
    (nn.Identity, nn.ReLU), (nn.LeakyReLU, nn.ReLU), (nn.Linear, nn.ReLU6),
])  # fmt: skip
def test_other_neighbours_are_not(kinds, rng):
    modules = [layer(kind, 7, 7).double() for kind in kinds]
    x = batten.tensor(rng.standard_normal((4, 7)), requires_grad=True)
    y = nn.Sequential(*modules)(x)
    assert not joined(y)
    assert y.tolist() == apart(modules, x).tolist()


# ---- containers that change, and modules that come twice ----


def test_every_order_of_four_modules(rng):
    """Whatever stands where, and how often: each module has its turn."""
    kinds = (nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Tanh)
    x = batten.tensor(rng.standard_normal((6, 5)))
    for chosen in itertools.product(kinds, repeat=4):
        modules = [layer(kind, 5, 5).double() for kind in chosen]
        ours, theirs = copy.deepcopy(modules), copy.deepcopy(modules)
        assert nn.Sequential(*ours)(x).tolist() == apart(theirs, x).tolist()
        for a, b in zip(ours, theirs, strict=True):
            assert [v.tolist() for v in a.buffers()] == [v.tolist() for v in b.buffers()]


@each_pair
def test_a_child_used_twice(pair, rng):
    first, second = (layer(kind, 5, 5).double() for kind in pair)
    modules = [first, second, first, second, second, first]
    x, dy = batch(rng, pair, 6, 5), batch(rng, pair, 6, 5)

    def run(modules, x):
        return nn.Sequential(*modules)(x)

    assert outcome(run, modules, x, dy) == outcome(apart, modules, x, dy)
    assert outcome(lambda m, x: (nn.Sequential(*m[:2]) * 3)(x), modules, x, dy) == outcome(
        apart, modules[:2] * 3, x, dy
    )


def test_modules_that_are_replaced_appended_and_taken_away(rng):
    x = batten.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    net = nn.Sequential(nn.Linear(5, 5).double())
    changes = [
        (lambda: None, False),
        (lambda: net.append(nn.ReLU()), True),
        (lambda: net.__setitem__(1, nn.GELU()), False),
        (lambda: net.__setitem__(1, nn.Tanh()), True),
        (lambda: setattr(net, "1", nn.Sigmoid()), True),
        (lambda: net.insert(1, nn.Identity()), True),
        (lambda: net.__setitem__(1, nn.Flatten()), False),
        (lambda: net.pop(1), True),
        (lambda: net.__setitem__(0, nn.BatchNorm1d(5).double()), False),
        (lambda: net.__setitem__(1, nn.ReLU()), True),
        (lambda: net.extend([nn.Linear(5, 5).double(), nn.ReLU()]), True),
        (lambda: net.__delitem__(3), False),
    ]
    for change, expected in changes:
        change()
        y = net(x)
        assert joined(y) == expected
        assert y.tolist() == apart(net, x).tolist()


def test_modes_may_change_and_differ(rng):
    x = batten.tensor(rng.standard_normal((6, 5)), requires_grad=True)
    net = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU()).double()
    for modes in [(True, True), (False, True), (True, False), (False, False)]:
        for module, mode in zip(net, modes, strict=True):
            module.train(mode)
        y = net(x)
        assert isinstance(y.grad_fn, BatchNormRelu if modes[0] else BatchNormInferenceRelu)
        assert y.tolist() == apart(copy.deepcopy([*net]), x).tolist() or modes[0]


def test_the_border_of_a_container_is_not_crossed(rng):
    x = batten.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    assert not joined(nn.Sequential(nn.Sequential(nn.Linear(5, 5).double()), nn.ReLU())(x))
    assert joined(nn.Sequential(nn.Sequential(nn.Linear(5, 5).double(), nn.ReLU()))(x))


def test_copies_and_pickles(rng):
    x = batten.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    net = nn.Sequential(nn.Linear(5, 5).double(), nn.ReLU())
    expected = net(x).tolist()
    for other in (copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net)), net[:2]):
        y = other(x)
        assert joined(y) and y.tolist() == expected


def test_a_missing_child_is_refused_as_ever():
    net = nn.Sequential(nn.Linear(3, 2))
    net.add_module("none", None)
    with pytest.raises(TypeError, match="not callable"):
        net(batten.ones(1, 3))


# ---- errors ----


@each_pair
def test_errors_are_the_same(pair, rng):
    modules, width = couple(pair, rng)
    wrong = batten.tensor(batch(rng, pair, 4, width + 1))
    with pytest.raises(ValueError) as alone:
        modules[0](wrong)
    with pytest.raises(ValueError) as both:
        nn.Sequential(*modules)(wrong)
    assert str(both.value) == str(alone.value)


def message(run):
    """What an error says, or "" if there is none."""
    try:
        run()
    except RuntimeError as error:
        return str(error)
    return ""


@each_pair
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("changed", ["x", "y", "weight", "bias"])
def test_changes_before_backward_are_found_as_ever(pair, training, changed, rng):
    def step(run):
        modules, width = couple(pair, np.random.default_rng(1))
        modules[0].train(training)
        x = batten.tensor(batch(rng, pair, 4, width), requires_grad=True)
        given = x * 1
        y = run(modules, given)
        with batten.no_grad():
            {"x": given, "y": y, "weight": modules[0].weight, "bias": modules[0].bias}[changed].mul_(2)
        return bool(message(y.sum().backward))

    found = step(apart)
    assert step(together) == found
    assert found == (changed != "bias")


@each_pair
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_of_the_forward_that_was(pair, training, rng):
    """What is not watched may change on the way, and does not matter."""
    modules, width = couple(pair, rng)
    modules[0].train(training)
    x, dy = batch(rng, pair, 4, width), batch(rng, pair, 4, 5)

    def run(modules, x):
        y = together(modules, x)
        with batten.no_grad():
            modules[0].bias.neg_()
        return y

    def plainly(modules, x):
        y = apart(modules, x)
        with batten.no_grad():
            modules[0].bias.neg_()
        return y

    assert outcome(run, modules, x, dy) == outcome(plainly, modules, x, dy)


@each_pair
def test_a_graph_is_walked_twice_if_asked(pair, rng):
    modules, width = couple(pair, rng)
    x = batten.tensor(batch(rng, pair, 4, width), requires_grad=True)
    y = together(modules, x).sum()
    y.backward(retain_graph=True)
    first = x.grad.tolist()
    x.grad = None
    y.backward()
    assert x.grad.tolist() == first
    assert "retain_graph" in message(y.backward)


def test_the_table_names_what_gemm_and_the_modules_know():
    assert set(FUSIONS[nn.Linear].values()) == set(ACTIVATED)
    for first, seconds in FUSIONS.items():
        for second, activation in seconds.items():
            assert fused(layer(first), layer(second)) == activation == second.__name__.lower()


# ---- dropout behind an activation ----

CHAINS = [
    (nn.ReLU,),
    *[(norm, nn.ReLU) for norm in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)],
    (nn.Linear, nn.ReLU),
]
DROPPED = (ReluDropout, BatchNormReluDropout, LinearReluDropout)
each_chain = pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: "-".join(kind.__name__ for kind in chain))


def chained(chain, rng, dtype="float64", n=5, m=7, p=0.4, **settings):
    """Modules that end with a dropout, and the width that they take."""
    modules, width = couple(chain, rng, dtype, n, m)
    return [*modules, nn.Dropout(p, **settings)], width


def thinned(y):
    return isinstance(y.grad_fn, DROPPED)


def step_of(run, modules, x, dy):
    """The bits of all that a step gives and leaves behind, from the same random numbers."""
    modules, known = copy.deepcopy(modules), {}
    batten.manual_seed(6)

    def kept(modules, x):
        known.update(modules=modules)
        return run(modules, x)

    found = outcome(kept, modules, x, dy)
    dropouts = [module for module in known["modules"] if isinstance(module, nn.Dropout)]
    masks = [dropout.last_mask().tobytes() for dropout in dropouts]
    states = [dropout.generator.get_state().tolist() for dropout in dropouts if dropout.generator]
    return found, masks, states, batten.get_rng_state().tolist()


def in_a_row(modules, x):
    y = nn.Sequential(*modules)(x)
    assert thinned(y)
    return y


def assert_dropped_alike(modules, x, dy):
    assert step_of(in_a_row, modules, x, dy) == step_of(apart, modules, x, dy)


@each_chain
@pytest.mark.parametrize("shape", [(4,), (0,), (67,), (150,), (3, 2), (2, 0)])
@pytest.mark.parametrize("settings", [{}, {"p": 1.0}, {"p": 0.5}, {"inverted": False}])
def test_dropout_in_a_row_has_the_same_bits(chain, shape, settings, rng, dtype):
    modules, width = chained(chain, rng, dtype, **settings)
    full = (*shape, width) if chain[0] in (nn.Linear, nn.ReLU) else (shape[0], width, *BEHIND.get(chain[0], shape[1:]))
    x = rng.standard_normal(full).astype(dtype)
    assert_dropped_alike(modules, x, rng.standard_normal(apart(modules, batten.tensor(x)).shape).astype(dtype))


@each_chain
@pytest.mark.parametrize("width", [3, 16, 131, 512, 1100])
def test_dropout_in_a_row_has_the_same_bits_on_all_threads_and_instruction_sets(chain, width, rng, dtype, isa, threads):
    modules, into = chained(chain, rng, dtype, width, 30)
    x, dy = (batch(rng, chain, 40, n).astype(dtype) for n in (into, width))
    expected = step_of(apart, modules, x, dy)
    for n in (1, 2, 3, 8):
        threads(n)
        assert step_of(in_a_row, modules, x, dy) == expected


@pytest.mark.parametrize("shape", [(5000, 6), (300, 1500), (70, 48, 9, 7)])
def test_dropout_behind_batch_norm_of_many_rows(shape, rng, dtype, threads):
    norm = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    modules = [norm(shape[1]).to(batten.tensor(0, dtype=dtype).dtype), nn.ReLU(), nn.Dropout(0.3)]
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    expected = step_of(apart, modules, x, dy)
    for n in (1, 3):
        threads(n)
        assert step_of(in_a_row, modules, x, dy) == expected


@each_chain
def test_what_is_not_finite_goes_through_dropout_in_a_row(chain, rng, dtype):
    modules, width = chained(chain, rng, dtype)
    x, dy = (batch(rng, chain, 20, n).astype(dtype) for n in (width, 5))
    x[2, 1], x[3, 2], x[4, 3] = np.nan, np.inf, -np.inf
    dy[5:9], dy[9:13] = np.nan, np.inf
    assert_dropped_alike(modules, x, dy)


@each_chain
def test_dropout_in_a_row_of_any_layout(chain, rng):
    modules, width = chained(chain, rng)
    x = batten.tensor(batch(rng, chain, 2 * width, 6))[::2].transpose(0, 1)
    dy = batten.tensor(batch(rng, chain, 5, 6)).transpose(0, 1)
    if chain[0] is not nn.ReLU:
        assert_dropped_alike(modules, x, dy)
        assert_dropped_alike(modules, x, batten.ones(1, dtype=batten.float64).expand(batch(rng, chain, 6, 5).shape))
    else:
        assert_dropped_alike(modules, x, batten.tensor(rng.standard_normal(x.shape)))


@each_chain
def test_dropout_in_a_row_draws_from_its_own_generator(chain, rng):
    modules, width = chained(chain, rng, generator=batten.Generator().manual_seed(4))
    x, dy = batch(rng, chain, 6, width), batch(rng, chain, 6, 5)
    twice = [*modules, nn.Identity(), modules[-1]]
    assert_dropped_alike(modules, x, dy)
    assert step_of(lambda m, x: nn.Sequential(*m)(x), twice, x, dy) == step_of(apart, twice, x, dy)


@each_chain
def test_when_dropout_is_in_the_row(chain, rng):
    """A dropout that draws nothing, and one that is no mere Dropout, has its own turn."""
    modules, width = chained(chain, rng)
    x = batten.tensor(batch(rng, chain, 6, width), requires_grad=True)
    net, dropout = nn.Sequential(*modules), modules[-1]

    def found():
        batten.manual_seed(1)
        y = net(x)
        batten.manual_seed(1)
        assert y.tolist() == apart(list(net), x).tolist() or chain[0] is not nn.Linear
        return thinned(y)

    assert found()
    for change in ("eval", "p", "in place", "hook", "forward", "subclass", "kind", "between", "relu in place"):
        with pytest.MonkeyPatch.context() as patch:
            if change == "eval":
                patch.setattr(dropout, "training", False)
            elif change == "p":
                patch.setattr(dropout, "p", 0)
            elif change == "in place":
                patch.setattr(dropout, "inplace", True)
            elif change == "hook":
                hook = modules[-2].register_forward_hook(lambda module, args, output: output + 1)
            elif change == "forward":
                patch.setattr(nn.Dropout, "forward", lambda self, input: input + 1)
            elif change in ("subclass", "kind"):
                net[-1] = {"subclass": type("Own", (nn.Dropout,), {}), "kind": nn.AlphaDropout}[change]()
            elif change == "between":
                net = nn.Sequential(*modules[:-1], nn.Tanh(), dropout)
            elif chain[0] is nn.ReLU:
                patch.setattr(net[0], "inplace", True)
                assert not thinned(net(x * 1))
                break
            else:
                patch.setattr(net[1], "inplace", True)
                assert found()
                break
            assert not found(), change
        if change == "hook":
            hook.remove()
        net = nn.Sequential(*modules)
        assert found()


@each_chain
def test_identities_may_stand_before_dropout(chain, rng):
    modules, width = chained(chain, rng)
    x, dy = batch(rng, chain, 6, width), batch(rng, chain, 6, 5)
    assert_dropped_alike([*modules[:-1], nn.Identity(), nn.Identity(), modules[-1]], x, dy)
    assert_dropped_alike([modules[0], nn.Identity(), *modules[1:-1], nn.Identity(), modules[-1]], x, dy)


def test_batch_norm_in_evaluation_before_dropout_in_training(rng):
    modules = [nn.BatchNorm1d(5).double().eval(), nn.ReLU(), nn.Dropout(0.4)]
    x, dy = rng.standard_normal((2, 6, 5))
    assert step_of(lambda m, x: nn.Sequential(*m)(x), modules, x, dy) == step_of(apart, modules, x, dy)


@each_chain
def test_dropout_in_a_row_is_refused_as_ever(chain, rng):
    modules, width = chained(chain, rng)
    net, x = nn.Sequential(*modules), batten.tensor(batch(rng, chain, 6, width))
    modules[-1].p = 1.5
    with pytest.raises(ValueError, match=r"^dropout expects a probability between 0 and 1, got 1.5"):
        net(x)
    modules[-1].p = 0.5
    state = batten.get_rng_state().tolist()
    with pytest.raises((TypeError, ValueError)) as together:
        net(x.long() if chain[0] is nn.ReLU else x[:, 1:])
    with pytest.raises((TypeError, ValueError)) as alone:
        apart(modules, x.long() if chain[0] is nn.ReLU else x[:, 1:])
    assert str(together.value) == str(alone.value)
    assert batten.get_rng_state().tolist() == state


@each_chain
@pytest.mark.parametrize("changed", ["x", "y", "weight", "bias"])
def test_changes_behind_dropout_in_a_row_are_found_as_ever(chain, changed, rng):
    def found(run):
        modules, width = chained(chain, np.random.default_rng(1))
        given = batten.tensor(batch(rng, chain, 4, width), requires_grad=True) * 1
        y = run(modules, given)
        with batten.no_grad():
            {"x": given, "y": y}.get(changed, getattr(modules[0], changed, y)).mul_(2)
        return bool(message(y.sum().backward))

    assert found(in_a_row) == found(apart)


@each_chain
def test_dropout_in_a_row_is_walked_twice_if_asked(chain, rng):
    modules, width = chained(chain, rng)
    x = batten.tensor(batch(rng, chain, 4, width), requires_grad=True)
    y = in_a_row(modules, x).sum()
    y.backward(retain_graph=True)
    first = x.grad.tolist()
    x.grad = None
    y.backward()
    assert x.grad.tolist() == first


# ---- the end of a residual block ----


def sum_apart(norm, x, z):
    return F.relu(norm(x) + z)


def step(run, norm, x, z, dy, wanted=(True, True)):
    """The bits of all that a step gives, for leaves of which some want gradients."""
    norm = copy.deepcopy(norm)
    leaves = [batten.from_numpy(a).requires_grad_(w) for a, w in zip((x, z), wanted, strict=True)]
    y = run(norm, *leaves)
    y.backward(batten.from_numpy(dy))
    arrays = [y.detach(), *norm.buffers(), *[leaf.grad for leaf in (*leaves, *norm.parameters())]]
    return [None if a is None else (a.dtype, bits(a.numpy())) for a in arrays], repr(y.grad_fn)


NORMS = [
    (functools.partial(nn.BatchNorm1d, 5), (37, 5)),
    (functools.partial(nn.BatchNorm1d, 5), (2, 5, 3)),
    (functools.partial(nn.BatchNorm2d, 5), (3, 5, 4, 2)),
    (functools.partial(nn.BatchNorm3d, 5), (2, 5, 2, 3, 2)),
    (functools.partial(nn.GroupNorm, 1, 5), (37, 5)),
    (functools.partial(nn.GroupNorm, 5, 5), (3, 5, 4, 2)),
    (functools.partial(nn.GroupNorm, 4, 24), (2, 24, 2, 3, 2)),
    (functools.partial(nn.GroupNorm, 3, 1200), (2, 1200, 5)),
    (functools.partial(nn.InstanceNorm1d, 5, affine=True), (5, 3)),
    (functools.partial(nn.InstanceNorm1d, 5, affine=True, track_running_stats=True), (2, 5, 3)),
    (functools.partial(nn.InstanceNorm2d, 5), (3, 5, 4, 2)),
    (functools.partial(nn.InstanceNorm3d, 5, affine=True, track_running_stats=True), (2, 5, 2, 3, 2)),
]
each_norm = pytest.mark.parametrize(
    ("norm", "shape"), NORMS, ids=[f"{norm.func.__name__}-{shape}" for norm, shape in NORMS]
)


def operands(rng, shape, dtype="float64"):
    """x, z and dy with their channels last in memory, z such that some sums are nought or NaN."""
    x, z, dy = (np.moveaxis(a, -1, 1) for a in rng.standard_normal((3, shape[0], *shape[2:], shape[1])).astype(dtype))
    z[0, 0], z[1, 2] = -np.inf, np.nan
    return x, z, dy


def normed(kind, rng, dtype="float64", **settings):
    norm = kind(dtype=dtype, **settings)
    for p in norm.parameters():
        p.data = batten.tensor(rng.standard_normal(p.shape), dtype=p.dtype)
    return norm


@each_norm
@pytest.mark.parametrize("training", [True, False])
def test_a_residual_sum_has_the_same_bits(norm, shape, training, rng, dtype, isa, threads):
    norm = normed(norm, rng, dtype).train(training)
    given = operands(rng, shape, dtype)
    expected = step(sum_apart, norm, *given)
    for n in (1, 2, 3, 8):
        threads(n)
        assert step(residual, norm, *given) == expected


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, functools.partial(nn.GroupNorm, 4), nn.InstanceNorm2d], ids=str)
@pytest.mark.parametrize("shape", [(5, 31, 33, 16), (2, 70, 90, 16)])  # (N, H, W, C)
def test_a_residual_sum_of_many_rows(kind, shape, rng, dtype, isa, threads):
    norm = kind(16, dtype=dtype)
    given = [np.moveaxis(a, -1, 1) for a in rng.standard_normal((3, *shape)).astype(dtype)]
    expected = step(sum_apart, norm, *given)
    for n in (1, 2, 3, 8):
        threads(n)
        assert step(residual, norm, *given) == expected


BATCH, INSTANCE = functools.partial(nn.BatchNorm2d, 5), functools.partial(nn.InstanceNorm2d, 5)
GROUP = functools.partial(nn.GroupNorm, 1, 5)
SETTINGS = [
    *[(BATCH, settings) for settings in ({}, {"affine": False}, {"bias": False}, {"track_running_stats": False})],
    *[(GROUP, settings) for settings in ({}, {"affine": False}, {"bias": False}, {"eps": 0.1})],
    *[(INSTANCE, settings) for settings in ({}, {"affine": True}, {"affine": True, "bias": False})],
]


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=str)
def test_a_residual_sum_of_which_not_all_is_wanted(wanted, kind, settings, rng):
    given, norm = operands(rng, (3, 5, 4, 2)), normed(kind, rng, **settings)
    if any(wanted) or [*norm.parameters()]:
        assert step(residual, norm, *given, wanted) == step(sum_apart, norm, *given, wanted)


@pytest.mark.parametrize("kind", [BATCH, GROUP, INSTANCE], ids=str)
def test_a_residual_sum_of_any_layout(kind, rng):
    norm = normed(kind, rng)
    given = [np.ascontiguousarray(a) for a in operands(rng, (3, 5, 4, 2))]
    given[1] = given[1][::-1]
    assert step(residual, norm, *given) == step(sum_apart, norm, *given)


@pytest.mark.parametrize(
    ("kind", "operation", "evaluated"),
    [
        (BATCH, BatchNormAddRelu, False),
        (GROUP, GroupNormAddRelu, True),
        (INSTANCE, GroupNormAddRelu, True),
        (functools.partial(INSTANCE, track_running_stats=True), GroupNormAddRelu, False),
    ],
    ids=str,
)
def test_a_residual_sum_is_joined_where_nobody_can_tell(kind, operation, evaluated, rng):
    x, z, _ = (batten.from_numpy(a) for a in operands(rng, (3, 5, 4, 2)))
    x.requires_grad_()
    norm = normed(kind, rng)

    def summed(norm, z):
        y = residual(norm, x, z)
        np.testing.assert_array_equal(y.detach(), sum_apart(norm, x, z).detach())
        return isinstance(y.grad_fn, operation)

    assert summed(norm, z)
    assert not summed(norm, z[:1])
    assert not summed(norm, z.float())
    assert not summed(nn.Identity(), z)
    assert not summed(nn.Sequential(norm), z)
    with norm.register_forward_hook(lambda module, args, output: output * 2):
        assert not summed(norm, z)
    assert summed(norm.eval(), z) == evaluated
    assert not summed(nn.LpBatchNorm2d(5).double(), z)


@pytest.mark.parametrize("kind", [BATCH, GROUP, functools.partial(INSTANCE, affine=True)], ids=str)
@pytest.mark.parametrize("changed", ["x", "y", "z", "weight", "bias"])
def test_changes_of_a_residual_sum_before_backward_are_found(kind, changed, rng):
    def found(run):
        norm = kind(dtype="float64")
        x, z = (batten.tensor(a, requires_grad=True) * 1 for a in operands(rng, (3, 5, 4, 2))[:2])
        y = run(norm, x, z)
        with batten.no_grad():
            {"x": x, "y": y, "z": z, "weight": norm.weight, "bias": norm.bias}[changed].mul_(2)
        return bool(message(y.sum().backward))

    assert found(residual) == found(sum_apart) == (changed in ("x", "y", "weight"))

"""Optimizers: their numbers beside PyTorch's, their state, and what they refuse."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import batten
from batten.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

KINDS = [SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta]
OURS = {"lr_in_momentum", "decoupled_weight_decay", "eps_in_sqrt", "bias_correction"}  # options, of the lecture

SHAPES = [(3, 5), (7,), (), (0, 4), (1, 1), (2, 3, 4), (4099,)]

OPTIONS = [
    *[
        (SGD, {"lr": 0.05, "momentum": m, "dampening": d, "weight_decay": w, "nesterov": n, "maximize": up})
        for m, d, w, n, up in itertools.product([0, 0.9], [0, 0.3], [0, 0.1], [False, True], [False, True])
        if not n or (m and not d)
    ],
    *[
        (kind, {"lr": 0.05, "weight_decay": w, "amsgrad": a, "maximize": up})
        for kind, w, a, up in itertools.product([Adam, AdamW], [0, 0.1], [False, True], [False, True])
    ],
    *[
        (kind, {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": d, "maximize": up})
        for kind, d, up in itertools.product([NAdam, RAdam], [False, True], [False, True])
    ],
    *[(Adamax, {"lr": 0.05, "weight_decay": w, "maximize": up}) for w, up in [(0, True), (0.1, False), (0.1, True)]],
    *[
        (RMSprop, {"lr": 0.05, "weight_decay": w, "momentum": m, "centered": c, "maximize": up})
        for w, m, c, up in itertools.product([0, 0.1], [0, 0.9], [False, True], [False, True])
    ],
    *[
        (Adagrad, {"lr": 0.05, "lr_decay": d, "weight_decay": w, "initial_accumulator_value": v, "maximize": up})
        for d, w, v, up in itertools.product([0, 0.2], [0, 0.1], [0, 0.5], [False, True])
    ],
    *[(Adadelta, {"weight_decay": w, "maximize": up}) for w, up in itertools.product([0, 0.1], [False, True])],
    *[(kind, {}) for kind in KINDS],
    (RMSprop, {"alpha": 0.3, "eps": 1e-3, "centered": True}),
    (RMSprop, {"alpha": 0}),
    (Adagrad, {"eps": 0.1}),
    (Adadelta, {"lr": 0.3, "rho": 0.5, "eps": 1e-2}),
    (Adadelta, {"rho": 1.0}),
    (Adadelta, {"rho": 0.1}),  # with 0, the rounding errors of all steps would add up, here and in PyTorch
    (Adam, {"betas": (0.5, 0.7), "eps": 1e-3}),
    (NAdam, {"betas": (0.5, 0.7), "eps": 1e-3, "momentum_decay": 0.5}),
    (NAdam, {"betas": (0, 0.9), "momentum_decay": 0}),
    (RAdam, {"betas": (0.5, 0.9), "eps": 1e-3}),
    (RAdam, {"betas": (0.9, 0.6)}),  # never rectified
    (Adamax, {"betas": (0.5, 0.7), "eps": 1e-3}),
    (Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
]

STATEFUL = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam, {"lr": 0.1}),
    (Adam, {"lr": 0.1, "amsgrad": True}),
    (AdamW, {"lr": 0.1}),
    (NAdam, {"lr": 0.1, "momentum_decay": 0.1}),
    (RAdam, {"lr": 0.1, "betas": (0.9, 0.95)}),
    (Adamax, {"lr": 0.1}),
    (RMSprop, {"lr": 0.1}),
    (RMSprop, {"lr": 0.1, "momentum": 0.9, "centered": True}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    (Adadelta, {"lr": 0.5}),
]


def parameters(arrays):
    return [batten.tensor(a, requires_grad=True) for a in arrays]


def random_arrays(rng, dtype, shapes=SHAPES):
    return [np.asarray(rng.standard_normal(s), dtype) for s in shapes]


def walk(optimizer, params, seed, steps, scale=1.0):
    """Steps along gradients that depend on the seed only, of changing size."""
    rng = np.random.default_rng(seed)
    for i in range(steps):
        for p in params:
            p.grad = batten.tensor(np.asarray(scale * (1 + i % 3) * rng.standard_normal(p.shape), p.array.dtype))
        optimizer.step()


def bits(params):
    return [p.array.tobytes() for p in params]


def state_bits(optimizer):
    state = optimizer.state_dict()["state"]
    return {i: {key: value.array.tobytes() for key, value in values.items()} for i, values in state.items()}


# ---- numbers ----


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_fifty_steps_beside_pytorch(kind, options, dtype, rng):
    torch = pytest.importorskip("torch")
    arrays = random_arrays(rng, dtype)
    ours = parameters(arrays)
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    mine, other = kind(ours, **options), getattr(torch.optim, kind.__name__)(theirs, **options)
    steps = 50
    for i in range(steps):
        for number, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = np.asarray((1 + i % 3) * rng.standard_normal(p.shape), dtype)
            if number == 1 and i % 4 == 1:
                p.grad = q.grad = None  # left out of this step
            else:
                p.grad, q.grad = batten.tensor(g), torch.tensor(g)
        mine.step()
        other.step()

    # PyTorch rounds between operations where the kernel has one multiply-add: each step may leave half a unit in the
    # last place, of the largest numbers that there were.  In float64 that is far below 1e-10 of what is not tiny.
    def assert_close(found, expected, largest):
        unit = largest * np.finfo(dtype).eps
        np.testing.assert_allclose(found, expected, rtol=0, atol=steps / 2 * unit)
        if dtype == np.float64:
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=unit)

    largest = max(float(q.detach().abs().max()) for q in theirs if q.numel())
    for p, q in zip(ours, theirs, strict=True):
        assert_close(p.array, q.detach().numpy(), largest)
    state, expected = mine.state_dict()["state"], other.state_dict()["state"]
    assert {i: set(s) for i, s in state.items()} == {i: set(s) for i, s in expected.items()}
    for key in {key for values in expected.values() for key in values}:
        largest = max(float(values[key].abs().max()) for values in expected.values() if values[key].numel())
        for index, values in expected.items():
            found = state[index][key].array
            assert found.dtype == values[key].numpy().dtype
            assert_close(found, values[key].numpy(), largest)


def test_sgd_by_hand():
    w = batten.tensor([1.0, -2.0], dtype=batten.float64, requires_grad=True)
    optimizer = SGD([w], lr=0.1, momentum=0.5, dampening=0.25, weight_decay=0.01)
    expected, v = np.array([1.0, -2.0]), None
    for g in (np.array([1.0, 2.0]), np.array([-3.0, 0.5]), np.array([0.0, 0.0])):
        w.grad = batten.tensor(g)
        optimizer.step()
        d = g + 0.01 * expected
        v = d if v is None else 0.5 * v + 0.75 * d
        expected = expected - 0.1 * v
    np.testing.assert_allclose(w.array, expected, rtol=1e-15)


GRADIENTS = [np.array([1.0, 2.0]), np.array([-3.0, 0.5]), np.array([0.0, 0.1])]


def test_rmsprop_by_hand():
    w = batten.tensor([1.0, -2.0], dtype=batten.float64, requires_grad=True)
    optimizer = RMSprop([w], lr=0.1, alpha=0.8, eps=0.01, weight_decay=0.1, momentum=0.5, centered=True)
    expected, v, m, b = np.array([1.0, -2.0]), 0, 0, 0
    for g in GRADIENTS:
        w.grad = batten.tensor(g)
        optimizer.step()
        d = g + 0.1 * expected
        v, m = 0.8 * v + 0.2 * d * d, 0.8 * m + 0.2 * d
        b = 0.5 * b + d / (np.sqrt(v - m * m) + 0.01)
        expected = expected - 0.1 * b
    np.testing.assert_allclose(w.array, expected, rtol=1e-14)


def test_adagrad_by_hand():
    w = batten.tensor([1.0, -2.0], dtype=batten.float64, requires_grad=True)
    optimizer = Adagrad([w], lr=0.1, lr_decay=0.5, weight_decay=0.1, initial_accumulator_value=0.25, eps=0.01)
    expected, v = np.array([1.0, -2.0]), 0.25
    for t, g in enumerate(GRADIENTS, 1):
        w.grad = batten.tensor(g)
        optimizer.step()
        d = g + 0.1 * expected
        v = v + d * d
        expected = expected - 0.1 / (1 + (t - 1) * 0.5) * d / (np.sqrt(v) + 0.01)
    np.testing.assert_allclose(w.array, expected, rtol=1e-14)


def test_adadelta_by_hand():
    w = batten.tensor([1.0, -2.0], dtype=batten.float64, requires_grad=True)
    optimizer = Adadelta([w], lr=0.5, rho=0.8, eps=0.01, weight_decay=0.1)
    expected, v, u = np.array([1.0, -2.0]), 0, 0
    for g in GRADIENTS:
        w.grad = batten.tensor(g)
        optimizer.step()
        d = g + 0.1 * expected
        v = 0.8 * v + 0.2 * d * d
        x = np.sqrt(u + 0.01) / np.sqrt(v + 0.01) * d
        u = 0.8 * u + 0.2 * x * x
        expected = expected - 0.5 * x
    np.testing.assert_allclose(w.array, expected, rtol=1e-14)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_by_hand(decoupled):
    w = batten.tensor([1.0, -2.0], dtype=batten.float64, requires_grad=True)
    optimizer = (AdamW if decoupled else Adam)([w], lr=0.1, betas=(0.8, 0.9), eps=0.01, weight_decay=0.1, amsgrad=True)
    expected, m, v, largest = np.array([1.0, -2.0]), 0, 0, 0
    for t, g in enumerate(GRADIENTS, 1):
        w.grad = batten.tensor(g)
        optimizer.step()
        d = g if decoupled else g + 0.1 * expected
        m, v = 0.8 * m + 0.2 * d, 0.9 * v + 0.1 * d * d
        largest = np.maximum(largest, v)
        if decoupled:
            expected = expected - 0.1 * 0.1 * expected
        expected = expected - 0.1 * m / (1 - 0.8**t) / (np.sqrt(largest / (1 - 0.9**t)) + 0.01)
    np.testing.assert_allclose(w.array, expected, rtol=1e-14)


SEVERAL = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (Adam, {"amsgrad": True}),
    (NAdam, {}),
    (RAdam, {}),
    (Adamax, {}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (Adagrad, {}),
    (Adadelta, {}),
]


@pytest.mark.parametrize(("kind", "options"), SEVERAL, ids=str)
def test_the_same_bits_on_any_number_of_threads(kind, options, threads, dtype):
    results = set()
    for count in (1, 2, 3, 8):
        threads(count)
        params = parameters(random_arrays(np.random.default_rng(5), dtype, [(300, 401), (100_003,), (3,)]))
        optimizer = kind(params, lr=0.1, **options)
        walk(optimizer, params, 6, 3)
        results.add((*bits(params), str(state_bits(optimizer))))
    assert len(results) == 1


# ---- layouts and types ----


def layouts(x):
    """An array's values, laid out in several ways."""
    yield x.copy()
    yield np.asfortranarray(x)
    yield np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield x[:, ::-1].copy()[:, ::-1]


@pytest.mark.parametrize(("kind", "options"), SEVERAL, ids=str)
def test_parameters_and_gradients_of_any_layout(kind, options, dtype, rng):
    start = rng.standard_normal((3, 4, 5)).astype(dtype)
    gradients = rng.standard_normal((4, 3, 4, 5)).astype(dtype)
    results = []
    for a, b in itertools.product(range(5), range(5)):
        w = batten.from_numpy(list(layouts(start))[a]).requires_grad_()
        array, strides = w.array, w.array.strides
        optimizer = kind([w], lr=0.1, **options)
        for i, g in enumerate(gradients):
            w.grad = batten.from_numpy(list(layouts(g))[(b + i) % 5])
            optimizer.step()
        assert w.array is array and array.strides == strides
        results.append(np.ascontiguousarray(array).tobytes())
    assert len(set(results)) == 1


def test_a_parameter_with_gaps_leaves_its_neighbours_alone():
    whole = batten.zeros(4, 6)
    w = whole[:, 1:4].detach().requires_grad_()
    w.grad = batten.ones(4, 3)
    SGD([w], lr=1.0).step()
    assert (whole.array[:, 1:4] == -1).all() and not whole.array[:, 4:].any() and not whole.array[:, 0].any()


def test_both_types_in_one_group(rng):
    arrays = [rng.standard_normal(5).astype(t) for t in ("float32", "float64", "float32", "float64")]
    together, alone = parameters(arrays), parameters(arrays)
    walk(Adam(together, lr=0.1), together, 3, 5)
    optimizers = [Adam([p], lr=0.1) for p in alone]
    rng = np.random.default_rng(3)
    for i in range(5):
        for p, optimizer in zip(alone, optimizers, strict=True):
            p.grad = batten.tensor(((1 + i % 3) * rng.standard_normal(p.shape)).astype(p.array.dtype))
            optimizer.step()
    assert bits(together) == bits(alone)


def test_one_kernel_call_for_all_parameters_of_a_type(monkeypatch, rng):
    calls = []
    monkeypatch.setattr(batten._kernels, "sgd", lambda params, *rest: calls.append(len(params)))
    params = parameters([*random_arrays(rng, np.float32), *random_arrays(rng, np.float64)])
    for p in params:
        p.grad = batten.zeros_like(p)
    SGD([{"params": params[:3]}, {"params": params[3:]}]).step()
    assert calls == [3, len(SHAPES) - 3, len(SHAPES)]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_gradient_stay(kind, rng):
    a, b, frozen = parameters(random_arrays(rng, np.float32, [(3,), (3,), (3,)]))
    frozen.requires_grad_(False)
    before = bits([a, b, frozen])
    optimizer = kind([a, b, frozen], lr=0.1, weight_decay=0.1)
    optimizer.param_groups[0]["decoupled_weight_decay"] = True
    state = state_bits(optimizer)
    ((a * frozen).detach() * b).sum().backward()
    optimizer.step()
    assert [x == y for x, y in zip(bits([a, b, frozen]), before, strict=True)] == [True, False, True]
    changed = {i for i, values in state_bits(optimizer).items() if values != state.get(i)}
    assert changed == ({1} if kind.states else set())
    optimizer.zero_grad()
    then = bits([a, b, frozen]), state_bits(optimizer)
    optimizer.step()
    assert (bits([a, b, frozen]), state_bits(optimizer)) == then


@pytest.mark.parametrize(("kind", "options"), STATEFUL, ids=str)
def test_gradients_that_are_no_number_spread_as_in_pytorch(kind, options, dtype):
    torch = pytest.importorskip("torch")
    start = np.ones(40, dtype)
    w, x = parameters([start])[0], torch.tensor(start, requires_grad=True)
    mine, other = kind([w], **options), getattr(torch.optim, kind.__name__)([x], **options)
    unit = 100 * np.finfo(dtype).eps
    for place, value in [(0, 1.0), (3, np.nan), (0, 2.0), (7, np.inf), (39, -np.inf), (0, 0.5)]:
        g = np.linspace(-1, 1, 40).astype(dtype)
        g[place] = value
        w.grad, x.grad = batten.tensor(g), torch.tensor(g)
        mine.step()
        other.step()
        pairs = [(w.array, x.detach().numpy())]
        pairs += [(mine.state[w][key].array, value.numpy()) for key, value in other.state[x].items()]
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=unit, atol=unit)
    assert np.isfinite(w.array).sum() == 37


def test_a_change_between_forward_and_backward_is_noticed():
    w = batten.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer = SGD([w], lr=0.1)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# ---- what PyTorch's optimizers do ----


def test_zero_grad():
    a, b = batten.zeros(2, requires_grad=True), batten.zeros(2, requires_grad=True)
    optimizer = SGD([a, b])
    a.grad = batten.ones(2)
    grad = a.grad
    optimizer.zero_grad(set_to_none=False)
    assert a.grad is grad and a.grad.tolist() == [0, 0] and b.grad is None
    optimizer.zero_grad()
    assert a.grad is None
    x = batten.ones(2, requires_grad=True)
    wide = batten.ones(2, 2)
    a.grad = wide[:, 0]
    loss = (x * a.grad).sum()
    optimizer.zero_grad(set_to_none=False)
    assert wide.tolist() == [[0, 1], [0, 1]]
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_closure_is_called_with_gradients_on():
    w = batten.tensor([3.0], requires_grad=True)
    optimizer = SGD([w], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with batten.no_grad():
        assert optimizer.step(closure).item() == 9
    assert w.item() == 1.5
    assert optimizer.step() is None


def test_groups_have_options_of_their_own(rng):
    arrays = random_arrays(rng, np.float32, [(4,), (5,), (6,)])
    together, alone = parameters(arrays), parameters(arrays)
    optimizer = SGD([{"params": together[0]}, {"params": (p for p in together[1:2]), "lr": 0.5}], lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": together[2:], "momentum": 0, "weight_decay": 0.1, "name": "last"})
    walk(optimizer, together, 2, 4)
    rng = np.random.default_rng(2)
    several = [
        SGD(alone[:1], lr=0.1, momentum=0.9),
        SGD(alone[1:2], lr=0.5, momentum=0.9),
        SGD(alone[2:], lr=0.1, weight_decay=0.1),
    ]
    for i in range(4):
        for p, single in zip(alone, several, strict=True):
            p.grad = batten.tensor(((1 + i % 3) * rng.standard_normal(p.shape)).astype(np.float32))
            single.step()
    assert bits(together) == bits(alone)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.1]
    assert optimizer.param_groups[2]["name"] == "last"
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = bits(together[:2])
    walk(optimizer, together, 3, 1)
    assert bits(together[:2]) == before


def test_names_of_parameters():
    a, b = batten.zeros(2, requires_grad=True), batten.zeros(2, requires_grad=True)
    optimizer = SGD([("a", a), ("b", b)])
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(a), id(b)]
    with pytest.raises(ValueError, match=r"with/without names\. Some param names are missing"):
        SGD([("a", a), b])
    c = batten.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match="cannot add param group without names to the optimizer"):
        optimizer.add_param_group({"params": [c]})
    plain = SGD([c])
    plain.load_state_dict(optimizer_state := SGD([("c", c)]).state_dict())
    assert optimizer_state["param_groups"][0]["param_names"] == plain.param_groups[0]["param_names"] == ["c"]
    optimizer.load_state_dict(SGD([a, b], lr=0.5).state_dict())
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"] and optimizer.param_groups[0]["lr"] == 0.5


def test_repr():
    w = batten.zeros(2, requires_grad=True)
    assert repr(SGD([w], lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    decoupled_weight_decay: False\n    lr: 0.1\n"
        "    lr_in_momentum: False\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_repr_and_defaults_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, kind.__name__)([torch.zeros(2, requires_grad=True)])
    implementation = ("foreach", "fused", "capturable", "differentiable")  # batten has one
    mine = kind([batten.zeros(2, requires_grad=True)])
    added = OURS - set(theirs.defaults)
    ours = [line for line in repr(mine).split("\n") if line.strip().split(":")[0] not in added]
    assert ours == [line for line in repr(theirs).split("\n") if line.strip().split(":")[0] not in implementation]
    expected = {key: value for key, value in theirs.defaults.items() if key not in implementation}
    assert mine.defaults == expected | {key: key == "bias_correction" for key in added & set(mine.defaults)}


def test_a_learning_rate_of_numpy_or_a_tensor(tmp_path):
    results = []
    for lr in (0.125, np.float64(0.125), np.float32(0.125), batten.tensor(0.125)):
        w = batten.tensor([1.0], requires_grad=True)
        w.grad = batten.ones(1)
        optimizer = SGD([w], lr=lr)
        optimizer.step()
        results.append(w.item())
        batten.save(optimizer.state_dict(), tmp_path / "optimizer")
    assert results == [0.875] * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(kind, duplicate, rng):
    params = parameters(random_arrays(rng, np.float32))
    optimizer = kind(params, lr=0.1, **({"momentum": 0.9} if kind is SGD else {}))
    walk(optimizer, params, 1, 3)
    copied, twin = duplicate((params, optimizer))
    assert all(p is q for p, q in zip(copied, twin.param_groups[0]["params"], strict=True))
    walk(optimizer, params, 2, 3)
    assert bits(copied) != bits(params)
    walk(twin, copied, 2, 3)
    assert bits(copied) == bits(params) and state_bits(twin) == state_bits(optimizer)


def test_a_model_and_its_optimizer_are_copied_together():
    model = batten.nn.Sequential(batten.nn.Linear(3, 4), batten.nn.ReLU(), batten.nn.Linear(4, 2))
    optimizer = Adam(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    twin, other = copy.deepcopy((model, optimizer))
    x = batten.randn(5, 3)
    for net, steps in ((model, optimizer), (twin, other)):
        for _ in range(3):
            steps.zero_grad()
            net(x).sum().backward()
            steps.step()
    assert bits(model.parameters()) == bits(twin.parameters())
    assert all(p is q for p, q in zip(twin.parameters(), other.param_groups[0]["params"], strict=True))


def test_an_optimizer_of_ones_own(tmp_path):
    class Sign(Optimizer):
        def __init__(self, params, lr=0.5):
            super().__init__(params, {"lr": lr})

        @batten.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["calls"] = state.get("calls", 0) + 1
                    p -= group["lr"] * p.grad.sign()

    w = batten.tensor([1.0, -1.0], requires_grad=True)
    optimizer = Sign([w])
    (w * w).sum().backward()
    optimizer.step()
    assert w.tolist() == [0.5, -0.5]
    other = Sign([w])
    other.load_state_dict(optimizer.state_dict())
    other.step()
    assert other.state[w] == {"calls": 2} and optimizer.state[w] == {"calls": 1}
    plain = Optimizer([w], {})
    with pytest.raises(NotImplementedError, match="Optimizer defines neither update nor step"):
        plain.step()


# ---- hooks ----


class Plain(Optimizer):
    """An optimizer in PyTorch's style."""

    def __init__(self, params, lr=0.5):
        super().__init__(params, {"lr": lr})

    @batten.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p -= self.param_groups[0]["lr"] * p.grad
        return 3


class Twice(Plain):
    """One whose step is two of its base's."""

    def step(self, closure=None):
        super().step()
        return super().step(closure)


class Inherited(Twice):
    pass


@pytest.mark.parametrize("kind", [*KINDS, Plain, Twice, Inherited])
def test_hooks_after_a_step(kind):
    w, calls = batten.ones(2, requires_grad=True), []
    w.grad = batten.ones(2)
    optimizer, other = kind([w], lr=0.1), kind([batten.ones(2, requires_grad=True)])

    def note(name):
        return lambda *args: calls.append((name, w.array.copy(), batten.is_grad_enabled(), *args))

    first = optimizer.register_step_post_hook(note("first"))
    optimizer.register_step_post_hook(note("second"))
    result = optimizer.step(None)
    assert result == (3 if isinstance(optimizer, Plain) else None)
    assert [(name, args, kwargs) for name, _, _, _, args, kwargs in calls] == [
        ("first", (optimizer, None), {}),
        ("second", (optimizer, None), {}),
    ]
    for _, then, recorded, called, _, _ in calls:
        assert called is optimizer and recorded and (then == w.array).all() and (then < 1).all()
    calls.clear()
    first.remove()
    first.remove()
    with batten.no_grad():
        optimizer.step(closure=None)
    assert [(call[0], *call[2:]) for call in calls] == [("second", False, optimizer, (optimizer,), {"closure": None})]
    calls.clear()
    w.grad = None
    other.param_groups[0]["params"][0].grad = batten.ones(2)
    other.step()
    assert not calls


def test_hooks_may_remove_themselves_and_not_come_after_a_failed_step():
    w, calls = batten.ones(2, requires_grad=True), []
    optimizer = SGD([w], lr=0.1)
    handles = [
        optimizer.register_step_post_hook(lambda *_, i=i: (calls.append(i), handles[i].remove())) for i in range(3)
    ]
    w.grad = batten.ones(2)
    w.data = batten.ones(3)
    with pytest.raises(ValueError):
        optimizer.step()
    w.data = batten.ones(2)
    assert calls == []
    optimizer.step()
    optimizer.step()
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("kind", [Adam, Plain])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_no_hooks(kind, duplicate):
    w, calls = batten.ones(2, requires_grad=True), []
    optimizer = kind([w])
    optimizer.register_step_post_hook(lambda *_: calls.append("original"))
    twin = duplicate(optimizer)
    twin.register_step_post_hook(lambda *_: calls.append("twin"))
    for each in (optimizer, twin):
        each.param_groups[0]["params"][0].grad = batten.ones(2)
        each.step()
    assert calls == ["original", "twin"]


# ---- state ----


@pytest.mark.parametrize(("kind", "options"), STATEFUL, ids=str)
def test_resuming_from_a_file_is_exact(kind, options, dtype, rng, tmp_path):
    arrays = random_arrays(rng, dtype)
    arrays[0] = np.asfortranarray(arrays[0])
    params = [batten.from_numpy(a).requires_grad_() for a in arrays]
    optimizer = kind(params, **options)
    walk(optimizer, params, 1, 5)
    batten.save({"params": params, "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint")
    walk(optimizer, params, 2, 5)

    loaded = batten.load(tmp_path / "checkpoint")
    again = [p.detach().requires_grad_() for p in loaded["params"]]
    resumed = kind(again, lr=99.0)
    resumed.load_state_dict(loaded["optimizer"])
    walk(resumed, again, 2, 5)
    assert [np.ascontiguousarray(p.array).tobytes() for p in params] == bits(again)
    assert resumed.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


@pytest.mark.parametrize(("kind", "options"), STATEFUL, ids=str)
def test_state_goes_to_pytorch_and_back(kind, options, dtype, rng):
    torch = pytest.importorskip("torch")
    arrays = random_arrays(rng, dtype)
    ours = parameters(arrays)
    mine = kind(ours, **options)
    walk(mine, ours, 1, 4)
    theirs = [torch.tensor(p.array.copy(), requires_grad=True) for p in ours]
    other = getattr(torch.optim, kind.__name__)(theirs)
    state = mine.state_dict()
    as_torch = {i: {k: torch.tensor(v.array) for k, v in s.items()} for i, s in state["state"].items()}
    other.load_state_dict({"state": as_torch, "param_groups": state["param_groups"]})
    back = parameters([q.detach().numpy() for q in theirs])
    returned = kind(back)
    returned.load_state_dict(other.state_dict())
    assert state_bits(returned) == state_bits(mine)

    for values in other.state.values():
        if "mu_product" in values:  # which PyTorch gives its parameter's type where it loads it, but not otherwise
            values["mu_product"] = values["mu_product"].float()
    for _ in range(3):
        gradients = random_arrays(rng, dtype)
        for p, q, r, g in zip(ours, theirs, back, gradients, strict=True):
            p.grad, q.grad, r.grad = batten.tensor(g), torch.tensor(g), batten.tensor(g)
        mine.step()
        other.step()
        returned.step()
    assert bits(back) == bits(ours)
    largest = max(float(q.detach().abs().max()) for q in theirs if q.numel())
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=0, atol=8 * largest * np.finfo(dtype).eps)


def test_loading_copies_casts_and_lays_out(rng):
    w = batten.from_numpy(np.asfortranarray(rng.standard_normal((3, 4)).astype(np.float32))).requires_grad_()
    m = rng.standard_normal((3, 4))
    state = {"step": 3, "exp_avg": m, "exp_avg_sq": batten.tensor(m * m), "max_exp_avg_sq": None}
    group = {"lr": 0.1, "foreach": None, "fused": False, "initial_lr": 0.2, "params": [17]}
    optimizer = Adam([w], eps=0.5)
    optimizer.load_state_dict({"state": {17: state}, "param_groups": [group]})
    found = optimizer.state[w]
    assert set(found) == {"step", "exp_avg", "exp_avg_sq"}
    assert found["step"].dtype == batten.float32 and found["step"].item() == 3 and found["step"].shape == ()
    assert found["exp_avg"].dtype == batten.float32 and found["exp_avg"].array.strides == w.array.strides
    np.testing.assert_array_equal(found["exp_avg"].array, m.astype(np.float32))
    loaded = optimizer.param_groups[0]
    assert (loaded["lr"], loaded["eps"], loaded["initial_lr"], loaded["foreach"]) == (0.1, 0.5, 0.2, None)
    assert loaded["params"][0] is w and group["params"] == [17]
    w.grad = batten.ones(3, 4)
    optimizer.step()
    assert found["step"].item() == 4
    np.testing.assert_array_equal(state["exp_avg"], m)


def test_adams_state_does_not_make_adamw_adam():
    w = batten.zeros(2, requires_grad=True)
    optimizer = AdamW([w])
    optimizer.load_state_dict(Adam([w]).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_amsgrad_may_be_switched_on_later():
    w = batten.tensor([1.0], requires_grad=True)
    optimizer = Adam([w], lr=0.1)
    walk(optimizer, [w], 1, 3)
    optimizer.param_groups[0]["amsgrad"] = True
    walk(optimizer, [w], 2, 3)
    assert optimizer.state[w]["max_exp_avg_sq"].item() >= optimizer.state[w]["exp_avg_sq"].item() > 0


def test_rmsprops_options_may_be_switched_on_later():
    w = batten.tensor([1.0], requires_grad=True)
    optimizer = RMSprop([w], lr=0.1)
    walk(optimizer, [w], 1, 3)
    assert set(optimizer.state[w]) == {"step", "square_avg"}
    optimizer.param_groups[0].update(momentum=0.9, centered=True)
    walk(optimizer, [w], 2, 3)
    assert set(optimizer.state[w]) == {"step", "square_avg", "momentum_buffer", "grad_avg"}
    assert optimizer.state[w]["step"].item() == 6


def test_adagrads_state_is_there_from_the_beginning():
    a, b, c = (batten.tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    optimizer = Adagrad([{"params": a}, {"params": b, "initial_accumulator_value": 7}], initial_accumulator_value=0.5)
    optimizer.add_param_group({"params": c})
    state = optimizer.state_dict()["state"]
    assert {i: {k: v.tolist() for k, v in s.items()} for i, s in state.items()} == {
        0: {"step": 0, "sum": [0.5, 0.5]},
        1: {"step": 0, "sum": [0.5, 0.5]},  # the constructor's value, as in PyTorch
    }
    a.grad, c.grad = batten.ones(2), batten.ones(2)
    optimizer.step()
    assert optimizer.state[a]["sum"].tolist() == optimizer.state[c]["sum"].tolist() == [1.5, 1.5]
    assert optimizer.state[b]["step"].item() == 0


def test_adagrads_first_state_is_pytorchs(dtype, rng):
    torch = pytest.importorskip("torch")
    arrays = random_arrays(rng, dtype)
    mine = Adagrad(parameters(arrays), initial_accumulator_value=0.1).state_dict()["state"]
    theirs = torch.optim.Adagrad([torch.tensor(a, requires_grad=True) for a in arrays], initial_accumulator_value=0.1)
    for index, expected in theirs.state_dict()["state"].items():
        assert set(mine[index]) == set(expected)
        for name, value in expected.items():
            assert mine[index][name].array.dtype == value.numpy().dtype
            np.testing.assert_array_equal(mine[index][name].array, value.numpy())


@pytest.mark.parametrize("kind", [Adam, NAdam, RMSprop, Adagrad, Adadelta])
def test_parameters_gradients_and_states_may_be_replaced(kind, rng):
    """A step sees what is there, whatever the step before saw."""
    start = [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(2)]
    kept, replaced = parameters(start), parameters(start)
    mine, other = kind(kept, lr=0.1), kind(replaced, lr=0.1)
    walk(mine, kept, 1, 2)
    walk(other, replaced, 1, 2)
    replaced[0].data = batten.from_numpy(np.asfortranarray(replaced[0].array))
    for name, value in other.state[replaced[1]].items():
        other.state[replaced[1]][name] = (
            value.clone() if value.ndim == 0 else batten.from_numpy(value.array[::-1])[::-1]
        )
    other.state[replaced[0]]["step"] = batten.tensor(2)  # as an integer
    walk(mine, kept, 2, 2)
    walk(other, replaced, 2, 2)
    assert bits(kept) == [np.ascontiguousarray(p.array).tobytes() for p in replaced]
    for p, q in zip(kept, replaced, strict=True):
        assert q.array.flags.f_contiguous == (q is replaced[0])
        for name, value in mine.state[p].items():
            found = other.state[q][name].array
            assert found.dtype == np.float32 and np.array_equal(found, value.array)
            assert not found.ndim or found.strides == q.array.strides


# ---- what is refused ----


W = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda w: SGD(w), TypeError, "an iterable of Tensors or dicts, but got batten.FloatTensor"),
        (lambda w: SGD([w * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda w: SGD([w, w]), ValueError, "a parameter group with duplicate parameters"),
        (lambda w: SGD([{"params": w}, {"params": [w]}]), ValueError, "appear in more than one parameter group"),
        (lambda w: SGD([W]), TypeError, "optimizer can only optimize Tensors, but one of the params is numpy.ndarray"),
        (lambda w: SGD([None]), TypeError, "but one of the params is NoneType"),
        (lambda w: SGD([{"params": {w}}]), TypeError, "organized in ordered collections"),
        (lambda w: SGD([{"params": w}, w]), TypeError, "param_group must be a dict, but got <class"),
        (lambda w: SGD([{"lr": 1}]), ValueError, 'param_group must have "params", but got'),
        (lambda w: SGD([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: SGD([w], lr=float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda w: SGD([w], lr="0.1"), TypeError, "expected a number as learning rate, got '0.1'"),
        (lambda w: SGD([w], lr=batten.ones(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda w: SGD([w], momentum=-0.5), ValueError, "Invalid momentum value: -0.5"),
        (lambda w: SGD([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda w: SGD([w], nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
        (lambda w: SGD([{"params": w, "lr": -2}]), ValueError, "Invalid learning rate: -2"),
        (lambda w: Adam([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: Adam([w], eps=-1e-8), ValueError, "Invalid epsilon value: -1e-08"),
        (lambda w: Adam([w], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda w: Adam([w], betas=(0.9, -0.1)), ValueError, "Invalid beta parameter at index 1: -0.1"),
        (lambda w: Adam([w], betas=0.9), ValueError, "Adam expects betas as a pair of numbers, got 0.9"),
        (lambda w: AdamW([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda w: NAdam([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: NAdam([w], betas=(0.9, 1)), ValueError, "Invalid beta parameter at index 1: 1"),
        (lambda w: NAdam([w], momentum_decay=-0.1), ValueError, "Invalid momentum_decay value: -0.1"),
        (lambda w: RAdam([w], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda w: RAdam([w], betas=(-0.1, 0.9)), ValueError, "Invalid beta parameter at index 0: -0.1"),
        (lambda w: Adamax([w], betas=(0.9, float("nan"))), ValueError, "Invalid beta parameter at index 1: nan"),
        (lambda w: Adamax([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda w: AdamW([w], fused=True), TypeError, "fused"),
        (lambda w: RMSprop([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: RMSprop([w], lr=batten.ones(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda w: RMSprop([w], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda w: RMSprop([w], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda w: RMSprop([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda w: RMSprop([w], alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda w: Adagrad([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: Adagrad([w], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
        (lambda w: Adagrad([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda w: Adagrad([w], initial_accumulator_value=-1), ValueError, "Invalid initial_accumulator_value value: "),
        (lambda w: Adagrad([w], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda w: Adadelta([w], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda w: Adadelta([w], rho=1.5), ValueError, "Invalid rho value: 1.5"),
        (lambda w: Adadelta([w], rho=-0.5), ValueError, "Invalid rho value: -0.5"),
        (lambda w: Adadelta([w], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda w: Adadelta([w], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make(batten.tensor(W, requires_grad=True))
    assert message in str(caught.value)


BAD = [
    *[{key: -0.5} for key in ("lr", "eps", "weight_decay", "momentum", "momentum_decay", "alpha", "rho", "lr_decay")],
    *[{"betas": betas} for betas in [(1.0, 0.9), (-0.1, 0.9), (0.9, 1.0), (0.9, -1)]],
    {"rho": 1.5},
    {"initial_accumulator_value": -1},
    {"nesterov": True},
    {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    {"no_such_option": 1},
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_is_refused_in_pytorchs_words(kind):
    torch = pytest.importorskip("torch")
    theirs, compared = getattr(torch.optim, kind.__name__), 0
    for options in BAD:
        with pytest.raises((TypeError, ValueError)) as expected:
            theirs([torch.zeros(1, requires_grad=True)], **options)
        with pytest.raises(expected.type) as caught:
            kind([batten.zeros(1, requires_grad=True)], **options)
        assert str(caught.value) == str(expected.value), f"{kind.__name__} {options}"
        compared += expected.type is ValueError
    assert compared >= 4


def test_a_refused_group_changes_nothing():
    w, other = batten.tensor(W, requires_grad=True), batten.tensor(W, requires_grad=True)
    optimizer = SGD([w])
    for group in ({"params": [other, w]}, {"params": [other], "lr": -1}, {"params": [other * 2]}):
        with pytest.raises(ValueError):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (batten.ones(4), "the gradient of parameter 1 to be float32[4], got float32[3]"),
        (batten.ones(3, dtype=batten.float64), "to be float64[3], got float32[3]"),
    ],
)
def test_a_refused_step_changes_nothing(data, message):
    first, a, b = (batten.tensor(W, requires_grad=True) for _ in range(3))
    optimizer = Adam([{"params": [first]}, {"params": [a, b]}])
    first.grad = a.grad = b.grad = batten.ones(3)
    b.data = data  # the gradient stays what it was
    with pytest.raises(ValueError) as caught:
        optimizer.step()
    assert message in str(caught.value)
    assert bits([first, a]) == [W.tobytes()] * 2 and (data.array == 1).all()
    assert not optimizer.state_dict()["state"]


def test_a_state_of_another_shape_is_refused_at_the_step():
    a, b = (batten.tensor(W, requires_grad=True) for _ in range(2))
    optimizer = Adam([{"params": a}, {"params": b}])
    walk(optimizer, [a, b], 1, 1)
    optimizer.state[b]["exp_avg"] = batten.zeros(1)
    a.grad = b.grad = batten.ones(3)
    before, state = bits([a, b]), state_bits(optimizer)
    with pytest.raises(ValueError, match=r"Adam expects exp_avg to be of shape \[3\], got float32\[1\]"):
        optimizer.step()
    assert bits([a, b]) == before and state_bits(optimizer) == state


def test_parameters_that_share_memory_are_refused_at_the_step():
    flat = batten.ones(6)
    a, b = flat[:4].detach().requires_grad_(), flat[2:].detach().requires_grad_()
    a.grad, b.grad = batten.ones(4), batten.ones(4)
    optimizer = SGD([a, b], lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="overlap"):
        optimizer.step()
    assert (flat.array == 1).all() and not optimizer.state_dict()["state"]


def test_a_state_that_lacks_something_is_refused():
    w = batten.tensor(W, requires_grad=True)
    for kind in (Adam, NAdam, Adamax, RMSprop, Adagrad, Adadelta):
        optimizer = kind([w])
        for name in kind.states:
            walk(optimizer, [w], 1, 1)
            state = without(copy.deepcopy(optimizer.state_dict()), name)
            with pytest.raises(ValueError, match=f"{kind.__name__} finds no {name} in the state of parameter 0"):
                kind([w]).load_state_dict(state)


def changed(state, **entries):
    return {**state, "state": {0: {**state["state"][0], **entries}}}


def without(state, key):
    return {**state, "state": {0: {k: v for k, v in state["state"][0].items() if k != key}}}


def regrouped(state, **options):
    return {**state, "param_groups": [{**state["param_groups"][0], **options}]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: [s], TypeError, "Expected state_dict to be dict-like"),
        (lambda s: {}, ValueError, "expected a state_dict of an optimizer"),
        (lambda s: {"weight": W}, ValueError, "got the keys ['weight']"),
        (lambda s: {**s, "param_groups": [{"lr": 1}]}, ValueError, 'a dict with a list of "params"'),
        (lambda s: {**s, "param_groups": []}, ValueError, "has a different number of parameter groups"),
        (lambda s: regrouped(s, params=[0, 1]), ValueError, "doesn't match the size of optimizer's group"),
        (lambda s: regrouped(s, lr=-3), ValueError, "Invalid learning rate: -3"),
        (lambda s: regrouped(s, betas=None), ValueError, "a pair of numbers, got None"),
        (lambda s: {**s, "state": {1: s["state"][0]}}, ValueError, "parameter 1, which is in no group"),
        (lambda s: {**s, "state": {0: 5}}, ValueError, "expects a dict as the state of parameter 0, got int"),
        (lambda s: changed(s, exp_avg=np.ones(4)), ValueError, "exp_avg of parameter 0 to be of shape [3], got"),
        (lambda s: changed(s, exp_avg="text"), ValueError, "exp_avg of parameter 0 to be of shape [3], got <U4[]"),
        (lambda s: changed(s, step=W), ValueError, "step of parameter 0 to be of shape [], got float32[3]"),
        (lambda s: changed(s, step=-1), ValueError, "expects a count as step of parameter 0, got -1"),
        (lambda s: changed(s, step=np.nan), ValueError, "expects a count as step of parameter 0, got nan"),
        (lambda s: changed(s, momentum_buffer=W), ValueError, "but parameter 0 has momentum_buffer"),
        (lambda s: without(s, "exp_avg_sq"), ValueError, "finds no exp_avg_sq in the state of parameter 0"),
    ],
)
def test_a_refused_load_changes_nothing(change, error, message):
    w = batten.tensor(W, requires_grad=True)
    optimizer = Adam([w], lr=0.1)
    walk(optimizer, [w], 1, 2)
    before, options = state_bits(optimizer), copy.deepcopy(optimizer.state_dict()["param_groups"])
    wrong = change(copy.deepcopy(optimizer.state_dict()))
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(wrong)
    assert message in str(caught.value)
    assert state_bits(optimizer) == before and optimizer.state_dict()["param_groups"] == options
    walk(optimizer, [w], 2, 1)

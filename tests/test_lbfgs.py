"""L-BFGS: its steps beside PyTorch's and by hand, its line search, its state, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import batten
from batten.optim import LBFGS
from batten.optim.lbfgs import Point, cubic_minimum, direction, line, remember, strong_wolfe

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((40, 5)), RNG.standard_normal((40, 2))


def rosenbrock(t, w):
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def regression(t, w, b):
    residual = t.tensor(X) @ w + b - t.tensor(Y)
    return (residual * residual).mean() + 0.01 * (w**4).sum()


def bowl(t, w):
    return 0.5 * (t.tensor(np.logspace(0, 4, 30)) * w * w).sum() + (w**4).sum()


def parabola(t, w):
    return ((w - 3) ** 2).sum()


PROBLEMS = [
    (rosenbrock, [np.array([-1.2, 1.0])]),
    (regression, [RNG.standard_normal((5, 2)), RNG.standard_normal(2)]),
    (bowl, [RNG.standard_normal(30)]),
    (parabola, [np.zeros((2, 2))]),
]

OPTIONS = [
    {},
    {"lr": 0.1, "history_size": 2},
    {"lr": 0.01, "tolerance_change": 1e-3},
    {"lr": 0},
    {"max_eval": 3, "tolerance_grad": 1.0},
    *[
        {"line_search_fn": "strong_wolfe", **options}
        for options in (
            {},
            {"history_size": 3, "max_iter": 7},
            {"lr": 0.01},
            {"lr": 20.0, "tolerance_change": 0},
            {"lr": 2, "max_eval": 5},
            {"max_eval": 1},
            {"max_iter": 0},
        )
    ],
]


def problem(t, function, arrays, **options):
    """Parameters, their optimizer, and its closure, of batten or PyTorch."""
    params = [t.tensor(a.copy(), requires_grad=True) for a in arrays]
    optimizer = t.optim.LBFGS(params, **options)

    def closure():
        optimizer.zero_grad()
        loss = function(t, *params)
        loss.backward()
        return loss

    return params, optimizer, closure


def values(params):
    return np.concatenate([p.detach().numpy().ravel() for p in params])


# ---- numbers ----


@pytest.mark.parametrize(("function", "arrays"), PROBLEMS, ids=lambda x: getattr(x, "__name__", ""))
def test_steps_beside_pytorch(function, arrays):
    torch = pytest.importorskip("torch")
    for options in OPTIONS:
        mine, other = problem(batten, function, arrays, **options), problem(torch, function, arrays, **options)
        for step in range(3):
            losses = [float(optimizer.step(closure).detach()) for _, optimizer, closure in (mine, other)]
            states = [optimizer.state[params[0]] for params, optimizer, _ in (mine, other)]
            where = f"{options}, step {step}"
            assert set(states[0]) == {key for key, value in states[1].items() if value is not None}, where
            for key in ("func_evals", "n_iter"):
                assert states[0][key] == states[1][key], f"{where}, {key}"
            if step == 0:  # rounding errors grow with each turn in a valley
                np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10, err_msg=where)
                np.testing.assert_allclose(values(mine[0]), values(other[0]), rtol=1e-10, err_msg=where)
                for key in ("d", "t", "H_diag", "prev_loss", "prev_flat_grad", "ro"):
                    found, expected = (s.get(key) for s in states)
                    if found is not None and expected is not None and states[0]["n_iter"] < 8:
                        np.testing.assert_allclose(
                            np.asarray(found), np.asarray(expected), rtol=1e-7, atol=1e-8, err_msg=f"{where}, {key}"
                        )


def test_the_two_loops_are_a_product_with_the_inverse_hessian():
    """H = (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ for each step, from γ I (Nocedal & Wright, 6.17 and 7.20)."""
    n, history = 6, 4
    matrix = RNG.standard_normal((n, n))
    hessian = matrix @ matrix.T + np.eye(n)
    state = {"old_dirs": [], "old_stps": [], "ro": []}
    pairs = []
    for _ in range(7):
        d, g = RNG.standard_normal(n), RNG.standard_normal(n)
        state.update(d=batten.tensor(d), t=0.5, prev_flat_grad=batten.tensor(g))
        new = g + hessian @ (0.5 * d)
        remember(state, batten.tensor(new), history)
        pairs = [*pairs, (0.5 * d, new - g)][-history:]
        assert len(state["ro"]) == len(pairs)
        s, y = pairs[-1]
        inverse = np.eye(n) * (s @ y) / (y @ y)
        for s, y in pairs:
            rho = 1 / (y @ s)
            left = np.eye(n) - rho * np.outer(s, y)
            inverse = left @ inverse @ left.T + rho * np.outer(s, s)
        np.testing.assert_allclose(direction(state, batten.tensor(new), history).array, -inverse @ new, rtol=1e-9)
    state.update(d=batten.tensor(d), t=-1.0, prev_flat_grad=batten.tensor(g))
    remember(state, batten.tensor(g + hessian @ d), history)  # a negative curvature is not taken in
    assert len(state["ro"]) == history and state["ro"][-1] == pytest.approx(rho, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1, 30, 1e4])
@pytest.mark.parametrize(("function", "arrays"), PROBLEMS, ids=lambda x: getattr(x, "__name__", ""))
def test_the_strong_wolfe_conditions_hold(function, arrays, scale):
    params, _, closure = problem(batten, function, arrays)
    f = closure().item()
    before = values(params).copy()
    g = np.concatenate([p.grad.array.ravel() for p in params])
    d = -scale * g / np.abs(g).max()

    def evaluate():
        loss = closure()
        return loss, batten.cat([p.grad.reshape(-1) for p in params])

    with batten.no_grad():
        phi = line(params, batten.tensor(d), batten.enable_grad()(evaluate))
        start = Point(0.0, f, float(g @ d), batten.tensor(g))
        found, calls = strong_wolfe(phi, start, 1.0, np.abs(d).max(), 1e-12, 25)
    assert (values(params) == before).all() and 1 <= calls <= 26
    assert found.f <= f + 1e-4 * found.t * start.slope and abs(found.slope) <= 0.9 * abs(start.slope)


def test_the_least_point_of_a_cubic():
    def at(t):
        return Point(t, t**3 - 3 * t, 3 * t**2 - 3, None)  # least at 1

    for a, b in ((0.0, 2.0), (2.0, 0.0), (-0.5, 1.2)):
        assert cubic_minimum(at(a), at(b), -9, 9) == pytest.approx(1, abs=1e-12)
        assert cubic_minimum(at(a), at(b), 1.5, 2.5) == 1.5
        assert cubic_minimum(at(a), at(b), 0, 0.25) == 0.25
    line_ = Point(0.0, 0.0, -1.0, None), Point(1.0, -1.0, -1.0, None)
    for p, q in (
        line_,
        (at(1.0), at(1.0)),
        (at(0.0), Point(1.0, np.inf, 1.0, None)),
        (at(0.0), Point(1.0, 1.0, np.nan, None)),
        (at(0.0), Point(1.0, 1e200, 1.0, None)),
    ):
        assert cubic_minimum(p, q, 0, 3) == 1.5


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_the_same_bits_on_any_number_of_threads(search, threads, dtype):
    results = set()
    for count in (1, 2, 3, 8):
        threads(count)
        rng = np.random.default_rng(4)
        arrays = [rng.standard_normal(s).astype(dtype) for s in ((300, 401), (7,))]
        scale = batten.tensor(rng.uniform(1, 10, 401).astype(dtype))

        def function(t, w, b, scale=scale):
            return (w * w * scale).sum() + (b**4).sum()

        params, optimizer, closure = problem(batten, function, arrays, lr=0.5, max_iter=4, line_search_fn=search)
        optimizer.step(closure)
        results.add(values(params).tobytes())
    assert len(results) == 1


# ---- what is not finite ----


def test_a_search_comes_back_from_where_the_loss_is_not_a_number():
    """log is NaN of numbers below 0, where the first steps lead; PyTorch's search stays there."""
    for start in ([0.5, 3.0, 20.0], [0.1, 0.2, 0.3], [100.0, 1e-3, 2.0]):
        params, optimizer, closure = problem(
            batten, lambda t, w: (w - t.log(w)).sum(), [np.array(start)], line_search_fn="strong_wolfe", max_iter=100
        )
        optimizer.step(closure)
        np.testing.assert_allclose(params[0].array, 1, rtol=1e-4)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_step_along_a_gradient_that_is_not_finite(search, bad):
    w = batten.tensor([1.0, 2.0], requires_grad=True)
    optimizer = LBFGS([w], line_search_fn=search)

    def closure():
        w.grad = batten.tensor([bad if wrong else 2.0 * w[0].item(), 2.0 * w[1].item()])
        return bad if wrong else (w * w).sum()

    for wrong in (True, False):
        loss = optimizer.step(closure)
        if wrong:
            assert w.tolist() == [1, 2] and (loss == bad or loss != loss)
    # It goes on from there.
    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(w.array, 0, atol=1e-3)


# ---- what it takes ----


def test_parameters_of_any_layout_with_and_without_gradient(dtype):
    start = RNG.standard_normal((3, 4, 5)).astype(dtype)
    results = []
    for lay in (
        np.copy,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
        lambda x: x[:, ::-1].copy()[:, ::-1],
    ):
        w = batten.from_numpy(lay(start)).requires_grad_()
        frozen, unused = batten.ones(2, dtype=w.dtype), batten.ones(2, dtype=w.dtype, requires_grad=True)
        array = w.array
        optimizer = LBFGS([unused, w, frozen], line_search_fn="strong_wolfe", max_iter=4)

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=False)
            loss = (w**4).sum() + (w * w).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        assert w.array is array
        assert frozen.tolist() == unused.tolist() == [1, 1]
        results.append(np.ascontiguousarray(array).tobytes())
    assert len(set(results)) == 1 and results[0] != start.tobytes()


def test_closures_are_called_with_gradients_on_and_hooks_once():
    params, optimizer, closure = problem(batten, *PROBLEMS[0])
    calls = []
    optimizer.register_step_post_hook(lambda *args: calls.append(args))
    with batten.no_grad():
        loss = optimizer.step(closure)
    assert loss.requires_grad and calls == [(optimizer, (optimizer, closure), {})]
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()
    plain = LBFGS(params)
    plain.step(lambda: closure().item())  # a number does, too


def test_a_step_at_the_minimum_is_none():
    params, optimizer, closure = problem(batten, parabola, [np.full(3, 3.0)])
    assert optimizer.step(closure).item() == 0
    assert optimizer.state[params[0]] == {"func_evals": 1, "n_iter": 0} and params[0].tolist() == [3, 3, 3]


# ---- state ----


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_state_goes_to_files_copies_and_pytorch_and_back(search, tmp_path):
    torch = pytest.importorskip("torch")
    options = {"line_search_fn": search, "history_size": 3, "max_iter": 4, "lr": 0.5}
    params, optimizer, closure = problem(batten, *PROBLEMS[1], **options)
    for _ in range(3):
        optimizer.step(closure)
    state = optimizer.state_dict()
    assert set(state["state"]) == {0} and len(state["state"][0]["al"]) == 3
    arrays = [p.array.copy() for p in params]
    batten.save(state, tmp_path / "optimizer")

    ours, mine, my_closure = problem(batten, PROBLEMS[1][0], arrays)
    mine.load_state_dict(batten.load(tmp_path / "optimizer"))
    twins, twin = copy.deepcopy((params, optimizer))
    pickled, other_twin = pickle.loads(pickle.dumps((params, optimizer)))

    theirs, other, their_closure = problem(torch, PROBLEMS[1][0], arrays)

    def as_torch(x):
        return (
            [as_torch(y) for y in x]
            if isinstance(x, list)
            else torch.tensor(x.array)
            if isinstance(x, batten.Tensor)
            else x
        )

    other.load_state_dict(
        {"state": {0: {k: as_torch(v) for k, v in state["state"][0].items()}}, "param_groups": state["param_groups"]}
    )
    back, returned, its_closure = problem(batten, PROBLEMS[1][0], arrays)
    returned.load_state_dict(other.state_dict())
    optimizer.step(closure)
    mine.step(my_closure)
    other.step(their_closure)
    returned.step(its_closure)
    assert values(ours).tobytes() == values(back).tobytes() == values(params).tobytes()
    np.testing.assert_allclose(values(params), values(theirs), rtol=1e-9)
    for copies, each in ((twins, twin), (pickled, other_twin)):

        def again(copies=copies, each=each):
            each.zero_grad()
            loss = regression(batten, *copies)
            loss.backward()
            return loss

        each.step(again)
        assert values(copies).tobytes() == values(params).tobytes()


def test_loading_pytorchs_state_after_steps_of_its_own():
    torch = pytest.importorskip("torch")
    theirs, other, their_closure = problem(torch, *PROBLEMS[0], line_search_fn="strong_wolfe", max_iter=5)
    for steps in range(3):
        params, optimizer, closure = problem(batten, rosenbrock, [p.detach().numpy() for p in theirs])
        state = other.state_dict()

        def as_numpy(x):
            return [as_numpy(y) for y in x] if isinstance(x, list) else x.numpy().copy() if torch.is_tensor(x) else x

        state = {"state": {i: {k: as_numpy(v) for k, v in s.items()} for i, s in state["state"].items()},
                 "param_groups": state["param_groups"]}  # fmt: skip
        optimizer.load_state_dict(state)
        optimizer.step(closure)
        other.step(their_closure)
        np.testing.assert_allclose(values(params), values(theirs), rtol=1e-8, err_msg=str(steps))
        assert optimizer.state[params[0]]["func_evals"] == other.state[theirs[0]]["func_evals"]


# ---- what is refused ----


def test_what_is_refused():
    def w():
        return batten.ones(3, requires_grad=True)

    for make, error, message in (
        (lambda: LBFGS([{"params": w()}, {"params": w()}]), ValueError, "LBFGS doesn't support per-parameter options"),
        (lambda: LBFGS([w()]).add_param_group({"params": w()}), ValueError, "doesn't support per-parameter options"),
        (lambda: LBFGS([w()], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: LBFGS([w()], lr=batten.ones(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda: LBFGS([w()], history_size=0), ValueError, "Invalid history_size: 0"),
        (lambda: LBFGS([w()], line_search_fn="armijo"), RuntimeError, "only 'strong_wolfe' is supported"),
        (lambda: LBFGS([]), ValueError, "optimizer got an empty parameter list"),
    ):
        with pytest.raises(error) as caught:
            make()
        assert message in str(caught.value)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    _, optimizer, closure = problem(batten, *PROBLEMS[1], max_iter=3)
    optimizer.step(closure)
    before = pickle.dumps(optimizer.state_dict())
    for change, message in (
        ({"d": batten.ones(3)}, "d to be of shape [12], got float32[3]"),
        ({"old_stps": [np.ones(3)]}, "old_stps to be of shape [12], got float64[3]"),
        ({"ro": [1.0] * 5}, "as many old_dirs as old_stps and ro"),
        ({"d": None, "t": None}, "finds no d, t in its state"),
        ({"momentum_buffer": np.ones(12)}, "as its state, got ['momentum_buffer']"),
    ):
        state = copy.deepcopy(optimizer.state_dict())
        state["state"][0].update(change)
        with pytest.raises(ValueError) as caught:
            optimizer.load_state_dict(state)
        assert message in str(caught.value)
        with pytest.raises(ValueError, match="got int"):
            optimizer.load_state_dict({**state, "state": {0: 5}})
    assert pickle.dumps(optimizer.state_dict()) == before

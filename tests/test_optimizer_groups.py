"""Parameters, groups and options of optimizers, each way of giving them beside PyTorch's."""

from __future__ import annotations

import collections
import copy

import numpy as np
import pytest

import batten
from batten.optim.optimizer import required

OURS = {"lr_in_momentum", "decoupled_weight_decay"}  # options of SGD that PyTorch has not,
THEIRS = {"foreach", "fused", "capturable", "differentiable"}  # and those that say how it is computed

# Expressions with a library t, and its w(): a new parameter of three ones.
ROWS = """
shown(t.optim.SGD([w(), w()]))
shown(t.optim.SGD((w(), w()), momentum=0.5))
shown(t.optim.SGD(x for x in [w(), w()]))
shown(t.optim.SGD({"a": w()}.values()))
shown(t.optim.SGD([{"params": w()}]))
shown(t.optim.SGD([{"params": (w(), w())}, {"params": (x for x in [w()]), "lr": 0.5}], lr=0.1))
shown(t.optim.SGD([{"params": [w()], "momentum": 0.5}, {"params": [w()], "weight_decay": 0.1}], lr=0.3))
shown(t.optim.SGD([{"params": [w()], "mine": -1}]))
shown(t.optim.SGD([{"params": []}, {"params": [w()], "name": "x"}]))
shown(t.optim.SGD(t.nn.Linear(2, 3).named_parameters()))
shown(t.optim.SGD([{"params": [("a", w())]}, {"params": [("b", w()), ("c", w())], "lr": 3}]))
shown(t.optim.SGD([("a", w()), ("a", w())]))
shown(t.optim.SGD([t.ones(3)]))
shown(t.optim.Optimizer([w()], {"lr": 1, "b": None}))
shown(t.optim.SGD([w()]), {"params": w()}, {"params": [], "lr": 4}, {"params": [w(), w()]})
shown(t.optim.SGD([("a", w())]), {"params": [("b", w())]})
t.optim.SGD([("a", w()), w()])
t.optim.SGD([w(), ("a", w())])
t.optim.SGD([("a", w())]).add_param_group({"params": [w()]})
t.optim.SGD([w()]).add_param_group({"params": [("a", w())]})
t.optim.SGD([w()]).add_param_group([w()])
t.optim.SGD([w()]).add_param_group({"params": {w()}})
t.optim.SGD({"params": [w()]})
t.optim.SGD(dict(t.nn.Linear(1, 1).named_parameters()))
t.optim.SGD(collections.OrderedDict(a=w()))
t.optim.SGD({w()})
t.optim.SGD(None)
t.optim.SGD(3)
t.optim.SGD("ab")
t.optim.SGD(t.nn.Linear(1, 1))
t.optim.SGD([])
t.optim.SGD(iter(()))
t.optim.SGD(w())
t.optim.SGD([w() * 2])
t.optim.SGD([t.ones(3, dtype=t.int64)])
t.optim.SGD([w()], lr=-1.0)
t.optim.SGD([{"params": x}, {"params": [x]}])
t.optim.SGD([x]).add_param_group({"params": x})
t.optim.SGD([w()]).load_state_dict(t.optim.SGD([w(), w()]).state_dict())
t.optim.SGD([w()]).load_state_dict(t.optim.SGD([{"params": w()}, {"params": w()}]).state_dict())
t.optim.Optimizer([w()], {"lr": required}).param_groups
t.optim.Optimizer([{"params": w(), "lr": 2}, {"params": w()}], {"lr": required})
t.optim.Optimizer([{"params": w(), "lr": 2}], {"lr": required}).param_groups[0]["lr"]
t.optim.Adam([w()]).state_dict()["state"]
list(t.optim.Adam([w()]).state)
o = t.optim.SGD([x]); o.step(); len(o.state), o.state_dict()["state"]
o = t.optim.SGD([x], momentum=0.9); x.grad = t.ones(3); o.step(); list(o.state) == [x], list(o.state[x])
o = t.optim.Adam([w(), x]); x.grad = t.ones(3); o.step(); list(o.state_dict()["state"]), list(o.state[x])
o = t.optim.SGD([x], lr=0.5); x.grad = t.ones(3); x.requires_grad_(False); o.step(); x.tolist()
o = t.optim.SGD([x]); x.grad = t.ones(3); g = x.grad; o.zero_grad(set_to_none=False); x.grad is g, g.tolist()
o = t.optim.SGD([x]); o.zero_grad(set_to_none=False); x.grad
o = t.optim.SGD([x]); x.grad = t.ones(3); o.zero_grad(); x.grad
o = t.optim.SGD([w()]); o.step(), o.step(lambda: 5)
o = t.optim.SGD([w()]); o.load_state_dict(t.optim.SGD([w()], lr=7, momentum=0.5).state_dict()); shown(o)
o = t.optim.SGD([("n", w())]); o.load_state_dict(t.optim.SGD([("m", w())]).state_dict()); shown(o)
""".strip().split("\n")


def shown(optimizer, *groups):
    """Its groups, and how it is written, but for what only one of the two libraries has."""
    for group in groups:
        optimizer.add_param_group(group)
    written = [line for line in repr(optimizer).split("\n") if line.strip().split(":")[0] not in OURS | THEIRS]
    return written, [
        {key: (type(value), len(value)) if key == "params" else value for key, value in group.items()}
        for group in ({k: v for k, v in g.items() if k not in OURS | THEIRS} for g in optimizer.param_groups)
    ]


def outcome(row, t, required):
    """What a row's last expression gives, or the error and its message."""

    def w():
        return t.ones(3, requires_grad=True)

    scope = {"t": t, "w": w, "x": w(), "required": required, "shown": shown, "collections": collections}
    *statements, last = row.split("; ")
    try:
        exec("\n".join(statements), scope)
        result = eval(last, scope)
        return None if isinstance(result, t.optim.Optimizer) else result
    except Exception as error:
        return type(error), str(error).replace("batten.", "torch.")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_beside_pytorch():
    torch = pytest.importorskip("torch")
    from torch.optim.optimizer import required as theirs

    for row in ROWS:
        found, expected = outcome(row, batten, required), outcome(row, torch, theirs)
        assert found == expected, row


def test_a_group_is_the_optimizers_own():
    """PyTorch fills in what it is given, so that the next optimizer of the same groups has the first one's options."""
    groups = [{"params": [batten.ones(3, requires_grad=True)]}]
    batten.optim.SGD(groups, lr=0.5)
    assert list(groups[0]) == ["params"] and batten.optim.SGD(groups, lr=0.1).param_groups[0]["lr"] == 0.1


def test_what_is_required_still_is_of_a_copy():
    w = batten.ones(3, requires_grad=True)
    optimizer = copy.deepcopy(batten.optim.Optimizer([{"params": w, "lr": 1}], {"lr": required}))
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        optimizer.add_param_group({"params": [w]})
    assert repr(required) == "<required parameter>"


def test_pytorchs_state_as_numpy_arrays(dtype):
    """Of every optimizer that both have, after steps with and without a gradient for each parameter."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (5,), ()]
    for name, options in (
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("Adagrad", {}),
        ("Adadelta", {}),
    ):
        starts = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
        theirs = [torch.tensor(a, requires_grad=True) for a in starts]
        other = getattr(torch.optim, name)(theirs, **options)
        for q in theirs[:2]:
            q.grad = torch.tensor(np.asarray(rng.standard_normal(q.shape), dtype))
        other.step()
        state = other.state_dict()
        state["state"] = {
            index: {key: value.numpy() if torch.is_tensor(value) else value for key, value in values.items()}
            for index, values in copy.deepcopy(state["state"]).items()
        }
        ours = [batten.tensor(q.detach().numpy(), requires_grad=True) for q in theirs]
        mine = getattr(batten.optim, name)(ours)
        mine.load_state_dict(state)
        for p, q in zip(ours, theirs, strict=True):
            g = np.asarray(rng.standard_normal(q.shape), dtype)
            p.grad, q.grad = batten.tensor(g), torch.tensor(g)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(
                p.array, q.detach().numpy(), rtol=0, atol=16 * np.finfo(dtype).eps, err_msg=f"{name} {options}"
            )

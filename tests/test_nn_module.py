"""Module and Parameter.  Tests with the fixture `lib` are run by PyTorch, too."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import batten
from batten import nn
from scenarios import layers, raises, said


class Dense(nn.Module):
    """A module that pickle finds."""

    def __init__(self, n, m):
        super().__init__()
        self.weight = nn.Parameter(batten.rand(n, m))
        self.bias = nn.Parameter(batten.rand(m))
        self.register_buffer("calls", batten.tensor(0))
        self.register_buffer("cache", batten.zeros(2), persistent=False)

    def forward(self, x):
        return x @ self.weight + self.bias


HEAD = "Error(s) in loading state_dict for {}:\n"


def twice(module, args, output):
    return 2 * output


def names(pairs):
    return [name for name, _ in pairs]


def values(x):
    return np.asarray(x.detach() if hasattr(x, "detach") else x).tolist()


# ---- Parameter ----


def test_a_parameter_shows_the_memory_of_its_tensor(lib):
    x = lib.ones(2)
    p = lib.nn.Parameter(x)
    with lib.no_grad():
        p += 1
    assert x.tolist() == [2.0, 2.0]
    assert isinstance(p, lib.Tensor)
    assert p.requires_grad and p.is_leaf and not x.requires_grad
    assert not lib.nn.Parameter(x, requires_grad=False).requires_grad
    assert lib.nn.Parameter().tolist() == []


def test_a_parameter_is_written_as_one(lib):
    p = lib.nn.Parameter(lib.tensor([[1.0, 2.5]]))
    assert repr(p) == "Parameter containing:\ntensor([[1.0000, 2.5000]], requires_grad=True)"
    assert repr(lib.nn.Parameter(p, requires_grad=False)) == "Parameter containing:\ntensor([[1.0000, 2.5000]])"


def test_results_of_parameters_are_tensors(lib):
    p = lib.nn.Parameter(lib.ones(2))
    for result in (p + 1, p.data, p.detach(), p.clone(), p[0], p.double()):
        assert type(result) is lib.Tensor


def test_a_parameter_made_within_no_grad_still_asks_for_a_gradient(lib):
    with lib.no_grad():
        assert lib.nn.Parameter(lib.ones(2)).requires_grad


def test_a_parameter_of_a_result_is_a_leaf(lib):
    x = lib.ones(2).requires_grad_()
    p = lib.nn.Parameter(x * 2)
    (p * 3).sum().backward()
    assert x.grad is None
    assert p.grad.tolist() == [3.0, 3.0]


def test_a_parameter_shares_its_tensors_version():
    x = batten.ones(2)
    p = nn.Parameter(x)
    loss = (p * p).sum()
    x += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_parameter_refuses_what_it_cannot_be():
    with raises(TypeError, "Parameter expects a tensor, got list; use batten.tensor(...) first"):
        nn.Parameter([1.0])
    with raises(RuntimeError, "only tensors of floats can require gradients, got int64"):
        nn.Parameter(batten.tensor([1]))
    assert nn.Parameter(batten.tensor([1]), requires_grad=False).dtype == batten.int64


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_parameter_is_one(copied):
    p = nn.Parameter(batten.tensor([1.0, 2.0]), requires_grad=False)
    pair = copied([p, p])
    assert pair[0] is pair[1] is not p
    assert type(pair[0]) is nn.Parameter
    assert not pair[0].requires_grad
    with batten.no_grad():
        pair[0] += 1
    assert p.tolist() == [1.0, 2.0]


# ---- attributes ----


def test_order_is_that_of_registration(lib):
    net = layers(lib)()
    assert names(net.named_parameters()) == ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert names(net.named_buffers()) == ["first.calls", "rest.1.calls"]
    assert names(net.named_children()) == ["first", "rest"]
    assert names(net.named_modules()) == ["", "first", "rest", "rest.0", "rest.1"]
    assert list(net.state_dict()) == [
        "scale",
        "first.weight",
        "first.bias",
        "first.calls",
        "rest.1.weight",
        "rest.1.calls",
    ]


def test_prefixes_and_no_recursion(lib):
    net = layers(lib)()
    assert names(net.named_parameters(prefix="net"))[:2] == ["net.scale", "net.first.weight"]
    assert names(net.named_parameters(recurse=False)) == ["scale"]
    assert names(net.first.named_buffers("a.b", recurse=False)) == ["a.b.calls"]
    assert names(net.named_modules(prefix="n"))[:2] == ["n", "n.first"]
    assert len(list(net.parameters(recurse=False))) == 1
    assert len(list(net.buffers())) == 2
    assert next(iter(net.state_dict(prefix="p."))) == "p.scale"


def test_attributes_that_are_assigned_again_keep_their_place(lib):
    net = lib.nn.Module()
    net.a, net.b, net.c = (lib.nn.Parameter(lib.ones(i)) for i in (1, 2, 3))
    net.a = lib.nn.Parameter(lib.ones(4))
    assert names(net.named_parameters()) == ["a", "b", "c"]
    assert net.a.shape == (4,)
    del net.a
    net.a = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_parameters()) == ["b", "c", "a"]
    net.x, net.y = layers(lib).Double(), layers(lib).Double()
    net.x = lib.nn.Sequential()
    assert names(net.named_children()) == ["x", "y"]


def test_a_parameter_that_is_none_keeps_its_place(lib):
    net = lib.nn.Module()
    net.register_parameter("bias", None)
    net.weight = lib.nn.Parameter(lib.ones(1))
    assert net.bias is None
    assert names(net.named_parameters()) == ["weight"]
    assert list(net.state_dict()) == ["weight"]
    net.bias = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_parameters()) == ["bias", "weight"]
    net.weight = None
    assert names(net.named_parameters()) == ["bias"]
    net.weight = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_parameters()) == ["bias", "weight"]


def test_an_ordinary_none_has_no_place(lib):
    net = lib.nn.Module()
    net.bias = None
    net.weight = lib.nn.Parameter(lib.ones(1))
    net.bias = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_parameters()) == ["weight", "bias"]


def test_buffers_and_children_may_be_none(lib):
    net = lib.nn.Module()
    net.register_buffer("mean", None)
    net.add_module("child", None)
    assert net.mean is None and net.child is None
    assert list(net.buffers()) == list(net.children()) == list(net.state_dict()) == []
    assert repr(net) == "Module(\n  (child): None\n)"
    net.mean = lib.ones(1)
    assert list(net.state_dict()) == ["mean"]
    net.child = layers(lib).Double()
    assert names(net.named_children()) == ["child"]
    net.child = net.mean = None
    assert net.child is None and net.mean is None
    assert list(net.state_dict()) == []


def test_attributes_may_change_their_kind(lib):
    net = lib.nn.Module()
    net.x = 3
    net.x = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_parameters()) == ["x"]
    net.register_buffer("y", lib.ones(1))
    net.y = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_buffers()) == []
    assert names(net.named_parameters()) == ["x", "y"]
    net.z = layers(lib).Double()
    net.z = lib.nn.Parameter(lib.ones(1))
    assert names(net.named_children()) == []
    assert names(net.named_parameters()) == ["x", "y", "z"]
    net.register_buffer("w", lib.ones(1), persistent=False)
    net.w = layers(lib).Double()
    assert names(net.named_children()) == ["w"]
    del net.w
    net.register_buffer("w", lib.ones(1))
    assert names(net.named_buffers()) == ["w"]
    assert list(net.state_dict()) == ["x", "y", "z", "w"]


def test_deleting(lib):
    net = layers(lib)()
    net.note = 1
    del net.scale, net.first.calls, net.rest, net.note, net.first.bias
    assert list(net.state_dict()) == ["first.weight"]
    for name in ("scale", "rest", "note"):
        assert not hasattr(net, name)
    with pytest.raises(AttributeError, match="scale"):
        del net.scale
    assert not hasattr(net.first, "bias")


def test_tensors_that_are_not_parameters_are_ordinary_attributes(lib):
    net = lib.nn.Module()
    net.hidden = lib.ones(2)
    net.layers = [layers(lib).Double()]
    assert list(net.state_dict()) == list(net.parameters()) == list(net.buffers()) == list(net.children()) == []


def test_a_buffer_stays_one_when_assigned(lib):
    net = lib.nn.Module()
    net.register_buffer("mean", lib.zeros(2))
    net.register_buffer("cache", lib.zeros(2), persistent=False)
    net.mean = net.mean + 1
    net.cache = net.cache + 2
    assert names(net.named_buffers()) == ["mean", "cache"]
    assert list(net.state_dict()) == ["mean"]
    net.register_buffer("cache", net.cache)
    net.register_buffer("mean", net.mean, persistent=False)
    assert names(net.named_buffers()) == ["mean", "cache"]
    assert list(net.state_dict()) == ["cache"]


def test_properties_and_class_attributes_work(lib):
    class Net(lib.nn.Module):
        factor = 2

        @property
        def rate(self):
            return self.stored * self.factor

        @rate.setter
        def rate(self, value):
            self.stored = value

    net = Net()
    net.rate = 3
    assert net.rate == 6
    assert "stored" in vars(net) and "rate" not in vars(net)


def test_shared_modules_and_parameters_are_met_once(lib):
    dense = layers(lib).Dense(2, 2)
    net = lib.nn.Module()
    net.a = net.b = dense
    net.c = layers(lib).Dense(2, 2)
    net.c.weight = dense.weight
    assert names(net.named_modules()) == ["", "a", "c"]
    assert names(net.named_modules(remove_duplicate=False)) == ["", "a", "b", "c"]
    assert len(list(net.modules())) == 3
    assert len(list(net.modules(remove_duplicate=False))) == 4
    assert names(net.named_children()) == ["a", "c"]
    assert names(net.named_parameters()) == ["a.weight", "a.bias", "c.bias"]
    assert names(net.named_parameters(remove_duplicate=False)) == [
        "a.weight",
        "a.bias",
        "b.weight",
        "b.bias",
        "c.weight",
        "c.bias",
    ]
    assert names(net.named_buffers()) == ["a.calls", "c.calls"]
    assert len(net.state_dict()) == 9
    met = set()
    assert names(net.a.named_modules(met, "x")) == ["x"]
    assert names(net.named_modules(met)) == ["", "c"]


def test_a_module_that_holds_itself_is_met_once(lib):
    net = lib.nn.Module()
    net.child = lib.nn.Module()
    net.child.parent = net
    assert names(net.named_modules()) == ["", "child"]


def test_dir_has_names_that_python_can_write(lib):
    net = layers(lib)()
    assert {"scale", "first", "training", "forward"} <= set(dir(net))
    assert not any(name[0].isdigit() for name in dir(net.rest))


def test_lookups(lib):
    net = layers(lib)()
    assert net.get_submodule("") is net
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_parameter("rest.1.weight") is net.rest[1].weight
    assert net.get_parameter("scale") is net.scale
    assert net.get_buffer("first.calls") is net.first.calls
    with raises(AttributeError, "Net has no attribute `x`"):
        net.get_submodule("x.y")
    with raises(AttributeError, "`weight` is not an nn.Module"):
        net.get_submodule("first.weight")
    with raises(AttributeError, "Dense has no attribute `x`"):
        net.get_parameter("first.x")
    with raises(AttributeError, "`calls` is not an nn.Parameter"):
        net.get_parameter("first.calls")
    with raises(AttributeError, "Dense has no attribute `x`"):
        net.get_buffer("first.x")
    with raises(AttributeError, "`weight` is not a buffer"):
        net.get_buffer("first.weight")


# ---- refusals ----


def test_what_is_missing_is_an_attribute_error(lib):
    with raises(AttributeError, "'Net' object has no attribute 'x'"):
        _ = layers(lib)().x


def test_an_error_within_a_property_is_the_one_that_is_seen():
    class Net(nn.Module):
        @property
        def size(self):
            return self.missing

    with raises(AttributeError, "'Net' object has no attribute 'missing'"):
        _ = Net().size


@pytest.mark.parametrize(
    "assign, kind",
    [
        (lambda self, lib: setattr(self, "x", lib.nn.Module()), "module"),
        (lambda self, lib: self.register_parameter("x", None), "parameter"),
        (lambda self, lib: self.register_buffer("x", None), "buffer"),
    ],
)
def test_assigning_before_init(lib, assign, kind):
    class Net(lib.nn.Module):
        def __init__(self):
            assign(self, lib)

    with raises(AttributeError, f"cannot assign {kind} before Module.__init__() call"):
        Net()


def test_assigning_a_parameter_before_init(lib):
    class Net(lib.nn.Module):
        def __init__(self):
            self.note = "ordinary attributes do no harm"
            self.x = lib.nn.Parameter(lib.ones(1))

    with pytest.raises(AttributeError, match=r"^cannot assign parameters? before Module.__init__\(\) call$"):
        Net()


def test_a_parameter_gives_way_to_parameters_only(lib):
    net = layers(lib)()
    expected = "(batten.nn.Parameter or None expected)"
    with raises(TypeError, f"cannot assign 'batten.FloatTensor' as parameter 'scale' {expected}"):
        net.scale = lib.ones(1)
    with raises(TypeError, f"cannot assign 'list' as parameter 'scale' {expected}"):
        net.scale = [1.0]
    with pytest.raises(TypeError, match=r"cannot assign '.*Double' as parameter 'scale'"):
        net.scale = layers(lib).Double()
    assert net.scale.tolist() == [1.0]


def test_children_and_buffers_give_way_to_their_like(lib):
    net = layers(lib)()
    with raises(TypeError, "cannot assign 'int' as child module 'first' (batten.nn.Module or None expected)"):
        net.first = 3
    with raises(
        TypeError, "cannot assign 'batten.LongTensor' as child module 'first' (batten.nn.Module or None expected)"
    ):
        net.first = lib.tensor(1)
    with raises(TypeError, "cannot assign 'int' as buffer 'calls' (batten.Tensor or None expected)"):
        net.first.calls = 3
    assert net.first.calls.tolist() == 0


@pytest.mark.parametrize(
    "register, kind",
    [("register_parameter", "parameter"), ("register_buffer", "buffer"), ("add_module", "module")],
)
def test_names(lib, register, kind):
    net = layers(lib)()
    net.note = 1
    before = list(vars(net)), list(net.state_dict())
    register = getattr(net, register)
    with raises(TypeError, f"{kind} name should be a string. Got int"):
        register(3, None)
    with pytest.raises(KeyError, match=f"""{kind} name can\\\\?'t contain \\".\\\""""):
        register("a.b", None)
    with raises(KeyError, f"""{kind} name can't be empty string \"\""""):
        register("", None)
    for name in ("note", "forward", "parameters", "rest" if kind != "module" else "scale"):
        with raises(KeyError, f"attribute '{name}' already exists"):
            register(name, None)
    assert before == (list(vars(net)), list(net.state_dict()))


def test_types_of_what_is_registered(lib):
    net = layers(lib)()
    with raises(
        TypeError, "cannot assign 'batten.FloatTensor' object to parameter 'x' (batten.nn.Parameter or None required)"
    ):
        net.register_parameter("x", lib.ones(1))
    with raises(TypeError, "cannot assign 'list' object to buffer 'x' (batten.Tensor or None required)"):
        net.register_buffer("x", [1.0])
    with raises(TypeError, "batten.DoubleTensor is not a Module subclass"):
        net.register_module("x", lib.ones(1, dtype=lib.float64))
    with raises(TypeError, "list is not a Module subclass"):
        net.add_module("x", [])
    assert not hasattr(net, "x")


def test_a_class_in_the_place_of_a_module():
    with raises(TypeError, "expected a module, got the class Dense; write Dense(...)"):
        nn.Sequential(Dense)


def test_a_parameter_that_is_a_result_is_refused(lib):
    p = lib.nn.Parameter(lib.ones(1), requires_grad=False)
    p *= lib.ones(1).requires_grad_()
    with raises(
        ValueError,
        "Cannot assign non-leaf Tensor to parameter 'x'. Model parameters must be created explicitly. To express "
        "'x' as a function of another Tensor, compute the value in the forward() method.",
    ):
        lib.nn.Module().x = p


def test_a_parameter_does_not_hide_a_class_attribute(lib):
    net = layers(lib)()
    with raises(KeyError, "attribute 'forward' already exists"):
        net.forward = lib.nn.Parameter(lib.ones(1))


def test_a_child_does_not_hide_a_method():
    net = nn.Module()
    with raises(KeyError, "attribute 'children' already exists"):
        net.children = nn.Module()


def test_forward_must_be_written(lib):
    with raises(NotImplementedError, 'Module [Module] is missing the required "forward" function'):
        lib.nn.Module()(1)


# ---- what all of a module does ----


def test_train_and_eval(lib):
    net = layers(lib)()
    assert net.training and net.rest[0].training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.rest.train() is net.rest
    assert [m.training for m in net.modules()] == [False, False, True, True, True]
    with raises(ValueError, "training mode is expected to be boolean"):
        net.train(1)


def test_train_asks_children_that_have_their_own(lib):
    class Frozen(layers(lib).Dense):
        def train(self, mode=True):
            return super().train(False)

    net = lib.nn.Sequential(Frozen(1, 1), layers(lib).Double())
    net.train()
    assert [m.training for m in net.modules()] == [True, False, True]


def test_apply_goes_from_the_leaves_to_the_root(lib):
    net = layers(lib)()
    met = []
    assert net.apply(lambda m: met.append(type(m).__name__)) is net
    assert met == ["Dense", "Double", "Dense", "Sequential", "Net"]


def test_requires_grad_and_zero_grad(lib):
    net = layers(lib)()
    net(lib.ones(4, 2)).sum().backward()
    assert net.scale.grad.tolist() == [48.0]
    gradient = net.scale.grad
    assert net.zero_grad(set_to_none=False) is None
    assert gradient is net.scale.grad
    assert gradient.tolist() == [0.0]
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(lib.ones(4, 2)).requires_grad


def test_types(lib):
    net = layers(lib)()
    net(lib.ones(4, 2)).sum().backward()
    before = list(net.parameters())
    for convert, expected in [
        (lambda: net.double(), lib.float64),
        (lambda: net.float(), lib.float32),
        (lambda: net.to(lib.float64), lib.float64),
        (lambda: net.to(dtype=lib.float32), lib.float32),
        (lambda: net.to("cpu", lib.float64), lib.float64),
        (lambda: net.to(lib.ones(1)), lib.float32),
        (lambda: net.to(lib.device("cpu")), lib.float32),
        (lambda: net.to(device="cpu", dtype=lib.float64, non_blocking=True), lib.float64),
        (lambda: net.to("cpu"), lib.float64),
        (lambda: net.cpu(), lib.float64),
        (lambda: net.type(lib.float32), lib.float32),
    ]:
        calls = net.first.calls.dtype
        assert convert() is net
        for after, p in zip(net.parameters(), before, strict=True):
            assert after is p
            assert p.dtype == p.grad.dtype == expected
            assert type(p) is lib.nn.Parameter and p.requires_grad and p.is_leaf
        assert net.first.calls.dtype in (calls, expected)
    assert net.first.calls.dtype == lib.float32
    assert net.scale.grad.tolist() == [48.0]
    assert net(lib.ones(4, 2)).tolist() == [[12.0]] * 4


def test_integers_keep_their_type_but_for_type(lib):
    net = layers(lib).Dense(1, 1).double()
    assert net.calls.dtype == lib.int64
    net.requires_grad_(False).type(lib.int32)
    assert net.weight.dtype == net.calls.dtype == lib.int32


def test_types_that_parameters_cannot_have():
    net = layers(batten)()
    net.first.requires_grad_(False)
    with raises(TypeError, "nn.Module.to only accepts floating point dtypes, but got desired dtype=int64"):
        net.to(batten.int64)
    with raises(RuntimeError, "only tensors of floats can require gradients, as scale does, got int32"):
        net.type(batten.int32)
    with raises(RuntimeError, "batten has the device cpu only, got 'cuda'"):
        nn.Sequential().to("cuda")
    assert {x.dtype for x in net.parameters()} == {batten.float32}


def test_a_buffer_from_elsewhere_stays_as_it_is_there(lib):
    mask = lib.ones(2)
    net = lib.nn.Module()
    net.register_buffer("mask", mask)
    net.double()
    assert net.mask.dtype == lib.float64
    assert mask.dtype == lib.float32


def test_an_optimizer_keeps_its_parameters_through_a_change_of_type():
    net = layers(batten).Dense(1, 1)
    (weight, _) = net.parameters()
    net.double()
    net(batten.ones(1, 1, dtype=batten.float64)).sum().backward()
    assert weight.grad.dtype == batten.float64


# ---- copies ----


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_stand_by_themselves(copied):
    net = nn.Sequential(Dense(2, 2), Dense(2, 2), nn.ModuleList([Dense(1, 1)]))
    net[1].weight = net[0].weight
    net[0].register_forward_hook(twice)
    net[2].eval()
    x = batten.rand(3, 2)
    net[:2](x).sum().backward()
    other = copied(net)
    assert repr(other) == repr(net)
    assert list(other.state_dict()) == list(net.state_dict())
    assert other[0].weight is other[1].weight is not net[0].weight
    assert [m.training for m in other.modules()] == [m.training for m in net.modules()]
    assert_array_equal(other[:2](x).numpy(), net[:2](x).numpy())
    with batten.no_grad():
        other[0].weight += 1
    assert not np.array_equal(net[0].weight, other[0].weight)
    other[0].bias = None
    assert net[0].bias is not None
    other[0].register_buffer("cache", other[0].cache)
    assert "0.cache" in other.state_dict() and "0.cache" not in net.state_dict()


def test_deepcopy_leaves_gradients_behind(lib):
    net = layers(lib)()
    net(lib.ones(4, 2)).sum().backward()
    assert copy.deepcopy(net).scale.grad is None
    assert net.scale.grad.tolist() == [48.0]


def test_a_shallow_copy_shares_values():
    net = layers(batten).Dense(2, 2)
    other = copy.copy(net)
    assert other.weight is net.weight
    other.extra = nn.Parameter(batten.ones(1))
    assert names(net.named_parameters()) == ["weight", "bias"]
    assert names(other.named_parameters()) == ["weight", "bias", "extra"]


def test_a_module_needs_no_collector():
    net = layers(batten)()
    gone = weakref.ref(net)
    gc.disable()
    try:
        net(batten.ones(1, 2)).sum().backward()
        del net
        assert gone() is None
    finally:
        gc.enable()


# ---- state ----


def test_state_dict_shows_the_memory(lib):
    net = layers(lib)()
    state = net.state_dict()
    assert type(state) is OrderedDict
    assert not any(x.requires_grad for x in state.values())
    assert all(type(x) is lib.Tensor for x in state.values())
    state["scale"] += 1
    assert net.scale.tolist() == [2.0]
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    mine = {}
    assert net.state_dict(destination=mine, prefix="net.") is mine
    assert next(iter(mine)) == "net.scale"


def test_what_is_saved_is_loaded(lib):
    net, other = layers(lib)(), layers(lib)()
    other.apply(lambda m: [p.data.fill_(7) for p in m.parameters(recurse=False)])
    net(lib.ones(1, 2))
    result = other.load_state_dict(net.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert result.missing_keys == result.unexpected_keys == []
    missing, unexpected = result
    assert missing == unexpected == []
    for name, x in net.state_dict().items():
        assert other.state_dict()[name].tolist() == x.tolist()
    assert other.first.calls.tolist() == 1
    assert other.first.weight is not net.first.weight


def test_loading_leaves_the_objects_in_place(lib):
    net = layers(lib)()
    weight, calls = net.first.weight, net.first.calls
    state = {name: x + 1 for name, x in net.state_dict().items()}
    net.load_state_dict(state)
    assert net.first.weight is weight
    assert net.first.calls is calls
    assert weight.tolist() == [[2.0] * 3] * 2
    assert weight.requires_grad and weight.is_leaf
    assert calls.tolist() == 1


def test_loading_casts(lib):
    net = layers(lib).Dense(1, 2)
    state = OrderedDict(
        weight=lib.tensor([[1, 2]]), bias=lib.tensor([0.1, 1e-3], dtype=lib.float64), calls=lib.tensor(2.75)
    )
    net.load_state_dict(state)
    assert net.weight.dtype == net.bias.dtype == lib.float32
    assert net.weight.tolist() == [[1.0, 2.0]]
    assert_array_equal(values(net.bias), np.float32([0.1, 1e-3]))
    assert net.calls.dtype == lib.int64
    assert net.calls.tolist() == 2


def test_loading_a_scalar_saved_with_an_axis(lib):
    net = layers(lib).Dense(1, 1)
    net.load_state_dict({**net.state_dict(), "calls": lib.tensor([5])})
    assert net.calls.tolist() == 5
    assert net.calls.shape == ()


def test_loading_between_layouts_and_from_views(lib):
    net = layers(lib).Dense(2, 3)
    source = lib.arange(12.0).reshape(3, 4).T[::2]
    net.load_state_dict({"weight": source}, strict=False)
    assert net.weight.tolist() == source.tolist()
    net.load_state_dict({"weight": lib.ones(1, 1).expand(2, 3)}, strict=False)
    assert net.weight.tolist() == [[1.0] * 3] * 2


def test_loading_into_nothing(lib):
    net = layers(lib).Dense(0, 2)
    assert str(net.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    assert lib.nn.Sequential().load_state_dict({}).missing_keys == []


def test_missing_and_unexpected_keys(lib):
    net = layers(lib)()
    state = OrderedDict((name, x + 1) for name, x in net.state_dict().items())
    state["extra"] = state.pop("scale")
    state["rest.1.bias"] = lib.ones(1)
    state["rest.5.weight"] = lib.ones(1)
    state["first.weight.more"] = lib.ones(1)
    state["rest"] = lib.ones(1)
    del state["rest.1.weight"], state["first.calls"]
    before = {name: x.tolist() for name, x in net.state_dict().items()}
    with raises(
        RuntimeError,
        HEAD.format("Net") + '\tMissing key(s) in state_dict: "scale", "first.calls", "rest.1.weight". \n'
        '\tUnexpected key(s) in state_dict: "extra", "rest", "first.weight.more", "rest.5.weight", "rest.1.bias". ',
    ):
        net.load_state_dict(state)
    if lib is batten:
        assert {name: x.tolist() for name, x in net.state_dict().items()} == before
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "first.calls", "rest.1.weight"]
    assert result.unexpected_keys == ["extra", "rest", "first.weight.more", "rest.5.weight", "rest.1.bias"]
    assert repr(result) == (
        f"_IncompatibleKeys(missing_keys={result.missing_keys}, unexpected_keys={result.unexpected_keys})"
    )
    assert net.first.weight.tolist() == [[2.0] * 3] * 2
    assert net.scale.tolist() == [1.0]


def test_only_missing_or_only_unexpected(lib):
    net = layers(lib).Dense(1, 1)
    with raises(
        RuntimeError,
        HEAD.format("Dense") + '\tMissing key(s) in state_dict: "weight", "bias", "calls". ',
    ):
        net.load_state_dict({})
    with raises(RuntimeError, HEAD.format("Dense") + '\tUnexpected key(s) in state_dict: "x". '):
        net.load_state_dict({**net.state_dict(), "x": lib.ones(1)})


def test_shapes_that_do_not_fit(lib):
    net = layers(lib)()
    state = {name: x + 1 for name, x in net.state_dict().items()}
    state["first.weight"] = lib.ones(3, 2)
    state["first.calls"] = lib.ones(2)
    state["rest.1.weight"] = lib.ones(3)
    del state["scale"]
    mismatches = (
        "\tsize mismatch for first.weight: copying a param with shape [3, 2] from checkpoint, "
        "the shape in current model is [2, 3].\n"
        "\tsize mismatch for first.calls: copying a param with shape [2] from checkpoint, "
        "the shape in current model is [].\n"
        "\tsize mismatch for rest.1.weight: copying a param with shape [3] from checkpoint, "
        "the shape in current model is [3, 1]."
    )
    head = HEAD.format("Net")
    with raises(RuntimeError, head + '\tMissing key(s) in state_dict: "scale". \n' + mismatches):
        net.load_state_dict(state)
    with raises(RuntimeError, head + mismatches):
        net.load_state_dict(state, strict=False)


def test_a_refused_load_changes_nothing():
    net = layers(batten)()
    before = {name: x.tolist() for name, x in net.state_dict().items()}
    weight, version = net.first.weight, net.first.weight.version[0]
    state = {name: x + 1 for name, x in net.state_dict().items()}
    for wrong in (batten.ones(5), "text", [1.0], np.array(["a"]), np.array([1j]), np.array([None])):
        for assign in (False, True):
            for strict in (False, True):
                with pytest.raises(RuntimeError, match=r"rest\.1\.weight"):
                    net.load_state_dict({**state, "rest.1.weight": wrong}, strict, assign)
    assert {name: x.tolist() for name, x in net.state_dict().items()} == before
    assert net.first.weight is weight
    assert weight.version[0] == version


def test_what_is_no_array_of_numbers():
    net = layers(batten).Dense(1, 1)
    with raises(
        RuntimeError,
        HEAD.format("Dense")
        + '\tWhile copying the parameter named "weight", expected numbers, got an array of complex128',
    ):
        net.load_state_dict({**net.state_dict(), "weight": np.array([[1j]])})


def test_what_is_no_tensor(lib):
    net = layers(lib).Dense(1, 1)
    with raises(
        RuntimeError,
        HEAD.format("Dense") + '\tWhile copying the parameter named "weight", expected batten.Tensor '
        "or Tensor-like object from checkpoint but received <class 'float'>",
    ):
        net.load_state_dict({**net.state_dict(), "weight": 1.0})


def test_what_is_no_state_dict(lib):
    with raises(TypeError, "Expected state_dict to be dict-like, got <class 'list'>."):
        lib.nn.Sequential().load_state_dict([("a", 1)])


def test_keys_that_are_no_strings():
    with raises(TypeError, "Expected the keys of state_dict to be strings, got 0."):
        nn.Sequential().load_state_dict({0: batten.ones(1)})


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64", "int8", "uint16", "bool"])
def test_loading_numpy_arrays(dtype):
    net = layers(batten).Dense(1, 2)
    array = np.array([[0, 1]], dtype)
    array.flags.writeable = False
    net.load_state_dict({"weight": array, "bias": np.ma.array([2, 3]), "calls": np.int32(4)})
    assert net.weight.dtype == batten.float32
    assert net.weight.tolist() == [[0.0, 1.0]]
    assert net.bias.tolist() == [2.0, 3.0]
    assert net.calls.tolist() == 4
    assert net.weight.array.flags.writeable


def test_loading_pytorchs_tensors(rng):
    torch = pytest.importorskip("torch")
    theirs = layers(torch)()
    for p in theirs.parameters():
        p.data = torch.from_numpy(rng.standard_normal(p.shape))
    ours = layers(batten)().double()
    for state in (theirs.state_dict(), theirs.state_dict(keep_vars=True)):
        assert str(ours.load_state_dict(state)) == "<All keys matched successfully>"
    x = rng.standard_normal((5, 2))
    assert_array_equal(ours.first.weight.numpy(), theirs.first.weight.detach().numpy())
    np.testing.assert_allclose(
        ours(batten.from_numpy(x)).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-12
    )


def test_a_checkpoint_of_pytorchs_own_layers(rng):
    torch = pytest.importorskip("torch")

    def model(nn):
        body = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)]
        return nn.Sequential(OrderedDict(body=nn.Sequential(*body), head=nn.Linear(8, 3, bias=False)))

    theirs, ours = model(torch.nn), model(nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = rng.standard_normal((16, 4)).astype("float32")
    theirs(torch.from_numpy(x))  # moves the running statistics
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    assert ours.body[1].num_batches_tracked.item() == 1
    np.testing.assert_allclose(
        ours.eval()(batten.from_numpy(x)).detach(), theirs.eval()(torch.from_numpy(x)).detach(), rtol=1e-5, atol=1e-6
    )


def test_an_object_whose_array_cannot_be_had():
    class Remote:
        shape = (1, 1)

        def __array__(self, dtype=None, copy=None):
            raise OSError("the network is down")

    net = layers(batten).Dense(1, 1)
    with pytest.raises(RuntimeError, match='While copying the parameter named "weight", the network is down'):
        net.load_state_dict({**net.state_dict(), "weight": Remote()})


def test_loading_into_memory_that_is_read_only():
    net = layers(batten).Dense(1, 2)
    state = {name: x + 1 for name, x in net.state_dict().items()}
    net.weight.array.flags.writeable = False
    with pytest.raises(RuntimeError, match=r'While copying the parameter named "weight", .* read-only'):
        net.load_state_dict(state)
    assert net.bias.tolist() == [0.0, 0.0]


def test_loading_is_seen_by_a_graph_that_needs_the_old_values(lib):
    net = layers(lib).Dense(1, 1)
    loss = (net(lib.ones(1, 1).requires_grad_()) ** 2).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match=r"in.?place"):
        loss.backward()


def test_transient_buffers_are_neither_saved_nor_loaded(lib):
    net = lib.nn.Module()
    net.register_buffer("cache", lib.ones(1), persistent=False)
    assert list(net.state_dict()) == []
    with raises(RuntimeError, HEAD.format("Module") + '\tUnexpected key(s) in state_dict: "cache". '):
        net.load_state_dict({"cache": lib.ones(1)})


def test_keys_of_what_is_none(lib):
    net = layers(lib).Dense(1, 1, bias=False)
    with raises(RuntimeError, HEAD.format("Dense") + '\tUnexpected key(s) in state_dict: "bias". '):
        net.load_state_dict({**net.state_dict(), "bias": lib.ones(1)})
    whole = layers(lib)()
    state = whole.state_dict()
    whole.rest = None
    whole.load_state_dict(state)  # PyTorch lets the keys of a child that was taken away pass


def test_shared_parameters_are_loaded_by_each_name(lib):
    net = lib.nn.Sequential(layers(lib).Dense(1, 1), layers(lib).Dense(1, 1))
    net[1].weight = net[0].weight
    net.load_state_dict({**net.state_dict(), "0.weight": lib.zeros(1, 1), "1.weight": lib.ones(1, 1) * 5})
    assert net[0].weight is net[1].weight
    assert net[0].weight.tolist() == [[5.0]]


def test_loading_by_assignment(lib):
    net = layers(lib).Dense(1, 2)
    net.bias.requires_grad_(False)
    old = net.weight
    state = {
        "weight": lib.ones(1, 2, dtype=lib.float64),
        "bias": lib.nn.Parameter(lib.ones(2)),
        "calls": lib.tensor(3, dtype=lib.int32),
    }
    assert str(net.load_state_dict(state, assign=True)) == "<All keys matched successfully>"
    assert net.weight is not old
    assert type(net.weight) is lib.nn.Parameter
    assert net.weight.dtype == lib.float64 and net.weight.requires_grad
    assert net.bias is state["bias"] and not net.bias.requires_grad
    assert net.calls.dtype == lib.int32
    state["weight"] += 1
    state["calls"] += 1
    assert net.weight.tolist() == [[2.0, 2.0]]
    assert net.calls.tolist() == 4
    assert names(net.named_parameters()) == ["weight", "bias"]
    assert names(net.named_buffers()) == ["calls"]


def test_assigning_arrays():
    net = layers(batten).Dense(1, 2)
    weight = np.array([[1.0, 2.0]])
    net.load_state_dict({"weight": weight, "bias": np.array([1, 2], ">f4"), "calls": np.array([7])}, assign=True)
    weight += 1
    assert net.weight.tolist() == [[2.0, 3.0]]
    assert net.bias.dtype == batten.float32 and net.bias.array.dtype.isnative
    assert net.bias.tolist() == [1.0, 2.0]
    assert net.calls.shape == () and net.calls.tolist() == 7
    for wrong, reason in [
        (np.ones((1, 2), np.float16), "tensors have .*, got float16"),
        (np.ones((1, 2), np.int64), "expected floats, as it requires a gradient, got int64"),
    ]:
        with pytest.raises(RuntimeError, match=f'While copying the parameter named "weight", {reason}'):
            net.load_state_dict({"weight": wrong}, strict=False, assign=True)


def test_state_dict_goes_by_what_a_child_says(lib):
    class Silent(layers(lib).Double):
        def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
            destination[prefix + "said"] = 1
            return destination

    net = lib.nn.Sequential(Silent(), layers(lib).Double())
    assert net.state_dict() == {"0.said": 1}


def test_saving_to_a_file(tmp_path):
    net, other = layers(batten)(), layers(batten)().double()
    net.scale.data.fill_(3)
    batten.save(net.state_dict(), tmp_path / "net.safetensors")
    other.load_state_dict(batten.load(tmp_path / "net.safetensors"))
    assert other.scale.tolist() == [3.0]
    assert other.scale.dtype == batten.float64


# ---- hooks ----


def test_order_of_hooks(lib):
    net = layers(lib).Double()
    calls = []
    for name, prepend in [("a", False), ("b", False), ("c", True)]:
        net.register_forward_pre_hook(lambda m, args, name=name: calls.append("pre " + name), prepend=prepend)
        net.register_forward_hook(lambda m, args, y, name=name: calls.append(name), prepend=prepend)
    assert net(3) == 6
    assert calls == ["pre c", "pre a", "pre b", "c", "a", "b"]


def test_what_hooks_return(lib):
    class Sum(lib.nn.Module):
        def forward(self, x, y=0):
            return x + y

    net = Sum()
    net.register_forward_pre_hook(lambda m, args: args[0] + 1)
    net.register_forward_pre_hook(lambda m, args: (args[0] * 10, 5))
    net.register_forward_hook(lambda m, args, y: (args, y))
    net.register_forward_hook(lambda m, args, y: None)
    assert net(1) == ((20, 5), 25)


def test_hooks_with_keywords(lib):
    class Sum(lib.nn.Module):
        def forward(self, x, y=0):
            return x + y

    net = Sum()
    seen = []
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"y": kwargs["y"] + 1}), with_kwargs=True)
    net.register_forward_pre_hook(lambda m, args, kwargs: seen.append((args, kwargs)), with_kwargs=True)
    net.register_forward_pre_hook(lambda m, args: seen.append(args))
    net.register_forward_hook(lambda m, args, kwargs, out: out * kwargs["y"], with_kwargs=True)
    assert net(1, y=2) == 12
    assert seen == [((1,), {"y": 3}), (1,)]
    net.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with raises(RuntimeError, "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got (1,)."):
        net(1, y=2)


def test_hooks_are_removed(lib):
    net = layers(lib).Double()
    calls = []
    first = net.register_forward_hook(lambda m, args, y: calls.append("first"))
    with net.register_forward_pre_hook(lambda m, args: calls.append("within")):
        net(1)
    net(1)
    first.remove()
    first.remove()
    net(1)
    assert calls == ["within", "first", "first"]


def test_a_hook_may_remove_itself(lib):
    net = layers(lib).Double()
    calls = []

    def once(module, args, y):
        calls.append(y)
        handle.remove()

    handle = net.register_forward_hook(once)
    net.register_forward_hook(lambda m, args, y: calls.append("other"))
    net(1), net(1)
    assert calls == [2, "other", "other"]


def failing(lib, when):
    """A module that fails in its forward or in a hook, if told to, and what its hooks have seen."""

    class Net(lib.nn.Module):
        def forward(self, x):
            if when == "forward":
                raise ValueError("within forward")
            return x + 1

    net, seen = Net(), []

    def hook(name, error=False):
        def called(module, args, y):
            seen.append((name, args, y))
            if error:
                raise ValueError(f"within {name}")

        return called

    def before(module, args):
        if when == "before":
            raise ValueError("within before")
        return (args[0] * 10,)

    net.register_forward_pre_hook(before)
    net.register_forward_hook(hook("always", when == "always"), always_call=True)
    net.register_forward_hook(hook("usual", when == "usual"))
    net.register_forward_hook(hook("last"), always_call=True)
    net.register_forward_hook(
        lambda m, args, kwargs, y: seen.append(("kw", kwargs, y)), with_kwargs=True, always_call=True
    )
    return net, seen


@pytest.mark.parametrize(
    "when, expected",
    [
        (None, [("always", (10,), 11), ("usual", (10,), 11), ("last", (10,), 11), ("kw", {}, 11)]),
        ("before", [("always", (1,), None), ("last", (1,), None), ("kw", {}, None)]),
        ("forward", [("always", (10,), None), ("last", (10,), None), ("kw", {}, None)]),
        ("always", [("always", (10,), 11), ("last", (10,), 11), ("kw", {}, 11)]),
        ("usual", [("always", (10,), 11), ("usual", (10,), 11), ("last", (10,), 11), ("kw", {}, 11)]),
    ],
)
def test_hooks_that_are_always_called(lib, when, expected):
    net, seen = failing(lib, when)
    if when is None:
        assert net(1) == 11
    else:
        with raises(ValueError, f"within {when}"):
            net(1)
    assert seen == expected


def test_an_error_in_a_hook_after_an_error_is_a_warning(lib):
    net, _ = failing(lib, "forward")

    def bad(module, args, y):
        raise KeyError("second")

    net.register_forward_hook(bad, always_call=True, prepend=True)
    with (
        pytest.warns(UserWarning, match="silenced as another error was raised in forward: 'second'"),
        raises(ValueError, "within forward"),
    ):
        net(1)


def test_hooks_belong_to_one_module(lib):
    net, other = layers(lib).Double(), layers(lib).Double()
    net.register_forward_hook(lambda m, args, y: y + 1)
    assert (net(1), other(1)) == (3, 2)
    assert copy.deepcopy(net)(1) == 3


def test_a_users_own_list_of_hooks_does_no_harm(lib):
    class Watched(layers(lib).Double):
        def __init__(self):
            super().__init__()
            self._hooks = [self.register_forward_hook(lambda m, args, y: y + 1)]

    assert Watched()(1) == 3


def test_a_deep_copys_hooks_are_its_own(lib):
    net = layers(lib).Double()
    handle = net.register_forward_hook(lambda m, args, y: y + 1)
    other = copy.deepcopy(net)
    handle.remove()
    assert (net(1), other(1)) == (2, 3)


def test_a_second_init_begins_anew(lib):
    net = lib.nn.Sequential(layers(lib).Dense(1, 1), layers(lib).Double()).eval()
    net.note = 1
    net.__init__(layers(lib).Double())
    assert len(net) == 1
    assert list(net.state_dict()) == []
    assert not hasattr(net, "1")
    assert net.training and net.note == 1


def test_forward_of_an_instance(lib):
    net = layers(lib).Double()
    net.forward = lambda x: x * 3
    assert net(1) == 3


# ---- repr ----


def test_repr(lib):
    net = layers(lib)()
    assert repr(net) == (
        "Net(\n  (first): Dense(2, 3)\n  (rest): Sequential(\n    (0): Double()\n    (1): Dense(3, 1)\n  )\n)"
    )
    assert repr(net.first) == str(net.first) == "Dense(2, 3)"


def test_repr_of_several_lines(lib):
    class Told(lib.nn.Module):
        def extra_repr(self):
            return "one\ntwo"

    net = Told()
    assert repr(net) == "Told(\n  one\n  two\n)"
    net.child = Told()
    net.child.more = layers(lib).Double()
    assert repr(net) == ("Told(\n  one\n  two\n  (child): Told(\n    one\n    two\n    (more): Double()\n  )\n)")

    class Line(layers(lib).Dense):
        pass

    line = Line(1, 2)
    line.child = lib.nn.Sequential()
    assert repr(line) == "Line(\n  1, 2\n  (child): Sequential()\n)"


def test_said_translates_messages():
    assert said("torch.Size([2, 3]) of torch.FloatTensor") == "[2, 3] of batten.FloatTensor"

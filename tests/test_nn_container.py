"""Sequential, ModuleList, ModuleDict, and modules made from functions.

Tests with the fixture `lib` are run by PyTorch, too.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import batten
from batten import nn
from batten.nn.stateless import EMPTY, stateless
from scenarios import layers, raises


def dense(lib, n):
    """Modules that can be told from one another: Dense(0, 0), Dense(1, 1), ..."""
    return [layers(lib).Dense(i, i) for i in range(n)]


def named(lib, **modules):
    return lib.nn.Sequential(OrderedDict(modules))


def sizes(modules):
    return [m.n for m in modules]


def keys(container):
    return [name for name, _ in container.named_children()]


# ---- Sequential ----


def test_sequential_calls_one_after_the_other(lib):
    net = lib.nn.Sequential(layers(lib).Double(), layers(lib).Dense(2, 3), layers(lib).Double())
    assert net(lib.ones(1, 2)).tolist() == [[8.0] * 3]
    assert lib.nn.Sequential()(3) == 3


def test_sequential_passes_anything_on(lib):
    class Swap(lib.nn.Module):
        def forward(self, pair):
            return pair[::-1]

    assert lib.nn.Sequential(Swap(), Swap(), Swap())((1, 2)) == (2, 1)


def test_sequential_of_names(lib):
    a, b = dense(lib, 2)
    net = named(lib, body=a, head=b)
    assert net.body is net[0] is a
    assert list(net.state_dict())[:2] == ["body.weight", "body.bias"]
    assert repr(net) == "Sequential(\n  (body): Dense(0, 0)\n  (head): Dense(1, 1)\n)"
    assert keys(net.append(layers(lib).Double())) == ["body", "head", "2"]


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_items(lib, kind):
    modules = dense(lib, 5)
    net = getattr(lib.nn, kind)(*([modules] if kind == "ModuleList" else modules))
    assert len(net) == 5
    assert list(net) == modules
    assert net[0] is net[-5] is modules[0]
    assert net[4] is net[-1] is net[np.int64(4)] is modules[4]
    assert modules[2] in net and layers(lib).Double() not in net
    assert list(reversed(net)) == modules[::-1]
    for wrong in (5, -6):
        with raises(IndexError, f"index {wrong} is out of range"):
            _ = net[wrong]
        with raises(IndexError, f"index {wrong} is out of range"):
            net[wrong] = modules[0]
        with raises(IndexError, f"index {wrong} is out of range"):
            del net[wrong]
    for wrong in ("0", 1.0, None):
        with pytest.raises(TypeError):
            _ = net[wrong]
    assert sizes(net) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_slices(lib, kind):
    modules = dense(lib, 5)
    net = getattr(lib.nn, kind)(*([modules] if kind == "ModuleList" else modules))
    for part in (slice(None), slice(1, 3), slice(None, None, 2), slice(-2, None), slice(3, 3), slice(9)):
        assert type(net[part]) is type(net)
        assert list(net[part]) == modules[part]
    assert keys(net[1:3]) == (["1", "2"] if kind == "Sequential" else ["0", "1"])


def test_a_slice_of_names_keeps_them(lib):
    a, b, c = dense(lib, 3)
    assert keys(named(lib, a=a, b=b, c=c)[::-2]) == ["c", "a"]


def test_slices_and_items_of_subclasses(lib):
    class Block(lib.nn.Sequential):
        pass

    class Blocks(lib.nn.ModuleList):
        pass

    assert type(Block(*dense(lib, 3))[1:]) is Block
    assert type(Blocks(dense(lib, 3))[1:]) is Blocks


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_changes(lib, kind):
    modules = dense(lib, 8)
    net = getattr(lib.nn, kind)(*([modules[:3]] if kind == "ModuleList" else modules[:3]))
    net[1] = modules[3]
    assert sizes(net) == [0, 3, 2]
    net[-1] = modules[4]
    assert sizes(net) == [0, 3, 4]
    assert net.append(modules[5]) is net
    assert net.extend(modules[6:]) is net
    assert sizes(net) == [0, 3, 4, 5, 6, 7]
    assert keys(net) == list("012345")
    del net[1]
    assert sizes(net) == [0, 4, 5, 6, 7]
    del net[-1]
    assert keys(net) == list("0123")
    del net[::2]
    assert sizes(net) == [4, 6]
    assert keys(net) == list("01")
    assert list(net.state_dict())[::3] == ["0.weight", "1.weight"]
    net.insert(0, modules[0])
    net.insert(2, modules[1])
    net.insert(4, modules[2])
    assert sizes(net) == [0, 4, 1, 6, 2]
    assert keys(net) == list("01234")
    assert net.pop(1) is modules[4]
    assert net.pop(-1) is modules[2]
    assert sizes(net) == [0, 1, 6]
    rest = net.pop(slice(1, None))
    assert sizes(rest) == [1, 6] and type(rest) is type(net)
    assert sizes(net) == [0] and keys(net) == ["0"]
    net.extend(m for m in modules[1:3])
    assert sizes(net) == [0, 1, 2]


def test_insert_counts_from_the_end(lib):
    net = lib.nn.Sequential(*dense(lib, 2))
    assert net.insert(-1, layers(lib).Dense(5, 5)) is net
    assert sizes(net) == [0, 5, 1]
    for wrong in (4, -4):
        with raises(IndexError, f"Index out of range: {wrong}"):
            net.insert(wrong, layers(lib).Double())
    assert sizes(net) == [0, 5, 1]


def test_inserting_into_a_list():
    net = nn.ModuleList(dense(batten, 2))
    net.insert(-1, layers(batten).Dense(5, 5))
    assert sizes(net) == [0, 5, 1]
    with raises(IndexError, "Index out of range: 7"):
        net.insert(7, layers(batten).Double())
    with raises(TypeError, "int is not a Module subclass"):
        net.insert(0, 3)
    assert sizes(net) == [0, 5, 1]


def test_changes_of_names(lib):
    a, b, c = dense(lib, 3)
    net = named(lib, a=a, b=b, c=c)
    net[1] = layers(lib).Dense(5, 5)
    assert keys(net) == ["a", "b", "c"]
    net.insert(3, layers(lib).Double())
    assert keys(net) == ["a", "b", "c", "3"]
    del net[0]
    assert keys(net) == ["0", "1", "2"]


def test_inserting_among_names_numbers_those_behind():
    a, b, c = dense(batten, 3)
    net = named(batten, a=a, b=b)
    net.insert(1, c)
    assert keys(net) == ["a", "1", "2"]
    assert list(net) == [a, c, b]
    net.insert(-3, b)
    assert sizes(net) == [1, 0, 2, 1]
    assert list(net.state_dict())[::3] == ["0.weight", "1.weight", "2.weight", "3.weight"]


def test_names_are_not_shared():
    a, b, c = dense(batten, 3)
    net = nn.Sequential(OrderedDict([("2", a), ("x", b)]))
    for change in (lambda: net.append(c), lambda: net.insert(1, c), lambda: net.extend([c, c])):
        with pytest.raises(KeyError, match="modules cannot share a name"):
            change()
        assert list(net.named_children()) == [("2", a), ("x", b)]


def test_sums_of_sequentials(lib):
    modules = dense(lib, 4)
    left, right = lib.nn.Sequential(*modules[:2]), named(lib, c=modules[2], d=modules[3])
    both = left + right
    assert type(both) is lib.nn.Sequential
    assert list(both) == modules
    assert keys(both) == list("0123")
    assert (len(left), len(right)) == (2, 2)
    before = left
    left += right
    assert left is before
    assert list(left) == modules and keys(left) == list("0123")
    for wrong in (modules, 3):
        with raises(ValueError, f"add operator supports only objects of Sequential class, but {type(wrong)} is given."):
            _ = left + wrong
        with raises(ValueError, f"add operator supports only objects of Sequential class, but {type(wrong)} is given."):
            left += wrong
    assert list(left) == modules


def test_products_of_sequentials(lib):
    modules = dense(lib, 2)
    net = lib.nn.Sequential(*modules)
    assert list(net * 2) == list(2 * net) == modules * 2
    assert keys(net * 2) == (["0", "1"])  # the same modules again
    assert len(net * 2) == 4
    assert list((net * 2).state_dict())[-1] == "3.calls"
    before = net
    net *= 3
    assert net is before
    assert list(net) == modules * 3
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"Non-positive multiplication factor {wrong} for "):
            _ = net * wrong
        with pytest.raises(ValueError, match=f"Non-positive multiplication factor {wrong} for "):
            net *= wrong
    for wrong in (1.5, net):
        with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \*"):
            _ = net * wrong
    assert len(net) == 6


def test_adding_a_container_to_itself():
    modules = dense(batten, 2)
    for net in (nn.Sequential(*modules), nn.ModuleList(modules)):
        net += net
        assert list(net) == modules * 2


@pytest.mark.parametrize("wrong", [3, "text", [1], None])
def test_what_sequential_cannot_hold(lib, wrong):
    net = lib.nn.Sequential(*dense(lib, 2))
    if wrong is None:
        net.append(None)
        assert repr(net).endswith("(2): None\n)")
        return
    name = type(wrong).__name__
    with raises(TypeError, f"{name} is not a Module subclass"):
        lib.nn.Sequential(wrong)
    with raises(TypeError, f"{name} is not a Module subclass"):
        net.append(wrong)
    with raises(TypeError, f"cannot assign '{name}' as child module '0' (batten.nn.Module or None expected)"):
        net[0] = wrong
    assert sizes(net) == [0, 1]


def test_a_dict_is_not_an_ordered_dict(lib):
    with raises(TypeError, "dict is not a Module subclass"):
        lib.nn.Sequential({"a": layers(lib).Double()})
    with raises(KeyError, 'module name can\'t contain ".", got: a.b'):
        lib.nn.Sequential(OrderedDict([("a.b", layers(lib).Double())]))


def test_a_refused_extension_changes_nothing():
    net, modules = nn.Sequential(*dense(batten, 2)), nn.ModuleList(dense(batten, 2))
    for container in (net, modules):
        with raises(TypeError, "int is not a Module subclass"):
            container.extend([layers(batten).Double(), 3])
        assert sizes(container) == [0, 1]
        with raises(TypeError, "int is not a Module subclass"):
            container.insert(0, 3)
        assert sizes(container) == [0, 1]
    with raises(TypeError, "Sequential.extend should be called with an iterable, but got int"):
        net.extend(3)


# ---- ModuleList ----


def test_sums_of_lists(lib):
    modules = dense(lib, 4)
    net = lib.nn.ModuleList(modules[:2])
    assert type(net + modules[2:]) is lib.nn.ModuleList
    assert list(net + modules[2:]) == modules
    assert list(net + lib.nn.ModuleList(modules[2:])) == modules
    before = net
    net += (m for m in modules[2:])
    assert net is before
    assert list(net) == modules


def test_what_a_list_cannot_be_made_from(lib):
    with raises(TypeError, "ModuleList.extend should be called with an iterable, but got int"):
        lib.nn.ModuleList(3)
    with raises(TypeError, "int is not a Module subclass"):
        lib.nn.ModuleList([3])
    with raises(TypeError, "ModuleList.extend should be called with an iterable, but got Double"):
        lib.nn.ModuleList().extend(layers(lib).Double())
    assert len(lib.nn.ModuleList([])) == len(lib.nn.ModuleList()) == 0


def test_a_list_is_not_called(lib):
    with raises(NotImplementedError, 'Module [ModuleList] is missing the required "forward" function'):
        lib.nn.ModuleList(dense(lib, 2))(1)


def test_a_list_is_part_of_its_module(lib):
    net = lib.nn.Module()
    net.layers = lib.nn.ModuleList(dense(lib, 2))
    assert [name for name, _ in net.named_parameters()][:2] == ["layers.0.weight", "layers.0.bias"]
    net.layers.append(layers(lib).Dense(7, 7))
    assert "layers.2.weight" in net.state_dict()
    net.eval()
    assert not net.layers[2].training


@pytest.mark.parametrize("counts", [[], [1], [3], [2, 1], [1, 2, 1], [11, 1, 2], [2, 2]])
def test_a_list_writes_neighbours_alike_once(lib, counts):
    modules = [layers(lib).Dense(i, 1) for i, count in enumerate(counts) for _ in range(count)]
    text = repr(lib.nn.ModuleList(modules))
    if not counts:
        assert text == "ModuleList()"
    if counts == [1, 2, 1]:
        assert text == "ModuleList(\n  (0): Dense(0, 1)\n  (1-2): 2 x Dense(1, 1)\n  (3): Dense(2, 1)\n)"
    if counts == [11, 1, 2]:
        assert text == "ModuleList(\n  (0-10): 11 x Dense(0, 1)\n  (11): Dense(1, 1)\n  (12-13): 2 x Dense(2, 1)\n)"
    assert text == repr(batten.nn.ModuleList([layers(batten).Dense(m.n, 1) for m in modules]))


def test_nested_blocks_are_written_once(lib):
    def block():
        return lib.nn.Sequential(layers(lib).Double(), lib.nn.ModuleList(dense(lib, 1) * 2))

    assert repr(lib.nn.ModuleList([block(), block(), lib.nn.Sequential()])) == (
        "ModuleList(\n"
        "  (0-1): 2 x Sequential(\n"
        "    (0): Double()\n"
        "    (1): ModuleList(\n"
        "      (0-1): 2 x Dense(0, 0)\n"
        "    )\n"
        "  )\n"
        "  (2): Sequential()\n"
        ")"
    )


# ---- ModuleDict ----


def test_dicts(lib):
    a, b, c = dense(lib, 3)
    net = lib.nn.ModuleDict({"a": a, "b": b})
    assert net["a"] is net.a is a
    assert len(net) == 2
    assert list(net) == list(net.keys()) == ["a", "b"]
    assert list(net.values()) == [a, b]
    assert list(net.items()) == [("a", a), ("b", b)]
    assert "a" in net and "c" not in net and "training" not in net
    net["a"] = c
    assert list(net.items()) == [("a", c), ("b", b)]
    net["c"] = a
    del net["a"]
    assert list(net.items()) == [("b", b), ("c", a)]
    assert net.pop("b") is b
    assert list(net.state_dict()) == ["c.weight", "c.bias", "c.calls"]
    net.clear()
    assert len(net) == 0
    assert list(net.state_dict()) == []
    assert not hasattr(net, "c")
    for missing in ("a", "training"):
        with raises(KeyError, missing):
            _ = net[missing]
        with raises(KeyError, missing):
            del net[missing]
        with raises(KeyError, missing):
            net.pop(missing)


def test_updating_dicts(lib):
    a, b, c = dense(lib, 3)
    net = lib.nn.ModuleDict([["a", a], ("b", b)])
    net.update({"c": c, "a": b})
    assert list(net.items()) == [("a", b), ("b", b), ("c", c)]
    net.update(OrderedDict(d=a))
    net.update(lib.nn.ModuleDict({"e": a}))
    net.update((name, c) for name in "fa")
    assert list(net) == ["a", "b", "c", "d", "e", "f"]
    assert net["a"] is c
    assert lib.nn.ModuleDict(net)["e"] is a
    assert repr(lib.nn.ModuleDict({"x y": a})) == "ModuleDict(\n  (x y): Dense(0, 0)\n)"


def test_what_dicts_refuse(lib):
    net = lib.nn.ModuleDict({"a": layers(lib).Double()})
    with raises(TypeError, "ModuleDict.update should be called with an iterable of key/value pairs, but got int"):
        net.update(3)
    with pytest.raises(TypeError, match=r"ModuleDict update sequence element #0 should be Iterable; is ?int"):
        net.update([3])
    with raises(ValueError, "ModuleDict update sequence element #0 has length 3; 2 is required"):
        net.update(["abc"])
    with raises(TypeError, "int is not a Module subclass"):
        net["b"] = 3
    with raises(TypeError, "module name should be a string. Got int"):
        net[3] = layers(lib).Double()
    with raises(KeyError, 'module name can\'t contain ".", got: a.b'):
        net["a.b"] = layers(lib).Double()
    with raises(KeyError, "attribute 'keys' already exists"):
        net["keys"] = layers(lib).Double()
    assert list(net) == ["a"]


@pytest.mark.parametrize(
    "wrong", [("b", 3), (3, nn.Sequential()), ("a.b", nn.Sequential()), ("keys", nn.Sequential()), ("b",), 3]
)
def test_a_refused_update_changes_nothing(wrong):
    net = nn.ModuleDict({"a": nn.Sequential()})
    before = net["a"]
    with pytest.raises((TypeError, KeyError, ValueError)):
        net.update([("a", nn.ModuleList()), ("c", nn.Sequential()), wrong])
    assert list(net.items()) == [("a", before)]


def test_a_dict_can_be_changed_while_it_is_walked():
    net = nn.ModuleDict({"a": nn.Sequential(), "b": nn.Sequential()})
    for name in net:
        del net[name]
    assert len(net) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_containers(copied):
    net = nn.ModuleDict({"a": nn.Sequential(nn.ModuleList([nn.Sequential()] * 2)), "b": nn.ModuleList()})
    other = copied(net)
    assert repr(other) == repr(net)
    assert other["a"][0][0] is other["a"][0][1] is not net["a"][0][0]
    del other["a"][0]
    assert len(net["a"]) == 1


# ---- modules made from functions ----


def leaky(input, negative_slope=0.01, inplace=False):
    """x where x > 0, else negative_slope x.

    >>> raise AssertionError("this example is the function's, not the module's")
    """
    return batten.where(input > 0, input, input * negative_slope)


def noisy(input, p=0.5, training=False, inplace=False):
    return ("training" if training else "use", input, p)


def distance(input, target, reduction="mean", weight=None):
    loss = (input - target).abs()
    loss = loss if weight is None else loss * weight
    return loss.mean() if reduction == "mean" else loss


Leaky = stateless("Leaky", leaky)
Noisy = stateless("Noisy", noisy)
Tanh = stateless("Tanh", batten.tanh)
Soft = stateless("Soft", batten.softmax, dim=None)
Distance = stateless("Distance", distance, shown="")
Slope = stateless("Slope", leaky, negative_slope=EMPTY)
Shrink = stateless("Shrink", leaky, shown="{negative_slope}")


def test_a_module_calls_its_function():
    x = batten.tensor([-1.0, 2.0])
    assert Leaky(0.5)(x).tolist() == [-0.5, 2.0]
    assert Leaky(negative_slope=2.0, inplace=True)(input=x).tolist() == [-2.0, 2.0]
    assert Soft(dim=0)(batten.zeros(2)).tolist() == [0.5, 0.5]
    assert Tanh()(batten.zeros(1)).tolist() == [0.0]
    assert isinstance(Tanh(), nn.Module) and issubclass(Leaky, nn.Module)


def test_attributes_may_be_changed():
    layer = Leaky()
    layer.negative_slope = 3.0
    assert layer(batten.tensor([-1.0])).tolist() == [-3.0]
    assert repr(layer) == "Leaky(negative_slope=3.0)"


def test_the_function_learns_the_mode():
    layer = Noisy(0.25)
    assert layer(1) == ("training", 1, 0.25)
    assert layer.eval()(1) == ("use", 1, 0.25)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (Leaky(), "Leaky(negative_slope=0.01)"),
        (Leaky(1.5, True), "Leaky(negative_slope=1.5, inplace=True)"),
        (Tanh(), "Tanh()"),
        (Soft(1), "Soft(dim=1)"),
        (Soft(), "Soft(dim=None)"),
        (Distance("none"), "Distance()"),
        (Shrink(), "Shrink(0.01)"),
        (
            nn.ModuleList([Tanh(), Tanh(), Leaky()]),
            "ModuleList(\n  (0-1): 2 x Tanh()\n  (2): Leaky(negative_slope=0.01)\n)",
        ),
    ],
)
def test_repr_of_a_function(layer, expected):
    assert repr(layer) == expected


def test_several_inputs_and_a_buffer():
    x, y = batten.tensor([1.0, 2.0]), batten.tensor([2.0, 4.0])
    assert Distance()(x, y).tolist() == 1.5
    loss = Distance(reduction="none", weight=batten.tensor([1.0, 2.0]))
    assert loss(x, target=y).tolist() == [1.0, 4.0]
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype == batten.float64
    assert list(Distance().state_dict()) == []


def test_wrong_arguments():
    for args, kwargs, reason in [
        ((1, 2, 3), {}, "too many positional arguments"),
        ((), {"alpha": 1}, "got an unexpected keyword argument 'alpha'"),
        ((1,), {"negative_slope": 1}, "multiple values for argument 'negative_slope'"),
    ]:
        with raises(TypeError, f"expected Leaky(negative_slope=0.01, inplace=False): {reason}"):
            Leaky(*args, **kwargs)
    with raises(TypeError, "expected Tanh(): too many positional arguments"):
        Tanh(1)
    with raises(TypeError, "expected Slope(negative_slope): missing a required argument: 'negative_slope'"):
        Slope()
    assert repr(Slope(2.0)) == "Slope(negative_slope=2.0)"


def test_what_a_made_class_says_of_itself():
    assert str(inspect.signature(Leaky)) == "(negative_slope=0.01, inplace=False)"
    assert Leaky.__doc__ == "x where x > 0, else negative_slope x."
    assert Leaky.__module__ == __name__
    assert Leaky.__qualname__ == "Leaky"


def test_a_made_module_can_be_pickled():
    net = nn.Sequential(Leaky(0.5), Tanh(), Distance(weight=batten.ones(2)))
    other = pickle.loads(pickle.dumps(net))
    assert repr(other) == repr(net)
    assert type(other[0]) is Leaky
    assert other[0](batten.tensor([-2.0])).tolist() == [-1.0]
    assert list(other.state_dict()) == ["2.weight"]

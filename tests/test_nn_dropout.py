"""Dropout of elements and of channels: what is dropped, by which numbers, and what becomes of the rest."""

from __future__ import annotations

import copy
import io
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import batten
import batten.nn.functional as F  # noqa: N812
from batten import nn
from batten.nn.dropout import ALPHA
from batten.nn.unchanged import unchanged
from trials import trials

LAYERS = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout]
SCALED = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d]
CHANNELS = [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout]
FUNCTIONS = {
    nn.Dropout: F.dropout, nn.Dropout1d: F.dropout1d, nn.Dropout2d: F.dropout2d, nn.Dropout3d: F.dropout3d,
    nn.AlphaDropout: F.alpha_dropout, nn.FeatureAlphaDropout: F.feature_alpha_dropout,
}  # fmt: skip
SHAPES = {
    nn.Dropout: [(5, 7), (), (3, 1, 67), (0, 3)],
    nn.Dropout1d: [(5, 7, 3), (37, 3), (2, 70, 1), (0, 3, 2), (2, 3, 0)],
    nn.Dropout2d: [(5, 7, 3, 2), (2, 70, 1, 1), (0, 3, 2, 2)],
    nn.Dropout3d: [(5, 7, 3, 2, 2), (37, 3, 2, 2), (2, 3, 0, 1, 1)],
    nn.AlphaDropout: [(5, 7), (), (3, 1, 67), (0, 3)],
    nn.FeatureAlphaDropout: [(5, 7), (5, 7, 3), (5, 7, 3, 2), (2, 3, 4, 1, 2)],
}
SIGMAS = 5  # which fair numbers leave once in 1.7 million times

each_layer = pytest.mark.parametrize("kind", LAYERS)


def shape_of(kind):
    return SHAPES[kind][0]


def normal(rng, shape, dtype="float32"):
    return batten.tensor(np.asarray(rng.standard_normal(shape), dtype))


def expected(kind, x, mask, p, inverted=True):
    """What a layer makes of an array in training, by its definition, in double precision."""
    x = x.astype(np.float64)
    if kind in SCALED:
        return x * mask * (1 / (1 - p) if inverted and p < 1 else 1)
    if p == 1:
        return x * 0
    a = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
    return a * np.where(mask, x, ALPHA) - a * p * ALPHA


LAYOUTS = {
    "C": lambda x: x,
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 2 else x,
    "turned": lambda x: np.asarray(x.T.copy()).T,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
}


@trials("layout", LAYOUTS)
@trials("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind in LAYERS for shape in SHAPES[kind]])
def test_a_layer_is_its_definition_with_the_mask_that_it_shows(kind, shape, p, layout, rng, dtype):
    layer = kind(p)
    leaf = batten.from_numpy(LAYOUTS[layout](rng.standard_normal(shape).astype(dtype))).requires_grad_()
    x = leaf.detach().numpy()
    y = layer(leaf)
    mask = layer.last_mask()
    assert mask.shape == shape and mask.dtype == bool
    assert np.allclose(y.detach().numpy(), expected(kind, x, mask, p), rtol=1e-5, atol=1e-6)
    if not y.requires_grad:  # a leaf itself has been returned
        return
    dy = rng.standard_normal(shape).astype(dtype)
    y.backward(batten.from_numpy(np.asarray(dy)))
    slope = expected(kind, np.ones(shape), mask, p) - expected(kind, np.zeros(shape), mask, p) if p else 1
    assert np.allclose(leaf.grad.numpy(), dy * slope, rtol=1e-5, atol=1e-6)


@each_layer
@pytest.mark.parametrize("inplace", [False, True])
def test_the_function_does_what_the_layer_does(kind, inplace, rng, dtype):
    x = normal(rng, shape_of(kind), dtype)
    results = []
    for call in (
        kind(0.3, inplace),
        lambda x: FUNCTIONS[kind](x, 0.3, True, inplace),
        lambda x: FUNCTIONS[kind](x.numpy(), 0.3, training=True),
    ):
        batten.manual_seed(4)
        given = x.clone()
        y = call(given)
        results.append(y.tolist())
        assert (y is given) == (inplace and len(results) < 3)
    assert results[0] == results[1] == results[2]
    assert FUNCTIONS[kind](x, 0.3, False) is x
    batten.manual_seed(4)
    before = x.clone().requires_grad_() * 1
    assert kind(0.3, inplace=True)(before) is before
    assert before.tolist() == results[0]
    before.sum().backward()


def test_what_the_functions_do_unless_told():
    """PyTorch's defaults: the alpha forms do nothing without `training`, and p is a half."""
    x = batten.ones(2, 3, 4, 5)
    assert F.alpha_dropout(x) is x and F.feature_alpha_dropout(x) is x
    for function, axes in ((F.dropout, 0), (F.dropout1d, 1), (F.dropout2d, 2), (F.dropout3d, 3)):
        assert set(function(batten.ones(2, 300, *[1] * axes)).flatten().tolist()) == {0, 2}


@each_layer
def test_nothing_is_dropped_in_evaluation_or_for_p_0_and_all_for_p_1(kind, rng, dtype):
    x = normal(rng, shape_of(kind), dtype).requires_grad_()
    state = batten.get_rng_state().tolist()
    assert kind(0.7).eval()(x) is x and kind(0.0)(x) is x
    assert batten.get_rng_state().tolist() == state
    layer = kind(1.0)
    y = layer(x)
    assert not y.detach().numpy().any() and not layer.last_mask().any()
    y.sum().backward()
    assert not x.grad.numpy().any()


# ---- the standard form ----


@pytest.mark.parametrize("kind", SCALED)
def test_the_standard_form_scales_at_test_time(kind, rng, dtype):
    x = normal(rng, shape_of(kind), dtype)
    layer = kind(0.25, inverted=False)
    assert repr(layer) == f"{kind.__name__}(p=0.25, inplace=False, inverted=False)"
    y = layer(x).numpy()
    assert_array_equal(y, x.numpy() * layer.last_mask())
    leaf = x.clone().requires_grad_()
    y = layer.eval()(leaf)
    assert_array_equal(y.detach().numpy(), x.numpy() * dtype.type(0.75))
    y.sum().backward()
    assert_array_equal(leaf.grad.numpy(), np.full(x.shape, 0.75, dtype))
    assert_array_equal(FUNCTIONS[kind](x, 0.25, training=False, inverted=False).numpy(), y.detach().numpy())
    there = kind(0.25, True, inverted=False).eval()
    given = x.clone()
    assert there(given) is given and given.tolist() == y.tolist()
    assert kind(0.0, inverted=False).eval()(x) is x
    assert not kind(1.0, inverted=False).eval()(x).numpy().any()


@pytest.mark.parametrize("kind", SCALED)
def test_both_forms_drop_the_same_and_differ_by_a_factor(kind, rng):
    x = normal(rng, shape_of(kind), "float64")
    results = []
    for inverted in (True, False):
        batten.manual_seed(1)
        results.append(kind(0.5, inverted=inverted)(x).numpy())
    assert_array_equal(results[0], 2 * results[1])


def test_alpha_dropout_has_no_standard_form():
    for kind in (nn.AlphaDropout, nn.FeatureAlphaDropout):
        with pytest.raises(TypeError, match="inverted"):
            kind(0.5, inverted=False)


# ---- alpha dropout ----


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(p, rng):
    """Finds a mean off by 0.01, and a variance off by 3 % at p = 0.8."""
    n = 1_000_000
    x = rng.standard_normal(n)
    y = F.alpha_dropout(batten.tensor(x), p, training=True).numpy()
    assert abs(y.mean()) < SIGMAS / math.sqrt(n)
    fourth = (y**4).mean()
    assert abs(y.var() - 1) < SIGMAS * math.sqrt((fourth - 1) / n)
    z = F.feature_alpha_dropout(batten.tensor(x.reshape(1000, 1000, 1)), p, training=True).numpy()
    assert abs(z.mean()) < SIGMAS / math.sqrt(n) and abs(z.var() - 1) < SIGMAS * math.sqrt((fourth - 1) / n)


def test_alpha_dropout_drops_to_what_it_says():
    x = batten.full((10_000,), 3.0, dtype=batten.float64)
    layer = nn.AlphaDropout(0.2)
    y = layer(x).numpy()
    a = (0.8 * (1 + 0.2 * ALPHA**2)) ** -0.5
    assert np.allclose(y[~layer.last_mask()], a * ALPHA * 0.8, rtol=1e-12)
    assert np.allclose(y[layer.last_mask()], a * (3 - 0.2 * ALPHA), rtol=1e-12)


# ---- what PyTorch says ----


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@each_layer
@pytest.mark.parametrize("settings", [(), (0.3,), (0.25, True), (0, True), (1, False)])
def test_layers_are_written_as_in_torch(kind, settings, torch):
    assert repr(kind(*settings)) == repr(getattr(torch.nn, kind.__name__)(*settings))


@each_layer
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_shapes_and_what_is_not_random_are_those_of_torch(kind, p, training, torch, rng):
    name = FUNCTIONS[kind].__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rank in range(2, 6):
            x = rng.standard_normal((2, 3, 4, 2, 1)[:rank]).astype(np.float32)
            results = []
            for lib in (batten, torch):
                try:
                    y = getattr(lib.nn.functional, name)(lib.tensor(x), p, training)
                    results.append(y.numpy())
                except (ValueError, RuntimeError) as error:
                    results.append(type(error).__name__)
            ours, theirs = results
            if isinstance(theirs, str):
                assert (ours, theirs) == ("ValueError", "RuntimeError")
                continue
            assert ours.shape == theirs.shape
            if p in (0, 1) or not training:
                assert_array_equal(ours, theirs)
            elif kind in SCALED:
                for y in (ours, theirs):
                    assert np.all(np.isclose(y, 0) | np.isclose(y, x / 0.6))


@pytest.mark.parametrize("name", ["dropout2d", "dropout3d"])
def test_shapes_that_are_warned_of_are_those_of_torch(name, torch):
    for rank in range(2, 7):
        messages = []
        for lib in (batten, torch):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                getattr(lib.nn.functional, name)(lib.ones(*[2] * rank), 0.5)
            messages.append([str(w.message) for w in caught if "ropout" in str(w.message)])
        assert bool(messages[0]) == bool(messages[1])
        assert all(f"takes {rank} axes" in message for message in messages[0])


def test_which_axes_have_masks_of_their_own(lib):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, shape, leading in [
            (nn.Dropout1d, (50, 40), 1), (nn.Dropout1d, (5, 50, 4), 2), (nn.Dropout2d, (20, 30), 2),
            (nn.Dropout2d, (5, 50, 4), 2), (nn.Dropout2d, (5, 50, 4, 3), 2), (nn.Dropout2d, (5, 50, 4, 3, 2), 2),
            (nn.Dropout3d, (50, 4), 1), (nn.Dropout3d, (50, 4, 3), 1), (nn.Dropout3d, (50, 4, 3, 2), 1),
            (nn.Dropout3d, (5, 50, 4, 3, 2), 2), (nn.FeatureAlphaDropout, (5, 50, 4), 2),
        ]:  # fmt: skip
            layer = getattr(lib.nn, kind.__name__)(0.5)
            y = layer(lib.ones(*shape)).numpy()
            features = y.reshape(*shape[:leading], -1)
            assert (features == features[..., :1]).all()
            assert len(np.unique(features)) == 2
            assert leading == 1 or any(len(np.unique(example)) == 2 for example in features)
            if isinstance(layer, nn.Module):
                assert_array_equal(layer.last_mask().reshape(features.shape), features == features.max())


# ---- errors ----


@each_layer
@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, math.inf])
def test_what_is_no_probability_is_refused(kind, p):
    function = FUNCTIONS[kind]
    with pytest.raises(ValueError, match=f"^{kind.__name__} expects a probability between 0 and 1, got {p}"):
        kind(p)
    for training in (True, False):
        with pytest.raises(ValueError, match=f"^{function.__name__} expects a probability between 0 and 1, got {p}"):
            function(batten.ones(2, 3, 4, 5), p, training)


@each_layer
def test_what_is_wrong_is_said_before_a_number_is_drawn(kind):
    state = batten.get_rng_state().tolist()
    name = FUNCTIONS[kind].__name__
    whole = batten.ones(*shape_of(kind), dtype=batten.int64)
    with pytest.raises(TypeError, match=f"^{name} expects floats, got int64"):
        kind()(whole)
    assert kind().eval()(whole) is whole
    leaf = batten.ones(*shape_of(kind), requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        kind(inplace=True)(leaf)
    with pytest.raises(TypeError, match="expected a tensor"):
        kind()("text")
    if kind in CHANNELS:
        with pytest.raises(ValueError, match=rf"^{name} expects \(N, C, .*, got 1 axes"):
            kind()(batten.ones(3))
    if kind is nn.Dropout1d:
        with pytest.raises(ValueError, match=r"^dropout1d expects \(N, C, L\) or \(C, L\), got 4 axes"):
            kind()(batten.ones(2, 3, 4, 5))
    with pytest.raises(TypeError, match=f"^{kind.__name__} expects a batten.Generator, got int"):
        kind(generator=3)
    assert batten.get_rng_state().tolist() == state


def test_last_mask_needs_a_forward_in_training():
    layer = nn.Dropout(0.5).eval()
    layer(batten.ones(3))
    with pytest.raises(RuntimeError, match=r"^Dropout has no mask before it is called in training"):
        layer.last_mask()


# ---- generators and masks ----


@each_layer
def test_last_mask_is_that_of_the_last_forward_in_training(kind, rng):
    layer, x = kind(0.4), normal(rng, (8, 40, 5))
    layer = layer if kind not in (nn.Dropout2d, nn.Dropout3d) else kind(0.4)
    x = normal(rng, {nn.Dropout2d: (8, 40, 5, 1), nn.Dropout3d: (8, 40, 5, 1, 1)}.get(kind, (8, 40, 5)))
    layer(x)
    first = layer.last_mask()
    with batten.no_grad():
        layer(x)
    second = layer.last_mask()
    assert (first != second).any()
    layer.eval()(x)
    assert_array_equal(layer.last_mask(), second)
    batten.randn(100)
    assert_array_equal(layer.last_mask(), second)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert_array_equal(other.last_mask(), second)
    assert layer.state_dict() == {}


@each_layer
def test_a_layer_with_a_generator_draws_from_it(kind, rng):
    x = normal(rng, shape_of(kind))
    generator = batten.Generator().manual_seed(9)
    layer = kind(0.5, generator=generator)
    state = batten.get_rng_state().tolist()
    ours = [layer(x).tolist() for _ in range(3)]
    assert batten.get_rng_state().tolist() == state
    assert generator.get_state().tolist()[8:] == [3] + [0] * 7
    batten.manual_seed(9)
    assert [kind(0.5)(x).tolist() for _ in range(3)] == ours
    generator.manual_seed(9)
    function = FUNCTIONS[kind]
    assert [function(x, 0.5, True, generator=generator).tolist() for _ in range(3)] == ours


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_have_generators_of_their_own_that_go_on_from_there(copied, rng):
    shared = batten.Generator().manual_seed(3)
    net = nn.Sequential(nn.Dropout(0.5, generator=shared), nn.Dropout(0.5, generator=shared))
    x = normal(rng, (40, 5))
    net(x)
    other = copied(net)
    assert other[0].generator is other[1].generator is not shared
    assert [net(x).tolist() for _ in range(3)] == [other(x).tolist() for _ in range(3)]
    assert copy.copy(net[0]).generator is shared


def test_training_goes_on_after_a_checkpoint_as_if_nothing_had_been(rng):
    x = normal(rng, (40, 5))
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.3, generator=batten.Generator().manual_seed(1)))
    net(x)
    states = batten.get_rng_state(), net[1].generator.get_state()
    after = [net(x).tolist() for _ in range(2)]
    batten.set_rng_state(states[0])
    net[1].generator.set_state(states[1])
    assert [net(x).tolist() for _ in range(2)] == after


def test_what_is_tried_out_leaves_generators_as_they_were(rng):
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.3, generator=batten.Generator().manual_seed(1)))
    x = normal(rng, (40, 5))
    net(x)
    mask = net[1].last_mask()
    with unchanged(net):
        first = net(x).tolist()
    assert_array_equal(net[1].last_mask(), mask)
    assert net(x).tolist() == first


def test_masks_depend_on_nothing_but_seed_draw_and_element(rng, isa, threads):
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        batten.manual_seed(8)
        masks = b""
        for layer, shape in ((nn.Dropout(0.3), (300, 301)), (nn.Dropout2d(0.3), (30, 301, 1, 2))):
            layer(batten.ones(*shape))
            masks += np.ascontiguousarray(layer.last_mask()).tobytes()
        found.add(masks)
    assert len(found) == 1
    FOUND.setdefault("masks", masks)
    assert FOUND["masks"] == masks  # whatever the instruction set


FOUND: dict[str, bytes] = {}


def test_elements_count_as_they_lie_in_memory():
    """The same numbers in the order of memory: an image whose channels lie last is dropped pixel by pixel."""
    masks = []
    for shape, turn in (((2, 5, 7, 3), lambda x: x), ((2, 3, 5, 7), lambda x: x.permute(0, 3, 1, 2))):
        batten.manual_seed(2)
        layer = nn.Dropout(0.5)
        layer(turn(batten.ones(2, 5, 7, 3)))
        masks.append(layer.last_mask())
        assert masks[-1].shape == shape
    assert_array_equal(masks[0].transpose(0, 3, 1, 2), masks[1])


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork")
def test_a_forked_child_drops_what_its_parent_would(rng):
    import os

    x = normal(rng, (300, 301))
    batten.manual_seed(5)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(hash(F.dropout(x, 0.5).numpy().tobytes())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() == str(hash(F.dropout(x, 0.5).numpy().tobytes()))
    os.close(reading)
    os.close(writing)


# ---- independence ----


def agreement(a, b):
    """How far two masks are from independence: chi-square of their four combinations, one of which is free."""
    counts = np.array([[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]], float)
    rows, columns, n = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True), counts.sum()
    return float(((counts - rows * columns / n) ** 2 / (rows * columns / n)).sum())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d])
def test_masks_are_independent(kind, p):
    """Over lags, rows, columns, layers, steps and seeds: finds a correlation of 0.01 in a quarter of a million bits."""
    shape = (512, 512) if kind is nn.Dropout else (512, 512, 1)

    def mask(layer):
        layer(batten.ones(*shape))
        return layer.last_mask().reshape(512, 512)

    batten.manual_seed(1)
    layers = kind(p), kind(p)
    first, other = mask(layers[0]), mask(layers[1])
    step = mask(layers[0])
    batten.manual_seed(2)
    seed = mask(layers[0])
    pairs = [(first, other), (first, step), (first, seed), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    flat = first.reshape(-1)
    pairs += [(flat[lag:], flat[:-lag]) for lag in (2, 3, 7, 8, 16, 31, 32, 63, 64, 128, 1024, 2048, 4096)]
    assert max(agreement(a, b) for a, b in pairs) < SIGMAS**2
    bound = SIGMAS * math.sqrt(p * (1 - p))
    assert abs(first.mean() - (1 - p)) < bound / 512
    for axis in (0, 1):  # no row and no column is kept more often than others
        rates = first.mean(axis)
        assert abs(((rates - (1 - p)) ** 2 / (p * (1 - p) / 512)).sum() - 512) < SIGMAS * math.sqrt(2 * 512)


def test_the_rate_is_exact_where_few_digits_are_enough():
    """p = 1/4 takes two binary digits; p = 1/4 + 2^-40 forty, of which all but some are the same."""
    masks = []
    for p in (0.25, 0.25 + 2**-40, 0.25 - 2**-40):
        batten.manual_seed(1)
        layer = nn.Dropout(p)
        layer(batten.ones(1_000_000))
        masks.append(layer.last_mask())
    assert_array_equal(masks[0], masks[1])
    assert_array_equal(masks[0], masks[2])


def test_dropping_less_keeps_what_dropping_more_keeps():
    """One number for each element is held against p."""
    masks = []
    for p in (0.1, 0.3, 1 / 3, 0.5, 0.9):
        batten.manual_seed(1)
        layer = nn.Dropout(p)
        layer(batten.ones(100_000))
        masks.append(layer.last_mask())
    for more, less in itertools.pairwise(masks):
        assert (more >= less).all() and (more != less).any()


# ---- together ----


@each_layer
def test_layers_are_saved_and_have_no_parameters(kind):
    layer = kind(0.3)
    assert list(layer.parameters()) == [] and layer.state_dict() == {}
    file = io.BytesIO()
    pickle.dump(layer, file)
    assert repr(pickle.loads(file.getvalue())) == repr(layer)
    assert layer.to(batten.float64) is layer


def test_nan_is_not_hidden(rng, dtype):
    """Dropping is a product, as in PyTorch."""
    x = np.full((40, 30, 2), np.nan, dtype)
    for kind in (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout):
        assert np.isnan(kind(0.5)(batten.tensor(x)).numpy()).all()

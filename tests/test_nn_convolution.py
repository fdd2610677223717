"""Convolutions, transposed or not: beside PyTorch in all their arguments, how images lie, and what is refused."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import batten
import batten.nn.functional as F  # noqa: N812
from batten import _kernels as kernels
from batten import nn
from parity import assert_close, assert_like_torch

CONV = {rank: f"conv{rank}d" for rank in (1, 2, 3)}
TRANSPOSED = {rank: f"conv_transpose{rank}d" for rank in (1, 2, 3)}
KINDS = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_rank = pytest.mark.parametrize("rank", [1, 2, 3])

# Images and kernels by the number of axes: a single pixel, kernels larger than images, lengths even and odd.
IMAGES = {1: [(1,), (4,), (9,)], 2: [(1, 1), (4, 5), (9, 8)], 3: [(1, 1, 1), (3, 5, 4)]}
TAPS = {1: [(1,), (3,), (6,)], 2: [(1, 1), (3, 3), (2, 5)], 3: [(1, 1, 1), (3, 2, 3)]}
STRIDES = {1: [1, 2, 3], 2: [1, 2, (2, 3)], 3: [1, (2, 1, 3)]}
PADDINGS = {1: [0, 1, 4], 2: [0, 1, (2, 4)], 3: [0, (1, 0, 2)]}
DILATIONS = {1: [1, 2], 2: [1, (2, 3)], 3: [1, (1, 2, 1)]}
CHANNELS = [(4, 6, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)]  # channels, features, groups: dense, in groups, depthwise


@pytest.fixture(autouse=True)
def kept_precision():
    """A test may change the process's setting."""
    before = batten.get_float32_conv_precision()
    yield
    batten.set_float32_conv_precision(before)


def each_axis(value, rank):
    return value if isinstance(value, tuple) else (value,) * rank


def reach(taps, dilation):
    return [d * (n - 1) + 1 for n, d in zip(taps, each_axis(dilation, len(taps)), strict=True)]


def fits(image, taps, padding, dilation):
    sides = each_axis(padding, len(image))
    return all(n + 2 * a >= far for n, a, far in zip(image, sides, reach(taps, dilation), strict=True))


def like_torch(name, arguments, *arrays):
    """Result and gradients of the function of that name are PyTorch's.  In float32 a sum has some hundred terms."""
    torch = pytest.importorskip("torch")
    tolerance = {"rtol": 1e-4, "atol": 5e-5} if arrays[0].dtype == np.float32 else {}
    ours, theirs = (
        lambda *operands, function=function: function(*operands, **arguments)
        for function in (getattr(F, name), getattr(torch.nn.functional, name))
    )
    assert_like_torch(ours, theirs, *arrays, **tolerance)


# ---- beside PyTorch ----


@each_rank
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
def test_convolution_is_torchs(rank, channels, rng, dtype):
    inputs, features, groups = channels
    checked = 0
    for image, taps, stride, padding, dilation in itertools.product(
        *(table[rank] for table in (IMAGES, TAPS, STRIDES, PADDINGS, DILATIONS))
    ):
        if fits(image, taps, padding, dilation):
            shapes = (2, inputs, *image), (features, inputs // groups, *taps), (features,)
            arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            like_torch(CONV[rank], arguments, *(rng.standard_normal(shape).astype(dtype) for shape in shapes))
            checked += 1
    assert checked > 20


@each_rank
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
def test_transposed_convolution_is_torchs(rank, channels, rng, dtype):
    inputs, features, groups = channels
    checked = 0
    for image, taps, stride, padding, dilation, extra in itertools.product(
        *(table[rank] for table in (IMAGES, TAPS, STRIDES, PADDINGS, DILATIONS)), (0, 1)
    ):
        strides, dilations, sides = (each_axis(value, rank) for value in (stride, dilation, padding))
        axes = list(zip(image, strides, sides, reach(taps, dilation), dilations, strict=True))
        size = [(n - 1) * s - 2 * a + far + extra for n, s, a, far, _ in axes]
        if min(size) >= 1 and all(extra < max(s, d) for _, s, _, _, d in axes):
            shapes = (2, inputs, *image), (inputs, features // groups, *taps), (features,)
            arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            arguments["output_padding"] = extra
            like_torch(TRANSPOSED[rank], arguments, *(rng.standard_normal(shape).astype(dtype) for shape in shapes))
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("arguments", [
    {"dilation": 5, "output_padding": 4}, {"dilation": 5, "output_padding": 4, "padding": 1},
    {"dilation": 5, "output_padding": 3, "padding": 4}, {"dilation": 5, "output_padding": 4, "stride": 3},
    {"dilation": 5, "output_padding": 4, "stride": 2, "padding": 1}, {"stride": 3, "output_padding": 2, "padding": 1},
    {"stride": (1, 4), "dilation": (4, 1), "output_padding": (2, 3), "padding": (1, 0)},
])  # fmt: skip
def test_results_may_go_on_beyond_the_last_tap(arguments, rng):
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 4, 5), (3, 4, 2, 3), (4,))]
    like_torch("conv_transpose2d", arguments, *arrays)


@each_rank
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_padding_by_name_is_torchs(rank, padding, dilation, rng, dtype):
    for taps in ((1, 3, 2), (2, 4, 1), (3, 1, 4), (4, 2, 3)):
        taps = taps[:rank]
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, *(7, 8, 7)[:rank]), (4, 3, *taps))]
        like_torch(CONV[rank], {"padding": padding, "dilation": dilation}, *arrays)
    x = batten.zeros(2, 3, *(7, 8, 7)[:rank])
    same = getattr(F, CONV[rank])(x, batten.zeros(1, 3, *taps), padding="same", dilation=dilation)
    assert same.shape[2:] == x.shape[2:]


@each_rank
@pytest.mark.parametrize("name", ["conv", "transposed"])
def test_a_batch_may_be_empty_or_missing(rank, name, rng, dtype):
    function = (CONV if name == "conv" else TRANSPOSED)[rank]
    weight = (3, 3, *(2, 3, 2)[:rank])
    for batch in ((0,), (1,), ()):
        shapes = (*batch, 3, *(5, 4, 6)[:rank]), weight, (3,)
        like_torch(function, {"stride": 2}, *(rng.standard_normal(shape).astype(dtype) for shape in shapes))
    single = batten.tensor(rng.standard_normal((3, *(5, 4, 6)[:rank])))
    w = batten.tensor(rng.standard_normal(weight))
    assert getattr(F, function)(single, w).shape == getattr(F, function)(single.unsqueeze(0), w).shape[1:]


@each_rank
def test_without_bias(rank, rng, dtype):
    shapes = (2, 3, *(5, 4, 6)[:rank]), (3, 3, *(2, 3, 2)[:rank])
    for function in (CONV[rank], TRANSPOSED[rank]):
        like_torch(function, {}, *(rng.standard_normal(shape).astype(dtype) for shape in shapes))


def pair(kind, torch, *arguments, **named):
    """A layer here and in PyTorch, with the same weights, in float64."""
    theirs = getattr(torch.nn, kind.__name__)(*arguments, **named).double()
    ours = kind(*arguments, **named).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_layers_alike(ours, theirs, x, **named):
    import torch

    a, t = batten.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a, **named), theirs(t, **named)
    assert_close(y.detach(), z.detach())
    (y * y).sum().backward()
    (z * z).sum().backward()
    assert_close(a.grad, t.grad, rtol=1e-9, atol=1e-10)
    for name, p in theirs.named_parameters():
        assert_close(ours.get_parameter(name).grad, p.grad, rtol=1e-9, atol=1e-10)


@each_rank
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 1, 2, "same", "valid"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_modes_of_padding_are_torchs(rank, mode, padding, rng):
    torch = pytest.importorskip("torch")
    kind, image = KINDS[rank - 1], (5, 6, 4)[:rank]
    for taps in (3, (2, 3, 1)[:rank]):
        layers = pair(kind, torch, 2, 3, taps, padding=padding, padding_mode=mode, stride=1 if padding == "same" else 2)
        assert_layers_alike(*layers, rng.standard_normal((2, 2, *image)))
        assert_layers_alike(*layers, rng.standard_normal((2, *image)))


@each_rank
def test_sizes_of_results_may_be_asked_for(rank, rng):
    torch = pytest.importorskip("torch")
    layers = pair(KINDS[rank + 2], torch, 2, 3, 3, stride=3, padding=1)
    x = rng.standard_normal((2, 2, *(4, 2, 3)[:rank]))
    least = [n * 3 - 2 for n in x.shape[2:]]
    for more in (0, 1, 2):
        assert_layers_alike(*layers, x, output_size=[n + more for n in least])
    assert_layers_alike(*layers, x, output_size=[2, 3, *[n + 1 for n in least]])
    assert_layers_alike(*layers, x[0], output_size=least)
    for wrong in ([n + 3 for n in least], [n - 1 for n in least], least[1:]):
        with pytest.raises(ValueError, match=rf"ConvTranspose{rank}d expects an output_size from \["):
            layers[0](batten.tensor(x), output_size=wrong)


ARGUMENTS = [
    (3, 6, 3), (3, 6, 3, 2, 1), {"in_channels": 4, "out_channels": 4, "kernel_size": 1, "groups": 4, "bias": False},
]  # fmt: skip


@each_kind
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_layers_look_like_torchs_and_take_their_weights(kind, arguments):
    torch = pytest.importorskip("torch")
    given, named = ((), arguments) if isinstance(arguments, dict) else (arguments, {})
    ours, theirs = pair(kind, torch, *given, **named)
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({name: torch.tensor(x.numpy()) for name, x in ours.state_dict().items()})
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "output_padding",
                 "groups", "padding_mode", "transposed"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name)


def test_all_arguments_are_shown_as_in_torch():
    torch = pytest.importorskip("torch")

    def shown(lib):
        m = lib.nn
        return [repr(layer) for layer in (
            m.Conv1d(4, 4, 3, padding="same", dilation=2, groups=2, padding_mode="circular"),
            m.Conv2d(4, 4, (3, 2), (1, 2), (0, 1), (1, 3), bias=False, padding_mode="reflect"),
            m.Conv3d(4, 4, 3, padding=2, padding_mode="replicate"),
            m.ConvTranspose2d(4, 4, 3, 2, 1, 1, 2, False, 3),
            m.ConvTranspose3d(4, 4, (1, 2, 3), stride=(1, 2, 3), output_padding=(0, 1, 2)),
        )]  # fmt: skip

    assert shown(batten) == shown(torch)


def test_training_follows_pytorch(rng):
    torch = pytest.importorskip("torch")

    def net(lib):
        m = lib.nn
        return m.Sequential(
            m.Conv2d(2, 6, 3, padding=1), m.ReLU(), m.Conv2d(6, 8, 3, stride=2, groups=2), m.ReLU(),
            m.ConvTranspose2d(8, 4, 2, stride=2), m.ReLU(), m.Conv2d(4, 4, 3, padding="same", padding_mode="circular"),
            m.Flatten(), m.Linear(144, 3),
        ).double()  # fmt: skip

    ours, theirs = net(batten), net(torch)
    ours.load_state_dict(theirs.state_dict())
    x, target = rng.standard_normal((3, 10, 2, 7, 7)), rng.integers(0, 3, (3, 10))
    for lib, model in ((batten, ours), (torch, theirs)):
        sgd = lib.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for a, t in zip(x, target, strict=True):
            sgd.zero_grad()
            lib.nn.functional.cross_entropy(model(lib.tensor(a)), lib.tensor(t)).backward()
            sgd.step()
    for name, value in theirs.state_dict().items():
        assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-9, atol=1e-12)


# ---- how weights begin ----


@each_kind
def test_weights_begin_as_uniform_numbers(kind):
    batten.manual_seed(3)
    layer = kind(32, 48, 3, groups=2)
    terms = (24 if layer.transposed else 16) * 3**layer.rank
    for p in layer.parameters():
        values = abs(p.detach().numpy()) * terms**0.5
        assert 0.9 < values.max() <= 1 and abs((values**2).mean() - 1 / 3) < (0.02 if p.ndim > 1 else 0.15)
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert not (layer.weight == before).any()


@each_kind
def test_a_type_may_be_asked_for(kind):
    layer = kind(2, 2, 1, dtype=batten.float64)
    assert {p.dtype for p in layer.parameters()} == {batten.float64}


# ---- how images lie ----


def count_copies(monkeypatch):
    """The arrays that are copied from now on."""
    copied = []
    for name in ("copy", "interleave"):
        function = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda y, x, function=function: copied.append(x.shape) or function(y, x))
    return copied


@each_rank
@pytest.mark.parametrize("name", ["conv", "transposed"])
def test_layout_does_not_matter(rank, name, rng, dtype):
    function = getattr(F, (CONV if name == "conv" else TRANSPOSED)[rank])
    x = rng.standard_normal((2, 4, *(5, 4, 6)[:rank])).astype(dtype)
    w, b = rng.standard_normal((4, 4, *(2, 3, 2)[:rank])).astype(dtype), rng.standard_normal(4).astype(dtype)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    results = []
    for seen, taps, bias in (
        (np.ascontiguousarray(x), w, b), (last, w, b),
        (np.repeat(x, 2, axis=1)[:, ::2], np.asfortranarray(w), np.repeat(b, 2)[::2]), (x[::-1][::-1], w, b),
    ):  # fmt: skip
        leaves = [batten.from_numpy(a).requires_grad_() for a in (seen, taps, bias)]
        y = function(*leaves, padding=1)
        (y * y).sum().backward()
        results.append([y.detach().numpy().tobytes(), *[leaf.grad.numpy().tobytes() for leaf in leaves]])
    assert all(result == results[0] for result in results)


def test_nothing_is_copied_where_channels_are_last(rng, monkeypatch):
    x = batten.tensor(rng.standard_normal((2, 8, 8, 3))).permute(0, 3, 1, 2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ConvTranspose2d(6, 3, 2)
    ).double()  # fmt: skip
    copied = count_copies(monkeypatch)
    y = model(x)
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    y.backward(batten.ones(2, 4, 4, 3, dtype=batten.float64).permute(0, 3, 1, 2))
    assert copied == []
    model(batten.from_numpy(np.ascontiguousarray(x)))
    assert copied == [(2, 3, 8 * 8)]


def test_only_what_is_wanted_is_computed(rng, monkeypatch):
    calls = []
    for name in ("conv", "conv_backward_data", "conv_backward_weights"):
        function = getattr(kernels, name)

        def noted(*arguments, name=name, function=function):
            calls.append(name)
            return function(*arguments)

        for operation in (nn.convolution.Convolution, nn.convolution.TransposedConvolution):
            for role in ("kernel", "adjoint"):
                if getattr(operation, role) is function:
                    monkeypatch.setattr(operation, role, staticmethod(noted))
        monkeypatch.setattr(kernels, name, noted)
    x = batten.tensor(rng.standard_normal((2, 3, 5, 5)))
    for kind, forward, data in (
        (nn.Conv2d, "conv", "conv_backward_data"), (nn.ConvTranspose2d, "conv_backward_data", "conv"),
    ):  # fmt: skip
        for wants_x, wants_weight in itertools.product((False, True), repeat=2):
            layer, leaf = kind(3, 4, 3).double(), x.detach().requires_grad_(wants_x)
            layer.weight.requires_grad_(wants_weight)
            calls.clear()
            y = layer(leaf)
            assert calls == [forward]
            assert (y.grad_fn.x is None, y.grad_fn.weight is None) == (not wants_weight, not wants_x)
            y.sum().backward()
            assert calls == [forward, *[data] * wants_x, *["conv_backward_weights"] * wants_weight]
            assert layer.bias.grad.tolist() == pytest.approx([y[0, 0].numel() * 2] * 4)


def test_images_of_a_batch_do_not_meet(rng, dtype):
    layer = nn.Conv2d(3, 5, 3, padding=1).to(batten.tensor(0, dtype=dtype).dtype)
    x = batten.tensor(rng.standard_normal((6, 3, 7, 7)), dtype=dtype)
    clean = layer(x).detach().numpy()
    x[2, 1, 3, 3] = np.nan
    spoiled = layer(x).detach().numpy()
    others = np.arange(6) != 2
    np.testing.assert_array_equal(spoiled[others], clean[others])
    assert np.isnan(spoiled[2, :, 2:5, 2:5]).all()


def test_same_bits_on_any_number_of_threads(rng, dtype, isa, threads):
    x = rng.standard_normal((5, 3, 19, 17)).astype(dtype)
    model = nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), nn.ReLU(), nn.Conv2d(20, 18, 3, padding=1), nn.ReLU(),
                          nn.ConvTranspose2d(18, 2, 3, stride=2)).to(batten.tensor(0, dtype=dtype).dtype)  # fmt: skip
    outcomes = set()
    for n in (1, 2, 3, 8):
        threads(n)
        leaf = batten.tensor(x, requires_grad=True)
        model.zero_grad()
        y = model(leaf)
        (y * y).sum().backward()
        outcomes.add(
            b"".join(a.numpy().tobytes() for a in (y.detach(), leaf.grad, *[p.grad for p in model.parameters()]))
        )
    assert len(outcomes) == 1


# ---- how exact ----


def test_the_precision_is_that_of_the_process():
    assert batten.get_float32_conv_precision() == "high"
    for word in ("highest", "high"):
        batten.set_float32_conv_precision(word)
        assert batten.get_float32_conv_precision() == word
    for wrong in ("medium", "", None, 1):
        with pytest.raises(ValueError, match=f"expected 'highest' or 'high' as the precision of .*, got {wrong!r}"):
            batten.set_float32_conv_precision(wrong)
    assert batten.get_float32_conv_precision() == "high"


def test_backward_is_as_exact_as_its_forward(rng):
    for dtype, precision in itertools.product(("float32", "float64"), ("high", "highest")):
        for function in (F.conv2d, F.conv_transpose2d):
            batten.set_float32_conv_precision(precision)
            x, w = (batten.tensor(rng.standard_normal((16, 16, 3, 3)), dtype=np.dtype(dtype)) for _ in range(2))
            y = function(x.requires_grad_(), w, padding=1)
            batten.set_float32_conv_precision("high" if precision == "highest" else "highest")
            assert y.grad_fn.geometry.exact is (precision == "highest" or dtype == "float64")


def test_errors_are_bounded(rng):
    """On data far from nought, where they are largest."""
    x, dy = (30 + 0.01 * rng.standard_normal((4, 32, 14, 14)) for _ in range(2))
    w = rng.standard_normal((32, 32, 3, 3))

    def run(dtype, *arrays):
        leaf, weight, dy = (batten.tensor(a, dtype=dtype) for a in arrays)
        y = F.conv2d(leaf.requires_grad_(), weight.requires_grad_(), padding=1)
        y.backward(dy)
        return [a.numpy() for a in (y.detach(), leaf.grad, weight.grad)]

    arrays = [a.astype(np.float32) for a in (x, w, dy)]
    exact, magnitudes = run(batten.float64, *arrays), run(batten.float64, *map(abs, arrays))
    for precision in ("high", "highest"):
        batten.set_float32_conv_precision(precision)
        for got, right, magnitude in zip(run(batten.float32, *arrays), exact, magnitudes, strict=True):
            assert abs(got - right).max() <= 5e-6 * magnitude.max()


# ---- what is refused ----

X = batten.zeros(2, 3, 5, 5)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: nn.Conv2d(4, 6, 3)(X), ValueError, "Conv2d expects (N, 4, H, W) or (4, H, W), got [2, 3, 5, 5]"),
    (lambda: nn.Conv1d(3, 6, 3)(X), ValueError, "Conv1d expects (N, 3, L) or (3, L), got [2, 3, 5, 5]"),
    (lambda: nn.Conv3d(3, 6, 3)(X[0]), ValueError, "Conv3d expects (N, 3, D, H, W) or (3, D, H, W), got [3, 5, 5]"),
    (lambda: nn.ConvTranspose2d(4, 6, 3)(X), ValueError, "ConvTranspose2d expects (N, 4, H, W) or (4, H, W), got ["),
    (lambda: nn.Conv2d(3, 6, 7, padding=(0, 3))(X), ValueError,
     "Conv2d expects images of at least [7, 7], which its kernel spans, got [2, 3, 5, 5], of [5, 11] with padding"),
    (lambda: nn.Conv2d(3, 6, 3, dilation=3)(X), ValueError,
     "Conv2d expects images of at least [7, 7], which its kernel spans, got [2, 3, 5, 5], of [5, 5] with padding"),
    (lambda: nn.ConvTranspose2d(3, 6, 1, padding=3)(X), ValueError,
     "ConvTranspose2d expects images that leave something of its result, got [2, 3, 5, 5], which with a padding"),
    (lambda: nn.Conv2d(3, 6, 3)(X.double()), TypeError,
     "Conv2d expects its weight in the input's type, float64, got float32; use .to(batten.float32) on the input first"),
    (lambda: nn.Conv2d(5, 6, 3)(X), ValueError,
     "Conv2d expects (N, 5, H, W) or (5, H, W), got [2, 3, 5, 5]; use .permute(0, 3, 1, 2) first"),
    (lambda: nn.Conv2d(5, 6, 3)(X[0]), ValueError, "got [3, 5, 5]; use .permute(2, 0, 1) first"),
    (lambda: nn.Conv1d(5, 6, 3)(X[0, :, :4]), ValueError, "got [3, 4, 5]; use .permute(0, 2, 1) first"),
    (lambda: nn.Conv2d(3, 6, 3)(X.long()), TypeError, "Conv2d expects floats, got int64; use .float() first"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), batten.zeros(6).double()), TypeError,
     "Conv2d expects its bias in the input's type, float32, got float64"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3)), ValueError,
     "Conv2d expects a weight (out_channels, in_channels / groups, h, w), got [6, 3, 3]"),
    (lambda: F.conv1d(X[0], batten.zeros(6, 3, 0)), ValueError,
     "Conv1d expects a weight (out_channels, in_channels / groups, l), got [6, 3, 0]"),
    (lambda: F.conv_transpose3d(X, batten.zeros(3)), ValueError,
     "ConvTranspose3d expects a weight (in_channels, out_channels / groups, d, h, w), got [3]"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), batten.zeros(5)), ValueError, "Conv2d expects a bias [6], got [5]"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), groups=4), ValueError,
     "Conv2d expects groups that divide the 6 rows of its weight, got 4"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), groups=0), ValueError, "divide the 6 rows of its weight, got 0"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), stride=0), ValueError,
     "Conv2d expects stride as 2 numbers from 1 to 2^31 - 1, or one for all, got 0"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), padding=(1, -1)), ValueError, "padding as 2 numbers from 0 to"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), dilation=(1, 1, 1)), ValueError, "dilation as 2 numbers from"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), stride=2**64), ValueError, "stride as 2 numbers from 1 to 2^31 - 1"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), stride=1.5), TypeError, "Conv2d expects stride in whole numbers,"),
    (lambda: F.conv2d(X, batten.zeros(6, 3, 3, 3), padding="full"), ValueError,
     "Conv2d expects padding in numbers, or 'same' or 'valid', got 'full'"),
    (lambda: nn.Conv2d(3, 6, 3, 2, padding="same"), ValueError,
     "Conv2d expects a stride of 1 with padding='same', got [2, 2]"),
    (lambda: nn.ConvTranspose2d(3, 6, 3, padding="same"), TypeError, "ConvTranspose2d expects padding in whole"),
    (lambda: nn.Conv2d(3, 6, 0), ValueError, "Conv2d expects kernel_size as 2 numbers from 1 to"),
    (lambda: nn.Conv2d(3, 6, 3, groups=2), ValueError,
     "Conv2d expects groups that divide in_channels and out_channels, got 2 for 3 and 6"),
    (lambda: nn.Conv2d(3, 6, 3, groups=0), ValueError, "out_channels, got 0 for 3 and 6"),
    (lambda: nn.Conv2d(3, 6, 3, padding_mode="mirror"), ValueError,
     "Conv2d expects padding_mode as one of 'zeros', 'reflect', 'replicate', 'circular', got 'mirror'"),
    (lambda: nn.ConvTranspose2d(3, 6, 3, padding_mode="reflect"), ValueError,
     "ConvTranspose2d expects padding_mode as one of 'zeros', got 'reflect'"),
    (lambda: nn.ConvTranspose2d(3, 6, 3, 2, output_padding=2)(X), ValueError,
     "ConvTranspose2d expects an output_padding smaller than stride or dilation, got [2, 2] with [2, 2] and [1, 1]"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error) as refused:
        call()
    assert message in str(refused.value)


@each_kind
def test_layers_are_copied_and_pickled(kind, rng):
    layer = kind(2, 2, 3, padding=1)
    x = batten.rand(1, 2, *(5, 4, 6)[: layer.rank])
    expected = layer(x).tolist()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other(x).tolist() == expected and repr(other) == repr(layer)

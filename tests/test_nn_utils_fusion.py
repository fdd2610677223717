"""Batch normalization as a part of the layer before it: the same results, and nothing else changed."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import batten
from batten import nn
from batten.models import convnet, mlp, resnet20, vgg11
from batten.models.resnet import Block
from batten.nn import utils
from batten.nn.batch_norm import BatchNormInferenceRelu, BatchNormModule, ChannelAffine
from batten.nn.convolution import ConvolutionRelu
from batten.nn.linear import LinearActivated
from batten.nn.utils import fuse_bn
from parity import assert_close

EQUAL = {np.dtype("float32"): {"rtol": 1e-5, "atol": 1e-5}, np.dtype("float64"): {"rtol": 1e-12, "atol": 1e-12}}


def trained(rng, model, dtype="float32"):
    """The model in evaluation, with parameters and statistics of batch normalization as after some training."""
    for module in model.modules():
        if isinstance(module, BatchNormModule):
            drawn = {"running_mean": rng.normal(0, 0.5, module.num_features)}
            drawn |= {name: rng.uniform(0.5, 1.5, module.num_features) for name in ("running_var", "weight", "bias")}
            for name, values in drawn.items():
                if getattr(module, name) is not None:
                    getattr(module, name).data = batten.tensor(values)
    return model.eval().to(batten.tensor(0, dtype=np.dtype(dtype)).dtype)


def data(rng, *shape, dtype="float32"):
    return batten.tensor(rng.standard_normal(shape).astype(dtype))


def norms(model):
    return [module for module in model.modules() if isinstance(module, BatchNormModule)]


def lines(model):
    return [module for module in model.modules() if isinstance(module, ChannelAffine)]


def kinds(model):
    return [type(module) for module in model]


def assert_equal_results(fused, model, *inputs):
    for x in inputs:
        expected = model(x).detach().numpy()
        assert_allclose(fused(x).detach().numpy(), expected, **EQUAL[expected.dtype])


# ---- layers one behind the other ----

CONVOLUTIONS = {
    "Conv1d": [(5, 6, 3), {"padding": 1, "stride": 2}, {"groups": 1, "bias": False}],
    "Conv2d": [(5, 6, 3), {"padding": "same", "padding_mode": "reflect"}, {"bias": False, "dilation": 2}],
    "Conv3d": [(5, 6, 2), {"padding": 1}, {"bias": False}],
    "ConvTranspose1d": [(5, 6, 3), {"stride": 2}, {"bias": False}],
    "ConvTranspose2d": [(5, 6, 3), {"stride": 2, "output_padding": 1}, {"bias": False}],
    "ConvTranspose3d": [(5, 6, 2), {}, {"bias": False}],
}
GROUPED = [
    ("Conv2d", (6, 6, 3)),
    ("Conv2d", (6, 12, 3)),
    ("ConvTranspose2d", (6, 9, 3)),
    ("ConvTranspose1d", (6, 6, 2)),
]
CASES = [(name, sizes, settings) for name, (sizes, *several) in CONVOLUTIONS.items() for settings in several]
CASES += [(name, sizes, {"groups": 3, "bias": bias}) for name, sizes in GROUPED for bias in (True, False)]


def pair(name, sizes, settings):
    conv = getattr(nn, name)(*sizes, **settings)
    return conv, getattr(nn, f"BatchNorm{name[-2:]}")(conv.out_channels)


@pytest.mark.parametrize(("name", "sizes", "settings"), CASES)
def test_convolutions(rng, dtype, name, sizes, settings):
    model = trained(rng, nn.Sequential(*pair(name, sizes, settings), nn.ReLU()), dtype)
    fused = fuse_bn(model)
    assert kinds(fused)[0] is type(model[0])
    assert not norms(fused) and not lines(fused)
    assert isinstance(fused[1], nn.Identity)
    spatial = (7, 6, 5)[: int(name[-2])]
    for n in (0, 1, 3):
        assert_equal_results(fused, model, data(rng, n, sizes[0], *spatial, dtype=dtype))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"bias": False}, {"eps": 0.3}, {"momentum": None}])
def test_linear(rng, dtype, bias, settings):
    model = trained(rng, nn.Sequential(nn.Linear(5, 4, bias=bias), nn.BatchNorm1d(4, **settings), nn.ReLU()), dtype)
    fused = fuse_bn(model)
    assert not norms(fused) and not lines(fused)
    assert isinstance(fused[1], nn.Identity)
    for n in (0, 1, 7):
        assert_equal_results(fused, model, data(rng, n, 5, dtype=dtype))


def test_what_is_folded_is_worked_out_in_double_precision_and_rounded_once(rng):
    model = trained(rng, nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)))
    linear, bn = model
    slope = bn.weight.numpy().astype("f8") / np.sqrt(bn.running_var.numpy().astype("f8") + bn.eps)
    fused = fuse_bn(model)[0]
    assert (fused.weight.numpy() == (slope[:, None] * linear.weight.numpy()).astype("f4")).all()
    shift = slope * (linear.bias.numpy().astype("f8") - bn.running_mean.numpy()) + bn.bias.numpy()
    assert (fused.bias.numpy() == shift.astype("f4")).all()


@pytest.mark.parametrize("kind", ["Noisy", "Lp"])
def test_other_kinds_are_batch_norm_in_evaluation(rng, kind):
    of_images, of_rows = (getattr(nn, f"{kind}BatchNorm{n}d") for n in (2, 1))
    model = trained(rng, nn.Sequential(nn.Conv2d(2, 3, 3), of_images(3), nn.Flatten(), of_rows(27)))
    fused = fuse_bn(model)
    assert kinds(fused) == [nn.Conv2d, nn.Identity, nn.Flatten, ChannelAffine]
    assert_equal_results(fused, model, data(rng, 4, 2, 5, 5))


def test_several_in_a_row_are_all_part_of_one_layer(rng):
    model = trained(rng, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    fused = fuse_bn(model)
    assert kinds(fused) == [nn.Conv2d, nn.Identity, nn.Identity, nn.Identity]
    assert_equal_results(fused, model, data(rng, 2, 3, 5, 5))


def test_channels_of_three_axes_behind_a_linear_layer_are_not_its_features(rng):
    """(N, L, C) -> (N, L, F), of which BatchNorm1d(L) normalizes the second axis."""
    model = trained(rng, nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(6)))
    fused = fuse_bn(model)
    assert kinds(fused) == [nn.Linear, ChannelAffine]
    assert_equal_results(fused, model, data(rng, 3, 6, 5))

    square = fuse_bn(trained(rng, nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))))
    message = r"^BatchNorm1d as a part of the Linear before it expects \(N, 4\), got \[3, 4, 4\]$"
    with pytest.raises(ValueError, match=message):
        square(data(rng, 3, 4, 5))


def test_an_image_without_a_batch_is_no_batch_of_vectors(rng):
    """(C, L) -> (F, F), which BatchNorm1d takes for (N, F)."""
    fused = fuse_bn(trained(rng, nn.Sequential(nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4))))
    with pytest.raises(ValueError, match=r"Conv1d before it expects \(N, 4, L\), got \[4, 4\]"):
        fused(data(rng, 2, 4))


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Linear(4, 5), nn.BatchNorm2d(3)], (2, 3, 6, 4)),
        ([nn.Conv2d(2, 6, 3), nn.BatchNorm1d(6)], (2, 8, 5)),  # one image (C, H, W), taken for (N, C, L)
        ([nn.Conv1d(3, 4, 2), nn.Flatten(0, 1), nn.BatchNorm1d(4)], (2, 3, 5)),
        ([nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4)], (3, 5)),
        ([nn.Linear(5, 4), nn.Identity(), nn.BatchNorm1d(4)], (3, 5)),
        ([nn.Linear(5, 4), nn.Dropout(), nn.BatchNorm1d(4)], (3, 5)),
        ([nn.BatchNorm1d(5), nn.Linear(5, 4)], (3, 5)),
        ([nn.BatchNorm1d(5), nn.ReLU()], (3, 5, 2)),
    ],
    ids=str,
)
def test_where_no_layer_can_do_its_work_it_is_a_line(rng, layers, shape):
    model = trained(rng, nn.Sequential(*layers))
    fused = fuse_bn(model)
    assert not norms(fused) and len(lines(fused)) == 1
    assert_equal_results(fused, model, data(rng, *shape))


@pytest.mark.parametrize(("name", "shape"), [("1d", (4,)), ("1d", (4, 3)), ("2d", (4, 3, 5)), ("3d", (4, 2, 3, 2))])
@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"bias": False}, {"eps": 0.3}])
def test_a_line_has_the_bits_of_what_it_replaces(rng, dtype, name, shape, settings):
    layer = trained(rng, getattr(nn, f"BatchNorm{name}")(4, **settings), dtype)
    layer.running_mean.data = layer.running_mean + 1e4
    for model in (layer, nn.Sequential(layer, nn.ReLU()).eval()):
        fused = fuse_bn(model)
        assert not norms(fused)
        x = batten.tensor(1e4 + data(rng, 6, *shape, dtype=dtype).numpy())
        assert fused(x).numpy().tobytes() == model(x).numpy().tobytes()
        with pytest.raises(ValueError, match=r"\[5\]|\[4\]"):
            fused(data(rng, 6, 5, *shape[1:], dtype=dtype))


# ---- who else may see what goes between ----


def test_sequentials_within_are_part_of_the_row(rng):
    model = trained(
        rng,
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3)),
            nn.Sequential(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), nn.Conv2d(4, 5, 1)),
            nn.BatchNorm2d(5),
        ),
    )
    fused = fuse_bn(model)
    assert not norms(fused) and not lines(fused)
    assert_equal_results(fused, model, data(rng, 2, 3, 5, 5))


class Crossed(nn.Module):
    """Registered in an order that forward does not follow."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.bn1(self.conv2(self.bn2(self.conv1(x)) + self.conv2(x)))


class Backward(nn.Sequential):
    """The layers from last to first."""

    def forward(self, input):
        for module in reversed(list(self)):
            input = module(input)
        return input


class Scaled(nn.Conv2d):
    def forward(self, input):
        return 2 * super().forward(input) ** 2


def test_the_order_of_registration_proves_nothing(rng):
    for model in (Crossed(), Backward(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))):
        fused = fuse_bn(trained(rng, model))
        assert not norms(fused) and len(lines(fused)) == 2
        assert_equal_results(fused, model, data(rng, 2, 3, 4, 4))


def test_classes_of_ones_own_are_left_alone(rng):
    class Halved(nn.BatchNorm2d):
        def forward(self, input):
            return super().forward(input) / 2

    model = trained(rng, nn.Sequential(Scaled(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), Halved(3)))
    fused = fuse_bn(model)
    assert kinds(fused) == [Scaled, ChannelAffine, nn.Conv2d, Halved]
    assert_equal_results(fused, model, data(rng, 2, 3, 4, 4))


def test_forwards_of_ones_own_are_left_alone(rng):
    model = trained(rng, nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    convolve, normalize = model[0].forward, model[3].forward
    model[0].forward = lambda x: convolve(x) ** 2
    model[3].forward = lambda x: normalize(x) ** 2
    expected = model(x := data(rng, 2, 3, 4, 4)).detach().numpy()
    fused = fuse_bn(model, inplace=True)
    assert kinds(fused) == [nn.Conv2d, ChannelAffine, nn.Conv2d, nn.BatchNorm2d]
    assert_allclose(fused(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("at", ["0", "0.0", "1", ""])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_see_what_they_saw(rng, at, register):
    model = trained(rng, nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4), nn.ReLU()))
    seen = []

    def hook(module, args, output=None):
        seen.append((args[0] if output is None else output).detach().numpy())

    getattr(model.get_submodule(at), register)(hook)
    x = data(rng, 2, 3, 4, 4)
    expected = model(x).detach().numpy()
    assert fuse_bn(model, inplace=True) is model
    assert_allclose(model(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    before, after = seen
    assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert bool(norms(model)) == (at == "1")
    assert bool(lines(model)) == (at in ("0", "0.0"))


def test_layers_used_in_several_places(rng):
    linear, bn = nn.Linear(4, 4), nn.BatchNorm1d(4)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(linear, bn, nn.ReLU(), linear, nn.BatchNorm1d(4), nn.ReLU(), linear)
            self.linear, self.bn = linear, bn

        def forward(self, x):
            return self.linear(self.first(x)) + self.bn(x)

    model = trained(rng, Shared())
    fused = fuse_bn(model)
    assert not norms(fused) and len(lines(fused)) == 1
    assert fused.linear is fused.first[6] and fused.linear is not fused.first[0]
    assert_equal_results(fused, model, data(rng, 5, 4))


def test_rows_used_in_several_places(rng):
    inner, tail = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.BatchNorm1d(4))
    head = nn.Sequential(nn.Linear(4, 4))
    model = trained(
        rng, nn.Sequential(inner, nn.ReLU(), inner, nn.Linear(4, 4), tail, tail, head, head, nn.BatchNorm1d(4))
    )
    fused = fuse_bn(model)
    assert fused[0] is fused[2] and isinstance(fused[0][1], nn.Identity)
    assert kinds(fused[4]) == [ChannelAffine] and type(fused[8]) is ChannelAffine
    assert_equal_results(fused, model, data(rng, 5, 4))


def test_tied_weights_stay_with_the_others(rng):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 4))
    model[3].weight = model[0].weight
    trained(rng, model)
    fused = fuse_bn(model)
    assert (fused[3].weight.numpy() == model[3].weight.numpy()).all()
    assert_equal_results(fused, model, data(rng, 5, 4))


def test_a_row_of_a_subclass_with_another_forward_is_none(rng):
    class Other(Block):
        def forward(self, input):
            y = self.body(input)
            return self.norm(input) + y

    for kind, left in ((Block, 0), (Other, 1)):
        model = trained(rng, nn.Sequential(kind(4, 4, 1, "batch")))
        fused = fuse_bn(model)
        assert len(lines(fused)) == left and not norms(fused)
        assert_equal_results(fused, model, data(rng, 2, 4, 5, 5))


class Bypassed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

    def forward(self, input):
        return input + self.conv(self.norm(input))

    def _in_a_row(self):
        return ["norm", "conv"]


@pytest.mark.parametrize("block", [lambda: Block(4, 4, 1, "batch"), Bypassed])
def test_a_row_is_not_all_that_a_block_does(rng, block):
    """What goes in, and what comes out, has others beside it."""
    model = trained(rng, nn.Sequential(nn.Conv2d(3, 4, 1), block(), nn.BatchNorm2d(4)))
    fused = fuse_bn(model)
    assert kinds(fused)[2] is ChannelAffine and not norms(fused)
    assert_equal_results(fused, model, data(rng, 2, 3, 5, 5))


# ---- models ----


@pytest.fixture
def exactly():
    """Without Winograd's algorithm, whose roundings differ by 1e-5 where the weights do by one."""
    batten.set_float32_conv_precision("highest")
    yield
    batten.set_float32_conv_precision("high")


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (resnet20, (2, 3, 32, 32)),
        (lambda: resnet20(skip=False), (2, 3, 32, 32)),
        (lambda: resnet20(norm="group"), (2, 3, 32, 32)),
        (vgg11, (2, 3, 32, 32)),
        (convnet, (2, 1, 8, 8)),
        (lambda: mlp(64, (32, 16)), (5, 1, 8, 8)),
    ],
    ids=["resnet20", "plain20", "resnet20_gn", "vgg11", "convnet", "mlp"],
)
def test_of_models_nothing_is_left_but_their_layers(rng, exactly, model, shape):
    batten.manual_seed(0)
    model = model()
    batches = [data(rng, 8, *shape[1:]) for _ in range(2)]
    batten.optim.swa_utils.update_bn(batches, model)
    assert {norm.num_batches_tracked.item() for norm in norms(model)} <= {2}
    model.eval()
    before = {key: value.numpy().tobytes() for key, value in model.state_dict().items()}
    fused = fuse_bn(model)
    assert not norms(fused) and not lines(fused)
    assert [path for path, _ in fused.named_modules()] == [path for path, _ in model.named_modules()]
    assert_equal_results(fused, model, *batches)
    assert {key: value.numpy().tobytes() for key, value in model.state_dict().items()} == before


def test_in_place(rng):
    model = trained(rng, nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4), nn.BatchNorm1d(4)))
    twin, x = copy.deepcopy(model), data(rng, 3, 5)
    assert fuse_bn(model, inplace=True) is model
    assert not norms(model)
    assert_equal_results(model, twin, x)
    assert repr(model) == repr(fuse_bn(model)) == repr(fuse_bn(twin))


@pytest.mark.parametrize(
    ("layers", "shape", "operation"),
    [
        ([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)], (2, 3, 5, 5), ConvolutionRelu),
        ([nn.Linear(3, 4), nn.BatchNorm1d(4)], (2, 3), LinearActivated),
        ([nn.BatchNorm1d(3)], (2, 3), BatchNormInferenceRelu),
    ],
)
def test_activations_are_joined_to_what_is_left(rng, layers, shape, operation):
    model = fuse_bn(trained(rng, nn.Sequential(*layers, nn.ReLU())))
    assert isinstance(model(data(rng, *shape)).grad_fn, operation)


def test_the_fused_model_is_a_model(rng):
    norm, conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, bias=False)
    layers = norm, conv, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6)
    model = trained(rng, nn.Sequential(*layers))
    fused = fuse_bn(model)
    assert list(fused.state_dict()) == ["0.weight", "0.bias", "0.mean", "1.weight", "1.bias", "4.weight", "4.bias"]
    x = data(rng, 2, 3, 5, 5)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert repr(twin) == repr(fused)
        assert twin(x).tolist() == fused(x).tolist()
    assert not any(module.training for module in fused.modules())
    assert_equal_results(fused.train(), model, x)
    assert fused.double()(x.double()).dtype == batten.float64


def test_parameters_ask_for_gradients_as_before(rng):
    for bias, frozen in itertools.product((True, False), (True, False)):
        model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4, bias=bias), nn.BatchNorm1d(4))
        model.requires_grad_(not frozen)
        fused = fuse_bn(model.eval())
        assert [p.requires_grad for p in fused.parameters()] == [not frozen] * 3 + [bias and not frozen]
        assert all(p.grad is None for p in fused.parameters())


def test_what_normalizes_by_the_batch_stays(rng):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.GroupNorm(2, 4)).eval()
    fused = fuse_bn(model)
    assert repr(fused) == repr(model)
    assert_equal_results(fused, model, data(rng, 3, 5))


def test_steps_of_recurrent_normalization_stay(rng):
    model = nn.ModuleList([nn.Linear(5, 4), nn.RecurrentBatchNorm1d(4, 3)]).eval()
    assert repr(fuse_bn(model)) == repr(model)


def test_training_is_refused(rng):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match=r"^fuse_bn expects a model in evaluation, .* call eval\(\) first$"):
        fuse_bn(model)
    model.eval()[1].train()
    with pytest.raises(ValueError, match="got 1 in training"):
        fuse_bn(model, inplace=True)
    assert len(norms(model)) == 1


def test_what_is_not_finite_stays_in_its_channel(rng):
    model = trained(rng, nn.Sequential(nn.BatchNorm1d(3), nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)))
    model[0].running_var[1] = -1.0
    fused = fuse_bn(model)
    assert np.isnan(fused[0](data(rng, 2, 3, 2)).numpy()).any((0, 2)).tolist() == [False, True, False]
    model[2].running_var[1], model[2].running_var[2] = np.nan, 1e-300
    model[2].weight.data = model[2].weight.data * 1e38
    model[2].eps = 0.0
    fused = fuse_bn(model)
    assert np.isfinite(fused[1](data(rng, 2, 3, 2)).detach().numpy()).all((0, 2)).tolist() == [True, False, False, True]


def test_the_same_bits_on_any_number_of_threads(rng, threads):
    model = fuse_bn(trained(rng, nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32))))
    x = data(rng, 9, 3, 40, 40)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(model(x).detach().numpy().tobytes())
    assert results[1:] == results[:1] * 3


# ---- PyTorch's functions ----


def both(rng, name, dtype, *args, **kwargs):
    """A layer here and in PyTorch, with the same state."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    ours = trained(rng, getattr(nn, name)(*args, **kwargs), dtype)
    theirs = getattr(torch.nn, name)(*args, **kwargs, dtype=getattr(torch, str(np.dtype(dtype)))).eval()
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    return ours, theirs


def assert_same_parameters(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert_close(p.detach(), q.detach())
        assert p.requires_grad == q.requires_grad and isinstance(p, nn.Parameter)


@pytest.mark.parametrize(
    ("name", "sizes", "settings"), [case for case in CASES if "Transpose" not in case[0] or "groups" not in case[2]]
)
@pytest.mark.parametrize("norm", [{}, {"affine": False}, {"eps": 0.1}])
def test_convolutions_are_fused_as_in_torch(rng, dtype, name, sizes, settings, norm):
    torch = pytest.importorskip("torch")
    ours, theirs = both(rng, name, dtype, *sizes, **settings)
    bn, their_bn = both(rng, f"BatchNorm{name[-2:]}", dtype, ours.out_channels, **norm)
    transpose = "Transpose" in name
    fused = utils.fuse_conv_bn_eval(ours, bn, transpose)
    expected = torch.nn.utils.fuse_conv_bn_eval(theirs, their_bn, transpose)
    assert repr(fused) == repr(expected)
    assert fused is not ours and not fused.training
    assert_same_parameters(fused.parameters(), expected.parameters())
    given, others = (
        (conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
        for conv, bn in ((ours, bn), (theirs, their_bn))
    )
    assert_same_parameters(utils.fuse_conv_bn_weights(*given), torch.nn.utils.fuse_conv_bn_weights(*others))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("features", [4, 1])
def test_linear_layers_are_fused_as_in_torch(rng, dtype, bias, features):
    torch = pytest.importorskip("torch")
    ours, theirs = both(rng, "Linear", dtype, 3, 4, bias=bias)
    bn, their_bn = both(rng, "BatchNorm1d", dtype, features)
    if features == 1 and not bias:  # where PyTorch's bias is a single number
        theirs.bias = torch.nn.Parameter(torch.zeros(4, dtype=theirs.weight.dtype), requires_grad=False)
    fused, expected = utils.fuse_linear_bn_eval(ours, bn), torch.nn.utils.fuse_linear_bn_eval(theirs, their_bn)
    assert repr(fused).replace("True", "False") == repr(expected).replace("True", "False")
    assert_same_parameters(fused.parameters(), expected.parameters())
    given, others = (
        (linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        for linear, bn in ((ours, bn), (theirs, their_bn))
    )
    assert_same_parameters(utils.fuse_linear_bn_weights(*given), torch.nn.utils.fuse_linear_bn_weights(*others))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda conv, bn: utils.fuse_conv_bn_eval(conv.train(), bn), "evaluation, got a Conv2d in training"),
        (lambda conv, bn: utils.fuse_conv_bn_eval(conv, bn.train()), "evaluation, got a BatchNorm2d in training"),
        (lambda conv, bn: utils.fuse_conv_bn_eval(conv, bn, True), "transpose=False for a Conv2d, got True"),
        (lambda conv, bn: utils.fuse_conv_bn_eval(conv, nn.BatchNorm2d(3).eval()), r"\[4, 3, 1, 1\], got 3"),
        (
            lambda conv, bn: utils.fuse_conv_bn_eval(nn.ConvTranspose2d(4, 4, 1).eval(), bn),
            "transpose=True for a ConvTranspose2d, got False",
        ),
        (
            lambda conv, bn: utils.fuse_conv_bn_eval(nn.ConvTranspose2d(4, 3, 1).eval(), bn, True),
            r"\[4, 3, 1, 1\], got 4",
        ),
        (
            lambda conv, bn: utils.fuse_conv_bn_eval(conv, nn.BatchNorm2d(4, track_running_stats=False).eval()),
            "BatchNorm2d with running statistics",
        ),
        (lambda conv, bn: utils.fuse_linear_bn_eval(nn.Linear(3, 5).eval(), bn), r"\[5, 3\], got 4"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(4).eval())

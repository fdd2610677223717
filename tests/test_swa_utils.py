"""Averaged models beside PyTorch's and by hand; population statistics likewise, and what is put back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import batten
from batten import nn
from batten.optim import swa_utils
from batten.optim.swa_utils import AveragedModel, update_bn
from parity import assert_close

# A mean is rounded to the type once for each batch, and in the buffer.
ROUNDED = {np.dtype("float32"): {"rtol": 3e-6, "atol": 1e-6}, np.dtype("float64"): {"rtol": 1e-13, "atol": 1e-14}}
BEHIND = {"BatchNorm1d": (), "BatchNorm2d": (3, 2), "BatchNorm3d": (2, 1, 3)}
each_kind = pytest.mark.parametrize("name", BEHIND)
each_variance = pytest.mark.parametrize("variance", ["mean", "pooled"])


def batches_of(rng, dtype, sizes, *behind, apart=2.0):
    """Batches whose means differ."""
    return [(rng.standard_normal((n, *behind)) + apart * rng.standard_normal()).astype(dtype) for n in sizes]


def tensors(batches):
    return [batten.tensor(batch) for batch in batches]


def rows(x):
    """The values of each channel in double precision, one below the other."""
    return np.moveaxis(x.astype(np.float64), 1, -1).reshape(-1, x.shape[1])


def by_hand(batches, variance):
    """Mean and variance of the channels of batches, as the paper and as statistics have them."""
    parts = [rows(batch) for batch in batches]
    if variance == "pooled":
        union = np.concatenate(parts)
        return union.mean(0), union.var(0, ddof=1)
    biased = [(part.var(0), len(part)) for part in parts]
    return np.mean([part.mean(0) for part in parts], 0), np.mean([m / (m - 1) * var for var, m in biased], 0)


def statistics(layer):
    return layer.running_mean.numpy(), layer.running_var.numpy()


def state(model):
    """All that update_bn might leave different."""
    modules = [(m.training, getattr(m, "momentum", None), bool(m._forward_hooks and m._forward_hooks.after))
               for m in model.modules()]  # fmt: skip
    return {key: value.numpy().tobytes() for key, value in model.state_dict().items()}, modules


def network(dtype="float32"):
    batten.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 7),
        nn.BatchNorm1d(7, momentum=0.3), nn.Sigmoid(), nn.Linear(7, 4), nn.BatchNorm1d(4, affine=False, momentum=None),
    ).to(batten.tensor(0, dtype=np.dtype(dtype)).dtype)  # fmt: skip


@each_kind
@each_variance
@pytest.mark.parametrize("sizes", [(8, 8, 8), (9, 2, 40), (5,)])
def test_they_are_their_definitions(rng, dtype, name, variance, sizes):
    batches = batches_of(rng, dtype, sizes, 4, *BEHIND[name])
    layer = getattr(nn, name)(4, dtype=dtype)
    layer(batten.tensor(batches[0]))  # leaves something to be forgotten
    update_bn(tensors(batches), layer, variance=variance)
    for ours, expected in zip(statistics(layer), by_hand(batches, variance), strict=True):
        assert ours.dtype == dtype
        assert_allclose(ours, expected, **ROUNDED[dtype])
    assert layer.num_batches_tracked.item() == len(sizes)


def test_the_two_variances_differ_by_how_far_the_means_lie_apart(rng):
    """Batches of one kind each, as of examples sorted by class."""
    batches = [np.full((4, 1), k) + rng.standard_normal((4, 1)) for k in (0.0, 100.0, 200.0)]
    layer = nn.BatchNorm1d(1, dtype="float64")
    update_bn(tensors(batches), layer)
    assert layer.running_var.item() < 5
    update_bn(tensors(batches), layer, variance="pooled")
    assert layer.running_var.item() > 7000


def test_means_far_from_nought_cost_no_digits_of_the_pooled_variance(rng):
    batches = [1e6 + 0.1 * rng.standard_normal((n, 3)) for n in (20, 33, 7)]
    layer = nn.BatchNorm1d(3, dtype="float64")
    update_bn(tensors(batches), layer, variance="pooled")
    centered = np.concatenate(batches) - 1e6
    assert_allclose(layer.running_var.numpy(), centered.var(0, ddof=1), rtol=1e-8)


def test_layers_behind_others_have_the_statistics_of_what_they_are_given(rng, dtype):
    model = network(dtype)
    batches = tensors(batches_of(rng, dtype, (6, 6, 3), 3, 4, 4))
    expected = {}
    for variance in ("mean", "pooled"):
        seen = {layer: [] for layer in model if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)}
        handles = [layer.register_forward_hook(lambda m, args, y, at=seen[layer]: at.append(args[0].numpy()))
                   for layer in seen]  # fmt: skip
        with batten.no_grad():
            for batch in batches:
                model(batch)
        for handle in handles:
            handle.remove()
        expected[variance] = {layer: by_hand(inputs, variance) for layer, inputs in seen.items()}
    for variance, layers in expected.items():
        update_bn(batches, model.eval(), variance=variance)
        for layer, hand in layers.items():
            for ours, other in zip(statistics(layer), hand, strict=True):
                assert_allclose(ours, other, **ROUNDED[dtype])
            assert layer.num_batches_tracked.item() == 3


def test_pooled_statistics_make_the_first_layer_what_one_batch_of_all_examples_does(rng):
    batches = batches_of(rng, "float64", (6, 3, 11), 3)
    layer, other = nn.BatchNorm1d(3, dtype="float64"), nn.BatchNorm1d(3, dtype="float64", momentum=1.0)
    update_bn(tensors(batches), layer, variance="pooled")
    other(batten.tensor(np.concatenate(batches)))
    for ours, theirs in zip(statistics(layer), statistics(other), strict=True):
        assert_allclose(ours, theirs, rtol=1e-13)


def test_by_default_they_are_torchs(rng, dtype):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    model = network(dtype)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.BatchNorm2d(5), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(80, 7), torch.nn.BatchNorm1d(7, momentum=0.3), torch.nn.Sigmoid(), torch.nn.Linear(7, 4),
        torch.nn.BatchNorm1d(4, affine=False, momentum=None),
    ).to(getattr(torch, str(dtype)))  # fmt: skip
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()})
    batches = batches_of(rng, dtype, (6, 6, 3, 12), 3, 4, 4)
    update_bn([(x, "label") for x in tensors(batches)], model.eval(), "cpu")
    torch.optim.swa_utils.update_bn([(torch.tensor(x), "label") for x in batches], theirs.eval(), "cpu")
    for key, value in model.state_dict().items():
        assert_close(value, theirs.state_dict()[key], **({"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {}))


@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: [x, 1], lambda x: (x, 1), lambda x: (x,)])
def test_batches_are_tensors_or_begin_with_one(rng, wrapped):
    batches = tensors(batches_of(rng, "float32", (4, 4), 2))
    layer, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    update_bn(iter([wrapped(x) for x in batches]), layer)
    update_bn(batches, other)
    assert state(layer) == state(other)


@each_variance
def test_a_layer_called_several_times_counts_every_call(rng, variance):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3, dtype="float64")

        def forward(self, x):
            return self.norm(x) + self.norm(10 * x[:2] + 1).sum()

    batches = batches_of(rng, "float64", (4, 7), 3)
    model = Twice()
    update_bn(tensors(batches), model, variance=variance)
    calls = [call for x in batches for call in (x, 10 * x[:2] + 1)]
    for ours, expected in zip(statistics(model.norm), by_hand(calls, variance), strict=True):
        assert_allclose(ours, expected, rtol=1e-13)
    assert model.norm.num_batches_tracked.item() == 4


@each_variance
def test_statistics_of_steps_are_those_of_the_calls_that_reach_them(rng, variance):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.RecurrentBatchNorm1d(3, 5, dtype="float64")

        def forward(self, sequence):
            for t in range(sequence.shape[1]):
                self.norm(sequence[:, t], t)

    model = Recurrent()
    model.norm.running_mean[4], model.norm.num_batches_tracked[4] = 7.0, 9
    batches = [rng.standard_normal((6, 4, 3)), 3 + rng.standard_normal((9, 2, 3))]
    update_bn(tensors(batches), model, variance=variance)
    for t, reaching in enumerate([batches, batches, batches[:1], batches[:1]]):
        for ours, expected in zip(statistics(model.norm), by_hand([x[:, t] for x in reaching], variance), strict=True):
            assert_allclose(ours[t], expected, rtol=1e-13)
    mean, var = statistics(model.norm)
    assert (mean[4] == 7).all() and (var[4] == 1).all()
    assert model.norm.num_batches_tracked.tolist() == [2, 2, 1, 1, 9]


def test_modes_momenta_and_hooks_are_as_before(rng):
    model = network()
    model.eval()
    model[1].train()
    model[3].train()
    seen = []
    model[1].register_forward_hook(lambda module, args, output: seen.append(output))
    before = state(model)[1]
    update_bn(tensors(batches_of(rng, "float32", (4, 4), 3, 4, 4)), model)
    assert state(model)[1] == before
    assert len(seen) == 2 and not seen[0].requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_everything_is_in_training_mode_meanwhile(rng):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2)).eval()
    before = batten.get_rng_state().tolist()
    update_bn([batten.ones(1000, 2)], model)
    assert batten.get_rng_state().tolist() == before
    assert 0.9 < model[1].running_var.numpy().min() < 1.1  # of noughts and twos


def failing_loader(batches):
    yield batches[0]
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("loader", "error", "message"),
    [
        (lambda batches: [], ValueError, r"^update_bn expects batches, got none"),
        (failing_loader, KeyboardInterrupt, "^$"),
        (lambda batches: [batches[0], batten.ones(4, 2, 4, 4)], ValueError, "Conv2d expects"),
        (lambda batches: 5, TypeError, "not iterable"),
    ],
    ids=["empty", "raises", "shape", "none"],
)
def test_nothing_is_lost_when_something_is_raised(rng, loader, error, message):
    model = network()
    batches = tensors(batches_of(rng, "float32", (4, 4), 3, 4, 4))
    model(batches[1])
    model.eval()
    model[5].train()
    before = state(model)
    with pytest.raises(error, match=message):
        update_bn(loader(batches), model)
    assert state(model) == before


def test_a_last_batch_of_one_is_said_to_be_the_reason(rng):
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="drop_last=True"):
        update_bn(tensors(batches_of(rng, "float32", (4, 1), 3)), layer)
    assert layer.running_mean.tolist() == [0, 0, 0]


def test_an_empty_batch_adds_nothing(rng):
    batches = batches_of(rng, "float64", (4, 0, 6), 3)
    for variance in ("mean", "pooled"):
        layer, other = nn.BatchNorm1d(3, dtype="float64"), nn.BatchNorm1d(3, dtype="float64")
        update_bn(tensors(batches), layer, variance=variance)
        update_bn(tensors([batches[0], batches[2]]), other, variance=variance)
        assert [a.tolist() for a in statistics(layer)] == [a.tolist() for a in statistics(other)]


@each_variance
def test_what_is_not_finite_stays_in_its_channel(rng, variance):
    batches = batches_of(rng, "float32", (5, 5, 5), 3)
    batches[1][2, 1] = np.nan
    layer, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    update_bn(tensors(batches), layer, variance=variance)
    batches[1][2, 1] = 0
    update_bn(tensors(batches), other, variance=variance)
    for ours, finite in zip(statistics(layer), statistics(other), strict=True):
        assert np.isnan(ours).tolist() == [False, True, False]
        assert (ours[[0, 2]] == finite[[0, 2]]).all()


@pytest.mark.parametrize(
    "model", [nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Sequential(nn.LayerNorm(3))], ids=repr
)
def test_without_statistics_to_keep_the_loader_is_not_asked(model):
    update_bn(failing_loader([]), model)


def test_a_layer_that_nothing_reaches_keeps_its_statistics(rng):
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

        def forward(self, x):
            return self.used(x)

    model = Partly()
    x = batten.tensor(batches_of(rng, "float32", (5,), 2)[0])
    model.unused(x)
    before = state(model.unused)
    update_bn([x], model)
    assert state(model.unused) == before
    assert model.used.num_batches_tracked.item() == 1


def test_another_variance_is_refused():
    with pytest.raises(ValueError, match="variance as 'mean' or 'pooled', got 'biased'"):
        update_bn([], nn.BatchNorm1d(2), variance="biased")
    with pytest.raises(TypeError, match="positional"):
        update_bn([], nn.BatchNorm1d(2), None, "pooled")


@each_variance
def test_the_same_bits_on_any_number_of_threads(rng, threads, variance):
    batches = tensors(batches_of(rng, "float32", (64, 33), 3, 4, 4))
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        model = network()
        update_bn(batches, model, variance=variance)
        results.append(state(model))
    assert results[1:] == results[:1] * 3


# ---- averaged models ----

AVERAGES = {
    "default": lambda utils: {},
    "swa": lambda utils: {"avg_fn": utils.get_swa_avg_fn()},
    "swa multi": lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    "ema": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.9)},
    "ema multi": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
    "ema multi of a small decay": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.2)},
    "one of one's own": lambda utils: {"avg_fn": lambda average, x, n: average * n / 10 + x},
}


def small_network(lib, dtype):
    return lib.nn.Sequential(
        lib.nn.Conv2d(2, 3, (3, 2)), lib.nn.BatchNorm2d(3), lib.nn.Flatten(), lib.nn.Linear(12, 2, bias=False)
    ).to(getattr(lib, str(dtype)))


def moved(model, rng, count):
    """The same model, some steps on."""
    state = {key: rng.standard_normal(tuple(x.shape)) for key, x in model.state_dict().items() if "num" not in key}
    model.load_state_dict({**state, "1.num_batches_tracked": np.array(10 * count + 3)})


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averaged_models_are_torchs(dtype, name, use_buffers):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    model, theirs = small_network(batten, dtype), small_network(torch, dtype)
    averaged = AveragedModel(model, use_buffers=use_buffers, **AVERAGES[name](swa_utils))
    # PyTorch's SWA of lists rounds 1 / (n + 1) to float32, and knows no integers: that of single tensors is right.
    like = "swa" if name == "swa multi" else name
    other = torch.optim.swa_utils.AveragedModel(
        theirs, use_buffers=use_buffers, **AVERAGES[like](torch.optim.swa_utils)
    )
    rng = np.random.default_rng(5)
    x = rng.standard_normal((4, 2, 4, 3)).astype(dtype)
    for count in range(5):
        moved(model, rng, count)
        theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()})
        averaged.update_parameters(model)
        other.update_parameters(theirs)
        ours = averaged.state_dict()
        assert list(ours) == list(other.state_dict())
        for key, value in other.state_dict().items():
            assert_close(ours[key], value)
        assert_close(averaged.eval()(batten.tensor(x)).detach(), other.eval()(torch.tensor(x)).detach())
    assert averaged.n_averaged.item() == 5
    if not use_buffers:
        assert averaged.module[1].num_batches_tracked.item() == 43


@pytest.mark.parametrize("name", ["default", "ema multi"])
def test_checkpoints_go_both_ways(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    model, theirs = small_network(batten, "float32"), small_network(torch, "float32")
    averaged = AveragedModel(model, **AVERAGES[name](swa_utils))
    other = torch.optim.swa_utils.AveragedModel(theirs, **AVERAGES[name](torch.optim.swa_utils))
    for count in range(3):
        moved(model, rng, count)
        averaged.update_parameters(model)
    other.load_state_dict({key: torch.tensor(value.numpy()) for key, value in averaged.state_dict().items()})
    again = AveragedModel(model, **AVERAGES[name](swa_utils))
    again.load_state_dict(other.state_dict())
    moved(model, rng, 3)
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()})
    for each, of in ((averaged, model), (again, model), (other, theirs)):
        each.update_parameters(of)
    for key, value in averaged.state_dict().items():
        assert value.numpy().tobytes() == again.state_dict()[key].numpy().tobytes()
        assert_close(value, other.state_dict()[key])


def test_the_mean_of_all_by_hand(dtype):
    model = small_network(batten, dtype)
    averaged = AveragedModel(model)
    before = {key: value.numpy().copy() for key, value in averaged.module.state_dict().items()}
    rng, seen = np.random.default_rng(5), []
    for count in range(7):
        moved(model, rng, count)
        seen.append({key: value.numpy().copy() for key, value in model.state_dict().items()})
        averaged.update_parameters(model)
    for key, parameter in averaged.module.named_parameters():
        assert_allclose(parameter.detach().numpy(), np.mean([state[key] for state in seen], 0), **ROUNDED[dtype])
        assert not np.array_equal(before[key], parameter.detach().numpy())
        assert not np.shares_memory(parameter.detach().numpy(), model.get_parameter(key).detach().numpy())


def test_an_averaged_model_trains_on_copies(rng):
    """Gradients do not go from one to the other, frozen parameters stay so, and what is on a tape is told."""
    model = small_network(batten, "float32")
    model[0].weight.requires_grad_(False)
    model(batten.ones(4, 2, 4, 3)).sum().backward()
    averaged = AveragedModel(model)
    assert [p.requires_grad for p in averaged.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in averaged.parameters())
    for count in range(2):
        moved(model, rng, count)
        y = (averaged.module[3].weight ** 2).sum()
        averaged.update_parameters(model)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()
    assert model[3].weight.grad is not None


def test_population_statistics_of_averaged_weights(rng):
    model = small_network(batten, "float64")
    averaged = AveragedModel(model)
    for count in range(3):
        moved(model, rng, count)
        averaged.update_parameters(model)
    loader = tensors(batches_of(rng, "float64", (5, 5), 2, 4, 3))
    update_bn(loader, averaged)
    expected = by_hand([averaged.module[0](x).detach().numpy() for x in loader], "mean")
    for ours, hand in zip(statistics(averaged.module[1]), expected, strict=True):
        assert_allclose(ours, hand, rtol=1e-12)


def test_an_average_in_another_type_and_layout(rng):
    """Averages in double of a model in single precision; of weights that lie otherwise, with gaps, and shared ones."""
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-15)):
        model = nn.ModuleList([nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False)])
        model[1].weight = model[0].weight
        averaged = AveragedModel(model)
        assert averaged.to(getattr(batten, dtype)) is averaged and averaged.n_averaged.dtype == np.int64
        averaged.module[0].weight.data = batten.empty(4, 12, dtype=dtype).T[::2]
        seen = []
        for _ in range(3):
            seen.append(rng.standard_normal((6, 4)).astype(np.float32))
            model[0].weight.data = batten.tensor(np.asfortranarray(seen[-1]))
            averaged.update_parameters(model)
        assert_allclose(averaged.module[1].weight.detach().numpy(), np.mean(np.float64(seen), 0), atol=tolerance)


def test_the_same_average_on_any_number_of_threads_and_by_itself(rng, dtype, isa, threads):
    sizes = [(), (0,), (63,), (64, 65), (4097,), (211, 503)]
    start, xs = ([np.asarray(rng.standard_normal(s), dtype) for s in sizes] for _ in range(2))
    found = set()
    for n in (1, 2, 3, 8):
        threads(n)
        averages = [batten.tensor(a) for a in start]
        swa_utils.get_ema_multi_avg_fn(0.9)(averages, [batten.tensor(x) for x in xs], 1)
        found.add(b"".join(a.numpy().tobytes() for a in averages))
    for a, x in zip(alone := [batten.tensor(a) for a in start], xs, strict=True):
        swa_utils.get_ema_multi_avg_fn(0.9)([a], [batten.tensor(x)], 1)
    assert found == {b"".join(a.numpy().tobytes() for a in alone)}


def test_ends_of_the_average(rng):
    a, x = (batten.tensor(rng.standard_normal(100)) for _ in range(2))
    for decay, expected in ((0, x), (1, a)):
        average = a.clone()
        swa_utils.get_ema_multi_avg_fn(decay)([average], [x], 1)
        assert average.tolist() == expected.tolist()
    swa_utils.get_swa_multi_avg_fn()([], [], 1)


def test_averaged_models_are_copied_and_pickled(rng):
    model = small_network(batten, "float32")
    averaged = AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(model)
    others = [copy.deepcopy(averaged), pickle.loads(pickle.dumps(averaged))]
    moved(model, rng, 1)
    for each in (averaged, *others):
        each.update_parameters(model)
    assert [state(other) for other in others] == [state(averaged)] * 2


def test_what_averaged_models_refuse(lib):
    utils = lib.optim.swa_utils
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        utils.AveragedModel(
            lib.nn.Linear(2, 2), avg_fn=utils.get_swa_avg_fn(), multi_avg_fn=utils.get_swa_multi_avg_fn()
        )
    for make in (utils.get_ema_avg_fn, utils.get_ema_multi_avg_fn):
        for decay in (-0.1, 1.1):
            with pytest.raises(ValueError, match=f"Invalid decay value {decay} provided"):
                make(decay)


def test_a_model_of_another_kind_is_refused():
    averaged = AveragedModel(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="AveragedModel has 2 tensors to average, got a model with 1"):
        averaged.update_parameters(nn.Linear(2, 3, bias=False))
    with pytest.raises(ValueError, match=r"has weight of shape \[3, 2\], got weight of \[3, 4\]"):
        averaged.update_parameters(nn.Linear(4, 3))
    assert averaged.n_averaged.item() == 0
    assert repr(averaged) == "AveragedModel(\n  (module): Linear(in_features=2, out_features=3, bias=True)\n)"

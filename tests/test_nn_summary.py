"""Summaries: what they say, and that the model they are of is as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import batten
from batten import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return nn.functional.relu(self.conv(x) + x)


def model():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), Residual(), nn.ConvTranspose2d(4, 2, 2, stride=2),
        nn.Dropout(0.5), nn.Flatten(), nn.Linear(2 * 8 * 6, 5),
    )  # fmt: skip


def test_rows_are_in_the_order_of_the_turns():
    summary = model().summary((7, 3, 9, 7))
    assert [(layer.name, layer.depth, layer.shapes) for layer in summary.layers] == [
        ("Sequential", 0, [(7, 5)]),
        ("(0) Conv2d", 1, [(7, 4, 4, 3)]),
        ("(1) BatchNorm2d", 1, [(7, 4, 4, 3)]),
        ("(2) ReLU", 1, [(7, 4, 4, 3)]),
        ("(3) Residual", 1, [(7, 4, 4, 3)]),
        ("(conv) Conv2d", 2, [(7, 4, 4, 3)]),
        ("(4) ConvTranspose2d", 1, [(7, 2, 8, 6)]),
        ("(5) Dropout", 1, [(7, 2, 8, 6)]),
        ("(6) Flatten", 1, [(7, 96)]),
        ("(7) Linear", 1, [(7, 5)]),
    ]


def test_counts():
    """Multiply-adds: one for each weight and each place where it is used; Dropout makes nothing new."""
    net = model()
    summary = nn.summary(net, (7, 3, 9, 7))
    pixels = 7 * 4 * 3
    assert [layer.parameters for layer in summary.layers] == [0, 112, 8, 0, 0, 76, 34, 0, 0, 485]
    assert [layer.multiply_adds for layer in summary.layers] == [
        *[0, pixels * 4 * 27, 0, 0, 0, pixels * 4 * 18, pixels * 4 * 2 * 4, 0, 0, 7 * 96 * 5]
    ]
    assert [layer.bytes // 4 for layer in summary.layers] == [
        *[0, pixels * 4, pixels * 4, pixels * 4, 0, pixels * 4, 7 * 96, 0, 7 * 96, 35]
    ]
    assert summary.parameters == sum(p.numel() for p in net.parameters()) == 112 + 8 + 76 + 6 + 34 + 485
    assert summary.multiply_adds == sum(layer.multiply_adds for layer in summary.layers)
    assert summary.bytes == sum(layer.bytes for layer in summary.layers)
    assert summary.parameter_bytes == 4 * (summary.parameters + 8) + 8  # running statistics, and a number of batches


def test_bilinear_layers_multiply_twice():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(3, 3, 5)

        def forward(self, x):
            return self.layer(x, x)

    assert Squared().summary((2, 3)).multiply_adds == 2 * 5 * 3 * (3 + 1)


def test_parameters_that_are_shared_count_once():
    layer = nn.Linear(4, 4)
    summary = nn.Sequential(layer, nn.ReLU(), layer).summary((2, 4))
    assert [row.parameters for row in summary.layers] == [0, 20, 0, 0] and summary.parameters == 20
    assert [row.multiply_adds for row in summary.layers] == [0, 32, 0, 32]


def test_the_input_is_of_the_parameters_type_unless_told_otherwise():
    seen = []
    net = nn.Sequential(nn.Linear(3, 2)).double()
    net.register_forward_hook(lambda module, args, output: seen.append(args[0].dtype))
    assert net.summary((1, 3)).bytes == 16
    words = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    assert words.summary((4, 6), dtype=batten.int64).layers[1].shapes == [(4, 6, 3)]
    assert nn.ReLU().summary((2, 2)).bytes == 16
    assert seen == [batten.float64]


def test_results_may_be_several():
    class Both(nn.Module):
        def forward(self, x):
            return x + 1, {"twice": [x + x, "a word"]}

    (row,) = Both().summary((2, 3)).layers
    assert row.shapes == [(2, 3), (2, 3)] and row.bytes == 48
    assert "(2, 3) (2, 3)" in repr(Both().summary((2, 3)))


class Restless(nn.Module):
    """Changes all that it can, and may fail."""

    def __init__(self, fails):
        super().__init__()
        self.register_buffer("calls", batten.zeros(1))
        self.register_buffer("last", batten.zeros(2))
        self.fails = fails

    def forward(self, x):
        self.calls += 1
        self.last = batten.rand(3)
        self.train()
        if self.fails:
            raise KeyError("no")
        return x


def state(net):
    """All that a summary might change."""
    modules = list(net.modules())
    return (
        [m.training for m in modules],
        [(name, np.array(x).tobytes(), id(x)) for name, x in net.state_dict(keep_vars=True).items()],
        [m._forward_hooks and (len(m._forward_hooks.before), len(m._forward_hooks.after)) for m in modules],
        [p.grad is None for p in net.parameters()],
        batten.get_rng_state().tolist(),
        batten.is_grad_enabled(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(fails):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), Restless(fails), nn.ReLU())
    net[1].eval()
    calls = []
    net[0].register_forward_hook(lambda module, args, output: calls.append("after"))
    net[4].register_forward_pre_hook(lambda module, args: calls.append("before"))
    before = state(net)
    if fails:
        with pytest.raises(KeyError, match="no"):
            net.summary((4, 3))
    else:
        net.summary((4, 3))
    assert state(net) == before
    assert calls == ["after"] if fails else calls == ["after", "before"]


def test_what_comes_out_of_training_is_the_same_with_a_summary_in_between(rng):
    x = batten.tensor(rng.standard_normal((6, 3, 9, 7)))
    net = model().double()
    outcomes = []
    for summarized in (False, True):
        batten.manual_seed(3)
        copied = copy.deepcopy(net)
        if summarized:
            copied.summary((2, 3, 9, 7))
        outcomes.append([copied(x).tolist(), *[b.tolist() for b in copied.buffers()]])
    assert outcomes[0] == outcomes[1]


def test_errors_are_the_models_own():
    with pytest.raises(ValueError, match=r"Conv2d expects \(N, 3, H, W\) or .*, got \[1, 4, 9, 7\]"):
        model().summary((1, 4, 9, 7))

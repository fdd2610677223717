"""Initialisation: distributions by their moments, constants, and what is refused."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

import batten
from batten.nn import init

N = 20_000

# Name of a gain, its parameter, and the value in PyTorch's table.
GAINS = [
    ("linear", None, 1),
    ("conv2d", None, 1),
    ("conv_transpose3d", None, 1),
    ("sigmoid", None, 1),
    ("tanh", None, 5 / 3),
    ("relu", None, math.sqrt(2)),
    ("leaky_relu", None, math.sqrt(2 / 1.0001)),
    ("leaky_relu", 2, math.sqrt(2 / 5)),
    ("selu", None, 3 / 4),
]

# A call for weights (100, 50, 4) (fan in 200, fan out 400), and the variance it stands for; `uniform` ends at √3 std.
VARIANCES = [
    (lambda w: init.xavier_uniform_(w), 2 / 600, True),
    (lambda w: init.xavier_uniform_(w, gain=3), 9 * 2 / 600, True),
    (lambda w: init.xavier_normal_(w, 0.5), 0.25 * 2 / 600, False),
    (lambda w: init.kaiming_uniform_(w), 2 / 200, True),
    (lambda w: init.kaiming_uniform_(w, a=5**0.5), 1 / 3 / 200, True),
    (lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), 2 / 400, True),
    (lambda w: init.kaiming_normal_(w), 2 / 200, False),
    (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh"), 25 / 9 / 400, False),
    (lambda w: init.normal_(w, std=0.1), 0.01, False),
    (lambda w: init.uniform_(w, -1, 1), 1 / 3, True),
]


def assert_distributed(x, cdf):
    """How far the share of numbers below any of 200 of them is from what it should be (Kolmogorov & Smirnov)."""
    x = np.sort(x, axis=None).astype(np.float64)
    at = np.linspace(0, x.size - 1, 200).astype(int)
    shares = (at + 0.5) / x.size
    assert abs(shares - cdf(x[at])).max() < 2 / math.sqrt(x.size)  # one seed in 1500 is further off


def normal_cdf(std):
    return lambda x: np.array([math.erfc(-value / (std * math.sqrt(2))) / 2 for value in x])


def uniform_cdf(bound):
    return lambda x: (x / bound + 1) / 2


def fresh(*shape, dtype=None):
    batten.manual_seed(3)
    return batten.full(shape, math.nan, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize(("name", "param", "gain"), GAINS)
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-15)


def test_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for name in [*init.GAINS, "leaky_relu"]:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(("fill", "variance", "uniform"), VARIANCES)
def test_distributions(dtype, fill, variance, uniform):
    w = fresh(100, 50, 4, dtype=dtype)
    assert fill(w) is w
    assert w.requires_grad
    assert w.is_leaf
    x = w.numpy()
    assert x.dtype == dtype
    kurtosis = 9 / 5 if uniform else 3
    # Four standard errors each; the last is that of a normal distribution, the larger one.
    assert abs(x.mean()) < 4 * math.sqrt(variance / N)
    assert abs(x.var() / variance - 1) < 4 * math.sqrt((kurtosis - 1) / N)
    assert abs((x**4).mean() / variance**2 - kurtosis) < 4 * math.sqrt(96 / N)
    std = math.sqrt(variance)
    assert_distributed(x, uniform_cdf(math.sqrt(3) * std) if uniform else normal_cdf(std))
    if uniform:
        assert math.sqrt(3 * variance) * (1 - 1e-3) < abs(x).max() <= math.sqrt(3 * variance) * (1 + 1e-6)


@pytest.mark.parametrize(("mean", "std", "a", "b"), [(0, 1, -2, 2), (1, 2, 0, 1.5), (0, 0.02, -2, 2), (3, 1, 3, 9)])
def test_truncated_normal_by_its_moments(dtype, mean, std, a, b):
    x = init.trunc_normal_(fresh(N, dtype=dtype), mean, std, a, b).numpy().astype(np.float64)
    assert a <= x.min()
    assert x.max() <= b
    grid = np.linspace(max(a, mean - 9 * std), min(b, mean + 9 * std), 100_001)
    density = np.exp(-0.5 * ((grid - mean) / std) ** 2)
    density /= density.sum()
    expected_mean = (density * grid).sum()
    expected_var = (density * (grid - expected_mean) ** 2).sum()
    assert abs(x.mean() - expected_mean) < 4 * math.sqrt(expected_var / N)
    assert abs(x.var() / expected_var - 1) < 4 * math.sqrt(2 / N)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 2, 0, 1.5), (0, 1, -math.inf, 0.5), (0, 1, 1, math.inf), (5, 2, -9, -3), (0, 1e-3, 0.03, 2)],
)
def test_truncated_normal_by_its_distribution(mean, std, a, b):
    """In the tails, too, where the numbers that are drawn there are hardly ever kept, and both bounds have one cdf."""
    x = init.trunc_normal_(fresh(5 * N, dtype="float64"), mean, std, a, b).numpy()
    assert a <= x.min() and x.max() <= b

    def upper(z):
        return np.array([math.erfc(value / math.sqrt(2)) for value in z])

    side = 1 if a + b > 2 * mean else -1  # so that erfc is small, and precise
    low, high = sorted(side * (bound - mean) / std for bound in (a, b))
    ends = upper([low, high])
    assert_distributed(side * (x - mean) / std, lambda z: (ends[0] - upper(z)) / (ends[0] - ends[1]))


def test_truncation_far_from_the_mean(dtype):
    """Where a double has no number between the bounds that is likely, all are at the nearer one."""
    assert (init.trunc_normal_(fresh(100, dtype=dtype), 0, 1, 1e30, math.inf).numpy() == np.array(1e30, dtype)).all()
    assert (init.trunc_normal_(fresh(100, dtype=dtype), 0, 1e-300, -1e30, -1).numpy() == -1).all()
    assert (init.trunc_normal_(fresh(100, dtype=dtype), 1, 2, 0.5, 0.5).numpy() == 0.5).all()


def test_constants(dtype):
    assert init.constant_(fresh(2, 3, dtype=dtype), 0.25).tolist() == [[0.25] * 3] * 2
    assert init.ones_(fresh(2, dtype=dtype)).tolist() == [1, 1]
    assert init.zeros_(fresh(2, dtype=dtype)).tolist() == [0, 0]
    for shape in [(3, 3), (2, 4), (4, 2), (0, 2)]:
        assert (init.eye_(fresh(*shape, dtype=dtype)).numpy() == np.eye(*shape)).all()


DRAWS = {
    "uniform": lambda w, g=None: init.uniform_(w, generator=g),
    "normal": lambda w, g=None: init.normal_(w, generator=g),
    "trunc_normal": lambda w, g=None: init.trunc_normal_(w, generator=g),
    "trunc_normal tail": lambda w, g=None: init.trunc_normal_(w, a=1.5, generator=g),
    "xavier_uniform": lambda w, g=None: init.xavier_uniform_(w, generator=g),
    "xavier_normal": lambda w, g=None: init.xavier_normal_(w, generator=g),
    "kaiming_uniform": lambda w, g=None: init.kaiming_uniform_(w, generator=g),
    "kaiming_normal": lambda w, g=None: init.kaiming_normal_(w, generator=g),
    "sparse": lambda w, g=None: init.sparse_(w, 0.3, generator=g),
    "orthogonal": lambda w, g=None: init.orthogonal_(w, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_come_from_the_generator_that_is_named(name):
    call = DRAWS[name]
    before = batten.get_rng_state()
    first, second, other = [
        call(batten.empty(3, 4), batten.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)
    ]
    assert first == second != other
    assert batten.get_rng_state().tolist() == before.tolist()
    batten.manual_seed(1)
    assert call(batten.empty(3, 4)).tolist() == first


# The first bytes of the SHA-256 of 70 x 300 numbers, float32 then float64, from seed 3: the same on any machine.
DIGESTS = {
    "uniform": "05ed6ab955be8d18",
    "normal": "9e8a7fe9cc993cb7",
    "trunc_normal": "32cd322a61343991",
    "trunc_normal tail": "3582e7c45bea9ed4",
    "xavier_uniform": "f8510ca2eee6386c",
    "xavier_normal": "b38c4a6f502fce97",
    "kaiming_uniform": "5184e0eb574a4b62",
    "kaiming_normal": "2f22db5964615cbc",
    "sparse": "eef6dea193f0aa43",
}


@pytest.mark.parametrize("name", [name for name in DRAWS if name != "orthogonal"])
def test_the_same_numbers_on_any_machine_and_number_of_threads(name, isa, threads):
    for n in (1, 2, 3, 8):
        threads(n)
        drawn = [DRAWS[name](fresh(70, 300, dtype=dtype)).numpy().tobytes() for dtype in ("float32", "float64")]
        assert hashlib.sha256(b"".join(drawn)).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers_in_any_layout(name, dtype):
    """By their indices: in a view with gaps, whose gaps stay, and in an array whose axes lie in another order."""
    straight = DRAWS[name](fresh(6, 8, dtype=dtype)).tolist()
    memory = batten.zeros(10, 12, dtype=dtype)
    batten.manual_seed(3)
    DRAWS[name](memory.T[::2, 2:])
    assert memory.T[::2, 2:].tolist() == straight
    assert (memory[:, 1::2] == 0).all() and (memory[:2] == 0).all()


def test_the_same_weights_of_images_in_any_layout(dtype):
    for fill in (init.kaiming_uniform_, init.xavier_normal_, init.trunc_normal_, init.orthogonal_, init.dirac_):
        straight = fill(fresh(6, 4, 3, 5, dtype=dtype))
        batten.manual_seed(3)
        last = fill(batten.empty(6, 3, 5, 4, dtype=dtype).permute(0, 3, 1, 2))
        assert last.tolist() == straight.tolist()
        frozen = fresh(6, 4, 3, 5, dtype=dtype).requires_grad_(False)
        assert fill(frozen).tolist() == straight.tolist() and not frozen.requires_grad


@pytest.mark.parametrize("shape", [(40, 40), (30, 80), (80, 30), (1, 5), (5, 1), (16, 4, 3, 3), (64, 2, 5)], ids=str)
def test_orthogonal_weights(dtype, shape):
    w = fresh(*shape, dtype=dtype)
    assert init.orthogonal_(w, gain=1.5) is w and w.requires_grad
    rows = w.numpy().reshape(shape[0], -1).astype(np.float64)
    product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    np.testing.assert_allclose(product, 2.25 * np.eye(len(product)), atol=20 * np.finfo(dtype).eps)


def test_orthogonal_matrices_are_equally_likely():
    """Of the rotations and mirrorings of the plane: any angle, and as many of the one as of the other."""
    drawn = np.stack([init.orthogonal_(batten.empty(2, 2), generator=g).numpy() for g in [batten.Generator()] * 4000])
    angles = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    assert_distributed(angles, uniform_cdf(math.pi))
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_orthogonal_weights_have_torchs_signs():
    """What PyTorch would make of the same normal numbers, which it draws otherwise."""
    torch = pytest.importorskip("torch")
    for rows, columns in [(5, 5), (7, 3), (3, 7)]:
        normal = init.normal_(batten.empty(rows, columns, dtype="float64"), generator=batten.Generator()).numpy()
        ours = init.orthogonal_(batten.empty(rows, columns, dtype="float64"), generator=batten.Generator())
        a = torch.tensor(normal)
        q, r = torch.linalg.qr(a.T if rows < columns else a)
        q = q * torch.diag(r).sign()
        np.testing.assert_allclose(ours.numpy(), (q.T if rows < columns else q).numpy(), atol=1e-14)


@pytest.mark.parametrize(("rows", "sparsity"), [(10, 0.3), (10, 0.31), (7, 0), (7, 1), (1, 0.5), (0, 0.5)])
def test_sparse_columns(dtype, rows, sparsity):
    w = init.sparse_(fresh(rows, 3000, dtype=dtype), sparsity, std=0.5).numpy()
    zeros = math.ceil(sparsity * rows)
    assert ((w == 0).sum(0) == zeros).all()
    if 0 < zeros < rows:
        # Each row has its share of them, within five standard errors; what is left is normal.
        share = zeros / rows
        assert abs((w == 0).mean(1) - share).max() < 5 * math.sqrt(share * (1 - share) / 3000)
        assert_distributed(w[w != 0], normal_cdf(0.5))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("filters", "channels", "groups"), [(4, 4, 1), (3, 5, 1), (6, 4, 2), (4, 2, 2), (3, 1, 3)])
def test_dirac_weights_let_channels_through(rng, dtype, rank, filters, channels, groups):
    layer = getattr(batten.nn, f"Conv{rank}d")(
        channels * groups, filters, 3, padding=1, groups=groups, bias=False, dtype=dtype
    )
    assert init.dirac_(layer.weight, groups) is layer.weight
    x = rng.standard_normal((2, channels * groups, *(5, 4, 6)[:rank])).astype(dtype)
    expected = np.zeros((2, filters, *x.shape[2:]), dtype)
    each = filters // groups
    for group in range(groups):
        for k in range(min(each, channels)):
            expected[:, group * each + k] = x[:, group * channels + k]
    assert (layer(batten.tensor(x)).numpy() == expected).all()


def test_dirac_weights_are_torchs():
    torch = pytest.importorskip("torch")
    for shape, groups in [((4, 3, 4), 1), ((4, 3, 4), 2), ((6, 2, 2, 5), 3), ((2, 5, 1, 2, 3), 1), ((0, 2, 3), 2)]:
        theirs = torch.nn.init.dirac_(torch.empty(shape), groups)
        assert init.dirac_(fresh(*shape), groups).tolist() == theirs.tolist()


def constant(value):
    def check(x):
        assert (x == value).all()

    return check


def normal(std):
    return lambda x: assert_distributed(x, normal_cdf(std))


def uniform(bound):
    def check(x):
        assert_distributed(x, uniform_cdf(bound))
        assert bound * (1 - 12 / x.size) < abs(x).max() <= np.float32(bound)

    return check


def both(bound):
    return {"weight": uniform(bound), "bias": uniform(bound)}


UNIT = {"weight": constant(1), "bias": constant(0)}

# A layer, and what its parameters are.
LAYERS = [
    ("Linear", (25, 20_000), {}, both(1 / 5)),
    ("Bilinear", (9, 4, 3000), {}, both(1 / 3)),
    ("Conv1d", (4, 20_000, 4), {}, both(1 / 4)),
    ("Conv2d", (8, 5000, (2, 4)), {"groups": 2}, both(32**-0.5)),
    ("Conv3d", (3, 2000, (1, 2, 3)), {}, both(18**-0.5)),
    # Their fan in is that of weights (out, in, *), which theirs are not.
    ("ConvTranspose1d", (4, 20_000, 2), {}, both(40_000**-0.5)),
    ("ConvTranspose2d", (40, 2000, 2), {"groups": 4}, both(2000**-0.5)),
    ("ConvTranspose3d", (5, 4000, (1, 2, 3)), {}, both(24_000**-0.5)),
    ("Embedding", (20_000, 6), {}, {"weight": normal(1)}),
    ("PReLU", (3,), {}, {"weight": constant(0.25)}),
    *[(f"BatchNorm{rank}d", (5,), {}, UNIT) for rank in (1, 2, 3)],
    *[(f"InstanceNorm{rank}d", (5,), {"affine": True}, UNIT) for rank in (1, 2, 3)],
    ("GroupNorm", (2, 6), {}, UNIT),
    ("LayerNorm", ((3, 4),), {}, UNIT),
    ("RMSNorm", (7,), {}, {"weight": constant(1)}),
]
OWN_LAYERS = [
    ("DropConnect", (25, 20_000), {}, both(1 / 5)),
    *[(f"LpBatchNorm{rank}d", (5,), {}, UNIT) for rank in (1, 2)],
    *[(f"NoisyBatchNorm{rank}d", (5,), {}, UNIT) for rank in (1, 2)],
    ("RecurrentBatchNorm1d", (5, 3), {}, UNIT),
]


def check_layer(lib, name, args, kwargs, expected):
    lib.manual_seed(5)
    parameters = dict(getattr(lib.nn, name)(*args, **kwargs).named_parameters())
    assert list(parameters) == list(expected)
    for key, check in expected.items():
        check(parameters[key].detach().numpy())


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), LAYERS, ids=[row[0] for row in LAYERS])
def test_layers_begin_as_torchs(lib, name, args, kwargs, expected):
    check_layer(lib, name, args, kwargs, expected)


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), OWN_LAYERS, ids=[row[0] for row in OWN_LAYERS])
def test_our_own_layers_begin_alike(name, args, kwargs, expected):
    check_layer(batten, name, args, kwargs, expected)


def test_every_layer_that_draws_is_in_the_tables():
    drawing = {name for name, of in vars(batten.nn).items() if hasattr(of, "reset_parameters")}
    assert drawing <= {row[0] for row in LAYERS + OWN_LAYERS}


def test_a_change_is_seen_by_what_kept_the_values():
    w = batten.ones(2, 2, requires_grad=True)
    y = (w * w).sum()
    init.normal_(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_without_elements(lib):
    """Kaiming's rule says so; and a bad mode is then not looked at."""
    init = lib.nn.init
    for call in (init.kaiming_uniform_, init.kaiming_normal_):
        for shape, mode in [((3, 0), "fan_in"), ((0, 3), "fan_out"), ((0,), "fan_in"), ((2, 0, 3), "fan")]:
            with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op") as caught:
                assert call(lib.empty(shape), mode=mode).shape == shape
            assert caught[0].filename == __file__
    assert init.xavier_normal_(lib.empty(0, 3)).shape == (0, 3)
    assert init.orthogonal_(lib.empty(3, 0)).shape == (3, 0)
    assert init.dirac_(lib.empty(4, 0, 3), 2).shape == (4, 0, 3)
    assert init.trunc_normal_(lib.empty(0)).shape == (0,)
    assert init.eye_(lib.empty(0, 2)).shape == (0, 2)


def test_modes_in_capitals(lib):
    first, second = [
        lib.nn.init.kaiming_normal_(lib.empty(3, 4), mode=mode, generator=lib.Generator().manual_seed(1)).tolist()
        for mode in ("fan_out", "FAN_OUT")
    ]
    assert first == second


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.calculate_gain("swish"), ValueError, "got 'swish'"),
        (lambda: init.calculate_gain("leaky_relu", "steep"), ValueError, "a number as the negative slope, got 'steep'"),
        (lambda: init.kaiming_uniform_(batten.empty(3)), ValueError, r"weights \(out, in, \*\) .* got \[3\]"),
        (lambda: init.xavier_normal_(batten.empty(())), ValueError, r"got \[\]"),
        (lambda: init.kaiming_normal_(batten.empty(3, 3), mode="fan"), ValueError, "'fan_in' or 'fan_out', got 'fan'"),
        (lambda: init.kaiming_normal_(batten.empty(3, 3), mode=2), ValueError, "'fan_in' or 'fan_out', got 2"),
        (lambda: init.eye_(batten.empty(3)), ValueError, r"eye_ expects a matrix, got \[3\]"),
        (lambda: init.dirac_(batten.empty(3, 3)), ValueError, r"3, 4 or 5 axes, got \[3, 3\]"),
        (lambda: init.dirac_(batten.empty(3, 3, 3, 3, 3, 3)), ValueError, "3, 4 or 5 axes"),
        (lambda: init.dirac_(batten.empty(3, 3, 3), 2), ValueError, r"divide the filters, got 2 for \[3, 3, 3\]"),
        (lambda: init.dirac_(batten.empty(3, 3, 3), 0), ValueError, "divide the filters, got 0"),
        (lambda: init.orthogonal_(batten.empty(3)), ValueError, r"weights \(out, in, \*\), got \[3\]"),
        (lambda: init.orthogonal_(batten.tensor([[1]])), TypeError, "float32 or float64, got int64"),
        (lambda: init.sparse_(batten.empty(3, 3, 3), 0.1), ValueError, r"sparse_ expects a matrix, got \[3, 3, 3\]"),
        (lambda: init.sparse_(batten.empty(3, 3), 1.1), ValueError, "sparsity between 0 and 1, got 1.1"),
        (lambda: init.sparse_(batten.empty(3, 3), math.nan), ValueError, "got nan"),
        (lambda: init.trunc_normal_(batten.empty(3), math.nan), ValueError, "mean=nan"),
        (lambda: init.trunc_normal_(batten.empty(3), a=math.inf, b=math.inf), ValueError, "a=inf, b=inf"),
        (lambda: init.trunc_normal_(batten.empty(3), std=math.inf), ValueError, "std=inf"),
        (lambda: init.uniform_(batten.empty(3), 1, 0), ValueError, "got 1 and 0"),
        (lambda: init.normal_(batten.empty(3), std=-1), ValueError, "std >= 0, got -1"),
        (lambda: init.trunc_normal_(batten.empty(3), a=1, b=0), ValueError, "a <= b, .* got a=1, b=0"),
        (lambda: init.trunc_normal_(batten.empty(3), std=0), ValueError, "std=0"),
        (lambda: init.normal_(batten.tensor([1, 2])), TypeError, "float32 or float64, got int64"),
        (lambda: init.trunc_normal_(batten.tensor([1, 2])), TypeError, "float32 or float64, got int64"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

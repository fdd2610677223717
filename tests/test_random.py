"""Random numbers: known answers, the same bits everywhere, and the distributions.

The statistical tests have fixed seeds, so they either always pass or always fail.
Their bounds are in standard deviations: a good generator would stay within them for
all but a few seeds in 100,000, and the docstrings say how small a fault they find.
"""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import batten
from batten import _kernels as kernels
from batten import random

N = 1 << 20
SIGMAS = 4.5


def uniform(n=N, dtype="float64", key=1, call=0):
    return kernels.uniform(np.empty(n, dtype), 0, 1, key, call)


def normal(n=N, dtype="float64", key=1, call=0):
    return kernels.normal(np.empty(n, dtype), 0, 1, key, call)


def bits(n=N, key=1, call=0):
    return kernels.bits(np.empty(n, np.uint64), key, call)


def correlation(x, y):
    """In standard deviations of what independent numbers give."""
    return np.corrcoef(x, y)[0, 1] * math.sqrt(len(x))


def chi_square(counts):
    """The excess over the expected value, in standard deviations, for equal probabilities."""
    counts = np.asarray(counts, float).reshape(-1)
    expected = counts.mean()
    freedom = counts.size - 1
    return (((counts - expected) ** 2).sum() / expected - freedom) / math.sqrt(2 * freedom)


# ---- the generator ----


@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, expected, isa):
    """The vectors for philox4x32 with 10 rounds that were published with Random123."""
    counter, key, expected = (
        np.array([[int(w, 16) for w in text.split()]], np.uint32) for text in (counter, key, expected)
    )
    np.testing.assert_array_equal(kernels.philox(np.zeros_like(counter), counter, key), expected)


def test_block_call_and_key_reach_philox_as_documented(isa):
    key, call = 0x299F31D0A4093822, 0x0370734413198A2E
    block = np.array([[16, 0, 0x13198A2E, 0x03707344]], np.uint32)
    words = kernels.philox(np.zeros((1, 4), np.uint32), block, np.array([[0xA4093822, 0x299F31D0]], np.uint32))[0]
    y = bits(64, key, call)
    # Block 16 is the first lane of the second group of sixteen.
    assert y[32] == int(words[0]) | int(words[1]) << 32
    assert y[48] == int(words[2]) | int(words[3]) << 32


@pytest.mark.parametrize("call", [0, 2**32 - 1, 2**64 - 1])
def test_same_bits_on_every_instruction_set(call, dtype):
    before, results = kernels.isa(), []
    try:
        for isa in kernels.isas():
            kernels.set_isa(isa)
            y, x, mask = np.empty(1003, dtype), np.ones(1003, dtype), np.empty(126, np.uint8)
            kernels.dropout(y, mask, x, 0.3, 1.5, 5, call)
            results.append(
                [
                    uniform(1003, dtype, 5, call).tobytes(),
                    normal(1003, dtype, 5, call).tobytes(),
                    bits(1003, 5, call).tobytes(),
                    kernels.integers(np.empty(1003, np.int64), -7, 2**62, 5, call).tobytes(),
                    y.tobytes(),
                    mask.tobytes(),
                ]
            )
    finally:
        kernels.set_isa(before)
    assert all(r == results[0] for r in results)


def test_an_element_depends_on_its_place_only(dtype):
    for make in (uniform, normal):
        whole = make(5000, dtype)
        for n in (1, 63, 64, 65, 1000):
            np.testing.assert_array_equal(make(n, dtype), whole[:n])


def test_known_numbers():
    """Seeded results stay the same from one release to the next."""
    assert bits(2, 7, 3).tolist() == [2283391267787462361, 8483149853434543822]
    assert uniform(2, "float32", 7, 3).tolist() == [0.5925801992416382, 0.5873945951461792]
    assert uniform(2, "float64", 7, 3).tolist() == [0.5925802448673761, 0.5873946432759797]
    assert normal(2, "float32", 7, 3).tolist() == [0.7288839221000671, -0.25733909010887146]
    assert normal(2, "float64", 7, 3).tolist() == [0.8729707407684411, 0.9297860379087602]


# ---- distributions ----


def test_every_bit_is_fair(isa):
    """Finds a bit that is set in 0.5022 of the words."""
    y = bits()
    for bit in range(64):
        ones = int((y >> np.uint64(bit) & np.uint64(1)).sum())
        assert abs(ones - N / 2) < SIGMAS * math.sqrt(N) / 2


def test_uniform_numbers_are_uniform(dtype):
    """Finds a mean off by 0.0013, or one of 256 bins that is off by 9 %."""
    u = uniform(dtype=dtype).astype(np.float64)
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < SIGMAS / math.sqrt(12 * N)
    assert abs(u.var() - 1 / 12) < SIGMAS / math.sqrt(180 * N)
    assert abs(chi_square(np.bincount((u * 256).astype(int), minlength=256))) < SIGMAS
    low = np.mod(u * 2.0**16, 1)
    assert abs(chi_square(np.bincount((low * 256).astype(int), minlength=256))) < SIGMAS


def test_steps_of_uniform_numbers():
    for dtype, steps in (("float32", 2**24), ("float64", 2**53)):
        u = uniform(dtype=dtype).astype(np.float64) * steps
        np.testing.assert_array_equal(u, np.floor(u))
        assert set(np.unique(u % 2)) == {0, 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_never_reaches_the_upper_end(dtype):
    """One step above low, half of the results would be rounded up to high."""
    one = np.dtype(dtype).type(1)
    high = np.nextafter(one, one + 1)
    assert set(kernels.uniform(np.empty(1000, dtype), 1, high, 1, 0)) == {one}
    assert set(kernels.uniform(np.empty(1000, dtype), 1, 1, 1, 0)) == {one}
    big = kernels.uniform(np.empty(100_000, dtype), -4, 1e6, 1, 0)
    assert big.min() >= -4 and big.max() < 1e6


@pytest.mark.parametrize("make", [uniform, normal])
def test_elements_are_independent(make, dtype):
    """Finds a correlation of 0.0044 between neighbours, lanes, words, blocks or groups."""
    x = make(dtype=dtype)
    for lag in (1, 2, 3, 8, 15, 16, 17, 32, 48, 64, 128, 1024):
        assert abs(correlation(x[:-lag], x[lag:])) < SIGMAS
        assert abs(correlation(x[:-lag] ** 2, x[lag:] ** 2)) < SIGMAS


def test_pairs_fill_the_square(dtype):
    """Finds one of 1,024 cells of neighbours, or of lanes, that is off by 20 %."""
    u = uniform(dtype=dtype)
    for lag in (1, 16, 64):
        cell = (u[:-lag] * 32).astype(int) * 32 + (u[lag:] * 32).astype(int)
        # Pairs overlap, which leaves the statistic's mean and about its spread as they are.
        assert abs(chi_square(np.bincount(cell, minlength=1024))) < SIGMAS


@pytest.mark.parametrize("make", [uniform, normal])
def test_calls_and_keys_are_independent(make, dtype):
    """Neighbouring calls and keys, keys that differ in the upper half, and a call that looks like another's key."""
    x = make(dtype=dtype, key=3, call=4)
    for key, call in ((3, 5), (3, 4 + 2**32), (4, 4), (3 + 2**32, 4), (4, 3)):
        assert abs(correlation(x, make(dtype=dtype, key=key, call=call))) < SIGMAS


def test_normal_numbers_are_normal(dtype):
    """Finds a mean off by 0.0044, a standard deviation off by 0.3 %, a distribution function off by 0.0022."""
    z = normal(dtype=dtype).astype(np.float64)
    assert abs(z.mean()) < SIGMAS / math.sqrt(N)
    assert abs(z.var() - 1) < SIGMAS * math.sqrt(2 / N)
    assert abs((z**3).mean()) < SIGMAS * math.sqrt(15 / N)
    assert abs((z**4).mean() - 3) < SIGMAS * math.sqrt(96 / N)
    # Kolmogorov and Smirnov: sqrt(N) D is above 2.2 once in 8,000 seeds.
    ordered = np.sort(z)
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered[::16]])
    assert np.abs(below - np.arange(0, N, 16) / N).max() * math.sqrt(N) < 2.2


def test_tails_of_normal_numbers(dtype):
    """Beyond 3, 4 and 4.5 standard deviations, on either side."""
    z = normal(1 << 22, dtype)
    for bound in (3, 4, 4.5):
        expected = len(z) * math.erfc(bound / math.sqrt(2)) / 2
        for count in ((z > bound).sum(), (z < -bound).sum()):
            assert abs(count - expected) < SIGMAS * math.sqrt(expected)
    assert np.isfinite(z).all()


def test_a_pair_of_normal_numbers_has_any_direction():
    """The two share a radius; their angle must be uniform all the same."""
    z = normal().reshape(-1, 2, 16)
    angle = np.arctan2(z[:, 0], z[:, 1]) / (2 * np.pi) + 0.5
    assert abs(chi_square(np.bincount((angle.reshape(-1) * 64).astype(int) % 64))) < SIGMAS
    assert abs(correlation(np.square(z[:, 0]).reshape(-1), np.square(z[:, 1]).reshape(-1))) < SIGMAS


@pytest.mark.parametrize("low, high", [(0, 10), (-5, 8), (-(2**63), 2**63 - 1), (0, 3 * 2**61), (5, 6)])
def test_integers_are_uniform(low, high):
    """Spans that are no power of two, beyond 32 bits, and of almost 64: the thirds of each are equally full."""
    y = kernels.integers(np.empty(N, np.int64), low, high, 1, 0)
    assert y.min() >= low and y.max() < high
    if high - low <= 16:
        counts = np.bincount(y - low, minlength=high - low)
        assert (counts > 0).all()
    else:
        counts = [sum(part) for part in np.array_split(np.histogram(y.astype(np.float64) - low, 48)[0], 12)]
    if len(counts) > 1:
        assert abs(chi_square(counts)) < SIGMAS


# ---- dropout ----


def drop(n=N, p=0.5, call=0, dtype="float32"):
    x = np.ones(n, dtype)
    y, mask = np.empty_like(x), np.empty((n + 7) // 8, np.uint8)
    kernels.dropout(y, mask, x, p, 1, 1, call)
    return y, mask


@pytest.mark.parametrize("p", [0.01, 0.1, 0.25, 0.5, 0.8, 0.999])
def test_dropout_keeps_its_rate(p):
    """Finds a rate off by 0.0022 at p = 0.5."""
    y, _ = drop(p=p)
    assert abs(y.mean(dtype=float) - (1 - p)) < SIGMAS * math.sqrt(p * (1 - p) / N) + 2**-17


def test_dropout_decides_independently():
    y, _ = drop()
    for lag in (1, 2, 8, 15, 16, 17, 32, 64, 128, 256):
        assert abs(correlation(y[:-lag], y[lag:])) < SIGMAS
    assert abs(correlation(y, drop(call=1)[0])) < SIGMAS


def test_dropout_is_exact_at_the_ends():
    for n in (1, 7, 100, 10_000):
        assert drop(n, 0.0)[0].all()
        assert not drop(n, 1.0)[0].any()
        assert not drop(n, 1.0)[1].any()


def test_the_mask_has_no_stray_bits():
    for n in (1, 7, 8, 9, 17, 127, 129, 1003):
        _, mask = drop(n, 0.0)
        np.testing.assert_array_equal(np.unpackbits(mask, bitorder="little"), [1] * n + [0] * (-n % 8))


def test_dropout_lets_nan_through():
    """As in PyTorch, dropping is a product with 0."""
    x = np.full(1000, np.nan, np.float32)
    y = kernels.dropout(np.empty_like(x), np.empty(125, np.uint8), x, 0.5, 2.0, 1, 0)
    assert np.isnan(y).all()


def test_dropout_follows_memory(rng):
    """An array whose axes lie in another order: the mask belongs to the elements as they lie."""
    x = rng.standard_normal((4, 6, 5)).astype(np.float32)
    turned = x.transpose(2, 0, 1)
    y, z, mask, other = np.empty_like(x), kernels.empty_like(turned), np.empty(15, np.uint8), np.empty(15, np.uint8)
    kernels.dropout(y, mask, x, 0.5, 2.0, 1, 0)
    kernels.dropout(z, other, turned, 0.5, 2.0, 1, 0)
    np.testing.assert_array_equal(z, y.transpose(2, 0, 1))
    np.testing.assert_array_equal(other, mask)
    with pytest.raises(ValueError, match="layout"):
        kernels.dropout(np.empty(turned.shape, np.float32), mask, turned, 0.5, 2.0, 1, 0)
    with pytest.raises(ValueError, match="gaps"):
        kernels.dropout(y[:, ::2], np.empty(8, np.uint8), x[:, ::2], 0.5, 2.0, 1, 0)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        drop(10, p)


# ---- Generator ----


def test_a_seed_repeats():
    first = [batten.manual_seed(3), batten.rand(5), batten.randn(5)]
    second = [batten.manual_seed(3), batten.rand(5), batten.randn(5)]
    assert [x.tolist() for x in first[1:]] == [x.tolist() for x in second[1:]]
    assert first[0] is batten.default_generator
    assert batten.rand(5).tolist() != first[1].tolist()


def test_a_fresh_process_starts_from_the_same_numbers():
    program = "import batten; print(batten.initial_seed(), batten.rand(3).tolist())"
    runs = {subprocess.check_output([sys.executable, "-c", program], env=os.environ) for _ in range(2)}
    assert len(runs) == 1
    assert runs.pop().startswith(b"67280421310721 ")


def test_seeds_are_pytorchs():
    g = batten.Generator()
    assert g.manual_seed(-1).initial_seed() == 2**64 - 1
    assert g.manual_seed(np.int64(5)).initial_seed() == 5
    assert g.seed() == g.initial_seed()
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"between -9223372036854775808 and 18446744073709551615"):
            g.manual_seed(seed)
    with pytest.raises(TypeError):
        g.manual_seed(1.5)


def test_state():
    g = batten.Generator("cpu").manual_seed(2)
    batten.rand(2, generator=g)
    state = g.get_state()
    assert state.dtype == batten.uint8 and state.shape == (16,)
    expected = batten.rand(4, generator=g).tolist()
    for restored in (state, state.array):
        other = batten.Generator()
        other.set_state(restored)
        assert batten.rand(4, generator=other).tolist() == expected
        assert other.initial_seed() == 2
    with pytest.raises(TypeError, match="uint8"):
        g.set_state(np.zeros(16))
    with pytest.raises(ValueError, match=r"\[16\], got \[3\]"):
        g.set_state(np.zeros(3, np.uint8))


def test_a_copy_goes_on_alike():
    g = batten.Generator().manual_seed(2)
    g.next()
    for other in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert (other.key, other.calls) == (2, 1)


def test_the_last_draw_is_followed_by_the_first():
    g = batten.Generator()
    g.set_state(np.array([1, 2**64 - 1], "<u8").view(np.uint8))
    assert g.next() == (1, 2**64 - 1)
    assert g.next() == (1, 0)


def test_threads_never_share_a_draw():
    g, found = batten.Generator(), []
    threads = [threading.Thread(target=lambda: found.extend(g.next() for _ in range(5000))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == 20_000


def test_a_forked_child_draws_though_another_thread_held_the_lock():
    with random.turn:
        child = os.fork()
        if child == 0:
            random.default_generator.next()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_other_generators_are_refused():
    with pytest.raises(TypeError, match=r"batten\.Generator"):
        batten.rand(2, generator=np.random.default_rng())
    with pytest.raises(RuntimeError, match="cpu"):
        batten.Generator("cuda")


# ---- tensors ----


@pytest.mark.parametrize("make", [batten.rand, batten.randn])
def test_creation(make):
    assert make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == (2, 3)
    assert make(0, 3).shape == (0, 3)
    assert make(()).shape == make().shape == ()
    assert make(2).dtype == batten.get_default_dtype()
    assert make(2, dtype=batten.float64, device="cpu", requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="int64"):
        make(2, dtype=batten.int64)
    with pytest.raises(ValueError):
        make(-1)


@pytest.mark.parametrize("dtype", [batten.uint8, batten.int8, batten.int32, batten.int64, batten.float32, batten.bool])
def test_randint(dtype):
    y = batten.randint(0, 2, (1000,), dtype=dtype)
    assert y.dtype == dtype and set(y.tolist()) == {0, 1}
    assert batten.randint(4, (2, 3)).shape == batten.randint(4, size=(2, 3)).shape == (2, 3)
    assert set(batten.randint_like(y, 1).tolist()) == {0}
    for bad in ((3, 3, (2,)), (5, 2, (2,))):
        with pytest.raises(ValueError, match="low < high"):
            batten.randint(*bad)
    with pytest.raises(TypeError):
        batten.randint(0, 2.5, (2,))
    with pytest.raises(TypeError, match="tuple"):
        batten.randint(3)


def test_integers_must_fit_their_type():
    with pytest.raises(ValueError, match="uint8 holds integers from 0 to 255"):
        batten.randint(0, 300, (2,), dtype=batten.uint8)
    with pytest.raises(ValueError, match="int8 holds"):
        batten.randperm(200, dtype=batten.int8)


def test_randperm():
    for n in (0, 1, 2, 1000):
        p = batten.randperm(n)
        assert p.dtype == batten.int64 and sorted(p.tolist()) == list(range(n))
    counts: dict[tuple[int, ...], int] = {}
    g = batten.Generator().manual_seed(1)
    for _ in range(12_000):
        order = tuple(batten.randperm(4, generator=g).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24 and abs(chi_square(list(counts.values()))) < SIGMAS
    with pytest.raises(ValueError, match="n >= 0"):
        batten.randperm(-1)


def test_like():
    x = batten.rand(4, 3, dtype=batten.float64)
    assert batten.rand_like(x).dtype == batten.randn_like(x).dtype == batten.float64
    turned = batten.autograd.wrap(x.array.T)
    g = batten.Generator()
    y = batten.rand_like(turned, generator=g.manual_seed(1))
    assert y.array.strides == turned.array.strides
    assert y.tolist() == batten.rand(3, 4, dtype=batten.float64, generator=g.manual_seed(1)).tolist()


def test_normal():
    mean = batten.autograd.wrap(np.array([[1000.0], [-1000.0]]))
    std = batten.autograd.wrap(np.array([1.0, 0.0, 5.0], np.float32))
    y = batten.normal(mean, std, generator=batten.Generator().manual_seed(1))
    assert y.shape == (2, 3) and y.dtype == batten.float64
    assert (np.abs(y.array - mean.array) < 30).all() and (y.array[:, 1] == [1000, -1000]).all()
    assert batten.normal(2.0, 3.0, (4,)).shape == (4,)
    with pytest.raises(ValueError, match="std >= 0"):
        batten.normal(0, -1, (2,))
    with pytest.raises(ValueError, match="std >= 0"):
        batten.normal(0.0, batten.autograd.wrap(np.array([-1.0])))
    with pytest.raises(TypeError, match="size"):
        batten.normal(0.0, 1.0)


def test_bernoulli():
    p = batten.autograd.wrap(np.repeat([0.0, 0.3, 1.0], 10_000).reshape(3, -1))
    y = batten.bernoulli(p, generator=batten.Generator().manual_seed(1)).array
    assert set(np.unique(y)) == {0, 1}
    assert y[0].sum() == 0 and y[2].sum() == 10_000
    assert abs(y[1].mean() - 0.3) < SIGMAS * math.sqrt(0.21 / 10_000)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            batten.bernoulli(batten.autograd.wrap(np.array([0.5, bad])))
    with pytest.raises(TypeError):
        batten.bernoulli(batten.autograd.wrap(np.array([1])))


def test_in_place():
    x = batten.rand(4, 6)
    before = x.version[0]
    assert random.uniform_(x, 2, 3) is x
    assert x.array.min() >= 2 and x.array.max() < 3
    assert x.version[0] > before
    random.normal_(x, 100.0, 0.5)
    assert abs(x.array.mean() - 100) < 1
    assert set(np.unique(random.bernoulli_(x, 0.5).array)) == {0, 1}
    assert (random.random_(x, 3, 4).array == 3).all()
    assert (random.random_(x, 1).array == 0).all()
    small = batten.autograd.wrap(np.zeros(20_000, np.uint8))
    assert set(random.random_(small).tolist()) == set(range(256))
    assert set(random.bernoulli_(small, 1).tolist()) == {1}


def test_in_place_writes_only_its_own_elements():
    whole = np.zeros((4, 6), np.float32)
    random.uniform_(batten.autograd.wrap(whole[:, ::2]), 1, 2)
    assert (whole[:, ::2] >= 1).all() and (whole[:, 1::2] == 0).all()


@pytest.mark.parametrize("fill", [random.uniform_, random.normal_, random.bernoulli_, random.random_])
def test_in_place_refuses_what_would_go_wrong(fill):
    with pytest.raises(RuntimeError, match="no_grad"):
        fill(batten.rand(3, requires_grad=True))
    with batten.no_grad():
        fill(batten.rand(3, requires_grad=True))
    with pytest.raises(RuntimeError, match="read-only"):
        fill(batten.autograd.wrap(np.broadcast_to(np.float32(1), (3,))))


def test_bounds_of_uniform_numbers():
    x = batten.rand(3)
    for low, high in ((2, 1), (math.nan, 1), (-3e38, 3e38), (0, math.inf)):
        with pytest.raises(ValueError, match="from <= to"):
            random.uniform_(x, low, high)
    with pytest.raises(TypeError, match="float32 or float64"):
        random.uniform_(batten.autograd.wrap(np.zeros(3, np.int64)))

"""Data sets, samplers and batches: what PyTorch has is asked of both libraries alike."""

from __future__ import annotations

import collections
import functools
import inspect
import itertools
import types
from collections.abc import Mapping

import numpy as np
import pytest

import batten
from batten import data
from batten.data.dataset import gathers
from batten.random import drawing_from


@pytest.fixture(params=["batten", "torch"])
def both(request):
    """The library, and what it has for data."""
    lib = pytest.importorskip(request.param)
    return lib, data if lib is batten else lib.utils.data


def plain(x):
    """A batch as types and numbers that can be compared between the libraries."""
    if isinstance(x, Mapping):
        return type(x), {key: plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)) or type(x).__name__ == "Line":
        return type(x), [plain(value) for value in x]
    if hasattr(x, "numpy"):
        x = x.numpy()
        return "tensor", x.dtype, x.shape, x.tobytes()
    return x


def equal(x, y):
    return plain(x) == plain(y)


def generator(seed=1):
    return batten.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "absent", "ours"),
    [
        ("TensorDataset", set(), set()),
        ("Subset", set(), set()),
        ("ConcatDataset", set(), set()),
        ("random_split", set(), {"generator"}),  # whose default is None here, which means the same
        ("SequentialSampler", set(), set()),
        ("RandomSampler", set(), set()),
        ("SubsetRandomSampler", set(), set()),
        ("WeightedRandomSampler", set(), set()),
        ("BatchSampler", set(), set()),
        ("default_collate", set(), set()),
        ("default_convert", set(), set()),
        ("DataLoader", {"multiprocessing_context", "pin_memory_device", "in_order"}, {"prefetch"}),
    ],
)
def test_parameters_are_pytorch_s(name, absent, ours):
    torch = pytest.importorskip("torch")
    peer = getattr(torch.utils.data, name, None) or torch.utils.data._utils.collate.default_convert
    mine, theirs = (inspect.signature(f).parameters for f in (getattr(data, name), peer))
    shared = {key: p.default for key, p in theirs.items() if key not in absent | ours}
    assert list(shared.items()) == [(key, p.default) for key, p in mine.items() if key not in ours]


# ---- data sets ----


def test_a_data_set_says_what_it_does_not_define(both):
    _, data = both

    class Empty(data.Dataset[int]):
        pass

    with pytest.raises(NotImplementedError):
        Empty()[0]
    with pytest.raises(TypeError, match="has no len"):
        len(Empty())
    with pytest.raises(NotImplementedError):
        iter(data.Sampler())


def test_tensors(both):
    lib, data = both
    x, y = lib.tensor(np.arange(12.0).reshape(4, 3)), lib.tensor(np.arange(4))
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 4 and dataset.tensors == (x, y)
    row, label = dataset[-1]
    assert row.tolist() == [9, 10, 11] and label.item() == 3 and isinstance(dataset[0], tuple)
    x[2, 0] = 100
    assert dataset[2][0][0].item() == 100
    assert [label.item() for _, label in dataset] == [0, 1, 2, 3]
    assert dataset[1:3][0].shape == (2, 3)
    joined = dataset + dataset
    assert isinstance(joined, data.ConcatDataset) and len(joined) == 8 and joined[6][1].item() == 2


def test_a_batch_of_tensors_is_gathered_at_once(rng):
    arrays = [
        rng.normal(size=(7, 3)).astype(np.float32),
        rng.integers(0, 256, (7, 4, 5, 3), np.uint8).transpose(0, 3, 1, 2),  # images whose channels lie last
        rng.normal(size=(14, 2, 6))[::2, :, ::3],
        np.broadcast_to(rng.normal(size=(1, 2)), (7, 2)),
        rng.normal(size=(7, 2, 3, 4, 5)).transpose(0, 3, 1, 4, 2),
        rng.normal(size=(7, 3)) > 0,
        np.arange(7),
        np.empty((7, 0, 2)),
    ]
    dataset = data.TensorDataset(*arrays)
    for indices in ([3, 0, 6, 3], [-1, -7, 5], [2], [], np.array([1, 4], np.uint8), range(2, 5)):
        batch = dataset.__getitems__(indices)
        assert isinstance(batch, tuple)
        for array, tensor in zip(arrays, batch, strict=True):
            assert isinstance(tensor, batten.Tensor) and tensor.dtype == array.dtype
            np.testing.assert_array_equal(tensor.array, array[np.asarray(indices, int)])
            assert not np.shares_memory(tensor.array, array)
    assert dataset.__getitems__([0, 1, 2])[1].is_contiguous(memory_format=batten.channels_last)
    assert dataset.__getitems__([0, 1, 2])[4].array.transpose(0, 2, 4, 1, 3).flags.c_contiguous
    for index in (7, -8):
        with pytest.raises(IndexError, match=f"TensorDataset has 7 samples, got the index {index}"):
            dataset.__getitems__([0, index])
    with pytest.raises(TypeError, match="expects whole numbers as indices, got float64"):
        dataset.__getitems__([0.5])
    empty = data.TensorDataset(np.empty((0, 3), np.float32))
    assert len(empty) == 0 and empty.__getitems__([])[0].shape == (0, 3)


def test_a_batch_of_tensors_requires_no_gradient():
    dataset = data.TensorDataset(batten.ones(3, 2, requires_grad=True))
    assert dataset[0][0].requires_grad
    assert not dataset.__getitems__([0, 1])[0].requires_grad
    for prefetch in (0, 1):
        for collate in (None, lambda samples: samples[0][0] * 2):
            (batch,) = data.DataLoader(dataset, batch_size=3, collate_fn=collate, prefetch=prefetch)
            assert not (batch[0] if collate is None else batch).requires_grad
    assert batten.is_grad_enabled()


@pytest.mark.parametrize("tensors", [(), (np.zeros(3), np.zeros(4)), (np.zeros(3), np.float32(1))])
def test_tensors_of_different_lengths_are_refused(tensors):
    shown = ", ".join(str(list(np.shape(x))) for x in tensors)
    with pytest.raises(ValueError) as caught:
        data.TensorDataset(*tensors)
    assert str(caught.value) == f"TensorDataset expects tensors of one length, got shapes [{shown}]"


def test_subsets(both):
    lib, data = both
    subset = data.Subset("abcdef", [5, 0, 3])
    assert [subset[i] for i in range(3)] == ["f", "a", "d"] and subset[-1] == "d" and len(subset) == 3
    assert subset.__getitems__([2, 0]) == ["d", "f"]
    assert data.Subset(np.arange(10, 20), [5, 0, 3])[[0, 2]].tolist() == [15, 13]
    within = data.Subset(data.TensorDataset(lib.arange(6)), [4, 2])
    assert within[1][0].item() == 2 and len(within.__getitems__([1])) == 1


def test_a_subset_gathers_as_its_data_set_does(rng):
    images = rng.integers(0, 256, (6, 4, 5, 3), np.uint8).transpose(0, 3, 1, 2)
    within = data.Subset(data.Subset(data.TensorDataset(images), [5, 4, 1, 0]), np.array([3, 1]))
    (batch,) = within.__getitems__([1, 0])
    np.testing.assert_array_equal(batch.array, images[[4, 0]])
    assert batch.is_contiguous(memory_format=batten.channels_last)


def test_data_sets_one_after_the_other(both):
    _, data = both
    joined = data.ConcatDataset(iter(["abc", "", "de"]))
    assert len(joined) == 5 and joined.cumulative_sizes == [3, 3, 5] and joined.datasets == ["abc", "", "de"]
    assert [joined[i] for i in range(-5, 5)] == list("abcde" * 2)
    assert "".join(joined) == "abcde"
    with pytest.raises(IndexError):
        joined[5]
    with pytest.raises((IndexError, ValueError)):
        joined[-6]
    with pytest.raises((ValueError, AssertionError)):
        data.ConcatDataset([])


class Labelled(data.Dataset):
    """Images and labels, gathered as arrays, in one of several kinds of batches."""

    def __init__(self, start, count, kind):
        self.images = np.arange(start, start + count * 6, dtype=np.float32).reshape(-1, 1, 2, 3).transpose(0, 3, 1, 2)
        self.labels = np.arange(start, start + count)
        self.kind, self.calls = kind, 0

    def __getitem__(self, index):
        return self.__getitems__(index)

    def __getitems__(self, indices):
        self.calls += 1
        images, labels = self.images[indices], self.labels[indices]
        return {
            tuple: (images, labels),
            dict: {"images": images, "labels": labels},
            np.ndarray: images,
            batten.Tensor: batten.as_tensor(labels),
            list: list(zip(images, labels, strict=True)) if isinstance(indices, list) else (images, labels),
        }[self.kind]

    def __len__(self):
        return len(self.labels)


@pytest.mark.parametrize("kind", [tuple, dict, np.ndarray, batten.Tensor, list])
def test_batches_of_several_data_sets_are_gathered_from_each(kind):
    parts = [Labelled(0, 3, kind), Labelled(100, 0, kind), Labelled(200, 5, kind), Labelled(300, 2, kind)]
    joined = data.ConcatDataset(parts)
    for indices in ([0, 4, 9, 4, 2, -1], [4, 3], [9], list(range(10))):
        for part in parts:
            part.calls = 0
        batch = joined.__getitems__(indices)
        assert type(batch) is kind and all(part.calls <= 1 for part in parts)
        expected = data.default_collate([joined[i] for i in indices])
        assert equal(data.default_collate(batch) if kind is list else data.default_convert(batch), expected)


def test_batches_of_different_kinds_cannot_be_joined():
    class Bytes(data.Dataset):
        def __getitems__(self, indices):
            return np.zeros((len(indices), 3, 1, 2), np.uint8)

        def __len__(self):
            return 2

    joined = data.ConcatDataset([Labelled(0, 3, np.ndarray), Bytes()])
    with pytest.raises(ValueError, match=r"alike in all its data sets, got float32\[3, 1, 2\] and uint8\[3, 1, 2\]"):
        joined.__getitems__([0, 4])
    joined = data.ConcatDataset([Labelled(0, 3, tuple), Bytes()])
    with pytest.raises(TypeError, match="batches of one kind from its data sets, got tuple, ndarray"):
        joined.__getitems__([4, 0])
    assert joined.__getitems__([4]).dtype == np.uint8


def test_data_sets_of_which_some_cannot_gather_give_samples():
    joined = data.ConcatDataset([[(5,)], data.TensorDataset(np.arange(3)), data.Subset([(7,), (8,)], [1, 0])])
    assert [x for (x,) in joined.__getitems__([0, 1, -1])] == [5, 0, 7]
    assert joined.__getitems__([0, -1]) == [(5,), (7,)] and isinstance(joined.__getitems__([2, 1]), tuple)
    for size in (1, 4, 6):
        assert [x.item() for (batch,) in data.DataLoader(joined, size) for x in batch] == [5, 0, 1, 2, 8, 7]


def test_a_sample_defined_anew_is_what_a_batch_is_made_of(both):
    lib, data = both

    class Doubled(data.TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * x for x in super().__getitem__(index))

    (batch,) = data.DataLoader(Doubled(lib.arange(3)), batch_size=3)
    assert batch[0].tolist() == [0, 2, 4]


def test_which_data_sets_gather():
    class Both(data.TensorDataset):
        def __getitem__(self, index):
            return 1

        def __getitems__(self, indices):
            return [1]

    class Inherited(Both):
        pass

    class Sample(Inherited):
        def __getitem__(self, index):
            return 2

    x = np.arange(3)
    assert [gathers(kind(x)) for kind in (data.TensorDataset, Both, Inherited, Sample)] == [True, True, True, False]
    assert not any(map(gathers, ([1], "a", x, data.Dataset(), types.SimpleNamespace())))


@pytest.mark.parametrize(
    "lengths", [[3, 7], [10], [0, 10, 0], [0.25, 0.75], [0.1, 0.2, 0.7], [1.0], [0.34, 0.33, 0.33], [0.5, 0.25, 0.25]]
)
def test_random_split(lengths, both):
    lib, data = both
    draw = functools.partial(data.random_split, range(20, 30), lengths)
    parts, again, other = (draw(generator=lib.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    torch_s = {(0.25, 0.75): [3, 7], (0.34, 0.33, 0.33): [4, 3, 3], (0.5, 0.25, 0.25): [6, 2, 2]}
    expected = torch_s.get(tuple(lengths), [round(x * 10) if isinstance(x, float) else x for x in lengths])
    assert [len(part) for part in parts] == expected
    assert sorted(x for part in parts for x in part) == list(range(20, 30))
    indices, same, different = ([list(part.indices) for part in p] for p in (parts, again, other))
    assert indices == same != different
    lib.manual_seed(3)
    default = [list(part.indices) for part in draw()]
    lib.manual_seed(3)
    assert default == [list(part.indices) for part in draw()]


def test_a_split_that_does_not_add_up_is_refused(both):
    _, data = both
    for lengths in ([3, 6], [0.5, 0.6], [2.5, 7.6], [0.5, 1.5, -1.0], []):
        with pytest.raises((ValueError, TypeError)):
            data.random_split(range(10), lengths)
    with pytest.warns(UserWarning, match="empty"):
        assert [len(part) for part in data.random_split(range(2), [0.4, 0.4, 0.2])] == [1, 1, 0]


def test_a_refused_split_says_what_was_expected():
    with pytest.raises(ValueError, match=r"lengths that add up to 10, or fractions to 1, got \[3, 6\]"):
        data.random_split(range(10), [3, 6])
    with pytest.raises(ValueError, match=r"lengths of at least 0, got \[11, -1\]"):
        data.random_split(range(10), [11, -1])


# ---- samplers ----


def test_samplers_in_order(both):
    _, data = both
    assert list(data.SequentialSampler("abcd")) == [0, 1, 2, 3] and len(data.SequentialSampler("abcd")) == 4
    for n, size, drop in itertools.product(range(8), (1, 2, 3, 7, 9), (False, True)):
        sampler = data.BatchSampler(data.SequentialSampler(range(n)), size, drop)
        expected = [list(range(n))[i : i + size] for i in range(0, n, size)]
        assert list(sampler) == [batch for batch in expected if len(batch) == size or not drop]
        assert len(sampler) == len(list(sampler)) and list(sampler) == list(sampler)
    assert list(data.BatchSampler(iter("abc"), 2, False)) == [["a", "b"], ["c"]]
    with pytest.raises(TypeError):
        len(data.BatchSampler(iter("abc"), 2, False))


def test_samplers_at_random(both):
    lib, data = both
    for make in (
        lambda g: data.RandomSampler(range(20), generator=g),
        lambda g: data.RandomSampler(range(20), num_samples=47, generator=g),
        lambda g: data.RandomSampler(range(20), num_samples=7, generator=g),
        lambda g: data.RandomSampler(range(20), True, 100, generator=g),
        lambda g: data.SubsetRandomSampler(range(20), generator=g),
        lambda g: data.WeightedRandomSampler([1.0] * 20, 100, generator=g),
        lambda g: data.WeightedRandomSampler([1.0] * 20, 20, False, generator=g),
    ):
        own = lib.Generator().manual_seed(5)
        sampler = make(own)
        first, second = list(sampler), list(sampler)
        assert first == list(make(lib.Generator().manual_seed(5))) != second
        assert len(first) == len(sampler) and set(first) <= set(range(20)) and type(first[0]) is int
        lib.manual_seed(3)
        default = list(make(None))
        lib.manual_seed(3)
        assert default == list(make(None)) != first
        for begin in range(0, len(first), 20) if len(first) in (7, 20, 47) else ():
            lap = first[begin : begin + 20]
            assert len(set(lap)) == len(lap)
    assert sorted(data.SubsetRandomSampler([9, 5, 7])) == [5, 7, 9]


def test_a_random_order_is_that_of_randperm():
    assert (
        list(data.RandomSampler(range(9), generator=generator())) == batten.randperm(9, generator=generator()).tolist()
    )


def test_orders_are_equally_likely():
    own = generator()
    counts = collections.Counter(tuple(data.RandomSampler(range(4), generator=own)) for _ in range(2400))
    assert len(counts) == 24 and max(abs(count - 100) for count in counts.values()) < 4 * 100**0.5


def test_weights_are_probabilities(monkeypatch):
    weights, n = np.array([1.0, 0, 3, 0.5, 5.5, 0]), 20_000
    drawn = np.array(list(data.WeightedRandomSampler(weights, n, generator=generator())))
    expected = weights / weights.sum() * n
    assert (abs(np.bincount(drawn, minlength=6) - expected) <= 4 * np.sqrt(expected)).all()
    own, n = generator(), 3000
    pairs = collections.Counter(
        tuple(data.WeightedRandomSampler(weights, 2, replacement=False, generator=own)) for _ in range(n)
    )
    p = weights / weights.sum()
    for i, j in itertools.permutations([0, 2, 3, 4], 2):
        expected = n * p[i] * p[j] / (1 - p[i])
        assert abs(pairs[i, j] - expected) <= 4 * np.sqrt(expected)
    assert sum(pairs.values()) == sum(pairs[i, j] for i, j in itertools.permutations([0, 2, 3, 4], 2))
    # The first and the last that can be drawn, and those at an end, are of numbers that have a weight.
    u = batten.tensor([0.0, 0.5, 1 - 2**-53], dtype=batten.float64)
    monkeypatch.setattr(data.sampler, "rand", lambda *size, **options: u)
    assert list(data.WeightedRandomSampler([0, 3, 3, 0], 3)) == [1, 2, 2]
    monkeypatch.undo()
    # The largest and smallest weights that there are, and the last one of 0, which no rounding may reach.
    huge = data.WeightedRandomSampler([1e308, 1e308, 5e-324, 0], 1000, generator=generator())
    assert set(huge) == {0, 1}
    assert sorted(data.WeightedRandomSampler([1e308, 5e-324, 0], 2, False, generator=generator())) == [0, 1]


def test_samplers_refuse_what_they_cannot_draw(both):
    _, data = both
    for make in (
        lambda: data.RandomSampler([]),
        lambda: data.RandomSampler("abc", num_samples=0),
        lambda: data.RandomSampler("abc", True, 1.5),
        lambda: data.RandomSampler("abc", replacement=1),
        lambda: data.WeightedRandomSampler([1.0], 0),
        lambda: data.WeightedRandomSampler([1.0], True),
        lambda: data.WeightedRandomSampler([1.0], 1, 1),
        lambda: data.WeightedRandomSampler([[1.0]], 1),
        lambda: list(data.WeightedRandomSampler([-1.0, 2], 1)),
        lambda: list(data.WeightedRandomSampler([0.0, 0], 1)),
        lambda: list(data.WeightedRandomSampler([float("nan"), 1], 1)),
        lambda: list(data.WeightedRandomSampler([1.0, 1], 3, False)),
        lambda: data.BatchSampler("abc", 0, False),
        lambda: data.BatchSampler("abc", True, False),
        lambda: data.BatchSampler("abc", 2.0, False),
        lambda: data.BatchSampler("abc", 2, 1),
    ):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.RandomSampler([]), "RandomSampler expects num_samples to be an int of at least 1, got 0"),
        (lambda: data.RandomSampler("ab", 1), "RandomSampler expects replacement to be True or False, got 1"),
        (lambda: data.BatchSampler("ab", 2.5, False), "BatchSampler expects batch_size to be an int .* got 2.5"),
        (lambda: data.WeightedRandomSampler([1, -1], 1), "expects finite weights of at least 0, and one above 0"),
        (lambda: data.WeightedRandomSampler([1, 0], 2, False), "cannot draw 2 from 1 without replacement"),
        (lambda: data.SubsetRandomSampler("ab", 3), "SubsetRandomSampler expects a batten.Generator, got int"),
    ],
)
def test_a_refusal_says_what_was_expected(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


# ---- batches ----

Point = collections.namedtuple("Point", "x y")


class Line(collections.UserList):
    """A list that has more than its items."""

    def __init__(self, items=(), name=None):
        super().__init__(items)
        self.name = name


SAMPLES = {
    "floats": [1.5, 2.0],
    "floats and ints": [1.5, 2],
    "ints": [1, -2],
    "ints and floats": [1, 2.5],
    "bools": [True, False],
    "strings": ["a", "bc"],
    "bytes": [b"a", b"bc"],
    "numpy's floats": [np.float32(1), np.float32(2)],
    "numpy's doubles": [np.float64(1), np.float64(2)],
    "numpy's ints": [np.int16(1), np.int16(-2)],
    "numpy's bools": [np.True_, np.False_],
    "arrays": [np.arange(6, dtype=np.int32).reshape(2, 3)] * 2,
    "arrays without axes": [np.array(1.5), np.array(2.5)],
    "empty arrays": [np.empty((0, 2), np.float32)] * 2,
    "tuples": [(1, "a", 2.5), (2, "b", 3.5)],
    "lists": [[1, 2.5], [2, 3.5]],
    "tuples of tuples": [((1, 2), [3]), ((4, 5), [6])],
    "named tuples": [Point(1, 2.5), Point(3, 4.5)],
    "dicts": [{"x": 1, "y": np.zeros(2)}, {"y": np.ones(2), "x": 2}],
    "ordered dicts": [collections.OrderedDict(b=1, a=(2, 3))] * 2,
    "default dicts": [collections.defaultdict(list, a=1)] * 2,
    "mappings": [types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})],
    "ranges": [range(3), range(3)],
    "no items": [(), ()],
    "a tuple of samples": ((1, 2), (3, 4)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_batch_is_pytorch_s(name):
    torch = pytest.importorskip("torch")
    samples = SAMPLES[name]
    ours = data.default_collate(samples)
    assert equal(ours, torch.utils.data.default_collate(samples))
    for sample in samples:
        assert equal(data.default_convert(sample), torch.utils.data.default_convert(sample))
    if isinstance(ours, collections.defaultdict):
        assert ours.default_factory is list


def test_what_cannot_be_collated(both):
    lib, data = both
    for samples in (
        [None, None],
        [{1}, {2}],
        [object()],
        [np.array(["a"])],
        [np.array([None])],
        [[1, 2], [3]],
        [(1,), (2, 3)],
        [np.zeros(2), np.zeros(3)],
        [lib.zeros(2), lib.zeros(2, 1)],
        [{"a": 1}, {"b": 2}],
        [1, "a"],
        [],
    ):
        with pytest.raises((TypeError, ValueError, RuntimeError, KeyError, IndexError)):
            data.default_collate(samples)


def test_tensors_are_stacked(both):
    lib, data = both
    batch = data.default_collate([lib.tensor([1, 2]), lib.tensor([3.5, 4])])
    assert batch.dtype == lib.float32 and batch.tolist() == [[1, 2], [3.5, 4]]
    line = Line([1, 2], "a line")
    batch = data.default_collate([line, line])
    assert type(batch) is Line and batch.name == "a line" and [x.tolist() for x in batch] == [[1, 1], [2, 2]]
    assert list(line) == [1, 2]


@pytest.mark.parametrize("kind", [batten.from_numpy, np.asarray])
def test_images_keep_their_channels_last(kind, rng):
    images = rng.integers(0, 256, (3, 5, 6, 4), np.uint8).transpose(0, 3, 1, 2)
    batch = data.default_collate([kind(image) for image in images])
    np.testing.assert_array_equal(batch.array, images)
    assert batch.is_contiguous(memory_format=batten.channels_last)
    assert data.default_collate([kind(image) for image in images.copy()]).is_contiguous()
    mixed = data.default_collate([kind(images[0]), kind(images[1].copy())])
    np.testing.assert_array_equal(mixed.array, images[:2])


def test_what_is_converted_shares_its_memory():
    array, names = np.arange(3), np.array(["a", "b"])
    batch = data.default_convert((array, {"names": names, "more": [array, None, {1}]}))
    array[0] = 7
    assert batch[0].tolist() == [7, 1, 2] and isinstance(batch, list)
    assert batch[1]["names"] is names and batch[1]["more"][1:] == [None, {1}]
    assert batch[1]["more"][0].tolist() == [7, 1, 2]


def test_what_cannot_be_collated_is_named():
    for samples, message in (
        ([None], "expects samples of tensors, arrays, .* got NoneType"),
        ([(1,), (1, 2)], r"samples of one length, got \[1, 2\]"),
        ([np.zeros((2, 1)), np.zeros(3)], r"arrays of one shape, got \[2, 1\], \[3\]"),
        ([], "expects samples, got none"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            data.default_collate(samples)


# ---- the default generator of a thread ----


def test_another_default_generator():
    other, before = generator(5), batten.get_rng_state()
    with drawing_from(other):
        a = batten.rand(3)
        with drawing_from(generator(6)):
            assert batten.initial_seed() == 6 and batten.rand(3).equal(batten.rand(3, generator=generator(6)))
        assert batten.initial_seed() == 5 and batten.get_rng_state().equal(other.get_state())
        own = generator(7)
        assert batten.rand(3, generator=own).equal(batten.rand(3, generator=generator(7)))
        with pytest.raises(KeyError), drawing_from(generator(8)):
            raise KeyError
        batten.manual_seed(9)
        assert batten.default_generator.initial_seed() != 9 and other.initial_seed() == 9
    assert batten.get_rng_state().equal(before)
    assert a.equal(batten.rand(3, generator=generator(5)))

"""The loader: which batches it gives, and what becomes of its threads."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref

import numpy as np
import pytest
from test_data import equal, generator

import batten
from batten import _kernels as kernels
from batten import data, transforms
from batten.data import DataLoader, TensorDataset
from batten.datasets import ImageDataset

PATIENCE = 60  # seconds, after which something hangs


def until(condition):
    """Waits for what other threads are to do."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def crew():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batten-loader")]


@pytest.fixture(autouse=True)
def all_threads_end():
    until(lambda: not crew())
    yield
    until(lambda: not crew())


class Noise(data.Dataset):
    """Samples that are drawn, each at its own pace."""

    def __init__(self, n=23, pace=0.0):
        self.n, self.pace = n, pace

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        time.sleep(self.pace * random.random())
        return index, batten.rand(2)


class NoiseAtOnce(Noise):
    """Batches that are drawn."""

    def __getitems__(self, indices):
        time.sleep(self.pace * random.random())
        return np.array(indices), batten.randn(len(indices), 2).numpy()


def content(batches):
    return [[x.tolist() for x in batch] for batch in batches]


def numbers(loader):
    """The numbers of the samples in each batch of a loader over `Noise`."""
    return [batch[0].tolist() for batch in loader]


# ---- which batches ----


@pytest.mark.parametrize("workers, prefetch", [(0, 0), (0, 1), (0, 2), (2, 2)])
def test_batches_are_pytorch_s(workers, prefetch):
    torch = pytest.importorskip("torch")
    for n, size, drop in itertools.product((0, 1, 7, 12), (None, 1, 3, 7, 20), (False, True)):
        x, y = np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3), np.arange(n)
        if size is None and drop:
            continue
        cases = [
            (data.TensorDataset(x, y), torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))),
            [[{"x": row, "n": (i, str(i))} for i, row in enumerate(x)]] * 2,
            [[*zip(x, y, strict=True)]] * 2,
        ]
        for (ours, theirs), collate in itertools.product(cases, (None, list, len)):
            options = {"batch_size": size, "drop_last": drop, "collate_fn": collate}
            loader = DataLoader(ours, **options, num_workers=workers, prefetch=prefetch)
            peer = torch.utils.data.DataLoader(theirs, **options)
            assert len(loader) == len(peer), (n, size, drop)
            for _ in range(2):
                assert equal(list(loader), list(peer)), (n, size, drop, collate)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_samplers_decide(prefetch):
    dataset = Noise(5)
    assert numbers(DataLoader(dataset, 2, sampler=[4, 0, 3], prefetch=prefetch)) == [[4, 0], [3]]
    assert numbers(DataLoader(dataset, 2, sampler=[4, 0, 3], drop_last=True, prefetch=prefetch)) == [[4, 0]]
    loader = DataLoader(dataset, batch_sampler=[[1], [3, 2, 0]], prefetch=prefetch)
    assert numbers(loader) == [[1], [3, 2, 0]] and len(loader) == 2 and loader.batch_size is None
    assert [i for i, _ in DataLoader(dataset, None, sampler=[4, 0], prefetch=prefetch)] == [4, 0]
    endless = DataLoader(dataset, batch_sampler=itertools.repeat([1, 2]), prefetch=prefetch)
    assert [x[0].tolist() for x in itertools.islice(endless, 5)] == [[1, 2]] * 5
    with pytest.raises(TypeError, match="has no len"):
        len(endless)


def test_an_order_is_a_function_of_seed_and_epoch():
    def loader(seed=1, size=7):
        return DataLoader(Noise(), batch_size=size, shuffle=True, generator=generator(seed))

    def order(loader):
        return [number for batch in numbers(loader) for number in batch]

    first = loader()
    epochs = [order(first) for _ in range(4)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = loader(size=3)
    assert [order(again) for _ in range(4)] == epochs
    assert order(loader(seed=2)) not in epochs
    first.set_epoch(2)
    assert order(first) == epochs[2] and first.epoch == 3
    batten.manual_seed(1)
    default = DataLoader(Noise(), batch_size=7, shuffle=True)
    assert order(default) == epochs[0]


SAMPLERS = {
    "in order": lambda dataset: {},
    "shuffled": lambda dataset: {"shuffle": True},
    "weighted": lambda dataset: {"sampler": data.WeightedRandomSampler(range(1, 24), 30)},
    "of its own": lambda dataset: {"sampler": data.RandomSampler(dataset, generator=generator(9))},
    "batches": lambda dataset: {
        "batch_size": 1,
        "batch_sampler": data.BatchSampler(data.RandomSampler(dataset, True, 17, generator(9)), 5, False),
    },
}


def loader_of(dataset, sampler, **options):
    return DataLoader(dataset, **{"batch_size": 5, "generator": generator(3), **SAMPLERS[sampler](dataset), **options})


@pytest.mark.parametrize("kind", [Noise, NoiseAtOnce])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_batches_are_the_same_for_any_number_of_threads(sampler, kind):
    plain = loader_of(kind(), sampler, prefetch=0)
    expected = [content(plain) for _ in range(2)]
    for workers, prefetch in itertools.product(range(4), range(1, 5)):
        loader = loader_of(kind(pace=0.001), sampler, num_workers=workers, prefetch=prefetch)
        assert [content(loader) for _ in range(2)] == expected, (workers, prefetch)


def test_what_the_caller_draws_is_the_same_whether_or_not_the_loader_draws():
    def draws(*args, **options):
        batten.manual_seed(4)
        loader = DataLoader(*args, **options)
        batches = [batten.rand(2).tolist() for _ in range(2) for _ in loader]
        return batches, batten.get_rng_state().tolist()

    silent = TensorDataset(np.arange(23), np.arange(23))
    expected = draws(silent, batch_size=5, prefetch=0)
    for dataset, shuffle, prefetch in itertools.product((silent, Noise(), NoiseAtOnce()), (False, True), (0, 2)):
        assert draws(dataset, 5, shuffle, num_workers=2 * (prefetch > 0), prefetch=prefetch) == expected
    assert expected[1] == batten.Generator().manual_seed(4).get_state().tolist()[:8] + [11] + [0] * 7


def test_a_generator_gives_the_seed_and_nothing_else():
    own, expected, before = generator(3), generator(3), batten.get_rng_state()
    loader = DataLoader(Noise(), batch_size=5, shuffle=True, generator=own)
    expected.next()
    content(loader), content(loader)
    assert own.get_state().equal(expected.get_state()) and batten.get_rng_state().equal(before)


def test_no_two_batches_draw_the_same_numbers():
    loaders = [DataLoader(Noise(), 1, generator=own) for own in (generator(3), generator(4))]
    drawn = [x.array.tobytes() for loader in loaders for _ in range(3) for _, x in loader]
    assert len(drawn) == len(set(drawn)) == 2 * 3 * 23


# ---- state ----


@pytest.mark.parametrize("kind", [Noise, NoiseAtOnce])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_loader_goes_on_where_another_was(sampler, kind, tmp_path):
    whole = loader_of(kind(), sampler)
    expected = [content(whole) for _ in range(3)]
    for passed in range(len(expected[0]) + 1):
        loader = loader_of(kind(), sampler, prefetch=passed % 3)
        content(loader)
        batches = iter(loader)
        assert content(itertools.islice(batches, passed)) == expected[1][:passed]
        batten.save(loader.state_dict(), tmp_path / "state")
        del batches
        resumed = loader_of(kind(), sampler, generator=generator(99), num_workers=passed % 3)
        for own in [resumed.sampler.generator] if sampler == "of its own" else []:
            own.manual_seed(98)
        resumed.load_state_dict(batten.load(tmp_path / "state"))
        assert (resumed.epoch, resumed.position) == (1, passed)
        assert content(resumed) == expected[1][passed:], passed
        assert content(resumed) == expected[2] and resumed.epoch == 3


def test_a_state_within_and_between_epochs():
    loader = loader_of(Noise(), "shuffled")
    assert loader.state_dict() == {"seed": loader.seed, "epoch": 0, "position": 0, "batches": 5, "sampler": None}
    for count, _ in enumerate(loader, 1):
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == (0, count)
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (1, 0)
    # The batches that were left of an epoch whose last batch was passed are none.
    loader.load_state_dict({**state, "epoch": 0, "position": 5})
    assert content(loader) == [] and loader.epoch == 1


def test_a_loop_that_was_left_is_over():
    expected = loader_of(Noise(), "shuffled")
    expected = [content(expected) for _ in range(3)]
    loader = loader_of(Noise(), "shuffled")
    for _ in loader:
        break
    assert (loader.epoch, loader.position) == (1, 0)
    with pytest.raises(KeyError):
        for _ in loader:
            raise KeyError
    assert loader.state_dict()["epoch"] == 2
    assert content(loader) == expected[2]


def test_several_loops_at_once_are_of_successive_epochs():
    expected = loader_of(Noise(), "shuffled")
    epochs = [content(expected) for _ in range(4)]
    loader = loader_of(Noise(), "shuffled")
    first, second = iter(loader), iter(loader)
    a, b = zip(*zip(first, second, strict=True), strict=True)
    assert content(a) == epochs[0] and content(b) == epochs[1]
    assert loader.state_dict()["epoch"] == 2
    third, fourth = iter(loader), iter(loader)
    next(fourth)
    assert content(third) == epochs[2]
    assert (loader.epoch, loader.position) == (3, 1)  # the latest loop is what the state is of
    loader.set_epoch(0)
    assert content(fourth) == epochs[3][1:]
    assert (loader.epoch, loader.position) == (0, 0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed from 0 to 18446744073709551615, got -1"),
        ({"seed": "1"}, TypeError, "str"),
        ({"epoch": -1}, ValueError, "expects epoch of at least 0, got -1"),
        ({"position": 1.5}, TypeError, "expects position to be an int, got 1.5"),
        ({"position": 6}, ValueError, "has 5 batches, and the state is behind 6 of them"),
        ({"batches": 4}, ValueError, "has 5 batches, and the state is of one that has 4"),
        ({"sampler": generator().get_state()}, ValueError, "differ in whether the sampler has a generator"),
        ({"more": 1}, ValueError, "a state of seed, epoch, position, batches, sampler, got seed, .*, more"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, error, message):
    loader = loader_of(Noise(), "shuffled")
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    with pytest.raises(error, match=message):
        loader.load_state_dict({**state, "epoch": 7, **change})
    assert loader.state_dict() == state
    assert len(list(batches)) == 4


def test_copies_give_the_same():
    loader = loader_of(Noise(), "of its own", num_workers=2)
    expected = content(copy.deepcopy(loader))
    assert content(pickle.loads(pickle.dumps(loader))) == expected == content(loader)


def test_augmented_pictures_are_the_same_on_any_thread_and_after_a_break(rng):
    augment = transforms.Compose([transforms.RandomCrop(8, padding=2), transforms.RandomHorizontalFlip()])
    pictures, labels = rng.integers(0, 256, (50, 3, 8, 8), np.uint8), np.arange(50) % 10
    dataset = ImageDataset(pictures, labels, "0123456789", transform=augment)

    def loader(**options):
        return DataLoader(dataset, batch_size=8, shuffle=True, generator=generator(), **options)

    def content(batches):
        return [(x.array.tobytes(), y.tolist()) for x, y in batches]

    plain = loader(prefetch=0)
    expected = [content(plain), content(plain)]
    assert expected[0] != expected[1]
    for workers in (0, 1, 3):
        threaded = loader(num_workers=workers)
        assert content(threaded) == expected[0]
        batches = iter(threaded)
        first = [next(batches) for _ in range(workers)]
        resumed = loader()
        resumed.load_state_dict(threaded.state_dict())
        assert content(first) + content(resumed) == expected[1]
    (x, y), *_ = loader()
    assert isinstance(x, batten.Tensor) and x.is_contiguous(memory_format=batten.channels_last)
    assert x.dtype == np.uint8 and x.shape == (8, 3, 8, 8) and y.dtype == batten.int64
    joined = dataset + data.Subset(dataset, range(10))
    assert [len(y) for _, y in DataLoader(joined, batch_size=40)] == [40, 20]


# ---- options ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dataset": iter("abc")}, TypeError, "a data set with __getitem__, got str_ascii_iterator|str_iterator"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "shuffle or a sampler, got both"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ValueError, "no batch_size, .* beside a batch_sampler"),
        ({"batch_sampler": [[0]], "shuffle": True}, ValueError, "beside a batch_sampler"),
        ({"batch_sampler": [[0]], "sampler": [0]}, ValueError, "beside a batch_sampler"),
        ({"batch_sampler": [[0]], "drop_last": True}, ValueError, "beside a batch_sampler"),
        ({"batch_size": None, "drop_last": True}, ValueError, "expects a batch_size .* got None"),
        ({"batch_size": 0}, ValueError, "batch_size to be an int of at least 1, got 0"),
        ({"dataset": [], "shuffle": True}, ValueError, "num_samples to be an int of at least 1, got 0"),
        ({"num_workers": -1}, ValueError, "num_workers of at least 0, got -1"),
        ({"num_workers": 1.5}, TypeError, "num_workers to be an int, got 1.5"),
        ({"prefetch": -1}, ValueError, "prefetch of at least 0, got -1"),
        ({"prefetch_factor": -2}, ValueError, "prefetch of at least 0, got -2"),
        ({"timeout": -1}, ValueError, "a timeout of at least 0 seconds, got -1"),
        ({"generator": 3}, TypeError, "DataLoader expects a batten.Generator, got int"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(**{"dataset": "abc", **options})


def test_options_of_processes_and_devices_are_accepted():
    loader = DataLoader([1, 2], 1, False, None, None, 2, None, True, False, 5, None, persistent_workers=True)
    assert [x.item() for x in loader] == [1, 2]
    assert DataLoader([1], prefetch_factor=3, num_workers=2).prefetch == 3


def test_what_was_decided_cannot_be_set():
    loader = DataLoader([1, 2])
    for name in ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last"):
        with pytest.raises(ValueError, match=f"a DataLoader's {name} is decided when it is made"):
            setattr(loader, name, None)
    loader.num_workers = 2
    assert [x.item() for x in loader] == [1, 2]


# ---- threads ----


class Watched(data.Dataset):
    """Notes which samples were asked for, and by whom; some of them do as they are told."""

    def __init__(self, n=20, **special):
        self.n, self.asked, self.threads = n, [], set()
        self.special = {int(name[1:]): action for name, action in special.items()}

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.asked.append(index)
        self.threads.add(threading.current_thread())
        self.special.get(index, int)()
        return index


@pytest.mark.parametrize("workers, prefetch", [(0, 1), (0, 3), (1, 2), (2, 1), (3, 2)])
def test_batches_are_made_ahead_and_no_more_of_them(workers, prefetch):
    dataset = Watched()
    room = prefetch * max(workers, 1)
    for given, _ in enumerate(DataLoader(dataset, num_workers=workers, prefetch=prefetch), 1):
        until(lambda given=given: len(dataset.asked) == min(given + room, 20))
        assert len(crew()) <= max(workers, 1)
    assert threading.current_thread() not in dataset.threads and len(dataset.threads) <= max(workers, 1)
    assert sorted(dataset.asked) == list(range(20))


def test_without_prefetch_the_caller_makes_each_batch():
    dataset = Watched()
    for given, _ in enumerate(DataLoader(dataset, prefetch=0, num_workers=2), 1):
        assert len(dataset.asked) == given and not crew()
    assert dataset.threads == {threading.current_thread()}


def test_kernels_have_no_team_in_a_loader_s_thread(threads):
    threads(3)
    work = 1 << 40
    until(lambda: kernels.team(work) == batten.get_num_threads())  # not while it is given up for others

    class Team(Watched):
        def __getitem__(self, index):
            return kernels.team(work), threading.current_thread() is threading.main_thread()

    for prefetch, expected in ((0, [batten.get_num_threads(), True]), (2, [1, False])):
        (batch,) = DataLoader(Team(1), prefetch=prefetch)
        assert [x.item() for x in batch] == expected
    assert kernels.team(work) == batten.get_num_threads()


def test_each_worker_begins_once():
    begun, made = [], []

    def begin(number):
        begun.append((threading.current_thread(), number))
        batten.manual_seed(5)  # PyTorch's users seed other generators here, and perhaps this one

    class Begun(Noise):
        def __getitem__(self, index):
            made.append(threading.current_thread() in [thread for thread, _ in begun])
            return super().__getitem__(index)

    before = batten.get_rng_state()
    expected = content(loader_of(Noise(), "shuffled"))
    loader = loader_of(Begun(pace=0.001), "shuffled", num_workers=3, worker_init_fn=begin)
    assert content(loader) == expected
    assert all(made) and len(made) == 23 and batten.get_rng_state().equal(before)
    assert sorted(number for _, number in begun) == list(range(len(begun)))
    assert 1 <= len({thread for thread, _ in begun}) == len(begun) <= 3
    begun.clear()
    assert content(loader_of(Noise(), "shuffled", worker_init_fn=begin)) == expected and not begun


def test_an_exception_has_the_traceback_of_the_data_set():
    def fail():
        raise LookupError("no such picture")

    for workers, prefetch in ((0, 0), (0, 2), (2, 3)):
        dataset, given = Watched(_5=fail), []
        with pytest.raises(LookupError, match="no such picture") as caught:
            for x in DataLoader(dataset, num_workers=workers, prefetch=prefetch):
                given.append(x.item())
        assert given == [0, 1, 2, 3, 4]
        lines = "".join(traceback.format_exception(caught.value))
        assert 'raise LookupError("no such picture")' in lines and "self.special.get(index, int)()" in lines
        until(lambda: not crew())
        if prefetch:
            assert len(dataset.asked) <= 6 + prefetch * max(workers, 1)


def test_an_exception_is_let_go_of():
    class OddError(Exception):
        def __init__(self):
            raised.append(weakref.ref(self))

    def fail():
        raise OddError

    raised = []
    gc.disable()  # what is left would be a cycle
    try:
        with contextlib.suppress(OddError):
            list(DataLoader(Watched(_1=fail)))
        until(lambda: not crew())
        assert [error() for error in raised] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_data_set_cannot_end_a_loop(prefetch):
    class Ends(data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return next(iter([])) if index else 0

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(DataLoader(Ends(), prefetch=prefetch))


def test_exceptions_of_all_that_is_called():
    def fail(*args):
        raise LookupError("nothing")
        yield

    def fail_at_once(*args):
        raise LookupError("nothing")

    def end():
        raise StopIteration("an end of its own")

    def late():
        raise TimeoutError("the data set's own")

    for options in (
        {"sampler": fail()},
        {"collate_fn": fail_at_once},
        {"num_workers": 2, "worker_init_fn": fail_at_once},
    ):
        with pytest.raises(LookupError, match="nothing") as caught:
            list(DataLoader(Watched(), **options))
        assert 'raise LookupError("nothing")' in "".join(traceback.format_exception(caught.value))
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Watched(_3=end)))
    assert isinstance(caught.value.__cause__, StopIteration)
    with pytest.raises(TimeoutError, match="the data set's own"):
        list(DataLoader(Watched(_3=late), timeout=PATIENCE))


def test_a_batch_that_takes_too_long():
    event = threading.Event()
    loader = DataLoader(Watched(_1=lambda: event.wait(PATIENCE)), timeout=0.02)
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.02 seconds"):
        list(loader)
    assert len(crew()) == 1
    event.set()


@pytest.mark.parametrize("workers", [0, 3])
def test_threads_end_when_a_loop_is_left(workers):
    loader = DataLoader(Watched(1000), num_workers=workers)
    for _ in loader:
        break
    until(lambda: not crew())
    with pytest.raises(KeyError):
        for _ in loader:
            raise KeyError
    until(lambda: not crew())
    batches = iter(loader)
    next(batches)
    assert crew()
    del batches
    until(lambda: not crew())
    assert len(loader.dataset.asked) < 100


def test_threads_end_when_a_loop_is_collected_in_any_thread():
    """A loop in a cycle of garbage is closed where the collector happens to run, such as in one of its own threads."""
    for other in (DataLoader(Watched(4, _2=gc.collect)), None):
        loader = DataLoader(Watched(4, _2=gc.collect), prefetch=3)
        cycle = [iter(loader)]
        cycle.append(cycle)
        next(cycle[0])
        del cycle
        list(other or loader)
    until(lambda: gc.collect() >= 0 and not crew())  # it collects nothing while another thread does


def test_many_epochs_need_no_more_than_one():
    alive, most = weakref.WeakSet(), 0

    class Batch(list):
        __hash__ = object.__hash__

        def __init__(self, samples):
            super().__init__(samples)
            alive.add(self)

    loader = DataLoader(Watched(8), batch_size=2, num_workers=2, prefetch=1, collate_fn=Batch)
    for _ in range(50):
        for _batch in loader:
            most = max(most, len(alive))
        until(lambda: len(crew()) <= 2)
    assert most <= 2 + 2  # two are ahead, one is with us, and one before it may be
    del _batch
    until(lambda: not crew() and not alive)


def test_memory_of_many_epochs_is_constant(rng):
    x = rng.normal(size=(64, 1000)).astype(np.float32)
    loader = DataLoader(TensorDataset(x), batch_size=8, shuffle=True, num_workers=2)

    def epoch():
        for (batch,) in loader:
            assert batch.shape == (8, 1000)
        until(lambda: not crew())

    epoch()
    gc.collect()
    before = batten.memory_stats()
    for _ in range(20):
        epoch()
    after = batten.memory_stats()
    assert after["allocated"] <= before["allocated"]
    assert after["reserved"] <= before["reserved"] + 8 * 32_768


def test_a_loader_within_a_data_set():
    class Nested(data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            inner = DataLoader(Noise(4), batch_size=2, shuffle=True)
            return index, batten.cat([x for _, x in inner])

    expected = content(loader_of(Nested(), "in order", prefetch=0))
    assert content(loader_of(Nested(), "in order", num_workers=2)) == expected


def test_ctrl_c_gets_through_while_a_batch_is_waited_for():
    released, heard = threading.Event(), []

    def interrupt():
        time.sleep(0.01)  # by then it is: Python hears of what comes right before it waits only afterwards
        os.kill(os.getpid(), signal.SIGINT)
        heard.append(released.wait(PATIENCE))

    with pytest.raises(KeyboardInterrupt):
        list(DataLoader(Watched(_3=interrupt)))
    released.set()
    until(lambda: not crew())
    assert heard == [True]


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return result.returncode, result.stdout, result.stderr


HEAD = """
import itertools, sys, time
import numpy as np
import batten
from batten.data import DataLoader, TensorDataset
loader = DataLoader(TensorDataset(np.zeros((64, 1000))), batch_sampler=itertools.repeat([1, 2]), num_workers=2)
"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("batches = iter(loader)\nnext(batches)\nprint('end')", 0),
        ("for batch in loader:\n    break\nprint('end')", 0),
        ("for batch in loader:\n    print('end')\n    sys.exit(3)", 3),
        ("batches = iter(loader)\nprint('end')", 0),
        ("sys.own = iter(loader)\nnext(sys.own)\nprint('end')", 0),
    ],
)
def test_the_interpreter_ends_in_the_middle_of_a_loop(code, status):
    assert python(HEAD + code) == (status, "end\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_loops_in_a_forked_process():
    loader = loader_of(NoiseAtOnce(), "shuffled", num_workers=2)
    expected = [content(loader) for _ in range(2)]
    loader.set_epoch(0)
    batches = iter(loader)
    next(batches)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks while there are threads, which is what this is about
        child = os.fork()
    if not child:
        status = 1
        try:
            assert content(loader) == expected[1]
            with pytest.raises(RuntimeError, match="not in a forked process; begin another loop there"):
                next(batches)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + PATIENCE
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline or os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    assert ended[1] == 0
    assert content(batches) == expected[0][1:]


def test_what_is_loaded_can_be_learned_from():
    x = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).astype(np.int64)), 20, shuffle=True, generator=generator())
    batten.manual_seed(0)
    model = batten.nn.Linear(4, 2)
    optimizer = batten.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(20):
        for inputs, labels in loader:
            loss = batten.nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.3


@pytest.mark.parametrize("reuse", [None, "retrain"])
def test_a_run_goes_on_in_the_middle_of_an_epoch_with_the_same_bits(reuse, rng, tmp_path):
    pictures, labels = rng.integers(0, 256, (44, 1, 6, 6), np.uint8), np.arange(44) % 3
    augment = transforms.Compose([transforms.RandomCrop(6, padding=1), transforms.ToFloat()])
    whole = ImageDataset(pictures, labels, "abc", transform=augment)
    nn = batten.nn

    class BreakdownError(Exception):
        pass

    class Breakdown(batten.callbacks.Callback):
        def __init__(self, step):
            self.step = step

        def on_step_end(self, run):
            if run.step == self.step:
                raise BreakdownError

    def run(folder, breakdown=None, **options):
        batten.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        optimizer = batten.optim.Adam(model.parameters())
        train, validation = data.random_split(whole, [32, 12])
        batten.fit(
            model,
            DataLoader(train, batch_size=6, shuffle=True, num_workers=2),
            DataLoader(validation, batch_size=6),
            loss=nn.CrossEntropyLoss(),
            optimizer=optimizer,
            epochs=3,
            callbacks=[
                batten.callbacks.Checkpoint(folder, unit="step"),
                *([batten.callbacks.EarlyStopping(patience=2)] if reuse else []),
                Breakdown(breakdown),
            ],
            reuse_validation=reuse,
            progress=False,
            **options,
        )
        return [p.array.tobytes() for p in model.parameters()]

    expected = run(tmp_path / "whole")
    for step in (2, 6, 7, 10, 15, *([20, 25] if reuse else [])):
        with pytest.raises(BreakdownError):
            run(tmp_path / f"{step}", step)
        until(lambda: not crew())
        assert run(tmp_path / f"{step}", resume=tmp_path / f"{step}") == expected, step

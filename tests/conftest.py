"""What the tests share: a seeded generator, and every variant of the kernels."""

from __future__ import annotations

import os
import signal

# NumPy's threads wait by spinning, and take the processor away from those that are tested.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from batten import _kernels as kernels

# A shell starts what it leaves in the background with Ctrl-C ignored, and so would be the commands that are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run.
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=kernels.isas())
def isa(request):
    """Every instruction set of this processor in turn."""
    before = kernels.isa()
    kernels.set_isa(request.param)
    yield request.param
    kernels.set_isa(before)


@pytest.fixture(params=["batten", "torch"])
def lib(request):
    """The library to run a test by, in turn: what is said of PyTorch is asked of PyTorch."""
    return pytest.importorskip(request.param)


@pytest.fixture
def threads():
    """A function that sets the number of threads, undone afterwards."""
    before = kernels.get_num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


def pytest_collection_modifyitems(items):
    """Tests that go through the instruction sets are the ones for a build with sanitizers."""
    for item in items:
        if "isa" in item.fixturenames:
            item.add_marker("kernels")

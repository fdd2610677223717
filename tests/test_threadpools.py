"""threadpoolctl lists batten's threads and limits them, whichever of the two is imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

import batten
from batten import _kernels as kernels
from batten import threadpools

pytest.importorskip("threadpoolctl")
pytestmark = pytest.mark.skipif(kernels.openmp() is None, reason="built without OpenMP")

LIMITS = """
import batten
from threadpoolctl import threadpool_info, threadpool_limits

batten.set_num_threads(3)
(found,) = (info for info in threadpool_info() if info["internal_api"] == "batten")
assert (found["user_api"], found["num_threads"], found["version"]) == ("openmp", 3, batten.__version__), found
assert found["filepath"].endswith(batten._kernels.__file__.rpartition("/")[2])
with threadpool_limits(1):
    assert batten.get_num_threads() == 1 and batten._kernels.team(1 << 40) == 1
    with threadpool_limits({"openmp": 2}):
        assert batten.get_num_threads() == 2
    assert batten.get_num_threads() == 1
with threadpool_limits(1, user_api="blas"):
    assert batten.get_num_threads() == 3

@threadpool_limits.wrap(limits=2)
def threads():
    return batten.get_num_threads()

assert (threads(), batten.get_num_threads()) == (2, 3)
"""


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("order", ["batten, threadpoolctl", "threadpoolctl, batten", "batten, sklearn"])
def test_it_is_listed_and_limited_in_any_order_of_imports(order):
    if "sklearn" in order:
        pytest.importorskip("sklearn")
    run(f"import {order}\n{LIMITS}")


def test_nothing_is_left_of_the_introduction():
    """The module that comes later has been found and loaded as if nobody had waited for it."""
    code = """
import importlib, importlib.util, sys
before = list(sys.meta_path)
import batten
waiting = [finder for finder in sys.meta_path if finder not in before]
assert [type(finder).__name__ for finder in waiting] == ["Introduction"] and "threadpoolctl" not in sys.modules
assert importlib.util.find_spec("threadpoolctl").loader.get_source("threadpoolctl")  # who only asks, too, is told
assert waiting[0] in sys.meta_path and waiting[0].find_spec("numpy") is None
import threadpoolctl
assert sys.meta_path == before
assert threadpoolctl.__loader__ is threadpoolctl.__spec__.loader
assert type(threadpoolctl.__loader__).__name__ == "SourceFileLoader"
"""
    run(code)


def test_a_failure_to_import_it_is_its_own(tmp_path):
    (tmp_path / "threadpoolctl.py").write_text("raise ImportError('not today')")
    code = f"""
import sys
import batten
sys.path.insert(0, {str(tmp_path)!r})
for _ in range(2):
    try:
        import threadpoolctl
    except ImportError as error:
        assert str(error) == "not today"
sys.path[0] = {str(tmp_path / "none")!r}
sys.path_importer_cache.clear()
import threadpoolctl
assert any(info["internal_api"] == "batten" for info in threadpoolctl.threadpool_info())
"""
    run(code)


def test_an_older_one_knows_no_controllers_but_its_own(tmp_path):
    (tmp_path / "threadpoolctl.py").write_text("__version__ = '2.2.0'")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import batten, threadpoolctl; print(threadpoolctl)"
    assert str(tmp_path) in run(code)


def test_a_build_without_openmp_has_nothing_to_limit(monkeypatch):
    before = list(sys.meta_path)
    monkeypatch.setattr(threadpools.kernels, "openmp", lambda: None)
    threadpools.introduce()
    assert sys.meta_path == before


def test_a_limit_of_no_threads_is_refused():
    import threadpoolctl

    before = batten.get_num_threads()
    with pytest.raises(ValueError, match="at least one thread, got 0"):
        threadpoolctl.threadpool_limits(limits={"_kernels.": 0})
    assert batten.get_num_threads() == before

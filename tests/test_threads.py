"""How many threads, and which instruction set: defaults, overrides and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import batten
from batten import _kernels as kernels

needs_openmp = pytest.mark.skipif(kernels.openmp() is None, reason="built without OpenMP")


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "BATTEN_ISA")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**variables, **environment}, capture_output=True, text=True, check=False
    )


COUNT = "import batten; print(batten.get_num_threads())"


@needs_openmp
def test_set_num_threads(threads):
    threads(3)
    assert batten.get_num_threads() == 3
    with pytest.raises(ValueError, match="at least one thread, got 0"):
        batten.set_num_threads(0)
    with pytest.raises(TypeError):
        batten.set_num_threads("2")


@needs_openmp
@pytest.mark.parametrize("value, expected", [("3", "3"), ("4,2", "4")])
def test_omp_num_threads_decides(value, expected):
    assert python(COUNT, OMP_NUM_THREADS=value).stdout.strip() == expected


def test_by_default_no_more_than_the_processors_that_may_be_used():
    assert 1 <= int(python(COUNT).stdout) <= len(os.sched_getaffinity(0))
    assert int(python(COUNT, OMP_NUM_THREADS="nonsense").stdout) >= 1
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});" + COUNT
    assert python(one).stdout.strip() == "1"


@needs_openmp
def test_small_work_stays_on_one_thread(threads):
    threads(3)
    assert [kernels.team(work) for work in (0, 1, 32767, 32768, 1 << 40)] == [1, 1, 1, 3, 3]
    threads(1)
    assert kernels.team(1 << 40) == 1


@needs_openmp
def test_a_thread_may_stay_alone(threads):
    found = []

    def work():
        found.append(kernels.team(1 << 40))
        kernels.stay_alone()
        found.append(kernels.team(1 << 40))

    threads(3)
    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [3, 1, 3, 1] and kernels.team(1 << 40) == 3


LATE = """
import batten, numpy as np, time
from batten import _kernels as kernels
batten.set_num_threads(3)
x = np.ones(1 << 20, np.float32)
y = x.copy()

def until(team):
    while kernels.team(1 << 40) != team:
        if team == 1:
            kernels.add(y, x, x)
        else:
            time.sleep(0.01)
    print(team, flush=True)

until(1)
until(3)
until(1)
batten.set_num_threads(4)
print(kernels.team(1 << 40), (y == 2).all())
"""


@needs_openmp
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def test_a_team_that_had_to_wait_is_given_up_for_a_while():
    """A process that is stopped in a region waits for a processor like one beside which others compute."""
    process = subprocess.Popen([sys.executable, "-c", LATE], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        for stop_or_go in (signal.SIGSTOP, signal.SIGCONT):
            process.send_signal(stop_or_go)
            time.sleep(0.02)
    process.kill()
    assert process.communicate()[0].splitlines() == ["1", "3", "1", "4 True"]


@pytest.mark.parametrize("isa", kernels.isas())
def test_batten_isa_forces_a_variant(isa):
    assert python("from batten import _kernels; print(_kernels.isa())", BATTEN_ISA=isa).stdout.strip() == isa


def test_an_unknown_or_impossible_instruction_set_is_refused_by_name():
    refused = python("import batten", BATTEN_ISA="avx9000")
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[-1] == (
        "ImportError: BATTEN_ISA: expected base, avx2 or avx512, got 'avx9000'"
        if len(kernels.isas()) > 1
        else "ImportError: BATTEN_ISA: expected base, got 'avx9000'"
    )
    if "avx512" not in kernels.isas() and len(kernels.isas()) > 1:
        refused = python("import batten", BATTEN_ISA="avx512")
        assert "avx512 asks for instructions that this processor does not have" in refused.stderr

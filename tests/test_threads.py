"""How many threads, and which instruction set: defaults, overrides and refusals."""

from __future__ import annotations

import os
import subprocess
import sys

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

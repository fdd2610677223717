"""The smoke tests of an installed package pass, and tell when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from batten import selftest


def test_they_pass(capsys):
    assert selftest.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(selftest.TESTS) and all(line.startswith("passed") for line in lines[1:])


def test_one_that_fails_is_told_and_is_no_end(capsys, monkeypatch):
    monkeypatch.setattr(selftest.kernels, "tanh", lambda y, x: np.add(x, 1, out=y))
    monkeypatch.setattr(selftest, "TESTS", [selftest.elementwise, selftest.files])
    assert selftest.main() == 1
    told = capsys.readouterr()
    assert "from NumPy's" in told.err
    assert [line.split()[0] for line in told.out.splitlines()[1:]] == ["FAILED", "passed"]


def test_what_is_far_from_numpy_s_is_refused():
    selftest.near(np.float32([1]), np.array([1.0]), 0)
    with pytest.raises(AssertionError, match=r"expected at most .* from NumPy's, got 0\.5"):
        selftest.near(np.float32([1.5]), np.array([1.0]), 4)

"""Runs that go on from a file: killed at any moment, on other machines, and from files that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import resumable
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable import Parts
from test_serialization import assert_same

import batten
from batten import _kernels as kernels
from batten import checkpoint, nn, optim, serialization


class At(batten.Callback):
    """Does something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, run):
        if run.step == self.step:
            self.action(run)


class BreakdownError(Exception):
    pass


def breakdown(run):
    raise BreakdownError


# ---- killed ----


def killed(folder, seed, kills):
    """Trainings that were killed so many times for each strategy, against those that were not."""
    command = [sys.executable, resumable.__file__, str(folder), str(seed), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > kills / 4, "hardly any was killed in the middle of a save"
    for reuse in (None, "retrain", "continue"):
        whole = batten.load(folder / f"{reuse}-whole.end")
        assert whole["history"]["reused_after"] is None if reuse is None else whole["history"]["reused_after"] > 3
        ends = sorted(folder.glob(f"{reuse}-[0-9]*.end"))
        assert ends
        for end in ends:
            assert_same(batten.load(end), whole)
            assert not list(end.with_suffix("").glob(".*")), "leftovers of killed saves"
            assert len(checkpoint.files(end.with_suffix(""))) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_at_twenty_moments_ends_with_the_same_bits(tmp_path):
    killed(tmp_path, 1, 20)


@pytest.mark.sweep
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_at_a_thousand_moments(tmp_path):
    killed(tmp_path, 2, 350)

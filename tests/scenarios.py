"""What tests of modules share: the same lines are run by batten and, where it is installed, by PyTorch.

A test that takes the fixture `lib` (conftest.py) says what PyTorch does, and PyTorch itself is asked whether
that is so.
"""

from __future__ import annotations

import contextlib
import functools
import re

import pytest


@functools.cache
def layers(lib):
    """Classes of modules for one of the two libraries."""
    nn = lib.nn

    class Dense(nn.Module):
        """y = x W + b, with a count of its calls."""

        def __init__(self, n, m, bias=True):
            super().__init__()
            self.n, self.m = n, m
            self.weight = nn.Parameter(lib.ones(n, m))
            self.register_parameter("bias", nn.Parameter(lib.zeros(m)) if bias else None)
            self.register_buffer("calls", lib.tensor(0))

        def forward(self, x):
            self.calls += 1
            y = x @ self.weight
            return y if self.bias is None else y + self.bias

        def extra_repr(self):
            return f"{self.n}, {self.m}"

    class Double(nn.Module):
        def forward(self, x):
            return x * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Dense(2, 3)
            self.scale = nn.Parameter(lib.ones(1))
            self.rest = nn.Sequential(Double(), Dense(3, 1, bias=False))

        def forward(self, x):
            return self.rest(self.first(x) * self.scale)

    Net.Dense, Net.Double = Dense, Double
    return Net


def said(text):
    """A message in neither library's dialect: shapes are lists, names are batten's."""
    text = re.sub(r"torch\.Size\((\[.*?\])\)", r"\1", text)
    text = text.replace("torch.nn.Buffer, torch.Tensor", "batten.Tensor").replace("torch Tensor", "batten.Tensor")
    return text.replace("torch.", "batten.")


@contextlib.contextmanager
def raises(error, message):
    """The code within raises an error of just this type and, in batten's words, with just this message."""
    with pytest.raises(error) as caught:
        yield
    assert type(caught.value) is error
    assert said(str(caught.value.args[0])) == message

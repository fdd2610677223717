"""What `import batten` brings with it: NumPy, and nothing else that is not Python's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import batten


def loaded_by(statement):
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_importing_brings_only_numpy():
    loaded = loaded_by("import batten")
    assert "batten.nn" in loaded and "batten.optim" in loaded
    late = {"sklearn", "matplotlib", "tqdm", "torch", "safetensors", "importlib.metadata", "argparse", "batten.cli"}
    assert not loaded & late
    packages = {name.partition(".")[0] for name in loaded - loaded_by("import numpy")}
    ours = {name for name in packages if name.startswith(("batten", "cython_", "_cython_"))}  # and our extension's own
    assert packages - ours <= set(sys.stdlib_module_names)


def test_version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = version("batten")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert batten.__version__ == expected
    with pytest.raises(AttributeError, match="module 'batten' has no attribute 'nothing'"):
        batten.nothing  # noqa: B018

"""What `import batten` brings with it: NumPy, and nothing else that is not Python's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import batten

ROOT = Path(__file__).resolve().parent.parent


def after(statement, expression):
    """The value of an expression in a process that has run a statement."""
    code = f"import json, os, signal, sys\n{statement}\nprint(json.dumps({expression}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def loaded_by(statement):
    return set(after(statement, "sorted(sys.modules)"))


def test_importing_brings_only_numpy():
    loaded = loaded_by("import batten")
    assert "batten.nn" in loaded and "batten.optim" in loaded
    brought = loaded - loaded_by("import numpy")
    late = {"sklearn", "matplotlib", "tqdm", "torch", "safetensors", "importlib.metadata", "argparse", "batten.cli"}
    assert not brought & (late | {"csv", "html", "pathlib", "string", "tempfile"})  # of Python's own, what takes long
    packages = {name.partition(".")[0] for name in brought}
    ours = {name for name in packages if name.startswith(("batten", "cython_", "_cython_"))}  # and our extension's own
    assert packages - ours <= set(sys.stdlib_module_names)


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")
def test_no_package_that_is_optional_is_imported():
    """Even those that are installed: what pyproject.toml names, and what batten only works with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [name for extra in project["optional-dependencies"].values() for name in extra] + project["dependencies"]
    modules = {re.match(r"[\w-]+", name)[0].replace("-", "_").replace("scikit_learn", "sklearn") for name in names}
    unwanted = modules - {"numpy"} | {"threadpoolctl", "torch", "scipy", "jax", "pandas", "PIL", "ipykernel", "joblib"}
    assert not {name.partition(".")[0] for name in loaded_by("import batten")} & unwanted


def test_importing_changes_nothing_of_the_process():
    """Neither its environment, which children inherit, nor how it deals with signals, nor its threads; nor warnings."""
    state = (
        "[dict(os.environ), [str(signal.getsignal(s)) for s in sorted(signal.valid_signals())],"
        " len(os.listdir('/proc/self/task')) if os.path.exists('/proc/self/task') else 1,"
        " repr(__import__('warnings').filters),"
        " __import__('numpy').geterr(), sys.getswitchinterval(), sys.getrecursionlimit()]"
    )
    assert after("import numpy, batten", state) == after("import numpy", state)


def test_version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = version("batten")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert batten.__version__ == expected
    with pytest.raises(AttributeError, match="module 'batten' has no attribute 'nothing'"):
        batten.nothing  # noqa: B018


def test_the_version_is_in_one_place():
    """meson.build has it; pyproject.toml leaves it to that, and whoever cites batten to the installed one."""
    stated = re.search(r"^project\(.*?version: '([^']+)'", (ROOT / "meson.build").read_text(), re.DOTALL | re.MULTILINE)
    assert batten.__version__ == stated[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"] and "version" not in project
    assert not re.search("^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)

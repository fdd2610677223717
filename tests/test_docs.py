"""What is written about the code is true: examples run, and everything public says what it does."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import batten

ROOT = Path(__file__).resolve().parent.parent


def modules() -> list[str]:
    names = [found.name for found in pkgutil.walk_packages(batten.__path__, "batten.")]
    return ["batten", *[name for name in names if not name.endswith(("._kernels", ".__main__"))]]


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    """Docstrings are taken from the source, as those of a compiled module cannot all be found otherwise."""
    module = importlib.import_module(name)
    found = [
        doctest.DocTestParser().get_doctest(text, dict(vars(module)), f"{name}.{getattr(node, 'name', '')}", name, None)
        for node in ast.walk(ast.parse(source(module)))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node))
    ]
    runner = doctest.DocTestRunner()
    written: list[str] = []
    for test in found:
        runner.run(test, out=written.append)
    assert not runner.failures, "".join(written)
    examples = sum(len(test.examples) for test in found)
    assert examples == len(re.findall(r"^ *>>> ", source(module), re.MULTILINE)), "some examples were not found"


def source(module: ModuleType) -> str:
    """A compiled module's is in the package, wherever the build has put the module itself."""
    assert module.__file__ and batten.__file__
    if module.__file__.endswith(".py"):
        return Path(module.__file__).read_text()
    return Path(batten.__file__).parents[1].joinpath(*module.__name__.split(".")).with_suffix(".py").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="needs the source tree")
def test_readme_s_python_runs(tmp_path, monkeypatch):
    """The blocks follow one another, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks((ROOT / "README.md").read_text(), "python"):
        exec(compile(inspect.cleandoc(block), "README.md", "exec"), scope)


def test_blocks_are_found():
    text = "a\n```python\nx = 1\n```\n1. b\n   ```python\n   y = 2\n   ```\n```sh\nls\n```\n"
    assert [inspect.cleandoc(block) for block in blocks(text, "python")] == ["x = 1", "y = 2"]
    assert blocks(text, "sh") == ["ls\n"]


def public_objects() -> dict[str, object]:
    """Functions and classes by name: what modules list as theirs, and the methods of what is in `batten` itself."""
    found: dict[str, object] = {}
    for name in modules():
        module = importlib.import_module(name)
        for key in vars(batten) if module is batten else getattr(module, "__all__", ()):
            value = getattr(module, key)
            if key.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
                continue
            found[f"{name}.{key}"] = value
            if name == "batten" and inspect.isclass(value):
                members = {f"{name}.{key}.{attribute}": member for attribute, member in inspect.getmembers(value)}
                found |= {path: member for path, member in members.items() if "._" not in path and callable(member)}
    return found


def test_everything_public_says_what_it_does():
    silent = [name for name, value in public_objects().items() if not (getattr(value, "__doc__", None) or "").strip()]
    assert not silent

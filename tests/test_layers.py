"""The house's rules (ARCHITECTURE.md), read off the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "batten"

# From the ground up.  A module may import those of lower floors and of its own.
FLOORS = [
    ["_kernels"],
    ["dtypes", "device", "cuda", "memory", "precision", "printing", "runtimes", "threadpools"],
    ["tape"],
    ["autograd"],
    ["operations"],
    ["creation"],
    ["random"],
    ["tensor"],
    ["nn"],
    ["optim", "serialization", "regularization", "states", "transforms", "data"],
    ["models", "datasets", "inspect", "prediction", "preprocessing"],
    ["callbacks", "checkpoint", "fit", "history", "metrics", "reuse", "run"],
    ["training", "benchmark", "selftest"],
    ["cli"],
    ["__main__"],
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}

pytestmark = pytest.mark.skipif(not PACKAGE.exists(), reason="needs the source tree")


def imports(path: Path) -> set[str]:
    """The parts of batten that a module imports when it runs, wherever in its text."""
    here = ["batten", *path.relative_to(PACKAGE).with_suffix("").parts]
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if module[:1] == ["batten"]:
                found |= {module[1]} if len(module) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("batten.")}
    return found


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_lower_floors(path):
    height = FLOOR[part(path)]
    upward = {name for name in imports(path) if FLOOR.get(name, -1) > height}
    assert not upward, f"{path.name} is on floor {height}, and imports {upward} from above"


def test_every_part_has_a_floor():
    assert {part(p) for p in modules()} <= set(FLOOR)


def test_only_the_command_line_imports_the_benchmarks():
    importers = {part(path) for path in modules() if "benchmark" in imports(path)}
    assert importers <= {"cli", "benchmark"}


@pytest.mark.parametrize("name", ["cases.py", "worker.py"])
def test_what_runs_in_the_peers_processes_imports_nothing_of_ours_at_the_top(name):
    tree = ast.parse((PACKAGE / "benchmark" / name).read_text())
    found = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not any("batten" in ast.unparse(node) or getattr(node, "level", 0) for node in found)


def test_autograd_uses_only_allocation_and_accumulation():
    used = set(
        re.findall(r"kernels\.(\w+)", "".join((PACKAGE / name).read_text() for name in ("tape.py", "autograd.py")))
    )
    assert used <= {"add", "copy", "empty", "empty_like", "empty_over"}


def test_the_c_library_knows_no_python_and_allocates_in_one_file():
    for path in (ROOT / "ext").glob("*.[ch]"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert "Python.h" not in text
        assert "Py_" not in text
        if path.name != "system.h":  # which has how memory is asked for, and
            asks = r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|_aligned_malloc|mmap|VirtualAlloc|free)\s*\("
            assert not re.search(asks, text), path.name
            assert path.name == "memory.c" or not re.search(r"\bsystem_(block|pages)\b", text), path.name
            assert not re.search(r"\bpthread|windows\.h|<sys/", text), path.name
        if path.name not in ("dispatch.c", "threads.c"):
            assert not re.search(r"\b(printf|fprintf|abort|exit|getenv)\s*\(", text), path.name


def test_parallel_regions_state_their_team():
    for path in (ROOT / "ext").glob("*.[ch]"):
        for line in path.read_text().splitlines():
            if re.search(r"omp parallel", line) and not line.lstrip().startswith(("*", "/*")):
                assert "num_threads(" in line, f"{path.name}: {line.strip()}"


def test_only_the_wrappers_release_the_interpreter_lock():
    for path in (ROOT / "src").rglob("*.p[yx]*"):
        if "nogil" in path.read_text():
            assert path.parent.name == "kernels", path.name

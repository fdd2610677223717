"""Which runtimes of OpenMP and BLAS are found in a process, and what is said of those that do not go together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from batten import _kernels as kernels
from batten import cli, runtimes
from batten.runtimes import KINDS, Runtime, dangers, loaded

KIND = {kind.name: kind for kind in KINDS}


def there(*paths):
    """Runtimes in files that nobody reads."""
    return [Runtime(next(k for k in KINDS if k.name == name), Path(path), None, None) for name, path in paths]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of what is loaded")
def test_loaded(threads):
    threads(2)
    found = loaded()
    if kernels.openmp():
        assert kernels.openmp() in {runtime.kind.name for runtime in found}
    if np.__config__.show("dicts")["Build Dependencies"]["blas"]["name"].endswith("openblas"):
        (blas,) = (runtime for runtime in found if runtime.kind.name == "OpenBLAS" and "numpy" in str(runtime.path))
        version = np.__config__.show("dicts")["Build Dependencies"]["blas"]["version"]
        assert blas.version.startswith(version) and blas.threads >= 1
        assert str(blas) == f"OpenBLAS: {blas.version}, {blas.threads} thread{'s' * (blas.threads > 1)}, {blas.path}"
    assert [runtime.kind.openmp for runtime in found] == sorted((r.kind.openmp for r in found), reverse=True)
    assert all(runtime.path.exists() and runtime.version and runtime.threads >= 1 for runtime in found)


def test_the_list_of_what_is_loaded(tmp_path):
    """Every file once, however many pieces of it are mapped; wheels put a hash into names; a file may be gone."""
    names = [
        "torch/lib/libgomp.so.1", "torch/lib/libgomp.so.1", "batten.libs/libgomp-e985bcbb.so.1.0.0", "libiomp5.so",
        "libomp-1a2b.so", "libomp5.so", "numpy.libs/libscipy_openblas64_-32a4b2a6.so", "libopenblas.so.0",
        "libmkl_rt.so.2", "libblis.so.4", "libgomphosis.so", "python3.11/_openblas.so", "libompress.so",
        "with space/libgomp.so.1",
    ]  # fmt: skip
    lines = [f"7f00-7f10 r-xp 00000000 08:01 123                        {tmp_path / name}" for name in names]
    maps = tmp_path / "maps"
    others = ["7ffe-7fff rw-p 00000000 00:00 0    [stack]", "7ffe-7fff rw-p 00000000 00:00 0"]
    maps.write_text("\n".join(lines + others))
    found = loaded(str(maps))
    assert [(r.kind.name, str(r.path.relative_to(tmp_path))) for r in found] == [
        ("libgomp", "batten.libs/libgomp-e985bcbb.so.1.0.0"), ("libgomp", "torch/lib/libgomp.so.1"),
        ("libgomp", "with space/libgomp.so.1"), ("libiomp5", "libiomp5.so"), ("libomp", "libomp-1a2b.so"),
        ("libomp", "libomp5.so"), ("OpenBLAS", "libopenblas.so.0"),
        ("OpenBLAS", "numpy.libs/libscipy_openblas64_-32a4b2a6.so"), ("MKL", "libmkl_rt.so.2"),
        ("BLIS", "libblis.so.4"),
    ]  # fmt: skip
    assert all((runtime.version, runtime.threads) == (None, None) for runtime in found)
    assert str(found[0]) == f"libgomp: {tmp_path / 'batten.libs/libgomp-e985bcbb.so.1.0.0'}"
    assert loaded(str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    "kind, content, expected",
    [
        ("libgomp", b"\0GOMP_4.0.1\0GOMP_5.1\0OMP_5.2\0", "GOMP_5.1"),
        ("libiomp5", b"\0@(#) Intel(R) OMP version: 5.0.20140926\0", "5.0.20140926"),
        ("libomp", b"\0@(#) LLVM OMP version: 5.0.20140926\0", "5.0.20140926"),
        ("OpenBLAS", b"OpenBLAS 0.3.30 DYNAMIC_ARCH", "0.3.30"),
        ("MKL", b"Intel(R) oneAPI Math Kernel Library Version 2024.2-Product", "2024.2"),
        ("libgomp", b"", None),
    ],
)
def test_version(tmp_path, kind, content, expected):
    path = tmp_path / "library.so"
    path.write_bytes(b"\x7fELF" + content)
    assert runtimes.version(KIND[kind], path) == expected


def test_dangers():
    gnu, other = ("libgomp", "/a/libgomp.so.1"), ("libgomp", "/b/libgomp-1.so")
    blas = ("OpenBLAS", "/a/libopenblas.so"), ("OpenBLAS", "/b/libopenblas.so")
    assert dangers(there()) == dangers(there(gnu)) == dangers(there(gnu, *blas)) == []
    (twice,) = dangers(there(gnu, other, *blas))
    assert twice.startswith("libgomp is there twice (/a/libgomp.so.1, /b/libgomp-1.so), each with threads of its own.")
    assert "OMP_NUM_THREADS" in twice and "spawn" in twice
    assert dangers(there(gnu, other, ("libgomp", "/c")))[0].startswith("libgomp is there 3 times (")
    for kind in ("libiomp5", "libomp"):
        (mixed,) = dangers(there(gnu, (kind, "/c")))
        assert mixed.startswith(
            f"libgomp and {kind} are different runtimes of OpenMP in one process (/a/libgomp.so.1, "
        )
        assert "hang or crash" in mixed and "one source" in mixed
    assert len(dangers(there(gnu, other, ("libiomp5", "/c")))) == 2


def test_the_command_line_lists_them_and_warns(monkeypatch, capsys):
    found = there(("libgomp", "/a/libgomp.so.1"), ("libiomp5", "/b/libiomp5.so"))
    monkeypatch.setattr(runtimes, "loaded", lambda: found)
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{'libiomp5':16} /b/libiomp5.so" in lines and lines[-1] == f"note: {dangers(found)[0]}"


def test_the_command_line_imports_what_it_is_asked_to(capsys, tmp_path, monkeypatch):
    (tmp_path / "a_neighbour.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["info", "--beside", "a_neighbour"]) == 0
    assert sys.modules.pop("a_neighbour") and "batten " in capsys.readouterr().out
    assert cli.main(["info", "--beside", "no_such_module"]) == 2
    assert capsys.readouterr().err == "batten: cannot import no_such_module (No module named 'no_such_module')\n"

"""Proves a wheel where there is no compiler: in a new virtual environment, with nothing else on PATH.

    python wheels/proof.py dist/batten-0.1.0-cp311-cp311-manylinux_2_28_x86_64.whl

The wheel is installed with its dependencies and those of the extra `labs`. Then `batten info`, the package's own smoke
tests once for each instruction set of this processor, and a short `batten train` must succeed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

COMPILERS = ["cc", "gcc", "clang", "c++", "g++", "ld", "make", "ninja", "meson", "cython"]
IMPORTS = "import time; import numpy; begin = time.perf_counter(); import batten; print(time.perf_counter() - begin)"


class Environment:
    """A virtual environment in a folder; what runs there sees no other program, and none of the caller's settings."""

    def __init__(self, folder, **variables):
        venv.create(folder, with_pip=True)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        passed_on = {name: value for name, value in os.environ.items() if not name.startswith(("BATTEN", "PYTHON"))}
        self.variables = {**passed_on, "PATH": str(self.bin), "MPLBACKEND": "Agg", **variables}
        found = [name for name in COMPILERS if shutil.which(name, path=str(self.bin))]
        if found:
            raise SystemExit(f"expected an environment without compilers, found {', '.join(found)}")

    def run(self, *command, before=(), **variables):
        """Runs one of its programs in its folder; SystemExit where that fails."""
        program, *arguments = map(str, command)
        print("$", *[f"{name}={value}" for name, value in variables.items()], program, *arguments, flush=True)
        run(
            [*before, str(self.bin / program), *arguments],
            cwd=self.bin.parent,
            env={**self.variables, **variables},
        )

    def ask(self, code):
        """What a line of Python prints."""
        command = [str(self.bin / "python"), "-c", code]
        return subprocess.run(
            command, cwd=self.bin.parent, env=self.variables, text=True, check=True, stdout=subprocess.PIPE
        ).stdout.strip()


def run(command, **options):
    try:
        subprocess.run(command, check=True, **options)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"{Path(command[0]).name} {' '.join(command[1:])} failed: exit code {error.returncode}"
        ) from None


def train(environment, before=()):
    """A few epochs on handwritten digits, enough for nine of ten to be told."""
    environment.run("batten", "train", "--epochs", 4, "--out", "trained", before=before)


def prove(wheel, folder):
    """Returns the seconds that `import batten` takes beyond NumPy: the least of several times."""
    environment = Environment(folder)
    environment.run("python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", f"{wheel}[labs]")
    environment.run("batten", "info")
    for isa in environment.ask("from batten import _kernels; print(*_kernels.isas())").split():
        environment.run("python", "-m", "batten.selftest", BATTEN_ISA=isa)
    train(environment)
    return min(float(environment.ask(IMPORTS)) for _ in range(7))


def report(wheel, seconds):
    with zipfile.ZipFile(wheel) as archive:
        installed = sum(info.file_size for info in archive.infolist())
    print(f"""
file       {wheel}
platform   {wheel.stem.rpartition("-")[2]}
size       {wheel.stat().st_size / 1e6:.2f} MB, installed {installed / 1e6:.2f} MB
import     {1000 * seconds:.0f} ms beyond NumPy
passed     installed without a compiler, info, smoke tests of each instruction set, training""")


def main():
    if len(sys.argv) != 2:
        raise SystemExit("expected one argument, a wheel")
    wheel = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        seconds = prove(wheel, Path(folder))
    report(wheel, seconds)


if __name__ == "__main__":
    main()

"""Proves a wheel where there is no compiler: in a new virtual environment, with nothing else on PATH.

    python wheels/proof.py dist/batten-0.1.0-cp311-cp311-manylinux_2_28_x86_64.whl

The wheel is installed alone, with no more than it depends on. Then `batten info`, the package's own smoke tests once
for each instruction set of this processor, and a short `batten train` on pictures that are made here must succeed; and
with the extra `labs`, one on handwritten digits. What fails ends it with a code other than zero.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

COMPILERS = ["cc", "gcc", "clang", "c++", "g++", "ld", "make", "ninja", "meson", "cython"]
INSTALL = ["python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
SIZE = """
from importlib.metadata import files
sizes = {False: 0, True: 0}
for file in files("batten"):
    sizes[file.suffix == ".pyc"] += file.locate().stat().st_size
print(f"{sizes[False] / 1e6:.2f} MB, and {sizes[True] / 1e6:.2f} MB that Python has compiled of it")
"""
PACKAGES = """
from importlib.metadata import distributions
found = {x.metadata["Name"]: x.version for x in distributions()}
print(*sorted(f"{name} {found[name]}" for name in found if name not in ("pip", "setuptools")), sep=", ")
"""
IMPORT = "import time; import numpy; begin = time.perf_counter(); import batten; print(time.perf_counter() - begin)"


class Environment:
    """A virtual environment in a folder; what runs there sees no other program, and none of the caller's settings."""

    def __init__(self, folder, **variables):
        venv.create(folder, with_pip=True)
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        passed_on = {name: value for name, value in os.environ.items() if not name.startswith(("BATTEN", "PYTHON"))}
        ours = {"PATH": str(self.bin), "MPLBACKEND": "Agg", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.variables = {**passed_on, **ours, **variables}
        found = [name for name in COMPILERS if shutil.which(name, path=str(self.bin))]
        if found:
            raise SystemExit(f"expected an environment without compilers, found {', '.join(found)}")

    def run(self, *command, before=(), **variables):
        """Runs one of its programs in its folder; SystemExit where that fails."""
        line = " ".join([*[f"{name}={value}" for name, value in variables.items()], *map(str, command)])
        print("$", line, flush=True)
        program, *arguments = command
        run([*before, self.bin / program, *arguments], line, cwd=self.folder, env={**self.variables, **variables})

    def ask(self, code):
        """What a piece of Python prints."""
        command = [self.bin / "python", "-c", code]
        return run(command, cwd=self.folder, env=self.variables, text=True, stdout=subprocess.PIPE).stdout.strip()


def run(command, line=None, **options):
    """Runs a program, and ends this one where that fails, by a sentence that shows the command or a line instead."""
    command = [str(word) for word in command]
    try:
        return subprocess.run(command, check=True, **options)
    except FileNotFoundError:
        raise SystemExit(f"FAILED: {command[0]} is not there") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"FAILED with code {error.returncode}: {line or ' '.join(command)}") from None


def write_pictures(folder, count=600):
    """Files like MNIST's. A bright bar says by its place which of ten a picture is."""
    folder.mkdir(exist_ok=True)
    labels = bytes(number % 10 for number in range(count))
    pictures = bytearray(count * 28 * 28)
    for number, label in enumerate(labels):
        for row in range(14):
            begin = (number * 28 + row + 14 * (label // 5)) * 28 + 5 * (label % 5)
            pictures[begin : begin + 5] = b"\xff" * 5
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + pictures)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)


def train(environment, name, *options, before=()):
    """Trains for a few epochs, which is enough to tell nine of ten; returns what came of it."""
    environment.run("batten", "train", *options, "--out", name, before=before)
    accuracy = json.loads((environment.folder / name / "result.json").read_text())["test"]["accuracy"]
    if accuracy < 0.9:
        raise SystemExit(f"FAILED: expected a test accuracy of 90 % at least, got {100 * accuracy:.1f} %")
    return f"passed, test accuracy {100 * accuracy:.1f} %"


def train_on_digits(environment, before=()):
    return train(environment, "digits", "--epochs", 4, before=before)


def prove(wheel, environment):
    """What was found of a wheel in an environment, by its name in the report."""
    environment.run(*INSTALL, wheel)
    found = {
        "installed": environment.ask(SIZE),
        "import": f"{1000 * min(float(environment.ask(IMPORT)) for _ in range(7)):.0f} ms beyond NumPy",
        "packages": environment.ask(PACKAGES),
    }
    environment.run("batten", "info")
    found["batten info"] = "passed"
    for isa in environment.ask("from batten import _kernels; print(*_kernels.isas())").split():
        environment.run("python", "-m", "batten.selftest", BATTEN_ISA=isa)
        found[f"smoke tests, {isa}"] = "passed"
    write_pictures(environment.folder / "pictures")
    made = ["--data", "mnist", "--root", "pictures", "--epochs", 3, "--batch-size", 16]
    found["training"] = train(environment, "made", *made)
    environment.run(*INSTALL, f"{wheel}[labs]")
    found["training, labs"] = train_on_digits(environment)
    return found


def report(wheel, found):
    """Prints one table of all there is to know."""
    platform, size = wheel.stem.rpartition("-")[2], f"{wheel.stat().st_size / 1e6:.2f} MB"
    rows = {"file": wheel, "platform tag": platform, "size": size, **found}
    width = max(map(len, rows))
    print()
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


def existing(argument):
    """A wheel that was named on the command line."""
    wheel = Path(argument).resolve()
    if wheel.suffix != ".whl" or not wheel.is_file():
        raise SystemExit(f"expected a wheel, got {argument}")
    return wheel


def main():
    if len(sys.argv) != 2:
        raise SystemExit("expected one argument, a wheel")
    wheel = existing(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = prove(wheel, Environment(Path(folder)))
    report(wheel, found)


if __name__ == "__main__":
    main()

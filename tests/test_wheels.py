"""The scripts that make and prove wheels: what they refuse, and what they report of a wheel that is good.

The wheel here is made by hand, in moments: modules of Python that say what batten's would, and NumPy's place is
taken, so that nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

WHEELS = Path(__file__).resolve().parent.parent / "wheels"
if not WHEELS.exists():
    pytest.skip("needs the source tree", allow_module_level=True)

CLI = """
import json, pathlib, sys
def main():
    print(*sys.argv[1:])
    if sys.argv[1] == "train":
        out = pathlib.Path(sys.argv[-1])
        out.mkdir(exist_ok=True)
        (out / "result.json").write_text(json.dumps({"test": {"accuracy": ACCURACY}}))
"""
SELFTEST = """
import os, sys
print("tested", os.environ["BATTEN_ISA"], "BATTEN_ELSE" in os.environ, os.environ["PATH"].count(os.pathsep))
sys.exit(os.environ["BATTEN_ISA"] == WRONG)
"""


@pytest.fixture(scope="module")
def scripts():
    """proof.py, wheelhouse.py and build.py."""
    sys.path.insert(0, str(WHEELS))
    try:
        yield {name: importlib.import_module(name) for name in ("proof", "wheelhouse", "build")}
    finally:
        sys.path.remove(str(WHEELS))


def make_wheel(folder, version="0.1", tag="py3-none-any", accuracy=1.0, wrong=None):
    """A wheel of something that is called batten, and may learn too little or have one wrong instruction set."""
    info = f"batten-{version}.dist-info"
    contents = {
        "batten/__init__.py": "",
        "batten/_kernels.py": "def isas(): return ['base', 'wide']",
        "batten/cli.py": CLI.replace("ACCURACY", repr(accuracy)),
        "batten/selftest.py": SELFTEST.replace("WRONG", repr(wrong)),
        "numpy.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: batten\nVersion: {version}\nProvides-Extra: labs\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[console_scripts]\nbatten = batten.cli:main\n",
    }
    rows = []
    for name, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text)}\n")
    contents[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    wheel = folder / f"batten-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def environment(scripts, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATTEN_ELSE", "1")
        patch.setenv("PIP_NO_INDEX", "1")
        yield scripts["proof"].Environment(tmp_path_factory.mktemp("environment"))


def test_a_good_wheel_and_its_report(scripts, environment, tmp_path, capfd):
    proof = scripts["proof"]
    wheel = make_wheel(tmp_path)
    found = proof.prove(wheel, environment)
    out, _ = capfd.readouterr()
    lines = [line for line in out.splitlines() if not line.startswith("$ python -m pip")]
    made = "train --data mnist --root pictures --epochs 3 --batch-size 16 --out made"
    assert lines == [
        "$ batten info", "info",
        "$ BATTEN_ISA=base python -m batten.selftest", "tested base False 0",
        "$ BATTEN_ISA=wide python -m batten.selftest", "tested wide False 0",
        f"$ batten {made}", made,
        "$ batten train --epochs 4 --out digits", "train --epochs 4 --out digits",
    ]  # fmt: skip
    proof.report(wheel, found)
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capfd.readouterr().out.strip().splitlines())
    assert rows["file"] == str(wheel) and rows["platform tag"] == "any" and rows["size"] == "0.00 MB"
    assert re.fullmatch(r"0\.0\d MB, and 0\.0\d MB that Python has compiled of it", rows["installed"])
    assert re.fullmatch(r"\d+ ms beyond NumPy", rows["import"]) and rows["packages"] == "batten 0.1"
    assert [rows[f"smoke tests, {isa}"] for isa in ("base", "wide")] == ["passed"] * 2 == [rows["batten info"]] * 2
    assert rows["training"] == rows["training, labs"] == "passed, test accuracy 100.0 %"


def test_pictures_are_learned_from(scripts, tmp_path):
    """Those that the proof makes are files as `batten train` reads them."""
    from batten import datasets

    scripts["proof"].write_pictures(tmp_path / "pictures", 20)
    pictures = datasets.MNIST(tmp_path / "pictures")
    assert list(pictures.targets) == [*range(10)] * 2
    assert len({pictures.data[number].tobytes() for number in range(20)}) == 10


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        ({"version": "0.2", "wrong": "wide"}, r"FAILED with code 1: BATTEN_ISA=wide python -m batten\.selftest"),
        ({"version": "0.3", "accuracy": 0.5}, r"expected a test accuracy of 90 % at least, got 50\.0 %"),
        ({"version": "0.4", "tag": "cp27-cp27m-win32"}, r"FAILED with code 1: python -m pip install .*win32\.whl"),
    ],
)
def test_wheels_that_are_no_good(scripts, environment, tmp_path, wheel, message):
    with pytest.raises(SystemExit, match=message):
        scripts["proof"].prove(make_wheel(tmp_path, **wheel), environment)


def test_a_compiler_in_the_environment_is_refused(scripts, tmp_path, monkeypatch):
    proof = scripts["proof"]

    def create(folder, **_):
        (folder / "bin").mkdir()
        (folder / "bin" / "gcc").touch(0o755)

    monkeypatch.setattr(proof.venv, "create", create)
    with pytest.raises(SystemExit, match="expected an environment without compilers, found gcc"):
        proof.Environment(tmp_path)


def test_what_is_refused(scripts, tmp_path, monkeypatch):
    proof, wheelhouse, build = scripts.values()

    def refused(script, *arguments):
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        with pytest.raises(SystemExit) as refusal:
            script.main()
        return refusal.value.code

    assert refused(proof) == "expected one argument, a wheel"
    assert refused(proof, "nothing.whl") == "expected a wheel, got nothing.whl"
    assert refused(proof, __file__) == f"expected a wheel, got {__file__}"
    assert refused(wheelhouse, tmp_path) == "expected two arguments, a folder and a wheel"
    assert refused(wheelhouse, tmp_path, "nothing.whl") == "expected a wheel, got nothing.whl"
    wheel = make_wheel(tmp_path)
    assert refused(wheelhouse, tmp_path, wheel) == f"expected an empty folder, got {tmp_path}"
    assert refused(build, "one", "two") == "expected at most one argument, a folder"
    with pytest.raises(SystemExit, match="FAILED: no-such-tool is not there"):
        proof.run(["no-such-tool", "--strip"])


def test_a_wheelhouse(scripts, environment, tmp_path, monkeypatch, capfd):
    """Its files name each other rightly; it installs without network, and not where a file is another one."""
    wheelhouse = scripts["wheelhouse"]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder, wheel = tmp_path / "house", make_wheel(tmp_path)
    wheels = wheelhouse.collect(folder, wheel)
    assert [file.name for file in wheels] == [wheel.name]
    wheelhouse.describe(folder, wheels)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (folder / "SHA256SUMS").read_text() == f"{digest}  {wheel.name}\n"
    assert (folder / "requirements.txt").read_text() == f"batten==0.1 --hash=sha256:{digest}\n"
    text = (folder / "INSTALL.txt").read_text()
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]} on any." in text and "{" not in text
    (tmp_path / "environment").mkdir()
    assert wheelhouse.prove(folder, tmp_path / "environment") == "passed, test accuracy 100.0 %"
    assert "$ batten train --epochs 4 --out digits" in capfd.readouterr().out
    (folder / wheel.name).write_bytes(make_wheel(tmp_path, accuracy=0.99).read_bytes())
    hashes = ["--force-reinstall", "--require-hashes", "-r", folder / "requirements.txt", "--find-links", folder]
    with pytest.raises(SystemExit, match=r"FAILED with code 1: python -m pip install .* --require-hashes"):
        environment.run(*scripts["proof"].INSTALL, *hashes)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_no_network_is_none(scripts):
    """What a command begins with keeps it from whatever listens."""
    before = scripts["wheelhouse"].without_network()
    if not before:
        pytest.skip("needs namespaces of networks")
    code = "import socket; socket.create_connection(('127.0.0.1', {}), 1)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = code.format(server.getsockname()[1])
        subprocess.run([sys.executable, "-c", code], check=True)
        found = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode != 0 and b"Error" in found.stderr

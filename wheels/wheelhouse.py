"""Collects a wheel with everything that it needs, for a room without network.

    python wheels/wheelhouse.py FOLDER WHEEL

The folder gets the wheel and those of all that `batten[labs]` depends on, for the Python that runs this and its
platform; `requirements.txt` with their hashes; `SHA256SUMS`; and `INSTALL.txt`, which says what to do there. Then it
is proved: where there is no network, they are installed into a new environment, and a model learns.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from proof import Environment, existing, run, train_on_digits

INSTALL = """\
These files install batten on a computer without network and without compiler. They are for
Python {version} on {platform}.

    python -m venv lab
    lab/bin/pip install --no-index --find-links . 'batten[labs]'
    lab/bin/batten train

in this folder. To install these very files and nothing else, whatever their names:

    lab/bin/pip install --no-index --find-links . --require-hashes -r requirements.txt

That all have arrived whole is checked by `sha256sum -c SHA256SUMS`.
"""
DEAD = "http://127.0.0.1:9"  # nobody listens there


def collect(folder, wheel):
    """Fills the folder; returns its wheels."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"expected an empty folder, got {folder}")
    run([sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", folder,
         f"{wheel}[labs]"])  # fmt: skip
    return sorted(folder.glob("*.whl"))


def describe(folder, wheels):
    """Writes beside them what says what they are."""
    hashes = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    requirements = [
        f"{name.split('-')[0]}=={name.split('-')[1]} --hash=sha256:{digest}\n" for name, digest in hashes.items()
    ]
    (folder / "requirements.txt").write_text("".join(requirements))
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in hashes.items()))
    platform = next(name for name in hashes if name.startswith("batten-")).removesuffix(".whl").rpartition("-")[2]
    version = ".".join(map(str, sys.version_info[:2]))
    (folder / "INSTALL.txt").write_text(INSTALL.format(version=version, platform=platform))


def without_network():
    """What a command begins with to have no network, where the system lets one do that."""
    command = [shutil.which("unshare") or "unshare", "--net", "--map-root-user"]
    try:
        subprocess.run([*command, sys.executable, "-c", ""], check=True, capture_output=True)
        return command
    except (OSError, subprocess.CalledProcessError):
        return []


def prove(folder, environment):
    """Installs what is in the folder, and returns what came of a training with it."""
    before = without_network()
    print(f"without network: {' '.join(before) or 'proxies that nobody answers'}")
    proxies = {
        name: DEAD for scheme in ("http", "https", "all") for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
    }
    environment = Environment(environment, **proxies, PIP_CONFIG_FILE="/dev/null", PIP_FIND_LINKS="", no_proxy="")
    install = ["python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", folder]
    environment.run(*install, "batten[labs]", before=before)
    environment.run(*install, "--force-reinstall", "--require-hashes", "-r", folder / "requirements.txt", before=before)
    return train_on_digits(environment, before)


def main():
    if len(sys.argv) != 3:
        raise SystemExit("expected two arguments, a folder and a wheel")
    folder, wheel = Path(sys.argv[1]).resolve(), existing(sys.argv[2])
    wheels = collect(folder, wheel)
    describe(folder, wheels)
    with tempfile.TemporaryDirectory() as environment:
        found = prove(folder, Path(environment))
    size = sum(wheel.stat().st_size for wheel in wheels)
    print(f"{folder}: {len(wheels)} wheels, {size / 1e6:.1f} MB; installed without network, training {found}")


if __name__ == "__main__":
    main()

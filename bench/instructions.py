"""How many instructions a fixed small training step takes: a guard against slow-downs that nobody meant.

    meson setup build && ninja -C build bench/instructions        once; later the second alone
    python bench/instructions.py build/bench/instructions         hold it against instructions.json
    python bench/instructions.py build/bench/instructions --record

Times depend on the machine and on what else it does; the number of instructions depends on the
code and the compiler only.  So instructions.json has the number for each kernel that instructions.c
calls, and the compiler that made them.  A kernel that takes more by over 5 % is an error; one that
takes fewer by as much asks to be recorded, so that what was won is kept.  A change that is meant,
say more instructions for fewer misses of a cache, is recorded with the commit that makes it.  What
another compiler has made is shown, and nothing is asked of it.

It takes valgrind, whose tool callgrind counts, and a processor with AVX2: callgrind knows no AVX-512.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from batten import _kernels as kernels
from batten import cli
from batten.benchmark.report import aligned

RECORD = Path(__file__).resolve().with_suffix(".json")
TOLERANCE = 0.05
KERNELS = {f"batten_{name}": name for name in kernels.names()}


def main() -> int:
    parser = cli.Parser(
        prog="python bench/instructions.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("program", metavar="PROGRAM", help="what ninja has made of instructions.c")
    parser.add_argument("--record", action="store_true", help="write the numbers into instructions.json")
    parser.set_defaults(command=count_and_compare)
    return cli.run(parser)


def count_and_compare(options: argparse.Namespace) -> None:
    now = count(options.program)
    if options.record:
        RECORD.write_text(json.dumps(now, indent=2) + "\n")
        return
    recorded = json.loads(RECORD.read_text())
    changes = {
        name: now["counts"].get(name, 0) / recorded["counts"].get(name, float("inf")) - 1
        for name in sorted({*recorded["counts"], *now["counts"]})
    }
    rows = [
        [name, *(f"{side['counts'].get(name, 0):,}" for side in (recorded, now)), f"{change:+.1%}"]
        for name, change in changes.items()
    ]
    print(aligned([["instructions", "recorded", "now", "change"], *rows]))
    if now["compiler"] != recorded["compiler"]:
        print(f"note: made by {now['compiler']}, recorded by {recorded['compiler']}: nothing follows from it")
        return
    more = [name for name, change in changes.items() if change > TOLERANCE]
    fewer = [name for name, change in changes.items() if change < -TOLERANCE]  # or only on one side
    if fewer:
        print(f"note: not what is recorded, so record it: {', '.join(fewer)}")
    if more:
        raise cli.UserError(f"over {TOLERANCE:.0%} more instructions than recorded: {', '.join(more)}")


def count(program: str) -> dict[str, Any]:
    """What made the program, and the instructions that its measured step takes: of each kernel, and of all."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise cli.UserError("counting instructions takes valgrind, which is not installed")
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile")
        options = ["--tool=callgrind", "--toggle-collect=measured", f"--callgrind-out-file={profile}"]
        plain = ["--dump-line=no", "--compress-strings=no", "--compress-pos=no"]
        done = subprocess.run([valgrind, "-q", *options, *plain, program], capture_output=True, text=True, check=False)
        if done.returncode:
            words = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
            raise cli.UserError(f"cannot count the instructions of {program}: {words[-1]}")
        return {"compiler": done.stdout.strip(), "counts": totals(profile.read_text())}


def totals(profile: str) -> dict[str, int]:
    """Instructions of each kernel with all that it calls.

    A profile has for each function `fn=NAME`, then lines `PLACE NUMBER` of its own instructions and,
    after a line `calls=`, of those that it waited for.
    """
    counts: dict[str, int] = {}
    name = ""
    for line in profile.splitlines():
        if line.startswith("fn="):
            name = line.removeprefix("fn=")
        elif line[:1].isdigit() and name in KERNELS:
            counts[KERNELS[name]] = counts.get(KERNELS[name], 0) + int(line.split()[1])
        elif line.startswith("summary:"):
            counts["the whole step"] = int(line.split()[1])
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())

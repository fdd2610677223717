"""What has changed between two runs of the suite.

    python bench/compare.py OLD.json NEW.json

For every case and framework that is in both files: its time then and now, and how many times
as fast it is now.  It is `faster` or `slower` if all rounds of one run were below all rounds of
the other; what lies between is noise until more rounds say otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from batten import cli
from batten.benchmark.report import aligned, duration, warnings


def main() -> int:
    parser = cli.Parser(
        prog="python bench/compare.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.set_defaults(command=compare)
    return cli.run(parser)


def compare(options: argparse.Namespace) -> None:
    old, new = read(options.old), read(options.new)
    before, after = figures(old), figures(new)
    both = [key for key in after if key in before]
    rows = [[*key, *change(before[key], after[key])] for key in both]
    print(aligned([["case", "framework", "old", "new", "speed", ""], *rows]))
    for path, report, only in ((options.old, old, before.keys() - after), (options.new, new, after.keys() - before)):
        notes = [f"{len(only)} figures are only here"] if only else []
        for note in notes + warnings(report):
            print(f"note: {path}: {note}")
    for difference in differences(old, new):
        print(f"note: not the same in both: {difference}")


def read(path: str) -> dict[str, Any]:
    try:
        report = json.loads(Path(path).read_text())
    except OSError as error:
        raise cli.UserError(f"cannot read {path} ({error.strerror})") from None
    except ValueError as error:
        raise cli.UserError(f"{path} is no JSON file: {error}") from None
    if not isinstance(report, dict) or not {"cases", "machine", "stolen"} <= set(report):
        raise cli.UserError(f"{path} is not what `python bench --json` writes")
    return report


def figures(report: dict[str, Any]) -> dict[tuple[str, str], list[float]]:
    """The seconds of every round, by case and framework."""
    return {
        (case["name"], framework): result["seconds"]
        for case in report["cases"]
        for framework, result in case["results"].items()
    }


def change(old: list[float], new: list[float]) -> list[str]:
    verdict = "faster" if max(new) < min(old) else "slower" if min(new) > max(old) else ""
    return [duration(median(old)), duration(median(new)), f"{median(old) / median(new):.2f}x", verdict]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What beside the code may have made a change."""
    then, now = ({"threads": r["threads"], "quick": r["quick"], **r["machine"], **r["peers"]} for r in (old, new))
    shared = [key for key in now if key in then and key not in ("load", "used_by_others")]
    return [f"{key}, {then[key]} and {now[key]}" for key in shared if then[key] != now[key]]


if __name__ == "__main__":
    sys.exit(main())

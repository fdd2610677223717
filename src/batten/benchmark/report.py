"""A report (suite.py says what is in it) as tables."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..printing import aligned

__all__ = ["aligned", "duration", "header", "limits", "ratio", "size", "table", "warnings"]

Report = dict[str, Any]
Case = dict[str, Any]


def header(report: Report) -> str:
    """On what, by whom and how often it was measured."""
    about, threads = report["machine"], report["threads"]
    return (
        f"{about['processor']}: {about['processors']} processors, {threads} thread{'s' if threads > 1 else ''}, "
        f"{about['isa']}\n{', '.join(f'{name} {version}' for name, version in report['peers'].items())}: "
        f"medians of {report['rounds']} rounds, float32"
    )


def warnings(report: Report) -> list[str]:
    """Why figures may be off, and which there are none of."""
    about, why = report["machine"], []
    if about["used_by_others"] > 0.1:
        why.append(f"others used {about['used_by_others']:.1f} processors before the run")
    if about["load"] > 0.5:
        why.append(f"the load average was {about['load']:.1f}")
    if max(report["stolen"], default=0) > 0.05:
        why.append(f"a calibration spin lost {max(report['stolen']):.0%} of its time")
    idle = [f"the machine was not idle, and figures may be off: {', '.join(why)}"] if why else []
    return idle + report["notes"]


def limits(report: Report) -> str:
    """The machine's limits."""
    arithmetic, memory = report["limits"]["arithmetic"], report["limits"]["memory"]
    rows = [["limit", "", *(f"{size(m['room'])}B" for m in memory)]]
    rows += [[name, "GB/s", *(f"{m[name] / 1e9:.0f}" for m in memory)] for name in memory[0] if name != "room"]
    return aligned([*rows, ["arithmetic", "GFLOP/s", f"{arithmetic / 1e9:.0f}"]])


def table(report: Report, group: str) -> str:
    """The cases of a group: a line for each, or for a training step a line for each peer."""
    cases = [case for case in report["cases"] if case["group"] == group]
    present = [name for name in report["peers"] if any(name in case["results"] for case in cases)]
    if not present:
        return f"{group}: nobody could do any of it"
    return aligned(steps(cases, present) if cases[0]["name"] == group else kernels(cases, present))


def kernels(cases: list[Case], peers: list[str]) -> list[list[str]]:
    first, *others = peers
    rows = [[cases[0]["group"], first, "", "limit", "faults", *others]]
    for case in cases:
        figures = ["-", "", "", ""]
        if result := case["results"].get(first):
            seconds = median(result["seconds"])
            figures = [duration(seconds), rate(case, seconds), *common(case, first)]
        rows.append([case["name"], *figures, *(versus(case, first, other) for other in others)])
    return rows


def steps(cases: list[Case], peers: list[str]) -> list[list[str]]:
    rows = []
    for case in cases:
        rows.append([case["name"], "time", "images/s", "limit", "faults", "peak", "of step", f"beside {peers[0]}"])
        for name in case["results"]:
            result = case["results"][name]
            seconds = median(result["seconds"])
            memory = [f"{size(n)}B" for n in (result["memory"], result["memory"] - result["imported"])]
            figures = [duration(seconds), f"{case['images'] / seconds:,.0f}", *common(case, name), *memory]
            rows.append([f"  {name}", *figures, "" if name == peers[0] else versus(case, peers[0], name)])
    return rows


def rate(case: Case, seconds: float) -> str:
    if case["images"]:
        return f"{case['images'] / seconds:,.0f} images/s"
    work, unit = (case["flops"], "GFLOP/s") if case["bound"] == "arithmetic" else (case["bytes"], "GB/s")
    return f"{work / seconds / 1e9:.1f} {unit}"


def common(case: Case, name: str) -> list[str]:
    """The share of the limit, and page faults a call."""
    result = case["results"][name]
    return [f"{case['limit'] / median(result['seconds']):.0%}", f"{median(result['faults']):.0f}"]


def versus(case: Case, first: str, other: str) -> str:
    if first not in case["results"] or other not in case["results"]:
        return "-"
    low, middle, high = ratio(case, first, other)
    return f"{middle:.2f}x ({low:.2f}-{high:.2f})"


def ratio(case: Case, first: str, other: str) -> tuple[float, float, float]:
    """How many times as long the other takes: the lowest of all rounds, the median and the highest."""
    pairs = zip(case["results"][first]["seconds"], case["results"][other]["seconds"], strict=True)
    ratios = sorted(b / a for a, b in pairs)
    return ratios[0], median(ratios), ratios[-1]


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.0123), duration(4.5e-6)
    ('12.3 ms', '4.5 us')
    """
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def size(n: float) -> str:
    """A number of bytes or elements in words.

    >>> size(65536), size(1 << 20)
    ('64 Ki', '1 Mi')
    """
    return f"{n / (1 << 20):.0f} Mi" if n >= 1 << 20 else f"{n / (1 << 10):.0f} Ki"

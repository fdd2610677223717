"""A report as a picture: how many times as long the peers take, and how near batten comes to the machine's roof."""

from __future__ import annotations

import io
from statistics import median
from typing import Any

from .report import header, ratio, size

__all__ = ["draw"]


def draw(report: dict[str, Any]) -> bytes:
    """A PNG file."""
    from matplotlib.figure import Figure

    first, *others = report["peers"]
    height = 0.1 * sum(len(case["results"]) for case in report["cases"])
    figure = Figure(figsize=(15 if others else 8, max(6, height)), layout="constrained")
    figure.suptitle(header(report), fontsize="medium")
    if others:
        left, right = figure.subplots(1, 2)
        bars(left, report, first, others)
    else:
        right = figure.subplots()
    roofline(right, report, first)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def bars(axes: Any, report: dict[str, Any], first: str, others: list[str]) -> None:
    """The ratios, from 1 to where they are, with whiskers from the lowest to the highest of all rounds."""
    cases = [case for case in report["cases"] if first in case["results"]]
    thickness = 0.8 / len(others)
    for place, other in enumerate(others):
        rows = [row for row, case in enumerate(cases) if other in case["results"]]
        if not rows:
            continue
        low, middle, high = zip(*(ratio(cases[row], first, other) for row in rows), strict=True)
        spread = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
        heights = [row + thickness * (place + 0.5) - 0.4 for row in rows]
        lengths = [m - 1 for m in middle]
        axes.barh(heights, lengths, thickness, left=1, xerr=spread, error_kw={"linewidth": 0.6}, label=other)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(cases)), [case["name"] for case in cases], fontsize="small")
    axes.set(xscale="log", xlabel=f"how many times as long as {first} takes", ylim=(len(cases) - 0.5, -0.5))
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.legend()


def roofline(axes: Any, report: dict[str, Any], first: str) -> None:
    """Each case that computes at its operations for a byte of traffic; it cannot be above the roof of the room it
    needs."""
    limits = report["limits"]
    cases = [case for case in report["cases"] if first in case["results"] and case["flops"]]
    points = {case["name"]: (case["flops"] / case["bytes"], case["flops"] / 1e9) for case in cases}
    peak = limits["arithmetic"] / 1e9
    axes.axhline(peak, color="black", label=f"arithmetic, {peak:.0f} GFLOP/s")
    least = 0.5 * min((x for x, _ in points.values()), default=0.1)
    for shade, memory in enumerate(limits["memory"][::2]):
        rate = max(value for name, value in memory.items() if name != "room") / 1e9
        label = f"memory, {size(memory['room'])}B: {rate:.0f} GB/s"
        axes.plot([least, peak / rate], [least * rate, peak], "--", color=str(0.2 * shade), linewidth=0.8, label=label)
    for group in dict.fromkeys(case["group"] for case in cases):
        chosen = [case for case in cases if case["group"] == group]
        x = [points[case["name"]][0] for case in chosen]
        y = [points[case["name"]][1] / median(case["results"][first]["seconds"]) for case in chosen]
        axes.plot(x, y, "o", markersize=4, label=group)
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte of traffic", ylabel=f"{first}, GFLOP/s")
    axes.set_box_aspect(1)
    axes.set_anchor("N")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")

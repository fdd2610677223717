"""The machine that is measured: what it is, and whether it does anything else meanwhile."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from .. import _kernels as kernels

__all__ = ["describe", "processors", "used_by_others"]


def describe() -> dict[str, Any]:
    """What a report says of the machine; load and used_by_others are in processors."""
    return {
        "processor": processor(),
        "processors": len(available()),
        "isa": kernels.isa(),
        "openmp": kernels.openmp(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "used_by_others": used_by_others(),
    }


def processor() -> str:
    """The processor's name, as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def available() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processors(threads: int) -> list[int]:
    """As many of them as there are threads, on different cores as long as there are enough."""

    def place_on_core(number: int) -> int:
        try:
            path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
            return int(path.read_text().replace("-", ",").split(",")[0]) != number
        except (OSError, ValueError):
            return 0

    return sorted(available(), key=place_on_core)[:threads]


def used_by_others(seconds: float = 0.3) -> float:
    """How many processors are busy while this process sleeps; stolen by a machine above counts, too."""
    before = busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


def busy() -> float:
    """Seconds that processors have not been idle, of all together."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return 0
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

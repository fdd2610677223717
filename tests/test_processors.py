"""How many processors there are for batten: what /proc and /sys say, by trees of files that say all there is to say."""

from __future__ import annotations

import os

import pytest

from batten import _kernels as kernels
from trials import trials

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux has control groups")

V2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
CPUSET = "34 32 0:31 / /sys/fs/cgroup/cpuset rw,nosuid shared:9 - cgroup cgroup rw,cpuset"
HYBRID = "35 32 0:32 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw"
OTHER = "25 24 0:23 / /proc rw,nosuid - proc proc rw"
GROUPS1 = "12:cpuset:/\n4:cpu,cpuacct:/docker/1a\n1:name=systemd:/docker/1a\n0::/docker/1a"


def tree(root, mounts, groups, files):
    files = {"proc/self/mountinfo": "\n".join(mounts), "proc/self/cgroup": groups, **files}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return kernels.processors(root)["quota"]


CG = "sys/fs/cgroup/"


@trials(
    "expected, mounts, groups, files",
    [
        # The second version: a quota in microseconds of each period, rounded up to whole processors.
        (2, [V2], "0::/", {CG + "cpu.max": "150000 100000"}),
        (1, [V2], "0::/", {CG + "cpu.max": "1000 100000"}),
        (3, [OTHER, V2], "0::/", {CG + "cpu.max": "300000 100000"}),
        (4, [V2], "0::/", {CG + "cpu.max": "150001 50000"}),
        (0, [V2], "0::/", {CG + "cpu.max": "max 100000"}),
        (0, [V2], "0::/", {CG + "cpu.max": "nonsense"}),
        (0, [V2], "0::/", {CG + "cpu.max": ""}),
        (0, [V2], "0::/", {}),
        # The least of the process's own group and those above it; others are not its own.
        (2, [V2], "0::/a/b", {CG + "a/b/cpu.max": "200000 100000", CG + "a/cpu.max": "max 100000"}),
        (1, [V2], "0::/a/b", {CG + "a/b/cpu.max": "400000 100000", CG + "a/cpu.max": "100000 100000"}),
        (3, [V2], "0::/a/b", {CG + "a/b/cpu.max": "max 100000", CG + "cpu.max": "250000 100000"}),
        (0, [V2], "0::/a/b", {CG + "a/c/cpu.max": "100000 100000", CG + "a/b/c/cpu.max": "100000 100000"}),
        # Mounted elsewhere; or from the container's own group on, which is named as the host sees it.
        (2, [V2.replace("/sys/fs/cgroup", "/cg")], "0::/a", {"cg/a/cpu.max": "200000 100000", CG + "cpu.max": "1 1"}),
        (2, [V2.replace(" / ", " /docker/1a ")], "0::/docker/1a", {CG + "cpu.max": "200000 100000"}),
        (1, [V2.replace(" / ", " /docker/1a ")], "0::/docker/1a/x", {CG + "x/cpu.max": "100000 100000"}),
        (2, [V2.replace(" / ", " /docker/1a ")], "0::/docker/1ab", {CG + "cpu.max": "200000 100000"}),
        (2, [V2], "0::/../../outside", {CG + "cpu.max": "200000 100000", "sys/fs/outside/cpu.max": "1 1"}),
        # The first version: two files, in the hierarchy that has the controller cpu.
        (2, [V1, CPUSET], GROUPS1, {CG + "cpu,cpuacct/docker/1a/cpu.cfs_quota_us": "150000",
                                    CG + "cpu,cpuacct/docker/1a/cpu.cfs_period_us": "100000"}),
        (0, [V1, CPUSET], GROUPS1, {CG + "cpu,cpuacct/docker/1a/cpu.cfs_quota_us": "-1",
                                    CG + "cpu,cpuacct/docker/1a/cpu.cfs_period_us": "100000"}),
        (0, [V1], GROUPS1, {CG + "cpu,cpuacct/docker/1a/cpu.cfs_quota_us": "100000"}),
        (0, [CPUSET], GROUPS1, {CG + "cpuset/cpu.cfs_quota_us": "1", CG + "cpuset/cpu.cfs_period_us": "1"}),
        (5, [V1.replace(" / ", " /docker/1a ")], GROUPS1, {CG + "cpu,cpuacct/cpu.cfs_quota_us": "500000",
                                                           CG + "cpu,cpuacct/cpu.cfs_period_us": "100000"}),
        # Both versions at once.
        (3, [V1, HYBRID], GROUPS1, {CG + "cpu,cpuacct/docker/cpu.cfs_quota_us": "300000",
                                    CG + "cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
                                    CG + "unified/docker/cpu.max": "max 100000"}),
        # No such files at all.
        (0, [], "", {}),
        (0, [V2], "", {CG + "cpu.max": "max 100000"}),
    ],
)  # fmt: skip
def test_quota(tmp_path_factory, expected, mounts, groups, files):
    assert tree(tmp_path_factory.mktemp("root"), mounts, groups, files) == expected


def test_without_proc_and_sys_the_other_bounds_are_left(tmp_path):
    online = os.sysconf("SC_NPROCESSORS_ONLN")
    expected = {"affinity": len(os.sched_getaffinity(0)), "quota": 0, "cores": online}
    assert kernels.processors(tmp_path) == kernels.processors(str(tmp_path)) == expected
    assert kernels.processors(tmp_path / ("x" * 5000)) == expected
    with pytest.raises(TypeError):
        kernels.processors(3)


@trials("siblings, cores", [(["0", "1"], 2), (["0-1", "0-1"], 1), (["0,1", "0,1"], 1)])
def test_siblings_are_one_core(tmp_path_factory, siblings, cores):
    root = tmp_path_factory.mktemp("root")
    for i in range(os.sysconf("SC_NPROCESSORS_ONLN")):
        folder = root / f"sys/devices/system/cpu/cpu{i}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text((siblings[i] if i < 2 else "0") + "\n")
    if os.sysconf("SC_NPROCESSORS_ONLN") > 1:
        assert kernels.processors(root)["cores"] == cores

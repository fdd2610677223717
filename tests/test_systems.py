"""What Windows and macOS do not have, batten does without: in processes from which it is taken away.

What such a process has not: forks, locks and descriptors of folders, the folders /proc and /sys, signals that stop
another, limits and counts of what is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import batten

WITHOUT = """
import os, shutil, signal, sys
for module, names in {
    os: "fork forkpty register_at_fork sched_getaffinity sched_setaffinity getloadavg sysconf geteuid",
    signal: "SIGSTOP SIGCONT",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
shutil._use_fd_functions = False
sys.modules["fcntl"] = sys.modules["resource"] = None

def refuse(event, arguments):
    if event == "open" and isinstance(path := arguments[0], str):
        if path.startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(2, "No such file or directory", path)
        if os.path.isdir(path) and arguments[2] & os.O_ACCMODE == os.O_RDONLY:
            raise PermissionError(13, "Permission denied", path)

sys.addaudithook(refuse)
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python with arguments where all of it is missing, also from the processes that it starts; what it prints."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.splitlines()

    return run


def test_the_smoke_tests_pass(run):
    lines = run("-m", "batten.selftest")
    assert len(lines) > 5 and all(line.startswith("passed") for line in lines[1:])


def test_files_are_written_though_no_folder_is_locked(run, tmp_path):
    code = """
    import os
    import batten
    from batten import serialization
    for version in range(2):
        batten.save({"version": version}, "file")
    assert batten.load("file") == {"version": 1}
    with serialization.workplace(".") as place:
        serialization.tidy(".")         # leaves what may be at work
        print(os.path.isdir(place))
    print(sorted(os.listdir(".")))
    """
    assert run("-c", textwrap.dedent(code)) == ["True", "['file', 'without']"]


def test_the_command_line_tells_of_the_machine(run):
    lines = dict(line.split(maxsplit=1) for line in run("-m", "batten", "info"))
    assert lines["batten"] == batten.__version__ and "processor" in lines["threads"]


def test_the_benchmark_measures_what_it_can(run):
    code = """
    from batten.benchmark import machine, suite
    print(machine.describe()["load"], machine.used_by_others(0.01))
    with suite.Worker(suite.BATTEN, 1) as worker:
        worker.answer()
        for _ in range(2):
            answer = worker.ask("LIMITS", 0, 0.001)
            print(min(answer["samples"]) > 0, answer["faults"], answer["memory"])
    """
    assert run("-c", textwrap.dedent(code)) == ["0.0 0.0"] + 2 * ["True 0.0 0"]

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from labctl import procs


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_running_process_is_known_by_pid_start_and_boot(child: subprocess.Popen[bytes]) -> None:
    one = procs.identify(child.pid)
    assert one is not None
    assert one == procs.identify(child.pid)
    assert procs.alive(one)
    assert 0 <= procs.uptime_s(one) < 60


def test_a_zombie_does_not_run(child: subprocess.Popen[bytes]) -> None:
    one = procs.identify(child.pid)
    assert one is not None
    child.kill()
    assert procs.wait_gone(one, timeout_s=10)  # not yet reaped by us
    assert procs.identify(child.pid) is None


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}])
def test_a_reused_pid_is_neither_alive_nor_ever_ended(
    child: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    one = procs.identify(child.pid)
    assert one is not None
    stale = replace(one, **change)  # type: ignore[arg-type]
    assert not procs.alive(stale)
    assert procs.terminate(stale)
    assert child.poll() is None


def test_terminate_ends_a_process_that_ignores_sigterm() -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        one = procs.identify(process.pid)
        assert one is not None
        assert procs.terminate(one, grace_s=0.1)
    assert process.returncode == -9


def test_terminate_of_one_that_has_gone_is_fine() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert procs.terminate(procs.ProcessId(process.pid, 1, "gone"))


def test_processes_are_found_by_a_whole_argument_only() -> None:
    word = f"/nowhere/{time.time_ns()}"
    script = "import sys; sys.stdin.read()"

    def start(argument: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", script, argument], stdin=subprocess.PIPE)

    wanted, other = start(word), start(word + "x")
    try:
        # Between fork and exec a child still shows our own command line.
        deadline = time.monotonic() + 10
        while not procs.find_by_word(word + "x") or not procs.find_by_word(word):
            assert time.monotonic() < deadline
        assert [one.pid for one in procs.find_by_word(word)] == [wanted.pid]
    finally:
        for process in (wanted, other):
            process.kill()
            process.communicate()


def test_a_name_with_brackets_and_blanks_does_not_confuse(tmp_path: object) -> None:
    code = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') Z 1 (x', 0, 0, 0);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        one = procs.identify(process.pid)
        process.communicate()
    assert one is not None
    assert one.start > 1

"""Programs that flash, run to whatever end they come to: small ones, written for it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.boards.flash import runner
from labctl.boards.flash.method import FlashError
from labctl.errors import DependencyError, LabctlError

ERROR = re.compile(r"(?i)error|failed")
Script = Callable[[str], list[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def make(text: str) -> list[str]:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return [str(path)]

    return make


def gone(pid: int) -> bool:
    """Tell whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_good_end(script: Script) -> None:
    heard: list[str] = []
    outcome = runner.run(
        script("printf 'writing 50%%\\rwriting 100%%\\rdone\\n'"), deadline_s=30, error=ERROR,
        listen=heard.append,
    )  # fmt: skip
    assert outcome.ok
    assert outcome.lines == ("writing 50%", "writing 100%", "done")
    assert [one for one in heard if "100" in one]
    runner.require_ok(outcome, thing="uno", says="done")
    with pytest.raises(FlashError, match="did not say that it had done it"):
        runner.require_ok(outcome, thing="uno", says="verified")


def test_exit_code_0_beside_an_error_is_no_success(script: Script) -> None:
    outcome = runner.run(
        script("echo 'Error: no device'; echo 'Error: so nothing was done'; echo bye"),
        deadline_s=30, error=ERROR,
    )  # fmt: skip
    assert outcome.code == 0
    assert not outcome.ok
    with pytest.raises(FlashError, match=r"no device \(and yet exit code 0\)"):
        runner.require_ok(outcome, thing="uno")


def test_the_first_error_is_kept_and_what_only_looks_like_one_is_none(script: Script) -> None:
    outcome = runner.run(
        script("echo '0 errors so far' >&2; echo 'error: the cause'; echo 'error: later'; exit 3"),
        deadline_s=30, error=ERROR, ignore=re.compile("0 errors"),
    )  # fmt: skip
    assert outcome.error == "error: the cause"
    assert outcome.code == 3
    assert outcome.cause().endswith("error: the cause")


def test_a_silent_failure_names_the_exit_code_and_a_signal(script: Script) -> None:
    assert "exit code 7" in runner.run(script("exit 7"), deadline_s=30, error=ERROR).cause()
    killed = runner.run(script("kill -SEGV $$"), deadline_s=30, error=ERROR)
    assert killed.code == -11
    assert "signal 11" in killed.cause()


def test_what_hangs_is_ended_with_its_children(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = script(
        f"trap '' TERM; (trap '' TERM; sleep 1000) & echo $! $$ > {pids}\n"
        "echo 'half way'; while :; do sleep 1000; done"
    )
    with pytest.raises(FlashError, match=r"did not end in 1 s; it said: half way"):
        runner.run(command, deadline_s=1, error=ERROR)
    for pid in pids.read_text().split():
        until(lambda pid=pid: gone(int(pid)))


def test_children_that_are_left_behind_are_ended(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    outcome = runner.run(
        script(f"sleep 1000 & echo $! > {pids}; echo done"), deadline_s=30, error=ERROR
    )
    assert outcome.ok  # it does not wait for who holds the output open
    until(lambda: gone(int(pids.read_text())))


def test_whatever_the_watcher_raises_ends_it(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def watch() -> None:
        if pids.exists() and pids.read_text():
            raise LabctlError("the line was taken from you")

    with pytest.raises(LabctlError, match="taken"):
        runner.run(script(f"echo $$ > {pids}; sleep 1000"), deadline_s=60, error=ERROR, watch=watch)
    until(lambda: gone(int(pids.read_text())))


def test_it_dies_with_us_when_we_are_killed(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = script(f"echo $$ > {pids}; exec sleep 1000")
    parent = os.fork()
    if parent == 0:  # pragma: no cover - another process
        with contextlib.suppress(BaseException):
            runner.run(command, deadline_s=600, error=ERROR)
        os._exit(0)
    until(lambda: pids.exists() and pids.read_text())
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    until(lambda: gone(int(pids.read_text())))


def test_a_flood_and_a_line_without_an_end_are_kept_in_bounds(script: Script) -> None:
    outcome = runner.run(
        script("head -c 3000000 /dev/zero | tr '\\0' x; echo; yes abcdefgh | head -n 100000"),
        deadline_s=120, error=ERROR,
    )  # fmt: skip
    assert outcome.ok
    assert sum(map(len, outcome.lines)) <= 256 << 10
    assert outcome.lines[-1] == "abcdefgh"


def test_control_characters_do_not_reach_a_terminal(script: Script) -> None:
    outcome = runner.run(script("printf '\\033]0;x\\007error\\n'"), deadline_s=30, error=ERROR)
    assert "\x1b" not in outcome.error


def test_no_such_program() -> None:
    with pytest.raises(DependencyError):
        runner.run(["labctl-has-no-such-program"], deadline_s=1, error=ERROR)

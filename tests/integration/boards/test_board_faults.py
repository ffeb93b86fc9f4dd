"""What goes wrong on a line, each by its name, on a scripted board and through the command line."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl.boards.bench import Bench
from labctl.boards.client import LineClient
from labctl.boards.owner import start
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.inventory.loader import load_inventory
from labctl.transport.lines.settings import LineSettings
from labctl.vlab.scripted import control, testing

INVENTORY = """\
version: 1
boards:
  faulty: {model: scripted, virtual: true}
"""


@pytest.fixture(scope="module")
def booted(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose scripted board runs Linux."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "faulty")
    lab.labctl("board", "boot", "faulty", "linux")
    yield lab
    lab.down()


@pytest.fixture
def board(booted: Lab) -> Iterator[Lab]:
    """The same with a shell that answers, and without faults before and after."""
    booted.labctl("lab", "fault", "faulty", "--clear")
    state = booted.labctl("board", "state", "faulty", check=False).stdout
    if "shell (proved)" not in state:
        booted.labctl("board", "power", "faulty", "cycle")
        booted.labctl("board", "boot", "faulty", "linux")
    yield booted
    booted.labctl("lab", "fault", "faulty", "--clear")


def fault(lab: Lab, *words: str) -> None:
    lab.labctl("lab", "fault", "faulty", *words)


def counts(lab: Lab) -> dict[str, int]:
    stats: dict[str, int] = lab.json("lab", "fault", "faulty")["stats"]
    return stats


def run(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return lab.labctl("board", "run", "faulty", *words, check=False)


@contextlib.contextmanager
def bench(lab: Lab) -> Iterator[Bench]:
    with lab.environment():
        inventory = load_inventory(lab.inventory)
        with Bench(inventory.boards["faulty"], lab.inventory) as attached:
            attached.acquire("test")
            yield attached


# -- the port -----------------------------------------------------------------------------------


def plain(make_lab: MakeLab, line: str) -> Lab:
    return make_lab(f"version: 1\nboards:\n  one: {{model: generic, line: '{line}'}}\n")


def test_a_missing_port_says_what_is_there(make_lab: MakeLab) -> None:
    done = plain(make_lab, "/dev/ttyUSB77").labctl("board", "state", "one", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "/dev/ttyUSB77: there is no such port" in done.stderr


def test_a_busy_port_names_the_program(make_lab: MakeLab, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    link = tmp_path / "line"
    link.symlink_to(os.ttyname(slave))
    with subprocess.Popen(["flock", str(link), "sleep", "60"], start_new_session=True) as other:
        try:
            lab = plain(make_lab, str(link))
            until(lambda: "FLOCK" in Path("/proc/locks").read_text() and _locked(slave))
            done = lab.labctl("board", "state", "one", check=False)
            assert done.returncode == 4, done.stderr
            assert "holds the port" in done.stderr
            assert "flock" in done.stderr or "sleep" in done.stderr
        finally:
            os.killpg(other.pid, 15)
            os.close(master)
            os.close(slave)


def _locked(slave: int) -> bool:
    state = os.fstat(slave)
    return f":{state.st_ino} 0 EOF" in Path("/proc/locks").read_text()


def test_a_silent_line_is_called_silent(board: Lab) -> None:
    fault(board, "hang")
    done = board.labctl("board", "state", "faulty", check=False)
    assert done.returncode == 1
    assert "silent" in done.stdout + done.stderr or "no answer" in done.stdout + done.stderr


def test_a_line_that_broke_off_inside_a_quote_is_left(board: Lab) -> None:
    with bench(board) as attached:
        attached.run("true", timeout=60)
        attached.line.write(b"echo 'half\r")
        found = attached.state()
        assert (found.state, found.proved) == ("shell", True)
        assert attached.run("echo fine", timeout=60).output == b"fine\n"


# -- bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["lose_in", "double_in", "flip_in"])
def test_what_is_damaged_while_it_is_sent_is_sent_again(board: Lab, what: str) -> None:
    before = counts(board)[what]
    with bench(board) as attached:
        attached.run("true", timeout=60)
        fault(board, f"{what}=0.004", "seed=5")
        for number in range(15):
            result = attached.run(f"echo sent-{number}-{'x' * 40}", timeout=60)
            assert result.output == f"sent-{number}-{'x' * 40}\n".encode()
    assert counts(board)[what] > before


def test_kernel_messages_in_answers_60_of_60_are_right(board: Lab) -> None:
    before = counts(board)["noise"]
    with bench(board) as attached:
        attached.run("true", timeout=60)
        fault(board, "noise=0.002", "seed=11")
        for number in range(60):
            result = attached.run(f"echo one-{number}; echo two; (exit {number})", timeout=60)
            assert (result.output, result.exit_code) == (f"one-{number}\ntwo\n".encode(), number)
    assert counts(board)["noise"] > before + 5


@pytest.mark.parametrize("what", ["lose_out", "double_out", "flip_out"])
def test_an_answer_that_arrives_damaged_is_fetched_again(board: Lab, what: str) -> None:
    with bench(board) as attached:
        attached.run("true", timeout=60)
        expected = b"".join(b"%d\n" % number for number in range(1, 61))
        fault(board, f"{what}=0.003", "seed=3")
        for _ in range(4):
            assert attached.run("seq 60", timeout=90).output == expected
    assert counts(board)[what] > 0


def test_a_fifo_that_overruns_costs_time_and_nothing_else(board: Lab) -> None:
    # The processor takes a byte in 0.5 ms, the wire brings one in 0.09 ms, the FIFO holds 16.
    fault(board, "drain=2000")
    text = "0123456789" * 12
    done = run(board, f"echo {text}", "--timeout", "90")
    assert (done.returncode, done.stdout) == (0, f"{text}\n"), done.stderr


def test_garbage_in_an_answer_is_survived(board: Lab) -> None:
    with bench(board) as attached:
        attached.run("true", timeout=60)
        fault(board, "garbage=300")
        assert attached.run("echo fine", timeout=60).output == b"fine\n"


def test_a_wrong_rate_makes_real_garbage() -> None:
    with testing.running({"baud": 9600}) as (console, monitor):
        descriptor = os.open(console, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            subprocess.run(["stty", "-F", str(console), "115200"], check=True, timeout=20)
            control.ask(monitor, "cont")
            until(lambda: int(control.stats(monitor)["framing_errors_out"]) > 20)
            seen = os.read(descriptor, 65536)
            assert b"U-Boot" not in seen
            assert len(seen) > 100
        finally:
            os.close(descriptor)


# -- the board ----------------------------------------------------------------------------------


def test_a_reset_in_mid_command_ends_it_at_once(board: Lab) -> None:
    fault(board, "reset_after=4000")
    started = time.monotonic()
    done = run(board, "seq 100000", "--timeout", "120")
    assert done.returncode == 1
    assert "reset" in done.stderr
    assert time.monotonic() - started < 100  # not the command's own time-out


def test_a_panic_ends_the_command_at_once_and_is_shown(board: Lab) -> None:
    fault(board, "panic_after=4000")
    started = time.monotonic()
    done = run(board, "seq 100000", "--timeout", "120")
    assert done.returncode == 1
    assert "Kernel panic - not syncing" in done.stderr
    assert time.monotonic() - started < 100
    assert "panic" in board.labctl("board", "state", "faulty", check=False).stdout


def test_a_board_that_hangs_ends_in_a_time_out(board: Lab) -> None:
    fault(board, "hang_after=2000")
    done = run(board, "seq 100000", "--timeout", "5")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_unplugged_and_plugged_in_again_in_mid_command(board: Lab) -> None:
    working = board.start("board", "run", "faulty", "echo begun; sleep 3; seq 3", "--timeout", "60")
    until(lambda: b"begun" in _log(board))
    fault(board, "unplug", "replug_after=1")
    said, _ = working.communicate(timeout=90)
    assert "Traceback" not in said
    assert "gone" in said or "went away" in said or said == "begun\n1\n2\n3\n", said
    until(lambda: counts(board)["plugged"] and counts(board)["heard"])
    assert run(board, "echo back", "--timeout", "60").stdout == "back\n"


def _log(lab: Lab) -> bytes:
    return lab.labctl("console", "log", "faulty").stdout.encode()


# -- floods -------------------------------------------------------------------------------------


def _resident(pid: int) -> int:
    """Return the most memory that a process has had, KiB (proc_pid_status(5), VmHWM)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


def test_a_line_of_64_mb_without_an_end_takes_bounded_memory(tmp_path: Path) -> None:
    size = 64_000_000
    base = tmp_path / "lines"
    base.mkdir()
    with testing.running({"baud": 0}) as (console, monitor):
        place = Place(str(console), base)
        config = OwnerConfig(board="flood", url=str(console), settings=LineSettings())
        try:
            with LineClient(place, config) as client:
                control.ask(monitor, "cont")
                control.fault(monitor, flood="line", flood_bytes=size)
                client.follow(0)
                begin = _resident(os.getpid())
                got, deadline = 0, time.monotonic() + 120
                while got < size:
                    assert time.monotonic() < deadline, f"only {got} bytes came"
                    got += len(client.read(1))
                assert _resident(client.status().pid) < 100_000
                assert _resident(os.getpid()) - begin < 50_000
        finally:
            start.stop(place)


@pytest.mark.parametrize("kind", ["utf8", "escapes"])
def test_what_is_hostile_to_a_terminal_reaches_none(board: Lab, kind: str) -> None:
    fault(board, f"flood={kind}", "flood_bytes=3000")
    until(lambda: counts(board)["waiting"] == 0)
    shown = board.labctl("console", "log", "faulty").stdout
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    state = board.labctl("board", "state", "faulty", check=False)
    assert "\x1b" not in state.stdout + state.stderr
    assert run(board, "echo fine", "--timeout", "60").stdout == "fine\n"

"""Terminal devices, locks and errors, on pseudo-terminals and made-up files."""

import contextlib
import errno
import os
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.transport.lines import tty as module
from labctl.transport.lines import tty_errors, udev
from labctl.transport.lines.base import LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.holders import Holder, LockFile, find_holders
from labctl.transport.lines.opening import open_line
from labctl.transport.lines.settings import LineSettings
from labctl.transport.lines.tty import TtyLine


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    """Return the board's side of a pseudo-terminal, and the name of the other side."""
    board, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    yield board, name
    with contextlib.suppress(OSError):
        os.close(board)


@pytest.fixture
def line(port: tuple[int, str]) -> Iterator[TtyLine]:
    opened = TtyLine(port[1], port[1], LineSettings())
    yield opened
    opened.close()


def ready(line: TtyLine) -> bool:
    return bool(select.select([line], [], [], 5)[0])


def test_every_byte_passes_both_ways(port: tuple[int, str], line: TtyLine) -> None:
    every = bytes(range(256))
    assert line.read(10) == b""
    os.write(port[0], every)
    assert ready(line)
    assert line.read(1000) == every
    assert line.read(1000) == b""
    assert line.write(every) == 256
    assert os.read(port[0], 1000) == every


def test_what_came_before_opening_is_not_thrown_away() -> None:
    board, slave = os.openpty()
    os.write(board, b"U-Boot\n")
    line = TtyLine("x", os.ttyname(slave), LineSettings())
    assert ready(line)
    assert line.read(100) == b"U-Boot\n"
    line.close()
    os.close(board)
    os.close(slave)


def test_a_full_line_takes_what_it_can(port: tuple[int, str], line: TtyLine) -> None:
    total = 0
    # The kernel carries bytes to the other side's buffer meanwhile, so there may be room again.
    while (taken := line.write(b"x" * 4096)) or select.select([], [line], [], 0)[1]:
        total += taken
        assert total < 1 << 24
    assert len(os.read(port[0], total)) > 0


def test_the_other_side_closing_is_noticed(port: tuple[int, str], line: TtyLine) -> None:
    os.close(port[0])
    assert ready(line)
    with pytest.raises(LineGoneError, match="the other side closed the pseudo-terminal"):
        line.read(10)
    with pytest.raises(LineGoneError):
        line.write(b"x")
    for change in (lambda: line.set_baud(9600), lambda: line.set_signals(dtr=True)):
        with pytest.raises(LabctlError):
            change()
    line.close()
    line.close()


@pytest.mark.parametrize("rate", [50, 9600, 115200, 250000, 1234567, 4000000])
def test_any_rate_is_set_exactly(port: tuple[int, str], line: TtyLine, rate: int) -> None:
    line.set_baud(rate)
    assert line._rate() == rate
    line.set_baud(115200)
    assert termios.tcgetattr(port[0])[4] == termios.B115200


def test_settings_arrive_raw_and_without_hupcl(port: tuple[int, str]) -> None:
    line = TtyLine("x", port[1], LineSettings(baud=57600, stop_bits=2, flow="xonxoff"))
    iflag, oflag, cflag, lflag, speed, _, cc = termios.tcgetattr(port[0])
    line.close()
    assert iflag == termios.IXON | termios.IXOFF
    assert (oflag, lflag, speed) == (0, 0, termios.B57600)
    assert cflag & termios.CSTOPB
    assert cflag & termios.CLOCAL
    assert not cflag & (termios.HUPCL | termios.CRTSCTS)
    assert (cc[termios.VMIN], cc[termios.VTIME]) in ((b"\x01", b"\0"), (1, 0))


def test_a_driver_that_makes_another_rate_is_refused(
    line: TtyLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TtyLine, "_rate", lambda self: 1_500_000)
    with pytest.raises(UnsupportedError, match="makes 1500000 baud of 921600"):
        line.set_baud(921600)


@pytest.mark.parametrize("rate", [9600, 1234567])
def test_a_change_of_parity_leaves_the_rate(line: TtyLine, rate: int) -> None:
    line.set_baud(rate)
    for parity in ("even", "odd", "none"):
        line.set_parity(parity)
        assert line._rate() == rate
    with pytest.raises(UsageError, match="'mark' is not possible"):
        line.set_parity("mark")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parity", "bits"),
    [("none", 0), ("even", termios.PARENB), ("odd", termios.PARENB | termios.PARODD)],
)
def test_the_parity_that_is_asked_for_is_set(
    line: TtyLine, monkeypatch: pytest.MonkeyPatch, parity: Any, bits: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(line, "_pseudo", False)
    monkeypatch.setattr(line, "_apply", lambda attributes, rate: asked.append(attributes[2]))
    # The driver, a pseudo-terminal's here, does not take it, which is noticed.
    refused = pytest.raises(UnsupportedError, match=f"cannot do parity {parity}")
    with refused if bits else contextlib.nullcontext():
        line.set_parity(parity)
    assert asked[0] & (termios.PARENB | termios.PARODD) == bits


def test_what_a_pseudo_terminal_has_not_is_refused(line: TtyLine) -> None:
    with pytest.raises(UnsupportedError, match="no break"):
        line.send_break(0.1)
    with pytest.raises(UnsupportedError, match="no DTR"):
        line.set_signals(dtr=False)
    with pytest.raises(UsageError, match="baud"):
        line.set_baud(0)


def test_stop_bits_that_no_uart_has_are_refused(port: tuple[int, str]) -> None:
    with pytest.raises(UnsupportedError, match=r"1\.5 stop bits"):
        TtyLine("x", port[1], LineSettings(stop_bits=1.5))


def test_a_second_opening_names_the_program_that_holds_it(
    port: tuple[int, str], line: TtyLine
) -> None:
    with pytest.raises(LineBusyError) as caught:
        TtyLine("console", port[1], LineSettings())
    assert str(caught.value).startswith("console: py")
    assert f"(pid {os.getpid()}) holds the port" in str(caught.value)
    assert line.write(b"x") == 1  # the first is not disturbed


def test_closing_frees_it(port: tuple[int, str]) -> None:
    for _ in range(3):
        TtyLine("x", port[1], LineSettings()).close()


def test_the_holder_is_found_in_another_process(port: tuple[int, str]) -> None:
    program = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program + "; sys.stdin.read()", port[1]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert [one.pid for one in find_holders(Path(port[1]))] == [process.pid]
        process.communicate()
    assert find_holders(Path(port[1])) == []


@pytest.fixture
def real_port(port: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a pseudo-terminal that is taken for a port with hardware, its lock in tmp_path."""

    class Unlike(TtyLine):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, False if name == "_pseudo" else value)

    monkeypatch.setattr(module, "TtyLine", Unlike)
    monkeypatch.setattr(module, "LockFile", lambda device: LockFile(device, tmp_path))
    return port[1]


def test_a_program_without_locks_is_named_too(port: tuple[int, str], real_port: str) -> None:
    """As ``cat /dev/ttyUSB0`` in another window, or a getty: half of the bytes would be gone."""
    slave = os.open(port[1], os.O_RDWR | os.O_NOCTTY)
    with pytest.raises(LineBusyError, match=rf"\(pid {os.getpid()}\) holds the port"):
        open_line(real_port, LineSettings())
    os.close(slave)
    open_line(real_port, LineSettings()).close()


def test_a_port_is_locked_for_programs_that_know_lock_files(real_port: str, tmp_path: Path) -> None:
    line = open_line(real_port, LineSettings())
    (lock,) = tmp_path.glob("LCK..*")
    assert lock.name == "LCK.." + real_port.removeprefix("/dev/").replace("/", "_")
    assert lock.read_bytes() == f"{os.getpid():10d}\n".encode()
    line.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_of_a_living_program_is_busy(real_port: str, tmp_path: Path) -> None:
    lock = tmp_path / ("LCK.." + real_port.removeprefix("/dev/").replace("/", "_"))
    lock.write_text(f"{os.getppid():10d}\n")
    with pytest.raises(LineBusyError, match=rf"\(pid {os.getppid()}\) holds the port"):
        open_line(real_port, LineSettings())
    assert lock.exists()


def dead_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("content", ["text", "binary", "garbage", "empty"])
def test_a_stale_lock_file_is_taken_over(tmp_path: Path, content: str) -> None:
    lock = LockFile(Path("/dev/ttyUSB0"), tmp_path)
    pid = dead_pid()
    lock.path.write_bytes(
        {"text": f"{pid:10d}\n".encode(), "binary": struct.pack("=i", pid)}.get(
            content, b"?" if content == "garbage" else b""
        )
    )
    assert lock.acquire() is None
    assert lock.path.read_text() == f"{os.getpid():10d}\n"
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_folder_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    lock = LockFile(Path("/dev/ttyUSB0"), tmp_path / "no")
    assert lock.acquire() is None
    lock.release()


def test_a_lock_that_another_took_since_is_not_removed(tmp_path: Path) -> None:
    lock = LockFile(Path("/dev/ttyUSB0"), tmp_path)
    assert lock.acquire() is None
    lock.path.write_text(f"{os.getppid():10d}\n")
    lock.release()
    assert lock.path.exists()
    assert LockFile(Path("/dev/ttyUSB0"), tmp_path).acquire() == Holder(
        os.getppid(), Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    )


@pytest.mark.parametrize(
    ("holder", "advice"),
    [
        (Holder(7, "agetty"), "systemctl stop serial-getty@"),
        (Holder(7, "ModemManager"), "after some seconds"),
        (Holder(7), "process 7 holds the port"),
        (None, "a program of another user holds the port"),
    ],
)
def test_who_holds_it_says_what_to_do(
    line: TtyLine, holder: Holder | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_holders", lambda device, ours=None: [])
    with pytest.raises(LineBusyError) as caught:
        line._raise_busy(holder)
    assert advice in str(caught.value)


USB = udev.Port(Path("/dev/ttyUSB0"), {"ID_VENDOR": "FTDI"}, (Path("/dev/serial/by-id/usb-x"),))


def test_a_missing_port_says_which_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udev, "serial_ports", lambda: [USB])
    with pytest.raises(UnreachableError) as caught:
        open_line("/dev/ttyUSB9", LineSettings())
    assert str(caught.value) == (
        "/dev/ttyUSB9: there is no such port; do you mean /dev/ttyUSB0? "
        "ports here: /dev/ttyUSB0 (FTDI)"
    )
    monkeypatch.setattr(udev, "serial_ports", list)
    with pytest.raises(UnreachableError, match="no serial port is plugged into this machine"):
        open_line("/dev/ttyUSB9", LineSettings())


@pytest.mark.parametrize("path", ["/dev/null", "/etc/hostname", "/dev"])
def test_what_is_no_terminal_is_said_so(path: str) -> None:
    with pytest.raises(UsageError, match="not a serial port"):
        open_line(path, LineSettings())


def test_no_permission_gives_the_command_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    device.chmod(0o660)
    group = tty_errors.grp.getgrgid(20)  # dialout in Debian
    state = os.stat_result((0o020660, 0, 0, 1, 0, group.gr_gid, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda self: state)
    monkeypatch.setattr(tty_errors.getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(tty_errors.os, "getgroups", lambda: [1000])

    def said() -> str:
        return str(tty_errors.explain_open_error(OSError(errno.EACCES, ""), "console", device))

    assert said() == (
        "console: no permission to use the port; it belongs to group 'dialout': "
        "sudo adduser ann dialout, then log in again"
    )
    joined = tty_errors.grp.struct_group(("dialout", "x", 20, ["ann"]))
    monkeypatch.setattr(tty_errors.grp, "getgrgid", lambda number: joined)
    assert "since you logged in: log out and in again" in said()
    monkeypatch.setattr(tty_errors.os, "getgroups", lambda: [20])
    assert "something else forbids it" in said()
    state = os.stat_result((0o020600, 0, 0, 1, 0, group.gr_gid, 0, 0, 0, 0))
    assert "a udev rule" in said()


@pytest.mark.parametrize("number", [errno.ENXIO, errno.ENODEV, errno.EIO])
def test_a_device_file_without_hardware_is_unreachable(number: int) -> None:
    error = tty_errors.explain_open_error(OSError(number, ""), "x", Path("/dev/ttyS9"))
    assert isinstance(error, UnreachableError)
    assert "no hardware behind it" in str(error)

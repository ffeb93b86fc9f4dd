"""The Linux of a board."""

import threading

import pytest

from labctl.boards.bench import Bench
from labctl.boards.session import BoardResetError
from labctl.boards.signs import BoardPanicError


@pytest.fixture
def linux(board: Bench) -> Bench:
    if board.linux is None:
        pytest.skip("its model describes no Linux")
    board.boot("linux")
    return board


def test_boots_to_a_shell(linux: Bench) -> None:
    assert linux.run("uname -s").output == b"Linux\n"


def test_a_hundred_commands(linux: Bench) -> None:
    for number in range(100):
        result = linux.linux.run(f"echo {number}; (exit {number})", timeout=30)  # type: ignore[union-attr]
        assert (result.output, result.exit_code) == (f"{number}\n".encode(), number)
        assert result.checked


def test_much_output_arrives_whole(linux: Bench) -> None:
    result = linux.run("seq 20000", timeout=120)
    assert result.output == "".join(f"{number}\n" for number in range(1, 20001)).encode()
    assert result.checked


def test_a_reset_in_mid_command_is_said_at_once(linux: Bench) -> None:
    if linux.power is None:
        pytest.skip("nothing switches its power")
    cut = threading.Timer(1.0, linux.power.cycle)
    cut.start()
    try:
        with pytest.raises(BoardResetError, match="reset in mid command"):
            linux.run("sleep 60", timeout=90)
    finally:
        cut.join()
    linux.boot("linux")
    assert linux.run("echo back").output == b"back\n"


def test_a_panic_is_shown(linux: Bench) -> None:
    if "faults" in linux.model.capabilities:
        pytest.skip("its shell is one of this machine; it panics on demand (labctl lab fault)")
    with pytest.raises(BoardPanicError) as panic:
        linux.run("echo c > /proc/sysrq-trigger", timeout=60)
    assert "sysrq triggered crash" in str(panic.value)
    linux.boot("linux")
    assert linux.run("echo back").output == b"back\n"

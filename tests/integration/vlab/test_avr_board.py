"""The virtual Arduino Uno: a real boot loader under simavr, spoken to by the real avrdude."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import avr_lab
import pytest
from avr_lab import BLINK, GREETING, UNO, Port, Uno

from labctl.errors import LabctlError

pytestmark = pytest.mark.skipif(bool(avr_lab.why_not()), reason=avr_lab.why_not() or "there")

HEX = BLINK / "blink.hex"
# "labctl" at 0x0000 is no program: erased flash runs on into the boot loader.
ERASED = b"\xff" * 0x7E00


@pytest.fixture
def uno(tmp_path: Path) -> Iterator[Uno]:
    with avr_lab.running(tmp_path) as one:
        yield one


def write_blink(uno: Uno) -> None:
    done = uno.avrdude("-D", "-U", f"flash:w:{HEX}:i")
    assert done.returncode == 0, done.stderr
    assert "bytes of flash verified" in done.stderr


def test_a_new_board_has_its_boot_loader_and_nothing_else(uno: Uno) -> None:
    assert len(uno.flash) == UNO.flash_bytes
    assert uno.flash[:0x7E00] == ERASED
    assert uno.flash[0x7FFE:] == b"\x04\x04"  # optiboot's version, low byte first
    done = uno.avrdude("-n")
    assert done.returncode == 0, done.stderr
    assert "0x1e950f" in done.stderr  # ATmega328P datasheet, Signature Bytes


def test_avrdude_writes_a_program_and_it_greets(uno: Uno) -> None:
    loader = uno.flash[0x7E00:]
    write_blink(uno)
    with Port(uno, 9600) as port:  # the reset of opening: boot loader, one second, program
        assert port.read_until(GREETING).endswith(GREETING)
        port.write(b"?")
        assert port.read_until(b"blinking\r\n") == b"blinking\r\n"
    assert uno.flash[0x7E00:] == loader


def test_the_flash_outlives_the_power_and_a_power_on_starts_the_program_at_once(uno: Uno) -> None:
    write_blink(uno)
    with Port(uno, 9600) as port:
        port.read_until(GREETING)
        uno.tell("stop")
        assert uno.tell("query-status")["running"] is False
        port.write(b"???")  # lost
        uno.tell("cont")
        port.read_until(GREETING)
        uno.tell("system_reset")
        port.read_until(GREETING)
        assert uno.tell("x-stats")["resets"] >= 4


def test_the_flash_outlives_the_simulator_killed_in_the_middle_of_a_write(uno: Uno) -> None:
    loader = uno.flash[0x7E00:]
    full = uno.folder / "full.bin"
    full.write_bytes(bytes(range(256)) * 120)
    with subprocess.Popen(
        ["avrdude", "-p", "atmega328p", "-c", "arduino", "-P", str(uno.line), "-b", "115200",
         "-D", "-q", "-q", "-U", f"flash:w:{full}:r"],
        stderr=subprocess.DEVNULL,
    ) as writer:  # fmt: skip
        while uno.flash[0x1000:0x1080] == b"\xff" * 128:
            assert writer.poll() is None
        uno.kill()
        writer.terminate()
    cut = uno.flash
    assert cut[:0x1000] == full.read_bytes()[:0x1000]
    assert cut[0x7780:0x7E00] == ERASED[0x7780:0x7E00]
    assert cut[0x7E00:] == loader
    uno.start()
    uno.tell("cont")
    write_blink(uno)
    with Port(uno, 9600) as port:
        port.read_until(GREETING)


def test_bytes_at_a_wrong_rate_are_other_bytes(uno: Uno) -> None:
    write_blink(uno)
    with Port(uno, 19200) as port:
        # Twice the rate of the sender: a receiver finds more than one start bit in most bytes.
        heard = port.read_at_least(len(GREETING) + 1)
        assert b"He" not in heard
        assert b"\r\n" not in heard


def test_what_cannot_run_says_why(tmp_path: Path) -> None:
    from dataclasses import replace

    from labctl.vlab.avr import board
    from labctl.vlab.avr.build import build

    built = build(UNO)
    with pytest.raises(LabctlError, match="uno: simavr has no processor 'atmega1'"):
        board.launch(tmp_path, "uno", tmp_path / "pid", replace(UNO, part="atmega1"), built)
    board.flash_file(tmp_path).write_bytes(b"short")
    with pytest.raises(LabctlError, match="has not the 32768 bytes"):
        board.launch(tmp_path, "uno", tmp_path / "pid", UNO, built)


def test_the_kept_program_is_what_its_source_makes(tmp_path: Path) -> None:
    made = tmp_path / "blink"
    made.mkdir()
    for name in ("blink.c", "Makefile"):
        (made / name).write_bytes((BLINK / name).read_bytes())
    subprocess.run(["make", "-C", str(made)], check=True, capture_output=True, timeout=60)
    assert (made / "blink.hex").read_bytes() == HEX.read_bytes()

"""The Arduino Uno of the lab, from the command line: up, flash, greeting, Ctrl-C, down."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import avr_lab
import pytest
from avr_lab import BLINK, GREETING
from virtual_lab import Lab, MakeLab, until

pytestmark = pytest.mark.skipif(bool(avr_lab.why_not()), reason=avr_lab.why_not() or "there")

INVENTORY = "version: 1\nboards:\n  uno: {model: arduino-uno, virtual: true}\n"
HEX = str(BLINK / "blink.hex")
WORDS = GREETING.decode().strip()
# From Ctrl-C to the prompt; what issue and method promise is 3 s, of which Python's own start and
# end, on a machine that is busy with other tests, are not part.
PROMPT_S = 30.0


@pytest.fixture
def lab(make_lab: MakeLab) -> Iterator[Lab]:
    made = make_lab(INVENTORY)
    made.labctl("lab", "up", "uno")
    yield made
    made.down()


def log(lab: Lab) -> str:
    return lab.labctl("console", "log", "uno").stdout


def test_flash_and_greeting(lab: Lab, tmp_path: Path) -> None:
    first = lab.json("flash", "uno", HEX)
    assert first["written"] is True
    assert first["identity"]["signature"] == "0x1e950f"
    assert first["image"]["architecture"] in (None, "avr")
    until(lambda: WORDS in log(lab))
    assert lab.json("flash", "uno", HEX)["written"] is False
    # Through the power: what was flashed stays, and greets again.
    greetings = log(lab).count(WORDS)
    lab.labctl("board", "power", "uno", "cycle")
    until(lambda: log(lab).count(WORDS) > greetings)
    # Made as new, it has its boot loader and nothing else.
    lab.reset("uno")
    plan = lab.labctl("flash", "uno", HEX, "--plan").stdout
    assert "write 388 bytes" in plan
    assert "avrdude" in plan
    elf = tmp_path / "x.elf"
    elf.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100))
    refused = lab.labctl("flash", "uno", str(elf), check=False)
    assert refused.returncode in (1, 2)
    assert "Traceback" not in refused.stderr
    assert lab.states() == {"uno": "up"}


@pytest.mark.parametrize("phase", ["it says", "write ", "verify "])
def test_ctrl_c_at_any_time_leaves_the_line_open_and_nothing_running(
    lab: Lab, tmp_path: Path, phase: str
) -> None:
    image = tmp_path / "big.bin"
    image.write_bytes(os.urandom(20_000))
    process = lab.start("flash", "uno", str(image))
    assert process.stdout is not None
    said = ""
    deadline = time.monotonic() + PROMPT_S
    while phase not in said and time.monotonic() < deadline:
        piece = os.read(process.stdout.fileno(), 4096).decode(errors="replace")
        if not piece:
            break
        said += piece
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PROMPT_S)
    assert process.returncode == 130, said
    until(lambda: lab.json("board", "info", "uno")["line"]["open"])
    assert lab.json("board", "info", "uno")["line"]["lease"] is None
    assert lab.json("flash", "uno", HEX)["written"] is True

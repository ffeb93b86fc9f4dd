"""Text at a wrong rate looks wrong, text at its own looks right, and the line is left as it was."""

from __future__ import annotations

import random
import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resampling import resample

from labctl.boards.rates import (
    GARBAGE,
    TEXT,
    USUAL_RATES,
    Meter,
    RateFinding,
    examine,
    is_garbage,
    is_seven_bits,
    is_text,
    score,
)
from labctl.boards.signs import Signs
from labctl.transport.lines.base import LineGoneError, UnsupportedError
from labctl.transport.lines.settings import LineSettings

SIGNS = Signs(
    uboot_prompt=re.compile(rb"=> "),
    login=re.compile(rb"\S+ login: "),
    password=re.compile(rb"Password: "),
)
TEXTS = {
    "uboot": b"\r\n\r\nU-Boot 2023.01+dfsg-2+deb12u1 (Nov 30 2023 - 12:00:00 +0000)\r\n\r\n"
    b"DRAM:  512 MiB\r\nCore:  51 devices, 14 uclasses, devicetree: board\r\nFlash: 64 MiB\r\n"
    b"Hit any key to stop autoboot:  2 \x08\x08\x08 1 ",
    "kernel": b"[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]\r\n"
    b"[    1.234567] usb 1-1: new high-speed USB device number 2\r\n",
    "login": b"\r\nDebian GNU/Linux 12 box ttyS0\r\n\r\nbox login: ",
    "readings": b"Temperature: 23.45 C\r\nTemperature: 23.47 C\r\n",
    "modem": b"AT+GMR\r\nOK\r\nREADY\r\n",
    "german": "Größe geändert: überprüfe Gerät\r\n".encode(),
}
PAIRS = list(permutations(USUAL_RATES, 2))


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_text(name: str) -> None:
    assert score(TEXTS[name]) == 1.0
    assert is_text(TEXTS[name])
    assert not is_garbage(TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_at_no_other_rate_it_is(name: str) -> None:
    wrong = [pair for pair in PAIRS if is_text(resample(TEXTS[name], *pair), SIGNS)]
    assert not wrong


@pytest.mark.parametrize("name", TEXTS)
def test_what_another_rate_makes_of_it_is_garbage(name: str) -> None:
    for pair in PAIRS:
        made = resample(TEXTS[name], *pair)
        if len(made) >= 8:
            assert is_garbage(made), (pair, made)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(60, 300), st.sampled_from(PAIRS))
def test_any_text_tells_its_rate(seed: int, length: int, pair: tuple[int, int]) -> None:
    data = bytes(random.Random(seed).choices(range(32, 127), k=length))
    assert score(data) == 1.0
    made = resample(data, *pair)
    # A receiver that is much slower gets few bytes of much text.
    assert score(made) < TEXT or len(made) < 24
    assert not is_text(made) or len(made) < 24


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_a_score_is_a_share_and_nothing_is_both(data: bytes) -> None:
    assert 0.0 <= score(data) <= 1.0
    assert not (is_text(data) and is_garbage(data))


def test_too_little_tells_nothing() -> None:
    assert not is_garbage(b"\xff\x00\x80")
    assert not is_text(b"q")
    assert GARBAGE < score(b"----------------") < TEXT
    assert GARBAGE < score(b"") < TEXT


def test_a_prompt_or_an_echo_is_enough() -> None:
    assert is_text(b"#\r\n=> ", SIGNS)
    assert is_text(b"#\r\n", SIGNS, b"#\r")
    assert not is_text(b"c\r\n", SIGNS, b"#\r")


def test_a_parity_bit_is_told_from_a_rate() -> None:
    even = bytes(byte | (0x80 if byte.bit_count() % 2 else 0) for byte in TEXTS["kernel"])
    assert is_seven_bits(even)
    assert not is_seven_bits(TEXTS["kernel"])
    found = examine(Uart(9600), LineSettings(baud=9600), even, signs=SIGNS, provoke=b"")
    assert found is not None
    assert "parity bit" in found.cause()
    assert "data_bits: 7" in found.action("uno")


class Uart:
    """A line whose board sends, and takes what it is sent, at a rate of its own."""

    def __init__(self, board: int, *, says: bytes = b"", prompt: bytes = b"=> ") -> None:
        self.board = board
        self.rate = 115200
        self.says = says
        self.prompt = prompt
        self.typed = b""
        self.set: list[int] = []
        self._waiting = b""

    def set_baud(self, rate: int) -> None:
        self.set.append(rate)
        self.rate = rate

    def write(self, data: bytes) -> None:
        heard = resample(data, self.rate, self.board)
        self.typed += heard
        answer = heard.replace(b"\r", b"\r\n" + self.prompt) if self.prompt else b""
        self._waiting += resample(answer, self.board, self.rate)

    def read(self, timeout: float) -> bytes:
        if self.says and timeout > 0:
            return resample(self.says, self.board, self.rate)
        data, self._waiting = self._waiting, b""
        return data


SET = LineSettings(baud=115200)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that talks on is listened to for a moment only."""
    monkeypatch.setattr("labctl.boards.rates._MOST_S", 0.0)


@pytest.mark.parametrize("rate", [one for one in USUAL_RATES if one != 115200])
def test_the_rate_that_decodes_is_named_and_the_line_left_as_it_was(rate: int) -> None:
    uart = Uart(rate)
    found = examine(uart, SET, b"", signs=SIGNS, provoke=b"#\r")
    assert found is not None
    assert found.decodes == rate
    assert uart.rate == 115200
    assert found.cause().startswith(f"it looks like a wrong rate: 115200 is set; {rate} decodes")
    assert f"baud: {rate}" in found.action("uno")


@pytest.mark.parametrize("rate", [9600, 57600])
def test_a_board_that_talks_is_only_listened_to(rate: int) -> None:
    uart = Uart(rate, says=TEXTS["kernel"])
    came = resample(TEXTS["kernel"] * 4, rate, 115200)
    found = examine(uart, SET, came, signs=SIGNS, provoke=b"#\r")
    assert found is not None
    assert (found.decodes, found.garbage, uart.typed) == (rate, True, b"")


def test_a_board_that_may_not_be_spoken_to_is_not() -> None:
    uart = Uart(9600)
    assert examine(uart, SET, b"", signs=SIGNS, provoke=b"") is None
    assert uart.typed == b""
    assert uart.rate == 115200


def test_silence_at_all_rates_is_no_wrong_rate() -> None:
    uart = Uart(9600, prompt=b"")
    assert examine(uart, SET, b"", signs=SIGNS, provoke=b"#\r") is None
    assert uart.set[-1] == 115200


def test_garbage_at_all_rates_is_said_as_what_it_looks_like() -> None:
    came = bytes(range(128, 190))
    found = examine(Uart(9600, prompt=b""), SET, came, signs=SIGNS, provoke=b"#\r")
    assert found is not None
    assert "it looks like a wrong rate: what comes at 115200 baud is no text, nor" in found.cause()
    assert "ground" in found.action("uno")


def test_what_decodes_is_not_doubted() -> None:
    uart = Uart(9600)
    assert examine(uart, SET, TEXTS["login"], signs=SIGNS, provoke=b"#\r") is None
    assert uart.set == []


def test_a_rate_that_is_set_elsewhere() -> None:
    class Tcp(Uart):
        def set_baud(self, rate: int) -> None:
            raise UnsupportedError("the rate of this kind of line is set elsewhere")

    assert examine(Tcp(9600), SET, b"", signs=SIGNS, provoke=b"#\r") is None
    found = examine(Tcp(9600), SET, bytes(range(128, 190)), signs=SIGNS, provoke=b"#\r")
    assert found == RateFinding(115200, True, None, (), found.sample if found else "")
    assert "set at its other end" in found.action("uno")


def test_a_rate_that_the_adapter_lacks_is_passed_over() -> None:
    class Old(Uart):
        def set_baud(self, rate: int) -> None:
            if rate > 115200:
                raise UnsupportedError("the driver refuses it")
            super().set_baud(rate)

    uart = Old(2400)
    found = examine(uart, SET, b"", signs=SIGNS, provoke=b"#\r")
    assert found is not None
    assert found.decodes == 2400
    assert uart.rate == 115200


def test_a_line_that_goes_meanwhile_is_said() -> None:
    class Gone(Uart):
        def read(self, timeout: float) -> bytes:
            raise LineGoneError("the port is gone")

    uart = Gone(9600)
    with pytest.raises(LineGoneError):
        examine(uart, SET, b"", signs=SIGNS, provoke=b"#\r")
    assert uart.rate == 115200


def test_a_login_that_took_the_probe_for_a_name_is_left() -> None:
    uart = Uart(9600, prompt=b"Password: ")
    found = examine(uart, SET, b"", signs=SIGNS, provoke=b"#\r")
    assert found is not None
    assert found.decodes == 9600
    assert uart.typed.endswith(b"\x03")


def test_a_console_is_told_once() -> None:
    meter = Meter()
    assert not meter.feed(TEXTS["kernel"] * 3)
    made = resample(TEXTS["kernel"] * 40, 9600, 115200)
    told = [meter.feed(made[at : at + 50]) for at in range(0, len(made), 50)]
    assert told.count(True) == 1

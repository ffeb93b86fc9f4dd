"""The simulated ESP32 at the level of frames, against Espressif's "Serial Protocol".

Real esptool talks to it in tests/integration/vlab/test_rom_clients.py.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labctl.vlab.rom.esp32 import image, image_length
from labctl.vlab.rom.inprocess import Line

SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32
OK, STUB_OK = b"\0\0\0\0", b"\0\0"


def slip(data: bytes) -> bytes:
    return b"\xc0" + data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def frames(raw: bytes) -> list[bytes]:
    parts = [part for part in raw.split(b"\xc0") if part]
    return [part.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb") for part in parts]


def talk(to: Line, data: bytes) -> bytes:
    to.write(data)
    said = b""
    while piece := to.read(20.0):
        said += piece
    return said


def command(to: Line, op: int, data: bytes = b"", checksum: int = 0) -> tuple[int, bytes]:
    said = frames(talk(to, slip(struct.pack("<BBHI", 0, op, len(data), checksum) + data)))
    direction, answered, size, value = struct.unpack("<BBHI", said[0][:8])
    assert (direction, answered, size) == (1, op, len(said[0]) - 8)
    return value, said[0][8:]


def block(data: bytes, number: int = 0) -> tuple[bytes, int]:
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    return struct.pack("<IIII", len(data), number, 0, 0) + data, checksum


def line(folder: Path | None = None, **settings: object) -> Line:
    return Line({"chip": "esp32", "paced": False, "flash_time": 0.0, **settings}, folder)


def in_rom(folder: Path | None = None, **settings: object) -> Line:
    made = line(folder, **settings)
    made.chip.set_pin("io0", False)
    made.board.power(True)
    assert talk(made, b"").endswith(b"waiting for download\r\n")
    assert len(frames(talk(made, slip(struct.pack("<BBHI", 0, 8, 36, 0) + SYNC)))) == 8
    return made


def in_stub(folder: Path | None = None, **settings: object) -> Line:
    made = in_rom(folder, **settings)
    code = b"code" + b"OHAI" + b"more"
    assert command(made, 5, struct.pack("<IIII", len(code), 1, 0x1800, 0x40080000)) == (0, OK)
    assert command(made, 7, *block(code)) == (0, OK)
    said = talk(made, slip(struct.pack("<BBHIII", 0, 6, 8, 0, 0, 0x40080000)))
    assert frames(said)[1] == b"OHAI"
    return made


def cells(of: Line, at: int, size: int) -> bytes:
    return bytes(of.chip.flash.read(at, size))  # type: ignore[attr-defined]


def test_registers_say_which_chip_and_which_one_of_them() -> None:
    one, other = in_rom(serial=0x123456), in_rom(serial=2)
    assert command(one, 0x0A, (0x40001000).to_bytes(4, "little"))[0] == 0x00F01D83
    words = [
        command(each, 0x0A, (0x3FF5A000 + 4 * word).to_bytes(4, "little"))[0]
        for each in (one, other)
        for word in (2, 1)
    ]
    assert f"{words[0]:04x}{words[1]:08x}" == "240ac4123456"
    assert words[1] != words[3]


def test_before_it_was_synchronised_it_says_nothing() -> None:
    made = line()
    made.chip.set_pin("io0", False)
    made.board.power(True)
    talk(made, b"")
    assert talk(made, slip(struct.pack("<BBHII", 0, 10, 4, 0, 0x40001000))) == b""


def test_rom_and_stub_differ_in_what_they_answer() -> None:
    rom, stub = in_rom(), in_stub()
    assert command(rom, 0xD0)[1] == b"\x01\x05\0\0"
    assert command(stub, 0xD0)[1] == STUB_OK
    assert command(rom, 0x14)[1] == b"\x01\x05\0\0"
    assert command(stub, 0x14)[1] == b"\x01\xc3"


def test_a_damaged_block_is_refused_and_not_written() -> None:
    rom = in_rom()
    assert command(rom, 2, struct.pack("<IIII", 0x400, 1, 0x400, 0x20000))[1] == OK
    data, checksum = block(b"x" * 0x400)
    assert command(rom, 3, data, checksum ^ 1)[1] == b"\x01\x07\0\0"
    assert cells(rom, 0x20000, 4) == b"\xff" * 4
    assert command(rom, 3, data, checksum)[1] == OK
    assert cells(rom, 0x20000, 0x401) == b"x" * 0x400 + b"\xff"


def test_the_rom_erases_at_once_and_the_stub_as_it_writes() -> None:
    for made, erased in ((in_rom(), True), (in_stub(), False)):
        for _ in made.chip.flash.program(0x20000, bytes(0x3000)):  # type: ignore[attr-defined]
            pass
        command(made, 2, struct.pack("<IIII", 0x1800, 2, 0x1000, 0x20000))
        assert (cells(made, 0x21000, 1) == b"\xff") == erased
        command(made, 3, *block(b"a" * 0x1000))
        command(made, 3, *block(b"b" * 0x800, 1))
        found = cells(made, 0x20000, 0x2001)
        assert found == b"a" * 0x1000 + b"b" * 0x800 + b"\xff" * 0x800 + b"\0"


def test_compressed_data_and_the_digest() -> None:
    for made, digest in ((in_rom(), 32), (in_stub(), 16)):
        data = bytes(range(256)) * 20
        packed = zlib.compress(data)
        command(made, 0x10, struct.pack("<IIII", len(data), 1, 0x4000, 0x20000))
        assert not any(command(made, 0x11, *block(packed))[1])
        found = command(made, 0x13, struct.pack("<IIII", 0x20000, len(data), 0, 0))[1][:digest]
        wanted = hashlib.md5(data)
        assert found == (wanted.hexdigest().encode() if digest == 32 else wanted.digest())


def test_data_that_was_not_announced_is_refused() -> None:
    stub = in_stub()
    assert command(stub, 3, *block(b"data"))[1] == b"\x01\xc6"
    command(stub, 2, struct.pack("<IIII", 4, 1, 0x4000, 0x20000))
    assert command(stub, 3, *block(bytes(0x1004)))[1] == b"\x01\xc9"
    command(stub, 0x10, struct.pack("<IIII", 4, 1, 0x4000, 0x20000))
    assert command(stub, 0x11, *block(b"no deflate"))[1] == b"\x01\xc7"


def test_the_answer_to_a_change_of_the_rate_comes_at_the_old_one() -> None:
    rom = in_rom()
    assert command(rom, 0x0F, struct.pack("<II", 921600, 0))[1] == OK
    assert frames(talk(rom, slip(struct.pack("<BBHII", 0, 10, 4, 0, 0))))[:1] != [OK]
    rom.set_baud(921600)
    talk(rom, b"\xc0")  # what the chip made of it at the wrong rate ends here
    assert command(rom, 0x0A, (0x40001000).to_bytes(4, "little"))[0] == 0x00F01D83


def test_a_cable_carries_no_more_than_it_does() -> None:
    rom = in_rom(most_baud=460800)
    command(rom, 0x0F, struct.pack("<II", 921600, 0))
    rom.set_baud(921600)
    assert frames(talk(rom, slip(struct.pack("<BBHII", 0, 10, 4, 0, 0x40001000)))) == []


def test_the_signals_of_an_adapter_choose_what_starts() -> None:
    made = line()
    made.board.power(True)
    assert b"SPI_FAST_FLASH_BOOT" in talk(made, b"")
    made.set_signals(dtr=False, rts=True)
    made.set_signals(dtr=True, rts=False)
    made.idle(0.05)
    made.set_signals(dtr=False)
    assert b"waiting for download" in talk(made, b"")
    made.set_signals(rts=True)
    made.set_signals(rts=False)
    assert b"SPI_FAST_FLASH_BOOT" in talk(made, b"")


def test_a_program_starts_if_its_checksum_is_right_and_outlives_the_power(tmp_path: Path) -> None:
    program = image([(0x400D0020, b"code" * 100)])
    stub = in_stub(tmp_path)
    command(stub, 2, struct.pack("<IIII", len(program), 1, 0x4000, 0x10000))
    command(stub, 3, *block(program))
    said = f"program {len(program)} bytes, crc32 {zlib.crc32(program):08x}"
    again = line(tmp_path)
    again.board.power(True)
    assert said.encode() in talk(again, b"")
    for _ in again.chip.flash.program(0x10020, b"\0"):  # type: ignore[attr-defined]
        pass
    again.board.reset()
    assert b"No bootable app" in talk(again, b"")


@given(
    st.lists(st.integers(0, 600).map(lambda words: bytes([words % 251]) * 4 * words), max_size=4),
    st.binary(max_size=40),
    st.integers(0, 10_000),
)
def test_an_image_is_found_whole_and_no_other(
    parts: list[bytes], behind: bytes, broken: int
) -> None:
    made = image([(0x3FFB0000, part) for part in parts])
    assert len(made) % 16 == 0
    assert image_length(made + behind) == len(made)
    for cut in (0, 23, len(made) - 1):
        assert image_length(made[:cut]) is None
    if parts and parts[0]:
        place = 32 + broken % len(parts[0])
        assert image_length(made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :]) is None

"""The simulated STM32 at the level of bytes, against what AN3155 and the manuals say.

Real clients talk to it in tests/integration/vlab/test_rom_clients.py.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from labctl.vlab.rom.inprocess import Line

ACK, NACK = b"\x79", b"\x1f"
FLASH = 0x08000000


def line(chip: str = "stm32f446", folder: Path | None = None, **settings: object) -> Line:
    made = Line({"chip": chip, "paced": False, "flash_time": 0.0, **settings}, folder)
    made.set_parity("even")
    return made


def in_rom(chip: str = "stm32f446", folder: Path | None = None, **settings: object) -> Line:
    made = line(chip, folder, **settings)
    made.chip.set_pin("boot0", True)
    made.board.power(True)
    assert talk(made, b"\x7f") == ACK
    return made


def talk(to: Line, data: bytes) -> bytes:
    to.write(data)
    said = b""
    while piece := to.read(20.0):
        said += piece
    return said


def checked(data: bytes) -> bytes:
    total = 0
    for byte in data:
        total ^= byte
    return data + bytes([total])


def at(address: int) -> bytes:
    return checked(address.to_bytes(4, "big"))


def read(to: Line, address: int, size: int) -> bytes:
    assert talk(to, b"\x11\xee") == ACK
    assert talk(to, at(address)) == ACK
    said = talk(to, bytes([size - 1, 0xFF ^ (size - 1)]))
    assert said[:1] == ACK
    assert len(said) == size + 1
    return said[1:]


def write(to: Line, address: int, data: bytes) -> bytes:
    assert talk(to, b"\x31\xce") == ACK
    assert talk(to, at(address)) == ACK
    return talk(to, checked(bytes([len(data) - 1]) + data))


def test_what_it_says_of_itself_is_as_in_the_application_notes() -> None:
    rom = in_rom()
    commands = bytes([0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82, 0x92])
    assert talk(rom, b"\x00\xff") == ACK + b"\x0b\x31" + commands + ACK
    assert talk(rom, b"\x01\xfe") == ACK + b"\x31\0\0" + ACK
    assert talk(rom, b"\x02\xfd") == ACK + b"\x01\x04\x21" + ACK


def test_it_waits_for_the_byte_that_tells_the_rate() -> None:
    rom = line()
    rom.chip.set_pin("boot0", True)
    rom.board.power(True)
    assert talk(rom, b"\x00\xff") == b""
    assert talk(rom, b"\x7f") == ACK
    # Once more it is the first half of a command.
    assert talk(rom, b"\x7f") == b""
    assert talk(rom, b"\x7f") == NACK


@pytest.mark.parametrize("wrong", [b"\x11\xef", b"\x55\xaa", b"\x43\xbc"])
def test_what_is_no_command_of_this_chip_is_refused(wrong: bytes) -> None:
    assert talk(in_rom(), wrong) == NACK


@pytest.mark.parametrize(
    "address", [at(FLASH)[:4] + b"\0", at(FLASH + 0x80000), at(0), at(0x20000000), at(0x1FFF7A10)]
)
def test_a_bad_address_is_refused(address: bytes) -> None:
    rom = in_rom()
    assert talk(rom, b"\x11\xee") == ACK
    assert talk(rom, address) == NACK
    assert talk(rom, b"\x02\xfd")[:1] == ACK


def test_the_unique_id_is_read_from_inside_a_larger_block() -> None:
    one, other = in_rom(), in_rom(serial=2)
    assert read(one, 0x1FFF7A00, 256)[0x10:0x1C] != read(other, 0x1FFF7A00, 256)[0x10:0x1C]
    assert read(one, 0x1FFF7A00, 256)[0x22:0x24] == (512).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("chip", "expected"),
    [("stm32f446", b"\x0f\x00\x0f\x00"), ("stm32f103", b"\x0f\x0f\x0f\x0f")],
)
def test_writing_over_what_is_not_erased(chip: str, expected: bytes) -> None:
    rom = in_rom(chip)
    assert write(rom, FLASH, b"\x0f\x0f\x0f\x0f") == ACK
    assert write(rom, FLASH, b"\xff\x00\xff\x00") == ACK
    assert read(rom, FLASH, 4) == expected


def test_a_damaged_block_is_refused_and_not_written() -> None:
    rom = in_rom()
    assert talk(rom, b"\x31\xce") == ACK
    assert talk(rom, at(FLASH)) == ACK
    assert talk(rom, b"\x03abcd\x00") == NACK
    assert read(rom, FLASH, 4) == b"\xff" * 4


def test_an_erase_takes_whole_sectors_and_no_others() -> None:
    rom = in_rom()
    for sector in range(3):
        assert write(rom, FLASH + sector * 0x4000, b"data") == ACK
    assert talk(rom, b"\x44\xbb") == ACK
    assert talk(rom, checked(b"\0\0\0\x01")) == ACK
    assert [read(rom, FLASH + sector * 0x4000, 4) for sector in range(3)] == [
        b"data", b"\xff" * 4, b"data",
    ]  # fmt: skip
    assert talk(rom, b"\x44\xbb") == ACK
    assert talk(rom, checked(b"\0\0\0\x08")) == NACK
    assert talk(rom, b"\x44\xbb") == ACK
    assert talk(rom, b"\xff\xff\0") == ACK
    assert read(rom, FLASH, 4) == b"\xff" * 4


def test_the_first_kind_of_erase() -> None:
    rom = in_rom("stm32f103")
    for page in range(3):
        assert write(rom, FLASH + page * 0x400, b"data") == ACK
    assert talk(rom, b"\x43\xbc") == ACK
    assert talk(rom, checked(b"\x01\0\x02")) == ACK
    assert read(rom, FLASH, 4) == read(rom, FLASH + 0x800, 4) == b"\xff" * 4
    assert read(rom, FLASH + 0x400, 4) == b"data"
    assert talk(rom, b"\x43\xbc") == ACK
    assert talk(rom, b"\xff\0") == ACK
    assert read(rom, FLASH + 0x400, 4) == b"\xff" * 4


def test_protected_from_reading_it_answers_little_and_loses_all_when_it_is_freed() -> None:
    rom = in_rom()
    assert write(rom, FLASH, b"data") == ACK
    assert talk(rom, b"\x82\x7d") == ACK + ACK
    assert talk(rom, b"\x7f") == ACK  # it was reset
    assert talk(rom, b"\x11\xee") == talk(rom, b"\x31\xce") == NACK
    assert talk(rom, b"\x02\xfd")[:1] == ACK
    assert talk(rom, b"\x92\x6d") == ACK + ACK
    assert talk(rom, b"\x7f") == ACK
    assert read(rom, FLASH, 4) == b"\xff" * 4


def test_what_is_protected_from_writing_stays_without_a_word() -> None:
    rom = in_rom()
    assert write(rom, FLASH, b"data") == ACK
    assert talk(rom, b"\x63\x9c") == ACK
    assert talk(rom, checked(b"\0\0")) == ACK
    assert talk(rom, b"\x7f") == ACK
    assert write(rom, FLASH + 4, b"more") == ACK
    assert talk(rom, b"\x44\xbb") == ACK
    assert talk(rom, checked(b"\0\0\0\0")) == ACK
    assert read(rom, FLASH, 8) == b"data" + b"\xff" * 4
    assert talk(rom, b"\x73\x8c") == ACK + ACK
    assert talk(rom, b"\x7f") == ACK
    assert write(rom, FLASH + 4, b"more") == ACK
    assert read(rom, FLASH, 8) == b"datamore"


def test_ram_takes_and_gives_and_forgets_without_power() -> None:
    rom = in_rom()
    assert write(rom, 0x20003000, b"data") == ACK
    assert read(rom, 0x20003000, 4) == b"data"
    rom.board.power(False)
    rom.board.power(True)
    assert talk(rom, b"\x7f") == ACK
    assert read(rom, 0x20003000, 4) == bytes(4)


def test_the_program_in_flash_greets_and_flash_outlives_the_power(tmp_path: Path) -> None:
    program = (0x20020000).to_bytes(4, "little") + (FLASH + 9).to_bytes(4, "little") + b"code"
    rom = in_rom(folder=tmp_path)
    assert write(rom, FLASH, program) == ACK
    assert talk(rom, b"\x21\xde") == ACK
    greeting = f"simulated STM32F446RE: program 12 bytes, crc32 {zlib.crc32(program):08x}\r\n"
    rom.write(at(FLASH))
    assert rom.read(0.001) == ACK
    rom.set_parity("none")
    assert talk(rom, b"") == greeting.encode()
    later = line(folder=tmp_path)
    later.set_parity("none")
    later.board.power(True)
    assert talk(later, b"") == greeting.encode()


def test_without_a_vector_table_nothing_greets() -> None:
    empty = line()
    empty.board.power(True)
    assert talk(empty, b"\x7f") == b""


@pytest.mark.parametrize("sector", [0, 5])
def test_power_cut_in_the_middle_of_an_erase_leaves_neither_the_old_nor_nothing(
    sector: int, tmp_path: Path
) -> None:
    rom = in_rom(folder=tmp_path)
    start = FLASH + (0, 0x20000)[sector == 5]
    assert write(rom, start, bytes(256)) == ACK
    rom.board.fault({"deed": "off", "what": "busy", "after": 1})
    assert talk(rom, b"\x44\xbb") == ACK
    assert talk(rom, checked(b"\0\0\0" + bytes([sector]))) == b""
    assert not rom.board.powered
    again = in_rom(folder=tmp_path)
    left = read(again, start, 256)
    assert left not in (bytes(256), b"\xff" * 256)


def test_what_arrives_during_an_erase_is_lost_but_for_one_byte() -> None:
    rom = in_rom(flash_time=1.0)
    assert talk(rom, b"\x44\xbb") == ACK
    rom.write(checked(b"\0\0\0\0"))
    assert rom.read(0.1) == b""
    rom.write(b"\x02\xfd")
    assert talk(rom, b"") == ACK
    assert rom.board.state()["lost"] == 1


@pytest.mark.parametrize(
    ("kind", "answer"), [("flip", NACK), ("lose", b""), ("double", NACK), (None, ACK)]
)
def test_a_fault_hits_the_byte_that_was_named(kind: str | None, answer: bytes) -> None:
    rom = in_rom()
    assert talk(rom, b"\x31\xce") == ACK
    assert talk(rom, at(FLASH)) == ACK
    if kind:
        rom.board.fault({"kind": kind, "way": "in", "after": 3})
    assert talk(rom, checked(b"\x03abcd")) == answer


def test_a_bit_flips_on_the_way_back() -> None:
    rom = in_rom()
    rom.board.fault({"kind": "flip", "way": "out", "after": 2})
    assert talk(rom, b"\x02\xfd") == ACK + b"\x01\x14\x21" + ACK


def test_a_reset_at_a_byte_starts_it_anew() -> None:
    rom = in_rom()
    rom.board.fault({"deed": "reset", "what": "in", "after": 1})
    assert talk(rom, b"\x02\xfd") == b""
    assert talk(rom, b"\x7f") == ACK


def test_another_rate_than_measured_and_another_parity_are_not_understood() -> None:
    rom = in_rom()
    rom.set_baud(57600)
    assert talk(rom, b"\x02\xfd") not in (b"", ACK + b"\x01\x04\x21" + ACK)
    plain = line()
    plain.set_parity("none")
    plain.chip.set_pin("boot0", True)
    plain.board.power(True)
    # 0x7F has an odd number of ones, so its stop bit looks like its parity bit; 0x00 has not.
    assert talk(plain, b"\x7f") == ACK
    assert talk(plain, b"\x00\xff") != ACK + b"\x0b"


def test_too_high_a_rate_is_measured_wrong() -> None:
    rom = line()
    rom.set_baud(921600)
    rom.chip.set_pin("boot0", True)
    rom.board.power(True)
    assert talk(rom, b"\x7f") not in (ACK, b"")


def test_bytes_take_their_time() -> None:
    rom = in_rom(paced=True)
    assert talk(rom, b"\x11\xee") == ACK
    assert talk(rom, at(FLASH)) == ACK
    begin, said = rom.now, b""
    rom.write(b"\xff\x00")
    while len(said) < 257:
        said += rom.read(1.0)
    # Two bytes there and 257 back, of 11 bits each.
    assert rom.now - begin == pytest.approx(259 * 11 / 115200, abs=0.001)


def test_the_signals_of_an_adapter_choose_what_starts() -> None:
    rom = line()
    rom.board.power(True)
    assert talk(rom, b"\x7f") == b""
    rom.set_signals(dtr=True, rts=False)
    rom.set_signals(dtr=False)
    assert talk(rom, b"\x7f") == ACK
    rom.set_signals(dtr=True, rts=True)
    assert talk(rom, b"\x02\xfd") == b""  # it is held
    rom.set_signals(dtr=False)
    assert talk(rom, b"\x7f") == b""

"""What cannot be right for a board is refused, in words that say what to do."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from flash_samples import by_hand, parse, sample

from labctl.boards.flash.checks import check, check_image
from labctl.boards.flash.image import Image, Segment, fill, parse_image
from labctl.boards.flash.method import RefusedError, Target
from labctl.boards.flash.regions import region_of
from labctl.boards.model import BoardModel, load_model
from labctl.errors import UsageError
from labctl.inventory.model import Board

HERE = Target("flash", "method")
FLASH = 0x08000000
BUILT_FOR = "take the image that was built for this board"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def model(name: str, **settings: object) -> BoardModel:
    return load_model(Board("b", name, settings=settings), None)


def raw(data: bytes) -> Image:
    return Image(Path("fw.bin"), "raw", (Segment(0, data),))


def refused(image: Image, board: str, at: int = 0) -> str:
    with pytest.raises(RefusedError) as error:
        check(image, model(board), HERE, image.at(at))
    return str(error.value)


@pytest.mark.parametrize(
    ("file", "board", "words"),
    [
        ("arm.elf", "arduino-uno",
         f"arm.elf: it is for the processor arm, and 'arduino-uno' has avr; {BUILT_FOR}"),
        ("aarch64.elf", "beaglebone-black",
         f"aarch64.elf: it is for the processor aarch64, and 'beaglebone-black' has arm; "
         f"{BUILT_FOR}"),
        ("avr.elf", "stm32-nucleo-f446re",
         f"avr.elf: it is for the processor avr, and 'stm32-nucleo-f446re' has arm; {BUILT_FOR}"),
        ("esp32c3.bin", "esp32-devkitc",
         f"esp32c3.bin: it is for the chip esp32c3, and 'esp32-devkitc' has esp32; {BUILT_FOR}"),
        ("esp8266.bin", "esp32-devkitc",
         f"esp8266.bin: it is for the chip esp8266, and 'esp32-devkitc' has esp32; {BUILT_FOR}"),
        ("esp32.bin", "stm32-nucleo-f446re",
         f"esp32.bin: it is for the chip esp32, and 'stm32-nucleo-f446re' has stm32f446; "
         f"{BUILT_FOR}"),
        ("uimage.img", "qemu-riscv64",
         f"uimage.img: it is for the processor aarch64, and 'qemu-riscv64' has riscv64; "
         f"{BUILT_FOR}"),
        ("board.dtb", "stm32-nucleo-f446re",
         "board.dtb: it is 'dtb', and 'stm32-nucleo-f446re' has no boot loader that could use it; "
         f"{BUILT_FOR}; with --kind raw its bytes are written unseen"),
        ("gpt.img", "arduino-uno",
         "gpt.img: it is 'disk', and 'arduino-uno' has no boot loader that could use it; "
         f"{BUILT_FOR}; with --kind raw its bytes are written unseen"),
    ],
)  # fmt: skip
def test_an_image_for_another_board_is_refused(file: str, board: str, words: str) -> None:
    assert refused(parse(file), board) == words


def test_a_program_of_this_computer_is_refused_on_an_arm_board(tmp_path: Path) -> None:
    static = bytearray(sample("aarch64.elf"))
    struct.pack_into("<H", static, 18, 62)  # EM_X86_64
    image = parse_image(bytes(static), Path("tool"))
    assert refused(image, "qemu-arm64").startswith(
        "tool: it is for the processor x86_64, and 'qemu-arm64' has aarch64; "
    )


@pytest.mark.parametrize(
    ("file", "board"),
    [
        ("arm.elf", "stm32-nucleo-f446re"),
        ("arm.hex", "stm32-nucleo-f446re"),
        ("avr.elf", "arduino-uno"),
        ("avr.hex", "arduino-uno"),
        ("esp32.bin", "esp32-devkitc"),
        ("esp32-flash.bin", "esp32-devkitc"),
        ("aarch64.elf", "qemu-arm64"),
        ("fit.itb", "qemu-arm64"),
        ("board.dtb", "generic"),
        ("gpt.img", "raspberry-pi-4"),
    ],
)
def test_an_image_for_this_board_is_not_refused(file: str, board: str) -> None:
    image = parse(file)
    check(image, model(board), HERE, image.at(0))


def test_names_of_one_family_or_processor_are_one() -> None:
    nucleo = model("stm32-nucleo-f446re")
    check_image(replace(raw(b"x"), chip="stm32f4"), nucleo, HERE)
    for chip in ("stm32f1", "stm32f407vg", "rp2040"):
        with pytest.raises(RefusedError):
            check_image(replace(raw(b"x"), chip=chip), nucleo, HERE)
    riscv = model("qemu-riscv64")
    check_image(replace(raw(b"x"), architecture="riscv"), riscv, HERE)
    with pytest.raises(RefusedError):
        check_image(replace(raw(b"x"), architecture="riscv32"), riscv, HERE)


def test_a_kind_that_the_method_cannot_carry_is_refused() -> None:
    with pytest.raises(RefusedError) as error:
        check_image(
            parse("arm.elf"), model("stm32-nucleo-f446re"), Target("flash", "stlink"),
            frozenset({"raw", "ihex"}),
        )  # fmt: skip
    assert str(error.value) == (
        "arm.elf: it is 'elf', and 'stlink' takes ihex or raw; take one of those; with --kind raw "
        "its bytes are written unseen"
    )


def test_nothing_to_write_is_refused() -> None:
    with pytest.raises(RefusedError, match="there is nothing in it to write; build it again"):
        check(raw(b""), model("generic"), HERE, [])


@pytest.mark.parametrize(
    ("stack", "reset", "words"),
    [
        (0x20020004, 9, "its first word, the stack pointer, is 0x20020004, and 'ram' is 0x20000000 "
         "to 0x2001ffff"),
        (0x20000000, 9, "its first word, the stack pointer, is 0x20000000"),
        (0x20010002, 9, "its first word, the stack pointer, is 0x20010002"),
        (0xFFFFFFFF, 0xFFFFFFFF, "its first word, the stack pointer, is 0xffffffff"),
        (0x20020000, 8, "its second word, the reset vector, is 0x08000008, which is even, so no "
         "Thumb code"),
        (0x20020000, 0x1001, "its second word, the reset vector, is 0x08001001, which is not "
         "within the image"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_start_is_refused(stack: int, reset: int, words: str) -> None:
    second = reset if reset > 0x7FFFFFFF else FLASH + reset
    image = raw(struct.pack("<II", stack, second) + bytes(64))
    said = refused(image, "stm32-nucleo-f446re", FLASH)
    assert said.startswith(f"fw.bin: it cannot start: {words}")
    assert said.endswith(f"; is it the program itself, for this chip? {BUILT_FOR}")
    # What does not begin where the chip starts may be anything.
    check(image, model("stm32-nucleo-f446re"), HERE, image.at(FLASH + 0x4000))


def test_a_program_that_can_start_is_not_refused() -> None:
    image = raw(sample("arm.bin"))
    check(image, model("stm32-nucleo-f446re"), HERE, image.at(FLASH))


def region_refuses(board: str, name: str, *segments: Segment) -> str:
    with pytest.raises(RefusedError) as error:
        region_of(model(board), name).check(segments, thing="b")
    return str(error.value)


def test_what_does_not_fit_is_refused() -> None:
    assert region_refuses("stm32-nucleo-f446re", "flash", Segment(FLASH, bytes(524300))) == (
        "b: it is too large by 12 bytes: it has 524,300 at 0x8000000, and 'flash' is 0x8000000 to "
        "0x807ffff; take a smaller image, or another place"
    )
    assert region_refuses("stm32-nucleo-f446re", "flash", Segment(0x20000000, b"1234")) == (
        "b: it has 4 bytes for 0x20000000, and 'flash' is 0x8000000 to 0x807ffff; take the image "
        "that was linked for this place"
    )


def test_what_would_overwrite_a_boot_loader_is_refused() -> None:
    assert region_refuses("qemu-arm64", "flash0", Segment(0x1000, b"x")) == (
        "b: it would overwrite U-Boot at 0x0 (2,097,152 bytes) in 'flash0'; choose another place, "
        "or an image that leaves it alone"
    )
    # An AVR program that reaches into the boot loader, or has one with it.
    assert region_refuses("arduino-uno", "flash", Segment(0, bytes(0x7E01))) == (
        "b: it would overwrite the boot loader at 0x7e00 (512 bytes) in 'flash'; choose another "
        "place, or an image that leaves it alone"
    )
    region_of(model("arduino-uno"), "flash").check([Segment(0, bytes(0x7E00))], thing="b")


def test_what_would_erase_a_neighbour_is_refused() -> None:
    memory = {"flash": {"erase_block": "4 KiB", "keep": [
        {"offset": 0x1000, "size": 0x800, "what": "settings"}]}}  # fmt: skip
    region = region_of(model("esp32-devkitc", memory=memory), "flash")
    with pytest.raises(RefusedError) as error:
        region.check([Segment(0x1800, b"x" * 16)], thing="b")
    assert str(error.value) == (
        "b: it would erase settings at 0x1000 (2,048 bytes) in 'flash', which shares a block with "
        "it; choose a place that begins and ends with an erase block"
    )
    region.check([Segment(0x2000, b"x" * 16)], thing="b")


def test_what_is_erased_besides_is_said() -> None:
    region = region_of(model("esp32-devkitc"), "flash")
    assert region.also_erased([Segment(0x1000, bytes(0x1000))]) == []
    assert region.also_erased([Segment(0x1100, bytes(16)), Segment(0x2000, bytes(16))]) == [
        (0x1000, 0x1100), (0x1110, 0x2000), (0x2010, 0x3000)]  # fmt: skip


def test_parts_that_are_far_apart_are_not_filled() -> None:
    with pytest.raises(UsageError, match="too far apart: from 0x0 to 0xffff0000"):
        fill([Segment(0, b"x"), Segment(0xFFFF0000, b"x")])
    assert fill([Segment(1, b"x"), Segment(3, b"y")]) == Segment(1, b"x\xffy")


def test_a_kernel_for_another_processor_is_refused_even_compressed() -> None:
    image = parse_image(gzip.compress(by_hand()["zImage"]), Path("zImage.gz"))
    assert refused(image, "qemu-arm64") == (
        f"zImage.gz: it is for the processor arm, and 'qemu-arm64' has aarch64; {BUILT_FOR}"
    )

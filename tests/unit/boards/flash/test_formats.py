"""Files made by others' programs are read for what they are; damaged ones are named as such."""

import lzma
import struct
import zlib
from pathlib import Path

import pytest
from flash_samples import by_hand, parse, sample, uf2

from labctl.boards.flash.image import Image, Segment, formats, parse_image, read_image
from labctl.errors import UsageError

# The digests of esptool, mkimage, sfdisk and objcopy themselves are in these files.
SAID = {
    "aarch64.elf": "ELF for aarch64, 8 bytes at 0x40200000",
    "arm.bin": "raw, 32 bytes",
    "arm.elf": "ELF for arm, 32 bytes at 0x8000000",
    "arm.hex": "Intel HEX, 32 bytes at 0x8000000",
    "arm.srec": "S-record file, 32 bytes at 0x8000000 (arm.srec)",
    "armeb.elf": "ELF for arm, 32 bytes at 0x8000000",
    "avr.elf": "ELF for avr, 2 bytes at 0x0",
    "board.dtb": "device tree, 357 bytes (A board)",
    "boot.scr": "uImage for arm, 83 bytes (boot script, script, loaded to 0x0)",
    "content.bzip2": "compressed, 467 bytes (bzip2 of a text file, 1,492 bytes unpacked)",
    "content.gzip": "compressed, 716 bytes (gzip of a text file, 1,492 bytes unpacked)",
    "content.lz4": "compressed, 1,499 bytes (lz4, 1,492 bytes unpacked)",
    "content.lzma": "compressed, 317 bytes (lzma of a text file, 1,492 bytes unpacked)",
    "content.xz": "compressed, 364 bytes (xz of a text file, 1,492 bytes unpacked)",
    "content.zstd": "compressed, 688 bytes (zstd, 1,492 bytes unpacked)",
    "esp32-flash.bin": "ESP flash image for esp32, 65,872 bytes at 0x0 (with nvs, factory)",
    "esp32.bin": "ESP image for esp32, 336 bytes",
    "esp32.uf2": "UF2 for esp32, 336 bytes at 0x10000",
    "esp32c3-flash.bin": "ESP flash image for esp32c3, 65,872 bytes at 0x0 (with nvs, factory)",
    "esp32c3.bin": "ESP image for esp32c3, 336 bytes",
    "esp8266.bin": "ESP image for esp8266, 288 bytes",
    "fit-external.itb": "FIT for aarch64, 2,024 bytes (A kernel and its tree; kernel: kernel, "
    "fdt: flat_dt; 4 hashes are right)",
    "fit.itb": "FIT for aarch64, 2,832 bytes (A kernel and its tree; kernel: kernel, fdt: flat_dt; "
    "4 hashes are right)",
    "gpt.img": "disk image, 131,072 bytes (GPT, partitions: 1)",
    "mbr.img": "disk image, 131,072 bytes (MBR, partitions: 1)",
    "partitions.bin": "ESP table of partitions, 3,072 bytes (nvs, factory)",
    "uimage.img": "uImage for aarch64, 780 bytes (Linux 6.1, kernel, gzip, loaded to 0x40080000)",
}
SAID_BY_HAND = {
    "rp2040.uf2": "UF2 for rp2040, 1,024 bytes at 0x10000000",
    "Image": "Linux kernel for aarch64, 2,112 bytes (Image, needs 2,097,152 bytes of memory)",
    "Image-riscv": "Linux kernel for riscv64, 2,112 bytes (Image, needs 3,145,728 bytes of memory)",
    "zImage": "Linux kernel for arm, 2,100 bytes (zImage)",
    "bzImage": "Linux kernel for x86_64, 3,584 bytes (bzImage, 6.1.0-lab)",
    "sparse.img": "Android image, 4,148 bytes (sparse, 12,288 bytes unpacked)",
}


def read(data: bytes, name: str = "x.bin") -> Image:
    return parse_image(data, Path(name))


def refused(data: bytes, name: str = "x.bin") -> str:
    with pytest.raises(UsageError) as error:
        read(data, name)
    return str(error.value)


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


@pytest.mark.parametrize("name", SAID)
def test_files_of_others_are_read_for_what_they_are(name: str) -> None:
    assert parse(name).describe() == SAID[name]


@pytest.mark.parametrize("name", SAID_BY_HAND)
def test_files_after_the_specification_are_read(name: str) -> None:
    assert read(by_hand()[name]).describe() == SAID_BY_HAND[name]


def test_kinds_are_asked_in_order_and_raw_is_last() -> None:
    kinds = list(formats())
    assert kinds[-1] == "raw"
    assert kinds.index("fit") < kinds.index("dtb")
    assert kinds.index("esp_flash") < kinds.index("esp")
    for kind, module in formats().items():
        assert module.__name__.endswith(f".{kind}")


@pytest.mark.parametrize("other", ["arm.hex", "arm.srec"])
def test_an_elf_has_what_objcopy_makes_of_it(other: str) -> None:
    image = parse("arm.elf")
    assert image.segments == parse(other).segments
    assert image.segments == (Segment(0x08000000, sample("arm.bin")),)
    assert image.entry == parse("arm.hex").entry  # objcopy writes the reset handler's
    assert image.placed


def test_an_elf_of_the_other_byte_order_has_what_objcopy_makes_of_it() -> None:
    assert parse("armeb.elf").segments == parse("armeb.hex").segments


def test_an_elf_without_sections_is_read_by_its_segments() -> None:
    data = sample("arm.elf")
    stripped = changed(changed(data, 32, bytes(4)), 46, bytes(6))
    whole = b"".join(one.data for one in read(stripped).segments)
    assert sample("arm.bin")[:20] in whole


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arm.o", "it is an object file, not linked yet (ELF for arm); give the program"),
        ("shared.elf", "it is a shared object (ELF for aarch64); give the program for the board"),
    ],
)
def test_an_elf_that_is_no_program_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(name)
    assert words in str(error.value)


def test_a_program_of_an_operating_system_is_refused() -> None:
    assert "it is a program of an operating system (x86_64)" in refused(
        Path("/bin/ls").read_bytes() if _is_x86() else _interpreted()
    )


def _is_x86() -> bool:
    return Path("/bin/ls").read_bytes()[18:20] == b"\x3e\0"


def _interpreted() -> bytes:
    """Return the beginning of an x86-64 program with an interpreter, after elf(5)."""
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64,
                       56, 1, 0, 0, 0)  # fmt: skip
    return head + struct.pack("<IIQQQQQQ", 3, 4, 0, 0, 0, 4, 4, 1)


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (1, ":0200000408", "x.hex:1: this Intel HEX is damaged: the record has 5 bytes where its"),
        (1, ":020000040801F1", "the checksum is F1, it should be F1"),
        (2, "10", "x.hex:2: this Intel HEX is damaged: a record begins with ':'"),
        (2, ":00000006FA", "there is no record type 06"),
        (2, ":0000000400", "the checksum is 00, it should be FC"),
        (2, ":0100000400FB", "a record of type 04 has 2 bytes, not 1"),
        (2, ":0g00000400FB", "a record has pairs of hexadecimal digits after ':'"),
        (2, ":01 000 0400FB", "a record has pairs of hexadecimal digits after ':'"),
        (9, "", "it ends without an end record (':00000001FF'); it was cut"),
    ],
)
def test_a_mistake_in_a_hex_file_is_named_with_its_line(line: int, text: str, words: str) -> None:
    lines = sample("arm.hex").decode().split()
    if line > len(lines):
        lines = lines[:-1]
    elif words.startswith("the checksum is F1"):
        # One bit of the data, checksum as it was.
        lines[1] = lines[1][:9] + ("1" if lines[1][9] == "0" else "0") + lines[1][10:]
        words = "x.hex:2: this Intel HEX is damaged: the checksum is"
    else:
        lines[line - 1] = text
    assert words in refused("\n".join(lines).encode(), "x.hex")


def test_hex_data_that_overlaps_names_both_lines() -> None:
    twice = ":020000000102FB\n:01000100FFFF\n:00000001FF\n"
    assert "x.hex:2: this Intel HEX is damaged: the data here overlaps that from line 1 on, at 0x1"\
        in refused(twice.encode(), "x.hex")  # fmt: skip
    more = ":00000001FF\n:020000000102FB\n"
    assert "there is more after the end record in line 1" in refused(more.encode(), "x.hex")


def test_hex_data_beyond_the_last_address_is_refused() -> None:
    text = ":02000004FFFFFC\n:02FFFF000102FD\n:00000001FF\n"
    assert "its data reaches beyond the last address" in refused(text.encode())


def test_hex_segments_wrap_around_and_give_an_entry() -> None:
    """8086 addressing: record types 02 and 03."""
    text = ":020000021000EC\n:02FFFF000102FD\n:0400000312345678E5\n:00000001FF\n"
    image = read(text.encode(), "x.hex")
    assert image.segments == (Segment(0x10000, b"\x02"), Segment(0x1FFFF, b"\x01"))
    assert image.entry == 0x12340 + 0x5678


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("S00600004844521B\nS1050000010", "a record has pairs of hexadecimal digits"),
        ("S00600004844521B\nS10500000102F8\nS9030000FC", "the checksum is F8, it should be F7"),
        ("S00600004844521B\nS10500000102F7\n", "it ends without an end record (S7, S8 or S9)"),
        ("S00600004844521B\nS4050000010F\n", "there is no record type S4"),
        ("S00600004844521B\nX", "a record begins with 'S' and a digit"),
        ("S10500000102F7\nS5030002FA\nS9030000FC", "it says that 2 data records came before"),
        ("S10500000102F7\nS104000105F5\nS9030000FC", "overlaps that from line 1 on, at 0x1"),
        ("S9030000FC", "this S-record file has no data"),
    ],
)
def test_a_mistake_in_an_s_record_file_is_named(text: str, words: str) -> None:
    assert words in refused(text.encode())


def test_s_records_that_are_counted_need_no_end_record() -> None:
    assert read(b"S10500000102F7\nS5030001FB\n").segments == (Segment(0, b"\1\2"),)


def test_uf2_blocks_that_are_missing_twice_or_mixed_are_named() -> None:
    whole = by_hand()["rp2040.uf2"]
    assert "2 of its 4 blocks are missing, the first is 1" in refused(whole[:512] + whole[1536:])
    assert "block number 0 is there twice" in refused(whole[:512] * 2 + whole[512:])
    assert "is no multiple of 512; it was cut" in refused(whole[:-1])
    assert "block 1 has not the marks" in refused(changed(whole, 512, b"X"))
    assert "an extension tag of 3 bytes" in refused(
        changed(changed(whole, 9, b"\xa0"), 32 + 256, b"\3\0\0\0")
    )
    mixed = whole + uf2(b"x" * 8, 0x20000000, family=0x1C5F21B0)
    assert "this UF2 is for several chips (esp32, rp2040)" in refused(mixed)
    any_order = b"".join(whole[at : at + 512] for at in (1024, 0, 1536, 512))
    assert read(any_order).segments == read(whole).segments


def test_a_uf2_of_an_unknown_family_says_its_number() -> None:
    assert read(uf2(b"abcd", 0, family=0x12345678)).chip == "family-12345678"
    assert read(uf2(b"abcd", 0, family=None)).chip is None


def test_the_block_that_the_rp2350_ignores_is_ignored() -> None:
    first = bytearray(uf2(b"\xef" * 256, 0x10FFFF00, family=0xE48BFF57))
    struct.pack_into("<II", first, 20, 0, 2)
    image = read(bytes(first) + uf2(b"abcd" * 64, 0x10000000, family=0xE48BFF59))
    assert (image.chip, image.architecture) == ("rp2350", "arm")
    assert image.segments == (Segment(0x10000000, b"abcd" * 64),)


def test_the_md5_in_a_uf2_is_checked() -> None:
    data = sample("esp32.uf2")
    flags = int.from_bytes(data[8:12], "little")
    assert flags & 0x4000, "esptool wrote no MD5"
    assert "the MD5 of its 336 bytes at 0x10000 is wrong" in refused(
        changed(data, 32 + 300, bytes([data[332] ^ 1]))
    )


def test_each_checksum_of_a_uimage_is_checked() -> None:
    data = sample("uimage.img")
    assert "the checksum of its header is wrong" in refused(changed(data, 40, b"X"))
    assert "the checksum of its content is wrong" in refused(changed(data, 100, b"XX"))
    assert "its content ends at 0x30c, but the file has 0x30b bytes" in refused(data[:-1])


@pytest.mark.parametrize("name", ["fit.itb", "fit-external.itb"])
def test_each_hash_in_a_fit_is_checked(name: str) -> None:
    data = sample(name)
    at = data.index(b"\x1f\x8b\x08")
    assert "the sha256 of its image 'kernel' is wrong" in refused(changed(data, at + 50, b"\0\0"))
    at = data.rindex(b"\xd0\x0d\xfe\xed")
    assert "the md5 of its image 'fdt' is wrong" in refused(changed(data, at + 60, b"\1\1"))
    assert "this FIT is damaged: its " in refused(data[:-100])


def test_each_checksum_of_an_esp_image_is_checked() -> None:
    data = sample("esp32.bin")
    assert "its checksum at 0x12f is wrong" in refused(changed(data, 60, b"\xaa"))
    # A change in the header is not in the checksum, but in the SHA-256.
    assert "its SHA-256 is wrong" in refused(changed(data, 5, b"\0"))
    assert "its segment 0 ends at" in refused(data[:200])
    assert "its SHA-256 ends at 0x150, but the file has 0x14f bytes" in refused(data[:-1])


def test_a_damaged_table_of_partitions_is_named() -> None:
    data = sample("partitions.bin")
    assert "the MD5 of its table of partitions is wrong" in refused(changed(data, 13, b"X"))
    assert "the entry at 0x20 of its table of partitions is none" in refused(
        changed(data, 32, b"\0")
    )
    merged = sample("esp32-flash.bin")
    assert "this ESP flash image is damaged: its checksum at" in refused(
        changed(merged, 0x10000 + 60, b"\xaa")
    )


def test_a_kernel_that_was_cut_is_named() -> None:
    assert "it has 2,000 bytes of 2,100; it was cut" in refused(by_hand()["zImage"][:2000])
    assert "it has 3,000 bytes of 3,584; it was cut" in refused(by_hand()["bzImage"][:3000])


def test_a_compressed_kernel_says_what_it_is() -> None:
    packed = zlib.compressobj(wbits=31)
    data = packed.compress(by_hand()["Image"]) + packed.flush()
    image = read(data)
    assert image.architecture == "aarch64"
    assert image.about == "gzip of a Linux kernel Image for aarch64, 2,112 bytes unpacked"


@pytest.mark.parametrize("tool", ["gzip", "xz", "lzma", "bzip2"])
def test_a_compressed_file_that_was_cut_is_named(tool: str) -> None:
    data = sample(f"content.{tool}")
    assert f"this {tool} file is damaged: it was cut" in refused(data[: len(data) // 2])


def test_what_needs_much_memory_to_unpack_is_believed() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    data = lzma.compress(b"\0" * 100, filters=filters)
    assert read(data).describe() == f"compressed, {len(data)} bytes (xz)"


def test_what_unpacks_to_more_than_is_looked_at_is_believed() -> None:
    packed = zlib.compressobj(1, wbits=31)
    data = b"".join(packed.compress(bytes(1 << 20)) for _ in range(65)) + packed.flush()
    assert read(data).about == "gzip of raw bytes, 68,157,440 bytes unpacked"


def test_code_that_begins_like_an_esp_image_is_raw() -> None:
    jump = b"\xe9\x05\x00\x00\x00" + b"\x90" * 64
    assert read(jump).kind == "raw"


def test_a_disk_that_was_cut_or_changed_is_named() -> None:
    assert "partition 1 ends at 65,536 bytes, the file has 65,535; it was cut" in refused(
        sample("mbr.img")[:65535]
    )
    data = sample("gpt.img")
    assert "of 131,072; it was cut" in refused(data[:-512])
    assert "the checksum of its GPT is wrong" in refused(changed(data, 512 + 60, b"X"))
    assert "the checksum of its table of partitions is wrong" in refused(changed(data, 1040, b"XX"))


def test_a_damaged_sparse_image_is_named() -> None:
    data = by_hand()["sparse.img"]
    assert "chunk 0 ends at" in refused(data[:2000])
    assert "it has 3 blocks of 9" in refused(changed(data, 16, b"\x09"))


def test_kind_overrides_what_it_looks_like_but_not_nonsense() -> None:
    assert parse("arm.hex", kind="raw").segments == (Segment(0, sample("arm.hex")),)
    with pytest.raises(UsageError, match="it is no ELF, it looks like Intel HEX"):
        parse("arm.hex", kind="elf")
    with pytest.raises(UsageError, match="there is no kind of image 'hex'; use one of elf, "):
        parse("arm.hex", kind="hex")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        read_image(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="it is empty"):
        read_image(tmp_path / "empty")
    with pytest.raises(UsageError, match="it is no file"):
        read_image(tmp_path)

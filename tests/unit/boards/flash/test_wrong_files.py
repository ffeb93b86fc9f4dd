"""Files that people give by mistake are refused in plain words."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from labctl.boards.flash.image import parse_image
from labctl.errors import UsageError


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("firmware.bin", b"x")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("firmware.bin"))
    return file.getvalue()


WEB_PAGE = "a web page, such as the error that a server sent in place of the file"
AGAIN = "download the image itself"
UNPACK = "unpack it and give the image inside"
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("data", "what", "action"),
    [
        (b"\n<!DOCTYPE HTML>\n<html><title>404</title>", WEB_PAGE, AGAIN),
        (b"<!-- x --><html lang=en>", WEB_PAGE, AGAIN),
        (b"<html>\xff\xfe", WEB_PAGE, AGAIN),
        (POINTER.encode(), "a Git LFS pointer", "fetch the file with 'git lfs pull'"),
        (zipped(), "a zip archive", UNPACK),
        (tarred(), "a tar archive", UNPACK),
        (b'{"message": "Not Found"}\n', "a JSON file", AGAIN),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML file", AGAIN),
        (b"!<arch>\ndebian-binary   ", "a Debian package", UNPACK),
        (b"!<arch>\nmain.o/         ", "a static library", "give the image that is built from it"),
        (b"QFI\xfb\0\0\0\3", "a QCOW2 disk of a virtual machine",
         "convert it with 'qemu-img convert -O raw'"),
        (b"#!/bin/sh\necho\n", "a script",
         "give the image; for U-Boot, make one with 'mkimage -T script'"),
        (b"/dts-v1/;\n/ { };\n", "the source of a device tree", "compile it with dtc"),
        (b"%PDF-1.7\n", "a PDF document", AGAIN),
        (b"d" * 64 + b"  firmware.bin\n", "a list of checksums", AGAIN),
        ("Fehler: nicht gefunden … ".encode(), "a text file",
         "give the image; with --kind raw it is written as it is"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0", "a Windows or EFI program",
         "give the image for the board"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_named(data: bytes, what: str, action: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_image(data, Path("firmware.bin"))
    assert str(error.value) == f"firmware.bin: it is {what}, not an image; {action}"
    # Who means it can still have it written.
    assert parse_image(data, Path("firmware.bin"), kind="raw").segments[0].data == data


@pytest.mark.parametrize(
    "data", [bytes(64), b"\xff" * 64, b"MZ" + bytes(100), b"hello\0world\n", bytes(range(256))]
)
def test_bytes_that_say_nothing_are_raw(data: bytes) -> None:
    assert parse_image(data, Path("firmware.bin")).describe() == f"raw, {len(data)} bytes"


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"hsqs" + bytes(200), "squashfs"),
        (bytes(0x438) + b"\x53\xef" + bytes(9), "ext2, ext3 or ext4 file system"),
        (b"UBI#" + bytes(200), "UBI volumes"),
    ],
)
def test_file_systems_are_raw_and_named(data: bytes, about: str) -> None:
    image = parse_image(data, Path("rootfs"))
    assert (image.kind, image.about) == ("raw", about)

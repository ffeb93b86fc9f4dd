"""Images that are read piece by piece: sparse, compressed, with a block map."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import itertools
import lzma
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.boards.flash import image as image_module
from labctl.boards.flash.bmap import RangeChecker, closed, find_bmap, parse_bmap, read_bmap
from labctl.boards.flash.image import read_image
from labctl.boards.flash.source import PIECE, Source, data_extents, memory_source, open_source
from labctl.errors import LabctlError, UsageError

BLOCK = 4096


def bmap_text(size: int, mapped: list[tuple[int, int]], content: bytes) -> bytes:
    """Return a block map as bmaptool writes it, of blocks first to last."""
    count = sum(last - first + 1 for first, last in mapped)
    ranges = ""
    for first, last in mapped:
        digest = hashlib.sha256(content[first * BLOCK : (last + 1) * BLOCK]).hexdigest()
        words = f"{first}-{last}" if first != last else f"{first}"
        ranges += f'    <Range chksum="{digest}"> {words} </Range>\n'
    text = (
        f'<?xml version="1.0" ?>\n<bmap version="2.0">\n  <ImageSize> {size} </ImageSize>\n'
        f"  <BlockSize> {BLOCK} </BlockSize>\n  <BlocksCount> {-(-size // BLOCK)} </BlocksCount>\n"
        f"  <MappedBlocksCount> {count} </MappedBlocksCount>\n"
        "  <ChecksumType> sha256 </ChecksumType>\n"
        f"  <BmapFileChecksum> {'0' * 64} </BmapFileChecksum>\n"
        f"  <BlockMap>\n{ranges}  </BlockMap>\n</bmap>\n"
    ).encode()
    return text.replace(b"0" * 64, hashlib.sha256(text).hexdigest().encode(), 1)


@st.composite
def mapped_images(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Content of an image, and which blocks of it are mapped."""
    runs = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8))
    at, mapped = draw(st.integers(0, 3)), []
    for length, gap in runs:
        mapped.append((at, at + length - 1))
        at += length + 1 + gap
    size = at * BLOCK - draw(st.integers(0, BLOCK - 1))
    return random.Random(at).randbytes(size), mapped


@given(mapped_images())
def test_a_map_says_what_its_maker_mapped(made: tuple[bytes, list[tuple[int, int]]]) -> None:
    content, mapped = made
    found = parse_bmap(bmap_text(len(content), mapped, content))
    assert found.size == len(content)
    assert [(one.begin, one.end) for one in found.ranges] == [
        (first * BLOCK, min((last + 1) * BLOCK, len(content))) for first, last in mapped
    ]
    checker = RangeChecker(found, "image")
    for at in range(0, len(content), 10_000):
        checker.feed(at, content[at : at + 10_000])


@given(mapped_images(), st.data())
def test_a_changed_byte_of_a_mapped_block_is_found(
    made: tuple[bytes, list[tuple[int, int]]], data: st.DataObject
) -> None:
    content, mapped = made
    found = parse_bmap(bmap_text(len(content), mapped, content))
    one = data.draw(st.sampled_from(found.ranges))
    at = data.draw(st.integers(one.begin, one.end - 1))
    broken = bytearray(content)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    step = data.draw(st.integers(1000, 20_000))
    checker = RangeChecker(found, "image")
    with pytest.raises(UsageError, match="not those of its block map"):
        for begin in range(0, len(broken), step):
            checker.feed(begin, bytes(broken[begin : begin + step]))


@given(mapped_images(), st.data())
def test_a_changed_byte_of_the_map_itself_is_found(
    made: tuple[bytes, list[tuple[int, int]]], data: st.DataObject
) -> None:
    content, mapped = made
    text = bytearray(bmap_text(len(content), mapped, content))
    at = data.draw(st.integers(0, len(text) - 1))
    before = text[at]
    text[at] ^= 1 << data.draw(st.integers(0, 6))
    # A digit of its checksum that became a capital letter is the same digit.
    if chr(before).lower() == chr(text[at]).lower():
        return
    with pytest.raises(ValueError):
        parse_bmap(bytes(text))


@given(st.binary(max_size=300))
def test_what_is_no_map_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_bmap(data)


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "ha">]><bmap version="2.0"/>'
    with pytest.raises(ValueError, match="document type"):
        parse_bmap(bomb)


@given(mapped_images(), st.integers(1, 10 * BLOCK))
def test_closed_gaps_cover_what_is_mapped(
    made: tuple[bytes, list[tuple[int, int]]], gap: int
) -> None:
    content, mapped = made
    ranges = parse_bmap(bmap_text(len(content), mapped, content)).ranges
    spans = closed(ranges, gap)
    for one in ranges:
        assert any(begin <= one.begin and one.end <= end for begin, end in spans)
    assert all(after[0] - before[1] >= gap for before, after in itertools.pairwise(spans))


@pytest.mark.skipif(not shutil.which("bmaptool"), reason="bmap-tools is not installed")
def test_maps_of_bmaptool_are_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as stream:
        for at in (0, 5 << 20, 9 << 20):
            stream.seek(at)
            stream.write(random.Random(at).randbytes(70_000))
        stream.truncate((12 << 20) + 100)
    subprocess.run(
        ["bmaptool", "create", "-o", f"{path}.bmap", str(path)], check=True, timeout=60,
        capture_output=True,
    )  # fmt: skip
    found = read_bmap(tmp_path / "disk.img.bmap")
    assert found.size == (12 << 20) + 100
    assert [one.begin for one in found.ranges] == [0, 5 << 20, 9 << 20]
    source = open_source(path)
    assert source is not None
    pieces = source.survey("sha256")
    assert [(one.begin, one.end) for one in pieces] == [
        (one.begin, one.end) for one in found.ranges
    ]


@pytest.mark.parametrize(
    ("image", "beside", "wanted"),
    [
        ("disk.wic", "disk.wic.bmap", True),
        ("disk.wic.gz", "disk.wic.bmap", True),
        ("disk.wic.gz", "disk.bmap", True),
        ("disk.wic.gz", "other.bmap", False),
        ("disk", "disk.bmap", True),
    ],
)
def test_the_map_beside_an_image_is_found(
    tmp_path: Path, image: str, beside: str, wanted: bool
) -> None:
    (tmp_path / image).touch()
    (tmp_path / beside).touch()
    assert find_bmap(tmp_path / image) == (tmp_path / beside if wanted else None)


# -- sources ----------------------------------------------------------------------------------


def restored(source: Source, size: int, ground: bytes) -> bytes:
    """Return what a device that held ``ground`` holds after all pieces were written."""
    device = bytearray(ground[:size])
    for one in source.survey("sha256"):
        device[one.begin : one.end] = source.read_piece(one, "sha256")
    return bytes(device)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 100_000)), max_size=5), st.integers(0, 9)
)
def test_a_sparse_file_comes_out_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]], rest: int
) -> None:
    path = tmp_path_factory.mktemp("sparse") / "disk.img"
    size = (12 << 20) + 100_000 + rest
    with path.open("wb") as stream:
        for at, length in writes:
            stream.seek(at << 20)
            stream.write(random.Random(at).randbytes(length))
        stream.truncate(size)
    source = Source(path, lambda: path.open("rb"), size=size, extents=data_extents(path))
    plain = memory_source(path, path.read_bytes())
    assert source.survey("sha256") == plain.survey("sha256")
    assert source.fingerprint == plain.fingerprint
    assert restored(source, size, b"\xa5" * size) == path.read_bytes()
    source.close()


def test_holes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as stream:
        stream.seek(40 << 20)
        stream.write(b"end")
    source = Source(path, lambda: path.open("rb"), size=(40 << 20) + 3, extents=data_extents(path))
    read: list[int] = []
    real = source.read

    def spied(begin: int, size: int) -> bytes:
        read.append(begin)
        return real(begin, size)

    source.read = spied  # type: ignore[method-assign]
    pieces = source.survey("md5")
    assert [one.zero for one in pieces] == [True] * 10 + [False]
    assert read == [40 << 20]


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]
)
def test_compressed_images_of_disks_are_unpacked(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    content = random.Random(1).randbytes(100_000) + bytes(PIECE) + b"the end"
    path = tmp_path / f"disk.img.{suffix}"
    path.write_bytes(pack(content))
    image = read_image(path)
    assert image.kind == "disk"
    assert (image.size, image.segments[0].data) == (len(content), content)
    assert image.source is not None
    assert restored(image.source, len(content), b"\xa5" * len(content)) == content
    assert read_image(path, kind="raw").size == path.stat().st_size

    path.write_bytes(pack(content)[:-20])
    with pytest.raises(UsageError, match="cannot be read to its end"):
        read_image(path)


def test_what_is_no_disk_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "Image.gz"
    path.write_bytes(gzip.compress(b"kernel"))
    assert open_source(path, least=1 << 20) is None


def test_a_map_leaves_what_is_not_mapped_alone(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(3 * PIECE + 77)
    mapped = [(0, 3), (1030, 1100), (3000, 3072)]
    path = tmp_path / "disk.wic.gz"
    path.write_bytes(gzip.compress(content, 1))
    (tmp_path / "disk.wic.bmap").write_bytes(bmap_text(len(content), mapped, content))
    image = read_image(path)
    assert image.source is not None
    device = restored(image.source, len(content), b"\xa5" * len(content))
    for first, last in mapped:
        assert (
            device[first * BLOCK : (last + 1) * BLOCK]
            == (content[first * BLOCK : (last + 1) * BLOCK])
        )
    assert device[100 * BLOCK : 1000 * BLOCK] == b"\xa5" * (900 * BLOCK)


def test_an_image_that_is_not_what_its_map_says_is_refused(tmp_path: Path) -> None:
    content = bytearray(random.Random(3).randbytes(20 * BLOCK))
    path = tmp_path / "disk.img"
    (tmp_path / "disk.img.bmap").write_bytes(bmap_text(len(content), [(4, 9)], bytes(content)))
    content[5 * BLOCK] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not those of its block map"):
        read_image(path)
    path.write_bytes(content[:-1])
    with pytest.raises(UsageError, match="map of an image of"):
        read_image(path)


def test_a_large_image_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_module, "LARGEST_IN_MEMORY", 1 << 20)
    path = tmp_path / "disk.img"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
        os.pwrite(stream.fileno(), b"MBR", 0)
    image = read_image(path)
    assert image.streamed
    assert (image.size, image.segments) == (1 << 40, ())


def test_a_large_file_that_is_no_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_module, "LARGEST_IN_MEMORY", 1 << 20)
    path = tmp_path / "disk.img"
    path.write_bytes(b"QFI\xfb" + bytes(2 << 20))
    with pytest.raises(UsageError, match="QCOW2"):
        read_image(path)
    assert read_image(path, kind="raw").streamed


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"a" * 5000)
    source = Source(path, lambda: path.open("rb"), size=5000)
    (piece,) = source.survey("sha256")
    path.write_bytes(b"b" * 5000)
    source.close()
    with pytest.raises(LabctlError, match="changed while it was written"):
        source.read_piece(piece, "sha256")

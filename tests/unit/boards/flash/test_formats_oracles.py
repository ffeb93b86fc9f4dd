"""Records written by others' libraries hold the same bytes for us, whatever the segments."""

import io
from contextlib import suppress
from pathlib import Path

import bincopy
import intelhex
import pytest
from flash_samples import by_hand, names, sample, uf2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labctl.boards.flash.image import HEAD_BYTES, Segment, formats, join, parse_image
from labctl.errors import UsageError

HERE = Path("x.bin")


@st.composite
def segments(draw: st.DrawFn, last: int = 0xFFFFFFFF) -> list[Segment]:
    """Segments that do not touch each other, ascending."""
    at, found = 0, []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.one_of(st.integers(1, 300), st.integers(1, last // 8)))
        data = draw(st.binary(min_size=1, max_size=600))
        if at + len(data) > last:
            break
        found.append(Segment(at, data))
        at += len(data)
    return found or [Segment(0, b"\0")]


def put(found: list[Segment]) -> bincopy.BinFile:
    file = bincopy.BinFile()
    for one in found:
        file.add_binary(one.data, one.address)
    return file


@settings(deadline=None)
@given(segments(), st.integers(1, 255))
@example([Segment(0xFFF0, bytes(range(32)))], 16)
def test_intel_hex_of_bincopy(found: list[Segment], width: int) -> None:
    text = put(found).as_ihex(width)
    assert parse_image(text.encode(), HERE).segments == tuple(found)


@settings(deadline=None)
@given(segments(), st.sampled_from([1, 16, 255]))
def test_intel_hex_of_intelhex(found: list[Segment], width: int) -> None:
    file = intelhex.IntelHex()
    for one in found:
        file.puts(one.address, one.data)
    text = io.StringIO()
    file.write_hex_file(text, byte_count=width, eolstyle="CRLF")
    assert parse_image(text.getvalue().encode(), HERE).segments == tuple(found)


@settings(deadline=None)
@given(segments(last=0xFFFF), st.sampled_from([16, 24, 32]), st.integers(1, 200))
def test_s_records_of_bincopy(found: list[Segment], bits: int, width: int) -> None:
    file = put(found)
    file.execution_start_address = 0x1234
    image = parse_image(file.as_srec(width, bits).encode(), HERE)
    assert (image.segments, image.entry) == (tuple(found), 0x1234)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=256, max_size=256), min_size=1, max_size=12), st.randoms())
def test_uf2_blocks_in_any_order(pages: list[bytes], random: object) -> None:
    whole = uf2(b"".join(pages), 0x10000000, family=0xE48BFF56)
    blocks = [whole[at : at + 512] for at in range(0, len(whole), 512)]
    random.shuffle(blocks)  # type: ignore[attr-defined]
    image = parse_image(b"".join(blocks), HERE)
    assert image.segments == (Segment(0x10000000, b"".join(pages)),)


@settings(deadline=None)
@given(segments())
def test_join_is_what_bincopy_does(found: list[Segment]) -> None:
    pieces = [Segment(one.address + at, one.data[at : at + 7])
              for one in found for at in range(0, len(one.data), 7)]  # fmt: skip
    assert join(reversed(pieces)) == tuple(
        Segment(one.minimum_address, bytes(one.data)) for one in put(found).segments
    )


FILES = {**{name: sample(name) for name in names()}, **by_hand()}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["change", "cut", "insert", "repeat"]),
        st.one_of(st.integers(0, 160), st.integers(0, 1 << 17)),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff" * 8]),
        ),
    ),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for what, place, piece in changes:
        at = place % (len(data) + 1)
        if what == "change":
            data = data[:at] + piece + data[at + len(piece) :]
        elif what == "cut":
            data = data[:at] or data[:1]
        elif what == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at] + data[max(0, at - 64) : at] + data[at:]
    return data


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(FILES)), CHANGES)
def test_whatever_is_changed_in_a_file_only_a_usage_error_comes(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    data = changed(FILES[name], changes)
    try:
        image = parse_image(data, Path(name))
    except UsageError as error:
        assert str(error).startswith(name)
        assert error.action
        return
    assert image.describe().isprintable()
    assert image.size <= len(data)
    assert list(image.segments) == sorted(image.segments, key=lambda one: one.address)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.sampled_from(sorted(formats())), CHANGES)
def test_any_kind_may_be_asked_for_any_file(
    name: str, kind: str, changes: list[tuple[str, int, bytes]]
) -> None:
    data = changed(FILES[name], changes)
    with suppress(UsageError):
        parse_image(data, Path(name), kind=kind)
    for module in formats().values():
        assert module.detect(data[:HEAD_BYTES], name) in (True, False)


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=700), st.sampled_from(sorted(FILES)), st.integers(1, 64))
def test_random_bytes_behind_a_right_beginning(rest: bytes, name: str, keep: int) -> None:
    with suppress(UsageError):
        parse_image(FILES[name][:keep] + rest, HERE)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70_000), st.integers(0, 0x1FFFF), st.sampled_from([1, 16, 32, 252, 255]),
    st.sampled_from(["\n", "\r\n"]), st.data(),
)  # fmt: skip
def test_long_runs_are_read_at_once_and_a_mistake_in_one_is_found(
    size: int, address: int, width: int, end: str, data: st.DataObject
) -> None:
    content = bytes(n * 7 & 0xFF for n in range(size if width > 1 else size % 3000 + 1))
    text = put([Segment(address, content)]).as_ihex(width)
    lines = text.split()
    assert parse_image(end.join(lines).encode(), HERE).segments == (Segment(address, content),)
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(1, len(lines[number]) - 1))
    digit = data.draw(st.sampled_from("0123456789ABCDEF: G"))
    wrong = lines[number][:place] + digit + lines[number][place + 1 :]
    if wrong == lines[number]:
        return
    lines[number] = wrong
    with pytest.raises(UsageError, match=f"^x.hex:{number + 1}: this Intel HEX is damaged"):
        parse_image(end.join(lines).encode(), Path("x.hex"))

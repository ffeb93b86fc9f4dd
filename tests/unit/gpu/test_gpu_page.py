"""The report's page: whole, self-contained, and hostile names are only text."""

import re
from html.parser import HTMLParser
from pathlib import Path

from test_gpu_store import MIN, START, record

from labctl.gpu import history, store
from labctl.gpu.page import page


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


def test_the_page(tmp_path: Path) -> None:
    path = tmp_path / "db"
    hostile = "<script>alert(1)</script>&amp;"
    for minute in range(180):
        record(path, START + minute * MIN, load=60.0, person=hostile if minute < 90 else "")
    with store.opened(path) as database:
        found = history.shares(database, since=START, until=START + 3 * 3600)
        text = page(database, found, since=START, until=START + 3 * 3600)
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert "script" not in checker.seen
    assert {"svg", "rect", "polyline", "table"} <= checker.seen
    assert hostile in checker.text
    # One cell for each hour: two of them mostly busy or free, none missing.
    assert len(re.findall("<rect", text)) == 3
    assert "url(" not in text


def test_a_page_of_a_year_shows_its_last_weeks(tmp_path: Path) -> None:
    path = tmp_path / "db"
    year = 365 * 86400
    for moment in (START, START + MIN, START + year, START + year + MIN):
        record(path, moment)
    with store.opened(path) as database:
        until = START + year + 3600
        found = history.shares(database, since=START, until=until)
        text = page(database, found, since=START, until=until)
    assert len(re.findall("<rect", text)) == 1

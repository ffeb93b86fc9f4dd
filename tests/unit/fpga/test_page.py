from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labctl.fpga import record
from labctl.fpga.history import Row
from labctl.fpga.model import Core, Project, TestCase, Variant
from labctl.fpga.page import page
from labctl.fpga.record import About
from labctl.fpga.regression import Outcome
from labctl.fpga.results import JobResult
from labctl.fpga.selection import Job, Unit

NASTY = "AssertionError: <b>&\"'\x1b[31m bad </pre><script>alert(1)</script>"


def result(core: str, seed: int, status: str = "passed", message: str = "") -> JobResult:
    unit = Unit(Core(core, Path("c"), "", "t", ()), Variant("W=8"), TestCase("m", "t", Path(), 1))
    return JobResult(Job(unit, seed), status, message, (), 0.5)


def html(*results: JobResult, history: tuple[Row, ...] = (), **more: object) -> str:
    outcome = Outcome(results, 1, 2, 3.0, ("a note",))
    data = record.run_data(
        outcome, Project(Path("/p"), ()), About(1.8e9, "host1", "lab/p", "abc+"),
        lambda name: f"labctl fpga repro '{name}'", base=7, seeds=2, folder=Path("/runs/x"),
    )  # fmt: skip
    return page(json.loads(json.dumps({**data, **more})), history)


class Balanced(HTMLParser):
    """Fails where an element is not closed, or another is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert tag not in ("script", "link", "img", "iframe"), tag
        assert "src" not in named
        self.ids |= {named["id"] or ""} if "id" in named else set()
        if "href" in named:
            self.links.add(named["href"] or "")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def test_a_page_stands_alone_and_shows_what_anybody_says_as_text() -> None:
    found = parsed(html(result("a", 1), result("a", 2, "failed", NASTY), result("<i>", 3)))
    assert "<b>&\"'" in found.text
    assert "\x1b" not in found.text
    assert "labctl fpga repro 'a:W=8:m.t@2'" in found.text
    assert {"#kind-0"} == found.links
    assert "kind-0" in found.ids
    for one in ("lab/p", "host1", "abc+", "a note", "2 passed", "1 failed"):
        assert one in found.text


def test_many_seeds_are_a_number() -> None:
    few = parsed(html(*(result("a", seed) for seed in range(40)))).text
    many = parsed(html(*(result("a", seed, "passed" if seed else "hung") for seed in range(41))))
    assert few.count("·") > 40
    assert "40 passed" in many.text
    assert "1 hung" in many.text


def test_history_and_coverage_where_there_are_any() -> None:
    row = Row("a", "W=8", "m.t", "icarus", 9, 2, 0.25, "failed", 1.5, 1.8e9, "abc", (1.0, 2.0, 0.0))
    other = Row("b", "", "m.t", "icarus", 9, 2, 0.25, "failed", 1.5, 1.8e9, "abc", (1.0,))
    scope = {"kind": "functional", "scope": "a", "covered": 3, "total": 4}
    covered = {"scopes": [{**scope, "missing": ["level=full"]}], "needed": [], "idle": ["a", "b"]}
    found = parsed(html(result("a", 1), history=(row, other), coverage=covered))
    for one in ("25%", "3 of 4", "level=full", "2 runs reached nothing", "a:W=8:m.t"):
        assert one in found.text
    assert "b:m.t" not in found.text  # not of this regression
    assert "Coverage" not in parsed(html(result("a", 1))).text


def test_what_is_kept_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "runs_dir", lambda: tmp_path)
    root, waves = tmp_path / "project", tmp_path / "w.fst"
    waves.write_text("")
    for name, recorded in (("1", True), ("2", True), ("3", False)):
        (tmp_path / name).mkdir()
        jobs = [{"id": "c:m.t@1", "waves": str(waves) if recorded else None, "message": name}]
        record.save(tmp_path / name, {"root": str(root), "jobs": jobs, "name": name})
    (tmp_path / "4").mkdir()
    (tmp_path / "4/run.json").write_text("{half")
    assert record.load()["name"] == "3"
    assert record.load("1")["name"] == record.load(str(tmp_path / "1"))["name"] == "1"
    found = record.kept_waves(root, "c:m.t@1")
    assert found is not None
    assert (found[0], found[1]["message"]) == (waves, "2")
    assert record.kept_waves(root, "c:m.t@2") is None
    assert record.kept_waves(tmp_path, "c:m.t@1") is None
    with pytest.raises(record.UsageError, match="there is no run '9'"):
        record.load("9")


@pytest.mark.parametrize(("newer", "fine"), [(None, True), ("tb/tb.py", False), ("a.v", False)])
def test_waves_count_while_nothing_is_newer(tmp_path: Path, newer: str | None, fine: bool) -> None:
    (tmp_path / "design/tb").mkdir(parents=True)
    for name in ("core.yaml", "a.v", "tb/tb.py"):
        (tmp_path / "design" / name).write_text("")
        os.utime(tmp_path / "design" / name, (100, 300 if name == newer else 100))
    waves = tmp_path / "waves"
    waves.write_text("")
    os.utime(waves, (200, 200))
    base = tmp_path / "design"
    core = Core("c", base / "core.yaml", "", "t", (base / "a.v",), python=(base / "tb",))
    assert record.is_newer(waves, core) is fine

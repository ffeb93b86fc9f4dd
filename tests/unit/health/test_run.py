"""Many machines at once: real shells, and machines that are dead, slow, or die in mid answer."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import UnreachableError
from labctl.facts.machine.probe import all_probes
from labctl.facts.value import Known, Reason, Unknown
from labctl.health.finding import Severity
from labctl.health.memory import recall
from labctl.health.report import HostReport
from labctl.health.rules_file import parse_rules, shipped_rules
from labctl.health.run import Target, check_all
from labctl.transport.local import LocalSession
from labctl.transport.session import Completed, Session, Stream


class Cut(Stream):
    """A stream that lets ``allowed`` bytes through and breaks."""

    def __init__(self, inner: Stream, allowed: int, ending: str) -> None:
        self.inner, self.allowed, self.ending = inner, allowed, ending

    def send(self, data: bytes) -> None:
        self.inner.send(data)

    def send_eof(self) -> None:
        self.inner.send_eof()

    def receive(self, timeout: float) -> bytes:
        if self.allowed > 0:
            piece = self.inner.receive(timeout)[: self.allowed]
            self.allowed -= len(piece)
            return piece
        if self.ending == "breaks":
            raise UnreachableError("the SSH connection broke", thing="h")
        if self.ending == "hangs":
            time.sleep(min(timeout, 0.05))
            raise TimeoutError
        return b""

    def exit_status(self, timeout: float) -> int:
        return -1

    def close(self) -> None:
        self.inner.close()


class CutSession(LocalSession):
    def __init__(self, allowed: int, ending: str) -> None:
        super().__init__()
        self.allowed, self.ending = allowed, ending

    def start(self, command: str) -> Stream:
        return Cut(super().start(command), self.allowed, self.ending)


def run(
    *targets: Target, deadline: float = 60.0, jobs: int = 10, rules: str = ""
) -> dict[str, HostReport]:
    held = parse_rules(rules, "test") if rules else shipped_rules()
    return {
        report.host: report for report in check_all(targets, held, deadline=deadline, jobs=jobs)
    }


def test_this_machine_answers_in_full() -> None:
    report = run(Target("local", LocalSession))["local"]
    assert report.error == ""
    assert report.machine is not None
    assert set(report.machine.parts) == {probe.name for probe in all_probes()}
    assert all(isinstance(part, Known) for part in report.machine.parts.values())
    assert report.verdict.judged > 40
    assert not [gap for gap in report.verdict.not_judged if gap.reason == "wrong_rule"]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("breaks", Reason.LOST), ("ends", Reason.LOST), ("hangs", Reason.TIMED_OUT)],
)
def test_what_came_before_the_end_counts(ending: str, reason: Reason) -> None:
    """The first probes are whole; the one at work and those after it have the reason."""
    target = Target("h", lambda: CutSession(1200, ending))
    report = run(target, deadline=4.0)["h"]
    assert report.error == ""
    assert report.status != "fine"
    assert report.machine is not None
    parts = report.machine.parts
    assert isinstance(parts["clock"], Known)
    last = parts["driver"]
    assert isinstance(last, Unknown)
    assert last.reason is reason
    assert {gap.reason for gap in report.verdict.not_judged} >= {str(reason)}


@pytest.mark.parametrize("ending", ["breaks", "ends", "hangs"])
def test_nothing_at_all_is_not_reached(ending: str) -> None:
    report = run(Target("h", lambda: CutSession(0, ending)), deadline=1.0)["h"]
    assert report.status == "unreachable"
    assert report.error.startswith(("h: ", "local: "))


def test_a_dead_machine_delays_nobody() -> None:
    """It is given up from outside, though its thread never comes back by itself."""
    never = threading.Event()

    def hang() -> Session:
        never.wait()
        raise AssertionError

    def refuse() -> Session:
        raise UnreachableError("connection refused", thing="off", action="is it on?")

    rules = "- {id: x, when: system.uptime_s > 0, severity: info, says: up, action: a}"
    seen = []
    targets = [Target("dead", hang), Target("off", refuse), Target("local", LocalSession)]
    for report in check_all(targets, parse_rules(rules, "t"), deadline=15.0, jobs=10):
        seen.append(report.host)
        if report.host == "local":
            assert not report.error
            assert report.verdict.findings
        else:
            assert report.status == "unreachable"
    never.set()
    assert sorted(seen) == ["dead", "local", "off"]
    assert seen[-1] == "dead"


def test_one_that_is_given_up_makes_room() -> None:
    never = threading.Event()

    def hang() -> Session:
        never.wait()
        raise AssertionError

    rules = "- {id: x, when: system.uptime_s > 0, severity: info, says: up, action: a}"
    targets = [Target("dead", hang), Target("local", LocalSession)]
    held = parse_rules(rules, "t")
    reports = list(check_all(targets, held, deadline=10.0, jobs=1))
    never.set()
    assert [report.host for report in reports] == ["dead", "local"]
    assert reports[0].error == "dead: no answer within 10 s"
    assert not reports[1].error


def test_a_defect_on_one_machine_is_told_and_hides_no_other() -> None:
    def broken() -> Session:
        raise RuntimeError("odd")

    found = run(Target("a", broken), Target("local", LocalSession))
    assert found["a"].error == "a: RuntimeError: odd"
    assert not found["local"].error


def test_the_last_time_is_remembered_with_its_age(home: Path) -> None:
    rules = "- {id: x, when: system.uptime_s > 0, severity: warning, says: up, action: a}"

    def refuse() -> Session:
        raise UnreachableError("off", thing="a/b")

    assert run(Target("a/b", refuse), rules=rules)["a/b"].last is None
    before = time.time()
    run(Target("a/b", LocalSession), rules=rules)
    last = run(Target("a/b", refuse), rules=rules)["a/b"].last
    assert last is not None
    assert last.at >= before - 1
    assert [(one.rule, one.severity) for one in last.findings] == [("x", Severity.WARNING)]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"at": 1, "findings": [{}]}', "\0", "nul"])
def test_a_damaged_memory_is_no_memory(home: Path, content: str) -> None:
    folder = home / ".local/state/labctl/check"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(content)
    assert recall("a") is None


def test_the_rest_is_called_off_when_nobody_listens() -> None:
    gone = threading.Event()
    slow = Target("slow", lambda: CutWatched(gone))
    stream = check_all([Target("local", LocalSession), slow], [], deadline=60.0, jobs=2)
    assert next(stream).host == "local"
    stream.close()  # type: ignore[attr-defined]
    assert gone.wait(30), "the machine that hangs was not left"


class CutWatched(CutSession):
    def __init__(self, gone: threading.Event) -> None:
        super().__init__(0, "hangs")
        self.gone = gone

    def close(self) -> None:
        self.gone.set()


class Ahead(LocalSession):
    """A machine whose clock is an hour ahead."""

    def run_script(self, script: str, **options: Any) -> Completed:
        ahead = "date() { command date -d '+1 hour' \"$@\"; }\n"
        return super().run_script(ahead + script, **options)


def test_a_clock_that_is_off_is_found_from_here() -> None:
    rule = next(rule for rule in shipped_rules() if rule.id == "clock-off")
    (report,) = check_all([Target("h", Ahead)], [rule], deadline=60.0, jobs=1)
    (finding,) = report.verdict.findings
    assert "3600" in finding.says or "1 h" in finding.says, finding.says

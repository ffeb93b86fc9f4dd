"""What ``labctl check`` prints."""

import io
import time
from collections.abc import Iterator

import pytest

from labctl.cli.check_output import lines, watch_for_ever, watch_stream
from labctl.facts.machine.reading import Reading
from labctl.facts.value import Reason, Unknown
from labctl.health.finding import Finding, NotJudged, Severity, Verdict
from labctl.health.report import HostReport, Last
from labctl.report.terminal import Terminal

FULL = Finding("filesystem-full", Severity.CRITICAL, "/", "99% of / is used", "delete something")
REBOOT = Finding("reboot-pending", Severity.INFO, "", "a reboot is asked for", "reboot")


def report(host: str, *findings: Finding, **more: object) -> HostReport:
    return HostReport(host, time.time(), verdict=Verdict(findings, (), 50), **more)  # type: ignore[arg-type]


def plain(one: HostReport, *, verbose: bool = False) -> str:
    return "\n".join(lines(one, Terminal(io.StringIO(), colour=False), verbose=verbose))


def test_information_is_counted_and_shown_on_request() -> None:
    one = report("a", FULL, REBOOT)
    assert "99% of / is used" in plain(one)
    assert "-> delete something" in plain(one)
    assert "a reboot is asked for" not in plain(one)
    assert "1 more for information" in plain(one)
    assert "a reboot is asked for" in plain(one, verbose=True)


def test_a_host_that_is_gone_shows_what_was_and_how_old_it_is() -> None:
    gone = HostReport("a", time.time(), error="a: refused", last=Last(time.time() - 7200, (FULL,)))
    said = plain(gone)
    assert "UNREACHABLE  a: refused" in said
    assert "2 h ago" in said
    assert "99% of / is used" in said


def test_old_facts_say_their_age() -> None:
    old = HostReport("a", time.time() - 3 * 86400, verdict=Verdict((), (), 50))
    assert "read 3 days ago" in plain(old)
    assert "ago" not in plain(report("a"))


def test_an_answer_that_is_cut_off_says_so() -> None:
    cut = Reading(time.time(), {}, Unknown(Reason.LOST, "the line broke"))
    one = HostReport("a", time.time(), reading=cut)
    assert "INCOMPLETE" in plain(one)
    assert "the line broke" in plain(one)


def test_what_was_not_judged_is_grouped_by_its_cause() -> None:
    gaps = tuple(NotJudged(rule, "no_permission", "only root") for rule in ("x", "y"))
    one = HostReport("a", time.time(), verdict=Verdict((), gaps, 50))
    assert "2 rules could not be judged" in plain(one)
    assert "x, y: no_permission: only root" in plain(one, verbose=True)


def test_nothing_from_a_host_reaches_the_terminal_raw() -> None:
    evil = Finding("r", Severity.WARNING, "", "a\x1b]0;x\x07b\nFINE c", "d\x1b[2J")
    said = plain(report("h\x1b[31m", evil))
    assert "\x1b" not in said
    assert len(said.splitlines()) == 3


def test_the_summary_counts(capsys: pytest.CaptureFixture[str]) -> None:
    watch_stream([report("a"), report("b", FULL), report("c", FULL)], verbose=False)
    assert capsys.readouterr().out.splitlines()[-1].endswith(": 1 fine, 2 critical")


def test_watching_tells_only_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = iter(
        [
            [report("a"), report("b", FULL)],
            [report("a"), report("b", FULL)],
            [report("a", REBOOT), report("b", FULL)],
            [report("a", REBOOT), report("b")],
        ]
    )

    def check() -> Iterator[HostReport]:
        yield from next(rounds, [])
        if rounds.__length_hint__() == 0:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch_for_ever(check, every=0.0, verbose=True)
    heads = [line for line in capsys.readouterr().out.splitlines() if line[:2] in ("a ", "b ")]
    assert [line.split()[:2] for line in heads] == [
        ["a", "FINE"],
        ["b", "CRITICAL"],
        ["a", "INFO"],
        ["b", "FINE"],
    ]

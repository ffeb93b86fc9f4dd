"""The forms for other systems, read by their own rules."""

import math
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from build import parts
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from labctl.facts.machine.reading import Reading
from labctl.facts.value import Reason, Unknown
from labctl.health.finding import Finding, NotJudged, Severity, Verdict
from labctl.health.formats import html, junit, nagios, prometheus
from labctl.health.formats.jsonform import STATUSES, data
from labctl.health.judge import judge
from labctl.health.report import HostReport, Last
from labctl.health.rules_file import shipped_rules

HOSTILE = 'a"b\\c\nd|e<f>&\x1b[31m\x00\ud800 é'


def found(severity: Severity, rule: str = "r", says: str = "s", subject: str = "") -> Finding:
    return Finding(rule, severity, subject, says, "do it")


FINE = HostReport("fine", 1000.0, seconds=0.5)
INFO = HostReport("info", 1000.0, verdict=Verdict((found(Severity.INFO),), (), 3))
WARNING = HostReport("warning", 1000.0, verdict=Verdict((found(Severity.WARNING),), (), 3))
CRITICAL = HostReport(
    "critical",
    1000.0,
    verdict=Verdict((found(Severity.CRITICAL, says="disk full"), found(Severity.WARNING)), (), 3),
)
CUT = HostReport(
    "incomplete", 1000.0, reading=Reading(1000.0, {}, Unknown(Reason.LOST, "the line broke"))
)
GONE = HostReport(
    "unreachable", 1000.0, error="unreachable: refused", last=Last(900.0, (found(Severity.INFO),))
)
ALL = [FINE, INFO, WARNING, CRITICAL, CUT, GONE]


def test_a_status_for_each() -> None:
    assert [report.status for report in ALL] == list(STATUSES)
    assert [report.host for report in ALL] == list(STATUSES)


@pytest.mark.parametrize(
    ("reports", "status", "word"),
    [
        ([FINE, INFO], 0, "OK"),
        ([FINE, WARNING], 1, "WARNING"),
        ([WARNING, CUT], 3, "UNKNOWN"),
        ([WARNING, CRITICAL, CUT], 2, "CRITICAL"),
        ([GONE, FINE], 2, "CRITICAL"),
        ([], 3, "UNKNOWN"),
    ],
)
def test_nagios(reports: list[HostReport], status: int, word: str) -> None:
    assert nagios.status(reports) == status
    first = nagios.render(reports).splitlines()[0]
    text, bar, performance = first.partition(" | ")
    assert text.startswith(f"LABCTL {word} - ")
    assert bar
    values = dict(entry.split("=") for entry in performance.split())
    assert values["hosts"] == str(len(reports))


def test_nagios_has_one_bar_and_no_escape_whatever_is_found() -> None:
    report = HostReport("h", 0.0, verdict=Verdict((found(Severity.CRITICAL, says=HOSTILE),)))
    text = nagios.render([report])
    assert text.splitlines()[0].count("|") == 1
    assert "\x1b" not in text


def test_prometheus_is_read_by_its_own_client() -> None:
    families = {one.name: one for one in text_string_to_metric_families(prometheus.render(ALL))}
    up = {one.labels["host"]: one.value for one in families["labctl_check_up"].samples}
    assert up == {report.host: float(report is not GONE) for report in ALL}
    counts = {
        (one.labels["host"], one.labels["severity"]): one.value
        for one in families["labctl_check_findings"].samples
    }
    assert counts["critical", "critical"] == 1
    assert counts["critical", "warning"] == 1
    assert counts["fine", "info"] == 0
    assert ("unreachable", "info") not in counts  # not known is not zero
    assert all(one.type == "gauge" and one.documentation for one in families.values())


@given(says=st.text(), host=st.text(min_size=1), subject=st.text())
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_a_form(says: str, host: str, subject: str) -> None:
    twice = (found(Severity.WARNING, says=says, subject=subject),) * 2
    gap = NotJudged("g", "lost", says)
    report = HostReport(host, 1.0, verdict=Verdict(twice, (gap,), 2))
    families = list(text_string_to_metric_families(prometheus.render([report])))
    samples = [(one.name, tuple(one.labels.items())) for fam in families for one in fam.samples]
    assert len(samples) == len(set(samples))
    labels = [one.labels for fam in families for one in fam.samples if "subject" in one.labels]
    assert labels[0]["subject"] == subject
    ElementTree.fromstring(junit.render([report], shipped_rules()))
    html.render([report]).encode()
    assert nagios.render([report]).count("\n") == 2


def test_junit_has_a_case_for_each_rule_and_right_sums() -> None:
    rules = shipped_rules()
    verdict = judge(
        parts({"packages": {"broken": ["a"], "reboot": ["b"]}, "load": {"load15": 9.0, "cpus": 1}}),
        rules,
    )
    cut = judge({name: Unknown(Reason.LOST, "x") for name in parts({})}, rules)
    reports = [
        HostReport("h", 1.5e9, verdict=verdict),
        HostReport("i", 1.5e9, verdict=cut),
        GONE,
    ]
    top = ElementTree.fromstring(junit.render(reports, rules))
    first, second, third = top
    assert (first.get("tests"), first.get("failures")) == (str(len(rules) + 1), "2")
    assert second.get("skipped") == str(len(rules))
    assert (third.get("tests"), third.get("errors")) == ("1", "1")
    assert top.get("tests") == str(sum(int(suite.get("tests", "0")) for suite in top))
    broken = next(case for case in first if case.get("name") == "packages-half-done")
    failure = broken.find("failure")
    assert failure is not None
    assert failure.get("type") == "critical"
    assert "dpkg --configure -a" in (failure.text or "")
    pending = next(case for case in first if case.get("name") == "reboot-pending")
    assert pending.find("failure") is None
    assert pending.find("system-out") is not None


def test_json_counts_and_ages() -> None:
    document = data(ALL, seconds=1.0, facts=True)
    summary = document["summary"]
    assert isinstance(summary, dict)
    assert summary == {"hosts": 6, **dict.fromkeys(STATUSES, 1), "seconds": 1.0}
    hosts = document["hosts"]
    assert isinstance(hosts, list)
    assert hosts[4]["missing"] == {"unknown": "lost", "words": "the line broke"}
    assert hosts[5]["last"]["findings"][0]["severity"] == "info"
    assert hosts[5]["last"]["age_s"] > hosts[5]["age_s"]
    assert not math.isnan(hosts[0]["age_s"])


class Page(HTMLParser):
    """Elements and text of a page; fails on an element that is closed and not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_needs_nothing_and_runs_nothing() -> None:
    evil = "<script>alert(1)</script>' onload='x"
    hostile = HostReport(
        evil, 1.0, verdict=Verdict((found(Severity.WARNING, says=evil, subject=evil),))
    )
    page = Page()
    page.feed(html.render([*ALL, hostile]))
    page.close()
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "img", "iframe"}
    names = {name for _, attributes in page.seen for name in attributes}
    assert names <= {"lang", "charset", "name", "content", "href", "id", "class"}
    assert all(str(a["href"]).startswith("#") for _, a in page.seen if "href" in a)
    assert page.text.count(evil) == 3  # in the table, as a heading, as a finding
    assert page.text.index("unreachable: refused") < page.text.index("disk full")
    assert "The answer is not whole: lost: the line broke" in page.text

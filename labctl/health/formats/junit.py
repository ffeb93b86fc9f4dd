"""JUnit's XML, for CI systems: a suite for each machine, a case for each rule.

Source: the de facto schema of Apache Ant's junit task as Jenkins and GitLab read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from labctl.health.finding import Finding, Severity
from labctl.health.report import HostReport
from labctl.health.rules_file import Rule
from labctl.report.sanitize import clean

# What XML 1.0 cannot hold, section 2.2.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(reports: Sequence[HostReport], rules: Sequence[Rule]) -> str:
    """Return the reports as one XML document.

    A warning or worse is a failure, a rule that could not be judged is skipped, a machine that was
    not reached is one error.
    """
    top = Element("testsuites", name="labctl check")
    for report in reports:
        suite = SubElement(
            top,
            "testsuite",
            name=_text(report.host),
            timestamp=datetime.fromtimestamp(report.at, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            time=f"{report.seconds:.3f}",
        )
        if report.error:
            case = _case(suite, report.host, "reached")
            SubElement(case, "error", message=_text(report.error), type="unreachable")
            continue
        missing = report.reading.missing if report.reading is not None else None
        case = _case(suite, report.host, "answered in full")
        if missing is not None:
            SubElement(case, "error", message=_text(str(missing)), type=str(missing.reason))
        _rules(suite, report, rules)
    for node in (*top, top):
        cases = list(node.iter("testcase"))
        node.set("tests", str(len(cases)))
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            node.set(kind, str(sum(case.find(tag) is not None for case in cases)))
    indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(top, encoding="unicode") + "\n"


def _rules(suite: Element, report: HostReport, rules: Sequence[Rule]) -> None:
    gaps = {gap.rule: gap for gap in report.verdict.not_judged}
    found: dict[str, list[Finding]] = {}
    for one in report.verdict.findings:
        found.setdefault(one.rule, []).append(one)
    for rule in rules:
        case = _case(suite, report.host, rule.id)
        bad = [one for one in found.get(rule.id, []) if one.severity > Severity.INFO]
        said = [one for one in found.get(rule.id, []) if one not in bad]
        if bad:
            kind = str(max(one.severity for one in bad))
            failure = SubElement(case, "failure", message=_text(bad[0].says), type=kind)
            failure.text = _text(_lines(bad))
        elif rule.id in gaps:
            gap = gaps[rule.id]
            SubElement(case, "skipped", message=_text(f"{gap.reason}: {gap.words}"))
        if said:
            SubElement(case, "system-out").text = _text(_lines(said))


def _case(suite: Element, host: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=_text(f"check.{host}"), name=name)


def _lines(findings: Iterable[Finding]) -> str:
    return "\n".join(f"{one.says}\n  {one.action}" for one in findings)


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", clean(text))

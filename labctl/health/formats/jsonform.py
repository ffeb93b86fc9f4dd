"""The data of ``labctl check --json`` (docs/check.md)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from labctl.facts.value import to_json
from labctl.health.finding import Finding
from labctl.health.report import HostReport

STATUSES = ("fine", "info", "warning", "critical", "incomplete", "unreachable")


def data(reports: Sequence[HostReport], *, seconds: float, facts: bool) -> dict[str, object]:
    """Return the data of the document.

    Args:
        reports: All machines.
        seconds: How long all took.
        facts: Put the facts in as well.
    """
    counts = [report.status for report in reports]
    return {
        "summary": {
            "hosts": len(reports),
            **{status: counts.count(status) for status in STATUSES},
            "seconds": round(seconds, 3),
        },
        "hosts": [_host(report, facts=facts) for report in reports],
    }


def _host(report: HostReport, *, facts: bool) -> dict[str, object]:
    missing = report.reading.missing if report.reading is not None else None
    entry: dict[str, object] = {
        "host": report.host,
        "status": report.status,
        "error": report.error,
        "at": _time(report.at),
        "age_s": round(max(time.time() - report.at, 0.0), 1),
        "seconds": round(report.seconds, 3),
        "missing": to_json(missing) if missing else None,
        "findings": [_finding(one) for one in report.verdict.findings],
        "judged": report.verdict.judged,
        "not_judged": [to_json(gap) for gap in report.verdict.not_judged],
        "last": None,
    }
    if report.last is not None:
        entry["last"] = {
            "at": _time(report.last.at),
            "age_s": round(max(time.time() - report.last.at, 0.0), 1),
            "findings": [_finding(one) for one in report.last.findings],
        }
    if facts and report.machine is not None:
        entry["facts"] = to_json(report.machine.parts)
    return entry


def _finding(finding: Finding) -> Mapping[str, object]:
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "subject": finding.subject,
        "says": finding.says,
        "action": finding.action,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

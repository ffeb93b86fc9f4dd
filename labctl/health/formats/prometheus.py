"""Prometheus' metrics: for the textfile collector of its node exporter, or to be scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from labctl.health.finding import Severity
from labctl.health.report import HostReport
from labctl.report.metrics import Family, text


def render(reports: Sequence[HostReport]) -> str:
    """Return the reports in Prometheus' text format."""
    return text(families(reports))


def families(reports: Sequence[HostReport]) -> list[Family]:
    """Return the reports as metrics."""
    up = Family("labctl_check_up", "Whether the host answered the last check.")
    seconds = Family("labctl_check_duration_seconds", "How long the last check of the host took.")
    times = Family("labctl_check_timestamp_seconds", "When the facts of the host were read.")
    whole = Family("labctl_check_complete", "Whether the host's last answer came in full.")
    counts = Family("labctl_check_findings", "Findings of the last check by severity.")
    judged = Family("labctl_check_judged", "Rules that were held against the host's facts.")
    gaps = Family("labctl_check_not_judged", "Rules that could not be judged for lack of facts.")
    each = Family("labctl_check_finding", "One finding of the last check.")
    for report in reports:
        host = report.host
        up.add(0.0 if report.error else 1.0, host=host)
        seconds.add(report.seconds, host=host)
        if report.error:
            continue
        cut = report.reading is not None and report.reading.missing is not None
        whole.add(0.0 if cut else 1.0, host=host)
        times.add(report.at, host=host)
        judged.add(float(report.verdict.judged), host=host)
        gaps.add(float(len(report.verdict.not_judged)), host=host)
        number = Counter(one.severity for one in report.verdict.findings)
        for level in Severity:
            counts.add(float(number[level]), host=host, severity=str(level))
        # One thing may be found twice by one rule (two messages of one card); a series is unique.
        unique = Counter(
            (one.rule, one.subject, str(one.severity)) for one in report.verdict.findings
        )
        for (rule, subject, severity), count in unique.items():
            each.add(float(count), host=host, rule=rule, subject=subject, severity=severity)
    return [up, seconds, times, whole, counts, judged, gaps, each]

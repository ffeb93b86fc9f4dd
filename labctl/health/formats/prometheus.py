"""Prometheus' text format, for the textfile collector of its node exporter or a scrape.

Source: Prometheus, "Exposition formats" (text format 0.0.4) and "Metric and label naming".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from labctl.health.finding import Severity
from labctl.health.report import HostReport


def render(reports: Sequence[HostReport]) -> str:
    """Return the reports as metrics."""
    up, seconds, times, counts, gaps, findings = [], [], [], [], [], []
    for report in reports:
        host = {"host": report.host}
        up.append((host, 0.0 if report.error else 1.0))
        seconds.append((host, report.seconds))
        if report.error:
            continue
        times.append((host, report.at))
        gaps.append((host, float(len(report.verdict.not_judged))))
        number = Counter(one.severity for one in report.verdict.findings)
        counts += [({**host, "severity": str(level)}, float(number[level])) for level in Severity]
        # One thing may be found twice by one rule (two messages of one card); a series is unique.
        unique = Counter(
            (one.rule, one.subject, str(one.severity)) for one in report.verdict.findings
        )
        findings += [
            ({**host, "rule": rule, "subject": subject, "severity": severity}, float(count))
            for (rule, subject, severity), count in unique.items()
        ]
    return "".join(
        [
            _metric("labctl_check_up", "Whether the host answered the last check.", up),
            _metric(
                "labctl_check_duration_seconds",
                "How long the last check of the host took.",
                seconds,
            ),
            _metric(
                "labctl_check_timestamp_seconds", "When the facts of the host were read.", times
            ),
            _metric("labctl_check_findings", "Findings of the last check by severity.", counts),
            _metric(
                "labctl_check_not_judged", "Rules that could not be judged for lack of facts.", gaps
            ),
            _metric("labctl_check_finding", "One finding of the last check.", findings),
        ]
    )


def _metric(name: str, words: str, samples: Iterable[tuple[dict[str, str], float]]) -> str:
    lines = [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

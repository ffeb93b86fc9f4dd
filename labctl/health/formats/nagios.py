"""The output and exit status of a Nagios plug-in.

Source: Monitoring Plugins Development Guidelines: one line of status text, then ``|`` and
performance data; exit status 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Sequence

from labctl.health.finding import Severity
from labctl.health.report import HostReport
from labctl.report.sanitize import clean_line

_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_STATUS = {"fine": 0, "info": 0, "warning": 1, "critical": 2, "incomplete": 3, "unreachable": 2}


def status(reports: Sequence[HostReport]) -> int:
    """Return the exit status: the worst of all machines; critical before unknown before warning."""
    order = (0, 1, 3, 2)
    return max((_STATUS[report.status] for report in reports), key=order.index, default=3)


def render(reports: Sequence[HostReport]) -> str:
    """Return the status line with performance data, then a line for each finding that counts."""
    lines = []
    for report in reports:
        if report.error:
            lines.append(report.error)
        elif report.reading is not None and report.reading.missing is not None:
            lines.append(f"{report.host}: incomplete, {report.reading.missing}")
        lines += [
            f"{report.host}: {one.severity}: {one.says}"
            for one in report.verdict.findings
            if one.severity > Severity.INFO
        ]
    # A bar would begin the performance data.
    lines = [clean_line(line).replace("|", "/") for line in lines]
    found = [one.severity for report in reports for one in report.verdict.findings]
    data = (
        f"hosts={len(reports)} unreachable={sum(bool(report.error) for report in reports)} "
        f"critical={found.count(Severity.CRITICAL)} warning={found.count(Severity.WARNING)}"
    )
    head = lines[0] if lines else f"{len(reports)} hosts, nothing found"
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    first = f"LABCTL {_WORDS[status(reports)]} - {head}{more} | {data}"
    return "\n".join([first, *lines[1:]]) + "\n"

"""What ``labctl check`` prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from labctl.health.finding import Finding, Severity
from labctl.health.report import HostReport
from labctl.health.rules_file import Rule
from labctl.health.words import duration
from labctl.report.sanitize import clean_line
from labctl.report.terminal import Terminal

_STYLES = {
    "fine": ("green",),
    "info": ("green",),
    "warning": ("yellow",),
    "critical": ("red", "bold"),
    "incomplete": ("yellow",),
    "unreachable": ("red",),
}
# Older than this, facts are said to be old.
_FRESH_S = 120.0


def watch_stream(stream: Iterable[HostReport], *, verbose: bool) -> list[HostReport]:
    """Print each report as it comes and a summary at the end; return all."""
    out = Terminal()
    begun = time.monotonic()
    reports = []
    for report in stream:
        reports.append(report)
        for line in lines(report, out, verbose=verbose):
            out.line(line)
    if len(reports) > 1:
        counts = [report.status for report in reports]
        told = ", ".join(f"{counts.count(word)} {word}" for word in _STYLES if word in counts)
        out.line()
        out.line(f"{len(reports)} hosts in {time.monotonic() - begun:.1f} s: {told}")
    return reports


def watch_for_ever(
    check: Callable[[], Iterable[HostReport]], *, every: float, verbose: bool
) -> NoReturn:
    """Check again each ``every`` seconds; print all once, then the hosts that have changed.

    Ends by Ctrl-C only.
    """
    out = Terminal()
    before: dict[str, object] = {}
    while True:
        begun = time.monotonic()
        now = time.strftime("%H:%M:%S")
        for report in check():
            seen = (report.status, [(one.rule, one.subject) for one in report.verdict.findings])
            if before.get(report.host) != seen:
                out.line(out.paint(now, "dim"))
                for line in lines(report, out, verbose=verbose):
                    out.line(line)
            before[report.host] = seen
        time.sleep(max(every - (time.monotonic() - begun), 0.0))


def lines(report: HostReport, out: Terminal, *, verbose: bool) -> list[str]:
    """Return the lines about one machine."""
    status = report.status
    head = f"{clean_line(report.host):<16} {out.paint(status.upper(), *_STYLES[status])}"
    age = time.time() - report.at
    if report.error:
        text = [f"{head}  {clean_line(report.error)}"]
        if report.last is not None:
            since = duration(time.time() - report.last.at)
            text.append(out.paint(f"  what was found when it last answered, {since} ago:", "dim"))
            text += _findings(report.last.findings, out, verbose=verbose)
        return text
    old = f", read {duration(age)} ago" if age > _FRESH_S else f", {report.seconds:.1f} s"
    text = [f"{head}  {report.verdict.judged} rules{old}"]
    if report.reading is not None and report.reading.missing is not None:
        text.append(f"  the answer is not whole: {clean_line(str(report.reading.missing))}")
    text += _findings(report.verdict.findings, out, verbose=verbose)
    gaps = report.verdict.not_judged
    if gaps and verbose:
        for words in dict.fromkeys(f"{gap.reason}: {gap.words}" for gap in gaps):
            which = [gap.rule for gap in gaps if f"{gap.reason}: {gap.words}" == words]
            text.append(f"  not judged  {', '.join(which)}: {clean_line(words)}")
    elif gaps:
        text.append(out.paint(f"  {len(gaps)} rules could not be judged (--verbose)", "dim"))
    return text


def _findings(findings: Sequence[Finding], out: Terminal, *, verbose: bool) -> list[str]:
    text = []
    for one in findings:
        if one.severity is Severity.INFO and not verbose:
            continue
        word = out.paint(f"{one.severity!s:<8}", *_STYLES[str(one.severity)])
        text.append(f"  {word}  {clean_line(one.says)}")
        if one.action:
            text.append(out.paint(f"            -> {clean_line(one.action)}", "dim"))
    hidden = sum(one.severity is Severity.INFO for one in findings)
    if hidden and not verbose:
        text.append(out.paint(f"  {hidden} more for information (--verbose)", "dim"))
    return text


def print_whole(
    form: str, reports: list[HostReport], rules: Sequence[Rule], *, seconds: float, facts: bool
) -> int:
    """Print all reports in ``form`` and return the exit code."""
    from labctl.cli.check import exit_code

    # As they came is by chance; programs compare.
    reports.sort(key=lambda report: report.host)
    if form == "nagios":
        from labctl.health.formats import nagios

        sys.stdout.write(nagios.render(reports))
        return nagios.status(reports)
    if form == "json":
        from labctl.health.formats.jsonform import data
        from labctl.report.jsondoc import document

        sys.stdout.write(document("check", 1, data(reports, seconds=seconds, facts=facts)) + "\n")
    elif form == "prometheus":
        from labctl.health.formats import prometheus

        sys.stdout.write(prometheus.render(reports))
    elif form == "html":
        from labctl.health.formats import html

        sys.stdout.write(html.render(reports))
    else:
        from labctl.health.formats import junit

        sys.stdout.write(junit.render(reports, rules))
    return int(exit_code(reports))

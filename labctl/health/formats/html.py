"""One self-contained page: no script, nothing to fetch, and it prints well.

Source of the colours' contrast: WCAG 2.1, 1.4.3 (4.5 to 1 for text). Every state is also a word, so
the page reads without colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from labctl.health.finding import Finding
from labctl.health.formats.jsonform import STATUSES
from labctl.health.report import HostReport
from labctl.report.sanitize import clean

_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .35rem .6rem;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
.word { font-weight: 600; white-space: nowrap; }
.critical, .unreachable { color: #a40000; } .warning, .incomplete { color: #7a4b00; }
.fine, .info { color: #0b5c1e; }
.action, .dim { color: #555; }
@media print { body { margin: 0; max-width: none; } section { break-inside: avoid; } }
"""
_WORST_FIRST = ("unreachable", "critical", "incomplete", "warning", "info", "fine")


def render(reports: Sequence[HostReport]) -> str:
    """Return the page; hosts with the most pressing state come first."""
    ordered = sorted(reports, key=lambda one: (_WORST_FIRST.index(one.status), one.host))
    states = [report.status for report in reports]
    counts = ", ".join(f"{states.count(word)} {word}" for word in STATUSES if word in states)
    newest = max((report.at for report in reports), default=0.0)
    rows = "".join(
        f"<tr><td><a href='#h{number}'>{_text(one.host)}</a></td><td>{_word(one.status)}</td>"
        f"<td>{len(one.verdict.findings)}</td><td>{_time(one.at)}</td></tr>\n"
        for number, one in enumerate(ordered)
    )
    sections = "".join(_section(number, one) for number, one in enumerate(ordered))
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>labctl check</title>\n<style>\n{_STYLE}</style></head><body>\n"
        f"<h1>labctl check</h1>\n<p>{_time(newest)}: {len(reports)} hosts, {counts}</p>\n"
        "<table><thead><tr><th>host</th><th>state</th><th>findings</th><th>read at</th></tr>"
        f"</thead><tbody>\n{rows}</tbody></table>\n{sections}</body></html>\n"
    )


def _section(number: int, report: HostReport) -> str:
    head = f"<section><h2 id='h{number}'>{_text(report.host)}: {_word(report.status)}</h2>\n"
    body = ""
    if report.error:
        body += f"<p>{_text(report.error)}</p>\n"
        if report.last is not None:
            body += f"<p class='dim'>What was found at {_time(report.last.at)}:</p>\n"
            body += _findings(report.last.findings)
    if report.reading is not None and report.reading.missing is not None:
        body += f"<p>The answer is not whole: {_text(str(report.reading.missing))}</p>\n"
    body += _findings(report.verdict.findings)
    gaps = dict.fromkeys(f"{gap.reason}: {gap.words}" for gap in report.verdict.not_judged)
    if gaps:
        count = len(report.verdict.not_judged)
        why = "; ".join(_text(words) for words in gaps)
        body += f"<p class='dim'>{count} rules could not be judged: {why}</p>\n"
    return f"{head}{body}</section>\n" if body else ""


def _findings(findings: Iterable[Finding]) -> str:
    rows = "".join(
        f"<tr><td>{_word(str(one.severity))}</td><td>{_text(one.says)}"
        f"<div class='action'>{_text(one.action)}</div></td></tr>\n"
        for one in findings
    )
    return f"<table><tbody>\n{rows}</tbody></table>\n" if rows else ""


def _word(state: str) -> str:
    return f"<span class='word {state}'>{state}</span>"


def _text(text: str) -> str:
    # Surrogates cannot be written in UTF-8; `clean` leaves them.
    return escape(clean(text).encode("utf-8", "replace").decode())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

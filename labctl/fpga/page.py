"""A regression as one page: no script, nothing loaded from elsewhere, fit to print and to mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError
from labctl.fpga.history import Row
from labctl.fpga.waves.chosen import choose
from labctl.fpga.waves.picture import draw
from labctl.fpga.waves.ports import ports_of
from labctl.report.sanitize import clean

Data = Mapping[str, Any]
# Told apart in grey, too: by their letters and by their order.
_MARKS = {"passed": "·", "failed": "F", "hung": "H", "error": "E", "skipped": "s"}
_WORST = ("error", "hung", "failed", "passed", "skipped")
# Seeds that are shown one by one; of more, only how many.
_MAX_SEEDS = 40
_MAX_KINDS, _MAX_PICTURES, _MAX_TRENDS = 50, 20, 15
_MAX_MISSING = 12
_LOG_LINES, _LOG_BYTES = 25, 16 * 1024
_STYLE = """
:root { --ink: #1d2329; --soft: #5b6670; --line: #d9dee3; --good: #2e7d32; --bad: #c62828;
  --warn: #b26a00; --back: #fff; --pale: #f5f7f9; --wave: #1565c0; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em;
  color: var(--ink); background: var(--back); }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; }
h3 { font-size: 1em; margin: 1.6em 0 .3em; } p.about { color: var(--soft); margin-top: 0; }
.totals span { display: inline-block; margin-right: 1.6em; } .totals b { font-size: 1.6em; }
.passed { color: var(--good); } .failed, .hung, .error { color: var(--bad); }
.skipped { color: var(--warn); }
table { border-collapse: collapse; } th, td { padding: .2em .9em .2em 0; text-align: left;
  vertical-align: top; } tr { border-bottom: 1px solid var(--line); } th { color: var(--soft);
  font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: 12px/1.4 ui-monospace, monospace; } pre { background: var(--pale);
  padding: .6em .8em; overflow-x: auto; margin: .4em 0; }
.seeds a, .seeds span { display: inline-block; width: 1.1em; text-align: center;
  font: 12px ui-monospace, monospace; text-decoration: none; }
.seeds .failed, .seeds .hung, .seeds .error { background: var(--bad); color: #fff; }
.bar { display: inline-block; width: 8em; height: .7em; background: var(--line); }
.bar i { display: block; height: 100%; background: var(--good); }
svg { max-width: 100%; } svg.waves { background: var(--pale); display: block; }
svg text { font: 10px ui-monospace, monospace; fill: var(--ink); }
svg text.name, svg text.last { text-anchor: end; } svg text.value { text-anchor: middle; }
svg .bit { fill: none; stroke: var(--wave); } svg .bus { fill: #e3edf9; stroke: var(--wave); }
svg .x { fill: #fbd5d5; stroke: var(--bad); } svg .z { fill: #fdeccd; stroke: var(--warn); }
svg .tick { stroke: var(--line); } svg .end { stroke: var(--bad); stroke-dasharray: 3 2; }
svg .trend { fill: none; stroke: var(--wave); stroke-width: 1.5; }
@media print { body { margin: 0; } h2, h3 { break-after: avoid; } svg { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(run: Data, history: Sequence[Row]) -> str:
    """Return a regression as an HTML document.

    Args:
        run: What was kept of it: see `labctl.fpga.record.run_data`.
        history: What came of its tests until now.
    """
    began = datetime.fromtimestamp(run["time"]).astimezone()
    about = [
        f"{began:%Y-%m-%d %H:%M %Z}", f"host {run['host']}",
        f"commit {run['commit'] or 'unknown'}", f"first seed {run['seed']}",
        f"{run['seeds']} seed{'s' * (run['seeds'] != 1)} a test",
        f"{run['compiled']} compiled, {run['reused']} found compiled",
    ]  # fmt: skip
    parts = [
        f"<h1>{_text(run['project'])}</h1>",
        f'<p class="about">{_text(" · ".join(about))}</p>',
        _totals(run["summary"]),
        *(f"<p>{_text(note)}</p>" for note in run["notes"]),
        "<h2>Tests</h2>",
        _matrix(run),
        *_failures(run),
        *_coverage(run.get("coverage")),
        *_trends(run, history),
    ]
    title = f"{run['project']}: {_verdict(run['summary'])}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _text(text: object) -> str:
    return escape(clean(str(text)))


def _verdict(summary: Data) -> str:
    bad = sum(summary[one] for one in ("failed", "hung", "error"))
    return f"{bad} of {bad + summary['passed']} failed" if bad else f"{summary['passed']} passed"


def _totals(summary: Data) -> str:
    shown = [
        f'<span class="{one}"><b>{summary[one]}</b> {one}</span>'
        for one in ("passed", "failed", "hung", "error", "skipped")
        if summary[one] or one in ("passed", "failed")
    ]
    shown.append(f"<span><b>{summary['seconds']:.1f}</b> s</span>")
    return f'<p class="totals">{"".join(shown)}</p>'


def _unit(job: Data) -> str:
    return str(job["id"]).rpartition("@")[0]


def _matrix(run: Data) -> str:
    """Return the table of tests by simulators, with a mark for each seed."""
    cells: dict[str, dict[str, list[Data]]] = {}
    for job in run["jobs"]:
        simulator = str(job.get("simulator") or "icarus")
        cells.setdefault(_unit(job), {}).setdefault(simulator, []).append(job)
    columns = sorted({one for row in cells.values() for one in row})
    kinds = {name: index for index, some in enumerate(run["failures"]) for name in some}
    head = "".join(f"<th>{_text(one)}</th>" for one in columns)
    lines = [f'<table><tr><th>Test</th>{head}<th class="n">Seconds</th></tr>']
    for name, row in cells.items():
        seconds = sum(job["seconds"] for jobs in row.values() for job in jobs)
        found = "".join(f"<td>{_cell(row.get(one, []), kinds)}</td>" for one in columns)
        lines.append(f'<tr><td>{_text(name)}</td>{found}<td class="n">{seconds:.2f}</td></tr>')
    lines.append("</table>")
    key = ", ".join(f"{mark} {status}" for status, mark in _MARKS.items())
    return "\n".join(lines) + f'\n<p class="about">One mark a seed: {key}.</p>'


def _cell(jobs: Sequence[Data], kinds: Mapping[str, int]) -> str:
    if len(jobs) <= _MAX_SEEDS:
        marks = []
        for job in jobs:
            title = f'title="seed {job["seed"]}: {job["status"]}" class="{job["status"]}"'
            mark = _MARKS[job["status"]]
            kind = kinds.get(job["id"])
            marks.append(
                f"<span {title}>{mark}</span>"
                if kind is None
                else f'<a href="#kind-{kind}" {title}>{mark}</a>'
            )
        return f'<span class="seeds">{"".join(marks)}</span>'
    counts = {one: sum(job["status"] == one for job in jobs) for one in _WORST}
    share = 100 * (counts["passed"] + counts["skipped"]) / len(jobs)
    said = ", ".join(f'<span class="{one}">{n} {one}</span>' for one, n in counts.items() if n)
    return f'<span class="bar"><i style="width:{share:.1f}%"></i></span> {said}'


def _failures(run: Data) -> Iterator[str]:
    jobs = {job["id"]: job for job in run["jobs"]}
    if not run["failures"]:
        return
    yield "<h2>Failures</h2>"
    for index, names in enumerate(run["failures"][:_MAX_KINDS]):
        yield from _failure(run, index, [jobs[name] for name in names])
    rest = len(run["failures"]) - _MAX_KINDS
    if rest > 0:
        yield f"<p>{rest} more kinds of failures are in run.json.</p>"


def _failure(run: Data, index: int, some: Sequence[Data]) -> Iterator[str]:
    first = some[0]
    more = f" and {len(some) - 1} more of this kind" if len(some) > 1 else ""
    yield (
        f'<h3 id="kind-{index}"><span class="{first["status"]}">{first["status"].upper()}</span> '
        f"{_text(first['id'])}{more}</h3>"
    )
    yield f"<p>{_text(first['message'])}</p>"
    yield f"<pre>{_text(first['repro'])}</pre>"
    if len(some) > 1:
        seeds = ", ".join(str(job["seed"]) for job in some[:_MAX_SEEDS])
        dots = ", …" if len(some) > _MAX_SEEDS else ""
        yield f'<p class="about">Seeds, the shortest run first: {seeds}{dots}</p>'
    seen = next((job for job in some if job["waves"]), None)
    if seen is not None and index < _MAX_PICTURES:
        yield _picture(run, seen)
    if first["folder"]:
        log = "\n".join(_last_lines(Path(first["folder"], "log.txt")))
        if log:
            yield f"<details><summary>The end of its log</summary><pre>{_text(log)}</pre></details>"


def _picture(run: Data, job: Data) -> str:
    core = run["cores"][job["core"]]
    ports = ports_of([Path(one) for one in core["sources"]], core["top"])
    try:
        chosen = choose(Path(job["waves"]), core["top"], ports, job["message"])
    except LabctlError as error:
        return f'<p class="about">No picture of the waves: {_text(error)}</p>'
    return draw(chosen)


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LOG_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return []


def _coverage(coverage: Data | None) -> Iterator[str]:
    """Yield what was reached: see `labctl.fpga.coverage.store.shown`."""
    if not coverage or not coverage["scopes"]:
        return
    yield "<h2>Coverage</h2>"
    yield "<table><tr><th>Kind</th><th>Of</th><th></th>"
    yield '<th class="n">Reached</th><th>Not</th></tr>'
    for row in coverage["scopes"]:
        share = 100 * row["covered"] / row["total"] if row["total"] else 0.0
        missing = [str(one) for one in row["missing"]]
        more = f", and {len(missing) - _MAX_MISSING} more" if len(missing) > _MAX_MISSING else ""
        yield (
            f"<tr><td>{_text(row['kind'])}</td><td>{_text(row['scope'])}</td>"
            f'<td><span class="bar"><i style="width:{share:.1f}%"></i></span></td>'
            f'<td class="n">{row["covered"]} of {row["total"]}</td>'
            f"<td>{_text(', '.join(missing[:_MAX_MISSING]) + more)}</td></tr>"
        )
    yield "</table>"
    if coverage["idle"]:
        idle, needed = len(coverage["idle"]), len(coverage["needed"])
        yield (
            f'<p class="about">{needed} runs reach all that was reached; {idle} runs reached '
            "nothing that those did not.</p>"
        )


def _trends(run: Data, history: Sequence[Row]) -> Iterator[str]:
    """Yield the tests of this regression that take longest, with how that changed."""
    names = {_unit(job) for job in run["jobs"]}
    rows = sorted((one for one in history if one.name in names), key=lambda one: -one.seconds)
    if not rows:
        return
    yield "<h2>History</h2>"
    yield (
        '<table><tr><th>Test</th><th class="n">Runs</th><th class="n">Failed</th>'
        '<th class="n">Flaky</th><th class="n">Seconds</th><th>Seconds a run, by regression</th>'
        "<th>Fails since</th></tr>"
    )
    for one in rows[:_MAX_TRENDS]:
        yield (
            f'<tr><td>{_text(one.name)}</td><td class="n">{one.runs}</td>'
            f'<td class="n">{one.failed}</td><td class="n">{one.flaky:.0%}</td>'
            f'<td class="n">{one.seconds:.2f}</td><td>{_trend(one.trend)}</td>'
            f"<td>{_text(one.since)}</td></tr>"
        )
    yield "</table>"
    if len(rows) > _MAX_TRENDS:
        yield f'<p class="about">The {_MAX_TRENDS} slowest of {len(rows)} tests.</p>'


def _trend(seconds: Sequence[float]) -> str:
    width, height = 160, 22
    some = seconds[-80:]
    most = max(some) or 1.0
    step = width / max(1, len(some) - 1)
    points = " ".join(
        f"{index * step:.1f},{height - 2 - one / most * (height - 4):.1f}"
        for index, one in enumerate(some)
    )
    shape = (
        f'<polyline points="{points}" class="trend"/>'
        if len(some) > 1
        else f'<circle cx="3" cy="{height / 2:.0f}" r="2" class="trend"/>'
    )
    return (
        f'<svg width="{width}" height="{height}" viewBox="-1 0 {width + 2} {height}" role="img" '
        f'aria-label="at most {most:.2f} s">{shape}</svg>'
    )

"""``labctl setup --runs`` and ``--show``: what past runs did."""

from __future__ import annotations

import click

from labctl.report.jsondoc import document
from labctl.report.sanitize import clean, clean_line
from labctl.report.terminal import Terminal
from labctl.setup.journal import find_run, list_runs, read_events


def print_runs(*, as_json: bool) -> int:
    """Print all runs, the newest first."""
    runs = list_runs()
    if as_json:
        rows = [
            {
                "id": run.id,
                "started": run.started,
                "state": run.state,
                "hosts": run.hosts,
                "results": run.results,
            }
            for run in runs
        ]
        click.echo(document("setup-runs", 1, {"runs": rows}))
        return 0
    if not runs:
        click.echo("No runs yet.")
        return 0
    Terminal().table(
        ("RUN", "STARTED", "STATE", "HOSTS", "CHANGED", "NOT DONE"),
        [
            (
                run.id,
                run.started,
                run.state,
                clean_line(", ".join(run.hosts), limit=40),
                sum(int(result.get("changed", 0)) for result in run.results.values()),
                clean_line(", ".join(run.unfinished), limit=40),
            )
            for run in runs
        ],
    )
    return 0


def print_run(word: str, *, as_json: bool) -> int:
    """Print what one run found and did."""
    run = find_run(word)
    events = {host: list(read_events(run, host)) for host in run.hosts}
    if as_json:
        data = {"id": run.id, "started": run.started, "state": run.state, "hosts": events}
        click.echo(document("setup-run", 1, data))
        return 0
    terminal = Terminal()
    terminal.line(f"{run.id}: {run.state}, started {run.started}")
    for host, entries in events.items():
        terminal.line(terminal.paint(host, "bold"))
        ended = {e["item"]: e for e in entries if e["event"] == "after"}
        for entry in entries:
            if entry["event"] == "before":
                result = ended.get(entry["item"], {"status": "no end recorded", "error": ""})
                text = f"  {result['status']}: {entry['item']}: {entry['summary']}"
                terminal.line(f"{clean_line(text)} (was {clean_line(entry['before'])})")
                for line in clean(result["error"]).splitlines():
                    terminal.line(f"      {line}")
        done = next((e for e in entries if e["event"] == "done"), None)
        if done:
            terminal.line(f"  {done['status']} after {done['seconds']} s {clean(done['error'])}")
        else:
            terminal.line("  no end recorded: the run was killed, or is still going on")
    return 0

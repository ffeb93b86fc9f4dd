"""What ``labctl setup`` prints: lines for people, one document for programs."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Mapping, Sequence

import click

from labctl.report.jsondoc import document
from labctl.report.sanitize import clean, clean_line
from labctl.report.terminal import Terminal
from labctl.setup.events import (
    Connected,
    Event,
    HostDone,
    HostResult,
    ItemDone,
    ItemResult,
    Note,
    PlanMade,
    StepBegun,
    StepProgress,
)
from labctl.setup.options import Options
from labctl.setup.plan import Plan, Planned


class Asking:
    """The questions that a run may have; asked on the terminal, one at a time."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.error = Terminal(sys.stderr)
        self._lock = threading.Lock()

    def ask_password(self, prompt: str) -> str | None:
        """Ask without echo on the terminal; None where there is none."""
        if not sys.stdin.isatty() or self.options.json:
            return None
        with self._lock:
            return getpass.getpass(prompt)

    def accept_host_key(self, name: str, kind: str, mark: str) -> bool:
        """Show the fingerprint and ask, where somebody can answer."""
        if not sys.stdin.isatty() or self.options.json or self.options.yes:
            return False
        with self._lock:
            self.error.line(f"The host key of {name} is not known yet.")
            self.error.line(f"Its {kind} fingerprint is {mark}.")
            return click.confirm("Is this the right machine?", err=True)


class PlainPrinter(Asking):
    """Prints lines as things happen."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.out = Terminal()
        self._shown: dict[str, str] = {}

    def event(self, event: Event) -> None:
        """Print what happened."""
        host = event.host
        if isinstance(event, Connected):
            self._say(host, f"connected in {event.seconds:.1f} s", "dim")
        elif isinstance(event, PlanMade):
            self._plan(host, event.plan)
        elif isinstance(event, StepBegun):
            # One item is told of when it is done; several at once, or one that takes long, before.
            if len(event.ids) > 1:
                self._say(host, "... " + _brief(event.ids), "dim")
        elif isinstance(event, StepProgress):
            self._progress(host, event.text)
        elif isinstance(event, Note):
            self._say(host, event.text, "cyan")
        elif isinstance(event, ItemDone):
            self._item(host, event.result)
        elif isinstance(event, HostDone) and event.result.error:
            # The error names the host itself.
            self.out.line(self.out.paint(clean(event.result.error), "red"))

    def confirm(self, plans: Mapping[str, Plan]) -> bool:
        """Ask once for all machines."""
        count = sum(len(plan.changes) for plan in plans.values())
        where = next(iter(plans)) if len(plans) == 1 else f"{len(plans)} hosts"
        return click.confirm(f"Make {_number(count, 'change')} on {where}?", err=True)

    def finish(self, results: Sequence[HostResult], run_id: str | None) -> None:
        """Print the summary."""
        first = "TO CHANGE" if self.options.check else "CHANGED"
        rows = []
        for result in results:
            changed = result.count("to_change" if self.options.check else "changed")
            rows.append(
                (
                    result.host,
                    result.status,
                    changed,
                    result.count("unchanged"),
                    result.count("failed"),
                    result.count("not_reached"),
                    f"{result.seconds:.1f}",
                )
            )
        self.out.line()
        self.out.table(
            ("HOST", "STATE", first, "UNCHANGED", "FAILED", "NOT REACHED", "SECONDS"), rows
        )
        if all(result.status == "ok" for result in results):
            pending = sum(result.count("to_change") for result in results)
            done = sum(result.count("changed") for result in results)
            if pending:
                self.out.line(f"{_number(pending, 'change')} to make.")
            elif not done:
                self.out.line(self.out.paint("Nothing to change.", "green"))
        elif run_id:
            self.out.line("Run 'labctl setup --retry-failed' for what is left.")

    def _plan(self, host: str, plan: Plan) -> None:
        if not (plan.changes or plan.problems):
            self._say(host, f"nothing to change ({_number(len(plan.entries), 'item')})", "green")
            return
        for entry in plan.entries:
            if entry.problem:
                self._say(host, f"! {entry.item.id}: {entry.problem}", "red")
            elif entry.change and (self.options.check or not self.options.yes):
                self._change(host, entry)
            if entry.change and entry.change.diff and self.options.diff:
                for line in clean(entry.change.diff).splitlines():
                    self.out.line("    " + self._coloured(line))

    def _change(self, host: str, entry: Planned) -> None:
        change = entry.change
        if change:
            text = f"~ {entry.item.id}: {change.summary}"
            if change.before and change.before not in ("absent", "not installed"):
                text += f" (now {change.before})"
            self._say(host, text, "yellow")

    def _coloured(self, line: str) -> str:
        styles = {"+": "green", "-": "red", "@": "cyan"}
        return self.out.paint(line, styles[line[0]]) if line[:1] in styles else line

    def _item(self, host: str, result: ItemResult) -> None:
        if result.status == "changed":
            self._say(host, f"+ {result.id}: {result.summary}", "green")
        else:
            self._say(host, f"! {result.id}: failed", "red")
            for line in clean(result.error).splitlines():
                self.out.line(f"    {line}")

    def _progress(self, host: str, text: str) -> None:
        # One line for every tenth part: enough of a sign of life, little enough for a log.
        mark = text[:2]
        if self._shown.get(host) != mark:
            self._shown[host] = mark
            self._say(host, "    " + text, "dim")

    def _say(self, host: str, text: str, *styles: str) -> None:
        self.out.line(
            f"{self.out.paint(host, 'bold')}: {self.out.paint(clean_line(text), *styles)}"
        )


class JsonPrinter(Asking):
    """Prints one document at the end."""

    def event(self, event: Event) -> None:
        """Nothing is shown on the way."""

    def confirm(self, plans: Mapping[str, Plan]) -> bool:
        """Nobody is asked: --json needs --yes or --check."""
        return False

    def finish(self, results: Sequence[HostResult], run_id: str | None) -> None:
        """Print the document."""
        hosts = [
            {
                "host": result.host,
                "status": result.status,
                "error": result.error,
                "summary": self._summary([result]),
                "round_trips": result.round_trips,
                "items": [vars(item) for item in result.items],
            }
            for result in results
        ]
        data = {
            "check": self.options.check,
            "run": run_id,
            "summary": self._summary(results),
            "hosts": hosts,
        }
        click.echo(document("setup", 1, data))

    def _summary(self, results: Sequence[HostResult]) -> dict[str, object]:
        key = "to_change" if self.options.check else "changed"
        return {
            key: sum(
                result.count("to_change" if self.options.check else "changed") for result in results
            ),
            "unchanged": sum(result.count("unchanged") for result in results),
            "failed": sum(result.count("failed") for result in results),
            "not_reached": sum(result.count("not_reached") for result in results),
            "seconds": round(max((result.seconds for result in results), default=0.0), 3),
        }


def _brief(ids: Sequence[str]) -> str:
    kinds = {name.split()[0] for name in ids}
    if len(ids) > 1 and len(kinds) == 1:
        return f"{kinds.pop()} " + ", ".join(name.partition(" ")[2] for name in ids)
    return ", ".join(ids)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")

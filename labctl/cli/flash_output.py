"""What ``labctl flash`` prints: places, plan, progress, result."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.errors import ExitCode
from labctl.report.sanitize import clean

if TYPE_CHECKING:
    from labctl.boards.bench import Bench
    from labctl.boards.flash.job import Plan, Result
    from labctl.boards.flash.method import Progress
    from labctl.inventory.model import Board

_LINE_EVERY_S = 5.0
_FIRST_LINE_S = 1.0
_REDRAW_EVERY_S = 0.1
_KIB = 1024


def show_places(board: Board, inventory: Path, *, as_json: bool) -> int:
    """Print what of ``board`` can be written, and how; touches nothing."""
    from labctl.boards.flash.planner import method_names, targets
    from labctl.boards.model import load_model
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    model, known = load_model(board, inventory), method_names()
    rows = [
        {"to": one.name, "method": one.method, "available": one.method in known, "note": one.note}
        for one in targets(model)
    ]
    if as_json:
        data = {"board": board.name, "model": model.name, "places": rows}
        click.echo(document("flash-places", 1, data))
    elif rows:
        Terminal().table(
            ("TO", "METHOD", "NOTE"),
            [
                (one["to"], one["method"],
                 one["note"] if one["available"] else "labctl has no such method")
                for one in rows
            ],
        )  # fmt: skip
    else:
        click.echo(f"{board.name}: its model says no way to flash it")
    return int(ExitCode.OK)


def show_plan(bench: Bench, plan: Plan) -> None:
    """Print what will be done."""
    for key, text in _plan_rows(bench, plan):
        click.echo(f"  {key + ':' if key else '':11}{clean(text)}")


def _plan_rows(bench: Bench, plan: Plan) -> Iterator[tuple[str, str]]:
    facts = ", ".join(f"{name} {value}" for name, value in plan.identity.facts.items())
    yield "board", f"{bench.name} ({bench.model.name}) on {bench.line.config.url}"
    yield "it says", facts or "nothing that tells it from others"
    yield "image", f"{plan.image.path}: {plan.image.describe()}"
    yield "to", f"{plan.method.target.name}, by {plan.method.name}"
    for reason in plan.passed_over:
        yield "", f"not by {reason}"
    if plan.unfinished:
        when = time.strftime("%H:%M on %d %b", time.localtime(plan.unfinished["time"]))
        yield "before", f"the flash of {plan.unfinished.get('image')} at {when} was not finished"
    now = plan.comparison
    if now.same:
        yield "there now", f"the same ({now.algorithm} {now.now})"
    elif now.now:
        yield "there now", f"{now.algorithm} {now.now}, wanted {now.wanted}"
    else:
        yield "there now", "not known before it is written"
    if plan.route is None:
        yield "to do", "nothing"
        return
    yield "way", plan.route.what + _expected(plan.route.payload, plan.route.seconds)
    for number, step in enumerate(plan.route.steps):
        yield "to do" if number == 0 else "", step


def _expected(payload: int, seconds: float | None) -> str:
    text = f"; {payload:,} bytes"
    return f"{text}, about {_duration(seconds)}" if seconds is not None else text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def show_result(bench: Bench, plan: Plan, result: Result) -> None:
    """Print what was done."""
    digest = f"{result.digest.algorithm} {result.digest.now}"
    if not result.written:
        click.echo(f"{bench.name}: unchanged: it is there already ({digest}), "
                   f"{_duration(result.seconds)}")  # fmt: skip
        return
    rate = f"{result.rate / _KIB:.1f} KiB/s"
    if plan.route and plan.route.limit:
        rate += f" of the image; the way carries {plan.route.limit / _KIB:.1f} KiB/s"
    proved = "written and verified" if result.digest.same else "written; it cannot be read back"
    text = f"{bench.name}: {proved}: {result.size:,} bytes in {_duration(result.seconds)} ({rate})"
    click.echo(f"{text}; {digest}" if result.digest.now else text)


def print_json(bench: Bench, plan: Plan, result: Result | None) -> None:
    """Print plan and result as one JSON document."""
    from labctl.report.jsondoc import document

    route = plan.route
    data: dict[str, Any] = {
        "board": bench.name,
        "model": bench.model.name,
        "line": bench.line.config.url,
        "identity": dict(plan.identity.facts),
        "image": {
            "path": str(plan.image.path), "kind": plan.image.kind, "bytes": plan.image.size,
            "sha256": plan.image.sha256, "architecture": plan.image.architecture,
            "chip": plan.image.chip,
        },
        "to": plan.method.target.name,
        "method": plan.method.name,
        "same": plan.comparison.same,
        "now": plan.comparison.now,
        "wanted": plan.comparison.wanted,
        "algorithm": plan.comparison.algorithm,
        "way": route.what if route else None,
        "payload_bytes": route.payload if route else 0,
        "limit_bytes_per_s": route.limit if route else None,
        "expected_s": round(route.seconds, 1) if route and route.seconds is not None else None,
        "steps": list(route.steps) if route else [],
        "unfinished": plan.unfinished,
        "written": None,
        "verified": None,
        "digest": None,
        "seconds": None,
        "bytes_per_s": None,
    }  # fmt: skip
    if result is not None:
        data |= {
            "written": result.written, "verified": result.digest.same is True,
            "digest": result.digest.now, "seconds": round(result.seconds, 2),
            "bytes_per_s": round(result.rate),
        }  # fmt: skip
    click.echo(document("flash", 1, data))


@contextlib.contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Progress]:
    """Show how far it is: one line that is redrawn on a terminal, a line now and then elsewhere."""
    from labctl.boards.flash.method import Progress

    if quiet:
        yield Progress()
        return
    printer = _Printer()
    try:
        yield Progress(printer.show)
    finally:
        printer.end()


class _Printer:
    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._phase = ""
        self._began = 0.0
        self._shown = 0.0
        self._open = False

    def show(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self.end()
            self._phase, self._began = phase, now
            # What takes more than a second is told of; elsewhere than on a terminal rarely.
            self._shown = now - _LINE_EVERY_S + _FIRST_LINE_S
        every = _REDRAW_EVERY_S if self._terminal else _LINE_EVERY_S
        if now - self._shown < every and not (self._open and done == total):
            return
        self._shown = now
        seconds = now - self._began
        text = f"  {phase} {100 * done // max(1, total):3d} % of {total:,} bytes"
        if done and seconds > 1:
            left = (total - done) * seconds / done
            text += f", {done / seconds / _KIB:.1f} KiB/s, {_duration(left)} left"
        if self._terminal:
            sys.stderr.write(f"\r{text}\x1b[K")
            self._open = True
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False

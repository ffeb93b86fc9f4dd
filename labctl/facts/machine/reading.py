"""One reading of a machine: every probe in one script, in one round trip, with a deadline.

What arrived counts, however the rest ended: the connection broke, the time was up, the machine died
in mid answer. The raw output is kept beside the facts, so that it can be recorded and replayed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from labctl.errors import UnreachableError
from labctl.facts.machine.clock import control_line
from labctl.facts.machine.probe import Probe, all_probes
from labctl.facts.sent import machine
from labctl.facts.sent.bundle import CARDS_S, Collector, prologue, start
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Fact, Known, Reason, Unknown
from labctl.transport.local import LocalSession
from labctl.transport.script import Record, RecordReader, Script, assemble, quote, record
from labctl.transport.session import ScriptCancelledError, Session

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What a machine said.

    Attributes:
        at: When it was read, seconds since the epoch, our clock.
        outputs: Raw output of each probe that came whole.
        missing: Why the others did not come.
        seconds: How long it took.
    """

    at: float
    outputs: Mapping[str, str]
    missing: Unknown | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Machine:
    """The facts of one machine by probe; those that did not come are a reason."""

    parts: Mapping[str, Fact[object]]

    def get(self, name: str, kind: type[T]) -> Fact[T]:
        """Return the facts of the probe ``name``, which are of type ``kind``."""
        part = self.parts[name]
        if isinstance(part, Unknown):
            return part
        if not isinstance(part.value, kind):
            raise TypeError(f"{name} is {type(part.value).__name__}, not {kind.__name__}")
        return Known(part.value)


# What each part of what is sent along (`labctl.facts.sent.main`) says.
_SENT = {"machine": (*machine.PROBES, "disks"), "cards": ("gpu",)}


def whole_script(
    collector: Collector = Collector.AUTO,
    *,
    python: str = "",
    probes: Sequence[Probe[object]] | None = None,
) -> Script:
    """Return the script that asks a machine everything.

    Args:
        collector: Who collects what both Python and the shell can say.
        python: Path of a Python there that has psutil, where one is known.
        probes: What to ask instead, in this order.
    """
    # The clock first: nothing may come between question and answer.
    first, *rest = all_probes() if probes is None else probes
    body = PROLOGUE + prologue(collector) + record(first.name, first.snippet)
    asked: set[str] = set()
    for probe in rest:
        snippet = record(probe.name, probe.snippet)
        part = next((part for part, names in _SENT.items() if probe.name in names), "")
        # Each at the place of its first probe: a driver that hangs may not delay what comes before.
        if part and part not in asked:
            asked.add(part)
            body += start(part, f'"$N" {CARDS_S}', collector=collector, python=python)
            body += f"{part}=$rich\n"
        body += f'[ "${part}" = 0 ] || {{\n{snippet}}}\n' if part else snippet
    return assemble(body)


def read(
    session: Session,
    *,
    deadline: float,
    cancelled: Callable[[], bool] = lambda: False,
    collector: Collector = Collector.AUTO,
) -> Reading:
    """Ask the machine behind ``session`` everything.

    Args:
        session: An open way to it.
        deadline: Seconds for all.
        cancelled: Asked now and then; ends the reading.
        collector: Who collects what both Python and the shell can say.

    Raises:
        UnreachableError: Nothing came, not even one probe's output.
        ScriptCancelledError: ``cancelled`` said so.
    """
    # This machine's own Python has psutil, as labctl needs it.
    here = isinstance(session, LocalSession)
    script = whole_script(collector, python=quote(sys.executable) if here else "")
    outputs: dict[str, str] = {}
    sent = time.time()
    begun = time.monotonic()

    def keep(entry: Record) -> None:
        extra = control_line(sent, time.time()) if entry.name == "clock" else ""
        outputs[entry.name] = f"{entry.output}\n{extra}"

    reader = RecordReader(script.nonce, on_record=keep)
    missing = None
    try:
        # A command that hangs in the kernel holds our end of the line open after the script has
        # ended, so its last word ends the reading, not the end of the stream.
        session.run_script(
            script.text,
            deadline=deadline,
            on_output=reader.feed,
            cancelled=lambda: reader.finished or cancelled(),
            need_root=False,
        )
    except ScriptCancelledError:
        if not reader.finished:
            raise
    except UnreachableError as error:
        if not outputs:
            raise
        late = time.monotonic() - begun >= deadline
        missing = Unknown(Reason.TIMED_OUT if late else Reason.LOST, error.cause)
    if not reader.finished and missing is None:
        if not outputs:
            raise UnreachableError(
                "it ran no script", thing=session.name, action="does its login shell start sh?"
            )
        missing = Unknown(Reason.LOST, "the answer ended in the middle")
    if missing is not None and reader.open is not None:
        missing = Unknown(missing.reason, f"{missing.words} (while it was at '{reader.open}')")
    return Reading(sent, outputs, missing, time.monotonic() - begun)


def understand(reading: Reading, probes: Sequence[Probe[object]] | None = None) -> Machine:
    """Return the facts in ``reading``; a probe that is not in it has the reason why."""
    missing = reading.missing or Unknown(Reason.ABSENT, "not in this recording")
    parts: dict[str, Fact[object]] = {}
    for probe in all_probes() if probes is None else probes:
        text = reading.outputs.get(probe.name)
        if text is None:
            parts[probe.name] = missing
            continue
        try:
            parts[probe.name] = Known(probe.read(text))
        except Exception as error:
            # A parser that an odd machine defeats must not hide everything else about it.
            what = f"{type(error).__name__}: {error}"
            parts[probe.name] = Unknown(Reason.UNREADABLE, f"labctl cannot read it ({what})")
    return Machine(parts)

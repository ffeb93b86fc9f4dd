"""One machine from start to end: connect, collect, plan, change in stages, verify.

Nothing to do costs one connection and one script. Each stage of changes costs one more; its script
also looks at what it changed, and at what the next stage is about, so that nothing is claimed that
was not seen and nothing is asked twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace

from labctl.errors import BusyError, LabctlError, UnreachableError
from labctl.report.sanitize import clean, clean_line
from labctl.setup.events import (
    Connected,
    Event,
    HostDone,
    HostResult,
    ItemDone,
    ItemResult,
    ItemStatus,
    Note,
    PlanMade,
    StepBegun,
    StepProgress,
)
from labctl.setup.facts import Fact, World, collect_script, parse_collected
from labctl.setup.plan import Plan, Planned, all_facts, make_plan, next_stage, steps, watchers
from labctl.setup.progress import progress_text
from labctl.setup.remote_files import LOOK_AGAIN
from labctl.setup.resource import Change, Resource
from labctl.setup.resources.service import mark_pending
from labctl.transport.script import Record, RecordReader, assemble, step
from labctl.transport.session import ScriptCancelledError, Session

# One labctl at a time changes a machine, whichever machine it runs on. /run is in memory, and the
# kernel frees the lock with the script that holds it. Nobody else may open it: whoever can read a
# file can lock it.
_LOCK = """\
umask 077
exec 9>/run/labctl-setup.lock
umask 022
flock -n 9 || { say busy; exit 0; }
"""

# How often a machine is looked at anew because something on it is not as it was. That happens in
# one run when a package brings a file that a later item writes too.
_LOOKS = 3


class _LookAgainError(Exception):
    """A change did not find what its plan was made for; nothing was overwritten."""


# An item and its change.
Pair = tuple[Resource, Change]

COLLECT_DEADLINE_S = 120.0
STAGE_DEADLINE_S = 3600.0


@dataclass(frozen=True)
class Hooks:
    """What the engine asks of the outside.

    Attributes:
        emit: Told everything that happens.
        go_ahead: Asked before the first change; may wait for a person.
        record: Told each change before it is made, with what was there (the journal).
        prove_login: Logs in anew by key and raises if that fails; None where nobody can.
        cancelled: Tells whether the run was called off.
    """

    emit: Callable[[Event], None]
    go_ahead: Callable[[str, Plan], bool] = lambda host, plan: True
    record: Callable[[str, Sequence[tuple[Resource, Change]]], None] = lambda host, changes: None
    prove_login: Callable[[], None] | None = None
    cancelled: Callable[[], bool] = lambda: False


@dataclass
class HostRun:
    """The set-up of one machine.

    Attributes:
        host: Its name.
        items: What should be so.
        connect: Opens a session.
        hooks: The outside.
        check: Only look and plan.
    """

    host: str
    items: Sequence[Resource]
    connect: Callable[[], Session]
    hooks: Hooks
    check: bool = False
    _results: dict[str, ItemResult] = field(default_factory=dict)

    def run(self) -> HostResult:
        """Do it all; what goes wrong is in the result, not raised."""
        began = time.monotonic()
        result = HostResult(self.host)
        session: Session | None = None
        try:
            session = self.connect()
            self.hooks.emit(Connected(self.host, time.monotonic() - began))
            self._work(session, result)
        except (ScriptCancelledError, CancelledError):
            result.status, result.error = "interrupted", f"{self.host}: interrupted"
        except BusyError as error:
            result.status, result.error = "busy", str(error)
        except UnreachableError as error:
            result.status, result.error = "unreachable", str(error)
        except LabctlError as error:
            result.status, result.error = "failed", str(error)
        finally:
            if session is not None:
                result.round_trips = session.round_trips
                session.close()
        result.items = list(self._results.values())
        if result.status == "ok" and result.count("failed"):
            result.status = "failed"
        result.seconds = time.monotonic() - began
        self.hooks.emit(HostDone(self.host, result))
        return result

    def _work(self, session: Session, result: HostResult) -> None:
        world = self._collect(session)
        plan = make_plan(self.items, world)
        for entry in plan.entries:
            self._results[entry.item.id] = _forecast(entry)
        self.hooks.emit(PlanMade(self.host, plan))
        if self.check or not (plan.changes or plan.problems):
            return
        if not self.hooks.go_ahead(self.host, plan):
            result.status = "declined"
            return
        self._change(session, list(plan.entries), world)

    def _collect(self, session: Session) -> World:
        facts = all_facts(self.items)
        reader = self._run(session, collect_script(facts), COLLECT_DEADLINE_S)
        return World(self._answers(facts, reader))

    def _answers(self, facts: Sequence[Fact], reader: RecordReader) -> dict[Fact, object]:
        try:
            return parse_collected(facts, reader.records)
        except (ValueError, IndexError, KeyError) as error:
            raise LabctlError(
                f"its answer made no sense: {clean_line(str(error))}", thing=self.host
            ) from error

    def _change(self, session: Session, entries: Sequence[Planned], world: World) -> None:
        """Make the changes stage by stage; stop at the first item that fails."""
        looks = _LOOKS
        while True:
            for entry in entries:
                self._expect(entry)
            blocked = next((i for i, entry in enumerate(entries) if entry.problem), len(entries))
            size = min(next_stage(entries), blocked)
            if size == 0:
                break
            if self.hooks.cancelled():
                raise ScriptCancelledError
            rest = [entry.item for entry in entries[size:]]
            try:
                seen = self._stage(session, entries[:size], rest, last_look=looks == 0)
            except _LookAgainError:
                looks -= 1
                world = self._collect(session)
                entries = make_plan([entry.item for entry in entries], world).entries
                continue
            if seen is None:
                return
            world.update(seen)
            entries = make_plan(rest, world).entries
        if entries:
            self._fail(entries[0].item, None, str(entries[0].problem))

    def _expect(self, entry: Planned) -> None:
        """Note what an item waits for, unless it has been changed and is right."""
        known = self._results[entry.item.id]
        if known.status == "changed" and not (entry.change or entry.problem):
            return
        result = _forecast(entry)
        if entry.change or entry.problem:
            result = replace(result, status="not_reached")
        self._results[entry.item.id] = result

    def _stage(
        self,
        session: Session,
        stage: Sequence[Planned],
        following: Sequence[Resource],
        *,
        last_look: bool,
    ) -> Mapping[Fact, object] | None:
        """Make one stage's changes; return the facts seen after them, or None if one failed.

        Raises:
            _LookAgainError: Something is not as it was when it was looked at.
        """
        groups = steps(stage)
        if not groups:
            return {}
        prover = next((pair for group in groups for pair in group if pair[0].proves_login), None)
        if prover and not self._prove_before(prover):
            return None
        for group in groups:
            self.hooks.record(self.host, group)
        watched = watchers(self.items)
        facts = all_facts([*(item for group in groups for item, _ in group), *following])
        body = "".join(
            step(f"step {i}", _pending(group, watched) + _snippet(group))
            for i, group in enumerate(groups)
        )
        reader = self._run(session, _LOCK + body + collect_script(facts), STAGE_DEADLINE_S, groups)
        if reader.stopped:
            if reader.records[-1].status == LOOK_AGAIN and not last_look:
                raise _LookAgainError
            self._step_failed(groups, reader.records[-1])
            return None
        seen = self._answers(facts, reader)
        fine = [self._verify(pair, seen) for group in groups for pair in group]
        if not all(fine) or (prover and not self._prove_after(session, prover)):
            return None
        return seen

    def _verify(self, pair: Pair, seen: Mapping[Fact, object]) -> bool:
        """Look at the item again as if it were new: nothing may be left to do."""
        item, change = pair
        again = make_plan([item], World(seen)).entries[0]
        if again.problem:
            return self._fail(item, change, str(again.problem))
        if again.change:
            left = f"{again.change.summary} (it is {again.change.before})"
            return self._fail(item, change, f"went through, but this is still to do: {left}")
        return True

    def _run(
        self, session: Session, body: str, deadline: float, groups: Sequence[Sequence[Pair]] = ()
    ) -> RecordReader:
        """Run one script, telling of its steps as they begin and end."""
        script = assemble(body)

        def group(name: str) -> Sequence[Pair]:
            kind, _, index = name.partition(" ")
            return groups[int(index)] if kind == "step" else ()

        def begin(name: str) -> None:
            if pairs := group(name):
                self.hooks.emit(StepBegun(self.host, [item.id for item, _ in pairs]))

        def line(name: str, text: str) -> None:
            if group(name) and (shown := progress_text(text)):
                self.hooks.emit(StepProgress(self.host, shown))

        def end(entry: Record) -> None:
            for item, change in group(entry.name) if entry.status == 0 else ():
                self._settle(_result(item, change, "changed"))

        reader = RecordReader(script.nonce, on_begin=begin, on_line=line, on_record=end)
        completed = session.run_script(
            script.text,
            deadline=deadline,
            on_output=reader.feed,
            cancelled=self.hooks.cancelled,
        )
        if reader.busy:
            raise BusyError(
                "another labctl is changing it now, or one that was killed left an item in flight",
                thing=self.host,
                action="try again when that has ended",
            )
        if not reader.started:
            said = clean_line(completed.output[-500:])
            raise UnreachableError(
                f"its shell did not run the script (exit status {completed.exit_status})"
                + (f": {said}" if said else ""),
                thing=self.host,
                action="does this user have a normal login shell?",
            )
        if not (reader.finished or reader.stopped):
            raise UnreachableError(
                "the connection broke in mid script",
                thing=self.host,
                action="run labctl again; it goes on where it stopped",
            )
        return reader

    def _prove(self, when: str) -> str:
        """Log in anew by key; return why that did not work, or nothing."""
        try:
            if self.hooks.prove_login is None:
                raise LabctlError("there is no way to try it from here")
            self.hooks.prove_login()
        except LabctlError as error:
            return f"no fresh login by key {when} the change ({error})"
        self.hooks.emit(Note(self.host, f"a fresh login by key works {when} the change of sshd"))
        return ""

    def _prove_before(self, pair: Pair) -> bool:
        why = self._prove("before")
        return not why or self._fail(*pair, f"{why}; logins stay as they are")

    def _prove_after(self, session: Session, pair: Pair) -> bool:
        """Prove the login after the change; put the old configuration back where that fails."""
        why = self._prove("after")
        if not why:
            return True
        item, change = pair
        try:
            reader = self._run(session, step("revert", item.revert(change)), COLLECT_DEADLINE_S)
        except UnreachableError as error:
            lost = str(error)
        else:
            if not reader.stopped:
                return self._fail(item, change, f"{why}; logins are as they were before")
            lost = clean(reader.records[-1].output).strip() or "no message"
        return self._fail(
            item,
            change,
            f"{why}, and the old configuration could not be put back: {lost}\n"
            "Keep open sessions open until you have put it right.",
        )

    def _step_failed(self, groups: Sequence[Sequence[Pair]], failed: Record) -> None:
        lines = clean(failed.output).strip().splitlines()
        said = "\n".join(line for line in lines if not progress_text(line))[-1500:]
        for item, change in groups[int(failed.name.split()[1])]:
            self._fail(item, change, said or f"exit status {failed.status}, no message")

    def _fail(self, item: Resource, change: Change | None, error: str) -> bool:
        self._settle(_result(item, change, "failed", error))
        return False

    def _settle(self, result: ItemResult) -> None:
        self._results[result.id] = result
        self.hooks.emit(ItemDone(self.host, result))


def _result(
    item: Resource, change: Change | None, status: ItemStatus, error: str = ""
) -> ItemResult:
    if change is None:
        return ItemResult(item.id, status, error=error)
    return ItemResult(
        item.id, status, change.summary, change.before, change.after, change.diff, error
    )


def _forecast(entry: Planned) -> ItemResult:
    """Return the result of an item before anything was done about it."""
    if entry.problem:
        return _result(entry.item, None, "failed", str(entry.problem))
    return _result(entry.item, entry.change, "to_change" if entry.change else "unchanged")


def _snippet(group: Sequence[Pair]) -> str:
    item, change = group[0]
    return item.apply_batch(group) if len(group) > 1 else item.apply(change)


def _pending(group: Sequence[Pair], watched: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return shell that notes, before the change, which units will want to hear of it."""
    marks = [
        mark_pending(unit, action) for item, _ in group for unit, action in watched.get(item.id, ())
    ]
    return "".join(mark + "\n" for mark in marks)

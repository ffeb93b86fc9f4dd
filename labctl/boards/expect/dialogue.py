"""Running a script: each step in turn, with what came, what was kept, and why it ended.

What a model knows of panics is watched all the time, as is the script's own ``fail_on``: nobody
waits a minute for a prompt that a crashed board will not show.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.boards.channel import Channel
from labctl.boards.expect.alarm import Alarm
from labctl.boards.expect.nearest import nearest_miss
from labctl.boards.expect.script import Script, Step
from labctl.boards.expect.spawn import TIMEOUT, LineSpawn
from labctl.boards.expect.words import fill
from labctl.boards.session import Result
from labctl.errors import BusyError, LabctlError, UnreachableError, UsageError
from labctl.report.sanitize import clean_line

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

_LAST_LINES = 10
_SHOWN = 160
_HIDDEN = b"*****"

# Runs a command: what, in which shell, for how many seconds.
Run = Callable[[str, str | None, float], Result]


@dataclass(frozen=True)
class StepReport:
    """A step that was done.

    Attributes:
        line: Its line in the script.
        action: What it does.
        text: What was waited for, typed, run or switched; a password's name only.
        matched: What came, cleaned; empty where nothing was waited for.
        alternative: Which of several came, from 1; 0 where nothing was waited for.
        seconds: How long it took.
    """

    line: int
    action: str
    text: str
    matched: str
    alternative: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why a script ended before its end.

    Attributes:
        line: Line of the step in the script.
        action: What it was to do.
        cause: What went wrong.
        expected: What was waited for.
        waited_s: For how long, seconds.
        last_lines: The last lines that came.
        nearest: What comes nearest to what was waited for, or None.
    """

    line: int
    action: str
    cause: str
    expected: tuple[str, ...] = ()
    waited_s: float = 0.0
    last_lines: tuple[str, ...] = ()
    nearest: str | None = None

    def describe(self) -> str:
        """Return it as lines for a person."""
        lines = [self.cause]
        if self.nearest:
            lines.append(f"  {self.nearest}")
        if self.last_lines:
            lines.append("  the last lines that came:")
            lines += [f"  | {one}" for one in self.last_lines]
        elif self.expected:
            lines.append("  nothing came")
        return "\n".join(lines)


@dataclass
class Outcome:
    """What came of a script.

    Attributes:
        steps: The steps that were done.
        captures: The variables, cleaned.
        seconds: How long it took.
        failed: Why it ended early, or None.
    """

    steps: list[StepReport] = field(default_factory=list)
    captures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    failed: Failure | None = None


class _Failed(Exception):  # noqa: N818 - ends the script; it is not an error for anybody outside
    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class Dialogue:
    """A script on a line.

    Args:
        script: What to do.
        channel: The line, leased to us.
        name: The board, for messages.
        panics: What the panics of its model look like.
        run: Runs a command in a shell of the board.
        switch: Switches its power: ``on``, ``off``, ``cycle``.
        secrets: The passwords, by name.
        chunk: Bytes that its receiver surely takes at once.
        in_line: The board has begun a line already.
        on_step: Gets each step when it is done.
    """

    def __init__(
        self,
        script: Script,
        channel: Channel,
        name: str,
        *,
        panics: Sequence[re.Pattern[bytes]] = (),
        run: Run,
        switch: Callable[[str], None],
        secrets: Mapping[str, str] | None = None,
        chunk: int = 16,
        in_line: bool = False,
        on_step: Callable[[StepReport], None] = lambda report: None,
    ) -> None:
        self._script = script
        self._run = run
        self._switch = switch
        self._secrets = dict(secrets or {})
        self._on_step = on_step
        self._alarm = Alarm(channel, name, panics, script.fail_on)
        self._spawn = LineSpawn(channel, chunk=chunk, in_line=in_line, watch=self._alarm.feed)
        self._timeout_s = script.timeout_s
        self._values: dict[str, bytes] = {}

    def run(self) -> Outcome:
        """Run the script to its end, or to the step that fails.

        Raises:
            UnreachableError: The line went away.
            BusyError: Somebody took the line from us.
            UsageError: A step asks for something that the board has not.
        """
        outcome = Outcome()
        started = time.monotonic()
        try:
            self._do(self._script.steps, outcome)
        except _Failed as stop:
            outcome.failed = stop.failure
        outcome.seconds = time.monotonic() - started
        outcome.captures = {name: self._shown(value) for name, value in self._values.items()}
        return outcome

    def _do(self, steps: Sequence[Step], outcome: Outcome) -> None:
        for step in steps:
            started = time.monotonic()
            try:
                matched, alternative = self._step(step)
            except (UnreachableError, BusyError, UsageError):
                raise
            except LabctlError as error:
                raise _Failed(self._failure(step, self._hide(error.cause), started)) from error
            report = StepReport(
                step.line, step.action, _words(step), self._shown(matched), alternative,
                time.monotonic() - started,
            )  # fmt: skip
            outcome.steps.append(report)
            self._on_step(report)
            if alternative:
                self._do(step.alternatives[alternative - 1].then, outcome)

    def _step(self, step: Step) -> tuple[bytes, int]:
        """Do one step; return what came, and the number of the alternative or 0."""
        if step.action == "expect":
            return self._expect(step)
        if step.action == "run":
            return self._command(step), 0
        if step.action == "fail":
            raise LabctlError(self._fill(step).decode(errors="replace"))
        if step.action == "timeout":
            self._timeout_s = step.timeout_s or self._timeout_s
        elif step.action == "send":
            self._spawn.send(self._fill(step))
        elif step.action == "sendline":
            self._spawn.sendline(self._fill(step))
        elif step.action == "secret":
            self._spawn.sendline(self._secrets[step.text])
        elif step.action == "control":
            self._spawn.sendcontrol(step.text)
        elif step.action == "break":
            self._spawn.sendbreak(step.seconds)
        elif step.action == "power":
            self._switch(step.text)
        return b"", 0

    def _fill(self, step: Step) -> bytes:
        try:
            return fill(step.text, self._values)
        except KeyError as error:
            raise LabctlError(f"nothing was captured as {error}") from None

    def _expect(self, step: Step) -> tuple[bytes, int]:
        patterns = [one.pattern for one in step.alternatives]
        limit_s = step.timeout_s or self._timeout_s
        started = time.monotonic()
        try:
            number = self._spawn.wait_for(patterns, limit_s)
        except TIMEOUT:
            words = [one.text for one in step.alternatives]
            cause = f"{' or '.join(map(repr, words))} did not come within {limit_s:g} s"
            raise _Failed(self._failure(step, cause, started, words)) from None
        match = self._spawn.match
        assert isinstance(match, re.Match)
        self._keep(match, step.alternatives[number].capture)
        return match.group(), number + 1

    def _command(self, step: Step) -> bytes:
        # A session reads by itself, and takes the prompt with the answer.
        self._spawn.forget()
        result = self._run(step.text, step.shell, step.timeout_s or self._timeout_s)
        self._spawn.history += result.output
        self._alarm.look(result.output)
        if result.exit_code not in (None, step.exit_code):
            raise LabctlError(f"the command ended with {result.exit_code}, not {step.exit_code}")
        if step.pattern is None:
            return result.output
        # The beginning of the output is that of a line.
        match = step.pattern.search(result.output)
        if match is None:
            raise LabctlError(f"its output has no {step.match!r}")
        self._keep(match, step.capture)
        return match.group()

    def _keep(self, match: re.Match[bytes], names: Sequence[str]) -> None:
        for name in names:
            # What a line ends with is not part of a value: \r\n on a terminal.
            if name in match.re.groupindex:
                self._values[name] = (match[name] or b"").strip()

    # -- words -------------------------------------------------------------------------------

    def _failure(
        self,
        step: Step,
        cause: str,
        started: float,
        expected: Sequence[str] = (),
    ) -> Failure:
        history = bytes(self._spawn.history)
        seen = self._spawn.before if expected else b""
        at = max(0, len(history) - len(seen)) if isinstance(seen, bytes) else 0
        lines = [line for one in history.splitlines() if (line := self._shown(one))]
        nearest = nearest_miss(expected, history, at) if expected else None
        return Failure(
            line=step.line,
            action=step.action,
            cause=cause,
            expected=tuple(expected),
            waited_s=time.monotonic() - started,
            last_lines=tuple(lines[-_LAST_LINES:]),
            nearest=self._hide(nearest) if nearest else None,
        )

    def _shown(self, data: bytes) -> str:
        """Return ``data`` as one line that is safe to show: no escapes, no password."""
        for secret in self._secrets.values():
            if secret:
                data = data.replace(secret.encode(), _HIDDEN)
        return clean_line(data, limit=_SHOWN)

    def _hide(self, text: str) -> str:
        for secret in self._secrets.values():
            if secret:
                text = text.replace(secret, _HIDDEN.decode())
        return text


def _words(step: Step) -> str:
    if step.action == "expect":
        return " | ".join(one.text for one in step.alternatives)
    if step.action == "break":
        return f"{step.seconds:g} s"
    if step.action == "timeout":
        return f"{step.timeout_s:g} s"
    return clean_line(step.text)


def run_script(
    bench: Bench,
    script: Script,
    *,
    secrets: Mapping[str, str] | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> Outcome:
    """Run ``script`` on a board whose line is leased (`Bench.acquire`).

    Args:
        bench: The board.
        script: What to do.
        secrets: The passwords that it types, by name.
        on_step: Gets each step when it is done.

    Raises:
        UsageError: A password is missing, or a step asks for what the board has not.
        LabctlError: The line went away, or was taken from us. That an expectation fails is no
            error but an outcome.
    """
    missing = [name for name in script.secrets() if name not in (secrets or {})]
    if missing:
        raise UsageError(f"no password is given for {', '.join(missing)}", thing=script.name)
    bench.line.note("expect", script=script.name)
    record, at = bench.line.record, bench.line.offset
    last = b"".join(one.data for one in record.pieces(max(record.begin, at - 1), at))
    return Dialogue(
        script,
        bench.line,
        bench.name,
        panics=bench.signs.panic,
        run=lambda command, where, seconds: bench.run(command, where=where, timeout=seconds),
        switch=bench.switch,
        secrets=secrets,
        chunk=bench.profile.window,
        in_line=last not in (b"", b"\n"),
        on_step=on_step,
    ).run()

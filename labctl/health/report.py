"""What became of one machine: its facts and verdict, or why it was not reached."""

from __future__ import annotations

from dataclasses import dataclass, field

from labctl.facts.machine.reading import Machine, Reading
from labctl.health.finding import Finding, Severity, Verdict


@dataclass(frozen=True)
class Last:
    """What is remembered of the last time that a machine answered.

    Attributes:
        at: When, seconds since the epoch.
        findings: What was found then.
    """

    at: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class HostReport:
    """One machine.

    Attributes:
        host: Its name.
        at: When its facts were read (or the attempt made), seconds since the epoch.
        error: Why it was not reached; empty if it was.
        verdict: What the rules say; empty if it was not reached.
        machine: Its facts; None if it was not reached.
        reading: The raw output that they are from.
        last: Where it was not reached: the last time that it was.
        seconds: How long it took.
    """

    host: str
    at: float
    error: str = ""
    verdict: Verdict = field(default_factory=Verdict)
    machine: Machine | None = None
    reading: Reading | None = None
    last: Last | None = None
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """``fine``, ``info``, ``warning``, ``critical``, ``incomplete`` or ``unreachable``.

        Incomplete is a machine of which nothing bad is known and not everything was heard: its
        answer was cut off.
        """
        if self.error:
            return "unreachable"
        if self.verdict.worst > Severity.INFO:
            return str(self.verdict.worst)
        if self.reading is not None and self.reading.missing is not None:
            return "incomplete"
        return "info" if self.verdict.findings else "fine"

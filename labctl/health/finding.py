"""A finding: what a rule says about one thing on one machine, with evidence and a way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad it is; the order is the order of importance."""

    INFO = 0
    """Worth knowing; changes no exit code."""
    WARNING = 1
    """Will be trouble, or is trouble for somebody."""
    CRITICAL = 2
    """Does not work, or loses data."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        rule: Id of the rule.
        severity: How bad.
        subject: What it is about: a file system, an interface, a card; empty for the machine.
        says: What is the case, with the evidence in it.
        action: What to do, in plain words; may be empty for information.
    """

    rule: str
    severity: Severity
    subject: str
    says: str
    action: str


@dataclass(frozen=True)
class NotJudged:
    """A rule that could not be judged, because a fact is not known for a reason that matters.

    Attributes:
        rule: Id of the rule.
        reason: Word of `labctl.facts.value.Reason`.
        words: The same for people.
    """

    rule: str
    reason: str
    words: str


@dataclass(frozen=True)
class Verdict:
    """What the rules say of one machine.

    Attributes:
        findings: Worst first.
        not_judged: What could not be said.
        judged: How many rules were.
    """

    findings: tuple[Finding, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()
    judged: int = 0

    @property
    def worst(self) -> Severity:
        """The worst severity; `Severity.INFO` where nothing was found."""
        return worst(finding.severity for finding in self.findings)


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the worst of ``severities``; `Severity.INFO` if there are none."""
    return max(severities, default=Severity.INFO)

"""Exit codes and the errors that carry them.

An error names the thing, the cause and the next action, so that the command line can print one
line and stop. Nothing below the command line prints or exits by itself.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every labctl command (the table in docs/exit-codes.md)."""

    OK = 0
    NOT_FINE = 1
    USAGE = 2
    UNREACHABLE = 3
    BUSY = 4
    INTERRUPTED = 130


class LabctlError(Exception):
    """Something went wrong that a person can act on.

    Args:
        cause: What happened, in one line.
        thing: What it happened to (a host, a file, a board); empty where there is none.
        action: What to do next; empty where nothing can be said.
    """

    exit_code: ExitCode = ExitCode.NOT_FINE

    def __init__(self, cause: str, *, thing: str = "", action: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.thing = thing
        self.action = action

    def __str__(self) -> str:
        """Return ``thing: cause; action`` without the parts that are empty."""
        head = f"{self.thing}: {self.cause}" if self.thing else self.cause
        return f"{head}; {self.action}" if self.action else head


class UsageError(LabctlError):
    """The command line or a data file asks for something that does not exist."""

    exit_code = ExitCode.USAGE


class UnreachableError(LabctlError):
    """A host, board or service could not be reached or did not let us in."""

    exit_code = ExitCode.UNREACHABLE


class BusyError(LabctlError):
    """Somebody else holds what is needed; the message says who."""

    exit_code = ExitCode.BUSY


class DependencyError(LabctlError):
    """A program or package that this job needs is not installed; the action installs it."""

    exit_code = ExitCode.USAGE

"""What a session needs to know of a kind of shell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Marks:
    """The marks around one answer.

    Attributes:
        tag: Random word and sequence number; no other answer has it.
    """

    tag: str

    @property
    def begin(self) -> bytes:
        """What stands before the answer."""
        return b"@B" + self.tag.encode()

    @property
    def end(self) -> bytes:
        """What stands behind it, before the exit code."""
        return b"@E" + self.tag.encode()


class Dialect(ABC):
    """A kind of shell.

    Attributes:
        name: Its name.
        line_limit: The longest line that it takes, bytes.
        saves_output: It keeps the output of a command, which can be fetched again, and tells its
            checksum.
        repeats_on_return: An empty line runs the last command again.
    """

    name: str
    line_limit: int
    saves_output: bool
    repeats_on_return: bool

    @abstractmethod
    def probe(self, tag: str) -> bytes:
        """Return a short line that only this kind of shell answers as `proof` says."""

    @abstractmethod
    def proof(self, tag: str) -> bytes:
        """Return the pattern of the answer to `probe`, a whole line; no echo ever matches it."""

    def ready(self, tag: str) -> bytes:
        """Return the line that makes the shell ready for `frame`; empty where it always is.

        It answers ``@P``, ``tag``, ``=`` and the folder that output is saved in (nothing where
        there is none); or ``@P``, ``tag`` and ``-`` where it needs the lines of `teach` first.
        """
        return b""

    def teach(self) -> list[bytes]:
        """Return the lines that tell the shell what `ready` needs; they print nothing.

        After the first of them no line wraps.
        """
        return []

    def tidy(self, command_line: bytes, folder: str) -> bytes:
        """Return ``command_line`` so that it empties ``folder``, of `prepare`, first."""
        return command_line

    def revive(self) -> list[bytes]:
        """Return what to type, unseen, at a terminal that a program left in a bad mode.

        The shell is waited for after each.
        """
        return []

    @abstractmethod
    def frame(self, command: str, marks: Marks, *, live: bool) -> list[bytes]:
        """Return the lines that run ``command`` between marks; all but the last say nothing.

        Args:
            command: What to run.
            marks: What to put around its output.
            live: Let the output come as it is printed; it is neither saved nor checked.

        Raises:
            UsageError: The shell cannot take this command.
        """

    def fetch(self, marks: Marks, offset: int, count: int | None) -> bytes:
        """Return the line that prints a part of the saved output between marks.

        Raises:
            NotImplementedError: This shell saves none.
        """
        raise NotImplementedError

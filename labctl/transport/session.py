"""A session runs shell scripts on one machine: one script, one round trip.

The script goes to the standard input of one ``sh -s``, so that neither quoting nor the length of
an argument list matters and nothing of it is seen in the machine's process list. As root directly,
or through one ``sudo -S`` that gets the password on the same standard input after it has asked.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from labctl.errors import LabctlError, UnreachableError
from labctl.report.sanitize import clean_line

# What a shell prints before the script runs (.bashrc, sudo's lecture) is noise, but bounded noise.
_HANDSHAKE_LIMIT = 256 * 1024

# pam_faildelay makes sudo wait some seconds after a wrong password; a name service may be slow.
_HANDSHAKE_S = 60.0


# A root shell where sudo gives one unasked, otherwise one of the user's own.
_ROOT_IF_FREE = (
    "exec sh -c 'sudo -n true </dev/null >/dev/null 2>&1 && exec sudo -n sh -s; exec sh -s'"
)

# How long Ctrl-C may go unnoticed while a machine is silent.
_CANCEL_CHECK_S = 0.3


class ScriptCancelledError(Exception):
    """The run was called off while a script ran."""


class AuthenticationError(UnreachableError):
    """The machine is there but did not let us in, or sudo refused."""


@dataclass(frozen=True)
class Sudo:
    """How to become root.

    Attributes:
        password: Returns the password when sudo asks for it (it may prompt a person), or None
            where there is nobody to ask.
    """

    password: Callable[[], str | None]


@dataclass(frozen=True)
class Completed:
    """A script that ended: its exit status, and its output with standard error merged in."""

    exit_status: int
    output: bytes


class Stream(ABC):
    """One running remote command: bytes in, bytes out, an exit status."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of ``data`` to the command's standard input."""

    @abstractmethod
    def send_eof(self) -> None:
        """Close the command's standard input."""

    @abstractmethod
    def receive(self, timeout: float) -> bytes:
        """Return some output, or nothing at its end.

        Raises:
            TimeoutError: No output within ``timeout`` seconds.
        """

    @abstractmethod
    def exit_status(self, timeout: float) -> int:
        """Return the exit status, waiting at most ``timeout`` seconds; -1 if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Give the command up; it loses its input and output."""


class Session(ABC):
    """An open way to one machine.

    Attributes:
        name: The machine, for messages.
        round_trips: Scripts sent so far.
    """

    def __init__(self, name: str, sudo: Sudo | None) -> None:
        self.name = name
        self.round_trips = 0
        self._sudo = sudo

    @abstractmethod
    def start(self, command: str) -> Stream:
        """Start ``command`` through the login shell.

        Raises:
            UnreachableError: The machine does not answer.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the session; calling it twice is fine."""

    def run_script(
        self,
        script: str,
        *,
        deadline: float,
        on_output: Callable[[bytes], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        need_root: bool = True,
    ) -> Completed:
        """Run ``script`` as root with ``sh -s`` and return when it has ended.

        Args:
            script: POSIX shell script. It must not read its own standard input.
            deadline: Seconds it may take in all.
            on_output: Called with each piece of output as it arrives.
            cancelled: Asked now and then; the script loses its connection when it says so.
            need_root: Without it the script runs as the user of the session where becoming root
                takes a password.

        Raises:
            ScriptCancelledError: ``cancelled`` said so.
            AuthenticationError: sudo asked for a password that we have not, or refused it.
            UnreachableError: The connection broke, or the deadline passed.
        """
        self.round_trips += 1
        pieces: list[bytes] = []
        stream, early = self.start_shell(cancelled=cancelled, need_root=need_root)
        if early:
            pieces.append(early)
            if on_output:
                on_output(early)
        end = time.monotonic() + deadline  # a person who types the sudo password has all the time
        try:
            stream.send(script.encode())
            stream.send_eof()
            while piece := _receive(stream, end, cancelled):
                pieces.append(piece)
                if on_output:
                    on_output(piece)
            status = stream.exit_status(max(end - time.monotonic(), 0.0))
            return Completed(status, b"".join(pieces))
        except TimeoutError:
            raise UnreachableError(
                f"no end of the script within {deadline:.0f} s",
                thing=self.name,
                action="look at the machine, then run labctl again",
            ) from None
        finally:
            stream.close()

    def start_shell(
        self, *, cancelled: Callable[[], bool] = lambda: False, need_root: bool = True
    ) -> tuple[Stream, bytes]:
        """Start ``sh -s`` as root; return it, and output that came ahead of any script's.

        Args:
            cancelled: Asked now and then while sudo is at work.
            need_root: As in `run_script`.

        Raises:
            ScriptCancelledError: ``cancelled`` said so.
            AuthenticationError: sudo asked for a password that we have not, or refused it.
            UnreachableError: The connection broke.
        """
        if self._sudo is None:
            return self.start("exec sh -s"), b""
        if not need_root:
            return self.start(_ROOT_IF_FREE), b""
        return self._start_sudo(self._sudo, cancelled)

    def _start_sudo(self, sudo: Sudo, cancelled: Callable[[], bool]) -> tuple[Stream, bytes]:
        """Start a root shell; return it and the output that came behind its first word."""
        marker = secrets.token_hex(16)
        # Two different words: sudo prints the first when it wants the password, the shell that it
        # starts prints the second. The script must wait for the second: sent earlier it could be
        # taken for a password, and a password sent unasked would be taken for a command.
        ask, ready = f"@{marker}-ask@".encode(), f"@{marker}-ready@\n".encode()
        stream = self.start(
            f"LC_ALL=C exec sudo -S -p '{ask.decode()}' -- "
            f"sh -c 'echo {ready.decode().strip()}; exec sh -s'"
        )
        seen = b""
        asked = False
        end = time.monotonic() + _HANDSHAKE_S
        try:
            while ready not in seen:
                piece = _receive(stream, end, cancelled)
                if not piece:
                    raise self._sudo_refusal(seen.replace(ask, b""), asked=asked)
                seen = (seen + piece)[-_HANDSHAKE_LIMIT:]
                if ask in seen:
                    if asked:
                        raise AuthenticationError(
                            "sudo refused the password",
                            thing=self.name,
                            action="rerun with --ask-sudo-pass",
                        )
                    password = sudo.password()
                    if password is None:
                        raise AuthenticationError(
                            "sudo asked for a password",
                            thing=self.name,
                            action="rerun with --ask-sudo-pass",
                        )
                    asked, seen = True, b""
                    end = time.monotonic() + _HANDSHAKE_S
                    stream.send(password.encode() + b"\n")
            return stream, seen.partition(ready)[2]
        except TimeoutError:
            stream.close()
            raise UnreachableError("sudo did not answer in time", thing=self.name) from None
        except BaseException:
            stream.close()
            raise

    def _sudo_refusal(self, seen: bytes, *, asked: bool) -> LabctlError:
        said = clean_line(seen[-2000:])
        if b"not found" in seen:
            return AuthenticationError(
                "there is no sudo on it",
                thing=self.name,
                action="log in as root for the first set-up (user: root in the inventory)",
            )
        if b"not in the sudoers" in seen or b"not allowed to" in seen:
            return AuthenticationError(
                f"sudo refused: {said}",
                thing=self.name,
                action="log in as a user who may use sudo, or as root",
            )
        hint = "rerun with --ask-sudo-pass" if asked else "try 'sudo -v' on the machine"
        return AuthenticationError(
            f"sudo failed: {said or 'no reason given'}", thing=self.name, action=hint
        )


def _receive(stream: Stream, end: float, cancelled: Callable[[], bool]) -> bytes:
    """Return some output, or nothing at its end.

    Raises:
        ScriptCancelledError: ``cancelled`` said so.
        TimeoutError: It is later than ``end`` (of `time.monotonic`).
    """
    while True:
        if cancelled():
            raise ScriptCancelledError
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with contextlib.suppress(TimeoutError):
            return stream.receive(min(left, _CANCEL_CHECK_S))

"""A line that is a command: its standard output is what the board says, its input what we send.

``exec:picocom -q /dev/ttyUSB0``, ``exec:ssh lab3 conserver ...``: whatever reaches a console.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time

from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import LineGoneError
from labctl.transport.lines.tcp import SocketLine

# $1 is the command, $2 the descriptor of a pipe whose other end only we hold: when we close it,
# or die in whatever way, the guard ends all of the command's process group. (prctl(2)'s
# PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the command ends, and
# reaches no grandchildren.) The guard is in the group, so that its number is not given away.
_GUARD = """
( trap '' TERM
  read -r _ < "/dev/fd/$2"
  kill -s TERM -- "-$$"; sleep 1; kill -s KILL -- "-$$" ) > /dev/null 2>&1 < /dev/null &
exec /bin/sh -c "$1"
"""
_END_S = 2.0
# The owner of the line has others to serve meanwhile.
_TURN_S = 0.01
_STDERR_BYTES = 4096


class CommandLine(SocketLine):
    """A command started by ``/bin/sh -c``, in a session of its own.

    Its input and output are one end of a socket pair (one descriptor to poll). It ends with the
    line: SIGTERM to all its processes, SIGKILL a second later.
    """

    def __init__(self, url: str, command: str) -> None:
        ours, theirs = socket.socketpair()
        watched, self._leash = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", command, str(watched)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                pass_fds=(watched,),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(self._leash)
            raise
        finally:
            theirs.close()
            os.close(watched)
        super().__init__(url, ours)
        self._said = b""
        self._ended_at = 0.0
        # A full pipe would block a command that complains a lot.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def read(self, limit: int) -> bytes:
        """Return what has arrived; nothing for the moment in which the command ends."""
        try:
            return super().read(limit)
        except LineGoneError:
            if self._is_ending():
                return b""
            raise self._gone("") from None

    def write(self, data: bytes) -> int:
        """Hand some of ``data`` to the command."""
        try:
            return super().write(data)
        except LineGoneError:
            if self._is_ending():
                return 0
            raise self._gone("") from None

    def _is_ending(self) -> bool:
        """Tell whether the command's output has ended and it has not, for a while.

        Its output ends a moment before it does, and its last complaint may still be on its way.
        """
        now = time.monotonic()
        self._ended_at = self._ended_at or now
        if now - self._ended_at > _END_S:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_TURN_S)
            self._listener.join(_TURN_S)
        return self._process.returncode is None or self._listener.is_alive()

    def close(self) -> None:
        """End the command and wait until it has."""
        super().close()
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while data := os.read(pipe.fileno(), 65536):
                self._said = (self._said + data)[-_STDERR_BYTES:]

    def _gone(self, cause: str) -> LineGoneError:
        status = self._process.poll()
        if status is not None:
            cause = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
            cause = f"the command has ended, {cause}"
        else:
            cause = "the command has closed its output"
        lines = self._said.splitlines()
        last = next((line for line in reversed(lines) if line.strip()), b"")
        return LineGoneError(
            f"{cause}: {clean_line(last)}" if last else cause,
            thing=clean_line(self.url),
            action="try the command in a shell",
        )

"""The shell that a board's Linux is told by what to do: on its console, or over SSH."""

from __future__ import annotations

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from labctl.boards.bench import Bench
from labctl.boards.flash.method import FlashError
from labctl.boards.owner.hosts import connect_host
from labctl.boards.state import State
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.transport.session import Session, Stream

_CTRL_C = b"\x03"
_PROBE_S = 1.0
# In all less than `labctl.boards.flash.method.ABORT_S`.
_STOP_S = 2.5
# What runs on a console that does not answer is stopped, and not the board: it may be in the middle
# of a disk that it could not boot from.
_ATTENTION_S = 20.0
_PROCESS = re.compile(rb"^@pid (\d+) *\r?\n", re.MULTILINE)
_COMPLAINT = re.compile(r"[\w./-]+: ")
_SEND = 1 << 18
# Bytes of a line that is typed to a program, and lines that it need not have read yet.
TYPED = 900
_AHEAD = 2


class Control(ABC):
    """A shell of a board, as root.

    Attributes:
        name: The board, for messages.
        what: What kind of shell it is, for people.
    """

    name: str
    what: str

    @abstractmethod
    def run(self, script: str, *, timeout: float, again: bool = False) -> str:
        """Run ``script``; return what it printed.

        Args:
            script: What to run.
            timeout: Seconds that it may take.
            again: It does no harm to run it twice.

        Raises:
            FlashError: It failed; the message has its last words.
            LabctlError: The board does not answer.
        """

    @abstractmethod
    def stop(self) -> bool:
        """Stop what runs, within `_STOP_S` seconds; return whether it answers; raises nothing."""

    def close(self) -> None:  # noqa: B027 - there may be nothing to close
        """Leave the board alone."""

    def _checked(self, script: str, status: int | None, output: bytes) -> str:
        text = output.decode("utf-8", "replace")
        if status:
            words = [one for one in text.splitlines() if one.strip()] or ["no reason said"]
            # What a program says is wrong ("dd: ..."), before what it counted.
            said = next((one for one in words if _COMPLAINT.match(one)), words[-1])
            raise FlashError(f"the board could not do it: {clean_line(said)}", thing=self.name,
                             action="look at its kernel's messages (dmesg)")  # fmt: skip
        return text


class ConsoleControl(Control):
    """The shell on the board's line.

    Args:
        bench: The board, its line leased.
    """

    what = "console"

    def __init__(self, bench: Bench) -> None:
        self.name = bench.name
        self._bench = bench

    def connect(self) -> None:
        """Bring the board to a shell of its Linux.

        Raises:
            LabctlError: It does not come.
        """
        bench = self._bench
        assert bench.linux is not None
        deadline = time.monotonic() + _ATTENTION_S
        while bench.state().state in (State.BUSY, State.SILENT) and time.monotonic() < deadline:
            bench.line.write(_CTRL_C)
            if bench.linux.probe(_PROBE_S):
                break
        bench.boot("linux")

    def run(self, script: str, *, timeout: float, again: bool = False) -> str:
        """Run ``script``; see `Control.run`."""
        assert self._bench.linux is not None
        result = self._bench.linux.run(script, timeout=timeout, idempotent=again)
        return self._checked(script, result.exit_code, result.output)

    def type_in(self, script: str, lines: Sequence[bytes], *, timeout: float) -> str:
        """Run ``script``, and type ``lines`` to it; return what it printed.

        Args:
            script: It prints a dot, alone in its line, when it is ready and after each line that
                it has read. No more goes out than a terminal holds (4096 bytes: N_TTY_BUF_SIZE).
            lines: Each of at most `TYPED` bytes, without its newline.
            timeout: Seconds that it may take.

        Raises:
            FlashError: It failed.
            LabctlError: The board does not answer, or a line was lost on the way.
        """
        assert self._bench.linux is not None
        dots = sent = 0

        def answered(data: bytes) -> None:
            nonlocal dots, sent
            dots += data.count(b".")
            while dots and sent < min(len(lines), dots + _AHEAD):
                self._bench.line.write(lines[sent] + b"\n")
                sent += 1

        result = self._bench.linux.run(script, timeout=timeout, live=answered)
        return self._checked(script, result.exit_code, result.output)

    def stop(self) -> bool:
        """Press Ctrl-C until the shell answers; see `Control.stop`."""
        deadline = time.monotonic() + _STOP_S
        with contextlib.suppress(LabctlError):
            while self._bench.linux is not None and (left := deadline - time.monotonic()) > 0:
                self._bench.line.write(_CTRL_C)
                if self._bench.linux.probe(min(_PROBE_S, left)):
                    return True
        return False


class SshControl(Control):
    """A shell over SSH, for a board that is a host of the inventory too.

    Args:
        name: The board, for messages.
        session: An open session.
    """

    what = "SSH"

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self._session = session
        self._process: int | None = None
        self._seen = b""

    @classmethod
    def of(cls, bench: Bench, host: str) -> SshControl:
        """Return the shell of ``host``, which is the same machine as the board of ``bench``.

        Raises:
            UsageError: The inventory has no such host.
            UnreachableError: It does not answer, or does not let us in.
        """
        return cls(bench.name, connect_host(bench.line.config, host))

    def run(self, script: str, *, timeout: float, again: bool = False) -> str:
        """Run ``script``; see `Control.run`."""
        self._seen, self._process = b"", None
        done = self._session.run_script(
            f"echo @pid $$\n{script}\n", deadline=timeout, on_output=self._look
        )
        self._process = None
        return self._checked(script, done.exit_status, _PROCESS.sub(b"", done.output, count=1))

    def _look(self, data: bytes) -> None:
        """Take the number of the process out of what it says first."""
        if self._process is None and len(self._seen) < _SEND:
            self._seen += data
            if match := _PROCESS.search(self._seen):
                self._process = int(match[1])

    def feed(self, script: str, data: bytes, *, timeout: float) -> None:
        """Run ``script`` with ``data`` on its standard input.

        The shell has read ``script``, which must be one line, when it says so, and then reads no
        more itself: what is sent from then on is for the program that it becomes or starts.

        Raises:
            FlashError: It failed; the message has its last words.
            LabctlError: The connection broke, or it did not end in time.
        """
        self._seen, self._process = b"", None
        stream, early = self._session.start_shell()
        deadline = time.monotonic() + timeout
        try:
            stream.send(f"echo @pid $$; {script}\n".encode())
            self._look(early)
            while self._process is None:
                if not (piece := self._receive(stream, deadline)):
                    raise FlashError("its shell ended at once", thing=self.name)
                self._look(piece)
            for at in range(0, len(data), _SEND):
                stream.send(data[at : at + _SEND])
            stream.send_eof()
            said = b""
            while piece := self._receive(stream, deadline):
                said += piece
            status = stream.exit_status(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise FlashError(
                "it did not take what was sent in time", thing=self.name,
                action="run it again; it goes on where it stopped",
            ) from None  # fmt: skip
        finally:
            stream.close()
        self._process = None
        self._checked(script, status, said)

    @staticmethod
    def _receive(stream: Stream, deadline: float) -> bytes:
        return stream.receive(max(0.0, deadline - time.monotonic()))

    def stop(self) -> bool:
        """End what runs, with all that it started; see `Control.stop`."""
        process, self._process = self._process, None
        if process is None:
            return True
        # The group is the fifth field (proc_pid_stat(5)); the names of shells hold no blanks.
        script = (
            f"read -r a b c d group e 2>/dev/null </proc/{process}/stat &&"
            ' kill -s TERM -- "-$group"'
        )
        with contextlib.suppress(LabctlError, OSError):
            self._session.run_script(script, deadline=_STOP_S)
            return True
        return False

    def close(self) -> None:
        """Close the session."""
        self._session.close()

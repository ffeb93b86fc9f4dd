"""Run a program that flashes: in a group of its own, listened to, and never left behind.

Programs that flash say success that was not (a text of an error and exit code 0), bury the first
error under ten that follow from it, hang for ever when a cable is loose, and leave children behind.
So: the first line that looks like an error is kept, an exit code of 0 is not believed beside one,
there is a deadline, and whatever happens the whole process group ends with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.boards.flash.method import FlashError
from labctl.errors import DependencyError
from labctl.report.sanitize import clean_line

_KEEP_BYTES = 256 << 10
_LOOK_S = 0.2
# From the request to end until it is ended by force: less than `method.ABORT_S`.
_GRACE_S = 1.0
_LINE_END = re.compile(rb"[\r\n]+")
# A line that never ends is not kept whole.
_LONGEST_LINE = 64 << 10

Listen = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        program: Its name.
        code: Exit code; negative: the signal that ended it.
        error: The first line that looked like an error, or empty.
        lines: What it said, the last 256 KiB.
    """

    program: str
    code: int
    error: str
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it says success and nothing else."""
        return self.code == 0 and not self.error

    @property
    def text(self) -> str:
        """What it said."""
        return "\n".join(self.lines)

    def cause(self) -> str:
        """Return in one line why it failed."""
        said = self.error or next((one for one in reversed(self.lines) if one.strip()), "")
        how = f"ended by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        if self.error and self.code == 0:
            return f"{self.program}: {said} (and yet exit code 0)"
        return f"{self.program}: {said or how}" if self.code >= 0 else f"{self.program}: {how}"


def find(program: str) -> str | None:
    """Return the path of ``program``, also from the sbin folders, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def run(
    command: Sequence[str],
    *,
    deadline_s: float,
    error: re.Pattern[str],
    ignore: re.Pattern[str] | None = None,
    listen: Listen = lambda line: None,
    watch: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run ``command`` to its end.

    Args:
        command: Program and arguments.
        deadline_s: Seconds that it may take.
        error: What a line of an error looks like.
        ignore: What looks like one and is none.
        listen: Gets each line as it comes; a carriage return ends one, too.
        watch: Called several times a second; may raise to end the program.

    Raises:
        DependencyError: There is no such program.
        FlashError: It took too long.
        LabctlError: What ``watch`` raised.
    """
    program = find(command[0])
    if program is None:
        raise DependencyError("not installed", thing=command[0])
    process = subprocess.Popen(
        [*_dies_with_us(), program, *command[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    ears = _Ears(error, ignore, listen)
    try:
        with selectors.DefaultSelector() as selector:
            _listen(process, selector, ears, time.monotonic() + deadline_s, watch)
    except _TooLongError:
        said = f"; it said: {ears.last()}" if ears.last() else ""
        raise FlashError(
            f"{command[0]} did not end in {deadline_s:.0f} s{said}",
            action="look whether the board has power and its cable is firm",
        ) from None
    finally:
        _end_group(process)
    ears.finish()
    return Outcome(command[0], process.returncode, ears.error, tuple(ears.lines))


class _TooLongError(Exception):
    pass


def _dies_with_us() -> list[str]:
    """Return what makes the kernel end a program when this one is killed (setpriv(1))."""
    setpriv = find("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _listen(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    ears: _Ears,
    deadline: float,
    watch: Callable[[], None],
) -> None:
    """Read until the program has ended; children that hold its output open do not count."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    ended = os.pidfd_open(process.pid)
    try:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select(_LOOK_S)]
            data = _read(process.stdout.fileno()) if process.stdout in ready else None
            if data:
                ears.feed(data)
            elif data == b"":
                selector.unregister(process.stdout)  # it closed its output and may go on
            elif ended in ready:
                return
            watch()
            if time.monotonic() > deadline:
                raise _TooLongError
    finally:
        os.close(ended)


def _read(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and whatever it started, and wait for it.

    The group is told before its leader is waited for: until then no other group has its number.
    """
    assert process.stdout is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()


class _Ears:
    """Takes what a program says, line by line."""

    def __init__(
        self, error: re.Pattern[str], ignore: re.Pattern[str] | None, listen: Listen
    ) -> None:
        self._error = error
        self._ignore = ignore
        self._listen = listen
        self._rest = b""
        self._size = 0
        self.lines: list[str] = []
        self.error = ""

    def feed(self, data: bytes) -> None:
        """Take bytes; a line without an end is heard when it grows, for progress, too."""
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            self._take(line)
        if len(self._rest) > _LONGEST_LINE:
            self.finish()
        elif self._rest:
            self._listen(clean_line(self._rest))

    def finish(self) -> None:
        """Take what had no end."""
        line, self._rest = self._rest, b""
        self._take(line)

    def last(self) -> str:
        """Return the error, or the last line that says something."""
        return self.error or next((one for one in reversed(self.lines) if one.strip()), "")

    def _take(self, raw: bytes) -> None:
        line = clean_line(raw)
        if not line.strip():
            return
        self.lines.append(line)
        self._size += len(line)
        while self._size > _KEEP_BYTES:
            self._size -= len(self.lines.pop(0))
        wrong = self._error.search(line) and not (self._ignore and self._ignore.search(line))
        if wrong and not self.error:
            self.error = line
        self._listen(line)


def require_ok(outcome: Outcome, *, thing: str, action: str = "", says: str = "") -> None:
    """Believe that a program did its work only if nothing speaks against it.

    Args:
        outcome: How it ended.
        thing: The board.
        action: What to do where it failed.
        says: What it says when it has done its work (a regular expression); empty: nothing.

    Raises:
        FlashError: It failed, or does not say that it did not.
    """
    if not outcome.ok:
        raise FlashError(outcome.cause(), thing=thing, action=action)
    if says and not re.search(says, outcome.text):
        raise FlashError(
            f"{outcome.program} ended with exit code 0 and did not say that it had done it",
            thing=thing, action=action,
        )  # fmt: skip

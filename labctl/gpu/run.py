"""Run a command on cards that are held for it, here or on another host.

The cards are held by a lease in the bookings that is renewed while the command runs. Whatever ends
labctl (Ctrl-C, SIGKILL, a power cut), the lease ends by itself soon after.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from labctl.errors import LabctlError, UsageError
from labctl.facts.value import Known
from labctl.gpu import bookings, store
from labctl.gpu.show import Line
from labctl.transport.script import quote
from labctl.transport.session import Session

# How long cards stay held when labctl is gone without a word, and how often it says one.
LEASE_S = 300
_RENEW_S = 60.0
# What a command gets between SIGTERM and SIGKILL when labctl is interrupted.
_GRACE_S = 10.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_VARIABLES = {"NVIDIA": "CUDA_VISIBLE_DEVICES", "AMD": "ROCR_VISIBLE_DEVICES"}

# Remote end: the command in a session of its own; when our side of the connection closes, `cat`
# ends and the whole session is told to, so that nothing goes on computing on cards given back.
_REMOTE = """\
cd || exit 1
setsid env {environment} {command} 3<&- </dev/null &
child=$!
( cat <&3 >/dev/null; kill -TERM -$child; sleep {grace}; kill -KILL -$child ) 2>/dev/null &
guard=$!
wait $child
code=$?
kill -KILL $guard 2>/dev/null
exit $code
"""


def hold(lines: Sequence[Line], *, person: str, note: str) -> list[int] | None:
    """Take the cards of ``lines``; return the lease, or None if somebody was quicker."""
    now = int(time.time())
    with store.opened() as database:
        units = [(line.reading, line.unit) for line in lines]
        return bookings.take(
            database, units, person=person, now=now, until=now + LEASE_S, note=note
        )


@contextlib.contextmanager
def leased(ids: list[int]) -> Iterator[None]:
    """Renew the lease ``ids`` while the block runs, and end it after it."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEW_S):
            # A file that is locked just now is not: the lease lasts for several tries.
            with contextlib.suppress(LabctlError), store.opened() as database:
                bookings.extend(database, ids, until=int(time.time()) + LEASE_S)

    thread = threading.Thread(target=renew, name="gpu lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with store.opened() as database:
            bookings.extend(database, ids, until=int(time.time()))


def environment(lines: Sequence[Line]) -> dict[str, str]:
    """Return the variables that pin a command to the cards of ``lines``, by UUID.

    Raises:
        UsageError: A card has no UUID, or its maker no such variable.
    """
    uuids = []
    vendor = lines[0].unit.card.vendor
    variable = _VARIABLES.get(vendor.value) if isinstance(vendor, Known) else None
    for line in lines:
        uuid = line.unit.uuid
        if not isinstance(uuid, Known) or variable is None or line.unit.card.vendor != vendor:
            raise UsageError(
                "a command cannot be pinned to this card",
                thing=f"{line.reading.host} {line.unit.name}",
                action="'labctl gpu wait' prints cards for use by hand",
            )
        uuids.append(uuid.value)
    assert variable is not None
    return {variable: ",".join(uuids)}


def run_here(command: Sequence[str], pins: dict[str, str]) -> int:
    """Run ``command`` on this machine and return its exit code (128 + N after signal N).

    Raises:
        UsageError: It cannot be started.
    """
    process = None
    try:
        with _undisturbed():
            process = subprocess.Popen(
                list(command), env={**os.environ, **pins}, start_new_session=True
            )
        code = process.wait()
    except OSError as error:
        raise UsageError(error.strerror or str(error), thing=command[0]) from None
    except BaseException:
        if process is not None:
            _end_group(process)
        raise
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off what signals do until the block has ended.

    A command that has been started, and whose number we do not know yet, could not be ended.
    """
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    caught = {number: handler for number, handler in before.items() if callable(handler)}
    for number in caught:
        signal.signal(number, lambda *signalled: came.append(signalled))
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
    for signalled, frame in came:
        caught[signal.Signals(signalled)](signalled, frame)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and what it has started: SIGTERM, then SIGKILL."""
    for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_there(
    session: Session,
    command: Sequence[str],
    pins: dict[str, str],
    *,
    write: Callable[[bytes], object] | None = None,
) -> int:
    """Run ``command`` on the machine of ``session`` and return its exit code.

    What it prints, output and errors together, is written as it comes. When this is interrupted or
    the connection is cut, the command is ended there.

    Raises:
        UnreachableError: The connection broke.
    """
    write = write or _to_stdout
    words = " ".join(quote(word) for word in command)
    variables = " ".join(f"{name}={quote(value)}" for name, value in pins.items())
    script = _REMOTE.format(environment=variables, command=words, grace=int(_GRACE_S))
    stream = session.start(f"exec sh -c {quote('exec 3<&0; ' + script)}")
    try:
        while True:
            try:
                piece = stream.receive(0.3)
            except TimeoutError:
                continue
            if not piece:
                return stream.exit_status(30.0)
            write(piece)
    finally:
        stream.close()


def _to_stdout(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def terminable() -> None:
    """Let SIGTERM and SIGHUP end labctl as Ctrl-C does: the command is ended, the cards freed."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in _ENDING[1:]:
        signal.signal(number, stop)

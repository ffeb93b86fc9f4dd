"""A client of a line's owner: the channel that conversations run on, leases, status.

Reading needs no lease and disturbs nobody; writing needs one. While a lease is held a thread of
its own tells the owner that we live, so that a long computation between two commands does not lose
it and a process that hangs does.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labctl.boards.owner import protocol, start
from labctl.boards.owner.conversation import Exchange
from labctl.boards.owner.log import LogReader
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.protocol import LeaseLostError, LineBuffer, Message
from labctl.boards.owner.status import LineStatus
from labctl.errors import LabctlError
from labctl.transport.lines.base import LineGoneError
from labctl.transport.lines.settings import LineSettings, Parity

if TYPE_CHECKING:
    from labctl.boards.lending import Lent

_ANSWER_S = 30.0
_TTL_S = 30.0
# How long a line may take to be opened with other settings, and how often that is looked at.
_REOPEN_S = 15.0
_LOOK_S = 0.02


class LineClient:
    """An attached line; a `labctl.boards.channel.Channel`.

    Args:
        place: Folder of the line.
        config: What the owner is to own, where it must be started.

    Raises:
        LabctlError: The line cannot be opened.
    """

    def __init__(self, place: Place, config: OwnerConfig) -> None:
        self.place = place
        self.config = config
        self.name = config.board
        self._control = start.ensure(place, config)
        self._control.settimeout(_ANSWER_S)
        self._lock = threading.Lock()
        self._buffer = LineBuffer()
        self._answers: dict[int, Message] = {}
        self._count = 0
        self._events: list[Message] = []
        self._stream: socket.socket | None = None
        self._offset = 0
        self._lease: int | None = None
        self._lost: LeaseLostError | None = None
        self._beat_stop = threading.Event()
        self._beater: threading.Thread | None = None

    # -- asking ------------------------------------------------------------------------------

    def request(self, op: str, *, timeout_s: float = _ANSWER_S, **details: object) -> Message:
        """Send a request and return the owner's answer.

        Raises:
            LabctlError: The owner refused; the class says why.
            LineGoneError: The owner itself has gone.
        """
        with self._lock:
            self._count += 1
            number = self._count
            try:
                self._control.settimeout(timeout_s)
                self._control.sendall(protocol.encode({"op": op, "id": number, **details}))
                while number not in self._answers:
                    self._receive()
            except (OSError, ValueError) as error:
                raise self._owner_gone(error) from error
            answer = self._answers.pop(number)
        if "error" in answer:
            raise protocol.error_from_message(answer["error"])
        return answer

    def _receive(self) -> None:
        """Take what the owner sent: answers and events. The caller holds the lock."""
        data = self._control.recv(1 << 16)
        if not data:
            raise ConnectionResetError("closed")
        for message in self._buffer.feed(data):
            if "event" in message:
                self._events.append(message)
                if message["event"] == "lost":
                    self._lost = self._lost_error(message)
                    self._lease = None
            else:
                self._answers[int(message["id"])] = message

    def _owner_gone(self, error: Exception) -> LineGoneError:
        return LineGoneError(
            f"the owner of its line has gone ({error})", thing=self.name, action="run it again"
        )

    def _lost_error(self, event: Message) -> LeaseLostError:
        by = f" by {event['by']}" if event.get("by") else ""
        return LeaseLostError(
            f"the line was taken from you{by}: {event.get('why', '')}",
            thing=self.name,
            action="run it again when the line is free",
        )

    def poll_events(self) -> list[Message]:
        """Return the owner's events since the last call, without waiting."""
        with self._lock:
            self._take_waiting()
            events, self._events = self._events, []
        return events

    def _take_waiting(self) -> None:
        while select.select([self._control], [], [], 0)[0]:
            try:
                self._receive()
            except (OSError, ValueError) as error:
                raise self._owner_gone(error) from error

    def status(self) -> LineStatus:
        """Return what the owner says of the line."""
        answer = self.request("status")
        return LineStatus(**{name: answer[name] for name in LineStatus.__dataclass_fields__})

    def configure(self, settings: LineSettings) -> None:
        """Have the line run with ``settings``; nothing happens where it does.

        An owner outlives what the inventory said when it was started.

        Raises:
            BusyError: Somebody else has the lease, and other settings.
            LineGoneError: The line could not be opened with them.
        """
        former = self.request("configure", settings=asdict(settings))["former"]
        if former == settings.describe():
            return
        deadline = time.monotonic() + _REOPEN_S
        while not (status := self.status()).open:
            if time.monotonic() > deadline:
                raise LineGoneError(status.cause, thing=self.name)
            time.sleep(_LOOK_S)
        self.poll_events()

    def note(self, event: str, **details: object) -> int:
        """Journal something that was done to the board; return where the record was then."""
        return int(self.request("note", event=event, details=details)["offset"])

    @property
    def record(self) -> LogReader:
        """The record of the line: everything it said, with times."""
        return LogReader(self.place.log)

    # -- the lease ---------------------------------------------------------------------------

    def acquire(
        self, what: str, *, wait_s: float = 0.0, idle_s: float | None = None, ttl_s: float = _TTL_S
    ) -> None:
        """Become the one who may write.

        Args:
            what: What for, in a few words; others are told.
            wait_s: Wait so long for whoever has it.
            idle_s: Give way to others when nothing was written for so long; None: never.
            ttl_s: The lease ends when no sign of life came for so long.

        Raises:
            BusyError: Somebody else has it; the message says who, since when, and what to do.
        """
        answer = self.request(
            "acquire", timeout_s=wait_s + _ANSWER_S, what=what, host=socket.gethostname(),
            wait_s=wait_s, idle_s=idle_s, ttl_s=ttl_s,
        )  # fmt: skip
        self._lease = int(answer["lease"])
        self._lost = None
        if self._beater is None:
            self._beater = threading.Thread(target=self._beat, args=(ttl_s / 3,), daemon=True)
            self._beater.start()

    def _beat(self, every_s: float) -> None:
        while not self._beat_stop.wait(every_s):
            try:
                self.request("beat")
            except LabctlError:
                return  # whoever uses the line next hears of it

    def release(self) -> None:
        """Give the lease back; nothing happens if it is not ours."""
        if self._lease is not None:
            self._lease = None
            self.request("release")

    @property
    def leased(self) -> bool:
        """Whether the line is leased to us, as far as we know."""
        return self._lease is not None

    def force_release(self) -> dict[str, Any] | None:
        """Take the lease from whoever has it; return that lease, or None if nobody had it."""
        answer = self.request("force", host=socket.gethostname())
        former: dict[str, Any] | None = answer["former"]
        return former

    def check(self) -> None:
        """Look, without waiting, whether the line is still ours and there.

        Raises:
            LeaseLostError: Somebody took it.
            LineGoneError: It went away, or its owner did.
        """
        self._look_at_events()

    def lend(self, to: str) -> AbstractContextManager[Lent]:
        """Lend the line to the program ``to``; see `labctl.boards.lending.lend`."""
        from labctl.boards.lending import lend  # noqa: PLC0415 - the two know each other

        return lend(self, to)

    # -- the channel -------------------------------------------------------------------------

    def follow(self, offset: int | None = None) -> int:
        """Begin to read at ``offset`` of the record (default: what comes from now on).

        Returns:
            Where reading really begins: what was dropped from the record cannot be read.
        """
        stream = start.connect(self.place)
        if stream is None:
            raise self._owner_gone(ConnectionResetError("closed"))
        stream.settimeout(_ANSWER_S)
        if self._stream is not None:
            self._stream.close()
        self._stream = stream
        head = b""
        try:
            stream.sendall(protocol.encode({"op": "follow", "id": 0, "offset": offset}))
            while not head.endswith(b"\n"):
                # One byte at a time, only here: what follows the answer are the line's own bytes.
                head += stream.recv(1) or b"\n"
            self._offset = int(json.loads(head)["offset"])
        except (OSError, ValueError) as error:
            raise self._owner_gone(error) from error
        return self._offset

    @property
    def offset(self) -> int:
        """Offset, in the record, of the next byte that `read` returns."""
        if self._stream is None:
            self.follow()
        return self._offset

    def fileno(self) -> int:
        """Return a descriptor that is readable when `read` has bytes."""
        if self._stream is None:
            self.follow()
        assert self._stream is not None
        return self._stream.fileno()

    def read(self, timeout: float) -> bytes:
        """Return bytes as soon as there are some, nothing if none came within ``timeout`` seconds.

        Raises:
            LineGoneError: The line went away while waiting.
            LeaseLostError: Somebody took the line from us.
        """
        if self._stream is None:
            self.follow()
        assert self._stream is not None
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            # An event that waits until the bytes before it are read must not wait for more.
            pause = 0.0 if self._events else left
            ready, _, _ = select.select([self._stream, self._control], [], [], pause)
            if self._stream in ready:
                try:
                    data = self._stream.recv(1 << 18)
                except OSError as error:
                    raise self._owner_gone(error) from error
                if not data:
                    raise self._owner_gone(ConnectionResetError("closed"))
                self._offset += len(data)
                return data
            self._look_at_events()
            if not ready and time.monotonic() >= deadline:
                return b""

    def _look_at_events(self) -> None:
        """Raise what an event means for somebody who waits for bytes."""
        with self._lock:
            self._take_waiting()
            events, self._events = self._events, []
            lost = self._lost
        if lost is not None:
            self._lost = None
            raise lost
        for event in events:
            # What came before the line went is read first.
            if event["event"] == "gone" and self._offset >= int(event["offset"]):
                raise LineGoneError(
                    f"its line went away: {event['cause']}", thing=self.name,
                    action=str(event.get("action") or "plug it in again; the owner waits for it"),
                )  # fmt: skip
            if event["event"] == "gone":
                self._events.append(event)
            if event["event"] == "unrecorded":
                raise LabctlError(
                    f"{event['bytes']} bytes were lost: the record cannot be written "
                    f"({event['cause']})",
                    thing=self.name,
                    action=f"make room in {self.place.log}",
                )

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the line; returns when the line has taken all of it.

        Raises:
            LineGoneError: The line is not there.
            LeaseLostError: Somebody took the line from us, or it was never leased to us.
        """
        for begin in range(0, len(data), protocol.WRITE_BYTES):
            piece = data[begin : begin + protocol.WRITE_BYTES]
            try:
                self.request("write", data=protocol.pack(piece))
            except LeaseLostError as error:
                lost, self._lost = self._lost, None
                raise lost or error from None

    def converse(self, exchanges: Sequence[Exchange]) -> tuple[int, bytes]:
        """Let the owner conduct several exchanges, without a pause between them.

        Returns:
            How many went as they should, and all that the line said meanwhile.

        Raises:
            LineGoneError: The line is not there.
            LeaseLostError: Somebody took the line from us, or it was never leased to us.
        """
        timeout_s = sum(one.timeout for one in exchanges) + _ANSWER_S
        answer = self.request(
            "converse", timeout_s=timeout_s, exchanges=[one.to_message() for one in exchanges]
        )
        self._read_until(int(answer["begin"]))
        return int(answer["done"]), self._read_until(int(answer["offset"]))

    def _read_until(self, offset: int) -> bytes:
        parts = []
        while self.offset < offset:
            parts.append(self.read(_ANSWER_S))
            if not parts[-1]:
                raise self._owner_gone(TimeoutError("it does not send what it recorded"))
        return b"".join(parts)

    def send_break(self, seconds: float) -> None:
        """Hold the break condition for ``seconds``.

        Raises:
            UnsupportedError: The line cannot.
        """
        self.request("break", seconds=seconds)

    def set_baud(self, rate: int) -> None:
        """Change the rate of the open line, baud; it is as before when the lease ends.

        Raises:
            UnsupportedError: The rate of this kind of line is set elsewhere.
        """
        self.request("baud", rate=rate)

    def set_parity(self, parity: Parity) -> None:
        """Change the parity of the open line; like the rate, it is as before when the lease ends.

        Raises:
            UnsupportedError: The format of this kind of line is set elsewhere.
        """
        self.request("parity", parity=parity)

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set modem control outputs; None leaves one as it is.

        Raises:
            UnsupportedError: This kind of line has none.
        """
        self.request("signals", dtr=dtr, rts=rts)

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Leave; a lease of ours ends, the owner stays."""
        self._beat_stop.set()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave."""
        self.close()

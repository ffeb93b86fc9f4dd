"""The owner's loop: read the line, record it, share it.

One thread and one selector. The only other thread opens the line (a connection over a network or
SSH may take seconds) or holds a break; it says through a socket pair that it has finished.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from labctl.boards.owner import protocol
from labctl.boards.owner.connections import Connection
from labctl.boards.owner.conversation import Conversation
from labctl.boards.owner.journal import Journal
from labctl.boards.owner.leases import Ledger
from labctl.boards.owner.loans import Loans
from labctl.boards.owner.log import LogReader, LogWriter
from labctl.boards.owner.pending import Waiter, Write
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.protocol import Message
from labctl.boards.owner.requests import Requests
from labctl.boards.owner.worker import Worker
from labctl.errors import LabctlError
from labctl.transport.lines.base import Line, LineGoneError
from labctl.transport.lines.settings import LineSettings

Opener = Callable[[], Line]

_READ_BYTES = 1 << 16
# So much is read before listeners and the record get it.
_BATCH_BYTES = 1 << 20
# Nobody types: bytes of a slow line are collected for so long, so that eight boards cost little.
_COLLECT_S = 0.025
_COLLECT_BELOW = 2048
_REOPEN_S = (0.1, 0.2, 0.5, 1.0)
_CHECK_S = 1.0
_RETRY_WRITE_S = 0.005
# After a write the line is read without delay for so long: somebody waits for the answer.
_ALERT_S = 1.0


class Owner:
    """The owner of one line.

    Args:
        place: Its folder.
        config: What it owns.
        opener: Opens the line; may block for seconds.
        listener: The listening UNIX socket.
    """

    def __init__(
        self, place: Place, config: OwnerConfig, opener: Opener, listener: socket.socket
    ) -> None:
        self.place = place
        self.config = config
        self._opener = opener
        self.log = LogWriter(place.log, mode=place.file_mode)
        self.reader = LogReader(place.log)
        self._journal = Journal(place.events, mode=place.file_mode)
        self.ledger = Ledger()
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self.connections: dict[int, Connection] = {}
        self._count = 0
        self.line: Line | None = None
        self.gone: LabctlError | None = LineGoneError("it is being opened", thing=config.board)
        self.since = time.time()
        self._reopen_at = 0.0
        self._failures = 0
        self.writes: deque[Write] = deque()
        self.waiters: deque[Waiter] = deque()
        self.loans = Loans(self)
        # What is opened next is the device that was lent, and has not ended meanwhile.
        self.same = False
        self.conversation: Conversation | None = None
        self.alert_until = 0.0
        # Somebody who has the lease set another rate than the line's own.
        self.off_rate = self.off_parity = False
        self._collect_until = 0.0
        self.reading = False
        self._writing = False
        self._check_at = 0.0
        self.unrecorded = 0
        self._stopping = False
        self._requests = Requests(self)
        self.worker = Worker()
        self._home = place.inode()

    # -- the loop ----------------------------------------------------------------------------

    def adopt(self, line: Line) -> None:
        """Take over the line that was opened first."""
        self._opened(line)

    def stop(self) -> None:
        """End `run` soon; may be called by a signal handler."""
        self._stopping = True
        self.worker.wake()

    def run(self) -> None:
        """Serve until told to stop, or until the folder or the virtual board has gone."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self.worker, selectors.EVENT_READ, self.worker.finish)
        while not self._stopping:
            for key, events in self._selector.select(self._timeout()):
                key.data(events)
            self._tick(time.monotonic())
        self._close()

    def _timeout(self) -> float:
        now = time.monotonic()
        due = [self._check_at]
        if self._may_open():
            due.append(self._reopen_at)
        if self.line is not None and not self.reading:
            due.append(self._collect_until)
        if self.writes and self.line is not None:
            due.append(now + _RETRY_WRITE_S)
        due += [waiter.until for waiter in self.waiters]
        due += self.loans.due()
        if self.conversation is not None:
            due.append(self.conversation.deadline)
        return max(0.0, min(due) - now)

    def _tick(self, now: float) -> None:
        if self.line is not None and not self.reading and now >= self._collect_until:
            # Read at once: to wait for the line first would cost a turn of the loop more.
            collected = self.read_line()
            if self.line is not None and not self.reading and not collected:
                self.listen_to_line(True)
        if self._may_open() and now >= self._reopen_at:
            self.worker.start(self._open)
        if self.writes:
            self.write_some()
        if self.conversation is not None:
            self.conversation.tick(now)
        if now >= self._check_at:
            self._check_at = now + _CHECK_S
            self._check(now)
        self._requests.serve_waiters(now)
        self.loans.serve()

    def _may_open(self) -> bool:
        return self.line is None and not self.worker.busy and not self.loans.out

    def _check(self, now: float) -> None:
        expired = self.ledger.expire(now)
        if expired:
            self._requests.lease_ended(expired, "expired: its holder has been silent", by="")
        until = self.config.until
        if self.place.inode() != self._home or (until and not os.path.exists(until)):  # noqa: PTH110 - each second, and a str is at hand
            self._stopping = True

    def _close(self) -> None:
        self.note("stopped")
        for connection in list(self.connections.values()):
            self._drop(connection)
        if self.line is not None:
            self.line.close()
        self.log.close()

    # -- the line ----------------------------------------------------------------------------

    def listen_to_line(self, on: bool) -> None:
        """Read the line when it has something, or leave it for a moment."""
        self.reading = on
        self._update_line_events()

    def _update_line_events(self) -> None:
        assert self.line is not None
        events = (selectors.EVENT_READ if self.reading else 0) | (
            selectors.EVENT_WRITE if self._writing else 0
        )
        with contextlib.suppress(KeyError):
            self._selector.unregister(self.line)
        if events:
            self._selector.register(self.line, events, self._line_ready)

    def _line_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self.write_some()
        if events & selectors.EVENT_READ and self.line is not None:
            self.read_line()

    def read_line(self) -> bool:
        """Read what the line has, record it, and give it to those who follow.

        Returns:
            Whether the line is left alone now, so that more is collected.

        What it took in while it was opened or set (a negotiation, say) makes no descriptor
        readable, so it is read after those too.
        """
        if self.line is None:
            return False
        parts: list[bytes] = []
        size = 0
        gone: LineGoneError | None = None
        try:
            while size < _BATCH_BYTES and (data := self.line.read(_READ_BYTES)):
                parts.append(data)
                size += len(data)
        except LineGoneError as error:
            gone = error
        if parts:
            self._record(b"".join(parts))
            self._pump_all()
            if self.conversation is not None:
                self.conversation.feed(b"".join(parts))
        if gone:
            self._lost(gone)
            return False
        now = time.monotonic()
        if not 0 < size < _COLLECT_BELOW or now < self.alert_until:
            return False
        self._collect_until = now + _COLLECT_S
        if self.reading:
            self.listen_to_line(False)
        return True

    def _record(self, data: bytes) -> None:
        before = self.log.end
        try:
            self.log.append(data, time.time_ns())
        except OSError as error:
            lost = len(data) - (self.log.end - before)
            self.unrecorded += lost
            self.tell(
                {"event": "unrecorded", "cause": str(error.strerror), "bytes": lost,
                 "offset": self.log.end}
            )  # fmt: skip

    def _pump_all(self) -> None:
        for connection in list(self.connections.values()):
            if connection.follower:
                self.pump(connection)

    def pump(self, connection: Connection) -> None:
        """Send a follower what it lacks."""
        try:
            connection.pump(self.log.end)
        except OSError:
            self._drop(connection)
            return
        self._watch(connection)

    def _open(self) -> Callable[[], None]:
        try:
            line = self._opener()
        except LabctlError as error:
            return lambda failed=error: self._open_failed(failed)  # type: ignore[misc]
        except OSError as error:
            failed = LineGoneError(str(error), thing=self.config.board)
            return lambda: self._open_failed(failed)
        return lambda: self._opened(line)

    def _opened(self, line: Line) -> None:
        self.line = line
        self.same = False
        self.gone = None
        self.off_rate = self.off_parity = False
        self.since = time.time()
        self._failures = 0
        self.listen_to_line(True)
        self.note("opened", url=line.url)
        self.tell({"event": "back", "offset": self.log.end})
        self.read_line()

    def _open_failed(self, error: LabctlError) -> None:
        self.gone = error
        self._schedule_reopen()

    def open_soon(self, *, same: bool) -> None:
        """Open the line at once, and again and again; ``same``: it is the device it was."""
        self.same = same
        self.gone = LineGoneError("it is being opened", thing=self.config.board)
        self._failures = 0
        self._reopen_at = 0.0

    def _schedule_reopen(self) -> None:
        delay = _REOPEN_S[min(self._failures, len(_REOPEN_S) - 1)]
        self._failures += 1
        self._reopen_at = time.monotonic() + delay

    def configure(self, settings: LineSettings) -> None:
        """Take other settings for the line, which is opened again with them."""
        self.config = replace(self.config, settings=settings)
        self.place.write_config(self.config)
        self.note("settings", settings=settings.describe())
        if self.line is not None:
            self._lost(LineGoneError("it is being opened with other settings"))

    def let_go(self, error: LineGoneError) -> None:
        """Close the line; ``error`` says why there is none."""
        assert self.line is not None
        with contextlib.suppress(KeyError):
            self._selector.unregister(self.line)
        self.reading = self._writing = False
        self.line.close()
        self.line = None
        self.gone = error
        self.since = time.time()

    def _lost(self, error: LineGoneError) -> None:
        self.let_go(error)
        self.note("gone", cause=error.cause)
        self.tell({"event": "gone", "offset": self.log.end, "cause": error.cause,
                    "action": error.action})  # fmt: skip
        self.end_conversation(error)
        while self.writes:
            write = self.writes.popleft()
            self.fail(write.connection, write.request, error)
        self._schedule_reopen()

    def write_some(self) -> None:
        """Hand the line what it takes now."""
        while self.writes and self.line is not None:
            write = self.writes[0]
            try:
                count = self.line.write(write.rest)
            except LineGoneError as error:
                self._lost(error)
                return
            write.rest = write.rest[count:]
            if write.rest:
                break
            self.writes.popleft()
            if not write.quiet:
                self.answer(write.connection, write.request)
        wanted = bool(self.writes)
        if self.line is not None and wanted != self._writing:
            self._writing = wanted
            self._update_line_events()

    def be_alert(self, connection: Connection, now: float) -> None:
        """Note that ``connection`` writes, and read the line without delay: it waits."""
        self.ledger.beat(connection.number, now, wrote=True)
        self.alert_until = now + _ALERT_S
        if not self.reading:
            self.listen_to_line(True)

    def end_conversation(self, error: LabctlError) -> None:
        """End the conversation, if there is one, with ``error``."""
        if self.conversation is not None:
            conversation, self.conversation = self.conversation, None
            self.writes = deque(one for one in self.writes if not one.quiet)
            self.fail(conversation.connection, conversation.request, error)

    # -- clients -----------------------------------------------------------------------------

    def _accept(self, events: int) -> None:
        with contextlib.suppress(OSError):
            link, _ = self._listener.accept()
            self._count += 1
            connection = Connection(link, self._count)
            self.connections[connection.number] = connection
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        events = selectors.EVENT_READ
        if connection.wants_to_send(self.log.end):
            events |= selectors.EVENT_WRITE
        try:
            key = self._selector.get_key(connection)
        except KeyError:
            self._selector.register(
                connection, events, lambda ready: self._client_ready(connection, ready)
            )
            return
        if key.events != events:
            self._selector.modify(connection, events, key.data)

    def _client_ready(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self.pump(connection)
        if not events & selectors.EVENT_READ or connection.number not in self.connections:
            return
        try:
            data = connection.link.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            if connection.follower is None:
                for message in connection.buffer.feed(data):
                    self._requests.handle(connection, message)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if self.connections.pop(connection.number, None) is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()
        self.waiters = deque(one for one in self.waiters if one.connection is not connection)
        self.writes = deque(one for one in self.writes if one.connection is not connection)
        if self.conversation is not None and self.conversation.connection is connection:
            self.conversation = None
        ended = self.ledger.release(connection.number)
        if ended:
            self._requests.restore_settings()
            self.note("released", lease=ended.number, why="its holder has gone")
        self.loans.end("its borrower has gone", connection.number)

    def say(self, connection: Connection, message: Message) -> None:
        """Send a client a message; one that does not take it is dropped."""
        try:
            connection.say(message)
        except OSError:
            self._drop(connection)
            return
        self._watch(connection)

    def tell(self, event: Message) -> None:
        """Tell everyone who does not merely follow."""
        for connection in list(self.connections.values()):
            if connection.follower is None:
                self.say(connection, event)

    def answer(self, connection: Connection, request: Message, **details: object) -> None:
        """Answer a request."""
        if connection.number in self.connections:
            self.say(connection, {"id": request.get("id"), "ok": True, **details})

    def fail(
        self, connection: Connection, request: Message, error: LabctlError, **details: object
    ) -> None:
        """Refuse a request."""
        if connection.number in self.connections:
            described = {**protocol.error_to_message(error), **details}
            self.say(connection, {"id": request.get("id"), "error": described})

    def note(self, event: str, **details: object) -> None:
        """Write an entry into the journal."""
        self._journal.write(event, time=time.time(), offset=self.log.end, **details)

"""The owner's loop: read the line, record it, share it.

One thread and one selector. The only other thread opens the line (a connection over a network or
SSH may take seconds) or holds a break; it says through a socket pair that it has finished.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from labctl.boards.owner import protocol
from labctl.boards.owner.connections import Connection, Follower
from labctl.boards.owner.journal import Journal
from labctl.boards.owner.leases import Holder, Lease, Ledger
from labctl.boards.owner.log import LogReader, LogWriter
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.protocol import LeaseLostError, Message
from labctl.errors import BusyError, LabctlError, UsageError
from labctl.transport.lines.base import Line, LineGoneError

Opener = Callable[[], Line]

_READ_BYTES = 1 << 16
# So much is read before listeners and the record get it.
_BATCH_BYTES = 1 << 20
# Nobody types: bytes of a slow line are collected for so long, so that eight boards cost little.
_COLLECT_S = 0.01
_COLLECT_BELOW = 2048
# After a write the line is read without delay for so long: somebody waits for the answer.
_ALERT_S = 1.0
_REOPEN_S = (0.1, 0.2, 0.5, 1.0)
_CHECK_S = 1.0
_RETRY_WRITE_S = 0.005
_MOST_TTL_S = 3600.0
_MOST_BREAK_S = 2.0


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
        self._place = place
        self._config = config
        self._opener = opener
        self._log = LogWriter(place.log, mode=place.file_mode)
        self._reader = LogReader(place.log)
        self._journal = Journal(place.events, mode=place.file_mode)
        self._ledger = Ledger()
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._connections: dict[int, Connection] = {}
        self._count = 0
        self._line: Line | None = None
        self._gone: LabctlError | None = LineGoneError("it is being opened", thing=config.board)
        self._since = time.time()
        self._reopen_at = 0.0
        self._failures = 0
        self._writes: deque[_Write] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._alert_until = 0.0
        self._collect_until = 0.0
        self._reading = False
        self._writing = False
        self._check_at = 0.0
        self._unrecorded = 0
        self._stopping = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._done: deque[Callable[[], None]] = deque()
        self._working = False
        self._home = _identity(place)

    # -- the loop ----------------------------------------------------------------------------

    def adopt(self, line: Line) -> None:
        """Take over the line that was opened first."""
        self._opened(line)

    def stop(self) -> None:
        """End `run` soon; may be called by a signal handler."""
        self._stopping = True
        self._wake_write.send(b"\0")

    def run(self) -> None:
        """Serve until told to stop, or until the folder or the virtual board has gone."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._worker_finished)
        while not self._stopping:
            for key, events in self._selector.select(self._timeout()):
                key.data(events)
            self._tick(time.monotonic())
        self._close()

    def _timeout(self) -> float:
        now = time.monotonic()
        due = [self._check_at]
        if self._line is None and not self._working:
            due.append(self._reopen_at)
        if self._line is not None and not self._reading:
            due.append(self._collect_until)
        if self._writes and self._line is not None:
            due.append(now + _RETRY_WRITE_S)
        due += [waiter.until for waiter in self._waiters]
        return max(0.0, min(due) - now)

    def _tick(self, now: float) -> None:
        if self._line is not None and not self._reading and now >= self._collect_until:
            self._listen_to_line(True)
        if self._line is None and not self._working and now >= self._reopen_at:
            self._start_work(self._open)
        if self._writes:
            self._write_some()
        if now >= self._check_at:
            self._check_at = now + _CHECK_S
            self._check(now)
        self._serve_waiters(now)

    def _check(self, now: float) -> None:
        expired = self._ledger.expire(now)
        if expired:
            self._lease_ended(expired, "expired: its holder has been silent", by="")
        until = self._config.until
        if _identity(self._place) != self._home or (until and not os.path.exists(until)):  # noqa: PTH110 - each second, and a str is at hand
            self._stopping = True

    def _close(self) -> None:
        self._journal_entry("stopped")
        for connection in list(self._connections.values()):
            self._drop(connection)
        if self._line is not None:
            self._line.close()
        self._log.close()

    # -- the line ----------------------------------------------------------------------------

    def _listen_to_line(self, on: bool) -> None:
        self._reading = on
        self._update_line_events()

    def _update_line_events(self) -> None:
        assert self._line is not None
        events = (selectors.EVENT_READ if self._reading else 0) | (
            selectors.EVENT_WRITE if self._writing else 0
        )
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._line)
        if events:
            self._selector.register(self._line, events, self._line_ready)

    def _line_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write_some()
        if events & selectors.EVENT_READ and self._line is not None:
            self._read_line()

    def _read_line(self) -> None:
        assert self._line is not None
        parts: list[bytes] = []
        size = 0
        gone: LineGoneError | None = None
        try:
            while size < _BATCH_BYTES and (data := self._line.read(_READ_BYTES)):
                parts.append(data)
                size += len(data)
        except LineGoneError as error:
            gone = error
        if parts:
            self._record(b"".join(parts))
            self._pump_all()
        if gone:
            self._lost(gone)
            return
        now = time.monotonic()
        if size < _COLLECT_BELOW and now >= self._alert_until:
            self._collect_until = now + _COLLECT_S
            self._listen_to_line(False)

    def _record(self, data: bytes) -> None:
        before = self._log.end
        try:
            self._log.append(data, time.time_ns())
        except OSError as error:
            lost = len(data) - (self._log.end - before)
            self._unrecorded += lost
            self._tell(
                {"event": "unrecorded", "cause": str(error.strerror), "bytes": lost,
                 "offset": self._log.end}
            )  # fmt: skip

    def _pump_all(self) -> None:
        for connection in list(self._connections.values()):
            if connection.follower:
                self._pump(connection)

    def _pump(self, connection: Connection) -> None:
        try:
            connection.pump()
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
            failed = LineGoneError(str(error), thing=self._config.board)
            return lambda: self._open_failed(failed)
        return lambda: self._opened(line)

    def _opened(self, line: Line) -> None:
        self._line = line
        self._gone = None
        self._since = time.time()
        self._failures = 0
        self._listen_to_line(True)
        self._journal_entry("opened", url=line.url)
        self._tell({"event": "back", "offset": self._log.end})

    def _open_failed(self, error: LabctlError) -> None:
        self._gone = error
        self._schedule_reopen()

    def _schedule_reopen(self) -> None:
        delay = _REOPEN_S[min(self._failures, len(_REOPEN_S) - 1)]
        self._failures += 1
        self._reopen_at = time.monotonic() + delay

    def _lost(self, error: LineGoneError) -> None:
        assert self._line is not None
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._line)
        self._reading = self._writing = False
        self._line.close()
        self._line = None
        self._gone = error
        self._since = time.time()
        self._journal_entry("gone", cause=error.cause)
        self._tell({"event": "gone", "offset": self._log.end, "cause": error.cause,
                    "action": error.action})  # fmt: skip
        while self._writes:
            write = self._writes.popleft()
            self._fail(write.connection, write.request, error)
        self._schedule_reopen()

    def _write_some(self) -> None:
        while self._writes and self._line is not None:
            write = self._writes[0]
            try:
                count = self._line.write(write.rest)
            except LineGoneError as error:
                self._lost(error)
                return
            write.rest = write.rest[count:]
            if write.rest:
                break
            self._writes.popleft()
            self._answer(write.connection, write.request)
        wanted = bool(self._writes)
        if self._line is not None and wanted != self._writing:
            self._writing = wanted
            self._update_line_events()

    # -- work that blocks --------------------------------------------------------------------

    def _start_work(self, work: Callable[[], Callable[[], None]]) -> None:
        """Run ``work`` on a thread; what it returns is then called in the loop."""
        self._working = True

        def run() -> None:
            self._done.append(work())
            self._wake_write.send(b"\0")

        threading.Thread(target=run, daemon=True).start()

    def _worker_finished(self, events: int) -> None:
        self._wake_read.recv(64)
        while self._done:
            self._working = False
            self._done.popleft()()

    # -- clients -----------------------------------------------------------------------------

    def _accept(self, events: int) -> None:
        with contextlib.suppress(OSError):
            link, _ = self._listener.accept()
            self._count += 1
            connection = Connection(link, self._count)
            self._connections[connection.number] = connection
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        events = selectors.EVENT_READ
        if connection.wants_to_send(self._log.end):
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
            self._pump(connection)
        if not events & selectors.EVENT_READ or connection.number not in self._connections:
            return
        try:
            data = connection.link.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            if connection.follower is None:
                for message in connection.buffer.feed(data):
                    self._request(connection, message)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()
        self._waiters = deque(one for one in self._waiters if one.connection is not connection)
        self._writes = deque(one for one in self._writes if one.connection is not connection)
        ended = self._ledger.release(connection.number)
        if ended:
            self._journal_entry("released", lease=ended.number, why="its holder has gone")

    def _say(self, connection: Connection, message: Message) -> None:
        try:
            connection.say(message)
        except OSError:
            self._drop(connection)
            return
        self._watch(connection)

    def _tell(self, event: Message) -> None:
        """Tell everyone who does not merely follow."""
        for connection in list(self._connections.values()):
            if connection.follower is None:
                self._say(connection, event)

    def _answer(self, connection: Connection, request: Message, **details: object) -> None:
        if connection.number in self._connections:
            self._say(connection, {"id": request.get("id"), "ok": True, **details})

    def _fail(
        self, connection: Connection, request: Message, error: LabctlError, **details: object
    ) -> None:
        if connection.number in self._connections:
            described = {**protocol.error_to_message(error), **details}
            self._say(connection, {"id": request.get("id"), "error": described})

    # -- requests ----------------------------------------------------------------------------

    def _request(self, connection: Connection, request: Message) -> None:
        handler = getattr(self, f"_op_{request.get('op')}", None)
        try:
            if handler is None:
                raise UsageError(f"the owner of the line knows no {request.get('op')!r}",
                                 thing=self._config.board)  # fmt: skip
            self._ledger.beat(connection.number, time.monotonic())
            handler(connection, request)
        except LabctlError as error:
            self._fail(connection, request, error)
        except (KeyError, TypeError, ValueError) as error:
            refused = UsageError(f"bad request: {error}", thing=self._config.board)
            self._fail(connection, request, refused)

    def _op_status(self, connection: Connection, request: Message) -> None:
        lease = self._ledger.lease
        now = time.monotonic()
        self._answer(
            connection,
            request,
            board=self._config.board,
            url=self._config.url,
            settings=self._config.settings.describe(),
            open=self._line is not None,
            cause=self._gone.cause if self._gone else "",
            since=self._since,
            begin=self._reader.begin,
            end=self._log.end,
            unrecorded=self._unrecorded,
            readers=sum(one.follower is not None for one in self._connections.values()),
            lease=lease.describe(now) if lease else None,
            pid=os.getpid(),
        )

    def _op_beat(self, connection: Connection, request: Message) -> None:
        self._answer(connection, request)

    def _op_acquire(self, connection: Connection, request: Message) -> None:
        holder = Holder(connection.user, str(request["host"]), connection.pid, str(request["what"]))
        ttl_s = min(max(float(request["ttl_s"]), 1.0), _MOST_TTL_S)
        idle = request.get("idle_s")
        waiter = _Waiter(
            connection=connection,
            request=request,
            holder=holder,
            ttl_s=ttl_s,
            idle_s=None if idle is None else float(idle),
            until=time.monotonic() + min(max(float(request.get("wait_s", 0.0)), 0.0), _MOST_TTL_S),
        )
        self._waiters.append(waiter)
        self._serve_waiters(time.monotonic())

    def _serve_waiters(self, now: float) -> None:
        """Give the line to who has waited longest; refuse those who waited enough."""
        while self._waiters:
            waiter = self._waiters[0]
            lease, gave_way = self._ledger.acquire(
                waiter.connection.number, waiter.holder, now=now, clock=time.time(),
                ttl_s=waiter.ttl_s, idle_s=waiter.idle_s,
            )  # fmt: skip
            if lease is None:
                break
            self._waiters.popleft()
            if gave_way:
                self._lease_ended(gave_way, "it was idle", by=str(lease.holder))
            self._journal_entry("leased", lease=lease.number, user=lease.holder.user,
                                host=lease.holder.host, pid=lease.holder.pid,
                                what=lease.holder.what)  # fmt: skip
            self._answer(waiter.connection, waiter.request, lease=lease.number)
        late = [waiter for waiter in self._waiters if waiter.until <= now]
        for waiter in late:
            self._waiters.remove(waiter)
            self._fail(waiter.connection, waiter.request, self._busy(now),
                       lease=self._described_lease(now))  # fmt: skip

    def _described_lease(self, now: float) -> dict[str, Any] | None:
        return self._ledger.lease.describe(now) if self._ledger.lease else None

    def _busy(self, now: float) -> BusyError:
        lease = self._ledger.lease
        assert lease is not None
        since = time.strftime("%H:%M:%S", time.localtime(lease.since))
        name = self._config.board
        return BusyError(
            f"held by {lease.holder} since {since}",
            thing=name,
            action=f"ask {lease.holder.user}, wait with --wait SECONDS, read along with "
            f"'labctl console --watch {name}', or take it with "
            f"'labctl board release {name} --force'",
        )

    def _lease_ended(self, lease: Lease, why: str, *, by: str) -> None:
        self._journal_entry("released", lease=lease.number, why=why, by=by)
        connection = self._connections.get(lease.connection)
        if connection:
            self._say(connection, {"event": "lost", "by": by, "why": why})

    def _op_release(self, connection: Connection, request: Message) -> None:
        ended = self._ledger.release(connection.number)
        if ended:
            self._journal_entry("released", lease=ended.number, why="given back")
        self._answer(connection, request)

    def _op_force(self, connection: Connection, request: Message) -> None:
        ended = self._ledger.release()
        by = f"{connection.user}@{request.get('host', '?')} (pid {connection.pid})"
        if ended:
            self._lease_ended(ended, "taken by force", by=by)
        self._answer(
            connection, request, former=ended.describe(time.monotonic()) if ended else None
        )

    def _op_note(self, connection: Connection, request: Message) -> None:
        details = request["details"]
        self._journal_entry(str(request["event"]), user=connection.user, **details)
        self._answer(connection, request, offset=self._log.end)

    def _op_follow(self, connection: Connection, request: Message) -> None:
        wanted = request.get("offset")
        offset = self._log.end if wanted is None else int(wanted)
        offset = max(self._reader.begin, min(offset, self._log.end))
        self._answer(connection, request, offset=offset)
        connection.follower = Follower(self._place.log, offset)
        self._pump(connection)

    def _op_stop(self, connection: Connection, request: Message) -> None:
        self._answer(connection, request)
        self.stop()

    def _op_write(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        self._must_be_open()
        now = time.monotonic()
        self._ledger.beat(connection.number, now, wrote=True)
        self._alert_until = now + _ALERT_S
        if not self._reading:
            self._listen_to_line(True)
        data = protocol.unpack(request["data"])
        self._writes.append(_Write(connection, request, data))
        self._write_some()

    def _op_baud(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        rate = int(request["rate"])
        self._must_be_open().set_baud(rate)
        self._journal_entry("baud", rate=rate)
        self._answer(connection, request)

    def _op_signals(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        dtr, rts = request.get("dtr"), request.get("rts")
        self._must_be_open().set_signals(dtr=dtr, rts=rts)
        self._journal_entry("signals", dtr=dtr, rts=rts)
        self._answer(connection, request)

    def _op_break(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        line = self._must_be_open()
        seconds = min(max(float(request["seconds"]), 0.0), _MOST_BREAK_S)
        if self._working:
            raise BusyError("it is busy with another break", thing=self._config.board)

        def work() -> Callable[[], None]:
            try:
                line.send_break(seconds)
            except LabctlError as error:
                return lambda failed=error: self._fail(connection, request, failed)  # type: ignore[misc]
            return lambda: self._answer(connection, request)

        self._journal_entry("break", seconds=seconds)
        self._start_work(work)

    def _must_hold(self, connection: Connection) -> None:
        if not self._ledger.holds(connection.number):
            raise LeaseLostError(
                "the line is not leased to you", thing=self._config.board, action="acquire it first"
            )

    def _must_be_open(self) -> Line:
        if self._line is None:
            assert self._gone is not None
            raise self._gone
        return self._line

    def _journal_entry(self, event: str, **details: object) -> None:
        self._journal.write(event, time=time.time(), offset=self._log.end, **details)


class _Write:
    """Bytes on their way to the line."""

    def __init__(self, connection: Connection, request: Message, rest: bytes) -> None:
        self.connection = connection
        self.request = request
        self.rest = rest


class _Waiter:
    """Somebody who wants the line."""

    def __init__(
        self,
        *,
        connection: Connection,
        request: Message,
        holder: Holder,
        ttl_s: float,
        idle_s: float | None,
        until: float,
    ) -> None:
        self.connection = connection
        self.request = request
        self.holder = holder
        self.ttl_s = ttl_s
        self.idle_s = idle_s
        self.until = until


def _identity(place: Place) -> tuple[int, int] | None:
    """Return which folder lies at the place; another one, or none, ends the owner."""
    try:
        found = place.folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

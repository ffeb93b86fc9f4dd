"""What clients ask of the owner of a line, one method for each op of `protocol`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labctl.boards.owner import protocol
from labctl.boards.owner.connections import Connection, Follower
from labctl.boards.owner.conversation import Conversation
from labctl.boards.owner.leases import Holder, Lease
from labctl.boards.owner.pending import Waiter, Write
from labctl.boards.owner.protocol import LeaseLostError, Message
from labctl.errors import BusyError, LabctlError, UsageError
from labctl.transport.lines.base import Line
from labctl.transport.lines.settings import LineSettings

if TYPE_CHECKING:
    from labctl.boards.owner.server import Owner

_MOST_TTL_S = 3600.0
_MOST_BREAK_S = 2.0


class Requests:
    """Answers the requests of clients.

    Args:
        owner: Whose line it is about.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    # -- requests ----------------------------------------------------------------------------

    def handle(self, connection: Connection, request: Message) -> None:
        """Do what ``request`` asks and answer it, or say why not."""
        handler = getattr(self, f"_op_{request.get('op')}", None)
        try:
            if handler is None:
                raise UsageError(f"the owner of the line knows no {request.get('op')!r}",
                                 thing=self._owner.config.board)  # fmt: skip
            self._owner.ledger.beat(connection.number, time.monotonic())
            handler(connection, request)
        except LabctlError as error:
            self._owner.fail(connection, request, error)
        except (KeyError, TypeError, ValueError) as error:
            refused = UsageError(f"bad request: {error}", thing=self._owner.config.board)
            self._owner.fail(connection, request, refused)

    def _op_status(self, connection: Connection, request: Message) -> None:
        lease = self._owner.ledger.lease
        now = time.monotonic()
        self._owner.answer(
            connection,
            request,
            board=self._owner.config.board,
            url=self._owner.config.url,
            settings=self._owner.config.settings.describe(),
            open=self._owner.line is not None,
            cause=self._owner.gone.cause if self._owner.gone else "",
            since=self._owner.since,
            begin=self._owner.reader.begin,
            end=self._owner.log.end,
            unrecorded=self._owner.unrecorded,
            readers=sum(one.follower is not None for one in self._owner.connections.values()),
            lease=lease.describe(now) if lease else None,
            pid=os.getpid(),
        )

    def _op_configure(self, connection: Connection, request: Message) -> None:
        settings = LineSettings(**request["settings"])
        former = self._owner.config.settings
        if settings != former:
            lease = self._owner.ledger.lease
            if lease is not None and not self._owner.ledger.holds(connection.number):
                raise self._busy(time.monotonic())
            self._owner.configure(settings)
        self._owner.answer(connection, request, former=former.describe())

    def _op_beat(self, connection: Connection, request: Message) -> None:
        self._owner.answer(connection, request)

    def _op_acquire(self, connection: Connection, request: Message) -> None:
        holder = Holder(connection.user, str(request["host"]), connection.pid, str(request["what"]))
        ttl_s = min(max(float(request["ttl_s"]), 1.0), _MOST_TTL_S)
        idle = request.get("idle_s")
        waiter = Waiter(
            connection=connection,
            request=request,
            holder=holder,
            ttl_s=ttl_s,
            idle_s=None if idle is None else float(idle),
            until=time.monotonic() + min(max(float(request.get("wait_s", 0.0)), 0.0), _MOST_TTL_S),
        )
        self._owner.waiters.append(waiter)
        self.serve_waiters(time.monotonic())

    def serve_waiters(self, now: float) -> None:
        """Give the line to who has waited longest; refuse those who waited enough."""
        while self._owner.waiters:
            waiter = self._owner.waiters[0]
            lease, gave_way = self._owner.ledger.acquire(
                waiter.connection.number, waiter.holder, now=now, clock=time.time(),
                ttl_s=waiter.ttl_s, idle_s=waiter.idle_s,
            )  # fmt: skip
            if lease is None:
                break
            self._owner.waiters.popleft()
            if gave_way:
                self.lease_ended(gave_way, "it was idle", by=str(lease.holder))
            self._owner.note("leased", lease=lease.number, user=lease.holder.user,
                                host=lease.holder.host, pid=lease.holder.pid,
                                what=lease.holder.what)  # fmt: skip
            self._owner.answer(waiter.connection, waiter.request, lease=lease.number)
        late = [waiter for waiter in self._owner.waiters if waiter.until <= now]
        for waiter in late:
            self._owner.waiters.remove(waiter)
            self._owner.fail(waiter.connection, waiter.request, self._busy(now),
                       lease=self._described_lease(now))  # fmt: skip

    def _described_lease(self, now: float) -> dict[str, Any] | None:
        return self._owner.ledger.lease.describe(now) if self._owner.ledger.lease else None

    def _busy(self, now: float) -> BusyError:
        lease = self._owner.ledger.lease
        assert lease is not None
        since = time.strftime("%H:%M:%S", time.localtime(lease.since))
        name = self._owner.config.board
        return BusyError(
            f"held by {lease.holder} since {since}",
            thing=name,
            action=f"ask {lease.holder.user}, wait with --wait SECONDS, read along with "
            f"'labctl console --watch {name}', or take it with "
            f"'labctl board release {name} --force'",
        )

    def lease_ended(self, lease: Lease, why: str, *, by: str) -> None:
        """Journal the end of a lease and tell who had it."""
        self._owner.end_conversation(
            LeaseLostError("the line was taken from you", thing=self._owner.config.board)
        )
        self.restore_settings()
        self._owner.note("released", lease=lease.number, why=why, by=by)
        self._owner.loans.end(why, lease.connection)
        connection = self._owner.connections.get(lease.connection)
        if connection:
            self._owner.say(connection, {"event": "lost", "by": by, "why": why})

    def _op_release(self, connection: Connection, request: Message) -> None:
        ended = self._owner.ledger.release(connection.number)
        if ended:
            self.restore_settings()
            self._owner.note("released", lease=ended.number, why="given back")
            self._owner.loans.end("given back", connection.number)
        self._owner.answer(connection, request)

    def _op_force(self, connection: Connection, request: Message) -> None:
        ended = self._owner.ledger.release()
        by = f"{connection.user}@{request.get('host', '?')} (pid {connection.pid})"
        if ended:
            self.lease_ended(ended, "taken by force", by=by)
        self._owner.answer(
            connection, request, former=ended.describe(time.monotonic()) if ended else None
        )

    def _op_note(self, connection: Connection, request: Message) -> None:
        details = request["details"]
        self._owner.note(str(request["event"]), user=connection.user, **details)
        self._owner.answer(connection, request, offset=self._owner.log.end)

    def _op_follow(self, connection: Connection, request: Message) -> None:
        wanted = request.get("offset")
        offset = self._owner.log.end if wanted is None else int(wanted)
        offset = max(self._owner.reader.begin, min(offset, self._owner.log.end))
        self._owner.answer(connection, request, offset=offset)
        connection.follower = Follower(self._owner.place.log, offset)
        self._owner.pump(connection)

    def _op_stop(self, connection: Connection, request: Message) -> None:
        self._owner.answer(connection, request)
        self._owner.stop()

    def _op_write(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        self._must_be_open()
        self._owner.be_alert(connection, time.monotonic())
        data = protocol.unpack(request["data"])
        self._owner.writes.append(Write(connection, request, data))
        self._owner.write_some()

    def _op_converse(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        self._must_be_open()
        if self._owner.conversation is not None:
            raise BusyError("another conversation is not over", thing=self._owner.config.board)
        self._owner.conversation = Conversation(self._owner, connection, request)
        self._owner.conversation.begin()

    def _op_baud(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        rate = int(request["rate"])
        self._must_be_open().set_baud(rate)
        self._owner.off_rate = rate != self._owner.config.settings.baud
        self._owner.note("baud", rate=rate)
        self._owner.answer(connection, request)
        self._owner.read_line()

    def restore_rate(self) -> None:
        """Set the line to its own rate again, whatever became of who changed it."""
        if not self._owner.off_rate or self._owner.line is None:
            return
        self._owner.off_rate = False
        rate = self._owner.config.settings.baud
        try:
            self._owner.line.set_baud(rate)
        except LabctlError as error:
            self._owner.note("baud", rate=rate, failed=error.cause)
        else:
            self._owner.note("baud", rate=rate, why="the lease has ended")

    def restore_parity(self) -> None:
        """Set the line to its own parity again; see `restore_rate`."""
        if not self._owner.off_parity or self._owner.line is None:
            return
        self._owner.off_parity = False
        parity = self._owner.config.settings.parity
        try:
            self._owner.line.set_parity(parity)
        except LabctlError as error:
            self._owner.note("parity", parity=parity, failed=error.cause)
        else:
            self._owner.note("parity", parity=parity, why="the lease has ended")

    def restore_settings(self) -> None:
        """Set the line as it is configured, whatever became of who changed it."""
        self.restore_rate()
        self.restore_parity()

    def _op_parity(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        parity = request["parity"]
        self._must_be_open().set_parity(parity)
        self._owner.off_parity = parity != self._owner.config.settings.parity
        self._owner.note("parity", parity=parity)
        self._owner.answer(connection, request)
        self._owner.read_line()

    def _op_signals(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        dtr, rts = request.get("dtr"), request.get("rts")
        self._must_be_open().set_signals(dtr=dtr, rts=rts)
        self._owner.note("signals", dtr=dtr, rts=rts)
        self._owner.answer(connection, request)
        self._owner.read_line()

    def _op_break(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        line = self._must_be_open()
        seconds = min(max(float(request["seconds"]), 0.0), _MOST_BREAK_S)
        if self._owner.worker.busy:
            raise BusyError("it is busy with another break", thing=self._owner.config.board)

        def work() -> Callable[[], None]:
            try:
                line.send_break(seconds)
            except LabctlError as error:
                return lambda failed=error: self._owner.fail(connection, request, failed)  # type: ignore[misc]

            def done() -> None:
                self._owner.answer(connection, request)
                self._owner.read_line()

            return done

        self._owner.note("break", seconds=seconds)
        self._owner.worker.start(work)

    def _op_lend(self, connection: Connection, request: Message) -> None:
        self._must_hold(connection)
        line = self._must_be_open()
        if self._owner.worker.busy:
            raise BusyError("it is busy with a break", thing=self._owner.config.board)
        device = line.device
        if device is not None:
            self._owner.loans.lend(connection, str(request["to"]), device)
        self._owner.answer(connection, request, device=device)

    def _op_return(self, connection: Connection, request: Message) -> None:
        self._owner.loans.give_back(connection, request)

    def _must_hold(self, connection: Connection) -> None:
        if not self._owner.ledger.holds(connection.number):
            raise LeaseLostError(
                "the line is not leased to you",
                thing=self._owner.config.board,
                action="acquire it first",
            )

    def _must_be_open(self) -> Line:
        if self._owner.line is None:
            assert self._owner.gone is not None
            raise self._owner.gone
        return self._owner.line

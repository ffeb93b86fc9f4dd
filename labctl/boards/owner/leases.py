"""Who may write to a line: one holder at a time, with a name, a purpose and an end.

A lease is bound to the connection it was asked on, so it goes when the holder's process does. A
process that hangs stops its heartbeat, and the lease expires. A person's terminal that has been
idle gives way when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, or wants it.

    Attributes:
        user: Login name, from the kernel (SO_PEERCRED), not from what the client says.
        host: Host name of the client's machine.
        pid: Its process.
        what: What for: the command, in a few words.
    """

    user: str
    host: str
    pid: int
    what: str

    def __str__(self) -> str:
        """Return it as a message names it."""
        return f"{self.user}@{self.host} (pid {self.pid}) with '{self.what}'"


@dataclass(frozen=True)
class Lease:
    """One lease.

    Attributes:
        number: Its number; every lease of a line has another one.
        connection: Key of the connection that it is bound to.
        holder: Who has it.
        since: When it began, seconds since the epoch.
        ttl_s: It expires so many seconds after the last heartbeat.
        idle_s: It gives way to others so many seconds after the last write; None: never.
        beat: The last heartbeat, seconds of a monotonic clock.
        wrote: The last write, seconds of a monotonic clock.
    """

    number: int
    connection: int
    holder: Holder
    since: float
    ttl_s: float
    idle_s: float | None
    beat: float
    wrote: float

    def expired(self, now: float) -> bool:
        """Tell whether the holder has been silent for too long."""
        return now - self.beat > self.ttl_s

    def yields(self, now: float) -> bool:
        """Tell whether it gives way to somebody who asks."""
        return self.expired(now) or (self.idle_s is not None and now - self.wrote > self.idle_s)

    def describe(self, now: float) -> dict[str, Any]:
        """Return it for clients; times are seconds."""
        return {
            "number": self.number,
            "user": self.holder.user,
            "host": self.holder.host,
            "pid": self.holder.pid,
            "what": self.holder.what,
            "since": self.since,
            "expires_in_s": round(max(0.0, self.ttl_s - (now - self.beat)), 1),
            "idle_s": round(now - self.wrote, 1),
            "yields_after_s": self.idle_s,
        }


@dataclass
class Ledger:
    """The lease of one line; pure, the caller gives the time."""

    lease: Lease | None = None
    _count: int = field(default=0, repr=False)

    def acquire(
        self,
        connection: int,
        holder: Holder,
        *,
        now: float,
        clock: float,
        ttl_s: float,
        idle_s: float | None,
    ) -> tuple[Lease | None, Lease | None]:
        """Give the line to ``holder`` if it is free, or its holder's already.

        Args:
            connection: Key of the connection that asks.
            holder: Who asks.
            now: Monotonic time, seconds.
            clock: Seconds since the epoch, for `Lease.since`.
            ttl_s: See `Lease`.
            idle_s: See `Lease`.

        Returns:
            The new lease, or None if somebody else has the line; and the lease that had to give
            way for it, or None.
        """
        former = self.lease
        if former and former.connection != connection and not former.yields(now):
            return None, None
        self._count += 1
        self.lease = Lease(self._count, connection, holder, clock, ttl_s, idle_s, now, now)
        gone = former if former and former.connection != connection else None
        return self.lease, gone

    def holds(self, connection: int) -> bool:
        """Tell whether ``connection`` has the line."""
        return self.lease is not None and self.lease.connection == connection

    def beat(self, connection: int, now: float, *, wrote: bool = False) -> None:
        """Note a sign of life of the holder."""
        if self.lease and self.lease.connection == connection:
            self.lease = replace(self.lease, beat=now, wrote=now if wrote else self.lease.wrote)

    def release(self, connection: int | None = None) -> Lease | None:
        """End the lease (of ``connection``, or whoever has it) and return it."""
        if self.lease is None or connection not in (None, self.lease.connection):
            return None
        ended, self.lease = self.lease, None
        return ended

    def expire(self, now: float) -> Lease | None:
        """End the lease if its holder has been silent for too long; return it then."""
        return self.release() if self.lease and self.lease.expired(now) else None

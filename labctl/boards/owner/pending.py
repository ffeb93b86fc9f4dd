"""What waits at the owner: bytes on their way to the line, and clients that want the lease."""

from __future__ import annotations

from labctl.boards.owner.connections import Connection
from labctl.boards.owner.leases import Holder
from labctl.boards.owner.protocol import Message


class Write:
    """Bytes on their way to the line; ``quiet`` where the request is answered later."""

    def __init__(
        self, connection: Connection, request: Message, rest: bytes, *, quiet: bool = False
    ) -> None:
        self.quiet = quiet
        self.connection = connection
        self.request = request
        self.rest = rest


class Waiter:
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

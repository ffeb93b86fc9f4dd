"""Several exchanges in a row, conducted by the owner itself: send, wait for the answer, go on.

Protocols of boot ROMs have an answer to every few bytes. A client that waits for each of them pays
for two changes between processes each time, which on a busy machine is more than the line takes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.boards.owner import protocol
from labctl.boards.owner.connections import Connection
from labctl.boards.owner.pending import Write
from labctl.boards.owner.protocol import Message

if TYPE_CHECKING:
    from labctl.boards.owner.server import Owner

_MOST_STEPS = 256
_MOST_STEP_S = 60.0


@dataclass(frozen=True)
class Exchange:
    """One exchange.

    Attributes:
        data: What is sent.
        count: Bytes of the answer.
        begins: What the answer has to begin with; with anything else the conversation ends.
        timeout: Seconds to wait for all of it.
    """

    data: bytes
    count: int
    begins: bytes = b""
    timeout: float = 1.0

    def to_message(self) -> Message:
        """Return it for a request."""
        return {
            "data": protocol.pack(self.data),
            "count": self.count,
            "begins": protocol.pack(self.begins),
            "timeout": self.timeout,
        }

    @classmethod
    def from_message(cls, message: Message) -> Exchange:
        """Read what `to_message` wrote.

        Raises:
            ValueError: It is something else.
        """
        return cls(
            protocol.unpack(message["data"]), int(message["count"]),
            protocol.unpack(message["begins"]),
            min(max(float(message["timeout"]), 0.0), _MOST_STEP_S),
        )  # fmt: skip


class Conversation:
    """Exchanges of one client; it ends with the last one, or the first that goes otherwise.

    Args:
        owner: Whose line it is.
        connection: The client.
        request: What is answered at the end, with how many exchanges went well.

    Raises:
        ValueError: The request is none.
    """

    def __init__(self, owner: Owner, connection: Connection, request: Message) -> None:
        self._owner = owner
        self.connection = connection
        self.request = request
        self._exchanges = [Exchange.from_message(one) for one in request["exchanges"]]
        if not 0 < len(self._exchanges) <= _MOST_STEPS:
            raise ValueError("so many exchanges are not possible")
        self._done = 0
        self._answer = b""
        self._begin = owner.log.end
        self.deadline = 0.0

    def begin(self) -> None:
        """Send what the next exchange sends."""
        exchange = self._exchanges[self._done]
        now = time.monotonic()
        self.deadline = now + exchange.timeout
        self._owner.be_alert(self.connection, now)
        self._owner.writes.append(Write(self.connection, self.request, exchange.data, quiet=True))
        self._owner.write_some()

    def feed(self, data: bytes) -> None:
        """Take what the line said."""
        exchange = self._exchanges[self._done]
        self._answer += data
        begins = exchange.begins[: len(self._answer)]
        if not self._answer.startswith(begins) or len(self._answer) > exchange.count:
            self.end()
        elif len(self._answer) == exchange.count:
            self._answer = b""
            self._done += 1
            if self._done == len(self._exchanges):
                self.end()
            else:
                self.begin()

    def tick(self, now: float) -> None:
        """End it if its time is over."""
        if now >= self.deadline:
            self.end()

    def end(self) -> None:
        """Answer how far it came."""
        self._owner.conversation = None
        self._owner.answer(
            self.connection, self.request, done=self._done, begin=self._begin,
            offset=self._owner.log.end,
        )  # fmt: skip

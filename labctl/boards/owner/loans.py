"""A line that is lent: closed by its owner for a while, so that another program can open the port.

Flashers such as avrdude talk to the port themselves. The loan belongs to the borrower's lease, and
ends with it, however that ends; then the owner opens the line again. What the program reads in the
meantime is not in the record, and the journal says from when to when.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.boards.owner.connections import Connection
from labctl.boards.owner.protocol import Message
from labctl.transport.lines.base import LineGoneError

if TYPE_CHECKING:
    from labctl.boards.owner.server import Owner

# A program that has ended lets go of a port at once, but a USB adapter may take its time.
_REOPEN_S = 10.0


class _Loan:
    """One loan.

    Args:
        connection: Key of the borrower's connection.
        to: The program.
        device: What it opens.
    """

    def __init__(self, connection: int, to: str, device: str) -> None:
        self.connection = connection
        self.to = to
        # O_PATH opens nothing; it holds on to the device's node, and knows when that is removed.
        try:
            self._node = os.open(device, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            self._node = -1

    def end(self) -> bool:
        """Return whether the device is still the one that was lent, whatever has its name now."""
        if self._node < 0:
            return False
        try:
            return os.fstat(self._node).st_nlink > 0
        finally:
            os.close(self._node)


@dataclass(frozen=True)
class _Return:
    """A borrower that waits until the line is open again."""

    connection: Connection
    request: Message
    until: float


class Loans:
    """The loan of one line.

    Args:
        owner: Whose line it is.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loan: _Loan | None = None
        self._returns: list[_Return] = []

    @property
    def out(self) -> bool:
        """Whether the line is lent."""
        return self._loan is not None

    def due(self) -> list[float]:
        """Return when `serve` has something to do at the latest, monotonic seconds."""
        return [one.until for one in self._returns]

    def lend(self, connection: Connection, to: str, device: str) -> None:
        """Close the line, so that the program ``to`` can open ``device``; what came is recorded.

        Raises:
            LineGoneError: There is no line to lend.
        """
        owner = self._owner
        owner.read_line()
        if owner.line is None:
            assert owner.gone is not None
            raise owner.gone
        self._loan = _Loan(connection.number, to, device)
        by, name = f"{connection.user} (pid {connection.pid})", owner.config.board
        action = f"wait, or take it with 'labctl board release {name} --force'"
        owner.let_go(LineGoneError(f"it is lent to {to}, by {by}", thing=name, action=action))
        owner.note("lent", to=to, by=by)
        owner.tell({"event": "lent", "to": to, "by": by, "offset": owner.log.end})

    def give_back(self, connection: Connection, request: Message) -> None:
        """End the loan of ``connection``; it is answered when the line is open again."""
        wait_s = min(max(float(request.get("wait_s", _REOPEN_S)), 0.0), _REOPEN_S)
        self._returns.append(_Return(connection, request, time.monotonic() + wait_s))
        self.end("given back", connection.number)
        self.serve()

    def end(self, why: str, connection: int) -> None:
        """Open the line again if it is lent to that connection."""
        if self._loan is None or self._loan.connection != connection:
            return
        self._owner.note("returned", to=self._loan.to, why=why)
        same = self._loan.end()
        self._loan = None
        self._owner.open_soon(same=same)

    def serve(self) -> None:
        """Answer those who wait until the line is open again, or have waited enough."""
        now, owner = time.monotonic(), self._owner
        for one in list(self._returns):
            if owner.line is not None:
                owner.answer(one.connection, one.request)
            elif one.until <= now and owner.gone is not None:
                owner.fail(one.connection, one.request, owner.gone)
            else:
                continue
            self._returns.remove(one)

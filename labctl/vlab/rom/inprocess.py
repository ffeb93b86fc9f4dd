"""A board in this process, with a clock of its own: nothing waits, everything is repeatable.

Its line has what conversations need of one (`labctl.boards.channel.Channel`, and rate, parity and
signals); time passes only in `Line.read`, as much as the bytes on the wire and the flash take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from labctl.transport.lines.base import LineGoneError
from labctl.vlab.rom.board import Board
from labctl.vlab.rom.chip import load_chip
from labctl.vlab.rom.families import WIRINGS, make_chip
from labctl.vlab.rom.settings import Settings
from labctl.vlab.rom.uart import Format


class _Exchange(Protocol):
    """See `labctl.boards.owner.conversation.Exchange`, which this room does not know."""

    @property
    def data(self) -> bytes: ...

    @property
    def count(self) -> int: ...

    @property
    def begins(self) -> bytes: ...

    @property
    def timeout(self) -> float: ...


class _Port:
    """Where the bytes of the host wait."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.plugged = True
        self.set = Format(115200, "none")

    def read(self) -> bytes:
        data = bytes(self.sent)
        self.sent.clear()
        return data

    def write(self, data: bytes) -> int:
        self.received += data
        return len(data)

    def format(self) -> Format:
        return self.set

    def plug(self, plugged: bool) -> None:
        self.plugged = plugged
        self.sent.clear()
        self.received.clear()


class Line:
    """The host's end of the line of a board.

    Args:
        settings: As in `labctl.vlab.rom.settings.Settings`.
        folder: Where its flash is kept; None keeps it in memory.

    Attributes:
        board: The board.
        now: Its clock, seconds.
        offset: Bytes read so far.
    """

    name = "simulated"

    def __init__(self, settings: Mapping[str, object], folder: Path | None = None) -> None:
        chosen = Settings().changed(settings)
        family = load_chip(chosen.chip)["family"]
        self.now = 0.0
        self.offset = 0
        self._port = _Port()
        self.chip = make_chip(chosen, folder, self._port.format)
        self.board = Board(
            self.chip, self._port, paced=chosen.paced, most_baud=chosen.most_baud,
            clock=lambda: self.now,
        )  # fmt: skip
        self._wiring = WIRINGS[family](self.board)

    def _gone(self) -> LineGoneError:
        return LineGoneError("the port is gone", thing=self.name, action="plug it in again")

    def _serve(self) -> float | None:
        """Do what there is to do now; return when there is something again."""
        due = self.board.service(self.now)
        while due is not None and due <= self.now:
            due = self.board.service(self.now)
        return due

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the line.

        Raises:
            LineGoneError: The adapter is not plugged in.
        """
        if not self._port.plugged:
            raise self._gone()
        self._port.sent += data
        self._serve()

    def read(self, timeout: float) -> bytes:
        """Return bytes as soon as there are some, nothing if none came within ``timeout`` seconds.

        Raises:
            LineGoneError: The adapter is not plugged in.
        """
        deadline = self.now + timeout
        while True:
            due = self._serve()
            if self._port.received:
                data = bytes(self._port.received)
                self._port.received.clear()
                self.offset += len(data)
                return data
            if not self._port.plugged:
                raise self._gone()
            if due is None or due > deadline:
                self.now = deadline
                return b""
            self.now = due

    def converse(self, exchanges: Sequence[_Exchange]) -> tuple[int, bytes]:
        """Conduct exchanges, as the owner of a line does."""
        said = b""
        for number, exchange in enumerate(exchanges):
            self.write(exchange.data)
            answer = b""
            while len(answer) < exchange.count:
                piece = self.read(exchange.timeout)
                answer, said = answer + piece, said + piece
                if not piece or not answer.startswith(exchange.begins[: len(answer)]):
                    return number, said
            if len(answer) > exchange.count:
                return number, said
        return len(exchanges), said

    def idle(self, seconds: float) -> None:
        """Let time pass; what arrives meanwhile waits."""
        until = self.now + seconds
        while (due := self._serve()) is not None and due <= until:
            self.now = max(self.now, due)
        self.now = until

    def set_baud(self, rate: int) -> None:
        """Set the rate of this end, baud."""
        self._port.set = Format(rate, self._port.set.parity)

    def set_parity(self, parity: str) -> None:
        """Set the parity of this end."""
        self._port.set = Format(self._port.set.baud, parity)

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set modem control outputs; None leaves one as it is."""
        self._wiring.set(dtr, rts)
        self._serve()

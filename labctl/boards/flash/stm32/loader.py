"""A client of the boot loader in the ROM of an STM32, over a serial line.

The protocol proves what goes to the chip (an XOR) and nothing of what comes from it, and it has no
time-outs: after a lost byte the chip waits for ever. So whoever uses this reads back, and
`Loader.resync` brings the chip back to where it waits for a command, whatever it waits for.

Sources: AN3155 (commands, ACK, NACK, checksums), AN2606 (which chip has which).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import xor
from typing import Protocol

from labctl.boards.owner.conversation import Exchange

SYNC, ACK, NACK = 0x7F, 0x79, 0x1F
BLOCK = 256
BITS_PER_BYTE = 11  # start, eight data bits, even parity, stop

_GET, _GET_VERSION, _GET_ID, _READ, _GO = 0x00, 0x01, 0x02, 0x11, 0x21
_WRITE, _ERASE, _EXTENDED_ERASE = 0x31, 0x43, 0x44
# Seconds for an answer that takes the chip no time: adapters, networks, a busy machine.
_ANSWER_S = 1.0
# Programming a block: 128 half words of at most 70 us (DS5319), and less on other chips.
_PROGRAM_S = 1.0
# The longest erase: data sheets have 4 s for 128 KiB at the lowest voltage, 40 ms for 1 KiB.
_ERASE_S, _ERASE_S_PER_BYTE = 2.0, 4.0 / (128 << 10)
# Taken for a half of a command, an address, or data, it is refused or does nothing: programming
# 0xFF changes no cell, and no chip has an erase list of such pages.
_FILLER = b"\xff"
_RESYNC_S = 0.15
_QUIET_S = 0.15


class LinkError(Exception):
    """What was asked is not known to be done; `Loader.resync` makes the next question possible."""


class SilentError(LinkError):
    """No answer, or not all of it."""


class RefusedByChipError(LinkError):
    """The chip said NACK: damaged on its way, not allowed, or not known."""


class Wire(Protocol):
    """What is needed of a line; `labctl.boards.client.LineClient` has it."""

    def write(self, data: bytes) -> None:
        """Send."""

    def read(self, timeout: float) -> bytes:
        """Return bytes as soon as there are some, nothing after ``timeout`` seconds."""

    def converse(self, exchanges: Sequence[Exchange]) -> tuple[int, bytes]:
        """Conduct exchanges; return how many went as they should, and what was said."""


class Loader:
    """A conversation with one chip.

    Args:
        wire: The line, set to the chip's parity.
        baud: Its rate, for how long answers take.

    Attributes:
        commands: What the chip knows; empty before `get`.
        protocol: Version of its protocol, such as 0x31 for 3.1.
        joined: A command and its parameters may be sent in one go; see `try_joined`.
    """

    def __init__(self, wire: Wire, baud: int) -> None:
        self._wire = wire
        self._byte_s = BITS_PER_BYTE / baud
        self._left = b""
        self.commands: frozenset[int] = frozenset()
        self.protocol = 0
        self.joined = False

    # -- bytes -------------------------------------------------------------------------------

    def _receive(self, count: int, timeout: float = _ANSWER_S) -> bytes:
        """Return exactly ``count`` bytes.

        Raises:
            SilentError: Nothing came for ``timeout`` seconds, and not all was there.
        """
        data = self._left
        while len(data) < count:
            piece = self._wire.read(timeout + count * self._byte_s)
            if not piece:
                self._left = b""
                raise SilentError(f"{len(data)} of {count} bytes came")
            data += piece
        data, self._left = data[:count], data[count:]
        return data

    def _ack(self, timeout: float = _ANSWER_S) -> None:
        answer = self._receive(1, timeout)[0]
        if answer == NACK:
            raise RefusedByChipError("the chip refused it")
        if answer != ACK:
            raise LinkError(f"the chip answered {answer:#04x}")

    def _drain(self, quiet_s: float = _QUIET_S) -> None:
        """Throw away what is still on its way, until nothing came for ``quiet_s`` seconds."""
        self._left = b""
        for _ in range(4 * BLOCK):
            if not self._wire.read(quiet_s):
                return

    def _command(self, code: int) -> None:
        self._wire.write(bytes([code, code ^ 0xFF]))
        self._ack()

    # -- beginning ---------------------------------------------------------------------------

    def sync(self) -> None:
        """Let the chip measure the rate, or find out that it has.

        Raises:
            LinkError: It does not answer, or what it says is not understood at this rate.
        """
        # Shortly: what its program said last is no ACK, and whoever calls tries again.
        self._drain(_RESYNC_S / 5)
        # Twice: a chip that has measured already takes the first for half a command.
        for _ in range(2):
            self._wire.write(bytes([SYNC]))
            answer = self._wire.read(_ANSWER_S)
            if answer in (bytes([ACK]), bytes([NACK])):
                return
            if answer:
                break
        raise SilentError("it does not answer") if not answer else LinkError("wrong rate or parity")

    def resync(self) -> None:
        """Bring a chip that waits for something unknown back to where it waits for a command.

        Raises:
            LinkError: It does not answer.
        """
        self._drain()
        # A command, an address or the size of a block is over after a few bytes; data after 257.
        for fill in (*[1] * 6, BLOCK + 1, *[1] * 6):
            self._wire.write(_FILLER * fill)
            answer = self._wire.read(_RESYNC_S + fill * self._byte_s)
            if answer == bytes([NACK]) and fill == 1:
                return
            if answer:
                # An answer to something else, or to several: it may be anywhere between two.
                self._drain()
        raise SilentError("it does not answer any more")

    def get(self) -> None:
        """Ask which commands it knows."""
        self._command(_GET)
        count = self._receive(1)[0]
        data = self._receive(count + 1)
        self._ack()
        self.protocol, self.commands = data[0], frozenset(data[1:])

    def product(self) -> int:
        """Return its product ID, which AN2606 lists."""
        self._command(_GET_ID)
        data = self._receive(self._receive(1)[0] + 1)
        self._ack()
        return int.from_bytes(data, "big")

    def try_joined(self, address: int) -> None:
        """Find out whether it takes a command and its parameters in one go, by reading so.

        AN3155 has the host wait for ACK between them, which costs a round trip each; the ROMs read
        their UART fast enough to do without, unless a clock is low or the rate high. Asked by a
        command that changes nothing, at a readable ``address``.
        """
        self.joined = True
        try:
            self.read(address, BLOCK)
        except LinkError:
            self.joined = False
            self.resync()

    # -- memory ------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Return 1 to 256 bytes of memory.

        Raises:
            RefusedByChipError: It may not be read: not there, or protected.
            LinkError: The answer did not come whole.
        """
        count = size - 1
        ask = bytes([_READ, _READ ^ 0xFF]), _checked(address.to_bytes(4, "big")), _count(count)
        # Refused, an address is taken for commands: those of flash are none. A size could be one.
        if self.joined and size == BLOCK:
            self._wire.write(b"".join(ask))
            for _ in ask:
                self._ack()
        else:
            for part in ask:
                self._wire.write(part)
                self._ack()
        return self._receive(size)

    def write(self, address: int, data: bytes) -> None:
        """Write at most 256 bytes, filled up to whole words with 0xFF.

        Raises:
            RefusedByChipError: It was not written: damaged on its way, or not allowed there.
            LinkError: It is not known whether it was written.
        """
        data += b"\xff" * (-len(data) % 4)
        ask = bytes([_WRITE, _WRITE ^ 0xFF]), _checked(address.to_bytes(4, "big"))
        if self.joined:
            self._wire.write(b"".join(ask))
            for _ in ask:
                self._ack()
        else:
            for part in ask:
                self._wire.write(part)
                self._ack()
        # Never before the address was taken: data behind a refused address would be commands.
        self._wire.write(_checked(bytes([len(data) - 1]) + data))
        self._ack(_ANSWER_S + _PROGRAM_S + (len(data) + 2) * self._byte_s)

    def read_many(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return what is at ``places`` (address and size), until one of them fails; see `read`."""
        exchanges: list[Exchange] = []
        ends = []
        for address, size in places:
            ask = _ask(_READ, address), _count(size - 1)
            if self.joined and size == BLOCK:
                parts = [b"".join((*ask[0], ask[1]))]
            else:
                parts = [*ask[0], ask[1]]
            exchanges += self._exchanges(parts, acks=3, size=size)
            ends.append(len(exchanges))
        done, said = self._wire.converse(exchanges)
        found, at = [], 0
        for end, (_, size) in zip(ends, places, strict=True):
            if end > done:
                break
            found.append(said[at + 3 : at + 3 + size])
            at += 3 + size
        return found

    def write_many(self, blocks: Sequence[tuple[int, bytes]]) -> int:
        """Write ``blocks`` (address and bytes) until one fails; return how many went well.

        Of the one after those it is not known whether it was written; see `write`.
        """
        exchanges: list[Exchange] = []
        ends = []
        for address, data in blocks:
            padded = data + b"\xff" * (-len(data) % 4)
            ask = _ask(_WRITE, address)
            parts = [b"".join(ask)] if self.joined else list(ask)
            exchanges += self._exchanges(parts, acks=2, size=0)
            whole = _checked(bytes([len(padded) - 1]) + padded)
            timeout = _ANSWER_S + _PROGRAM_S + len(whole) * self._byte_s
            exchanges.append(Exchange(whole, 1, bytes([ACK]), timeout))
            ends.append(len(exchanges))
        done, _ = self._wire.converse(exchanges)
        return sum(end <= done for end in ends)

    def _exchanges(self, parts: Sequence[bytes], *, acks: int, size: int) -> list[Exchange]:
        """Return one exchange for each part; the last one is answered with ``size`` bytes too."""
        found = []
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            ack = bytes([ACK]) * (acks if len(parts) == 1 else 1)
            count = len(ack) + (size if last else 0)
            timeout = _ANSWER_S + (len(part) + count) * self._byte_s
            found.append(Exchange(part, count, ack, timeout))
        return found

    def erase(self, sector: int, size: int) -> None:
        """Erase one sector or page of ``size`` bytes.

        One at a time: so no byte that gets lost or doubled makes another sector of it.

        Raises:
            RefusedByChipError: It was not erased.
            LinkError: It is not known whether it was.
        """
        if _EXTENDED_ERASE in self.commands:
            self._command(_EXTENDED_ERASE)
            self._wire.write(_checked(b"\0\0" + sector.to_bytes(2, "big")))
        else:
            self._command(_ERASE)
            self._wire.write(_checked(bytes([0, sector])))
        self._ack(_ANSWER_S + _ERASE_S + size * _ERASE_S_PER_BYTE)

    def go(self, address: int) -> None:
        """Start the program whose vector table is at ``address``."""
        self._command(_GO)
        self._wire.write(_checked(address.to_bytes(4, "big")))
        self._ack()


def _checked(data: bytes) -> bytes:
    return data + bytes([reduce(xor, data, 0)])


def _ask(code: int, address: int) -> tuple[bytes, bytes]:
    return bytes([code, code ^ 0xFF]), _checked(address.to_bytes(4, "big"))


def _count(count: int) -> bytes:
    return bytes([count, count ^ 0xFF])

"""YMODEM-1K, the sending side.

Source: Chuck Forsberg, "XMODEM/YMODEM Protocol Reference" (1988): blocks of 128 (SOH) or 1024 bytes
(STX) with a number, its complement and a CRC-16 (polynomial 0x1021), block 0 with name and size,
EOT, two CANs that cancel. Receivers that it is tested with: U-Boot's loady and lrzsz's rb.

What a receiver says is looked at one byte at a time, and only what can be an answer at that moment
counts: a late ``C`` is no refusal of block 1, and what else is said on the line is passed over.
"""

from __future__ import annotations

import binascii
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.boards.channel import Channel
from labctl.errors import LabctlError

SOH, STX, EOT, ACK, NAK, CAN = b"\x01", b"\x02", b"\x04", b"\x06", b"\x15", b"\x18"
CRC_REQUEST = b"C"
# Section 4: "send at least two"; more, so that one that is lost does no harm. The backspaces take
# them off the line of a shell that was no receiver any more.
CANCEL = CAN * 8 + b"\x08" * 8
_LARGE, _SMALL = 1024, 128
_PAD = b"\x1a"
_OVERHEAD = 5
_TRIES = 10
_START_S = 15.0
# A receiver that lost its place in a block waits for silence before it asks for it again: 1 s in
# the reference (section 7.3.2), 2 s in U-Boot (common/xyzModem.c, xyzModem_CHAR_TIMEOUT). To send
# again any sooner would only keep it lost, so each wait is longer than the one before.
_LEAST_ANSWER_S = 3.0
_MOST_ANSWER_S = 15.0
# One that takes bytes of a damaged block for blocks refuses each of them. So what it says is let
# pass before the block is sent again, longer each time, until it takes the silence for an end.
_QUIET_S = (0.1, 1.5, 2.5)
# How much of what is said is kept to find a banner or a prompt in it.
_SAID_BYTES = 512
BITS_PER_BYTE = 10


class TransferError(LabctlError):
    """The receiver does not take the file."""


class CancelledError(TransferError):
    """The receiver cancelled."""


class ReceiverGoneError(LabctlError):
    """What the other end says, no receiver says: the board was reset, or is at its prompt."""


@dataclass
class TransferReport:
    """What a transfer took.

    Attributes:
        size: Bytes of the file.
        sent: Bytes that went over the line, with framing and repetitions.
        blocks: Data blocks.
        resent: Blocks that had to be sent again.
        seconds: From the first data block to the answer to the last one.
    """

    size: int
    sent: int = 0
    blocks: int = 0
    resent: int = 0
    seconds: float = 0.0


def frame(number: int, payload: bytes) -> bytes:
    """Return block ``number`` with ``payload``, padded to 128 or 1024 bytes."""
    size = _SMALL if len(payload) <= _SMALL else _LARGE
    # Block 0 is padded with zeros, data with CP/M's end of file.
    body = payload.ljust(size, b"\0" if number == 0 else _PAD)
    head = SOH if size == _SMALL else STX
    count = number & 0xFF
    crc = binascii.crc_hqx(body, 0)
    return head + bytes((count, 0xFF - count)) + body + crc.to_bytes(2, "big")


def line_bytes(size: int) -> int:
    """Return how many bytes a file of ``size`` bytes takes on the line, both directions."""
    full, rest = divmod(size, _LARGE)
    blocks = full + bool(rest)
    last = 0 if not rest else _SMALL if rest <= _SMALL else _LARGE
    data = full * _LARGE + last + blocks * _OVERHEAD
    # An answer to each block; block 0, its answers and the end.
    return data + blocks + 2 * (_SMALL + _OVERHEAD + 2) + 4


class Sender:
    """Sends one file.

    Args:
        channel: The line, leased to us, with a receiver that waits.
        name: The board, for messages.
        baud: Rate of the line, from which it follows how long an answer may take; None if unknown.
        heard: What was read of the receiver already.
        gone: What is said only where no receiver is any more: boot banners, prompts.
        clock: Tells the time, seconds.
    """

    def __init__(
        self,
        channel: Channel,
        name: str,
        *,
        baud: int | None = None,
        heard: bytes = b"",
        gone: Sequence[re.Pattern[bytes]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._name = name
        block_s = (_LARGE + _OVERHEAD) * BITS_PER_BYTE / baud if baud else 0.0
        self._answer_s = _LEAST_ANSWER_S + 4 * block_s
        self._pending = heard
        self._gone = gone
        self._said = b""
        self._cans = 0
        self.report = TransferReport(0)

    def send(
        self, data: bytes, file_name: str, reached: Callable[[int], None] = lambda done: None
    ) -> TransferReport:
        """Send ``data``.

        Args:
            data: Content of the file.
            file_name: What the receiver is told.
            reached: Gets the bytes that the receiver has taken, after each block.

        Raises:
            TransferError: It does not answer, or refuses a block again and again.
            CancelledError: It cancelled.
            ReceiverGoneError: It is no receiver any more.
            LineGoneError: The line went away.
        """
        self.report = TransferReport(len(data))
        self._await_request("it does not ask for a file (YMODEM)", _START_S)
        header = file_name.encode("ascii", "replace")[:64] + b"\0" + str(len(data)).encode() + b"\0"
        self._block(0, header)
        self._await_request("it took the name of the file and does not ask for it", _START_S)
        started = self._clock()
        for number, begin in enumerate(range(0, len(data), _LARGE), start=1):
            self._block(number, data[begin : begin + _LARGE])
            self.report.blocks += 1
            reached(min(begin + _LARGE, len(data)))
        self.report.seconds = self._clock() - started
        self._end()
        return self.report

    def rest(self) -> bytes:
        """Return what was read behind the receiver's last answer."""
        rest, self._pending = self._pending, b""
        return rest

    def cancel(self) -> None:
        """Tell the receiver that nothing more comes."""
        self._write(CANCEL)

    # -- the steps ---------------------------------------------------------------------------

    def _block(self, number: int, payload: bytes) -> None:
        block = frame(number, payload)
        self._said = b""
        for attempt in range(_TRIES):
            if attempt:
                self.report.resent += 1
                self._let_pass(_QUIET_S[min(attempt, len(_QUIET_S)) - 1])
            self._write(block)
            patience = min(self._answer_s * (attempt + 1), _MOST_ANSWER_S)
            if self._answer(ACK + NAK, patience, watch=True) == ACK:
                return
        raise TransferError(
            f"it did not take block {number} in {_TRIES} tries", thing=self._name,
            action="look at the rate and the cable of the line",
        )  # fmt: skip

    def _end(self) -> None:
        # The first EOT may be refused, so that one made by noise ends nothing (section 3.4).
        for _ in range(_TRIES):
            self._write(EOT)
            if self._answer(ACK + NAK, self._answer_s) == ACK:
                break
        else:
            raise TransferError("it does not take the end of the file", thing=self._name)
        # It asks for the next file; an empty name says that there is none. A receiver that ended
        # by itself is content.
        if self._answer(CRC_REQUEST, self._answer_s) != CRC_REQUEST:
            return
        for _ in range(_TRIES):
            self._write(frame(0, b"\0"))
            # It has the file; lrzsz's rb is gone before its last answer is, now and then.
            if self._answer(ACK + NAK, self._answer_s) != NAK:
                return

    def _await_request(self, cause: str, seconds: float) -> None:
        if self._answer(CRC_REQUEST, seconds) != CRC_REQUEST:
            raise TransferError(cause, thing=self._name)
        # A receiver that waited for long has asked often; only its next words count.
        self._pending = b""

    # -- bytes -------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self.report.sent += len(data)
        self._channel.write(data)

    def _let_pass(self, seconds: float) -> None:
        """Read until nothing came for ``seconds``, at most ten times as long."""
        self._pending = b""
        end = self._clock() + 10 * seconds
        while self._clock() < end and (data := self._channel.read(seconds)):
            self._look_at(data)
            if CAN * 2 in data:
                raise CancelledError("it cancelled the transfer", thing=self._name)

    def _look_at(self, data: bytes) -> None:
        self._said = (self._said + data)[-_SAID_BYTES:]
        if any(sign.search(self._said) for sign in self._gone):
            raise ReceiverGoneError(
                "it was reset, or left its receiver, in the middle of the transfer",
                thing=self._name, action="start again",
            )  # fmt: skip

    def _answer(self, wanted: bytes, seconds: float, *, watch: bool = False) -> bytes:
        """Return the first byte that is one of ``wanted``; empty if none came in time.

        ``watch``: look out for words that only come where no receiver is any more.
        """
        deadline = self._clock() + seconds
        while True:
            for at, value in enumerate(self._pending):
                byte = bytes((value,))
                self._cans = self._cans + 1 if byte == CAN else 0
                if self._cans >= 2:
                    raise CancelledError("it cancelled the transfer", thing=self._name)
                if byte in wanted:
                    self._pending = self._pending[at + 1 :]
                    return byte
            self._pending = b""
            left = deadline - self._clock()
            if left <= 0:
                return b""
            self._pending = self._channel.read(left)
            if watch:
                self._look_at(self._pending)

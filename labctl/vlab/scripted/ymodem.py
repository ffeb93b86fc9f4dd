"""The receiving side of YMODEM, at the level of bytes: what ``loady`` of the scripted board is.

It follows the reference's chapter on the receiver and shares nothing with the sender in
`labctl.boards.flash`, which is tested with it.

Source: Chuck Forsberg, "XMODEM/YMODEM Protocol Reference" (1988), section 7.3.
"""

from __future__ import annotations

import binascii

SOH, STX, EOT, ACK, NAK, CAN = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18
_PATIENCE_S = 10.0
_IN_BLOCK_S = 1.0


class Receiver:
    """Takes one file.

    Attributes:
        name: Name of the file.
        size: Its size, as its sender said, bytes; -1 before.
        data: What has come, the padding of the last block with it.
        done: Whether the sender has ended.
        cancelled: Whether one of both gave up.
    """

    def __init__(self) -> None:
        self.name = ""
        self.size = -1
        self.data = bytearray()
        self.done = False
        self.cancelled = False
        self._block = bytearray()
        self._expected = 0
        self._eots = 0
        self._ended = False

    def start(self) -> bytes:
        """Return the first request."""
        return b"C"

    @property
    def patience(self) -> float:
        """How long it waits for the next byte (section 7.3.2), seconds."""
        return _IN_BLOCK_S if self._block else _PATIENCE_S

    def timeout(self) -> bytes:
        """It waited long enough: it drops what it has of a block, and asks again."""
        self._block.clear()
        if self.done or self.cancelled:
            return b""
        return b"C" if self._expected == 0 else bytes([NAK])

    def feed(self, data: bytes) -> bytes:
        """Take bytes and return the answers to them."""
        answer = bytearray()
        for value in data:
            self._block.append(value)
            answer += self._look()
        return bytes(answer)

    def _look(self) -> bytes:
        head = self._block[0]
        if head == EOT and self._expected > 0:
            self._block.clear()
            self._eots += 1
            if self._eots == 1:
                return bytes([NAK])
            self._ended, self._expected = True, 0
            return bytes([ACK]) + b"C"
        if head == CAN:
            if self._block[:2] == bytes([CAN, CAN]):
                self.cancelled = True
                self._block.clear()
            return b""
        if head not in (SOH, STX):
            self._block.clear()
            return b""
        size = 128 if head == SOH else 1024
        if len(self._block) < size + 5:
            return b""
        block = bytes(self._block)
        self._block.clear()
        return self._take(block, size)

    def _take(self, block: bytes, size: int) -> bytes:
        number, complement = block[1], block[2]
        payload, crc = block[3 : 3 + size], int.from_bytes(block[3 + size :], "big")
        if number != 0xFF - complement or binascii.crc_hqx(payload, 0) != crc:
            return bytes([NAK])
        if self._ended:
            self.done = not payload.rstrip(b"\0")
            return bytes([ACK])
        if number == (self._expected - 1) & 0xFF and self._expected > 0:
            return bytes([ACK])  # the sender did not hear us
        if number != self._expected & 0xFF:
            self.cancelled = True
            return bytes([CAN, CAN])
        if self._expected == 0:
            name, _, rest = payload.partition(b"\0")
            self.name, self.size = name.decode(), int(rest.split(b"\0")[0].split()[0])
            self._expected = 1
            return bytes([ACK]) + b"C"
        self.data += payload
        self._expected += 1
        return bytes([ACK])

    @property
    def content(self) -> bytes:
        """The file."""
        return bytes(self.data[: self.size])

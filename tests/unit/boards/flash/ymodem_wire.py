"""A line between a YMODEM sender and a receiver, which errs; time is counted, not waited for."""

from __future__ import annotations

from collections.abc import Callable

from labctl.vlab.scripted.ymodem import Receiver

Fault = Callable[[int, int], bytes]


class Wire:
    """A channel to a receiver, with faults, and the clock of both.

    Args:
        receiver: The other end.
        outward: Changes what is sent: (position, byte) -> bytes.
        inward: Changes what comes back, likewise.
    """

    def __init__(
        self,
        receiver: Receiver,
        outward: Fault = lambda at, value: bytes([value]),
        inward: Fault = lambda at, value: bytes([value]),
    ) -> None:
        self.receiver = receiver
        self.now = 0.0
        self._outward, self._inward = outward, inward
        self._sent = self._answered = 0
        self._waiting = b""
        self._quiet_since = 0.0
        self._answer(receiver.start())

    def clock(self) -> float:
        return self.now

    @property
    def offset(self) -> int:
        return self._answered

    def _answer(self, data: bytes) -> None:
        for value in data:
            self._waiting += self._inward(self._answered, value)
            self._answered += 1

    def write(self, data: bytes) -> None:
        changed = bytearray()
        for value in data:
            changed += self._outward(self._sent, value)
            self._sent += 1
        self._quiet_since = self.now
        self._answer(self.receiver.feed(bytes(changed)))

    def read(self, timeout: float) -> bytes:
        if not self._waiting:
            due = self._quiet_since + self.receiver.patience
            if due <= self.now + timeout:
                self.now = max(self.now, due)
                self._quiet_since = self.now
                self._answer(self.receiver.timeout())
            else:
                self.now += timeout
        data, self._waiting = self._waiting, b""
        return data

    def send_break(self, seconds: float) -> None:
        raise AssertionError("a transfer needs no break")

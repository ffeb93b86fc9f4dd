"""U-Boot's ``loady``: a file over the line, at another rate if asked for.

Source: U-Boot 2023.01, cmd/load.c, do_load_serial_bin() and load_serial_ymodem().
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from labctl.vlab.scripted.memory import Memory
from labctl.vlab.scripted.ymodem import Receiver

_POLL_S = 0.02
_ENTER, _ESCAPE = 0x0D, 0x1B
# xyzModem.c: so many requests without an answer, and it gives up.
_MOST_REQUESTS = 12

Rate = Callable[[int], None]


class Loady:
    """One run of the command.

    Args:
        say: Prints text.
        emit: Sends bytes as they are.
        memory: Where the file goes.
        address: Address there.
        base: Rate of the console, baud.
        rate: Rate to receive at, baud.
        set_rate: Sets the rate of the board's UART once all is sent.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        emit: Callable[[bytes], None],
        memory: Memory,
        address: int,
        base: int,
        rate: int,
        set_rate: Rate,
    ) -> None:
        self._say, self._emit = say, emit
        self._memory, self._address = memory, address
        self._base, self._rate = base, rate
        self._set_rate = set_rate
        self._receiver = Receiver()
        self._wanted: int | None = None  # the key that is waited for
        self._heard_at = time.monotonic()
        self._requests = 0
        self.status = 1

    def feed(self, data: bytes) -> None:
        """Take what came over the line."""
        self._heard_at = time.monotonic()
        if self._wanted is not None:
            if self._wanted in data:
                self._wanted = None
            return
        self._requests = 0
        self._emit(self._receiver.feed(data))

    def run(self) -> Iterator[float]:
        """Do it; yields seconds to wait before going on."""
        if self._rate != self._base:
            yield from self._switch(self._rate, "ENTER", _ENTER)
        self._say(f"## Ready for binary (ymodem) download to 0x{self._address:08X} "
                  f"at {self._rate} bps...\n")  # fmt: skip
        self._heard_at = time.monotonic()
        self._emit(self._receiver.start())
        while not (self._receiver.done or self._receiver.cancelled):
            yield _POLL_S
            self._look_at_the_clock()
        self._finish()
        if self._rate != self._base:
            yield from self._switch(self._base, "ESC", _ESCAPE)

    def _switch(self, rate: int, key: str, value: int) -> Iterator[float]:
        self._wanted = value
        self._say(f"## Switch baudrate to {rate} bps and press {key} ...\n")
        self._set_rate(rate)
        while self._wanted is not None:
            yield _POLL_S

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now - self._heard_at < self._receiver.patience:
            return
        self._heard_at = now
        self._requests += 1
        if self._requests > _MOST_REQUESTS:
            self._receiver.cancelled = True
        else:
            self._emit(self._receiver.timeout())

    def _finish(self) -> None:
        if self._receiver.cancelled:
            self._say("## Binary (ymodem) download aborted\n")
            return
        content = self._receiver.content
        self._memory.write(self._address, content)
        self._say(f"## Total Size      = 0x{len(content):08x} = {len(content)} Bytes\n")
        self.status = 0

"""Over the serial line, by YMODEM-1K, at the highest rate that both sides hold.

U-Boot's ``loady ADDRESS BAUD`` changes the rate for one file: it asks for ENTER at the new rate
before, and for ESC at the old one after it (cmd/load.c: do_load_serial_bin). A rate at which the
board does not answer, or blocks have to be sent again and again, is left for the next lower one;
what proved good is remembered for the cable.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence

from labctl.boards.flash import ymodem
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.rates import RateMemory
from labctl.boards.flash.uboot.monitor import Monitor
from labctl.boards.flash.uboot.upload import Reached, Upload
from labctl.boards.flash.ymodem import Sender, TransferError, TransferReport
from labctl.errors import LabctlError
from labctl.transport.lines.base import UnsupportedError

_READY = re.compile(rb"## Ready for binary \(ymodem\) download to 0x[0-9A-Fa-f]+ at \d+ bps")
_ENTER = re.compile(rb"## Switch baudrate to \d+ bps and press ENTER")
_ESCAPE = re.compile(rb"## Switch baudrate to \d+ bps and press ESC")
_TOTAL = re.compile(rb"## Total Size +=")
# Lines that end in a UART of our own; others (a socket, an emulator) have no rate.
_WITH_RATE = ("/", "udev:", "rfc2217:", "ssh:")
_READY_S = 5.0
_END_S = 10.0
# ENTER at the new rate, ESC at the old: the first may come while the UART is still being set.
_PRESSES = 5
_PRESS_EVERY_S = 0.3
# One block in so many sent twice is bad luck; more, and a lower rate is faster and safer.
_RESENT_SHARE = 0.02


class SerialUpload(Upload):
    """See the module.

    Args:
        monitor: The board's U-Boot.
        rates: Rates that may be tried besides the line's own, baud.
    """

    name = "ymodem"
    by_line = True

    def __init__(self, monitor: Monitor, rates: Sequence[int] = ()) -> None:
        super().__init__(monitor)
        bench = monitor.bench
        self._line = bench.line
        self._base = bench.model.line.baud
        self._memory = RateMemory(bench.line.place.folder)
        self._rates = self._memory.to_try(rates, self._base)
        self._sender: Sender | None = None
        self.reports: list[tuple[int, TransferReport]] = []

    def why_not(self) -> str | None:
        """Return why it cannot be used, or None."""
        return None if self.monitor.has("loady") else "its U-Boot has no loady"

    @property
    def rate(self) -> int:
        """The rate that is used next, baud."""
        return self._rates[0] if self._rates else self._base

    def limit(self) -> float | None:
        """Return the bytes of payload per second that YMODEM-1K carries at this rate."""
        if not self._line.config.url.startswith(_WITH_RATE):
            return None
        block = 1024
        return self.rate / ymodem.BITS_PER_BYTE * block / (ymodem.line_bytes(2 * block) / 2)

    def describe(self) -> str:
        """Return it for people."""
        return "YMODEM" if self.limit() is None else f"YMODEM at {self.rate} baud"

    def send(self, address: int, data: bytes, reached: Reached) -> None:
        """Put ``data`` at ``address``; see `Upload.send`."""
        while True:
            rate = self.rate
            try:
                report = self._send(address, data, reached, rate)
            except UnsupportedError:
                self._rates = []  # this line has one rate
                continue
            except TransferError:
                if rate == self._base:
                    raise
                self._step_down(rate)
                continue
            self.reports.append((rate, report))
            if report.resent > max(1.0, report.blocks * _RESENT_SHARE) and rate != self._base:
                self._step_down(rate)
            elif rate != self._base:
                self._memory.remember(rate)
            return

    def _step_down(self, rate: int) -> None:
        self._rates = [one for one in self._rates if one < rate]
        self._memory.forget(rate)

    def _send(self, address: int, data: bytes, reached: Reached, rate: int) -> TransferReport:
        uboot = self.monitor.bench.uboot
        assert uboot is not None
        moved = rate != self._base
        if moved:
            self._line.set_baud(self._base)  # raises where the line cannot, before U-Boot is asked
        uboot.send_line(f"loady {address:#x} {rate}" if moved else f"loady {address:#x}")
        reader = _Reader(self.monitor)
        if moved:
            reader.wait(_ENTER, _READY_S)
            self._line.set_baud(rate)
            self._press_enter(reader, rate)
        else:
            reader.wait(_READY, _READY_S)
        self._sender = Sender(
            self._line, self.monitor.name, baud=rate, heard=reader.rest(), gone=self._gone()
        )
        try:
            report = self._sender.send(data, "image", reached)
            reader.wait(_ESCAPE if moved else _TOTAL, _END_S, already=self._sender.rest())
        except BaseException:
            # Also on Ctrl-C: the receiver hears it at the rate that it has now, and no other.
            self.cancel()
            raise
        finally:
            self._sender = None
            if moved:
                self._back_to_base(reader)
        self._settle()
        return report

    def _gone(self) -> list[re.Pattern[bytes]]:
        """Return what U-Boot says when it does not receive: after a reset, or at its prompt."""
        signs = self.monitor.bench.signs
        return [*signs.rom, *([signs.uboot_prompt] if signs.uboot_prompt else [])]

    def _press_enter(self, reader: _Reader, rate: int) -> None:
        for _ in range(_PRESSES):
            self._line.write(b"\r")
            with contextlib.suppress(TransferError):
                reader.wait(_READY, _PRESS_EVERY_S)
                return
        # U-Boot waits for ENTER at a rate that does not carry it: only a reset brings it back.
        self._line.set_baud(self._base)
        self._memory.forget(rate)
        self.monitor.bench.boot("uboot", force=True)
        raise TransferError(f"it does not answer at {rate} baud", thing=self.monitor.name)

    def _back_to_base(self, reader: _Reader) -> None:
        """Go back to the line's own rate, and press ESC there until the prompt comes."""
        prompt = self.monitor.bench.signs.uboot_prompt
        assert prompt is not None
        with contextlib.suppress(LabctlError):
            self._line.set_baud(self._base)
            for _ in range(_PRESSES):
                # The board may still be setting its UART when the first one comes.
                self._line.write(b"\x1b")
                with contextlib.suppress(TransferError):
                    reader.wait(prompt, _PRESS_EVERY_S)
                    break
            # An ESC too many would begin an escape sequence.
            self._line.write(b"\x03")

    def _settle(self) -> None:
        """Wait until the shell answers again."""
        uboot = self.monitor.bench.uboot
        assert uboot is not None
        if not uboot.probe(_END_S):
            raise FlashError(
                "its U-Boot does not answer after the transfer", thing=self.monitor.name,
                action=f"labctl board state {self.monitor.name} --recover",
            )  # fmt: skip

    def cancel(self) -> None:
        """End a transfer; raises nothing."""
        with contextlib.suppress(LabctlError):
            self._line.write(ymodem.CANCEL)
            # U-Boot may be told so in the middle of a block, which takes what comes for its rest.
            self._drain()
            self._line.write(ymodem.CANCEL + b"\x03")
            self._drain()

    def _drain(self) -> None:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline and self._line.read(0.1):
            pass


class _Reader:
    """Waits for U-Boot's words around a transfer."""

    def __init__(self, monitor: Monitor) -> None:
        self._line = monitor.bench.line
        self._name = monitor.name
        self._seen = bytearray()

    def wait(self, pattern: re.Pattern[bytes], seconds: float, *, already: bytes = b"") -> None:
        """Wait until ``pattern`` came; ``already`` was read by somebody else.

        Raises:
            TransferError: It did not within ``seconds``.
        """
        self._seen += already
        deadline = time.monotonic() + seconds
        while not (match := pattern.search(self._seen)):
            left = deadline - time.monotonic()
            if left <= 0:
                last = bytes(self._seen[-80:]).decode("ascii", "replace").strip()
                raise TransferError(f"U-Boot did not go on; it last said: {last or 'nothing'}",
                                    thing=self._name)  # fmt: skip
            self._seen += self._line.read(left)
        del self._seen[: match.end()]

    def rest(self) -> bytes:
        """Return what came behind the last match."""
        rest = bytes(self._seen)
        self._seen.clear()
        return rest

"""Everything between the software of the board and the host's tty: both wires and the adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from labctl.vlab.scripted import damage
from labctl.vlab.scripted.fifo import Delay, ReceiveFifo
from labctl.vlab.scripted.port import Port
from labctl.vlab.scripted.settings import Settings
from labctl.vlab.scripted.wire import Wire

# The software stops writing while so much waits to be sent, as a full driver buffer makes it; what
# an unpaced board writes is moved in larger pieces.
_OUT_BUFFER, _OUT_BUFFER_UNPACED = 4096, 65536
_IN_BUFFER = 4096
_READ_AT_ONCE = 65536
# What the host's tty layer keeps for a program that does not read (TTYB_DEFAULT_MEM_LIMIT in
# drivers/tty/tty_buffer.c of Linux); what comes then is lost. The pseudo-terminal keeps less.
_HOST_BUFFER = 640 * 1024
# Each fault of the wires: the setting of its share and how it does its damage.
_INWARD: Mapping[str, Callable[..., damage.Stage]] = {
    "lose_in": damage.losing,
    "double_in": damage.doubling,
    "flip_in": damage.flipping,
}
_OUTWARD: Mapping[str, Callable[..., damage.Stage]] = {
    "lose_out": damage.losing,
    "double_out": damage.doubling,
    "flip_out": damage.flipping,
}

# What a cable does to bytes that are too fast for it.
_TOO_FAST = 0.01


class Line:
    """The serial line of the board.

    Args:
        port: The adapter on the host's side.
        settings: How it behaves at first.
        uptime: Tells the seconds since the reset, for kernel messages.
    """

    def __init__(self, port: Port, settings: Settings, uptime: Callable[[], float]) -> None:
        self.port = port
        self._uptime = uptime
        self._out, self._in = Wire(), Wire()
        self._stages: dict[str, damage.Stage] = {}
        self._fifo = ReceiveFifo(settings.fifo, settings.drain)
        self._delay = Delay(settings.echo_delay)
        self._baud = settings.baud
        self._backlog = bytearray()  # arrived at the adapter, not yet taken by the tty
        self._more_input = False
        self._unheard = self._host_overrun = 0
        self._build(settings, None)

    def change(self, old: Settings, new: Settings) -> None:
        """Behave as ``new`` says; what has not changed goes on undisturbed."""
        self._baud = new.baud
        self._build(new, old)
        if (old.fifo, old.drain) != (new.fifo, new.drain):
            overrun = self._fifo.overrun
            self._fifo = ReceiveFifo(new.fifo, new.drain)
            self._fifo.overrun = overrun
        if old.echo_delay != new.echo_delay:
            self._delay = Delay(new.echo_delay)

    @property
    def room(self) -> bool:
        """Whether the software may write on."""
        return len(self._out) < (_OUT_BUFFER if self._baud else _OUT_BUFFER_UNPACED)

    @property
    def waiting(self) -> int:
        """Bytes that the transmitter has not sent."""
        return len(self._out)

    def emit(self, data: bytes, now: float) -> None:
        """Take output of the software; kernel messages may come between."""
        self._out.put(self._stages["noise"].apply(data), now)

    def emit_raw(self, data: bytes, now: float) -> None:
        """Take bytes that are no software's output."""
        self._out.put(data, now)

    def receive(self, now: float, *, powered: bool, listening: bool) -> bytes:
        """Return what the software sees of the input by ``now``."""
        self._match_rates(now)
        self._more_input = False
        if len(self._in) < _IN_BUFFER:
            data = self.port.read(_READ_AT_ONCE if not self._baud else _IN_BUFFER)
            if data:
                self._in.put(data, now)
                self._more_input = True
        arrived, start, end = self._in.take(now)
        if not powered:
            return b""
        self._fifo.stop(not listening, now)
        self._fifo.arrive(arrived, start, end)
        self._delay.put(self._fifo.read(now), now)
        return self._delay.get(now) if listening else b""

    def transmit(self, now: float, most: int) -> int:
        """Send what can be by ``now``, at most ``most`` bytes; return how many were sent."""
        self._write()
        if self._backlog and not self._baud:
            return 0  # an unpaced board waits for its listener
        before = self._out.sent
        data, _, _ = self._out.take(now, most)
        if data and not self.port.heard():
            self._unheard += len(data)
        elif data:
            kept = data[: _HOST_BUFFER - len(self._backlog)]
            self._host_overrun += len(data) - len(kept)
            self._backlog += kept
            self._write()
        return self._out.sent - before

    def due(self, *, sending: bool, listening: bool) -> float | None:
        """Return when there will be something to do; 0 for at once, None for not by itself."""
        if self._more_input:
            return 0.0
        blocked = bool(self._backlog) and not self._baud
        moments = [
            self._in.due(),
            self._fifo.due() if listening else None,
            self._delay.due() if listening else None,
            self._out.due() if sending and not blocked else None,
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def cut(self) -> None:
        """Drop what the transmitter has not sent."""
        self._out.clear()

    def reset(self) -> None:
        """Forget what is in the UART of the board."""
        self._out.clear()
        self._fifo.clear()
        self._delay.clear()

    def resume(self, now: float) -> None:
        """Go on sending after the processor stood still."""
        self._out.resume(now)

    def counts(self) -> dict[str, int]:
        """Return what has happened on it so far, in bytes (noise in lines)."""
        return {
            "bytes_in": self._in.sent,
            "bytes_out": self._out.sent,
            **{name: stage.count for name, stage in sorted(self._stages.items())},
            "overrun": self._fifo.overrun,
            "framing_errors_in": self._in.framing_errors,
            "framing_errors_out": self._out.framing_errors,
            "unheard": self._unheard,
            "host_overrun": self._host_overrun,
        }

    def _match_rates(self, now: float) -> None:
        """Give both wires the rates of their ends; without pacing there are none to compare."""
        host = self.port.host_rate() if self._baud else 0
        self._in.set_rates(host, self._baud if host else 0, now)
        self._out.set_rates(self._baud, host, now)

    def _write(self) -> None:
        if self._backlog and not self.port.heard():
            self._unheard += len(self._backlog)
            self._backlog.clear()
        while self._backlog and (written := self.port.write(self._backlog)):
            del self._backlog[:written]

    def _build(self, new: Settings, old: Settings | None) -> None:
        """Make the stages whose settings changed anew; they start from the seed again."""
        for name, kind in (*_INWARD.items(), *_OUTWARD.items(), ("noise", self._noise)):
            share = _share(new, name)
            if old and old.seed == new.seed and _share(old, name) == share:
                continue
            count = self._stages[name].count if name in self._stages else 0
            self._stages[name] = kind(share, damage.randoms(new.seed, name))
            self._stages[name].count = count
        self._in.set_damage([self._stages[name] for name in _INWARD])
        self._out.set_damage([self._stages[name] for name in _OUTWARD])

    def _noise(self, share: float, source: Random) -> damage.Stage:
        return damage.noising(share, source, self._uptime)


def _share(settings: Settings, name: str) -> float:
    """Return the share of bytes that the fault ``name`` hits."""
    share: float = getattr(settings, name)
    too_fast = settings.cable and settings.baud > settings.cable
    return max(share, _TOO_FAST) if too_fast and name in ("flip_in", "flip_out") else share

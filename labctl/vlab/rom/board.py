"""A board: a chip, its power and its pins, and the line to it with all that can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labctl.errors import UsageError
from labctl.vlab.rom.program import Processor, Program
from labctl.vlab.rom.uart import Format, Uart, disturbed
from labctl.vlab.rom.wire import KINDS, Direction

# What happens at a chosen moment, and what the moments are counted in: bytes to the chip, bytes
# from it, and times that it was busy (with an erase, or with half a block of programming).
DEEDS = ("off", "reset", "unplug")
COUNTED = ("in", "out", "busy")
_MANY = 1 << 30
# What the host's tty layer keeps for a program that does not read (TTYB_DEFAULT_MEM_LIMIT in
# drivers/tty/tty_buffer.c of Linux); what comes then is lost. The pseudo-terminal keeps less.
_HOST_BUFFER = 640 * 1024
_AGAIN_S = 0.001


class Port(Protocol):
    """Where the other end of the line is."""

    def read(self) -> bytes:
        """Return what the host has sent, empty if nothing."""

    def write(self, data: bytes) -> int:
        """Hand bytes to the host; return how many it had room for."""

    def format(self) -> Format:
        """Return how the host has set its end."""

    def plug(self, plugged: bool) -> None:
        """Put the adapter in, or take it out."""


class Chip(Protocol):
    """What a board is built around."""

    uart: Uart

    def boot(self) -> Program:
        """Return what runs after a reset."""

    def set_pin(self, name: str, high: bool) -> None:
        """Set the level of a boot pin."""

    def clear_ram(self) -> None:
        """Forget what is in RAM."""

    def state(self) -> Mapping[str, object]:
        """Return what a person wants to know of it."""


@dataclass
class _Trap:
    """Something that happens at a chosen moment."""

    what: str
    left: int
    deed: str
    seconds: float | None


class Board:
    """A board, without power at first.

    Args:
        chip: What it is built around.
        port: The other end of its line.
        paced: Bytes take their time on the line.
        most_baud: What the cable carries; above it every byte is damaged. 0 for any.
        clock: Seconds of a monotonic clock.
        tell: Gets ``RESET``, ``STOP`` (power off) and ``RESUME`` (power on).
    """

    def __init__(
        self,
        chip: Chip,
        port: Port,
        *,
        paced: bool,
        most_baud: int = 0,
        clock: Callable[[], float],
        tell: Callable[[str], None] = lambda event: None,
    ) -> None:
        self.chip = chip
        self._port = port
        self._clock = clock
        self._tell = tell
        self._inward = Direction(paced=paced)
        self._outward = Direction(paced=paced)
        self._processor = Processor(chip.boot, fifo=lambda: chip.uart.fifo)
        self._processor.on_busy = self._was_busy
        self._processor.on_output = self._sent
        self._traps: list[_Trap] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._held = False
        self._backlog = bytearray()
        self._most_baud = most_baud
        self.plugged = True
        self.boots = 0

    # -- power and pins ----------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        return self._processor.running or self._held

    def power(self, on: bool) -> None:
        """Switch it; nothing happens if it is so already."""
        if on == self.powered:
            return
        if on:
            self._start()
        else:
            self._held = False
            self._processor.stop()
            self.chip.clear_ram()
            self._outward.clear()
        self._tell("RESUME" if on else "STOP")

    def reset(self) -> None:
        """Reset it; nothing happens without power."""
        if self.powered:
            self._held = False
            self._outward.clear()
            self._start()
            self._tell("RESET")

    def hold(self, held: bool) -> None:
        """Pull its reset pin low, or let go of it; without power nothing happens."""
        if held and self._processor.running:
            self._processor.stop()
            self._held = True
        elif not held and self._held:
            self.reset()

    def _start(self) -> None:
        self.boots += 1
        self._processor.start(self._clock())

    def plug(self, plugged: bool) -> None:
        """Take the adapter out, or put it back."""
        if plugged != self.plugged:
            self.plugged = plugged
            self._inward.clear()
            self._outward.clear()
            self._backlog.clear()
            self._port.plug(plugged)

    # -- faults ------------------------------------------------------------------------------

    def fault(self, values: Mapping[str, Any]) -> None:
        """Arm a fault.

        Args:
            values: ``kind`` (flip, lose, double) with ``way`` (in, out) and ``after`` (bytes), or
                ``deed`` (off, reset, unplug) with ``what`` (in, out, busy), ``after`` (how many)
                and ``seconds`` (after which it is undone; never if not given), or ``clear``.

        Raises:
            UsageError: It is none.
        """
        after = values.get("after", 0)
        if not isinstance(after, int) or after < 0:
            raise UsageError(f"{after!r} is not a count", thing="after")
        if values.get("clear"):
            self._traps.clear()
            self._inward.heal()
            self._outward.heal()
        elif values.get("kind") in KINDS and values.get("way") in ("in", "out"):
            way = self._inward if values["way"] == "in" else self._outward
            way.harm(values["kind"], after)
        elif values.get("deed") in DEEDS and values.get("what") in COUNTED:
            self._traps.append(_Trap(values["what"], after, values["deed"], values.get("seconds")))
        else:
            raise UsageError(
                "no such fault", thing=str(dict(values)),
                action=f"kind {KINDS} with way, or deed {DEEDS} with what {COUNTED}",
            )  # fmt: skip

    def _left(self, what: str) -> int:
        return min((trap.left for trap in self._traps if trap.what == what), default=_MANY)

    def _count(self, what: str, count: int) -> None:
        for trap in [one for one in self._traps if one.what == what]:
            trap.left -= count
            if trap.left <= 0:
                self._traps.remove(trap)
                self._do(trap)

    def _do(self, trap: _Trap) -> None:
        undo: Callable[[], None] | None = None
        if trap.deed == "reset":
            self.reset()
        elif trap.deed == "off":
            self.power(False)
            undo = lambda: self.power(True)  # noqa: E731
        else:
            self.plug(False)
            undo = lambda: self.plug(True)  # noqa: E731
        if undo is not None and trap.seconds is not None:
            self._later.append((self._clock() + trap.seconds, undo))

    def _was_busy(self) -> bool:
        # What happens in the middle of it happens when the program is left, not from inside it.
        if self._left("busy") <= 1:
            return True
        for trap in self._traps:
            trap.left -= trap.what == "busy"
        return False

    def _run(self, now: float) -> None:
        self._processor.run(now)
        while self._processor.stalled:
            self._processor.stalled = False
            self._count("busy", 1)
            self._processor.run(now)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, ``seconds`` from now."""
        self._later.append((self._clock() + seconds, call))

    # -- the line ----------------------------------------------------------------------------

    def service(self, now: float) -> float | None:
        """Do what there is to do at ``now``; return when there is something again, or None."""
        for due, call in [one for one in self._later if one[0] <= now]:
            self._later.remove((due, call))
            call()
        host = self._port.format()
        while data := self._port.read():
            self._inward.put(data, now, host)
        while True:
            sender, arrived, sent = self._inward.take(now, self._left("in"))
            if arrived:
                self._processor.receive(self._carried(arrived, sender, self.chip.uart.format), now)
            self._run(now)
            self._count("in", sent)
            if not sent:
                break
        self._run(now)
        while True:
            sender, arrived, sent = self._outward.take(now, self._left("out"))
            if arrived and self.plugged:
                self._backlog += self._carried(arrived, sender, self._port.format())
            self._count("out", sent)
            if not sent:
                break
        if self._backlog:
            del self._backlog[: self._port.write(bytes(self._backlog))]
            del self._backlog[_HOST_BUFFER:]
        moments = [
            now + _AGAIN_S if self._backlog else None,
            self._inward.due(), self._outward.due(), self._processor.due(),
            *(due for due, _ in self._later),
        ]  # fmt: skip
        return min((moment for moment in moments if moment is not None), default=None)

    def _sent(self, data: bytes) -> None:
        """Take what the chip sends, as it is set at that moment; at first as whoever listens."""
        chip = self.chip.uart.format
        self._outward.put(data, self._clock(), chip if chip.baud else self._port.format())

    def _carried(self, data: bytes, sender: Format, receiver: Format) -> bytes:
        """Return what comes out at the other end of the cable."""
        if 0 < self._most_baud < sender.baud:
            return bytes(byte ^ 0x55 for byte in data)
        return disturbed(data, sender, receiver)

    def state(self) -> dict[str, object]:
        """Return what a person or a test wants to know."""
        return {
            "powered": self.powered,
            "plugged": self.plugged,
            "boots": self.boots,
            "in": self._inward.count,
            "out": self._outward.count,
            "busy": self._processor.busy_steps,
            "lost": self._processor.lost,
            "host": vars(self._port.format()),
            "armed": len(self._traps),
            **self.chip.state(),
        }

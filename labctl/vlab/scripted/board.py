"""The board: power, processor and faults around its line. The loop calls `Board.service`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab.scripted import damage
from labctl.vlab.scripted.line import Line
from labctl.vlab.scripted.linux import Linux
from labctl.vlab.scripted.loop import Loop, Timer
from labctl.vlab.scripted.machine import Software
from labctl.vlab.scripted.payloads import flood
from labctl.vlab.scripted.port import Port
from labctl.vlab.scripted.settings import Actions, Settings, split_faults
from labctl.vlab.scripted.uboot import UBoot

# From the last byte sent to the reset: udelay(50000) in do_reset of U-Boot.
_SETTLE_S = 0.05
_UNLIMITED = 1 << 62
_CTRL_C = b"\x03"


class Board:
    """One board; to its software it is a `labctl.vlab.scripted.machine.Machine`.

    Args:
        folder: Its folder; ``console`` in it is its line.
        settings: How it behaves at first.
        loop: Where its timers run.
        event: Called with ``RESET``, ``STOP`` (power off) or ``RESUME`` (power on) when it happens.
    """

    def __init__(
        self, folder: Path, settings: Settings, loop: Loop, event: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self._first = self._settings = settings
        self._uart = 0  # rate that its software has set, baud; 0 where it has not
        self._loop = loop
        self._event = event
        self._started = time.monotonic()
        self._line = Line(Port(loop, folder / "console", settings.baud), settings, self._age)
        self._random = damage.randoms(settings.seed, "garbage")
        self._software: Software | None = None
        self._flood: Iterator[bytes] | None = None
        self._armed: dict[str, int] = {}  # what happens after so many more bytes
        self._timers: set[Timer] = set()
        self._frozen: list[Callable[[], None]] = []
        self._when_sent: list[Callable[[], None]] = []
        self._boots = 0
        self._line.port.plug()

    # What the software sees.

    @property
    def settings(self) -> Settings:
        """The settings of this moment."""
        return self._settings

    @property
    def uptime(self) -> float:
        """Seconds since the last reset."""
        return self._age()

    def emit(self, data: bytes) -> None:
        """Hand ``data`` to the transmitter; kernel messages may come between."""
        self._line.emit(data, time.monotonic())

    def emit_raw(self, data: bytes) -> None:
        """Hand ``data`` to the transmitter; no message comes between."""
        self._line.emit_raw(data, time.monotonic())

    def set_rate(self, baud: int) -> None:
        """Set the rate of the board's UART, until it is reset, once all is sent."""
        self.when_sent(lambda: self._set_uart(baud))

    def _set_uart(self, baud: int) -> None:
        before = self._on_line()
        self._uart = baud
        self._line.change(before, self._on_line())

    def _on_line(self) -> Settings:
        """Return the settings with the rate that the software has set; none where unpaced."""
        if not (self._uart and self._settings.baud):
            return self._settings
        return replace(self._settings, baud=self._uart)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once in ``seconds``; not while the processor hangs, nor after a reset."""

        def fire() -> None:
            self._timers.discard(timer)
            if self._settings.hang:
                self._frozen.append(call)
            else:
                call()

        timer = self._loop.later(seconds, fire)
        self._timers.add(timer)
        return timer

    def cut(self) -> None:
        """Drop what was emitted and not sent yet."""
        self._line.cut()

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call once all that was emitted has been sent."""
        self._when_sent.append(call)

    def start_linux(self) -> None:
        """Hand the board to Linux."""
        self._stop_software()
        self._software = Linux(self, self._loop, self.power_off)

    def reset(self) -> None:
        """Start again; nothing happens while the power is off."""
        if self._software is None:
            return
        self._switch_off()
        self._switch_on()
        self._event("RESET")

    # What the monitor does.

    @property
    def powered(self) -> bool:
        """Whether the power is on."""
        return self._software is not None

    @property
    def boots(self) -> int:
        """How often it has started, after power on and after resets."""
        return self._boots

    def power_on(self) -> None:
        """Switch on; nothing happens if it is."""
        if self._software is None:
            self._switch_on()
            self._event("RESUME")

    def power_off(self) -> None:
        """Switch off; nothing happens if it is."""
        if self._software is not None:
            self._switch_off()
            self._event("STOP")

    def close(self) -> None:
        """End everything that belongs to it."""
        self._switch_off()
        self._line.port.unplug()

    def fault(self, values: Mapping[str, object]) -> None:
        """Change settings and do actions, by the names in `labctl.vlab.scripted.settings`.

        Raises:
            LabctlError: Something of it cannot be; then nothing of it was done.
        """
        lasting, actions = split_faults(values)
        if self._software is None and (actions.panic or actions.garbage or actions.flood):
            raise LabctlError("it is off", thing="the board", action="switch it on first")
        self._change(self._settings.changed(lasting))
        self._act(actions)

    def clear(self) -> None:
        """Behave as at the start again: no faults, nothing armed, the adapter in."""
        self._flood = None
        self._armed.clear()
        self._line.port.plug()
        self._change(self._first)

    def faults(self) -> dict[str, object]:
        """Return the settings (but the password), and what is armed, bytes from now."""
        settings = asdict(self._settings)
        del settings["password"]
        return {"settings": settings, "armed": dict(self._armed)}

    def stats(self) -> dict[str, object]:
        """Return its state and what it has counted."""
        return {
            "state": self._state(),
            "plugged": self._line.port.plugged,
            "heard": self._line.port.heard(),
            "host_rate": self._line.port.host_rate(),
            "boots": self._boots,
            "waiting": self._line.waiting,
            **self._line.counts(),
        }

    def service(self, now: float) -> float | None:
        """Do what there is to do at ``now``; return when there is something again."""
        running = self._software is not None and not self._settings.hang
        listening = running and self._software is not None and self._software.listening
        data = self._line.receive(now, powered=self.powered, listening=listening)
        if data and self._software:
            if _CTRL_C in data:
                self._flood = None
            self._software.receive(data)
        more = False
        if running:
            more = self._produce(now)
            self._transmit(now)
        if more and self._line.room:
            return now
        return self._line.due(sending=self._running(), listening=listening)

    def _running(self) -> bool:
        return self._software is not None and not self._settings.hang

    def _produce(self, now: float) -> bool:
        """Let the software write while there is room; return whether it may have more."""
        while self._line.room:
            before = self._line.waiting
            if self._flood is not None:
                piece = next(self._flood, None)
                if piece is None:
                    self._flood = None
                else:
                    self._line.emit(piece, now)
            elif self._software:
                self._software.produce()
            if self._line.waiting == before:
                return False
        return True

    def _transmit(self, now: float) -> None:
        sent = self._line.transmit(now, min(self._armed.values(), default=_UNLIMITED))
        if sent and self._armed:
            self._armed = {name: left - sent for name, left in self._armed.items()}
            for name in [name for name, left in self._armed.items() if left <= 0]:
                self._armed.pop(name, None)
                self._trigger(name)
        if self._when_sent and not self._line.waiting:
            calls, self._when_sent = self._when_sent, []
            for call in calls:
                self.later(_SETTLE_S, call)

    def _trigger(self, name: str) -> None:
        if name == "hang":
            self._change(self._settings.changed({"hang": True}))
        elif name == "reset":
            self.reset()
        elif self._software:
            self._software.panic()

    def _act(self, actions: Actions) -> None:
        for name in ("hang", "reset", "panic"):
            after = getattr(actions, f"{name}_after")
            if after:
                self._armed[name] = after
            elif after == 0:
                self._armed.pop(name, None)
        port = self._line.port
        if actions.unplug or (actions.replug_after is not None and port.plugged):
            port.unplug()
        elif actions.unplug is False:
            port.plug()
        if actions.replug_after is not None:
            self._loop.later(actions.replug_after, port.plug)
        if actions.panic and self._software:
            self._software.panic()
        if actions.garbage:
            self._line.emit_raw(self._random.randbytes(actions.garbage), time.monotonic())
        if actions.flood:
            self._flood = flood(actions.flood, actions.flood_bytes)

    def _change(self, new: Settings) -> None:
        old, before = self._settings, self._on_line()
        self._settings = new
        self._line.change(before, self._on_line())
        if old.seed != new.seed:
            self._random = damage.randoms(new.seed, "garbage")
        if old.hang and not new.hang:
            self._line.resume(time.monotonic())
            calls, self._frozen = self._frozen, []
            for call in calls:
                call()

    def _state(self) -> str:
        if self._software is None:
            return "off"
        return "hung" if self._settings.hang else self._software.state

    def _age(self) -> float:
        return time.monotonic() - self._started

    def _switch_on(self) -> None:
        self._started = time.monotonic()
        self._boots += 1
        if self._settings.boot_garbage:
            garbage = self._random.randbytes(self._settings.boot_garbage)
            self._line.emit_raw(garbage, self._started)
        self._software = UBoot(self)

    def _switch_off(self) -> None:
        self._stop_software()
        self._set_uart(0)
        self._line.reset()
        self._flood = None
        self._armed.clear()
        # A processor that hangs starts again like any other.
        self._settings = self._settings.changed({"hang": False})

    def _stop_software(self) -> None:
        if self._software:
            self._software.stop()
        self._software = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._frozen.clear()
        self._when_sent.clear()

"""The face of the board that speaks U-Boot: banners, countdown, line editor, prompt.

The line editor answers as ``cread_line`` of U-Boot 2023.01 (common/cli_readline.c) does.
"""

from __future__ import annotations

from collections.abc import Iterator

from labctl.vlab.scripted.hush import UnfinishedError
from labctl.vlab.scripted.machine import Machine
from labctl.vlab.scripted.memory import AbortError
from labctl.vlab.scripted.uboot_commands import PROMPT, VERSION, Commands, Wire

# CONFIG_SYS_CBSIZE, with its final zero.
LINE_LIMIT = 512
_SPL_S, _RELOCATE_S = 0.05, 0.1
_DEFAULTS = {
    "arch": "arm",
    "baudrate": "115200",
    "board": "scripted",
    "bootcmd": "booti ${kernel_addr_r} - ${fdt_addr}",
    "fdt_addr": "0x40000000",
    "kernel_addr_r": "0x40400000",
    "stderr": "serial",
    "stdin": "serial",
    "stdout": "serial",
}
_BEEP = b"\x07"


class UBoot:
    """From reset to ``boot``.

    Args:
        machine: The board.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        defaults = {**_DEFAULTS, "bootdelay": str(machine.settings.bootdelay)}
        store = machine.folder / "uboot.env.json"
        self._commands = Commands(
            self._say,
            store,
            defaults,
            reset=lambda: machine.when_sent(machine.reset),
            start_linux=machine.start_linux,
            wire=Wire(machine.settings.baud or 115200, machine.emit_raw, machine.set_rate),
        )
        self._state = "rom"
        self._line = bytearray()
        self._unfinished = ""  # lines before this one, where a quote is open
        self._last = ""
        self._running: Iterator[float] | None = None
        self._sleep = machine.later(0, self._spl)

    @property
    def state(self) -> str:
        """``rom``, ``countdown``, ``uboot`` or ``panic``."""
        return self._state

    @property
    def listening(self) -> bool:
        """Whether it takes bytes out of the receiver: not before the countdown."""
        return self._state in ("countdown", "uboot") and not self._commands.left

    def stop(self) -> None:
        """End; nothing is left that could."""
        self._sleep.cancel()

    def panic(self) -> None:
        """Say what lib/panic.c of U-Boot says, and stand still."""
        self.stop()
        self._running = None
        self._state = "panic"
        self._machine.cut()
        self._say("\nlabctl: panic on demand\n### ERROR ### Please RESET the board ###\n")

    def produce(self) -> None:
        """Everything has been emitted already."""

    def receive(self, data: bytes) -> None:
        """Take what was typed."""
        if self._commands.loading is not None:
            self._commands.loading.feed(data)
            return
        echo = bytearray()
        for value in data:
            if self._state == "countdown":
                self._interrupt_countdown()
            elif self._running:
                # ctrlc() reads the console in search of Ctrl-C and drops the rest.
                if value == 3:
                    self._sleep.cancel()
                    self._running = None
                    self._prompt()
            elif self._state == "uboot":
                if value in b"\r\n\x03":
                    self._echo(bytes(echo))
                    echo.clear()
                    self._enter() if value != 3 else self._interrupt()
                else:
                    echo += self._edit(value)
        self._echo(bytes(echo))

    def _say(self, text: str) -> None:
        self._machine.emit(text.replace("\n", "\r\n").encode("latin-1", "replace"))

    def _echo(self, data: bytes) -> None:
        if data and self._machine.settings.echo:
            self._machine.emit(data)

    def _spl(self) -> None:
        spl = VERSION.replace("U-Boot", "U-Boot SPL", 1)
        self._say(f"\n{spl}\nTrying to boot from MMC1\n")
        self._sleep = self._machine.later(_SPL_S, self._banner)

    def _banner(self) -> None:
        self._say(f"\n\n{VERSION}\n\nModel: labctl scripted board\nDRAM:  128 MiB\n")
        self._sleep = self._machine.later(_RELOCATE_S, self._relocated)

    def _relocated(self) -> None:
        loaded = "OK" if self._commands.loaded else (
            "*** Warning - bad CRC, using default environment\n"
        )  # fmt: skip
        self._say(
            f"Core:  8 devices, 6 uclasses, devicetree: board\nMMC:   mmc@3f300000: 0\n"
            f"Loading Environment from Flash... {loaded}\n"
            "In:    serial\nOut:   serial\nErr:   serial\nNet:   No ethernet found.\n"
        )
        delay = self._commands.env.get("bootdelay", "")
        seconds = int(delay) if delay.lstrip("-").isdigit() else self._machine.settings.bootdelay
        if seconds < 0:
            self._state = "uboot"
            self._prompt()
            return
        self._state = "countdown"
        self._say(f"Hit any key to stop autoboot: {seconds:2d} ")
        self._tick(seconds)

    def _tick(self, left: int) -> None:
        if left:
            self._sleep = self._machine.later(1.0, lambda: self._count(left - 1))
            return
        self._say("\n")
        self._state = "uboot"
        self._start("boot")

    def _count(self, left: int) -> None:
        self._say(f"\b\b\b{left:2d} ")
        self._tick(left)

    def _interrupt_countdown(self) -> None:
        self._sleep.cancel()
        self._say("\b\b\b 0 \n")
        self._state = "uboot"
        self._prompt()

    def _prompt(self) -> None:
        self._line.clear()
        self._say("> " if self._unfinished else PROMPT)

    def _edit(self, value: int) -> bytes:
        """Change the line as the key ``value`` does; return what is echoed."""
        if value in (0x15, 0x18):  # Ctrl-U, Ctrl-X
            count = len(self._line)
            self._line.clear()
            return b"\b" * count + b" " * count + b"\b" * count
        if value in (0x08, 0x7F):
            if not self._line:
                return b""
            self._line.pop()
            return b"\b \b"
        if value < 0x20 or len(self._line) >= LINE_LIMIT - 1:
            return _BEEP
        self._line.append(value)
        return bytes([value])

    def _interrupt(self) -> None:
        self._unfinished, self._last = "", ""
        self._say("<INTERRUPT>\n")
        self._prompt()

    def _enter(self) -> None:
        text = self._line.decode("latin-1")
        self._echo(b"\r\n")
        if self._unfinished:
            text = self._unfinished + text
            self._unfinished = ""
        elif text:
            self._last = text
        else:
            text = self._last
        self._start(text)

    def _start(self, text: str) -> None:
        self._commands.repeatable = True
        self._running = self._commands.run(text)
        try:
            self._go_on()
        except UnfinishedError:
            self._running = None
            self._unfinished = text + "\n"
            self._prompt()

    def _go_on(self) -> None:
        assert self._running is not None
        try:
            seconds = next(self._running)
        except StopIteration:
            self._running = None
            if not self._commands.repeatable:
                self._last = ""
            if not self._commands.left:
                self._prompt()
        except AbortError as error:
            self._abort(error.address)
        else:
            self._sleep = self._machine.later(seconds, self._go_on)

    def _abort(self, address: int) -> None:
        """Say where, and reset, as arch/arm/lib/interrupts_64.c does."""
        self._state = "panic"
        self._say(
            '"Synchronous Abort" handler, esr 0x96000005\n'
            f"elr: 0000000000023c5c lr : 0000000000023c40\nx0 : {address:016x}\n\n"
            "Code: 9100a3fd 52800004 aa0103f3 aa0203f4 (b9400260)\n"
            "Resetting CPU ...\n\nresetting ...\n"
        )
        self._machine.when_sent(self._machine.reset)

"""The face of the board that runs Linux: kernel messages, login, and a real shell."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from labctl.vlab.scripted.damage import printk_line
from labctl.vlab.scripted.loop import Loop
from labctl.vlab.scripted.machine import Machine
from labctl.vlab.scripted.shell_process import HOST_NAME, ShellProcess

_BOOT = (
    "Booting Linux on physical CPU 0x0000000000 [0x410fd034]",
    "Linux version 6.1.0-scripted (labctl@scripted) (aarch64-linux-gnu-gcc 12.2.0) #1 SMP",
    "Machine model: labctl scripted board",
    "Kernel command line: console=ttyS0,115200 root=/dev/ram0",
    "Memory: 118204K/131072K available (13120K kernel code, 2764K rwdata, 10060K rodata)",
    "SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=1, Nodes=1",
    "printk: console [ttyS0] enabled",
    "Calibrating delay loop (skipped), value calculated using timer frequency.. 38.40 BogoMIPS",
    "devtmpfs: initialized",
    "NET: Registered PF_NETLINK/PF_ROUTE protocol family",
    "clocksource: Switched to clocksource arch_sys_counter",
    "Unpacking initramfs...",
    "Freeing initrd memory: 3120K",
    "Serial: 8250/16550 driver, 4 ports, IRQ sharing enabled",
    "mmc0: SDHCI controller on 3f300000.mmc [3f300000.mmc] using PIO",
    "Freeing unused kernel memory: 6080K",
    "Run /sbin/init as init process",
)
# The shape of a real one: kernel/panic.c, arch/arm64/kernel/{process,stacktrace}.c of Linux 6.1.
_PANIC = (
    "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
    "Mem abort info:",
    "  ESR = 0x0000000096000045",
    "  EC = 0x25: DABT (current EL), IL = 32 bits",
    "Internal error: Oops: 0000000096000045 [#1] SMP",
    "Modules linked in:",
    "CPU: 0 PID: 1 Comm: init Not tainted 6.1.0-scripted #1",
    "Hardware name: labctl scripted board",
    "pstate: 60000005 (nZCv daif -PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
    "pc : sysrq_handle_crash+0x24/0x30",
    "lr : __handle_sysrq+0x9c/0x1b0",
    "Call trace:",
    " sysrq_handle_crash+0x24/0x30",
    " __handle_sysrq+0x9c/0x1b0",
    " write_sysrq_trigger+0x84/0xa0",
    " el0t_64_sync+0x18c/0x190",
    "Code: d2800020 d5033fdf 52800021 d5033e9f (39000001)",
    "Kernel panic - not syncing: Oops: Fatal exception",
    "Kernel Offset: disabled",
)
_ISSUE = f"\r\nDebian GNU/Linux 12 {HOST_NAME} ttyS0\r\n\r\n"
_LOGIN = f"{HOST_NAME} login: "
# pam_faildelay(8) of Debian: about two seconds; half of it keeps tests short.
_WRONG_PASSWORD_S = 1.0
_READ_AT_ONCE = 65536


class Linux:
    """From ``Starting kernel`` until the reset.

    Args:
        machine: The board.
        loop: Told of the shell's terminal.
        powered_off: Called when the shell's user switched the board off.
    """

    def __init__(self, machine: Machine, loop: Loop, powered_off: Callable[[], None]) -> None:
        self._machine = machine
        self._loop = loop
        self._powered_off = powered_off
        self._state = "kernel"
        self._shell: ShellProcess | None = None
        self._typed = bytearray()
        self._user = b""
        self._timer = machine.later(0, lambda: self._boot(0))
        machine.emit(b"\r\nStarting kernel ...\r\n\r\n")

    @property
    def state(self) -> str:
        """``kernel``, ``login``, ``password``, ``waiting``, ``shell`` or ``panic``."""
        return self._state

    @property
    def listening(self) -> bool:
        """The driver's interrupt takes bytes at all times; a dead kernel takes none."""
        return self._state != "panic"

    def stop(self) -> None:
        """End the shell and everything that it started."""
        self._timer.cancel()
        self._end_shell()

    def receive(self, data: bytes) -> None:
        """Take what was typed; a booting kernel drops it."""
        if self._state == "shell" and self._shell:
            self._shell.write(data)
        elif self._state in ("login", "password"):
            for value in data:
                self._type(value)

    def produce(self) -> None:
        """Emit what the shell has written."""
        if self._shell:
            self._shell.write(b"")
            if data := self._shell.read(_READ_AT_ONCE):
                self._machine.emit(data)

    def panic(self) -> None:
        """Print a kernel panic and stop, or reset after `Settings.panic_reboot` seconds."""
        self.stop()
        self._state = "panic"
        # The console driver takes the UART; what the terminal still held never comes.
        self._machine.cut()
        for text in _PANIC:
            self._print(text)
        seconds = self._machine.settings.panic_reboot
        if not seconds:
            self._print("---[ end Kernel panic - not syncing: Oops: Fatal exception ]---")
            return
        self._print(f"Rebooting in {seconds:g} seconds..")
        self._timer = self._machine.later(seconds, self._machine.reset)

    def _print(self, text: str, seconds: float | None = None) -> None:
        uptime = self._machine.uptime if seconds is None else seconds
        self._machine.emit(printk_line(uptime, text))

    def _boot(self, line: int) -> None:
        if line == len(_BOOT):
            self._getty()
            return
        each = self._machine.settings.boot_seconds / len(_BOOT)
        self._print(_BOOT[line], line * each)
        self._timer = self._machine.later(each, lambda: self._boot(line + 1))

    def _getty(self) -> None:
        self._machine.emit(_ISSUE.encode())
        self._ask("login", _LOGIN)

    def _ask(self, state: str, prompt: str) -> None:
        self._state = state
        self._typed.clear()
        self._machine.emit(prompt.encode())

    def _type(self, value: int) -> None:
        """Take a key at the login or password prompt; agetty(8) and login(1) do little editing."""
        hidden = self._state == "password" or not self._machine.settings.echo
        if value in b"\r\n":
            self._machine.emit(b"\r\n")
            self._answer(bytes(self._typed))
        elif value in (0x03, 0x04):
            self._machine.emit(b"\r\n")
            self._ask("login", _LOGIN)
        elif value in (0x08, 0x7F):
            if self._typed:
                self._typed.pop()
                self._machine.emit(b"" if hidden else b"\b \b")
        elif value == 0x15:
            self._machine.emit(b"" if hidden else b"\b \b" * len(self._typed))
            self._typed.clear()
        elif value >= 0x20 and len(self._typed) < 256:
            self._typed.append(value)
            self._machine.emit(b"" if hidden else bytes([value]))

    def _answer(self, text: bytes) -> None:
        password = self._machine.settings.password.encode()
        if self._state == "login":
            self._user = text
            if not text:
                self._ask("login", _LOGIN)
            elif text == b"root" and not password:
                self._log_in()
            else:
                self._ask("password", "Password: ")
        elif self._user == b"root" and text == password:
            self._log_in()
        else:
            self._state = "waiting"
            self._timer = self._machine.later(_WRONG_PASSWORD_S, self._refuse)

    def _refuse(self) -> None:
        self._machine.emit(b"\r\nLogin incorrect\r\n")
        self._ask("login", _LOGIN)

    def _log_in(self) -> None:
        settings = self._machine.settings
        home = self._machine.folder / "home"
        self._shell = ShellProcess(settings.shell, home, echo=settings.echo)
        self._state = "shell"
        # The loop's service reads; being woken is all that is needed.
        self._loop.watch(self._shell.descriptor, lambda: None)
        self._loop.watch(self._shell.ended, self._shell_ended)

    def _shell_ended(self) -> None:
        # Its last words are still in the terminal.
        while self._shell and (data := self._shell.read(_READ_AT_ONCE)):
            self._machine.emit(data)
        status = self._end_shell()
        fate = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if fate == signal.SIGHUP:
            self._print("reboot: Restarting system")
            self._machine.when_sent(self._machine.reset)
        elif fate in (signal.SIGINT, signal.SIGABRT):
            self._print("reboot: Power down")
            self._machine.when_sent(self._powered_off)
        else:
            self._getty()

    def _end_shell(self) -> int:
        if self._shell is None:
            return 0
        shell, self._shell = self._shell, None
        self._loop.unwatch(shell.descriptor)
        self._loop.unwatch(shell.ended)
        return shell.close()

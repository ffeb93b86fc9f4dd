"""The host's end of a line as a pseudo-terminal.

It has a rate, which the master can ask for, but neither parity nor break nor modem control
signals. Sources: pty(7), ioctl_tty(2), drivers/tty/pty.c of Linux (pty_set_termios clears PARENB).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import tty
from pathlib import Path

from labctl.vlab.rom.loop import Loop
from labctl.vlab.rom.uart import Format

# _IOR('T', 0x2A, struct termios2) of asm-generic; see `labctl.transport.lines.tty`.
_TCGETS2 = 0x802C542A
_TERMIOS2 = struct.Struct("=4IB19s2I")
_READ_BYTES = 65536


class PtyPort:
    """A pseudo-terminal.

    Args:
        loop: Told of its descriptor.
        link: Symbolic link that is made to its device file.
    """

    def __init__(self, loop: Loop, link: Path) -> None:
        self._loop = loop
        self._link = link
        self._master = self._slave = -1
        self.plug(True)

    def plug(self, plugged: bool) -> None:
        """Make it, or take it away: who has it open gets a hang-up."""
        if plugged == (self._master >= 0):
            return
        if not plugged:
            self._link.unlink(missing_ok=True)
            self._loop.unwatch(self._master)
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
            return
        # The slave stays open here: a master without one is always "readable".
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._loop.watch(self._master, lambda: None)  # the loop's service does the work
        aside = self._link.with_name(f".{self._link.name}.new")
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.ttyname(self._slave))
        aside.replace(self._link)

    def read(self) -> bytes:
        """Return what the host has written."""
        if self._master >= 0:
            with contextlib.suppress(OSError):
                return os.read(self._master, _READ_BYTES)
        return b""

    def write(self, data: bytes) -> int:
        """Hand bytes to the host; return how many it had room for."""
        if self._master < 0:
            return len(data)
        with contextlib.suppress(OSError):
            return os.write(self._master, data)
        return 0

    def format(self) -> Format:
        """Return the rate that the host has set."""
        with contextlib.suppress(OSError):
            raw = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
            return Format(int(_TERMIOS2.unpack(raw)[-1]), None)
        return Format(0, None)

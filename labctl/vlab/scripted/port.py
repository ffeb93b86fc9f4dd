"""The adapter: a pseudo-terminal under a steady name that can be unplugged.

The program holds the master. It never keeps the slave open, so that the kernel tells whether
anybody listens: bytes to a port that nobody has open are lost, as with a real one. Sources:
pty(7), termios(3), ioctl_tty(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import tty
from pathlib import Path

from labctl.vlab.scripted.loop import Loop

# struct termios2 and TCGETS2 of <asm-generic/termbits.h> and <asm-generic/ioctls.h>: unlike
# tcgetattr(3) it has every rate as a number. On the master it reads the settings of the slave.
_TERMIOS2 = struct.Struct("4I20B2I")
_TCGETS2 = 0x802C542A


class Port:
    """The host's end of the line.

    Args:
        loop: Told of the descriptor.
        link: Name under which the slave is found while it is plugged in.
        rate: Rate, baud, that a new slave has until the host sets another.
    """

    def __init__(self, loop: Loop, link: Path, rate: int) -> None:
        self._loop = loop
        self._link = link
        self._rate = rate
        self._master: int | None = None
        self._poll = select.poll()
        self._blocked = False  # the loop tells us when the host has made room

    @property
    def plugged(self) -> bool:
        """Whether the adapter is in."""
        return self._master is not None

    def plug(self) -> None:
        """Put the adapter in; nothing happens if it is."""
        if self._master is not None:
            return
        master, slave = os.openpty()
        tty.setraw(slave)
        settings = termios.tcgetattr(slave)
        # For an unpaced board, and for a rate that POSIX has no name for, any will do.
        code = getattr(termios, f"B{self._rate or 115200}", termios.B115200)
        settings[4] = settings[5] = code
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        device = os.ttyname(slave)
        # Closing it once is what makes the master report "nobody" from the beginning.
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        self._poll.register(master, 0)  # hang-ups only
        self._loop.watch(master, lambda: None)  # the loop's service does the work
        self._blocked = True
        aside = self._link.with_name(f".{self._link.name}.new")
        aside.unlink(missing_ok=True)
        aside.symlink_to(device)
        aside.replace(self._link)

    def unplug(self) -> None:
        """Take the adapter out: whoever has it open gets a hang-up."""
        if self._master is None:
            return
        self._link.unlink(missing_ok=True)
        self._poll.unregister(self._master)
        self._loop.unwatch(self._master)
        os.close(self._master)
        self._master = None

    def heard(self) -> bool:
        """Tell whether somebody has the slave open."""
        return self._master is not None and not self._poll.poll(0)

    def host_rate(self) -> int:
        """Return the baud that the host has set; 0 if the adapter is out or hung up."""
        if self._master is None:
            return 0
        with contextlib.suppress(OSError):
            raw = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
            return int(_TERMIOS2.unpack(raw)[-1])
        return 0

    def read(self, limit: int) -> bytes:
        """Return what the host has written, at most ``limit`` bytes; empty if nothing."""
        if self._master is None:
            return b""
        try:
            return os.read(self._master, limit)
        except OSError:  # nothing there (EAGAIN), or nobody has it open (EIO)
            return b""

    def write(self, data: bytes | bytearray) -> int:
        """Hand ``data`` to the host; return how many bytes there was room for."""
        if self._master is None:
            return 0
        try:
            written = os.write(self._master, data)
        except OSError:
            written = 0
        if (blocked := written < len(data)) != self._blocked:
            # Only then: otherwise every read of the host would wake us.
            self._loop.writable(self._master, blocked)
            self._blocked = blocked
        return written

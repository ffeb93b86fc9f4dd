"""Lend the line of a board to a program that opens the port itself, such as avrdude.

A port of this machine is lent as it is; its owner closes it meanwhile
(`labctl.boards.owner.loans`). Any other line (a TCP port, RFC 2217, a port of another host) has no
device here, so the program gets a pseudo-terminal, and a thread carries bytes between the two; the
owner stays, and records what the board says. A pseudo-terminal has a rate, which is followed, but
neither DTR nor RTS nor break (pty(7)): pulse what resets the board before lending it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabctlError
from labctl.transport.lines.base import UnsupportedError

if TYPE_CHECKING:
    from labctl.boards.client import LineClient

# Opening a port again may take as long as its program takes to let go.
_RETURN_S = 20.0
_HASTE_S = 1.0
_LOOK_S = 0.05
_PIECE = 4096
# struct termios2 and TCGETS2 of asm-generic/termbits.h and ioctls.h: rates as numbers. Asked on
# the master it tells of the slave.
_TERMIOS2 = struct.Struct("=4IB19s2I")
_TCGETS2 = 0x802C542A


class Lent:
    """A line that is lent.

    Args:
        client: Its client, which has the lease.
        device: What the program opens.
        bridge: What carries the bytes, or None where the device is the port itself.
    """

    def __init__(self, client: LineClient, device: Path, bridge: Bridge | None = None) -> None:
        self._client = client
        self._bridge = bridge
        self.device = device

    @property
    def direct(self) -> bool:
        """Whether the program has the port itself, with DTR, RTS and break."""
        return self._bridge is None

    def check(self) -> None:
        """Look whether the line is still ours; call it while the program runs.

        Raises:
            LabctlError: Somebody took the line, or it went away; end the program.
        """
        if self._bridge is not None:
            self._bridge.check()
        else:
            self._client.check()


@contextlib.contextmanager
def lend(client: LineClient, to: str) -> Iterator[Lent]:
    """Lend the line of ``client`` to the program ``to`` while the block runs; needs the lease.

    Raises:
        LeaseLostError: It is not leased to us.
        LineGoneError: The line is not there.
        LabctlError: The line cannot be opened again afterwards.
    """
    device = client.request("lend", to=to)["device"]
    if device is not None:
        try:
            yield Lent(client, Path(str(device)))
        except BaseException:
            # What happened first is what matters; and who aborts does not wait for long.
            with contextlib.suppress(LabctlError):
                client.request("return", timeout_s=_RETURN_S, wait_s=_HASTE_S)
            raise
        client.request("return", timeout_s=_RETURN_S)
        return
    client.note("bridged", to=to)
    with contextlib.closing(Bridge(client)) as bridge:
        yield Lent(client, bridge.device, bridge)
        bridge.check()


class Bridge:
    """A pseudo-terminal whose bytes are those of a line; its thread is the line's only user.

    Args:
        client: The line, leased.

    Attributes:
        device: What to open.
    """

    def __init__(self, client: LineClient) -> None:
        self._client = client
        self._master, self._slave = pty.openpty()
        # The slave stays open here, so that the master is not hung up before it is opened there.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = Path(os.ttyname(self._slave))
        self._rate = self._asked_rate()
        self._follows = True
        self._changed = False
        self._error: LabctlError | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        client.follow()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the bridge, if something did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End it; what the program wrote last has been handed on."""
        os.write(self._wake_write, b"\0")
        self._thread.join()
        if self._changed and self._error is None:
            with contextlib.suppress(LabctlError):
                self._client.set_baud(self._client.config.settings.baud)
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(descriptor)

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._to_line()
        except LabctlError as error:
            self._error = error

    def _step(self) -> bool:
        """Carry what there is; return False when it is to end."""
        line = self._client.fileno()
        ready, _, _ = select.select([self._master, line, self._wake_read], [], [], _LOOK_S)
        # First: a program sets the rate before it writes at it.
        self._follow_rate()
        if self._master in ready:
            self._to_line()
        if line in ready:
            self._to_program(self._client.read(0))
        else:
            self._client.check()
        return self._wake_read not in ready

    def _to_line(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._master, _PIECE):
                self._client.write(data)

    def _to_program(self, data: bytes) -> None:
        while data:
            _, ready, _ = select.select([], [self._master], [], _LOOK_S)
            if not ready:
                return  # it does not read; a port loses what nobody reads
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._master, data) :]

    def _follow_rate(self) -> None:
        rate = self._asked_rate()
        if rate == self._rate or not self._follows:
            return
        self._rate = rate
        try:
            self._client.set_baud(rate)
            self._changed = True
        except UnsupportedError:
            self._follows = False  # the rate of that line is set where it ends

    def _asked_rate(self) -> int:
        raw = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
        return int(_TERMIOS2.unpack(raw)[7])

"""This machine's end of a bridged line: a pseudo-terminal, or standard input and output."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import tty
from pathlib import Path
from typing import Protocol

from labctl.errors import BusyError, LabctlError
from labctl.fileio import locked
from labctl.paths import make_private, state_dir

_LIMIT = 4096


class End(Protocol):
    """What is at this machine's end of the line."""

    descriptor: int

    def present(self) -> bool:
        """Tell whether somebody is there to read and to write."""

    def read(self) -> bytes | None:
        """Return what was written by whoever is there; None when no more will come."""

    def write(self, data: bytes) -> int:
        """Hand over ``data``; return how many bytes there was room for, or that nobody wants."""

    def close(self) -> None:
        """Take it away."""


class Terminal:
    """A pseudo-terminal, raw, that any number of programs may open (pty(7)).

    The slave is kept open by nobody here, so that the kernel tells whether anybody listens: what a
    board says to a port that nobody has open is lost, and not handed to whoever opens it next.

    Args:
        link: Name to give it besides its own; None for none.

    Raises:
        BusyError: Another bridge has it, or something else than an old link is there.
        LabctlError: The link cannot be made.
    """

    def __init__(self, link: Path | None) -> None:
        self.descriptor, slave = os.openpty()
        tty.setraw(slave)
        self.device = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self.descriptor, False)
        self._poll = select.poll()
        self._poll.register(self.descriptor, 0)  # hang-ups only
        self._link = link
        self._held = contextlib.ExitStack()
        try:
            if link is not None:
                self._make_link(link)
        except BaseException:
            self._held.close()
            os.close(self.descriptor)
            raise

    def _make_link(self, link: Path) -> None:
        # A bridge that was killed leaves its link, and the kernel gives the number to others.
        name = hashlib.sha256(os.fsencode(link.absolute())).hexdigest()[:24]
        folder = make_private(state_dir() / "fpga" / "bridges")
        self._held.enter_context(locked(folder / name, what=f"the link {link}", wait=False))
        if os.path.lexists(link) and not (
            link.is_symlink() and str(link.readlink()).startswith("/dev/pts/")
        ):
            raise BusyError(
                "something else is there already", thing=str(link), action="name another path"
            )
        aside = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            aside.unlink(missing_ok=True)
            aside.symlink_to(self.device)
            aside.replace(link)
        except OSError as error:
            raise LabctlError(
                error.strerror or str(error),
                thing=str(link),
                action="name a path in a folder of yours",
            ) from None

    def present(self) -> bool:
        """Tell whether somebody has it open."""
        return not self._poll.poll(0)

    def read(self) -> bytes | None:
        """Return what was written into it."""
        try:
            return os.read(self.descriptor, _LIMIT)
        except OSError:  # nothing there (EAGAIN), or nobody has it open (EIO)
            return b""

    def write(self, data: bytes) -> int:
        """Hand over ``data``; it is lost where nobody has it open."""
        if not self.present():
            return len(data)
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def close(self) -> None:
        """Hang up, and remove the link if it is still ours."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                if str(self._link.readlink()) == self.device:
                    self._link.unlink()
        self._held.close()
        os.close(self.descriptor)


class StandardStreams:
    """Standard input and output: the line of a command (``exec:`` in the inventory)."""

    def __init__(self) -> None:
        self.descriptor = 0
        self._ended = False

    def present(self) -> bool:
        """Tell whether more may come."""
        return not self._ended

    def read(self) -> bytes | None:
        """Return what came on standard input, None at its end."""
        try:
            data = os.read(0, _LIMIT)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self._ended = not data
        return data or None

    def write(self, data: bytes) -> int:
        """Write to standard output.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        try:
            return os.write(1, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Leave both as they are."""

"""Lines that are a terminal device of this machine: UARTs, USB adapters, pseudo-terminals.

termios directly and not through pyserial, whose opening throws away what has already arrived and
sets VMIN to 0, with which a read that returns nothing may mean "nothing yet" or "unplugged".
Sources: termios(3), tcsetattr(3), ioctl_tty(2), tty_ioctl(4), linux/serial.h (low latency),
asm-generic/termbits.h and ioctls.h (termios2, for rates without a B constant).
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import termios
import time
from pathlib import Path
from typing import Any, NoReturn

from labctl.transport.lines.base import Line, LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.holders import Holder, LockFile, find_holders, flock_holder
from labctl.transport.lines.settings import LineSettings, Parity, check_baud, check_parity
from labctl.transport.lines.tty_errors import explain_open_error

# _IOR/_IOW('T', 0x2A/0x2B, struct termios2) of asm-generic: x86, arm, arm64, riscv.
_TCGETS2 = 0x802C542A
_TCSETS2 = 0x402C542B
_TERMIOS2 = struct.Struct("=4IB19s2I")  # iflag oflag cflag lflag line cc ispeed ospeed
_BOTHER = 0o010000
_CBAUD = 0o010017
_CIBAUD = 0o02003600000
_CMSPAR = 0o10000000000
_TIOCSBRK = 0x5427  # asm-generic/ioctls.h; Python's termios lacks the two
_TIOCCBRK = 0x5428
_ASYNC_LOW_LATENCY = 1 << 13
_DATA_BITS = {5: termios.CS5, 6: termios.CS6, 7: termios.CS7, 8: termios.CS8}
_PARITY_BITS = termios.PARENB | termios.PARODD | _CMSPAR
_PARITY = {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}
# A UART receives what is up to about 4 % off; dividers of usual clocks are within 3 %.
_BAUD_TOLERANCE = 0.03
# How long what was written may take to leave before a break or a new rate is forced on it.
_DRAIN_S = 2.0


class TtyLine(Line):
    """An open terminal device, which no other program that uses locks can have at the same time.

    Args:
        url: What the line is called, for messages.
        device: Path of the device file; links are followed.
        settings: Rate and format.

    Raises:
        LineBusyError: Another program holds it; the message names the program.
        UnreachableError: It is not there.
        UnsupportedError: It cannot run with these settings.
        LabctlError: No permission, or not a terminal.
    """

    def __init__(self, url: str, device: str, settings: LineSettings) -> None:
        self.url = url
        self._device = Path(device).resolve()
        self._pseudo = self._device.parent == Path("/dev/pts")
        self._lock_file = LockFile(self._device)
        self._fd = self._open()
        try:
            self._claim()
            self._configure(settings)
            if settings.dtr is not None or settings.rts is not None:
                self.set_signals(dtr=settings.dtr, rts=settings.rts)
            self._be_quick()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the device's descriptor."""
        return self._fd

    @property
    def device(self) -> str:
        """Path of the device file, links followed."""
        return str(self._device)

    def read(self, limit: int) -> bytes:
        """Return what has arrived."""
        try:
            data = os.read(self._fd, limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._gone(error) from None
        if not data:  # VMIN is 1, so this is a hang-up and not "nothing yet"
            raise self._gone()
        return data

    def write(self, data: bytes) -> int:
        """Hand some of ``data`` to the driver."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._gone(error) from None

    def close(self) -> None:
        """Close the device and free its locks; DTR and RTS stay as they are (no HUPCL)."""
        if self._fd >= 0:
            if not self._pseudo:
                # The kernel's close waits up to 30 s for what a stopped line does not take.
                with contextlib.suppress(OSError, termios.error, LineGoneError):
                    self._drain()
                    termios.tcflush(self._fd, termios.TCOFLUSH)
                    fcntl.ioctl(self._fd, termios.TIOCNXCL)
            os.close(self._fd)
            self._fd = -1
        self._lock_file.release()

    def send_break(self, seconds: float) -> None:
        """Hold the line at space for ``seconds``, after what was written has left."""
        if self._pseudo:
            raise UnsupportedError("a pseudo-terminal has no break", thing=self.url)
        self._drain()
        try:
            fcntl.ioctl(self._fd, _TIOCSBRK)
            try:
                time.sleep(seconds)
            finally:
                fcntl.ioctl(self._fd, _TIOCCBRK)
        except OSError as error:
            self._refuse_or_gone(error, "the driver cannot send a break")

    def set_baud(self, rate: int) -> None:
        """Change the rate after what was written has left."""
        check_baud(rate)
        self._drain()
        try:
            attributes = termios.tcgetattr(self._fd)
            self._apply(attributes, rate)
        except (OSError, termios.error) as error:
            self._refuse_or_gone(error, f"the driver refuses {rate} baud")

    def set_parity(self, parity: Parity) -> None:
        """Change the parity after what was written has left."""
        check_parity(parity)
        if self._pseudo:
            return
        self._drain()
        try:
            attributes = termios.tcgetattr(self._fd)
            attributes[2] &= ~_PARITY_BITS
            attributes[2] |= _PARITY[parity]
            if rate := self._rate():
                self._apply(attributes, rate)
            else:
                termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
            if (termios.tcgetattr(self._fd)[2] ^ attributes[2]) & _PARITY_BITS:
                raise UnsupportedError(f"the driver cannot do parity {parity}", thing=self.url)
        except (OSError, termios.error) as error:
            self._refuse_or_gone(error, f"the driver refuses parity {parity}")

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set DTR and RTS."""
        for bit, value in ((termios.TIOCM_DTR, dtr), (termios.TIOCM_RTS, rts)):
            if value is None:
                continue
            request = termios.TIOCMBIS if value else termios.TIOCMBIC
            try:
                fcntl.ioctl(self._fd, request, struct.pack("I", bit))
            except OSError as error:
                self._refuse_or_gone(error, "this device has no DTR and RTS")

    def _open(self) -> int:
        try:
            if not stat.S_ISCHR(self._device.stat().st_mode):
                raise OSError(errno.ENOTTY, "")
            # O_NONBLOCK: without it the open waits for carrier where CLOCAL is not yet set.
            fd = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.EBUSY:
                self._raise_busy()
            raise explain_open_error(error, self.url, self._device) from None
        if not os.isatty(fd):
            os.close(fd)
            raise explain_open_error(OSError(errno.ENOTTY, ""), self.url, self._device)
        return fd

    def _claim(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._raise_busy(flock_holder(self._device))
        if self._pseudo:
            # The program that made it may well hold it open, so that it is never hung up; and
            # TIOCEXCL would outlive us for as long as the other side is open.
            return
        if holder := self._lock_file.acquire():
            self._raise_busy(holder)
        # A program that takes no locks (cat, a getty) would steal half of the bytes.
        if others := find_holders(self._device, ours=self._fd):
            self._raise_busy(others[0])
        fcntl.ioctl(self._fd, termios.TIOCEXCL)

    def _raise_busy(self, holder: Holder | None = None) -> NoReturn:
        holder = holder or next(iter(find_holders(self._device, ours=self._fd_or_none())), None)
        who = str(holder) if holder else "a program of another user"
        action = "end it, or wait for it"
        if holder and "getty" in holder.program:
            action = f"systemctl stop serial-getty@{self._device.name}"
        elif holder and holder.program == "ModemManager":
            action = "it lets go of what is no modem after some seconds; then try again"
        raise LineBusyError(f"{who} holds the port", thing=self.url, action=action)

    def _fd_or_none(self) -> int | None:
        return getattr(self, "_fd", None)

    def _configure(self, settings: LineSettings) -> None:
        if settings.stop_bits == 1.5 and settings.data_bits != 5:
            raise UnsupportedError(
                "UARTs send 1.5 stop bits with 5 data bits only",
                thing=self.url,
                action="use stop_bits 1 or 2",
            )
        try:
            attributes = termios.tcgetattr(self._fd)
            cc = attributes[6]
            cc[termios.VMIN], cc[termios.VTIME] = 1, 0
            # Neither INPCK nor IGNPAR nor IGNBRK: bytes with errors are passed on as they came, for
            # they tell of a wrong rate; a break is a NUL.
            iflag = termios.IXON | termios.IXOFF if settings.flow == "xonxoff" else 0
            # Not HUPCL: closing must not drop DTR, or each opening would reset boards.
            cflag = termios.CREAD | termios.CLOCAL | _DATA_BITS[settings.data_bits]
            cflag |= termios.CSTOPB if settings.stop_bits > 1 else 0
            cflag |= termios.CRTSCTS if settings.flow == "rtscts" else 0
            # A pseudo-terminal has no parity, and tcsetattr(3) refuses to set one.
            cflag |= 0 if self._pseudo else _PARITY[settings.parity]
            wanted = [iflag, 0, cflag, 0, attributes[4], attributes[5], cc]
            self._apply(wanted, settings.baud)
            self._verify(cflag, settings)
        except (OSError, termios.error) as error:
            self._refuse_or_gone(error, f"the driver refuses {settings.describe()}")

    def _apply(self, attributes: list[Any], rate: int) -> None:
        """Set ``attributes`` (as of `termios.tcgetattr`) with ``rate`` baud in both directions."""
        constant = getattr(termios, f"B{rate}", None)
        attributes[4] = attributes[5] = constant or termios.B38400
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        if constant is None:
            raw = fcntl.ioctl(self._fd, _TCGETS2, bytes(_TERMIOS2.size))
            iflag, oflag, cflag, lflag, line, cc, _, _ = _TERMIOS2.unpack(raw)
            cflag = (cflag & ~(_CBAUD | _CIBAUD)) | _BOTHER
            raw = _TERMIOS2.pack(iflag, oflag, cflag, lflag, line, cc, rate, rate)
            fcntl.ioctl(self._fd, _TCSETS2, raw)
        actual = self._rate()
        if actual is not None and abs(actual - rate) > rate * _BAUD_TOLERANCE:
            raise UnsupportedError(
                f"the driver makes {actual} baud of {rate}",
                thing=self.url,
                action="use a rate that the adapter has",
            )

    def _rate(self) -> int | None:
        """Return the rate that the driver says it runs at; None where it cannot be asked."""
        with contextlib.suppress(OSError):
            raw = fcntl.ioctl(self._fd, _TCGETS2, bytes(_TERMIOS2.size))
            return int(_TERMIOS2.unpack(raw)[7])
        return None

    def _verify(self, cflag: int, settings: LineSettings) -> None:
        # tcsetattr succeeds if it could do anything at all of what was asked. Pseudo-terminals
        # have no format.
        mask = termios.CSIZE | termios.CSTOPB | termios.PARENB | termios.PARODD | _CMSPAR
        mask |= termios.CRTSCTS
        if not self._pseudo and (termios.tcgetattr(self._fd)[2] ^ cflag) & mask:
            raise UnsupportedError(f"the driver cannot do {settings.describe()}", thing=self.url)

    def _be_quick(self) -> None:
        # Adapters gather bytes before they tell the host; FTDI's latency timer, 16 ms by default,
        # makes 62 round trips a second of a thousand. Few drivers have the flag; it is no loss.
        with contextlib.suppress(OSError):
            state = array.array("i", bytes(128))
            fcntl.ioctl(self._fd, termios.TIOCGSERIAL, state, True)
            state[4] |= _ASYNC_LOW_LATENCY
            fcntl.ioctl(self._fd, termios.TIOCSSERIAL, state, True)

    def _drain(self) -> None:
        """Wait until the driver has sent what was written, but no longer than some seconds."""
        end = time.monotonic() + _DRAIN_S
        waiting = array.array("i", [0])
        while time.monotonic() < end:
            try:
                fcntl.ioctl(self._fd, termios.TIOCOUTQ, waiting, True)
            except OSError as error:
                raise self._gone(error) from None
            if not waiting[0]:
                return
            # tcdrain(3) would wait for ever on a stopped line; no event tells of an empty queue.
            select.select([], [], [], 0.002)

    def _refuse_or_gone(self, error: Exception, refusal: str) -> NoReturn:
        number = error.args[0] if error.args else None  # termios.error is no OSError
        if number in (errno.EIO, errno.ENODEV, errno.ENXIO):
            raise self._gone() from None
        text = os.strerror(number) if isinstance(number, int) else str(error)
        raise UnsupportedError(f"{refusal} ({text})", thing=self.url) from None

    def _gone(self, error: OSError | None = None) -> LineGoneError:
        known = error is None or error.errno in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF)
        other = "the other side closed the pseudo-terminal" if self._pseudo else "the port is gone"
        cause = other if known or error is None else (error.strerror or str(error))
        action = "is its program still running?" if self._pseudo else "plug the adapter in again"
        return LineGoneError(cause, thing=self.url, action=action)

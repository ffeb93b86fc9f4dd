"""How the bytes of a serial line are sent: rate, format, flow control, modem control outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labctl.errors import UsageError

Parity = Literal["none", "even", "odd"]
Flow = Literal["none", "rtscts", "xonxoff"]

# RFC 2217 has 32 bits for the rate, and so has the kernel (speed_t).
_MAX_BAUD = 2**32 - 1


@dataclass(frozen=True)
class LineSettings:
    """Settings of a line, checked when made.

    On a network port or a command these describe the other end, which may be out of our reach.

    Attributes:
        baud: Rate, baud.
        data_bits: 5 to 8.
        parity: ``none``, ``even`` or ``odd``.
        stop_bits: 1, 1.5 or 2. A UART sends 1.5 with 5 data bits only.
        flow: ``none``, ``rtscts`` (by wire) or ``xonxoff`` (by DC1 and DC3 among the bytes).
        dtr: Data Terminal Ready right after opening; None leaves it to the driver. The kernel
            asserts DTR and RTS when a port is opened, before a program can prevent it; boards
            that reset on that edge (Arduino, ESP32) reset once, and not again, because labctl
            clears HUPCL (termios(3)): the outputs then stay as they are between openings.
        rts: Request To Send right after opening; likewise.

    Raises:
        UsageError: A value is out of range; the message names it.
    """

    baud: int = 115200
    data_bits: int = 8
    parity: Parity = "none"
    stop_bits: float = 1
    flow: Flow = "none"
    dtr: bool | None = None
    rts: bool | None = None

    def __post_init__(self) -> None:
        """Check each value."""
        check_baud(self.baud)
        _check("data_bits", self.data_bits, (5, 6, 7, 8))
        _check("parity", self.parity, get_args(Parity))
        _check("stop_bits", self.stop_bits, (1, 1.5, 2))
        _check("flow", self.flow, get_args(Flow))
        for name, value in (("dtr", self.dtr), ("rts", self.rts)):
            _check(name, value, (None, True, False))

    def describe(self) -> str:
        """Return it as people write it: ``115200 8N1``, with the flow control if there is any."""
        text = f"{self.baud} {self.data_bits}{self.parity[0].upper()}{self.stop_bits:g}"
        return text if self.flow == "none" else f"{text} {self.flow}"


def check_baud(rate: int) -> None:
    """Check that ``rate`` (baud) can be asked for.

    Raises:
        UsageError: It cannot.
    """
    if isinstance(rate, bool) or not isinstance(rate, int) or not 1 <= rate <= _MAX_BAUD:
        raise UsageError(
            f"{rate!r} is no rate", thing="baud", action="115200, 9600 or 1500000 are usual"
        )


def check_parity(parity: str) -> None:
    """Check that ``parity`` is one.

    Raises:
        UsageError: It is none.
    """
    _check("parity", parity, get_args(Parity))


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    # 1 == True in Python, but `data_bits: yes` in a file is a mistake.
    flag = isinstance(value, bool)
    if not any(value == one and flag is isinstance(one, bool) for one in allowed):
        known = ", ".join("unset" if one is None else str(one) for one in allowed)
        raise UsageError(f"{value!r} is not possible", thing=name, action=f"use one of {known}")

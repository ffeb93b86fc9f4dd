"""A person at a console: raw terminal in, filtered bytes out, an escape key for the rest."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from labctl.boards.client import LineClient
from labctl.boards.rates import Meter
from labctl.errors import BusyError, LabctlError, UsageError
from labctl.report.sanitize import clean_line
from labctl.report.terminal_filter import TerminalFilter
from labctl.transport.lines.base import LineGoneError

ESCAPE = 0x1D  # Ctrl-], as telnet(1) and virsh(1) have it
# A person who types nothing for so long gives way to whoever asks for the line.
IDLE_S = 300.0
_BREAK_S = 0.25
_SEND_BYTES = 256

HELP = """\
Ctrl-] then: q leave, b break, s send a file, p power cycle, o power off, r reset, \
t colours off/on, Ctrl-] itself, ? this\
"""

Action = Callable[[], str]


class Console:
    """One interactive console.

    Args:
        client: The attached line.
        actions: What the keys ``p``, ``o`` and ``r`` do; each returns what to say.
        plain: Let no escape sequence of the board through.
        keyboard: Descriptor of the keyboard.
        screen: Descriptor of the screen.
    """

    def __init__(
        self,
        client: LineClient,
        actions: Mapping[str, Action],
        *,
        plain: bool = False,
        keyboard: int | None = None,
        screen: int | None = None,
    ) -> None:
        self._client = client
        self._actions = actions
        self._plain = plain
        self._filter = TerminalFilter(plain=plain)
        self._keyboard = sys.stdin.fileno() if keyboard is None else keyboard
        self._screen = sys.stdout.fileno() if screen is None else screen
        self._escaped = False
        self._meter = Meter()

    def run(self, begin: int) -> None:
        """Show the record from ``begin`` on and what comes; pass on what is typed.

        Raises:
            UsageError: The keyboard is no terminal.
            BusyError: Somebody else has the line.
            LineGoneError: The owner of the line has gone.
        """
        if not os.isatty(self._keyboard):
            raise UsageError(
                "the console needs a terminal", thing=self._client.name,
                action="add --watch to read along, or use 'labctl board run'",
            )  # fmt: skip
        self._client.acquire("console", idle_s=IDLE_S)
        with raw_mode(self._keyboard):
            # After raw mode, which throws away what was typed before it.
            self._say(f"console of {self._client.name}; Ctrl-] then q leaves, ? shows more")
            self._client.follow(begin)
            while self._turn():
                pass

    def _turn(self) -> bool:
        """Wait for one side and serve it; tell whether to go on."""
        ready, _, _ = select.select([self._keyboard, self._client], [], [], 1.0)
        try:
            data = self._client.read(0)
            if data:
                self._show(self._filter.feed(data))
                if self._meter.feed(data):
                    self._say(wrong_rate_hint(self._client))
        except LineGoneError as error:
            if not self._owner_lives():
                raise
            self._say(f"{error.cause}; waiting for it")
        except BusyError as error:
            self._say(f"{error.cause}; type to ask for it again")
        if self._keyboard not in ready:
            return True
        typed = os.read(self._keyboard, 4096)
        return bool(typed) and self._typed(typed)

    def _owner_lives(self) -> bool:
        try:
            self._client.status()
        except LabctlError:
            return False
        return True

    def _typed(self, keys: bytes) -> bool:
        """Pass ``keys`` on, apart from the escape key and the one behind it."""
        plain = bytearray()
        for key in keys:
            if self._escaped:
                self._escaped = False
                if key == ESCAPE:
                    plain.append(key)
                elif not self._command(chr(key)):
                    return False
            elif key == ESCAPE:
                self._send(bytes(plain))
                plain.clear()
                self._escaped = True
            else:
                plain.append(key)
        self._send(bytes(plain))
        return True

    def _send(self, data: bytes) -> None:
        if not data:
            return
        try:
            if not self._client.leased:
                self._client.acquire("console", idle_s=IDLE_S)
            self._client.write(data)
        except LabctlError as error:
            self._say(str(error))

    def _command(self, key: str) -> bool:
        if key in "q.":
            return False
        try:
            if key == "b":
                self._client.send_break(_BREAK_S)
                self._say("break sent")
            elif key == "s":
                self._send_file()
            elif key == "t":
                self._plain = not self._plain
                self._filter = TerminalFilter(plain=self._plain)
                self._say("colours off" if self._plain else "colours on")
            elif key in self._actions:
                self._say(self._actions[key]())
            else:
                self._say(HELP)
        except LabctlError as error:
            self._say(str(error))
        return True

    def _send_file(self) -> None:
        """Ask for a file and type its content, as fast as the line takes it."""
        with cooked_mode(self._keyboard):
            os.write(self._screen, b"\r\nfile to send: ")
            name = os.read(self._keyboard, 4096).decode(errors="surrogateescape").strip()
        if not name:
            return
        try:
            data = Path(name).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(str(error.strerror), thing=name) from None
        for begin in range(0, len(data), _SEND_BYTES):
            self._client.write(data[begin : begin + _SEND_BYTES])
            self._show(self._filter.feed(self._client.read(0)))
        self._say(f"{len(data)} bytes sent")

    def _say(self, text: str) -> None:
        self._show(f"\r\n[labctl: {clean_line(text)}]\r\n".encode())

    def _show(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._screen, data) :]


@contextlib.contextmanager
def raw_mode(keyboard: int) -> Iterator[None]:
    """Pass every key on as it is typed, Ctrl-C too, while the block runs."""
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def cooked_mode(keyboard: int) -> Iterator[None]:
    """Let a whole line be typed and edited while the block runs."""
    before = termios.tcgetattr(keyboard)
    now = termios.tcgetattr(keyboard)
    now[0] |= termios.ICRNL
    now[1] |= termios.OPOST
    now[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    try:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, now)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def watch(client: LineClient, begin: int, *, plain: bool, until: Callable[[], bool]) -> None:
    """Show the record from ``begin`` on and what comes, until told otherwise; read only.

    Args:
        client: The attached line.
        begin: Offset in the record.
        plain: Let no escape sequence through.
        until: Asked now and then; true ends it.

    Raises:
        LineGoneError: The owner of the line has gone.
    """
    narrow = TerminalFilter(plain=plain)
    meter = Meter()
    client.follow(begin)
    out = sys.stdout.buffer
    while not until():
        try:
            data = client.read(0.5)
        except LineGoneError as error:
            client.status()  # raises where the owner itself has gone
            sys.stderr.write(f"labctl: {clean_line(str(error))}\n")
            continue
        if data:
            out.write(narrow.feed(data))
            out.flush()
            if meter.feed(data):
                sys.stderr.write(f"labctl: {wrong_rate_hint(client)}\n")


def wrong_rate_hint(client: LineClient) -> str:
    """Return what to say of a line on which garbage comes."""
    return (
        f"this looks like a wrong rate ({client.config.settings.describe()} is set); "
        f"'labctl board state {client.name}' finds the one that decodes"
    )

"""Opening a line, and opening it again: not everything that has its name is the same line.

A pseudo-terminal that has ended does not come back, and its number is given to the next program
that asks for one: a person's login, say. So its name is only opened again once it was made anew, as
socat and QEMU do with a link. And the kernel's name of an adapter (``/dev/ttyUSB0``) is that of
another one when that is plugged in first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labctl.boards.owner.place import OwnerConfig
from labctl.transport.lines.base import Line, LineGoneError
from labctl.transport.lines.opening import identify
from labctl.transport.lines.settings import LineSettings

_PSEUDO = Path("/dev/pts")


class Opener:
    """Opens the line of ``config``, as often as it must.

    Args:
        config: What to open.
        open_line: Opens it; raises `LabctlError` where it cannot.
    """

    def __init__(self, config: OwnerConfig, open_line: Callable[[OwnerConfig], Line]) -> None:
        self._config = config
        self._open_line = open_line
        self._mark: tuple[object, ...] | None = None
        self._identity: str | None = None
        self._settings = config.settings

    def __call__(self, settings: LineSettings, *, same: bool = False) -> Line:
        """Open the line with ``settings``.

        Args:
            settings: Rate and format.
            same: The device is known to be the one that was open before.

        Raises:
            LabctlError: It cannot be opened.
        """
        config = OwnerConfig(**{**vars(self._config), "settings": settings})
        mark = _mark_of(config.url)
        # With other settings it is we who closed it.
        ended = mark is not None and mark == self._mark and settings == self._settings
        if ended and not same:
            raise LineGoneError(
                "its pseudo-terminal has ended", thing=config.url,
                action="start its program again; it must make the name anew (a link does)",
            )  # fmt: skip
        identity, known = identify(config.url)
        if known and identity.startswith("udev:"):
            if self._identity not in (None, identity):
                raise LineGoneError(
                    "another adapter has its name now", thing=config.url,
                    action="name it by what stays: 'labctl board discover' prints such a line",
                )  # fmt: skip
            self._identity = identity
        line = self._open_line(config)
        self._mark, self._settings = mark, settings
        return line


def _mark_of(url: str) -> tuple[object, ...] | None:
    """Return what tells one name of a pseudo-terminal from the next; None where ``url`` is none."""
    if not url.startswith("/"):
        return None
    path = Path(url)
    device = path.resolve()
    if device.parent != _PSEUDO:
        return None
    try:
        link = path.lstat()
    except OSError:
        return None
    if device == path.absolute():
        return (str(device),)  # the number itself: nobody can tell
    return str(device), link.st_dev, link.st_ino, link.st_mtime_ns

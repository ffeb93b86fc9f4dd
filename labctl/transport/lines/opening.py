"""From the URL of a line, as an inventory has it, to the open line.

``/dev/...``, ``udev:KEY=VALUE,...``, ``socket://HOST:PORT``, ``rfc2217://HOST:PORT``,
``unix:PATH``, ``exec:COMMAND``, ``ssh:HOST:/dev/...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabctlError, UsageError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import Line
from labctl.transport.lines.settings import LineSettings

if TYPE_CHECKING:
    from labctl.transport.session import Session

KNOWN = (
    "/dev/NAME, udev:KEY=VALUE, socket://HOST:PORT, rfc2217://HOST:PORT, unix:PATH, exec:COMMAND, "
    "ssh:HOST:/dev/NAME"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"//(\[[0-9A-Fa-f:.%a-z]+\]|[^\s:/@\[\]]+):(\d{1,5})/?")


def open_line(
    url: str,
    settings: LineSettings,
    *,
    deadline_s: float = 10.0,
    session_for_host: Callable[[str], Session] | None = None,
) -> Line:
    """Open the line ``url``.

    Args:
        url: The line.
        settings: Rate and format; what cannot be set from here (a raw TCP port, a command) is
            left to the other end.
        deadline_s: Seconds that opening may take.
        session_for_host: Returns a session to a host of the inventory, for ``ssh:`` lines. The
            line closes it.

    Raises:
        UsageError: The URL is not one.
        LineBusyError: Another program holds the line.
        UnreachableError: It is not there now.
        LabctlError: It is there and cannot be used; the message says what to do.
    """
    scheme, rest = split(url)
    if scheme == "tty":
        from labctl.transport.lines.tty import TtyLine  # noqa: PLC0415

        return TtyLine(url, rest, settings)
    if scheme == "udev":
        from labctl.transport.lines import udev  # noqa: PLC0415
        from labctl.transport.lines.tty import TtyLine  # noqa: PLC0415

        return TtyLine(url, str(udev.find(udev.parse_match(rest))), settings)
    if scheme in ("socket", "unix"):
        from labctl.transport.lines import tcp  # noqa: PLC0415

        if scheme == "unix":
            return tcp.open_unix(url, Path(rest), deadline_s=deadline_s)
        return tcp.open_tcp(url, *host_and_port(url), deadline_s=deadline_s)
    if scheme == "rfc2217":
        from labctl.transport.lines.rfc2217 import open_rfc2217  # noqa: PLC0415

        return open_rfc2217(url, *host_and_port(url), settings, deadline_s=deadline_s)
    if scheme == "exec":
        from labctl.transport.lines.command import CommandLine  # noqa: PLC0415

        return CommandLine(url, rest)
    from labctl.transport.lines.ssh import open_ssh  # noqa: PLC0415

    host, device = host_and_device(url)
    if session_for_host is None:
        raise LabctlError("lines on other hosts cannot be opened from here", thing=url)
    return open_ssh(url, device, settings, session_for_host(host), deadline_s=deadline_s)


_PSEUDO = Path("/dev/pts")


def canonical(url: str) -> str:
    """Return the identity of the line ``url``: two names of one line have the same.

    A port with hardware behind it is known by its adapter, not by the kernel's name for it, which
    is another one when it is plugged in again. Where it is not there now, its identity is its name
    as given (`identify` tells that).

    Raises:
        UsageError: The URL is not one, or its ``udev:`` properties fit several ports.
    """
    return identify(url)[0]


def identify(url: str) -> tuple[str, bool]:
    """Return the identity of the line ``url``, and whether it is known: a port must be there.

    Raises:
        UsageError: As of `canonical`.
    """
    scheme, rest = split(url)
    if scheme == "tty":
        device = Path(rest).resolve()
        if device.is_relative_to(_PSEUDO):
            # The number of a pseudo-terminal is somebody else's when it has ended; a link to it is
            # a name that stays.
            return str(Path(rest).absolute()), device.exists()
        return _port_identity(device), device.exists()
    if scheme == "udev":
        from labctl.errors import UnreachableError  # noqa: PLC0415
        from labctl.transport.lines import udev  # noqa: PLC0415

        wanted = udev.parse_match(rest)
        try:
            return _port_identity(udev.find(wanted).resolve()), True
        except UnreachableError:
            return udev.format_match(dict(sorted(wanted.items()))), False
    return _other_identity(url, scheme, rest), True


def _port_identity(device: Path) -> str:
    from labctl.transport.lines import udev  # noqa: PLC0415

    properties = udev.identity(device)
    return udev.format_match(dict(sorted(properties.items()))) if properties else str(device)


def _other_identity(url: str, scheme: str, rest: str) -> str:
    if scheme in ("socket", "rfc2217"):
        # One port of a console server is one line, whichever protocol we speak to it.
        host, port = host_and_port(url)
        return f"tcp:{'127.0.0.1' if host == 'localhost' else host}:{port}"
    if scheme == "unix":
        return f"unix:{Path(rest).resolve()}"
    if scheme == "ssh":
        host, device = host_and_device(url)
        return f"ssh:{host}:{device}"
    return f"exec:{rest.strip()}"


def split(url: str) -> tuple[str, str]:
    """Return the kind of line and what follows it; the kind of a path is ``tty``.

    Raises:
        UsageError: There is no such kind, or nothing follows.
    """
    if url.startswith("/") and "\0" not in url:
        return "tty", url
    match = _SCHEME.fullmatch(url)
    if match is None:
        known = f"use the full path, /dev/{url}" if re.fullmatch(r"tty\w+", url) else KNOWN
        raise UsageError(
            "a line is a path or a URL", thing=clean_line(url) or "''", action=f"known: {known}"
        )
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme not in ("udev", "socket", "rfc2217", "unix", "exec", "ssh"):
        raise UsageError(
            f"no such kind of line: '{scheme}'", thing=clean_line(url), action=f"known: {KNOWN}"
        )
    if not rest.strip() or "\0" in rest:
        raise UsageError(f"nothing follows '{scheme}:'", thing=clean_line(url), action=KNOWN)
    return scheme, rest


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host (lower case, without brackets) and TCP port of ``SCHEME://HOST:PORT``.

    Raises:
        UsageError: It has another form.
    """
    scheme, rest = split(url)
    match = _AUTHORITY.fullmatch(rest)
    if match is None or not 1 <= int(match.group(2)) <= 65535:
        raise UsageError(
            "it has no host and port", thing=clean_line(url), action=f"write {scheme}://HOST:PORT"
        )
    return match.group(1).strip("[]").lower().rstrip("."), int(match.group(2))


def host_and_device(url: str) -> tuple[str, str]:
    """Return the inventory's host and the path of ``ssh:HOST:/dev/NAME``.

    Raises:
        UsageError: It has another form.
    """
    host, _, device = split(url)[1].partition(":")
    if not host or not device.startswith("/"):
        raise UsageError(
            "it has no host and device", thing=clean_line(url), action="write ssh:HOST:/dev/NAME"
        )
    return host, device

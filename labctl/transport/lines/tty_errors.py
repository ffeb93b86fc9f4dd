"""Why a port could not be opened, for a person: what is there, whose it is, what to do."""

from __future__ import annotations

import contextlib
import difflib
import errno
import getpass
import grp
import os
from pathlib import Path

from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.transport.lines import udev


def explain_open_error(error: OSError, url: str, device: Path) -> LabctlError:
    """Return what a failed open of ``device`` means.

    Args:
        error: What the kernel said; ENOTTY for a file that is no terminal.
        url: What the line is called.
        device: The device file.
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return UnreachableError("there is no such port", thing=url, action=_what_is_there(device))
    if error.errno in (errno.EACCES, errno.EPERM):
        return LabctlError("no permission to use the port", thing=url, action=_how_to_get(device))
    if error.errno in (errno.ENOTTY, errno.EINVAL):
        return UsageError("not a serial port", thing=url, action="correct 'line' in the inventory")
    if error.errno in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return UnreachableError(
            "its device file is there, but no hardware behind it", thing=url,
            action=_what_is_there(device),
        )  # fmt: skip
    return LabctlError((error.strerror or str(error)).lower(), thing=url)


def _what_is_there(device: Path) -> str:
    ports = udev.serial_ports()
    if not ports:
        return "no serial port is plugged into this machine"
    names = {str(name): port for port in ports for name in (port.device, *port.links)}
    near = difflib.get_close_matches(str(device), list(names), n=1, cutoff=0.8)
    here = ", ".join(port.describe() for port in ports)
    return f"do you mean {near[0]}? ports here: {here}" if near else f"ports here: {here}"


def _how_to_get(device: Path) -> str:
    state = device.stat()
    user = "USER"
    with contextlib.suppress(OSError, KeyError):  # a user id without a name
        user = getpass.getuser()
    try:
        group = grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        group = str(state.st_gid)
    if state.st_mode & 0o060 != 0o060 or state.st_gid == 0:
        return (
            f"its group '{group}' may not use it either; a udev rule with GROUP=\"dialout\" helps"
        )
    if state.st_gid in os.getgroups():
        return f"you are in its group '{group}'; something else forbids it (a container's rules?)"
    with contextlib.suppress(KeyError):
        if user in grp.getgrgid(state.st_gid).gr_mem:
            return f"you are in its group '{group}' since you logged in: log out and in again"
    return f"it belongs to group '{group}': sudo adduser {user} {group}, then log in again"

"""Serial adapters that are plugged in, as entries for the inventory.

The line of each is a udev name, so it stays the same whatever the order of plugging; a port of an
adapter with several has the number of its interface in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.transport.lines import udev


@dataclass(frozen=True)
class Adapter:
    """One port of an adapter.

    Attributes:
        name: A name for the board on it.
        device: Its device file now.
        line: Its line for the inventory.
        what: What it is, for a comment.
        by_socket: It is told from others only by the USB socket that it is plugged into.
    """

    name: str
    device: str
    line: str
    what: str
    by_socket: bool

    def describe(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.name,
            "device": self.device,
            "line": self.line,
            "what": self.what,
            "by_socket": self.by_socket,
        }


def discover(
    taken: Sequence[str] = (), *, sysfs: Path = udev.SYSFS, udev_data: Path = udev.UDEV_DATA
) -> list[Adapter]:
    """Return the adapters that are plugged in.

    Args:
        taken: Names that the inventory has already.
        sysfs: Where the kernel tells of devices.
        udev_data: Where udev tells of them.
    """
    ports = udev.serial_ports(sysfs=sysfs, udev_data=udev_data)
    names = set(taken)
    found = []
    for port in ports:
        wanted = udev.naming(port, ports)
        name = _name(port, names)
        names.add(name)
        found.append(
            Adapter(
                name=name,
                device=str(port.device),
                line=udev.format_match(wanted),
                what=port.describe(),
                by_socket="ID_PATH" in wanted,
            )
        )
    return found


def _name(port: udev.Port, taken: set[str]) -> str:
    model = port.properties.get("ID_MODEL", "") or port.device.name
    base = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40] or "board"
    interface = port.properties.get("ID_USB_INTERFACE_NUM", "")
    candidate, number = base, 1
    if base in taken and interface:
        candidate = f"{base}-{interface}"
    while candidate in taken:
        number += 1
        candidate = f"{base}-{number}"
    return candidate


def to_yaml(adapters: Sequence[Adapter]) -> str:
    """Return ``adapters`` as the ``boards`` section of an inventory."""
    lines = ["boards:"]
    for one in adapters:
        lines.append(f"  # {one.what}")
        if one.by_socket:
            lines.append("  # It has no serial number: the name holds for this USB socket only.")
        lines.append(f"  {one.name}:")
        lines.append("    model: generic  # or its own: the name of a folder below boards/")
        quoted = one.line.replace("'", "''")
        lines.append(f"    line: '{quoted}'")
    return "\n".join(lines) + "\n"

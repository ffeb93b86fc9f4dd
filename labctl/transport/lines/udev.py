"""Serial ports of this machine and the udev properties that tell them apart.

A port's kernel name (ttyUSB0) depends on the order of plugging; its udev properties do not. They
are read from udev's database as files, so that neither libudev nor udevadm is needed, and are
derived from sysfs where udev does not run, as in a container.

Sources: sysfs(5); the kernel's Documentation/ABI/testing/sysfs-tty and sysfs-bus-usb; systemd's
sd-device/device-private.c (lines ``E:KEY=VALUE`` and ``S:LINK`` of /run/udev/data/cMAJOR:MINOR),
udev-builtin-usb_id.c, udev-builtin-path_id.c and rules.d/60-serial.rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import UnreachableError, UsageError
from labctl.report.sanitize import clean_line

SYSFS = Path("/sys")
UDEV_DATA = Path("/run/udev/data")

# Sets of properties that can name a port, the best first. A serial number stays with the adapter;
# ID_PATH is the socket that it is plugged into, for adapters that have no serial number, or all
# the same one ("0001" is what an unprogrammed CP2102 says).
_NAMING = (
    ("ID_SERIAL_SHORT",),
    ("ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM"),
    ("ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM", "ID_PORT"),
    ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT"),
    ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM"),
    ("ID_PATH",),
    ("ID_PATH", "ID_PORT"),
    ("DEVNAME",),
)
# What stays with an adapter, and tells its ports apart.
_SERIAL = ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM", "ID_PORT")
# A comma inside a value (ID_VENDOR_FROM_DATABASE has them) does not separate.
_SEPARATOR = re.compile(r",(?=[.A-Za-z0-9_]+=)")
# What udev leaves of a USB string (util.c, UDEV_ALLOWED_CHARS_INPUT); the rest becomes "_".
_NOT_ALLOWED = re.compile(r"[^0-9A-Za-z#+\-.:=@_/]")


@dataclass(frozen=True)
class Port:
    """One serial port that is there now.

    Attributes:
        device: Its device file, such as ``/dev/ttyUSB0``.
        properties: Its udev properties; besides those of udev's database ``DRIVER`` (the kernel's
            driver) and ``ID_PORT`` (number of the port on an adapter whose driver serves several).
        links: Other names of it, such as ``/dev/serial/by-id/...``.
    """

    device: Path
    properties: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Path, ...] = ()

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Tell whether all ``wanted`` properties are those of this port."""
        return all(self.properties.get(key) == value for key, value in wanted.items())

    def describe(self) -> str:
        """Return its name and what it is, in one line that is safe to print."""
        parts = [
            self.properties.get("ID_VENDOR", ""),
            self.properties.get("ID_MODEL", ""),
            self.properties.get("ID_SERIAL_SHORT", ""),
        ]
        what = " ".join(part.replace("_", " ") for part in parts if part)
        what = what or self.properties.get("DRIVER", "")
        return clean_line(f"{self.device} ({what})" if what else str(self.device))


def serial_ports(*, sysfs: Path = SYSFS, udev_data: Path = UDEV_DATA) -> list[Port]:
    """Return the serial ports that have hardware behind them, in natural order of their names.

    Consoles and pseudo-terminals are none, nor is a ttyS whose UART the kernel did not find.
    """
    ports = [
        port
        for entry in _entries(sysfs / "class/tty")
        if (port := _read_port(entry, sysfs, udev_data)) is not None
    ]
    return sorted(ports, key=lambda port: _natural(str(port.device)))


def find(
    properties: Mapping[str, str], *, sysfs: Path = SYSFS, udev_data: Path = UDEV_DATA
) -> Path:
    """Return the device file of the one port that has all the given udev properties.

    Raises:
        UnreachableError: No port has them; the message says which port comes nearest.
        UsageError: Several ports have them; the message says what tells them apart.
    """
    ports = serial_ports(sysfs=sysfs, udev_data=udev_data)
    found = [port for port in ports if port.matches(properties)]
    if len(found) == 1:
        return found[0].device
    name = format_match(properties)
    if found:
        names = ", ".join(str(port.device) for port in found)
        raise UsageError(
            f"{len(found)} ports match: {names}", thing=name, action=_distinction(found, properties)
        )
    raise UnreachableError("no serial port matches", thing=name, action=_advice(ports, properties))


def identity(
    device: Path, *, sysfs: Path = SYSFS, udev_data: Path = UDEV_DATA
) -> dict[str, str] | None:
    """Return the properties by which the port ``device`` is known wherever it is plugged in.

    They do not depend on what else is plugged in, so they are more than `naming` needs; but for
    adapters with the same serial number, which are told apart by their places while both are there.
    None where it has none that last (a UART on the board), or is no port with hardware behind it.
    """
    port = _read_port(sysfs / "class/tty" / device.name, sysfs, udev_data)
    if port is None or port.device != device:
        return None
    for keys, needed in (
        (_SERIAL, "ID_SERIAL_SHORT"),
        ((*_SERIAL, "ID_PATH"), "ID_SERIAL_SHORT"),
        (("ID_PATH", "ID_PORT"), "ID_PATH"),
    ):
        own = {key: port.properties[key] for key in keys if port.properties.get(key)}
        if needed not in own:
            continue
        ports = serial_ports(sysfs=sysfs, udev_data=udev_data)
        if not any(one.matches(own) for one in ports if one.device != device):
            return own
    return None


def parse_match(text: str) -> dict[str, str]:
    """Return the properties of ``KEY=VALUE[,KEY=VALUE...]`` (what follows ``udev:`` in a URL).

    Raises:
        UsageError: It is not of that form.
    """
    wanted: dict[str, str] = {}
    for part in _SEPARATOR.split(text):
        key, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"[.A-Za-z0-9_]+", key) or not value:
            raise UsageError(
                f"not KEY=VALUE: {clean_line(part)!r}",
                thing=clean_line(f"udev:{text}"),
                action="write it as udev:ID_SERIAL_SHORT=A5XK,ID_USB_INTERFACE_NUM=00",
            )
        wanted[key] = value
    return wanted


def format_match(properties: Mapping[str, str]) -> str:
    """Return the line URL ``udev:KEY=VALUE,...`` of the given properties."""
    return "udev:" + ",".join(f"{key}={value}" for key, value in properties.items())


def naming(port: Port, ports: Sequence[Port]) -> dict[str, str]:
    """Return the fewest properties that name ``port`` and no other one of ``ports``.

    They are the most durable ones that do: a serial number where there is one of its own, else
    the place where it is plugged in, and the kernel's name as the last resort.
    """
    for keys in _NAMING:
        wanted = {key: port.properties[key] for key in keys if key in port.properties}
        if len(wanted) == len(keys) and sum(one.matches(wanted) for one in ports) == 1:
            return wanted
    return {"DEVNAME": str(port.device)}


def _read_port(entry: Path, sysfs: Path, udev_data: Path) -> Port | None:
    """Return the port of ``/sys/class/tty/NAME``; None if it is none or went while we looked."""
    if not (entry / "device").exists() or _attribute(entry / "type") == "0":
        return None  # type 0 is PORT_UNKNOWN of linux/serial_core.h: a ttyS without a UART
    event = dict(_assignments(_text(entry / "uevent")))
    if not {"MAJOR", "MINOR"} <= event.keys():
        return None
    device = Path("/dev") / event.get("DEVNAME", entry.name)
    ancestors = list(_ancestors((entry / "device").resolve(), sysfs.resolve()))
    properties = {
        "DEVNAME": str(device),
        "MAJOR": event["MAJOR"],
        "MINOR": event["MINOR"],
        "SUBSYSTEM": "tty",
    }
    if driver := _driver(ancestors):
        properties["DRIVER"] = driver
    if number := _attribute(entry / "device/port_number"):
        properties["ID_PORT"] = number
    database = _text(udev_data / f"c{event['MAJOR']}:{event['MINOR']}").split("\n")
    known = dict(_assignments("\n".join(line[2:] for line in database if line[:2] == "E:")))
    links = tuple(Path("/dev", line[2:]) for line in database if line[:2] == "S:")
    return Port(device, properties | (known or _derive(ancestors)), links)


def _derive(ancestors: Sequence[Path]) -> dict[str, str]:
    """Return what udev's builtins usb_id and path_id would say, from sysfs alone."""
    derived: dict[str, str] = {}
    for folder in ancestors:
        if number := _attribute(folder / "bInterfaceNumber"):
            derived["ID_USB_INTERFACE_NUM"] = number
        if vendor_id := _attribute(folder / "idVendor"):
            model_id = _attribute(folder / "idProduct")
            vendor = _usb_string(_attribute(folder / "manufacturer")) or vendor_id
            model = _usb_string(_attribute(folder / "product")) or model_id
            serial = _usb_string(_attribute(folder / "serial"))
            derived |= {"ID_BUS": "usb", "ID_VENDOR_ID": vendor_id, "ID_MODEL_ID": model_id}
            derived |= {"ID_VENDOR": vendor, "ID_MODEL": model}
            derived["ID_SERIAL"] = "_".join(part for part in (vendor, model, serial) if part)
            if serial:
                derived["ID_SERIAL_SHORT"] = serial
            break
    if path := _path_id(ancestors):
        derived["ID_PATH"] = path
    return derived


def _path_id(ancestors: Sequence[Path]) -> str:
    """Return the place of a device, such as ``pci-0000:00:14.0-usb-0:2:1.0``."""
    parts: list[str] = []
    last = ""
    for folder in ancestors:
        subsystem = _link_name(folder / "subsystem")
        # Only the innermost of a chain of hubs, bridges or platform devices counts.
        if subsystem == last:
            continue
        if subsystem == "usb" and "-" in folder.name:
            parts.insert(0, f"usb-0:{folder.name.partition('-')[2]}")
        elif subsystem in ("pci", "platform", "amba"):
            parts.insert(0, f"{subsystem}-{folder.name}")
        else:
            continue
        last = subsystem
    return "-".join(parts)


def _driver(ancestors: Sequence[Path]) -> str:
    for folder in ancestors:
        # Since Linux 6.5 a UART has two go-betweens on the bus "serial-base"; they drive nothing.
        if _link_name(folder / "subsystem") != "serial-base" and (folder / "driver").exists():
            return _link_name(folder / "driver")
    return ""


def _distinction(found: Sequence[Port], given: Mapping[str, str]) -> str:
    """Say what to add to ``given`` so that one of the ``found`` ports is left."""
    for keys in _NAMING:
        choices = [
            format_match({**given, **{key: port.properties[key] for key in keys}})
            for port in found
            if all(key in port.properties for key in keys)
        ]
        if len(set(choices)) == len(found):
            return "say which: " + " or ".join(choices)
    return "use the path of the device file"


def _advice(ports: Sequence[Port], wanted: Mapping[str, str]) -> str:
    if not ports:
        return "no serial port is plugged into this machine"

    def agreement(port: Port) -> int:
        return sum(port.properties.get(key) == value for key, value in wanted.items())

    nearest = max(ports, key=agreement)
    if not agreement(nearest):
        return "ports here: " + ", ".join(port.describe() for port in ports)
    differences = ", ".join(
        f"{key}={nearest.properties.get(key) or '(none)'}"
        for key, value in wanted.items()
        if nearest.properties.get(key) != value
    )
    return clean_line(f"nearest is {nearest.device}, which has {differences}")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _ancestors(folder: Path, top: Path) -> Iterator[Path]:
    """Yield ``folder`` and its parents, nearest first, down to but without ``top``."""
    while folder not in (top, folder.parent):
        yield folder
        folder = folder.parent


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""


def _attribute(path: Path) -> str:
    return _text(path).strip()


def _link_name(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _usb_string(text: str) -> str:
    return _NOT_ALLOWED.sub("_", "_".join(text.split()))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which ttyUSB2 comes before ttyUSB10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]

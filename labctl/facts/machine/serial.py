"""Serial adapters on USB, by the names that do not change.

Source: udev(7), rules of systemd that make /dev/serial/by-id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known


@dataclass(frozen=True)
class Adapter:
    """One serial port on USB.

    Attributes:
        device: Device file.
        by_id: Its stable name below /dev/serial/by-id, empty if it has none.
    """

    device: str
    by_id: str


@dataclass(frozen=True)
class Serial:
    """All serial ports on USB."""

    adapters: Fact[Sequence[Adapter]]


def parse(text: str) -> Serial:
    """Return the facts in the output of the snippet."""
    section = Sections(text)["serial"]
    trouble = section.trouble("/dev")
    if trouble:
        return Serial(trouble)
    names: dict[str, str] = {}
    devices = []
    for line in section.lines:
        kind, _, rest = line.partition(" ")
        if kind == "device":
            devices.append(rest.strip())
        elif kind == "link":
            name, _, target = rest.rpartition(" ")
            names[target.strip()] = name
    return Serial(Known(tuple(Adapter(device, names.get(device, "")) for device in devices)))


PROBE = Probe(
    "serial",
    """\
printf '[serial]\\n'
for device in /dev/ttyUSB* /dev/ttyACM*; do [ -e "$device" ] && echo "device $device"; done
for link in /dev/serial/by-id/*; do
[ -L "$link" ] && echo "link ${link##*/} $(readlink -f "$link")"
done
printf '[serial=0]\\n'""",
    parse,
)

"""Network interfaces: links, speeds, errors.

Source: Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-statistics of Linux.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, absent, parsed


@dataclass(frozen=True)
class Interface:
    """One interface that is a real device (not loopback, a bridge, or a container's).

    Attributes:
        name: As ip(8) calls it.
        state: ``up``, ``down``, ``unknown``.
        speed_mbit: Negotiated speed; not supported where the device has none.
        full_duplex: Both directions at once.
        packets: Packets received and sent since boot.
        errors: Packets received or sent with errors.
        error_share: ``errors`` of all packets.
    """

    name: str
    state: str
    speed_mbit: Fact[int]
    full_duplex: Fact[bool]
    packets: Fact[int]
    errors: Fact[int]
    error_share: Fact[float]


@dataclass(frozen=True)
class Network:
    """The network.

    Attributes:
        interfaces: Real devices.
        default_route: Whether there is a way to other networks (IPv4 or IPv6).
    """

    interfaces: Fact[Sequence[Interface]]
    default_route: Fact[bool]


def parse(text: str) -> Network:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    links = found["links"]
    trouble = links.trouble("/sys/class/net")
    values: dict[str, dict[str, str]] = {}
    for line in links.lines:
        path, colon, value = line.partition(":")
        parts = path.removeprefix("/sys/class/net/").split("/")
        if colon and len(parts) >= 2:
            values.setdefault(parts[0], {})[parts[-1]] = value.strip()
    routes = found["routes"]
    return Network(
        trouble or Known(tuple(_interface(name, entry) for name, entry in values.items())),
        routes.trouble("/proc/net/route") or Known(_has_default(routes)),
    )


def _interface(name: str, values: Mapping[str, str]) -> Interface:
    speed = parsed(values.get("speed", ""), int)
    if not isinstance(speed, Known) or speed.value <= 0:
        speed = Unknown(Reason.NOT_SUPPORTED, "it tells no speed")
    duplex = values.get("duplex", "")
    packets = _sum(values, "rx_packets", "tx_packets")
    errors = _sum(values, "rx_errors", "tx_errors")
    share: Fact[float] = packets if isinstance(packets, Unknown) else absent("no packets yet")
    if isinstance(packets, Known) and isinstance(errors, Known) and packets.value > 0:
        share = Known(errors.value / packets.value)
    return Interface(
        name,
        values.get("operstate", "unknown"),
        speed,
        Known(duplex == "full") if duplex in ("full", "half") else absent("it tells no duplex"),
        packets,
        errors,
        share,
    )


def _sum(values: Mapping[str, str], *keys: str) -> Fact[int]:
    total = 0
    for key in keys:
        number = parsed(values.get(key, ""), int)
        if not isinstance(number, Known):
            return number
        total += number.value
    return Known(total)


def _has_default(section: Section) -> bool:
    # /proc/net/route has the destination in hex in its second column; ipv6_route in the first,
    # with the length of its prefix in the second; routes that reject go to lo.
    for line in section.lines:
        words = line.split()
        if len(words) >= 8 and words[1] == "00000000" and words[7] == "00000000":
            return True
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            return True
    return False


PROBE = Probe(
    "network",
    """\
printf '[links]\\n'
for link in /sys/class/net/*; do
[ -e "$link/device" ] || continue
for key in operstate speed duplex statistics/rx_packets statistics/tx_packets \\
statistics/rx_errors statistics/tx_errors; do
value=; read -r value <"$link/$key"; printf '%s/%s:%s\\n' "$link" "$key" "$value"
done
done
printf '[links=0]\\n[routes]\\n'
cat /proc/net/route /proc/net/ipv6_route
printf '[routes=0]\\n'""",
    parse,
)

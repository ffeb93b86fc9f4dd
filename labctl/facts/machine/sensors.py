"""Temperatures that the kernel measures.

Small boards have no chips of hwmon but zones; a machine that has both counts once.
Sources: Documentation/hwmon/sysfs-interface.rst and driver-api/thermal/sysfs-api.rst of Linux
(millidegrees Celsius).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known, absent, parsed


@dataclass(frozen=True)
class Sensor:
    """One temperature.

    Attributes:
        name: Chip and label, such as ``coretemp Package id 0``.
        celsius: Degrees.
        critical: Degrees at which the chip itself is in danger, as it says.
    """

    name: str
    celsius: Fact[float]
    critical: Fact[float]


@dataclass(frozen=True)
class Sensors:
    """All temperatures; absent where nothing measures any."""

    temperatures: Fact[Sequence[Sensor]]


def parse(text: str) -> Sensors:
    """Return the facts in the output of the snippet."""
    section = Sections(text)["hwmon"]
    trouble = section.trouble("/sys/class/hwmon")
    if trouble:
        return Sensors(trouble)
    sensors = []
    for line in section.lines:
        words = line.split("|")
        if len(words) == 4:
            chip, label, now, critical = (word.strip() for word in words)
            limit = _degrees(critical)
            # Chips that know no limit say nought, or the end of their scale.
            if isinstance(limit, Known) and not 40 <= limit.value <= 130:
                limit = absent("it knows no limit")
            sensors.append(Sensor(f"{chip} {label}".strip(), _degrees(now), limit))
    return Sensors(Known(tuple(sensors)) if sensors else absent("nothing measures temperatures"))


def _degrees(text: str) -> Fact[float]:
    value = parsed(text, int)
    return Known(value.value / 1000) if isinstance(value, Known) else value


PROBE = Probe(
    "sensors",
    """\
printf '[hwmon]\\n'
for file in /sys/class/hwmon/hwmon*/temp*_input; do
[ -e "$file" ] || continue
base=${file%_input}; chip=; label=; now=; limit=
read -r chip <"${file%/*}/name"; read -r label <"${base}_label"
read -r now <"$file"; read -r limit <"${base}_crit"
printf '%s|%s|%s|%s\\n' "$chip" "$label" "$now" "$limit"; any=yes
done
[ "$any" ] || for zone in /sys/class/thermal/thermal_zone*; do
[ -e "$zone/temp" ] || continue
chip=; now=; limit=; read -r chip <"$zone/type"; read -r now <"$zone/temp"
for trip in "$zone"/trip_point_*_type; do
read -r kind <"$trip" && [ "$kind" = critical ] && read -r limit <"${trip%_type}_temp"
done
printf '%s||%s|%s\\n' "$chip" "$now" "$limit"
done
printf '[hwmon=0]\\n'""",
    parse,
    order=70,
)

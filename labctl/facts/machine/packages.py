"""Debian packages: half-done work of dpkg, holds, and whether a reboot is asked for.

Sources: dpkg-query(1), ``db:Status-Abbrev``; /run/reboot-required is written by the hooks of kernel
and library packages (update-notifier-common, unattended-upgrades).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, Unknown, absent, parsed


@dataclass(frozen=True)
class Packages:
    """Debian packages.

    Attributes:
        broken: Packages that dpkg left half unpacked or half configured.
        held: Packages that are held at their version.
        reboot: Packages that ask for a reboot; empty if none does.
        lists_age_s: Seconds since apt fetched its lists.
    """

    broken: Fact[Sequence[str]]
    held: Fact[Sequence[str]]
    reboot: Fact[Sequence[str]]
    lists_age_s: Fact[int]


def parse(text: str) -> Packages:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    dpkg = found["dpkg"]
    trouble = dpkg.trouble("dpkg-query")
    pairs = [(line[:3], line[4:].strip()) for line in dpkg.lines]
    # The second letter is the state: not installed, config files only, installed, or half-done
    # (U F H W t); the third an error flag.
    broken = tuple(name for flags, name in pairs if flags[1:2] not in "nci" or flags[2:3] == "R")
    held = tuple(name for flags, name in pairs if flags[:1] == "h")
    return Packages(
        trouble or Known(broken),
        trouble or Known(held),
        _reboot(found["reboot"]),
        _age(found["lists"], trouble),
    )


def _reboot(section: Section) -> Fact[Sequence[str]]:
    if section.status == 127:
        return Known(())
    trouble = section.trouble("/run/reboot-required")
    return trouble or Known(tuple(dict.fromkeys(line.strip() for line in section.lines)))


def _age(section: Section, dpkg: Unknown | None) -> Fact[int]:
    words = section.text.split()
    if section.status == 0 and len(words) == 2:
        now, then = parsed(words[1], int), parsed(words[0], int)
        if isinstance(now, Known) and isinstance(then, Known):
            return Known(max(now.value - then.value, 0))
    return dpkg or absent("apt has fetched no lists")


PROBE = Probe(
    "packages",
    """\
part dpkg 10 dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}\\n' | grep -v '^ii  '
printf '[reboot]\\n'; rc=127
[ -e /run/reboot-required ] && { rc=0; cat /run/reboot-required.pkgs || echo 'an update'; }
printf '[reboot=%s]\\n' $rc
printf '[lists]\\n'; stat -c %Y /var/lib/apt/lists/partial && date +%s
printf '[lists=%s]\\n' $?""",
    parse,
)

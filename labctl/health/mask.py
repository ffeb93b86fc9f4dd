"""Take names and ids out of recorded output, so that a recording can be shown to others.

The same name gets the same mask wherever it stands in one recording, so that the recording still
tells what belongs together. Masked: host names, login names, home folders, IP and hardware
addresses, UUIDs, serial numbers. Kept: everything that rules look at (versions, PCI addresses,
numbers, texts). Addresses become those that are set aside for documentation (RFC 5737, RFC 7042).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from labctl.facts.machine import driver, users
from labctl.facts.machine.probe import Sections
from labctl.facts.value import Fact, Known, absent

_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:.])")
_IPV6_RAW = re.compile(r"\b(?!0{32}\b)[0-9a-f]{32}\b")  # as in /proc/net/ipv6_route
_ROUTE = re.compile(r"^(\S+\t)([0-9A-F]{8})\t([0-9A-F]{8})(?=\t)", re.MULTILINE)
_SERIAL = re.compile(
    r"""((?:"serial_number"|"wwn"|"eui64"|"oui"|"id")\s*:\s*")([^"]+)(?=")"""
    r"""|("serial": \[0, ")([^"]+)(?=")"""  # of NVML
    r"""|((?:[Ss]erial ?[Nn]umber|SerialNumber)\s*[:=]\s*)(\S+)"""
)
# Elements of nvidia-smi -q -x that are one card's alone.
_ELEMENT = re.compile(r"(<(?:serial|board_serial_number|module_id|board_id)>)([^<]+)(?=</)")
# Numbers that are one drive's alone, in reports of smartctl.
_NUMBER_ID = re.compile(r'("(?:id|ext_id|eui64)"\s*:\s*)\d{7,}')
_BY_ID = re.compile(r"(?<=_)([A-Za-z0-9]{4,})(?=-if\d)")
_HOME = re.compile(r"(?<=/home/)[\w.-]+")
_KEPT_USERS = {"root", "nobody", "daemon", "messagebus"}


class Masker:
    """Masks the outputs of one machine.

    Args:
        hosts: Names and addresses under which it is known here.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = set(hosts)
        self._given: dict[tuple[str, str], str] = {}

    def mask(self, outputs: Mapping[str, str]) -> dict[str, str]:
        """Return ``outputs`` (by probe) without names and ids."""
        words = self._words(outputs)
        return {name: self._text(text, words) for name, text in outputs.items()}

    def _words(self, outputs: Mapping[str, str]) -> re.Pattern[str] | None:
        """Return what finds the names that this machine itself tells."""
        hosts, people = set(self._hosts), set()
        named = Sections(outputs.get("system", ""))["uname"].text.split()
        if named:
            hosts |= {named[0], named[0].partition(".")[0]}
        who = _people(outputs.get("users", ""))
        people |= set(who.value) if isinstance(who, Known) else set()
        holders = driver.parse(outputs.get("driver", "")).holders
        if isinstance(holders, Known):
            people |= {holder.user for holder in holders.value}
        people |= {name for text in outputs.values() for name in _HOME.findall(text)}
        people -= _KEPT_USERS
        hosts -= {"localhost", "local", ""}
        for name in sorted(hosts):
            self._mask("host", name, lambda number: f"host{number}")
        for name in sorted(people):
            self._mask("user", name, lambda number: f"user{number}")
        every = sorted(hosts | people, key=len, reverse=True)
        if not every:
            return None
        return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, every)) + r")(?![\w-])")

    def _mask(self, kind: str, secret: str, form: Callable[[int], str]) -> str:
        known = self._given.get((kind, secret))
        if known is None:
            number = sum(1 for given, _ in self._given if given == kind) + 1
            known = self._given[kind, secret] = form(number)
        return known

    def _text(self, text: str, words: re.Pattern[str] | None) -> str:
        text = _SERIAL.sub(self._serial, text)
        text = _ELEMENT.sub(self._element, text)
        text = _NUMBER_ID.sub(r"\g<1>0", text)
        text = _BY_ID.sub(lambda found: self._mask("serial", found.group(), _serial), text)
        text = _UUID.sub(lambda found: self._mask("uuid", found.group().lower(), _uuid), text)
        text = _MAC.sub(lambda found: self._mask("mac", found.group().lower(), _mac), text)
        text = _ROUTE.sub(self._route, text)
        text = _IPV6_RAW.sub(lambda found: self._mask("raw6", found.group(), _raw6), text)
        text = _IPV4.sub(self._ipv4, text)
        text = _IPV6.sub(self._ipv6, text)
        if words is None:
            return text
        return words.sub(self._word, text)

    def _word(self, found: re.Match[str]) -> str:
        name = found.group()
        return self._given.get(("host", name)) or self._given[("user", name)]

    def _serial(self, found: re.Match[str]) -> str:
        before, secret = [group for group in found.groups() if group]
        return before + self._mask("serial", secret, _serial)

    def _element(self, found: re.Match[str]) -> str:
        if found.group(2) in ("N/A", "0x0"):
            return found.group()
        return found.group(1) + self._mask("serial", found.group(2), _serial)

    def _route(self, found: re.Match[str]) -> str:
        masked = [
            word if word == "00000000" else self._mask("route", word, lambda n: f"{n:04X}00C0")
            for word in found.group(2, 3)
        ]
        return found.group(1) + "\t".join(masked)

    def _ipv4(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.IPv4Address(found.group())
        except ValueError:
            return found.group()
        if address.is_loopback or address.is_unspecified:
            return found.group()
        return self._mask(
            "ipv4", found.group(), lambda n: f"192.0.2.{n}" if n < 255 else "192.0.2.0"
        )

    def _ipv6(self, found: re.Match[str]) -> str:
        word = found.group()
        try:
            address = ipaddress.IPv6Address(word)
        except ValueError:
            return word  # a time of day, a PCI address
        if address.is_loopback or address.is_unspecified:
            return word
        return self._mask("ipv6", word, lambda number: f"2001:db8::{number:x}")


def _people(text: str) -> Fact[Sequence[str]]:
    try:
        return users.PROBE.read(text).names
    except ValueError:
        return absent("not to be read")


def _serial(number: int) -> str:
    return f"SERIAL{number:04}"


def _uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


def _mac(number: int) -> str:
    return f"00:00:5e:00:53:{number % 256:02x}"


def _raw6(number: int) -> str:
    return f"20010db8{number:024x}"

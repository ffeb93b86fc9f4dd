"""The machine as a whole: release, host name, time zone, locale, sshd, apt sources, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from labctl.setup.facts.base import Fact
from labctl.transport.script import quote


@dataclass(frozen=True)
class SystemState:
    """What is particular to one machine.

    Attributes:
        release: ``VERSION_CODENAME`` of os-release(5), such as ``bookworm``.
        distribution: ``ID`` of os-release(5), such as ``debian``.
        kernel_name: Host name that the kernel has now.
        hostname: Content of /etc/hostname.
        timezone: Zone that /etc/localtime links to, empty if there is none.
        lang: ``LANG`` in /etc/default/locale, empty if it is not set.
        locales: Generated and built-in locales, as ``locale -a`` spells them, in lower case.
    """

    release: str = ""
    distribution: str = ""
    kernel_name: str = ""
    hostname: str = ""
    timezone: str = ""
    lang: str = ""
    locales: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SystemFact(Fact):
    """The machine as a whole."""

    kind: ClassVar[str] = "system"

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """Read a few small files; only ``locale`` and ``readlink`` are started."""
        return """\
while IFS= read -r l; do printf 'R %s\\n' "$l"; done </etc/os-release
printf 'K %s\\n' "$(uname -n)"
[ -r /etc/hostname ] && while IFS= read -r l; do printf 'H %s\\n' "$l"; done </etc/hostname
printf 'Z %s\\n' "$(readlink /etc/localtime)"
[ -r /etc/default/locale ] && while IFS= read -r l || [ -n "$l" ]
do printf 'L %s\\n' "$l"; done </etc/default/locale
printf 'A %s\\n' $(locale -a 2>/dev/null)
true"""

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, SystemState]:
        """Return the one state."""
        found: dict[str, list[str]] = {tag: [] for tag in "RKHZLA"}
        for line in output.splitlines():
            if line[:1] in found:
                found[line[0]].append(line[2:])
        release = dict(line.partition("=")[::2] for line in found["R"] if "=" in line)
        zone = "".join(found["Z"])
        lang = ""
        for line in found["L"]:
            if line.startswith("LANG="):
                lang = line[5:].strip("\"'")
        state = SystemState(
            release=release.get("VERSION_CODENAME", "").strip("\"'"),
            distribution=release.get("ID", "").strip("\"'"),
            kernel_name="".join(found["K"]),
            hostname=next((line.strip() for line in found["H"] if line.strip()), ""),
            timezone=zone.partition("zoneinfo/")[2],
            lang=lang,
            locales=frozenset(name.lower() for name in found["A"]),
        )
        return dict.fromkeys(facts, state)


@dataclass(frozen=True)
class SshdState:
    """The ssh daemon: is it there, and what does it in fact do (``sshd -T``, sshd(8))."""

    installed: bool = False
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True)
class SshdFact(Fact):
    """The settings of sshd that result from all its files, keys in lower case."""

    kind: ClassVar[str] = "sshd"

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """``sshd -T`` tests and prints; it needs its run-time folder and host keys to exist."""
        return """\
command -v sshd >/dev/null || exit 0
echo 'installed yes'
sshd -T -C user=root,host=localhost,addr=127.0.0.1 2>/dev/null
true"""

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, SshdState]:
        """Return the one state; settings are None if sshd could not say them."""
        lines = output.splitlines()
        settings: dict[str, str] = {}
        for line in lines[1:]:
            key, _, value = line.partition(" ")
            settings.setdefault(key.lower(), value)
        state = SshdState(bool(lines) and lines[0] == "installed yes", settings or None)
        return dict.fromkeys(facts, state)


@dataclass(frozen=True)
class AptSourcesFact(Fact):
    """The files that say where apt takes packages from: path -> text."""

    kind: ClassVar[str] = "apt-sources"

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``grep`` prints all files with their names before each line."""
        return (
            "grep -H '' /etc/apt/sources.list /etc/apt/sources.list.d/*.list "
            "/etc/apt/sources.list.d/*.sources 2>/dev/null\ntrue"
        )

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, Mapping[str, str]]:
        """Return the text of each file."""
        texts: dict[str, str] = {}
        for line in output.splitlines():
            path, colon, text = line.partition(":")
            if colon and path.startswith("/"):
                texts[path] = texts.get(path, "") + text + "\n"
        return dict.fromkeys(facts, texts)


@dataclass(frozen=True)
class ConditionFact(Fact):
    """Does the shell condition ``command`` hold (exit status 0)?"""

    kind: ClassVar[str] = "condition"
    command: str

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """Run each condition in a shell of its own: a mistake in it makes it false, no more."""
        return (
            "\n".join(
                f"sh -c {quote(fact.command)} >/dev/null 2>&1; echo {i} $?"
                for i, fact in enumerate(facts)
            )
            + "\ntrue"
        )

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, bool]:
        """Return whether each condition holds."""
        codes = dict(line.split()[:2] for line in output.splitlines() if len(line.split()) == 2)
        return {fact: codes.get(str(i)) == "0" for i, fact in enumerate(facts)}

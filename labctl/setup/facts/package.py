"""Debian packages: what is installed, and what apt would install."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from labctl.setup.facts.base import Fact
from labctl.transport.script import quote


@dataclass(frozen=True)
class PackageState:
    """State of one package; source: dpkg-query(1), ``db:Status-Abbrev``.

    Attributes:
        version: Installed version, or None if it is not (whole and configured) installed.
        broken: dpkg was interrupted in the middle of it.
    """

    version: str | None = None
    broken: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package is unpacked and configured."""
        return self.version is not None


@dataclass(frozen=True)
class PackageFact(Fact):
    """Is the package ``name`` installed, and in which version."""

    kind: ClassVar[str] = "package"
    name: str

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``dpkg-query`` for all packages; it says nothing of those dpkg never heard of."""
        names = " ".join(quote(fact.name) for fact in facts)
        form = quote("${Package} ${db:Status-Abbrev} ${Version}\\n")
        return f"dpkg-query -W -f={form} -- {names} 2>/dev/null\ntrue"

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, PackageState]:
        """Return the state of each package."""
        states: dict[str, PackageState] = {}
        for line in output.splitlines():
            words = line.split()
            if len(words) < 2 or len(words[1]) < 2:
                continue
            name, status = words[0], words[1]
            if status[1] == "i":
                states[name] = PackageState(version=words[2])
            elif status[1] not in "nc" and name not in states:
                states[name] = PackageState(broken=True)
        return {fact: states.get(fact.name, PackageState()) for fact in facts}

"""``hostname``: the machine knows its own name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from labctl.setup.content import current_text, planned_edit
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.facts.system import SystemFact, SystemState
from labctl.setup.resource import Change, Resource
from labctl.setup.resources.line import replace_edited

_HOSTS = "/etc/hosts"


class Hostname(Resource):
    """Kernel, /etc/hostname and the 127.0.1.1 line of /etc/hosts have this name.

    Sources: hostname(5); Debian Policy's installer convention for 127.0.1.1 (so that sudo and mail
    find the name without a name server); RFC 1123, 2.1 for its form.
    """

    kind: ClassVar[str] = "hostname"

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9-]{1,63})*$")

    def facts(self) -> Iterable[Fact]:
        """The name in its three places."""
        yield SystemFact()
        yield PathFact(_HOSTS, content=True)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare all three."""
        system = world.get(SystemFact(), SystemState)
        state = world.get(PathFact(_HOSTS), PathState)
        text = self._hosts(current_text(_HOSTS, state))
        edit = planned_edit(_HOSTS, state, text, mode=None, owner="", group="")
        words = []
        if system.hostname != self.name or system.kernel_name != self.name:
            words.append(f"set to {self.name}")
        if edit:
            words.append("edit /etc/hosts")
        if not words:
            return None
        wanted = replace(system, hostname=self.name, kernel_name=self.name)
        return Change(
            ", ".join(words),
            system.hostname or system.kernel_name,
            self.name,
            diff=edit.diff if edit else "",
            effects={SystemFact(): wanted, **(edit.effects if edit else {})},
            backup=edit.backup if edit else {},
        )

    def _hosts(self, old: bytes) -> bytes:
        """Return /etc/hosts with our line; all others stay byte for byte, hosts(5)."""
        short = self.name.partition(".")[0]
        entry = f"127.0.1.1\t{' '.join(dict.fromkeys((self.name, short)))}\n".encode()
        lines = old.splitlines(keepends=True)
        for i, line in enumerate(lines):
            words = line.partition(b"#")[0].split()
            if words[:1] == [b"127.0.1.1"]:
                if words[1:2] == [self.name.encode()]:
                    return old
                return b"".join([*lines[:i], entry, *lines[i + 1 :]])
        local = (i for i, line in enumerate(lines, 1) if line.split()[:1] == [b"127.0.0.1"])
        at = next(local, 0)
        gap = b"\n" if at and not lines[at - 1].endswith(b"\n") else b""
        return b"".join([*lines[:at], gap, entry, *lines[at:]])

    def apply(self, change: Change) -> str:
        """Write the files and tell the kernel; each part may be done already."""
        lines = [replace_edited(_HOSTS, change)] if change.backup else []
        lines += [
            f"echo {self.name} >/etc/.hostname.labctl && "
            "mv -fT /etc/.hostname.labctl /etc/hostname || exit 1",
            # hostnamectl tells systemd as well; where it cannot run the kernel is told directly.
            f"hostnamectl hostname {self.name} 2>/dev/null || hostname {self.name}",
        ]
        return "\n".join(lines)

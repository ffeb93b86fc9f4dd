"""``timezone``: the machine's time zone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from labctl.setup.facts import Fact, World
from labctl.setup.facts.system import SystemFact, SystemState
from labctl.setup.resource import Change, Resource


class Timezone(Resource):
    """/etc/localtime links to this zone; localtime(5), and Debian's /etc/timezone says the same."""

    kind: ClassVar[str] = "timezone"

    name: str = Field(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", description="Area/City")

    def facts(self) -> Iterable[Fact]:
        """The present zone."""
        yield SystemFact()

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare the link."""
        system = world.get(SystemFact(), SystemState)
        if system.timezone == self.name:
            return None
        return Change(
            f"set to {self.name}",
            system.timezone or "not set",
            self.name,
            effects={SystemFact(): replace(system, timezone=self.name)},
        )

    def apply(self, change: Change) -> str:
        """Replace the link; the zone must exist."""
        return f"""\
z=/usr/share/zoneinfo/{self.name}
[ -f "$z" ] || {{ echo 'there is no such time zone (package tzdata, or its spelling)'; exit 1; }}
ln -sf "$z" /etc/.localtime.labctl && mv -fT /etc/.localtime.labctl /etc/localtime || exit 1
echo {self.name} >/etc/.timezone.labctl && mv -fT /etc/.timezone.labctl /etc/timezone"""

"""``command``: a shell command that makes its own condition true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field

from labctl.setup.facts import Fact, World
from labctl.setup.facts.system import ConditionFact
from labctl.setup.resource import Change, Resource
from labctl.transport.script import quote


class Command(Resource):
    """``run`` is run as root unless ``unless`` holds; afterwards it must hold.

    For what no other kind of resource can say. Without a condition there would be no telling
    whether anything is to do, so one is required; it must not change anything.
    """

    kind: ClassVar[str] = "command"

    name: str
    run: str
    unless: str = Field(description="Shell condition: exit status 0 means nothing is to do")

    def facts(self) -> Iterable[Fact]:
        """The condition."""
        yield ConditionFact(self.unless)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """See whether the condition holds."""
        fact = ConditionFact(self.unless)
        if world.get(fact, bool):
            return None
        return Change("run", "condition false", "condition true", effects={fact: True})

    def apply(self, change: Change) -> str:
        """Run it in a shell of its own: a mistake in it is the item's, not the script's."""
        return f"sh -c {quote(self.run)}"

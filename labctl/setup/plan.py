"""From wanted items and known facts to a plan: what changes, in what order, in which stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labctl.errors import UsageError
from labctl.setup.facts import Fact, World
from labctl.setup.resource import Change, ImpossibleError, Resource


@dataclass(frozen=True)
class Planned:
    """One item and what is to be done about it.

    Attributes:
        item: The item.
        change: What has to change, or None.
        problem: Why it cannot be reached, or None.
    """

    item: Resource
    change: Change | None = None
    problem: ImpossibleError | None = None


@dataclass(frozen=True)
class Plan:
    """All items of a machine in order."""

    entries: tuple[Planned, ...]

    @property
    def changes(self) -> list[Planned]:
        """Items that change."""
        return [entry for entry in self.entries if entry.change]

    @property
    def problems(self) -> list[Planned]:
        """Items that cannot be reached."""
        return [entry for entry in self.entries if entry.problem]


def unique(items: Iterable[Resource]) -> list[Resource]:
    """Return ``items`` without repetitions; two profiles may ask for the same thing.

    Raises:
        UsageError: Two items are about one thing and want it differently.
    """
    seen: dict[str, Resource] = {}
    for item in items:
        known = seen.setdefault(item.id, item)
        if known != item:
            raise UsageError(
                "two items want different things of it", thing=item.id, action="remove one"
            )
    return list(seen.values())


def arrange(items: Sequence[Resource]) -> list[Resource]:
    """Return ``items`` in the order that needs the fewest scripts and transactions.

    The order of a profile is kept but for two things. Items of a batching kind (packages) move up
    to the first of their kind, so that all profiles together cost one transaction. Items that
    have a login proved move to the end, each a stage of its own.
    """
    order = list(range(len(items)))
    first: dict[type[Resource], int] = {}
    for i, item in enumerate(items):
        if item.proves_login:
            order[i] = len(items)
        elif item.batch:
            order[i] = first.setdefault(type(item), i)
    return [items[i] for i in sorted(range(len(items)), key=lambda i: (order[i], i))]


def all_facts(items: Iterable[Resource]) -> list[Fact]:
    """Return the facts that ``items`` look at."""
    return [fact for item in items for fact in item.facts()]


def make_plan(items: Sequence[Resource], world: World) -> Plan:
    """Plan ``items`` in order, each against the world as the changes before it will leave it.

    ``world`` itself stays as it is.
    """
    predicted = world.copy()
    changing: dict[str, Change] = {}
    entries = []
    for item in items:
        try:
            change = item.plan(predicted, changing)
        except ImpossibleError as problem:
            entries.append(Planned(item, problem=problem))
            continue
        if change is not None:
            changing[item.id] = change
            predicted.update(change.effects)
        entries.append(Planned(item, change))
    return Plan(tuple(entries))


def next_stage(entries: Sequence[Planned]) -> int:
    """Return how many of ``entries`` the next script may hold.

    An item that a login has to be proved for is a stage of its own.
    """
    changing = False
    for i, entry in enumerate(entries):
        if entry.change is None:
            continue
        if entry.item.proves_login:
            return i if changing else i + 1
        changing = True
    return len(entries)


def steps(entries: Sequence[Planned]) -> list[list[tuple[Resource, Change]]]:
    """Return the changes of a stage, neighbours of a batching kind put together."""
    groups: list[list[tuple[Resource, Change]]] = []
    for entry in entries:
        if entry.change is None:
            continue
        pair = (entry.item, entry.change)
        if groups and entry.item.batch and type(groups[-1][0][0]) is type(entry.item):
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def watchers(items: Iterable[Resource]) -> Mapping[str, list[tuple[str, str]]]:
    """Return, by item id, the units that must be reloaded or restarted when it changes."""
    found: dict[str, list[tuple[str, str]]] = {}
    for item in items:
        for attribute, action in (("restart_after", "restart"), ("reload_after", "reload")):
            for watched in getattr(item, attribute, ()):
                found.setdefault(watched, []).append((getattr(item, item.main), action))
    return found

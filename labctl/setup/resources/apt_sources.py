"""``apt_sources``: apt knows the release, its updates and its security updates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from labctl.setup.content import planned_edit
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.facts.system import AptSourcesFact, SystemFact, SystemState
from labctl.setup.resource import Change, ImpossibleError, Resource
from labctl.setup.resources.line import replace_edited

_OURS = "/etc/apt/sources.list.d/labctl.sources"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+(.*)")


@dataclass(frozen=True)
class Source:
    """One archive, suite and component; sources.list(5)."""

    uri: str
    suite: str
    component: str


class AptSources(Resource):
    """Packages come from the release, ``-updates`` and ``-security``, with these components.

    What is there stays, whatever its form and mirror; what is missing goes into a file of our own,
    taken from the mirror that the machine uses already.
    """

    kind: ClassVar[str] = "apt_sources"
    main: ClassVar[str] = "components"

    components: tuple[str, ...] = ("main",)
    mirror: str = Field(
        default="", description="Archive for what is missing; empty: the one in use"
    )

    @property
    def id(self) -> str:
        """There is one such item on a machine."""
        return "apt_sources debian"

    def facts(self) -> Iterable[Fact]:
        """All source files, ours in particular, and the release."""
        yield AptSourcesFact()
        yield SystemFact()
        yield PathFact(_OURS, content=True)

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Find what is missing."""
        system = world.get(SystemFact(), SystemState)
        if system.distribution != "debian" or not system.release:
            raise ImpossibleError(
                f"knows Debian only, this is {system.distribution or 'unknown'}", thing=self.id
            )
        texts = world.get(AptSourcesFact(), dict)
        present = {
            source
            for path, text in texts.items()
            if path != _OURS
            for source in parse_sources(path, text)
        }
        mirror = self.mirror or _mirror(present, system.release)
        security = _security(present, mirror)
        wanted = [
            (uri, suite, [c for c in self.components if not _covered(present, suite, c)])
            for uri, suite in (
                (mirror, system.release),
                (mirror, f"{system.release}-updates"),
                (security, f"{system.release}-security"),
            )
        ]
        stanzas = [
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {' '.join(missing)}\n"
            f"Signed-By: {_KEYRING}\n"
            for uri, suite, missing in wanted
            if missing
        ]
        if not stanzas:
            return None
        text = "# Managed by labctl: what the other source files leave out.\n" + "\n".join(stanzas)
        state = world.get(PathFact(_OURS), PathState)
        change = planned_edit(_OURS, state, text.encode(), mode=0o644, owner="root", group="root")
        if change is None:
            return None
        added = ", ".join(f"{suite} {' '.join(miss)}" for _, suite, miss in wanted if miss)
        return Change(
            f"add {added}",
            change.before,
            change.after,
            change.diff,
            {**change.effects, AptSourcesFact(): {**texts, _OURS: text}},
            change.backup,
        )

    def apply(self, change: Change) -> str:
        """Replace our file."""
        return replace_edited(_OURS, change)


def parse_sources(path: str, text: str) -> Iterator[Source]:
    """Yield the binary sources in a one-line or deb822 file; sources.list(5)."""
    if not path.endswith(".sources"):
        for line in text.splitlines():
            match = _ONE_LINE.match(line.strip())
            if match:
                uri, suite, rest = match.groups()
                for component in rest.partition("#")[0].split():
                    yield Source(uri.rstrip("/"), suite, component)
        return
    for stanza in re.split(
        r"\n[ \t]*\n", "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    ):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[key] = fields.get(key, "") + " " + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                for component in fields.get("components", "").split():
                    yield Source(uri.rstrip("/"), suite, component)


def _covered(present: set[Source], suite: str, component: str) -> bool:
    """A release may be named by its code name or as stable; both give the same packages."""
    alias = re.sub(r"^[a-z]+", "stable", suite)
    return any(s.component == component and s.suite in (suite, alias) for s in present)


def _mirror(present: set[Source], release: str) -> str:
    """Return the archive that the release itself comes from; others may end in /debian too."""
    suites = (release, "stable", f"{release}-updates", "stable-updates")
    main = sorted(s.uri for s in present if s.suite in suites and s.component == "main")
    return next((uri for uri in main if uri.endswith("/debian")), "http://deb.debian.org/debian")


def _security(present: set[Source], mirror: str) -> str:
    known = sorted(s.uri for s in present if s.suite.endswith("-security"))
    return known[0] if known else mirror.removesuffix("/debian") + "/debian-security"

"""``link``: a symbolic link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from labctl.setup.content import describe, require_directory
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState, shell_path
from labctl.setup.resource import Change, ImpossibleError, Resource, TargetPath
from labctl.transport.script import quote


class Link(Resource):
    """``path`` is a symbolic link to ``target``. A file or directory is never replaced by one."""

    kind: ClassVar[str] = "link"
    main: ClassVar[str] = "path"

    path: TargetPath
    target: str

    def facts(self) -> Iterable[Fact]:
        """The link, and its folder."""
        yield PathFact(self.path)
        yield PathFact(self.path.rpartition("/")[0] or "/")

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare where it points to."""
        state = world.get(PathFact(self.path), PathState)
        if state.type == "link" and state.target == self.target:
            return None
        if state.type not in ("link", "absent"):
            raise ImpossibleError(
                f"is a {state.type}, not a link",
                thing=self.path,
                action="move it away first",
            )
        require_directory(self.path, world, changing)
        before = f"link to {state.target}" if state.type == "link" else describe(state)
        after = PathState("link", 0o777, "root", "root", target=self.target)
        return Change(
            f"link to {self.target}",
            before,
            f"link to {self.target}",
            effects={PathFact(self.path): after},
        )

    def apply(self, change: Change) -> str:
        """Make the link under another name and rename it, so that there is always one."""
        return (
            f"f={shell_path(self.path)}\n"
            't="${f%/*}/.${f##*/}.labctl"\n'
            f'rm -f -- "$t"\nln -s -- {quote(self.target)} "$t" && mv -fT -- "$t" "$f"'
        )

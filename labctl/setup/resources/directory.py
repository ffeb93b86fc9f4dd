"""``directory``: a directory with this owner and mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field

from labctl.setup.content import describe, require_directory
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState, shell_path
from labctl.setup.remote_files import set_owner_and_mode
from labctl.setup.resource import AccountName, Change, ImpossibleError, Mode, Resource, TargetPath
from labctl.transport.script import quote


class Directory(Resource):
    """A directory exists with this owner and mode. It is never removed by labctl."""

    kind: ClassVar[str] = "directory"
    main: ClassVar[str] = "path"

    path: TargetPath
    mode: Mode = Field(default=0o755, description="Permission bits in octal")
    owner: AccountName = "root"
    group: str = Field(default="", description="Group name; the owner's own group if empty")

    def facts(self) -> Iterable[Fact]:
        """The directory, and the one that it is in."""
        yield PathFact(self.path)
        yield PathFact(self.path.rpartition("/")[0] or "/")

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare existence, owner and mode."""
        state = world.get(PathFact(self.path), PathState)
        if state.type == "absent":
            require_directory(self.path, world, changing)
            words = ["create"]
        elif state.type == "directory":
            words = []
            if state.mode != self.mode:
                words.append(f"mode {state.mode:04o} -> {self.mode:04o}")
            if state.owner != self.owner:
                words.append(f"owner {state.owner} -> {self.owner}")
            if self.group and state.group != self.group:
                words.append(f"group {state.group} -> {self.group}")
        else:
            raise ImpossibleError(f"is a {state.type}, not a directory", thing=self.path)
        if not words:
            return None
        group = self.group or (state.group or self.owner)
        after = PathState("directory", self.mode, self.owner, group)
        return Change(
            ", ".join(words),
            describe(state),
            describe(after),
            effects={PathFact(self.path): after},
        )

    def apply(self, change: Change) -> str:
        """Make the directory, readable by nobody else until its owner and mode are set."""
        word = shell_path(self.path)
        if change.before != "absent":
            return set_owner_and_mode(self.path, mode=self.mode, owner=self.owner, group=self.group)
        owner = quote(f"{self.owner}:{self.group}")
        return (
            f'f={word}\nmkdir -m 0700 -- "$f" || exit 1\n'
            f'chown -- {owner} "$f" || exit 1\nchmod {self.mode:04o} -- "$f"'
        )

"""``file``: a file with this content, owner and mode; or no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from labctl.setup.content import planned_edit, require_directory
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import ABSENT, PathFact, PathState, digest, shell_path
from labctl.setup.remote_files import set_owner_and_mode
from labctl.setup.resource import (
    AccountName,
    Change,
    ImpossibleError,
    Mode,
    Resource,
    TargetPath,
    text_diff,
)
from labctl.setup.resources.line import replace_edited


class File(Resource):
    """A file has this content, owner and mode (``state: present``), or is not there."""

    kind: ClassVar[str] = "file"
    main: ClassVar[str] = "path"

    path: TargetPath
    content: str = ""
    state: str = Field(default="present", pattern="^(present|absent)$")
    mode: Mode = Field(default=0o644, description="Permission bits in octal")
    owner: AccountName = "root"
    group: str = Field(
        default="", description="Group name; if empty, a new file gets the owner's own group"
    )
    validate_with: str = Field(
        default="", description="Command that must accept the new file; %s is its name"
    )

    @model_validator(mode="after")
    def _consistent(self) -> File:
        if self.state == "absent" and self.content:
            raise ValueError("a file that shall be absent has no content")
        return self

    def facts(self) -> Iterable[Fact]:
        """The file, and its folder."""
        wanted = digest(self.content.encode()) if self.state == "present" else None
        yield PathFact(self.path, content=True, unless=wanted)
        yield PathFact(self.path.rpartition("/")[0] or "/")

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compare content, owner and mode."""
        fact = PathFact(self.path)
        state = world.get(fact, PathState)
        if self.state == "absent":
            return self._plan_absent(fact, state)
        require_directory(self.path, world, changing)
        return planned_edit(
            self.path,
            state,
            self.content.encode(),
            mode=self.mode,
            owner=self.owner,
            group=self.group,
        )

    def _plan_absent(self, fact: PathFact, state: PathState) -> Change | None:
        if state.type == "absent":
            return None
        if state.type == "directory":
            raise ImpossibleError("is a directory, not a file", thing=self.path)
        diff = text_diff(state.content, None, self.path) if state.content is not None else ""
        return Change(
            "remove", state.type, "absent", diff, {fact: ABSENT}, {self.path: state.content}
        )

    def apply(self, change: Change) -> str:
        """Replace the file, or set what differs besides its content."""
        if self.state == "absent":
            return f"rm -f -- {shell_path(self.path)}"
        if self.path not in change.backup:
            return set_owner_and_mode(self.path, mode=self.mode, owner=self.owner, group=self.group)
        return replace_edited(self.path, change, validate=self.validate_with)

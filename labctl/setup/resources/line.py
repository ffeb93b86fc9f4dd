"""``line``: a text file has this line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from labctl.setup.content import current_text, planned_edit, require_directory
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.remote_files import replace_file
from labctl.setup.resource import Change, Resource, TargetPath


class Line(Resource):
    """A text file has this line once, in place of the last line that ``match`` finds.

    The rest of the file stays byte for byte as it is. A file that does not exist is made.
    """

    kind: ClassVar[str] = "line"
    main: ClassVar[str] = "line"

    path: TargetPath
    line: str
    match: str = Field(default="", description="Regular expression for the line to replace")
    state: str = Field(default="present", pattern="^(present|absent)$")

    @field_validator("line")
    @classmethod
    def _one(cls, line: str) -> str:
        if not line or "\n" in line or "\r" in line:
            raise ValueError("one line, not empty")
        return line

    @field_validator("match")
    @classmethod
    def _compiles(cls, match: str) -> str:
        try:
            re.compile(match)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return match

    @property
    def id(self) -> str:
        """Kind, file and line."""
        return f"line {self.path}: {self.line}"

    def facts(self) -> Iterable[Fact]:
        """The file with its content, and its folder."""
        yield PathFact(self.path, content=True)
        yield PathFact(self.path.rpartition("/")[0] or "/")

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compute the new content; mode and owner stay."""
        state = world.get(PathFact(self.path), PathState)
        old = current_text(self.path, state)
        new = self._edited(old)
        if new == old:
            return None
        require_directory(self.path, world, changing)
        return planned_edit(self.path, state, new, mode=None, owner="", group="")

    def _edited(self, old: bytes) -> bytes:
        wanted = self.line.encode()
        lines = old.split(b"\n")
        tail = lines.pop()  # what stands behind the last newline
        if tail:
            lines.append(tail)
        if self.state == "absent":
            kept = [line for line in lines if line != wanted]
            return b"".join(line + b"\n" for line in kept) if kept != lines else old
        if wanted in lines:
            return old
        pattern = re.compile(self.match.encode()) if self.match else None
        places = [i for i, line in enumerate(lines) if pattern and pattern.search(line)]
        if places:
            lines[places[-1]] = wanted
        else:
            lines.append(wanted)
        return b"".join(line + b"\n" for line in lines)

    def apply(self, change: Change) -> str:
        """Replace the file."""
        return replace_edited(self.path, change)


def replace_edited(path: str, change: Change, *, validate: str = "") -> str:
    """Return shell that gives ``path`` the content, owner and mode that ``change`` foresees."""
    after = change.effects[PathFact(path)]
    if not isinstance(after, PathState) or after.content is None:
        raise TypeError(f"the change of {path} has no content")
    return replace_file(
        path,
        after.content,
        before=change.backup[path],
        mode=after.mode,
        owner=after.owner,
        group=after.group,
        validate=validate,
    )

"""``block``: lines in a text file that labctl owns, between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from labctl.setup.content import current_text, planned_edit, require_directory
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.resource import AccountName, Change, ImpossibleError, Mode, Resource, TargetPath
from labctl.setup.resources.line import replace_edited


class Block(Resource):
    """A text file has these lines between two marks; all other lines are the user's own.

    An existing file keeps its owner and mode. A new one gets ``owner``.
    """

    kind: ClassVar[str] = "block"
    main: ClassVar[str] = "path"

    path: TargetPath
    content: str
    name: str = Field(
        default="labctl", pattern=r"^[a-z][a-z0-9-]*$", description="Name in the marks"
    )
    comment: str = Field(
        default="#", pattern=r"^[^\r\n]+$", description="What starts a comment in this kind of file"
    )
    owner: AccountName = "root"
    mode: Mode = Field(default=0o644, description="Permission bits of a new file, in octal")
    position: str = Field(
        default="end", pattern="^(start|end)$", description="Where a new block goes"
    )

    @model_validator(mode="after")
    def _no_marks_inside(self) -> Block:
        if set(self.marks()) & set(self.content.encode().split(b"\n")):
            raise ValueError("the content of a block must not hold the marks of that block")
        return self

    @property
    def id(self) -> str:
        """Kind, file and name of the block."""
        return f"block {self.path}" + (f" ({self.name})" if self.name != "labctl" else "")

    def facts(self) -> Iterable[Fact]:
        """The file with its content, and its folder."""
        yield PathFact(self.path, content=True)
        yield PathFact(self.path.rpartition("/")[0] or "/")

    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Compute the new content."""
        state = world.get(PathFact(self.path), PathState)
        old = current_text(self.path, state)
        new = self._edited(old)
        if new == old and state.type == "file":
            return None
        require_directory(self.path, world, changing)
        if state.type == "absent":
            return planned_edit(self.path, state, new, mode=self.mode, owner=self.owner, group="")
        return planned_edit(self.path, state, new, mode=None, owner="", group="")

    def marks(self) -> tuple[bytes, bytes]:
        """Return the first and the last line of the block."""
        note = "managed by labctl, changes here are lost"
        return (
            f"{self.comment} >>> {self.name}: {note} >>>".encode(),
            f"{self.comment} <<< {self.name} <<<".encode(),
        )

    def _edited(self, old: bytes) -> bytes:
        begin, end = self.marks()
        block = [begin, *self.content.rstrip("\n").encode().split(b"\n"), end]
        lines = old.split(b"\n")
        starts = [i for i, line in enumerate(lines) if line == begin]
        ends = [i for i, line in enumerate(lines) if line == end]
        if not starts and not ends:
            text = b"".join(line + b"\n" for line in block)
            if self.position == "start":
                return text + old
            return old + (b"\n" if old and not old.endswith(b"\n") else b"") + text
        if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
            raise ImpossibleError(
                f"the marks of block '{self.name}' are not one pair any more",
                thing=self.path,
                action="delete the marked lines and run labctl again",
            )
        lines[starts[0] : ends[0] + 1] = block
        return b"\n".join(lines)

    def apply(self, change: Change) -> str:
        """Replace the file."""
        return replace_edited(self.path, change)

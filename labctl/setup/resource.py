"""What a resource is: one thing that should be so on a machine.

A resource says which facts it needs, compares them with what should be, and gives the shell that
makes the difference go away. It knows no transport and prints nothing, so its tests need no
machine: facts in, change out.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from labctl.errors import LabctlError, UsageError
from labctl.setup.facts.base import Fact, World

ENTRY_POINTS = "labctl.resources"


class ImpossibleError(LabctlError):
    """What a resource wants cannot be reached from how the machine is."""


@dataclass(frozen=True)
class Change:
    """One difference between what is and what should be, before anything is done about it.

    Attributes:
        summary: What will be done, in a few words.
        before: What is there, in a few words.
        after: What will be there.
        diff: For text files, the difference in unified form.
        effects: Facts as the change will leave them; later items are planned against these.
        backup: What is needed to put things back (the journal keeps it): path -> content, None
            where there was no file.
        parts: Of a change that has several, those that are to be made.
    """

    summary: str
    before: str
    after: str
    diff: str = ""
    effects: Mapping[Fact, object] = field(default_factory=dict)
    backup: Mapping[str, bytes | None] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


class Resource(BaseModel):
    """One thing that should be so. Its fields are the keys of an item in a profile.

    Attributes:
        kind: The item's key in a profile.
        main: Field that a bare string in a profile stands for.
        proves_login: Before and after the change a fresh login by key must work.
        batch: Neighbouring changes of this kind are applied by one snippet (`apply_batch`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    main: ClassVar[str] = "name"
    proves_login: ClassVar[bool] = False
    batch: ClassVar[bool] = False

    @property
    def id(self) -> str:
        """Identity within a machine's items: kind and name."""
        return f"{self.kind} {getattr(self, self.main)}"

    @abstractmethod
    def facts(self) -> Iterable[Fact]:
        """Return the facts that `plan` looks at."""

    @abstractmethod
    def plan(self, world: World, changing: Mapping[str, Change]) -> Change | None:
        """Return what has to change, or None if all is as it should be.

        Args:
            world: The facts, as the changes of earlier items will leave them.
            changing: Changes of earlier items by id.

        Raises:
            ImpossibleError: There is no way from here to there.
        """

    @abstractmethod
    def apply(self, change: Change) -> str:
        """Return the shell that makes ``change``; its exit status tells whether it did."""

    @classmethod
    def apply_batch(cls, items: Sequence[tuple[Resource, Change]]) -> str:
        """Return the shell that makes all of these changes, for kinds with `batch`."""
        return "\n".join(item.apply(change) for item, change in items)

    def revert(self, change: Change) -> str:
        """Return the shell that puts back what ``change`` replaced, for `proves_login`."""
        raise ImpossibleError("cannot be put back", thing=self.id)


def packages_change(changing: Mapping[str, Change]) -> bool:
    """Tell whether packages are to be installed: what is missing now may come with one of them."""
    return any(name.startswith("package ") for name in changing)


def _absolute(path: str) -> str:
    if not path.startswith(("/", "~")) or "\n" in path or "\0" in path:
        raise ValueError("a path starts with / or ~user/")
    if path.startswith("~"):
        user = path[1:].partition("/")[0]
        if not user:
            raise ValueError("say whose home: ~user/...")
        _account(user)
    if "/../" in path + "/" or "/./" in path + "/" or "//" in path:
        raise ValueError("a path has no '..', no '.' and no '//' in it")
    if path.endswith("/") and path != "/":
        raise ValueError("a path has no '/' at its end")
    return path


def _account(name: str) -> str:
    # useradd(8), CAVEATS: Debian accepts more; these names mean the same to every program.
    head, rest = name[:1], name[1:]
    fine = head.islower() or head == "_"
    if not (name.isascii() and fine and len(name) <= 32):
        raise ValueError("a name of at most 32 letters, digits, - and _, starting with a letter")
    if not all(c.islower() or c.isdigit() or c in "-_" for c in rest):
        raise ValueError("only a-z, 0-9, - and _ in a name")
    return name


def _mode(value: object) -> object:
    if isinstance(value, str):
        try:
            return int(value.removeprefix("0o"), 8)
        except ValueError:
            raise ValueError("a mode is octal digits, such as 0644") from None
    # YAML 1.1 reads 0644 as octal but 644 as six hundred and forty-four, which nobody means.
    if value in _DECIMAL_MODES:
        raise ValueError(f"a mode is octal: write 0{value}")
    return value


_DECIMAL_MODES = frozenset(
    {400, 440, 444, 555, 600, 640, 644, 660, 664, 700, 750, 755, 770, 775, 777}
)

TargetPath = Annotated[str, AfterValidator(_absolute)]
AccountName = Annotated[str, AfterValidator(_account)]
Mode = Annotated[int, BeforeValidator(_mode), Field(ge=0, le=0o7777)]


def text_diff(before: bytes | None, after: bytes | None, path: str) -> str:
    """Return the unified difference of two versions of the text file ``path``."""
    if (before is not None and b"\0" in before) or (after is not None and b"\0" in after):
        return f"{path}: binary content differs\n"

    def lines(data: bytes | None) -> list[str]:
        text = (data or b"").decode(errors="replace")
        return [line + "\n" for line in text.split("\n")[: None if text[-1:] != "\n" else -1]]

    old, new = lines(before) if before else [], lines(after) if after else []
    return "".join(
        difflib.unified_diff(
            old,
            new,
            path if before is not None else "/dev/null",
            path if after is not None else "/dev/null",
        )
    )


@lru_cache(maxsize=1)
def _entries() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


@cache
def _load(name: str) -> type[Resource]:
    kind: type[Resource] = _entries()[name].load()
    return kind


def resource_kinds() -> Mapping[str, type[Resource]]:
    """Return all kinds of resource by name: labctl's own and those of plug-in packages.

    A plug-in package adds one by an entry point of the group ``labctl.resources``, named as the
    kind is.
    """
    return {name: _load(name) for name in _entries()}


def resource_kind(name: str) -> type[Resource]:
    """Return the kind of resource called ``name``; the others are not even imported.

    Raises:
        UsageError: There is none.
    """
    kinds = _entries()
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        raise UsageError(
            f"no kind of resource is called '{name}'",
            action=f"did you mean '{near[0]}'?"
            if near
            else f"there are {', '.join(sorted(kinds))}",
        )
    return _load(name)

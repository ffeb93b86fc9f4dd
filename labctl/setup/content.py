"""Planning of changes to the content of text files, shared by the kinds of resource that do it."""

from __future__ import annotations

from collections.abc import Mapping

from labctl.setup.facts import World
from labctl.setup.facts.path import CONTENT_LIMIT, PathFact, PathState, digest
from labctl.setup.resource import Change, ImpossibleError, packages_change, text_diff


def require_directory(path: str, world: World, changing: Mapping[str, Change]) -> None:
    """Check that the folder of ``path`` is there, or will be by then.

    Raises:
        ImpossibleError: It is not.
    """
    parent = path.rpartition("/")[0] or "/"
    if parent.startswith("~") and "/" not in parent:
        return  # a home directory comes with its user
    state = world.get(PathFact(parent), PathState)
    if state.type not in ("directory", "link") and not packages_change(changing):
        raise ImpossibleError(
            f"its folder {parent} does not exist",
            thing=path,
            action=f"put an item 'directory: {parent}' before it",
        )


def current_text(path: str, state: PathState) -> bytes:
    """Return the content of the file ``path`` as bytes; empty if there is no file.

    Raises:
        ImpossibleError: There is something else than a small file.
    """
    if state.type == "absent":
        return b""
    if state.type == "link":
        raise ImpossibleError(
            f"is a symbolic link to {state.target}; labctl does not write through links",
            thing=path,
            action="manage the file it points to, or replace the link by a file",
        )
    if state.type != "file":
        raise ImpossibleError(f"is a {state.type}, not a file", thing=path)
    if state.content is None:
        raise ImpossibleError(f"is larger than {CONTENT_LIMIT} bytes", thing=path)
    return state.content


def planned_edit(
    path: str,
    state: PathState,
    content: bytes,
    *,
    mode: int | None,
    owner: str,
    group: str,
) -> Change | None:
    """Return the change that gives ``path`` this content, owner and mode; None if it has them.

    ``mode`` None, ``owner`` or ``group`` empty: leave them as they are.
    """
    if state.type == "file" and state.sha256 == digest(content):
        before: bytes | None = content
    else:
        before = None if state.type == "absent" else current_text(path, state)
    words = []
    if before is None:
        words.append("create")
    elif before != content:
        words.append("edit")
    new_mode = mode if mode is not None else (0o644 if before is None else state.mode)
    new_owner = owner or (state.owner if before is not None else "root")
    # A new file of nobody in particular gets its owner's own group, whatever that is called.
    new_group = group or (state.group if before is not None else "")
    if before is not None:
        if new_mode != state.mode:
            words.append(f"mode {state.mode:04o} -> {new_mode:04o}")
        if new_owner != state.owner:
            words.append(f"owner {state.owner} -> {new_owner}")
        if group and new_group != state.group:
            words.append(f"group {state.group} -> {new_group}")
    if not words:
        return None
    after = PathState(
        "file",
        mode=new_mode,
        owner=new_owner,
        group=new_group,
        size=len(content),
        sha256=digest(content),
        content=content,
    )
    written = before != content
    return Change(
        summary=", ".join(words),
        before=describe(state),
        after=describe(after),
        diff=text_diff(before, content, path) if written else "",
        effects={PathFact(path): after},
        backup={path: before} if written else {},
    )


def describe(state: PathState) -> str:
    """Return ``state`` in a few words."""
    if state.type == "absent":
        return "absent"
    size = f" {state.size} bytes" if state.type == "file" else ""
    return f"{state.type} {state.mode:04o} {state.owner}:{state.group or state.owner}{size}"

"""Files, directories and links: what is at a path, and its content where that matters."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from labctl.setup.facts.base import Fact
from labctl.transport.script import quote

# Configuration files are small; something larger is not edited by mistake.
CONTENT_LIMIT = 1024 * 1024

# Prints the files "$@" as one archive: three programs, however many files. Links to files are left
# out by find; --hard-dereference sends each of two names of one file whole; blocks of one record
# (-b 1) save the 10 KiB that tar pads to otherwise.
_SEND = (
    f'find "$@" -maxdepth 0 -type f -size -{CONTENT_LIMIT + 1}c -print0 | '
    "tar -c -b 1 -P --hard-dereference --null -T - -f - | base64 -w0"
)

_TILDE = re.compile(r"~[a-z_][a-z0-9_-]*(?=/|\Z)")


Kind = Literal["absent", "file", "directory", "link", "other"]
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
}


@dataclass(frozen=True)
class PathState:
    """What is at a path.

    Attributes:
        type: ``other`` is a device, socket or FIFO.
        mode: Permission bits.
        owner: User name, or number where it has no name.
        group: Group name or number.
        size: Bytes.
        sha256: Hex digest of a file, where it was asked for.
        content: Bytes of a file, where they were asked for; None also if it is too large.
        target: Where a link points to.
    """

    type: Kind
    mode: int = 0
    owner: str = ""
    group: str = ""
    size: int = 0
    sha256: str | None = None
    content: bytes | None = field(default=None, repr=False)
    target: str | None = None


ABSENT = PathState("absent")


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hex."""
    return hashlib.sha256(content).hexdigest()


def shell_path(path: str) -> str:
    """Return ``path`` as a shell word; ``~user/`` at its start is left to the target's shell."""
    tilde = _TILDE.match(path)
    if not tilde:
        return quote(path)
    rest = path[tilde.end() + 1 :]
    return tilde.group() + ("/" + quote(rest) if rest else "")


@dataclass(frozen=True)
class PathFact(Fact):
    """What is at ``path``, which is absolute or starts with ``~user/``.

    Attributes:
        path: The path.
        content: Ask for the bytes of a file.
        unless: With ``content``: not if this is the file's SHA-256 already (the caller has them).
    """

    kind: ClassVar[str] = "path"
    path: str
    content: bool = field(default=False, compare=False)
    unless: str | None = field(default=None, compare=False)

    @classmethod
    def merge(cls, facts: Sequence[Self]) -> Sequence[Self]:
        """Return one fact for each path, asking for as much as any of them asks."""
        merged: dict[str, Self] = {}
        for fact in facts:
            known = merged.get(fact.path)
            if known is None:
                merged[fact.path] = fact
            elif fact.content:
                same = not known.content or known.unless == fact.unless
                merged[fact.path] = replace(fact, unless=fact.unless if same else None)
        return list(merged.values())

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``stat`` for all paths; one ``sha256sum``, one archive for all content."""
        lines = [f"p{i}={shell_path(fact.path)}" for i, fact in enumerate(facts)]
        every = " ".join(f'"$p{i}"' for i in range(len(facts)))
        # Names are printed for ~user/ paths only: the rest are known here.
        lines += [
            f"""printf 'N {i} %s\\n' "$p{i}" """
            for i, fact in enumerate(facts)
            if fact.path.startswith("~")
        ]
        lines.append(f"set -- {every}")
        lines.append("stat --printf='S %f %U:%u %G:%g %s %n\\n' -- \"$@\" 2>/dev/null")
        # Whoever made a link chose its target, line ends included; so it comes in base64.
        lines.append(
            'for p do [ -L "$p" ] && '
            'printf \'L %s\\n%s\\n\' "$p" "$(readlink -n -- "$p" | base64 -w0)"; done'
        )
        wanted = [(i, fact) for i, fact in enumerate(facts) if fact.content]
        if wanted:
            lines.append("set --")
            lines += [f'[ -f "$p{i}" ] && set -- "$@" "$p{i}"' for i, _ in wanted]
            have = "|".join(f'"$p{i}:{fact.unless}"' for i, fact in wanted if fact.unless)
            # The names whose content is to be sent become the arguments of the inner shell.
            lines.append('[ $# -eq 0 ] || sha256sum -- "$@" 2>/dev/null | { set --')
            lines.append("while IFS= read -r sum")
            # sha256sum(1): a name with a backslash is escaped, and the line starts with one.
            lines.append("do name=${sum#*  } sum=${sum%%  *}")
            lines.append('case "$sum" in (\\\\*) sum=${sum#?} name=$(printf %b "$name") ;; esac')
            lines.append('printf \'H %s %s\\n\' "$sum" "$name"')
            lines.append('case "$name:$sum" in')
            if have:
                lines.append(f"({have}) ;;")
            lines.append('(*) set -- "$@" "$name" ;;')
            lines.append("esac")
            lines.append("done")
            lines.append(f"[ $# -eq 0 ] || {{ printf 'C '; {_SEND}; echo; }}")
            lines.append("}")
        lines.append("true")
        return "\n".join(lines)

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, PathState]:
        """Return the state of each path; one that is not mentioned is absent."""
        names = {i: fact.path for i, fact in enumerate(facts)}
        states: dict[str, PathState] = {}
        lines = iter(output.split("\n"))
        for line in lines:
            tag, _, rest = line.partition(" ")
            if tag == "N":
                index, _, name = rest.partition(" ")
                names[int(index)] = name
            elif tag == "S":
                raw, owner, group, size, name = rest.split(" ", 4)
                states[name] = _stat(int(raw, 16), owner, group, int(size))
            elif tag == "L" and rest in states:
                target = _decode(next(lines, ""))
                states[rest] = replace(states[rest], target=os.fsdecode(target or b""))
            elif tag == "H":
                sum_, _, name = rest.partition(" ")
                if name in states and states[name].type == "file":
                    states[name] = replace(states[name], sha256=sum_)
            elif tag == "C":
                for name, content in _unpack(_decode(rest) or b""):
                    if name in states and states[name].type == "file":
                        states[name] = replace(states[name], content=content)
        return {fact: states.get(names[i], ABSENT) for i, fact in enumerate(facts)}


def _stat(raw: int, owner: str, group: str, size: int) -> PathState:
    kind = _KINDS.get(stat.S_IFMT(raw), "other")
    return PathState(kind, stat.S_IMODE(raw), _name(owner), _name(group), size)


def _name(answer: str) -> str:
    """Return the name in ``name:number``, or the number where stat(1) knows no name."""
    name, _, number = answer.rpartition(":")
    return number if name == "UNKNOWN" else name


def _unpack(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a tar archive, as far as it is whole."""
    with (
        contextlib.suppress(tarfile.TarError),
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as files,
    ):
        for entry in files:
            stream = files.extractfile(entry)
            if stream is not None:
                # As the other output of the machine is decoded, so that the names are the same.
                raw = os.fsencode(entry.name)
                yield raw.decode(errors="replace"), stream.read()


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None

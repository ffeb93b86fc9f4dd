"""Turn other tools' lists of hosts into our inventory: what fits is kept, the rest is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.inventory.diagnostics import shown_path
from labctl.inventory.draft import write_out
from labctl.inventory.import_ansible import draft_from_ansible
from labctl.inventory.import_ssh import draft_from_ssh
from labctl.inventory.textfile import read_text


@dataclass(frozen=True)
class Imported:
    """The result: the text of an inventory file, and what could not be carried over."""

    text: str
    warnings: tuple[str, ...]
    summary: str


def import_file(path: Path, kind: str | None = None) -> Imported:
    """Read another tool's file and return it as an inventory.

    Args:
        path: An OpenSSH client configuration or an Ansible inventory (INI or YAML).
        kind: ``ssh`` or ``ansible``; told from the name and content if None.

    Raises:
        UsageError: The file cannot be read or is neither.
    """
    text = read_text(path, what="a list of hosts")
    draft = (
        draft_from_ssh(path)
        if (kind or guess_kind(path, text)) == "ssh"
        else draft_from_ansible(text, path)
    )
    content = write_out(draft)
    if not draft.hosts:
        raise UsageError(
            "no host in this file can be carried over",
            thing=shown_path(path),
            action="; ".join(draft.warnings[:3]) or "name another file, or say --from",
        )
    header = f"# Imported by 'labctl inventory import' from {path.name!a}.\n"
    return Imported(
        header + content,
        tuple(draft.warnings),
        f"{_number(draft.hosts, 'host')}, {_number(draft.groups, 'group')}",
    )


def guess_kind(path: Path, text: str) -> str:
    """Return ``ssh`` if the text looks like an OpenSSH configuration, else ``ansible``."""
    if path.suffix in (".yml", ".yaml", ".ini"):
        return "ansible"
    ssh = re.search(r"^\s*(Host|Match|Include)[ \t=]+\S", text, re.IGNORECASE | re.MULTILINE)
    return "ssh" if ssh and not re.search(r"^\s*\[[^\]]+\]", text, re.MULTILINE) else "ansible"


def _number(entries: dict[str, Any], noun: str) -> str:
    return f"{len(entries)} {noun}{'' if len(entries) == 1 else 's'}"

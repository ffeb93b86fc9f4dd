"""Where the owner of a line lives: one folder for each line, whatever names the line has.

``$LABCTL_LINES`` names a folder that the users of a shared machine can all write to (made by its
administrator, set-group-id, for the group that owns the ports); without it each user's lines lie
in the user's own state folder. Two owners of one port are kept apart by the port's own locks.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.paths import make_private, state_dir
from labctl.procs import ProcessId
from labctl.transport.lines.settings import LineSettings

VARIABLE = "LABCTL_LINES"


@dataclass(frozen=True)
class OwnerConfig:
    """What an owner is told when it is started.

    Attributes:
        board: Name of the board, for messages.
        url: Line to open, in the forms of an inventory's ``line``.
        settings: Rate and format of the line.
        inventory: Inventory file, for lines on another host of it; or None.
        until: Path whose end is the end of the owner too (the folder of a virtual board), or None.
    """

    board: str
    url: str
    settings: LineSettings
    inventory: str | None = None
    until: str | None = None

    def to_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> OwnerConfig:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(**{**data, "settings": LineSettings(**data["settings"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the configuration of an owner: {error}") from error


def lines_dir() -> Path:
    """Return the folder of all lines, made where it is missing.

    Raises:
        UsageError: ``$LABCTL_LINES`` names something that is not a folder.
    """
    shared = os.environ.get(VARIABLE)
    if shared:
        if not Path(shared).is_dir():
            raise UsageError(
                "no such folder", thing=f"${VARIABLE}={shared}", action="make it, or unset it"
            )
        return Path(shared)
    return make_private(state_dir() / "lines")


class Place:
    """The folder of one line.

    Args:
        identity: What `labctl.transport.lines.canonical` says of its URL.
        base: Folder of all lines; `lines_dir` by default.
    """

    def __init__(self, identity: str, base: Path | None = None) -> None:
        import hashlib  # noqa: PLC0415 - slow to import, as subprocess and tempfile are elsewhere

        digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:16]
        self.folder = (base or lines_dir()) / digest

    def inode(self) -> tuple[int, int] | None:
        """Return which folder lies there: device and inode; None where there is none."""
        try:
            found = self.folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @classmethod
    def at(cls, folder: Path) -> Place:
        """Return the place whose folder is ``folder``."""
        place = cls.__new__(cls)
        place.folder = folder
        return place

    def make(self) -> None:
        """Make the folders; in a shared base they keep its group and are open to it."""
        shared = bool(self.folder.parent.stat().st_mode & stat.S_IWGRP)
        for folder in (self.folder, self.log):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                if shared:
                    folder.chmod(0o2770)

    @property
    def file_mode(self) -> int:
        """Mode of the files in it: open to the group where the folder is."""
        return 0o660 if self.folder.stat().st_mode & stat.S_IWGRP else 0o600

    @property
    def socket(self) -> Path:
        """UNIX socket on which the owner listens."""
        return self.folder / "owner.sock"

    @property
    def lock(self) -> Path:
        """Held by the owner for as long as it lives."""
        return self.folder / "owner.lock"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts the owner."""
        return self.folder / "start.lock"

    @property
    def log(self) -> Path:
        """Folder of what the line said."""
        return self.folder / "log"

    @property
    def events(self) -> Path:
        """What was done to the line: one JSON object a line."""
        return self.folder / "events.jsonl"

    @property
    def errors(self) -> Path:
        """The owner's own standard error."""
        return self.folder / "owner.err"

    def write_config(self, config: OwnerConfig) -> None:
        """Write what the owner is to open."""
        write_atomic(self.folder / "config.json", config.to_json(), mode=self.file_mode)

    def read_config(self) -> OwnerConfig:
        """Return what the owner is to open.

        Raises:
            ValueError: It cannot be read.
        """
        try:
            return OwnerConfig.from_json((self.folder / "config.json").read_text())
        except OSError as error:
            raise ValueError(str(error)) from error

    def write_process(self, process: ProcessId) -> None:
        """Say which process the owner is."""
        write_atomic(self.folder / "owner.json", json.dumps(asdict(process)), mode=self.file_mode)

    def read_process(self) -> ProcessId | None:
        """Return the last owner's process, which may have gone; None if there was none."""
        try:
            return ProcessId(**json.loads((self.folder / "owner.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

"""Models of boards: data files, checked once, read quickly.

``boards/<model>/board.yaml`` is looked for beside the inventory, in the user's folder, and among
what labctl brings along (`labctl.paths.board_dirs`). Checking imports the validator, which takes a
quarter of a second; the result is kept until the file or this code changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import __version__
from labctl.boards.boot import BootPlan
from labctl.boards.signs import Signs
from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.inventory.diagnostics import Diagnostic, InventoryError, did_you_mean, shown_path
from labctl.inventory.model import Board
from labctl.paths import board_dirs, cache_dir, make_private
from labctl.transport.lines.settings import LineSettings

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from pydantic import BaseModel

# What the software of any board says when it gives up. Sources: kernel/panic.c and
# arch/*/kernel/traps.c of Linux; common/board_r.c (hang), arch/arm/lib/interrupts_64.c of U-Boot;
# ESP-IDF's panic handler.
PANICS = (
    r"(?:\[ *\d+\.\d+\] ?(?:\[[ TC]*\d+\] )?)?Kernel panic - not syncing",
    r"(?:\[ *\d+\.\d+\] ?(?:\[[ TC]*\d+\] )?)?Internal error: ",
    r"(?:\[ *\d+\.\d+\] ?(?:\[[ TC]*\d+\] )?)?Unable to handle kernel ",
    r"### ERROR ### Please RESET the board ###",
    r'"(?:Synchronous|Error)[^"]*" handler, esr',
    r"Guru Meditation Error: ",
)


@dataclass(frozen=True)
class BoardModel:
    """A model of a board, with the settings of one board of the inventory applied.

    Attributes:
        name: Folder name below ``boards/``.
        path: Its file.
        data: Everything it says, by the names of docs/board-models.md.
    """

    name: str
    path: Path
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What it is, in one line."""
        return str(self.data["description"])

    @property
    def shell(self) -> str:
        """What it talks like: ``linux``, ``uboot`` or ``none``."""
        return str(self.data["shell"])

    @property
    def line(self) -> LineSettings:
        """How bytes are sent on its line."""
        known = {key: value for key, value in self.data["line"].items() if key != "fifo_bytes"}
        return LineSettings(**known)

    @property
    def fifo_bytes(self) -> int:
        """Bytes that its receiver surely takes at once."""
        return int(self.data["line"]["fifo_bytes"])

    @property
    def line_limit(self) -> int:
        """The longest line that its U-Boot takes, bytes."""
        return int((self.data["uboot"] or {"line_limit": 512})["line_limit"])

    @property
    def default_password(self) -> str | None:
        """The public default password of its image, or None."""
        linux = self.data["linux"] or {}
        password: str | None = linux.get("default_password")
        return password

    def signs(self) -> Signs:
        """Return the patterns by which it shows where it is."""
        uboot, linux = self.data["uboot"] or {}, self.data["linux"] or {}

        def one(table: Mapping[str, Any], key: str) -> re.Pattern[bytes] | None:
            return re.compile(table[key].encode()) if key in table else None

        def line_start(pattern: str) -> re.Pattern[bytes]:
            return re.compile(rb"(?m)^\r?(?:" + pattern.encode() + rb")")

        return Signs(
            rom=tuple(line_start(text) for text in self.data["rom"]),
            autoboot=one(uboot, "autoboot"),
            uboot_prompt=one(uboot, "prompt"),
            login=one(linux, "login"),
            password=one(linux, "password"),
            shell_prompt=one(linux, "shell_prompt"),
            panic=tuple(line_start(text) for text in (*PANICS, *self.data["panic"])),
        )

    def boot_plan(self) -> BootPlan:
        """Return how it boots."""
        uboot, linux = self.data["uboot"] or {}, self.data["linux"] or {}
        usual = BootPlan()
        return BootPlan(
            stop_keys=uboot.get("stop_keys", " ").encode(),
            uboot_timeout_s=uboot.get("timeout_s", usual.uboot_timeout_s),
            linux_commands=tuple(linux.get("commands", ())),
            linux_timeout_s=linux.get("timeout_s", usual.linux_timeout_s),
            user=linux.get("user"),
        )


def models(inventory: Path | None) -> dict[str, Path]:
    """Return the models there are: name -> file; the first folder of the search path wins."""
    found: dict[str, Path] = {}
    for folder in board_dirs(inventory):
        for path in sorted(folder.glob("*/board.yaml")):
            found.setdefault(path.parent.name, path)
    return dict(sorted(found.items()))


def load_model(board: Board, inventory: Path | None) -> BoardModel:
    """Return the model of ``board`` with the board's own settings applied.

    Raises:
        UsageError: There is no such model.
        InventoryError: Its file, or the board's settings, have mistakes; carries all of them.
    """
    known = models(inventory)
    if board.model not in known:
        raise UsageError(
            f"there is no model '{board.model}'{did_you_mean(board.model, known)}",
            thing=board.name, action=f"known: {', '.join(known)}",
        )  # fmt: skip
    path = known[board.model]
    text = path.read_text(encoding="utf-8")
    key = _key(path, text, board.settings)
    data = _recall(path, key)
    if data is None:
        data = _compile(path, text, board)
        _keep(path, key, data)
    return BoardModel(board.model, path, data)


def _compile(path: Path, text: str, board: Board) -> dict[str, Any]:
    from pydantic import ValidationError  # noqa: PLC0415 - slow, and rarely needed

    from labctl.boards.schema import BoardFile  # noqa: PLC0415
    from labctl.inventory.validate import locate  # noqa: PLC0415
    from labctl.inventory.yamlnodes import parse  # noqa: PLC0415

    shown = shown_path(path)
    root, mistakes = parse(text)
    if root is None:
        raise InventoryError(shown, mistakes or [Diagnostic(1, 1, "the file is empty")])
    if mistakes:
        raise InventoryError(shown, mistakes)
    try:
        BoardFile.model_validate(root.value())
    except ValidationError as error:
        found = []
        for one in error.errors(include_url=False):
            place = [str(step) if isinstance(step, str) else step for step in one["loc"]]
            about_key = one["type"] in ("extra_forbidden", "missing")
            node = locate(root, place, key=about_key)
            found.append(Diagnostic(node.line, node.column, _words(place, one)))
        raise InventoryError(shown, found) from None
    try:
        merged = _merge(root.value(), board.settings)
        return BoardFile.model_validate(merged).model_dump(mode="json")
    except ValidationError as error:
        messages = [_words(list(one["loc"]), one) for one in error.errors(include_url=False)]
        raise UsageError(
            "; ".join(messages), thing=f"settings of {board.name}", action="correct the inventory"
        ) from None


def _words(place: list[int | str], error: Any) -> str:  # noqa: ANN401 - pydantic_core.ErrorDetails
    name = ".".join(map(str, place)) or "the file"
    if error["type"] == "extra_forbidden":
        from labctl.boards import schema  # noqa: PLC0415

        tables: dict[str, type[BaseModel]] = {
            "line": schema.LineEntry,
            "uboot": schema.UBootEntry,
            "linux": schema.LinuxEntry,
        }
        table: type[BaseModel] = schema.BoardFile
        if len(place) > 1:
            table = tables.get(str(place[0]), schema.BoardFile)
        known = list(table.model_fields)
        hint = did_you_mean(str(place[-1]), known) or f"; known here: {', '.join(known)}"
        return f"unknown key '{name}'{hint}"
    if error["type"] == "missing":
        return f"'{name}' is missing; write '{name}: …'"
    if error["type"] == "inventory":
        return str(error["ctx"]["message"])
    return f"'{name}': {error['msg']}"


def _merge(below: object, above: Mapping[str, object]) -> Any:  # noqa: ANN401 - what YAML can hold
    merged: dict[str, object] = dict(below) if isinstance(below, dict) else {}
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, dict)
        merged[key] = _merge(old, value) if both and isinstance(value, Mapping) else value
    return merged


def _key(path: Path, text: str, settings: Mapping[str, object]) -> str:
    code = [
        (one, (Path(__file__).parent / one).stat().st_mtime_ns) for one in ("schema.py", "model.py")
    ]
    facts = json.dumps([__version__, code, str(path), text, settings], default=str, sort_keys=True)
    return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()


def _place(key: str) -> Path:
    return cache_dir() / "boards" / f"{key[:32]}.json"


def _recall(path: Path, key: str) -> dict[str, Any] | None:
    try:
        kept = json.loads(_place(key).read_text(encoding="utf-8"))
        data: dict[str, Any] = kept["data"]
        return data if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, key: str, data: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        make_private(_place(key).parent)
        write_atomic(_place(key), json.dumps({"key": key, "data": data}))

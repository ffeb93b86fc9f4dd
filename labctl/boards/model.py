"""Models of boards: data files, checked once, read quickly.

``boards/<model>/board.yaml`` is looked for beside the inventory, in the user's folder, and among
what labctl brings along (`labctl.paths.board_dirs`). Checking imports the validator, which takes a
quarter of a second; the result is kept until the file or this code changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labctl import __version__
from labctl.boards import model_patterns
from labctl.boards.boot import BootPlan
from labctl.boards.signs import Signs
from labctl.errors import UsageError
from labctl.inventory import kept
from labctl.inventory.diagnostics import did_you_mean
from labctl.inventory.model import Board
from labctl.inventory.textfile import read_text
from labctl.paths import board_dirs
from labctl.transport.lines.settings import LineSettings

_ROOM = "boards"
# What a reading depends on besides the file: code of this room, and of the inventory's.
_CODE = ("schema.py", "model*.py", "../inventory/*.py")


@dataclass(frozen=True)
class SignalStep:
    """One step of a pulse on the modem control outputs.

    Attributes:
        dtr: Data Terminal Ready from here on; None leaves it as it is.
        rts: Request To Send; likewise.
        seconds: How long it stays so.
    """

    dtr: bool | None = None
    rts: bool | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class UsbId:
    """A USB adapter on a board.

    Attributes:
        vid: Vendor.
        pid: Product.
        product: What its product name begins with, or None.
        interface: Interface of the console (two hexadecimal digits), or None.
    """

    vid: int
    pid: int
    product: re.Pattern[bytes] | None = None
    interface: str | None = None


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

    @property
    def capabilities(self) -> frozenset[str]:
        """What tests may ask for."""
        return frozenset(self.data["capabilities"])

    @property
    def usb(self) -> tuple[UsbId, ...]:
        """The USB adapters on the board."""
        return tuple(
            UsbId(
                one["vid"],
                one["pid"],
                model_patterns.prompt(one["product"]) if one["product"] else None,
                one["interface"],
            )
            for one in self.data["usb"]
        )

    def reset_signals(self, *, loader: bool = False) -> tuple[SignalStep, ...]:
        """Return the steps on DTR and RTS that reset it; none where these do not reach its reset.

        Args:
            loader: So that its ROM waits for a program, in place of starting its own.
        """
        steps = self.data["reset"]["loader" if loader else "signals"] or ()
        return tuple(
            SignalStep(one["dtr"], one["rts"], float(one["seconds"] or 0.0)) for one in steps
        )

    def signs(self) -> Signs:
        """Return the patterns by which it shows where it is."""
        uboot, linux = self.data["uboot"] or {}, self.data["linux"] or {}

        def one(table: Mapping[str, Any], key: str) -> re.Pattern[bytes] | None:
            return model_patterns.prompt(table[key]) if key in table else None

        return Signs(
            rom=tuple(map(model_patterns.line_start, self.data["rom"])),
            autoboot=one(uboot, "autoboot"),
            uboot_prompt=one(uboot, "prompt"),
            login=one(linux, "login"),
            password=one(linux, "password"),
            shell_prompt=one(linux, "shell_prompt"),
            panic=model_patterns.panics(self.data["panic"]),
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
        for path in folder.glob("*/board.yaml"):
            found.setdefault(path.parent.name, path)
    return dict(sorted(found.items()))


def load_model(board: Board, inventory: Path | None) -> BoardModel:
    """Return the model of ``board`` with the board's own settings applied.

    Args:
        board: A board of the inventory; ``Board(name, model)`` for the model as it is.
        inventory: The inventory file, or None where there is none.

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
    text = read_text(path, what="a model of a board")
    settings = json.dumps(board.settings, sort_keys=True)
    here = Path(__file__).parent
    code = [one for pattern in _CODE for one in here.glob(pattern)]
    key = kept.key_of(__version__, str(path), text, settings, code=code)
    data = kept.recall_reading(_ROOM, f"{path}\0{settings}", key)
    if data is None:
        # The validator takes a quarter of a second to import.
        from labctl.boards.model_check import check_model  # noqa: PLC0415

        data = check_model(path, text, board, inventory)
        kept.keep_reading(_ROOM, f"{path}\0{settings}", key, data)
    return BoardModel(board.model, path, data)

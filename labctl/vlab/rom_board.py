"""One board whose chip's boot ROM is played: the program `labctl.vlab.rom`."""

from __future__ import annotations

import json
import sys

from labctl.vlab import program_board
from labctl.vlab.board_model import RomModel
from labctl.vlab.state import Machine, MachineRecord


def command_line(machine: Machine, model: RomModel) -> list[str]:
    """Return the command that runs the board."""
    return [
        sys.executable, "-m", "labctl.vlab.rom",
        "--folder", str(machine.folder), "--name", machine.name,
        "--pidfile", str(machine.pidfile), "--settings", json.dumps(dict(model.settings)),
    ]  # fmt: skip


def start(machine: Machine, model: RomModel) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    return program_board.start(
        machine, command_line(machine, model), lambda: (machine.folder / "line").read_text().strip()
    )

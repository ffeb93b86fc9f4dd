"""One scripted board: the program `labctl.vlab.scripted`.

Its line is a pseudo-terminal whose name changes when it is "replugged", so the line that is made
known is a link in the board's folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from labctl.vlab import program_board
from labctl.vlab.board_model import ScriptedModel
from labctl.vlab.state import Machine, MachineRecord


def line_link(machine: Machine) -> Path:
    """Return the link to the tty of the board's line."""
    return machine.folder / "console"


def command_line(machine: Machine, model: ScriptedModel) -> list[str]:
    """Return the command that runs the board."""
    return [
        sys.executable, "-m", "labctl.vlab.scripted",
        "--folder", str(machine.folder), "--name", machine.name,
        "--pidfile", str(machine.pidfile), "--settings", json.dumps(dict(model.settings)),
    ]  # fmt: skip


def start(machine: Machine, model: ScriptedModel) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    return program_board.start(
        machine, command_line(machine, model), lambda: str(line_link(machine))
    )

"""Start and reset the virtual boards of a lab.

What records a board's line is another room. So the caller may give a hook: it is called when the
board can be reached and before it has power, and switches it on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from labctl.errors import UsageError
from labctl.fileio import locked
from labctl.inventory.endpoints import BoardEndpoint, publish, withdraw
from labctl.vlab import board, box, rom_board, scripted_board
from labctl.vlab.avr import board as avr_board
from labctl.vlab.avr.build import require_parts
from labctl.vlab.avr.parts import AvrModel
from labctl.vlab.board_image import ensure_board_image
from labctl.vlab.board_model import AnyModel, RomModel, ScriptedModel, VirtualModel
from labctl.vlab.outcomes import Outcome, for_each
from labctl.vlab.programs import require
from labctl.vlab.state import Machine, MachineRecord
from labctl.vlab.steps import Progress
from labctl.vlab.store import Image

OnBoard = Callable[[str], None]


def boards_up(
    inventory: Path,
    models: Mapping[str, AnyModel],
    progress: Progress,
    on_board: OnBoard | None = None,
) -> list[Outcome]:
    """Start virtual boards; those that run already are left alone.

    One that fails does not stop the others.

    Args:
        inventory: The inventory file that the lab belongs to.
        models: How to run each board, by its name.
        progress: Gets a line for each step.
        on_board: Called for each board once it can be reached and before it has power; it switches
            it on. Without it the board is switched on here.

    Raises:
        DependencyError: Programs are missing.
        LabctlError: An image cannot be built.
    """
    _require(models)
    images = {name: ensure_board_image(model, progress) for name, model in models.items()}
    chosen = [Machine(inventory, name) for name in models]

    def up(machine: Machine) -> Outcome:
        started = time.monotonic()
        with locked(machine.lock, what=machine.name):
            state, record = machine.state(), machine.read()
            if state == "up" and record:
                _publish(machine, record, models[machine.name])
                progress(f"{machine.name}: already up")
                return Outcome(machine.name, "already up", 0.0, record)
            if state != "down":
                progress(f"{machine.name}: had crashed, starting afresh")
            record = _start(machine, models[machine.name], images[machine.name])
        return _switch_on(machine, record, started, progress, on_board)

    return for_each(chosen, up)


def board_reset(
    inventory: Path,
    name: str,
    model: AnyModel,
    progress: Progress,
    on_board: OnBoard | None = None,
) -> Outcome:
    """Make a board as new: what was written to its flash and its disk is lost.

    Args:
        inventory: The inventory file that the lab belongs to.
        name: Which board.
        model: How it is run.
        progress: Gets a line for each step.
        on_board: See `boards_up`.

    Raises:
        UsageError: The lab does not run the board.
        DependencyError: Programs are missing.
        LabctlError: It does not start again.
    """
    machine = Machine(inventory, name)
    _require({name: model})
    image = ensure_board_image(model, progress)
    started = time.monotonic()
    with locked(machine.lock, what=name):
        record = machine.read()
        if record is None or record.kind != board.KIND:
            raise UsageError("the lab runs no such board", thing=name, action="labctl lab status")
        progress(f"{name}: flash and disk as new")
        record = _start(machine, model, image)
    return _switch_on(machine, record, started, progress, on_board)


def _require(models: Mapping[str, AnyModel]) -> None:
    emulated = [model for model in models.values() if isinstance(model, VirtualModel)]
    needs = [board.programs(model) for model in emulated]
    require(*(tools for tools, _ in needs), files=[one for _, files in needs for one in files])
    require_parts([model for model in models.values() if isinstance(model, AvrModel)])


def _start(machine: Machine, model: AnyModel, image: Image | None) -> MachineRecord:
    withdraw(machine.inventory, machine.name)
    box.stop(machine)
    if isinstance(model, ScriptedModel):
        record = scripted_board.start(machine, model)
    elif isinstance(model, AvrModel):
        record = avr_board.start(machine, model)
    elif isinstance(model, RomModel):
        record = rom_board.start(machine, model)
    else:
        record = board.start(machine, model, image)
    _publish(machine, record, model)
    return record


def _publish(machine: Machine, record: MachineRecord, model: AnyModel) -> None:
    endpoint = BoardEndpoint(
        name=machine.name,
        kind=model.kind,
        line=record.line,
        monitor=str(machine.qmp),
        folder=str(machine.folder),
    )
    publish(machine.inventory, endpoint)


def _switch_on(
    machine: Machine,
    record: MachineRecord,
    started: float,
    progress: Progress,
    on_board: OnBoard | None,
) -> Outcome:
    if on_board is not None:
        on_board(machine.name)
    else:
        board.power_on(machine)
    seconds = round(time.monotonic() - started, 1)
    progress(f"{machine.name}: switched on in {seconds:.1f} s")
    return Outcome(machine.name, "started", seconds, record)

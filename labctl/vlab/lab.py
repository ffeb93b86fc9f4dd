"""Start, stop, reset and list the machines of a lab, several at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError, UsageError
from labctl.fileio import locked
from labctl.inventory.endpoints import Endpoint, publish, withdraw
from labctl.vlab import board, box, fleet
from labctl.vlab.box import BoxOptions
from labctl.vlab.image import ensure_image
from labctl.vlab.lab_boards import board_reset, boards_up
from labctl.vlab.nvml import on_boxes
from labctl.vlab.outcomes import Outcome, for_each
from labctl.vlab.programs import BOX_PROGRAMS, FLEET_PROGRAMS, require
from labctl.vlab.state import Machine, MachineRecord, machines
from labctl.vlab.steps import Progress
from labctl.vlab.store import Image

# The whole engine, for those who call it; boards are in a module of their own.
__all__ = [
    "MachineStatus",
    "Outcome",
    "board_reset",
    "boards_up",
    "down",
    "fleet_up",
    "is_board",
    "reset",
    "status",
    "up",
]

# Several boxes on few processors slow each other down; this is for all of them together.
BOOT_TIMEOUT_S = 300.0
FLEET_TIMEOUT_S = 60.0


def up(
    inventory: Path,
    names: Sequence[str],
    progress: Progress,
    options: BoxOptions | None = None,
    cards: Mapping[str, Path] | None = None,
) -> list[Outcome]:
    """Start boxes and wait until their sshd answers; those that run already are left alone.

    One that fails does not stop the others.

    Args:
        inventory: The inventory file that the lab belongs to.
        names: Boxes to start.
        progress: Gets a line for each step.
        options: Size of the boxes.
        cards: Scenarios of simulated cards by name of the box; the others have none.

    Raises:
        DependencyError: Programs are missing.
        LabctlError: The image cannot be built.
    """
    chosen = options or BoxOptions()
    boxes = [Machine(inventory, name) for name in dict.fromkeys(names)]
    require(BOX_PROGRAMS)
    image = ensure_image(progress)
    own = {name: replace(chosen, cards=path) for name, path in (cards or {}).items()}
    return for_each(
        boxes, lambda machine: _up(machine, image, own.get(machine.name, chosen), progress)
    )


def _up(machine: Machine, image: Image, options: BoxOptions, progress: Progress) -> Outcome:
    started = time.monotonic()
    with locked(machine.lock, what=machine.name):
        state = machine.state()
        record = machine.read()
        if state == "up" and record:
            _publish(machine, record)
            progress(f"{machine.name}: already up at {record.address}:{record.port}")
            return Outcome(machine.name, "already up", 0.0, record)
        if state == "starting" and record and record.process:
            progress(f"{machine.name}: found booting, waiting for it")
        else:
            if state != "down":
                progress(f"{machine.name}: had crashed, starting afresh")
            withdraw(machine.inventory, machine.name)
            box.stop(machine)
            record = box.start(machine, image, options)
            progress(f"{machine.name}: booting ({record.accel})")
    record = _finish(machine, record, timeout_s=BOOT_TIMEOUT_S)
    seconds = time.monotonic() - started
    progress(f"{machine.name}: ready in {seconds:.1f} s at {record.address}:{record.port}")
    return Outcome(machine.name, "started", round(seconds, 1), record)


def _finish(machine: Machine, record: MachineRecord, *, timeout_s: float) -> MachineRecord:
    """Wait for sshd, then make the machine known to the rest of labctl.

    The caller does not hold the lock: who wants the machine stopped need not wait for its boot.

    Raises:
        LabctlError: It ended, was stopped, or did not answer in time.
    """
    box.wait_ready(machine, record, timeout_s=timeout_s)
    with locked(machine.lock, what=machine.name):
        now = machine.read()
        if now is None or now.process != record.process:
            raise LabctlError("it was stopped meanwhile", thing=machine.name)
        record = machine.update(now, ready=True)
        _publish(machine, record)
    return record


def fleet_up(
    inventory: Path, count: int, progress: Progress, cards: Path | None = None
) -> list[Outcome]:
    """Start the light boxes fleet01 to fleetN; those that run already are left alone.

    Args:
        inventory: The inventory file that the lab belongs to.
        count: How many there are to be.
        progress: Gets a line for each step.
        cards: Scenario of simulated cards that each new one has; none by default.

    Raises:
        UsageError: The caller is not root, or asks for too many.
        DependencyError: Programs are missing.
        LabctlError: The image cannot be built, or no addresses are free.
    """
    fleet.require_root()
    names = fleet.names(count)
    require(FLEET_PROGRAMS)
    image = ensure_image(progress, tree=True)
    started = time.monotonic()
    prefix = fleet.choose_subnet(inventory, names)
    key = fleet.identity_file(inventory)
    members = [Machine(inventory, name) for name in names]
    extra = on_boxes.files(cards) if cards else {}
    outcomes = for_each(members, lambda machine: _fleet_up(machine, image, prefix, key, extra))
    ready = [outcome for outcome in outcomes if not outcome.error]
    seconds = time.monotonic() - started
    where = f"{prefix}.1-{count}:{fleet.PORT}"
    progress(f"fleet: {len(ready)} of {count} ready in {seconds:.1f} s at {where}")
    return outcomes


def _fleet_up(
    machine: Machine, image: Image, prefix: str, key: Path, extra: on_boxes.Files
) -> Outcome:
    started = time.monotonic()
    with locked(machine.lock, what=machine.name):
        state = machine.state()
        record = machine.read()
        if state == "up" and record:
            _publish(machine, record)
            return Outcome(machine.name, "already up", 0.0, record)
        if not (state == "starting" and record and record.process):
            withdraw(machine.inventory, machine.name)
            box.stop(machine)
            record = fleet.start(machine, image, prefix, key, extra)
    record = _finish(machine, record, timeout_s=FLEET_TIMEOUT_S)
    return Outcome(machine.name, "started", round(time.monotonic() - started, 1), record)


def _publish(machine: Machine, record: MachineRecord) -> None:
    endpoint = Endpoint(
        name=record.name, kind=record.kind, address=record.address, port=record.port, user="root",
        password=record.password, host_keys=record.host_keys, identity_file=record.identity_file,
    )  # fmt: skip
    publish(machine.inventory, endpoint)


def down(inventory: Path, names: Sequence[str], progress: Progress) -> list[Outcome]:
    """Stop machines and remove all that is left of them; no names mean every machine of the lab.

    Args:
        inventory: The inventory file that the lab belongs to.
        names: Machines to stop, boxes or fleet boxes.
        progress: Gets a line for each machine.
    """
    known = [Machine(inventory, name) for name in dict.fromkeys(names)] or machines(inventory)
    return for_each(known, lambda machine: _down(machine, progress))


def _down(machine: Machine, progress: Progress) -> Outcome:
    started = time.monotonic()
    with locked(machine.lock, what=machine.name):
        crashed = machine.state() == "crashed"
        withdraw(machine.inventory, machine.name)
        running = box.stop(machine)
    if running:
        progress(f"{machine.name}: stopped")
    elif crashed:
        progress(f"{machine.name}: had crashed, cleaned up")
    else:
        progress(f"{machine.name}: not running")
    result = "stopped" if running or crashed else "not running"
    return Outcome(machine.name, result, round(time.monotonic() - started, 1))


def reset(
    inventory: Path, name: str, progress: Progress, options: BoxOptions | None = None
) -> Outcome:
    """Put a box back to the fresh image: new disk, new identity, the same port.

    Raises:
        UsageError: The lab does not know the box, or it is a fleet box.
        LabctlError: It does not start again.
    """
    machine = Machine(inventory, name)
    require(BOX_PROGRAMS)
    image = ensure_image(progress)
    started = time.monotonic()
    with locked(machine.lock, what=name):
        record = machine.read()
        if record is None or record.kind != "box":
            raise UsageError("the lab runs no such box", thing=name, action="labctl lab status")
        withdraw(inventory, name)
        box.stop(machine)
        progress(f"{name}: back to the fresh image")
        cards = Path(record.cards) if record.cards else None
        chosen = replace(options or BoxOptions(), cards=cards)
        new = box.start(machine, image, chosen, port=record.port or None)
    new = _finish(machine, new, timeout_s=BOOT_TIMEOUT_S)
    seconds = time.monotonic() - started
    progress(f"{name}: ready in {seconds:.1f} s at {new.address}:{new.port}")
    return Outcome(name, "started", round(seconds, 1), new)


def is_board(inventory: Path, name: str) -> bool:
    """Tell whether the lab knows ``name`` as a board, running or crashed."""
    record = Machine(inventory, name).read()
    return record is not None and record.kind == board.KIND


@dataclass(frozen=True)
class MachineStatus:
    """One line of ``labctl lab status``.

    Attributes:
        name: Its name.
        kind: ``box``, ``board`` or ``fleet``.
        state: ``up``, ``starting``, ``crashed`` or ``down``.
        pid: Process id, or None.
        address: ``address:port`` of its sshd, or None.
        uptime_s: Seconds since its process started, or None.
        accel: ``kvm``, ``tcg`` or ``none``; None where it does not run.
        console: Its serial line, a UNIX socket or a tty; or None.
        power: ``on`` or ``off`` for a board that runs; None for others, or where it is not known.
    """

    name: str
    kind: str
    state: str
    pid: int | None = None
    address: str | None = None
    uptime_s: float | None = None
    accel: str | None = None
    console: str | None = None
    power: str | None = None


def status(
    inventory: Path, expected: Sequence[str] = (), boards: Sequence[str] = ()
) -> list[MachineStatus]:
    """Return the state of the lab's machines, and of the ``expected`` ones that are down.

    Args:
        inventory: The inventory file that the lab belongs to.
        expected: Boxes that there may be.
        boards: Boards that there may be.
    """
    lines = {name: MachineStatus(name, "box", "down") for name in expected}
    lines |= {name: MachineStatus(name, "board", "down") for name in boards}
    for machine in machines(inventory):
        record = machine.read()
        process = machine.find_process()
        kind = record.kind if record else "box"
        lines[machine.name] = MachineStatus(
            name=machine.name,
            kind=kind,
            state=machine.state(),
            pid=process.pid if process else None,
            address=f"{record.address}:{record.port}" if record and record.port else None,
            uptime_s=round(procs.uptime_s(process), 1) if process else None,
            accel=record.accel if record else None,
            console=_console(machine, record) if process else None,
            power=_power(machine) if process and kind == board.KIND else None,
        )
    return list(lines.values())


def _console(machine: Machine, record: MachineRecord | None) -> str | None:
    if record and record.line:
        return record.line.removeprefix("unix:")
    return None if record and record.kind == "fleet" else str(machine.console)


def _power(machine: Machine) -> str | None:
    return {True: "on", False: "off", None: None}[board.has_power(machine)]

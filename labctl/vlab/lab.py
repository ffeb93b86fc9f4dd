"""Start, stop, reset and list the machines of a lab, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError, UsageError
from labctl.fileio import locked
from labctl.inventory.endpoints import Endpoint, publish, withdraw
from labctl.transport import qmp
from labctl.vlab import board, box, fleet
from labctl.vlab.board_image import ensure_board_image
from labctl.vlab.board_model import VirtualModel
from labctl.vlab.box import BoxOptions
from labctl.vlab.image import Image, ensure_image
from labctl.vlab.programs import BOX_PROGRAMS, FLEET_PROGRAMS, require
from labctl.vlab.state import Machine, MachineRecord, machines

Progress = Callable[[str], None]

# Several boxes on few processors slow each other down; this is for all of them together.
BOOT_TIMEOUT_S = 300.0
FLEET_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What happened to one machine.

    Attributes:
        name: Its name.
        result: ``started``, ``already up``, ``stopped``, ``not running`` or ``failed``.
        seconds: How long it took.
        record: Its record, where it runs.
        error: Why it failed.
    """

    name: str
    result: str
    seconds: float
    record: MachineRecord | None = None
    error: LabctlError | None = None


def up(
    inventory: Path, names: Sequence[str], progress: Progress, options: BoxOptions | None = None
) -> list[Outcome]:
    """Start boxes and wait until their sshd answers; those that run already are left alone.

    One that fails does not stop the others.

    Args:
        inventory: The inventory file that the lab belongs to.
        names: Boxes to start.
        progress: Gets a line for each step.
        options: Size of the boxes.

    Raises:
        DependencyError: Programs are missing.
        LabctlError: The image cannot be built.
    """
    chosen = options or BoxOptions()
    boxes = [Machine(inventory, name) for name in dict.fromkeys(names)]
    require(BOX_PROGRAMS)
    image = ensure_image(progress)
    return _each(boxes, lambda machine: _up(machine, image, chosen, progress))


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


def boards_up(
    inventory: Path,
    models: Mapping[str, VirtualModel],
    progress: Progress,
    on_board: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Start virtual boards; those that run already are left alone.

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
    needs = [board.programs(model) for model in models.values()]
    require(*(tools for tools, _ in needs), files=[one for _, files in needs for one in files])
    images = {name: ensure_board_image(model, progress) for name, model in models.items()}
    chosen = [Machine(inventory, name) for name in models]

    def up_one(machine: Machine) -> Outcome:
        started = time.monotonic()
        with locked(machine.lock, what=machine.name):
            record = machine.read()
            if machine.state() == "up" and record:
                publish(machine.inventory, board.endpoint(machine))
                progress(f"{machine.name}: already up")
                return Outcome(machine.name, "already up", 0.0, record)
            withdraw(machine.inventory, machine.name)
            box.stop(machine)
            record = board.start(machine, models[machine.name], images[machine.name])
            publish(machine.inventory, board.endpoint(machine))
        if on_board is not None:
            on_board(machine.name)
        else:
            qmp.execute(machine.qmp, "cont")
        seconds = round(time.monotonic() - started, 1)
        progress(f"{machine.name}: switched on in {seconds:.1f} s, console {machine.console}")
        return Outcome(machine.name, "started", seconds, record)

    return _each(chosen, up_one)


def fleet_up(inventory: Path, count: int, progress: Progress) -> list[Outcome]:
    """Start the light boxes fleet01 to fleetN; those that run already are left alone.

    Args:
        inventory: The inventory file that the lab belongs to.
        count: How many there are to be.
        progress: Gets a line for each step.

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
    outcomes = _each(members, lambda machine: _fleet_up(machine, image, prefix, key))
    ready = [outcome for outcome in outcomes if not outcome.error]
    seconds = time.monotonic() - started
    where = f"{prefix}.1-{count}:{fleet.PORT}"
    progress(f"fleet: {len(ready)} of {count} ready in {seconds:.1f} s at {where}")
    return outcomes


def _fleet_up(machine: Machine, image: Image, prefix: str, key: Path) -> Outcome:
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
            record = fleet.start(machine, image, prefix, key)
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
    return _each(known, lambda machine: _down(machine, progress))


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
        new = box.start(machine, image, options or BoxOptions(), port=record.port or None)
    new = _finish(machine, new, timeout_s=BOOT_TIMEOUT_S)
    seconds = time.monotonic() - started
    progress(f"{name}: ready in {seconds:.1f} s at {new.address}:{new.port}")
    return Outcome(name, "started", round(seconds, 1), new)


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
        console: UNIX socket of its serial console, or None.
    """

    name: str
    kind: str
    state: str
    pid: int | None = None
    address: str | None = None
    uptime_s: float | None = None
    accel: str | None = None
    console: str | None = None


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
            console=str(machine.console) if process and kind != "fleet" else None,
        )
    return list(lines.values())


def _each(wanted: Sequence[Machine], action: Callable[[Machine], Outcome]) -> list[Outcome]:
    """Run ``action`` for all machines at once; a failure becomes an outcome."""

    def safely(machine: Machine) -> Outcome:
        started = time.monotonic()
        try:
            return action(machine)
        except LabctlError as error:
            seconds = round(time.monotonic() - started, 1)
            return Outcome(machine.name, "failed", seconds, error=error)

    if not wanted:
        return []
    with ThreadPoolExecutor(max_workers=min(32, len(wanted))) as pool:
        return list(pool.map(safely, wanted))

"""One virtual board in QEMU: real firmware, a real kernel on its disk, a serial line.

It is started with its processor stopped, as a board without power is; so whoever records its line
is there before its first byte. Power is a matter of the monitor: ``stop`` is off, ``system_reset``
and ``cont`` are on. The guest's architecture is foreign, so it is always emulated.

Sources: qemu-system-aarch64(1), QEMU's docs/system/arm/virt.rst and docs/system/riscv/virt.rst
(flash banks, -bios), QEMU Machine Protocol reference (stop, cont, system_reset, query-status).
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from labctl.errors import LabctlError
from labctl.transport import qmp
from labctl.vlab.board_model import VirtualModel
from labctl.vlab.box import run_tool
from labctl.vlab.state import Machine, MachineRecord
from labctl.vlab.store import Image

KIND = "board"
_STATUS_S = 1.0


def programs(model: VirtualModel) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the programs and files that ``model`` needs to run, with their Debian packages."""
    tools = {model.program: model.program_package, "qemu-img": "qemu-utils"}
    return tools, [(one.file, one.package) for one in model.firmware()]


def command_line(machine: Machine, model: VirtualModel) -> list[str]:
    """Return the QEMU command; what QEMU opens at once is named relative to the machine's folder.

    Relative, because the path of a UNIX socket may have no more than 107 bytes (unix(7)). The TFTP
    folder is looked up later, when QEMU has left the folder (``-daemonize``).
    """
    flash = []
    if model.flash is not None:
        for unit in (0, 1):
            flash += ["-drive", f"if=pflash,unit={unit},format=raw,file={_bank(unit)}"]
    bios = ["-bios", model.bios.file] if model.bios else []
    payload = ["-kernel", model.payload.file] if model.payload else []
    return [
        model.program,
        "-name", f"labctl-{machine.name}",
        "-no-user-config", "-nodefaults", "-display", "none", "-daemonize",
        "-pidfile", str(machine.pidfile),
        "-machine", model.machine, "-cpu", model.cpu, "-smp", "1", "-m", str(model.memory_mib),
        "-accel", "tcg,thread=multi,tb-size=256",
        *flash, *bios, *payload,
        # The disk is thrown away with the board, so nothing is gained by flushing it.
        "-drive", "if=none,id=disk,file=disk.qcow2,format=qcow2,cache=unsafe",
        "-device", "virtio-blk-device,drive=disk",
        "-netdev", f"user,id=net,hostname={machine.name},tftp={_escaped(tftp_folder(machine))}",
        "-device", f"virtio-net-device,netdev=net,mac={hardware_address(machine)}",
        "-device", "virtio-rng-device",
        "-chardev", "socket,id=con,path=console.sock,server=on,wait=off,logfile=console.log",
        "-serial", "chardev:con",
        "-qmp", "unix:qmp.sock,server=on,wait=off",
        # A board whose Linux powers off stays where it is, without power.
        "-S", "-no-shutdown",
    ]  # fmt: skip


def hardware_address(machine: Machine) -> str:
    """Return an Ethernet address of the board's own, by which it can be told from others.

    The prefix is QEMU's; its second bit says "locally administered" (IEEE 802).
    """
    tail = hashlib.sha256(str(machine.folder).encode()).digest()
    return ":".join(["52", "54", "00", *(f"{value:02x}" for value in tail[:3])])


def tftp_folder(machine: Machine) -> Path:
    """Return the folder that the board's TFTP server (10.0.2.2) offers; files can be added."""
    return machine.folder / "tftp"


def _bank(unit: int) -> str:
    return f"flash{unit}.img"


def _escaped(path: Path) -> str:
    """Return ``path`` for a QEMU option, in which a comma is doubled."""
    return str(path).replace(",", ",,")


def start(machine: Machine, model: VirtualModel, image: Image | None) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    The folder with the intent is there before QEMU is, so nothing is started unseen.

    Args:
        machine: Which one; it must not be running.
        model: How it is run.
        image: What is on its disk; None for an empty one.

    Raises:
        LabctlError: QEMU did not start; the message is its own.
    """
    machine.remove()
    record = MachineRecord(
        name=machine.name, kind=KIND, image=image.key if image else "", address="", port=0,
        accel="tcg", line=f"unix:{machine.console}",
    )  # fmt: skip
    machine.write(record)
    try:
        _make_storage(machine, model, image)
        run_tool(machine, command_line(machine, model))
    except LabctlError:
        machine.remove()
        raise
    return machine.update(record, process=machine.find_process(), ready=True)


def _make_storage(machine: Machine, model: VirtualModel, image: Image | None) -> None:
    if model.flash is not None and model.flash_mib is not None:
        shutil.copyfile(model.flash.file, machine.folder / _bank(0))
        for unit in (0, 1):
            with (machine.folder / _bank(unit)).open("ab") as bank:
                bank.truncate(model.flash_mib << 20)
    tftp = tftp_folder(machine)
    tftp.mkdir()
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if image is None:
        run_tool(machine, [*create, "disk.qcow2", f"{model.disk_mib}M"])
        return
    run_tool(machine, [*create, "-F", "raw", "-b", str(image.disk), "disk.qcow2"])
    for name in ("vmlinuz", "initrd"):
        (tftp / name).symlink_to(image.boot / name)
    # Where "pxe get" looks in the end, whatever the board.
    (tftp / "pxelinux.cfg").mkdir()
    (tftp / "pxelinux.cfg/default").symlink_to(image.boot / "extlinux/extlinux.conf")


def power_on(machine: Machine) -> None:
    """Give a board that was started its power.

    Raises:
        LabctlError: QEMU does not answer.
    """
    qmp.execute(machine.qmp, "cont")


def has_power(machine: Machine) -> bool | None:
    """Tell whether the board has power; None where QEMU does not say."""
    try:
        answer = qmp.execute(machine.qmp, "query-status", timeout_s=_STATUS_S)
    except LabctlError:
        return None
    return answer.get("status") == "running" if isinstance(answer, dict) else None

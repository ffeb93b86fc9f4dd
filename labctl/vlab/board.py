"""One virtual board in QEMU: real U-Boot in flash, a real kernel on its disk, a serial line.

It is started with its processor stopped, as a board without power is; so whoever records its line
is there before its first byte. Power is a matter of the monitor: ``stop`` is off, ``system_reset``
and ``cont`` are on.

Sources: qemu-system-aarch64(1), QEMU's docs/system/arm/virt.rst (two flash banks: firmware and its
variables), QEMU Machine Protocol reference (stop, cont, system_reset).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from labctl.errors import LabctlError
from labctl.inventory.endpoints import BoardEndpoint
from labctl.vlab.board_image import BoardImage
from labctl.vlab.board_model import VirtualModel
from labctl.vlab.box import run_tool
from labctl.vlab.state import Machine, MachineRecord


def programs(model: VirtualModel) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the programs and files that ``model`` needs, with their Debian packages."""
    tools = {
        model.program: model.program_package,
        "qemu-img": "qemu-utils",
        "mkfs.ext4": "e2fsprogs",
        "dpkg-deb": "dpkg",
        "depmod": "kmod",
    }
    return tools, [(model.firmware, model.firmware_package)]


def command_line(machine: Machine, model: VirtualModel, image: BoardImage) -> list[str]:
    """Return the QEMU command; files are named relative to the machine's folder."""
    return [
        model.program,
        "-name", f"labctl-{machine.name}",
        "-no-user-config", "-nodefaults", "-display", "none", "-daemonize",
        "-pidfile", str(machine.pidfile),
        "-machine", model.machine, "-cpu", model.cpu, "-smp", "1", "-m", str(model.memory_mib),
        "-accel", "tcg,thread=multi,tb-size=256",
        "-drive", "if=pflash,unit=0,format=raw,file=flash0.img",
        "-drive", "if=pflash,unit=1,format=raw,file=flash1.img",
        # The disk is thrown away with the board, so nothing is gained by flushing it.
        "-drive", "if=none,id=disk,file=disk.qcow2,format=qcow2,cache=unsafe",
        "-device", "virtio-blk-device,drive=disk",
        "-netdev", f"user,id=net,hostname={machine.name},tftp={image.boot}",
        "-device", "virtio-net-device,netdev=net",
        "-device", "virtio-rng-device",
        "-chardev", "socket,id=con,path=console.sock,server=on,wait=off,logfile=console.log",
        "-serial", "chardev:con",
        "-qmp", "unix:qmp.sock,server=on,wait=off",
        # A board whose Linux powers off stays where it is, without power.
        "-S", "-no-shutdown",
    ]  # fmt: skip


def start(machine: Machine, model: VirtualModel, image: BoardImage) -> MachineRecord:
    """Start a board, without power yet; the caller holds the machine's lock.

    Raises:
        LabctlError: QEMU did not start; the message is its own.
    """
    machine.remove()
    record = MachineRecord(
        name=machine.name, kind="board", image=image.key, address="", port=0, accel="tcg"
    )
    machine.write(record)
    size = model.flash_mib << 20
    for number, source in ((0, Path(model.firmware)), (1, None)):
        bank = machine.folder / f"flash{number}.img"
        if source is not None:
            shutil.copyfile(source, bank)
        with bank.open("ab") as stream:
            stream.truncate(size)
    run_tool(machine, ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
                   "-b", str(image.disk), "disk.qcow2"])  # fmt: skip
    try:
        run_tool(machine, command_line(machine, model, image))
    except LabctlError:
        machine.remove()
        raise
    return machine.update(record, process=machine.find_process(), ready=True)


def endpoint(machine: Machine) -> BoardEndpoint:
    """Return how the rest of labctl reaches a board that was started."""
    return BoardEndpoint(
        name=machine.name,
        kind="qemu",
        line=f"unix:{machine.console}",
        monitor=str(machine.qmp),
        folder=str(machine.folder),
    )

"""One QEMU box: start it on a throw-away overlay, wait for its sshd, take it down.

Sources: qemu-system-x86_64(1), qemu-img(1), kernel-parameters.txt of the Linux kernel,
RFC 4253 section 4.2 (the banner).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError
from labctl.report.sanitize import clean
from labctl.transport import qmp
from labctl.vlab import accel as accelerators
from labctl.vlab import emulation, hostapt, identity
from labctl.vlab.initramfs import BoxIdentity
from labctl.vlab.nvml import on_boxes
from labctl.vlab.programs import tool_environment
from labctl.vlab.state import Machine, MachineRecord
from labctl.vlab.store import Image

ADDRESS = "127.0.0.1"
_START_S = 60.0
_PORT_TRIES = 8


@dataclass(frozen=True)
class BoxOptions:
    """Size of a box, and what it has beside a plain Debian.

    Attributes:
        memory_mib: Memory, MiB.
        cpus: Virtual processors.
        accel: ``auto``, ``kvm`` or ``tcg``.
        cards: Scenario of simulated graphics cards; None for no cards.
    """

    memory_mib: int = 1024
    cpus: int = 2
    accel: str = "auto"
    cards: Path | None = None


def command_line(
    machine: Machine, image: Image, options: BoxOptions, accel: str, port: int
) -> list[str]:
    """Return the QEMU command; sockets and disk are named relative to the machine's folder.

    Relative, because the path of a UNIX socket may have no more than 107 bytes (unix(7)).
    """
    return [
        "qemu-system-x86_64",
        "-name", f"labctl-{machine.name}",
        "-no-user-config", "-nodefaults", "-display", "none", "-daemonize",
        "-pidfile", str(machine.pidfile),
        "-machine", emulation.MACHINE[accel],
        "-accel", emulation.ACCEL[accel], "-cpu", emulation.CPU[accel],
        "-smp", str(options.cpus), "-m", str(options.memory_mib),
        "-kernel", str(image.vmlinuz), "-initrd", "initrd",
        "-append", emulation.kernel_words(accel),
        "-object", "iothread,id=io",
        # The disk is thrown away with the box, so nothing is gained by flushing it.
        "-drive", "if=none,id=disk,file=disk.qcow2,format=qcow2,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk,iothread=io",
        "-device", "virtio-rng-pci",
        "-netdev", f"user,id=net,hostfwd=tcp:{ADDRESS}:{port}-:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-chardev", "socket,id=con,path=console.sock,server=on,wait=off,logfile=console.log",
        "-serial", "chardev:con",
        "-qmp", "unix:qmp.sock,server=on,wait=off",
    ]  # fmt: skip


def free_port() -> int:
    """Return a TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def start(
    machine: Machine, image: Image, options: BoxOptions, *, port: int | None = None
) -> MachineRecord:
    """Start a box with a new identity on a new overlay; the caller holds the machine's lock.

    The folder with the intent is there before QEMU is, so nothing is started unseen.

    Args:
        machine: Which one; it must not be running.
        image: What it boots.
        options: Its size.
        port: Host port of its sshd; a free one by default.

    Raises:
        LabctlError: QEMU did not start; the message is its own.
    """
    machine.remove()
    accel = accelerators.choose(image) if options.accel == "auto" else options.accel
    host_keys = identity.make_host_keys(machine.name)
    password = identity.make_password()
    record = MachineRecord(
        name=machine.name, kind="box", image=image.key, address=ADDRESS, port=port or 0,
        accel=accel, password=password, host_keys=identity.public_keys(host_keys),
        cards=str(options.cards.absolute()) if options.cards else "",
    )  # fmt: skip
    machine.write(record)
    newcomer = BoxIdentity(
        name=machine.name,
        machine_id=identity.make_machine_id(),
        password_hash=identity.hash_password(password),
        host_keys=host_keys,
        apt_config=hostapt.proxy_config(hostapt.proxies(), for_qemu=True),
        extra=on_boxes.files(options.cards) if options.cards else {},
    )
    initrd = machine.folder / "initrd"
    initrd.touch(mode=0o600)  # it holds private keys
    initrd.write_bytes(image.initrd.read_bytes() + newcomer.archive())
    run_tool(machine, ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
                   "-b", str(image.disk), "disk.qcow2"])  # fmt: skip
    for attempt in range(_PORT_TRIES):
        chosen = port or free_port()
        try:
            run_tool(machine, command_line(machine, image, options, accel, chosen))
            break
        except LabctlError as error:
            # Another program took the port between our look and QEMU's.
            if "host forwarding" not in error.cause or attempt == _PORT_TRIES - 1:
                machine.remove()
                raise
            if port:
                time.sleep(0.25)  # the port of the box before us may be a moment from free
    return machine.update(record, port=chosen, process=machine.find_process())


def run_tool(machine: Machine, command: list[str]) -> None:
    """Run a program that starts ``machine`` or makes its disk, in the machine's folder.

    Raises:
        LabctlError: It failed; the message is its own.
    """
    try:
        done = subprocess.run(
            command, cwd=machine.folder, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_START_S, check=False, env=tool_environment(), start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LabctlError(f"{command[0]} did not start in time", thing=machine.name) from error
    if done.returncode != 0:
        message = clean(done.stderr).strip() or f"{command[0]} exit {done.returncode}"
        raise LabctlError(message.splitlines()[-1], thing=machine.name)


def banner_seen(address: str, port: int, *, timeout_s: float) -> bool:
    """Tell whether an SSH server answers at ``address``:``port`` within ``timeout_s`` seconds."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout_s) as link:
        link.settimeout(timeout_s)
        return link.recv(4) == b"SSH-"
    return False


def wait_ready(machine: Machine, record: MachineRecord, *, timeout_s: float) -> None:
    """Wait until the machine's sshd answers; needs no lock, so it can be stopped meanwhile.

    Raises:
        LabctlError: It ended, or did not answer in time; the message holds its last console lines.
    """
    deadline = time.monotonic() + timeout_s
    while not banner_seen(record.address, record.port, timeout_s=2.0):
        if record.process is None or not procs.alive(record.process):
            raise LabctlError(f"it ended while starting{_tail(machine)}", thing=machine.name)
        if time.monotonic() > deadline:
            raise LabctlError(
                f"no SSH banner after {timeout_s:.0f} s{_tail(machine)}",
                thing=machine.name,
                action=f"labctl lab shell --console {machine.name}",
            )
        time.sleep(0.1)


def _tail(machine: Machine, lines: int = 8) -> str:
    """Return the last console lines, to be put behind a message."""
    try:
        text = clean(machine.console_log.read_bytes()[-8192:])
    except OSError:
        return ""
    last = [line for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n  | {line}" for line in last)


def stop(machine: Machine) -> bool:
    """End the machine's process, if any, and remove its folder; the caller holds the lock.

    The disk is thrown away, so the guest need not shut down: QEMU is told to quit, and ended if
    it does not.

    Returns:
        True if something was running.

    Raises:
        LabctlError: The process could not be ended; the folder is kept.
    """
    was_running = False
    # More than one process: a fleet box has two of that name, one inside its namespaces.
    while process := machine.find_process():
        was_running = True
        gone = False
        if machine.qmp.exists():
            with contextlib.suppress(LabctlError):
                qmp.execute(machine.qmp, "quit", timeout_s=1.0)
                gone = procs.wait_gone(process, timeout_s=2.0)
        if not (gone or procs.terminate(process, grace_s=0.5)):
            raise LabctlError(f"process {process.pid} does not end", thing=machine.name)
    machine.remove()
    return was_running

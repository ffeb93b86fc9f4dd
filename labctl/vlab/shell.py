"""Log in to a machine of the lab with the real ssh, or attach to its serial console.

Sources: ssh(1) (SSH_ASKPASS_REQUIRE, OpenSSH 8.4), ssh_config(5), sshd(8) (known_hosts format).
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.inventory.endpoints import Endpoint, read_board_endpoints, read_endpoints
from labctl.transport.keys import own_identity
from labctl.transport.qmp import connect_unix
from labctl.vlab.programs import require
from labctl.vlab.state import Machine

ESCAPE = b"\x1d"  # Ctrl-], as telnet(1) and virsh(1) have it
_PASSWORD_VARIABLE = "LABCTL_LAB_PASSWORD"  # noqa: S105 - the name of a variable


def login(inventory: Path, name: str, *, user: str | None, command: Sequence[str]) -> int:
    """Run ssh to the machine ``name`` on this terminal, its host key verified silently.

    Keys are tried first, then the password that the lab gave the machine.

    Args:
        inventory: The inventory file that the lab belongs to.
        name: Which machine.
        user: Login user; root by default.
        command: Command to run there; a login shell by default.

    Returns:
        The exit status of ssh: that of the command, or 255.

    Raises:
        UsageError: It is a board.
        UnreachableError: The machine does not run.
        DependencyError: There is no ssh.
    """
    _refuse_board(inventory, name)
    require({"ssh": "openssh-client"})
    endpoint = read_endpoints(inventory).get(name)
    if endpoint is None or Machine(inventory, name).find_process() is None:
        raise UnreachableError("it does not run", thing=name, action=f"labctl lab up {name}")
    with tempfile.TemporaryDirectory(prefix="labctl-shell-") as folder:
        line = ssh_command(endpoint, Path(folder), user=user)
        environment = dict(os.environ)
        if endpoint.password:
            helper = Path(folder) / "askpass"
            helper.write_text(f'#!/bin/sh\nprintf "%s\\n" "${_PASSWORD_VARIABLE}"\n')
            helper.chmod(0o700)
            environment[_PASSWORD_VARIABLE] = endpoint.password
            environment |= {"SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force"}
        return subprocess.run([*line, *command], env=environment, check=False).returncode


def ssh_command(endpoint: Endpoint, folder: Path, *, user: str | None) -> list[str]:
    """Return the ssh command for ``endpoint``; its known_hosts file is written to ``folder``."""
    known = folder / "known_hosts"
    host = f"[{endpoint.address}]:{endpoint.port}"
    known.write_text("".join(f"{host} {key}\n" for key in endpoint.host_keys))
    options = [
        f"UserKnownHostsFile={known}",
        "GlobalKnownHostsFile=none",
        "StrictHostKeyChecking=yes",
        "NumberOfPasswordPrompts=1",
        "PreferredAuthentications=publickey,password",
        "ConnectTimeout=20",
        "LogLevel=ERROR",
    ]
    keys = [endpoint.identity_file, str(own_identity())]
    return [
        "ssh", "-F", "none", "-p", str(endpoint.port),
        *(word for option in options for word in ("-o", option)),
        *(word for key in keys if key and Path(key).is_file() for word in ("-i", key)),
        f"{user or endpoint.user}@{endpoint.address}",
    ]  # fmt: skip


def console(inventory: Path, name: str) -> None:
    """Attach this terminal to the serial console of a box until Ctrl-] is typed.

    Raises:
        UsageError: Standard input is not a terminal, or it is a board.
        UnreachableError: The box does not run, or has no serial console.
    """
    _refuse_board(inventory, name)
    machine = Machine(inventory, name)
    if not sys.stdin.isatty():
        raise UsageError("the console needs a terminal", thing=name)
    if not machine.console.exists() or machine.find_process() is None:
        raise UnreachableError("no serial console", thing=name, action=f"labctl lab up {name}")
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        with connect_unix(machine.console, timeout_s=5.0) as line:
            # The invitation to type comes after raw mode, so that nothing typed gets lost.
            tty.setraw(keyboard)
            sys.stdout.write(f"Console of {name}; Ctrl-] leaves, Enter shows the prompt.\r\n")
            sys.stdout.flush()
            line.settimeout(None)
            _relay(keyboard, line.fileno(), sys.stdout.fileno())
    except OSError as error:
        raise LabctlError(f"the console is gone: {error}", thing=name) from error
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        sys.stdout.write("\n")


def _refuse_board(inventory: Path, name: str) -> None:
    """Send who asks for a board to its console: the line has one reader, which records it."""
    if name in read_board_endpoints(inventory):
        raise UsageError("this is a board", thing=name, action=f"labctl console {name}")


def _relay(keyboard: int, line: int, screen: int) -> None:
    """Copy bytes both ways until the escape byte is typed or one side ends."""
    with selectors.DefaultSelector() as both:
        both.register(keyboard, selectors.EVENT_READ)
        both.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in both.select():
                data = os.read(key.fd, 4096)
                if key.fd == line:
                    if not data:
                        return
                    _write_all(screen, data)
                    continue
                head, escape, _ = data.partition(ESCAPE)
                _write_all(line, head)
                if escape or not data:
                    return


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]

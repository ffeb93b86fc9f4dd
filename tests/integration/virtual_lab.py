"""`Lab`: a virtual lab of its own for a test, driven through the command line as a person would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from labctl.inventory.endpoints import Endpoint, lab_dir, read_endpoints

COMMAND_S = 600.0
INVENTORY = """\
version: 1
hosts:
  box1: {virtual: box}
  box2: {virtual: box}
"""


def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Poll ``condition`` until it is true; fail the test after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


class Lab:
    """A lab of its own: one inventory file and one state folder.

    Args:
        folder: Folder for both; a short path.
        cache: XDG cache folder, shared by default so that the image is built once.
    """

    def __init__(
        self, folder: Path, *, inventory: str = INVENTORY, cache: Path | None = None
    ) -> None:
        self.inventory = folder / "inventory.yaml"
        self.inventory.write_text(inventory)
        self.env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self.env["XDG_DATA_HOME"] = str(folder / "data")
        if cache:
            self.env["XDG_CACHE_HOME"] = str(cache)

    # -- the command line --------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """Return the labctl command line for this lab."""
        return [sys.executable, "-m", "labctl", "-i", str(self.inventory), *words]

    def labctl(
        self, *words: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run labctl on this lab; with ``check`` a non-zero exit fails the test with its output."""
        done = subprocess.run(
            self.command(*words), env=self.env, input=stdin, capture_output=True, text=True,
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(
                f"labctl {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start labctl on this lab in the background."""
        return subprocess.Popen(
            self.command(*words), env=self.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def json(self, *words: str) -> dict[str, Any]:
        """Run labctl with ``--json`` and return its document."""
        data: dict[str, Any] = json.loads(self.labctl(*words, "--json").stdout)
        return data

    # -- machines ----------------------------------------------------------------------------

    def up(self, *names: str) -> None:
        """Start boxes and wait until they answer."""
        self.labctl("lab", "up", *names)

    def down(self, *names: str) -> None:
        """Stop machines; all of them by default."""
        self.labctl("lab", "down", *names)

    def reset(self, name: str) -> None:
        """Make the box ``name`` a new machine again."""
        self.labctl("lab", "reset", name)

    def states(self) -> dict[str, str]:
        """Return the state of each machine by name."""
        return {one["name"]: one["state"] for one in self.json("lab", "status")["machines"]}

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Let labctl's own functions, called in this process, see this lab's folders."""
        before = dict(os.environ)
        os.environ.update(self.env)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    @property
    def folder(self) -> Path:
        """The lab's state folder."""
        with self.environment():
            return lab_dir(self.inventory)

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the machines that the lab has made known."""
        with self.environment():
            return read_endpoints(self.inventory)

    def connect(
        self, name: str, *, user: str | None = None, password: str | None = None
    ) -> paramiko.SSHClient:
        """Log in with the published password or key; only the published host key is accepted."""
        endpoint = self.endpoints()[name]
        client = paramiko.SSHClient()
        host = f"[{endpoint.address}]:{endpoint.port}"
        for line in endpoint.host_keys:
            entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{host} {line}")
            assert entry is not None
            client.get_host_keys().add(host, entry.key.get_name(), entry.key)
        client.connect(
            endpoint.address, endpoint.port, user or endpoint.user,
            password=password or endpoint.password, key_filename=endpoint.identity_file,
            look_for_keys=False, allow_agent=False, timeout=60, banner_timeout=60, auth_timeout=60,
        )  # fmt: skip
        return client

    def sh(self, name: str, script: str, *, timeout_s: float = 300.0) -> tuple[int, str]:
        """Run a shell script on a machine; return its exit status and its output."""
        with contextlib.closing(self.connect(name)) as client:
            stdin, stdout, _ = client.exec_command("sh -s 2>&1", timeout=timeout_s)
            stdin.write(script)
            stdin.channel.shutdown_write()
            output = stdout.read().decode(errors="replace")
            return stdout.channel.recv_exit_status(), output


MakeLab = Callable[..., Lab]

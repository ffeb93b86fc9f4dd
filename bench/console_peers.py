"""The peers of the console benchmarks: processes of their own environments, and small stand-ins.

labgrid and pytest-embedded run as they are (`bench/env.py` installs them). tbot is not on PyPI;
`PromptStyle` sends and waits as it does (the prompt must be the last bytes;
``echo $?`` is a second round trip), and pexpect is used as its documentation shows.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect.fdpexpect
from ours import Port
from processes import ROOT
from wire import PROMPT

from labctl.errors import DependencyError, LabctlError

# A peer that takes longer is stopped, and the report says so.
CAP_S = 90.0
BENCH = Path(__file__).resolve().parent
Numbers = dict[str, Any]


class CapError(LabctlError):
    """A peer took too long."""


def python_of(peer: str) -> str:
    """Return the Python of a peer's environment.

    Raises:
        DependencyError: It is not there.
    """
    program = ROOT / ".bench-venv" / peer / "bin" / "python"
    if not program.exists():
        raise DependencyError("is not in .bench-venv", thing=peer, action="make bench-env")
    return str(program)


class Labgrid:
    """A running `peer_labgrid.py`."""

    def __init__(self, process: subprocess.Popen[bytes], cap_s: float) -> None:
        self._process = process
        self._until = time.monotonic() + cap_s

    def hear(self) -> Numbers:
        """Return what it says next.

        Raises:
            CapError: It says nothing in time.
            LabctlError: It has ended; with its last words.
        """
        assert self._process.stdout and self._process.stderr
        left = max(0.0, self._until - time.monotonic())
        if not select.select([self._process.stdout], [], [], left)[0]:
            raise CapError("took too long", thing="labgrid")
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().decode(errors="replace").strip()
            raise LabctlError(f"has ended: {said[-1000:]}", thing="labgrid")
        heard: Numbers = json.loads(line)
        return heard

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def labgrid(kind: str, port: str, *, cap_s: float = CAP_S, **options: object) -> Iterator[Labgrid]:
    """Run `peer_labgrid.py`.

    Args:
        kind: What to measure.
        port: Where: a device, or ``raw://`` or ``rfc2217://`` with host and port.
        cap_s: It is stopped after so many seconds.
        options: See `peer_labgrid.main`.
    """
    words = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [python_of("labgrid"), str(BENCH / "peer_labgrid.py"), kind, port, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Labgrid(process, cap_s)
    finally:
        process.kill()
        process.communicate()


def embedded(port: str, *, cap_s: float = CAP_S, **task: object) -> Numbers:
    """Run `peer_embedded.py` and return its numbers.

    Raises:
        CapError: It took too long.
        LabctlError: It failed.
    """
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        answer = Path(folder) / "answer"
        options = ["-q", "-s", "-p", "no:cacheprovider", "--embedded-services", "serial"]
        command = [python_of("pytest-embedded"), "-m", "pytest", *options, "--port", port,
                   "--baud", "115200", "--root-logdir", folder, "--rootdir", folder,
                   str(BENCH / "peer_embedded.py")]  # fmt: skip
        environment = {"BENCH_TASK": json.dumps(task), "BENCH_ANSWER": str(answer)}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=cap_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CapError("took too long", thing="pytest-embedded") from None
        if not answer.exists():
            said = done.stdout.decode(errors="replace")[-1000:]
            raise LabctlError(f"failed: {said}", thing="pytest-embedded")
        numbers: Numbers = json.loads(answer.read_text())
        return numbers


class Pexpect:
    """Plain pexpect, as a person writes it: send, expect the prompt, cut the echo."""

    def __init__(self, port: Port, prompt: str = PROMPT, timeout: float = 3.0) -> None:
        self._child = pexpect.fdpexpect.fdspawn(port.fileno(), timeout=timeout)
        self._prompt = prompt

    def ask(self, line: str) -> bytes:
        """Return what the board said to a line."""
        self._child.send(line + "\r")
        self._child.expect_exact(self._prompt)
        said = self._child.before
        assert isinstance(said, bytes)
        return said.partition(b"\r\n")[2].replace(b"\r\n", b"\n")

    def run(self, command: str) -> tuple[bytes, bytes]:
        """Return output and exit code, which take a question each."""
        return self.ask(command), self.ask("echo $?").strip()


class PromptStyle:
    """As tbot does: the prompt must be the last that came; two round trips; the echo is read."""

    def __init__(self, port: Port, prompt: str = PROMPT) -> None:
        self._port = port
        self._prompt = prompt.encode()

    def ask(self, line: str) -> bytes:
        """Return what the board said to a line."""
        self._port.write(line.encode() + b"\r")
        came = bytearray()
        while not came.endswith(self._prompt):
            data = self._port.read(10.0)
            if not data:
                raise LabctlError(f"no prompt came: {bytes(came[-80:])!r}", thing="tbot style")
            came += data
        return bytes(came[: -len(self._prompt)]).partition(b"\r\n")[2].replace(b"\r\n", b"\n")

    def run(self, command: str) -> tuple[bytes, bytes]:
        """Return output and exit code."""
        return self.ask(command), self.ask("echo $?").strip()

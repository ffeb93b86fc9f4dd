"""A session on this machine itself, without SSH."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess

from labctl.transport.session import Session, Stream, Sudo


class LocalSession(Session):
    """Runs scripts here, as root directly or through sudo."""

    def __init__(self, sudo: Sudo | None = None) -> None:
        super().__init__("local", None if os.geteuid() == 0 else sudo)

    def start(self, command: str) -> Stream:
        """Start ``command`` in ``/bin/sh``, in a process group of its own."""
        return _LocalStream(command)

    def close(self) -> None:
        """Nothing stays open between scripts."""


class _LocalStream(Stream):
    def __init__(self, command: str) -> None:
        # A session of its own: Ctrl-C ends labctl, and the script then stops after the item in
        # flight as it does when an SSH connection is cut, not in the middle of a dpkg run.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )

    def send(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise ValueError("standard input is closed")
        # A command that ended early tells why in its output and exit status.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(data)
            pipe.flush()

    def send_eof(self) -> None:
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def receive(self, timeout: float) -> bytes:
        pipe = self._process.stdout
        if pipe is None:
            return b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise TimeoutError
        return os.read(pipe.fileno(), 65536)

    def exit_status(self, timeout: float) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.poll()

"""Find the owner of a line, or start it: exactly one, whoever comes first."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

from labctl import procs
from labctl.boards.owner import protocol
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.errors import LabctlError
from labctl.fileio import locked
from labctl.report.sanitize import clean_line

# Opening a line over SSH may take as long as a connection does.
_START_S = 40.0


def connect(place: Place) -> socket.socket | None:
    """Return a connection to the owner at ``place``, or None where none runs.

    By a short path: that of a UNIX socket has at most 107 bytes (unix(7)).
    """
    try:
        directory = os.open(place.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        link.settimeout(5.0)
        link.connect(f"/proc/self/fd/{directory}/{place.socket.name}")
    except OSError:
        link.close()
        return None
    finally:
        os.close(directory)
    return link


def ensure(place: Place, config: OwnerConfig) -> socket.socket:
    """Return a connection to the owner of the line, starting it where none runs.

    Args:
        place: Folder of the line.
        config: What it is to own.

    Raises:
        LabctlError: The line cannot be opened; the class and the message say why.
    """
    if link := connect(place):
        return link
    place.make()
    with locked(place.start_lock, what=config.board):
        if link := connect(place):
            return link  # another one started it while we waited
        place.write_config(config)
        _start(place, config)
    link = connect(place)
    if link is None:
        raise LabctlError(
            f"the owner of the line ended at once{_last_words(place)}", thing=config.board
        )
    return link


def _start(place: Place, config: OwnerConfig) -> None:
    import subprocess  # noqa: PLC0415 - slow to import, and most find an owner that runs

    reading, writing = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        with place.errors.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "labctl.boards.owner", str(place.folder), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd="/",
                pass_fds=[writing],
                # It outlives us and the terminal on purpose.
                start_new_session=True,
            )
        os.close(writing)
        answer = _read_answer(reading, time.monotonic() + _START_S)
    if "error" in answer:
        process.wait()
        raise protocol.error_from_message(answer["error"])
    if not answer:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        raise LabctlError(
            f"the owner of the line did not start{_last_words(place)}", thing=config.board
        )


def _read_answer(descriptor: int, deadline: float) -> protocol.Message:
    """Return what the new owner says; empty if it says nothing in time."""
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(descriptor, 4096) if ready else b""
        if not data:
            return {}
        said += data
    answer: protocol.Message = json.loads(said)
    return answer


def _last_words(place: Place) -> str:
    try:
        text = place.errors.read_bytes()[-2000:]
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line.strip()]
    return f": {clean_line(lines[-1])}" if lines else ""


def stop(place: Place, *, timeout_s: float = 5.0) -> bool:
    """End the owner at ``place``, if one runs, and wait until it has gone.

    Returns:
        True if one ran.
    """
    process = place.read_process()
    if process is None or not procs.alive(process):
        return False
    link = connect(place)
    if link is not None:
        with link, contextlib.suppress(OSError):
            link.sendall(protocol.encode({"op": "stop", "id": 0}))
            link.recv(4096)
        if procs.wait_gone(process, timeout_s=timeout_s):
            return True
    procs.terminate(process)
    return True


def running(base: Path) -> list[Place]:
    """Return the places below ``base`` whose owner runs."""
    found = []
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        place = Place.at(folder)
        process = place.read_process()
        if process and procs.alive(process):
            found.append(place)
    return found

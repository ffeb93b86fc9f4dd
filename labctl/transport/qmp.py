"""A client of QEMU's control protocol for the few commands that the lab needs.

Source: QEMU Machine Protocol specification (docs/interop/qmp-spec.rst of QEMU).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import LabctlError


@contextlib.contextmanager
def connect_unix(path: Path, *, timeout_s: float) -> Iterator[socket.socket]:
    """Connect to the UNIX socket ``path``, which may be longer than the 108 bytes of unix(7).

    Raises:
        OSError: Nobody listens there.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            yield connection
    finally:
        os.close(folder)


def execute(path: Path, command: str, *, timeout_s: float = 5.0) -> object:
    """Run ``command`` (without arguments) in the QEMU whose monitor listens at ``path``.

    Raises:
        LabctlError: QEMU did not answer, or refused.
    """
    try:
        with connect_unix(path, timeout_s=timeout_s) as connection:
            stream = connection.makefile("rw", encoding="utf-8")
            _answer(stream.readline())  # the greeting
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}) + "\n")
                stream.flush()
                # Events may come before the answer.
                answer = _answer(stream.readline())
                while "return" not in answer and "error" not in answer:
                    answer = _answer(stream.readline())
                if "error" in answer:
                    raise LabctlError(str(answer["error"]), thing=f"QEMU {name}")
            return answer["return"]
    except (OSError, ValueError) as error:
        raise LabctlError(f"QEMU does not answer: {error}", thing=str(path)) from error


def _answer(line: str) -> dict[str, object]:
    if not line:
        raise ConnectionResetError("closed")
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004 - bad data, not a programmer's error
    return data

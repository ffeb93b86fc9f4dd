"""A client of QEMU's control protocol for the few commands that the lab needs.

Source: QEMU Machine Protocol specification (docs/interop/qmp-spec.rst of QEMU).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError, UnreachableError


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


class RefusedError(LabctlError):
    """The machine refused a command.

    Attributes:
        kind: The protocol's class of the error, such as ``CommandNotFound``.
    """

    kind = ""


def execute(
    path: Path,
    command: str,
    arguments: Mapping[str, object] | None = None,
    *,
    timeout_s: float = 5.0,
) -> Any:  # noqa: ANN401 - JSON
    """Run ``command`` in the machine whose monitor listens at ``path``, and return its answer.

    Raises:
        RefusedError: It refused.
        UnreachableError: It does not answer.
    """
    # The handshake is sent along: one round trip.
    requests = ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments or {}})
    answers: list[dict[str, Any]] = []
    try:
        with connect_unix(path, timeout_s=timeout_s) as connection:
            connection.sendall("".join(json.dumps(one) + "\n" for one in requests).encode())
            for line in connection.makefile("r", encoding="utf-8"):
                message = json.loads(line)
                # The greeting and events may come between.
                if "return" in message or "error" in message:
                    answers.append(message)
                if len(answers) == len(requests):
                    break
    except (OSError, ValueError, TypeError) as error:
        raise UnreachableError(f"it does not answer: {error}", thing=str(path)) from error
    if len(answers) < len(requests):
        raise UnreachableError("it hung up", thing=str(path))
    if problem := answers[-1].get("error"):
        refused = RefusedError(str(problem.get("desc")), thing=command)
        refused.kind = str(problem.get("class"))
        raise refused
    return answers[-1]["return"]

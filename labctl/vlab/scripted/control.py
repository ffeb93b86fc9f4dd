"""Change the faults of a running scripted board, and ask how it is, through its monitor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError, UnreachableError
from labctl.transport.qmp import connect_unix

_TIMEOUT_S = 5.0


def fault(monitor: Path, **settings: object) -> None:
    """Change settings and do actions; the names are in `labctl.vlab.scripted.settings`.

    Args:
        monitor: The board's QMP socket.
        **settings: What to change, for example ``noise=0.005`` or ``reset_after=100``.

    Raises:
        LabctlError: The board refused; then nothing of it was done.
        UnreachableError: No scripted board answers there.
    """
    ask(monitor, "x-fault", settings)


def clear(monitor: Path) -> None:
    """Let the board behave as it did when it was started.

    Raises:
        UnreachableError: No scripted board answers there.
    """
    ask(monitor, "x-clear")


def faults(monitor: Path) -> dict[str, Any]:
    """Return the board's ``settings`` and what is ``armed``.

    Raises:
        UnreachableError: No scripted board answers there.
    """
    return dict(ask(monitor, "x-faults"))


def stats(monitor: Path) -> dict[str, Any]:
    """Return the board's state and counters.

    Raises:
        UnreachableError: No scripted board answers there.
    """
    return dict(ask(monitor, "x-stats"))


def ask(monitor: Path, command: str, arguments: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Run one command of the monitor and return its answer.

    Raises:
        LabctlError: The board refused.
        UnreachableError: No scripted board answers there.
    """
    requests = ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments or {}})
    try:
        with connect_unix(monitor, timeout_s=_TIMEOUT_S) as connection:
            connection.sendall("".join(json.dumps(one) + "\n" for one in requests).encode())
            answers = []
            for line in connection.makefile("r", encoding="utf-8"):
                message = json.loads(line)
                # The greeting and events may come between.
                if "return" in message or "error" in message:
                    answers.append(message)
                if len(answers) == len(requests):
                    break
    except (OSError, ValueError, TypeError) as error:
        raise UnreachableError(
            f"it does not answer: {error}", thing=str(monitor), action="see 'labctl lab status'"
        ) from error
    if len(answers) < len(requests):
        raise UnreachableError("it hung up", thing=str(monitor), action="see 'labctl lab status'")
    problem = answers[-1].get("error")
    if problem:
        if problem.get("class") == "CommandNotFound":
            raise LabctlError(
                f"it does not know {command}",
                thing=str(monitor),
                action="only scripted boards have faults",
            )
        raise LabctlError(str(problem.get("desc")))
    return answers[-1]["return"]

"""Change the faults of a running scripted board, and ask how it is, through its monitor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labctl.errors import LabctlError, UnreachableError
from labctl.transport import qmp


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
    try:
        return qmp.execute(monitor, command, arguments)
    except qmp.RefusedError as error:
        if error.kind == "CommandNotFound":
            raise LabctlError(
                f"it does not know {command}",
                thing=str(monitor),
                action="only scripted boards have faults",
            ) from None
        raise LabctlError(error.cause) from None
    except UnreachableError as error:
        raise UnreachableError(
            error.cause, thing=str(monitor), action="see 'labctl lab status'"
        ) from error

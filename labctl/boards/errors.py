"""What can go wrong in a conversation with a board's shell."""

from __future__ import annotations

from labctl.errors import LabctlError


class DamagedError(LabctlError):
    """The answer arrived damaged, and could not be had again; it is not returned."""


class InterruptedCommandError(LabctlError):
    """Something stopped the command before it ended: Ctrl-C, or a signal to the shell."""


class BoardResetError(LabctlError):
    """The board was reset in mid command."""


class CommandTimeoutError(LabctlError):
    """The command did not end within the time."""

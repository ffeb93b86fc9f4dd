"""A simulated chip's board for the length of a test or a measurement, without the lab."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.transport import qmp
from labctl.vlab.program_testing import started

_ANSWER_S = 10.0


@dataclass(frozen=True)
class Running:
    """A board that runs.

    Attributes:
        url: Its line, in the forms of an inventory's ``line``.
        monitor: Its monitor's socket.
        folder: Its folder; ``flash.bin`` in it is what its flash holds.
    """

    url: str
    monitor: Path
    folder: Path

    def ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run one command of its monitor; see `labctl.transport.qmp.execute`."""
        return qmp.execute(self.monitor, command, arguments, timeout_s=_ANSWER_S)

    def flash(self) -> bytes:
        """Return what its flash holds now."""
        return (self.folder / "flash.bin").read_bytes()

    def into_rom(self) -> None:
        """Reset an STM32 with BOOT0 high, or switch it on so."""
        self.ask("x-pins", boot0=True)
        self.ask("cont")
        self.ask("system_reset")


@contextlib.contextmanager
def running(settings: Mapping[str, object], folder: Path | None = None) -> Iterator[Running]:
    """Run a board, switched off, while the block runs.

    Args:
        settings: As in `labctl.vlab.rom.settings.Settings`.
        folder: Its folder, for one that keeps its flash; by default one that is thrown away.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="rom-"))
            folder = Path(name)
        monitor = stack.enter_context(started("labctl.vlab.rom", folder, settings))
        yield Running((folder / "line").read_text().strip(), monitor, folder)

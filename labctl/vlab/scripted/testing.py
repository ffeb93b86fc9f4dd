"""A scripted board for the length of a test or a measurement, without the lab."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from labctl.vlab.program_testing import started
from labctl.vlab.scripted.control import ask


@contextlib.contextmanager
def running(
    settings: Mapping[str, object] | None = None, *, power: bool = False
) -> Iterator[tuple[Path, Path]]:
    """Run a scripted board while the block runs.

    Args:
        settings: As in `labctl.vlab.scripted.settings.Settings`.
        power: Switch it on at once; otherwise ``cont`` on its monitor does.

    Yields:
        The link to its line's tty and its monitor's socket. A line that is opened before the power
        comes on misses nothing.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    # A short path: both names are used where 108 bytes are the limit.
    with tempfile.TemporaryDirectory(prefix="scripted-") as name:
        folder = Path(name)
        with started("labctl.vlab.scripted", folder, settings or {}) as monitor:
            if power:
                ask(monitor, "cont")
            yield folder / "console", monitor

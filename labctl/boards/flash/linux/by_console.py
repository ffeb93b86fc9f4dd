"""Over the console, as text: slow, and needs nothing else. For small images and small changes."""

from __future__ import annotations

import base64
import contextlib
import gzip
import secrets
import shlex
from collections.abc import Sequence

from labctl.boards.errors import CommandTimeoutError
from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.control import TYPED, ConsoleControl
from labctl.boards.flash.linux.ways import Job, Reached, Way
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.source import Piece, digest_of
from labctl.errors import LabctlError

_COMMAND_S = 120.0
_TRIES = 3
# A line of text may take so long on a slow line, or a slow board, seconds.
_LINE_S = 1.0
_LEAST_S = 15.0


class ConsoleWay(Way):
    """See the module.

    Args:
        job: What is to be written.
    """

    name = "console"
    piece = 64 << 10
    batch = 64 << 10

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._file = f"{job.scratch}/.labctl-{secrets.token_hex(4)}"
        self._used = False

    def why_not(self) -> str | None:
        """Return why it cannot be used, or None."""
        if not isinstance(self.job.control, ConsoleControl):
            return "the board is told what to do over SSH"
        return None if self.job.scratch else "it has no folder that can be written"

    def describe(self) -> str:
        """Return it for people."""
        packed = "gzip and " if "gzip" in self.job.tools else ""
        coded = "base64" if "base64" in self.job.tools else "octal numbers"
        return f"{packed}{coded} over its {self.job.control.what}"

    def send(self, runs: Sequence[Sequence[Piece]], reached: Reached) -> None:
        """Write ``runs``; see `Way.send`."""
        done = 0
        for run in runs:
            self._send(run)
            done += sum(one.size for one in run)
            reached(done)

    def _send(self, run: Sequence[Piece]) -> None:
        job, control = self.job, self.job.control
        assert isinstance(control, ConsoleControl)
        data = job.data(run)
        zipped, coded = "gzip" in job.tools, "base64" in job.tools
        lines = _lines(gzip.compress(data, 9, mtime=0) if zipped else data, coded=coded)
        tool = job.algorithm if job.algorithm == "cksum" else f"{job.algorithm}sum"
        script = scripts.typed(
            self._file, "gzip -dc" if zipped else "cat", base64=coded, tool=tool
        )  # fmt: skip
        self._used = True
        patience_s = _LEAST_S + len(lines) * _LINE_S
        wanted = digest_of(data, job.algorithm)
        for left in reversed(range(_TRIES)):
            # What is read back on the board is proof enough: no checksum of its words is needed.
            with contextlib.suppress(CommandTimeoutError, FlashError):
                if wanted in control.type_in(script, lines, timeout=patience_s):
                    break
            if not left:
                raise FlashError(
                    "what is typed does not arrive as it was", thing=control.name,
                    action="lower the line's rate, or look at its cable",
                )  # fmt: skip
        take = scripts.take(job.device, job.place(run), fsync=job.fsync, source=self._file)
        control.run(f"({take})", timeout=_COMMAND_S, again=True)

    def close(self) -> None:
        """Remove what was put there."""
        if self._used:
            self._used = False
            name = shlex.quote(self._file)
            try:
                self.job.control.run(f"(rm -f {name} {name}.*)", timeout=5.0, again=True)
            except LabctlError:
                return  # a few bytes of its memory


def _lines(data: bytes, *, coded: bool) -> list[bytes]:
    """Return ``data`` as lines to type, the last a dot."""
    step = TYPED // 4 * 3 if coded else TYPED // 4
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    if coded:
        return [*(base64.b64encode(part) for part in parts), b"."]
    return [*("".join(f"\\{byte:03o}" for byte in part).encode() for part in parts), b"."]

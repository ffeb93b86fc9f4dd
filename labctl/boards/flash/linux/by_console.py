"""Over the console, as text: slow, and needs nothing else. For small images and small changes."""

from __future__ import annotations

import base64
import gzip
import secrets
import shlex
from collections.abc import Iterator, Sequence

from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.ways import Job, Reached, Way
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.source import Piece, digest_of
from labctl.errors import LabctlError

# Bytes of a file that one command carries: about 3.5 KiB of text.
_CHUNK = 2640
_COMMAND_S = 120.0
_TRIES = 3
_OCTAL = 700


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
        data = job.data(run)
        packed = gzip.compress(data, 9, mtime=0) if "gzip" in job.tools else data
        unpack = "gzip -dc" if "gzip" in job.tools else "cat"
        tool = "cksum|cut -d' ' -f1" if job.algorithm == "cksum" else f"{job.algorithm}sum"
        self._used = True
        name = shlex.quote(self._file)
        wanted = digest_of(data, job.algorithm)
        for _ in range(_TRIES):
            for part, text in enumerate(self._texts(packed)):
                control.run(f"({text})>{name}.{part:03}", timeout=_COMMAND_S, again=True)
            said = control.run(
                f"(cat {name}.*|{unpack}>{name};rm -f {name}.*;{tool}<{name})",
                timeout=_COMMAND_S, again=False,
            )  # fmt: skip
            if said.startswith(wanted):
                break
        else:
            raise FlashError("what was typed does not arrive as it was", thing=control.name,
                             action="lower the line's rate, or look at its cable")  # fmt: skip
        place = job.place(run)
        control.run(
            f"({scripts.take(job.device, place, fsync=job.fsync, source=self._file)})",
            timeout=_COMMAND_S, again=True,
        )  # fmt: skip

    def _texts(self, data: bytes) -> Iterator[str]:
        """Yield commands that print ``data``, part by part."""
        if "base64" in self.job.tools:
            for at in range(0, len(data), _CHUNK):
                text = base64.b64encode(data[at : at + _CHUNK]).decode()
                yield f"printf %s {text}|base64 -d"
            return
        for at in range(0, len(data), _OCTAL):
            text = "".join(f"\\{byte:03o}" for byte in data[at : at + _OCTAL])
            yield f"printf '{text}'"

    def close(self) -> None:
        """Remove what was put there."""
        if self._used:
            self._used = False
            name = shlex.quote(self._file)
            try:
                self.job.control.run(f"(rm -f {name} {name}.*)", timeout=5.0, again=True)
            except LabctlError:
                return  # a few bytes of its memory

"""Over SSH: dd on the board reads what the connection brings."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.control import SshControl
from labctl.boards.flash.linux.ways import Reached, Way, patience
from labctl.boards.flash.source import Piece


class SshWay(Way):
    """See the module."""

    name = "ssh"

    def why_not(self) -> str | None:
        """Return why it cannot be used, or None."""
        if isinstance(self.job.control, SshControl):
            return None
        return "its model or settings name no host ('ssh'), or that host does not answer"

    def describe(self) -> str:
        """Return it for people."""
        return "SSH"

    def send(self, runs: Sequence[Sequence[Piece]], reached: Reached) -> None:
        """Write ``runs``; see `Way.send`."""
        job, done = self.job, 0
        assert isinstance(job.control, SshControl)
        for run in runs:
            place = job.place(run)
            script = scripts.take(job.device, place, fsync=job.fsync)
            job.control.feed(script, job.data(run), timeout=patience(place.size))
            done += place.size
            reached(done)

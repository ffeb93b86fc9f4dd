"""``labctl lab slurm``: a small Slurm on this machine, to try things on."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click

from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from types import FrameType


@click.command(
    epilog="""\b
Examples:
  labctl lab slurm                       two nodes of one processor; Ctrl-C ends it
  labctl lab slurm --nodes 3 --gpus 2    with two cards each, which are files only
  labctl lab slurm -- labctl fpga test --engine slurm
                                         for as long as a command runs

\b
Debian's own daemons (apt-get install munge slurmctld slurmd slurm-client), on
loopback ports, with everything in a temporary folder: a Slurm of the machine's
own is not touched. It needs root, and neither systemd nor cgroups.
Exit codes: 0 ended, or the command's; 1 a daemon did not start, 2 bad usage, no
root or programs missing."""
)
@click.option("--nodes", type=click.IntRange(1, 32), default=2, show_default=True, metavar="N")
@click.option("--cpus", type=click.IntRange(1, 1024), default=1, show_default=True, metavar="N",
              help="Processors of each node, whatever the machine has.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(0, 64), default=0, show_default=True, metavar="N",
              help="Cards of each node.")  # fmt: skip
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def slurm(nodes: int, cpus: int, gpus: int, command: tuple[str, ...]) -> int:
    """Run a real Slurm on this machine until Ctrl-C, or while COMMAND runs."""
    import os
    import subprocess
    import tempfile
    from pathlib import Path

    from labctl.vlab.slurm.cluster import Node, running, why_not

    reason = why_not()
    if reason:
        raise UsageError(reason, thing="labctl lab slurm")

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    wanted = [Node(f"n{number + 1}", cpus, gpus) for number in range(nodes)]
    with tempfile.TemporaryDirectory(prefix="labctl-slurm-") as name:
        Path(name).chmod(0o755)  # jobs of other users read in it
        with running(Path(name), wanted) as cluster:
            if command:
                environment = {**os.environ, **cluster.environment}
                try:
                    return subprocess.run(command, env=environment, check=False).returncode
                except OSError as error:
                    raise UsageError(error.strerror or str(error), thing=command[0]) from None
            click.echo(f"export SLURM_CONF={cluster.conf}")
            sys.stdout.flush()
            sys.stderr.write("labctl: it runs; Ctrl-C ends it\n")
            try:
                signal.pause()
            except KeyboardInterrupt:
                return int(ExitCode.OK)
    return int(ExitCode.OK)

"""How long until twenty light boxes answer over SSH.

The floor is the same number of bare sshd processes with a key of their own each, without root file
system, namespaces or lab around them: generating keys, starting, and answering with a banner.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from boxes import fleet
from harness import Aim, Contender, Report, Say, argument_parser, interleave, positive, run_bench

from labctl.errors import DependencyError, LabctlError

AIMS = {"ours": Aim(10.0)}
_DEADLINE_S = 60.0


def ours(count: int) -> float:
    """Start the fleet, stop it, and return the seconds of the start."""
    with fleet(count) as boxes:
        return boxes.start_seconds


def bare(count: int, sshd: str) -> float:
    """Start as many bare sshd, stop them, and return the seconds until all answer."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as cleanup:
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ports = list(
                pool.map(lambda i: _start(Path(name) / str(i), sshd, cleanup), range(count))
            )
        for port in ports:
            _wait_for_banner(port)
        return time.perf_counter() - began


def _start(key: Path, sshd: str, cleanup: ExitStack) -> int:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = [f"ListenAddress=127.0.0.1:{port}", "PidFile=none", f"HostKey={key}"]
    words = [word for option in options for word in ("-o", option)]
    process = subprocess.Popen(
        [sshd, "-D", "-f", "/dev/null", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    cleanup.callback(process.wait, 10)
    cleanup.callback(process.terminate)
    return port


def _wait_for_banner(port: int) -> None:
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.01)  # between two looks at the condition
    raise LabctlError(f"did not answer on port {port} within {_DEADLINE_S:.0f} s", thing="sshd")


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time both."""
    sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if sshd is None:
        raise DependencyError("is not installed", thing="sshd", action="apt install openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd(8) insists on it
    say(f"{options.hosts} boxes; the first start builds the image if there is none")
    ours(1)  # not timed: the image is built and in the cache of the disk
    contenders = [
        Contender("ours", partial(ours, options.hosts)),
        Contender("floor", partial(bare, options.hosts, sshd)),
    ]
    times = interleave(contenders, options.runs, say)
    return Report(
        bench="fleet_start",
        unit=f"s, {options.hosts} boxes",
        ours=times["ours"].median,
        floor=times["floor"].median,
        ratios={"ours / floor": times["ours"].median / times["floor"].median},
        aims=AIMS,
        details={"best": {name: round(several.best, 3) for name, several in times.items()}},
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser((__doc__ or "").splitlines()[0], runs=3)
    parser.add_argument("--hosts", type=positive, default=20, help="boxes (default %(default)s)")
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())

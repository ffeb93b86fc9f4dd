"""Eight boards that talk at 115200, and twenty listeners: what do the owners of the lines cost?

Each board has its owner, as in daily use. What the owners use of a core is read from /proc; the
listeners and the boards are not ours. The floor is a reader of eight pseudo-terminals in one
process that appends to eight files, with nobody listening.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import tty
from functools import partial
from pathlib import Path

from harness import Aim, Report, Say, argument_parser, run_bench
from ours import owned

from labctl.boards.client import LineClient
from labctl.errors import LabctlError

BOARDS = 8
LISTENERS = 20
BAUD = 115200
AIMS = {"ours": Aim(10.0), "bytes lost": Aim(0)}
_SECONDS = 10.0
_EVERY_S = 0.01
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Talkers:
    """Boards that talk without a pause, each as many bytes as its line carries."""

    def __init__(self, masters: list[int]) -> None:
        self._masters = masters
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self.sent = 0

    def _talk(self) -> None:
        began = time.monotonic()
        line = b"[   12.345678] a board that has much to say, line after line\r\n" * 64
        while not self._stop.wait(_EVERY_S):
            due = int((time.monotonic() - began) * BAUD / 10)
            while self.sent < due:
                piece = line[: min(due - self.sent, len(line))]
                for master in self._masters:
                    os.write(master, piece)
                self.sent += len(piece)

    def __enter__(self) -> Talkers:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Be silent."""
        self._stop.set()
        self._thread.join()


def listen(clients: list[LineClient], stop: threading.Event, heard: dict[LineClient, int]) -> None:
    """Read with all of them until told to stop."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            heard[client] = 0
            selector.register(client, selectors.EVENT_READ, client)
        while not stop.is_set():
            for key, _ in selector.select(0.1):
                heard[key.data] += len(key.data.read(0))


def percent(listeners: int) -> tuple[float, int]:
    """Return what the owners use, percent of a core, and how many bytes a listener lacks."""
    with contextlib.ExitStack() as stack:
        masters, clients = [], []
        for _ in range(BOARDS):
            master, slave = pty.openpty()
            tty.setraw(slave)
            stack.callback(os.close, slave)
            stack.callback(os.close, master)
            masters.append(master)
            clients.append(stack.enter_context(owned(os.ttyname(slave), lease=False)))
        pids = [client.status().pid for client in clients]
        for number in range(listeners - BOARDS):
            model = clients[number % BOARDS]
            clients.append(stack.enter_context(LineClient(model.place, model.config)))
            clients[-1].follow(0)
        stop = threading.Event()
        heard: dict[LineClient, int] = {}
        reader = threading.Thread(target=listen, args=(clients, stop, heard), daemon=True)
        reader.start()
        with Talkers(masters) as talkers:
            time.sleep(1.0)
            before = sum(map(cpu_seconds, pids))
            began = time.monotonic()
            time.sleep(_SECONDS)
            used = sum(map(cpu_seconds, pids)) - before
            seconds = time.monotonic() - began
        deadline = time.monotonic() + 10
        while any(count < talkers.sent for count in heard.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        reader.join()
        lost = sum(talkers.sent - count for count in heard.values())
    return used / seconds * 100, lost


_FLOOR = """
import os, select, sys
lines = [int(word) for word in sys.argv[2:]]
files = {line: open(f"{sys.argv[1]}/{line}", "ab", buffering=0) for line in lines}
while True:
    for line in select.select(lines, [], [])[0]:
        files[line].write(os.read(line, 65536))
"""


def floor_percent() -> float:
    """Return what the least does."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labctl-bench-"))
        pairs = [pty.openpty() for _ in range(BOARDS)]
        for pair in pairs:
            tty.setraw(pair[1])
            stack.callback(os.close, pair[0])
            stack.callback(os.close, pair[1])
        slaves = [slave for _, slave in pairs]
        process = subprocess.Popen(
            [sys.executable, "-c", _FLOOR, folder, *map(str, slaves)], pass_fds=slaves
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        with Talkers([master for master, _ in pairs]):
            time.sleep(1.0)
            before = cpu_seconds(process.pid)
            time.sleep(_SECONDS)
            return (cpu_seconds(process.pid) - before) / _SECONDS * 100


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run in rounds; the one that was disturbed least counts, since the machine is shared."""
    found = []
    for number in range(options.runs):
        found.append(percent(LISTENERS))
        say(f"  round {number + 1} of {options.runs}: {found[-1][0]:.1f} % of a core")
    many, lost_many = percent(LISTENERS * BOARDS)
    alone, _ = percent(BOARDS)
    if any(not used for used, _ in found):
        raise LabctlError("the owners used no time at all")
    return Report(
        bench="console_listeners",
        unit=f"% of a core, owners of {BOARDS} boards at {BAUD}, {LISTENERS} listeners",
        ours=min(used for used, _ in found),
        floor=floor_percent(),
        ratios={
            f"%, {LISTENERS} listeners on each of {BOARDS} boards": many,
            "%, one listener each": alone,
            "bytes lost": float(sum(lost for _, lost in found) + lost_many),
        },
        aims=AIMS,
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser((__doc__ or "").partition("\n")[0], runs=3).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())

"""A check of many hosts: how long ``labctl check`` takes beside the least that is possible.

Fifty light boxes; beside the floor (`floor.py`: one connection and the very script that labctl
sends, for each host, all at once). Then the same with two hosts that do not answer among them: the
live ones may not be told later for it. Then the memory for two hundred hosts (each box under four
names).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from boxes import Fleet, fleet
from harness import Aim, Contender, Report, Say, argument_parser, interleave, positive, run_bench
from processes import labctl, run

from labctl.errors import LabctlError
from labctl.facts.machine.reading import whole_script
from labctl.fileio import write_atomic

AIMS = {
    "ours / floor": Aim(2.0),
    "last live host, with 2 dead / without": Aim(1.5),
    "MB at 200 hosts": Aim(100.0),
}
MANY = 200
DEAD_S = 60.0
# Warnings are no failure of a check.
_FINE = (0, 1)


def hosts_of(boxes: Fleet) -> list[dict[str, object]]:
    """Return how each box is reached, as `floor.py` and inventories want it."""
    return [
        {
            "address": host.hostname,
            "port": host.port,
            "user": host.user,
            "key": host.identity_files[0],
            "host_keys": list(host.host_keys),
        }
        for host in boxes.hosts
    ]


def floor(boxes: Fleet) -> Contender:
    """Return the floor: the script that labctl sends, sent by `floor.py`."""
    path = boxes.folder / "floor-health.json"
    path.write_text(json.dumps({"script": whole_script().text, "hosts": hosts_of(boxes)}))
    command = [sys.executable, str(Path(__file__).with_name("floor.py")), str(path)]
    return Contender("floor", lambda: run(command).seconds)


def ours(boxes: Fleet) -> float:
    """Run ``labctl check`` on all boxes and return the seconds.

    Raises:
        LabctlError: A box did not answer in full.
    """
    command = [labctl(), "-i", str(boxes.folder / "inventory.yaml"), "check", "@fleet", "--json"]
    ended = run(command, fine=_FINE)
    hosts = json.loads(ended.output)["hosts"]
    whole = [host for host in hosts if not host["error"] and not host["missing"]]
    if len(whole) != len(boxes.hosts):
        raise LabctlError(f"{len(whole)} of {len(boxes.hosts)} answered", thing="labctl check")
    return ended.seconds


def inventory(boxes: Fleet, name: str, count: int, dead: list[int]) -> Path:
    """Write an inventory of ``count`` names for the boxes and of ``dead`` ports."""
    lines = ["version: 1", "hosts:"]
    reached = hosts_of(boxes)
    for number in range(count):
        fields = dict(reached[number % len(reached)])
        fields["identity_files"] = [fields.pop("key")]
        lines.append(f"  live{number:03}: {json.dumps(fields)}")
    lines += [f"  dead{port}: {{address: 127.0.0.1, port: {port}}}" for port in dead]
    path = boxes.folder / f"{name}.yaml"
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def last_live(boxes: Fleet, path: Path, *, timeout_s: float) -> float:
    """Return the seconds until the last live host of ``path`` was told of.

    Raises:
        LabctlError: Not all were.
    """
    began = time.perf_counter()
    command = [labctl(), "-i", str(path), "check", "all", "--timeout", f"{timeout_s:g}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        missing = {f"live{number:03}" for number in range(len(boxes.hosts))}
        for line in process.stdout:
            missing.discard(line.split(" ", 1)[0])
            if not missing:
                seconds = time.perf_counter() - began
                process.terminate()
                process.stdout.read()
                return seconds
    raise LabctlError(f"{len(missing)} hosts were not told of", thing="labctl check")


def peak_mb(path: Path) -> float:
    """Return the largest resident memory of a check of ``path``, in MB (getrusage(2))."""
    command = [labctl(), "-i", str(path), "check", "all", "--json", "--timeout", "300", "-j", "500"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in _FINE:
        raise LabctlError(f"ended with status {process.returncode}", thing="labctl check")
    return usage.ru_maxrss * 1024 / 1e6


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run the whole benchmark."""
    say(f"starting {options.hosts} light boxes")
    with fleet(options.hosts, keep=options.keep) as boxes, ExitStack() as stack:
        ports = []
        for _ in range(2):
            silent = stack.enter_context(socket.socket())
            silent.bind(("127.0.0.1", 0))
            silent.listen(8)
            ports.append(int(silent.getsockname()[1]))
        say(f"a check of {options.hosts} boxes, seconds")
        contenders = [Contender("ours", lambda: ours(boxes)), floor(boxes)]
        for contender in contenders:
            contender.run()  # not timed
        times = interleave(contenders, options.runs, say)
        say("the same with two hosts that do not answer; when the last live one was told of")
        plain = inventory(boxes, "plain", len(boxes.hosts), [])
        dead = inventory(boxes, "dead", len(boxes.hosts), ports)
        dead_times = interleave(
            [
                Contender("without", lambda: last_live(boxes, plain, timeout_s=DEAD_S)),
                Contender("with 2 dead", lambda: last_live(boxes, dead, timeout_s=DEAD_S)),
            ],
            options.runs,
            say,
        )
        say(f"{MANY} hosts, memory")
        memory = peak_mb(inventory(boxes, "many", MANY, []))
    return Report(
        bench="health",
        unit=f"s, {options.hosts} boxes",
        ours=times["ours"].median,
        floor=times["floor"].median,
        ratios={
            "ours / floor": times["ours"].median / times["floor"].median,
            "last live host, with 2 dead / without": dead_times["with 2 dead"].median
            / dead_times["without"].median,
            "MB at 200 hosts": memory,
        },
        aims=AIMS,
        details={
            "best": {name: round(taken.best, 4) for name, taken in times.items()},
            "last_live_seconds": {
                name: round(taken.median, 4) for name, taken in dead_times.items()
            },
        },
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser(__doc__.splitlines()[0], runs=5)
    parser.add_argument("--hosts", type=positive, default=50, help="boxes (default %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the boxes for the next run")
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())

"""How long until an emulated box answers over SSH, and how long it takes to start a program in it.

The peer is the same box from the same image, emulated as QEMU does it when nothing is said: the
processor model ``max`` on a plain q35 machine, and a kernel that is told no more than its root and
its console. KVM is not used, whether it is there or not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

from boxes import own_place
from harness import Aim, Contender, Report, Say, Times, argument_parser, interleave, run_bench

from labctl.fileio import write_atomic
from labctl.inventory.loader import load_inventory
from labctl.inventory.resolve import resolve
from labctl.transport.ssh import Access, connect
from labctl.vlab import emulation, lab
from labctl.vlab.box import BoxOptions

AIMS = {"ours": Aim(15.0)}
_NAME = "bench-box"
_INVENTORY = f"version: 1\nhosts:\n  {_NAME}: {{virtual: box}}\n"
_PROGRAMS = 200
# Times itself, so that neither the connection nor the network of the emulator counts.
_SCRIPT = f"""
now() {{ read -r up _ </proc/uptime; echo "${{up%.*}}${{up#*.}}"; }}
a=$(now); i=0; while [ $i -lt {_PROGRAMS} ]; do /bin/true; i=$((i+1)); done; b=$(now)
echo "ticks $((b - a))"
"""


@contextmanager
def plainly() -> Iterator[None]:
    """Emulate as QEMU does when nothing is said."""
    with (
        patch.dict(emulation.CPU, tcg="max"),
        patch.dict(emulation.MACHINE, tcg="q35"),
        patch.dict(emulation.ACCEL, tcg="tcg,thread=multi"),
        patch.object(emulation, "kernel_words", lambda accel: "rw console=ttyS0 quiet"),
    ):
        yield


def start(inventory: Path, programs: list[float]) -> float:
    """Start the box, time some programs in it (ms each, added to ``programs``), stop it."""
    options = BoxOptions(accel="tcg")
    try:
        outcome = lab.up(inventory, [_NAME], lambda text: None, options)[0]
        if outcome.error:
            raise outcome.error
        session = connect(resolve(load_inventory(inventory).hosts[_NAME]), Access())
        output = session.run_script(_SCRIPT, deadline=120.0).output.decode()
        session.close()
        ticks = int(output.partition("ticks ")[2].split()[0])  # of 10 ms, proc_uptime(5)
        programs.append(ticks * 10.0 / _PROGRAMS)
        return outcome.seconds
    finally:
        lab.down(inventory, [_NAME], lambda text: None)


def start_plain(inventory: Path, programs: list[float]) -> float:
    """Do the same with the box emulated plainly."""
    with plainly():
        return start(inventory, programs)


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time both."""
    ours: list[float] = []
    plain: list[float] = []
    with own_place() as folder:
        inventory = folder / "box.yaml"
        write_atomic(inventory, _INVENTORY)
        say("one start that is not timed: the image is built if there is none")
        start(inventory, [])
        contenders = [
            Contender("ours", partial(start, inventory, ours)),
            Contender("plain QEMU", partial(start_plain, inventory, plain)),
        ]
        times = interleave(contenders, options.runs, say)
    program, program_plain = Times(tuple(ours)).median, Times(tuple(plain)).median
    return Report(
        bench="box_start",
        unit="s until sshd answers",
        ours=times["ours"].median,
        peers={"plain QEMU": times["plain QEMU"].median},
        ratios={
            "plain QEMU / ours": times["plain QEMU"].median / times["ours"].median,
            "start of a program, plain / ours": program_plain / program,
        },
        aims=AIMS,
        details={"start of a program, ms": {"ours": program, "plain QEMU": program_plain}},
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser((__doc__ or "").splitlines()[0], runs=3)
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())

"""Bitstreams, each with a record beside it that says what it is and whether it is fast enough.

The record is data: `labctl flash` reads it and refuses a bitstream that is too slow. docs/json.md
describes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.fpga.synth import programs
from labctl.fpga.synth.netlist import SynthesisError
from labctl.fpga.synth.timing import Timing

SCHEMA = "labctl.bitstream/1"
_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Bitstream:
    """A bitstream that was written.

    Attributes:
        path: The file.
        sha256: Its digest, in hexadecimal.
        record: The file that says what it is.
    """

    path: Path
    sha256: str
    record: Path


def write(timing: Timing, folder: Path) -> Bitstream:
    """Write the bitstream of the best place of ``timing`` to ``folder``, and its record.

    Raises:
        UsageError: The core has no file of pins, so it is no design of its own.
        SynthesisError: No bitstream could be made.
        DependencyError: The program that makes it is not installed.
        OSError: The folder cannot be written to.
    """
    wanted, best = timing.wanted, timing.best
    if wanted.target.constraints is None:
        raise UsageError(
            "it has no file of pins, so it is a part of a design and has no bitstream",
            thing=wanted.name, action=f"name one in {wanted.core.path.name}: "
            "'target: {constraints: …}'",
        )  # fmt: skip
    program = programs.find(wanted.family.pack)
    name = wanted.name.replace(":", "-") + wanted.family.bitstream
    path = folder / name
    fresh, place = folder / f".{name}.new", best.layout.parent
    try:
        _, why = programs.run(
            program, [best.layout.name, programs.near(fresh, place)], cwd=place,
            deadline_s=_DEADLINE_S,
        )  # fmt: skip
        if why:
            raise SynthesisError(f"no bitstream: {why}", thing=wanted.name)
        data = fresh.read_bytes()
        sum_ = hashlib.sha256(data).hexdigest()
        record = path.with_name(f"{name}.json")
        # First the record: a bitstream without one would be taken for somebody else's.
        write_atomic(record, _record(timing, name, sum_), mode=0o644)
        write_atomic(path, data, mode=0o644)
    finally:
        fresh.unlink(missing_ok=True)
    return Bitstream(path, sum_, record)


def _record(timing: Timing, name: str, sum_: str) -> str:
    wanted, best = timing.wanted, timing.best
    data = {
        "schema": SCHEMA,
        "file": name,
        "sha256": sum_,
        "core": wanted.core.name,
        "parameters": dict(wanted.parameters),
        "family": wanted.target.family,
        "device": wanted.target.device,
        "package": wanted.target.package,
        "timing": timing.status,
        "clocks": [
            {"signal": one.signal, "wanted_mhz": one.wanted, "reached_mhz": one.reached}
            for one in best.clocks
        ],
        "seed": best.seed,
        "tools": dict(timing.tools),
    }
    return json.dumps(data, indent=1) + "\n"

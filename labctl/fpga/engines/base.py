"""What an engine is given and what it gives back, and the environment of a simulation."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labctl.fpga.build import Build
from labctl.fpga.coverage import functional
from labctl.fpga.engines.triage import Hang
from labctl.fpga.selection import Job, Unit
from labctl.fpga.simulators.base import is_vhdl
from labctl.fpga.toolchain import Toolchain, environment

# See `labctl.fpga.tb.coverage`; it cannot be imported here, as it needs cocotb.
FOLDER_VARIABLE = "LABCTL_FPGA_COVERAGE"
RESULTS_FILE = "results.xml"
# Entry points of cocotb 2.1 (pygpi.entry.load_entry), with ours before the design is looked at.
_ENTRIES = (
    "cocotb.logging:_configure",
    "labctl_inside:enter",
    "labctl_checkpoints:enter",
    "cocotb._init:init_package_from_simulation",
    "cocotb.regression:_run_regression",
)
_INSIDE = Path(__file__).parent.parent / "inside"


@dataclass(frozen=True)
class Last:
    """That the last of a run is to be recorded, where it fails.

    Attributes:
        every_s: Processor time between two copies of the simulation: about as much is recorded.
        worth_ns: Only a failure before this simulated time, nanoseconds; None for any.
    """

    every_s: float
    worth_ns: float | None = None


@dataclass(frozen=True)
class Task:
    """A job that is ready to run.

    Attributes:
        job: What is run.
        build: The compiled simulation.
        folder: Its own empty folder: working directory, log, results, waves.
        waves: Record waves.
        last: Record the last of it where it fails, if the engine can; see `Last`.
    """

    job: Job
    build: Build
    folder: Path
    waves: bool = False
    last: Last | None = None


@dataclass(frozen=True)
class Ended:
    """How a simulation ended.

    Attributes:
        exit_code: Of the process; negative is the signal that ended it.
        seconds: Wall-clock time.
        hang: Why it was ended, where we ended it.
        note: What is worth telling about how it was run.
    """

    exit_code: int
    seconds: float
    hang: Hang | None = None
    note: str = ""


class Engine(Protocol):
    """Runs one task at a time; each thread has an engine of its own."""

    def run(self, task: Task) -> Ended:
        """Run ``task`` to its end, whatever that is."""

    def close(self) -> None:
        """End what is still running."""


def command(task: Task, tools: Toolchain) -> list[str]:
    """Return the command of a simulation."""
    unit = task.job.unit
    return tools.of(unit.core).command(task.build.path, unit.core, unit.variant, waves=task.waves)


def common_environment(unit: Unit, tools: Toolchain) -> dict[str, str]:
    """Return what all jobs of one core, one set of parameters and one module share."""
    core, here, simulator = unit.core, environment(), tools.of(unit.core)
    python = [str(_INSIDE), *(str(one.absolute()) for one in core.python)]
    # Its working directory is another one, so what is relative has to be made whole.
    inherited = filter(None, here.get("PYTHONPATH", "").split(os.pathsep))
    python += [str(Path(one).absolute()) for one in inherited]
    parameters = {f"PARAM_{name}": str(value) for name, value in unit.variant.parameters.items()}
    return {
        # numpy's wheels start threads at import otherwise, and a process with threads cannot serve.
        "OPENBLAS_NUM_THREADS": "1",
        **here,
        # Loading every plug-in of pytest takes a third of the start, and none has a part in it.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COCOTB_ANSI_OUTPUT": "0",
        **parameters,
        **core.environment,
        **unit.variant.environment,
        **simulator.environment(core),
        **({FOLDER_VARIABLE: functional.FOLDER} if tools.coverage else {}),
        "PYTHONPATH": os.pathsep.join(python),
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYGPI_USERS": ",".join(_ENTRIES),
        "GPI_USERS": simulator.gpi_users,
        "COCOTB_TOPLEVEL": core.top,
        "COCOTB_TEST_MODULES": unit.test.module,
        "COCOTB_RESULTS_FILE": RESULTS_FILE,
        "TOPLEVEL_LANG": "vhdl" if is_vhdl(core.sources[-1]) else "verilog",
        "LABCTL_MEMORY_MIB": str(core.memory_mib),
    }


def job_environment(job: Job) -> Mapping[str, str]:
    """Return what is of this job alone."""
    test = job.unit.test
    chosen = rf"^{re.escape(f'{test.module}.{test.name}')}(/.*)?$" if test.name else ""
    return {"COCOTB_RANDOM_SEED": str(job.seed), "COCOTB_TEST_FILTER": chosen}


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

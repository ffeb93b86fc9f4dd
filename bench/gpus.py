"""Reading a machine's cards: labctl beside bare NVML calls, gpustat and nvitop.

Eight cards with a process each, played by the simulated NVML library, which all of them load. The
floor makes the same calls as labctl's reader, in one process and without a deadline. Beside the
time by the clock stands that of the processors, all processes of a command together, which depends
less on what else the machine does.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from labctl.errors import DependencyError, LabctlError
from labctl.facts.gpu import nvml
from labctl.vlab.nvml.build import SCENARIO_VARIABLE, build

CARDS = 8
AIMS = {
    "reading / bare calls": Aim(1.5),
    "labctl gpu / gpustat": Aim(1.0),
    "labctl gpu / nvitop": Aim(1.0),
    "reading / bare calls, processor time": Aim(1.5),
    "labctl gpu / gpustat, processor time": Aim(1.0),
    "labctl gpu / nvitop, processor time": Aim(1.0),
}
_BARE = "from labctl.facts.gpu.nvml_reader import read; read(lambda line: None)"
_READING = "from labctl.facts.gpu.nvml import read_local; assert read_local(deadline=60).cards"
_DEADLINE_S = 120.0


def scenario() -> str:
    """Return eight cards at work."""
    lines = ["driver 999.10.01", "cuda 13010"]
    for index in range(CARDS):
        lines += [
            "card", "name NVIDIA H100 80GB HBM3", f"uuid GPU-{index}",
            f"pci 00000000:{index + 1:02x}:00.0", f"minor {index}", "memory_total 85899345920",
            "memory_reserved 500000000", "memory_used 1073741824", "utilisation 55",
            "temperature 44", "power 250000", "power_limit 700000", "fan 30", "persistence 1",
            "compute_mode 0", "performance_state 0", "clock_sm 1980", "clock_memory 2619", "ecc 1",
            f"process {os.getpid()} C 1000000000",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def processor_s() -> float:
    """Return what all ended children have used of the processors, with their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, processors: list[float]
) -> float:
    """Run ``command``, return its seconds, and add those of the processors to ``processors``.

    Raises:
        LabctlError: It failed.
    """
    used, began = processor_s(), time.monotonic()
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=_DEADLINE_S,
        check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    processors.append(processor_s() - used)
    if done.returncode != 0:
        raise LabctlError(done.stderr.strip()[-300:], thing=" ".join(command))
    return seconds


def measure(runs: int, say: Say) -> Report:
    """Run all contenders in turn on one library."""
    if not nvml.usable():
        raise DependencyError("it is not installed", thing="nvidia-ml-py", action="make venv")
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as name:
        folder = Path(name)
        library = build(folder)
        (folder / "scenario").write_text(scenario())
        # Whether Slurm is installed here must not matter: labctl asks it too.
        programs = folder / "bin"
        programs.mkdir()
        for program in ("sh", "dmesg"):
            (programs / program).symlink_to(shutil.which(program) or "/nowhere")
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library.parent),
            SCENARIO_VARIABLE: str(folder / "scenario"),
            "HOME": name,
            "PATH": str(programs),
            "LABCTL_GPU_DB": str(folder / "none"),
        }
        python = sys.executable
        commands = {
            "bare": (python, "-c", _BARE),
            "reading": (python, "-c", _READING),
            "ours": (python, "-m", "labctl", "gpu", "local"),
            "gpustat": (python, "-m", "gpustat"),
            "nvitop": (python, "-m", "nvitop", "--once"),
        }
        used: dict[str, list[float]] = {name: [] for name in commands}
        contenders = [
            Contender(name, partial(timed, command, environment, folder, used[name]))
            for name, command in commands.items()
        ]
        times = interleave(contenders, runs, say)
    median = {name: several.median for name, several in times.items()}
    processors = {name: statistics.median(several) for name, several in used.items()}
    return Report(
        "gpus",
        "seconds",
        ours=median["ours"],
        floor=median["bare"],
        peers={name: median[name] for name in ("gpustat", "nvitop")},
        ratios={
            f"{what}{words}": of[ours] / of[peer]
            for words, of in (("", median), (", processor time", processors))
            for what, ours, peer in (
                ("reading / bare calls", "reading", "bare"),
                ("labctl gpu / gpustat", "ours", "gpustat"),
                ("labctl gpu / nvitop", "ours", "nvitop"),
            )
        },
        aims=AIMS,
        details={
            "reading": median["reading"],
            "cards": CARDS,
            "processor_s": {name: round(value, 4) for name, value in processors.items()},
        },
    )


def main() -> int:
    """Read the arguments and measure."""
    options = argument_parser(__doc__ or "", runs=7).parse_args()
    return run_bench(options, lambda say: measure(options.runs, say))


if __name__ == "__main__":
    sys.exit(main())

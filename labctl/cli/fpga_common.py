"""What the commands of ``labctl fpga`` share: the project, names of runs, and how a run is told."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from labctl.fpga.model import Project


def _usual_project() -> str:
    """Return where cores are in a lab's repository; what else is there is not looked through."""
    return "fpga" if any(Path("fpga").glob("*/core.yaml")) else "."


PROJECT = click.option(
    "-C",
    "--project",
    "folder",
    type=click.Path(),
    default=_usual_project,
    metavar="FOLDER",
    help="Folder of the project. If not given: fpga/, where that has cores, or the current one.",
)
SIMULATOR = click.option(
    "--sim",
    "simulator",
    metavar="NAME",
    help="Simulator: icarus, verilator or ghdl; that of each core if not given.",
)
_COLOURS = {"passed": "green", "failed": "red", "error": "red", "hung": "red", "skipped": "yellow"}


def cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def open_project(folder: str, simulator: str | None = None) -> Project:
    """Return the project in ``folder``; tell on standard error what in it could not be read.

    Args:
        folder: Where it is.
        simulator: Runs all of its cores; those in a language that it does not take are left out,
            and that is told.

    Raises:
        UsageError: There is no such project, or no such simulator.
    """
    from labctl.fpga.discovery import discover
    from labctl.fpga.simulators.choice import check_name, with_simulator
    from labctl.report.sanitize import clean

    if simulator:
        check_name(simulator)
    project = discover(Path(folder), simulator or "icarus")
    told = [problem.message for problem in project.problems]
    if simulator:
        project, left = with_simulator(project, simulator)
        told += left
    for message in told:
        for line in clean(message).splitlines():
            sys.stderr.write(f"labctl: {line}\n")
    return project


@contextlib.contextmanager
def files_are_told() -> Iterator[None]:
    """Turn what the file system refuses, such as a full disk, into an error for people.

    Raises:
        LabctlError: With the file and the cause.
    """
    from labctl.errors import LabctlError

    try:
        yield
    except OSError as error:
        raise LabctlError(
            error.strerror or str(error),
            thing=str(error.filename or "the folder of the run"),
            action="see that it can be written to and has room",
        ) from None


def project_words(folder: str) -> list[str]:
    """Return the options by which a command finds the project in ``folder`` again."""
    return [] if folder == _usual_project() else ["-C", folder]


def repro_command(folder: str, simulator: str | None = None) -> Callable[[str], str]:
    """Return what makes, of the name of a run, the command that runs it again."""
    where = project_words(folder) + (["--sim", simulator] if simulator else [])
    return lambda name: shlex.join(["labctl", "fpga", "repro", *where, name])


def colour_of(status: str) -> str:
    """Return the colour in which a status is shown."""
    return _COLOURS[status]

"""What every benchmark shares: arguments, interleaved timing, the report for people and as JSON.

A benchmark times *contenders*: ours, the floor (the least any program can do), and peers (what
people use today). They run in turn, round by round, so that whatever else the machine does hits
all of them alike. The figure of a contender is the median of its runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from labctl.errors import ExitCode, LabctlError
from labctl.report.sanitize import clean
from labctl.report.terminal import Terminal

Say = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """One of those that are timed.

    Attributes:
        name: Its name: ``ours``, ``floor``, or that of a peer.
        run: Does the job once and returns how long it took, in the benchmark's unit.
        most: At most so many runs, where one takes very long; None for as many as the others.
    """

    name: str
    run: Callable[[], float]
    most: int | None = None


@dataclass(frozen=True)
class Times:
    """The runs of one contender, in order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def best(self) -> float:
        """The least disturbed one."""
        return min(self.values)


def interleave(contenders: Sequence[Contender], runs: int, say: Say) -> dict[str, Times]:
    """Run all ``contenders`` in turn, ``runs`` rounds, and return the times of each by name."""
    values: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(runs):
        taking_part = [one for one in contenders if one.most is None or number < one.most]
        for contender in taking_part:
            values[contender.name].append(contender.run())
        shown = ", ".join(f"{one.name} {values[one.name][-1]:.3g}" for one in taking_part)
        say(f"  round {number + 1} of {runs}: {shown}")
    return {name: Times(tuple(several)) for name, several in values.items()}


@dataclass(frozen=True)
class Aim:
    """What a ratio or a figure should be: ``at_most`` or at least ``value``."""

    value: float
    at_most: bool = True

    def holds(self, measured: float) -> bool:
        """Tell whether ``measured`` is as it should be."""
        return measured <= self.value if self.at_most else measured >= self.value

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


@dataclass
class Report:
    """What a benchmark found.

    Attributes:
        bench: Its name.
        unit: Unit of ``ours``, ``floor`` and ``peers``.
        ours: Our figure.
        floor: The least that any program can do, or None where there is no such thing.
        peers: Figures of others by name.
        ratios: What is compared, by name; `ratio` makes them.
        aims: What `ratios` (or ``ours``) should be, by the same names.
        details: Further figures, for the curious.
    """

    bench: str
    unit: str
    ours: float
    floor: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    aims: Mapping[str, Aim] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    def measured(self, name: str) -> float:
        """Return the figure that the aim ``name`` is about."""
        return self.ours if name == "ours" else self.ratios[name]

    @property
    def holds(self) -> bool:
        """Whether every aim is met."""
        return all(aim.holds(self.measured(name)) for name, aim in self.aims.items())

    def as_json(self) -> str:
        """Return the one object that ``--json`` prints."""
        document = {
            "bench": self.bench,
            "unit": self.unit,
            "ours": round(self.ours, 4),
            "floor": None if self.floor is None else round(self.floor, 4),
            "peers": {name: round(value, 4) for name, value in self.peers.items()},
            "ratios": {name: round(value, 3) for name, value in self.ratios.items()},
            "aims": {name: aim.value for name, aim in self.aims.items()},
            "holds": self.holds,
            "details": self.details,
        }
        return json.dumps(document, indent=2)

    def show(self, terminal: Terminal) -> None:
        """Print the tables for people."""
        figures = [("ours", self.ours)]
        figures += [("floor", self.floor)] if self.floor is not None else []
        figures += sorted(self.peers.items())
        terminal.table((self.bench, self.unit), [(name, f"{value:.3f}") for name, value in figures])
        terminal.line()
        names = dict.fromkeys([*self.aims, *self.ratios])
        rows = [self._row(name) for name in names]
        terminal.table(("COMPARED", "MEASURED", "AIM", ""), rows)

    def _row(self, name: str) -> tuple[str, str, str, str]:
        aim = self.aims.get(name)
        verdict = "" if aim is None else "holds" if aim.holds(self.measured(name)) else "MISSED"
        return (name, f"{self.measured(name):.2f}", str(aim or ""), verdict)


def argument_parser(description: str, *, runs: int) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has.

    Args:
        description: What it measures, in one line.
        runs: Default number of runs of each contender.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Exit codes: 0 all aims hold, 1 an aim is missed, 2 it cannot run.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--runs", type=positive, default=runs, metavar="N", help="rounds (default %(default)s)"
    )
    return parser


def positive(text: str) -> int:
    """Read a number of at least one, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run_bench(options: argparse.Namespace, measure: Callable[[Say], Report]) -> int:
    """Run ``measure``, print its report, and return the exit code.

    Progress goes to standard error, so that standard output is the report and nothing else.
    """
    progress = Terminal(sys.stderr)
    # To be told to end is to clean up and end, as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = measure(lambda text: progress.line(clean(text)))
    except LabctlError as error:
        progress.line(clean(f"bench: {error}"))
        return int(ExitCode.USAGE)
    except KeyboardInterrupt:
        progress.line("bench: interrupted")
        return int(ExitCode.INTERRUPTED)
    if options.json:
        sys.stdout.write(report.as_json() + "\n")
    else:
        report.show(Terminal())
    return int(ExitCode.OK if report.holds else ExitCode.NOT_FINE)

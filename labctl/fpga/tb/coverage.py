"""Functional coverage: points with named bins, counted, that a test has to close.

A point is declared with all of its bins, so a bin that was never hit is known by name, and a hit
that no bin stands for is a mistake of the testbench (or a state that the design must not reach).
Counts of several runs add up in any order: see `merge`.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

Counts = dict[str, dict[str, int]]

# A folder: each coverage leaves `NAME.json` there when it is closed, and at the end of the
# simulation. Unset: nothing is written.
FOLDER_VARIABLE = "LABCTL_FPGA_COVERAGE"
# All of this simulation: tests one after the other may each make one of the same name.
_all: "list[Coverage]" = []


class Coverage:
    """The coverage of one test.

    Args:
        name: names the file that is left in the folder of `FOLDER_VARIABLE`.
        points: the name of each point and its bins.
    """

    def __init__(self, name: str, **points: Iterable[object]) -> None:
        self.name = name
        self.counts: Counts = {
            point: dict.fromkeys((str(one) for one in bins), 0) for point, bins in points.items()
        }
        if os.environ.get(FOLDER_VARIABLE):
            _all.append(self)

    def hit(self, point: str, value: object) -> None:
        """Count one hit.

        Raises:
            AssertionError: the point has no such bin.
        """
        bins = self.counts[point]
        key = str(value)
        assert key in bins, f"coverage {self.name}: {point} has no bin {key!r}"
        bins[key] += 1

    def missing(self) -> list[str]:
        """The bins never hit, as `point=bin`."""
        return [
            f"{point}={key}"
            for point, bins in self.counts.items()
            for key, count in bins.items()
            if not count
        ]

    @property
    def closed(self) -> bool:
        """Whether every bin was hit."""
        return all(count for bins in self.counts.values() for count in bins.values())

    def assert_closed(self) -> None:
        """Save the counts where a folder is named, then insist that every bin was hit.

        Raises:
            AssertionError: names the bins that were not.
        """
        save_all()
        missing = self.missing()
        assert not missing, f"coverage {self.name} is not closed: {', '.join(missing)}"


def save_all() -> None:
    """Save the counts of this simulation, where a folder is named."""
    folder = os.environ.get(FOLDER_VARIABLE)
    by_name: dict[str, list[Counts]] = {}
    for one in _all:
        by_name.setdefault(one.name, []).append(one.counts)
    for name, counts in by_name.items() if folder else ():
        text = json.dumps(merge(counts))
        Path(folder or ".", re.sub(r"[^\w.+-]", "_", name) + ".json").write_text(
            text, encoding="utf-8"
        )


def merge(runs: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Add up the counts of runs. The order of the runs does not matter."""
    total: Counts = {}
    for run in runs:
        for point, bins in run.items():
            into = total.setdefault(point, {})
            for key, count in bins.items():
                into[key] = into.get(key, 0) + count
    return total

"""The sentence about area and clock that stands in the README of a core."""

from __future__ import annotations

import re
from pathlib import Path

from labctl.fpga.synth.timing import Timing

_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def figures(timing: Timing) -> str:
    """Return area and clock in a sentence: the clock is the worst of all seeds, as a promise is."""
    area = ", ".join(f"{count} {kind}" for kind, count in timing.area.items() if count)
    reached = [
        min(clock.reached for clock in place.clocks if clock.reached is not None)
        for place in timing.places
        if any(clock.reached is not None for clock in place.clocks)
    ]
    if not reached:
        return area
    text = f"{area}; {min(reached):.1f} MHz"
    if len(reached) == 1:
        return text
    count = _NUMBERS.get(len(reached), str(len(reached)))
    each = ", ".join(f"{one:.1f}" for one in reached)
    return f"{text}, the worst of {count} place seeds ({each})"


def stands_in(timing: Timing, readme: Path) -> bool:
    """Tell whether ``readme`` has the sentence, however its lines are broken."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError:
        return False
    return figures(timing) in re.sub(r"\s+", " ", text)

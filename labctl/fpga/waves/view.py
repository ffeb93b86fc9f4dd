"""Lists of signals for viewers: GTKWave's save file and Surfer's command file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fileio import write_atomic
from labctl.fpga.model import Core
from labctl.fpga.waves.chosen import Chosen, choose
from labctl.fpga.waves.ports import ports_of

# Flags of traces in a save file (GTKWave 3.3, src/analyzer.h): TR_HEX 0x2, TR_BIN 0x8,
# TR_RJUSTIFY 0x20, TR_BLANK 0x200.
_HEX, _BIT, _TITLE = "@22", "@28", "@200"
# Pixels of waves in a window of usual width; GTKWave's zoom is units of time a pixel, as a power.
_PIXELS = 1000


@dataclass(frozen=True)
class Lists:
    """The files that were written: ``gtkwave`` and ``surfer``."""

    gtkwave: Path
    surfer: Path


def write_lists(waves: Path, chosen: Chosen) -> Lists:
    """Write the files beside the recording ``waves``.

    Raises:
        OSError: They cannot be written.
    """
    lists = Lists(waves.with_suffix(".gtkw"), waves.with_suffix(".sucl"))
    write_atomic(lists.gtkwave, gtkwave(waves, chosen), mode=0o644)
    write_atomic(lists.surfer, surfer(chosen), mode=0o644)
    return lists


def prepare(waves: Path, core: Core, message: str) -> Lists | None:
    """Write the files for the recording ``waves`` of ``core``; None where it cannot be read.

    Args:
        waves: The recording.
        core: What was simulated.
        message: What the test complained of.

    Raises:
        OSError: They cannot be written.
    """
    try:
        chosen = choose(waves, core.top, ports_of(core.sources, core.top), message)
    except LabctlError:
        return None  # of another format: the viewer may know it all the same
    return write_lists(waves, chosen)


def gtkwave(waves: Path, chosen: Chosen) -> str:
    """Return a save file of GTKWave (manual, "Save Files"): what to show, the end in view."""
    span = max(1, chosen.end - chosen.start)
    zoom = -math.log2(span / _PIXELS) if span > _PIXELS else 0.0
    lines = [
        "[*] made by labctl",
        f'[dumpfile] "{waves}"',
        f"[timestart] {chosen.start}",
        # Zoom, then the marker, then those with names.
        f"*{zoom:.6f} {chosen.end}" + " -1" * 26,
    ]
    for group in chosen.groups:
        lines += [_TITLE, f"-{group.title}"]
        for one in group.signals:
            lines += [_BIT if one.bits == 1 else _HEX, f"{one.name}{one.range}"]
    return "\n".join(lines) + "\n"


def surfer(chosen: Chosen) -> str:
    """Return commands of Surfer (its docs/commands): what to show, the cursor at the end."""
    lines = []
    for group in chosen.groups:
        lines.append(f"divider_add {group.title}")
        lines += [f"variable_add {one.name}" for one in group.signals]
    lines += [f"cursor_set {chosen.end}", "goto_cursor"]
    return "\n".join(lines) + "\n"


def command(viewer: str, waves: Path, lists: Lists | None) -> list[str]:
    """Return the command that shows ``waves`` with the program ``viewer``."""
    if lists is None:
        return [viewer, str(waves)]
    if Path(viewer).name.startswith("surfer"):
        return [viewer, str(waves), "--command-file", str(lists.surfer)]
    return [viewer, "--dump", str(waves), "--save", str(lists.gtkwave)]

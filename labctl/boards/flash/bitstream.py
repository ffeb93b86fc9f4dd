"""A bitstream that is too slow for its clock is refused.

`labctl fpga timing --bitstream` writes a record beside each bitstream: ``NAME.bin`` has
``NAME.bin.json``. It says whether every clock is as fast as it must be, and the digest of the
bitstream that it is about (schema ``labctl.bitstream/1``, docs/json.md). A file without a record is
somebody else's, and nothing is known of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from labctl.boards.flash.method import RefusedError
from labctl.report.sanitize import clean_line

_SCHEMA = "labctl.bitstream/"
# A record is some hundred bytes; what is larger is none.
_LARGEST = 1024 * 1024


def check_timing(path: Path) -> None:
    """Refuse the bitstream ``path`` if the record beside it says that its timing failed.

    Raises:
        RefusedError: It failed; or the record is damaged, or is about another bitstream, so that
            nobody knows.
    """
    record = path.with_name(f"{path.name}.json")
    data = _read(record)
    if data is None:
        return
    anyway = "'--force' writes it all the same"
    try:
        same = data["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        timing = str(data["timing"])
    except (OSError, KeyError):
        same, timing = False, ""
    if not same:
        raise RefusedError(
            f"{record.name} beside it is about another bitstream, so its timing is not known",
            thing=str(path), action=f"make it again, by 'labctl fpga timing --bitstream'; {anyway}",
        )  # fmt: skip
    if timing not in ("passed", "measured"):
        raise RefusedError(
            f"it is too slow for its clock{_clocks(data)}", thing=str(path),
            action=f"try more seeds, by 'labctl fpga timing --seeds', or a slower clock; {anyway}",
        )  # fmt: skip


def _read(record: Path) -> dict[str, Any] | None:
    """Return the record; None if there is none, and what is beside the image is something else."""
    try:
        if record.stat().st_size > _LARGEST:
            return None
        data = json.loads(record.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    is_record = isinstance(data, dict) and str(data.get("schema", "")).startswith(_SCHEMA)
    return data if is_record else None


def _clocks(data: dict[str, Any]) -> str:
    """Return which clocks are too slow, in words."""
    slow = []
    clocks = data.get("clocks")
    for one in clocks if isinstance(clocks, list) else []:
        if isinstance(one, dict):
            wanted, reached = one.get("wanted_mhz"), one.get("reached_mhz")
            if not isinstance(wanted, int | float) or not isinstance(reached, int | float):
                continue
            if reached < wanted:
                name = clean_line(str(one.get("signal")))
                slow.append(f"{name} reaches {reached:.1f} of {wanted:.1f} MHz")
    return f": {', '.join(slow)}" if slow else ""

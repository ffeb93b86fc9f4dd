"""Which rates a cable holds: tried from above, remembered, stepped down on errors.

What is remembered lies beside the record of the line, so it belongs to the cable and not to the
board that hangs on it today. A rate that failed is tried again after a while: cables are changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from labctl.fileio import write_atomic

_FILE = "rates.json"
_RETRY_S = 7 * 86400.0


class RateMemory:
    """What is known of one line.

    Args:
        folder: Folder of the line (see `labctl.boards.owner.place.Place`).
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def _read(self) -> dict[str, float]:
        """Return rate -> when it was good (seconds since the epoch), or failed (negative)."""
        try:
            known = json.loads(self._path.read_text())
            return {str(int(rate)): float(when) for rate, when in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def to_try(self, rates: Sequence[int], base: int) -> list[int]:
        """Return which of ``rates`` (baud) to try, highest first; those below ``base`` are not."""
        known, now = self._read(), time.time()
        failed = {int(rate) for rate, when in known.items() if when < 0 and now + when < _RETRY_S}
        return sorted({one for one in rates if one > base and one not in failed}, reverse=True)

    def remember(self, rate: int) -> None:
        """Note that ``rate`` is good; nothing happens where that cannot be written."""
        self._note(rate, time.time())

    def forget(self, rate: int) -> None:
        """Note that ``rate`` failed."""
        self._note(rate, -time.time())

    def _note(self, rate: int, when: float) -> None:
        known = {**self._read(), str(rate): when}
        try:
            write_atomic(self._path, json.dumps(known))
        except OSError:
            return  # it will be found out again

"""The rule with everything that is known: the reading, the history, the bookings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import LabctlError
from labctl.facts.value import Known
from labctl.gpu.place import database_path
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import Verdict, judge
from labctl.gpu.show import Line, lines


def judged(
    readings: Sequence[Reading], *, now: int | None = None, path: Path | None = None
) -> tuple[list[Line], str]:
    """Return a line for each unit, and what is to be said of history and bookings, or nothing.

    A damaged file costs the history and the bookings, not the cards.
    """
    path = path or database_path()
    moment = int(time.time()) if now is None else now
    # Empty: another labctl is just making it.
    if not path.is_file() or path.stat().st_size == 0:
        return lines(readings), ""
    from labctl.gpu import bookings, history, store  # noqa: PLC0415 - slow, and not always needed

    try:
        with store.opened(path, write=False) as database:

            def rule(reading: Reading, unit: Unit) -> Verdict:
                assert reading.facts is not None
                return judge(
                    unit,
                    idle_s=history.idle_s(database, reading, unit, now=moment),
                    booking=bookings.holding(database, reading, unit, now=moment),
                    xids=[xid for xid in reading.facts.xids if Known(xid.pci) == unit.card.pci],
                )

            return lines(readings, rule), ""
    except LabctlError as error:
        return lines(readings), f"without bookings and history: {error}"

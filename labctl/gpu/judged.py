"""The rule with everything that is known: the reading, the history, the bookings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labctl.errors import LabctlError
from labctl.facts.value import Known
from labctl.gpu.place import database_place
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import Verdict, judge
from labctl.gpu.show import Line, lines
from labctl.gpu.state import Booking
from labctl.store.place import Place
from labctl.store.schema import NothingThereError

if TYPE_CHECKING:
    from labctl.gpu.slurm import Claim

# What a server that does not answer may cost: the cards can be shown without it.
_PATIENCE_S = 3.0


def judged(
    readings: Sequence[Reading], *, now: int | None = None, place: Place | None = None
) -> tuple[list[Line], str]:
    """Return a line for each unit, and what is to be said of history and bookings, or nothing.

    A database that cannot be read costs the history and the bookings, not the cards.
    """
    moment = int(time.time()) if now is None else now
    person = _me() if any(reading.slurm is not None for reading in readings) else ""

    def plain(reading: Reading, unit: Unit) -> Verdict:
        return _judge(reading, unit, _claim(reading, unit, person))

    try:
        where = place or database_place()
        if where.path is not None and not where.path.exists():
            return lines(readings, plain), ""
        from labctl.gpu import bookings, history, store  # noqa: PLC0415 - slow to import

        with store.opened(where, write=False, patience_s=_PATIENCE_S) as database:

            def rule(reading: Reading, unit: Unit) -> Verdict:
                return _judge(
                    reading,
                    unit,
                    _claim(reading, unit, person),
                    idle_s=history.idle_s(database, reading, unit, now=moment),
                    booking=bookings.holding(database, reading, unit, now=moment),
                )

            return lines(readings, rule), ""
    except NothingThereError:
        return lines(readings, plain), ""
    except LabctlError as error:
        return lines(readings, plain), f"without bookings and history: {error}"


def _claim(reading: Reading, unit: Unit, person: str) -> Claim | None:
    if reading.slurm is None:
        return None
    from labctl.gpu.slurm import claim  # noqa: PLC0415 - slow to import, and seldom needed

    return claim(reading, unit, person=person)


def _me() -> str:
    from labctl.gpu.bookings import me  # noqa: PLC0415 - slow to import

    return me()


def _judge(
    reading: Reading,
    unit: Unit,
    said: Claim | None,
    *,
    idle_s: float | None = None,
    booking: Booking | None = None,
) -> Verdict:
    assert reading.facts is not None
    xids = [xid for xid in reading.facts.xids if Known(xid.pci) == unit.card.pci]
    return judge(unit, idle_s=idle_s, booking=booking, xids=xids, claim=said)

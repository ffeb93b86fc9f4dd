"""The rule with everything that is known: the reading, the history, the bookings."""

from __future__ import annotations

import time
from collections.abc import Sequence

from labctl.errors import LabctlError
from labctl.facts.value import Known
from labctl.gpu.place import database_place
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import Verdict, judge
from labctl.gpu.show import Line, lines
from labctl.gpu.slurm import Claim, claim
from labctl.gpu.state import Booking
from labctl.store.place import Place
from labctl.store.schema import NothingThereError

# What a server that does not answer may cost: the cards can be shown without it.
_PATIENCE_S = 3.0


def judged(
    readings: Sequence[Reading], *, now: int | None = None, place: Place | None = None
) -> tuple[list[Line], str]:
    """Return a line for each unit, and what is to be said of history and bookings, or nothing.

    A database that cannot be read costs the history and the bookings, not the cards.
    """
    moment = int(time.time()) if now is None else now
    from labctl.gpu import bookings, history, store  # noqa: PLC0415 - not always needed

    person = bookings.me()

    def plain(reading: Reading, unit: Unit) -> Verdict:
        return _judge(reading, unit, claim(reading, unit, person=person))

    try:
        with store.opened(
            place or database_place(), write=False, patience_s=_PATIENCE_S
        ) as database:

            def rule(reading: Reading, unit: Unit) -> Verdict:
                return _judge(
                    reading,
                    unit,
                    claim(reading, unit, person=person),
                    idle_s=history.idle_s(database, reading, unit, now=moment),
                    booking=bookings.holding(database, reading, unit, now=moment),
                )

            return lines(readings, rule), ""
    except NothingThereError:
        return lines(readings, plain), ""
    except LabctlError as error:
        return lines(readings, plain), f"without bookings and history: {error}"


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

"""What is kept of cards: samples, the sums that reports read, bookings.

``$LABCTL_GPU_DB`` names a file or a PostgreSQL server, so that people share one; otherwise it is
the user's own file. How it is opened, and what can go wrong: `labctl.store`.

A sample tells what was so in the ``seconds`` before its ``time``: the time since the sample before
it, as far as that is no gap. So samples of one unit never overlap, whoever recorded them and in
whatever order, and what they say adds up to at most the time that passed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from labctl.gpu.place import database_place
from labctl.gpu.rollup import LONGEST_GAP_S, rebuild
from labctl.store.database import PATIENCE_S, Database
from labctl.store.database import opened as store_opened
from labctl.store.place import Place
from labctl.store.schema import Schema

# Times are seconds since 1970, UTC.
_FIRST = """
CREATE TABLE units (
    id {id},
    host TEXT NOT NULL,
    key TEXT NOT NULL,       -- UUID, or index or address where it has none
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    UNIQUE (host, key)
);
CREATE TABLE people (id {id}, name TEXT NOT NULL UNIQUE);
CREATE TABLE samples (
    unit INTEGER NOT NULL REFERENCES units,
    time BIGINT NOT NULL,
    state TEXT NOT NULL,
    person INTEGER REFERENCES people,
    utilisation DOUBLE PRECISION,
    memory BIGINT,
    power DOUBLE PRECISION,
    PRIMARY KEY (unit, time)
) {clustered};
CREATE TABLE hours (
    hour BIGINT NOT NULL,
    unit INTEGER NOT NULL REFERENCES units,
    state TEXT NOT NULL,
    person INTEGER NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    load DOUBLE PRECISION NOT NULL,
    joules DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (hour, unit, state, person)
) {clustered};
CREATE TABLE bookings (
    id {id},
    host TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    person TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    running INTEGER NOT NULL DEFAULT 0  -- 1: held by a command that runs, and by nobody else
);
CREATE INDEX bookings_by_unit ON bookings (host, key, until);
"""

# How long each sample stands for, whether it was booked, why it was a fault; sums of it all that
# are exact to the second.
_SECOND = """
ALTER TABLE samples RENAME TO samples_before;
CREATE TABLE samples (
    unit INTEGER NOT NULL REFERENCES units,
    time BIGINT NOT NULL,
    seconds INTEGER NOT NULL,
    state TEXT NOT NULL,
    person INTEGER NOT NULL,      -- of people: who holds it, several by a line each; 0: nobody
    booked INTEGER NOT NULL,      -- 0: not, 1: by one who holds it, 2: by others only
    fault INTEGER NOT NULL,       -- of faults; 0: none
    utilisation DOUBLE PRECISION, -- percent
    memory BIGINT,                -- bytes in use
    power DOUBLE PRECISION,       -- watts; none of a part of a card
    PRIMARY KEY (unit, time)
) {clustered};
INSERT INTO samples
SELECT unit, time, CASE WHEN passed > GAP THEN GAP ELSE coalesce(passed, 0) END, state,
    coalesce(person, 0), 0, 0, utilisation, memory,
    CASE WHEN unit IN (SELECT id FROM units WHERE model LIKE '% MIG %') THEN NULL ELSE power END
FROM (
    SELECT samples_before.*, time - lag(time) OVER (PARTITION BY unit ORDER BY time) AS passed
    FROM samples_before
) AS known;
DROP TABLE samples_before;
DROP TABLE hours;
CREATE TABLE faults (id {id}, why TEXT NOT NULL UNIQUE);
CREATE TABLE sums (
    span INTEGER NOT NULL,        -- seconds: an hour, a day, a week
    unit INTEGER NOT NULL REFERENCES units,
    start BIGINT NOT NULL,
    state TEXT NOT NULL,
    person INTEGER NOT NULL,
    booked INTEGER NOT NULL,
    fault INTEGER NOT NULL,
    seconds BIGINT NOT NULL,
    load_s BIGINT NOT NULL,       -- seconds of which the utilisation is known
    load DOUBLE PRECISION NOT NULL,    -- utilisation x seconds
    power_s BIGINT NOT NULL,      -- seconds of which the power is known
    joules DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (span, unit, start, state, person, booked, fault)
) {clustered};
CREATE INDEX sums_of_faults ON sums (span, start) WHERE fault > 0;
""".replace("GAP", str(LONGEST_GAP_S))

SCHEMA = Schema("gpu", (_FIRST, _SECOND, rebuild))


@contextlib.contextmanager
def opened(
    where: str | Path | Place | None = None,
    *,
    write: bool = True,
    patience_s: float = PATIENCE_S,
) -> Iterator[Database]:
    """Open the database; what the block does is one transaction.

    Args:
        where: A path or URL; `database_place` if not given.
        write: To write; who only reads makes nothing and stands in nobody's way.
        patience_s: How long to wait for a server, and for other writers.

    Raises:
        LabctlError: As `labctl.store.database.opened` has them.
    """
    place = database_place() if where is None else where
    with store_opened(place, SCHEMA, write=write, patience_s=patience_s) as database:
        yield database

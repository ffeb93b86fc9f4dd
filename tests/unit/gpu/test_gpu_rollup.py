"""Sums of samples: exact, and the same in whatever order the samples come."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.gpu.course import course
from labctl.gpu.rollup import DAY_S, HOUR_S, LONGEST_GAP_S, Kept, keep, parts, rebuild
from labctl.gpu.store import SCHEMA, opened
from labctl.gpu.totals import Kind, pieces, totals
from labctl.store.sqlite import _WORDS, SqliteDatabase

START = 1_800_000_000 // DAY_S * DAY_S
LONG = 9 * DAY_S


def fresh() -> SqliteDatabase:
    """A database in memory: its steps, without the file."""
    database = SqliteDatabase(sqlite3.connect(":memory:", isolation_level=None))
    SCHEMA.advance(database, 0, _WORDS)
    for name in ("0", "1"):
        database.execute(
            "INSERT INTO units (host, key, name, model) VALUES ('a', ?, ?, '')", (name, name)
        )
    return database


def sample(unit: int, moment: int, **more: object) -> Kept:
    plain = Kept(unit, moment, 0, "busy", 1, 0, 0, 50.0, None, 300.0)
    return replace(plain, **more)  # type: ignore[arg-type]


# Some close together, some around the ends of hours and days, some anywhere.
MOMENTS = st.one_of(
    st.integers(0, 3000),
    st.builds(
        lambda at, by: at * HOUR_S + by,
        st.integers(0, LONG // HOUR_S),
        st.integers(-LONGEST_GAP_S - 5, LONGEST_GAP_S + 5),
    ),
    st.integers(0, LONG),
).map(lambda at: START + at)
SAMPLES = st.lists(
    st.builds(
        Kept, st.integers(1, 2), MOMENTS, st.just(0), st.sampled_from(["busy", "free"]),
        st.integers(0, 2), st.integers(0, 1), st.integers(0, 1),
        st.one_of(st.none(), st.integers(0, 100).map(float)), st.none(),
        st.one_of(st.none(), st.integers(0, 700).map(float)),
    ),
    max_size=40,
)  # fmt: skip


def expected(samples: list[Kept], since: int, until: int) -> dict[Kind, list[float]]:
    """What samples say by their meaning alone, one after the other."""
    first: dict[tuple[int, int], Kept] = {}
    for one in samples:
        first.setdefault((one.unit, one.time), one)
    found: dict[Kind, list[float]] = {}
    before: dict[int, int] = {}
    for unit, moment in sorted(first):
        one = first[unit, moment]
        start = max(before.get(unit, moment), moment - LONGEST_GAP_S)
        before[unit] = moment
        seconds = min(moment, until) - max(start, since)
        if seconds > 0:
            kind = Kind(unit, one.state, one.person, one.booked, one.fault)
            sums = found.setdefault(kind, [0, 0, 0.0, 0, 0.0])
            sums[0] += seconds
            sums[1] += seconds if one.utilisation is not None else 0
            sums[2] += seconds * (one.utilisation or 0)
            sums[3] += seconds if one.power is not None else 0
            sums[4] += seconds * (one.power or 0)
    return found


def told(database: SqliteDatabase, since: int, until: int) -> dict[Kind, list[float]]:
    found = totals(database, since=since, until=until).found
    return {
        kind: [one.seconds, one.load_s, one.load, one.power_s, one.joules]
        for kind, one in found.items()
        if one.seconds
    }


@settings(max_examples=60, deadline=None)
@given(SAMPLES, st.tuples(MOMENTS, MOMENTS).map(sorted))
def test_sums_are_what_the_samples_say(samples: list[Kept], span: list[int]) -> None:
    database = fresh()
    for one in samples:
        keep(database, one)
    since, until = span
    for begin, end in ((START - DAY_S, START + LONG + DAY_S), (since, until)):
        # Percent, watts and seconds are whole here, so that sums of them have no rounding.
        assert told(database, begin, end) == expected(samples, begin, end)
    kept = database.execute("SELECT * FROM sums").fetchall()
    assert all(row[7] > 0 for row in kept)
    rebuild(database)
    assert database.execute("SELECT * FROM sums").fetchall() == kept
    # No second is there twice.
    for unit, begun, ended, seconds in database.execute(
        "SELECT unit, min(time - seconds), max(time), sum(seconds) FROM samples GROUP BY unit"
    ):
        assert seconds <= ended - begun, unit


@settings(max_examples=30, deadline=None)
@given(SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(samples: list[Kept], random: object) -> None:
    # Of two in the same second the first counts, so there is only one of each here.
    alone = list({(one.unit, one.time): one for one in samples}.values())
    other = list(alone)
    random.shuffle(other)  # type: ignore[attr-defined]
    bases = fresh(), fresh()
    for database, order in zip(bases, (alone, other), strict=True):
        for one in order:
            assert keep(database, one)
    for table in ("samples", "sums"):
        first, second = (base.execute(f"SELECT * FROM {table}").fetchall() for base in bases)
        assert first == second


@given(st.integers(1, 10**10), st.integers(0, 3 * HOUR_S), st.sampled_from([HOUR_S, DAY_S]))
def test_parts(moment: int, seconds: int, span: int) -> None:
    found = list(parts(moment, seconds, span))
    assert sum(part for _, part in found) == seconds
    assert all(0 < part <= span and start % span == 0 for start, part in found)
    assert len({start for start, _ in found}) == len(found)


@given(st.integers(0, 30 * DAY_S), st.integers(0, 30 * DAY_S))
def test_pieces_are_the_whole_and_nothing_twice(since: int, length: int) -> None:
    found = sorted((begin, end, span) for span, begin, end in pieces(since, since + length))
    at = since
    for begin, end, span in found:
        assert begin == at
        assert not span or (begin % span == 0 and end % span == 0)
        # Samples are read of less than two hours at the ends, whatever is asked for.
        assert span or end - begin < 2 * HOUR_S
        at = end
    assert at == since + length


# --- clocks --------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_counts_no_second_twice() -> None:
    database = fresh()
    for minute in range(60):
        keep(database, sample(1, START + minute * 60))
    # Set back by half an hour and some seconds: the same half hour is recorded once more.
    for minute in range(60):
        keep(database, sample(1, START + 1807 + minute * 60, state="free"))
    found = told(database, START - DAY_S, START + DAY_S)
    assert sum(one[0] for one in found.values()) == 1807 + 59 * 60
    states = {kind.state: one[0] for kind, one in found.items()}
    # Where both were recorded, each has the time since the sample before it.
    assert states["free"] > 29 * 60
    assert states["busy"] > 30 * 60


def test_a_clock_that_was_ahead_leaves_a_mark_and_no_harm() -> None:
    database = fresh()
    for minute in range(10):
        keep(database, sample(1, START + minute * 60))
    keep(database, sample(1, START + 400 * DAY_S))
    for minute in range(10, 60):
        keep(database, sample(1, START + minute * 60))
    found = told(database, START, START + DAY_S)
    assert sum(one[0] for one in found.values()) == 59 * 60
    assert sum(one[0] for one in told(database, START, START + 500 * DAY_S).values()) == (
        59 * 60 + LONGEST_GAP_S
    )


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("midnight", "hours", "twice"),
    [(1792879200, 25, 2), (1774738800, 23, 0), (1792792800, 24, 1)],
)  # 2026-10-25 and 2026-03-29, when Berlin's clocks change, and the day before the first
def test_the_day_on_which_clocks_change(midnight: int, hours: int, twice: int) -> None:
    assert time.strftime("%H:%M", time.localtime(midnight)) == "00:00"
    end = midnight + hours * HOUR_S
    assert time.strftime("%H:%M", time.localtime(end)) == "00:00"
    database = fresh()
    busy = 2 * HOUR_S + 1920
    for moment in range(midnight, end + 1, 240):
        keep(database, sample(1, moment, state="busy" if moment <= midnight + busy else "free"))
    assert sum(one[0] for one in told(database, midnight, end).values()) == hours * HOUR_S
    found = course(database, since=midnight, until=end)
    assert [one.hours for one in found.map["a", "0"]] == [3, hours - 3]
    weekday = found.usual[time.localtime(midnight).tm_wday]
    # The hour that is there twice is one cell, the one that is left out none.
    assert sum(share is not None for share in weekday) == min(hours, 24)
    assert weekday[:2] == [1.0, 1.0]
    assert weekday[2] == (1920 / (twice * HOUR_S) if twice else None)


# --- what an earlier labctl has kept --------------------------------------------------------------


def test_a_file_of_the_first_kind_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "gpu.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    database = SqliteDatabase(old)
    replace(SCHEMA, steps=SCHEMA.steps[:1]).advance(database, 0, _WORDS)
    old.execute("PRAGMA user_version = 1")
    old.execute(
        "INSERT INTO units VALUES (1, 'a', 'GPU-0', '0', 'X'), (2, 'a', 'M', '1', 'X MIG 1')"
    )
    old.execute("INSERT INTO people VALUES (1, 'ann')")
    for unit in (1, 2):
        old.execute(
            "INSERT INTO samples VALUES (?, ?, 'busy', 1, 50, 9, 300), (?, ?, 'free', NULL, 0, 9,"
            " 300), (?, ?, 'busy', 1, NULL, 9, 300)",
            (unit, START, unit, START + 60, unit, START + DAY_S),
        )
    old.execute("INSERT INTO hours VALUES (?, 1, 'busy', 1, 99999, 1, 1)", (START,))
    old.execute(
        "INSERT INTO bookings VALUES (7, 'a', 'GPU-0', '0', 'ann', ?, ?, '', 0)", (1, START)
    )
    old.close()
    with opened(path, write=False) as database:  # also for who only reads
        found = told(database, START - DAY_S, START + 2 * DAY_S)
        assert database.execute("SELECT id, person FROM bookings").fetchall() == [(7, "ann")]
    assert found == {
        Kind(1, "free", 0, 0, 0): [60, 60, 0.0, 60, 18000.0],
        Kind(1, "busy", 1, 0, 0): [300, 0, 0.0, 300, 90000.0],
        Kind(2, "free", 0, 0, 0): [60, 60, 0.0, 0, 0.0],
        Kind(2, "busy", 1, 0, 0): [300, 0, 0.0, 0, 0.0],
    }

"""What a report tells: shared cards, bookings and use, faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.facts.gpu.card import GpuFacts, make_card
from labctl.facts.value import Known
from labctl.gpu import bookings, store
from labctl.gpu.history import Sample, record
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.report import Report, natural, report, uses
from labctl.gpu.state import State
from labctl.store.database import Database

START = 1_800_000_000
MIN = 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with store.opened(tmp_path / "db") as found:
        yield found


def keep(
    database: Database, minutes: range, state: State, *holders: str, card: str = "0", why: str = ""
) -> None:
    found = Sample("gpu1", f"GPU-{card}", card, "X", state, holders, why, 40.0, None, 300.0)
    for minute in minutes:
        record(database, [found], now=START + minute * MIN)


def book(database: Database, person: str, first: int, last: int, card: str = "0") -> None:
    own = Unit(make_card({"uuid": Known(f"GPU-{card}"), "index": Known(int(card))}))
    bookings.book(
        database, [(Reading("gpu1", GpuFacts("x")), own)], person=person,
        now=START + first * MIN, until=START + last * MIN,
    )  # fmt: skip


def made(database: Database, minutes: int = 10_000) -> Report:
    return report(database, since=START, until=START + minutes * MIN)


def test_a_card_that_two_hold_counts_for_both(database: Database) -> None:
    keep(database, range(61), State.BUSY, "bob", "ann")
    keep(database, range(61, 121), State.IDLE_HELD, "ann", "bob")
    keep(database, range(121, 181), State.BUSY, "ann")
    found = made(database)
    ann, bob = found.people
    assert (ann.name, ann.hours, ann.shared, ann.idle) == ("ann", 3.0, 2.0, 1.0)
    assert (bob.name, bob.hours, bob.shared, bob.idle) == ("bob", 2.0, 2.0, 1.0)
    assert (ann.kwh, bob.kwh) == pytest.approx((0.6, 0.3))
    (card,) = found.cards
    assert card.states == {"busy": 2.0, "idle-held": 1.0}
    assert card.amount.hours == 3.0


def test_use_without_a_booking_and_a_booking_without_use(database: Database) -> None:
    book(database, "ann", 0, 121)
    keep(database, range(1), State.BOOKED)
    keep(database, range(1, 31), State.BUSY, "ann")  # hers
    keep(database, range(31, 61), State.BUSY, "bob")  # in spite of her
    keep(database, range(61, 121), State.BOOKED)  # nobody
    keep(database, range(121, 181), State.BUSY, "eve")  # nobody's
    found = made(database)
    assert [(one.person, one.booked, one.amount.hours) for one in found.unbooked] == [
        ("eve", 0, 1.0), ("bob", 2, 0.5),
    ]  # fmt: skip
    assert [(one.person, round(one.amount.hours * 60)) for one in found.unused] == [("ann", 60)]
    people = {one.name: one for one in found.people}
    assert (people["ann"].hours, people["ann"].unbooked, people["ann"].unused) == (0.5, 0.0, 1.0)
    assert (people["bob"].unbooked, people["eve"].unbooked) == (0.5, 1.0)
    assert found.bookings == 1


def test_what_became_of_a_booking(database: Database) -> None:
    book(database, "ann", 0, 600)
    book(database, "ann", 0, 600, card="1")
    keep(database, range(1), State.BOOKED)
    keep(database, range(1, 91), State.BUSY, "ann")
    keep(database, range(91, 121), State.IDLE_HELD, "ann")
    keep(database, range(121, 181), State.BOOKED)
    book(database, "ann", 181, 700)  # renewed: it is the same one, and goes back as far
    first, second = uses(database, now=START + 181 * MIN)
    assert (first.entry.since, first.entry.until) == (START, START + 700 * MIN)
    assert (first.used, first.idle) == (1.5, 1.5)
    assert (second.used, second.idle) == (None, None)


def test_what_was_booked_earlier_stays_known(database: Database) -> None:
    book(database, "ann", 0, 30)
    book(database, "ann", 60, 90)
    bookings.release(database, person="ann", now=START + 70 * MIN)
    assert made(database).bookings == 2
    assert uses(database, now=START + 71 * MIN) == []


def test_faults_have_a_beginning_an_end_and_a_cause(database: Database) -> None:
    keep(database, range(1), State.FREE)
    keep(database, range(1, 31), State.SICK, why="Xid 79: the card has fallen off the bus")
    keep(database, range(31, 200), State.FREE)
    keep(database, range(200, 260), State.SICK, why="Xid 79: the card has fallen off the bus")
    keep(database, range(260, 262), State.GHOST, why="N MiB held by no visible process")
    ghost, sick = sorted(made(database).faults, key=lambda one: one.state)
    assert (sick.state, sick.why[:7], sick.hours) == ("sick", "Xid 79:", 1.5)
    assert (sick.first, sick.last) == (START, START + 259 * MIN)
    assert (ghost.first, ghost.last) == (START + 259 * MIN, START + 261 * MIN)
    (late,) = report(database, since=START + 230 * MIN + 7, until=START + 250 * MIN + 5).faults
    assert (late.first, late.last) == (START + 230 * MIN + 7, START + 250 * MIN + 5)
    assert late.hours == pytest.approx((20 * MIN - 2) / 3600)


def test_the_time_is_exact_to_the_second(database: Database) -> None:
    keep(database, range(181), State.BUSY, "ann")
    found = report(database, since=START + 61, until=START + 2 * 3600 + 17)
    assert found.people[0].hours * 3600 == pytest.approx(2 * 3600 - 44)


def test_what_is_not_known_is_not_nothing(database: Database) -> None:
    for minute in range(3):
        record(
            database,
            [Sample("gpu1", "GPU-0", "0", "X", State.BUSY, ("ann",))],
            now=START + minute * MIN,
        )
    (share,) = made(database).shares
    assert (share.amount.mean_load, share.amount.kwh) == (None, None)
    assert made(database).people[0].kwh is None


def test_cards_are_sorted_as_people_count() -> None:
    names = ["0:10", "10", "2", "0:2", "GPU-x", "0"]
    assert sorted(names, key=natural) == ["GPU-x", "0", "0:2", "0:10", "2", "10"]
